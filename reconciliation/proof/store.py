"""The SQL of the proof: balances at the end of a business date, what moved custody, certificates and their keys."""

import hashlib
from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from channels.banks import Kind, types_of
from kernel.clock import BEIJING
from kernel.db import Connection
from ledger.accounts import AccountKind
from reconciliation.proof.certificate import Certificate
from splitting.withdrawals import rules

DAY = timedelta(days=1)
_CERTIFICATE = ", ".join(Certificate._fields)


class Head(NamedTuple):
    """How far a book's journal and events go, with the hashes of their chains there."""

    transfer_seq: int
    transfer_hash: bytes
    event_seq: int
    event_hash: bytes


async def head(connection: Connection, book: int) -> Head:
    row = await connection.fetchrow(
        "SELECT transfer_seq, transfer_hash, event_seq, event_hash FROM book WHERE book = $1", book
    )
    assert row is not None
    return Head(*row)


class Balance(NamedTuple):
    """What an account stood at when a business date was over."""

    account: str
    currency: str
    minor: int  # debits less credits


async def balances_at(connection: Connection, book: int, day: date) -> list[Balance]:
    """Return every account of a book at the end of a business date, as far as it has been recorded.

    Costs the accounts and the dates after that one, not the book's age.
    """
    rows = await connection.fetch(
        """
        SELECT a.name, a.currency, (a.debits - a.credits - coalesce(l.moved, 0))::bigint FROM account a
        LEFT JOIN LATERAL (
            SELECT sum(d.debits - d.credits) AS moved FROM day_sum d
            WHERE d.book = $1 AND d.account = a.name AND d.business_date > $2 OFFSET 0
        ) l ON true WHERE a.book = $1 ORDER BY a.name
        """,
        book,
        day,
    )
    return [Balance(*row) for row in rows]


class SubAccount(NamedTuple):
    """A payee's account at a bank."""

    payee_id: str
    bank: str
    number: str
    currency: str


async def sub_accounts(connection: Connection, book: int) -> list[SubAccount]:
    """Return the sub-accounts of a book at its banks."""
    rows = await connection.fetch(
        "SELECT id, bank, bank_account, currency FROM payee WHERE book = $1 AND bank IS NOT NULL "
        "AND bank_account IS NOT NULL ORDER BY id",
        book,
    )
    return [SubAccount(*row) for row in rows]


class Posted(NamedTuple):
    """A transfer that moved custody at a bank, or a sub-account."""

    id: str
    debit: str
    credit: str
    amount_minor: int
    currency: str
    business_date: date


async def recorded_days(
    connection: Connection, book: int, after: date | None, until: date, *, late_since: date
) -> list[date]:
    """Return the days, in Beijing, on which something was recorded that moved custody or a sub-account.

    For business dates after `after` up to `until`, whenever it was recorded; and for earlier ones where it was recorded
    on `late_since` or later. after: None for all.
    """
    rows = await connection.fetch(
        """
        SELECT DISTINCT d.recorded_on FROM account a CROSS JOIN LATERAL (
            SELECT recorded_on FROM day_sum WHERE book = $1 AND account = a.name
                AND business_date > $2 AND business_date <= $3
            UNION ALL
            SELECT recorded_on FROM day_sum WHERE book = $1 AND account = a.name
                AND business_date <= $2 AND recorded_on >= $4
            OFFSET 0
        ) d WHERE a.book = $1 AND (starts_with(a.name, $5) OR starts_with(a.name, $6) OR starts_with(a.name, $7))
        ORDER BY 1
        """,
        book,
        date.min if after is None else after,
        until,
        late_since,
        f"{AccountKind.BANK}:",
        f"{AccountKind.SUB_ACCOUNT}:",
        f"{AccountKind.BANK_ACCOUNT}:",
    )
    return [row[0] for row in rows]


async def moved_custody(
    connection: Connection, book: int, recorded_on: date, after: date | None, until: date, *, beyond: int
) -> list[Posted]:
    """Return what was recorded on a day, in Beijing, and moved custody or a sub-account; in order of recording.

    For business dates after `after` up to `until`, and for earlier ones where it is transfer `beyond` + 1 or later.
    Costs what was recorded on that day.
    """
    begins = datetime.combine(recorded_on, time(), BEIJING)
    rows = await connection.fetch(
        """
        SELECT id, debit, credit, amount_minor, currency, business_date FROM transfer
        WHERE book = $1 AND recorded_at >= $2 AND recorded_at < $3 AND business_date <= $5
            AND (business_date > $4 OR seq > $6) AND step IN ('post', 'post_hold')
            AND (starts_with(debit, $7) OR starts_with(credit, $7) OR starts_with(debit, $8) OR starts_with(credit, $8)
                OR starts_with(debit, $9) OR starts_with(credit, $9))
        ORDER BY seq
        """,
        book,
        begins,
        begins + DAY,
        date.min if after is None else after,
        until,
        beyond,
        f"{AccountKind.BANK}:",
        f"{AccountKind.SUB_ACCOUNT}:",
        f"{AccountKind.BANK_ACCOUNT}:",
    )
    return [Posted(*row) for row in rows]


