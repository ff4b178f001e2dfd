-- migrate:up

-- What a refused second call says depends on whether an earlier one may have arrived. Of what was there before, nobody
-- noted whether it was made: as often as is needed for nothing to be concluded from a refusal.
ALTER TABLE attempt ADD COLUMN proceed_count int NOT NULL DEFAULT 1;
ALTER TABLE attempt ALTER COLUMN proceed_count SET DEFAULT 0;

-- migrate:down
