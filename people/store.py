"""Reading and writing persons, approvals and the audit log."""

from collections.abc import Sequence
from datetime import datetime

from kernel.chain import GENESIS, first_broken
from kernel.db import Connection
from people.tables import STATUS_NOW, Approval, AuditRecord, Person

_PERSON = ", ".join(Person._fields)
_RECORD = ", ".join(AuditRecord._fields)
_APPROVAL = ", ".join(STATUS_NOW if one == "status" else f"t.{one}" for one in Approval._fields)
_PEOPLE_LOCK, _AUDIT_LOCK = 7_340_901, 7_340_902  # advisory, and of this package alone


async def lock_people(connection: Connection) -> None:
    """Let one transaction at a time change persons: who is first, and who is the last operator, holds until commit."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _PEOPLE_LOCK)


async def find_by_digest(connection: Connection, digest: bytes) -> Person | None:
    """Return whose credential has this digest, or None."""
    row = await connection.fetchrow(f"SELECT {_PERSON} FROM person WHERE digest = $1", digest)
    return Person(*row) if row else None


async def find_by_name(connection: Connection, name: str) -> Person | None:
    """Return the person of this name, or None."""
    row = await connection.fetchrow(f"SELECT {_PERSON} FROM person WHERE name = $1", name)
    return Person(*row) if row else None


async def persons(connection: Connection) -> list[Person]:
    """Return everybody, by name."""
    return [Person(*row) for row in await connection.fetch(f"SELECT {_PERSON} FROM person ORDER BY name")]


async def some_person(connection: Connection) -> bool:
    """Tell whether anybody has been added."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM person)"))


async def add_person(connection: Connection, person: Person, digest: bytes) -> None:
    """Store a person."""
    await connection.execute(
        f"INSERT INTO person ({_PERSON}, digest) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", *person, digest
    )


async def set_status(connection: Connection, name: str, status: str, at: datetime) -> None:
    """Store a person's status."""
    await connection.execute("UPDATE person SET status = $2, status_at = $3 WHERE name = $1", name, status, at)


async def other_active(connection: Connection, role: str, name: str) -> bool:
    """Tell whether somebody else of this role is active."""
    found = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM person WHERE role = $1 AND status = 'active' AND name <> $2)", role, name
    )
    return bool(found)


async def others(connection: Connection, roles: Sequence[str], name: str, *, active: bool) -> bool:
    """Tell whether there is anybody else of these roles. active: who is not suspended."""
    found = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM person WHERE role = ANY($1::text[]) AND name <> $2 "
        "AND (status = 'active' OR NOT $3))",
        roles, name, active,
    )  # fmt: skip
    return bool(found)


async def is_book(connection: Connection, book: int) -> bool:
    """Tell whether a merchant has this book."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM book WHERE book = $1)", book))


async def ask_approval(
    connection: Connection,
    approval_id: str,
    act: str,
    what: str,
    about: str,
    book: int | None,
    maker: str,
    lasts_s: int,
) -> bool:
    """Store an approval that is asked for from now on; return False where this maker has asked for the same already."""
    done = await connection.execute(
        "INSERT INTO approval (id, act, what, what_hash, about, merchant_book, status, maker, made_at, expires_at, "
        "status_at, note) VALUES ($1, $2, $3, sha256(convert_to($3, 'UTF8')), $4, $5, 'asked', $6, "
        "transaction_timestamp(), transaction_timestamp() + $7 * interval '1 second', transaction_timestamp(), '') "
        "ON CONFLICT (what_hash, maker) WHERE status IN ('asked', 'approved') DO NOTHING",
        approval_id, act, what, about, book, maker, lasts_s,
    )  # fmt: skip
    return bool(done.endswith(" 1"))


async def run_out(connection: Connection) -> None:
    """Write down which approvals have run out."""
    await connection.execute(
        "UPDATE approval SET status = 'expired', status_at = transaction_timestamp() "
        "WHERE status IN ('asked', 'approved') AND expires_at <= transaction_timestamp()"
    )


async def open_approval(connection: Connection, what_hash: bytes, maker: str) -> Approval | None:
    """Return what a maker has asked for and not used yet, as it stands now; None where there is none."""
    row = await connection.fetchrow(
        f"SELECT {_APPROVAL} FROM approval t WHERE t.what_hash = $1 AND t.maker = $2 "
        "AND t.status IN ('asked', 'approved') AND t.expires_at > transaction_timestamp()",
        what_hash, maker,
    )  # fmt: skip
    return Approval(*row) if row else None


async def find_approval(connection: Connection, approval_id: str) -> Approval | None:
    """Return an approval as it stands now, or None."""
    row = await connection.fetchrow(f"SELECT {_APPROVAL} FROM approval t WHERE t.id = $1", approval_id)
    return Approval(*row) if row else None


async def approvals(
    connection: Connection, *, about: str | None = None, over: bool = False, limit: int = 1000
) -> list[Approval]:
    """Return approvals that wait for a checker or for their use, the longest waiting first.

    about: of one object alone. over: all there ever were, the last first.
    """
    order = "t.made_at DESC, t.id" if over else "t.made_at, t.id"
    rows = await connection.fetch(
        f"SELECT {_APPROVAL} FROM approval t WHERE ($1::text IS NULL OR t.about = $1) AND ($2 OR "
        "(t.status IN ('asked', 'approved') AND t.expires_at > transaction_timestamp())) "
        f"ORDER BY {order} LIMIT $3",
        about, over, limit,
    )  # fmt: skip
    return [Approval(*row) for row in rows]


async def set_checked(
    connection: Connection, approval_id: str, before: str, status: str, checker: str | None, note: str
) -> bool:
    """Move an approval on, if it still stands as it was found; return whether it did.

    checker: who agreed or did not; None leaves it.
    """
    done = await connection.execute(
        "UPDATE approval SET status = $3, checker = coalesce($4, checker), note = $5, "
        "status_at = transaction_timestamp() WHERE id = $1 AND status = $2",
        approval_id, before, status, checker, note,
    )  # fmt: skip
    return bool(done.endswith(" 1"))


async def set_used(connection: Connection, approval_id: str, use_id: str) -> bool:
    """Use an approval up, in the transaction of what it was for; return whether it was there to be used."""
    done = await connection.execute(
        "UPDATE approval SET status = 'used', use_id = $2, status_at = transaction_timestamp() "
        "WHERE id = $1 AND status = 'approved' AND expires_at > transaction_timestamp()",
        approval_id, use_id,
    )  # fmt: skip
    return bool(done.endswith(" 1"))


async def end_approvals_of(connection: Connection, name: str) -> None:
    """Withdraw what somebody has asked for or agreed to, and what has not been used yet."""
    await connection.execute(
        "UPDATE approval SET status = 'withdrawn', status_at = transaction_timestamp() "
        "WHERE status IN ('asked', 'approved') AND expires_at > transaction_timestamp() AND $1 IN (maker, checker)",
        name,
    )


async def addresses_used(connection: Connection) -> list[str]:
    """Return every address at which a rail or a bank was ever to be reached; '' for an account that named none."""
    return [row[0] for row in await connection.fetch("SELECT base_url FROM address_used ORDER BY base_url")]


async def last_record(connection: Connection) -> tuple[int, bytes]:
    """Return number and hash of the audit log's last record, which stays the last until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _AUDIT_LOCK)
    row = await connection.fetchrow("SELECT seq, hash FROM audit_record ORDER BY seq DESC LIMIT 1")
    return (row[0], row[1]) if row else (0, GENESIS)


