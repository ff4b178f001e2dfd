-- migrate:up

-- An approval 审批: one person asks to do exactly this, another agrees, and then it is done once.
CREATE TABLE approval (
    id            text PRIMARY KEY COLLATE "C",
    act           text NOT NULL COLLATE "C", -- the kind of act, by which roles say who may agree
    what          text NOT NULL, -- canonical JSON: the command, what it is about, and every argument
    what_hash     bytea NOT NULL,
    about         text NOT NULL COLLATE "C",
    merchant_book int,
    status        text NOT NULL COLLATE "C"
        CHECK (status IN ('asked', 'approved', 'refused', 'withdrawn', 'expired', 'used')),
    maker         text NOT NULL COLLATE "C",
    checker       text COLLATE "C",
    made_at       timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    status_at     timestamptz NOT NULL, -- since when the status holds
    note          text NOT NULL, -- why the checker agreed or did not
    use_id        text COLLATE "C", -- of the one attempt that used it, so that a repeated commit is no second use
    CONSTRAINT approval_by_two CHECK (checker <> maker),
    CONSTRAINT approval_checked_by_somebody CHECK (checker IS NOT NULL OR status NOT IN ('approved', 'refused', 'used')),
    CONSTRAINT approval_of_one_thing CHECK (what_hash = sha256(convert_to(what, 'UTF8'))),
    CONSTRAINT approval_used_once CHECK ((status = 'used') = (use_id IS NOT NULL))
);
CREATE UNIQUE INDEX approval_open ON approval (what_hash, maker) WHERE status IN ('asked', 'approved');
CREATE INDEX approval_about ON approval (about);

-- people/states.py has the moves; here they hold against whoever writes SQL, and time is this database's.
CREATE FUNCTION approval_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'asked' OR NEW.checker IS NOT NULL OR NEW.made_at <> transaction_timestamp() THEN
            RAISE EXCEPTION 'an approval begins as asked, now' USING ERRCODE = 'restrict_violation';
        END IF;
    ELSIF (NEW.id, NEW.act, NEW.what, NEW.what_hash, NEW.about, NEW.merchant_book, NEW.maker, NEW.made_at,
           NEW.expires_at)
          IS DISTINCT FROM
          (OLD.id, OLD.act, OLD.what, OLD.what_hash, OLD.about, OLD.merchant_book, OLD.maker, OLD.made_at,
           OLD.expires_at)
       OR (OLD.status <> 'asked' AND NEW.checker IS DISTINCT FROM OLD.checker) THEN
        RAISE EXCEPTION 'what was asked for, by whom, and who checked it never change'
            USING ERRCODE = 'restrict_violation';
    ELSIF (OLD.status, NEW.status) NOT IN (
        ('asked', 'approved'), ('asked', 'refused'), ('asked', 'withdrawn'), ('asked', 'expired'),
        ('approved', 'used'), ('approved', 'withdrawn'), ('approved', 'expired')
    ) OR (NEW.status = 'expired') <> (OLD.expires_at <= transaction_timestamp()) THEN
        RAISE EXCEPTION 'an approval that is % does not become %', OLD.status, NEW.status
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER approval_moves BEFORE INSERT OR UPDATE ON approval FOR EACH ROW EXECUTE FUNCTION approval_moves();

GRANT SELECT, INSERT, UPDATE ON approval TO sluice_app;

-- migrate:down
