-- The simulated direct link of China Merchants Bank: its own customers, accounts, batches and bookings.
CREATE TABLE IF NOT EXISTS cmb_state (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cmb_user (
    uid TEXT PRIMARY KEY, name TEXT NOT NULL, symmetric_key TEXT NOT NULL, x TEXT NOT NULL, y TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS cmb_account (
    number TEXT PRIMARY KEY, uid TEXT, name TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'A',
    balance_minor INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS cmb_batch (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL, number TEXT NOT NULL, day TEXT NOT NULL,
    status TEXT NOT NULL, flag TEXT NOT NULL DEFAULT '', words TEXT NOT NULL DEFAULT '', UNIQUE (uid, number)
);
CREATE TABLE IF NOT EXISTS cmb_line (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, batch INTEGER NOT NULL REFERENCES cmb_batch, uid TEXT NOT NULL,
    yur_ref TEXT NOT NULL, debtor TEXT NOT NULL, creditor TEXT NOT NULL, name TEXT NOT NULL, check_name INTEGER NOT NULL,
    amount_minor INTEGER NOT NULL, words TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'NTE',
    flag TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '', returned_on TEXT, returned_code TEXT
);
CREATE TABLE IF NOT EXISTS cmb_entry (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, day TEXT NOT NULL, amount_minor INTEGER NOT NULL,
    balance_minor INTEGER NOT NULL, words TEXT NOT NULL, yur_ref TEXT NOT NULL DEFAULT '',
    other_account TEXT NOT NULL DEFAULT '', other_name TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS cmb_line_of_batch ON cmb_line (batch);
CREATE INDEX IF NOT EXISTS cmb_line_of_reference ON cmb_line (yur_ref);
CREATE INDEX IF NOT EXISTS cmb_line_returned ON cmb_line (uid, debtor, returned_on);
CREATE INDEX IF NOT EXISTS cmb_entry_of_account ON cmb_entry (account, day);
