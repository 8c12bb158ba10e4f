-- The sweep comes to what proved who a partner is, and to the rest that its policy lets go by itself.

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
