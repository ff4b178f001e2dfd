"""A bank's outgoing files, read and applied: each file, entry and line for itself.

What cannot be applied is set aside as a case, and keeps nothing after it from being applied. A file is set aside under
its id at the bank, and asked for again until all of it has been applied or a person has discarded it. Everything may be
read again: a booking is booked once, a line decided once.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import date, timedelta
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import orjson

import cases
from channels.banks import BadStatement, BankClient, Entry, Fate, FileInfo, read_camt054, read_pain002
from kernel.db import LOST, Pool, acquire, tell
from kernel.env import Env
from kernel.errors import Rejected, SluiceError, Unavailable
from kernel.lane import Lanes
from splitting import states, store
from splitting.settlement.deposits import FOR_EVER, ApplyDeposit
from splitting.settlement.instructions import DecideInstruction, DoubtInstruction, MoveCursor
from splitting.tables import BankLink, Instruction

log = logging.getLogger(__name__)
T = TypeVar("T")

SET_ASIDE = "bank_file_set_aside"
DISCARD = "discard"
CAMT_054, PAIN_002 = "camt.054", "pain.002"
TRIES = 10  # a file that is listed and cannot be had is set aside after so many rounds
TOGETHER = 64  # entries or lines of a file
SHORT, LONG = 64 << 10, 4 << 20  # bytes of a file: some milliseconds, and a second of a core
NOTE_EVERY = timedelta(minutes=1)  # so often is it written down that all was read

# Told of a transfer to, or back from, one payment's own account number; returns its channel account, or None.
Collected = Callable[[int, Entry], Awaitable[str | None]]


class Wrong(NamedTuple):
    """Why a file was not applied, or not all of it."""

    code: str
    why: str


class _Passed(NamedTuple):
    """What is done of the page at a cursor: a bank may list it again, and a round may end in its middle."""

    cursor: str | None
    files: set[tuple[str, str]]  # id and hash


class BankFiles:
    """Reads the files of every merchant's banks, and applies them."""

    def __init__(self, pool: Pool, lanes: Lanes, env: Env, client: Callable[[BankLink], BankClient]) -> None:
        self._pool = pool
        self._lanes = lanes
        self._env = env
        self._client = client
        self._not_had: Counter[tuple[int, str]] = Counter()  # by book and what its case is about
        self._longest = asyncio.Semaphore(1)
        self._passed: dict[tuple[int, str, str], _Passed] = {}  # by book, bank and type

    async def read_new(self, link: BankLink, channel_account_of: Mapping[str, str], collected: Collected) -> int:
        """Apply the new notices of bookings and status reports, or set them aside; return how many files that was.

        channel_account_of: the start of a deposit's end-to-end id, as the channel writes it → channel account.
        collected: what is told of transfers that payers made to one payment's own account number. Raises Unavailable
        where the bank does not answer, Rejected where it says no to us; what one of the two lists did does not keep the
        other from being read.
        """
        cursors: dict[str, str] = orjson.loads(link.cursor or "{}")
        number = 0
        trouble: SluiceError | None = None
        for kind in (CAMT_054, PAIN_002):
            try:
                page = await self._client(link).list_files(kind, cursors.get(kind))
                for info in await self._fresh(link, kind, cursors.get(kind), page.files):
                    await self._apply(link, info, channel_account_of, collected)
                    self._passed[link.book, link.bank, kind].files.add((info.file_id, info.sha256))
                    number += 1
            except Unavailable as error:
                if error.code == "bank_unreachable":
                    raise
                trouble = error
                continue
            except Rejected as error:
                trouble = error
                continue
            if page.files and page.next not in (None, cursors.get(kind)):
                cursors[kind] = page.next
                passed = _Passed(page.next, {(info.file_id, info.sha256) for info in page.files})
                self._passed[link.book, link.bank, kind] = passed
                await self._lanes.put(MoveCursor(link.book, link.bank, orjson.dumps(cursors).decode()))
        if trouble is not None:
            raise trouble
        if link.read_at is None or self._env.now() - link.read_at >= NOTE_EVERY:
            await self._lanes.put(MoveCursor(link.book, link.bank, orjson.dumps(cursors).decode(), all_read=True))
        return number

    async def read_again(
        self, link: BankLink, case_id: str, channel_account_of: Mapping[str, str], collected: Collected
    ) -> None:
        """Ask once more for a file that was set aside; where all of it has been applied, its case closes.

        Raises Unavailable, Rejected.
        """
        async with acquire(self._pool) as connection:
            aside = await cases.store.find_case(connection, case_id)
        if aside is None or not cases.may_be_decided(aside):
            return  # decided since
        file = orjson.loads(aside.facts)["file"]
        info = FileInfo(**{**file, "business_date": date.fromisoformat(file["business_date"])})
        if info.type not in (CAMT_054, PAIN_002):
            return  # the daily proof asks for statements, whenever it is run
        if await self._apply(link, info, channel_account_of, collected, known=True):
            await self.applied(link, info)

    async def set_aside(self, link: BankLink, info: FileInfo, wrong: Wrong) -> None:
        """Have a person know of a file that was not applied, or not whole. The same again changes nothing."""
        file = {**asdict(info), "business_date": info.business_date.isoformat()}
        facts = {"bank": link.bank, "file": file, "code": wrong.code, "why": wrong.why[:2000]}
        await self._lanes.put(cases.OpenCase(link.book, SET_ASIDE, _about(link, info), None, None, facts, FOR_EVER))

    async def applied(self, link: BankLink, info: FileInfo) -> None:
        """Close the case of a file, if it has one, after all of it was applied."""
        why = "all of the file has been applied"
        await self._lanes.put(cases.CloseCase(link.book, SET_ASIDE, _about(link, info), why))

    async def _fresh(
        self, link: BankLink, kind: str, cursor: str | None, files: Sequence[FileInfo]
    ) -> Sequence[FileInfo]:
        """Return those of the page at a cursor that are neither passed nor discarded, and note which that page is.

        Discarded is what a person has seen: other bytes under the same id are another file.
        """
        place = link.book, link.bank, kind
        passed = self._passed.get(place)
        if not files:
            self._passed.pop(place, None)
            return files
        if passed is None or passed.cursor != cursor:
            passed = self._passed[place] = _Passed(cursor, set())
        files = [info for info in files if (info.file_id, info.sha256) not in passed.files]
        async with acquire(self._pool) as connection:
            abouts = [_about(link, info) for info in files]
            discarded = await cases.store.decided_so(connection, link.book, SET_ASIDE, abouts, DISCARD)
        gone = {(one.about, orjson.loads(one.facts)["file"]["sha256"]) for one in discarded}
        return [info for info in files if (_about(link, info), info.sha256) not in gone]

    async def _apply(
        self,
        link: BankLink,
        info: FileInfo,
        channel_account_of: Mapping[str, str],
        collected: Collected,
        *,
        known: bool = False,
    ) -> bool:
        """Apply a file, or set it aside; return whether all of it was applied. Raises Unavailable, Rejected.

        known: it is set aside already. Where the bank has just listed it, no answer and a no are about this file alone
        once they have come often enough.
        """
        try:
            wrong = await self._wrong_with(link, info, channel_account_of, collected)
        except (Unavailable, Rejected) as error:
            if not error.code.startswith("bank_") or not self._tried_enough(link, info):
                raise
            wrong = Wrong(error.code, str(error))
        self._not_had.pop((link.book, _about(link, info)), None)
        if wrong is None:
            return True
        level = logging.INFO if known else logging.ERROR
        facts = {"bank": link.bank, "book": link.book, "file": info.file_id, "code": wrong.code, "why": wrong.why}
        log.log(level, "a bank's file is set aside", extra=facts)
        await self.set_aside(link, info, wrong)
        return False

    def _tried_enough(self, link: BankLink, info: FileInfo) -> bool:
        """Count a round in which a listed file could not be had: one that never can is no reason to stop."""
        key = link.book, _about(link, info)
        self._not_had[key] += 1
        return self._not_had[key] >= TRIES

    async def _wrong_with(
        self, link: BankLink, info: FileInfo, channel_account_of: Mapping[str, str], collected: Collected
    ) -> Wrong | None:
        """Apply what can be applied of a file; return what was wrong with the rest. Raises Unavailable, Rejected."""
        try:
            content = await fetched(self._client(link), info)
            if info.type == PAIN_002:
                return await self._apply_report(link, info, content)
            return await self._apply_notice(link, content, channel_account_of, collected)
        except BadStatement as error:
            return Wrong(error.code, error.message)

    async def _apply_report(self, link: BankLink, info: FileInfo, content: bytes) -> Wrong | None:
        """Apply a pain.002: each line it decides, once."""
        report = await self._read(read_pain002, content)
        settlement_id = report.original_message_id.replace("-", "_")
        async with acquire(self._pool) as connection:
            batch = await store.find_settlement(connection, link.book, settlement_id)
            lines = await store.instructions(connection, link.book, settlement_id)
        if batch is None or batch.bank != link.bank:
            return Wrong("not_our_batch", f"it reports on a batch that is none of ours: {report.original_message_id}")
        commands: dict[str, Any] = {}
        for line in lines:
            said = report.fate_of(line.id)
            if said is None or said.fate is Fate.PENDING:
                continue
            if said.fate is Fate.IN_DOUBT:
                reasons = [str(reason) for reason in said.reasons]
                duplicate = said.says_duplicate and not said.contradicted
                commands[line.id] = DoubtInstruction(link.book, line.id, said.status, reasons, duplicate)
            else:
                paid = said.fate is Fate.EXECUTED
                commands[line.id] = DecideInstruction(link.book, line.id, paid, said.reason, info.business_date)
        parts = (_part(f"line {line_id}", self._lanes.put(command)) for line_id, command in commands.items())
        return _together(await _each(parts))

    async def _apply_notice(
        self, link: BankLink, content: bytes, channel_account_of: Mapping[str, str], collected: Collected
    ) -> Wrong | None:
        """Apply a camt.054: each booking it tells of, once."""
        odd: list[BadStatement] = []
        entries = await self._read(partial(read_camt054, odd=odd), content)
        bookings = (self._apply_booking(link, entry, channel_account_of, collected) for entry in entries)
        parts = (_part(f"entry {entry.entry_ref}", work) for entry, work in zip(entries, bookings, strict=True))
        return _together([*(Wrong(error.code, error.message) for error in odd), *await _each(parts)])

    async def _read(self, reader: Callable[[bytes], T], content: bytes) -> T:
        """Read a file, a long one beside the loop, and the longest one at a time: it becomes ten times as long."""
        if len(content) <= SHORT:
            return reader(content)
        async with self._longest if len(content) > LONG else nullcontext():
            return await self._env.offload(reader, content)

    async def _apply_booking(
        self, link: BankLink, entry: Entry, channel_account_of: Mapping[str, str], collected: Collected
    ) -> None:
        """Book a channel's deposit, or a payer's own transfer; what nobody can name is a case."""
        reference = entry.end_to_end_id or ""
        at_pool = entry.account == link.pool_account
        account = await collected(link.book, entry) if entry.creditor_ref is not None else None
        if account is None and (marks := [mark for mark in channel_account_of if reference.startswith(mark)]):
            account = channel_account_of[max(marks, key=len)]
        known: dict[str, Any] = {}
        if account is None or not at_pool:
            async with acquire(self._pool) as connection:
                line = await store.find_instruction(connection, link.book, reference)
            if line is not None and _carries_out(line, link, entry):
                return  # its status report decides it
            account = None
            known = {
                "account": f"…{entry.account[-4:]}",
                "at_pool": at_pool,
                "end_to_end_id": entry.end_to_end_id,
                "creditor_ref": entry.creditor_ref,
                "instruction": None if line is None else line.id,
                "return_reason": entry.return_reason,
            }
            facts = {"bank": link.bank, "book": link.book, "entry": entry.entry_ref}
            log.warning("a booking at the bank is nobody's that the hub knows", extra=facts)
        await self._lanes.put(
            ApplyDeposit(
                link.book,
                link.bank,
                account,
                entry.amount.currency,
                entry.amount.minor,
                entry.raw_ref,
                entry.booked_on,
                entry.booking,
                entry.notice,
                known,
            )
        )


