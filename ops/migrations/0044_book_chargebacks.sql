-- migrate:up

-- 拒付: money of a payment that its rail took back for the payer, by the rail's number of the dispute.
CREATE TABLE chargeback (
    book               int NOT NULL,
    id                 text NOT NULL COLLATE "C",
    payment_id         text NOT NULL COLLATE "C",
    attempt_number     int NOT NULL,
    channel            text NOT NULL COLLATE "C",
    channel_account    text NOT NULL COLLATE "C",
    channel_ref        text NOT NULL COLLATE "C", -- the rail's number of it
    amount_minor       bigint NOT NULL CHECK (amount_minor > 0), -- what the rail took
    currency           text NOT NULL COLLATE "C",
    covered_minor      bigint NOT NULL, -- of it, what the payment bears; the rest had gone back before: in suspense
    fee_minor          bigint NOT NULL CHECK (fee_minor >= 0), -- what the rail keeps for it
    fee_back_minor     bigint NOT NULL, -- of that, what the rail gave back when it was won
    fee_returned_minor bigint NOT NULL CHECK (fee_returned_minor >= 0), -- of the payment's fee, as with a refund
    coupon_minor       bigint NOT NULL CHECK (coupon_minor >= 0), -- of covered_minor, what coupons bear
    taken_back         json NOT NULL,
    reason             text NOT NULL,
    status             text NOT NULL COLLATE "C" CHECK (status IN ('opened', 'won', 'lost')),
    evidence_due_at    timestamptz,
    evidence           text, -- of one that a person recorded: where it is kept
    recorded_by        text COLLATE "C", -- that person; NULL: the rail tells of it
    business_date      date NOT NULL, -- on which the rail took the money
    ended_date         date,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    due_at             timestamptz, -- when the rail is asked again; NULL: it has ended, or a person records it
    PRIMARY KEY (book, id),
    UNIQUE (book, channel_account, channel_ref),
    FOREIGN KEY (book, payment_id) REFERENCES payment (book, id),
    CONSTRAINT chargeback_covered CHECK (covered_minor BETWEEN 0 AND amount_minor),
    CONSTRAINT chargeback_fee_back CHECK (fee_back_minor BETWEEN 0 AND fee_minor),
    CONSTRAINT chargeback_ended CHECK ((status = 'opened') = (ended_date IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX chargeback_due ON chargeback (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX chargeback_of_payment ON chargeback (book, payment_id);
CREATE INDEX chargeback_by_date ON chargeback (book, channel_account, business_date);
CREATE INDEX chargeback_by_end ON chargeback (book, channel_account, ended_date) WHERE ended_date IS NOT NULL;
GRANT SELECT, INSERT, UPDATE ON chargeback TO sluice_app;

ALTER TABLE payment ADD COLUMN charged_back_minor bigint NOT NULL DEFAULT 0 CHECK (charged_back_minor >= 0);
ALTER TABLE payment
    ADD CONSTRAINT what_goes_back_never_exceeds_the_capture
    CHECK (refunded_minor + refunding_minor + charged_back_minor <= captured_minor) NOT VALID;
ALTER TABLE payment DROP CONSTRAINT refunds_never_exceed_the_capture;
ALTER TABLE payment VALIDATE CONSTRAINT what_goes_back_never_exceeds_the_capture;

-- migrate:down
