-- migrate:up

ALTER TABLE payee
    ADD COLUMN account_status text COLLATE "C" CHECK (account_status IN ('opening', 'open', 'refused')), -- NULL: it is at no bank
    ADD COLUMN account_reason text; -- why the bank opened none: its code
UPDATE payee SET account_status = 'open' WHERE bank IS NOT NULL;
ALTER TABLE payee
    ADD CONSTRAINT payee_account_has_a_status CHECK ((account_status IS NULL) = (bank IS NULL)),
    ADD CONSTRAINT payee_account_has_a_number CHECK (
        (bank_account IS NOT NULL) = coalesce(account_status NOT IN ('opening', 'refused'), false)
    );

-- Openings of payees' sub-accounts that were not answered at once 开户: the last of each payee.
CREATE TABLE account_opening (
    book     int NOT NULL,
    payee_id text NOT NULL COLLATE "C",
    number   int NOT NULL CHECK (number > 0), -- which of the payee's openings it is
    sealed   text, -- the identity token, only while the bank is not known to have it
    asked_at timestamptz NOT NULL,
    ended_at timestamptz, -- NULL: the bank is asked until it says
    PRIMARY KEY (book, payee_id),
    CONSTRAINT account_opening_keeps_no_token CHECK (ended_at IS NULL OR sealed IS NULL),
    FOREIGN KEY (book, payee_id) REFERENCES payee (book, id)
);
CREATE INDEX account_opening_open ON account_opening (asked_at) WHERE ended_at IS NULL;
GRANT SELECT, INSERT, UPDATE ON account_opening TO sluice_app;

-- migrate:down
