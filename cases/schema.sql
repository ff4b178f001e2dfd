-- What a person must decide 待人工处理. One row a kind and object, for ever; every opening and decision is an event.
CREATE TABLE case_file (
    book         int NOT NULL REFERENCES book (book),
    id           text NOT NULL COLLATE "C", -- follows from book, kind and object
    kind         text NOT NULL COLLATE "C",
    about        text NOT NULL COLLATE "C",
    amount_minor bigint,
    currency     text COLLATE "C",
    facts        json NOT NULL,
    status       text NOT NULL COLLATE "C" CHECK (status IN ('open', 'decided')),
    opened_at    timestamptz NOT NULL,
    opened_count int NOT NULL CHECK (opened_count > 0),
    decision     text COLLATE "C",
    decided_by   text,
    decided_at   timestamptz,
    note         text,
    PRIMARY KEY (book, id),
    UNIQUE (book, kind, about),
    CONSTRAINT case_amount_has_its_currency CHECK ((amount_minor IS NULL) = (currency IS NULL)),
    CONSTRAINT case_decided_by_somebody CHECK (
        status = 'open' OR (decision IS NOT NULL AND decided_by IS NOT NULL AND decided_at IS NOT NULL)
    )
);
CREATE INDEX case_file_open ON case_file (opened_at) WHERE status = 'open';
CREATE INDEX case_file_of_parts ON case_file (book) WHERE decision = 'part';
