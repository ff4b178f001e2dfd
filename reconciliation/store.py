"""The SQL of reconciliation. Every function takes a connection; those that write expect a transaction around them."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson

from kernel.db import Connection
from kernel.ids import BODY_LENGTH
from kernel.money import Money
from reconciliation.matching.match import Known
from reconciliation.matching.verdicts import Area, Comparison, DiscrepancyKind, Key, Reported
from reconciliation.states import UNSETTLED, State


def derived_id(prefix: str, *parts: str | int) -> str:
    """Return an id that follows from what it names, so that doing a thing again finds the first time's rows."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode())
    return f"{prefix}_{digest.hexdigest()[:BODY_LENGTH]}"


def discrepancy_id(book: int, counterparty: str, key: Key) -> str:
    return derived_id("dis", book, counterparty, key.area, key.item, key.reference)


# ---- locks and runs --------------------------------------------------------------------------------------------------


async def lock_counterparty(tx: Connection, book: int, counterparty: str) -> None:
    """Let one run at a time work on a counterparty: two days of one counterparty may meet in one discrepancy."""
    digest = hashlib.sha256(f"reconciliation\x1f{counterparty}".encode()).digest()
    await tx.execute("SELECT pg_advisory_xact_lock($1, $2)", book, int.from_bytes(digest[:4], "big", signed=True))


