-- The front door 网关 and the life of a payment.
CREATE TABLE merchant (
    book       int PRIMARY KEY REFERENCES book (book),
    id         text NOT NULL COLLATE "C",
    name       text NOT NULL,
    created_at timestamptz NOT NULL,
    suspended_at timestamptz, -- NULL: takes payments
    UNIQUE (book, id)
);

-- Which processes of this hub live: one row a host and kind, written by each as its heart beats.
CREATE TABLE heartbeat (
    process text PRIMARY KEY COLLATE "C",
    kind    text NOT NULL COLLATE "C" CHECK (kind IN ('gateway', 'worker')),
    beat_at timestamptz NOT NULL -- by the database's clock
) WITH (fillfactor = 50);

-- A directory: a key is looked up before its book is known, so this table leads with the hash. Small, copied everywhere.
CREATE TABLE api_key (
    hash       bytea PRIMARY KEY CHECK (length(hash) = 32), -- HMAC-SHA-256 of the key under a pepper kept outside
    id         text NOT NULL COLLATE "C",
    book       int NOT NULL REFERENCES merchant (book),
    scopes     text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    suspended_at timestamptz -- NULL: in force, unless expired or revoked
);

CREATE TABLE channel_account (
    book       int NOT NULL REFERENCES book (book),
    id         text NOT NULL COLLATE "C",
    channel    text NOT NULL COLLATE "C",
    state      text NOT NULL COLLATE "C" CHECK (state IN ('enabled', 'draining', 'off')),
    settings   json NOT NULL, -- identifiers, base URL, public certificates; no secret
    sealed     text COLLATE "C", -- the envelope of its secrets; NULL: settings name key files, as before 0002
    terms      json NOT NULL, -- fees, limits, methods, opening hours: gateway/accounts/terms.py
    position   int NOT NULL CHECK (position >= 0), -- as the operator put it; lower first
    version    int NOT NULL CHECK (version > 0), -- counts every change
    credentials_version int NOT NULL CHECK (credentials_version > 0), -- counts changes of settings and secrets
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (book, id)
);
CREATE TRIGGER note_address_added AFTER INSERT ON channel_account REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_address();
CREATE TRIGGER note_address_changed AFTER UPDATE ON channel_account REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_address();

