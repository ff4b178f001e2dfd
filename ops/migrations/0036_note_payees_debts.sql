-- migrate:up

-- What payees owe 欠款 since refunds took back more than they were owed. Never changed: every credit to the account recovers
-- the oldest first, so what is left of each follows from what the account is below nothing.
CREATE TABLE payee_debt (
    book         int NOT NULL REFERENCES book (book),
    id           text NOT NULL COLLATE "C", -- follows from the transfer's
    payee_id     text NOT NULL COLLATE "C",
    account      text NOT NULL COLLATE "C", -- the payee's, in the ledger
    transfer_id  text NOT NULL COLLATE "C", -- the taking back
    payment_id   text NOT NULL COLLATE "C",
    cause        text NOT NULL COLLATE "C", -- the refund's id
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    owed_minor   bigint NOT NULL CHECK (owed_minor >= amount_minor), -- what the account was below nothing after it
    currency     text NOT NULL COLLATE "C",
    seq          bigint NOT NULL CHECK (seq > 0), -- the transfer's number in the journal
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (book, id)
);
CREATE INDEX payee_debt_of_account ON payee_debt (book, account, seq);
CREATE INDEX payee_debt_of_payment ON payee_debt (book, payment_id);
GRANT SELECT, INSERT ON payee_debt TO sluice_app;

-- Those of before: what each taking back left its account below nothing.
INSERT INTO payee_debt (
    book, id, payee_id, account, transfer_id, payment_id, cause, amount_minor, owed_minor, currency, seq, created_at
)
SELECT t.book, 'dbt_' || left(encode(sha256(convert_to(t.book || '/' || t.id, 'UTF8')), 'hex'), 26),
    s.shares -> substring(t.id FROM '[0-9]+$')::int ->> 0, t.account, t.id, r.payment_id, r.id,
    least(t.amount_minor, -t.after), -t.after, t.currency, t.seq, t.recorded_at
FROM (
    SELECT x.*, l.account, sum(l.minor) OVER (PARTITION BY x.book, l.account ORDER BY x.seq) AS after
    FROM transfer x CROSS JOIN LATERAL (VALUES (x.debit, -x.amount_minor), (x.credit, x.amount_minor)) l (account, minor)
    WHERE (l.account LIKE 'payee:%' OR l.account LIKE 'platform\_fee:%') AND x.step IN ('post', 'post_hold')
) t
JOIN refund r ON r.book = t.book AND r.id = split_part(t.id, ':', 1)
JOIN split s ON s.book = r.book AND s.payment_id = r.payment_id
WHERE t.rule IN ('share_taken_back', 'commission_taken_back') AND t.after < 0;

-- migrate:down
