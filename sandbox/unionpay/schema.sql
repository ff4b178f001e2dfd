-- What UnionPay keeps beside the acquirer's books.

CREATE TABLE IF NOT EXISTS unionpay_key (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    role TEXT NOT NULL,                      -- root middle signing
    private_pem BLOB NOT NULL,
    certificate_pem BLOB NOT NULL
);

-- Completions 预授权完成 and releases 预授权撤销: they have numbers of their own, under which they are asked about.
CREATE TABLE IF NOT EXISTS unionpay_follow_up (
    merchant TEXT NOT NULL,
    order_id TEXT NOT NULL,
    txn_time TEXT NOT NULL,
    txn_type TEXT NOT NULL,                  -- 03 32
    trade_id INTEGER NOT NULL REFERENCES acquirer_trade,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (merchant, order_id)
);
