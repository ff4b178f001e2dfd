-- migrate:up

-- When payees are paid 结算周期. payee_id '': the default at a bank.
CREATE TABLE payout_schedule (
    book          int NOT NULL,
    bank          text NOT NULL COLLATE "C",
    payee_id      text NOT NULL COLLATE "C",
    every         text NOT NULL COLLATE "C"
        CHECK (every IN ('T+0', 'T+1', 'D+1', 'weekly', 'monthly', 'threshold', 'manual')),
    on_day        int CHECK (on_day BETWEEN 1 AND CASE every WHEN 'weekly' THEN 7 WHEN 'monthly' THEN 31 ELSE 0 END),
    minimum_minor bigint NOT NULL CHECK (minimum_minor >= 0),
    set_at        timestamptz NOT NULL,
    PRIMARY KEY (book, bank, payee_id)
);

-- When a bank carries batches out, in Beijing time, and what takes two people there.
CREATE TABLE payout_bank (
    book                int NOT NULL,
    bank                text NOT NULL COLLATE "C",
    cut_off             time NOT NULL,
    every_day           bool NOT NULL,
    release_above_minor bigint CHECK (release_above_minor >= 0), -- a batch over more waits for a second person; NULL: none
    only_deposited      bool NOT NULL, -- no batch is sent for which the pool account lacks the money
    settled_until       date, -- every period that ended by then has its batch
    PRIMARY KEY (book, bank)
);
GRANT SELECT, INSERT, UPDATE ON payout_schedule, payout_bank TO sluice_app;

ALTER TABLE settlement
    ADD COLUMN drafted_to text COLLATE "C", -- of a draft: the last payee that was looked at; else NULL
    ADD CONSTRAINT settlement_draft_goes_on CHECK ((status = 'draft') = (drafted_to IS NOT NULL)),
    DROP CONSTRAINT settlement_status_check,
    ADD CONSTRAINT settlement_status_check CHECK (status IN ('draft', 'awaiting_release', 'created', 'sent', 'finished'));

-- Who may agree to what: the second of two people releases a batch.
CREATE OR REPLACE FUNCTION may_check(role text, act text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT (role, act) IN (
        ('operator', 'people'), ('operator', 'merchants'), ('operator', 'channels'), ('operator', 'rail'),
        ('operator', 'cases'), ('operator', 'closing'), ('clerk', 'cases'), ('clerk', 'closing')
    )
$$;

-- migrate:down
