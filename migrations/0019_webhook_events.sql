-- Changes of endpoints are published: an endpoint's version is the sequence of its last event. Exhausted messages are, too:
-- `exhaustions` is the sequence of a message's last event.
GRANT INSERT ON outbox TO webhook_delivery;
ALTER TABLE webhook_messages ADD COLUMN exhaustions integer NOT NULL DEFAULT 0 CHECK (exhaustions >= 0);
GRANT UPDATE (exhaustions) ON webhook_messages TO webhook_delivery;
-- Earlier versions were not published. The consumer that refuses gaps starts after them.
INSERT INTO inbox (consumer, subject, sequence) SELECT 'webhook-fan-out', id, version FROM webhook_endpoints
  ON CONFLICT DO NOTHING;

-- An endpoint fails only while its failures follow one another closely.
ALTER TABLE webhook_endpoints ADD COLUMN last_failed_at timestamptz;
UPDATE webhook_endpoints SET last_failed_at = first_failed_at;
ALTER TABLE webhook_endpoints ADD CHECK ((first_failed_at IS NULL) = (last_failed_at IS NULL));
GRANT UPDATE (last_failed_at) ON webhook_endpoints TO webhook_delivery;

-- Names of the custom headers. Their values are encrypted with the secret.
ALTER TABLE webhook_endpoints ADD COLUMN header_names text[];
GRANT UPDATE (header_names) ON webhook_endpoints TO webhook_delivery;
