-- The bank's tables in the sandbox's sqlite file. Dates are ISO text in Beijing time, moments ISO text in UTC.
CREATE TABLE IF NOT EXISTS bank_state (
    name  TEXT PRIMARY KEY,          -- 'date': the bank's business date 账务日期
    value TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS bank_customer (
    customer_id  TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    token_sha256 TEXT NOT NULL UNIQUE,
    key_id       TEXT NOT NULL UNIQUE,
    public_key   TEXT NOT NULL,      -- PEM; the private half exists only in the customer's file
    created_at   TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS bank_account (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    number        TEXT NOT NULL UNIQUE,
    customer_id   TEXT NOT NULL REFERENCES bank_customer,
    reference     TEXT NOT NULL,
    name          TEXT NOT NULL,
    currency      TEXT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('pool', 'sub')),
    status        TEXT NOT NULL CHECK (status IN ('open', 'closed')),
    balance_minor INTEGER NOT NULL DEFAULT 0,  -- always the sum of the account's entries
    entry_count   INTEGER NOT NULL DEFAULT 0,
    opened_date   TEXT NOT NULL,
    closed_date   TEXT,
    UNIQUE (customer_id, reference)
);
CREATE TABLE IF NOT EXISTS bank_identity_token (
    token_sha256 TEXT PRIMARY KEY,
    customer_id  TEXT NOT NULL REFERENCES bank_customer,
    name         TEXT NOT NULL,      -- of its holder 户名
    expires_at   TEXT NOT NULL,
    used_by      TEXT                -- the reference of the opening that used it
);
CREATE TABLE IF NOT EXISTS bank_asks_identity (
    customer_id TEXT PRIMARY KEY REFERENCES bank_customer  -- its sub-accounts are opened by a token alone
);
CREATE TABLE IF NOT EXISTS bank_opening (  -- looked at by people: no account yet, or never one
    customer_id TEXT NOT NULL REFERENCES bank_customer,
    reference   TEXT NOT NULL,
    name        TEXT NOT NULL,
    currency    TEXT NOT NULL,
    kind        TEXT NOT NULL,
    refused     TEXT,                -- why: a code; NULL: not decided
    PRIMARY KEY (customer_id, reference)
);
CREATE TABLE IF NOT EXISTS bank_entry (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    account        TEXT NOT NULL REFERENCES bank_account (number),
    entry_no       INTEGER NOT NULL,
    bank_ref       TEXT NOT NULL UNIQUE,
    amount_minor   INTEGER NOT NULL CHECK (amount_minor > 0),
    is_credit      INTEGER NOT NULL,
    booking_date   TEXT NOT NULL,
    booked_at      TEXT NOT NULL,
    family         TEXT NOT NULL,
    sub_family     TEXT NOT NULL,
    end_to_end_id  TEXT NOT NULL,
    instruction_id TEXT,
    message_id     TEXT,
    payment_id     TEXT,
    remittance     TEXT NOT NULL,
    other_name     TEXT NOT NULL,
    other_account  TEXT,
    return_reason  TEXT,
    creditor_ref     TEXT,           -- of collections 代收 and their returns: the customer's own number
    creditor_account TEXT,           -- the virtual account the payer used
    shown_ref        TEXT,           -- by an ordered fault, the reference its customer sees in place of bank_ref
    UNIQUE (account, entry_no)
);
CREATE INDEX IF NOT EXISTS bank_entry_by_day ON bank_entry (account, booking_date);
CREATE TABLE IF NOT EXISTS bank_upload (
    seq              INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id          TEXT NOT NULL UNIQUE,
    customer_id      TEXT NOT NULL REFERENCES bank_customer,
    message_id       TEXT NOT NULL,
    sha256           TEXT NOT NULL,
    raw              BLOB NOT NULL,
    received_at      TEXT NOT NULL,
    original_file_id TEXT,           -- set when the MsgId was used before: this file is rejected, never executed
    status           TEXT NOT NULL CHECK (status IN ('received', 'done')),
    UNIQUE (customer_id, message_id, sha256)
);
CREATE INDEX IF NOT EXISTS bank_upload_open ON bank_upload (seq) WHERE status = 'received';
-- Lines that were executed. The primary key is what makes paying twice impossible.
CREATE TABLE IF NOT EXISTS bank_paid_line (
    customer_id      TEXT NOT NULL,
    end_to_end_id    TEXT NOT NULL,
    file_id          TEXT NOT NULL,
    debtor_account   TEXT NOT NULL,
    creditor_account TEXT NOT NULL,
    amount_minor     INTEGER NOT NULL,
    returned         INTEGER NOT NULL DEFAULT 0,
    paid_out         INTEGER NOT NULL DEFAULT 0,  -- to an account at another bank
    PRIMARY KEY (customer_id, end_to_end_id)
);
CREATE INDEX IF NOT EXISTS bank_paid_line_to ON bank_paid_line (creditor_account, end_to_end_id);
-- Lines that the bank has checked and not carried out yet, by an ordered fault.
CREATE TABLE IF NOT EXISTS bank_waiting_line (
    customer_id   TEXT NOT NULL,
    end_to_end_id TEXT NOT NULL,
    file_id       TEXT NOT NULL,
    status        TEXT NOT NULL CHECK (status IN ('waiting', 'recalled', 'done')),
    PRIMARY KEY (customer_id, end_to_end_id)
);
CREATE INDEX IF NOT EXISTS bank_waiting_line_of ON bank_waiting_line (end_to_end_id, status);
-- What customers want back 追回. The primary key is what makes looking into one twice impossible.
CREATE TABLE IF NOT EXISTS bank_recall (
    customer_id   TEXT NOT NULL,
    recall_id     TEXT NOT NULL,
    file_id       TEXT NOT NULL,
    end_to_end_id TEXT NOT NULL,
    status        TEXT NOT NULL CHECK (status IN ('open', 'accepted', 'refused')),
    PRIMARY KEY (customer_id, recall_id)
);
CREATE INDEX IF NOT EXISTS bank_recall_open ON bank_recall (recall_id, status);
-- Money that reaches an account from outside the bank: a channel's net settlement, a payment by a stranger.
CREATE TABLE IF NOT EXISTS bank_deposit (
    account       TEXT NOT NULL REFERENCES bank_account (number),
    end_to_end_id TEXT NOT NULL,
    announced_minor INTEGER NOT NULL,  -- what the payer meant to send; negative: it is drawn
    booked_minor  INTEGER NOT NULL,    -- what the bank booked; a fault may make it differ
    remittance    TEXT NOT NULL,
    payer_name    TEXT NOT NULL,
    due_date      TEXT NOT NULL,
    mchid         TEXT,                -- whose settlement of which day it is, where a channel sent it
    settled_date  TEXT,
    status        TEXT NOT NULL CHECK (status IN ('waiting', 'booked', 'missing')),
    PRIMARY KEY (account, end_to_end_id)
);
CREATE INDEX IF NOT EXISTS bank_deposit_waiting ON bank_deposit (due_date) WHERE status = 'waiting';
CREATE TABLE IF NOT EXISTS bank_file (
    seq                 INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id             TEXT NOT NULL UNIQUE,
    customer_id         TEXT NOT NULL REFERENCES bank_customer,
    type                TEXT NOT NULL,  -- pain.002, camt.029, camt.053 or camt.054
    name                TEXT NOT NULL,
    business_date       TEXT NOT NULL,
    created_at          TEXT NOT NULL,
    sha256              TEXT NOT NULL,
    original_message_id TEXT,
    original_file_id    TEXT,
    raw                 BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS bank_file_of_customer ON bank_file (customer_id, seq);
CREATE INDEX IF NOT EXISTS bank_file_of_day ON bank_file (type, business_date);
CREATE TABLE IF NOT EXISTS bank_spoiled_file (
    file_id     TEXT PRIMARY KEY REFERENCES bank_file (file_id),
    customer_id TEXT NOT NULL,
    fault       TEXT NOT NULL,
    meant       BLOB NOT NULL        -- what the bank would have written
);
CREATE INDEX IF NOT EXISTS bank_spoiled_file_of_customer ON bank_spoiled_file (customer_id);
