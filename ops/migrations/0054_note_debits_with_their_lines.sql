-- migrate:up

-- By which bookings a bank carried a line or a withdrawal out: a second one of the same is found by it.
ALTER TABLE instruction ADD COLUMN debits text NOT NULL DEFAULT '' COLLATE "C";
ALTER TABLE withdrawal ADD COLUMN debits text NOT NULL DEFAULT '' COLLATE "C";

-- migrate:down
