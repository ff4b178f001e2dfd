-- migrate:up

-- `sluice verify` looks at what came since the last time: what the journal has of a day, and what was told of a case.
CREATE INDEX transfer_lately ON transfer USING brin (recorded_at) WITH (pages_per_range = 16, autosummarize = true);
CREATE INDEX event_of_case ON event (book, subject) WHERE type IN ('case.opened', 'case.decided');

-- migrate:down
