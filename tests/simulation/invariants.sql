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
  ELSIF TG_OP = 'DELETE' OR to_jsonb(new) - 'published_at' <> to_jsonb(old) - 'published_at' THEN
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

-- An aggregate's version rises by one with every change, and its status only goes on.
CREATE FUNCTION watch_status() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF new.version <> old.version + 1 THEN
    PERFORM violates('a version did not rise by one', TG_TABLE_NAME || ' ' || old.version || ' to ' || new.version);
  END IF;
  IF array_position(TG_ARGV, new.status) < array_position(TG_ARGV, old.status) THEN
    PERFORM violates('a status went back', TG_TABLE_NAME || ' ' || old.status || ' to ' || new.status);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER UPDATE ON trades FOR EACH ROW
  EXECUTE FUNCTION watch_status('OFFERED', 'BID', 'MATCHED', 'CONTRACTED');
CREATE TRIGGER watch AFTER UPDATE ON partners FOR EACH ROW
  EXECUTE FUNCTION watch_status('created', 'submitted', 'active');

CREATE FUNCTION watch_messages() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF old.status <> 'pending' AND new.status <> old.status THEN
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

CREATE FUNCTION watch_ledger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  PERFORM violates('what is never changed was changed', TG_TABLE_NAME || ' ' || TG_OP);
  RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER UPDATE OR DELETE ON trade_events FOR EACH ROW EXECUTE FUNCTION watch_ledger();
CREATE TRIGGER watch AFTER UPDATE OR DELETE ON webhook_attempts FOR EACH ROW EXECUTE FUNCTION watch_ledger();
CREATE TRIGGER watch AFTER UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION watch_ledger();
