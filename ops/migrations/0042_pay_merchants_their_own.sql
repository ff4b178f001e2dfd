-- migrate:up

-- By which payee a merchant is paid what is its own of payments 商户本金: the remainder, and payments without a plan.
CREATE TABLE own_payee (
    book     int NOT NULL,
    currency text NOT NULL COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
    payee_id text COLLATE "C", -- NULL: by none any more
    set_by   text NOT NULL, -- a person's name, or an API key's id
    set_at   timestamptz NOT NULL,
    PRIMARY KEY (book, currency),
    FOREIGN KEY (book, payee_id) REFERENCES payee (book, id)
);
GRANT SELECT, INSERT, UPDATE ON own_payee TO sluice_app;

ALTER TABLE split ADD COLUMN own_payee text COLLATE "C"; -- who is paid the merchant's own of it; NULL: nobody, it stays in the merchant's account

-- migrate:down
