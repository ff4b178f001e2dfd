"""The cashier 收银台: pages on which payers choose how to pay, pay, and see how it went.

Handlers translate; what is shown is decided in screens.py, what is done is done by Payments. Nothing here is stored but
in cookies of the payment's own path. Reloading, pressing twice and opening a page on two phones is safe, because the
same choice again is the same attempt (docs/decisions/0013).
"""

import hmac
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
from aiohttp import web

from channels import BadNotice, Method
from gateway.accounts.ready import ChannelAccounts, Ready
from gateway.cashier import codes, render, screens
from gateway.cashier.device import Device, address, device, language
from gateway.cashier.forms import read_form
from gateway.cashier.link_pages import Doors
from gateway.cashier.links import Links
from gateway.cashier.render import Paper, is_web, other_language, see_other
from gateway.cashier.screens import Screen, ScreenKind, Way
from gateway.cashier.text import Say
from gateway.cashier.tokens import CashierTokens
from gateway.cashier.updates import Live
from gateway.door.admission import away
from gateway.door.pages import Page, Work
from gateway.payments.attempts import NewAttempt
from gateway.payments.payments import Payments
from gateway.states import OPEN_ATTEMPT
from gateway.store import Mark, attempts, find_merchant, find_payment
from gateway.tables import CASHIER, Attempt, Payment
from kernel.clock import rfc3339
from kernel.db import Pool, acquire
from kernel.env import Env, NoAnswer, NotSent
from kernel.errors import Conflict, NotFound, Rejected, SluiceError, Unavailable

log = logging.getLogger(__name__)

