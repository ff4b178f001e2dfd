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
    suspended_at timestamptz, -- what it is owed is booked as ever, and paid to nobody; NULL: not suspended
    suspended_by text COLLATE "C" CHECK (suspended_by IN ('merchant', 'operator')),
    account_class text COLLATE "C" CHECK (account_class IN ('II', 'III')), -- of its account at the bank; NULL: without limits
    fees_apart   bool NOT NULL DEFAULT false, -- of a platform's: its commission is owed in an account of its own in the ledger
    account_status text COLLATE "C" CHECK (account_status IN ('opening', 'open', 'refused', 'frozen')), -- NULL: it is at no bank
    account_reason text, -- why the bank opened none, or blocked it: its code
    frozen_at    timestamptz, -- since when nothing is paid to its account or withdrawn from it; NULL: it is not frozen
    frozen_by    text COLLATE "C" CHECK (frozen_by IN ('bank', 'operator')),
    PRIMARY KEY (book, id),
    CONSTRAINT payee_suspended_by_somebody CHECK ((suspended_at IS NULL) = (suspended_by IS NULL)),
    CONSTRAINT payee_fees_apart_of_platform CHECK (kind = 'platform' OR NOT fees_apart),
    CONSTRAINT payee_account_has_a_status CHECK ((account_status IS NULL) = (bank IS NULL)),
    CONSTRAINT payee_account_frozen_by_somebody CHECK (
        (frozen_at IS NOT NULL) = coalesce(account_status = 'frozen', false) AND (frozen_at IS NULL) = (frozen_by IS NULL)
    ),
    CONSTRAINT payee_account_has_a_number CHECK (
        (bank_account IS NOT NULL) = coalesce(account_status NOT IN ('opening', 'refused'), false)
    )
);
-- One of the platform's payees has the book's fee account of a currency.
CREATE UNIQUE INDEX payee_of_fee_account ON payee (book, currency) WHERE kind = 'platform' AND NOT fees_apart;

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

-- What was sent to payees' accounts that have limits: for the last day and its year, and what is on its way.
CREATE TABLE account_use (
    book       int NOT NULL,
    payee_id   text NOT NULL COLLATE "C",
    day        date NOT NULL, -- the last on which anything was sent
    day_minor  bigint NOT NULL CHECK (day_minor >= 0),
    year_minor bigint NOT NULL CHECK (year_minor >= day_minor),
    open_minor bigint NOT NULL CHECK (open_minor >= 0), -- in transit to it
    PRIMARY KEY (book, payee_id),
    FOREIGN KEY (book, payee_id) REFERENCES payee (book, id)
);

-- What is kept of what payees are owed 保证金. payee_id '': the default at a bank.
CREATE TABLE payout_reserve (
    book         int NOT NULL,
    bank         text NOT NULL COLLATE "C",
    payee_id     text NOT NULL COLLATE "C",
    fixed_minor  bigint NOT NULL CHECK (fixed_minor >= 0),
    rolling_bp   int NOT NULL CHECK (rolling_bp BETWEEN 0 AND 10000), -- of what a date brought
    rolling_days int NOT NULL CHECK (rolling_days BETWEEN 0 AND 366), -- for so many days, the date itself among them
    set_at       timestamptz NOT NULL,
    PRIMARY KEY (book, bank, payee_id),
    CONSTRAINT payout_reserve_rolls_or_not CHECK ((rolling_bp = 0) = (rolling_days = 0))
);

