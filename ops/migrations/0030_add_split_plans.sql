-- migrate:up

-- Split plans 分账方案 that merchants keep, in versions of which one is active. A version's document never changes.
CREATE TABLE split_plan (
    book       int NOT NULL REFERENCES book (book),
    id         text NOT NULL COLLATE "C",
    name       text NOT NULL,
    currency   text NOT NULL COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
    versions   int NOT NULL CHECK (versions > 0), -- the number of the last
    active     int CHECK (active BETWEEN 1 AND versions), -- by which new payments are shared out; NULL: by none yet
    created_at timestamptz NOT NULL,
    PRIMARY KEY (book, id)
);
CREATE TABLE split_plan_version (
    book        int NOT NULL,
    plan_id     text NOT NULL COLLATE "C",
    version     int NOT NULL CHECK (version > 0),
    document    json NOT NULL, -- as it was sent
    written_out json NOT NULL, -- with what it inherits
    hash        bytea NOT NULL CHECK (length(hash) = 32), -- SHA-256 of written_out as canonical JSON
    status      text NOT NULL COLLATE "C" CHECK (status IN ('draft', 'active', 'retired')),
    maker       text NOT NULL, -- a person's name, or an API key's id
    checker     text, -- who had it activated last, or agreed to that; NULL: nobody yet
    made_at     timestamptz NOT NULL,
    status_at   timestamptz NOT NULL,
    PRIMARY KEY (book, plan_id, version),
    FOREIGN KEY (book, plan_id) REFERENCES split_plan (book, id),
    CONSTRAINT split_plan_version_checked CHECK ((status = 'draft') = (checker IS NULL)),
    -- Looked at when the transaction ends: one version takes another's place.
    CONSTRAINT split_plan_one_active EXCLUDE USING btree (book WITH =, plan_id WITH =) WHERE (status = 'active')
        DEFERRABLE INITIALLY DEFERRED
);
GRANT SELECT, INSERT ON split_plan, split_plan_version TO sluice_app;
GRANT UPDATE (versions, active) ON split_plan TO sluice_app;
GRANT UPDATE (status, checker, status_at) ON split_plan_version TO sluice_app;

-- migrate:down
