-- An erasure waits for a legal hold on a single row, too.
GRANT SELECT (table_name, row_id) ON legal_holds TO data_export;
