-- migrate:up

ALTER TABLE payee
    ADD COLUMN frozen_at timestamptz, -- since when nothing is paid to its account or withdrawn from it; NULL: it is not frozen
    ADD COLUMN frozen_by text COLLATE "C" CHECK (frozen_by IN ('bank', 'operator')),
    DROP CONSTRAINT payee_account_status_check;
ALTER TABLE payee
    ADD CONSTRAINT payee_account_status_check CHECK (account_status IN ('opening', 'open', 'refused', 'frozen')),
    ADD CONSTRAINT payee_account_frozen_by_somebody CHECK (
        (frozen_at IS NOT NULL) = coalesce(account_status = 'frozen', false) AND (frozen_at IS NULL) = (frozen_by IS NULL)
    );

-- migrate:down
