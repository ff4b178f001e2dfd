-- migrate:up

-- What banks gave us to call them with is sealed as channel credentials are (docs/decisions/0012). Rows of before keep
-- working: they name key files until `sluice channel reseal` or `sluice bank rotate` seals them.
ALTER TABLE bank_link ADD COLUMN sealed text COLLATE "C";

-- migrate:down
