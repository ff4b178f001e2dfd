"""Placing: which account a payment is asked of, and what is asked of routing."""

from collections.abc import Callable, Mapping, Sequence

import orjson

from channels import Method
from gateway.door.admission import Rails
from gateway.payments.create import NewPayment
from gateway.routing.seam import AUTO, CASHIER_METHODS, Choice, Routing, RoutingRequest
from gateway.tables import Payment
from kernel.env import Env
from kernel.errors import Rejected
from kernel.money import Money


class Placing:
    """Finds accounts for payments."""

    def __init__(self, *, routing: Routing, rails: Rails, env: Env, page_url: Callable[[int, str], str]) -> None:
        """page_url: of a payment's page."""
        self._routing = routing
        self._rails = rails
        self._env = env
        self.page_url = page_url

    async def choose(self, ask: RoutingRequest) -> Sequence[Choice]:
        """Return the accounts that take a payment, first choice first. Raises Rejected."""
        return await self._routing.choose(ask)

    async def best(self, ask: RoutingRequest) -> Choice:
        """Return the best account that takes a payment and whose rail has room. Raises Rejected, TurnedAway."""
        return self._with_room(await self._routing.choose(ask))

    def request(
        self,
        book: int,
        payment_id: str,
        of: NewPayment | Payment,
        channel: str,
        method: Method,
        details: str | None,
        auth_code: str | None,
    ) -> RoutingRequest:
        """Return what routing is asked for a payment. details: of the attempt there is to be."""
        region = None if details is None else orjson.loads(details).get("payer_region")
        return RoutingRequest(
            book, channel, method, Money(of.amount_minor, of.currency), auth_code[:4] if auth_code else None,
            orjson.loads(of.metadata) if of.metadata else None, region, self._env.now(), of.capture_manual,
            payment_id=payment_id, share_later=of.share_later,
        )  # fmt: skip

    def _with_room(self, choices: Sequence[Choice]) -> Choice:
        """Return the best account whose rail has room for one more payment. Raises TurnedAway."""
        rails = [choice.ready.account.channel for choice in choices]
        return choices[self._rails.with_room(choices[0].ready.account.book, rails)]

    async def some_method(self, ask: RoutingRequest) -> bool:
        """Tell whether a payer at the cashier would find any way to pay."""
        for method in CASHIER_METHODS:
            try:
                await self._routing.choose(ask._replace(method=method))
            except Rejected:
                continue
            return True
        return False

    async def offered(self, payment: Payment, methods: Sequence[Method]) -> Mapping[Method, Sequence[Choice]]:
        """Return, for each of these ways to pay, the accounts that take a cashier's payment by it, first choice first.

        Ways that none takes are left out.
        """
        kept = payment.details
        channel = AUTO if kept is None else orjson.loads(kept).get("channel", AUTO)
        found: dict[Method, Sequence[Choice]] = {}
        for method in methods:
            ask = self.request(payment.book, payment.id, payment, channel, method, kept, None)
            try:
                found[method] = await self._routing.choose(ask)
            except Rejected:
                continue
        return found

    def with_return(self, book: int, payment_id: str, details: str | None) -> str:
        """Return an attempt's details with where the payer's browser goes afterwards: our page, where none is named."""
        kept = {"return_url": self.page_url(book, payment_id), **({} if details is None else orjson.loads(details))}
        return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()


def payer_named(details: str | None) -> str | None:
    """Return the payer at the rail that an attempt's details name, as far as they do."""
    found: str | None = None if details is None else orjson.loads(details).get("payer")
    return found
