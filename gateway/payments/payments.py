"""The life of a payment: create, try, ask, close, capture, refund. What routes, cashier, notices and janitor all call.

No transaction is open while a channel is called. What is to be done is committed before the first byte leaves, under
ids that never change, so that whoever comes after a crash can ask and finish.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import orjson

import cases
from channels import Confirmed, Kind, Method, Notice, Order, Outcome, Pending, RefundOrder, Refused, Unknown
from channels.contract import Capabilities
from gateway import states
from gateway.accounts.ready import ChannelAccounts, Ready
from gateway.claims import Claims
from gateway.door.admission import Rails, go_on
from gateway.merchants.standing import Standings
from gateway.metrics import Metrics
from gateway.payments import unfinished
from gateway.payments.attempts import (
    MAX_FAILOVERS,
    Begun,
    Chosen,
    EndUnpaid,
    FailOver,
    NewAttempt,
    StartAttempt,
    Undecided,
    is_running,
    may_have_charged,
    open_to_payer,
    payer_of,
    provably_did_nothing,
)
from gateway.payments.belief import Answers, believed
from gateway.payments.captures import CaptureRefused, StartCapture, StartUndo
from gateway.payments.create import ClaimDue, Created, CreatePayment, FindEarlier, NewPayment
from gateway.payments.orders import Orders
from gateway.payments.record_outcome import (
    NOT_RECEIVED,
    EndedMeanwhile,
    Recorded,
    RecordOutcome,
    ReversedMeanwhile,
    is_lost,
)
from gateway.payments.refunds import (
    NOT_CARRIED_OUT,
    CannotBeBorne,
    CreateRefund,
    PutOffRetry,
    RecordRefundOutcome,
    RetryRefund,
    RetryUnwanted,
    SendRefund,
    at_channel,
)
from gateway.payments.schedule import (
    FIRST_ANSWER,
    NOT_RECEIVED_AFTER,
    may_still_come,
    patience_s,
    query_wait,
    should_give_up,
)
from gateway.routing.seam import (
    AUTO,
    CASHIER_METHODS,
    Choice,
    Routing,
    RoutingRequest,
    fee_of,
    kind_of,
    no_channel,
    wallet_for,
)
from gateway.states import OPEN_ATTEMPT, OPEN_PAYMENT, PAID_ATTEMPT
from gateway.store import attempts, find_attempt, find_payment, find_refund
from gateway.tables import (
    CASHIER,
    Attempt,
    Payment,
    Refund,
    attempt_number,
    overpaid_refund_id,
    refund_number,
)
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import Broken, Conflict, NotFound, Rejected, Unavailable
from kernel.ids import parse_reference
from kernel.lane import Lanes
from kernel.money import Money
from kernel.work import Command
from streams import Bell

log = logging.getLogger(__name__)

RETURNING = (Method.H5, Method.PAGE, Method.CARD)  # whose payers leave for a page of the rail's and come back


class _Trying(NamedTuple):
    """A payer's one choice while it is tried on one account after another."""

    ask: RoutingRequest
    auth_code: str | None
    began: float  # monotonic: since when the payer waits


class _Undone(NamedTuple):
    """What came of having an order closed, reversed or released."""

    now: Outcome  # Refused(closed) where it is; else what a query said
    never_there: bool = False  # the channel answered that it knows no such order to close


class OfAnotherAccount(NotFound):
    """The number is another channel account's, of this merchant or of another; nothing was applied."""


class OfAnotherSystem(NotFound):
    """The number names nothing that this hub ever made; nothing was applied, and nothing could be later."""


# Not the channel's word but the transport's: no message about this order has ever left.
UNREACHABLE = Refused("channel_unreachable", "no request could be sent to the channel; nothing was charged")


