-- migrate:up

-- 退款退回: refunds that had succeeded and came back, by the number they had at the channel. Only ever added.
CREATE TABLE refund_return (
    book               int NOT NULL,
    refund_id          text NOT NULL COLLATE "C",
    retry_count        int NOT NULL,
    amount_minor       bigint NOT NULL CHECK (amount_minor > 0),
    fee_returned_minor bigint NOT NULL CHECK (fee_returned_minor >= 0),
    coupon_minor       bigint NOT NULL CHECK (coupon_minor >= 0),
    business_date      date NOT NULL, -- of the refund
    returned_date      date NOT NULL,
    code               text NOT NULL,
    channel_ref        text COLLATE "C",
    PRIMARY KEY (book, refund_id, retry_count),
    FOREIGN KEY (book, refund_id) REFERENCES refund (book, id)
);
CREATE INDEX refund_return_by_date ON refund_return (book, returned_date);
GRANT SELECT, INSERT ON refund_return TO sluice_app;

-- migrate:down
