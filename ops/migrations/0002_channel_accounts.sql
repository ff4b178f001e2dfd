-- migrate:up

-- Channel accounts as data: what they cost and take becomes terms, their secrets are sealed (docs/decisions/0012).
-- Rows of before keep working: they name key files until `sluice channel reseal` or a rotation seals them.
ALTER TABLE channel_account
    ADD COLUMN sealed text COLLATE "C",
    ADD COLUMN terms json,
    ADD COLUMN position int CHECK (position >= 0),
    ADD COLUMN version int NOT NULL DEFAULT 1 CHECK (version > 0),
    ADD COLUMN credentials_version int NOT NULL DEFAULT 1 CHECK (credentials_version > 0),
    ADD COLUMN updated_at timestamptz;

UPDATE channel_account a
SET terms = json_build_object('fees', json_build_object('basis_points', a.fee_bp)),
    position = o.position,
    updated_at = a.created_at
FROM (
    SELECT book, id, row_number() OVER (PARTITION BY book ORDER BY created_at, id) - 1 AS position FROM channel_account
) o
WHERE o.book = a.book AND o.id = a.id;

ALTER TABLE channel_account
    DROP COLUMN fee_bp,
    ALTER COLUMN terms SET NOT NULL,
    ALTER COLUMN position SET NOT NULL,
    ALTER COLUMN version DROP DEFAULT,
    ALTER COLUMN credentials_version DROP DEFAULT,
    ALTER COLUMN updated_at SET NOT NULL;

-- migrate:down
