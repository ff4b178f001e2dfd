"""Payments that a bank's own files tell of: a payer's transfer to one payment's own account number 虚拟子账户."""

import logging

from channels.banks import Entry
from channels.contract import Confirmed, Kind, Method, Notice
from gateway.payments.payments import Payments
from gateway.store import find_attempt, find_refund
from gateway.tables import Attempt, attempt_number, refund_number
from kernel.db import Connection, Pool, acquire
from kernel.errors import Broken, NotFound
from kernel.ids import parse_reference
from kernel.money import Money

log = logging.getLogger(__name__)


async def transfer_attempt(connection: Connection, book: int, reference: str) -> Attempt | None:
    """Return the attempt a booking names, if it is one that is paid by transfer.

    Banks let payers write a creditor's reference: one that names a payment of another rail settles nothing there.
    """
    parsed = parse_reference(reference, "pay")
    if parsed is None or parsed[0] != book:
        return None
    attempt = await find_attempt(connection, book, *attempt_number(parsed[1]))
    return attempt if attempt is not None and attempt.method == Method.TRANSFER else None


class BankCredits:
    """Matches bookings in a bank's notifications (camt.054) with the payments and refunds they belong to."""

    def __init__(self, payments: Payments, pool: Pool) -> None:
        self._payments = payments
        self._pool = pool

    async def collected(self, book: int, entry: Entry) -> str | None:
        """RecordOutcome the payment or the refund a booking is about; return its channel account.

        None: it names no payment of ours that is paid by transfer.

        Money in names its payment by the creditor reference, money sent back its refund by the end-to-end id. The
        bank's push and its files tell of the same booking; settling twice changes nothing. A booking that cannot be
        settled (another amount than asked) stays on the channel account, where the daily proof finds it.
        """
        assert entry.creditor_ref is not None, "only bookings on a payment's own number come here"
        async with acquire(self._pool) as connection:
            attempt = await transfer_attempt(connection, book, entry.creditor_ref)
        if attempt is None:
            return None
        account = attempt.channel_account
        if entry.accepted_at is None:  # the bank says only the day; the rail, asked, says when
            log.warning("a transfer does not say when it was made", extra={"book": book, "ref": entry.creditor_ref})
            return account
        amount = Money(abs(entry.amount.minor), entry.amount.currency)
        outcome = Confirmed(entry.booking_ref, amount, entry.accepted_at)
        kind, reference = Kind.PAYMENT, entry.creditor_ref
        if entry.amount.minor < 0:
            kind, reference = Kind.REFUND, entry.end_to_end_id or ""
            if not await self._is_refund(book, reference):
                log.warning("a bank sent money back under a strange number", extra={"book": book, "ref": reference})
                return account
        try:
            await self._payments.apply_notice(book, account, Notice(kind, reference, outcome, entry.booking_ref))
        except (NotFound, Broken) as error:
            log.error("a transfer cannot be settled", extra={"book": book, "ref": reference, "why": str(error)})
        return account

    async def _is_refund(self, book: int, reference: str) -> bool:
        parsed = parse_reference(reference, "re")
        if parsed is None or parsed[0] != book:
            return False
        async with acquire(self._pool) as connection:
            return await find_refund(connection, book, refund_number(parsed[1])[0]) is not None
