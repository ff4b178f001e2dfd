-- migrate:up

ALTER TABLE payee_account ADD COLUMN bound_at_bank bool NOT NULL DEFAULT false; -- the payee's bank has it as the sub-account's own: its class limits nothing

ALTER TABLE withdrawal_use ADD COLUMN year_minor bigint;
UPDATE withdrawal_use u SET year_minor = (
    SELECT coalesce(sum(w.amount_minor), 0) FROM withdrawal w
    WHERE w.book = u.book AND w.payee_id = u.payee_id AND w.status <> 'refused'
        AND date_trunc('year', w.execution_date) = date_trunc('year', u.day)
);
ALTER TABLE withdrawal_use
    ALTER COLUMN year_minor SET NOT NULL,
    ADD CHECK (year_minor >= day_minor);

-- migrate:down
