"""A look at a payment's page: whose payment it is, what was tried, where it is looked at, in which language."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from aiohttp import web

from channels import Method
from gateway.accounts.ready import ChannelAccounts
from gateway.cashier import screens
from gateway.cashier.device import Device, device, language
from gateway.cashier.text import Say
from gateway.cashier.tokens import CashierTokens
from gateway.store import attempts, find_merchant, find_payment
from gateway.tables import Attempt, Payment
from kernel.db import Pool, acquire
from kernel.errors import NotFound


class Visit(NamedTuple):
    """One look at a payment's page."""

    payment: Payment
    payee: str
    tries: Sequence[Attempt]
    device: Device
    methods: Sequence[Method]  # how this device may pay
    say: Say
    token: str

    @property
    def last(self) -> Attempt | None:
        return self.tries[-1] if self.tries else None

    @property
    def base(self) -> str:
        return f"/pay/{self.token}"

    def url(self, **query: str) -> str:
        """Return the page's address in the language it is read in."""
        return f"{self.base}?{urlencode({'lang': self.say.language, **query})}"


class Visits:
    """Reads the requests of pages."""

    def __init__(self, *, accounts: ChannelAccounts, tokens: CashierTokens, pool: Pool) -> None:
        self._accounts = accounts
        self._tokens = tokens
        self._pool = pool

    def read(self, request: web.Request) -> tuple[int, str]:
        """Return (book, payment_id) of a page's address. Raises NotFound; looks nothing up."""
        found = self._tokens.read(request.match_info["token"])
        if found is None:
            raise NotFound("no_such_page", "there is no payment at this address")
        return found

    async def visit(self, request: web.Request) -> Visit:
        """Return the payment of a page's address as it stands, and who looks at it. Raises NotFound."""
        book, payment_id = self.read(request)
        async with acquire(self._pool) as connection:
            payment = await find_payment(connection, book, payment_id)
            merchant = await find_merchant(connection, book)
            tries = await attempts(connection, book, payment_id)
        if payment is None or merchant is None:
            raise NotFound("no_such_page", "there is no payment at this address")
        browsers, in_browser = await self.apps(book)
        who = device(request.headers.get("User-Agent", ""), browsers)
        methods = screens.methods_for(who, in_browser)
        return Visit(payment, merchant.name, tries, who, methods, say_for(request), request.match_info["token"])

    async def apps(self, book: int) -> tuple[dict[str, Sequence[str]], dict[str, Sequence[Method]]]:
        """Return, by rail, how its app names itself, and how a page in it may be paid."""
        accounts = [one for one in await self._accounts.of_book(book) if one.account.state == "enabled"]
        can = {one.account.channel: one.client.channel.capabilities for one in accounts}
        return (
            {rail: each.browsers for rail, each in can.items() if each.browsers},
            {rail: each.in_browser for rail, each in can.items()},
        )


def say_for(request: web.Request) -> Say:
    """Return the words of the language in which a page is to be read."""
    return Say(language(request.query.get("lang"), request.headers.get("Accept-Language", "")))
