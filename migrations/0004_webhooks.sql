-- Webhooks: where partners listen, what they are sent, and how each attempt went.

-- A deleted endpoint stays for the history of its messages, without its secret.
CREATE TABLE webhook_endpoints (
  id                uuid PRIMARY KEY,
  version           bigint NOT NULL CHECK (version > 0),
  partner_id        uuid NOT NULL,
  url               text NOT NULL,
  event_types       text[] NOT NULL CHECK (cardinality(event_types) > 0),
  secret            bytea,
  status            text NOT NULL CHECK (status IN ('enabled', 'disabled', 'deleted')),
  disabled_reason   text CHECK (disabled_reason IN ('requested', 'gone', 'failing')),
  disabled_at       timestamptz,
  -- Since when no attempt has succeeded.
  first_failed_at   timestamptz,
  -- The breaker: attempts counted since a failure; while open only who holds the probe may send, after `open_until`.
  window_started_at timestamptz,
  window_attempts   integer NOT NULL DEFAULT 0,
  window_failures   integer NOT NULL DEFAULT 0,
  open_until        timestamptz,
  probe_token       uuid,
  probe_until       timestamptz,
  created_at        timestamptz NOT NULL,
  updated_at        timestamptz NOT NULL,
  CHECK ((status = 'deleted') = (secret IS NULL)),
  CHECK (status <> 'disabled' OR (disabled_reason IS NOT NULL AND disabled_at IS NOT NULL)),
  CHECK ((window_started_at IS NULL) = (window_attempts = 0)),
  CHECK (window_failures BETWEEN 0 AND window_attempts),
  CHECK ((probe_token IS NULL) = (probe_until IS NULL)),
  CHECK (probe_token IS NULL OR open_until IS NOT NULL)
);
CREATE INDEX webhook_endpoints_partner ON webhook_endpoints (partner_id, id) WHERE status <> 'deleted';

-- One message per endpoint and event, whatever happens to be delivered twice.
CREATE TABLE webhook_messages (
  id               uuid PRIMARY KEY,
  endpoint_id      uuid NOT NULL REFERENCES webhook_endpoints (id),
  partner_id       uuid NOT NULL,
  event_id         uuid NOT NULL,
  event_type       text NOT NULL,
  payload          text NOT NULL,
  status           text NOT NULL CHECK (status IN ('pending', 'delivered', 'exhausted', 'discarded')),
  attempt_count    integer NOT NULL CHECK (attempt_count >= 0),
  -- Those before it was last sent anew: the schedule of waits began again after them.
  earlier_attempts integer NOT NULL DEFAULT 0,
  next_attempt_at  timestamptz,
  lease_token      uuid,
  lease_until      timestamptz,
  created_at       timestamptz NOT NULL,
  CONSTRAINT webhook_messages_once UNIQUE (endpoint_id, event_id),
  CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL)),
  CHECK ((lease_token IS NULL) = (lease_until IS NULL)),
  CHECK (lease_token IS NULL OR status = 'pending'),
  CHECK (earlier_attempts BETWEEN 0 AND attempt_count)
);
CREATE INDEX webhook_messages_due ON webhook_messages (next_attempt_at, id) WHERE status = 'pending';
CREATE INDEX webhook_messages_endpoint ON webhook_messages (endpoint_id, id);

CREATE TABLE webhook_attempts (
  message_id   uuid NOT NULL REFERENCES webhook_messages (id),
  number       integer NOT NULL CHECK (number > 0),
  partner_id   uuid NOT NULL,
  started_at   timestamptz NOT NULL,
  milliseconds integer NOT NULL CHECK (milliseconds >= 0),
  status_code  integer,
  failure      text,
  response     text NOT NULL,
  PRIMARY KEY (message_id, number),
  CHECK (status_code IS NOT NULL OR failure IS NOT NULL)
);

ALTER TABLE webhook_endpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_attempts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_endpoints ON webhook_endpoints USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));
CREATE POLICY own_messages ON webhook_messages USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));
CREATE POLICY own_attempts ON webhook_attempts USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));

GRANT SELECT, INSERT, UPDATE (version, url, event_types, secret, status, disabled_reason, disabled_at, first_failed_at,
                              window_started_at, window_attempts, window_failures, open_until, probe_token, probe_until,
                              updated_at) ON webhook_endpoints TO webhook_delivery;
GRANT SELECT, INSERT, UPDATE (status, attempt_count, earlier_attempts, next_attempt_at, lease_token, lease_until)
  ON webhook_messages TO webhook_delivery;
GRANT SELECT, INSERT ON webhook_attempts TO webhook_delivery;