CREATE TABLE split (
    book        int NOT NULL,
    payment_id  text NOT NULL COLLATE "C",
    status      text NOT NULL COLLATE "C" CHECK (status IN ('planned', 'posted')),
    currency    text NOT NULL COLLATE "C",
    asked       json NOT NULL,
    gross_minor bigint NOT NULL CHECK (gross_minor > 0), -- as planned; once posted, what was captured
    fee_minor   bigint NOT NULL CHECK (fee_minor >= 0),
    shares      json NOT NULL,
    posted_at   timestamptz,
    coupon_minor bigint NOT NULL DEFAULT 0 CHECK (coupon_minor >= 0), -- of gross_minor, what the merchant's own coupons paid
    frozen      json NOT NULL DEFAULT '[]', -- parts of shares that were not to be paid out at once: splitting/shares/release.py
    frozen_minor bigint NOT NULL DEFAULT 0 CHECK (frozen_minor >= 0), -- what of them is frozen now
    release_on  date, -- the first date on which something of it is released; NULL: on none
    delivered_at timestamptz, -- when delivery was confirmed
    own_payee   text COLLATE "C", -- who is paid the merchant's own of it; NULL: nobody, it stays in the merchant's account
    rail        text COLLATE "C", -- the rail_payment whose money is frozen for it; NULL: none is
    PRIMARY KEY (book, payment_id)
) WITH (fillfactor = 80);
CREATE INDEX split_to_release ON split (release_on) WHERE release_on IS NOT NULL;
CREATE INDEX split_frozen ON split (book, payment_id) WHERE frozen_minor > 0;

-- By which payee a merchant is paid what is its own of payments 商户本金: the remainder, and payments without a plan.
CREATE TABLE own_payee (
    book     int NOT NULL,
    currency text NOT NULL COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
    payee_id text COLLATE "C", -- NULL: by none any more
    set_by   text NOT NULL, -- a person's name, or an API key's id
    set_at   timestamptz NOT NULL,
    PRIMARY KEY (book, currency),
    FOREIGN KEY (book, payee_id) REFERENCES payee (book, id)
);

-- What payees owe 欠款 since refunds took back more than they were owed. Never changed: every credit to the account recovers
-- the oldest first, so what is left of each follows from what the account is below nothing.
CREATE TABLE payee_debt (
    book         int NOT NULL REFERENCES book (book),
    id           text NOT NULL COLLATE "C", -- follows from the transfer's
    payee_id     text NOT NULL COLLATE "C",
    account      text NOT NULL COLLATE "C", -- the payee's, in the ledger
    transfer_id  text NOT NULL COLLATE "C", -- the taking back
    payment_id   text NOT NULL COLLATE "C",
    cause        text NOT NULL COLLATE "C", -- the id of the refund or chargeback
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    owed_minor   bigint NOT NULL CHECK (owed_minor >= amount_minor), -- what the account was below nothing after it
    currency     text NOT NULL COLLATE "C",
    seq          bigint NOT NULL CHECK (seq > 0), -- the transfer's number in the journal
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (book, id)
);
CREATE INDEX payee_debt_of_account ON payee_debt (book, account, seq);
CREATE INDEX payee_debt_of_payment ON payee_debt (book, payment_id);
CREATE INDEX payee_debt_newest ON payee_debt (book, seq);

-- Split plans 分账方案 that merchants keep, in versions of which one is active. A version's document never changes.
CREATE TABLE split_plan (
    book       int NOT NULL REFERENCES book (book),
    id         text NOT NULL COLLATE "C",
    name       text NOT NULL,
    currency   text NOT NULL COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
    versions   int NOT NULL CHECK (versions > 0), -- the number of the last
    active     int CHECK (active BETWEEN 1 AND versions), -- by which new payments are shared out; NULL: by none yet
    created_at timestamptz NOT NULL,
    PRIMARY KEY (book, id)
);
CREATE TABLE split_plan_version (
    book        int NOT NULL,
    plan_id     text NOT NULL COLLATE "C",
    version     int NOT NULL CHECK (version > 0),
    document    json NOT NULL, -- as it was sent
    written_out json NOT NULL, -- with what it inherits
    hash        bytea NOT NULL CHECK (length(hash) = 32), -- SHA-256 of written_out as canonical JSON
    status      text NOT NULL COLLATE "C" CHECK (status IN ('draft', 'active', 'retired')),
    maker       text NOT NULL, -- a person's name, or an API key's id
    checker     text, -- who had it activated last, or agreed to that; NULL: nobody yet
    made_at     timestamptz NOT NULL,
    status_at   timestamptz NOT NULL,
    by_rail     bool NOT NULL DEFAULT false, -- some line of it travels by rail
    PRIMARY KEY (book, plan_id, version),
    FOREIGN KEY (book, plan_id) REFERENCES split_plan (book, id),
    CONSTRAINT split_plan_version_checked CHECK ((status = 'draft') = (checker IS NULL)),
    -- Looked at when the transaction ends: one version takes another's place.
    CONSTRAINT split_plan_one_active EXCLUDE USING btree (book WITH =, plan_id WITH =) WHERE (status = 'active')
        DEFERRABLE INITIALLY DEFERRED
);

