"""Ending payments that are not paid: closed at their channel, reversed, released, or run out."""

from math import ceil
from typing import NamedTuple

from channels import Method, Outcome, Refused, Unknown
from gateway import states
from gateway.accounts.ready import Ready
from gateway.payments.attempts import EndUnpaid
from gateway.payments.calls import Calls
from gateway.payments.captures import StartUndo
from gateway.payments.recording import Recording
from gateway.payments.stored import Stored
from gateway.states import OPEN_ATTEMPT, OPEN_PAYMENT
from gateway.tables import CASHIER, Attempt, Payment
from kernel.clock import rfc3339
from kernel.env import Env
from kernel.errors import Conflict
from kernel.lane import Lanes
from streams import Bell


class Undone(NamedTuple):
    """What came of having an order closed, reversed or released."""

    now: Outcome  # Refused(closed) where it is; else what a query said
    never_there: bool = False  # the channel answered that it knows no such order to close


class Closing:
    """Closes payments, and undoes attempts for whoever needs that."""

    def __init__(
        self, *, stored: Stored, lanes: Lanes, calls: Calls, recording: Recording, bell: Bell, env: Env
    ) -> None:
        self._stored = stored
        self._lanes = lanes
        self._calls = calls
        self._recording = recording
        self._bell = bell
        self._env = env

    async def close(self, book: int, payment_id: str) -> Payment:
        """Close an unpaid payment at its channel.

        Whatever the channel says is recorded: a payment that turns out to have been paid succeeds. Raises NotFound,
        Conflict (payment_ended, payment_authorized, request_in_progress, not_closed_yet).
        """
        payment = await self._stored.payment(book, payment_id)
        if payment.status == states.PaymentStatus.CANCELED:
            return payment
        if payment.won_attempt and payment.status in OPEN_PAYMENT:
            raise Conflict(
                "payment_authorized",
                f"the money of {payment_id} is reserved; void or capture it",
                status_now=payment.status,
            )
        if payment.status not in OPEN_PAYMENT:
            raise Conflict(
                "payment_ended", f"{payment_id} is {payment.status} and cannot be closed", status_now=payment.status
            )
        tries = [one for one in await self._stored.attempts(book, payment_id) if one.status in OPEN_ATTEMPT]
        for attempt in tries:
            self._calls.still_running(book, payment_id, attempt)
        why_not = ""
        for attempt in reversed(tries):
            ready = await self._calls.ready(attempt)
            undone = await self.undo(payment, attempt, ready)
            why_not = why_not or _why_not(attempt, ready, undone)
            payment = (await self._recording.put_outcome(payment, attempt, ready, undone.now)).payment
        if payment.method == CASHIER:
            payment = await self._lanes.put(EndUnpaid(book, payment_id, states.PaymentEvent.CLOSED))
            self._bell.ring()
        if why_not and payment.status in OPEN_PAYMENT:
            raise self._ends_by_itself(payment, why_not)
        return closed(payment, "closed")

    def _ends_by_itself(self, payment: Payment, why_not: str) -> Conflict:
        """Return the refusal to close an order that its rail cannot close now: there is no use in asking at once."""
        left = (payment.expires_at - self._env.now()).total_seconds()
        return Conflict(
            "not_closed_yet",
            f"{why_not}: {payment.id} can be paid until it expires",
            retry_after_s=max(1, ceil(left)),
            status_now=payment.status,
            expires_at=rfc3339(payment.expires_at),
        )

    async def end_if_run_out(self, payment: Payment) -> Payment:
        """Have a cashier's payment expire when its time is over and no channel may still be taking its money."""
        ended: Payment = await self._lanes.put(EndUnpaid(payment.book, payment.id, states.PaymentEvent.TIMED_OUT))
        self._bell.ring()
        return ended

    async def undo(self, payment: Payment, attempt: Attempt, ready: Ready, *, is_authorized: bool = False) -> Undone:
        """Close an order, reverse a barcode's, release what is reserved; if the channel will not, ask what happened.

        The message may be carried out whenever it arrives, also after the order was paid and its answer lost, so that
        it was sent is committed before. What has ended meanwhile is only asked about.
        """
        op = "void" if is_authorized else "reverse" if attempt.method == Method.BARCODE else "close"
        capabilities = ready.client.channel.capabilities
        if op != "close" or (capabilities.closes and not capabilities.expires_only):  # else that asks and tells nothing
            start = StartUndo(attempt.book, attempt.payment_id, attempt.number, releases=is_authorized)
            attempt = await self._lanes.put(start)
        order = self._calls.order(payment, attempt)
        if attempt.status not in OPEN_ATTEMPT:
            return Undone(await self._calls.call("query", ready, order))
        outcome = await self._calls.call(op, ready, order)
        if isinstance(outcome, Refused) and outcome.closed:
            return Undone(outcome)
        never_there = isinstance(outcome, Unknown) and outcome.not_found
        return Undone(await self._calls.call("query", ready, order), never_there)


def _why_not(attempt: Attempt, ready: Ready, undone: Undone) -> str:
    """Return why a rail cannot close an order now; empty where it can."""
    can, method = ready.client.channel.capabilities, Method(attempt.method)
    if can.expires_only and method != Method.BARCODE:
        return f"{attempt.channel} closes no {method} order, it lets it expire"
    if undone.never_there and method in can.payer_initiated | can.known_after_payer:
        return f"{attempt.channel} knows no {method} order before its payer has come, so there is none to close yet"
    return ""


def closed(payment: Payment, what: str) -> Payment:
    """Return a payment that is over unpaid. Raises Conflict for one that turned out to be paid, or is still open."""
    if payment.status == states.PaymentStatus.SUCCEEDED:
        raise Conflict("payment_ended", f"{payment.id} was paid before it could be {what}", status_now=payment.status)
    if payment.status in OPEN_PAYMENT:
        raise Conflict(
            "not_closed_yet",
            f"the channel has not {what} {payment.id} yet; try again in a moment",
            status_now=payment.status,
        )
    return payment