FOLLOW_S = 20.0  # how long a page's question for news may wait
COOKIE_S = 7200  # as long as a payment can be paid
# What a payer is told of refusals; anything else is `unavailable`.
_NOTES = {
    "too_many_attempts": "too_many",
    "request_in_progress": "again",
    "attempt_undecided": "undecided",
    "no_payer": "no_payer",
}
_OURS = ("type", "channel")  # of an action: what is not for the wallet
_SHOWN_NOTES = frozenset({*_NOTES.values(), "unavailable"})


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
        self._accounts = accounts
        self._tokens = tokens
        self._pool = pool
        self._env = env
        self._public_url = public_url.rstrip("/")
        self._secure = self._public_url.startswith("https:")
        self._paper = Paper()
        self._live = Live(pool, env)
        self._doors = Doors(payments=payments, links=links, tokens=tokens, pool=pool, env=env, paper=self._paper)
        self._queried: set[tuple[int, str, int]] = set()  # attempts that a payer's coming back made us ask about

    def pages(self) -> Sequence[Page]:
        """Return the pages' records."""

        def page(method: str, path: str, name: str, work: Work, *, head: bool = False) -> Page:
            return Page(method, path, name, work, head=head, refused=self.refused)

        doors = self._doors
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
                    page("GET", f"{place}/{{token}}", "cashier_door", doors.show, head=True),
                    page("POST", f"{place}/{{token}}", "cashier_entry", doors.enter),
                    page("GET", f"{place}/{{token}}/code.{{kind:svg|png}}", "cashier_code", doors.code, head=True),
                )
            ),
            page("GET", "/cashier/{name}", "cashier_file", self.file, head=True),
        ]

    async def close(self, _: web.Application) -> None:
        """Let waiting pages go, so that the process can end."""
        self._live.close()

    def refused(self, error: SluiceError, request: web.Request, request_id: str) -> web.Response:
        """Return the page for what cannot be shown."""
        say = self._say(request)
        missing = isinstance(error, NotFound)
        status = (
            404 if missing else 503 if isinstance(error, Unavailable) else 400 if isinstance(error, Rejected) else 500
        )
        word = "not_found" if missing else "sorry"
        page = self._paper.page(
            "problem", say, status, word=word, request_id=request_id, language_url=other_language("", say)
        )
        if isinstance(error, Unavailable):
            page.headers["Retry-After"] = str(error.retry_after_s)
        return page

    # ---- pages -------------------------------------------------------------------------------------------------------

    async def show(self, request: web.Request) -> web.Response:
        """Show a payment as this device can pay it, or how it ended."""
        visit = await self._visit(request)
        if "back" in request.query:
            self._query_after_return(visit)
        shown = screens.screen(
            visit.payment,
            visit.last,
            visit.device,
            visit.methods,
            self._env.now(),
            is_payer=self._is_payer(request, visit),
            choosing="choose" in request.query,
        )
        note = request.query.get("note", "")
        if note in _SHOWN_NOTES and shown.kind is not ScreenKind.DONE:
            shown = Screen(shown.kind, shown.attempt, note, shown.result)
        return await self._shown(visit, shown)

    async def choose(self, request: web.Request) -> web.Response:
        """Start what the payer has chosen. A rail's own page sends the payer back here too, with a form of its own."""
        visit = await self._visit(request)
        form = await read_form(request)
        chosen = form.get("way")
        if not isinstance(chosen, str):
            return see_other(self._page_url(visit, back=""))
        channel, _, method = chosen.partition(".")
        if method not in (Method.QR, Method.H5, Method.PAGE, Method.TRANSFER) or not channel:
            raise Rejected("invalid_request", "there is no such way to pay", param="way")
        details = {"return_url": self._public_url + self._page_url(visit, back="")}
        if method == Method.H5:
            details["client_ip"] = address(request.remote, request.headers.getall("X-Forwarded-For", ()))
        return await self._begin(visit, NewAttempt(method, _json(details)), channel)

    async def _begin(self, visit: Visit, new: NewAttempt, channel: str) -> web.Response:
        try:
            await self._payments.attempt(visit.payment.book, visit.payment.id, new, channel=channel)
        except (Conflict, Rejected, Unavailable) as refusal:
            if isinstance(refusal, NotFound):
                raise
            ended = refusal.code in ("payment_ended", "payment_has_method")
            note = _NOTES.get(refusal.code, "unavailable")
            return see_other(self._page_url(visit, **({} if ended else {"note": note})))
        return see_other(self._page_url(visit) + "#go")

    async def state(self, request: web.Request) -> web.Response:
        """Tell a page that is open as soon as it is out of date."""
        book, payment_id = self._read(request)
        seen = request.query.get("seen", "")
        with away():
            mark = await self._live.news(book, payment_id, seen, FOLLOW_S)
        return render.json({"mark": seen if mark is None else mark})

    async def page_code(self, request: web.Request) -> web.Response:
        """Show the page's own address as a QR code."""
        token = request.match_info["token"]
        self._read(request)
        return render.picture(codes.svg(f"{self._public_url}/pay/{token}"))

    async def attempt_code(self, request: web.Request) -> web.Response:
        """Show the rail's code of the attempt that is open."""
        visit = await self._visit(request)
        action = Screen(ScreenKind.CODE, visit.last).action
        if action.get("type") != "qr":
            raise NotFound("no_such_object", "there is no code to show")
        return render.picture(codes.svg(str(action["code"])))

    async def file(self, request: web.Request) -> web.Response:
        """Return one of the pages' own files."""
        found = self._paper.file(request.match_info["name"])
        if found is None:
            raise NotFound("no_such_route", "there is no such file")
        return found

    # ---- who the payer is --------------------------------------------------------------------------------------------

    async def payer(self, request: web.Request) -> web.Response:
        """Learn from the app this page is open in who the payer is, and begin the payment in that app.

        Called twice: to be sent to the rail, and when the rail sends back with a code. The state in the cookie makes
        sure that it is the same browser.
        """
        visit = await self._visit(request)
        rail = visit.device.rail
        if rail is None or Method.JSAPI not in visit.methods:
            return see_other(self._page_url(visit))
        code, state = request.query.get("code"), request.query.get("state", "")
        if code is None:
            return await self._to_rail(visit, rail)
        expected, _, account = request.cookies.get("visit", "").partition(".")
        if not expected or not hmac.compare_digest(expected.encode(), state.encode()):
            return see_other(self._page_url(visit, note="no_payer"))
        ready = await self._accounts.get(visit.payment.book, account)
        try:
            payer = await ready.client.payer(code)
        except (BadNotice, NotSent, NoAnswer) as error:
            log.warning("a visitor could not be known", extra={"account": account, "why": str(error)})
            return see_other(self._page_url(visit, note="no_payer"))
        response = await self._begin(visit, NewAttempt(Method.JSAPI, _json({"payer": payer})), rail)
        self._set_cookie(response, visit, "payer", self._tokens.seal(f"{visit.token} {payer}"))
        return response

    async def _to_rail(self, visit: Visit, rail: str) -> web.Response:
        ready = await self._jsapi_account(visit.payment, rail)
        state = self._env.secrets(16).hex()
        back = f"{self._public_url}{visit.base}/payer?lang={visit.say.language}"
        url = None if ready is None else ready.client.payer_url(back, state)
        if ready is None or url is None:
            return see_other(self._page_url(visit, note="unavailable"))
        response = see_other(url)
        self._set_cookie(response, visit, "visit", f"{state}.{ready.account.id}")
        return response

    async def _jsapi_account(self, payment: Payment, rail: str) -> Ready | None:
        """Return the account of that rail to which an attempt inside its app would go, None where none takes it."""
        offered = await self._payments.offered(payment, [Method.JSAPI])
        found = (choice.ready for choice in offered.get(Method.JSAPI, ()))
        return next((ready for ready in found if ready.account.channel == rail), None)

    def _is_payer(self, request: web.Request, visit: Visit) -> bool:
        """Tell whether this browser is the one for whose payer the last attempt was made."""
        if visit.last is None or visit.last.method != Method.JSAPI or visit.last.details is None:
            return False
        sealed = self._tokens.seal(f"{visit.token} {orjson.loads(visit.last.details).get('payer', '')}")
        return hmac.compare_digest(sealed.encode(), request.cookies.get("payer", "").encode())

    def _set_cookie(self, response: web.Response, visit: Visit, name: str, value: str) -> None:
        response.set_cookie(
            name, value, max_age=COOKIE_S, path=visit.base, httponly=True, samesite="Lax", secure=self._secure
        )

    # ---- shared ------------------------------------------------------------------------------------------------------

    def _read(self, request: web.Request) -> tuple[int, str]:
        found = self._tokens.read(request.match_info["token"])
        if found is None:
            raise NotFound("no_such_page", "there is no payment of this address")
        return found

    async def _visit(self, request: web.Request) -> Visit:
        book, payment_id = self._read(request)
        async with acquire(self._pool) as connection:
            payment = await find_payment(connection, book, payment_id)
            merchant = await find_merchant(connection, book)
            tries = await attempts(connection, book, payment_id)
        if payment is None or merchant is None:
            raise NotFound("no_such_page", "there is no payment of this address")
        browsers, in_browser = await self._apps(book)
        who = device(request.headers.get("User-Agent", ""), browsers)
        methods = screens.methods_for(who, in_browser)
        return Visit(payment, merchant.name, tries, who, methods, self._say(request), request.match_info["token"])

    async def _apps(self, book: int) -> tuple[dict[str, Sequence[str]], dict[str, Sequence[Method]]]:
        """Return, by rail, how its app names itself, and how a page in it may be paid."""
        accounts = [one for one in await self._accounts.of_book(book) if one.account.state == "enabled"]
        can = {one.account.channel: one.client.channel.capabilities for one in accounts}
        return (
            {rail: each.browsers for rail, each in can.items() if each.browsers},
            {rail: each.in_browser for rail, each in can.items()},
        )

    def _say(self, request: web.Request) -> Say:
        return Say(language(request.query.get("lang"), request.headers.get("Accept-Language", "")))

    def _page_url(self, visit: Visit, **query: str) -> str:
        return f"{visit.base}?{urlencode({'lang': visit.say.language, **query})}"

    def _query_after_return(self, visit: Visit) -> None:
        """Ask the channel once, when its payer comes back from it: the notice may be slower than the payer."""
        last = visit.last
        if last is None or last.status not in OPEN_ATTEMPT:
            return
        key = (last.book, last.payment_id, last.number)
        if key in self._queried:
            return
        if len(self._queried) > 10_000:
            self._queried.clear()
        self._queried.add(key)
        self._env.spawn("ask after a payer's return", self._follow_up(last))

    async def _follow_up(self, attempt: Attempt) -> None:
        try:
            await self._payments.follow_up(attempt)
        except SluiceError:
            return  # the janitor asks too, and says what is wrong

    async def _shown(self, visit: Visit, shown: Screen) -> web.Response:
        payment, say = visit.payment, visit.say
        ended = shown.kind is ScreenKind.DONE
        values: dict[str, Any] = {
            "payment": payment,
            "payee": visit.payee,
            "amount": say.money(payment.amount_minor, payment.currency),
            "base": visit.base,
            "mark": _mark(visit),
            "expires_at": rfc3339(payment.expires_at),
            "screen": shown,
            "note": shown.note,
            "ended": ended,
            "heading": say(shown.result or shown.kind) if shown.kind is not ScreenKind.CODE else say("title"),
            "rail": say.rail(shown.attempt.channel) if shown.attempt is not None else "",
            "other_url": self._page_url(visit, choose="1"),
            "language_url": other_language(visit.base, say),
            "may_choose": payment.method == CASHIER and bool(visit.methods),
        }
        posts_to = None
        match shown.kind:
            case ScreenKind.CHOOSE:
                values |= await self._offer(visit)
            case ScreenKind.LEAVE:
                url, fields = _leaving(shown)
                posts_to = url if fields else None
                values |= {"action": shown.action, "leave_url": url, "leave_fields": fields}
            case ScreenKind.BRIDGE:
                parameters = {name: value for name, value in shown.action.items() if name not in _OURS}
                values["bridge"] = orjson.dumps(parameters).decode()
            case ScreenKind.TRANSFER:
                values["facts"] = _facts(shown.action)
            case ScreenKind.DONE:
                values |= {"return_url": _return_url(payment), "facts": _receipt(visit)}
            case _:
                pass
        return self._paper.page("payment", say, posts_to=posts_to, **values)

    async def _offer(self, visit: Visit) -> Mapping[str, object]:
        """Return what the page of choices shows."""
        who, say = visit.device, visit.say
        try:
            await self._payments.require_standing(visit.payment.book)
        except Conflict:  # nothing could be begun, so nothing is offered
            return {"ways": [], "scan_apps": [], "in_app": False}
        offered = await self._payments.offered(visit.payment, [*visit.methods])
        ways = [way for way in screens.ways(who, visit.methods, offered) if await self._works(visit.payment, way)]
        scan: list[str] = []
        if who.rail is None and not who.on_phone:
            scan = [say.app(rail) for rail in await self._scanning(visit)]
        return {"ways": ways, "scan_apps": scan, "in_app": who.rail is not None}

    async def _scanning(self, visit: Visit) -> list[str]:
        """Return the rails whose app, having scanned the page's address, can pay in it."""
        browsers, in_browser = await self._apps(visit.payment.book)
        found = []
        for rail in browsers:
            methods = in_browser.get(rail, ())
            offered = await self._payments.offered(visit.payment, methods)
            inside = screens.ways(Device(rail, on_phone=True), methods, offered)
            if any([await self._works(visit.payment, way) for way in inside]):
                found.append(rail)
        return found

    async def _works(self, payment: Payment, way: Way) -> bool:
        """Tell whether a way can be gone: a wallet's own call needs to know its payer."""
        if way.method is not Method.JSAPI:
            return True
        ready = await self._jsapi_account(payment, way.channel)
        return ready is not None and ready.client.payer_url(self._public_url, "state") is not None


