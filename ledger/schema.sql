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
