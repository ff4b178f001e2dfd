-- Whoever acts by command has a name, a role and a credential. Not merchant data: one small table a hub.
CREATE TABLE person (
    id            text PRIMARY KEY COLLATE "C",
    name          text NOT NULL UNIQUE COLLATE "C",
    role          text NOT NULL COLLATE "C" CHECK (role IN ('operator', 'clerk', 'auditor', 'staff')),
    merchant_book int, -- of a merchant's staff
    status        text NOT NULL COLLATE "C" CHECK (status IN ('active', 'suspended')),
    digest        bytea NOT NULL UNIQUE CHECK (length(digest) = 32), -- HMAC of the credential; the key is outside
    added_at      timestamptz NOT NULL,
    status_at     timestamptz NOT NULL,
    CONSTRAINT person_staff_of_a_merchant CHECK ((role = 'staff') = (merchant_book IS NOT NULL))
);

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

-- The audit log 审计日志: one chain over the whole hub; an act leaves a record before it is done and one after.
CREATE TABLE audit_record (
    seq           bigint PRIMARY KEY CHECK (seq > 0),
    recorded_at   timestamptz NOT NULL,
    person        text COLLATE "C", -- NULL: nobody was named
    act           text NOT NULL COLLATE "C",
    what          text NOT NULL,
    about         text NOT NULL,
    merchant_book int,
    outcome       text NOT NULL COLLATE "C" CHECK (outcome IN ('begun', 'done', 'refused', 'failed')),
    begun_seq     bigint NOT NULL CHECK (begun_seq BETWEEN 1 AND seq),
    detail        text NOT NULL,
    hash          bytea NOT NULL CHECK (length(hash) = 32),
    CONSTRAINT audit_record_begins_once CHECK ((outcome = 'begun') = (begun_seq = seq))
);
CREATE UNIQUE INDEX audit_record_ends_once ON audit_record (begun_seq) WHERE outcome <> 'begun';
CREATE TRIGGER audit_record_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_record
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

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
    CONSTRAINT approval_lasts_a_day CHECK (expires_at > made_at AND expires_at <= made_at + interval '24 hours'),
    CONSTRAINT approval_says_what_it_is CHECK (
        what::jsonb ->> 'act' IS NOT DISTINCT FROM act AND what::jsonb ->> 'about' IS NOT DISTINCT FROM about
        AND (what::jsonb ->> 'book')::int IS NOT DISTINCT FROM merchant_book
    ),
    CONSTRAINT approval_of_one_thing CHECK (what_hash = sha256(convert_to(what, 'UTF8'))),
    CONSTRAINT approval_used_once CHECK ((status = 'used') = (use_id IS NOT NULL))
);
CREATE UNIQUE INDEX approval_open ON approval (what_hash, maker) WHERE status IN ('asked', 'approved');
CREATE INDEX approval_about ON approval (about);

-- Who may agree to what: people/roles.py has the same table, and a test holds the two together.
CREATE FUNCTION may_check(role text, act text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT (role, act) IN (
        ('operator', 'people'), ('operator', 'merchants'), ('operator', 'channels'), ('operator', 'rail'),
        ('operator', 'cases'), ('operator', 'closing'), ('clerk', 'cases'), ('clerk', 'closing')
    )
$$;

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
CREATE TRIGGER approval_moves BEFORE INSERT OR UPDATE ON approval FOR EACH ROW EXECUTE FUNCTION approval_moves();

-- Every address at which a rail or a bank has ever been reached with an account: a home whose rails were once somebody's
-- is on trial no more. '': a row that named none.
CREATE TABLE address_used (
    base_url text PRIMARY KEY COLLATE "C",
    since    timestamptz NOT NULL DEFAULT transaction_timestamp()
);
CREATE FUNCTION base_url_of(settings json) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN coalesce(settings ->> 'base_url', '');
EXCEPTION WHEN data_exception THEN -- text that PostgreSQL cannot hold: an account of before such was refused
    RETURN '';
END
$$;
CREATE FUNCTION note_address() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO address_used (base_url) SELECT DISTINCT base_url_of(settings) FROM changed ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
