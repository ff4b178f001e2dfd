-- migrate:up

ALTER TABLE rail_payment
    ADD COLUMN returns_open int NOT NULL DEFAULT 0 CHECK (returns_open >= 0),
    ADD COLUMN return_sent_at timestamptz;
ALTER TABLE share_return ADD COLUMN sent_at timestamptz;

UPDATE share_return SET sent_at = updated_at WHERE status = 'sent';
UPDATE rail_payment p SET returns_open = (
    SELECT count(*) FROM share_return r JOIN share_order o ON o.book = r.book AND o.id = r.order_id
    WHERE r.book = p.book AND o.rail_payment = p.id AND r.status IN ('waiting', 'sent')
);

-- migrate:down
