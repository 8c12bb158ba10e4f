-- How often reading an image was begun: what is given up is what nobody survives, not what waited long.
ALTER TABLE gradings ADD COLUMN attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0);
GRANT UPDATE (attempts) ON gradings TO grading_requests;
