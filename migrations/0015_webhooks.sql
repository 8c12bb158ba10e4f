-- How long the breaker was last open: twice as long after each probe that fails.
ALTER TABLE webhook_endpoints ADD COLUMN open_seconds integer NOT NULL DEFAULT 0 CHECK (open_seconds >= 0);
GRANT UPDATE (open_seconds) ON webhook_endpoints TO webhook_delivery;

-- What failed is looked for among all that was delivered. While nothing fails nothing is added to it.
CREATE INDEX webhook_messages_failed ON webhook_messages (endpoint_id, status, id) WHERE status IN ('exhausted', 'discarded');
