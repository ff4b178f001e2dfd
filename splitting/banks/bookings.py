"""What becomes of each booking that a bank tells of: a deposit, a payout, a return, a withdrawal's; or a case."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

import orjson

from channels.banks import Entry
from kernel.db import Pool, acquire
from kernel.lane import Lanes
from splitting import states, store
from splitting.settlement.deposits import ApplyDeposit, Shared, day_named
from splitting.settlement.instructions import INSTRUCTION_ID, DecideInstruction
from splitting.settlement.returns import ApplyReturn
from splitting.settlement.shared import Parts, ShareDeposit, awaiting_bill
from splitting.tables import BankLink, Instruction
from splitting.withdrawals import answers as withdrawals

log = logging.getLogger(__name__)

# Told of a transfer to, or back from, one payment's own account number; returns its channel account, or None.
Collected = Callable[[int, Entry], Awaitable[str | None]]


class Bookings:
    """Applies bookings; the same one again changes nothing."""

    def __init__(self, pool: Pool, lanes: Lanes) -> None:
        self._pool = pool
        self._lanes = lanes

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
        deposit = ApplyDeposit(
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
        if at_pool and (account is not None or shared is not None):
            await self._lanes.put(replace(deposit, shared=shared))
            return
        if at_pool and entry.batch_refs and await _is_our_batch(self._pool, link, entry):
            return  # its lines' reports decide them, and the daily proof holds the sum against them
        line = await _line_of(self._pool, link, entry)
        if line is not None and _carries_out(line, link, entry):
            return  # its status report decides it
        known = {
            "account": f"…{entry.account[-4:]}",
            "at_pool": at_pool,
            "end_to_end_id": entry.end_to_end_id,
            "creditor_ref": entry.creditor_ref,
            "instruction": None if line is None else line.id,
            "return_reason": entry.return_reason,
        }
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
                await self._lanes.put(ApplyReturn(line.id, deposit, entry.return_reason))
                return
            if (entry.account, entry.amount.minor) == (line.account, -line.amount_minor):
                return  # the same, on the payee's account; what the pool account has of it decides
        facts = {"bank": link.bank, "book": link.book, "entry": entry.entry_ref}
        log.warning("a booking at the bank is nobody's that the hub knows", extra=facts)
        await self._lanes.put(deposit)

    async def share_out(self, link: BankLink, parts: Parts) -> None:
        """Share out the deposits at a bank that are of several channel accounts and whose bill has come by now."""
        async with acquire(self._pool) as connection:
            waiting = await awaiting_bill(connection, link.book)
        for case in waiting:
            facts = orjson.loads(case.facts)
            if facts["bank"] != link.bank:
                continue
            day = date.fromisoformat(facts["settled_date"])
            found = await parts(link.book, facts["accounts"], day, facts["currency"])
            if found is not None:
                await self._lanes.put(ShareDeposit(link.book, case.about, found))


def _carries_out(line: Instruction, link: BankLink, entry: Entry) -> bool:
    """Tell whether a booking is a payout of ours as it was ordered: out of the pool, or into its payee's account."""
    if line.status == states.Instruction.REFUSED or entry.amount.currency != line.currency or entry.return_reason:
        return False
    return (entry.account, entry.amount.minor) in (
        (link.pool_account, -line.amount_minor),
        (line.account, line.amount_minor),
    )


async def _is_our_batch(pool: Pool, link: BankLink, entry: Entry) -> bool:
    """Tell whether an entry is the debit of one of our batches as a whole, of no more than was ordered."""
    async with acquire(pool) as connection:
        for ref in entry.batch_refs:
            batch = await store.find_settlement(connection, link.book, ref.replace("-", "_"))
            if batch is not None and batch.bank == link.bank and batch.currency == entry.amount.currency:
                return 0 < -entry.amount.minor <= batch.total_minor
    return False


async def _line_of(pool: Pool, link: BankLink, entry: Entry) -> Instruction | None:
    """Return the line that a booking names: by its end-to-end id; or where it is a return, in its text."""
    named = [entry.end_to_end_id or ""]
    named += INSTRUCTION_ID.findall(entry.remittance) if entry.is_return else []
    async with acquire(pool) as connection:
        found = [await store.find_instruction(connection, link.book, one) for one in named[:3]]
    return next((line for line in found if line is not None), None)
