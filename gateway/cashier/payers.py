"""Who the payer is: learnt from the app a page is open in, and kept in a cookie of the payment's own path."""

import hmac
import logging

import orjson
from aiohttp import web

from channels import BadNotice, Method
from gateway.accounts.ready import ChannelAccounts, Ready
from gateway.cashier.render import see_other
from gateway.cashier.tokens import CashierTokens
from gateway.cashier.visits import Visit
from gateway.payments.payments import Payments
from gateway.tables import Payment
from kernel.env import Env, NoAnswer, NotSent

log = logging.getLogger(__name__)

COOKIE_S = 7200  # as long as a payment can be paid


class Payers:
    """Sends a visitor to the rail that knows them, and reads who they are when it sends them back."""

    def __init__(
        self, *, payments: Payments, accounts: ChannelAccounts, tokens: CashierTokens, env: Env, public_url: str
    ) -> None:
        """public_url: where payers reach this hub, without a slash at the end."""
        self._payments = payments
        self._accounts = accounts
        self._tokens = tokens
        self._env = env
        self._public_url = public_url
        self._secure = public_url.startswith("https:")

    async def to_rail(self, visit: Visit, rail: str) -> web.Response:
        """Send the visitor to the rail; the state in the cookie tells that the same browser comes back."""
        ready = await self.account(visit.payment, rail)
        state = self._env.secrets(16).hex()
        back = f"{self._public_url}{visit.base}/payer?lang={visit.say.language}"
        url = None if ready is None else ready.client.payer_url(back, state)
        if ready is None or url is None:
            return see_other(visit.url(note="unavailable"))
        response = see_other(url)
        self._set_cookie(response, visit, "visit", f"{state}.{ready.account.id}")
        return response

    async def known(self, visit: Visit, request: web.Request, code: str) -> str | None:
        """Return who has come back from the rail, as Order.payer; None where that cannot be said.

        code: what the rail gave the visitor, to be exchanged.
        """
        expected, _, account = request.cookies.get("visit", "").partition(".")
        if not expected or not hmac.compare_digest(expected.encode(), request.query.get("state", "").encode()):
            return None
        ready = await self._accounts.get(visit.payment.book, account)
        try:
            return await ready.client.payer(code)
        except (BadNotice, NotSent, NoAnswer) as error:
            log.warning("a visitor could not be known", extra={"account": account, "why": str(error)})
            return None

    def remember(self, response: web.Response, visit: Visit, payer: str) -> None:
        """Let the browser prove later that it is this payer's."""
        self._set_cookie(response, visit, "payer", self._sealed(visit, payer))

    def is_payer(self, visit: Visit, request: web.Request) -> bool:
        """Tell whether this browser is the one for whose payer the last attempt was made."""
        if visit.last is None or visit.last.method != Method.JSAPI or visit.last.details is None:
            return False
        sealed = self._sealed(visit, orjson.loads(visit.last.details).get("payer", ""))
        return hmac.compare_digest(sealed.encode(), request.cookies.get("payer", "").encode())

    async def can_be_known(self, payment: Payment, rail: str) -> bool:
        """Tell whether an attempt inside that rail's app can be begun: its call needs to know the payer."""
        ready = await self.account(payment, rail)
        return ready is not None and ready.client.payer_url(self._public_url, "state") is not None

    async def account(self, payment: Payment, rail: str) -> Ready | None:
        """Return the account of that rail to which an attempt inside its app would go, None where none takes it."""
        offered = await self._payments.offered(payment, [Method.JSAPI])
        found = (choice.ready for choice in offered.get(Method.JSAPI, ()))
        return next((ready for ready in found if ready.account.channel == rail), None)

    def _sealed(self, visit: Visit, payer: str) -> str:
        return self._tokens.seal(f"{visit.token} {payer}")

    def _set_cookie(self, response: web.Response, visit: Visit, name: str, value: str) -> None:
        response.set_cookie(
            name, value, max_age=COOKIE_S, path=visit.base, httponly=True, samesite="Lax", secure=self._secure
        )
