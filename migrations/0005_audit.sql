-- The audit trail: a row per event and per access to personal data, never changed.
CREATE TABLE audit_log (
  event_id    uuid PRIMARY KEY,
  type        text NOT NULL,
  source      text NOT NULL,
  subject     uuid NOT NULL,
  sequence    bigint NOT NULL,
  partner_ids uuid[] NOT NULL,
  data        jsonb NOT NULL,
  occurred_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL
);
CREATE INDEX audit_log_subject ON audit_log (subject, sequence);

GRANT SELECT, INSERT ON audit_log TO audit_trail;
