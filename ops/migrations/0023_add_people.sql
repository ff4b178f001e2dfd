-- migrate:up

-- Whoever acts by command has a name, a role and a credential. Not merchant data: one small table a hub.
CREATE TABLE person (
    id            text PRIMARY KEY COLLATE "C",
    name          text NOT NULL UNIQUE COLLATE "C",
    role          text NOT NULL COLLATE "C" CHECK (role IN ('operator', 'clerk', 'auditor', 'staff')),
    merchant_book int, -- of a merchant's staff
    status        text NOT NULL COLLATE "C" CHECK (status IN ('active', 'suspended')),
    digest        bytea NOT NULL UNIQUE CHECK (length(digest) = 32), -- HMAC of the credential; the key is outside
    added_at      timestamptz NOT NULL,
    status_at     timestamptz NOT NULL,
    CONSTRAINT person_staff_of_a_merchant CHECK ((role = 'staff') = (merchant_book IS NOT NULL))
);

-- The audit log 审计日志: one chain over the whole hub; an act leaves a record before it is done and one after.
CREATE TABLE audit_record (
    seq           bigint PRIMARY KEY CHECK (seq > 0),
    recorded_at   timestamptz NOT NULL,
    person        text COLLATE "C", -- NULL: nobody was named
    act           text NOT NULL COLLATE "C",
    what          text NOT NULL,
    about         text NOT NULL,
    merchant_book int,
    outcome       text NOT NULL COLLATE "C" CHECK (outcome IN ('begun', 'done', 'refused', 'failed')),
    begun_seq     bigint NOT NULL CHECK (begun_seq BETWEEN 1 AND seq),
    detail        text NOT NULL,
    hash          bytea NOT NULL CHECK (length(hash) = 32),
    CONSTRAINT audit_record_begins_once CHECK ((outcome = 'begun') = (begun_seq = seq))
);
CREATE UNIQUE INDEX audit_record_ends_once ON audit_record (begun_seq) WHERE outcome <> 'begun';
CREATE TRIGGER audit_record_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_record
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT, UPDATE ON person TO sluice_app;
GRANT SELECT, INSERT ON audit_record TO sluice_app;

-- migrate:down
