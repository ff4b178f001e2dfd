-- Book against channel against bank 对账. Files as they came, one row a run, one row a difference, every move kept.

-- A file of a channel or bank, with its bytes. Never changed but for being superseded by a restated one.
CREATE TABLE statement_file (
    book          int NOT NULL,
    id            text NOT NULL COLLATE "C", -- follows from counterparty, kind and content
    counterparty  text NOT NULL COLLATE "C",
    kind          text NOT NULL COLLATE "C" CHECK (
        kind ~ '^(bill|funds|[a-z0-9]+[.][a-z0-9]+)$' -- of a bank: the type of its file
    ),
    subject       text NOT NULL COLLATE "C", -- of files with one subject the newest counts
    message_id    text COLLATE "C",          -- bank files: the sender's number, never used twice
    business_date date NOT NULL,
    name          text NOT NULL,
    sha256        text NOT NULL COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    raw           bytea NOT NULL,
    refused_code  text COLLATE "C",          -- why nothing of it was used
    refused_why   text,
    received_at   timestamptz NOT NULL,
    superseded_by text COLLATE "C",
    PRIMARY KEY (book, id)
);
CREATE INDEX statement_file_of_subject ON statement_file (book, counterparty, kind, subject);
CREATE INDEX statement_file_of_message ON statement_file (book, counterparty, message_id) WHERE message_id IS NOT NULL;

-- One business date against one counterparty. Running it again updates the row.
CREATE TABLE run (
    book          int NOT NULL,
    id            text NOT NULL COLLATE "C", -- follows from counterparty and date
    counterparty  text NOT NULL COLLATE "C",
    business_date date NOT NULL,
    areas         text[] NOT NULL, -- which pairs of books have been compared so far
    matched       jsonb NOT NULL,  -- area → references that agree
    differing     jsonb NOT NULL,  -- area → kind → references that do not
    net           jsonb,           -- what the channel owes for the day: by our movements, by its bill, as received
    digest        text NOT NULL COLLATE "C", -- over every difference of the last time it ran
    times         int NOT NULL CHECK (times > 0),
    first_run_at  timestamptz NOT NULL,
    last_run_at   timestamptz NOT NULL,
    PRIMARY KEY (book, id),
    UNIQUE (book, counterparty, business_date)
);

CREATE TABLE discrepancy (
    book              int NOT NULL,
    id                text NOT NULL COLLATE "C", -- follows from counterparty, area, item and reference
    counterparty      text NOT NULL COLLATE "C",
    area              text NOT NULL COLLATE "C" CHECK (area IN ('channel', 'deposit', 'payout', 'balance')),
    item              text NOT NULL COLLATE "C",
    reference         text NOT NULL COLLATE "C",
    payment_reference text COLLATE "C",
    kind              text NOT NULL COLLATE "C",
    state             text NOT NULL COLLATE "C" CHECK (
        state IN ('open', 'explained', 'suspended', 'adjusted', 'written_off', 'resolved')
    ),
    business_date     date NOT NULL, -- by our book; by their file where we have nothing
    last_date         date NOT NULL, -- the last day whose run can still change it
    currency          text NOT NULL COLLATE "C",
    ours_minor        bigint,
    theirs_minor      bigint,
    difference_minor  bigint, -- theirs − ours; NULL where two currencies met
    detail            text NOT NULL,
    certain           bool NOT NULL, -- the files alone explain it
    ours              jsonb,
    sightings         jsonb NOT NULL, -- what each day's file showed
    moves             int NOT NULL CHECK (moves > 0),
    opened_at         timestamptz NOT NULL,
    changed_at        timestamptz NOT NULL,
    PRIMARY KEY (book, id),
    UNIQUE (book, counterparty, area, item, reference)
);
CREATE INDEX discrepancy_by_date ON discrepancy (book, counterparty, last_date);
CREATE INDEX discrepancy_unsettled ON discrepancy (book, state, business_date)
WHERE state IN ('open', 'explained', 'suspended');

