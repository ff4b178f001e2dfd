-- migrate:up

-- A payee's own account at another bank 绑定账户, to which it withdraws. The holder is always the payee.
CREATE TABLE payee_account (
    book      int NOT NULL,
    payee_id  text NOT NULL COLLATE "C",
    account   text NOT NULL COLLATE "C",
    bank_bic  text NOT NULL COLLATE "C",
    bank_name text NOT NULL,
    set_by    text NOT NULL, -- a person's name, or an API key's id
    set_at    timestamptz NOT NULL,
    PRIMARY KEY (book, payee_id),
    FOREIGN KEY (book, payee_id) REFERENCES payee (book, id)
);

-- What payees may withdraw 提现限额. payee_id '': the default at a bank.
CREATE TABLE withdrawal_limit (
    book          int NOT NULL,
    bank          text NOT NULL COLLATE "C",
    payee_id      text NOT NULL COLLATE "C",
    minimum_minor bigint NOT NULL CHECK (minimum_minor >= 0),
    most_minor    bigint CHECK (most_minor >= minimum_minor), -- at once; NULL: no limit
    day_minor     bigint CHECK (day_minor >= 0), -- a day, in Beijing; NULL: no limit
    set_at        timestamptz NOT NULL,
    PRIMARY KEY (book, bank, payee_id)
);

-- What payees asked to withdraw on the last day on which they did, less what was refused.
CREATE TABLE withdrawal_use (
    book      int NOT NULL,
    payee_id  text NOT NULL COLLATE "C",
    day       date NOT NULL, -- in Beijing
    day_minor bigint NOT NULL CHECK (day_minor >= 0),
    PRIMARY KEY (book, payee_id),
    FOREIGN KEY (book, payee_id) REFERENCES payee (book, id)
);

-- Withdrawals 提现: from a payee's sub-account to its own account at another bank.
CREATE TABLE withdrawal (
    book           int NOT NULL,
    id             text NOT NULL COLLATE "C", -- follows from book and reference
    payee_id       text NOT NULL COLLATE "C",
    reference      text NOT NULL COLLATE "C", -- the merchant's own number
    bank           text NOT NULL COLLATE "C",
    sub_account    text NOT NULL COLLATE "C", -- it is paid from
    name           text NOT NULL, -- of the payee: of both accounts
    account        text NOT NULL COLLATE "C", -- the payee's own, as it was when this was asked for
    bank_bic       text NOT NULL COLLATE "C",
    bank_name      text NOT NULL,
    amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
    currency       text NOT NULL COLLATE "C",
    status         text NOT NULL COLLATE "C" CHECK (
        status IN ('requested', 'stopped', 'sent', 'paid', 'refused', 'returned')
    ),
    reason         text, -- why it was refused or came back: the bank's code
    execution_date date NOT NULL, -- the day in Beijing on which it was asked for
    written_as     int NOT NULL, -- in which of its bank's forms it is written, the same whenever it is sent
    asked_by       text NOT NULL, -- an API key's id
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    bank_date      date, -- the bank's day on which it was paid or refused; NULL: undecided
    returned_on    date, -- the bank's day on which it came back
    PRIMARY KEY (book, id),
    CONSTRAINT withdrawal_decided_on_a_day CHECK (
        (status IN ('requested', 'stopped', 'sent')) = (bank_date IS NULL)
    ),
    CONSTRAINT withdrawal_returned_on_a_day CHECK ((status = 'returned') = (returned_on IS NOT NULL)),
    FOREIGN KEY (book, payee_id) REFERENCES payee (book, id)
);
CREATE INDEX withdrawal_of_payee ON withdrawal (book, payee_id, id);
CREATE INDEX withdrawal_newest ON withdrawal (book, created_at, id);
CREATE INDEX withdrawal_open ON withdrawal (created_at) WHERE status IN ('requested', 'stopped', 'sent');
CREATE INDEX withdrawal_of_day ON withdrawal (book, bank, bank_date);
CREATE INDEX withdrawal_returned_on ON withdrawal (book, bank, returned_on) WHERE returned_on IS NOT NULL;

CREATE INDEX instruction_in_transit ON instruction (book, payee_id) WHERE status = 'in_transit';

GRANT SELECT, INSERT, UPDATE ON payee_account, withdrawal_limit, withdrawal_use, withdrawal TO sluice_app;

-- migrate:down