async def fetched(client: BankClient, info: FileInfo) -> bytes:
    """Return a file's bytes. Raises Unavailable, BadStatement also where the bank says no to this one alone, Rejected.

    Rejected: it says no to us, whatever the file.
    """
    try:
        return await client.fetch(info)
    except Rejected as no:
        if no.facts.get("status") in (401, 403):
            raise
        raise BadStatement(no.code, str(no)) from None


async def _part(name: str, work: Awaitable[Any]) -> Wrong | None:
    """Do a part of a file; return what is wrong with it, so that the other parts are done. Raises Unavailable."""
    try:
        await work
    except (Unavailable, *LOST):
        raise
    except SluiceError as error:
        return Wrong(error.code, f"{name}: {error}")
    except Exception as error:  # part of the worker loop
        tell(log, "a part of a bank's file cannot be applied; the others are", error, part=name)
        return Wrong("internal_error", f"{name}: {type(error).__name__}")
    return None


async def _each(parts: Iterator[Awaitable[Wrong | None]]) -> list[Wrong]:
    """Do the parts, some at a time so that they share commits; return what is wrong. Raises Unavailable."""
    wrong: list[Wrong] = []
    while some := list(islice(parts, TOGETHER)):
        found = await asyncio.gather(*some, return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException):
                raise one
        wrong += [one for one in found if isinstance(one, Wrong)]
    return wrong


def _together(wrong: Sequence[Wrong]) -> Wrong | None:
    if not wrong:
        return None
    number = f"{len(wrong)} parts: " if len(wrong) > 1 else ""
    return Wrong(wrong[0].code, number + "; ".join(one.why for one in wrong))


def _carries_out(line: Instruction, link: BankLink, entry: Entry) -> bool:
    """Tell whether a booking is a payout of ours as it was ordered: out of the pool, or into its payee's account."""
    if line.status == states.Instruction.REFUSED or entry.amount.currency != line.currency or entry.return_reason:
        return False
    return (entry.account, entry.amount.minor) in (
        (link.pool_account, -line.amount_minor),
        (line.account, line.amount_minor),
    )


def _about(link: BankLink, info: FileInfo) -> str:
    return f"{link.bank}:{info.file_id}"


def bank_of(about: str) -> str:
    """Return at which bank the file is that a case is about."""
    return about.partition(":")[0]
