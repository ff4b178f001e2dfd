-- migrate:up

-- What accounts stood at when a day was over, and what was moved for a business date, kept as it is posted: so what a
-- settlement and a balance at a moment cost does not grow with the book. What the journal has is summed up here, once.
LOCK TABLE transfer IN SHARE ROW EXCLUSIVE MODE; -- nothing is posted meanwhile

ALTER TABLE account ADD COLUMN moved_on date; -- the day, in Beijing, on which it last moved; NULL: never

CREATE TABLE day_end (
    book    int NOT NULL,
    account text NOT NULL COLLATE "C",
    day     date NOT NULL, -- on which it was recorded, in Beijing
    debits  bigint NOT NULL CHECK (debits >= 0),
    credits bigint NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (book, account, day)
);
CREATE TABLE day_sum (
    book          int NOT NULL,
    account       text NOT NULL COLLATE "C",
    business_date date NOT NULL,
    recorded_on   date NOT NULL, -- in Beijing
    rule          text NOT NULL COLLATE "C",
    debits        bigint NOT NULL CHECK (debits >= 0),
    credits       bigint NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (book, account, business_date, recorded_on, rule)
) WITH (fillfactor = 70);

INSERT INTO day_sum (book, account, business_date, recorded_on, rule, debits, credits)
    SELECT t.book, l.account, t.business_date, (t.recorded_at AT TIME ZONE 'UTC' + interval '8 hours')::date, t.rule,
        sum(l.debit), sum(l.credit)
    FROM transfer t
    CROSS JOIN LATERAL (VALUES (t.debit, t.amount_minor, 0), (t.credit, 0, t.amount_minor)) AS l (account, debit, credit)
    WHERE t.step IN ('post', 'post_hold')
    GROUP BY 1, 2, 3, 4, 5
    ORDER BY 4, 1, 2, 3, 5;
CREATE INDEX day_sum_lately ON day_sum USING brin (recorded_on) WITH (pages_per_range = 16, autosummarize = true);

WITH day AS (
    SELECT book, account, recorded_on, sum(debits) AS debits, sum(credits) AS credits FROM day_sum GROUP BY 1, 2, 3
)
INSERT INTO day_end (book, account, day, debits, credits)
    SELECT book, account, recorded_on, sum(debits) OVER so_far, sum(credits) OVER so_far FROM day
    WINDOW so_far AS (PARTITION BY book, account ORDER BY recorded_on);
UPDATE account a SET moved_on = l.day
    FROM (SELECT book, account, max(day) AS day FROM day_end GROUP BY 1, 2) l
    WHERE l.book = a.book AND l.account = a.name;
DELETE FROM day_end e USING account a WHERE a.book = e.book AND a.name = e.account AND a.moved_on = e.day;

CREATE TRIGGER day_end_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON day_end
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
GRANT SELECT, INSERT ON day_end TO sluice_app;
GRANT SELECT, INSERT, UPDATE ON day_sum TO sluice_app;

-- migrate:down
