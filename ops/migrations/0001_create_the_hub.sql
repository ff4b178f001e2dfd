-- migrate:up

-- kernel
-- A book 账套 is a merchant's own world: first column of every key, and the unit of locking (decision 0002).
CREATE TABLE book (
    book          int PRIMARY KEY,
    transfer_seq  bigint NOT NULL CHECK (transfer_seq >= 0),
    transfer_hash bytea NOT NULL CHECK (length(transfer_hash) = 32),
    event_seq     bigint NOT NULL CHECK (event_seq >= 0),
    event_hash    bytea NOT NULL CHECK (length(event_hash) = 32),
    recorded_at   timestamptz NOT NULL
) WITH (fillfactor = 50);

-- For tables that are only ever added to.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: a mistake is reversed by a new record, never changed', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$;

-- ledger
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
    -- No second index on the open journal: it would cost more than a third of every posting.
    PRIMARY KEY (book, id)
);

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

-- streams
-- Events 事件: every change of state leaves one, in the same transaction, gapless and chained within its book.
CREATE TABLE event (
    book        int NOT NULL,
    seq         bigint NOT NULL CHECK (seq > 0),
    type        text NOT NULL COLLATE "C",
    subject     text NOT NULL COLLATE "C", -- id of the object that moved
    payload     json NOT NULL,
    recorded_at timestamptz NOT NULL,
    hash        bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (book, seq)
);
CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- How far each consumer has come in each book; written in the same transaction as what it did.
CREATE TABLE position (
    book     int NOT NULL REFERENCES book (book),
    consumer text NOT NULL COLLATE "C",
    seq      bigint NOT NULL CHECK (seq >= 0),
    PRIMARY KEY (book, consumer)
) WITH (fillfactor = 50);

-- splitting
-- Who is owed what 分账, and having banks pay it 结算.
CREATE TABLE payee (
    book         int NOT NULL REFERENCES book (book),
    id           text NOT NULL COLLATE "C",
    name         text NOT NULL,
    kind         text NOT NULL COLLATE "C" CHECK (kind IN ('supplier', 'platform', 'merchant')),
    currency     text NOT NULL COLLATE "C",
    bank         text COLLATE "C", -- where its sub-account is; NULL: its shares are kept, not settled
    bank_account text COLLATE "C",
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (book, id)
);

CREATE TABLE split (
    book        int NOT NULL,
    payment_id  text NOT NULL COLLATE "C",
    status      text NOT NULL COLLATE "C" CHECK (status IN ('planned', 'posted')),
    currency    text NOT NULL COLLATE "C",
    asked       json NOT NULL,
    gross_minor bigint NOT NULL CHECK (gross_minor > 0),
    fee_minor   bigint NOT NULL CHECK (fee_minor >= 0),
    shares      json NOT NULL,
    posted_at   timestamptz,
    PRIMARY KEY (book, payment_id)
) WITH (fillfactor = 80);

-- A merchant's custody at a bank: the pool account the channels pay into, and how to reach the bank.
CREATE TABLE bank_link (
    book         int NOT NULL REFERENCES book (book),
    bank         text NOT NULL COLLATE "C",
    pool_account text NOT NULL COLLATE "C",
    settings     json NOT NULL, -- identifiers and key-file paths; no secret
    cursor       text NOT NULL COLLATE "C", -- how far the bank's outgoing files have been read
    PRIMARY KEY (book, bank)
);

CREATE TABLE settlement (
    book              int NOT NULL REFERENCES book (book),
    id                text NOT NULL COLLATE "C",
    bank              text NOT NULL COLLATE "C",
    business_date     date NOT NULL,
    execution_date    date NOT NULL, -- the bank's day on which it is to be carried out
    currency          text NOT NULL COLLATE "C",
    status            text NOT NULL COLLATE "C" CHECK (status IN ('created', 'sent', 'finished')),
    total_minor       bigint NOT NULL CHECK (total_minor >= 0),
    instruction_count int NOT NULL CHECK (instruction_count >= 0),
    open_count        int NOT NULL CHECK (open_count >= 0 AND open_count <= instruction_count),
    paid_minor        bigint NOT NULL CHECK (paid_minor >= 0 AND paid_minor <= total_minor),
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    PRIMARY KEY (book, id)
);

