-- migrate:up

-- A message that undoes an order may be carried out long after its answer was lost, so that it was sent is noted first.
-- Of what was there before nobody noted it: what has succeeded is not asked about again.
ALTER TABLE attempt ADD COLUMN undo_sent_at timestamptz;

-- migrate:down
