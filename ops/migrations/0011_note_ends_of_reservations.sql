-- migrate:up

-- Some rails know what completes or releases a reservation by the moment at which it was first sent. What was asked for
-- before went out under the attempt's own moment, which is what is taken where none is noted.
ALTER TABLE attempt ADD COLUMN ending_at timestamptz;

-- migrate:down
