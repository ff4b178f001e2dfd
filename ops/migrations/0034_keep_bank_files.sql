-- migrate:up

-- Every file of a bank's, and what became of it. The bytes of one are bank_file_content's.
CREATE TABLE bank_file (
    book          int NOT NULL REFERENCES book (book),
    id            text NOT NULL COLLATE "C", -- follows from bank, the bank's id and the hash in its list
    bank          text NOT NULL COLLATE "C",
    file_id       text NOT NULL COLLATE "C",
    type          text NOT NULL COLLATE "C" CHECK (type IN ('pain.002', 'camt.054', 'camt.053')),
    name          text NOT NULL,
    business_date date NOT NULL,
    listed_sha256 text NOT NULL COLLATE "C",
    sha256        text COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'), -- NULL: its bytes could not be had
    size          bigint NOT NULL CHECK (size >= 0),
    fate          text NOT NULL COLLATE "C" CHECK (
        fate IN ('offered', 'received', 'applied', 'repeated', 'quarantined', 'discarded')
    ),
    code          text COLLATE "C", -- why it is quarantined, or was
    why           text,
    repeats       text COLLATE "C", -- the file whose bytes these are as well
    replaces      text COLLATE "C", -- given by hand: the file in whose place
    given_by      text COLLATE "C", -- given by hand: by whom
    received_at   timestamptz NOT NULL,
    fate_at       timestamptz NOT NULL,
    fate_by       text NOT NULL COLLATE "C", -- a person, or sluice
    PRIMARY KEY (book, id),
    CONSTRAINT bank_file_quarantined_for_a_reason CHECK (fate <> 'quarantined' OR (code IS NOT NULL AND why IS NOT NULL)),
    CONSTRAINT bank_file_given_in_place_of_one CHECK ((given_by IS NULL) = (replaces IS NULL))
);
CREATE INDEX bank_file_newest ON bank_file (book, received_at);
CREATE INDEX bank_file_of_bytes ON bank_file (book, sha256);
CREATE INDEX bank_file_to_apply ON bank_file (received_at) WHERE fate = 'received';

-- The bytes of banks' files, once for each content. Never changed.
CREATE TABLE bank_file_content (
    book   int NOT NULL REFERENCES book (book),
    sha256 text NOT NULL COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'), -- of the bytes as they came
    size   bigint NOT NULL CHECK (size >= 0), -- of the bytes as they came
    packed bytea NOT NULL, -- zlib
    PRIMARY KEY (book, sha256)
);
GRANT SELECT, INSERT, UPDATE ON bank_file TO sluice_app;
GRANT SELECT, INSERT ON bank_file_content TO sluice_app;

-- What was set aside before: no bytes were kept of it.
INSERT INTO bank_file (
    book, id, bank, file_id, type, name, business_date, listed_sha256, size, fate, code, why, received_at, fate_at,
    fate_by
)
SELECT book,
    'bkf_' || left(encode(sha256(convert_to(concat_ws(E'\n', book, bank, file ->> 'file_id', hash), 'UTF8')), 'hex'), 26),
    bank, file ->> 'file_id', file ->> 'type', file ->> 'name', (file ->> 'business_date')::date, hash, 0,
    CASE WHEN status = 'open' THEN 'quarantined' WHEN decision = 'discard' THEN 'discarded' ELSE 'applied' END,
    code, why, opened_at, coalesce(decided_at, opened_at), coalesce(decided_by, 'sluice')
FROM (
    SELECT *, facts ->> 'bank' AS bank, facts -> 'file' AS file, lower(facts -> 'file' ->> 'sha256') AS hash,
        facts ->> 'code' AS code, facts ->> 'why' AS why
    FROM case_file WHERE kind = 'bank_file_set_aside'
) told
ON CONFLICT DO NOTHING;

-- migrate:down
