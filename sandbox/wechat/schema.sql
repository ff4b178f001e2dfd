-- What WeChat Pay keeps beside the core's books. Moments are milliseconds since 1970 UTC (`_ms`), dates are Beijing dates, money is fen.

CREATE TABLE IF NOT EXISTS wechat_platform_key (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id TEXT NOT NULL UNIQUE,             -- certificate serial number, or PUB_KEY_ID_…
    private_pem BLOB NOT NULL,
    certificate_pem BLOB                     -- NULL for a key of public key mode 公钥模式
);

-- Payment codes 付款码 that were used; each serves one order.
CREATE TABLE IF NOT EXISTS wechat_auth_code (
    code TEXT PRIMARY KEY
);

CREATE TABLE IF NOT EXISTS wechat_bill_file (
    token TEXT PRIMARY KEY,
    mchid TEXT NOT NULL,
    content BLOB NOT NULL,
    gzip INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
);

-- Profit sharing 分账. A trade stands here when its order asked for it: its money is frozen until shared or released.
CREATE TABLE IF NOT EXISTS wechat_frozen (
    trade_id INTEGER PRIMARY KEY REFERENCES acquirer_trade,
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
    trade_id INTEGER NOT NULL REFERENCES acquirer_trade,
    request TEXT NOT NULL,                   -- canonical JSON; a repeated order must equal it
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
    request TEXT NOT NULL,
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

-- Combined payments 合单支付: each of its orders is a trade of its own merchant.
CREATE TABLE IF NOT EXISTS wechat_combine (
    combine_id INTEGER PRIMARY KEY AUTOINCREMENT,
    mchid TEXT NOT NULL,                     -- who started it
    appid TEXT NOT NULL,
    combine_out_trade_no TEXT NOT NULL,
    product TEXT NOT NULL,
    request TEXT NOT NULL,
    notify_url TEXT NOT NULL,
    key_id TEXT,
    token TEXT NOT NULL UNIQUE,
    openid TEXT,                             -- who paid
    UNIQUE (mchid, combine_out_trade_no)
);

CREATE TABLE IF NOT EXISTS wechat_combine_part (
    trade_id INTEGER PRIMARY KEY REFERENCES acquirer_trade,
    combine_id INTEGER NOT NULL REFERENCES wechat_combine,
    position INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS wechat_combine_part_of ON wechat_combine_part (combine_id, position);
