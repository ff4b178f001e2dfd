"""A bank's outgoing files, kept, read and applied: each file, entry and line for itself.

What cannot be applied is set aside as a case, and keeps nothing after it from being applied. A file is set aside under
its id at the bank, and asked for again until all of it has been applied or people have discarded or replaced it; they
may also have what is kept of it applied as it is (fates.py). Everything may be read again: a booking is booked once, a
line decided once.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import orjson

import cases
from channels.banks import (
    KINDS,
    BadStatement,
    Bank,
    Fate,
    FileInfo,
    GivesAnew,
    Kind,
    LineStatus,
    StatusReport,
    TellsUploads,
    disagreement,
    other_payment_than_sent,
    read_notice,
    read_report,
    read_resolution,
    read_statements,
)
from kernel.db import AGAIN, LOST, Pool, acquire, tell, transaction
from kernel.env import Env
from kernel.errors import Broken, Rejected, SluiceError, Unavailable
from kernel.lane import Lanes
from kernel.money import Money
from splitting import store
from splitting.banks import fates
from splitting.banks.archive import SHORT, KeptFiles
from splitting.banks.bookings import Bookings, Collected
from splitting.banks.fates import Wrong, info_from, info_of
from splitting.banks.sending import message_id
from splitting.recalls.sending import RecallSending
from splitting.settlement.instructions import DecideInstruction, DoubtInstruction, MoveCursor
from splitting.settlement.store import sent_to
from splitting.tables import BankFile, BankLink, Withdrawal
from splitting.withdrawals import answers as withdrawals

log = logging.getLogger(__name__)
T = TypeVar("T")

TRIES = 10  # a file that is listed and cannot be had is set aside after so many rounds
TOGETHER = 64  # entries or lines of a file
LONG = 4 << 20  # bytes of a file: a second of a core
NOTE_EVERY = timedelta(minutes=1)  # so often is it written down that all was read


class _Passed(NamedTuple):
    """What is done of the page at a cursor: a bank may list it again, and a round may end in its middle."""

    cursor: str | None
    files: set[tuple[str, str]]  # id and hash


class BankFiles(KeptFiles):
    """Reads the files of every merchant's banks, and applies them."""

    def __init__(self, pool: Pool, lanes: Lanes, env: Env, client: Callable[[BankLink], Bank]) -> None:
        super().__init__(pool, lanes, env)
        self._client = client
        self.bookings = Bookings(pool, lanes)
        self.recalls = RecallSending(pool, lanes, client)
        self._not_had: Counter[tuple[int, str]] = Counter()  # by book and what its case is about
        self._longest = asyncio.Semaphore(1)
        self._passed: dict[tuple[int, str, str], _Passed] = {}  # by book, bank and type

    async def read_new(
        self, link: BankLink, channel_accounts_of: Mapping[str, Sequence[str]], collected: Collected
    ) -> int:
        """Apply the new notices, status reports and answers to recalls, or set them aside; return how many that was.

        channel_accounts_of: the start of a deposit's end-to-end id, as the channel writes it → channel accounts;
        several where they are one account at the rail.
        collected: what is told of transfers that payers made to one payment's own account number. Raises Unavailable
        where the bank does not answer, Rejected where it says no to us; what one of the lists did does not keep
        another from being read.
        """
        cursors: dict[str, str] = orjson.loads(link.cursor or "{}")
        number = 0
        trouble: SluiceError | None = None
        client = self._client(link)
        async with acquire(self._pool) as connection:
            sent = await sent_to(connection, link.book, link.bank)
        under_way = [message_id(ident) for ident in sent]
        told_by = (client.types.get(one) for one in (Kind.NOTICE, Kind.REPORT, Kind.RESOLUTION))
        for kind in filter(None, told_by):
            try:
                page = await client.list_files(kind, cursors.get(kind), under_way=under_way)
                for info in await self._fresh(link, kind, cursors.get(kind), page.files):
                    await self._apply(link, info, channel_accounts_of, collected)
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
        self, link: BankLink, case_id: str, channel_accounts_of: Mapping[str, Sequence[str]], collected: Collected
    ) -> None:
        """Ask once more for a file that was set aside; where all of it has been applied, its case closes.

        Raises Unavailable, Rejected.
        """
        async with acquire(self._pool) as connection:
            aside = await cases.store.find_case(connection, case_id)
        if aside is None or not cases.may_be_decided(aside):
            return  # decided since
        info = info_from(orjson.loads(aside.facts))
        if KINDS.get(info.type) is Kind.STATEMENT:
            return  # the daily proof asks for statements, whenever it is run
        if info.file_id.startswith(fates.HAND):
            return  # which no bank has
        if self._client(link).keeps_files:
            await self._apply(link, info, channel_accounts_of, collected, known=True)
            return
        async with acquire(self._pool) as connection:
            file = await store.find_bank_file(connection, link.book, fates.kept_as(aside))
        if file is not None and file.sha256 is not None:  # what the bank answered is kept here alone
            wrong = await self._wrong_with_kept(link, file, info, channel_accounts_of, collected)
            await self.end(file, info, wrong, known=True)

    async def apply_kept(
        self, link: BankLink, file: BankFile, channel_accounts_of: Mapping[str, Sequence[str]], collected: Collected
    ) -> BankFile:
        """Apply what is kept of a file, after people agreed to it; return it as it stands then.

        Where they released it, the totals and ids that it says of its batch or its entries may differ. Raises
        Unavailable, Rejected.
        """
        info, released = info_of(file), file.given_by is None
        wrong = await self._wrong_with_kept(link, file, info, channel_accounts_of, collected, released=released)
        return await self.end(file, info, wrong)

    async def _wrong_with_kept(
        self,
        link: BankLink,
        file: BankFile,
        info: FileInfo,
        channel_accounts_of: Mapping[str, Sequence[str]],
        collected: Collected,
        *,
        released: bool = False,
    ) -> Wrong | None:
        """Apply what can be applied of what is kept of a file; return what was wrong. Raises as _wrong_with."""
        try:
            content = await self.content(file)
        except (Broken, Rejected) as error:  # its bytes are damaged, or were never had
            log.error("what is kept of a bank's file cannot be read", extra={"file": file.id, "why": error.message})
            return Wrong(error.code, error.message)
        return await self._wrong_with(link, info, content, channel_accounts_of, collected, released=released)

    async def _fresh(
        self, link: BankLink, kind: str, cursor: str | None, files: Sequence[FileInfo]
    ) -> Sequence[FileInfo]:
        """Return those of the page at a cursor that are neither passed nor discarded, and note which that page is.

        Discarded, or released, is what people have seen: other bytes under the same id are another file.
        """
        place = link.book, link.bank, kind
        passed = self._passed.get(place)
        if not files:
            self._passed.pop(place, None)
            return files
        if passed is None or passed.cursor != cursor:
            passed = self._passed[place] = _Passed(cursor, set())
        files = [info for info in files if (info.file_id, info.sha256) not in passed.files]
        keys = [fates.file_key(link.book, link.bank, info.file_id, info.sha256) for info in files]
        async with acquire(self._pool) as connection:
            over = await store.decided_files(connection, link.book, keys)
        return [info for info, key in zip(files, keys, strict=True) if key not in over]

    async def _apply(
        self,
        link: BankLink,
        info: FileInfo,
        channel_accounts_of: Mapping[str, Sequence[str]],
        collected: Collected,
        *,
        known: bool = False,
    ) -> bool:
        """Keep a file and apply it, or set it aside; return whether all of it was applied.

        known: it is set aside already. Where the bank has just listed it, no answer and a no are about this file alone
        once they have come often enough. Raises Unavailable, Rejected.
        """
        content, wrong = None, None
        try:
            content = await fetched(self._client(link), info, anew=known)
        except BadStatement as error:
            content, wrong = error.content, Wrong(error.code, error.message)
        except (Unavailable, Rejected) as error:
            if not error.code.startswith("bank_") or not self._tried_enough(link, info):
                raise
            wrong = Wrong(error.code, str(error))
        file = await self.keep(link, info, content)
        if wrong is None and content is not None:
            wrong = await self._wrong_with(link, info, content, channel_accounts_of, collected)
        self._not_had.pop((link.book, _about(link, info)), None)
        if wrong is not None:
            level = logging.INFO if known else logging.ERROR
            facts = {"bank": link.bank, "book": link.book, "file": info.file_id, "code": wrong.code, "why": wrong.why}
            log.log(level, "a bank's file is set aside", extra=facts)
        await self.end(file, info, wrong, known=known)
        return wrong is None

    def _tried_enough(self, link: BankLink, info: FileInfo) -> bool:
        """Count a round in which a listed file could not be had: one that never can is no reason to stop."""
        key = link.book, _about(link, info)
        self._not_had[key] += 1
        return self._not_had[key] >= TRIES

    async def _wrong_with(
        self,
        link: BankLink,
        info: FileInfo,
        content: bytes,
        channel_accounts_of: Mapping[str, Sequence[str]],
        collected: Collected,
        *,
        released: bool = False,
    ) -> Wrong | None:
        """Apply what can be applied of a file; return what was wrong with the rest. Raises Unavailable, Rejected.

        released: people have let pass that it says otherwise of its totals and ids than is so.
        """
        try:
            if KINDS.get(info.type) is Kind.REPORT:
                return await self._apply_report(link, info, content, released)
            if KINDS.get(info.type) is Kind.RESOLUTION:
                return await self._apply_resolution(link, info, content)
            return await self._apply_notice(link, info, content, channel_accounts_of, collected, released)
        except BadStatement as error:
            return Wrong(error.code, error.message)
        except (Unavailable, Rejected, *LOST, *AGAIN):
            raise
        except Exception as error:  # of our reading it: the files after it are read all the same
            facts = {"bank": link.bank, "book": link.book, "file": info.file_id}
            tell(log, "a bank's file cannot be read; the files after it are", error, **facts)
            return Wrong("internal_error", type(error).__name__)

    async def _apply_report(self, link: BankLink, info: FileInfo, content: bytes, released: bool) -> Wrong | None:
        """Apply a report: each line it decides, once; nothing of one that says what is not so of its batch."""
        report = await self._read(partial(read_report, info.type), content)
        withdrawal = await withdrawals.named(self._pool, link, report.original_message_id)
        if withdrawal is not None:
            return await self._apply_to_withdrawal(link, info, report, withdrawal, released)
        settlement_id = report.original_message_id.replace("-", "_")
        async with transaction(self._pool) as connection:
            batch = await store.find_settlement(connection, link.book, settlement_id)
            idents: list[str] = []
            sent: dict[str, tuple[Money, str]] = {}
            client = self._client(link)
            async for line in store.each_instruction(connection, link.book, settlement_id):
                idents.append(line.id)
                if client.unsayable(line.name, line.account) is None:
                    sent[line.id] = Money(line.amount_minor, line.currency), line.account
        if batch is None or batch.bank != link.bank:
            return Wrong("not_our_batch", f"it reports on a batch that is none of ours: {report.original_message_id}")
        wrong = await _not_as_sent(self._client(link), info, report, sent, link.pool_account, released)
        if wrong is not None:
            return wrong
        words = ((ident, report.fate_of(ident)) for ident in idents)
        parts = (
            _part(f"line {ident}", self._lanes.put(_decision(link, info, ident, said)))
            for ident, said in words
            if said is not None and said.fate is not Fate.PENDING
        )
        return _together(await _each(parts))

    async def _apply_to_withdrawal(
        self, link: BankLink, info: FileInfo, report: StatusReport, withdrawal: Withdrawal, released: bool
    ) -> Wrong | None:
        """Apply a report on the order of one withdrawal, once; nothing of one that says what is not so of it."""
        number = report.original_message_id
        sent = {number: (Money(withdrawal.amount_minor, withdrawal.currency), withdrawal.account)}
        wrong = await _not_as_sent(self._client(link), info, report, sent, withdrawal.sub_account, released)
        if wrong is not None or (status := report.fate_of(number)) is None:
            return wrong
        command = withdrawals.said(withdrawal, status, info.business_date)
        return None if command is None else await _part(f"withdrawal {withdrawal.id}", self._lanes.put(command))

    async def _apply_resolution(self, link: BankLink, info: FileInfo, content: bytes) -> Wrong | None:
        """Apply an answer to a recall 追回, once; nothing of one that says what is not so of it."""
        answer = await self._read(partial(read_resolution, info.type), content)
        wrong: list[Wrong] = []

        async def apply() -> None:
            if (found := await self.recalls.apply(link, info.business_date, answer)) is not None:
                wrong.append(found)

        return await _part(f"recall {answer.recall_id}", apply()) or next(iter(wrong), None)

    async def _apply_notice(
        self,
        link: BankLink,
        info: FileInfo,
        content: bytes,
        channel_accounts_of: Mapping[str, Sequence[str]],
        collected: Collected,
        released: bool,
    ) -> Wrong | None:
        """Apply a notice: each booking it tells of, once."""
        odd: list[BadStatement] = []
        reader = partial(read_notice, info.type, odd=odd, totals_may_differ=released)
        entries = await self._read(reader, content)
        wrong = [Wrong(error.code, error.message) for error in odd]
        for is_return in (False, True):  # whether what comes back was debited twice is known by then
            wrong += await _each(
                _part(f"entry {entry.entry_ref}", self.bookings.apply(link, entry, channel_accounts_of, collected))
                for entry in entries
                if entry.is_return is is_return
            )
        return _together(wrong)

    async def _read(self, reader: Callable[[bytes], T], content: bytes) -> T:
        """Read a file, a long one beside the loop, and the longest one at a time: it becomes ten times as long."""
        if len(content) <= SHORT:
            return reader(content)
        async with self._longest if len(content) > LONG else nullcontext():
            return await self._env.offload(reader, content)


