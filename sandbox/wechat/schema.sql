-- WeChat Pay's own books. Moments are milliseconds since 1970 UTC (`_ms`), dates are Beijing dates, money is fen.

CREATE TABLE IF NOT EXISTS wechat_platform_key (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id TEXT NOT NULL UNIQUE,             -- certificate serial number, or PUB_KEY_ID_…
    private_pem BLOB NOT NULL,
    certificate_pem BLOB                     -- NULL for a key of public key mode 公钥模式
);

CREATE TABLE IF NOT EXISTS wechat_merchant (
    mchid TEXT PRIMARY KEY,
    appid TEXT NOT NULL,
    name TEXT NOT NULL,
    serial_no TEXT NOT NULL,
    certificate_pem BLOB NOT NULL,
    apiv3_key TEXT NOT NULL,
    fee_bp INTEGER NOT NULL,
    settle_to TEXT,                          -- account at the sandbox bank
    public_key_only INTEGER NOT NULL,
    balance_minor INTEGER NOT NULL DEFAULT 0,
    closed_through TEXT NOT NULL             -- the last Beijing date whose bill is made 日切
);

CREATE TABLE IF NOT EXISTS wechat_trade (
    trade_id INTEGER PRIMARY KEY AUTOINCREMENT,
    mchid TEXT NOT NULL,
    out_trade_no TEXT NOT NULL,
    product TEXT NOT NULL,                   -- native jsapi app h5 codepay
    request BLOB NOT NULL,                   -- canonical JSON; a repeated order must equal it
    appid TEXT NOT NULL,
    description TEXT NOT NULL,
    attach TEXT NOT NULL,
    device_id TEXT NOT NULL,
    notify_url TEXT,
    total INTEGER NOT NULL,
    fee_bp INTEGER NOT NULL,
    key_id TEXT,                             -- the platform key the order asked to be answered with
    token TEXT NOT NULL UNIQUE,              -- the variable part of code_url and prepay_id
    auth_code TEXT UNIQUE,                   -- 付款码; serves one order
    state TEXT NOT NULL,
    refusal TEXT,                            -- error code a codepay order ended with
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,                      -- when NOTPAY or USERPAYING ends by itself
    openid TEXT,
    transaction_id TEXT UNIQUE,
    success_ms INTEGER,
    bill_date TEXT,
    fee INTEGER NOT NULL DEFAULT 0,
    refunded INTEGER NOT NULL DEFAULT 0,
    refund_count INTEGER NOT NULL DEFAULT 0,
    last_refund_ms INTEGER,
    coupons TEXT,                            -- JSON: what the payer used, see ../coupons.py
    UNIQUE (mchid, out_trade_no)
);
CREATE INDEX IF NOT EXISTS wechat_trade_expiry ON wechat_trade (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS wechat_trade_bill ON wechat_trade (mchid, bill_date) WHERE bill_date IS NOT NULL;

CREATE TABLE IF NOT EXISTS wechat_refund (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    refund_id TEXT NOT NULL UNIQUE,
    mchid TEXT NOT NULL,
    out_refund_no TEXT,                      -- NULL: the money went back by a reverse 撤销
    trade_id INTEGER NOT NULL REFERENCES wechat_trade,
    request BLOB,                            -- canonical JSON
    amount INTEGER NOT NULL,
    fee_back INTEGER NOT NULL,
    reason TEXT NOT NULL,
    notify_url TEXT,
    key_id TEXT,
    status TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    settles_ms INTEGER,                      -- when PROCESSING ends
    success_ms INTEGER,
    bill_date TEXT NOT NULL,
    billed_status TEXT,                      -- as the bill of bill_date froze it
    billed_success_ms INTEGER,
    coupons TEXT,                            -- JSON: what they bear of it
    UNIQUE (mchid, out_refund_no)
);
CREATE INDEX IF NOT EXISTS wechat_refund_trade ON wechat_refund (trade_id);
CREATE INDEX IF NOT EXISTS wechat_refund_settling ON wechat_refund (settles_ms) WHERE settles_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS wechat_refund_bill ON wechat_refund (mchid, bill_date);

-- Fund flow 资金流水: append-only, and the one truth about money. A payer charged twice would be two rows here.
CREATE TABLE IF NOT EXISTS wechat_flow (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    mchid TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    bill_date TEXT NOT NULL,
    kind TEXT NOT NULL,                      -- payment fee refund fee_back settlement
    amount INTEGER NOT NULL,                 -- signed: positive is in the merchant's favour
    balance INTEGER NOT NULL,
    business_no TEXT NOT NULL,               -- transaction_id or refund_id
    voucher_no TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS wechat_flow_bill ON wechat_flow (mchid, bill_date);
CREATE INDEX IF NOT EXISTS wechat_flow_business ON wechat_flow (business_no);

CREATE TABLE IF NOT EXISTS wechat_day (
    mchid TEXT NOT NULL,
    date TEXT NOT NULL,
    net INTEGER NOT NULL,
    settle_to TEXT,
    booking_date TEXT,
    closed_ms INTEGER NOT NULL,
    PRIMARY KEY (mchid, date)
);

CREATE TABLE IF NOT EXISTS wechat_bill_file (
    token TEXT PRIMARY KEY,
    mchid TEXT NOT NULL,
    content BLOB NOT NULL,
    gzip INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS wechat_notice (
    notice_id TEXT PRIMARY KEY,
    mchid TEXT NOT NULL,
    event_type TEXT NOT NULL,
    out_trade_no TEXT NOT NULL,
    out_refund_no TEXT,
    url TEXT NOT NULL,
    key_id TEXT,
    body BLOB NOT NULL,                      -- with the encrypted resource, as it is sent every time
    plain BLOB NOT NULL,
    state TEXT NOT NULL,                     -- pending held acknowledged given_up
    attempts INTEGER NOT NULL DEFAULT 0,
    next_ms INTEGER
);
CREATE INDEX IF NOT EXISTS wechat_notice_due ON wechat_notice (next_ms) WHERE next_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS wechat_notice_of ON wechat_notice (mchid);
CREATE INDEX IF NOT EXISTS wechat_notice_held ON wechat_notice (mchid) WHERE state = 'held';

CREATE TABLE IF NOT EXISTS wechat_notice_attempt (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    notice_id TEXT NOT NULL,
    what TEXT NOT NULL,                      -- right duplicate forged sigtest wrong_amount unsigned dropped
    at_ms INTEGER NOT NULL,
    http_status INTEGER,
    problem TEXT
);
CREATE INDEX IF NOT EXISTS wechat_notice_attempt_of ON wechat_notice_attempt (notice_id);

-- Profit sharing 分账. A trade stands here when its order asked for it: its money is frozen until shared or released.
CREATE TABLE IF NOT EXISTS wechat_frozen (
    trade_id INTEGER PRIMARY KEY REFERENCES wechat_trade,
    frozen INTEGER NOT NULL,                 -- what is neither shared out, nor released, nor refunded
    requests INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS wechat_receiver (
    mchid TEXT NOT NULL,                     -- who may share to it
    type TEXT NOT NULL,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    relation_type TEXT NOT NULL,
    PRIMARY KEY (mchid, type, account)
);

CREATE TABLE IF NOT EXISTS wechat_share (
    share_id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT NOT NULL UNIQUE,
    mchid TEXT NOT NULL,
    out_order_no TEXT NOT NULL,
    trade_id INTEGER NOT NULL REFERENCES wechat_trade,
    request BLOB NOT NULL,                   -- canonical JSON; a repeated order must equal it
    state TEXT NOT NULL,                     -- PROCESSING FINISHED
    created_ms INTEGER NOT NULL,
    settles_ms INTEGER,
    UNIQUE (mchid, out_order_no)
);
CREATE INDEX IF NOT EXISTS wechat_share_settling ON wechat_share (settles_ms) WHERE settles_ms IS NOT NULL;

CREATE TABLE IF NOT EXISTS wechat_share_line (
    line_id INTEGER PRIMARY KEY AUTOINCREMENT,
    detail_id TEXT NOT NULL UNIQUE,
    share_id INTEGER NOT NULL REFERENCES wechat_share,
    type TEXT NOT NULL,
    account TEXT NOT NULL,                   -- our own mchid: the rest that is released
    amount INTEGER NOT NULL,
    description TEXT NOT NULL,
    result TEXT NOT NULL,                    -- PENDING SUCCESS CLOSED
    fail_reason TEXT,
    finish_ms INTEGER,
    returned INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS wechat_share_line_of ON wechat_share_line (share_id);

CREATE TABLE IF NOT EXISTS wechat_share_return (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    return_id TEXT NOT NULL UNIQUE,
    mchid TEXT NOT NULL,
    out_return_no TEXT NOT NULL,
    line_id INTEGER NOT NULL REFERENCES wechat_share_line,
    request BLOB NOT NULL,
    amount INTEGER NOT NULL,
    description TEXT NOT NULL,
    result TEXT NOT NULL,                    -- PROCESSING SUCCESS FAILED
    fail_reason TEXT,
    created_ms INTEGER NOT NULL,
    settles_ms INTEGER,
    finish_ms INTEGER,
    UNIQUE (mchid, out_return_no)
);
CREATE INDEX IF NOT EXISTS wechat_share_return_settling ON wechat_share_return (settles_ms)
    WHERE settles_ms IS NOT NULL;

-- Combined payments 合单支付: each of its orders is a wechat_trade of its own merchant.
CREATE TABLE IF NOT EXISTS wechat_combine (
    combine_id INTEGER PRIMARY KEY AUTOINCREMENT,
    mchid TEXT NOT NULL,                     -- who started it
    appid TEXT NOT NULL,
    combine_out_trade_no TEXT NOT NULL,
    product TEXT NOT NULL,
    request BLOB NOT NULL,
    notify_url TEXT NOT NULL,
    key_id TEXT,
    token TEXT NOT NULL UNIQUE,
    openid TEXT,
    UNIQUE (mchid, combine_out_trade_no)
);

CREATE TABLE IF NOT EXISTS wechat_combine_part (
    trade_id INTEGER PRIMARY KEY REFERENCES wechat_trade,
    combine_id INTEGER NOT NULL REFERENCES wechat_combine,
    position INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS wechat_combine_part_of ON wechat_combine_part (combine_id, position);
