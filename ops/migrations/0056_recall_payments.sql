-- migrate:up

-- What asks banks for payments back 追回: lines of batches, and withdrawals.
CREATE TABLE recall (
    book         int NOT NULL REFERENCES book (book),
    about        text NOT NULL COLLATE "C", -- the line's id, or the withdrawal's
    bank         text NOT NULL COLLATE "C",
    number       int NOT NULL CHECK (number > 0), -- the how-manieth it is: one that was refused may be asked for anew
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency     text NOT NULL COLLATE "C",
    reason       text NOT NULL COLLATE "C" CHECK (reason ~ '^[A-Z0-9]{4}$'), -- ISO 20022, ExternalCancellationReason1Code
    note         text NOT NULL, -- for the bank's people; may be empty
    status       text NOT NULL COLLATE "C" CHECK (
        status IN ('requested', 'sent', 'pending', 'accepted', 'refused', 'overtaken')
    ),
    unsent       bool NOT NULL, -- it is to be given to the bank
    code         text, -- why the bank refuses it, or waits
    answered_on  date, -- the bank's day of its last answer
    asked_by     text NOT NULL, -- a person's name
    asked_at     timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (book, about),
    CONSTRAINT recall_requested_is_unsent CHECK (status <> 'requested' OR unsent)
);
CREATE INDEX recall_unsent ON recall (asked_at, book, about) WHERE unsent;
CREATE INDEX recall_newest ON recall (book, asked_at, about);
CREATE INDEX recall_open ON recall (book, bank) WHERE status IN ('requested', 'sent', 'pending');

GRANT SELECT, INSERT, UPDATE ON recall TO sluice_app;

-- migrate:down
