"""`sluice payout bank` and `release`: what two people say about when and how much is paid out."""

from datetime import time
from typing import Any

from kernel.db import acquire
from kernel.errors import NotFound, Rejected
from kernel.money import Money, from_major
from ops.people import Acting
from people import Act, Use, What
from splitting import store
from splitting.settlement.calendar import BankHours
from splitting.tables import PayoutBank, Settlement


async def set_bank_as(
    acting: Acting,
    book: int,
    bank: str,
    *,
    cut_off: str | None,
    every_day: bool | None,
    release_above: str | None,
    only_deposited: bool | None,
    currency: str,
) -> PayoutBank:
    """Set a bank's hours, its limit and what its batches wait for as the person who acts, with another's approval.

    What is None stays as it is. Raises NotFound (no_such_bank), Rejected (cut_off_wrong, invalid_request), and
    what Acting.second raises.
    """
    payouts = acting.hub.payouts
    there = await payouts.bank(book, bank)
    at = there.cut_off if cut_off is None else time_of_day(cut_off)
    limit = there.release_above_minor
    if release_above is not None:
        limit = None if release_above == "none" else minor_of(release_above, currency)
        if limit is not None and limit < 0:  # before another person is asked
            raise Rejected("invalid_request", "a batch is released from nothing or more on", param="release_above")
    hours = BankHours(at, there.every_day if every_day is None else every_day)
    waits = there.only_deposited if only_deposited is None else only_deposited
    told = {
        "cut_off": f"{at:%H:%M}", "every_day": hours.every_day, "release_above_minor": limit, "only_deposited": waits,
    }  # fmt: skip
    use = await acting.second(What(Act.CHANNELS, "payout bank", bank, told, book))
    return await payouts.set_bank(book, bank, hours, release_above_minor=limit, only_deposited=waits, use=use)


def time_of_day(text: str) -> time:
    """Read a time such as 16:30. Raises Rejected (cut_off_wrong)."""
    try:
        at: time | None = time.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.second or at.microsecond or at.tzinfo is not None:
        raise Rejected("cut_off_wrong", f"{text[:20]!r} is no time of day: write it as 16:30, in Beijing's time")
    return at


def minor_of(text: str, currency: str) -> int:
    """Read an amount in major units, at least nothing. Raises Rejected (invalid_request)."""
    try:
        return from_major(text, currency).minor
    except ValueError as error:
        raise Rejected("invalid_request", str(error)) from None


async def release_as(acting: Acting, book: int, settlement_id: str) -> Settlement:
    """Release a batch as the person who acts, with another's approval, and send it; one that was released is as it is.

    Raises NotFound (no_such_settlement), and what Acting.second raises.
    """
    use = await _agreed(acting, book, settlement_id, "payout release")
    return await acting.hub.payouts.release(book, settlement_id, use=use)


async def cancel_as(acting: Acting, book: int, settlement_id: str) -> Settlement:
    """Cancel a batch that awaits its release, as the person who acts, with another's approval.

    Raises NotFound (no_such_settlement), and what Acting.second and Payouts.cancel raise.
    """
    use = await _agreed(acting, book, settlement_id, "payout cancel")
    return await acting.hub.payouts.cancel(book, settlement_id, use=use)


async def _agreed(acting: Acting, book: int, settlement_id: str, command: str) -> Use | None:
    """Return another's approval of what is to be done with a batch that awaits its release; None for any other."""
    async with acquire(acting.hub.pool) as connection:
        there = await store.find_settlement(connection, book, settlement_id)
    if there is None:
        raise NotFound("no_such_settlement", f"there is no settlement {settlement_id[:60]!r}")
    if there.status != "awaiting_release":
        return None
    told = {"total_minor": there.total_minor, "instructions": there.instruction_count}
    return await acting.second(What(Act.CLOSING, command, settlement_id, told, book))


def as_told(row: PayoutBank, currency: str) -> dict[str, Any]:
    """Return a bank's hours and limit as commands show them."""
    limit = row.release_above_minor
    return {
        "bank": row.bank,
        "cut_off": f"{row.cut_off:%H:%M}",
        "every_day": row.every_day,
        "release_above": None if limit is None else Money(limit, currency).major(),
        "only_deposited": row.only_deposited,
        "settled_until": None if row.settled_until is None else row.settled_until.isoformat(),
    }
