-- migrate:up

-- Bookings that people know to be parts of a batch: looked for in each round over a bank, and few.
CREATE INDEX case_file_of_parts ON case_file (book) WHERE decision = 'part';

-- migrate:down
