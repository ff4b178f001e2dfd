-- migrate:up

-- The proof of a business date, signed for the day: the keys, and what was signed.
CREATE TABLE certificate_key (
    id         text PRIMARY KEY COLLATE "C", -- follows from the public key
    public_key bytea NOT NULL CHECK (length(public_key) = 32), -- Ed25519, raw
    sealed     text NOT NULL COLLATE "C",
    made_at    timestamptz NOT NULL
);
CREATE TABLE day_certificate (
    business_date date NOT NULL,
    number        int NOT NULL CHECK (number > 0),
    sha256        text NOT NULL COLLATE "C" UNIQUE CHECK (sha256 ~ '^[0-9a-f]{64}$'), -- of content
    content       bytea NOT NULL, -- the file as it is given out
    key_id        text NOT NULL COLLATE "C" REFERENCES certificate_key (id),
    holds         bool NOT NULL,
    PRIMARY KEY (business_date, number)
);
CREATE TRIGGER day_certificate_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON day_certificate
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();
GRANT SELECT, INSERT ON day_certificate TO sluice_app;
GRANT SELECT, INSERT ON certificate_key TO sluice_app;
GRANT UPDATE (sealed) ON certificate_key TO sluice_app;

-- migrate:down
