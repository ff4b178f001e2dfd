"""What becomes of each booking that a bank tells of: a deposit, a payout, a return, a withdrawal's; or a case."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import islice

import orjson

import cases
from channels.banks import AccountStatement, Entry, paid_by_booking
from kernel.db import Pool, acquire, attempt, tell
from kernel.errors import SluiceError
from kernel.lane import Lanes
from splitting import states, store
from splitting.banks.parts import may_have_left, parts_of, said_of
from splitting.banks.roles import BookBanksOwn
from splitting.banks.store import debited_again, role_of
from splitting.settlement.debits import AGAIN, BATCH, BY_PARTS, ApplyDebit, mark_of
from splitting.settlement.deposits import UNIDENTIFIED, ApplyDeposit, Shared, day_named
from splitting.settlement.ids import INSTRUCTION_ID
from splitting.settlement.instructions import DecideInstruction
from splitting.settlement.returns import ApplyReturn
from splitting.settlement.shared import Parts, ShareDeposit, awaiting_bill
from splitting.tables import RECALLS, BankLink, Instruction, Settlement
from splitting.withdrawals import answers as withdrawals

log = logging.getLogger(__name__)

TOGETHER = 64  # lines of a batch

# Told of a transfer to, or back from, one payment's own account number; returns its channel account, or None.
Collected = Callable[[int, Entry], Awaitable[str | None]]


class Bookings:
    """Applies bookings; the same one again changes nothing."""

    def __init__(self, pool: Pool, lanes: Lanes) -> None:
        self._pool = pool
        self._lanes = lanes
        self._told: set[str] = set()  # of which batches that parts cannot pay

    async def apply(
        self, link: BankLink, entry: Entry, channel_accounts_of: Mapping[str, Sequence[str]], collected: Collected
    ) -> None:
        """Book a channel's deposit, or a payer's own transfer; what nobody can name is a case."""
        reference = entry.end_to_end_id or ""
        at_pool = entry.account == link.pool_account
        account = await collected(link.book, entry) if entry.creditor_ref is not None else None
        shared: Shared | None = None
        if account is None and (marks := [mark for mark in channel_accounts_of if reference.startswith(mark)]):
            mark = max(marks, key=len)
            if len(channel_accounts_of[mark]) == 1:
                (account,) = channel_accounts_of[mark]
            else:
                shared = Shared(reference, day_named(reference, mark), tuple(channel_accounts_of[mark]))
        deposit = _as_deposit(link, entry, account)
        if at_pool and (account is not None or shared is not None):
            await self._lanes.put(replace(deposit, shared=shared))
            return
        if await self._pays(link, entry):
            return
        if at_pool and entry.batch_refs and await _is_our_batch(self._pool, link, entry):
            return  # its lines' reports decide them, and the daily proof holds the sum against them
        if not at_pool and await self._on_a_roles(link, entry, deposit):
            return
        line = await _line_of(self._pool, link, entry)
        if line is not None and _carries_out(line, link, entry) and await self._left(link, line):
            if at_pool:  # its status report decides it; but a second debit of it is not passed over
                await self._lanes.put(_debit_of(line, link, entry, pays=False))
            return
        known = {
            "account": f"…{entry.account[-4:]}",
            "at_pool": at_pool,
            "end_to_end_id": entry.end_to_end_id,
            "creditor_ref": entry.creditor_ref,
            "instruction": None if line is None else line.id,
            "return_reason": entry.return_reason,
        }
        if line is not None and _goes_elsewhere(line, link, entry):
            known["went_to"] = f"…{(entry.counterparty_account or '')[-4:]}"
        deposit = replace(deposit, channel_account=None, known=known)
        commands = await withdrawals.booked(self._pool, link, entry, deposit)
        if commands is not None:
            for command in commands:
                await self._lanes.put(command)
            return
        if line is not None and entry.is_return and line.currency == entry.amount.currency:
            if at_pool and entry.amount.minor == line.amount_minor:
                if line.status == states.Instruction.IN_TRANSIT:  # its report is late, or set aside
                    await self._lanes.put(DecideInstruction(link.book, line.id, True, None, entry.booked_on))
                elif await self._was_recalled(line):
                    return  # its debit was booked at the bank, and by this undone; the daily proof holds both
                unsure = await self._debited_again(line)
                await self._lanes.put(ApplyReturn(line.id, deposit, entry.return_reason, unsure=unsure))
                return
            if (entry.account, entry.amount.minor) == (line.account, -line.amount_minor):
                return  # the same, on the payee's account; what the pool account has of it decides
        facts = {"bank": link.bank, "book": link.book, "entry": entry.entry_ref}
        log.warning("a booking at the bank is nobody's that the hub knows", extra=facts)
        await self._lanes.put(deposit)

    async def apply_statement(self, link: BankLink, statement: AccountStatement) -> Exception | None:
        """Apply what a statement says of payouts, where the bank's booking is its word that it paid; nothing else.

        Nothing of one whose entries do not lead to its closing balance. Returns what was wrong with one of its entries:
        the others are applied all the same.
        """
        if statement.gap.minor or not paid_by_booking(orjson.loads(link.settings)):
            return None
        wrong = None
        for entry in statement.entries:
            error = await attempt(self._apply_stated(link, entry))
            if error is not None:
                facts = {"bank": link.bank, "book": link.book, "entry": entry.entry_ref}
                tell(log, "an entry of a statement cannot be applied; the others are", error, **facts)
                wrong = wrong or error
        return wrong

    async def _apply_stated(self, link: BankLink, entry: Entry) -> None:
        if await self._pays(link, entry) or entry.is_return or entry.account == link.pool_account:
            return
        for command in await withdrawals.booked(self._pool, link, entry, _as_deposit(link, entry, None)) or ():
            await self._lanes.put(command)

    async def _pays(self, link: BankLink, entry: Entry) -> bool:
        """Take a debit of the pool account for the bank's word that it paid a line, or a batch as one, where it is one.

        Returns whether the booking is explained by that. A line is paid by the debit that names it, with its amount, to
        the unit; all that is in transit of a batch, by a debit of what its lines come to that were not refused.
        """
        out = entry.amount.minor < 0 and entry.account == link.pool_account and not entry.is_return
        if not out or not paid_by_booking(orjson.loads(link.settings)):
            return False
        line = await _line_of(self._pool, link, entry)
        if line is not None:
            if not _carries_out(line, link, entry) or not await self._left(link, line):
                return False
            await self._lanes.put(_debit_of(line, link, entry, pays=True))
            return True
        if entry.end_to_end_id is not None or (batch := await _batch_of(self._pool, link, entry)) is None:
            return False
        if not await self._pay_batch(batch, -entry.amount.minor, entry.booked_on):
            known = {"account": f"…{entry.account[-4:]}", "at_pool": True, BATCH: batch.id}
            number = f":{hashlib.sha256(entry.raw_ref.encode()).hexdigest()[:12]}" if entry.has_bank_ref else ""
            told = f"{batch.id}@{entry.booked_on}{number}"  # the same in a notice and in the statement of its day
            deposit = replace(_as_deposit(link, entry, None), booking=told, notice="")
            await self._lanes.put(replace(deposit, known=known))
        return True

    async def _debited_again(self, line: Instruction) -> bool:
        """Tell whether the bank has debited a line twice: which of the two a credit undoes, people find out."""
        async with acquire(self._pool) as connection:
            return await debited_again(connection, line.book, line.id)

    async def _was_recalled(self, line: Instruction) -> bool:
        """Tell whether a line is refused since its bank accepted its recall 追回."""
        if line.status != states.Instruction.REFUSED:
            return False
        async with acquire(self._pool) as connection:
            rows = await RECALLS.load(connection, [(line.book, line.id)])
        return bool(rows) and rows[0].status == states.Recall.ACCEPTED

    async def _left(self, link: BankLink, line: Instruction) -> bool:
        """Tell whether the bank may have a line: its batch is this bank's, and may have been sent."""
        async with acquire(self._pool) as connection:
            batch = await store.find_settlement(connection, link.book, line.settlement_id)
            return batch is not None and batch.bank == link.bank and await may_have_left(connection, batch)

    async def _pay_batch(self, batch: Settlement, minor: int, booked_on: date) -> bool:
        """Have all that is in transit of a batch paid, where the booking is of all its lines that were not refused."""
        async with acquire(self._pool) as connection:
            left = await may_have_left(connection, batch)
            lines = await store.instructions(connection, batch.book, batch.id)
        expected = [line for line in lines if line.status != states.Instruction.REFUSED]
        if not left or not expected or sum(line.amount_minor for line in expected) != minor:
            return False
        in_transit = [line for line in expected if line.status == states.Instruction.IN_TRANSIT]
        await self._pay_lines(batch, in_transit, booked_on)
        return True

    async def _pay_lines(
        self, batch: Settlement, lines: Sequence[Instruction], booked_on: date, debit: str = ""
    ) -> None:
        """Have lines of a batch paid; raise what was wrong with one of them when all the others are."""
        left, wrong = iter([line.id for line in lines]), list[Exception]()
        while some := list(islice(left, TOGETHER)):
            paid = [self._lanes.put(DecideInstruction(batch.book, one, True, None, booked_on, debit)) for one in some]
            wrong += [error for error in await asyncio.gather(*map(attempt, paid)) if error is not None]
        if wrong:
            raise wrong[0]

    async def look_again(self, link: BankLink) -> None:
        """Hold bookings of whole batches that did not agree with their lines against what was refused since.

        Lines of batches that people know to be booked as several sums are paid by these.
        """
        async with acquire(self._pool) as connection:
            waiting = await cases.store.cases(connection, book=link.book, kind=UNIDENTIFIED)
        await self._each(waiting, lambda case: self._look_at(link, case))
        async with acquire(self._pool) as connection:
            said = await said_of(connection, link.book, link.bank)
        for batch in said:
            error = await attempt(self._pay_by_parts(link, batch))
            if error is not None and batch not in self._told:
                self._told.add(batch)
                tell(log, "a batch cannot be paid by its parts; the others are", error, settlement=batch)

    async def _pay_by_parts(self, link: BankLink, batch_id: str) -> None:
        """Pay what is in transit of a batch, once all its parts are decided and come to it; else ask people again."""
        async with acquire(self._pool) as connection:
            batch = await store.find_settlement(connection, link.book, batch_id)
            parts = None if batch is None else await parts_of(connection, batch)
        if parts is None or parts.asked:
            return
        if parts.minor(with_asked=False) in parts.sums:
            day = max(date.fromisoformat(orjson.loads(one.facts)["business_date"]) for one in parts.said)
            await self._pay_lines(parts.batch, parts.left, day, BY_PARTS)
            return
        for case in parts.said:  # a line was refused since, or what was decided last is no part
            facts = {**orjson.loads(case.facts), cases.HINDERED: "the parts do not come to what the lines come to"}
            opened = cases.OpenCase(case.book, case.kind, case.about, case.amount_minor, case.currency, facts)
            await self._lanes.put(opened)

    async def _look_at(self, link: BankLink, case: cases.Case) -> None:
        facts = orjson.loads(case.facts)
        if facts["bank"] != link.bank or BATCH not in facts:
            return
        async with acquire(self._pool) as connection:
            batch = await store.find_settlement(connection, link.book, facts[BATCH])
        day = date.fromisoformat(facts["business_date"])
        if batch is not None and await self._pay_batch(batch, -facts["amount_minor"], day):
            why = f"it is what the lines of {batch.id} come to"
            await self._lanes.put(cases.CloseCase(case.book, case.kind, case.about, why))

    async def _each(self, waiting: Sequence[cases.Case], do: Callable[[cases.Case], Awaitable[None]]) -> None:
        """Do what may close each of some cases; where it cannot be done of one, that says why, and the next is done."""
        for case in waiting:
            error = await attempt(do(case))
            if error is None:
                continue
            why = str(error) if isinstance(error, SluiceError) else f"internal_error ({type(error).__name__})"
            if orjson.loads(case.facts).get(cases.HINDERED) == why:
                continue  # told of already
            tell(log, "a case stays open that the hub would have closed; the others go on", error, case=case.id)
            await attempt(self._lanes.put(cases.NoteHindrance(case.book, case.kind, case.about, why)))

    async def _on_a_roles(self, link: BankLink, entry: Entry, deposit: ApplyDeposit) -> bool:
        """Book what the bank paid or took on an account for one role, or open its case; False: it is on no such one."""
        currency = entry.amount.currency
        async with acquire(self._pool) as connection:
            role = await role_of(connection, link.book, link.bank, currency, entry.account)
        if role is None:
            return False
        known = {
            "account": f"…{entry.account[-4:]}",
            "at_pool": False,
            "role": role,
            "end_to_end_id": entry.end_to_end_id,
            "return_reason": entry.return_reason,
        }
        deposit = replace(deposit, channel_account=None, known=known)
        await self._lanes.put(BookBanksOwn(deposit, role, entry.is_return))
        return True

    async def share_out(self, link: BankLink, parts: Parts) -> None:
        """Share out the deposits at a bank that are of several channel accounts and whose bill has come by now."""
        async with acquire(self._pool) as connection:
            waiting = await awaiting_bill(connection, link.book)

        async def share(case: cases.Case) -> None:
            facts = orjson.loads(case.facts)
            if facts["bank"] != link.bank:
                return
            day = date.fromisoformat(facts["settled_date"])
            found = await parts(link.book, facts["accounts"], day, facts["currency"])
            if found is not None:
                await self._lanes.put(ShareDeposit(link.book, case.about, found))

        await self._each(waiting, share)


