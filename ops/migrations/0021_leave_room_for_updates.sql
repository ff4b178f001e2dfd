-- migrate:up

-- A payment is written twice. Where its page has room for the second version, no index is touched; pages that are full
-- already stay as they are.
ALTER TABLE payment SET (fillfactor = 45);

-- migrate:down
