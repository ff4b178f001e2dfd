"""The life of a payment: create, ask, close, refund. What the routes, the notices and the janitor all call.

No transaction is open while a channel is called. What is to be done is committed before the first byte leaves, under
ids that never change, so that whoever comes after a crash can ask and finish.
"""

import logging

import orjson

from channels import Confirmed, Kind, Method, Notice, Order, Outcome, Pending, RefundOrder, Refused, Unknown
from gateway import states
from gateway.accounts import ChannelAccounts, Ready
from gateway.choosing import Ask, Chooser, kind_of
from gateway.create import Asking, Claims, Created, CreatePayment, CreateRefund, FindEarlier, NewPayment
from gateway.metrics import Metrics
from gateway.schedule import (
    FIRST_ANSWER,
    NOT_RECEIVED_AFTER,
    next_query,
    next_refund_query,
    should_give_up,
)
from gateway.settle import NOT_RECEIVED, EndedMeanwhile, Settle, SettleRefund
from gateway.store import find_attempt, find_payment, find_refund
from gateway.tables import Attempt, Payment, Refund, attempt_number
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import Conflict, NotFound, Rejected
from kernel.ids import base36, parse_reference
from kernel.lane import Lanes
from kernel.money import Money
from streams import Bell

log = logging.getLogger(__name__)


