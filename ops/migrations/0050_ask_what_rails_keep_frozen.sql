-- migrate:up

ALTER TABLE rail_payment ADD COLUMN ask_at timestamptz;
CREATE INDEX rail_payment_to_ask ON rail_payment (ask_at) WHERE ask_at IS NOT NULL;
UPDATE rail_payment SET ask_at = paid_at + interval '31 days' WHERE released_on IS NULL;

-- migrate:down
