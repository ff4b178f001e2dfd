-- migrate:up

-- Some channels keep their fee when a payment is refunded. What was tried so far keeps what it was booked by.
ALTER TABLE attempt ADD COLUMN fee_kept bool NOT NULL DEFAULT false;

-- migrate:down
