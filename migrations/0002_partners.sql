-- Partners: who trades. What identifies a person is encrypted with the partner's own key and found by blind index; of the
-- address and the GSTIN the GST state codes are in clear too, for a trade's tax follows from them.
CREATE TABLE partners (
  id                uuid PRIMARY KEY,
  version           bigint NOT NULL CHECK (version > 0),
  status            text NOT NULL CHECK (status IN ('created', 'requirements_due', 'submitted', 'verifying',
                      'needs_clarification', 'under_review', 'active', 'suspended', 'rejected')),
  type              text NOT NULL CHECK (type IN ('farmer', 'ginner', 'trader', 'broker', 'spinning_mill')),
  constitution      text NOT NULL CHECK (constitution IN ('individual', 'proprietorship', 'hindu_undivided_family',
                      'partnership', 'limited_liability_partnership', 'private_limited', 'public_limited', 'trust',
                      'society', 'cooperative_society', 'government')),
  submission        integer NOT NULL CHECK (submission >= 0),
  clarifications    jsonb NOT NULL,
  due_at            timestamptz,
  legal_name        bytea NOT NULL,
  contact           bytea NOT NULL,
  pan               bytea,
  gstin             bytea,
  udyam             bytea,
  cin               bytea,
  llpin             bytea,
  iec               bytea,
  fssai             bytea,
  lei               bytea,
  address           bytea,
  bank_account      bytea,
  beneficial_owners bytea,
  pan_index         bytea,
  gstin_index       bytea,
  bank_index        bytea,
  state_code        text,
  gstin_state       text,
  created_at        timestamptz NOT NULL,
  updated_at        timestamptz NOT NULL,
  CONSTRAINT partners_pan UNIQUE (pan_index),
  CONSTRAINT partners_gstin UNIQUE (gstin_index),
  CONSTRAINT partners_bank UNIQUE (bank_index),
  CHECK ((pan IS NULL) = (pan_index IS NULL)),
  CHECK ((gstin IS NULL) = (gstin_index IS NULL)),
  CHECK ((bank_account IS NULL) = (bank_index IS NULL))
);
CREATE INDEX partners_status ON partners (status, id);

-- One row a check of a submission. What the provider answered is evidence, encrypted; only codes are in clear.
CREATE TABLE partner_checks (
  id                 uuid PRIMARY KEY,
  partner_id         uuid NOT NULL REFERENCES partners (id),
  submission         integer NOT NULL CHECK (submission > 0),
  kind               text NOT NULL CHECK (kind IN ('gst_registry', 'bank_account', 'screening')),
  attempts           integer NOT NULL CHECK (attempts >= 0),
  result             text CHECK (result IN ('clear', 'review', 'mismatch', 'unavailable')),
  explanation        text[] NOT NULL,
  provider           text,
  provider_reference text,
  evidence           bytea,
  created_at         timestamptz NOT NULL,
  completed_at       timestamptz,
  CONSTRAINT partner_checks_once UNIQUE (partner_id, submission, kind),
  CHECK ((result IS NULL) = (completed_at IS NULL)),
  CHECK (result IS NULL OR result = 'unavailable' OR evidence IS NOT NULL)
);

-- What a person decided, and the risk as it stood then. Never changed.
CREATE TABLE partner_decisions (
  id              uuid PRIMARY KEY,
  partner_id      uuid NOT NULL REFERENCES partners (id),
  action          text NOT NULL CHECK (action IN ('activate', 'reject', 'request_clarification', 'suspend',
                    'reinstate', 'recheck')),
  reason_code     text,
  accepted_checks text[] NOT NULL,
  clarifications  jsonb NOT NULL,
  risk            jsonb NOT NULL,
  decided_by      text NOT NULL,
  decided_at      timestamptz NOT NULL
);
CREATE INDEX partner_decisions_partner ON partner_decisions (partner_id, id);

-- The file itself is in the bucket of uploads, at partners/<partner_id>/documents/<id>.
CREATE TABLE partner_documents (
  id           uuid PRIMARY KEY,
  version      bigint NOT NULL CHECK (version > 0),
  partner_id   uuid NOT NULL REFERENCES partners (id),
  kind         text NOT NULL,
  content_type text NOT NULL,
  size         bigint NOT NULL CHECK (size > 0),
  sha256       text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  status       text NOT NULL CHECK (status IN ('awaiting_upload', 'uploaded')),
  created_at   timestamptz NOT NULL
);
CREATE INDEX partner_documents_partner ON partner_documents (partner_id, id);

ALTER TABLE partners ENABLE ROW LEVEL SECURITY;
ALTER TABLE partner_checks ENABLE ROW LEVEL SECURITY;
ALTER TABLE partner_decisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE partner_documents ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_partner ON partners USING (may_see(id)) WITH CHECK (may_see(id));
CREATE POLICY own_checks ON partner_checks USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));
CREATE POLICY own_decisions ON partner_decisions USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));
CREATE POLICY own_documents ON partner_documents USING (may_see(partner_id)) WITH CHECK (may_see(partner_id));

GRANT SELECT, INSERT, UPDATE ON partners TO partner_onboarding;
GRANT SELECT, INSERT, UPDATE (attempts, result, explanation, provider, provider_reference, evidence, completed_at)
  ON partner_checks TO partner_onboarding;
GRANT SELECT, INSERT ON partner_decisions TO partner_onboarding;
GRANT SELECT, INSERT, UPDATE (version, status) ON partner_documents TO partner_onboarding;
