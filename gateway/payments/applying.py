"""Applying what a channel tells by itself: to the payment or refund that its number names."""

from channels import Confirmed, Kind, Notice, Outcome, Refused, Unknown
from channels.powers import WeighsNotices
from gateway.accounts.ready import Ready
from gateway.payments.calls import Calls
from gateway.payments.disputing import Disputing
from gateway.payments.elsewhere import OfAnotherAccount, OfAnotherSystem
from gateway.payments.recording import Recording
from gateway.payments.refunding import Refunding
from gateway.states import PAID_ATTEMPT
from gateway.store import find_attempt, find_payment, find_refund
from gateway.tables import Attempt, Payment, attempt_number, refund_number
from kernel.db import Pool, acquire
from kernel.errors import NotFound, Unavailable
from kernel.ids import parse_reference


class Applying:
    """Applies notices."""

    def __init__(
        self, *, pool: Pool, calls: Calls, recording: Recording, refunding: Refunding, disputing: Disputing
    ) -> None:
        self._pool = pool
        self._calls = calls
        self._recording = recording
        self._refunding = refunding
        self._disputing = disputing

    async def apply_notice(self, book: int, account_id: str, notice: Notice) -> None:
        """Apply a notice which the channel account's keys have verified; returns only after the commit.

        Raises OfAnotherSystem for a number of nobody's here, OfAnotherAccount where another account has it, NotFound
        for one that we never gave to what it names, Broken (amount_differs, charged_twice, channel_contradicts_itself)
        for one that cannot be, Unavailable (notice_unclear) where the rail had to be asked about it and did not answer.
        A notice about a dispute is that it should be asked about: see Disputing.look_at.
        """
        if notice.kind is Kind.CHARGEBACK:
            try:
                await self._disputing.look_at(book, account_id, notice.reference)
            except OfAnotherAccount:
                raise
            except NotFound as error:
                raise OfAnotherSystem(error.code, error.message) from None
            return
        try:
            await self._apply_notice(book, account_id, notice)
        except NotFound as error:
            if await self.knows(notice.reference):
                raise
            raise OfAnotherSystem(error.code, error.message) from None

    async def knows(self, reference: str) -> bool:
        """Tell whether a number names a payment or a refund of this hub's, whosesoever and however it is said.

        Each is committed before its number leaves the hub: what is not known now will not be later.
        """
        async with acquire(self._pool) as connection:
            if paid := parse_reference(reference, "pay"):
                book, ident = paid
                if await find_payment(connection, book, attempt_number(ident)[0]) is not None:
                    return True
            if refunded := parse_reference(reference, "re"):
                book, ident = refunded
                return await find_refund(connection, book, refund_number(ident)[0]) is not None
        return False

    async def _apply_notice(self, book: int, account_id: str, notice: Notice) -> None:
        of_payment = notice.kind is Kind.PAYMENT
        parsed = parse_reference(notice.reference, "pay" if of_payment else "re")
        strange = NotFound("no_such_reference", f"{notice.reference[:64]!r} is not a number of this channel account")
        if parsed is not None and parsed[0] != book:
            raise OfAnotherAccount("no_such_reference", strange.message)
        if parsed is None:
            raise strange
        ident, refund, tried = parsed[1], None, 0
        if of_payment:
            payment_id, number = attempt_number(ident)
            known = ident.count("_") == 2  # a payment's number names its attempt by a digit more
        else:
            refund_id, tried = refund_number(ident)
            known = tried >= 0
        if not known:
            raise strange
        async with acquire(self._pool) as connection:
            if not of_payment:
                refund = await find_refund(connection, book, refund_id)
                if refund is None or tried > refund.retry_count:
                    raise NotFound("no_such_refund", f"there is no refund {notice.reference}")
                payment_id, number = refund.payment_id, refund.attempt_number
            payment = await find_payment(connection, book, payment_id)
            attempt = await find_attempt(connection, book, payment_id, number)
        if payment is None or attempt is None:
            raise NotFound("no_such_payment", f"there is no payment {notice.reference}")
        if attempt.channel_account != account_id:
            raise OfAnotherAccount("no_such_reference", strange.message)
        if refund is not None:
            comes_back = False
            if isinstance(notice.outcome, Refused):
                comes_back = (await self._calls.ready(attempt)).client.channel.capabilities.refunds_come_back
            await self._refunding.record_refund(refund, notice.outcome, tried, comes_back=comes_back)
        else:
            ready = await self._calls.ready(attempt)
            outcome = await self._weighed(payment, attempt, ready, notice.outcome)
            await self._recording.put_outcome(payment, attempt, ready, outcome)

    async def _weighed(self, payment: Payment, attempt: Attempt, ready: Ready, told: Outcome) -> Outcome:
        """Return what a notice's word is worth: of some rails only what the order's own number answers.

        That a paid order was paid once more is compared as it is. Raises Unavailable where the rail does not answer:
        it sends the notice again, and whatever it was about is not lost.
        """
        rail = ready.client.channel
        if not isinstance(rail, WeighsNotices) or (isinstance(told, Confirmed) and attempt.status in PAID_ATTEMPT):
            return told
        order = self._calls.order(payment, attempt)
        weighed = rail.weighed(order, told)
        if not isinstance(weighed, Unknown):
            return weighed
        now = await self._calls.call("query", ready, order)
        if isinstance(now, Unknown) and not now.not_found:
            raise Unavailable(
                "notice_unclear",
                f"a notice about {attempt.reference} decides nothing by itself, and asking failed: {now.reason}",
            )
        return now