CREATE TABLE instruction (
    book          int NOT NULL,
    id            text NOT NULL COLLATE "C",
    settlement_id text NOT NULL COLLATE "C",
    payee_id      text NOT NULL COLLATE "C",
    payee_kind    text NOT NULL COLLATE "C",
    account       text NOT NULL COLLATE "C",
    name          text NOT NULL,
    amount_minor  bigint NOT NULL CHECK (amount_minor > 0),
    currency      text NOT NULL COLLATE "C",
    status        text NOT NULL COLLATE "C" CHECK (status IN ('in_transit', 'paid', 'refused')),
    reason        text,
    bank_date     date NOT NULL, -- the bank's day of the decision; the execution date until there is one
    decided_at    timestamptz,
    PRIMARY KEY (book, id),
    FOREIGN KEY (book, settlement_id) REFERENCES settlement (book, id)
);
CREATE INDEX instruction_of_settlement ON instruction (book, settlement_id);

-- gateway
-- The front door 网关 and the life of a payment.
CREATE TABLE merchant (
    book       int PRIMARY KEY REFERENCES book (book),
    id         text NOT NULL COLLATE "C",
    name       text NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (book, id)
);

-- A directory: a key is looked up before its book is known, so this table leads with the hash. Small, copied everywhere.
CREATE TABLE api_key (
    hash       bytea PRIMARY KEY CHECK (length(hash) = 32), -- HMAC-SHA-256 of the key under a pepper kept outside
    id         text NOT NULL COLLATE "C",
    book       int NOT NULL REFERENCES merchant (book),
    scopes     text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);

CREATE TABLE channel_account (
    book       int NOT NULL REFERENCES book (book),
    id         text NOT NULL COLLATE "C",
    channel    text NOT NULL COLLATE "C",
    state      text NOT NULL COLLATE "C" CHECK (state IN ('enabled', 'draining', 'off')),
    fee_bp     int NOT NULL CHECK (fee_bp BETWEEN 0 AND 10000),
    settings   json NOT NULL, -- identifiers, base URL and key-file paths; no secret
    created_at timestamptz NOT NULL,
    PRIMARY KEY (book, id)
);

-- What may be claimed once: an idempotency key ("i:…"), a merchant's order number ("o:…"), a refund number ("r:…").
CREATE TABLE claim (
    book       int NOT NULL,
    key        text NOT NULL COLLATE "C",
    body_hash  bytea NOT NULL,
    object_id  text NOT NULL COLLATE "C",
    created_at timestamptz NOT NULL,
    PRIMARY KEY (book, key)
);

-- No foreign keys from here on the payment path: each costs a look-up a row, and the lane has read, under the book's
-- lock, the row it would look up. Invariants (gateway/store.py) watch what a foreign key would.
CREATE TABLE payment (
    book              int NOT NULL,
    id                text NOT NULL COLLATE "C",
    merchant_order_id text NOT NULL COLLATE "C",
    amount_minor      bigint NOT NULL CHECK (amount_minor > 0),
    currency          text NOT NULL COLLATE "C",
    method            text NOT NULL COLLATE "C",
    description       text NOT NULL,
    metadata          json,
    status            text NOT NULL COLLATE "C"
        CHECK (status IN ('processing', 'requires_action', 'succeeded', 'failed', 'canceled', 'expired')),
    attempt_count     int NOT NULL CHECK (attempt_count > 0),
    captured_minor    bigint NOT NULL DEFAULT 0 CHECK (captured_minor IN (0, amount_minor)),
    fee_minor         bigint NOT NULL CHECK (fee_minor >= 0),
    refunding_minor   bigint NOT NULL DEFAULT 0 CHECK (refunding_minor >= 0),
    refunded_minor    bigint NOT NULL DEFAULT 0 CHECK (refunded_minor >= 0),
    refund_count      int NOT NULL DEFAULT 0 CHECK (refund_count >= 0),
    next_action       json,
    failure_code      text,
    failure_message   text,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    succeeded_at      timestamptz,
    business_date     date, -- 账务日期: by the channel's clock, when captured
    PRIMARY KEY (book, id),
    CONSTRAINT refunds_never_exceed_the_capture CHECK (refunded_minor + refunding_minor <= captured_minor)
) WITH (fillfactor = 70);

