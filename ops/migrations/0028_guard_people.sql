-- migrate:up

-- Who somebody is never changes; only whether they may act does. A role given by a statement would be nobody's act.
CREATE FUNCTION person_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.name, NEW.role, NEW.merchant_book, NEW.digest, NEW.added_at)
       IS DISTINCT FROM (OLD.id, OLD.name, OLD.role, OLD.merchant_book, OLD.digest, OLD.added_at) THEN
        RAISE EXCEPTION 'who somebody is, and what they may do, never change' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER person_stays BEFORE UPDATE ON person FOR EACH ROW EXECUTE FUNCTION person_stays();
REVOKE UPDATE ON person FROM sluice_app;
GRANT UPDATE (status, status_at) ON person TO sluice_app;

ALTER TABLE approval
    ADD CONSTRAINT approval_lasts_a_day CHECK (expires_at > made_at AND expires_at <= made_at + interval '24 hours'),
    ADD CONSTRAINT approval_says_what_it_is CHECK (
        what::jsonb ->> 'act' IS NOT DISTINCT FROM act AND what::jsonb ->> 'about' IS NOT DISTINCT FROM about
        AND (what::jsonb ->> 'book')::int IS NOT DISTINCT FROM merchant_book
    );

-- Who may agree to what: people/roles.py has the same table, and a test holds the two together.
CREATE FUNCTION may_check(role text, act text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT (role, act) IN (
        ('operator', 'people'), ('operator', 'merchants'), ('operator', 'channels'), ('operator', 'rail'),
        ('operator', 'cases'), ('clerk', 'cases')
    )
$$;

-- people/states.py has the moves; here they hold against whoever writes SQL, and time is this database's.
CREATE OR REPLACE FUNCTION approval_moves() RETURNS trigger LANGUAGE plpgsql AS $$
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
       OR (OLD.status <> 'asked' AND NEW.status <> 'refused' AND NEW.checker IS DISTINCT FROM OLD.checker) THEN
        RAISE EXCEPTION 'what was asked for, by whom, and who checked it never change'
            USING ERRCODE = 'restrict_violation';
    ELSIF (OLD.status, NEW.status) NOT IN (
        ('asked', 'approved'), ('asked', 'refused'), ('asked', 'withdrawn'), ('asked', 'expired'),
        ('approved', 'used'), ('approved', 'refused'), ('approved', 'withdrawn'), ('approved', 'expired')
    ) OR (NEW.status = 'expired') <> (OLD.expires_at <= transaction_timestamp()) THEN
        RAISE EXCEPTION 'an approval that is % does not become %', OLD.status, NEW.status
            USING ERRCODE = 'restrict_violation';
    ELSIF NEW.status IN ('approved', 'refused', 'used') AND NOT EXISTS (
        SELECT FROM person WHERE name = NEW.checker AND status = 'active' AND may_check(role, NEW.act)
    ) THEN
        RAISE EXCEPTION 'there is no active person % who may check an act of %', NEW.checker, NEW.act
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.status IN ('asked', 'used') AND NOT EXISTS (
        SELECT FROM person WHERE name = NEW.maker AND status = 'active'
    ) THEN
        RAISE EXCEPTION 'nobody active is called %, who asks for it', NEW.maker USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;

-- migrate:down
