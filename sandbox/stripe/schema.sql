-- What came of each Idempotency-Key, told again to whoever sends the same request under it.
CREATE TABLE IF NOT EXISTS stripe_key (
    merchant TEXT NOT NULL,
    key TEXT NOT NULL,
    request TEXT NOT NULL,                   -- method, path and fields, in one canonical text
    status INTEGER NOT NULL,
    body BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (merchant, key)
);
