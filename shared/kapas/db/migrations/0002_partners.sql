-- Partners: who trades. What identifies a person is encrypted with the partner's own key and found by blind index.
CREATE TABLE partners (
  id            uuid PRIMARY KEY,
  version       bigint NOT NULL CHECK (version > 0),
  status        text NOT NULL CHECK (status IN ('created', 'active')),
  type          text NOT NULL CHECK (type IN ('farmer', 'ginner', 'trader', 'broker', 'spinning_mill')),
  state_code    text NOT NULL,
  legal_name    bytea NOT NULL,
  contact_name  bytea NOT NULL,
  phone         bytea NOT NULL,
  pan           bytea NOT NULL,
  pan_index     bytea NOT NULL,
  created_at    timestamptz NOT NULL,
  updated_at    timestamptz NOT NULL,
  CONSTRAINT partners_pan UNIQUE (pan_index)
);

ALTER TABLE partners ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_partner ON partners USING (may_see(id)) WITH CHECK (may_see(id));
GRANT SELECT, INSERT, UPDATE ON partners TO partner_onboarding;
-- Whether a partner may trade is all that trade events needs to know.
GRANT SELECT (id, status, type) ON partners TO trade_events;