class Payments:
    """Use cases of payments and refunds for every merchant."""

    def __init__(
        self,
        *,
        pool: Pool,
        lanes: Lanes,
        accounts: ChannelAccounts,
        chooser: Chooser,
        env: Env,
        bell: Bell,
        metrics: Metrics,
        public_url: str,
        time_scale: float = 1.0,
    ) -> None:
        """public_url: where channels reach this hub's notices. time_scale: shortens the janitor's waits."""
        self._pool = pool
        self._lanes = lanes
        self._accounts = accounts
        self._chooser = chooser
        self._env = env
        self._bell = bell
        self._metrics = metrics
        self._public_url = public_url.rstrip("/")
        self._scale = time_scale
        self._calling: set[tuple[int, str]] = set()  # objects whose first answer this process still awaits

    # ---- create ------------------------------------------------------------------------------------------------------

    async def create(
        self, book: int, new: NewPayment, claims: Claims, *, channel: str, auth_code: str | None
    ) -> tuple[Payment, bool]:
        """Take a payment, send it to a channel, and return it with whether an earlier request had made it.

        Raises Rejected, Conflict (duplicate_order, request_in_progress), Unavailable.
        """
        amount = Money(new.amount_minor, new.currency)
        method = Method(new.method)
        payment_id = self._env.ids.new("pay")
        ask = Ask(
            book, channel, method, amount, auth_code[:4] if auth_code else None,
            orjson.loads(new.metadata) if new.metadata else None, None, self._env.now(), payment_id=payment_id,
        )  # fmt: skip
        try:
            ready = (await self._chooser.choose(ask))[0].ready
        except Rejected:
            # Told that no channel takes it, a merchant who only asks again would believe the order unpaid.
            earlier = await self._lanes.put(FindEarlier(book, claims))
            if earlier is None:
                raise
            return await self._resumed(earlier.payment, earlier.attempt, auth_code), True
        command = CreatePayment(
            book, payment_id, new, claims, ready.account.id, ready.account.channel, ready.terms.fees.basis_points,
            self._env.now() + FIRST_ANSWER,
        )  # fmt: skip
        self._calling.add((book, payment_id))
        try:
            created: Created = await self._lanes.put(command)
            if created.replayed:
                return await self._resumed(created.payment, created.attempt, auth_code), True
            order = self._order(created.payment, created.attempt, auth_code)
            started = self._env.clock.monotonic()
            outcome = await ready.client.pay(order)
            self._called("pay", ready, order, outcome, started)
            if order.auth_code is not None:
                outcome = await self._until_known(ready, order, outcome)
            return await self._settle(created.payment, created.attempt, ready, outcome), False
        finally:
            self._calling.discard((book, payment_id))

    def _called(self, op: str, ready: Ready, order: Order, outcome: Outcome, started: float) -> None:
        """Tell of a call to a channel: the metrics, and whoever chooses accounts. started: monotonic seconds."""
        took, account, amount = self._env.clock.monotonic() - started, ready.account, order.amount
        self._metrics.channel_call(op, account.channel, outcome, took)
        self._chooser.observe(
            account.id, account.book, order.method, amount.currency, amount.minor, kind_of(outcome), took, op
        )

    async def _resumed(self, payment: Payment, attempt: Attempt, auth_code: str | None) -> Payment:
        """Return what an earlier identical request made; a barcode it left undecided is taken up where it stopped.

        The payer's code is never stored, so whoever sends it again is the only one who can finish the sale.
        """
        self._still_running(payment.book, payment.id, attempt)
        undecided = attempt.status in (states.Attempt.CREATED, states.Attempt.UNKNOWN)
        if auth_code is None or not undecided:
            return payment
        ready = await self._ready(payment.book, attempt)
        order = self._order(payment, attempt, auth_code)
        outcome = await self._until_known(ready, order, Unknown("taken up again"))
        return await self._settle(payment, attempt, ready, outcome)

    async def _until_known(self, ready: Ready, order: Order, outcome: Outcome) -> Outcome:
        """Ask about a payer's code while the payer stands at the till.

        A number the channel does not know never arrived; it is sent again with the same code, and cannot charge twice.
        """
        for pause_s in (0.2, 1.0):
            if not isinstance(outcome, Unknown):
                break
            await self._env.sleep(pause_s)
            outcome = await ready.client.query(order)
            if isinstance(outcome, Unknown) and outcome.not_found:
                outcome = await ready.client.pay(order)
        return outcome

    def _still_running(self, book: int, payment_id: str, attempt: Attempt) -> None:
        """Raise Conflict when the first request for this payment is still under way, here or in another process."""
        age = self._env.now() - attempt.created_at
        elsewhere = attempt.status == states.Attempt.CREATED and age < FIRST_ANSWER
        if (book, payment_id) in self._calling or elsewhere:
            raise Conflict("request_in_progress", f"the first request for {payment_id} is still under way; ask again")

    # ---- whatever a channel says -------------------------------------------------------------------------------------

    async def _settle(self, payment: Payment, attempt: Attempt, ready: Ready, outcome: Outcome) -> Payment:
        due_at = None  # what is paid is not asked about again
        if not isinstance(outcome, Confirmed):
            due_at = next_query(ready.client.channel.capabilities, payment, attempt, self._env.now(), self._scale)
        command = Settle(payment.book, payment.id, attempt.number, outcome, due_at, f"re_{payment.id[4:]}")
        try:
            settled = await self._lanes.put(command)
        except EndedMeanwhile:
            settled = await self._lanes.put(command)  # what it lacked is loaded now that the end is committed
        self._bell.ring()
        return settled

    async def apply_notice(self, book: int, account_id: str, notice: Notice) -> None:
        """Apply a notice which the channel account's keys have verified; returns only after the commit.

        Raises NotFound for a number that is not of this account, Broken (amount_differs, charged_twice) for one that
        cannot be.
        """
        of_payment = notice.kind is Kind.PAYMENT
        parsed = parse_reference(notice.reference, "pay" if of_payment else "re")
        strange = NotFound("no_such_reference", f"{notice.reference[:64]!r} is not a number of this account's")
        # A payment's number names its attempt by one digit more than a refund's has.
        if parsed is None or parsed[0] != book or (parsed[1].count("_") == 2) is not of_payment:
            raise strange
        ident, refund = parsed[1], None
        async with acquire(self._pool) as connection:
            if of_payment:
                payment_id, number = attempt_number(ident)
            else:
                refund = await find_refund(connection, book, ident)
                if refund is None:
                    raise NotFound("no_such_refund", f"there is no refund {notice.reference}")
                payment_id, number = refund.payment_id, refund.attempt_number
            payment = await find_payment(connection, book, payment_id)
            attempt = await find_attempt(connection, book, payment_id, number)
        if payment is None or attempt is None:
            raise NotFound("no_such_payment", f"there is no payment {notice.reference}")
        if attempt.channel_account != account_id:
            raise strange
        if refund is not None:
            await self._settle_refund(refund, notice.outcome)
        else:
            await self._settle(payment, attempt, await self._ready(book, attempt), notice.outcome)

    # ---- ask ---------------------------------------------------------------------------------------------------------

    async def ask(self, attempt: Attempt) -> Payment:
        """Ask the channel what became of an open attempt, and settle what it says; close what has run out.

        An order the channel does not know, or whose code never reached us, is sent again under the same number.
        """
        payment = await self._payment(attempt.book, attempt.payment_id)
        ready = await self._ready(attempt.book, attempt)
        order = self._order(payment, attempt, None)
        outcome = await ready.client.query(order)
        if isinstance(outcome, Pending | Unknown):
            outcome = await self._pressed(payment, attempt, ready, order, outcome)
        return await self._settle(payment, attempt, ready, outcome)

    async def _pressed(
        self, payment: Payment, attempt: Attempt, ready: Ready, order: Order, outcome: Pending | Unknown
    ) -> Outcome:
        """Do what can be done about an attempt that its channel calls undecided, or does not know."""
        now, capabilities = self._env.now(), ready.client.channel.capabilities
        not_found = isinstance(outcome, Unknown) and outcome.not_found
        if isinstance(outcome, Unknown) and not not_found:
            return outcome  # the channel cannot be understood just now; nothing is done on that ground
        code_run_out = not_found and order.method is Method.BARCODE
        if code_run_out and now - attempt.created_at < NOT_RECEIVED_AFTER:
            return outcome  # the till may still take it up again
        if code_run_out or should_give_up(capabilities, payment, attempt, now):
            undone = await self._undo(ready, order)
            return NOT_RECEIVED if isinstance(undone, Unknown) and undone.not_found else undone
        # Sending an unpaid order again under its number gives the same order, and the code whose answer was lost.
        code_lost = payment.next_action is None and order.method is not Method.BARCODE
        return await ready.client.pay(order) if not_found or code_lost else outcome

    async def _undo(self, ready: Ready, order: Order) -> Outcome:
        """Close an order, or reverse a barcode's; where the channel will not, ask once more what happened instead."""
        undo = ready.client.reverse if order.method is Method.BARCODE else ready.client.close
        outcome = await undo(order)
        return outcome if isinstance(outcome, Refused) and outcome.closed else await ready.client.query(order)

    async def close(self, book: int, payment_id: str) -> Payment:
        """Close an unpaid payment at its channel. Raises Conflict when it has ended otherwise, or cannot be closed now.

        Whatever the channel says is settled: a payment that turns out to have been paid succeeds.
        """
        payment = await self._payment(book, payment_id)
        if payment.status == states.Payment.CANCELED:
            return payment
        if payment.status not in (states.Payment.PROCESSING, states.Payment.REQUIRES_ACTION):
            raise Conflict(
                "payment_ended", f"{payment_id} is {payment.status} and cannot be closed", status_now=payment.status
            )
        async with acquire(self._pool) as connection:
            attempt = await find_attempt(connection, book, payment_id, payment.attempt_count)
        assert attempt is not None, "a payment is recorded with its attempt"
        self._still_running(book, payment_id, attempt)
        ready = await self._ready(book, attempt)
        settled = await self._settle(
            payment, attempt, ready, await self._undo(ready, self._order(payment, attempt, None))
        )
        if settled.status == states.Payment.SUCCEEDED:
            raise Conflict(
                "payment_ended", f"{payment_id} was paid before it could be closed", status_now=settled.status
            )
        if settled.status in (states.Payment.PROCESSING, states.Payment.REQUIRES_ACTION):
            raise Conflict(
                "not_closed_yet", f"the channel has not closed {payment_id} yet; ask again", status_now=settled.status
            )
        return settled

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
        insufficient_balance), NotFound, Conflict, Unavailable.
        """
        refund_id = self._env.ids.new("re")
        command = CreateRefund(
            book, refund_id, payment_id, amount_minor, reason, merchant_refund_id, claims,
            self._env.now() + FIRST_ANSWER,
        )  # fmt: skip
        refund, replayed = await self._lanes.put(command)
        if replayed:
            return refund, True
        return await self.send_refund(refund), False

    async def send_refund(self, refund: Refund) -> Refund:
        """Send a recorded refund to its channel, or send it again under its number, and settle the answer."""
        order, ready = await self._refund_order(refund)
        started = self._env.clock.monotonic()
        outcome = await ready.client.refund(order)
        self._metrics.channel_call("refund", ready.account.channel, outcome, self._env.clock.monotonic() - started)
        return await self._settle_refund(refund, outcome)

    async def ask_refund(self, refund: Refund) -> Refund:
        """Ask the channel what became of an open refund; send it again, same number, where it never arrived."""
        order, ready = await self._refund_order(refund)
        outcome = await ready.client.refund_query(order)
        if isinstance(outcome, Unknown) and outcome.not_found:
            return await self.send_refund(refund)
        return await self._settle_refund(refund, outcome)

    async def _settle_refund(self, refund: Refund, outcome: Outcome) -> Refund:
        due_at = next_refund_query(refund, self._env.now(), self._scale)
        settled = await self._lanes.put(SettleRefund(refund.book, refund.id, outcome, due_at))
        self._bell.ring()
        return settled

    # ---- claims of the janitor ---------------------------------------------------------------------------------------

    async def take(self, row: Attempt | Refund) -> bool:
        """Claim an open row for asking; False when another worker has it or it has ended meanwhile."""
        next_at = self._env.now() + FIRST_ANSWER
        key = (row.payment_id, row.number) if isinstance(row, Attempt) else (row.id,)
        return await self._lanes.put(Asking(row.book, key, next_at))

    # ---- helpers -----------------------------------------------------------------------------------------------------

    async def _payment(self, book: int, payment_id: str) -> Payment:
        async with acquire(self._pool) as connection:
            payment = await find_payment(connection, book, payment_id)
        if payment is None:
            raise NotFound("no_such_payment", f"there is no payment {payment_id}")
        return payment

    async def _ready(self, book: int, attempt: Attempt) -> Ready:
        return await self._accounts.get(book, attempt.channel_account)

    def notify_url(self, book: int, account: str, channel: str) -> str:
        """Return where a channel sends its notices about one account."""
        return f"{self._public_url}/notify/{channel}/{base36(book)}/{account}"

    def _order(self, payment: Payment, attempt: Attempt, auth_code: str | None) -> Order:
        return Order(
            attempt.reference,
            Money(payment.amount_minor, payment.currency),
            Method(payment.method),
            payment.description,
            self.notify_url(payment.book, attempt.channel_account, attempt.channel),
            payment.expires_at,
            attempt.created_at,
            auth_code,
            channel_ref=attempt.channel_ref,
        )

    async def _refund_order(self, refund: Refund) -> tuple[RefundOrder, Ready]:
        payment = await self._payment(refund.book, refund.payment_id)
        async with acquire(self._pool) as connection:
            attempt = await find_attempt(connection, refund.book, refund.payment_id, refund.attempt_number)
        assert attempt is not None, "a refund is recorded with its attempt"
        order = RefundOrder(
            refund.reference,
            attempt.reference,
            Money(payment.amount_minor, payment.currency),
            Money(refund.amount_minor, refund.currency),
            refund.reason,
            self.notify_url(refund.book, attempt.channel_account, attempt.channel),
            refund.created_at,
            attempt.created_at,
            attempt.channel_ref,
            refund.channel_ref,
        )
        return order, await self._ready(refund.book, attempt)
