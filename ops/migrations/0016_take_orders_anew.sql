-- migrate:up

-- An order whose payment ended unpaid may be paid by another: its number's claim then names that one.
GRANT UPDATE ON claim TO sluice_app;

-- migrate:down
