-- migrate:up

-- A payout that comes back 退票: paid, and days later in the pool account again.
ALTER TABLE instruction
    ADD COLUMN returned_at timestamptz,
    ADD COLUMN returned_on date,
    ADD COLUMN return_reason text,
    DROP CONSTRAINT instruction_status_check,
    ADD CONSTRAINT instruction_status_check CHECK (status IN ('in_transit', 'paid', 'refused', 'returned')),
    ADD CONSTRAINT instruction_returned_on_a_day CHECK (
        (status = 'returned') = (returned_on IS NOT NULL) AND (returned_on IS NULL) = (returned_at IS NULL)
    );
ALTER TABLE settlement
    ADD COLUMN returned_minor bigint NOT NULL DEFAULT 0,
    ADD COLUMN written_as int NOT NULL DEFAULT 0, -- a batch of before is sent again as it was, byte for byte
    ADD CONSTRAINT settlement_returned_of_what_was_paid CHECK (returned_minor >= 0 AND returned_minor <= paid_minor);
ALTER TABLE settlement ALTER COLUMN written_as SET DEFAULT 1;

-- migrate:down
