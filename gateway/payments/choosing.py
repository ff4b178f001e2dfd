"""The payer's choice at the cashier: each is an attempt, and what was tried before is decided or closed."""

import orjson

from channels import Method, Pending, Unknown
from gateway.accounts.ready import ChannelAccounts
from gateway.door.admission import Rails, go_on
from gateway.merchants.standing import Standings
from gateway.payments.attempts import (
    Begun,
    Chosen,
    NewAttempt,
    StartAttempt,
    Undecided,
    may_have_charged,
    open_to_payer,
    payer_of,
)
from gateway.payments.calls import Calls, in_progress
from gateway.payments.closing import Closing
from gateway.payments.placing import Placing, payer_named
from gateway.payments.recording import Recording
from gateway.payments.sending import Sending, Trying
from gateway.payments.shown import has_run_out
from gateway.payments.stored import Stored
from gateway.routing.seam import AUTO, wallet_for
from kernel.env import Env
from kernel.errors import Conflict
from kernel.lane import Lanes

RETURNING = (Method.H5, Method.PAGE, Method.CARD)  # whose payers leave for a page of the rail's and come back


class Choosing:
    """Starts attempts in the ways that payers choose."""

    def __init__(
        self,
        *,
        stored: Stored,
        lanes: Lanes,
        accounts: ChannelAccounts,
        standings: Standings,
        rails: Rails,
        placing: Placing,
        calls: Calls,
        sending: Sending,
        closing: Closing,
        recording: Recording,
        env: Env,
    ) -> None:
        self._stored = stored
        self._lanes = lanes
        self._accounts = accounts
        self._standings = standings
        self._rails = rails
        self._placing = placing
        self._calls = calls
        self._sending = sending
        self._closing = closing
        self._recording = recording
        self._env = env
        self._choosing: set[tuple[int, str, NewAttempt]] = set()  # payers' choices that are just being sent

    async def attempt(self, book: int, payment_id: str, new: NewAttempt, *, channel: str = AUTO) -> Begun:
        """Start an attempt of a cashier's payment in the way the payer has chosen; return it with its payment.

        What the payer is to do is the attempt's next_action. The same choice again returns the same attempt while it
        is the last and open, and asks its rail anew for what to do where that cannot be used any more; another closes
        that one at its channel. channel: a rail's name, or AUTO; where the merchant named a rail, that one. Where a
        message of ours may have charged the payer in the way chosen before, that is found out or closed first. Raises
        NotFound, Rejected (no_channel, split_exceeds_payment), Conflict (payment_ended, payment_has_method,
        too_many_attempts, request_in_progress, attempt_undecided, merchant_suspended).
        """
        began = self._env.clock.monotonic()
        payment = await self._stored.payment(book, payment_id)
        open_to_payer(payment, self._env.now())
        await self._standings.require(book)
        kept = orjson.loads(payment.details or "{}")
        wanted = kept.pop("channel", AUTO)
        channel = wallet_for(
            new.method,
            channel if wanted == AUTO else wanted,
            payer_named(new.details),
            self._accounts.rails,
            self._accounts.rails_by,
        )
        new = _with_kept(new, kept)
        if new.method in RETURNING:
            new = new._replace(details=self._placing.with_return(book, payment_id, new.details))
        ask = self._placing.request(book, payment_id, payment, channel, Method(new.method), new.details, None)
        choice = await self._placing.best(ask)
        key = (book, payment_id, new)
        if key in self._choosing:
            raise Conflict(
                "request_in_progress", f"this choice for {payment_id} is just being sent; try again in a second"
            )
        self._choosing.add(key)
        try:
            go_on()
            with self._rails.place(book, choice.ready.account.channel):
                start = StartAttempt(book, payment_id, new, payer_of(new.details), channel, Chosen.of(choice))
                try:
                    begun: Begun = await self._lanes.put(start)
                except Undecided:
                    await self._decide(book, payment_id)
                    begun = await self._lanes.put(start)
                attempt = begun.attempt
                if attempt.next_action is not None and not has_run_out(attempt.next_action, self._env.now()):
                    return begun
                if begun.is_running:
                    raise in_progress(payment_id)
                # Sent again under its number, an order that is already there gives the same order.
                same = attempt.channel_account == choice.ready.account.id
                ready = choice.ready if same else await self._calls.ready(attempt)
                recorded = await self._sending.send(begun.payment, attempt, ready, Trying(ask, None, began))
                return Begun(*recorded)
        finally:
            self._choosing.discard(key)

    async def _decide(self, book: int, payment_id: str) -> None:
        """Ask what became of attempts that may have charged the payer, and close those that have not: one goes on."""
        tries = [one for one in await self._stored.attempts(book, payment_id) if may_have_charged(one)]
        for attempt in tries:
            self._calls.still_running(book, payment_id, attempt)
            if not await self._recording.claim(book, (payment_id, attempt.number), anyway=True):
                continue
            payment, attempt = await self._stored.as_it_stands(attempt)
            ready = await self._calls.ready(attempt)
            order = self._calls.order(payment, attempt)
            outcome = await self._calls.call("query", ready, order)
            if isinstance(outcome, Unknown) or (isinstance(outcome, Pending) and outcome.authorized is None):
                outcome = (await self._closing.undo(payment, attempt, ready)).now
            await self._recording.put_outcome(payment, attempt, ready, outcome)


def _with_kept(new: NewAttempt, kept: dict[str, str]) -> NewAttempt:
    """Return an attempt's spec with what the merchant gave for every attempt of the payment."""
    details = {**kept, **({} if new.details is None else orjson.loads(new.details))}
    if new.method not in RETURNING:
        details.pop("return_url", None)
    text = orjson.dumps(details, option=orjson.OPT_SORT_KEYS).decode() if details else None
    return new._replace(details=text)
