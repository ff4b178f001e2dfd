"""Sending a recorded attempt: to its account, and where that provably did nothing, to the next."""

import logging
from dataclasses import replace
from typing import NamedTuple

from channels import Order, Outcome, Refused, Unknown
from gateway.accounts.ready import Ready
from gateway.payments.attempts import MAX_FAILOVERS, Begun, Chosen, FailOver, provably_did_nothing
from gateway.payments.belief import Answers, believed
from gateway.payments.calls import Calls
from gateway.payments.placing import Placing
from gateway.payments.record_outcome import Recorded
from gateway.payments.recording import Recording
from gateway.payments.schedule import patience_s
from gateway.routing.seam import RoutingRequest
from gateway.tables import Attempt, Payment
from kernel.env import Env
from kernel.errors import Rejected
from kernel.lane import Lanes

log = logging.getLogger(__name__)

# Not the channel's word but the transport's: no message about this order has ever left.
UNREACHABLE = Refused("channel_unreachable", "no request could be sent to the channel; nothing was charged")


class Trying(NamedTuple):
    """A payer's one choice while it is tried on one account after another."""

    ask: RoutingRequest
    auth_code: str | None
    began: float  # monotonic: since when the payer waits


class Sending:
    """Sends attempts while their payer waits."""

    def __init__(self, *, lanes: Lanes, calls: Calls, recording: Recording, placing: Placing, env: Env) -> None:
        self._lanes = lanes
        self._calls = calls
        self._recording = recording
        self._placing = placing
        self._env = env

    async def send(self, payment: Payment, attempt: Attempt, ready: Ready, trying: Trying) -> Recorded:
        """Send a recorded attempt; while channels provably do nothing and the payer waits, try the next account."""
        while True:
            order = self._calls.order(payment, attempt, trying.auth_code)
            started = self._env.clock.monotonic()
            outcome = await self._calls.call("pay", ready, order)
            latency_ms = int((self._env.clock.monotonic() - started) * 1000)
            answers = Answers.MESSAGE
            if trying.auth_code is not None and isinstance(outcome, Unknown) and not provably_did_nothing(outcome):
                outcome, answers = await self.until_known(ready, order, outcome), Answers.QUESTION
            if provably_did_nothing(outcome):
                trying = trying._replace(
                    ask=trying.ask._replace(exclude=trying.ask.exclude | {attempt.channel_account})
                )
                following = await self._fail_over(payment, attempt, outcome, answers, latency_ms, trying)
                if following is not None:
                    payment, attempt, ready = following
                    continue
                if trying.auth_code is not None and isinstance(outcome, Unknown):
                    outcome, answers = await self._insist(ready, order)
            return await self._recording.put_outcome(payment, attempt, ready, outcome, latency_ms, answers=answers)

    async def _fail_over(
        self,
        payment: Payment,
        attempt: Attempt,
        outcome: Outcome,
        answers: Answers,
        latency_ms: int,
        trying: Trying,
    ) -> tuple[Payment, Attempt, Ready] | None:
        """Record the next attempt of a payment, on the best account not tried; None when there is to be none."""
        ask = trying.ask
        patience = patience_s(ask.method)
        while attempt.number < MAX_FAILOVERS and self._env.clock.monotonic() - trying.began < patience:
            try:
                choice = (await self._placing.choose(ask._replace(now=self._env.now())))[0]
            except Rejected:
                return None
            command = FailOver(
                payment.book, payment.id, attempt.number, outcome, Chosen.of(choice), latency_ms, answers
            )
            try:
                begun: Begun | None = await self._lanes.put(command)
            except Rejected as refusal:
                log.info("an account cannot bear the payment's split", extra={"why": str(refusal)})
                ask = ask._replace(exclude=ask.exclude | {choice.ready.account.id})
                continue
            if begun is None:
                return None
            log.info(
                "failed over",
                extra={"payment": payment.id, "from": attempt.channel_account, "to": begun.attempt.channel_account},
            )
            return begun.payment, begun.attempt, choice.ready
        return None

    async def _insist(self, ready: Ready, order: Order) -> tuple[Outcome, Answers]:
        """Send a payer's code again that never left, there being no other account and the payer still standing there.

        When it cannot be sent within the payer's patience, the till is told so: nothing was charged, and nothing will
        be, so the payer may take out another wallet.
        """
        for pause_s in (0.2, 1.0):
            await self._env.sleep(pause_s)
            outcome = await self._calls.call("pay", ready, order)
            if isinstance(outcome, Refused):
                return outcome, Answers.MESSAGE
            if not provably_did_nothing(outcome):
                return await self.until_known(ready, order, outcome), Answers.QUESTION
        return UNREACHABLE, Answers.MESSAGE

    async def until_known(self, ready: Ready, order: Order, outcome: Outcome, *, resend: bool = True) -> Outcome:
        """Ask about a payer's code while the payer stands at the till.

        A number the channel does not know has not arrived; it is sent again with the same code, and cannot charge
        twice. That a later message was refused, or not sent, says nothing of the first, which may yet be carried out:
        it is no ground to try elsewhere, nor to send the payer for another wallet. A question's no is. resend: False
        once the channel was told to undo it, which it may do after it has charged.
        """
        for pause_s in (0.2, 1.0):
            if not isinstance(outcome, Unknown):
                break
            await self._env.sleep(pause_s)
            outcome = await self._calls.call("query", ready, order)
            if isinstance(outcome, Unknown) and outcome.not_found and resend:
                outcome = believed(await self._calls.call("pay", ready, order), Answers.MESSAGE, alone=False)
        return replace(outcome, not_sent=False) if isinstance(outcome, Unknown) else outcome
