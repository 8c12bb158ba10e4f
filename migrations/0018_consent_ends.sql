-- A consent also ends without a decision: by its year, or because its partner's data is restricted. `ended_at` is when its
-- processors were told; the next decision begins anew.
ALTER TABLE consent_states ADD COLUMN ended_at timestamptz;
CREATE INDEX consent_states_in_force ON consent_states (valid_until) WHERE state = 'granted' AND ended_at IS NULL;
GRANT UPDATE (ended_at) ON consent_states TO consent_updates;
GRANT SELECT (restricted_at) ON restrictions TO consent_updates;

-- What ended it: what its processor is to be told.
ALTER TABLE consent_dispatches ADD COLUMN reason text NOT NULL DEFAULT 'decision'
  CHECK (reason IN ('decision', 'expiry', 'erasure'));

-- Whoever consents again before its processor was told needs nobody to stop.
ALTER TABLE consent_dispatches ADD COLUMN superseded_at timestamptz,
  ADD CHECK (acknowledged_at IS NULL OR superseded_at IS NULL);
GRANT UPDATE (superseded_at) ON consent_dispatches TO consent_updates;
CREATE INDEX consent_dispatches_due ON consent_dispatches (due_at, id)
  WHERE acknowledged_at IS NULL AND superseded_at IS NULL;

-- People tell every processor, so nothing writes or reads the column any more but the revisions before this.
ALTER TABLE consent_dispatches ALTER COLUMN callback SET DEFAULT 'manual';

-- A notice may be published in English and any language of the Eighth Schedule to the Constitution.
ALTER TABLE consent_entries DROP CONSTRAINT consent_entries_notice_language_check;
ALTER TABLE consent_entries ADD CONSTRAINT consent_entries_notice_language_check CHECK (notice_language IN
  ('en', 'as', 'bn', 'brx', 'doi', 'gu', 'hi', 'kn', 'kok', 'ks', 'mai', 'ml', 'mni', 'mr', 'ne', 'or', 'pa', 'sa', 'sat',
   'sd', 'ta', 'te', 'ur'));
