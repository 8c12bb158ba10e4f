-- The sweep comes to what proved who a partner is, and to the rest that its policy lets go by itself.

-- It sees of a row whose it is and since when it is kept, and of a partner when the relationship ended.
GRANT SELECT (id, status, updated_at) ON partners TO retention_sweep;
GRANT SELECT (subject_id, restricted_at) ON restrictions TO retention_sweep;
GRANT SELECT (id, partner_id, kind, status, created_at) ON partner_documents TO retention_sweep;
GRANT SELECT (id, partner_id, created_at) ON partner_checks TO retention_sweep;
GRANT SELECT (id, partner_id, decided_at) ON partner_decisions TO retention_sweep;
GRANT SELECT (id, partner_id, status, updated_at) ON webhook_endpoints TO retention_sweep;
GRANT SELECT (endpoint_id) ON webhook_messages TO retention_sweep;
GRANT SELECT (image_sha256, model_sha256, policy, created_at) ON image_readings TO retention_sweep;
GRANT SELECT (partner_id, day) ON grading_budgets TO retention_sweep;
GRANT DELETE ON partner_documents, partner_checks, partner_decisions, webhook_endpoints, image_readings, grading_budgets,
  legal_holds, retention_sweeps, retention_findings TO retention_sweep;

-- What proves who trades stays while it may, a partner's endpoint until the partner deletes it, a hold until it is released.
CREATE POLICY sweep_ended ON partner_checks AS RESTRICTIVE FOR DELETE TO retention_sweep
  USING (EXISTS (SELECT FROM partners p WHERE p.id = partner_id AND p.status = 'rejected')
         OR EXISTS (SELECT FROM restrictions r WHERE r.subject_id = partner_id));
CREATE POLICY sweep_ended ON partner_decisions AS RESTRICTIVE FOR DELETE TO retention_sweep
  USING (EXISTS (SELECT FROM partners p WHERE p.id = partner_id AND p.status = 'rejected')
         OR EXISTS (SELECT FROM restrictions r WHERE r.subject_id = partner_id));
CREATE POLICY sweep_deleted ON webhook_endpoints AS RESTRICTIVE FOR DELETE TO retention_sweep USING (status = 'deleted');
ALTER TABLE legal_holds ENABLE ROW LEVEL SECURITY;
CREATE POLICY every_hold ON legal_holds USING (true) WITH CHECK (true);
CREATE POLICY sweep_released ON legal_holds AS RESTRICTIVE FOR DELETE TO retention_sweep USING (released_at IS NOT NULL);

CREATE INDEX partner_documents_retention ON partner_documents USING brin (created_at);
CREATE INDEX partner_checks_retention ON partner_checks USING brin (created_at);
CREATE INDEX partner_decisions_retention ON partner_decisions USING brin (decided_at);
CREATE INDEX image_readings_retention ON image_readings USING brin (created_at);
