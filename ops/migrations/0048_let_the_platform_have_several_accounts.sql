-- migrate:up

-- The platform as a payee has as many accounts as it has currencies and banks. What its first payee of a currency is owed
-- is in the book's fee account; what another is, at another bank, in an account of its own.
ALTER TABLE payee ADD COLUMN fees_apart bool NOT NULL DEFAULT false;
ALTER TABLE payee ADD CONSTRAINT payee_fees_apart_of_platform CHECK (kind = 'platform' OR NOT fees_apart);
CREATE UNIQUE INDEX payee_of_fee_account ON payee (book, currency) WHERE kind = 'platform' AND NOT fees_apart;

-- migrate:down
