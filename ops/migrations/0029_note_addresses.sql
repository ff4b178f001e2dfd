-- migrate:up

-- Every address at which a rail or a bank has ever been reached with an account: a home whose rails were once somebody's
-- is on trial no more. '': a row that named none.
CREATE TABLE address_used (
    base_url text PRIMARY KEY COLLATE "C",
    since    timestamptz NOT NULL DEFAULT transaction_timestamp()
);
CREATE FUNCTION base_url_of(settings json) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN coalesce(settings ->> 'base_url', '');
EXCEPTION WHEN data_exception THEN -- text that PostgreSQL cannot hold: an account of before such was refused
    RETURN '';
END
$$;
CREATE FUNCTION note_address() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO address_used (base_url) SELECT DISTINCT base_url_of(settings) FROM changed ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
GRANT SELECT, INSERT ON address_used TO sluice_app;
INSERT INTO address_used (base_url)
    SELECT base_url_of(settings) FROM channel_account
    UNION SELECT base_url_of(settings) FROM bank_link;
CREATE TRIGGER note_address_added AFTER INSERT ON channel_account REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_address();
CREATE TRIGGER note_address_changed AFTER UPDATE ON channel_account REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_address();
CREATE TRIGGER note_address_added AFTER INSERT ON bank_link REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_address();
CREATE TRIGGER note_address_changed AFTER UPDATE ON bank_link REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_address();

-- migrate:down
