-- migrate:up

ALTER TABLE bank_link ADD COLUMN read_at timestamptz; -- when last all that the bank had was read, give or take a minute
UPDATE bank_link SET read_at = now();

-- migrate:down
