-- migrate:up

-- A merchant's own coupon pays a part of a payment, which its channel then does not pay out. What was captured so far
-- was booked without: where a coupon was among it, the daily proof says so.
ALTER TABLE payment ADD COLUMN coupon_minor bigint NOT NULL DEFAULT 0 CHECK (coupon_minor >= 0);
ALTER TABLE payment ADD COLUMN coupon_returned_minor bigint NOT NULL DEFAULT 0 CHECK (coupon_returned_minor >= 0);
ALTER TABLE attempt ADD COLUMN coupon_minor bigint NOT NULL DEFAULT 0 CHECK (coupon_minor >= 0);
ALTER TABLE refund ADD COLUMN coupon_minor bigint NOT NULL DEFAULT 0 CHECK (coupon_minor >= 0);
ALTER TABLE split ADD COLUMN coupon_minor bigint NOT NULL DEFAULT 0 CHECK (coupon_minor >= 0);

-- migrate:down
