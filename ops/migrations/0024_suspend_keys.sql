-- migrate:up

ALTER TABLE api_key ADD COLUMN suspended_at timestamptz; -- NULL: in force, unless expired or revoked

-- migrate:down
