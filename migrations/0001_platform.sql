-- What every capability shares: events on their way out and in, idempotency keys, wrapped keys; one role a capability.

-- A function logs in as a member of its capability's role; who may log in is granted where the functions are deployed.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['partner_onboarding', 'trade_events', 'webhook_delivery', 'outbox_relay', 'audit_trail']
  LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOBYPASSRLS', name);
    END IF;
  END LOOP;
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO partner_onboarding, trade_events, webhook_delivery, outbox_relay, audit_trail;

-- Whether the session may see the rows of a partner: its own, or any when it works for the platform ('*').
CREATE FUNCTION may_see(partner uuid) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE
  RETURN current_setting('app.partner_id', true) IN (partner::text, '*');

-- Events, written with the change they tell of. `sequence` is the aggregate's version: gapless per subject.
CREATE TABLE outbox (
  event_id     uuid PRIMARY KEY,
  topic        text NOT NULL,
  source       text NOT NULL,
  type         text NOT NULL,
  subject      uuid NOT NULL,
  sequence     bigint NOT NULL CHECK (sequence > 0),
  data         jsonb NOT NULL,
  partner_ids  uuid[] NOT NULL,
  traceparent  text,
  occurred_at  timestamptz NOT NULL,
  published_at timestamptz,
  CONSTRAINT outbox_sequence UNIQUE (subject, sequence)
);
CREATE INDEX outbox_unpublished ON outbox (subject, sequence) WHERE published_at IS NULL;

GRANT INSERT ON outbox TO partner_onboarding, trade_events;
GRANT SELECT, UPDATE (published_at) ON outbox TO outbox_relay;

-- How far each consumer has come with each aggregate, committed with the effect.
CREATE TABLE inbox (
  consumer text NOT NULL,
  subject  uuid NOT NULL,
  sequence bigint NOT NULL CHECK (sequence > 0),
  PRIMARY KEY (consumer, subject)
);
GRANT SELECT, INSERT, UPDATE (sequence) ON inbox TO webhook_delivery, audit_trail;

-- Answers to requests that may be repeated, found by a hash of the key and sealed with the key itself.
CREATE TABLE idempotency_keys (
  key_hash      bytea NOT NULL,
  request_hash  bytea NOT NULL,
  sealed_answer bytea NOT NULL,
  created_at    timestamptz NOT NULL,
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (key_hash)
);
GRANT SELECT, INSERT ON idempotency_keys TO partner_onboarding, trade_events, webhook_delivery;

-- Keys, wrapped: an epoch key by Cloud KMS, a subject's data key by an epoch key. Deleting a subject's row shreds it.
CREATE TABLE epoch_keys (
  name       text PRIMARY KEY,
  wrapped    bytea NOT NULL,
  created_at timestamptz NOT NULL
);
CREATE TABLE subject_keys (
  subject_id uuid PRIMARY KEY,
  epoch      text NOT NULL REFERENCES epoch_keys (name),
  wrapped    bytea NOT NULL,
  created_at timestamptz NOT NULL
);
GRANT SELECT, INSERT ON epoch_keys, subject_keys TO partner_onboarding;
GRANT SELECT ON epoch_keys, subject_keys TO webhook_delivery;