class Payments:
    """Use cases of payments and refunds for every merchant."""

    def __init__(
        self,
        *,
        pool: Pool,
        lanes: Lanes,
        accounts: ChannelAccounts,
        routing: Routing,
        standings: Standings,
        env: Env,
        bell: Bell,
        metrics: Metrics,
        public_url: str,
        page_url: Callable[[int, str], str],
        rails: Rails,
        time_scale: float = 1.0,
    ) -> None:
        """public_url: where channels reach this hub. page_url: of a payment's page. time_scale: shortens waits."""
        self._pool = pool
        self._lanes = lanes
        self._accounts = accounts
        self._routing = routing
        self._standings = standings
        self._env = env
        self._bell = bell
        self._metrics = metrics
        self._orders = Orders(public_url)
        self._public_url = public_url.rstrip("/")
        self.page_url = page_url
        self._rails = rails
        self._scale = time_scale
        self._calling: set[tuple[int, str]] = set()  # objects whose first answer this process still awaits
        self._choosing: set[tuple[int, str, NewAttempt]] = set()  # payers' choices that are just being sent

    # ---- create ------------------------------------------------------------------------------------------------------

    async def create(
        self, book: int, new: NewPayment, claims: Claims, *, channel: str, auth_code: str | None
    ) -> tuple[Payment, bool]:
        """Take a payment, send it to a channel, and return it with whether an earlier request had made it.

        A cashier's payment goes to no channel yet. Raises Rejected, Conflict (duplicate_order, request_in_progress,
        merchant_suspended), Unavailable.
        """
        try:
            channel = wallet_for(new.method, channel, _payer(new.details), self._accounts.rails)
        except Rejected as refusal:
            return await self._earlier(book, claims, auth_code, refusal)
        if new.method == CASHIER:
            return await self.create_for_cashier(book, new, claims, channel)
        began = self._env.clock.monotonic()
        payment_id = self._env.ids.new("pay")
        if new.method == Method.CARD:
            new = new._replace(details=self._with_return(book, payment_id, new.details))
        ask = self._routing_request(book, payment_id, new, channel, Method(new.method), new.details, auth_code)
        try:
            await self._standings.require(book)
            choice = self._with_room(await self._routing.choose(ask))
        except (Rejected, Conflict) as refusal:
            return await self._earlier(book, claims, auth_code, refusal)
        command = CreatePayment(book, payment_id, new, claims, Chosen.of(choice))
        go_on()
        self._calling.add((book, payment_id))
        try:
            with self._rails.place(book, choice.ready.account.channel):
                created: Created = await self._lanes.put(command)
                if created.replayed or created.attempt is None:
                    return await self._resumed(created.payment, created.attempt, auth_code), True
                trying = _Trying(ask, auth_code, began)
                recorded = await self._send(created.payment, created.attempt, choice.ready, trying)
                return recorded.payment, False
        finally:
            self._calling.discard((book, payment_id))

    async def require_standing(self, book: int) -> None:
        """Raise Conflict (merchant_suspended) where no payment of this merchant may begin."""
        await self._standings.require(book)

    async def _earlier(
        self, book: int, claims: Claims, auth_code: str | None, refusal: Rejected | Conflict
    ) -> tuple[Payment, bool]:
        """Return what an earlier identical request made; where there was none, raise the refusal.

        Told that no channel takes it, a merchant who only asks again would believe the order unpaid.
        """
        earlier = await self._lanes.put(FindEarlier(book, claims))
        if earlier is None:
            raise refusal
        return await self._resumed(earlier.payment, earlier.attempt, auth_code), True

    async def create_for_cashier(
        self,
        book: int,
        new: NewPayment,
        claims: Claims,
        channel: str,
        command: Callable[[CreatePayment], Command[Created]] = lambda create: create,
    ) -> tuple[Payment, bool]:
        """Take a payment whose payer chooses how to pay at the cashier; nothing is sent until then.

        command: what is committed, where that is more than creating it. Returns it with whether an earlier request had
        made it. Raises Rejected, Conflict.
        """
        payment_id = self._env.ids.new("pay")
        ask = self._routing_request(book, payment_id, new, channel, Method.QR, None, None)
        try:
            await self._standings.require(book)
            if not await self._some_method(ask):
                await self._accounts.require_open(book, None if channel == AUTO else channel)
                raise no_channel(ask, how="any way a cashier offers")
        except (Rejected, Conflict):
            earlier = await self._lanes.put(FindEarlier(book, claims))
            if earlier is None:
                raise
            return earlier.payment, True
        url = self.page_url(book, payment_id)
        kept = {**({} if new.details is None else orjson.loads(new.details)), "channel": channel}
        new = new._replace(
            details=orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode(),
            next_action=orjson.dumps({"type": "cashier", "url": url}).decode(),
        )
        create = CreatePayment(book, payment_id, new, claims, None)
        go_on()
        created: Created = await self._lanes.put(command(create))
        return created.payment, created.replayed

    def _with_room(self, choices: Sequence[Choice]) -> Choice:
        """Return the best account whose rail has room for one more payment. Raises TurnedAway."""
        rails = [choice.ready.account.channel for choice in choices]
        return choices[self._rails.with_room(choices[0].ready.account.book, rails)]

    async def _some_method(self, ask: RoutingRequest) -> bool:
        """Tell whether a payer at the cashier would find any way to pay."""
        for method in CASHIER_METHODS:
            try:
                await self._routing.choose(ask._replace(method=method))
            except Rejected:
                continue
            return True
        return False

    def _routing_request(
        self,
        book: int,
        payment_id: str,
        of: NewPayment | Payment,
        channel: str,
        method: Method,
        details: str | None,
        auth_code: str | None,
    ) -> RoutingRequest:
        region = None if details is None else orjson.loads(details).get("payer_region")
        return RoutingRequest(
            book, channel, method, Money(of.amount_minor, of.currency), auth_code[:4] if auth_code else None,
            orjson.loads(of.metadata) if of.metadata else None, region, self._env.now(), of.capture_manual,
            payment_id=payment_id,
        )  # fmt: skip

    async def _resumed(self, payment: Payment, attempt: Attempt | None, auth_code: str | None) -> Payment:
        """Return what an earlier identical request made; a barcode it left undecided is taken up where it stopped.

        The payer's code is never stored, so whoever sends it again is the only one who can finish the sale.
        """
        if attempt is None:
            return payment
        self._still_running(payment.book, payment.id, attempt)
        undecided = attempt.status in (states.AttemptStatus.CREATED, states.AttemptStatus.UNKNOWN)
        if auth_code is None or not undecided:
            return payment
        key = (payment.id, attempt.number)
        if not await self._lanes.put(ClaimDue(payment.book, key, self._scale, anyway=True)):
            return (await self._as_it_stands(attempt)).payment
        ready = await self._ready(attempt)
        order = self._orders.order(payment, attempt, auth_code)
        begun = Unknown("taken up again")
        outcome = await self._until_known(ready, order, begun, resend=attempt.undo_sent_at is None)
        return (await self._put_outcome(payment, attempt, ready, outcome)).payment

    def _still_running(self, book: int, payment_id: str, attempt: Attempt) -> None:
        """Raise Conflict when the first request for this payment is still under way, here or in another process."""
        if (book, payment_id) in self._calling or is_running(attempt, self._env.now()):
            raise _in_progress(payment_id)

    # ---- send, and send elsewhere ------------------------------------------------------------------------------------

    async def _send(self, payment: Payment, attempt: Attempt, ready: Ready, trying: _Trying) -> Recorded:
        """Send a recorded attempt; while channels provably do nothing and the payer waits, try the next account."""
        while True:
            order = self._orders.order(payment, attempt, trying.auth_code)
            started = self._env.clock.monotonic()
            outcome = await self._call("pay", ready, order)
            latency_ms = int((self._env.clock.monotonic() - started) * 1000)
            answers = Answers.MESSAGE
            if trying.auth_code is not None and isinstance(outcome, Unknown) and not provably_did_nothing(outcome):
                outcome, answers = await self._until_known(ready, order, outcome), Answers.QUESTION
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
            return await self._put_outcome(payment, attempt, ready, outcome, latency_ms, answers=answers)

    async def _fail_over(
        self,
        payment: Payment,
        attempt: Attempt,
        outcome: Outcome,
        answers: Answers,
        latency_ms: int,
        trying: _Trying,
    ) -> tuple[Payment, Attempt, Ready] | None:
        """Record the next attempt of a payment, on the best account not tried; None when there is to be none."""
        ask = trying.ask
        patience = patience_s(ask.method)
        while attempt.number < MAX_FAILOVERS and self._env.clock.monotonic() - trying.began < patience:
            try:
                choice = (await self._routing.choose(ask._replace(now=self._env.now())))[0]
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
            outcome = await self._call("pay", ready, order)
            if isinstance(outcome, Refused):
                return outcome, Answers.MESSAGE
            if not provably_did_nothing(outcome):
                return await self._until_known(ready, order, outcome), Answers.QUESTION
        return UNREACHABLE, Answers.MESSAGE

    async def _until_known(self, ready: Ready, order: Order, outcome: Outcome, *, resend: bool = True) -> Outcome:
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
            outcome = await self._call("query", ready, order)
            if isinstance(outcome, Unknown) and outcome.not_found and resend:
                outcome = believed(await self._call("pay", ready, order), Answers.MESSAGE, alone=False)
        return replace(outcome, not_sent=False) if isinstance(outcome, Unknown) else outcome

    async def _call(self, op: str, ready: Ready, order: Order) -> Outcome:
        """Ask a channel about an order, and tell the metrics and whoever chooses accounts what it said.

        op: pay, query, close, reverse, proceed or void; ChannelClient's methods are called so.
        """
        asking: Awaitable[Outcome] = getattr(ready.client, op)(order)
        return await self._heard(op, ready, order.method, order.amount, asking, order.reference)

    async def _heard(
        self,
        op: str,
        ready: Ready,
        method: Method,
        amount: Money,
        answer: Awaitable[Outcome],
        reference: str | None = None,
    ) -> Outcome:
        started = self._env.clock.monotonic()
        outcome = await answer
        took, account = self._env.clock.monotonic() - started, ready.account
        self._metrics.channel_call(op, account.channel, outcome, took)
        if op == "pay" and method not in ready.client.channel.capabilities.payer_initiated:
            self._rails.room(account.channel).took(started, took)
        self._routing.observe(
            account.id, account.book, method, amount.currency, amount.minor, kind_of(outcome), took, op, reference
        )
        return outcome

    # ---- the payer's choice ------------------------------------------------------------------------------------------

    async def attempt(self, book: int, payment_id: str, new: NewAttempt, *, channel: str = AUTO) -> Begun:
        """Start an attempt of a cashier's payment in the way the payer has chosen; return it with its payment.

        What the payer is to do is the attempt's next_action. The same choice again returns the same attempt while it
        is the last and open; another closes that one at its channel. channel: a rail's name, or AUTO; where the
        merchant named a rail, that one. Where a message of ours may have charged the payer in the way chosen before,
        that is found out or closed first. Raises NotFound, Rejected (no_channel, split_exceeds_payment), Conflict
        (payment_ended, payment_has_method, too_many_attempts, request_in_progress, attempt_undecided,
        merchant_suspended).
        """
        began = self._env.clock.monotonic()
        payment = await self._payment(book, payment_id)
        open_to_payer(payment, self._env.now())
        await self._standings.require(book)
        kept = orjson.loads(payment.details or "{}")
        wanted = kept.pop("channel", AUTO)
        channel = wallet_for(
            new.method, channel if wanted == AUTO else wanted, _payer(new.details), self._accounts.rails
        )
        new = _with_kept(new, kept)
        if new.method in RETURNING:
            new = new._replace(details=self._with_return(book, payment_id, new.details))
        ask = self._routing_request(book, payment_id, payment, channel, Method(new.method), new.details, None)
        choice = self._with_room(await self._routing.choose(ask))
        key = (book, payment_id, new)
        if key in self._choosing:
            raise Conflict("request_in_progress", f"this way of paying {payment_id} is just being prepared; ask again")
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
                if attempt.next_action is not None:
                    return begun
                if begun.is_running:
                    raise _in_progress(payment_id)
                # Sent again under its number, an order that is already there gives the same order.
                same = attempt.channel_account == choice.ready.account.id
                ready = choice.ready if same else await self._ready(attempt)
                recorded = await self._send(begun.payment, attempt, ready, _Trying(ask, None, began))
                return Begun(*recorded)
        finally:
            self._choosing.discard(key)

    async def _decide(self, book: int, payment_id: str) -> None:
        """Ask what became of attempts that may have charged the payer, and close those that have not: one goes on."""
        async with acquire(self._pool) as connection:
            tries = [one for one in await attempts(connection, book, payment_id) if may_have_charged(one)]
        for attempt in tries:
            self._still_running(book, payment_id, attempt)
            if not await self._lanes.put(ClaimDue(book, (payment_id, attempt.number), self._scale, anyway=True)):
                continue
            payment, attempt = await self._as_it_stands(attempt)
            ready = await self._ready(attempt)
            order = self._orders.order(payment, attempt)
            outcome = await self._call("query", ready, order)
            if isinstance(outcome, Unknown) or (isinstance(outcome, Pending) and outcome.authorized is None):
                outcome = (await self._undo(payment, attempt, ready)).now
            await self._put_outcome(payment, attempt, ready, outcome)

    async def offered(self, payment: Payment, methods: Sequence[Method]) -> Mapping[Method, Sequence[Choice]]:
        """Return, for each of these ways to pay, the accounts that take a cashier's payment by it, first choice first.

        Ways that none takes are left out.
        """
        kept = payment.details
        channel = AUTO if kept is None else orjson.loads(kept).get("channel", AUTO)
        found: dict[Method, Sequence[Choice]] = {}
        for method in methods:
            ask = self._routing_request(payment.book, payment.id, payment, channel, method, kept, None)
            try:
                found[method] = await self._routing.choose(ask)
            except Rejected:
                continue
        return found

    def _with_return(self, book: int, payment_id: str, details: str | None) -> str:
        """Return an attempt's details with where the payer's browser goes afterwards: our page, where none is named."""
        kept = {"return_url": self.page_url(book, payment_id), **({} if details is None else orjson.loads(details))}
        return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()

    # ---- whatever a channel says -------------------------------------------------------------------------------------

    async def _put_outcome(
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
        recorded = await self._record(payment, attempt, ready, outcome, latency_ms, answers=answers)
        if isinstance(outcome, Pending) and outcome.proceed:
            recorded = await self._proceed(recorded, ready)
        self._bell.ring()
        return recorded

    async def _record(
        self,
        payment: Payment,
        attempt: Attempt,
        ready: Ready,
        outcome: Outcome,
        latency_ms: int | None = None,
        *,
        answers: Answers,
    ) -> Recorded:
        held = isinstance(outcome, Pending) and outcome.authorized is not None
        row = attempt._replace(status=states.AttemptStatus.AUTHORIZED.value) if held else attempt
        wait = query_wait(ready.client.channel.capabilities, row, self._scale)
        refund_id = overpaid_refund_id(payment.id, attempt.number)
        command = RecordOutcome(
            payment.book, payment.id, attempt.number, outcome, wait, refund_id, latency_ms, answers=answers
        )
        try:
            return await self._put(command._replace(fee_minor=self._fee_after_coupon(ready, outcome)))
        except ReversedMeanwhile:
            now = await self._call("query", ready, self._orders.order(payment, attempt))
            if isinstance(now, Pending) or (isinstance(now, Unknown) and not now.given_back):
                raise Unavailable(
                    "reversal_unclear",
                    f"{attempt.reference} was reversed; did its money go back?",
                ) from None
            fee = self._fee_after_coupon(ready, now)
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
            payment = await self._payment(command.book, command.payment_id)
            about = f"{command.payment_id}:{command.number}"
            await self._told_of(broken, command.book, about, payment.amount_minor, payment.currency)
            raise
        return recorded

    async def _told_of(self, broken: Broken, book: int, about: str, amount_minor: int, currency: str) -> None:
        """Have a person see what a rail said that cannot be; the command that found it has left no trace."""
        if broken.code in cases.KINDS:
            facts = {"message": broken.message}
            rest = unfinished.REST
            await self._lanes.put(cases.OpenCase(book, broken.code, about, amount_minor, currency, facts, rest))

    async def note_unfinished(self, row: Attempt | Refund) -> None:
        """Have a person see an open row that cannot be asked about, once that has lasted too long."""
        key = (row.payment_id, row.number) if isinstance(row, Attempt) else (row.id,)
        await self._lanes.put(unfinished.SeeUnfinished(row.book, key))

    async def _proceed(self, recorded: Recorded, ready: Ready) -> Recorded:
        """Make the second call of a rail that moves money only then; what it needs is committed. May be repeated."""
        payment, attempt = recorded
        if is_lost(payment, attempt) or attempt.status != states.AttemptStatus.PENDING:
            return recorded  # the payer pays elsewhere, or the payment is over: this order is closed, not carried out
        outcome = await self._call("proceed", ready, self._orders.order(payment, attempt))
        if isinstance(outcome, Pending) and outcome.proceed:
            return recorded  # not now; whoever asks next tries again
        return await self._record(payment, attempt, ready, outcome, answers=Answers.SECOND_CALL)

    async def apply_notice(self, book: int, account_id: str, notice: Notice) -> None:
        """Apply a notice which the channel account's keys have verified; returns only after the commit.

        Raises OfAnotherSystem for a number of nobody's here, OfAnotherAccount where another account has it, NotFound
        for one that we never gave to what it names, Broken (amount_differs, charged_twice) for one that cannot be.
        """
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
        strange = NotFound("no_such_reference", f"{notice.reference[:64]!r} is not a number of this account's")
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
                comes_back = (await self._ready(attempt)).client.channel.capabilities.refunds_come_back
            await self._record_refund(refund, notice.outcome, tried, comes_back=comes_back)
        else:
            await self._put_outcome(payment, attempt, await self._ready(attempt), notice.outcome)

    # ---- ask ---------------------------------------------------------------------------------------------------------

    async def follow_up(self, attempt: Attempt, claimed_at: datetime | None = None) -> Payment:
        """Ask the channel what became of an open attempt, and settle what it says; close what is not wanted any more.

        claimed_at: what `take` returned. By that moment it is decided whether an order has run out, for its commit was
        held against the database's clock. None: the channel is asked, and nothing more is done about the attempt.
        An order the channel does not know, or whose code never reached us, is sent again under the same number; so is
        a capture that has not happened. An attempt whose payment another has paid, or which the payer has left, is
        closed, or what it reserved released. Also asks about one that was paid though its channel had been told to undo
        it. Raises Broken (channel_contradicts_itself) where that has been undone since; then it is a case.
        """
        payment = await self._payment(attempt.book, attempt.payment_id)
        ready = await self._ready(attempt)
        order = self._orders.order(payment, attempt)
        outcome = await self._call("query", ready, order)
        if isinstance(outcome, Pending | Unknown):
            payment, attempt = await self._as_it_stands(attempt)  # the channel took its time to say so little
            if claimed_at is not None and attempt.status not in PAID_ATTEMPT:
                capturing = attempt.status == states.AttemptStatus.AUTHORIZED and attempt.capture_minor
                if isinstance(outcome, Pending) and capturing and not is_lost(payment, attempt):
                    return (await self._captured(payment, attempt, ready))[0].payment
                outcome = await self._pressed(payment, attempt, ready, order, outcome, claimed_at)
        return (await self._put_outcome(payment, attempt, ready, outcome)).payment

    async def _as_it_stands(self, attempt: Attempt) -> Recorded:
        """Return a payment and one of its attempts as they are by now: a notice may have come, or a request."""
        async with acquire(self._pool) as connection:
            payment = await find_payment(connection, attempt.book, attempt.payment_id)
            now = await find_attempt(connection, attempt.book, attempt.payment_id, attempt.number)
        assert payment is not None, "it is never deleted"
        assert now is not None, "nor is it"
        return Recorded(payment, now)

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
            return (await self._undo(payment, attempt, ready, is_authorized=True)).now if give_up else outcome
        code_run_out = not_found and order.method is Method.BARCODE
        if code_run_out and not lost and now - attempt.created_at < NOT_RECEIVED_AFTER:
            return outcome  # the till may still take it up again
        if isinstance(outcome, Pending) and outcome.proceed and lost and not capabilities.closes:
            return GIVEN_UP
        if lost or code_run_out or should_give_up(capabilities, payment, attempt, now):
            undone = await self._undo(payment, attempt, ready)
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
        again = await self._call("pay", ready, order)
        if not isinstance(again, Refused):
            return again
        # Only about the repetition, see gateway/payments/belief.py. Closed at its channel, the order is over anyway.
        closed = (await self._undo(payment, attempt, ready)).now
        return believed(again, Answers.MESSAGE, alone=False) if isinstance(closed, Unknown) else closed

    async def _undo(
        self, payment: Payment, attempt: Attempt, ready: Ready, *, is_authorized: bool = False
    ) -> "_Undone":
        """Close an order, reverse a barcode's, release what is reserved; if the channel will not, ask what happened.

        The message may be carried out whenever it arrives, also after the order was paid and its answer lost, so that
        it was sent is committed before. What has ended meanwhile is only asked about.
        """
        op = "void" if is_authorized else "reverse" if attempt.method == Method.BARCODE else "close"
        capabilities = ready.client.channel.capabilities
        if op != "close" or (capabilities.closes and not capabilities.expires_only):  # else that asks and tells nothing
            start = StartUndo(attempt.book, attempt.payment_id, attempt.number, releases=is_authorized)
            attempt = await self._lanes.put(start)
        order = self._orders.order(payment, attempt)
        if attempt.status not in OPEN_ATTEMPT:
            return _Undone(await self._call("query", ready, order))
        outcome = await self._call(op, ready, order)
        if isinstance(outcome, Refused) and outcome.closed:
            return _Undone(outcome)
        never_there = isinstance(outcome, Unknown) and outcome.not_found
        return _Undone(await self._call("query", ready, order), never_there)

    async def close(self, book: int, payment_id: str) -> Payment:
        """Close an unpaid payment at its channel.

        Whatever the channel says is recorded: a payment that turns out to have been paid succeeds. Raises NotFound,
        Conflict (payment_ended, payment_authorized, request_in_progress, not_closed_yet).
        """
        payment = await self._payment(book, payment_id)
        if payment.status == states.PaymentStatus.CANCELED:
            return payment
        if payment.won_attempt and payment.status in OPEN_PAYMENT:
            raise Conflict(
                "payment_authorized",
                f"the money of {payment_id} is reserved: void or capture it",
                status_now=payment.status,
            )
        if payment.status not in OPEN_PAYMENT:
            raise Conflict(
                "payment_ended", f"{payment_id} is {payment.status} and cannot be closed", status_now=payment.status
            )
        async with acquire(self._pool) as connection:
            tries = [one for one in await attempts(connection, book, payment_id) if one.status in OPEN_ATTEMPT]
        for attempt in tries:
            self._still_running(book, payment_id, attempt)
        for attempt in reversed(tries):
            ready = await self._ready(attempt)
            undone = await self._undo(payment, attempt, ready)
            payment = (await self._put_outcome(payment, attempt, ready, undone.now)).payment
        if payment.method == CASHIER:
            payment = await self._lanes.put(EndUnpaid(book, payment_id, states.PaymentEvent.CLOSED))
            self._bell.ring()
        return _closed(payment, "closed")

    async def end_if_run_out(self, payment: Payment) -> Payment:
        """Have a cashier's payment expire when its time is over and no channel may still be taking its money."""
        ended: Payment = await self._lanes.put(EndUnpaid(payment.book, payment.id, states.PaymentEvent.TIMED_OUT))
        self._bell.ring()
        return ended

    # ---- reserved money ----------------------------------------------------------------------------------------------

    async def capture(
        self, book: int, payment_id: str, claims: Claims, *, amount_minor: int | None
    ) -> tuple[Payment, bool]:
        """Capture a payment's reserved money, all or a part, once; return it with whether that was asked for before.

        amount_minor: None for all of it; the channel releases what is not captured. Where the channel refuses and
        still has the money reserved, the payment is as before and the refusal raised. Raises NotFound, Conflict
        (payment_not_authorized, capture_under_way), Rejected (capture_exceeds_hold, partial_capture_unsupported,
        split_exceeds_payment, capture_refused).
        """
        payment = await self._payment(book, payment_id)
        number = payment.won_attempt or payment.attempt_count
        async with acquire(self._pool) as connection:
            attempt = await find_attempt(connection, book, payment_id, number)
        if attempt is None:
            raise Conflict("payment_not_authorized", f"{payment_id} is {payment.status}: no money is reserved")
        ready = await self._ready(attempt)
        amount = payment.amount_minor if amount_minor is None else amount_minor
        fee, in_part = self._fee(ready, amount, payment.currency), ready.client.channel.capabilities.partial_capture
        recorded, replayed = await self._lanes.put(StartCapture(book, payment_id, amount, fee, claims, in_part))
        if replayed:
            return recorded.payment, True
        recorded, refused = await self._captured(recorded.payment, recorded.attempt, ready)
        if refused is not None:
            raise Rejected(
                "capture_refused", f"the channel refused to capture {payment_id}: {refused.code} {refused.message}",
                channel_code=refused.code, status_now=recorded.payment.status,
            )  # fmt: skip
        return recorded.payment, False

    async def _captured(self, payment: Payment, attempt: Attempt, ready: Ready) -> tuple[Recorded, Refused | None]:
        """Have a recorded capture carried out and settle what the channel says; with its refusal, where it refused."""
        order, amount = self._orders.order(payment, attempt), Money(attempt.capture_minor, payment.currency)
        outcome = await self._heard("capture", ready, order.method, amount, ready.client.capture(order, amount))
        if not isinstance(outcome, Refused):
            return await self._put_outcome(payment, attempt, ready, outcome), None
        found = await self._call("query", ready, order)  # is the money still reserved, or what became of it?
        if attempt.query_count or not (isinstance(found, Pending) and found.authorized is not None):
            return await self._put_outcome(payment, attempt, ready, found), None
        row = attempt._replace(capture_minor=0)
        wait = query_wait(ready.client.channel.capabilities, row, self._scale)
        fee = self._fee(ready, payment.amount_minor, payment.currency)
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
        payment = await self._payment(book, payment_id)
        if payment.status == states.PaymentStatus.CANCELED:
            return payment
        under_way = payment.status == states.PaymentStatus.PROCESSING and payment.won_attempt
        if payment.status != states.PaymentStatus.REQUIRES_CAPTURE and not under_way:
            raise Conflict(
                "payment_not_authorized",
                f"{payment_id} is {payment.status}: nothing is reserved",
                status_now=payment.status,
            )
        async with acquire(self._pool) as connection:
            attempt = await find_attempt(connection, book, payment_id, payment.won_attempt)
        assert attempt is not None, "a payment names an attempt it has"
        ready = await self._ready(attempt)
        if under_way:
            outcome = await self._instead_of_capture(payment, attempt, ready)
        else:
            outcome = (await self._undo(payment, attempt, ready, is_authorized=True)).now
        return _closed((await self._put_outcome(payment, attempt, ready, outcome)).payment, "voided")

    async def _instead_of_capture(self, payment: Payment, attempt: Attempt, ready: Ready) -> Outcome:
        """Release reserved money whose capture is undecided, where the channel says that it is still reserved.

        Whichever of the two the channel carries out first, the other it cannot. Raises Conflict (capture_under_way)
        while the capture's first answer is awaited, or the channel does not say that the money is still reserved.
        """
        if attempt.query_count or self._env.now() - attempt.updated_at >= FIRST_ANSWER:
            key = (attempt.payment_id, attempt.number)
            if await self._lanes.put(ClaimDue(attempt.book, key, self._scale, anyway=True)):
                found = await self._call("query", ready, self._orders.order(payment, attempt))
                if isinstance(found, Pending) and found.authorized is not None:
                    return (await self._undo(payment, attempt, ready, is_authorized=True)).now
                if isinstance(found, Confirmed | Refused):
                    return found
        raise Conflict("capture_under_way", f"{payment.id} is being captured", status_now=payment.status)

    # ---- refunds -----------------------------------------------------------------------------------------------------

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
        return await self.send_refund(refund), False

    async def _paid_by(self, book: int, payment_id: str) -> Capabilities | None:
        """Return what the rail can do that a payment was paid by; None before it is paid, or while it does not open."""
        payment = await self._payment(book, payment_id)
        if not payment.captured_minor:
            return None
        async with acquire(self._pool) as connection:
            attempt = await find_attempt(connection, book, payment_id, payment.won_attempt)
        assert attempt is not None, "a payment names an attempt it has"
        with suppress(Unavailable):  # the refund is recorded all the same, and sent once the account opens
            return (await self._ready(attempt)).client.channel.capabilities
        return None

    async def retry_refund(self, book: int, refund_id: str, claims: Claims) -> tuple[Refund, bool]:
        """Start a failed refund again under a new number; return it with whether an earlier request had done so.

        The channel is asked about the number before first: what it has paid is not paid again. Raises Rejected
        (refund_exceeds_captured, insufficient_balance, refund_limit), NotFound, Conflict (refund_not_failed,
        refund_at_channel), Unavailable (refund_undecided).
        """
        if (refusal := await self._why_not_again(book, refund_id)) is not None:
            raise refusal
        refund, replayed = await self._lanes.put(RetryRefund(book, refund_id, claims))
        if replayed:
            return refund, True
        return await self.send_refund(refund), False

    async def retry_unwanted(self, refund: Refund) -> None:
        """Begin again a failed refund of money that was paid late or twice, if its time has come."""
        if (refusal := await self._why_not_again(refund.book, refund.id)) is not None:
            await self._lanes.put(PutOffRetry(refund.book, refund.id, refusal.message, self._scale))
            return
        try:
            again = await self._lanes.put(RetryUnwanted(refund.book, refund.id))
        except (Rejected, Conflict) as found:
            await self._lanes.put(PutOffRetry(refund.book, refund.id, str(found), self._scale))
            return
        if again is not None:
            await self.send_refund(again)

    async def _why_not_again(self, book: int, refund_id: str) -> Conflict | Unavailable | None:
        """Ask the channel about a failed refund, settle what it says, and return what forbids another number of it.

        What a person has ended is not sent again where the channel says that it has paid it, or has its money still;
        short of that the person's word stands, for a channel may never say more. None also where the command will say.
        """
        async with acquire(self._pool) as connection:
            refund = await find_refund(connection, book, refund_id)
        if refund is None or refund.status != states.RefundStatus.FAILED:
            return None
        outcome = await self._said_of(refund)
        if isinstance(outcome, Confirmed):
            await self._record_refund(refund, outcome, refund.retry_count)
        if outcome is None or isinstance(outcome, Confirmed | Refused):
            return None
        if unfinished.asks_for_a_person(outcome):
            return at_channel(refund.id)
        if (isinstance(outcome, Unknown) and outcome.not_found) or refund.failure_code == NOT_CARRIED_OUT:
            return None
        return Unavailable(
            "refund_undecided",
            f"the channel does not say that the last try of {refund_id} was not paid; nothing was sent, ask again",
            retry_after_s=60,
        )

    async def look_at_refund(self, book: int, refund_id: str) -> None:
        """Ask the channel about an open refund that a person is about to end, and settle what it says; send nothing."""
        async with acquire(self._pool) as connection:
            refund = await find_refund(connection, book, refund_id)
        if refund is not None and refund.status == states.RefundStatus.PROCESSING:
            outcome = await self._said_of(refund)
            if outcome is not None:
                await self._record_refund(refund, outcome, refund.retry_count)

    async def _said_of(self, refund: Refund) -> Outcome | None:
        """Return what the channel answers when asked about a refund; None where only sending it again would tell."""
        order, ready, method = await self._refund_order(refund)
        if ready.client.channel.capabilities.query_by_resend and order.channel_ref is None:
            return None
        return await self._heard("refund_query", ready, method, order.amount, ready.client.refund_query(order))

    async def send_refund(self, refund: Refund) -> Refund:
        """Send a refund to its channel, the message being counted, and settle the answer."""
        order, ready, method = await self._refund_order(refund)
        outcome = await self._heard("refund", ready, method, order.amount, ready.client.refund(order))
        return await self._record_refund(refund, outcome, refund.retry_count, Answers.MESSAGE)

    async def send_refund_once_more(self, refund: Refund) -> Refund:
        """Count a message of a refund that somebody else recorded, and send it, under its number."""
        counted: Refund | None = await self._lanes.put(SendRefund(refund.book, refund.id, refund.retry_count))
        return refund if counted is None else await self.send_refund(counted)

    async def follow_up_refund(self, refund: Refund) -> Refund:
        """Ask the channel what became of an open refund; send it again, same number, where it has not arrived."""
        order, ready, method = await self._refund_order(refund)
        if ready.client.channel.capabilities.query_by_resend and order.channel_ref is None:
            counted = await self._lanes.put(SendRefund(refund.book, refund.id, refund.retry_count))
            if counted is None:
                return await self._record_refund(refund, Unknown("only sending it would tell"), refund.retry_count)
        outcome = await self._heard("refund_query", ready, method, order.amount, ready.client.refund_query(order))
        if isinstance(outcome, Unknown) and outcome.not_found and refund.status == states.RefundStatus.PROCESSING:
            return await self.send_refund_once_more(refund)
        return await self._record_refund(refund, outcome, refund.retry_count)

    async def _record_refund(
        self,
        refund: Refund,
        outcome: Outcome,
        tried: int,
        answers: Answers = Answers.QUESTION,
        *,
        comes_back: bool = False,
    ) -> Refund:
        command = RecordRefundOutcome(
            refund.book, refund.id, outcome, self._scale, tried, comes_back=comes_back, answers=answers
        )
        try:
            try:
                recorded: Refund = await self._lanes.put(command)
            except CannotBeBorne:
                recorded = await self._lanes.put(replace(command, in_suspense=True))
        except Broken as broken:
            await self._told_of(broken, refund.book, refund.id, refund.amount_minor, refund.currency)
            raise
        self._bell.ring()
        return recorded

    # ---- claims of the janitor ---------------------------------------------------------------------------------------

    async def take(self, row: Attempt | Refund) -> datetime | None:
        """Claim an open row for asking, and return since when it is; None when another has it or it has ended."""
        key = (row.payment_id, row.number) if isinstance(row, Attempt) else (row.id,)
        claimed_at: datetime | None = await self._lanes.put(ClaimDue(row.book, key, self._scale))
        return claimed_at

    # ---- helpers -----------------------------------------------------------------------------------------------------

    def notify_url(self, book: int, account: str, channel: str) -> str:
        """Return where a channel sends its notices about one account."""
        return self._orders.notify_url(book, account, channel)

    async def _payment(self, book: int, payment_id: str) -> Payment:
        async with acquire(self._pool) as connection:
            payment = await find_payment(connection, book, payment_id)
        if payment is None:
            raise NotFound("no_such_payment", f"there is no payment {payment_id}")
        return payment

    def _fee(self, ready: Ready, minor: int, currency: str) -> int:
        return fee_of(self._accounts, ready, Money(minor, currency), self._env.now())

    def _fee_after_coupon(self, ready: Ready, outcome: Outcome) -> int | None:
        """Return what the channel keeps of a payment that a coupon of the merchant's paid a part of; None: no coupon.

        It charges for what it pays out: for the order less such coupons.
        """
        if not isinstance(outcome, Confirmed) or outcome.merchant_coupon is None or outcome.merchant_coupon.minor <= 0:
            return None
        paid_out = max(outcome.amount.minor - outcome.merchant_coupon.minor, 0)
        return self._fee(ready, paid_out, outcome.amount.currency) if paid_out else 0

    async def _ready(self, attempt: Attempt) -> Ready:
        return await self._accounts.get(attempt.book, attempt.channel_account)

    async def _refund_order(self, refund: Refund) -> tuple[RefundOrder, Ready, Method]:
        payment = await self._payment(refund.book, refund.payment_id)
        async with acquire(self._pool) as connection:
            attempt = await find_attempt(connection, refund.book, refund.payment_id, refund.attempt_number)
        assert attempt is not None, "a refund is recorded with its attempt"
        return self._orders.refund(refund, payment, attempt), await self._ready(attempt), Method(attempt.method)


# Not the channel's word: it closes nothing, and money moves only by our second call, which is not made any more.
GIVEN_UP = Refused("given_up", "the payer pays otherwise; what was approved here is never carried out", closed=True)


def _in_progress(payment_id: str) -> Conflict:
    return Conflict("request_in_progress", f"the first request for {payment_id} is still under way; ask again")


def _payer(details: str | None) -> str | None:
    found: str | None = None if details is None else orjson.loads(details).get("payer")
    return found


def _with_kept(new: NewAttempt, kept: dict[str, str]) -> NewAttempt:
    """Return an attempt's spec with what the merchant gave for every attempt of the payment."""
    details = {**kept, **({} if new.details is None else orjson.loads(new.details))}
    if new.method not in RETURNING:
        details.pop("return_url", None)
    text = orjson.dumps(details, option=orjson.OPT_SORT_KEYS).decode() if details else None
    return new._replace(details=text)


def _closed(payment: Payment, what: str) -> Payment:
    """Return a payment that is over unpaid. Raises Conflict for one that turned out to be paid, or is still open."""
    if payment.status == states.PaymentStatus.SUCCEEDED:
        raise Conflict("payment_ended", f"{payment.id} was paid before it could be {what}", status_now=payment.status)
    if payment.status in OPEN_PAYMENT:
        raise Conflict(
            "not_closed_yet", f"the channel has not {what} {payment.id} yet; ask again", status_now=payment.status
        )
    return payment
