-- migrate:up

-- A batch that its bank refuses as a whole waits for two people, who have it sent again or cancel it. It is written in
-- the name of the account holder; one of before, which may be at the bank, is sent again as it was, byte for byte.
ALTER TABLE settlement
    ADD COLUMN debtor_name text,
    ADD COLUMN again_at timestamptz,
    DROP CONSTRAINT settlement_status_check,
    ADD CONSTRAINT settlement_status_check CHECK (
        status IN ('draft', 'awaiting_release', 'created', 'refused', 'cancelled', 'sent', 'finished')
    );
-- Which files a bank writes is a matter of its protocol: a file's type is a form and a message of it.
ALTER TABLE bank_file
    DROP CONSTRAINT bank_file_type_check,
    ADD CONSTRAINT bank_file_type_check CHECK (type ~ '^[a-z0-9]+[.][a-z0-9]+$');
ALTER TABLE statement_file
    DROP CONSTRAINT statement_file_kind_check,
    ADD CONSTRAINT statement_file_kind_check CHECK (kind ~ '^(bill|funds|[a-z0-9]+[.][a-z0-9]+)$');

-- migrate:down
