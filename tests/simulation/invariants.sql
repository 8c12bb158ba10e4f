-- What must hold at every moment, as triggers. They belong to the simulation, not to the schema.
CREATE TABLE violations (what text NOT NULL, detail text NOT NULL);

CREATE FUNCTION violates(what text, detail text) RETURNS void LANGUAGE sql SECURITY DEFINER
  BEGIN ATOMIC INSERT INTO violations VALUES (what, detail); END;

CREATE FUNCTION watch_outbox() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF new.sequence > 1
       AND NOT EXISTS (SELECT FROM outbox WHERE subject = new.subject AND sequence = new.sequence - 1) THEN
      PERFORM violates('a sequence has a gap', new.type || ' ' || new.sequence);
    END IF;
  ELSIF TG_OP = 'DELETE' THEN
    IF session_user <> 'retention_sweep' OR old.published_at IS NULL THEN
      PERFORM violates('an event was deleted', old.type || ' ' || old.sequence);
    END IF;
  ELSIF to_jsonb(new) - 'published_at' <> to_jsonb(old) - 'published_at' THEN
    PERFORM violates('an event was changed', old.type || ' ' || old.sequence);
  ELSIF new.published_at IS NULL THEN
    PERFORM violates('an event was taken back', old.type || ' ' || old.sequence);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION watch_outbox();

CREATE FUNCTION watch_inbox() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF new.sequence <> (CASE TG_OP WHEN 'INSERT' THEN 1 ELSE old.sequence + 1 END) THEN
    PERFORM violates('a consumer left an event out, or went back', new.consumer || ' ' || new.sequence);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER INSERT OR UPDATE ON inbox FOR EACH ROW EXECUTE FUNCTION watch_inbox();

-- An aggregate's version rises by one with every change, and its status only goes on. An erasure overwrites without a change, and
-- how often reading an image was begun is counted without one: nobody is told of it.
CREATE FUNCTION watch_status() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF session_user = 'data_export' OR (TG_TABLE_NAME = 'gradings'
      AND to_jsonb(new) = to_jsonb(old) || jsonb_build_object('attempts', (to_jsonb(old) ->> 'attempts')::int + 1)) THEN
    RETURN NULL;
  END IF;
  IF new.version <> old.version + 1 THEN
    PERFORM violates('a version did not rise by one', TG_TABLE_NAME || ' ' || old.version || ' to ' || new.version);
  END IF;
  IF array_position(TG_ARGV, new.status) < array_position(TG_ARGV, old.status) THEN
    PERFORM violates('a status went back', TG_TABLE_NAME || ' ' || old.status || ' to ' || new.status);
  END IF;
  RETURN NULL;
END $$;
-- A trade's version is that of its last event: one statement may append several. It may leave a dispute, and a bid may end; but
-- it never returns to the market, nor from its end.
CREATE FUNCTION watch_trades() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  phases text[] := ARRAY['offered negotiating', 'matched', 'contracted in_delivery disputed',
    'completed closed_out cancelled expired'];
  before int := (SELECT n FROM unnest(phases) WITH ORDINALITY AS p (names, n) WHERE old.status = ANY (string_to_array(names, ' ')));
  after int := (SELECT n FROM unnest(phases) WITH ORDINALITY AS p (names, n) WHERE new.status = ANY (string_to_array(names, ' ')));
BEGIN
  IF new.version <= old.version OR (SELECT count(*) FROM trade_events
      WHERE trade_id = new.id AND sequence BETWEEN old.version + 1 AND new.version) <> new.version - old.version THEN
    PERFORM violates('a version without its events', 'trades ' || old.version || ' to ' || new.version);
  END IF;
  IF after < before OR (before = 4 AND new.status <> old.status) THEN
    PERFORM violates('a status went back', 'trades ' || old.status || ' to ' || new.status);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER UPDATE ON trades FOR EACH ROW EXECUTE FUNCTION watch_trades();
CREATE TRIGGER watch AFTER UPDATE ON partners FOR EACH ROW
  EXECUTE FUNCTION watch_status('created', 'submitted', 'active');
CREATE TRIGGER watch AFTER UPDATE ON gradings FOR EACH ROW
  EXECUTE FUNCTION watch_status('awaiting_image', 'queued', 'refused', 'completed');