async def dates_run(conn: Connection, book: int, counterparty: str, area: Area, dates: Collection[date]) -> set[date]:
    """Return which of `dates` have been run for an area."""
    rows = await conn.fetch(
        "SELECT business_date FROM run"
        " WHERE book = $1 AND counterparty = $2 AND business_date = ANY($3::date[]) AND $4 = ANY(areas)",
        book,
        counterparty,
        list(dates),
        str(area),
    )
    return {row["business_date"] for row in rows}


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it is stored."""

    book: int
    id: str
    counterparty: str
    business_date: date
    areas: tuple[str, ...]
    matched: Mapping[str, int]
    differing: Mapping[str, Mapping[str, int]]
    net: Mapping[str, Any] | None
    digest: str
    times: int
    first_run_at: datetime
    last_run_at: datetime


_RUN = "book, id, counterparty, business_date, areas, matched, differing, net, digest, times, first_run_at, last_run_at"


async def find_run(conn: Connection, book: int, counterparty: str, business_date: date) -> RunRow | None:
    row = await conn.fetchrow(
        f"SELECT {_RUN} FROM run WHERE book = $1 AND counterparty = $2 AND business_date = $3",
        book,
        counterparty,
        business_date,
    )
    return None if row is None else _run_row(row)


async def save_run(
    tx: Connection,
    *,
    book: int,
    counterparty: str,
    business_date: date,
    areas: Sequence[str],
    matched: Mapping[str, int],
    differing: Mapping[str, Mapping[str, int]],
    net: Mapping[str, Any] | None,
    digest: str,
    now: datetime,
) -> RunRow:
    """Record that a day was run. Areas run before and not this time keep their figures.

    Call it under the counterparty's lock: which areas were run before is read first.
    """
    earlier = await tx.fetchval(
        "SELECT areas FROM run WHERE book = $1 AND counterparty = $2 AND business_date = $3",
        book,
        counterparty,
        business_date,
    )
    row = await tx.fetchrow(
        f"""
        INSERT INTO run AS r ({_RUN}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $10)
        ON CONFLICT (book, counterparty, business_date) DO UPDATE SET
            areas = excluded.areas,
            matched = r.matched || excluded.matched,
            differing = r.differing || excluded.differing,
            net = coalesce(excluded.net, r.net),
            digest = excluded.digest,
            times = r.times + 1,
            last_run_at = excluded.last_run_at
        RETURNING {_RUN}
        """,
        book,
        derived_id("run", book, counterparty, business_date.isoformat()),
        counterparty,
        business_date,
        sorted({*areas, *(earlier or ())}),
        _json(matched),
        _json(differing),
        None if net is None else _json(net),
        digest,
        now,
    )
    return _run_row(row)


def _run_row(row: Any) -> RunRow:
    return RunRow(
        book=row["book"],
        id=row["id"],
        counterparty=row["counterparty"],
        business_date=row["business_date"],
        areas=tuple(row["areas"]),
        matched=_read(row["matched"]),
        differing=_read(row["differing"]),
        net=None if row["net"] is None else _read(row["net"]),
        digest=row["digest"],
        times=row["times"],
        first_run_at=row["first_run_at"],
        last_run_at=row["last_run_at"],
    )


# ---- discrepancies ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DiscrepancyRow:
    """A discrepancy as it is stored."""

    book: int
    id: str
    counterparty: str
    key: Key
    known: Known
    payment_reference: str | None
    moves: int
    opened_at: datetime
    changed_at: datetime


_DISCREPANCY = (
    "book, id, counterparty, area, item, reference, payment_reference, kind, state, business_date, currency,"
    " ours_minor, theirs_minor, difference_minor, detail, certain, ours, sightings, moves, opened_at, changed_at"
)


async def register(
    conn: Connection, book: int, counterparty: str, business_date: date, areas: Collection[Area], keys: Collection[Key]
) -> dict[Key, DiscrepancyRow]:
    """Return the discrepancies a run may have to look at.

    These are: whatever the day can still change; whatever stands under `keys`; and payouts not settled yet, whose
    bookings explain balances of later days.
    """
    wanted = list(keys)
    rows = await conn.fetch(
        f"""
        SELECT {_DISCREPANCY} FROM discrepancy
        WHERE book = $1 AND counterparty = $2 AND area = ANY($4::text[])
            AND (last_date >= $3 OR area = 'payout' AND state IN ('open', 'explained', 'suspended'))
        UNION ALL
        SELECT {_DISCREPANCY} FROM discrepancy
        JOIN unnest($5::text[]) AS wanted (id) USING (id)
        WHERE book = $1 AND counterparty = $2 AND last_date < $3
            AND NOT (area = 'payout' AND state IN ('open', 'explained', 'suspended'))
        """,
        book,
        counterparty,
        business_date,
        [str(area) for area in areas],
        [discrepancy_id(book, counterparty, key) for key in wanted],
    )
    found = [_discrepancy_row(row) for row in rows]
    return {row.key: row for row in found}


async def save_discrepancies(tx: Connection, rows: Sequence[DiscrepancyRow]) -> None:
    """Insert or update discrepancies, one statement for all."""
    if not rows:
        return
    await tx.execute(
        f"""
        INSERT INTO discrepancy AS d ({_DISCREPANCY}, last_date)
        SELECT * FROM unnest(
            $1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::date[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[], $15::text[], $16::bool[],
            $17::jsonb[], $18::jsonb[], $19::int[], $20::timestamptz[], $21::timestamptz[], $22::date[]
        )
        ON CONFLICT (book, id) DO UPDATE SET
            payment_reference = coalesce(excluded.payment_reference, d.payment_reference),
            kind = excluded.kind, state = excluded.state, business_date = excluded.business_date,
            currency = excluded.currency, ours_minor = excluded.ours_minor, theirs_minor = excluded.theirs_minor,
            difference_minor = excluded.difference_minor, detail = excluded.detail, certain = excluded.certain,
            ours = excluded.ours, sightings = excluded.sightings, moves = excluded.moves,
            changed_at = excluded.changed_at, last_date = excluded.last_date
        """,
        *_columns(
            (
                row.book,
                row.id,
                row.counterparty,
                str(row.key.area),
                str(row.key.item),
                row.key.reference,
                row.payment_reference,
                str(row.known.verdict.kind),
                str(row.known.state),
                row.known.home,
                row.known.verdict.currency,
                row.known.verdict.ours_minor,
                row.known.verdict.theirs_minor,
                row.known.verdict.difference_minor,
                row.known.verdict.detail,
                row.known.verdict.explained,
                None if row.known.ours is None else _json(row.known.ours.as_json()),
                _json({day.isoformat(): side.as_json() for day, side in sorted(row.known.sightings.items())}),
                row.moves,
                row.opened_at,
                row.changed_at,
                max([row.known.home, *row.known.sightings]),
            )
            for row in rows
        ),
    )


@dataclass(frozen=True, slots=True)
class Move:
    """One step of one discrepancy."""

    book: int
    discrepancy_id: str
    number: int  # from 1, without gaps
    event: str  # found, or an Event
    from_state: State | None
    to_state: State
    kind: DiscrepancyKind
    cause: str
    moved_at: datetime


async def save_moves(tx: Connection, moves: Sequence[Move]) -> None:
    """Add moves; they are never changed."""
    if not moves:
        return
    await tx.execute(
        """
        INSERT INTO discrepancy_move
            (book, discrepancy_id, number, event, from_state, to_state, kind, cause, moved_at)
        SELECT * FROM unnest(
            $1::int[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::timestamptz[]
        )
        """,
        *_columns(
            (
                move.book,
                move.discrepancy_id,
                move.number,
                move.event,
                None if move.from_state is None else str(move.from_state),
                str(move.to_state),
                str(move.kind),
                move.cause,
                move.moved_at,
            )
            for move in moves
        ),
    )


@dataclass(frozen=True, slots=True)
class DiscrepancySum:
    """How many discrepancies of one kind, state and currency there are, and what they come to (theirs − ours)."""

    kind: DiscrepancyKind
    state: State
    currency: str
    count: int
    difference_minor: int
    oldest: date  # business date


async def list_discrepancies(
    conn: Connection,
    book: int,
    *,
    counterparty: str | None = None,
    states: Sequence[State] = UNSETTLED,
    kinds: Sequence[DiscrepancyKind] | None = None,
    after: tuple[date, str] | None = None,
    limit: int = 100,
) -> list[DiscrepancyRow]:
    """Return discrepancies by business date and id, oldest first. after: (business date, id) of the last one had."""
    rows = await conn.fetch(
        f"""
        SELECT {_DISCREPANCY} FROM discrepancy
        WHERE book = $1
            AND ($2::text IS NULL OR counterparty = $2)
            AND state = ANY($3::text[])
            AND ($4::text[] IS NULL OR kind = ANY($4))
            AND ($5::date IS NULL OR (business_date, id) > ($5, $6))
        ORDER BY business_date, id LIMIT $7
        """,
        book,
        counterparty,
        [str(state) for state in states],
        None if kinds is None else [str(kind) for kind in kinds],
        None if after is None else after[0],
        None if after is None else after[1],
        limit,
    )
    return [_discrepancy_row(row) for row in rows]


async def sum_discrepancies(conn: Connection, book: int, states: Sequence[State] = UNSETTLED) -> list[DiscrepancySum]:
    """Return how many there are of each kind, state and currency, what they come to, and from when the oldest is."""
    rows = await conn.fetch(
        """
        SELECT kind, state, currency, count(*), coalesce(sum(difference_minor), 0)::bigint, min(business_date)
        FROM discrepancy WHERE book = $1 AND state = ANY($2::text[]) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        """,
        book,
        [str(state) for state in states],
    )
    return [DiscrepancySum(DiscrepancyKind(row[0]), State(row[1]), *row[2:]) for row in rows]


def _discrepancy_row(row: Any) -> DiscrepancyRow:
    verdict = Comparison(
        DiscrepancyKind(row["kind"]),
        row["currency"],
        row["ours_minor"],
        row["theirs_minor"],
        row["difference_minor"],
        row["detail"],
        row["certain"],
    )
    known = Known(
        home=row["business_date"],
        ours=None if row["ours"] is None else Reported.of_json(_read(row["ours"])),
        sightings={date.fromisoformat(day): Reported.of_json(said) for day, said in _read(row["sightings"]).items()},
        state=State(row["state"]),
        verdict=verdict,
    )
    return DiscrepancyRow(
        book=row["book"],
        id=row["id"],
        counterparty=row["counterparty"],
        key=Key(Area(row["area"]), row["item"], row["reference"]),
        known=known,
        payment_reference=row["payment_reference"],
        moves=row["moves"],
        opened_at=row["opened_at"],
        changed_at=row["changed_at"],
    )


# ---- closing balances ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Closing:
    """One account's day at a bank."""

    account: str
    opening: Money
    closing: Money
    mirror: Money | None
    explained_minor: int


async def save_closings(
    tx: Connection, book: int, counterparty: str, business_date: date, closings: Iterable[Closing]
) -> None:
    """Record every account's end of day; a later run of the day replaces it."""
    rows = [
        (
            book,
            counterparty,
            one.account,
            business_date,
            one.closing.currency,
            one.opening.minor,
            one.closing.minor,
            None if one.mirror is None else one.mirror.minor,
            one.explained_minor,
        )
        for one in closings
    ]
    if not rows:
        return
    await tx.execute(
        """
        INSERT INTO closing (
            book, counterparty, account, business_date, currency, opening_minor, closing_minor, mirror_minor,
            explained_minor
        )
        SELECT * FROM unnest(
            $1::int[], $2::text[], $3::text[], $4::date[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
            $9::bigint[]
        )
        ON CONFLICT (book, counterparty, account, business_date) DO UPDATE SET
            currency = excluded.currency, opening_minor = excluded.opening_minor,
            closing_minor = excluded.closing_minor, mirror_minor = excluded.mirror_minor,
            explained_minor = excluded.explained_minor
        """,
        *_columns(rows),
    )


async def closings_on(conn: Connection, book: int, counterparty: str, business_date: date) -> dict[str, Money]:
    """Return the closing balance of every account on one date, as far as that date was run."""
    rows = await conn.fetch(
        "SELECT account, currency, closing_minor FROM closing"
        " WHERE book = $1 AND counterparty = $2 AND business_date = $3",
        book,
        counterparty,
        business_date,
    )
    return {row["account"]: Money(row["closing_minor"], row["currency"]) for row in rows}


# ---- files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file as it is stored, without its bytes."""

    book: int
    id: str
    counterparty: str
    kind: str
    subject: str
    message_id: str | None
    business_date: date
    name: str
    sha256: str
    refused_code: str | None
    refused_why: str | None
    received_at: datetime
    superseded_by: str | None


_FILE = (
    "book, id, counterparty, kind, subject, message_id, business_date, name, sha256, refused_code, refused_why,"
    " received_at, superseded_by"
)


async def find_file(conn: Connection, book: int, ident: str) -> FileRow | None:
    row = await conn.fetchrow(f"SELECT {_FILE} FROM statement_file WHERE book = $1 AND id = $2", book, ident)
    return None if row is None else FileRow(**row)


async def current_file(conn: Connection, book: int, counterparty: str, kind: str, subject: str) -> FileRow | None:
    """Return the file of a subject that counts: accepted, and not superseded."""
    row = await conn.fetchrow(
        f"SELECT {_FILE} FROM statement_file WHERE book = $1 AND counterparty = $2 AND kind = $3 AND subject = $4"
        " AND refused_code IS NULL AND superseded_by IS NULL",
        book,
        counterparty,
        kind,
        subject,
    )
    return None if row is None else FileRow(**row)


async def file_with_message(conn: Connection, book: int, counterparty: str, message_id: str) -> FileRow | None:
    """Return an accepted file that carries the sender's message id."""
    row = await conn.fetchrow(
        f"SELECT {_FILE} FROM statement_file WHERE book = $1 AND counterparty = $2 AND message_id = $3"
        " AND refused_code IS NULL ORDER BY received_at LIMIT 1",
        book,
        counterparty,
        message_id,
    )
    return None if row is None else FileRow(**row)


async def add_file(tx: Connection, file: FileRow, raw: bytes, *, supersedes: str | None) -> None:
    """Keep a file, and mark the one it replaces."""
    await tx.execute(
        f"INSERT INTO statement_file ({_FILE}, raw)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        file.book,
        file.id,
        file.counterparty,
        file.kind,
        file.subject,
        file.message_id,
        file.business_date,
        file.name,
        file.sha256,
        file.refused_code,
        file.refused_why,
        file.received_at,
        file.superseded_by,
        raw,
    )
    if supersedes is not None:
        await tx.execute(
            "UPDATE statement_file SET superseded_by = $3 WHERE book = $1 AND id = $2", file.book, supersedes, file.id
        )


async def raw_files(
    conn: Connection, book: int, counterparty: str, kind: str, business_date: date
) -> list[tuple[FileRow, bytes]]:
    """Return the files of a date that count, in order of subject, with their bytes."""
    rows = await conn.fetch(
        f"SELECT {_FILE}, raw FROM statement_file"
        " WHERE book = $1 AND counterparty = $2 AND kind = $3 AND business_date = $4"
        " AND refused_code IS NULL AND superseded_by IS NULL ORDER BY subject, id",
        book,
        counterparty,
        kind,
        business_date,
    )
    return [
        (FileRow(**{name: value for name, value in row.items() if name != "raw"}), bytes(row["raw"])) for row in rows
    ]


# ---- helpers ---------------------------------------------------------------------------------------------------------


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Turn rows into the arrays unnest takes."""
    return [list(column) for column in zip(*rows, strict=True)]


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _read(text: str) -> Any:
    return orjson.loads(text)
