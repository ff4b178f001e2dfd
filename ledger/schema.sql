-- The books 账务. `transfer` is append-only by privilege and by trigger; everything else can be rebuilt from it.
CREATE TABLE account (
    book         int NOT NULL REFERENCES book (book),
    name         text NOT NULL COLLATE "C",
    currency     text NOT NULL COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
    side         text NOT NULL COLLATE "C" CHECK (side IN ('debit', 'credit')),
    may_overdraw bool NOT NULL,
    debits       bigint NOT NULL CHECK (debits >= 0),
    credits      bigint NOT NULL CHECK (credits >= 0),
    debits_held  bigint NOT NULL CHECK (debits_held >= 0),
    credits_held bigint NOT NULL CHECK (credits_held >= 0),
    moved_on     date, -- the day, in Beijing, on which it last moved; NULL: never
    PRIMARY KEY (book, name),
    -- The database refuses an overdraft even if the code above it were wrong.
    CONSTRAINT account_not_overdrawn CHECK (
        may_overdraw
        OR (side = 'credit' AND credits - debits - debits_held >= 0)
        OR (side = 'debit' AND debits - credits - credits_held >= 0)
    )
) WITH (fillfactor = 50);

CREATE TABLE transfer (
    book          int NOT NULL,
    id            text NOT NULL COLLATE "C",
    seq           bigint NOT NULL CHECK (seq > 0),
    posting       text NOT NULL COLLATE "C",
    rule          text NOT NULL COLLATE "C",
    step          text NOT NULL COLLATE "C" CHECK (step IN ('post', 'hold', 'post_hold', 'void_hold')),
    debit         text NOT NULL COLLATE "C",
    credit        text NOT NULL COLLATE "C" CHECK (credit <> debit),
    amount_minor  bigint NOT NULL CHECK (amount_minor > 0),
    currency      text NOT NULL COLLATE "C",
    hold_id       text COLLATE "C",
    business_date date NOT NULL,
    recorded_at   timestamptz NOT NULL,
    hash          bytea NOT NULL CHECK (length(hash) = 32),
    -- No second tree on the open journal: it would cost more than a third of every posting.
    PRIMARY KEY (book, id)
);
-- What the journal has of a day, for `sluice verify`: entries stand nearly in the order of their times.
CREATE INDEX transfer_lately ON transfer USING brin (recorded_at) WITH (pages_per_range = 16, autosummarize = true);

-- What an account stood at when a day was over on which it had moved. The first movement of a later day writes the row, so
-- a balance at a moment needs one of these and the journal of one day.
CREATE TABLE day_end (
    book    int NOT NULL,
    account text NOT NULL COLLATE "C",
    day     date NOT NULL, -- on which it was recorded, in Beijing
    debits  bigint NOT NULL CHECK (debits >= 0),
    credits bigint NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (book, account, day)
);

-- What each rule moved on an account for a business date, kept by the batch that posts it; never what was held. A row of a
-- day that is over never changes: what is recorded later for the same business date has a row of its own.
CREATE TABLE day_sum (
    book          int NOT NULL,
    account       text NOT NULL COLLATE "C",
    business_date date NOT NULL,
    recorded_on   date NOT NULL, -- in Beijing
    rule          text NOT NULL COLLATE "C",
    debits        bigint NOT NULL CHECK (debits >= 0),
    credits       bigint NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (book, account, business_date, recorded_on, rule)
) WITH (fillfactor = 70);
-- What was recorded lately, for `sluice verify`: rows stand nearly in the order of their days.
CREATE INDEX day_sum_lately ON day_sum USING brin (recorded_on) WITH (pages_per_range = 16, autosummarize = true);

CREATE TABLE hold (
    book         int NOT NULL,
    id           text NOT NULL COLLATE "C",
    debit        text NOT NULL COLLATE "C",
    credit       text NOT NULL COLLATE "C",
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency     text NOT NULL COLLATE "C",
    state        text NOT NULL COLLATE "C" CHECK (state IN ('held', 'posted', 'voided', 'expired')),
    posted_minor bigint NOT NULL CHECK (posted_minor >= 0 AND posted_minor <= amount_minor),
    expires_at   timestamptz,
    PRIMARY KEY (book, id)
);
CREATE INDEX hold_expiring ON hold (expires_at) WHERE state = 'held' AND expires_at IS NOT NULL;

CREATE TRIGGER transfer_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER day_end_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON day_end
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