def _decision(link: BankLink, info: FileInfo, ident: str, said: LineStatus) -> DecideInstruction | DoubtInstruction:
    """Return what a bank's final word on a line has the book do."""
    if said.fate is Fate.IN_DOUBT:
        reasons = [str(reason) for reason in said.reasons]
        return DoubtInstruction(
            link.book, ident, said.status, reasons, duplicate=said.says_duplicate and not said.contradicted
        )
    return DecideInstruction(link.book, ident, said.fate is Fate.EXECUTED, said.reason, info.business_date)


async def _not_as_sent(
    client: Bank,
    info: FileInfo,
    report: StatusReport,
    sent: Mapping[str, tuple[Money, str]],
    debtor_account: str,
    released: bool,
) -> Wrong | None:
    """Return what a report says of its order that is not so; released: people let totals and ids pass.

    Raises Unavailable, Rejected.
    """
    if (wrong := other_payment_than_sent(report, sent, debtor_account)) is not None:
        return Wrong(wrong.code, wrong.message)
    if released:
        return None
    if (wrong := disagreement(report, sent)) is not None:
        return Wrong(wrong.code, wrong.message)
    return await _of_another_upload(client, info, report.original_message_id)


async def _of_another_upload(client: Bank, info: FileInfo, message_id: str) -> Wrong | None:
    """Tell of a report on other bytes than the first that the bank has under this message id: it pays by those.

    Raises Unavailable, Rejected.
    """
    if info.original_file_id is None:
        return None
    first = (await client.uploads(message_id))[:1] if isinstance(client, TellsUploads) else ()
    if not first or first[0].file_id == info.original_file_id:
        return None
    why = f"it reports on upload {info.original_file_id} of {message_id}, and the bank pays by {first[0].file_id}"
    return Wrong("other_upload", why)


def check_readable(type: str, content: bytes) -> None:
    """Raise Rejected (bank_file_unreadable) where nothing of a file could be applied, whoever agrees to it.

    CPU work that grows with it.
    """
    try:
        match KINDS.get(type):
            case Kind.REPORT:
                read_report(type, content)
            case Kind.STATEMENT:
                read_statements(type, content, allow_gap=True, odd=[])
            case _:
                read_notice(type, content, odd=[], totals_may_differ=True)
    except BadStatement as error:
        why = f"it cannot be read as {type} ({error.code}): {error.message}"
        raise Rejected("bank_file_unreadable", why) from None


async def fetched(client: Bank, info: FileInfo, *, anew: bool = False) -> bytes:
    """Return a file's bytes. Raises Unavailable, BadStatement also where the bank says no to this one alone, Rejected.

    Rejected: it says no to us, whatever the file. anew: it is set aside, and was perhaps listed while it was written.
    """
    try:
        if anew and isinstance(client, GivesAnew):
            return await client.fetch_anew(info)
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


def _about(link: BankLink, info: FileInfo) -> str:
    return f"{link.bank}:{info.file_id}"