CREATE INDEX split_plan_version_by_rail ON split_plan_version (book) WHERE by_rail;

-- By which plan payments are shared out that name none: of one payment link, product line, store, or all of the merchant's.
CREATE TABLE split_attachment (
    book        int NOT NULL,
    scope       text NOT NULL COLLATE "C" CHECK (scope IN ('payment_link', 'product_line', 'store', 'merchant')),
    subject     text NOT NULL COLLATE "C", -- the link's id, or the merchant's own name for it; '' where it is the merchant
    currency    text NOT NULL COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
    plan_id     text COLLATE "C", -- NULL: none any more
    version     int, -- NULL: the one that is active when a payment is made
    attached_by text NOT NULL, -- a person's name, or an API key's id
    attached_at timestamptz NOT NULL,
    PRIMARY KEY (book, scope, subject, currency),
    FOREIGN KEY (book, plan_id) REFERENCES split_plan (book, id),
    FOREIGN KEY (book, plan_id, version) REFERENCES split_plan_version (book, plan_id, version),
    CONSTRAINT split_attachment_of_something CHECK ((scope = 'merchant') = (subject = ''))
);

-- As whom rails know payees 分账接收方, at a merchant's channel accounts.
CREATE TABLE rail_receiver (
    book            int NOT NULL,
    payee_id        text NOT NULL COLLATE "C",
    channel_account text NOT NULL COLLATE "C",
    channel         text NOT NULL COLLATE "C",
    kind            text NOT NULL COLLATE "C" CHECK (kind IN ('merchant', 'person', 'login')),
    account         text NOT NULL COLLATE "C",
    name            text NOT NULL, -- which the rail compares; '': it is not given
    relation        text NOT NULL,
    status          text NOT NULL COLLATE "C" CHECK (status IN ('registering', 'registered', 'refused')),
    code            text, -- why it is refused, or not registered yet, in the rail's words
    message         text,
    try_count       int NOT NULL CHECK (try_count >= 0),
    due_at          timestamptz, -- when the rail is told; NULL: nothing is to be done
    set_by          text NOT NULL, -- a person's name, or an API key's id
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (book, payee_id, channel_account),
    FOREIGN KEY (book, payee_id) REFERENCES payee (book, id),
    CONSTRAINT rail_receiver_told CHECK ((status = 'registering') = (due_at IS NOT NULL))
);
CREATE INDEX rail_receiver_due ON rail_receiver (due_at) WHERE due_at IS NOT NULL;

-- Money of payments that rails keep frozen until it is shared out 分账.
CREATE TABLE rail_payment (
    book            int NOT NULL REFERENCES book (book),
    id              text NOT NULL COLLATE "C", -- payment:attempt
    payment_id      text NOT NULL COLLATE "C",
    channel_account text NOT NULL COLLATE "C",
    channel         text NOT NULL COLLATE "C",
    reference       text NOT NULL COLLATE "C", -- our number of the attempt
    channel_ref     text NOT NULL COLLATE "C", -- the rail's number of it
    currency        text NOT NULL COLLATE "C",
    arrived_minor   bigint NOT NULL CHECK (arrived_minor >= 0), -- what was frozen
    frozen_on       date NOT NULL,
    paid_at         timestamptz NOT NULL,
    basis_points    int CHECK (basis_points BETWEEN 0 AND 10000), -- the ceiling agreed with the rail; NULL: the rail's own
    order_count     int NOT NULL DEFAULT 0 CHECK (order_count >= 0),
    is_last         bool NOT NULL DEFAULT false, -- the last of its orders releases the rest
    released_on     date, -- since when nothing of it is frozen; NULL: something is
    returns_open    int NOT NULL DEFAULT 0 CHECK (returns_open >= 0), -- fetchings-back that have not ended
    return_sent_at  timestamptz, -- the last message of one of them
    ask_at          timestamptz, -- when the rail is asked whether it has released it by itself; NULL: never
    PRIMARY KEY (book, id)
);
CREATE INDEX rail_payment_frozen ON rail_payment (book, channel_account, released_on);
CREATE INDEX rail_payment_to_ask ON rail_payment (ask_at) WHERE ask_at IS NOT NULL;
CREATE INDEX rail_payment_of_payment ON rail_payment (book, payment_id);

