-- What trading reads of partners: whether one may trade and from which state it supplies, and, sealed, who the other side of a
-- trade is and where it is paid.
GRANT SELECT (id, status, type, constitution, state_code, gstin_state, legal_name, contact, gstin, address, bank_account)
  ON partners TO trade_events;
GRANT SELECT ON epoch_keys, subject_keys TO trade_events;
