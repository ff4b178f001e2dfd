-- The books of every acquirer. Moments are milliseconds since 1970 UTC (`_ms`), dates are Beijing dates, money is minor
-- units of the row's currency, `extra` is a JSON object of the rail's own.

CREATE TABLE IF NOT EXISTS acquirer_merchant (
    rail TEXT NOT NULL,
    merchant TEXT NOT NULL,                  -- its number at the rail
    seq INTEGER NOT NULL,
    name TEXT NOT NULL,
    fee_bp INTEGER NOT NULL,
    fixed_fee_minor INTEGER NOT NULL,
    settle_to TEXT,                          -- account at the sandbox bank
    extra TEXT NOT NULL,
    closed_through TEXT NOT NULL,            -- the last Beijing date whose bill is made 日切
    PRIMARY KEY (rail, merchant)
);

CREATE TABLE IF NOT EXISTS acquirer_trade (
    rail TEXT NOT NULL,
    trade_id INTEGER PRIMARY KEY AUTOINCREMENT,
    merchant TEXT NOT NULL,
    order_no TEXT NOT NULL,                  -- the merchant's number
    product TEXT NOT NULL,                   -- the rail's word for how it is paid
    params TEXT NOT NULL,                    -- what a repeated order must be equal in
    amount INTEGER NOT NULL,
    currency TEXT NOT NULL,
    fee_bp INTEGER NOT NULL,
    fixed_fee_minor INTEGER NOT NULL,
    hold INTEGER NOT NULL,                   -- the payer's money is to be reserved first 预授权
    notify_url TEXT,
    token TEXT NOT NULL UNIQUE,              -- the part of a code or page address that nobody guesses
    extra TEXT NOT NULL,
    state TEXT NOT NULL,                     -- open held paid closed reversed
    closed_by TEXT,                          -- merchant expired declined voided
    refusal TEXT,                            -- the rail's code with which the payer's last try failed
    payer TEXT,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,                      -- when open or held ends by itself
    trade_ref TEXT NOT NULL,                 -- the rail's numbers: of the order, of the hold, of the charge
    hold_ref TEXT,
    charge_ref TEXT,
    held_ms INTEGER,
    paid_ms INTEGER,
    bill_date TEXT,
    paid INTEGER NOT NULL DEFAULT 0,         -- what was charged; less than `amount` after a partial capture
    fee INTEGER NOT NULL DEFAULT 0,
    refunded INTEGER NOT NULL DEFAULT 0,
    UNIQUE (rail, merchant, order_no)
);
CREATE UNIQUE INDEX IF NOT EXISTS acquirer_trade_ref ON acquirer_trade (rail, trade_ref);
CREATE INDEX IF NOT EXISTS acquirer_trade_charge ON acquirer_trade (rail, charge_ref) WHERE charge_ref IS NOT NULL;
CREATE INDEX IF NOT EXISTS acquirer_trade_hold ON acquirer_trade (rail, hold_ref) WHERE hold_ref IS NOT NULL;
CREATE INDEX IF NOT EXISTS acquirer_trade_expiry ON acquirer_trade (rail, expires_ms) WHERE expires_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS acquirer_trade_bill ON acquirer_trade (rail, merchant, bill_date) WHERE bill_date IS NOT NULL;

