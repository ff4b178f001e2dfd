-- migrate:up

-- Payments and refunds name the rail they are on, in every answer and event.
ALTER TABLE payment ADD COLUMN channel text COLLATE "C";
ALTER TABLE refund ADD COLUMN channel text COLLATE "C";
UPDATE payment p SET channel = a.channel FROM attempt a
    WHERE a.book = p.book AND a.payment_id = p.id
    AND a.number = CASE WHEN p.won_attempt > 0 THEN p.won_attempt ELSE p.attempt_count END;
UPDATE refund r SET channel = a.channel FROM attempt a
    WHERE a.book = r.book AND a.payment_id = r.payment_id AND a.number = r.attempt_number;

-- migrate:down
