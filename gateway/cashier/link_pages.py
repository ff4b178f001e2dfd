"""Pages from which payers make payments themselves: payment links under /l/, merchants' standing codes under /s/."""

import re
from collections.abc import Mapping

from aiohttp import web

from gateway.cashier import codes
from gateway.cashier.forms import read_form
from gateway.cashier.links import LINK, STATIC, Links, amount_for, is_dead, uses_of, why_closed
from gateway.cashier.render import Templates, other_language, picture, see_other
from gateway.cashier.text import Say
from gateway.cashier.tokens import CashierTokens
from gateway.cashier.visits import say_for
from gateway.payments.payments import Payments
from gateway.store import find_merchant, find_payment
from gateway.tables import CashierLink
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import Conflict, NotFound, Rejected
from kernel.money import Money, from_major

_SUBMISSION = re.compile(r"[0-9a-f]{32}", re.ASCII)
_CLOSED: Mapping[str, str] = {
    "inactive": "link_closed",
    "link_expired": "link_expired",
    "suspended": "link_suspended",
}
_KINDS = {"l": LINK, "s": STATIC}


class LinkPages:
    """See the module."""

    def __init__(
        self,
        *,
        payments: Payments,
        links: Links,
        tokens: CashierTokens,
        pool: Pool,
        env: Env,
        templates: Templates,
    ) -> None:
        self._payments = payments
        self._links = links
        self._tokens = tokens
        self._pool = pool
        self._env = env
        self._templates = templates

    async def show(self, request: web.Request) -> web.Response:
        """Show what is to be paid, or ask how much; a link that can be used once leads to the payment it made."""
        link, say = await self._link(request), say_for(request)
        closed = why_closed(link, self._env.now())
        if closed is not None and closed != "suspended":
            return await self._page(link, say, request, closed=_CLOSED[closed])
        only = await self._only_payment(link)
        if only is not None:
            return see_other(f"{self._payments.page_url(link.book, only)}?lang={say.language}")
        if closed is not None:  # what was begun with it before goes on
            return await self._page(link, say, request, closed=_CLOSED[closed])
        try:
            await self._payments.require_standing(link.book)
        except Conflict:
            return await self._page(link, say, request, closed=_CLOSED["inactive"])
        return await self._page(link, say, request)

    async def enter(self, request: web.Request) -> web.Response:
        """Make a payment of what the payer sent off, and go on to its page. The same page sent twice makes one."""
        link, say = await self._link(request), say_for(request)
        form = await read_form(request)
        submission, typed = str(form.get("submission", "")), str(form.get("amount", ""))[:20].strip()
        if not _SUBMISSION.fullmatch(submission):
            raise Rejected(
                "invalid_request", "this form is not from the hub's page; open the page again", param="submission"
            )
        least, most = _bounds(link, say)
        try:
            said = None if link.amount_minor is not None else from_major(_plain(typed), link.currency).minor
            amount = amount_for(link, said)
        except ValueError:
            example = Money(1250, link.currency).major()
            return await self._page(link, say, request, note=say("amount_wrong", example=example), typed=typed)
        except Rejected:
            note = say("amount_out", least=least, most=most)
            return await self._page(link, say, request, note=note, typed=typed)
        try:
            payment = await self._links.pay(link, amount, submission)
        except Conflict as refusal:
            match refusal.code:
                case "link_closed" | "merchant_suspended":
                    return await self._page(link, say, request, closed=_CLOSED[str(refusal.facts["why"])])
                case "link_used_up":
                    return await self._page(link, say, request, closed="link_used_up")
                case "idempotency_key_reused" | "duplicate_order":  # gone back, and another amount typed
                    return await self._page(link, say, request, note=say("sure"), typed=typed)
                case _:
                    raise
        except NotFound:
            raise
        except Rejected:  # no account takes that amount just now, or the merchant's shares do not fit it
            return await self._page(link, say, request, note=say("no_ways"), typed=typed)
        return see_other(f"{self._payments.page_url(link.book, payment.id)}?lang={say.language}")

    async def code(self, request: web.Request) -> web.Response:
        """Return the address as a QR code, as a picture to print or show."""
        link = await self._link(request)
        url, name = self._links.url(link), link.id
        kept = {"Content-Disposition": f'inline; filename="{name}.{request.match_info["kind"]}"'}
        if request.match_info["kind"] == "png":
            return picture(codes.png(url), "image/png", kept)
        return picture(codes.svg(url), headers=kept)

    async def _link(self, request: web.Request) -> CashierLink:
        found = self._tokens.read_link(request.match_info["token"])
        if found is None:
            raise NotFound("no_such_page", "there is no link at this address")
        return await self._links.get(*found, _KINDS[request.path[1]])

    async def _only_payment(self, link: CashierLink) -> str | None:
        """Return the payment of a link that can be used once and was; whoever has the link may see how it went."""
        if link.max_uses != 1 or not uses_of(link):
            return None
        async with acquire(self._pool) as connection:
            payment = await find_payment(connection, link.book, uses_of(link)[0])
        return payment.id if payment is not None and not is_dead(payment) else None

    async def _page(
        self, link: CashierLink, say: Say, request: web.Request, *, closed: str = "", note: str = "", typed: str = ""
    ) -> web.Response:
        async with acquire(self._pool) as connection:
            merchant = await find_merchant(connection, link.book)
        least, most = _bounds(link, say)
        bounded = link.maximum_minor < 10**12
        return self._templates.page(
            "link",
            say,
            410 if closed else 422 if note else 200,
            link=link,
            payee=merchant.name if merchant is not None else "",
            fixed=say.money(link.amount_minor, link.currency) if link.amount_minor is not None else "",
            symbol=say.symbol(link.currency),
            bounds=say("amount_hint", least=least, most=most) if bounded else say("amount_at_least", least=least),
            base=request.path,
            closed=closed,
            note=note,
            typed=typed,
            submission=self._env.secrets(16).hex(),
            language_url=other_language("", say),
        )


def _bounds(link: CashierLink, say: Say) -> tuple[str, str]:
    return say.money(link.minimum_minor, link.currency), say.money(link.maximum_minor, link.currency)


def _plain(typed: str) -> str:
    """Return an amount as typed on any keyboard in plain digits: full-width ones and grouping commas are taken."""
    wide = str.maketrans("０１２３４５６７８９．。", "0123456789..")
    plain = typed.translate(wide)
    if re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?", plain, re.ASCII):
        plain = plain.replace(",", "")
    return plain
