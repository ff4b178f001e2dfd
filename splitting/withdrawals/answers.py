"""What a bank says of withdrawals: its signed reports, and the bookings that it tells of on payees' accounts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import orjson

from channels.banks import Entry, Fate, LineStatus, paid_by_booking
from kernel.db import Pool, acquire
from kernel.work import Command
from splitting import states
from splitting.settlement.debits import AGAIN, mark_of
from splitting.settlement.deposits import ApplyDeposit
from splitting.tables import BankLink, Withdrawal
from splitting.withdrawals import store
from splitting.withdrawals.commands import (
    ApplyWithdrawalReturn,
    DecideWithdrawal,
    DoubtWithdrawal,
    NoteWithdrawalDebit,
)
from splitting.withdrawals.rules import REFERENCE, id_of

_UNDECIDED = frozenset({states.Withdrawal.REQUESTED, states.Withdrawal.STOPPED, states.Withdrawal.SENT})


async def named(pool: Pool, link: BankLink, *texts: str) -> Withdrawal | None:
    """Return the withdrawal at a link's bank that one of these texts is the number of."""
    ids = [ident for text in texts if (ident := id_of(link.book, text)) is not None]
    if not ids:
        return None
    async with acquire(pool) as connection:
        found = [await store.find(connection, link.book, ident) for ident in ids[:3]]
    return next((one for one in found if one is not None and one.bank == link.bank), None)


def said(withdrawal: Withdrawal, status: LineStatus, bank_date: date) -> Command[Withdrawal] | None:
    """Return what follows from the bank's word of a day; None where it is not final."""
    if status.fate is Fate.PENDING:
        return None
    if status.fate is Fate.IN_DOUBT:
        reasons = [str(reason) for reason in status.reasons]
        duplicate = status.says_duplicate and not status.contradicted
        return DoubtWithdrawal(withdrawal.book, withdrawal.id, status.status, reasons, duplicate)
    paid = status.fate is Fate.EXECUTED
    return DecideWithdrawal(withdrawal.book, withdrawal.id, paid, status.reason, bank_date)


async def booked(
    pool: Pool, link: BankLink, entry: Entry, booking: ApplyDeposit
) -> Sequence[Command[Withdrawal]] | None:
    """Return what follows from a booking that is a withdrawal's; None where it is none's that is as it was ordered.

    booking: the same as a deposit of nobody's. A debit is noted, and says nothing else where the report decides; by a
    bank whose booking does (paid_by_booking) the withdrawal is paid. Where a return is told of first, it was paid.
    """
    texts = [entry.end_to_end_id or "", *(REFERENCE.findall(entry.remittance) if entry.is_return else [])]
    row = await named(pool, link, *texts)
    if row is None or entry.account != row.sub_account or entry.amount.currency != row.currency:
        return None
    if not entry.is_return:
        carried_out = entry.amount.minor == -row.amount_minor and row.status != states.Withdrawal.REFUSED
        is_its_word = paid_by_booking(orjson.loads(link.settings))
        if is_its_word and entry.names_another_than(row.account):
            return None
        if not carried_out:
            return None
        known = {**_known(row, entry), AGAIN: row.id}
        noted = NoteWithdrawalDebit(row.id, replace(booking, known=known), mark_of(entry))
        if is_its_word and row.status in _UNDECIDED:
            return [noted, DecideWithdrawal(row.book, row.id, True, None, entry.booked_on)]
        return [noted]
    if entry.amount.minor != row.amount_minor:
        return None
    told = replace(booking, known={**booking.known, **_known(row, entry)})
    back = ApplyWithdrawalReturn(row.id, told, entry.return_reason)
    if row.status in _UNDECIDED:
        return [DecideWithdrawal(row.book, row.id, True, None, entry.booked_on), back]
    return [back]


def _known(row: Withdrawal, entry: Entry) -> Mapping[str, Any]:
    """Return what the case of a withdrawal's booking says besides."""
    return {"account": f"…{entry.account[-4:]}", "at_pool": False, "withdrawal": row.id}
