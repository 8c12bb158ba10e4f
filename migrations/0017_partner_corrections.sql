-- Operations corrects what kind of partner one is; the decision says what it was corrected to.
ALTER TABLE partner_decisions
  ADD COLUMN type text,
  ADD COLUMN constitution text,
  DROP CONSTRAINT partner_decisions_action_check,
  ADD CONSTRAINT partner_decisions_action_check CHECK (action IN ('activate', 'reject', 'request_clarification', 'suspend',
    'reinstate', 'recheck', 'reclassify'));

-- Who was rejected holds no PAN, GSTIN or account any more: whom they belong to registers with them, and whoever decides on
-- that one is shown who was rejected with the same.
ALTER TABLE partners DROP CONSTRAINT partners_pan, DROP CONSTRAINT partners_gstin, DROP CONSTRAINT partners_bank;
CREATE UNIQUE INDEX partners_pan ON partners (pan_index) WHERE status <> 'rejected';
CREATE UNIQUE INDEX partners_gstin ON partners (gstin_index) WHERE status <> 'rejected';
CREATE UNIQUE INDEX partners_bank ON partners (bank_index) WHERE status <> 'rejected';
CREATE INDEX partners_rejected_pan ON partners (pan_index) WHERE status = 'rejected';
CREATE INDEX partners_rejected_gstin ON partners (gstin_index) WHERE status = 'rejected';
CREATE INDEX partners_rejected_bank ON partners (bank_index) WHERE status = 'rejected';

-- A partner withdraws a document that was wrong, unless a legal hold keeps it.
GRANT DELETE ON partner_documents TO partner_onboarding;
GRANT SELECT (subject_id, table_name, row_id, released_at) ON legal_holds TO partner_onboarding;

-- Of a deadline that has passed everybody is told once: the mark is the deadline that was told of.
ALTER TABLE partners ADD COLUMN overdue_told timestamptz;
CREATE INDEX partners_due ON partners (due_at, id) WHERE status IN ('created', 'requirements_due', 'needs_clarification');