-- Sharings-out 分账单 of payments at their rails.
CREATE TABLE share_order (
    book            int NOT NULL,
    id              text NOT NULL COLLATE "C", -- payment:rail:number
    payment_id      text NOT NULL COLLATE "C",
    number          int NOT NULL CHECK (number > 0),
    rail_payment    text NOT NULL COLLATE "C",
    channel_account text NOT NULL COLLATE "C",
    channel         text NOT NULL COLLATE "C",
    currency        text NOT NULL COLLATE "C",
    parts           json NOT NULL, -- splitting/rails/parts.py
    release_rest    bool NOT NULL,
    status          text NOT NULL COLLATE "C" CHECK (status IN ('planned', 'sent', 'finished', 'refused')),
    code            text, -- what the rail answered last, where that was a no
    message         text,
    channel_ref     text COLLATE "C",
    sent_count      int NOT NULL CHECK (sent_count >= 0), -- how often it may have been sent
    query_count     int NOT NULL CHECK (query_count >= 0),
    sent_at         timestamptz, -- last
    due_at          timestamptz, -- when it is sent or asked about next; NULL: it has ended
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    return_count    int NOT NULL DEFAULT 0 CHECK (return_count >= 0),
    PRIMARY KEY (book, id),
    FOREIGN KEY (book, rail_payment) REFERENCES rail_payment (book, id),
    CONSTRAINT share_order_goes_on CHECK ((status IN ('planned', 'sent')) = (due_at IS NOT NULL))
);
CREATE INDEX share_order_due ON share_order (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX share_order_of_rail_payment ON share_order (book, rail_payment);

-- Fetchings-back 分账回退 of what rails have paid of shares, for refunds.
CREATE TABLE share_return (
    book         int NOT NULL,
    id           text NOT NULL COLLATE "C", -- order:part:fetched:refund
    payment_id   text NOT NULL COLLATE "C",
    order_id     text NOT NULL COLLATE "C",
    part         int NOT NULL CHECK (part >= 0), -- its place in the order's parts
    cause        text NOT NULL COLLATE "C", -- the refund's id
    number       int NOT NULL CHECK (number > 0), -- of the order's returns
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    status       text NOT NULL COLLATE "C" CHECK (status IN ('waiting', 'sent', 'done', 'refused', 'dropped')),
    code         text,
    message      text,
    sent_count   int NOT NULL CHECK (sent_count >= 0),
    query_count  int NOT NULL CHECK (query_count >= 0),
    due_at       timestamptz,
    done_on      date,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    sent_at      timestamptz, -- its last message
    PRIMARY KEY (book, id),
    FOREIGN KEY (book, order_id) REFERENCES share_order (book, id),
    CONSTRAINT share_return_goes_on CHECK ((status IN ('waiting', 'sent')) = (due_at IS NOT NULL)),
    CONSTRAINT share_return_done_on_a_day CHECK ((status = 'done') = (done_on IS NOT NULL))
);
CREATE INDEX share_return_due ON share_return (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX share_return_of_order ON share_return (book, order_id);

-- A merchant's custody at a bank: the pool account the channels pay into, and how to reach the bank.
CREATE TABLE bank_link (
    book         int NOT NULL REFERENCES book (book),
    bank         text NOT NULL COLLATE "C",
    pool_account text NOT NULL COLLATE "C",
    settings     json NOT NULL, -- identifiers, the address, the bank's public key; no secret
    cursor       text NOT NULL COLLATE "C", -- how far the bank's outgoing files have been read
    sealed       text COLLATE "C", -- envelope of the secrets; NULL: a row of before 0007, whose settings name key files
    ended_at     timestamptz, -- the bank is asked only while a batch is under way; NULL: always
    read_at      timestamptz, -- when last all that the bank had was read, give or take a minute
    PRIMARY KEY (book, bank)
);
CREATE TRIGGER note_address_added AFTER INSERT ON bank_link REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_address();
CREATE TRIGGER note_address_changed AFTER UPDATE ON bank_link REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_address();

-- Accounts at a merchant's bank that are for one role each 功能账户, of its custody.
CREATE TABLE bank_account (
    book     int NOT NULL,
    bank     text NOT NULL COLLATE "C",
    currency text NOT NULL COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
    role     text NOT NULL COLLATE "C" CHECK (role IN ('suspense', 'fee', 'interest', 'guarantee', 'reserve')),
    account  text NOT NULL COLLATE "C", -- its number at the bank
    set_by   text NOT NULL, -- a person's name
    set_at   timestamptz NOT NULL,
    PRIMARY KEY (book, bank, currency, role),
    FOREIGN KEY (book, bank) REFERENCES bank_link (book, bank)
);
CREATE UNIQUE INDEX bank_account_of_number ON bank_account (book, bank, account);

-- When payees are paid 结算周期. payee_id '': the default at a bank.
CREATE TABLE payout_schedule (
    book          int NOT NULL,
    bank          text NOT NULL COLLATE "C",
    payee_id      text NOT NULL COLLATE "C",
    every         text NOT NULL COLLATE "C"
        CHECK (every IN ('T+0', 'T+1', 'D+1', 'weekly', 'monthly', 'threshold', 'manual')),
    on_day        int CHECK (on_day BETWEEN 1 AND CASE every WHEN 'weekly' THEN 7 WHEN 'monthly' THEN 31 ELSE 0 END),
    minimum_minor bigint NOT NULL CHECK (minimum_minor >= 0),
    set_at        timestamptz NOT NULL,
    PRIMARY KEY (book, bank, payee_id)
);

-- When a bank carries batches out, in Beijing time, and what takes two people there.
CREATE TABLE payout_bank (
    book                int NOT NULL,
    bank                text NOT NULL COLLATE "C",
    cut_off             time NOT NULL,
    every_day           bool NOT NULL,
    release_above_minor bigint CHECK (release_above_minor >= 0), -- a batch over more waits for a second person; NULL: none
    only_deposited      bool NOT NULL, -- no batch is sent for which the pool account lacks the money
    settled_until       date, -- every period that ended by then has its batch
    PRIMARY KEY (book, bank)
);

CREATE TABLE settlement (
    book              int NOT NULL REFERENCES book (book),
    id                text NOT NULL COLLATE "C",
    bank              text NOT NULL COLLATE "C",
    business_date     date NOT NULL,
    execution_date    date NOT NULL, -- the bank's day on which it is to be carried out
    currency          text NOT NULL COLLATE "C",
    status            text NOT NULL COLLATE "C" CHECK (
        status IN ('draft', 'awaiting_release', 'created', 'refused', 'cancelled', 'sent', 'finished')
    ),
    total_minor       bigint NOT NULL CHECK (total_minor >= 0),
    instruction_count int NOT NULL CHECK (instruction_count >= 0),
    open_count        int NOT NULL CHECK (open_count >= 0 AND open_count <= instruction_count),
    paid_minor        bigint NOT NULL CHECK (paid_minor >= 0 AND paid_minor <= total_minor),
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    returned_minor    bigint NOT NULL DEFAULT 0, -- of paid_minor, what came back 退票
    written_as        int NOT NULL DEFAULT 1, -- in which of its bank's forms it is written, the same whenever it is sent
    drafted_to        text COLLATE "C", -- of a draft: the last payee that was looked at; else NULL
    debtor_name       text, -- the account holder in whose name it is written; NULL: of a link that named none
    again_at          timestamptz, -- when two people last had it sent again, after the bank had refused it
    PRIMARY KEY (book, id),
    CONSTRAINT settlement_draft_goes_on CHECK ((status = 'draft') = (drafted_to IS NOT NULL)),
    CONSTRAINT settlement_returned_of_what_was_paid CHECK (returned_minor >= 0 AND returned_minor <= paid_minor)
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
    status        text NOT NULL COLLATE "C" CHECK (status IN ('in_transit', 'paid', 'refused', 'returned')),
    reason        text,
    bank_date     date NOT NULL, -- the bank's day of the decision; the execution date until there is one
    decided_at    timestamptz,
    returned_at   timestamptz, -- 退票: when the hub learnt that it came back
    returned_on   date, -- the bank's day of it
    return_reason text, -- the bank's code
    debits        text NOT NULL DEFAULT '' COLLATE "C", -- by which bookings the bank carried it out
    PRIMARY KEY (book, id),
    CONSTRAINT instruction_returned_on_a_day CHECK (
        (status = 'returned') = (returned_on IS NOT NULL) AND (returned_on IS NULL) = (returned_at IS NULL)
    ),
    FOREIGN KEY (book, settlement_id) REFERENCES settlement (book, id)
);
CREATE INDEX instruction_of_settlement ON instruction (book, settlement_id);
CREATE INDEX instruction_in_transit ON instruction (book, payee_id) WHERE status = 'in_transit';

-- Every file of a bank's, and what became of it. The bytes of one are bank_file_content's.
CREATE TABLE bank_file (
    book          int NOT NULL REFERENCES book (book),
    id            text NOT NULL COLLATE "C", -- follows from bank, the bank's id and the hash in its list
    bank          text NOT NULL COLLATE "C",
    file_id       text NOT NULL COLLATE "C",
    type          text NOT NULL COLLATE "C" CHECK (type ~ '^[a-z0-9]+[.][a-z0-9]+$'),
    name          text NOT NULL,
    business_date date NOT NULL,
    listed_sha256 text NOT NULL COLLATE "C",
    sha256        text COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'), -- NULL: its bytes could not be had
    size          bigint NOT NULL CHECK (size >= 0),
    fate          text NOT NULL COLLATE "C" CHECK (
        fate IN ('offered', 'received', 'applied', 'repeated', 'quarantined', 'discarded')
    ),
    code          text COLLATE "C", -- why it is quarantined, or was
    why           text,
    repeats       text COLLATE "C", -- the file whose bytes these are as well
    replaces      text COLLATE "C", -- given by hand: the file in whose place
    given_by      text COLLATE "C", -- given by hand: by whom
    received_at   timestamptz NOT NULL,
    fate_at       timestamptz NOT NULL,
    fate_by       text NOT NULL COLLATE "C", -- a person, or sluice
    PRIMARY KEY (book, id),
    CONSTRAINT bank_file_quarantined_for_a_reason CHECK (fate <> 'quarantined' OR (code IS NOT NULL AND why IS NOT NULL)),
    CONSTRAINT bank_file_given_in_place_of_one CHECK ((given_by IS NULL) = (replaces IS NULL))
);
CREATE INDEX bank_file_newest ON bank_file (book, received_at);
CREATE INDEX bank_file_of_bytes ON bank_file (book, sha256);
CREATE INDEX bank_file_to_apply ON bank_file (received_at) WHERE fate = 'received';

-- The bytes of banks' files, once for each content. Never changed.
CREATE TABLE bank_file_content (
    book   int NOT NULL REFERENCES book (book),
    sha256 text NOT NULL COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'), -- of the bytes as they came
    size   bigint NOT NULL CHECK (size >= 0), -- of the bytes as they came
    packed bytea NOT NULL, -- zlib
    PRIMARY KEY (book, sha256)
);

-- A payee's own account at another bank 绑定账户, to which it withdraws. The holder is always the payee.
CREATE TABLE payee_account (
    book      int NOT NULL,
    payee_id  text NOT NULL COLLATE "C",
    account   text NOT NULL COLLATE "C",
    bank_bic  text NOT NULL COLLATE "C",
    bank_name text NOT NULL,
    set_by    text NOT NULL, -- a person's name, or an API key's id
    set_at    timestamptz NOT NULL,
    bound_at_bank bool NOT NULL DEFAULT false, -- the payee's bank has it as the sub-account's own: its class limits nothing
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

-- What payees asked to withdraw on the last day on which they did, and in its year, less what was refused.
CREATE TABLE withdrawal_use (
    book       int NOT NULL,
    payee_id   text NOT NULL COLLATE "C",
    day        date NOT NULL, -- in Beijing
    day_minor  bigint NOT NULL CHECK (day_minor >= 0),
    year_minor bigint NOT NULL CHECK (year_minor >= day_minor),
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
    debits         text NOT NULL DEFAULT '' COLLATE "C", -- by which bookings the bank carried it out
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
