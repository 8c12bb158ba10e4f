-- Consents: an append-only ledger per principal, a chain of hashes that cannot fork, and what follows from it.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['consent_updates', 'grading_requests']
  LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOBYPASSRLS', name);
    END IF;
  END LOOP;
END $$;

GRANT USAGE ON SCHEMA public TO consent_updates, grading_requests;
GRANT INSERT ON outbox TO consent_updates;
GRANT SELECT, INSERT ON idempotency_keys TO consent_updates;
-- It seals with the keys that partners have, and makes none.
GRANT SELECT ON epoch_keys, subject_keys TO consent_updates;

-- One row a principal: the end of its chain. Whoever appends locks it. `id` is the aggregate of its events.
CREATE TABLE consent_ledgers (
  subject_id uuid PRIMARY KEY,
  id         uuid NOT NULL UNIQUE,
  sequence   bigint NOT NULL CHECK (sequence >= 0),
  head_hash  bytea NOT NULL CHECK (length(head_hash) = 32),
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);

-- The public keys of receipts stay for as long as there are receipts, whatever becomes of the key's versions.
CREATE TABLE receipt_keys (
  id         text PRIMARY KEY,
  public_key text NOT NULL,
  created_at timestamptz NOT NULL
);

-- One row a decision. The receipt's payload is composed of the records it covers; only its signature is kept.
CREATE TABLE consent_receipts (
  decision_id    uuid PRIMARY KEY,
  subject_id     uuid NOT NULL REFERENCES consent_ledgers (subject_id),
  first_sequence bigint NOT NULL CHECK (first_sequence > 0),
  last_sequence  bigint NOT NULL CHECK (last_sequence >= first_sequence),
  key_id         text NOT NULL REFERENCES receipt_keys (id),
  signature      bytea NOT NULL CHECK (length(signature) = 64),
  created_at     timestamptz NOT NULL,
  UNIQUE (subject_id, first_sequence)
);

-- The records. Each names the hash of the one before it, which has to be there under the sequence before: so the chain
-- has no gap, and with one row a sequence it has no fork either.
CREATE TABLE consent_entries (
  subject_id      uuid NOT NULL REFERENCES consent_ledgers (subject_id),
  sequence        bigint NOT NULL CHECK (sequence > 0),
  previous        bigint GENERATED ALWAYS AS (nullif(sequence - 1, 0)) STORED,
  id              uuid NOT NULL UNIQUE,
  decision_id     uuid NOT NULL REFERENCES consent_receipts (decision_id),
  schema_version  text NOT NULL,
  purpose         text NOT NULL
    CHECK (purpose IN ('marketing', 'analytics', 'data_sharing', 'ai_processing', 'cross_border')),
  state           text NOT NULL CHECK (state IN ('granted', 'denied', 'withdrawn')),
  notice_version  text NOT NULL,
  notice_language text NOT NULL CHECK (notice_language IN ('en', 'hi', 'gu')),
  notice_sha256   text NOT NULL,
  terms           jsonb NOT NULL,
  actor           bytea NOT NULL,
  comment         bytea,
  decided_at      timestamptz NOT NULL,
  valid_until     timestamptz,
  previous_hash   bytea NOT NULL CHECK (length(previous_hash) = 32),
  hash            bytea NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (subject_id, sequence),
  CONSTRAINT consent_entries_link UNIQUE (subject_id, sequence, hash),
  CONSTRAINT consent_entries_chain FOREIGN KEY (subject_id, previous, previous_hash)
    REFERENCES consent_entries (subject_id, sequence, hash),
  CHECK ((state = 'granted') = (valid_until IS NOT NULL))
);
CREATE INDEX consent_entries_as_of ON consent_entries (subject_id, purpose, sequence DESC);
CREATE INDEX consent_entries_decision ON consent_entries (decision_id);

-- Where each purpose stands: what everybody asks before processing.
CREATE TABLE consent_states (
  subject_id  uuid NOT NULL,
  purpose     text NOT NULL,
  sequence    bigint NOT NULL,
  state       text NOT NULL,
  valid_until timestamptz,
  PRIMARY KEY (subject_id, purpose),
  FOREIGN KEY (subject_id, sequence) REFERENCES consent_entries (subject_id, sequence)
);

-- Who has to stop because a consent ended.
CREATE TABLE consent_dispatches (
  id              uuid PRIMARY KEY,
  version         bigint NOT NULL CHECK (version > 0),
  subject_id      uuid NOT NULL,
  sequence        bigint NOT NULL,
  record_id       uuid NOT NULL REFERENCES consent_entries (id),
  purpose         text NOT NULL,
  processor       text NOT NULL,
  callback        text NOT NULL CHECK (callback IN ('event', 'manual')),
  due_at          timestamptz NOT NULL,
  created_at      timestamptz NOT NULL,
  acknowledged_at timestamptz,
  acknowledged_by text,
  UNIQUE (subject_id, sequence, processor),
  FOREIGN KEY (subject_id, sequence) REFERENCES consent_entries (subject_id, sequence),
  CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
);
CREATE INDEX consent_dispatches_open ON consent_dispatches (id) WHERE acknowledged_at IS NULL;

ALTER TABLE consent_ledgers ENABLE ROW LEVEL SECURITY;
ALTER TABLE consent_receipts ENABLE ROW LEVEL SECURITY;
ALTER TABLE consent_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE consent_states ENABLE ROW LEVEL SECURITY;
ALTER TABLE consent_dispatches ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_ledger ON consent_ledgers USING (may_see(subject_id)) WITH CHECK (may_see(subject_id));
CREATE POLICY own_receipts ON consent_receipts USING (may_see(subject_id)) WITH CHECK (may_see(subject_id));
CREATE POLICY own_entries ON consent_entries USING (may_see(subject_id)) WITH CHECK (may_see(subject_id));
CREATE POLICY own_states ON consent_states USING (may_see(subject_id)) WITH CHECK (may_see(subject_id));
CREATE POLICY own_dispatches ON consent_dispatches USING (may_see(subject_id)) WITH CHECK (may_see(subject_id));

GRANT SELECT, INSERT ON receipt_keys, consent_receipts, consent_entries TO consent_updates;
GRANT SELECT, INSERT, UPDATE (sequence, head_hash, updated_at) ON consent_ledgers TO consent_updates;
GRANT SELECT, INSERT, UPDATE (sequence, state, valid_until) ON consent_states TO consent_updates;
GRANT SELECT, INSERT, UPDATE (version, acknowledged_at, acknowledged_by) ON consent_dispatches TO consent_updates;
GRANT SELECT ON consent_states TO grading_requests;
