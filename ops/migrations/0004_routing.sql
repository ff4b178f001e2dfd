-- migrate:up

-- What routing goes by: a merchant's policies, and the attempts made lately (docs/routing.md).
CREATE INDEX attempt_lately ON attempt USING brin (created_at) WITH (pages_per_range = 16, autosummarize = true);

CREATE TABLE routing_policy (
    book    int NOT NULL REFERENCES merchant (book),
    version int NOT NULL CHECK (version > 0),
    policy  json NOT NULL,
    note    text NOT NULL,
    set_by  text NOT NULL COLLATE "C",
    set_at  timestamptz NOT NULL,
    PRIMARY KEY (book, version)
);
CREATE TRIGGER routing_policy_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON routing_policy
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
GRANT SELECT, INSERT ON routing_policy TO sluice_app;

-- migrate:down
