-- The retention sweep: its runs and what each found, legal holds, and the one role that may delete what was kept long enough.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['retention_sweep']
  LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOBYPASSRLS', name);
    END IF;
  END LOOP;
END $$;

GRANT USAGE ON SCHEMA public TO retention_sweep;

-- `batch` counts the pages that are done: a page is done by whoever moves it on. The page after them begins behind
-- (after_anchor, after_key) in `place`.
CREATE TABLE retention_sweeps (
  id           uuid PRIMARY KEY,
  version      bigint NOT NULL CHECK (version > 0),
  status       text NOT NULL CHECK (status IN ('running', 'completed')),
  dry_run      boolean NOT NULL,
  as_of        timestamptz NOT NULL,
  policies     text[],
  row_limit    integer CHECK (row_limit > 0),
  night        date,
  started_by   text NOT NULL,
  complete     boolean NOT NULL,
  batch        integer NOT NULL CHECK (batch >= 0),
  place        text,
  after_anchor timestamptz,
  after_key    text,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  finished_at  timestamptz,
  CONSTRAINT retention_sweeps_night UNIQUE (night),
  CHECK ((status = 'completed') = (finished_at IS NOT NULL)),
  CHECK ((after_anchor IS NULL) = (after_key IS NULL)),
  CHECK (dry_run OR as_of <= created_at)
);
CREATE INDEX retention_sweeps_running ON retention_sweeps (updated_at, id) WHERE status = 'running';

-- The report: a line for each place and policy, with the law as it was then.
CREATE TABLE retention_findings (
  sweep_id  uuid NOT NULL REFERENCES retention_sweeps (id),
  place     text NOT NULL,
  policy    text NOT NULL,
  law       text NOT NULL,
  article   text NOT NULL,
  due_until date NOT NULL,
  action    text NOT NULL CHECK (action IN ('delete', 'report')),
  due       bigint NOT NULL CHECK (due >= 0),
  deleted   bigint NOT NULL CHECK (deleted >= 0),
  held      bigint NOT NULL CHECK (held >= 0),
  failed    bigint NOT NULL CHECK (failed >= 0),
  PRIMARY KEY (sweep_id, place, policy),
  CHECK (deleted + held + failed = due OR (action = 'report' AND deleted = 0))
);

-- What is kept whatever its period: all of a subject, or one row. A hold that was released stays, to account for it.
CREATE TABLE legal_holds (
  id          uuid PRIMARY KEY,
  subject_id  uuid,
  table_name  text,
  row_id      text,
  reason      text NOT NULL,
  placed_by   text NOT NULL,
  held_from   timestamptz NOT NULL,
  released_by text,
  released_at timestamptz,
  CHECK ((subject_id IS NULL) = (table_name IS NOT NULL)),
  CHECK ((table_name IS NULL) = (row_id IS NULL)),
  CHECK ((released_at IS NULL) = (released_by IS NULL))
);
CREATE INDEX legal_holds_subject ON legal_holds (subject_id) WHERE released_at IS NULL AND subject_id IS NOT NULL;
CREATE INDEX legal_holds_row ON legal_holds (table_name, row_id) WHERE released_at IS NULL AND row_id IS NOT NULL;

GRANT INSERT ON outbox TO retention_sweep;
GRANT SELECT, INSERT ON idempotency_keys TO retention_sweep;
GRANT SELECT, INSERT, UPDATE (version, status, complete, batch, place, after_anchor, after_key, updated_at, finished_at)
  ON retention_sweeps TO retention_sweep;
GRANT SELECT, INSERT, UPDATE (due, deleted, held, failed) ON retention_findings TO retention_sweep;
GRANT SELECT, INSERT, UPDATE (released_by, released_at) ON legal_holds TO retention_sweep;

-- What it may see and delete of what it sweeps follows from the data map (tools/grants.py).

-- A trade that found a buyer is in the books of both, and a grading of a trade with it: nothing deletes them.
CREATE POLICY sweep_untraded ON gradings AS RESTRICTIVE FOR DELETE TO retention_sweep USING (trade_id IS NULL);
CREATE POLICY sweep_unconcluded ON trades FOR DELETE TO retention_sweep USING (may_see(seller_id) AND buyer_id IS NULL);
CREATE POLICY sweep_unconcluded ON trade_events FOR DELETE TO retention_sweep
  USING (EXISTS (SELECT FROM trades t WHERE t.id = trade_id AND may_see(t.seller_id) AND t.buyer_id IS NULL));
CREATE POLICY sweep ON audit_log FOR DELETE TO retention_sweep USING (current_setting('app.partner_id', true) = '*');

-- What is appended in the order of time is found by block ranges, which cost a writer nothing to speak of.
CREATE INDEX outbox_retention ON outbox USING brin (occurred_at);
CREATE INDEX idempotency_keys_retention ON idempotency_keys USING brin (created_at);
CREATE INDEX audit_log_retention ON audit_log USING brin (occurred_at);
CREATE INDEX webhook_messages_retention ON webhook_messages USING brin (created_at);
CREATE INDEX trades_retention ON trades (updated_at, id);