async def statement_dates(
    connection: Connection, book: int, counterparty: str, after: date | None, until: date
) -> list[date]:
    """Return the dates after one, up to another, of which statements are kept that count."""
    rows = await connection.fetch(
        "SELECT DISTINCT business_date FROM statement_file WHERE book = $1 AND counterparty = $2 AND kind = ANY($5) "
        "AND refused_code IS NULL AND superseded_by IS NULL AND business_date > $3 AND business_date <= $4 ORDER BY 1",
        book,
        counterparty,
        date.min if after is None else after,
        until,
        types_of(Kind.STATEMENT),
    )
    return [row[0] for row in rows]


class StatementFile(NamedTuple):
    """A file that a day's statements are from."""

    name: str
    sha256: str


async def statement_files(connection: Connection, book: int, counterparty: str, day: date) -> list[StatementFile]:
    """Return the files that count of a day's statements, in order of page."""
    rows = await connection.fetch(
        "SELECT name, sha256 FROM statement_file WHERE book = $1 AND counterparty = $2 AND kind = ANY($4) "
        "AND refused_code IS NULL AND superseded_by IS NULL AND business_date = $3 ORDER BY subject, id",
        book,
        counterparty,
        day,
        types_of(Kind.STATEMENT),
    )
    return [StatementFile(*row) for row in rows]


class Line(NamedTuple):
    """How a line of a settlement, or a withdrawal, stands now."""

    id: str
    status: str
    bank_date: date  # of the decision, where there is one


async def lines(connection: Connection, book: int, ids: Collection[str]) -> list[Line]:
    """Return these lines and withdrawals, by their numbers at the bank, as far as there are such."""
    rows = await connection.fetch(
        "SELECT id, status, bank_date FROM instruction WHERE book = $1 AND id = ANY($2::text[])", book, list(ids)
    )
    of = {ident: number for number in ids if (ident := rules.id_of(book, number)) is not None}
    more = await connection.fetch(
        "SELECT id, CASE WHEN bank_date IS NULL THEN 'in_transit' ELSE status END, coalesce(bank_date, execution_date) "
        "FROM withdrawal WHERE book = $1 AND id = ANY($2::text[])",
        book,
        list(of),
    )
    return [*(Line(*row) for row in rows), *(Line(of[row[0]], row[1], row[2]) for row in more)]


async def cases_of_bookings(connection: Connection, book: int, refs: Collection[str]) -> list[tuple[str, str, str]]:
    """Return (the bank's number of a booking, case, its status) of what people were asked about such bookings."""
    rows = await connection.fetch(
        "SELECT facts ->> 'entry_ref', id, status FROM case_file WHERE book = $1 "
        "AND kind IN ('booking_unidentified', 'booking_unclear') AND facts ->> 'entry_ref' = ANY($2::text[]) "
        "ORDER BY opened_at, id",
        book,
        list(refs),
    )
    return [(row[0], row[1], row[2]) for row in rows]


class InTransit(NamedTuple):
    """What of a batch was in transit 在途 when a date was over."""

    settlement_id: str
    bank: str
    currency: str
    lines: int
    minor: int


async def in_transit_at(connection: Connection, book: int, day: date) -> list[InTransit]:
    """Return the batches of which something was in transit when a business date was over, in order of id."""
    rows = await connection.fetch(
        """
        SELECT s.id, s.bank, s.currency, count(*)::int, sum(i.amount_minor)::bigint FROM settlement s
        JOIN instruction i ON i.book = s.book AND i.settlement_id = s.id
        WHERE s.book = $1 AND s.business_date <= $2 AND (s.status <> 'finished' OR s.updated_at >= $3)
            AND (i.status = 'in_transit' OR i.bank_date > $2)
        GROUP BY s.id, s.bank, s.currency ORDER BY s.id
        """,
        book,
        day,
        datetime.combine(day, time(), BEIJING),
    )
    return [InTransit(*row) for row in rows]


class Suspended(NamedTuple):
    """What was in suspense 挂账 when a date was over."""

    case_id: str
    currency: str
    minor: int


