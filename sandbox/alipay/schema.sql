-- What Alipay knows beside the shared books of acquirer/schema.sql. Moments are milliseconds since 1970 UTC (`_ms`).

-- Codes handed out 预下单: there is no trade before somebody scans one.
CREATE TABLE IF NOT EXISTS alipay_precreate (
    merchant TEXT NOT NULL,
    order_no TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE,              -- the part of the code that nobody guesses
    content TEXT NOT NULL,                   -- JSON: the order as it will be made
    code_ends_ms INTEGER NOT NULL,           -- nobody can scan it after that
    PRIMARY KEY (merchant, order_no)
);

-- Numbers cancelled before there was a trade: nothing can be paid under them any more.
CREATE TABLE IF NOT EXISTS alipay_blocked (
    merchant TEXT NOT NULL,
    order_no TEXT NOT NULL,
    PRIMARY KEY (merchant, order_no)
);

-- Payers' codes 付款码 that were used; each serves one order.
CREATE TABLE IF NOT EXISTS alipay_auth_code (
    code TEXT PRIMARY KEY,
    merchant TEXT NOT NULL,
    order_no TEXT NOT NULL
);

-- Who may be given shares 分账关系.
CREATE TABLE IF NOT EXISTS alipay_receiver (
    merchant TEXT NOT NULL,
    type TEXT NOT NULL,                      -- userId loginName openId
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    memo TEXT NOT NULL,
    PRIMARY KEY (merchant, type, account)
);

-- Sharings-out 分账; the money is in the fund flow.
CREATE TABLE IF NOT EXISTS alipay_settle (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    merchant TEXT NOT NULL,
    trade_id INTEGER NOT NULL,
    request_no TEXT NOT NULL,
    params TEXT NOT NULL,
    settle_no TEXT NOT NULL UNIQUE,
    details TEXT NOT NULL,                   -- JSON: one object a share
    shared INTEGER NOT NULL,                 -- fen that went to receivers
    finished INTEGER NOT NULL,               -- it released the rest
    at_ms INTEGER NOT NULL,
    UNIQUE (merchant, trade_id, request_no)
);
CREATE INDEX IF NOT EXISTS alipay_settle_of ON alipay_settle (trade_id);

-- Shares that came back 退分账, of one refund each.
CREATE TABLE IF NOT EXISTS alipay_royalty_return (
    merchant TEXT NOT NULL,
    trade_id INTEGER NOT NULL,
    request_no TEXT NOT NULL,
    params TEXT NOT NULL,
    details TEXT NOT NULL,                   -- JSON: one object a receiver
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (merchant, trade_id, request_no)
);
CREATE INDEX IF NOT EXISTS alipay_royalty_return_of ON alipay_royalty_return (trade_id);
