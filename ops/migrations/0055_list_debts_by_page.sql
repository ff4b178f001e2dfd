-- migrate:up

-- The newest debts of a book, a page at a time.
CREATE INDEX payee_debt_newest ON payee_debt (book, seq);

-- migrate:down
