-- Events 事件: every change of state leaves one, in the same transaction, gapless and chained within its book.
CREATE TABLE event (
    book        int NOT NULL,
    seq         bigint NOT NULL CHECK (seq > 0),
    type        text NOT NULL COLLATE "C",
    subject     text NOT NULL COLLATE "C", -- id of the object that moved
    payload     json NOT NULL,
    recorded_at timestamptz NOT NULL,
    hash        bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (book, seq)
);
-- Cases are few, so this costs a payment nothing.
CREATE INDEX event_of_case ON event (book, subject) WHERE type IN ('case.opened', 'case.decided');
CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- How far each consumer has come in each book; written in the same transaction as what it did.
CREATE TABLE position (
    book     int NOT NULL REFERENCES book (book),
    consumer text NOT NULL COLLATE "C",
    seq      bigint NOT NULL CHECK (seq >= 0),
    PRIMARY KEY (book, consumer)
) WITH (fillfactor = 50);
