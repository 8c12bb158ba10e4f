-- Webhooks: where partners listen, what they are sent, and how each attempt went.
CREATE TABLE webhook_endpoints (
  id          uuid PRIMARY KEY,
  version     bigint NOT NULL CHECK (version > 0),
  partner_id  uuid NOT NULL,
  url         text NOT NULL,
  event_types text[] NOT NULL,
  secret      bytea NOT NULL,
  status      text NOT NULL CHECK (status IN ('enabled', 'disabled')),
  created_at  timestamptz NOT NULL,
  updated_at  timestamptz NOT NULL
);
CREATE INDEX webhook_endpoints_partner ON webhook_endpoints (partner_id, id);

-- One message per endpoint and event, whatever happens to be delivered twice.
CREATE TABLE webhook_messages (
  id              uuid PRIMARY KEY,
  endpoint_id     uuid NOT NULL REFERENCES webhook_endpoints (id),
  partner_id      uuid NOT NULL,
  event_id        uuid NOT NULL,
  event_type      text NOT NULL,
  payload         text NOT NULL,
  status          text NOT NULL CHECK (status IN ('pending', 'delivered', 'exhausted', 'discarded')),
  attempts        integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL,
  lease_token     uuid,
  lease_until     timestamptz,
  created_at      timestamptz NOT NULL,
  CONSTRAINT webhook_messages_once UNIQUE (endpoint_id, event_id)
);
CREATE INDEX webhook_messages_due ON webhook_messages (next_attempt_at, id) WHERE status = 'pending';
CREATE INDEX webhook_messages_endpoint ON webhook_messages (endpoint_id, id);

CREATE TABLE webhook_attempts (
  message_id   uuid NOT NULL REFERENCES webhook_messages (id),
  number       integer NOT NULL CHECK (number > 0),
  partner_id   uuid NOT NULL,
  started_at   timestamptz NOT NULL,
  milliseconds integer NOT NULL,
  status_code  integer,
  failure      text,
  response     text,
  PRIMARY KEY (message_id, number)
);

ALTER TABLE webhook_endpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_attempts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_endpoints ON webhook_endpoints USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));
CREATE POLICY own_messages ON webhook_messages USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));
CREATE POLICY own_attempts ON webhook_attempts USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));

GRANT SELECT, INSERT, UPDATE ON webhook_endpoints, webhook_messages TO webhook_delivery;
GRANT SELECT, INSERT ON webhook_attempts TO webhook_delivery;
