-- Gradings: what was asked for and what came of it, what images were read to say, and what partners have used of their day.
-- The role is made in 0006, which lets it read consents.
GRANT INSERT ON outbox TO grading_requests;
GRANT SELECT, INSERT ON idempotency_keys TO grading_requests;
GRANT SELECT (id) ON partners TO grading_requests;
GRANT SELECT (id, seller_id, buyer_id, status) ON trades TO grading_requests;

CREATE TABLE gradings (
  id           uuid PRIMARY KEY,
  version      bigint NOT NULL CHECK (version > 0),
  partner_id   uuid NOT NULL,
  kind         text NOT NULL CHECK (kind IN ('lab', 'classing_record', 'image', 'device')),
  status       text NOT NULL CHECK (status IN ('awaiting_image', 'queued', 'provisional', 'completed', 'refused')),
  trade_id     uuid,
  request      jsonb NOT NULL,
  image        jsonb,
  provisional  jsonb,
  result       jsonb,
  refusal      jsonb,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  CHECK ((status = 'completed') = (result IS NOT NULL)),
  CHECK ((status = 'refused') = (refusal IS NOT NULL)),
  CHECK (image IS NOT NULL OR status IN ('completed', 'provisional'))
);
CREATE INDEX gradings_partner ON gradings (partner_id, id);
CREATE INDEX gradings_trade ON gradings (trade_id, id) WHERE trade_id IS NOT NULL;
CREATE INDEX gradings_queued ON gradings (updated_at, id) WHERE status = 'queued';

-- What an image shows is a function of its bytes, the model and the policy: read once, whoever sends it. Nobody's name is here.
CREATE TABLE image_readings (
  image_sha256 text NOT NULL,
  model_sha256 text NOT NULL,
  policy       text NOT NULL,
  reading      jsonb,
  refusal      jsonb,
  created_at   timestamptz NOT NULL,
  PRIMARY KEY (image_sha256, model_sha256, policy),
  CHECK ((reading IS NULL) <> (refusal IS NULL))
);

-- The counter that decides, and the ledger that explains it: a row a grading.
CREATE TABLE grading_budgets (
  partner_id uuid NOT NULL,
  day        date NOT NULL,
  used       integer NOT NULL CHECK (used > 0),
  PRIMARY KEY (partner_id, day)
);
CREATE TABLE grading_usage (
  grading_id uuid PRIMARY KEY REFERENCES gradings (id),
  partner_id uuid NOT NULL,
  day        date NOT NULL,
  tier       text NOT NULL,
  used_at    timestamptz NOT NULL
);
CREATE INDEX grading_usage_partner ON grading_usage (partner_id, day);

ALTER TABLE gradings ENABLE ROW LEVEL SECURITY;
ALTER TABLE grading_budgets ENABLE ROW LEVEL SECURITY;
ALTER TABLE grading_usage ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_gradings ON gradings USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));
CREATE POLICY own_budgets ON grading_budgets USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));
CREATE POLICY own_usage ON grading_usage USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));

GRANT SELECT, INSERT, UPDATE (version, status, result, refusal, updated_at) ON gradings TO grading_requests;
GRANT SELECT, INSERT ON image_readings, grading_usage TO grading_requests;
GRANT SELECT, INSERT, UPDATE (used) ON grading_budgets TO grading_requests;