-- 留痕: each move of each discrepancy, numbered without gaps.
CREATE TABLE discrepancy_move (
    book           int NOT NULL,
    discrepancy_id text NOT NULL COLLATE "C",
    number         int NOT NULL CHECK (number > 0),
    event          text NOT NULL COLLATE "C",
    from_state     text COLLATE "C", -- NULL: it was opened
    to_state       text NOT NULL COLLATE "C",
    kind           text NOT NULL COLLATE "C",
    cause          text NOT NULL,
    moved_at       timestamptz NOT NULL,
    PRIMARY KEY (book, discrepancy_id, number),
    FOREIGN KEY (book, discrepancy_id) REFERENCES discrepancy (book, id)
);

-- What every account at a bank held at the end of every day, by the bank and by our book.
CREATE TABLE closing (
    book            int NOT NULL,
    counterparty    text NOT NULL COLLATE "C",
    account         text NOT NULL COLLATE "C",
    business_date   date NOT NULL,
    currency        text NOT NULL COLLATE "C",
    opening_minor   bigint NOT NULL,
    closing_minor   bigint NOT NULL,
    mirror_minor    bigint, -- NULL: our book has no such account
    explained_minor bigint NOT NULL, -- the part of closing − mirror that payout discrepancies come to
    PRIMARY KEY (book, counterparty, account, business_date)
);

-- The keys that certificates are signed with; the private part sealed under a master key. Of the whole installation.
CREATE TABLE certificate_key (
    id         text PRIMARY KEY COLLATE "C", -- follows from the public key
    public_key bytea NOT NULL CHECK (length(public_key) = 32), -- Ed25519, raw
    sealed     text NOT NULL COLLATE "C",
    made_at    timestamptz NOT NULL
);

-- The certificate 日终证明 of a business date, over all books. One that replaces another has the next number.
CREATE TABLE day_certificate (
    business_date date NOT NULL,
    number        int NOT NULL CHECK (number > 0),
    sha256        text NOT NULL COLLATE "C" UNIQUE CHECK (sha256 ~ '^[0-9a-f]{64}$'), -- of content
    content       bytea NOT NULL, -- the file as it is given out
    key_id        text NOT NULL COLLATE "C" REFERENCES certificate_key (id),
    holds         bool NOT NULL,
    PRIMARY KEY (business_date, number)
);
CREATE TRIGGER day_certificate_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON day_certificate
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

-- How far each step of business dates has come 日程, for each bank or channel account of a book; book 0: the whole hub.
CREATE TABLE timetable (
    book        int NOT NULL,
    step        text NOT NULL COLLATE "C",
    subject     text NOT NULL COLLATE "C",
    done_until  date NOT NULL, -- done for this business date, and for those before it
    ran_at      timestamptz, -- when it was tried last; NULL: never
    tries       int NOT NULL CHECK (tries >= 0), -- in vain, for the date after that
    retry_at    timestamptz,
    failed_code text COLLATE "C",
    failed_why  text,
    PRIMARY KEY (book, step, subject),
    CONSTRAINT timetable_failed_for_a_reason CHECK (
        (tries = 0) = (retry_at IS NULL) AND (tries = 0) = (failed_code IS NULL) AND (tries = 0) = (failed_why IS NULL)
    )
);

-- Business dates that a step could not be done for by the time the next one was due: it went on without them, and they are
-- tried again until they are done, or until a person says that they never will be.
CREATE TABLE timetable_missed (
    book     int NOT NULL,
    step     text NOT NULL COLLATE "C",
    subject  text NOT NULL COLLATE "C",
    day      date NOT NULL,
    tried_at timestamptz NOT NULL,
    code     text NOT NULL COLLATE "C",
    why      text NOT NULL,
    PRIMARY KEY (book, step, subject, day),
    FOREIGN KEY (book, step, subject) REFERENCES timetable (book, step, subject)
);
