-- migrate:up

-- By which plan payments are shared out that name none: of one payment link, product line, store, or all of the merchant's.
CREATE TABLE split_attachment (
    book        int NOT NULL,
    scope       text NOT NULL COLLATE "C" CHECK (scope IN ('payment_link', 'product_line', 'store', 'merchant')),
    subject     text NOT NULL COLLATE "C", -- the link's id, or the merchant's own name for it; '' where it is the merchant
    currency    text NOT NULL COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
    plan_id     text COLLATE "C", -- NULL: none any more
    version     int, -- NULL: the one that is active when a payment is made
    attached_by text NOT NULL, -- a person's name, or an API key's id
    attached_at timestamptz NOT NULL,
    PRIMARY KEY (book, scope, subject, currency),
    FOREIGN KEY (book, plan_id) REFERENCES split_plan (book, id),
    FOREIGN KEY (book, plan_id, version) REFERENCES split_plan_version (book, plan_id, version),
    CONSTRAINT split_attachment_of_something CHECK ((scope = 'merchant') = (subject = ''))
);
GRANT SELECT, INSERT, UPDATE ON split_attachment TO sluice_app;

-- migrate:down