async def add_record(connection: Connection, record: AuditRecord) -> None:
    """Append a record."""
    await connection.execute(
        f"INSERT INTO audit_record ({_RECORD}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)", *record
    )


async def records(
    connection: Connection,
    *,
    person: str | None = None,
    about: str | None = None,
    since: datetime | None = None,
    limit: int = 1000,
) -> list[AuditRecord]:
    """Return records of the audit log, the latest first. person, about: exactly; since: from that moment on."""
    rows = await connection.fetch(
        f"SELECT {_RECORD} FROM audit_record WHERE ($1::text IS NULL OR person = $1) "
        "AND ($2::text IS NULL OR about = $2) AND ($3::timestamptz IS NULL OR recorded_at >= $3) "
        "ORDER BY seq DESC LIMIT $4",
        person, about, since, limit,
    )  # fmt: skip
    return [AuditRecord(*row) for row in rows]


def chained(record: AuditRecord) -> Sequence[str | int]:
    """Return the fields of a record that its hash covers: all but the hash."""
    return [
        record.seq, record.recorded_at.isoformat(), _or_none(record.person), record.act, record.what, record.about,
        _or_none(record.merchant_book), record.outcome, record.begun_seq, record.detail,
    ]  # fmt: skip


def _or_none(field: str | int | None) -> str:
    """Return a field that may be absent so that absent and empty differ."""
    return "-" if field is None else f"={field}"


async def audit_chain_holds(connection: Connection) -> list[str]:
    """Every record of the audit log follows from the one before; none was changed, taken out or put in."""
    rows = await connection.fetch(f"SELECT {_RECORD} FROM audit_record ORDER BY seq")
    found = [AuditRecord(*row) for row in rows]
    broken = first_broken((record.seq, record.hash, tuple(chained(record))) for record in found)
    return [] if broken is None else [f"audit record {broken} does not follow from the one before"]


async def approvals_are_recorded(connection: Connection) -> list[str]:
    """Whoever agreed, and whoever used that, has a record of it in the audit log: no statement by hand said it.

    A record of the act's beginning is enough, unless it was refused: the moment of the commit lies between the two.
    """
    rows = await connection.fetch(
        "SELECT t.id, t.status, t.checker, t.maker, agreed.seq AS agreed FROM approval t "
        "LEFT JOIN LATERAL (SELECT min(b.seq) AS seq FROM audit_record b LEFT JOIN audit_record e "
        "ON e.begun_seq = b.seq AND e.outcome <> 'begun' WHERE b.about = t.id AND b.outcome = 'begun' "
        "AND b.what = 'approval approve' AND b.person = t.checker AND coalesce(e.outcome, 'done') <> 'refused') agreed "
        "ON true WHERE t.status IN ('approved', 'used') AND (agreed.seq IS NULL OR (t.status = 'used' AND NOT EXISTS ("
        "SELECT FROM audit_record b LEFT JOIN audit_record e ON e.begun_seq = b.seq AND e.outcome <> 'begun' "
        "WHERE b.about = t.about AND b.outcome = 'begun' AND b.person = t.maker AND b.act = t.act "
        "AND starts_with(b.what, t.what::jsonb ->> 'command') AND b.seq > agreed.seq "
        "AND (e.outcome IS NULL OR e.outcome = 'failed' OR starts_with(e.detail, t.id))))) ORDER BY t.id"
    )
    return [
        f"approval {row['id']}: no record says that {row['checker']} agreed to it"
        if row["agreed"] is None
        else f"approval {row['id']} is used: no record says that {row['maker']} did what it allows"
        for row in rows
    ]


INVARIANTS = {"audit_chain_holds": audit_chain_holds, "approvals_are_recorded": approvals_are_recorded}