def _carries_out(line: Instruction, link: BankLink, entry: Entry) -> bool:
    """Tell whether a booking is a payout of ours as it was ordered: out of the pool, or into its payee's account."""
    if line.status == states.Instruction.REFUSED or entry.amount.currency != line.currency or entry.return_reason:
        return False
    if _goes_elsewhere(line, link, entry):
        return False
    return (entry.account, entry.amount.minor) in (
        (link.pool_account, -line.amount_minor),
        (line.account, line.amount_minor),
    )


def _goes_elsewhere(line: Instruction, link: BankLink, entry: Entry) -> bool:
    """Tell whether a bank whose booking is its word says that a debit under a line's number went to another account."""
    if (
        entry.account != link.pool_account
        or entry.amount.minor >= 0
        or not paid_by_booking(orjson.loads(link.settings))
    ):
        return False
    return entry.names_another_than(line.account)


def _debit_of(line: Instruction, link: BankLink, entry: Entry, *, pays: bool) -> ApplyDebit:
    known = {"account": f"…{entry.account[-4:]}", "at_pool": True, "instruction": line.id, AGAIN: line.id}
    return ApplyDebit(line.id, replace(_as_deposit(link, entry, None), known=known), mark_of(entry), pays)


def _as_deposit(link: BankLink, entry: Entry, account: str | None) -> ApplyDeposit:
    return ApplyDeposit(
        link.book,
        link.bank,
        account,
        entry.amount.currency,
        entry.amount.minor,
        entry.raw_ref,
        entry.booked_on,
        entry.booking,
        entry.notice,
    )