def _mark(visit: Visit) -> str:
    payment, last = visit.payment, visit.last
    shows = last is not None and last.next_action is not None
    return Mark(payment.book, payment.id, payment.status, payment.attempt_count, last and last.status, shows).text


def _leaving(shown: Screen) -> tuple[str, Mapping[str, str]]:
    """Return where a payer goes, and what is posted there. Raises NotFound for an address that is none."""
    action = shown.action
    url = str(action.get("url", ""))
    if not is_web(url):
        raise NotFound("no_such_object", "the channel named no address to go to")
    fields = action.get("fields", {})
    return url, orjson.loads(fields) if isinstance(fields, str) else fields  # a text: of before they were an object


def _facts(action: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return what a transfer's form asks for: (word, as it is shown, as it is copied; empty where that is no use)."""
    account, name = action.get("account", ""), action.get("name", "")
    grouped = " ".join(account[at : at + 4] for at in range(0, len(account), 4)) if account.isdigit() else account
    shown = [
        ("account_name", name, name),
        ("account", grouped, account),
        ("bank", " ".join(filter(None, (action.get("bank"), action.get("bic")))), ""),
        ("amount", f"{action.get('amount', '')} {action.get('currency', '')}".strip(), ""),
    ]
    return [fact for fact in shown if fact[1]]


def _receipt(visit: Visit) -> list[tuple[str, str]]:
    """Return what a payer wants to know of a payment that was paid: (word, value)."""
    payment, say = visit.payment, visit.say
    won = next((one for one in visit.tries if one.number == payment.won_attempt), None)
    if won is None or payment.succeeded_at is None:
        return []
    shown = [
        ("paid_with", say.rail(won.channel)),
        ("paid_at", say.day_and_moment(payment.succeeded_at)),
    ]
    if payment.captured_minor != payment.amount_minor:
        shown.append(("charged", say.money(payment.captured_minor, payment.currency)))
    if payment.refunded_minor:
        shown.append(("given_back", say.money(payment.refunded_minor, payment.currency)))
    return shown


def _return_url(payment: Payment) -> str | None:
    """Return where the merchant wants its payer afterwards."""
    url = None if payment.details is None else orjson.loads(payment.details).get("return_url")
    return url if isinstance(url, str) and is_web(url) else None


def _json(details: Mapping[str, str]) -> str:
    return orjson.dumps(details, option=orjson.OPT_SORT_KEYS).decode()
