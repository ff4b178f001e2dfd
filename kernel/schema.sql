-- A book 账套 is a merchant's own world: first column of every key, and the unit of locking (decision 0002).
CREATE TABLE book (
    book          int PRIMARY KEY,
    transfer_seq  bigint NOT NULL CHECK (transfer_seq >= 0),
    transfer_hash bytea NOT NULL CHECK (length(transfer_hash) = 32),
    event_seq     bigint NOT NULL CHECK (event_seq >= 0),
    event_hash    bytea NOT NULL CHECK (length(event_hash) = 32),
    recorded_at   timestamptz NOT NULL
) WITH (fillfactor = 50);

-- For tables that are only ever added to.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: a mistake is reversed by a new record, never changed', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$;
