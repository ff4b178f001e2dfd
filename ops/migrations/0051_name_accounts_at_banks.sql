-- migrate:up

-- Accounts at a merchant's bank that are for one role each 功能账户, of its custody.
CREATE TABLE bank_account (
    book     int NOT NULL,
    bank     text NOT NULL COLLATE "C",
    currency text NOT NULL COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
    role     text NOT NULL COLLATE "C" CHECK (role IN ('suspense', 'fee', 'interest', 'guarantee', 'reserve')),
    account  text NOT NULL COLLATE "C", -- its number at the bank
    set_by   text NOT NULL, -- a person's name
    set_at   timestamptz NOT NULL,
    PRIMARY KEY (book, bank, currency, role),
    FOREIGN KEY (book, bank) REFERENCES bank_link (book, bank)
);
CREATE UNIQUE INDEX bank_account_of_number ON bank_account (book, bank, account);

GRANT SELECT, INSERT, UPDATE ON bank_account TO sluice_app;

-- migrate:down
