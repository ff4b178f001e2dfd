-- migrate:up

-- What a refused message says depends on whether an earlier one may have arrived. Of what was there before, nobody
-- noted how often it was sent: as often as is needed for nothing to be concluded from a refusal.
ALTER TABLE refund ADD COLUMN sent_count int NOT NULL DEFAULT 2;
ALTER TABLE refund ALTER COLUMN sent_count SET DEFAULT 0;
ALTER TABLE refund ADD COLUMN paid_tries int NOT NULL DEFAULT 0;

-- migrate:down
