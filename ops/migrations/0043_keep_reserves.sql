-- migrate:up

ALTER TABLE payee ADD COLUMN account_class text COLLATE "C" CHECK (account_class IN ('II', 'III')); -- of its account at the bank; NULL: without limits

-- What was sent to payees' accounts that have limits: for the last day and its year, and what is on its way.
CREATE TABLE account_use (
    book       int NOT NULL,
    payee_id   text NOT NULL COLLATE "C",
    day        date NOT NULL, -- the last on which anything was sent
    day_minor  bigint NOT NULL CHECK (day_minor >= 0),
    year_minor bigint NOT NULL CHECK (year_minor >= day_minor),
    open_minor bigint NOT NULL CHECK (open_minor >= 0), -- in transit to it
    PRIMARY KEY (book, payee_id),
    FOREIGN KEY (book, payee_id) REFERENCES payee (book, id)
);

-- What is kept of what payees are owed 保证金. payee_id '': the default at a bank.
CREATE TABLE payout_reserve (
    book         int NOT NULL,
    bank         text NOT NULL COLLATE "C",
    payee_id     text NOT NULL COLLATE "C",
    fixed_minor  bigint NOT NULL CHECK (fixed_minor >= 0),
    rolling_bp   int NOT NULL CHECK (rolling_bp BETWEEN 0 AND 10000), -- of what a date brought
    rolling_days int NOT NULL CHECK (rolling_days BETWEEN 0 AND 366), -- for so many days, the date itself among them
    set_at       timestamptz NOT NULL,
    PRIMARY KEY (book, bank, payee_id),
    CONSTRAINT payout_reserve_rolls_or_not CHECK ((rolling_bp = 0) = (rolling_days = 0))
);
GRANT SELECT, INSERT, UPDATE ON account_use, payout_reserve TO sluice_app;

-- migrate:down
