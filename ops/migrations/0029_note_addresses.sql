-- migrate:up

-- Every address at which a rail or a bank has ever been reached with an account: a home whose rails were once somebody's
-- is on trial no more. '': a row that named none.
CREATE TABLE address_used (
    base_url text PRIMARY KEY COLLATE "C",
    since    timestamptz NOT NULL DEFAULT transaction_timestamp()
);
CREATE FUNCTION note_address() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO address_used (base_url) VALUES (coalesce(NEW.settings ->> 'base_url', '')) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
GRANT SELECT, INSERT ON address_used TO sluice_app;
INSERT INTO address_used (base_url)
    SELECT coalesce(settings ->> 'base_url', '') FROM channel_account
    UNION SELECT coalesce(settings ->> 'base_url', '') FROM bank_link;
CREATE TRIGGER note_address AFTER INSERT OR UPDATE OF settings ON channel_account
    FOR EACH ROW EXECUTE FUNCTION note_address();
CREATE TRIGGER note_address AFTER INSERT OR UPDATE OF settings ON bank_link
    FOR EACH ROW EXECUTE FUNCTION note_address();

-- migrate:down