async def suspended_at(connection: Connection, book: int, day: date) -> list[Suspended]:
    """Return what was in suspense when a business date was over, each with its case, in order of case."""
    rows = await connection.fetch(
        """
        SELECT c.id, c.currency, c.amount_minor FROM case_file c
        WHERE c.book = $1 AND c.kind = 'money_in_suspense' AND (c.facts ->> 'business_date')::date <= $2
            AND (c.status = 'open' OR c.decided_at >= $3) ORDER BY c.id
        """,
        book,
        day,
        datetime.combine(day + DAY, time(), BEIJING),
    )
    return [Suspended(*row) for row in rows]


# ---- certificates ----------------------------------------------------------------------------------------------------


async def lock(tx: Connection) -> None:
    """Let one certificate be made at a time."""
    digest = hashlib.sha256(b"day certificate").digest()
    await tx.execute("SELECT pg_advisory_xact_lock($1)", int.from_bytes(digest[:8], "big", signed=True))


async def find(connection: Connection, day: date, number: int | None = None) -> Certificate | None:
    """Return a date's certificate of this number, or its newest; None where there is none."""
    row = await connection.fetchrow(
        f"SELECT {_CERTIFICATE} FROM day_certificate WHERE business_date = $1 AND ($2::int IS NULL OR number = $2) "
        "ORDER BY number DESC LIMIT 1",
        day,
        number,
    )
    return None if row is None else Certificate(*row)


async def before(connection: Connection, day: date) -> Certificate | None:
    """Return the newest certificate of the last date before this one that has any."""
    row = await connection.fetchrow(
        f"SELECT {_CERTIFICATE} FROM day_certificate WHERE business_date < $1 "
        "ORDER BY business_date DESC, number DESC LIMIT 1",
        day,
    )
    return None if row is None else Certificate(*row)


async def newest(connection: Connection, limit: int) -> list[Certificate]:
    """Return the certificates of the last dates, those that were replaced among them, newest first."""
    rows = await connection.fetch(
        f"SELECT {_CERTIFICATE} FROM day_certificate ORDER BY business_date DESC, number DESC LIMIT $1", limit
    )
    return [Certificate(*row) for row in rows]


class Standing(NamedTuple):
    """How the proofs of the last dates stand, by each date's newest certificate."""

    failing: list[date]  # of which it says that the proof does not hold, in order
    holding: date | None  # the last of which it does, however long ago


async def standing(connection: Connection, since: date) -> Standing:
    """Return how the proofs stand of a date and those after it."""
    rows = await connection.fetch(
        "SELECT business_date FROM (SELECT DISTINCT ON (business_date) business_date, holds FROM day_certificate "
        "WHERE business_date >= $1 ORDER BY business_date, number DESC) n WHERE NOT holds ORDER BY 1",
        since,
    )
    holding: date | None = await connection.fetchval(
        "SELECT c.business_date FROM day_certificate c WHERE c.holds AND NOT EXISTS (SELECT FROM day_certificate n "
        "WHERE n.business_date = c.business_date AND n.number > c.number) ORDER BY 1 DESC LIMIT 1"
    )
    return Standing([row[0] for row in rows], holding)


async def add(tx: Connection, certificate: Certificate) -> None:
    await tx.execute(f"INSERT INTO day_certificate ({_CERTIFICATE}) VALUES ($1, $2, $3, $4, $5, $6)", *certificate)


class SealedKey(NamedTuple):
    """A key that certificates are signed with: the private part sealed under a master key."""

    id: str
    public_key: bytes  # raw, 32 bytes
    sealed: str
    made_at: datetime


async def keys(connection: Connection) -> Sequence[SealedKey]:
    """Return the keys that certificates were ever signed with, the newest first."""
    rows = await connection.fetch(
        "SELECT id, public_key, sealed, made_at FROM certificate_key ORDER BY made_at DESC, id"
    )
    return [SealedKey(*row) for row in rows]


async def some_key(connection: Connection) -> bool:
    """Tell whether certificates are signed with any key."""
    found: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM certificate_key)")
    return found


async def add_key(tx: Connection, key: SealedKey) -> None:
    await tx.execute("INSERT INTO certificate_key (id, public_key, sealed, made_at) VALUES ($1, $2, $3, $4)", *key)


async def reseal_key(tx: Connection, before: SealedKey, sealed: str) -> None:
    """Keep a key under another envelope, unless somebody has done so meanwhile."""
    await tx.execute(
        "UPDATE certificate_key SET sealed = $3 WHERE id = $1 AND sealed = $2", before.id, before.sealed, sealed
    )
