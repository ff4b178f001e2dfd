-- What PayPal keeps beside the books of the shared core. Moments are milliseconds since 1970 UTC (`_ms`).

CREATE TABLE IF NOT EXISTS paypal_token (
    token TEXT PRIMARY KEY,
    merchant TEXT NOT NULL,
    expires_ms INTEGER NOT NULL
);

-- PayPal-Request-Id: what a request that is sent again is answered with. PayPal keeps those of orders six hours, those of
-- payments 45 days.
CREATE TABLE IF NOT EXISTS paypal_request (
    merchant TEXT NOT NULL,
    op TEXT NOT NULL,
    request_id TEXT NOT NULL,
    object TEXT NOT NULL,                    -- number of the order, capture or refund that came of it
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (merchant, op, request_id)
);

-- Certificates that sign notices; all stay to be fetched.
CREATE TABLE IF NOT EXISTS paypal_certificate (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,               -- the last part of its address
    chain TEXT NOT NULL,                     -- PEM: itself, then the intermediate
    private_key TEXT NOT NULL
);
