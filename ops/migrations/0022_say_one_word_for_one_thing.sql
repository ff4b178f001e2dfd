-- migrate:up

-- Reserved money 预授权 is authorized, as everybody else says; a hold 冻结 is the ledger's. What is paid twice 多付 is
-- overpaid; a surplus 长款 is reconciliation's. Rails are queried. Events that were published keep their words.
ALTER TABLE attempt DROP CONSTRAINT attempt_status;
UPDATE attempt SET status = CASE status WHEN 'held' THEN 'authorized' ELSE 'overpaid' END
WHERE status IN ('held', 'surplus');
ALTER TABLE attempt ADD CONSTRAINT attempt_status CHECK (status IN (
    'created', 'pending', 'unknown', 'authorized', 'confirmed', 'refused', 'closed', 'failed_over', 'late', 'overpaid'
));
ALTER TABLE attempt RENAME COLUMN held_minor TO authorized_minor;
ALTER TABLE attempt RENAME COLUMN asked_count TO query_count;
ALTER TABLE refund RENAME COLUMN asked_count TO query_count;

-- From PostgreSQL 18 on a column's NOT NULL has a name, after the column.
DO $$
DECLARE named record;
BEGIN
    FOR named IN
        SELECT conrelid::regclass AS relation, conname,
               replace(replace(conname, 'held_minor', 'authorized_minor'), 'asked_count', 'query_count') AS renamed
        FROM pg_constraint
        WHERE contype = 'n' AND conrelid IN ('attempt'::regclass, 'refund'::regclass)
          AND conname IN ('attempt_held_minor_not_null', 'attempt_asked_count_not_null', 'refund_asked_count_not_null')
    LOOP
        EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', named.relation, named.conname, named.renamed);
    END LOOP;
END $$;

-- migrate:down
