-- A consent also ends without a decision: by its year, or because its partner's data is restricted. `ended_at` is when its
-- processors were told; the next decision begins anew.
ALTER TABLE consent_states ADD COLUMN ended_at timestamptz;
CREATE INDEX consent_states_in_force ON consent_states (valid_until) WHERE state = 'granted' AND ended_at IS NULL;
GRANT UPDATE (ended_at) ON consent_states TO consent_updates;
GRANT SELECT (ended_at) ON consent_states TO data_export;
GRANT SELECT (restricted_at) ON restrictions TO consent_updates;

-- What ended it: what its processor is to be told.
ALTER TABLE consent_dispatches ADD COLUMN reason text NOT NULL DEFAULT 'decision'
  CHECK (reason IN ('decision', 'expiry', 'erasure'));
GRANT SELECT (reason) ON consent_dispatches TO data_export;
