-- What the screening found is for the platform's staff alone: no archive says it, and the role that makes them reads less.
REVOKE SELECT (reason_code, accepted_checks, risk) ON partner_decisions FROM data_export;
