-- migrate:up

-- A payment may be tried on several accounts, be reserved before it is captured, and wait for its payer to choose.
ALTER TABLE payment DROP CONSTRAINT payment_status_check;
ALTER TABLE payment DROP CONSTRAINT payment_attempt_count_check;
ALTER TABLE payment DROP CONSTRAINT payment_check;
ALTER TABLE payment ADD COLUMN won_attempt int NOT NULL DEFAULT 0;
ALTER TABLE payment ADD COLUMN capture_manual bool NOT NULL DEFAULT false;
ALTER TABLE payment ADD COLUMN details json;
ALTER TABLE payment ADD COLUMN due_at timestamptz;
UPDATE payment SET won_attempt = attempt_count WHERE captured_minor > 0;
ALTER TABLE payment ADD CONSTRAINT payment_status CHECK (status IN (
    'processing', 'requires_action', 'requires_capture', 'succeeded', 'failed', 'canceled', 'expired'
));
ALTER TABLE payment ADD CONSTRAINT payment_attempts CHECK (attempt_count >= 0);
ALTER TABLE payment ADD CONSTRAINT captured_within_the_amount CHECK (captured_minor BETWEEN 0 AND amount_minor);
ALTER TABLE payment ADD CONSTRAINT captured_by_an_attempt
    CHECK (won_attempt BETWEEN (captured_minor > 0)::int AND attempt_count);
CREATE INDEX payment_due ON payment (due_at) WHERE due_at IS NOT NULL;

ALTER TABLE attempt DROP CONSTRAINT attempt_status_check;
ALTER TABLE attempt ADD COLUMN fee_minor bigint;
ALTER TABLE attempt ADD COLUMN method text COLLATE "C";
ALTER TABLE attempt ADD COLUMN details json;
ALTER TABLE attempt ADD COLUMN decision json;
ALTER TABLE attempt ADD COLUMN held_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN capture_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN captured_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN business_date date;
ALTER TABLE attempt ADD COLUMN latency_ms int;
ALTER TABLE attempt ADD COLUMN next_action json;
-- Until now a payment had one attempt, so what the payment says of its money is its attempt's.
UPDATE attempt a SET fee_minor = p.fee_minor, method = p.method, captured_minor = p.captured_minor,
    business_date = p.business_date
FROM payment p WHERE p.book = a.book AND p.id = a.payment_id;
ALTER TABLE attempt ALTER COLUMN fee_minor SET NOT NULL;
ALTER TABLE attempt ALTER COLUMN method SET NOT NULL;
ALTER TABLE attempt DROP COLUMN fee_bp;
ALTER TABLE attempt ADD CONSTRAINT attempt_fee CHECK (fee_minor >= 0);
ALTER TABLE attempt ADD CONSTRAINT attempt_status CHECK (status IN (
    'created', 'pending', 'unknown', 'held', 'confirmed', 'refused', 'closed', 'failed_over', 'late', 'surplus'
));
ALTER TABLE attempt ADD CONSTRAINT capture_within_the_hold CHECK (
    held_minor >= 0 AND capture_minor >= 0 AND captured_minor >= 0 AND capture_minor <= held_minor
);

ALTER TABLE refund ADD COLUMN retry_count int NOT NULL DEFAULT 0;
ALTER TABLE refund ADD COLUMN retried_at timestamptz;

-- migrate:down
