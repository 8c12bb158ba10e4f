-- A hold names its row as PostgreSQL writes its key: one that was placed with a key in capitals kept nothing until now.
UPDATE legal_holds SET row_id = lower(row_id)
  WHERE released_at IS NULL AND row_id IS NOT NULL AND table_name <> 'image_readings';
