-- migrate:up

-- Which processes of this hub live: one row a host and kind, written by each as its heart beats.
CREATE TABLE heartbeat (
    process text PRIMARY KEY COLLATE "C",
    kind    text NOT NULL COLLATE "C" CHECK (kind IN ('gateway', 'worker')),
    beat_at timestamptz NOT NULL -- by the database's clock
) WITH (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE ON heartbeat TO sluice_app;

ALTER TABLE merchant ADD COLUMN suspended_at timestamptz; -- NULL: takes payments

-- migrate:down
