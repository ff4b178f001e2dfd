-- migrate:up

-- What a suspended payee is owed is booked as ever, and paid to nobody.
ALTER TABLE payee
    ADD COLUMN suspended_at timestamptz, -- NULL: not suspended
    ADD COLUMN suspended_by text COLLATE "C" CHECK (suspended_by IN ('merchant', 'operator')),
    ADD CONSTRAINT payee_suspended_by_somebody CHECK ((suspended_at IS NULL) = (suspended_by IS NULL));

-- migrate:down
