-- migrate:up

ALTER TABLE cashier_link ADD COLUMN suspended_at timestamptz; -- by the operator; NULL: not suspended

-- migrate:down
