"""Reserved money 预授权: captured, or released."""

from channels import Confirmed, Outcome, Pending, Refused
from gateway import states
from gateway.accounts.ready import Ready
from gateway.claims import Claims
from gateway.payments.calls import Calls
from gateway.payments.captures import CaptureRefused, StartCapture, not_authorized
from gateway.payments.closing import Closing, closed
from gateway.payments.record_outcome import Recorded
from gateway.payments.recording import Recording
from gateway.payments.schedule import FIRST_ANSWER, query_wait
from gateway.payments.stored import Stored
from gateway.tables import Attempt, Payment
from kernel.env import Env
from kernel.errors import Conflict, Rejected
from kernel.lane import Lanes
from kernel.money import Money


class Capturing:
    """Captures and voids."""

    def __init__(
        self, *, stored: Stored, lanes: Lanes, calls: Calls, closing: Closing, recording: Recording, env: Env
    ) -> None:
        self._stored = stored
        self._lanes = lanes
        self._calls = calls
        self._closing = closing
        self._recording = recording
        self._env = env

    async def capture(
        self, book: int, payment_id: str, claims: Claims, *, amount_minor: int | None
    ) -> tuple[Payment, bool]:
        """Capture a payment's reserved money, all or a part, once; return it with whether that was asked for before.

        amount_minor: None for all of it; the channel releases what is not captured. Where the channel refuses and
        still has the money reserved, the payment is as before and the refusal raised. Raises NotFound, Conflict
        (payment_not_authorized, capture_under_way), Rejected (capture_exceeds_hold, partial_capture_unsupported,
        split_exceeds_payment, capture_refused).
        """
        payment = await self._stored.payment(book, payment_id)
        number = payment.won_attempt or payment.attempt_count
        attempt = await self._stored.attempt(book, payment_id, number)
        if attempt is None:
            raise not_authorized(payment)
        ready = await self._calls.ready(attempt)
        amount = payment.amount_minor if amount_minor is None else amount_minor
        fee = self._calls.fee(ready, amount, payment.currency)
        in_part = ready.client.channel.capabilities.partial_capture
        recorded, replayed = await self._lanes.put(StartCapture(book, payment_id, amount, fee, claims, in_part))
        if replayed:
            return recorded.payment, True
        recorded, refused = await self.captured(recorded.payment, recorded.attempt, ready)
        if refused is not None:
            raise Rejected(
                "capture_refused", f"the channel refused to capture {payment_id}: {refused.code} {refused.message}",
                channel_code=refused.code, status_now=recorded.payment.status,
            )  # fmt: skip
        return recorded.payment, False

    async def captured(self, payment: Payment, attempt: Attempt, ready: Ready) -> tuple[Recorded, Refused | None]:
        """Have a recorded capture carried out and settle what the channel says; with its refusal, where it refused."""
        order, amount = self._calls.order(payment, attempt), Money(attempt.capture_minor, payment.currency)
        outcome = await self._calls.heard("capture", ready, order.method, amount, ready.client.capture(order, amount))
        if not isinstance(outcome, Refused):
            return await self._recording.put_outcome(payment, attempt, ready, outcome), None
        found = await self._calls.call("query", ready, order)  # is the money still reserved, or what became of it?
        if attempt.query_count or not (isinstance(found, Pending) and found.authorized is not None):
            return await self._recording.put_outcome(payment, attempt, ready, found), None
        row = attempt._replace(capture_minor=0)
        wait = query_wait(ready.client.channel.capabilities, row, self._recording.time_scale)
        fee = self._calls.fee(ready, payment.amount_minor, payment.currency)
        command = CaptureRefused(payment.book, payment.id, attempt.number, outcome.code, outcome.message, fee, wait)
        payment = await self._lanes.put(command)
        if payment.status == states.PaymentStatus.PROCESSING:
            return Recorded(payment, attempt), None  # sent again meanwhile, by another: this no ends nothing
        return Recorded(payment, row), outcome

    async def void(self, book: int, payment_id: str) -> Payment:
        """Have a payment's reserved money released; it is canceled then. May be repeated.

        Also where its capture is undecided, once the channel says that it is still reserved.

        Raises NotFound, Conflict (payment_not_authorized, capture_under_way, payment_ended, not_closed_yet).
        """
        payment = await self._stored.payment(book, payment_id)
        if payment.status == states.PaymentStatus.CANCELED:
            return payment
        under_way = payment.status == states.PaymentStatus.PROCESSING and payment.won_attempt
        if payment.status != states.PaymentStatus.REQUIRES_CAPTURE and not under_way:
            raise not_authorized(payment)
        attempt = await self._stored.attempt(book, payment_id, payment.won_attempt)
        assert attempt is not None, "a payment names an attempt it has"
        ready = await self._calls.ready(attempt)
        if under_way:
            outcome = await self._instead_of_capture(payment, attempt, ready)
        else:
            outcome = (await self._closing.undo(payment, attempt, ready, is_authorized=True)).now
        return closed((await self._recording.put_outcome(payment, attempt, ready, outcome)).payment, "voided")

    async def _instead_of_capture(self, payment: Payment, attempt: Attempt, ready: Ready) -> Outcome:
        """Release reserved money whose capture is undecided, where the channel says that it is still reserved.

        Whichever of the two the channel carries out first, the other it cannot. Raises Conflict (capture_under_way)
        while the capture's first answer is awaited, or the channel does not say that the money is still reserved.
        """
        if attempt.query_count or self._env.now() - attempt.updated_at >= FIRST_ANSWER:
            key = (attempt.payment_id, attempt.number)
            if await self._recording.claim(attempt.book, key, anyway=True):
                found = await self._calls.call("query", ready, self._calls.order(payment, attempt))
                if isinstance(found, Pending) and found.authorized is not None:
                    return (await self._closing.undo(payment, attempt, ready, is_authorized=True)).now
                if isinstance(found, Confirmed | Refused):
                    return found
        raise Conflict("capture_under_way", f"{payment.id} is being captured", status_now=payment.status)