CREATE TABLE attempt (
    book            int NOT NULL,
    payment_id      text NOT NULL COLLATE "C",
    number          int NOT NULL CHECK (number > 0),
    channel_account text NOT NULL COLLATE "C",
    channel         text NOT NULL COLLATE "C",
    fee_bp          int NOT NULL,
    status          text NOT NULL COLLATE "C"
        CHECK (status IN ('created', 'pending', 'unknown', 'confirmed', 'refused', 'closed', 'late')),
    channel_ref     text COLLATE "C",
    code            text,
    message         text,
    asked_count     int NOT NULL DEFAULT 0, -- queries so far
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    due_at          timestamptz, -- when the janitor asks the channel; NULL: nothing is open
    PRIMARY KEY (book, payment_id, number)
) WITH (fillfactor = 70);
CREATE INDEX attempt_due ON attempt (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE refund (
    book               int NOT NULL,
    id                 text NOT NULL COLLATE "C",
    payment_id         text NOT NULL COLLATE "C",
    attempt_number     int NOT NULL,
    merchant_refund_id text COLLATE "C",
    amount_minor       bigint NOT NULL CHECK (amount_minor > 0),
    currency           text NOT NULL COLLATE "C",
    fee_returned_minor bigint NOT NULL CHECK (fee_returned_minor >= 0),
    taken_back         json NOT NULL,
    reason             text NOT NULL,
    status             text NOT NULL COLLATE "C" CHECK (status IN ('processing', 'succeeded', 'failed')),
    channel_ref        text COLLATE "C",
    failure_code       text,
    failure_message    text,
    asked_count        int NOT NULL,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    due_at             timestamptz,
    business_date      date, -- of the day it was asked for (docs/decisions/0010)
    PRIMARY KEY (book, id),
    FOREIGN KEY (book, payment_id) REFERENCES payment (book, id)
) WITH (fillfactor = 70);
CREATE INDEX refund_due ON refund (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX refund_of_payment ON refund (book, payment_id);

-- reconciliation
-- Book against channel against bank 对账. Files as they came, one row a run, one row a difference, every move kept.

-- A file of a channel or bank, with its bytes. Never changed but for being superseded by a restated one.
CREATE TABLE statement_file (
    book          int NOT NULL,
    id            text NOT NULL COLLATE "C", -- follows from counterparty, kind and content
    counterparty  text NOT NULL COLLATE "C",
    kind          text NOT NULL COLLATE "C" CHECK (kind IN ('bill', 'funds', 'pain.002', 'camt.053', 'camt.054')),
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

-- ops
-- The hub works as sluice_app, which may add to the journals and never change them. Roles belong to the whole server,
-- so another database on it may have made this one already.
DO $$
BEGIN
    CREATE ROLE sluice_app NOLOGIN;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
DO $$
BEGIN
    EXECUTE format('GRANT sluice_app TO %I', current_user);
EXCEPTION
    WHEN unique_violation THEN NULL; -- granted meanwhile by another database's migration
END
$$;
GRANT USAGE ON SCHEMA public TO sluice_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO sluice_app;
GRANT INSERT ON ALL TABLES IN SCHEMA public TO sluice_app;
GRANT UPDATE ON book, account, hold, position, payee, split, bank_link, settlement, instruction, merchant, api_key,
    channel_account, payment, attempt, refund, statement_file, run, discrepancy, closing TO sluice_app;
GRANT DELETE ON claim TO sluice_app; -- idempotency keys are kept a week, then forgotten

REVOKE ALL ON schema_migrations FROM sluice_app;
GRANT SELECT ON schema_migrations TO sluice_app;

-- migrate:down
