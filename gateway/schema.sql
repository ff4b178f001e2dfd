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
    settings   json NOT NULL, -- identifiers, base URL, public certificates; no secret
    sealed     text COLLATE "C", -- the envelope of its secrets; NULL: settings name key files, as before 0002
    terms      json NOT NULL, -- fees, limits, methods, opening hours: channels/terms.py
    position   int NOT NULL CHECK (position >= 0), -- as the operator put it; lower first
    version    int NOT NULL CHECK (version > 0), -- counts every change
    credentials_version int NOT NULL CHECK (credentials_version > 0), -- counts changes of settings and secrets
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
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
