"""Calls to channels: every question and every message goes through here, so that whoever learns from them hears it."""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager

from channels import Confirmed, Method, Order, Outcome
from gateway.accounts.ready import ChannelAccounts, Ready
from gateway.door.admission import Rails
from gateway.metrics import Metrics
from gateway.payments.attempts import is_running
from gateway.payments.orders import Orders
from gateway.routing.seam import Routing, fee_of, kind_of
from gateway.tables import Attempt, Payment
from kernel.env import Env
from kernel.errors import Conflict
from kernel.money import Money


class Calls:
    """Calls channels, and tells the metrics, admission and routing what they said."""

    def __init__(
        self,
        *,
        accounts: ChannelAccounts,
        routing: Routing,
        rails: Rails,
        metrics: Metrics,
        orders: Orders,
        env: Env,
    ) -> None:
        self._accounts = accounts
        self._routing = routing
        self._rails = rails
        self._metrics = metrics
        self._env = env
        self.orders = orders
        self._first: set[tuple[int, str]] = set()  # payments whose first answer this process still awaits

    @contextmanager
    def first(self, book: int, payment_id: str) -> Iterator[None]:
        """Have this payment count as under way in this process, from before it is recorded."""
        self._first.add((book, payment_id))
        try:
            yield
        finally:
            self._first.discard((book, payment_id))

    def still_running(self, book: int, payment_id: str, attempt: Attempt) -> None:
        """Raise Conflict when the first request for this payment is still under way, here or in another process."""
        if (book, payment_id) in self._first or is_running(attempt, self._env.now()):
            raise in_progress(payment_id)

    def order(self, payment: Payment, attempt: Attempt, auth_code: str | None = None) -> Order:
        """Return an attempt as its channel is asked for it. auth_code: the payer's, which is in no row."""
        return self.orders.order(payment, attempt, auth_code)

    async def ready(self, attempt: Attempt) -> Ready:
        """Return an attempt's account, ready to be called. Raises Unavailable while it does not open."""
        return await self._accounts.get(attempt.book, attempt.channel_account)

    async def call(self, op: str, ready: Ready, order: Order) -> Outcome:
        """Ask a channel about an order, and tell the metrics and whoever chooses accounts what it said.

        op: pay, query, close, reverse, proceed or void; ChannelClient's methods are called so.
        """
        asking: Awaitable[Outcome] = getattr(ready.client, op)(order)
        return await self.heard(op, ready, order.method, order.amount, asking, order.reference)

    async def heard(
        self,
        op: str,
        ready: Ready,
        method: Method,
        amount: Money,
        answer: Awaitable[Outcome],
        reference: str | None = None,
    ) -> Outcome:
        """Await an answer to `op`, and tell the metrics, admission and whoever chooses accounts what it said."""
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

    def fee(self, ready: Ready, minor: int, currency: str) -> int:
        """Return what a channel account keeps of so much."""
        return fee_of(self._accounts, ready, Money(minor, currency), self._env.now())

    def fee_after_coupon(self, ready: Ready, outcome: Outcome) -> int | None:
        """Return what the channel keeps of a payment that a coupon of the merchant's paid a part of; None: no coupon.

        It charges for what it pays out: for the order less such coupons.
        """
        if not isinstance(outcome, Confirmed) or outcome.merchant_coupon is None or outcome.merchant_coupon.minor <= 0:
            return None
        paid_out = max(outcome.amount.minor - outcome.merchant_coupon.minor, 0)
        return self.fee(ready, paid_out, outcome.amount.currency) if paid_out else 0


def in_progress(payment_id: str) -> Conflict:
    """Return the refusal to do a second time what is just being done."""
    return Conflict(
        "request_in_progress",
        f"the first request for {payment_id} is still under way; send the request again in a second",
    )
