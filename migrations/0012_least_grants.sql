-- The audit trail has no inbox: a row's event id says whether it is there.
REVOKE ALL ON inbox FROM audit_trail;
