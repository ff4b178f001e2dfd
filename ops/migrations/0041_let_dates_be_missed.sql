-- migrate:up

-- Business dates that a step could not be done for by the time the next one was due: it went on without them, and they are
-- tried again until they are done, or until a person says that they never will be.
CREATE TABLE timetable_missed (
    book     int NOT NULL,
    step     text NOT NULL COLLATE "C",
    subject  text NOT NULL COLLATE "C",
    day      date NOT NULL,
    tried_at timestamptz NOT NULL,
    code     text NOT NULL COLLATE "C",
    why      text NOT NULL,
    PRIMARY KEY (book, step, subject, day),
    FOREIGN KEY (book, step, subject) REFERENCES timetable (book, step, subject)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON timetable_missed TO sluice_app;

-- migrate:down
