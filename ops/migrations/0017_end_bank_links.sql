-- migrate:up

ALTER TABLE bank_link ADD COLUMN ended_at timestamptz; -- the bank is asked only while a batch is under way; NULL: always

-- migrate:down