CREATE TABLE IF NOT EXISTS acquirer_refund (
    rail TEXT NOT NULL,
    refund_id INTEGER PRIMARY KEY AUTOINCREMENT,
    merchant TEXT NOT NULL,
    refund_no TEXT,                          -- the merchant's number; NULL: the money went back by a reversal 撤销
    trade_id INTEGER NOT NULL REFERENCES acquirer_trade,
    params TEXT NOT NULL,
    amount INTEGER NOT NULL,
    fee_back INTEGER NOT NULL,
    reason TEXT NOT NULL,
    notify_url TEXT,
    extra TEXT NOT NULL,
    status TEXT NOT NULL,                    -- pending success failed
    refund_ref TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    settles_ms INTEGER,                      -- when pending ends
    success_ms INTEGER,
    bill_date TEXT NOT NULL,
    billed_status TEXT,                      -- as the bill of bill_date froze it
    UNIQUE (rail, merchant, refund_no)
);
-- Refunds that were done and come back: the payer's bank does not take them.
CREATE TABLE IF NOT EXISTS acquirer_return (
    rail TEXT NOT NULL,
    refund_id INTEGER PRIMARY KEY REFERENCES acquirer_refund,
    merchant TEXT NOT NULL,
    due_ms INTEGER,                          -- when it comes back; NULL: it has
    at_ms INTEGER,
    bill_date TEXT
);
CREATE INDEX IF NOT EXISTS acquirer_return_due ON acquirer_return (rail, due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS acquirer_return_bill ON acquirer_return (rail, merchant, bill_date);
CREATE INDEX IF NOT EXISTS acquirer_refund_trade ON acquirer_refund (trade_id);
CREATE INDEX IF NOT EXISTS acquirer_refund_ref ON acquirer_refund (rail, refund_ref);
CREATE INDEX IF NOT EXISTS acquirer_refund_due ON acquirer_refund (rail, settles_ms) WHERE settles_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS acquirer_refund_bill ON acquirer_refund (rail, merchant, bill_date);

-- Disputes 拒付: payments that payers have their bank take back.
CREATE TABLE IF NOT EXISTS acquirer_dispute (
    rail TEXT NOT NULL,
    dispute_id INTEGER PRIMARY KEY AUTOINCREMENT,
    merchant TEXT NOT NULL,
    trade_id INTEGER NOT NULL REFERENCES acquirer_trade,
    dispute_ref TEXT NOT NULL,
    amount INTEGER NOT NULL,
    fee INTEGER NOT NULL,
    fee_back INTEGER NOT NULL,
    reason TEXT NOT NULL,
    status TEXT NOT NULL,                    -- inquiry open won lost
    created_ms INTEGER NOT NULL,
    taken_ms INTEGER,                        -- when its money was taken; NULL: an inquiry takes none
    bill_date TEXT,                          -- of that
    due_ms INTEGER NOT NULL,                 -- until when evidence is taken
    ended_ms INTEGER,
    back_date TEXT                           -- won: the bill on which the money is back
);
CREATE INDEX IF NOT EXISTS acquirer_dispute_ref ON acquirer_dispute (rail, dispute_ref);
CREATE INDEX IF NOT EXISTS acquirer_dispute_trade ON acquirer_dispute (trade_id);
CREATE INDEX IF NOT EXISTS acquirer_dispute_bill ON acquirer_dispute (rail, merchant, bill_date);
CREATE INDEX IF NOT EXISTS acquirer_dispute_back ON acquirer_dispute (rail, merchant, back_date);

-- Fund flow 资金流水: append-only, and the one truth about money. A payer charged twice would be two rows here.
CREATE TABLE IF NOT EXISTS acquirer_flow (
    rail TEXT NOT NULL,
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    merchant TEXT NOT NULL,
    currency TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    bill_date TEXT NOT NULL,
    kind TEXT NOT NULL,                      -- payment fee refund fee_back refund_failed dispute dispute_fee dispute_won settlement
    amount INTEGER NOT NULL,                 -- signed: positive is in the merchant's favour
    trade_id INTEGER,
    refund_id INTEGER,
    extra TEXT                               -- what a bill says of it that does not follow from these
);
CREATE INDEX IF NOT EXISTS acquirer_flow_bill ON acquirer_flow (rail, merchant, bill_date);
CREATE INDEX IF NOT EXISTS acquirer_flow_trade ON acquirer_flow (trade_id) WHERE trade_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS acquirer_day (
    rail TEXT NOT NULL,
    merchant TEXT NOT NULL,
    date TEXT NOT NULL,
    net INTEGER NOT NULL,                    -- of the currency that is paid out
    settle_to TEXT,
    booking_date TEXT,
    closed_ms INTEGER NOT NULL,
    PRIMARY KEY (rail, merchant, date)
);

CREATE TABLE IF NOT EXISTS acquirer_webhook (
    rail TEXT NOT NULL,
    merchant TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    url TEXT NOT NULL,
    extra TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (rail, webhook_id)
);

CREATE TABLE IF NOT EXISTS acquirer_notice (
    rail TEXT NOT NULL,
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    notice_id TEXT NOT NULL,                 -- the rail's id of it, the same at each attempt
    merchant TEXT NOT NULL,
    event TEXT NOT NULL,
    order_no TEXT NOT NULL,
    refund_no TEXT,
    url TEXT NOT NULL,
    webhook_id TEXT,
    content TEXT NOT NULL,                   -- JSON, as it was when the event happened
    state TEXT NOT NULL,                     -- pending held acknowledged given_up
    attempts INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    next_ms INTEGER
);
CREATE INDEX IF NOT EXISTS acquirer_notice_due ON acquirer_notice (rail, next_ms) WHERE next_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS acquirer_notice_of ON acquirer_notice (rail, merchant);
CREATE INDEX IF NOT EXISTS acquirer_notice_held ON acquirer_notice (rail, merchant) WHERE state = 'held';

CREATE TABLE IF NOT EXISTS acquirer_notice_attempt (
    notice_seq INTEGER NOT NULL REFERENCES acquirer_notice,
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    what TEXT NOT NULL,                      -- right duplicate forged wrong_amount unsigned dropped
    at_ms INTEGER NOT NULL,
    http_status INTEGER,
    problem TEXT
);
CREATE INDEX IF NOT EXISTS acquirer_notice_attempt_of ON acquirer_notice_attempt (notice_seq);
