"""Following up open attempts: what the janitor and returning payers ask."""

from datetime import datetime

from channels import Method, Order, Outcome, Pending, Refused, Unknown
from gateway import states
from gateway.accounts.ready import Ready
from gateway.payments import unfinished
from gateway.payments.belief import Answers, believed
from gateway.payments.calls import Calls
from gateway.payments.capturing import Capturing
from gateway.payments.closing import Closing
from gateway.payments.record_outcome import NOT_RECEIVED, is_lost
from gateway.payments.recording import Recording
from gateway.payments.schedule import NOT_RECEIVED_AFTER, may_still_come, should_give_up
from gateway.payments.stored import Stored
from gateway.states import PAID_ATTEMPT
from gateway.tables import CASHIER, Attempt, Payment, Refund
from kernel.lane import Lanes

# Not the channel's word: it closes nothing, and money moves only by our second call, which is not made any more.
GIVEN_UP = Refused("given_up", "the payer pays otherwise; what was approved here is never carried out", closed=True)


class FollowingUp:
    """Asks channels about open attempts, and does what can be done about those that do not end."""

    def __init__(
        self,
        *,
        stored: Stored,
        lanes: Lanes,
        calls: Calls,
        closing: Closing,
        capturing: Capturing,
        recording: Recording,
    ) -> None:
        self._stored = stored
        self._lanes = lanes
        self._calls = calls
        self._closing = closing
        self._capturing = capturing
        self._recording = recording

    async def take(self, row: Attempt | Refund) -> datetime | None:
        """Claim an open row for asking, and return since when it is; None when another has it or it has ended."""
        key = (row.payment_id, row.number) if isinstance(row, Attempt) else (row.id,)
        return await self._recording.claim(row.book, key)

    async def follow_up(self, attempt: Attempt, claimed_at: datetime | None = None) -> Payment:
        """Ask the channel what became of an open attempt, and settle what it says; close what is not wanted any more.

        claimed_at: what `take` returned. By that moment it is decided whether an order has run out, for its commit was
        held against the database's clock. None: the channel is asked, and nothing more is done about the attempt.
        An order the channel does not know, or whose code never reached us, is sent again under the same number; so is
        a capture that has not happened. An attempt whose payment another has paid, or which the payer has left, is
        closed, or what it reserved released. Also asks about one that was paid though its channel had been told to undo
        it. Raises Broken (channel_contradicts_itself) where that has been undone since; then it is a case.
        """
        payment, ready, order, outcome = await self._asked(attempt)
        if isinstance(outcome, Pending | Unknown):
            payment, attempt = await self._stored.as_it_stands(attempt)  # the channel took its time to say so little
            if claimed_at is not None and attempt.status not in PAID_ATTEMPT:
                capturing = attempt.status == states.AttemptStatus.AUTHORIZED and attempt.capture_minor
                if isinstance(outcome, Pending) and capturing and not is_lost(payment, attempt):
                    return (await self._capturing.captured(payment, attempt, ready))[0].payment
                outcome = await self._pressed(payment, attempt, ready, order, outcome, claimed_at)
        return (await self._recording.put_outcome(payment, attempt, ready, outcome)).payment

    async def learn(self, attempt: Attempt) -> bool:
        """Ask the channel what became of an attempt, record what it says, and return whether it said anything.

        Of what is sent only the second call of a rail that waits for it moves money. Raises Unavailable, Broken.
        """
        payment, ready, _, outcome = await self._asked(attempt)
        await self._recording.put_outcome(payment, attempt, ready, outcome)
        return not isinstance(outcome, Unknown) or outcome.not_found or outcome.given_back

    async def _asked(self, attempt: Attempt) -> tuple[Payment, Ready, Order, Outcome]:
        payment = await self._stored.payment(attempt.book, attempt.payment_id)
        ready = await self._calls.ready(attempt)
        order = self._calls.order(payment, attempt)
        return payment, ready, order, await self._calls.call("query", ready, order)

    async def _pressed(
        self, payment: Payment, attempt: Attempt, ready: Ready, order: Order, outcome: Pending | Unknown, now: datetime
    ) -> Outcome:
        """Do what can be done about an attempt that its channel calls undecided, or does not know."""
        capabilities = ready.client.channel.capabilities
        not_found = isinstance(outcome, Unknown) and outcome.not_found
        if isinstance(outcome, Unknown) and not (not_found or outcome.given_back):
            return outcome  # the channel cannot be understood just now; nothing is done on that ground
        is_authorized = attempt.status == states.AttemptStatus.AUTHORIZED or (
            isinstance(outcome, Pending) and outcome.authorized is not None
        )
        lost = is_lost(payment, attempt)
        if is_authorized:
            give_up = lost and not not_found
            return (await self._closing.undo(payment, attempt, ready, is_authorized=True)).now if give_up else outcome
        code_run_out = not_found and order.method is Method.BARCODE
        if code_run_out and not lost and now - attempt.created_at < NOT_RECEIVED_AFTER:
            return outcome  # the till may still take it up again
        if isinstance(outcome, Pending) and outcome.proceed and lost and not capabilities.closes:
            return GIVEN_UP
        if lost or code_run_out or should_give_up(capabilities, payment, attempt, now):
            undone = await self._closing.undo(payment, attempt, ready)
            if not (undone.never_there and isinstance(undone.now, Unknown) and undone.now.not_found):
                return undone.now
            return Pending() if may_still_come(capabilities, payment, order.method, now) else NOT_RECEIVED
        if isinstance(outcome, Pending) and outcome.proceed:
            return outcome
        shown = attempt.next_action if payment.method == CASHIER else payment.next_action
        if (
            not_found
            and shown is not None
            and order.method in capabilities.payer_initiated | capabilities.known_after_payer
        ):
            return Pending()  # the channel hears of it when the payer comes
        # Sending an unpaid order again under its number gives the same order, and the code whose answer was lost.
        code_lost = shown is None and order.method not in (Method.BARCODE, Method.CARD)
        if not (not_found or code_lost):
            return outcome
        again = await self._calls.call("pay", ready, order)
        if not isinstance(again, Refused):
            return again
        # Only about the repetition, see gateway/payments/belief.py. Closed at its channel, the order is over anyway.
        closed = (await self._closing.undo(payment, attempt, ready)).now
        return believed(again, Answers.MESSAGE, alone=False) if isinstance(closed, Unknown) else closed

    async def note_unfinished(self, row: Attempt | Refund) -> None:
        """Have a person see an open row that cannot be asked about, once that has lasted too long."""
        key = (row.payment_id, row.number) if isinstance(row, Attempt) else (row.id,)
        await self._lanes.put(unfinished.SeeUnfinished(row.book, key))