async def _batch_of(pool: Pool, link: BankLink, entry: Entry) -> Settlement | None:
    """Return the batch that an entry books as one."""
    async with acquire(pool) as connection:
        for ref in entry.batch_refs:
            batch = await store.find_settlement(connection, link.book, ref.replace("-", "_"))
            if batch is not None and (batch.bank, batch.currency) == (link.bank, entry.amount.currency):
                return batch
    return None


async def _is_our_batch(pool: Pool, link: BankLink, entry: Entry) -> bool:
    """Tell whether an entry is the debit of one of our batches as a whole, of no more than was ordered.

    Not of one that never left, nor of one of which nothing was paid in the end.
    """
    batch = await _batch_of(pool, link, entry)
    if batch is None or not 0 < -entry.amount.minor <= batch.total_minor:
        return False
    if batch.status == states.Batch.FINISHED and not batch.paid_minor:
        return False
    async with acquire(pool) as connection:
        return await may_have_left(connection, batch)


async def _line_of(pool: Pool, link: BankLink, entry: Entry) -> Instruction | None:
    """Return the line that a booking names: by its end-to-end id; or where it is a return, in its text."""
    named = [entry.end_to_end_id or ""]
    named += INSTRUCTION_ID.findall(entry.remittance) if entry.is_return else []
    async with acquire(pool) as connection:
        found = [await store.find_instruction(connection, link.book, one) for one in named[:3]]
    return next((line for line in found if line is not None), None)
