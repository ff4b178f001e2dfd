-- migrate:up

-- Parts of shares that are not to be paid out at once: frozen until delivery is confirmed, or until a date.
ALTER TABLE split
    ADD COLUMN frozen json NOT NULL DEFAULT '[]',
    ADD COLUMN frozen_minor bigint NOT NULL DEFAULT 0 CHECK (frozen_minor >= 0),
    ADD COLUMN release_on date,
    ADD COLUMN delivered_at timestamptz;
CREATE INDEX split_to_release ON split (release_on) WHERE release_on IS NOT NULL;
CREATE INDEX split_frozen ON split (book, payment_id) WHERE frozen_minor > 0;

-- migrate:down
