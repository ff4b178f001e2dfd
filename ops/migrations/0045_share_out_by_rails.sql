-- migrate:up

ALTER TABLE split ADD COLUMN rail text COLLATE "C";
ALTER TABLE split_plan_version ADD COLUMN by_rail bool NOT NULL DEFAULT false;
CREATE INDEX split_plan_version_by_rail ON split_plan_version (book) WHERE by_rail;
ALTER TABLE payment ADD COLUMN share_later bool NOT NULL DEFAULT false;

-- As whom rails know payees 分账接收方, at a merchant's channel accounts.
CREATE TABLE rail_receiver (
    book            int NOT NULL,
    payee_id        text NOT NULL COLLATE "C",
    channel_account text NOT NULL COLLATE "C",
    channel         text NOT NULL COLLATE "C",
    kind            text NOT NULL COLLATE "C" CHECK (kind IN ('merchant', 'person', 'login')),
    account         text NOT NULL COLLATE "C",
    name            text NOT NULL, -- which the rail compares; '': it is not given
    relation        text NOT NULL,
    status          text NOT NULL COLLATE "C" CHECK (status IN ('registering', 'registered', 'refused')),
    code            text, -- why it is refused, or not registered yet, in the rail's words
    message         text,
    try_count       int NOT NULL CHECK (try_count >= 0),
    due_at          timestamptz, -- when the rail is told; NULL: nothing is to be done
    set_by          text NOT NULL, -- a person's name, or an API key's id
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (book, payee_id, channel_account),
    FOREIGN KEY (book, payee_id) REFERENCES payee (book, id),
    CONSTRAINT rail_receiver_told CHECK ((status = 'registering') = (due_at IS NOT NULL))
);
CREATE INDEX rail_receiver_due ON rail_receiver (due_at) WHERE due_at IS NOT NULL;

-- Money of payments that rails keep frozen until it is shared out 分账.
CREATE TABLE rail_payment (
    book            int NOT NULL REFERENCES book (book),
    id              text NOT NULL COLLATE "C", -- payment:attempt
    payment_id      text NOT NULL COLLATE "C",
    channel_account text NOT NULL COLLATE "C",
    channel         text NOT NULL COLLATE "C",
    reference       text NOT NULL COLLATE "C", -- our number of the attempt
    channel_ref     text NOT NULL COLLATE "C", -- the rail's number of it
    currency        text NOT NULL COLLATE "C",
    arrived_minor   bigint NOT NULL CHECK (arrived_minor >= 0), -- what was frozen
    frozen_on       date NOT NULL,
    paid_at         timestamptz NOT NULL,
    basis_points    int CHECK (basis_points BETWEEN 0 AND 10000), -- the ceiling agreed with the rail; NULL: the rail's own
    order_count     int NOT NULL DEFAULT 0 CHECK (order_count >= 0),
    is_last         bool NOT NULL DEFAULT false, -- the last of its orders releases the rest
    released_on     date, -- since when nothing of it is frozen; NULL: something is
    PRIMARY KEY (book, id)
);
CREATE INDEX rail_payment_frozen ON rail_payment (book, channel_account, released_on);
CREATE INDEX rail_payment_of_payment ON rail_payment (book, payment_id);

-- Sharings-out 分账单 of payments at their rails.
CREATE TABLE share_order (
    book            int NOT NULL,
    id              text NOT NULL COLLATE "C", -- payment:rail:number
    payment_id      text NOT NULL COLLATE "C",
    number          int NOT NULL CHECK (number > 0),
    rail_payment    text NOT NULL COLLATE "C",
    channel_account text NOT NULL COLLATE "C",
    channel         text NOT NULL COLLATE "C",
    currency        text NOT NULL COLLATE "C",
    parts           json NOT NULL, -- splitting/rails/parts.py
    release_rest    bool NOT NULL,
    status          text NOT NULL COLLATE "C" CHECK (status IN ('planned', 'sent', 'finished', 'refused')),
    code            text, -- what the rail answered last, where that was a no
    message         text,
    channel_ref     text COLLATE "C",
    sent_count      int NOT NULL CHECK (sent_count >= 0), -- how often it may have been sent
    query_count     int NOT NULL CHECK (query_count >= 0),
    sent_at         timestamptz, -- last
    due_at          timestamptz, -- when it is sent or asked about next; NULL: it has ended
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    return_count    int NOT NULL DEFAULT 0 CHECK (return_count >= 0),
    PRIMARY KEY (book, id),
    FOREIGN KEY (book, rail_payment) REFERENCES rail_payment (book, id),
    CONSTRAINT share_order_goes_on CHECK ((status IN ('planned', 'sent')) = (due_at IS NOT NULL))
);
CREATE INDEX share_order_due ON share_order (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX share_order_of_rail_payment ON share_order (book, rail_payment);

-- Fetchings-back 分账回退 of what rails have paid of shares, for refunds.
CREATE TABLE share_return (
    book         int NOT NULL,
    id           text NOT NULL COLLATE "C", -- order:part:fetched:refund
    payment_id   text NOT NULL COLLATE "C",
    order_id     text NOT NULL COLLATE "C",
    part         int NOT NULL CHECK (part >= 0), -- its place in the order's parts
    cause        text NOT NULL COLLATE "C", -- the refund's id
    number       int NOT NULL CHECK (number > 0), -- of the order's returns
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    status       text NOT NULL COLLATE "C" CHECK (status IN ('waiting', 'sent', 'done', 'refused', 'dropped')),
    code         text,
    message      text,
    sent_count   int NOT NULL CHECK (sent_count >= 0),
    query_count  int NOT NULL CHECK (query_count >= 0),
    due_at       timestamptz,
    done_on      date,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (book, id),
    FOREIGN KEY (book, order_id) REFERENCES share_order (book, id),
    CONSTRAINT share_return_goes_on CHECK ((status IN ('waiting', 'sent')) = (due_at IS NOT NULL)),
    CONSTRAINT share_return_done_on_a_day CHECK ((status = 'done') = (done_on IS NOT NULL))
);
CREATE INDEX share_return_due ON share_return (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX share_return_of_order ON share_return (book, order_id);

GRANT SELECT, INSERT, UPDATE ON rail_receiver, rail_payment, share_order, share_return TO sluice_app;

-- migrate:down
