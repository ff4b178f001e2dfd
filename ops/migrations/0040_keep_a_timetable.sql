-- migrate:up

-- How far each step of business dates has come 日程, for each bank or channel account of a book; book 0: the whole hub.
CREATE TABLE timetable (
    book        int NOT NULL,
    step        text NOT NULL COLLATE "C",
    subject     text NOT NULL COLLATE "C",
    done_until  date NOT NULL, -- done for this business date, and for those before it
    ran_at      timestamptz, -- when it was tried last; NULL: never
    tries       int NOT NULL CHECK (tries >= 0), -- in vain, for the date after that
    retry_at    timestamptz,
    failed_code text COLLATE "C",
    failed_why  text,
    PRIMARY KEY (book, step, subject),
    CONSTRAINT timetable_failed_for_a_reason CHECK (
        (tries = 0) = (retry_at IS NULL) AND (tries = 0) = (failed_code IS NULL) AND (tries = 0) = (failed_why IS NULL)
    )
);
GRANT SELECT, INSERT, UPDATE ON timetable TO sluice_app;

-- migrate:down
