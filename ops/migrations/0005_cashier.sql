-- migrate:up

-- Payment links 付款链接 and merchants' standing codes 静态收款码: addresses from which payers make payments themselves.
CREATE TABLE cashier_link (
    book          int NOT NULL,
    id            text NOT NULL COLLATE "C",
    kind          text NOT NULL COLLATE "C" CHECK (kind IN ('link', 'static')),
    name          text NOT NULL,
    description   text NOT NULL,
    amount_minor  bigint CHECK (amount_minor > 0),
    minimum_minor bigint NOT NULL CHECK (minimum_minor > 0),
    maximum_minor bigint NOT NULL,
    currency      text NOT NULL COLLATE "C",
    state         text NOT NULL COLLATE "C" CHECK (state IN ('active', 'inactive')),
    expires_at    timestamptz,
    max_uses      int CHECK (max_uses BETWEEN 1 AND 100),
    uses          json NOT NULL,
    payment_count int NOT NULL CHECK (payment_count >= 0),
    split         json,
    metadata      json,
    return_url    text,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    PRIMARY KEY (book, id),
    CONSTRAINT cashier_link_bounds CHECK (minimum_minor <= maximum_minor)
) WITH (fillfactor = 70);
GRANT SELECT, INSERT, UPDATE ON cashier_link TO sluice_app;

-- migrate:down
