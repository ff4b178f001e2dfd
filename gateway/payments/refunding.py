"""Refunds: asked for, sent, asked about, begun again."""

from contextlib import suppress
from dataclasses import replace

from channels import Confirmed, Method, Outcome, RefundOrder, Refused, Unknown
from channels.contract import Capabilities
from gateway import states
from gateway.accounts.ready import Ready
from gateway.claims import Claims
from gateway.payments import unfinished
from gateway.payments.belief import Answers
from gateway.payments.calls import Calls
from gateway.payments.record_refund import CannotBeBorne, RecordRefundOutcome
from gateway.payments.recording import Recording
from gateway.payments.refunds import (
    NOT_CARRIED_OUT,
    CreateRefund,
    PutOffRetry,
    RetryRefund,
    RetryUnwanted,
    SendRefund,
    at_channel,
)
from gateway.payments.stored import Stored
from gateway.tables import Refund
from kernel.env import Env
from kernel.errors import Broken, Conflict, Rejected, Unavailable
from kernel.lane import Lanes
from streams import Bell


class Refunding:
    """Gives money back."""

    def __init__(
        self, *, stored: Stored, lanes: Lanes, calls: Calls, recording: Recording, env: Env, bell: Bell
    ) -> None:
        self._stored = stored
        self._lanes = lanes
        self._calls = calls
        self._recording = recording
        self._env = env
        self._bell = bell

    async def refund(
        self,
        book: int,
        payment_id: str,
        claims: Claims,
        *,
        amount_minor: int | None,
        reason: str,
        merchant_refund_id: str | None,
    ) -> tuple[Refund, bool]:
        """Give back a captured payment, all or in part; return the refund with whether an earlier request had made it.

        amount_minor: None for all that is left. Raises Rejected (refund_exceeds_captured, payment_not_captured,
        refund_too_late, partial_refund_not_offered, insufficient_balance), NotFound, Conflict, Unavailable.
        """
        refund_id = self._env.ids.new("re")
        can = await self._paid_by(book, payment_id)
        command = CreateRefund(book, refund_id, payment_id, amount_minor, reason, merchant_refund_id, claims, can)
        refund, replayed = await self._lanes.put(command)
        if replayed:
            return refund, True
        return await self._begun(refund), False

    async def retry_refund(self, book: int, refund_id: str, claims: Claims) -> tuple[Refund, bool]:
        """Start a failed refund again under a new number; return it with whether an earlier request had done so.

        The channel is asked about the number before first: what it has paid is not paid again. Raises Rejected
        (refund_exceeds_captured, insufficient_balance, refund_limit), NotFound, Conflict (refund_not_failed,
        refund_at_channel), Unavailable (refund_undecided).
        """
        if (refusal := await self._why_not_again(book, refund_id)) is not None:
            raise refusal
        most = await self._most_refunds(book, refund_id)
        refund, replayed = await self._lanes.put(RetryRefund(book, refund_id, claims, most))
        if replayed:
            return refund, True
        return await self._begun(refund), False

    async def retry_unwanted(self, refund: Refund) -> None:
        """Begin again a failed refund of money that was paid late or twice, if its time has come."""
        if (refusal := await self._why_not_again(refund.book, refund.id)) is not None:
            await self._lanes.put(PutOffRetry(refund.book, refund.id, refusal.message, self._recording.time_scale))
            return
        most = await self._most_refunds(refund.book, refund.id)
        try:
            again = await self._lanes.put(RetryUnwanted(refund.book, refund.id, most))
        except (Rejected, Conflict) as found:
            await self._lanes.put(PutOffRetry(refund.book, refund.id, str(found), self._recording.time_scale))
            return
        if again is not None:
            await self._begun(again)

    async def look_at_refund(self, book: int, refund_id: str) -> None:
        """Ask the channel about an open refund that a person is about to end, and settle what it says; send nothing."""
        refund = await self._stored.refund(book, refund_id)
        if refund is not None and refund.status == states.RefundStatus.PROCESSING:
            outcome = await self._said_of(refund)
            if outcome is not None:
                await self.record_refund(refund, outcome, refund.retry_count)

    async def _begun(self, refund: Refund) -> Refund:
        """Send a refund that was just recorded; one that waits for its shares is the janitor's to send."""
        return await self.send_refund(refund) if refund.sent_count else refund

    async def send_refund(self, refund: Refund) -> Refund:
        """Send a refund to its channel, the message being counted, and settle the answer."""
        order, ready, method = await self.order_of(refund)
        outcome = await self._calls.heard("refund", ready, method, order.amount, ready.client.refund(order))
        return await self.record_refund(refund, outcome, refund.retry_count, Answers.MESSAGE)

    async def send_refund_once_more(self, refund: Refund) -> Refund:
        """Count a message of a refund that somebody else recorded, and send it, under its number."""
        counted: Refund | None = await self._lanes.put(self._counting(refund))
        return refund if counted is None else await self.send_refund(counted)

    def _counting(self, refund: Refund) -> SendRefund:
        return SendRefund(refund.book, refund.id, refund.retry_count, self._recording.time_scale)

    async def follow_up_refund(self, refund: Refund) -> Refund:
        """Ask the channel what became of an open refund; send it again, same number, where it has not arrived."""
        order, ready, method = await self.order_of(refund)
        if ready.client.channel.capabilities.query_by_resend and order.channel_ref is None:
            counted = await self._lanes.put(self._counting(refund))
            if counted is None:
                return await self.record_refund(refund, Unknown("only sending it would tell"), refund.retry_count)
        outcome = await self._calls.heard("refund_query", ready, method, order.amount, ready.client.refund_query(order))
        if isinstance(outcome, Unknown) and outcome.not_found and refund.status == states.RefundStatus.PROCESSING:
            return await self.send_refund_once_more(refund)
        return await self.record_refund(refund, outcome, refund.retry_count)

    async def record_refund(
        self,
        refund: Refund,
        outcome: Outcome,
        tried: int,
        answers: Answers = Answers.QUESTION,
        *,
        comes_back: bool = False,
    ) -> Refund:
        """Record what a channel said about a refund's number `tried`. comes_back: see RecordRefundOutcome."""
        command = RecordRefundOutcome(
            refund.book, refund.id, outcome, self._recording.time_scale, tried, comes_back=comes_back, answers=answers
        )
        try:
            try:
                recorded: Refund = await self._lanes.put(command)
            except CannotBeBorne:
                recorded = await self._lanes.put(replace(command, in_suspense=True))
        except Broken as broken:
            await self._recording.told_of(broken, refund.book, refund.id, refund.amount_minor, refund.currency)
            raise
        self._bell.ring()
        return recorded

    async def _paid_by(self, book: int, payment_id: str) -> Capabilities | None:
        """Return what the rail can do that a payment was paid by; None before it is paid, or while it does not open."""
        payment = await self._stored.payment(book, payment_id)
        if not payment.captured_minor:
            return None
        attempt = await self._stored.attempt(book, payment_id, payment.won_attempt)
        assert attempt is not None, "a payment names an attempt it has"
        with suppress(Unavailable):  # the refund is recorded all the same, and sent once the account opens
            return (await self._calls.ready(attempt)).client.channel.capabilities
        return None

    async def _most_refunds(self, book: int, refund_id: str) -> int | None:
        """Return how many refunds a refund's payment may have at its rail; None where that is not limited or known."""
        refund = await self._stored.refund(book, refund_id)
        can = None if refund is None else await self._paid_by(book, refund.payment_id)
        return None if can is None else can.most_refunds

    async def _why_not_again(self, book: int, refund_id: str) -> Conflict | Unavailable | None:
        """Ask the channel about a failed refund, settle what it says, and return what forbids another number of it.

        What a person has ended is not sent again where the channel says that it has paid it, or has its money still;
        short of that the person's word stands, for a channel may never say more. None also where the command will say.
        """
        refund = await self._stored.refund(book, refund_id)
        if refund is None or refund.status != states.RefundStatus.FAILED:
            return None
        outcome = await self._said_of(refund)
        if isinstance(outcome, Confirmed):
            await self.record_refund(refund, outcome, refund.retry_count)
        if outcome is None or isinstance(outcome, Confirmed | Refused):
            return None
        if unfinished.asks_for_a_person(outcome):
            return at_channel(refund.id)
        if (isinstance(outcome, Unknown) and outcome.not_found) or refund.failure_code == NOT_CARRIED_OUT:
            return None
        return Unavailable(
            "refund_undecided",
            f"the channel does not say what became of the last try of {refund_id}; nothing was sent; try again later",
            retry_after_s=60,
        )

    async def _said_of(self, refund: Refund) -> Outcome | None:
        """Return what the channel answers when asked about a refund; None where only sending it again would tell."""
        order, ready, method = await self.order_of(refund)
        if ready.client.channel.capabilities.query_by_resend and order.channel_ref is None:
            return None
        return await self._calls.heard("refund_query", ready, method, order.amount, ready.client.refund_query(order))

    async def order_of(self, refund: Refund) -> tuple[RefundOrder, Ready, Method]:
        """Return a refund as its channel is asked for it, with its account and how it was paid."""
        payment = await self._stored.payment(refund.book, refund.payment_id)
        attempt = await self._stored.attempt(refund.book, refund.payment_id, refund.attempt_number)
        assert attempt is not None, "a refund is recorded with its attempt"
        return (
            self._calls.orders.refund(refund, payment, attempt),
            await self._calls.ready(attempt),
            Method(attempt.method),
        )