CREATE FUNCTION watch_messages() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  -- Unless its owner has it sent anew: the whole schedule is before it then.
  IF old.status <> 'pending' AND new.status <> old.status AND NOT (old.status IN ('exhausted', 'discarded')
      AND new.status = 'pending' AND new.lease_token IS NULL AND new.earlier_attempts = new.attempt_count) THEN
    PERFORM violates('a message left its final status', old.status || ' to ' || new.status);
  END IF;
  IF new.attempt_count NOT IN (old.attempt_count, old.attempt_count + 1) THEN
    PERFORM violates('an attempt was counted wrongly', old.attempt_count || ' to ' || new.attempt_count);
  END IF;
  -- By the clock of whoever claims: its lease ends sixty seconds from its now.
  IF new.lease_token <> old.lease_token AND old.lease_until > new.lease_until - interval '60 seconds' THEN
    PERFORM violates('a message was claimed under a live lease', 'attempt ' || new.attempt_count + 1);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER UPDATE ON webhook_messages FOR EACH ROW EXECUTE FUNCTION watch_messages();

-- From the request of an erasure on no archive appears.
CREATE FUNCTION watch_exports() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF new.status = 'ready' AND old.status <> 'ready'
     AND EXISTS (SELECT FROM restrictions WHERE subject_id = new.partner_id) THEN
    PERFORM violates('an archive appeared though its partner is being erased', new.status);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER UPDATE ON exports FOR EACH ROW EXECUTE FUNCTION watch_exports();

-- What is only appended to is deleted by those whose task that is, and by nobody changed.
CREATE FUNCTION watch_ledger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF TG_OP = 'UPDATE' OR session_user NOT IN ('retention_sweep', 'data_export') THEN
    PERFORM violates('what is never changed was changed', TG_TABLE_NAME || ' ' || TG_OP);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER UPDATE OR DELETE ON trade_events FOR EACH ROW EXECUTE FUNCTION watch_ledger();
CREATE TRIGGER watch AFTER UPDATE OR DELETE ON webhook_attempts FOR EACH ROW EXECUTE FUNCTION watch_ledger();
CREATE TRIGGER watch AFTER UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION watch_ledger();
CREATE TRIGGER watch AFTER UPDATE OR DELETE ON consent_entries FOR EACH ROW EXECUTE FUNCTION watch_ledger();
CREATE TRIGGER watch AFTER UPDATE OR DELETE ON consent_receipts FOR EACH ROW EXECUTE FUNCTION watch_ledger();

-- Nothing that a legal hold names is deleted while it is held. The argument is the column by which a hold names the row.
CREATE FUNCTION watch_holds() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  gone jsonb := to_jsonb(old);
BEGIN
  IF EXISTS (SELECT FROM legal_holds h WHERE h.released_at IS NULL AND (
      (h.table_name = TG_TABLE_NAME AND h.row_id = gone->>TG_ARGV[0])
      OR h.subject_id::text IN (gone->>'partner_id', gone->>'subject_id', gone->>'seller_id', gone->>'buyer_id')
      OR gone->'partner_ids' ? h.subject_id::text)) THEN
    PERFORM violates('what is held was deleted', TG_TABLE_NAME);
  END IF;
  RETURN NULL;
END $$;
DO $$
DECLARE
  swept text[];
BEGIN
  FOREACH swept SLICE 1 IN ARRAY ARRAY[
    ['idempotency_keys', 'key_hash'], ['outbox', 'event_id'], ['webhook_messages', 'id'], ['exports', 'id'],
    ['gradings', 'id'], ['trades', 'id'], ['consent_ledgers', 'subject_id'], ['audit_log', 'event_id'],
    ['partner_documents', 'id'], ['partner_checks', 'id'], ['partner_decisions', 'id'], ['webhook_endpoints', 'id'],
    ['grading_usage', 'grading_id'], ['subject_keys', 'subject_id']]
  LOOP
    EXECUTE format('CREATE TRIGGER watch_holds AFTER DELETE ON %I FOR EACH ROW EXECUTE FUNCTION watch_holds(%L)',
      swept[1], swept[2]);
  END LOOP;
END $$;
