-- What the screening found is for the platform's staff alone: no archive says it, and the role that makes them reads less.
REVOKE SELECT (reason_code, accepted_checks, risk) ON partner_decisions FROM data_export;

-- A hold names its row as PostgreSQL writes its key: one that was placed with a key in capitals kept nothing until now.
UPDATE legal_holds SET row_id = lower(row_id)
  WHERE released_at IS NULL AND row_id IS NOT NULL AND table_name <> 'image_readings';

-- A lot stays while a partner who took a step of it is held.
GRANT SELECT (partner_id, bidder_id) ON trade_events TO retention_sweep;
