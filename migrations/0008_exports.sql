-- Exports and erasures: requests of partners for their data and for its end, and the role that carries them out.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['data_export']
  LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOBYPASSRLS', name);
    END IF;
  END LOOP;
END $$;

GRANT USAGE ON SCHEMA public TO data_export;
GRANT INSERT ON outbox TO data_export;
GRANT SELECT, INSERT ON idempotency_keys TO data_export;

CREATE TABLE exports (
  id             uuid PRIMARY KEY,
  version        bigint NOT NULL CHECK (version > 0),
  partner_id     uuid NOT NULL,
  status         text NOT NULL CHECK (status IN ('preparing', 'ready', 'failed', 'expired')),
  requested_by   text NOT NULL,
  requested_role text NOT NULL,
  attempt        integer NOT NULL CHECK (attempt >= 0),
  planned_at     timestamptz,
  ready_at       timestamptz,
  expires_at     timestamptz,
  size_bytes     bigint,
  sha256         text,
  record_count   bigint,
  failure        text,
  created_at     timestamptz NOT NULL,
  updated_at     timestamptz NOT NULL,
  CHECK (status NOT IN ('ready', 'expired')
         OR (ready_at IS NOT NULL AND expires_at IS NOT NULL AND sha256 IS NOT NULL)),
  CHECK ((status = 'failed') = (failure IS NOT NULL))
);
CREATE INDEX exports_partner ON exports (partner_id, id);
-- One archive at a time is made of a partner's data.
CREATE UNIQUE INDEX exports_preparing ON exports (partner_id) WHERE status = 'preparing';
CREATE INDEX exports_expiring ON exports (expires_at, id) WHERE status = 'ready';

-- A range of a table's rows, bounded by keys: (lower_key, upper_key]. Together the shards of a table hold all of its rows.
CREATE TABLE export_shards (
  export_id  uuid NOT NULL REFERENCES exports (id),
  number     integer NOT NULL CHECK (number >= 0),
  partner_id uuid NOT NULL,
  table_name text NOT NULL,
  lower_key  jsonb,
  upper_key  jsonb,
  planned    bigint NOT NULL CHECK (planned >= 0),
  expected   bigint,
  sha256     text,
  done_at    timestamptz,
  PRIMARY KEY (export_id, number),
  CHECK ((done_at IS NULL) = (expected IS NULL) AND (done_at IS NULL) = (sha256 IS NULL))
);

-- One a partner: what is erased stays erased.
CREATE TABLE erasures (
  id             uuid PRIMARY KEY,
  version        bigint NOT NULL CHECK (version > 0),
  partner_id     uuid NOT NULL,
  status         text NOT NULL CHECK (status IN ('in_progress', 'completed')),
  requested_by   text NOT NULL,
  requested_role text NOT NULL,
  plan           jsonb,
  statement      jsonb,
  certificate    text,
  created_at     timestamptz NOT NULL,
  updated_at     timestamptz NOT NULL,
  completed_at   timestamptz,
  CONSTRAINT erasures_once UNIQUE (partner_id),
  CHECK ((status = 'completed') = (completed_at IS NOT NULL)),
  CHECK ((completed_at IS NULL) = (certificate IS NULL))
);
CREATE INDEX erasures_open ON erasures (updated_at, id) WHERE status = 'in_progress';

-- Whose data is not to be processed. Opaque numbers, which every capability may ask for, also of the other side of a trade.
CREATE TABLE restrictions (
  subject_id    uuid PRIMARY KEY,
  reason        text NOT NULL CHECK (reason IN ('erasure')),
  restricted_at timestamptz NOT NULL
);

-- What retained invoices need to name their parties, sealed anew for the erasure: no capability can read it.
CREATE TABLE statutory_records (
  table_name  text NOT NULL,
  column_name text NOT NULL,
  row_id      uuid NOT NULL,
  erasure_id  uuid NOT NULL REFERENCES erasures (id),
  partner_id  uuid NOT NULL,
  sealed      bytea NOT NULL,
  anchored_on timestamptz NOT NULL,
  PRIMARY KEY (table_name, column_name, row_id)
);

ALTER TABLE exports ENABLE ROW LEVEL SECURITY;
ALTER TABLE export_shards ENABLE ROW LEVEL SECURITY;
ALTER TABLE erasures ENABLE ROW LEVEL SECURITY;
ALTER TABLE statutory_records ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_exports ON exports USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));
CREATE POLICY own_shards ON export_shards USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));
CREATE POLICY own_erasures ON erasures USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));
CREATE POLICY own_statutory_records ON statutory_records USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));

GRANT SELECT, INSERT ON exports TO data_export;
GRANT UPDATE (version, status, attempt, planned_at, ready_at, expires_at, size_bytes, sha256, record_count, failure,
              updated_at) ON exports TO data_export;
GRANT SELECT, INSERT, DELETE, UPDATE (expected, sha256, done_at) ON export_shards TO data_export;
GRANT SELECT, INSERT, UPDATE (version, status, plan, statement, certificate, updated_at, completed_at) ON erasures
  TO data_export;
GRANT SELECT, INSERT ON restrictions, statutory_records TO data_export;
GRANT SELECT (subject_id) ON restrictions
  TO partner_onboarding, trade_events, webhook_delivery, consent_updates, grading_requests;

-- The trail and the events on their way are seen by whom they concern. Who wrote or read them so far saw all ('*').
CREATE POLICY whom_it_concerns ON audit_log FOR SELECT
  USING (CASE WHEN current_setting('app.partner_id', true) = '*' THEN true
              WHEN coalesce(current_setting('app.partner_id', true), '') = '' THEN false
              ELSE current_setting('app.partner_id', true)::uuid = ANY (partner_ids) END);
CREATE POLICY append ON audit_log FOR INSERT WITH CHECK (true);
ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
CREATE INDEX audit_log_partners ON audit_log USING gin (partner_ids);

-- An export is of one partner's data, also if a statement forgot to say so: the market is none of its business.
CREATE POLICY export_own ON trades AS RESTRICTIVE FOR SELECT TO data_export
  USING (may_see(seller_id) OR may_see(buyer_id) OR may_see_any(broker_ids));

-- Keys, to decrypt what is exported, to re-seal what the books must keep, and to shred. What it may read and change of other
-- tables follows from the data map (tools/grants.py).
GRANT SELECT, INSERT ON epoch_keys TO data_export;
GRANT SELECT, INSERT, DELETE ON subject_keys TO data_export;
