"""Recording what a channel said: every answer, notice and query of a payment ends in `RecordOutcome` by way of here."""

from datetime import datetime
from typing import Any

import cases
from channels import Outcome, Pending, Unknown
from gateway import states
from gateway.accounts.ready import Ready
from gateway.payments import unfinished
from gateway.payments.belief import Answers
from gateway.payments.calls import Calls
from gateway.payments.due import ClaimDue
from gateway.payments.record_outcome import EndedMeanwhile, Recorded, RecordOutcome, ReversedMeanwhile, is_lost
from gateway.payments.schedule import query_wait
from gateway.payments.stored import Stored
from gateway.tables import Attempt, Payment, overpaid_refund_id
from kernel.errors import Broken, Unavailable
from kernel.lane import Lanes
from streams import Bell


class Recording:
    """Records outcomes of attempts, and makes the second call of a rail that waits for it."""

    def __init__(self, *, stored: Stored, lanes: Lanes, calls: Calls, bell: Bell, time_scale: float) -> None:
        """time_scale: shortens waits, see schedule.query_wait."""
        self._stored = stored
        self._lanes = lanes
        self._calls = calls
        self._bell = bell
        self.time_scale = time_scale

    async def claim(self, book: int, key: tuple[Any, ...], *, anyway: bool = False) -> datetime | None:
        """Claim an open row for asking, and return since when it is; see ClaimDue."""
        claimed_at: datetime | None = await self._lanes.put(ClaimDue(book, key, self.time_scale, anyway=anyway))
        return claimed_at

    async def put_outcome(
        self,
        payment: Payment,
        attempt: Attempt,
        ready: Ready,
        outcome: Outcome,
        latency_ms: int | None = None,
        *,
        answers: Answers = Answers.QUESTION,
    ) -> Recorded:
        """Record what a channel said; where it waits for our second call, make that, and record what came of it."""
        recorded = await self.record(payment, attempt, ready, outcome, latency_ms, answers=answers)
        if isinstance(outcome, Pending) and outcome.proceed:
            recorded = await self._proceed(recorded, ready)
        self._bell.ring()
        return recorded

    async def record(
        self,
        payment: Payment,
        attempt: Attempt,
        ready: Ready,
        outcome: Outcome,
        latency_ms: int | None = None,
        *,
        answers: Answers,
    ) -> Recorded:
        """Record what a channel said; a code said to be paid that we reversed is asked about first."""
        held = isinstance(outcome, Pending) and outcome.authorized is not None
        row = attempt._replace(status=states.AttemptStatus.AUTHORIZED.value) if held else attempt
        wait = query_wait(ready.client.channel.capabilities, row, self.time_scale)
        refund_id = overpaid_refund_id(payment.id, attempt.number)
        command = RecordOutcome(
            payment.book, payment.id, attempt.number, outcome, wait, refund_id, latency_ms, answers=answers,
            share_basis_points=ready.terms.share_basis_points,
        )  # fmt: skip
        try:
            return await self._put(command._replace(fee_minor=self._calls.fee_after_coupon(ready, outcome)))
        except ReversedMeanwhile:
            now = await self._calls.call("query", ready, self._calls.order(payment, attempt))
            if isinstance(now, Pending) or (isinstance(now, Unknown) and not now.given_back):
                raise Unavailable(
                    "reversal_unclear",
                    f"{attempt.reference} was reversed; did its money go back?",
                ) from None
            fee = self._calls.fee_after_coupon(ready, now)
            return await self._put(
                command._replace(outcome=now, after_reversal=True, fee_minor=fee, answers=Answers.QUESTION)
            )

    async def _put(self, command: RecordOutcome) -> Recorded:
        try:
            try:
                recorded: Recorded = await self._lanes.put(command)
            except EndedMeanwhile:
                recorded = await self._lanes.put(command)  # what it lacked is loaded now that the end is committed
        except Broken as broken:
            payment = await self._stored.payment(command.book, command.payment_id)
            about = f"{command.payment_id}:{command.number}"
            await self.told_of(broken, command.book, about, payment.amount_minor, payment.currency)
            raise
        return recorded

    async def _proceed(self, recorded: Recorded, ready: Ready) -> Recorded:
        """Make the second call of a rail that moves money only then; what it needs is committed. May be repeated."""
        payment, attempt = recorded
        if is_lost(payment, attempt) or attempt.status != states.AttemptStatus.PENDING:
            return recorded  # the payer pays elsewhere, or the payment is over: this order is closed, not carried out
        outcome = await self._calls.call("proceed", ready, self._calls.order(payment, attempt))
        if isinstance(outcome, Pending) and outcome.proceed:
            return recorded  # not now; whoever asks next tries again
        return await self.record(payment, attempt, ready, outcome, answers=Answers.SECOND_CALL)

    async def told_of(self, broken: Broken, book: int, about: str, amount_minor: int, currency: str) -> None:
        """Have a person see what a rail said that cannot be; the command that found it has left no trace."""
        if broken.code in cases.KINDS:
            facts = {"message": broken.message}
            rest = unfinished.REST
            await self._lanes.put(cases.OpenCase(book, broken.code, about, amount_minor, currency, facts, rest))
