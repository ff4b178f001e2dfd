"""The cashier 收银台: pages on which payers choose how to pay, pay, and see how it went.

Handlers translate; what is shown is decided in screens.py, what is done is done by Payments. Nothing here is stored but
in cookies of the payment's own path. Reloading, pressing twice and opening a page on two phones is safe, because the
same choice again is the same attempt (docs/decisions/0013).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from channels import Method
from gateway.accounts.ready import ChannelAccounts
from gateway.cashier import codes, details, render, screens
from gateway.cashier.device import address
from gateway.cashier.forms import read_form
from gateway.cashier.link_pages import LinkPages
from gateway.cashier.links import Links
from gateway.cashier.offers import Offers
from gateway.cashier.payers import Payers
from gateway.cashier.render import Templates, other_language, see_other
from gateway.cashier.returns import Returns
from gateway.cashier.screens import Screen, ScreenKind
from gateway.cashier.tokens import CashierTokens
from gateway.cashier.updates import Updates
from gateway.cashier.visits import Visit, Visits, say_for
from gateway.door.admission import away
from gateway.door.pages import Page, Work
from gateway.payments.attempts import NewAttempt
from gateway.payments.payments import Payments
from gateway.payments.shown import has_run_out
from gateway.tables import CASHIER
from kernel.clock import rfc3339
from kernel.db import Pool
from kernel.env import Env
from kernel.errors import Conflict, NotFound, Rejected, SluiceError, Unavailable

FOLLOW_S = 20.0  # how long a page's question for news may wait
# What a payer is told of refusals; anything else is `unavailable`.
_NOTES = {
    "too_many_attempts": "too_many",
    "request_in_progress": "again",
    "attempt_undecided": "undecided",
    "no_payer": "no_payer",
}
_OURS = ("type", "channel", "expires_at")  # of an action: what is not for the wallet
_SHOWN_NOTES = frozenset({*_NOTES.values(), "unavailable"})


class Cashier:
    """The payer's pages of one process."""

    def __init__(
        self,
        *,
        payments: Payments,
        accounts: ChannelAccounts,
        links: Links,
        tokens: CashierTokens,
        pool: Pool,
        env: Env,
        public_url: str,
    ) -> None:
        self._payments = payments
        self._env = env
        self._public_url = public_url.rstrip("/")
        self._templates = Templates()
        self._updates = Updates(pool, env)
        self._visits = Visits(accounts=accounts, tokens=tokens, pool=pool)
        self._payers = Payers(payments=payments, accounts=accounts, tokens=tokens, env=env, public_url=self._public_url)
        self._offers = Offers(payments=payments, payers=self._payers, visits=self._visits)
        self._links = LinkPages(
            payments=payments, links=links, tokens=tokens, pool=pool, env=env, templates=self._templates
        )
        self._returns = Returns(payments, env)

    def pages(self) -> Sequence[Page]:
        """Return the pages' records."""

        def page(method: str, path: str, name: str, work: Work, *, head: bool = False) -> Page:
            return Page(method, path, name, work, head=head, refused=self.refused)

        links = self._links
        return [
            page("GET", "/pay/{token}", "cashier_page", self.show, head=True),
            page("POST", "/pay/{token}", "cashier_choice", self.choose),
            page("GET", "/pay/{token}/state", "cashier_state", self.state),
            page("GET", "/pay/{token}/payer", "cashier_payer", self.payer),
            page("GET", "/pay/{token}/page.svg", "cashier_code", self.page_code),
            page("GET", "/pay/{token}/code.svg", "cashier_code", self.attempt_code),
            *(
                one
                for place in ("/l", "/s")
                for one in (
                    page("GET", f"{place}/{{token}}", "cashier_door", links.show, head=True),
                    page("POST", f"{place}/{{token}}", "cashier_entry", links.enter),
                    page("GET", f"{place}/{{token}}/code.{{kind:svg|png}}", "cashier_code", links.code, head=True),
                )
            ),
            page("GET", "/cashier/{name}", "cashier_file", self.file, head=True),
        ]

    async def close(self, _: web.Application) -> None:
        """Let waiting pages go, so that the process can end."""
        self._updates.close()

    def refused(self, error: SluiceError, request: web.Request, request_id: str) -> web.Response:
        """Return the page for what cannot be shown."""
        say = say_for(request)
        missing = isinstance(error, NotFound)
        status = (
            404 if missing else 503 if isinstance(error, Unavailable) else 400 if isinstance(error, Rejected) else 500
        )
        word = "not_found" if missing else "sorry"
        page = self._templates.page(
            "problem", say, status, word=word, request_id=request_id, language_url=other_language("", say)
        )
        if isinstance(error, Unavailable):
            page.headers["Retry-After"] = str(error.retry_after_s)
        return page

    # ---- pages -------------------------------------------------------------------------------------------------------

    async def show(self, request: web.Request) -> web.Response:
        """Show a payment as this device can pay it, or how it ended."""
        visit = await self._visits.visit(request)
        query = dict(request.query)
        if visit.last is not None and has_run_out(visit.last.next_action, self._env.now()):
            query.setdefault("choose", "1")  # the payer may have paid before that
        since = self._returns.since(query)
        known = since is None or await self._returns.known(visit.tries, since)
        if since is not None:
            visit = await self._visits.visit(request)  # the answer may have ended it
        shown = screens.screen(
            visit.payment,
            visit.last,
            visit.device,
            visit.methods,
            self._env.now(),
            is_payer=self._payers.is_payer(visit, request),
            choosing="choose" in query,
        )
        note = query.get("note", "")
        if note in _SHOWN_NOTES and shown.kind is not ScreenKind.DONE:
            shown = Screen(shown.kind, shown.attempt, note, shown.result)
        if since is None or known or shown.kind in (ScreenKind.WAIT, ScreenKind.DONE):
            return await self._shown(visit, shown)
        if self._returns.is_over(since):
            return await self._shown(visit, Screen(shown.kind, shown.attempt, "undecided", shown.result))
        asked = str(int(since.timestamp() * 1000))
        again = {name: query[name] for name in ("back", "choose") if name in query}
        return await self._shown(visit, Screen(ScreenKind.CHECK), again=visit.url(**again, asked=asked))

    async def choose(self, request: web.Request) -> web.Response:
        """Start what the payer has chosen. A rail's own page sends the payer back here too, with a form of its own."""
        visit = await self._visits.visit(request)
        form = await read_form(request)
        chosen = form.get("way")
        if not isinstance(chosen, str):
            return see_other(visit.url(back=""))
        channel, _, method = chosen.partition(".")
        if method not in (Method.QR, Method.H5, Method.PAGE, Method.TRANSFER) or not channel:
            raise Rejected("invalid_request", "there is no such way to pay", param="way")
        asked = {"return_url": self._public_url + visit.url(back="")}
        if method == Method.H5:
            asked["client_ip"] = address(request.remote, request.headers.getall("X-Forwarded-For", ()))
        return await self._begin(visit, NewAttempt(method, _json(asked)), channel)

    async def payer(self, request: web.Request) -> web.Response:
        """Learn from the app this page is open in who the payer is, and begin the payment in that app.

        Called twice: to be sent to the rail, and when the rail sends back with a code.
        """
        visit = await self._visits.visit(request)
        rail = visit.device.rail
        if rail is None or Method.JSAPI not in visit.methods:
            return see_other(visit.url())
        code = request.query.get("code")
        if code is None:
            return await self._payers.to_rail(visit, rail)
        payer = await self._payers.known(visit, request, code)
        if payer is None:
            return see_other(visit.url(note="no_payer"))
        response = await self._begin(visit, NewAttempt(Method.JSAPI, _json({"payer": payer})), rail)
        self._payers.remember(response, visit, payer)
        return response

    async def state(self, request: web.Request) -> web.Response:
        """Tell a page that is open as soon as it is out of date."""
        book, payment_id = self._visits.read(request)
        seen = request.query.get("seen", "")
        with away():
            mark = await self._updates.news(book, payment_id, seen, FOLLOW_S)
        return render.json({"mark": seen if mark is None else mark})

    async def page_code(self, request: web.Request) -> web.Response:
        """Show the page's own address as a QR code."""
        token = request.match_info["token"]
        self._visits.read(request)
        return render.picture(codes.svg(f"{self._public_url}/pay/{token}"))

    async def attempt_code(self, request: web.Request) -> web.Response:
        """Show the rail's code of the attempt that is open."""
        visit = await self._visits.visit(request)
        action = Screen(ScreenKind.CODE, visit.last).action
        if action.get("type") != "qr":
            raise NotFound("no_such_object", "there is no code to show")
        return render.picture(codes.svg(str(action["code"])))

    async def file(self, request: web.Request) -> web.Response:
        """Return one of the pages' own files."""
        found = self._templates.file(request.match_info["name"])
        if found is None:
            raise NotFound("no_such_route", "there is no such file")
        return found

    # ---- shared ------------------------------------------------------------------------------------------------------

    async def _begin(self, visit: Visit, new: NewAttempt, channel: str) -> web.Response:
        try:
            await self._payments.attempt(visit.payment.book, visit.payment.id, new, channel=channel)
        except (Conflict, Rejected, Unavailable) as refusal:
            if isinstance(refusal, NotFound):
                raise
            ended = refusal.code in ("payment_ended", "payment_has_method")
            note = _NOTES.get(refusal.code, "unavailable")
            return see_other(visit.url(**({} if ended else {"note": note})))
        return see_other(visit.url() + "#go")

    async def _shown(self, visit: Visit, shown: Screen, *, again: str | None = None) -> web.Response:
        """again: where a page that waits for its rail's answer looks next."""
        payment, say = visit.payment, visit.say
        values: dict[str, Any] = {
            "payment": payment,
            "payee": visit.payee,
            "order": details.order_number(payment),
            "amount": say.money(payment.amount_minor, payment.currency),
            "base": visit.base,
            "mark": details.mark(visit),
            "again": again,
            "expires_at": rfc3339(payment.expires_at),
            "lasts_s": shown.lasts_s(self._env.now()),
            "screen": shown,
            "note": shown.note,
            "ended": shown.kind is ScreenKind.DONE,
            "rail": say.rail(shown.attempt.channel) if shown.attempt is not None else "",
            "other_url": visit.url(choose="1"),
            "language_url": other_language(visit.base, say),
            "may_choose": payment.method == CASHIER and bool(visit.methods),
        }
        values["heading"] = details.heading(shown, say)
        posts_to = None
        match shown.kind:
            case ScreenKind.CHOOSE:
                values |= await self._offers.offer(visit)
            case ScreenKind.LEAVE:
                url, fields = details.leaving(shown)
                posts_to = url if fields else None
                values |= {"action": shown.action, "leave_url": url, "leave_fields": fields}
            case ScreenKind.BRIDGE:
                parameters = {name: value for name, value in shown.action.items() if name not in _OURS}
                values["parameters"] = orjson.dumps(parameters).decode()
            case ScreenKind.TRANSFER:
                values["facts"] = details.facts(shown.action)
            case ScreenKind.DONE:
                values |= {"return_url": details.return_url(payment), "facts": details.receipt(visit)}
            case _:
                pass
        return self._templates.page("payment", say, posts_to=posts_to, **values)


def _json(values: Mapping[str, str]) -> str:
    return orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode()