-- What may be claimed once: an idempotency key ("i:…"), a merchant's order number ("o:…"), a refund number ("r:…"). Where an
-- order's payment ended unpaid, another may take its number; then "e:<number> <payment>" says which had it before.
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
        CONSTRAINT payment_status CHECK (status IN (
            'processing', 'requires_action', 'requires_capture', 'succeeded', 'failed', 'canceled', 'expired'
        )),
    attempt_count     int NOT NULL CONSTRAINT payment_attempts CHECK (attempt_count >= 0), -- 0: the payer has not chosen
    captured_minor    bigint NOT NULL DEFAULT 0,
    fee_minor         bigint NOT NULL CHECK (fee_minor >= 0), -- what the channel keeps; expected, until captured
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
    won_attempt       int NOT NULL DEFAULT 0, -- whose money is held or captured for it; what others bring goes back
    capture_manual    bool NOT NULL DEFAULT false, -- 预授权: reserve first, capture when asked
    details           json, -- of a cashier's payment: what its attempts are to have
    due_at            timestamptz, -- of a cashier's payment: when the janitor sees whether its time has run out
    coupon_minor          bigint NOT NULL DEFAULT 0 CHECK (coupon_minor >= 0), -- captured, and paid by the merchant's own coupons
    coupon_returned_minor bigint NOT NULL DEFAULT 0 CHECK (coupon_returned_minor >= 0), -- of it, what refunds gave back
    channel           text COLLATE "C", -- of the attempt that has its money, else of the last; NULL: the payer has not chosen
    charged_back_minor bigint NOT NULL DEFAULT 0 CHECK (charged_back_minor >= 0), -- 拒付: by chargebacks that are open or lost
    share_later       bool NOT NULL DEFAULT false, -- 分账: its rail is to keep the money frozen until it is shared out there
    PRIMARY KEY (book, id),
    CONSTRAINT what_goes_back_never_exceeds_the_capture
        CHECK (refunded_minor + refunding_minor + charged_back_minor <= captured_minor),
    CONSTRAINT captured_within_the_amount CHECK (captured_minor BETWEEN 0 AND amount_minor),
    CONSTRAINT captured_by_an_attempt CHECK (won_attempt BETWEEN (captured_minor > 0)::int AND attempt_count)
) WITH (fillfactor = 45); -- a page has room for the second version of each of its rows, so no update touches an index
CREATE INDEX payment_due ON payment (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE attempt (
    book            int NOT NULL,
    payment_id      text NOT NULL COLLATE "C",
    number          int NOT NULL CHECK (number > 0),
    channel_account text NOT NULL COLLATE "C",
    channel         text NOT NULL COLLATE "C",
    fee_minor       bigint NOT NULL CONSTRAINT attempt_fee CHECK (fee_minor >= 0), -- what the channel keeps if it is paid
    method          text NOT NULL COLLATE "C",
    details         json, -- what the same order needs to be sent again; never a payer's code
    decision        json, -- why this account
    status          text NOT NULL COLLATE "C"
        CONSTRAINT attempt_status CHECK (status IN (
            'created', 'pending', 'unknown', 'authorized', 'confirmed', 'refused', 'closed', 'failed_over', 'late', 'overpaid'
        )),
    channel_ref     text COLLATE "C",
    code            text,
    message         text,
    query_count     int NOT NULL DEFAULT 0, -- queries so far
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    due_at          timestamptz, -- when the janitor asks the channel; NULL: nothing is open
    authorized_minor      bigint NOT NULL DEFAULT 0, -- reserved by the channel
    capture_minor   bigint NOT NULL DEFAULT 0, -- asked to be captured of it
    captured_minor  bigint NOT NULL DEFAULT 0, -- booked
    business_date   date, -- 账务日期 of the capture
    latency_ms      int, -- how long the channel took to answer first
    next_action     json, -- of a cashier's payment: what the payer does here; otherwise the payment has it
    fee_kept        bool NOT NULL DEFAULT false, -- the channel keeps its fee when this is refunded: its terms, as they were then
    coupon_minor    bigint NOT NULL DEFAULT 0 CHECK (coupon_minor >= 0), -- captured, and paid by the merchant's own coupons
    proceed_count   int NOT NULL DEFAULT 0, -- how often our second call may have left
    ending_at       timestamptz, -- reserved money: when it was first asked to be captured or released; the rail may know it by that
    undo_sent_at    timestamptz, -- when its rail was last told to close, reverse or release it; of a confirmed one, while that may be carried out yet
    PRIMARY KEY (book, payment_id, number),
    CONSTRAINT capture_within_the_hold CHECK (
        authorized_minor >= 0 AND capture_minor >= 0 AND captured_minor >= 0 AND capture_minor <= authorized_minor
    )
) WITH (fillfactor = 70);
CREATE INDEX attempt_due ON attempt (due_at) WHERE due_at IS NOT NULL;
-- Routing looks for what was tried lately. Attempts stand nearly in the order of their times, so a few numbers a page
-- range find them, and a payment is not made to pay for a tree.
CREATE INDEX attempt_lately ON attempt USING brin (created_at) WITH (pages_per_range = 16, autosummarize = true);

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
    query_count        int NOT NULL,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    due_at             timestamptz,
    business_date      date, -- of the day it was asked for (docs/decisions/0010)
    retry_count        int NOT NULL DEFAULT 0, -- how often it was asked for again, each time under a new number
    retried_at         timestamptz, -- when last
    coupon_minor       bigint NOT NULL DEFAULT 0 CHECK (coupon_minor >= 0), -- of amount_minor, what coupons bear; expected, until it succeeded
    channel            text COLLATE "C", -- of the attempt whose money goes back
    sent_count         int NOT NULL DEFAULT 0, -- how many messages under its present number may have reached the channel
    paid_tries         int NOT NULL DEFAULT 0, -- bit n: the channel has confirmed try n, and it is booked
    PRIMARY KEY (book, id),
    FOREIGN KEY (book, payment_id) REFERENCES payment (book, id)
) WITH (fillfactor = 70);
CREATE INDEX refund_due ON refund (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX refund_of_payment ON refund (book, payment_id);

-- 退款退回: refunds that had succeeded and came back, by the number they had at the channel. Only ever added.
CREATE TABLE refund_return (
    book               int NOT NULL,
    refund_id          text NOT NULL COLLATE "C",
    retry_count        int NOT NULL,
    amount_minor       bigint NOT NULL CHECK (amount_minor > 0),
    fee_returned_minor bigint NOT NULL CHECK (fee_returned_minor >= 0),
    coupon_minor       bigint NOT NULL CHECK (coupon_minor >= 0),
    business_date      date NOT NULL, -- of the refund
    returned_date      date NOT NULL,
    code               text NOT NULL,
    channel_ref        text COLLATE "C",
    PRIMARY KEY (book, refund_id, retry_count),
    FOREIGN KEY (book, refund_id) REFERENCES refund (book, id)
);
CREATE INDEX refund_return_by_date ON refund_return (book, returned_date);

-- 拒付: money of a payment that its rail took back for the payer, by the rail's number of the dispute.
CREATE TABLE chargeback (
    book               int NOT NULL,
    id                 text NOT NULL COLLATE "C",
    payment_id         text NOT NULL COLLATE "C",
    attempt_number     int NOT NULL,
    channel            text NOT NULL COLLATE "C",
    channel_account    text NOT NULL COLLATE "C",
    channel_ref        text NOT NULL COLLATE "C", -- the rail's number of it
    amount_minor       bigint NOT NULL CHECK (amount_minor > 0), -- what the rail took
    currency           text NOT NULL COLLATE "C",
    covered_minor      bigint NOT NULL, -- of it, what the payment bears; the rest had gone back before: in suspense
    fee_minor          bigint NOT NULL CHECK (fee_minor >= 0), -- what the rail keeps for it
    fee_back_minor     bigint NOT NULL, -- of that, what the rail gave back when it was won
    fee_returned_minor bigint NOT NULL CHECK (fee_returned_minor >= 0), -- of the payment's fee, as with a refund
    coupon_minor       bigint NOT NULL CHECK (coupon_minor >= 0), -- of covered_minor, what coupons bear
    taken_back         json NOT NULL,
    reason             text NOT NULL,
    status             text NOT NULL COLLATE "C" CHECK (status IN ('opened', 'won', 'lost')),
    evidence_due_at    timestamptz,
    evidence           text, -- of one that a person recorded: where it is kept
    recorded_by        text COLLATE "C", -- that person; NULL: the rail tells of it
    business_date      date NOT NULL, -- on which the rail took the money
    ended_date         date,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    due_at             timestamptz, -- when the rail is asked again; NULL: it has ended, or a person records it
    PRIMARY KEY (book, id),
    UNIQUE (book, channel_account, channel_ref),
    FOREIGN KEY (book, payment_id) REFERENCES payment (book, id),
    CONSTRAINT chargeback_covered CHECK (covered_minor BETWEEN 0 AND amount_minor),
    CONSTRAINT chargeback_fee_back CHECK (fee_back_minor BETWEEN 0 AND fee_minor),
    CONSTRAINT chargeback_ended CHECK ((status = 'opened') = (ended_date IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX chargeback_due ON chargeback (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX chargeback_of_payment ON chargeback (book, payment_id);
CREATE INDEX chargeback_by_date ON chargeback (book, channel_account, business_date);
CREATE INDEX chargeback_by_end ON chargeback (book, channel_account, ended_date) WHERE ended_date IS NOT NULL;

-- A merchant's routing policies 路由策略, one row a version: only ever added; the highest version holds.
CREATE TABLE routing_policy (
    book    int NOT NULL REFERENCES merchant (book),
    version int NOT NULL CHECK (version > 0),
    policy  json NOT NULL, -- gateway/routing/policy.py
    note    text NOT NULL,
    set_by  text NOT NULL COLLATE "C", -- an API key's id, or "operator"
    set_at  timestamptz NOT NULL,
    PRIMARY KEY (book, version)
);
CREATE TRIGGER routing_policy_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON routing_policy
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Payment links 付款链接 and merchants' standing codes 静态收款码: addresses from which payers make payments themselves.
CREATE TABLE cashier_link (
    book          int NOT NULL,
    id            text NOT NULL COLLATE "C",
    kind          text NOT NULL COLLATE "C" CHECK (kind IN ('link', 'static')),
    name          text NOT NULL, -- for the merchant
    description   text NOT NULL, -- for the payer; of every payment made with it
    amount_minor  bigint CHECK (amount_minor > 0), -- NULL: the payer says how much
    minimum_minor bigint NOT NULL CHECK (minimum_minor > 0), -- what the payer may say
    maximum_minor bigint NOT NULL,
    currency      text NOT NULL COLLATE "C",
    state         text NOT NULL COLLATE "C" CHECK (state IN ('active', 'inactive')),
    expires_at    timestamptz, -- when no more payments are made with it; NULL: never
    max_uses      int CHECK (max_uses BETWEEN 1 AND 100), -- payments that may be open or paid; NULL: any number
    uses          json NOT NULL, -- ids of those, and of dead ones that have not been replaced, where there is a bound
    payment_count int NOT NULL CHECK (payment_count >= 0), -- payments ever made with it
    split         json,
    metadata      json,
    return_url    text,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    suspended_at  timestamptz, -- by the operator; NULL: not suspended
    PRIMARY KEY (book, id),
    CONSTRAINT cashier_link_bounds CHECK (minimum_minor <= maximum_minor)
) WITH (fillfactor = 70);
