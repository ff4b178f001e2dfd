"""Files in: each kept once with its bytes, read whole or refused whole, a restated one in place of the one before.

Damage is no exception here: the file is kept with the reason it was refused for, because somebody must be shown it.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Protocol

from channels.banks import (
    KINDS,
    AccountStatement,
    BadStatement,
    Entry,
    Kind,
    StatusReport,
    joined,
    read_notice,
    read_report,
    read_statements,
    types_of,
)
from channels.contract import BadBill, BillLine
from kernel.db import Connection
from reconciliation import store

BILL = "bill"
MOST_WHY = 2_000  # characters

ReadBill = Callable[[bytes], Iterable[BillLine]]  # Channel.bill_lines with the day filled in; raises BadBill


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a file that arrived."""

    file_id: str
    fresh: bool  # False: these very bytes were here before, and nothing was done
    supersedes: str | None = None  # the file this one restates; its day must be run again
    refused: tuple[str, str] | None = None  # code and reason; the file is kept and not used
    odd: tuple[str, str] | None = None  # code and reason, where a part of the file cannot be read and the rest is used

    @property
    def wrong(self) -> tuple[str, str] | None:
        """What of the file cannot be used, and why."""
        return self.refused or self.odd


class ListedFile(Protocol):
    """What a bank's list of files says of one (channels.banks.FileInfo)."""

    @property
    def sha256(self) -> str: ...

    @property
    def type(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def business_date(self) -> date: ...


# ---- channel bills ---------------------------------------------------------------------------------------------------


async def keep_bill(
    conn: Connection,
    *,
    book: int,
    counterparty: str,
    business_date: date,
    name: str,
    raw: bytes,
    read: ReadBill,
    now: datetime,
) -> Kept:
    """Keep a channel's bill of one day. The newest readable bill of a day is the one that counts."""
    file = _file(book, counterparty, BILL, business_date, name, raw, now)
    file = replace(file, subject=business_date.isoformat())
    try:
        for _line in read(raw):
            pass
    except BadBill as error:
        file = replace(file, refused_code=error.code, refused_why=error.message)
    return await _keep(conn, file, raw)


async def bill_of(
    conn: Connection, book: int, counterparty: str, business_date: date, read: ReadBill
) -> list[BillLine] | None:
    """Return the lines of the bill that counts for a day, or None when there is none yet."""
    files = await store.raw_files(conn, book, counterparty, BILL, business_date)
    return None if not files else [line for _, raw in files for line in read(raw)]


# ---- bank files ------------------------------------------------------------------------------------------------------


async def keep_bank_file(
    conn: Connection,
    *,
    book: int,
    counterparty: str,
    listed: ListedFile,
    raw: bytes,
    now: datetime,
    in_place: bool = False,
) -> Kept:
    """Keep a report, notice or statement whose signature was verified. A file of several days' statements is of each.

    Refused: damaged files, statements none of which is of the day that the bank's list says, and a message id that came
    before over other bytes, unless people have put it in the place of another (in_place): then it may be that one's.
    Raises ValueError for other types of file.
    """
    if listed.type not in KINDS:
        raise ValueError(f"{listed.type} is not a file reconciliation reads")
    file = _file(book, counterparty, listed.type, listed.business_date, listed.name, raw, now)
    odd: list[BadStatement] = []
    try:
        files = _about(file, raw, odd)
    except BadStatement as error:
        return await _keep(conn, replace(file, refused_code=error.code, refused_why=error.message), raw)
    file = files[0]
    if file.message_id is not None and not in_place:
        earlier = await store.file_with_message(conn, book, counterparty, file.message_id)
        if earlier is not None and earlier.sha256 != file.sha256:
            why = f"message id {file.message_id} came before, in {earlier.name}, with other contents"
            return await _keep(conn, replace(file, refused_code="message_id_reused", refused_why=why), raw)
    kept = [await _keep(conn, one, raw) for one in files]
    wrong = None if not odd else (odd[0].code, "; ".join(error.message for error in odd)[:MOST_WHY])
    return replace(kept[0], odd=wrong)


async def has_bank_file(conn: Connection, book: int, counterparty: str, listed: ListedFile) -> bool:
    """Tell whether a file is kept, and was not refused, whose bytes have the hash that the bank lists."""
    ident = _file_id(book, counterparty, listed.type, listed.business_date, listed.sha256.lower())
    known = await store.find_file(conn, book, ident)
    return known is not None and known.refused_code is None


def _about(file: store.FileRow, raw: bytes, odd: list[BadStatement]) -> list[store.FileRow]:
    """Say which file of which days this is, the day that it is listed as first. Raises BadStatement."""
    if KINDS[file.kind] is Kind.REPORT:
        report = read_report(file.kind, raw)
        return [replace(file, subject=report.message_id, message_id=report.message_id)]
    if KINDS[file.kind] is Kind.NOTICE:
        read_notice(file.kind, raw, odd=[])  # an entry that cannot be read is none of the others'
        return [file]  # notifications may overlap; a booking is told by its own reference
    days: dict[date, list[AccountStatement]] = {}
    for statement in read_statements(file.kind, raw, allow_gap=True, odd=odd):
        days.setdefault(statement.business_date, []).append(statement)
    if file.business_date not in days:
        raise BadStatement(
            "other_day", f"listed as of {file.business_date}, holds statements of {', '.join(map(str, sorted(days)))}"
        )
    others = [day for day in sorted(days) if day != file.business_date]
    return [_of_day(file, day, days[day]) for day in (file.business_date, *others)]


def _of_day(file: store.FileRow, day: date, statements: Sequence[AccountStatement]) -> store.FileRow:
    """Return the row of a file for one of its days. It restates only files that are of the very same accounts."""
    page, message_id = statements[0].page, statements[0].message_id
    ident = _file_id(file.book, file.counterparty, file.kind, day, file.sha256)
    of = sorted(f"{one.account}/{one.closing.currency}/{one.part}" for one in statements)
    subject = f"{day.isoformat()}/{page}/{hashlib.sha256(chr(10).join(of).encode()).hexdigest()[:16]}"
    # All pages of a message may have its id.
    return replace(
        file, id=ident, business_date=day, subject=subject,
        message_id=message_id if page == 1 else f"{message_id}/{page}",
    )  # fmt: skip


async def statements_of(conn: Connection, book: int, counterparty: str, business_date: date) -> list[AccountStatement]:
    """Return the statements that count for a day, by account and currency: of two of one account, the later one.

    A gap in one is left for the run to report; one of which not all pages have come is left out.
    """
    found: list[AccountStatement] = []
    files = await _raw_files(conn, book, counterparty, Kind.STATEMENT, business_date)
    for file, raw in sorted(files, key=lambda pair: pair[0].received_at):
        read = read_statements(file.kind, raw, allow_gap=True, odd=[])
        found += [one for one in read if one.business_date == business_date]
    return joined(found)


async def entries_on(conn: Connection, book: int, counterparty: str, dates: Collection[date]) -> list[Entry]:
    """Return the bookings that notifications and statements of some days show, each once.

    Two alike are two. The same notice read again tells of the same ones. What a statement has, it has as often as it
    was booked, however many notices told of it.
    """
    told: dict[tuple[str, str], Entry] = {}
    stated: list[Entry] = []
    for day in sorted(dates):
        for file, raw in await _raw_files(conn, book, counterparty, Kind.NOTICE, day):
            told.update({(entry.booking, entry.notice): entry for entry in read_notice(file.kind, raw, odd=[])})
        stated += [entry for one in await statements_of(conn, book, counterparty, day) for entry in one.entries]
    known = {entry.alike for entry in stated}
    return [*stated, *(entry for entry in told.values() if entry.alike not in known)]


async def reports_on(conn: Connection, book: int, counterparty: str, business_date: date) -> list[StatusReport]:
    """Return the bank's status reports of a day."""
    files = await _raw_files(conn, book, counterparty, Kind.REPORT, business_date)
    return [read_report(file.kind, raw) for file, raw in files]


async def _raw_files(
    conn: Connection, book: int, counterparty: str, kind: Kind, business_date: date
) -> list[tuple[store.FileRow, bytes]]:
    """Return the files of a day that tell of this, in whatever form the bank writes them."""
    return [
        file for type in types_of(kind) for file in await store.raw_files(conn, book, counterparty, type, business_date)
    ]


# ---- restated files --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Restated:
    """How a restated bill differs from the one it replaces."""

    added: tuple[BillLine, ...]
    removed: tuple[BillLine, ...]
    changed: tuple[tuple[BillLine, BillLine], ...]  # (before, after), same reference


def restated(before: Sequence[BillLine], after: Sequence[BillLine]) -> Restated:
    """Return the differences between two versions of a bill; where a line stands in the file does not matter."""
    old, new = _by_reference(before), _by_reference(after)
    added: list[BillLine] = []
    removed: list[BillLine] = []
    changed: list[tuple[BillLine, BillLine]] = []
    for key in sorted(old.keys() | new.keys()):
        were, are = old.get(key, []), new.get(key, [])
        both = min(len(were), len(are))
        changed += [
            (x, y) for x, y in zip(were[:both], are[:both], strict=True) if replace(x, row=0) != replace(y, row=0)
        ]
        removed += were[both:]
        added += are[both:]
    return Restated(tuple(added), tuple(removed), tuple(changed))


def _by_reference(lines: Iterable[BillLine]) -> dict[tuple[str, str], list[BillLine]]:
    found: dict[tuple[str, str], list[BillLine]] = {}
    for line in lines:
        found.setdefault((line.kind, line.reference), []).append(line)
    return found


# ---- keeping ---------------------------------------------------------------------------------------------------------


def _file_id(book: int, counterparty: str, kind: str, business_date: date, sha256: str) -> str:
    return store.derived_id("fil", book, counterparty, kind, business_date.isoformat(), sha256)


def _file(
    book: int, counterparty: str, kind: str, business_date: date, name: str, raw: bytes, now: datetime
) -> store.FileRow:
    sha256 = hashlib.sha256(raw).hexdigest()
    return store.FileRow(
        book=book,
        id=_file_id(book, counterparty, kind, business_date, sha256),
        counterparty=counterparty,
        kind=kind,
        subject=sha256,
        message_id=None,
        business_date=business_date,
        name=name,
        sha256=sha256,
        refused_code=None,
        refused_why=None,
        received_at=now,
        superseded_by=None,
    )


async def _keep(conn: Connection, file: store.FileRow, raw: bytes) -> Kept:
    async with conn.transaction():
        await store.lock_counterparty(conn, file.book, file.counterparty)
        known = await store.find_file(conn, file.book, file.id)
        if known is not None:
            return Kept(known.id, fresh=False, refused=_refusal(known))
        before = None
        if file.refused_code is None:
            before = await store.current_file(conn, file.book, file.counterparty, file.kind, file.subject)
        await store.add_file(conn, file, raw, supersedes=before.id if before else None)
    return Kept(file.id, fresh=True, supersedes=before.id if before else None, refused=_refusal(file))


def _refusal(file: store.FileRow) -> tuple[str, str] | None:
    return None if file.refused_code is None else (file.refused_code, file.refused_why or "")
