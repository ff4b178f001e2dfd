"""The hub's routes, and handlers that only translate: read, call one use case, answer."""

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import LineTooLong
from pydantic import BaseModel, ValidationError

import ledger
import splitting
import streams
from channels.contract import Response
from gateway.accounts.admin import ChannelAdmin, channel_account_payload, terms_wrong
from gateway.accounts.terms import Terms, TermsWrong
from gateway.api import schemas
from gateway.cashier import Cashier
from gateway.cashier.links import LINK, STATIC, Links, NewLink
from gateway.claims import Claims
from gateway.door import responses
from gateway.door.admission import PAYERS, STRANGERS, Admission, CallerLeft, Place, Rank, Reason, TurnedAway
from gateway.door.auth import Authenticator, Principal
from gateway.door.bodies import read_body
from gateway.door.server import Refusal
from gateway.metrics import Metrics
from gateway.objects import attempt_payload, payment_payload, refund_payload
from gateway.payments.create import NewPayment
from gateway.payments.notices import Notices
from gateway.payments.payments import Payments
from gateway.routing.policies import RoutingPolicies, routing_policy_payload
from gateway.states import Payment as Status
from gateway.store import attempts, find_payment, find_refund, payments, refunds
from gateway.tables import ChannelAccount
from kernel.cards import holds_card_number
from kernel.clock import rfc3339
from kernel.db import AGAIN, DATABASE, LOST, Pool, acquire
from kernel.env import Env
from kernel.errors import NotFound, Rejected, SluiceError, Unavailable
from kernel.ids import BODY_LENGTH, is_id
from kernel.masking import without_keys
from kernel.outage import said
from kernel.work import stamp
from splitting import Asked, ShareKind
from splitting.payees import Payees
from streams.catalogue import EVENTS

log = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Page = Callable[[web.Request], Awaitable[web.Response]]
Refused = Callable[[SluiceError, web.Request, str], web.Response]
Work = Callable[["Call"], Awaitable[web.Response]]

_CREATES = frozenset({"create_payment"})  # what gives way first, see Rank
ANYTHING = r"/{anything:[\s\S]*}"  # a path may have any character, once it is decoded

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_REQUEST_ID = re.compile(r"^[0-9A-Za-z_\-]{8,64}$")
_BASE36 = re.compile(r"[0-9a-z]{1,6}")
_SETTLEMENT = re.compile(r"stl_[0-9A-Za-z_]{1,60}")
_ACCOUNT = re.compile(r"[0-9A-Za-z_\-]{1,32}", re.ASCII)
_MAX_BOOK = 2**31 - 1
# What keeps every request from being served has no line a request: the access log and the metrics have them all.
_COUNTED = frozenset({"database_unavailable", "busy", "shutting_down"})
# Not every OSError: a key file that cannot be read is our mistake, and asking again would not mend it.
_DATABASE_AWAY = (*(kind for kind in LOST if kind is not OSError), *AGAIN)


def _names(text: str, prefix: str) -> bool:
    """Tell whether `text` could be the id of one of our objects of this kind, and nothing more than that."""
    return is_id(text, prefix) and len(text) == len(prefix) + 1 + BODY_LENGTH


class Call:
    """One authenticated request."""

    __slots__ = ("principal", "request", "request_id")

    def __init__(self, request: web.Request, principal: Principal, request_id: str) -> None:
        self.request = request
        self.principal = principal
        self.request_id = request_id

    @property
    def book(self) -> int:
        return self.principal.book

    async def body(self, model: type[M]) -> tuple[M, bytes]:
        """Return the body as the model and as it came. Raises Rejected with the field that is wrong."""
        if self.request.content_type not in ("application/json", "application/octet-stream"):
            raise Rejected("unsupported_media_type", "send the body as application/json")
        raw = await read_body(self.request) or b"{}"
        try:
            body = model.model_validate_json(raw)
        except ValidationError as error:
            raise responses.rejected(error) from None
        twice = schemas.name_given_twice(raw)
        if twice is not None:
            raise Rejected("duplicate_field", f"{twice[:40]!r} stands twice; which was meant?", param=twice[:40])
        return body, raw

    def idempotency_key(self) -> str:
        """Return the required Idempotency-Key. Raises Rejected."""
        keys = self.request.headers.getall("Idempotency-Key", ())
        if not keys:
            raise Rejected("idempotency_key_missing", "send an Idempotency-Key: it makes a retry safe")
        if len(keys) > 1:  # whatever stands between may have taken the other for the request's
            raise Rejected("idempotency_key_invalid", "there are two Idempotency-Keys; send one")
        key = keys[0]
        if not _IDEMPOTENCY_KEY.fullmatch(key):
            words = "an Idempotency-Key has 1 to 255 printable ASCII characters, and no spaces"
            raise Rejected("idempotency_key_invalid", words)
        if without_keys(key) != key:  # it would be kept as it is
            raise Rejected("idempotency_key_invalid", "an Idempotency-Key is not a secret key; send a name of your own")
        return key

    def query(self, *known: str) -> dict[str, str]:
        """Return the query parameters. Raises Rejected for one this route does not know, or given twice or unreadably.

        Readable: printable characters, so that PostgreSQL takes whatever is asked for.
        """
        given: dict[str, str] = {}
        for name, value in self.request.query.items():
            if name not in known:
                short = ascii(name[:40])
                raise Rejected(
                    "unknown_filter", f"{short} is no filter here; these are: {', '.join(known)}", param=short[1:-1]
                )
            if name in given or not value.isprintable():
                raise Rejected("invalid_request", f"{name} is to be given once, in printable characters", param=name)
            given[name] = value
        return given

    def cursor(self, given: dict[str, str], prefix: str) -> str | None:
        """Return the id after which to go on, None to start. Raises Rejected."""
        after = given.get("starting_after")
        if after is not None and not _names(after, prefix):
            raise _not_from_a_list()
        return after

    def limit(self, given: dict[str, str]) -> int:
        """Return how many to list: 1 to 100, 20 where not said."""
        text = given.get("limit", "20")
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= 100 and len(text) <= 3):
            raise Rejected("invalid_request", "limit is a number from 1 to 100", param="limit")
        return int(text)

    def ident(self, prefix: str) -> str:
        """Return the id in the path. Raises NotFound for what cannot be one."""
        text = self.request.match_info["id"]
        if not _names(text, prefix):
            raise NotFound("no_such_object", f"{text[:64]!r} is not an id of this kind")
        return text

    def account(self) -> str:
        """Return the channel account named in the path. Raises NotFound for what cannot be one."""
        text = self.request.match_info["id"]
        if not _ACCOUNT.fullmatch(text):
            raise NotFound("no_such_channel_account", f"there is no channel account {text[:64]!r}")
        return text


class Api:
    """The merchant API of one process."""

    def __init__(
        self,
        *,
        payments: Payments,
        notices: Notices,
        channel_admin: ChannelAdmin,
        routing_policies: RoutingPolicies,
        payees: Payees,
        authenticator: Authenticator,
        pool: Pool,
        env: Env,
        admission: Admission,
        metrics: Metrics,
        links: Links,
        cashier: Cashier | None = None,
        access_log: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """cashier: the payers' pages; None: this process shows none."""
        self._payments = payments
        self._notices = notices
        self._channel_admin = channel_admin
        self._routing_policies = routing_policies
        self._payees = payees
        self._authenticator = authenticator
        self._pool = pool
        self._env = env
        self._admission = admission
        self._metrics = metrics
        self._links = links
        self._cashier = cashier
        self._access_log = access_log
        self._prepared: dict[Reason, responses.Prepared] = {}
        self.otherwise = self._open("unknown", self.unknown)
        self._refuse_expectation = self._open("unknown", self.expectation)

    async def close(self, app: web.Application) -> None:
        """Let go whoever waits for news, so that the process can end."""
        if self._cashier is not None:
            await self._cashier.close(app)

    def routes(self) -> list[web.RouteDef]:
        """Return every route with the scope it needs; there is none without."""
        routes = [
            web.post("/v1/payments", self._guarded("payments:write", self.create_payment)),
            web.get("/v1/payments", self._guarded("payments:read", self.list_payments), allow_head=False),
            web.get("/v1/payments/{id}", self._guarded("payments:read", self.get_payment), allow_head=False),
            web.post("/v1/payments/{id}/close", self._guarded("payments:write", self.close_payment)),
            web.post("/v1/payments/{id}/capture", self._guarded("payments:write", self.capture_payment)),
            web.post("/v1/payments/{id}/void", self._guarded("payments:write", self.void_payment)),
            web.post("/v1/payments/{id}/refunds", self._guarded("refunds:write", self.create_refund)),
            web.get("/v1/refunds", self._guarded("payments:read", self.list_refunds), allow_head=False),
            web.get("/v1/refunds/{id}", self._guarded("payments:read", self.get_refund), allow_head=False),
            web.post("/v1/refunds/{id}/retry", self._guarded("refunds:write", self.retry_refund)),
            web.post("/v1/payment_links", self._guarded("payments:write", self.add_payment_link)),
            web.get("/v1/payment_links", self._guarded("payments:read", self.list_payment_links), allow_head=False),
            web.get("/v1/payment_links/{id}", self._guarded("payments:read", self.get_payment_link), allow_head=False),
            web.patch("/v1/payment_links/{id}", self._guarded("payments:write", self.change_payment_link)),
            web.post("/v1/merchant_qrs", self._guarded("payments:write", self.add_merchant_qr)),
            web.get("/v1/merchant_qrs", self._guarded("payments:read", self.list_merchant_qrs), allow_head=False),
            web.get("/v1/merchant_qrs/{id}", self._guarded("payments:read", self.get_merchant_qr), allow_head=False),
            web.patch("/v1/merchant_qrs/{id}", self._guarded("payments:write", self.change_merchant_qr)),
            web.post("/v1/payees", self._guarded("payees:write", self.create_payee)),
            web.get("/v1/payees", self._guarded("payments:read", self.list_payees), allow_head=False),
            web.get("/v1/balances", self._guarded("balances:read", self.list_balances), allow_head=False),
            web.get("/v1/settlements", self._guarded("balances:read", self.list_settlements), allow_head=False),
            web.get("/v1/settlements/{id}", self._guarded("balances:read", self.get_settlement), allow_head=False),
            web.get("/v1/events", self._guarded("events:read", self.list_events), allow_head=False),
            web.post("/v1/channel_accounts", self._guarded("channels", self.add_channel_account)),
            web.get("/v1/channel_accounts", self._guarded("channels", self.list_channel_accounts), allow_head=False),
            web.get("/v1/channel_accounts/{id}", self._guarded("channels", self.get_channel_account), allow_head=False),
            web.patch("/v1/channel_accounts/{id}", self._guarded("channels", self.change_channel_account)),
            web.post("/v1/channel_accounts/{id}/rotate", self._guarded("channels", self.rotate_channel_account)),
            web.post("/v1/channel_accounts/{id}/drain", self._guarded("channels", self.drain_channel_account)),
            web.get("/v1/routing_policy", self._guarded("channels", self.get_routing_policy), allow_head=False),
            web.put("/v1/routing_policy", self._guarded("channels", self.set_routing_policy)),
            web.post("/notify/{channel}/{book}/{account}", self._open("notify", self.notify)),
            *(self._cashier.routes(self._page) if self._cashier is not None else ()),
            web.route("*", ANYTHING, self.otherwise),
        ]
        for route in routes:
            route.kwargs["expect_handler"] = self._expect
        return routes

    # ---- the one wrapper around every handler ------------------------------------------------------------------------

    def _guarded(self, scope: str, work: Work) -> Handler:
        """Wrap a handler: who calls, may it, what it answered, how fast. One layer: each costs every request."""
        name = work.__name__
        rank = Rank.CREATE if name in _CREATES else Rank.QUERY

        async def handle(request: web.Request) -> web.Response:
            started = self._env.clock.monotonic()
            request_id = self._request_id(request.headers)
            merchant = ticket = None
            given = request.headers.getall("Authorization", ())
            authorization = given[0] if len(given) == 1 else None  # of two, what stands between may have read the other
            try:
                ticket = self._admission.enter(rank, self._admission.caller(authorization), request.transport)
                principal = await self._authenticator.principal(authorization)
                self._admission.knows(authorization, principal.book)
                merchant = principal.merchant_id
                principal.require(scope)
                ticket.go_on()
                response = await work(Call(request, principal, request_id))
            except TurnedAway as error:  # told of in the log once for all
                return self._turned_away(error, request_id, name)
            except SluiceError as error:
                response = self._problem(error, request_id, name)
            except _DATABASE_AWAY as error:
                response = self._away(error, request_id, name)
            except Exception:  # the outermost boundary: no stranger's exception reaches a caller
                response = self._unexpected(request_id, name)
            finally:
                if ticket is not None:
                    ticket.leave()
            return self._answered(request, response, request_id, name, started, merchant)

        return handle

    def _page(self, name: str, work: Page) -> Page:
        """Wrap a payer's page: what goes wrong is a page too."""
        assert self._cashier is not None
        return self._open(name, work, self._cashier.refused)

    def _open(self, name: str, work: Page, page_for: Refused | None = None) -> Page:
        """Wrap a handler whose caller is not a merchant. page_for: makes a page of an error; None: problem details."""

        rank = {"notify": Rank.NOTICE, "unknown": Rank.CREATE}.get(name, Rank.QUERY)
        who = STRANGERS if page_for is None else PAYERS

        async def handle(request: web.Request) -> web.Response:
            started = self._env.clock.monotonic()
            request_id = self._request_id(request.headers)
            ticket = None
            try:
                ticket = self._admission.enter(rank, who, request.transport)
                response = await work(request)
            except TurnedAway as error:
                response = self._turned_away(error, request_id, name)
                return response if page_for is None else page_for(error, request, request_id)
            except SluiceError as error:
                response = self._problem(error, request_id, name)
                if page_for is not None and not isinstance(error, CallerLeft):
                    response = page_for(error, request, request_id)
            except _DATABASE_AWAY as error:
                response = self._away(error, request_id, name)
                if page_for is not None:
                    response = page_for(
                        Unavailable("database_unavailable", "the database is away"), request, request_id
                    )
            except Exception:  # the outermost boundary, as above
                response = self._unexpected(request_id, name)
                if page_for is not None:
                    response = page_for(SluiceError("internal_error", "something is wrong"), request, request_id)
            finally:
                if ticket is not None:
                    ticket.leave()
            return self._answered(request, response, request_id, name, started, None)

        return handle

    def gate(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | Place | None:
        """Turn new payments away before anything is done for them, if they are too many; None: it is none.

        The wrappers above would do it too, for several times the price, and in a flood that is what is left of the hub.
        """
        if method != "POST" or path != "/v1/payments":
            return None
        found = self._admission.hold(Rank.CREATE, self._admission.caller(headers.get("Authorization")))
        if isinstance(found, Place):
            return found
        prepared = self._prepared.get(found)
        if prepared is None:
            prepared = self._prepared[found] = responses.Prepared(found.error())
        self._metrics.answered("create_payment", prepared.status, None)
        return Refusal(prepared, self._request_id(headers))

    def _turned_away(self, refusal: TurnedAway, request_id: str, name: str) -> web.Response:
        """Count it and answer. The access log has no line of it: there would be nothing but these."""
        response = responses.problem(refusal, request_id)
        response.headers["X-Request-Id"] = request_id
        self._metrics.answered(name, response.status, None)
        return response

    async def _expect(self, request: web.Request) -> web.StreamResponse | None:
        """Have a caller go on who asked whether to; refuse whoever expects anything else of us."""
        if request.version < HttpVersion11:  # RFC 9110, 10.1.1: then it means nothing
            return None
        if request.headers.get("Expect", "").lower() != "100-continue":
            return await self._refuse_expectation(request)
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # of the answer itself nothing has been sent yet
        return None

    async def expectation(self, request: web.Request) -> web.Response:
        """Refuse an Expect header we do not know."""
        raise Rejected("expectation_unknown", "of what Expect can ask for, only 100-continue is known here")

    def unreadable(self, request: web.BaseRequest, error: BaseException | None, status: int) -> web.Response:
        """Answer what is no HTTP request, with nothing of what it says: it may hold a key."""
        request_id = self._env.ids.new("req")
        if status >= 500:  # an exception that escaped its handler, which the wrappers below rule out
            return self._answered(
                request,
                self._unexpected(request_id, "unreadable"),
                request_id,
                "unreadable",
                self._env.clock.monotonic(),
                None,
            )
        log.warning(
            "what came is no request",
            extra={"request_id": request_id, "from": request.remote, "why": type(error).__name__},
        )
        long = isinstance(error, LineTooLong)
        refusal = Rejected(
            "malformed_request",
            "the address or a header is too long" if long else "this is no HTTP request, or breaks its rules",
        )
        response = responses.problem(refusal, request_id)
        return self._answered(request, response, request_id, "unreadable", self._env.clock.monotonic(), None)

    def _request_id(self, headers: Mapping[str, str]) -> str:
        given = headers.get("X-Request-Id")
        taken = given is not None and _REQUEST_ID.fullmatch(given) and without_keys(given) == given
        if given is not None and taken and not holds_card_number(given):
            return given
        return self._env.ids.new("req")

    def _problem(self, error: SluiceError, request_id: str, name: str) -> web.Response:
        if isinstance(error, Unavailable):
            if error.code not in _COUNTED:
                log.warning("refused", extra={"request_id": request_id, "route": name, "why": str(error)})
        elif responses.status_of(error) >= 500:
            log.error("refused", extra={"request_id": request_id, "route": name, "why": str(error)})
        return responses.problem(error, request_id)

    def _away(self, error: BaseException, request_id: str, name: str) -> web.Response:
        refusal = Unavailable("database_unavailable", "the hub's database is away; ask again with the same key")
        refusal.__cause__ = error
        if not DATABASE.is_on:
            log.warning(
                "the database failed a request", extra={"request_id": request_id, "route": name, "why": said(error)}
            )
        return self._problem(refusal, request_id, name)

    def _unexpected(self, request_id: str, name: str) -> web.Response:
        log.exception("a handler failed", extra={"request_id": request_id, "route": name})
        error = SluiceError("internal_error", f"something here is wrong; quote {request_id} and ask again later")
        return responses.problem(error, request_id)

    def _answered(
        self,
        request: web.BaseRequest,
        response: web.Response,
        request_id: str,
        name: str,
        started: float,
        merchant: str | None,
    ) -> web.Response:
        seconds = self._env.clock.monotonic() - started
        response.headers["X-Request-Id"] = request_id
        self._metrics.answered(name, response.status, seconds)
        if self._access_log is not None:
            self._access_log(
                {
                    "at": rfc3339(self._env.now()),
                    "event": "request",
                    "request_id": request_id,
                    "method": request.method,
                    "route": name,
                    "status": response.status,
                    "ms": round(seconds * 1000, 2),
                    "merchant": merchant,
                }
            )
        return response

    # ---- payments ----------------------------------------------------------------------------------------------------

    async def create_payment(self, call: Call) -> web.Response:
        key = call.idempotency_key()
        body, raw = await call.body(schemas.PaymentIn)
        new = NewPayment(
            body.merchant_order_id,
            body.amount,
            body.currency,
            body.method.type,
            body.description,
            schemas.metadata_text(body.metadata),
            [_asked(share) for share in body.split],
            timedelta(seconds=body.expires_in),
            body.method.details(),
            body.capture == "manual",
        )
        claims = Claims((f"i:{key}", f"o:{body.merchant_order_id}"), hashlib.sha256(raw).digest())
        payment, replayed = await self._payments.create(
            call.book, new, claims, channel=body.method.channel, auth_code=body.method.auth_code
        )
        return _made(payment_payload(payment), replayed)

    async def get_payment(self, call: Call) -> web.Response:
        payment_id = call.ident("pay")
        async with acquire(self._pool) as connection:
            payment = await find_payment(connection, call.book, payment_id)
            if payment is None:
                raise NotFound("no_such_payment", f"there is no payment {payment_id}")
            tries = await attempts(connection, call.book, payment_id)
            split = await splitting.store.find_split(connection, call.book, payment_id)
        body = payment_payload(payment)
        body["attempts"] = [attempt_payload(attempt) for attempt in tries]
        body["split"] = splitting.split_payload(split) if split else None
        return responses.json(body)

    async def list_payments(self, call: Call) -> web.Response:
        given = call.query("limit", "starting_after", "status", "merchant_order_id")
        limit, before, status = call.limit(given), call.cursor(given, "pay"), given.get("status")
        if status is not None and status not in list(Status):
            raise Rejected("invalid_request", f"status is one of {', '.join(Status)}", param="status")
        async with acquire(self._pool) as connection:
            found = await payments(
                connection,
                call.book,
                before=before,
                limit=limit + 1,
                status=status,
                merchant_order_id=given.get("merchant_order_id"),
            )
        return _list([payment_payload(payment) for payment in found], limit)

    async def close_payment(self, call: Call) -> web.Response:
        payment = await self._payments.close(call.book, call.ident("pay"))
        return responses.json(payment_payload(payment))

    async def capture_payment(self, call: Call) -> web.Response:
        key, payment_id = call.idempotency_key(), call.ident("pay")
        body, raw = await call.body(schemas.CaptureIn)
        digest = hashlib.sha256(b"capture\n" + payment_id.encode() + b"\n" + raw).digest()
        payment, replayed = await self._payments.capture(
            call.book, payment_id, Claims([f"i:{key}"], digest), amount_minor=body.amount
        )
        return _done(payment_payload(payment), replayed)

    async def void_payment(self, call: Call) -> web.Response:
        payment = await self._payments.void(call.book, call.ident("pay"))
        return responses.json(payment_payload(payment))

    # ---- refunds -----------------------------------------------------------------------------------------------------

    async def create_refund(self, call: Call) -> web.Response:
        key, payment_id = call.idempotency_key(), call.ident("pay")
        body, raw = await call.body(schemas.RefundIn)
        keys = [f"i:{key}"] + ([f"r:{body.merchant_refund_id}"] if body.merchant_refund_id else [])
        digest = hashlib.sha256(payment_id.encode() + b"\n" + raw).digest()
        refund, replayed = await self._payments.refund(
            call.book,
            payment_id,
            Claims(keys, digest),
            amount_minor=body.amount,
            reason=body.reason,
            merchant_refund_id=body.merchant_refund_id,
        )
        return _made(refund_payload(refund), replayed)

    async def retry_refund(self, call: Call) -> web.Response:
        key, refund_id = call.idempotency_key(), call.ident("re")
        _, raw = await call.body(schemas.RetryIn)
        digest = hashlib.sha256(b"retry\n" + refund_id.encode() + b"\n" + raw).digest()
        refund, replayed = await self._payments.retry_refund(call.book, refund_id, Claims([f"i:{key}"], digest))
        return _done(refund_payload(refund), replayed)

    async def get_refund(self, call: Call) -> web.Response:
        refund_id = call.ident("re")
        async with acquire(self._pool) as connection:
            refund = await find_refund(connection, call.book, refund_id)
        if refund is None:
            raise NotFound("no_such_refund", f"there is no refund {refund_id}")
        return responses.json(refund_payload(refund))

    async def list_refunds(self, call: Call) -> web.Response:
        given = call.query("limit", "starting_after", "payment")
        limit, before, payment_id = call.limit(given), call.cursor(given, "re"), given.get("payment")
        if payment_id is not None and not _names(payment_id, "pay"):
            raise Rejected("invalid_request", "payment is the id of a payment", param="payment")
        async with acquire(self._pool) as connection:
            found = await refunds(connection, call.book, payment_id=payment_id, before=before, limit=limit + 1)
        return _list([refund_payload(refund) for refund in found], limit)

    # ---- payment links, standing codes -------------------------------------------------------------------------------

    async def add_payment_link(self, call: Call) -> web.Response:
        key = call.idempotency_key()
        body, raw = await call.body(schemas.PaymentLinkIn)
        new = _new_link(LINK, body)._replace(
            amount_minor=body.amount, expires_at=body.expires_at, max_uses=body.max_uses
        )
        return await self._add_link(call, new, key, raw)

    async def add_merchant_qr(self, call: Call) -> web.Response:
        key = call.idempotency_key()
        body, raw = await call.body(schemas.MerchantQrIn)
        return await self._add_link(call, _new_link(STATIC, body), key, raw)

    async def _add_link(self, call: Call, new: NewLink, key: str, raw: bytes) -> web.Response:
        claims = Claims([f"i:{key}"], hashlib.sha256(new.kind.encode() + b"\n" + raw).digest())
        link, replayed = await self._links.add(call.book, new, claims)
        return _made(self._links.payload(link), replayed)

    async def get_payment_link(self, call: Call) -> web.Response:
        return responses.json(self._links.payload(await self._links.get(call.book, call.ident("lnk"), LINK)))

    async def get_merchant_qr(self, call: Call) -> web.Response:
        return responses.json(self._links.payload(await self._links.get(call.book, call.ident("lnk"), STATIC)))

    async def list_payment_links(self, call: Call) -> web.Response:
        given = call.query("limit", "starting_after")
        return await self._list_links(call, LINK, given)

    async def list_merchant_qrs(self, call: Call) -> web.Response:
        given = call.query("limit", "starting_after")
        return await self._list_links(call, STATIC, given)

    async def _list_links(self, call: Call, kind: str, given: dict[str, str]) -> web.Response:
        limit, before = call.limit(given), call.cursor(given, "lnk")
        found = await self._links.listed(call.book, kind, before=before, limit=limit + 1)
        return _list([self._links.payload(link) for link in found], limit)

    async def change_payment_link(self, call: Call) -> web.Response:
        body, _ = await call.body(schemas.PaymentLinkChange)
        return await self._change_link(call, LINK, body)

    async def change_merchant_qr(self, call: Call) -> web.Response:
        body, _ = await call.body(schemas.MerchantQrChange)
        return await self._change_link(call, STATIC, body)

    async def _change_link(self, call: Call, kind: str, body: BaseModel) -> web.Response:
        changes = {name: value for name in body.model_fields_set if (value := getattr(body, name)) is not None}
        if "active" in changes:
            changes["state"] = "active" if changes.pop("active") else "inactive"
        return responses.json(
            self._links.payload(await self._links.change(call.book, call.ident("lnk"), kind, changes))
        )

    # ---- payees, balances, settlements, events -----------------------------------------------------------------------

    async def create_payee(self, call: Call) -> web.Response:
        body, _ = await call.body(schemas.PayeeIn)
        payee = await self._payees.register(
            call.book, reference=body.reference, name=body.name, kind=body.kind, currency=body.currency, bank=body.bank
        )
        return responses.json(splitting.payee_payload(payee), 201)

    async def list_payees(self, call: Call) -> web.Response:
        given = call.query("limit", "starting_after")
        limit, after = call.limit(given), call.cursor(given, "pye")
        async with acquire(self._pool) as connection:
            found = await splitting.store.payees(connection, call.book, after or "", limit + 1)
        return _list([splitting.payee_payload(payee) for payee in found], limit)

    async def list_balances(self, call: Call) -> web.Response:
        given = call.query("at", "account")
        if "at" in given:
            return await self._balance_at(call, given)
        async with acquire(self._pool) as connection:
            found = await ledger.store.balances(connection, call.book)
        data = [
            {
                "object": "balance",
                "account": account.name,
                "kind": account.name.partition(":")[0],
                "currency": account.currency,
                "side": account.side,
                "balance": account.balance,
                "available": account.available,
            }
            for account in found
            if given.get("account") in (None, account.name)
        ]
        return responses.json({"object": "list", "data": data, "has_more": False})

    async def _balance_at(self, call: Call, given: dict[str, str]) -> web.Response:
        name = given.get("account")
        if name is None:
            raise Rejected("field_missing", "a balance at a moment is asked for one account", param="account")
        try:
            at = schemas.moment(given["at"])
        except ValueError as error:
            raise Rejected("invalid_request", f"at: {error}", param="at") from None
        async with acquire(self._pool) as connection:
            balance = await ledger.store.balance_at(connection, call.book, name, at)
        if balance is None:
            raise NotFound("no_such_account", f"there is no account {name[:80]!r}")
        return responses.json({"object": "balance", "account": name, "at": rfc3339(at), "balance": balance})

    async def list_settlements(self, call: Call) -> web.Response:
        given = call.query("limit", "starting_after")
        limit, before = call.limit(given), given.get("starting_after")
        async with acquire(self._pool) as connection:
            # They are in the order of their dates, which the id of one that is not there does not tell.
            if before is not None and await splitting.store.find_settlement(connection, call.book, before) is None:
                raise _not_from_a_list()
            found = await splitting.store.settlements(connection, call.book, limit + 1, before=before)
        return _list([splitting.settlement_payload(settlement) for settlement in found], limit)

    async def get_settlement(self, call: Call) -> web.Response:
        settlement_id = call.request.match_info["id"]
        if not _SETTLEMENT.fullmatch(settlement_id):
            raise NotFound("no_such_settlement", f"there is no settlement {settlement_id[:64]!r}")
        async with acquire(self._pool) as connection:
            settlement = await splitting.store.find_settlement(connection, call.book, settlement_id)
            if settlement is None:
                raise NotFound("no_such_settlement", f"there is no settlement {settlement_id[:64]!r}")
            lines = await splitting.store.instructions(connection, call.book, settlement_id)
        body = splitting.settlement_payload(settlement)
        body["instructions"] = [splitting.instruction_payload(line) for line in lines]
        return responses.json(body)

    async def list_events(self, call: Call) -> web.Response:
        """Events in order; `after` is the number of the last one seen, so a reader misses none and repeats none."""
        given = call.query("after", "limit", "type")
        limit = call.limit(given)
        after = given.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) <= 18):
            raise Rejected(
                "invalid_cursor", "after is the number of the last event you have, 0 to start", param="after"
            )
        types = given["type"].split(",") if "type" in given else None
        if strange := [one for one in types or () if one not in EVENTS]:
            raise Rejected("invalid_request", f"there are no events of type {strange[0][:64]!r}", param="type")
        async with acquire(self._pool) as connection:
            found = await streams.events_after(connection, call.book, int(after), limit + 1, types)
        data = [
            {
                "object": "event",
                "id": event.id,
                "seq": event.seq,
                "type": event.type,
                "subject": event.subject,
                "created_at": stamp(event.recorded_at),  # to the microsecond, as the hash covers it
                "hash": event.hash.hex(),
                "data": responses.fragment(event.payload),
            }
            for event in found
        ]
        return _list(data, limit)

    # ---- channel accounts --------------------------------------------------------------------------------------------

    async def add_channel_account(self, call: Call) -> web.Response:
        key = call.idempotency_key()
        body, raw = await call.body(schemas.ChannelAccountIn)
        row, replayed = await self._channel_admin.add(
            call.book,
            body.id,
            body.channel,
            body.credentials,
            terms=_terms(body.terms),
            position=body.position,
            claims=self._claim(key, "add", raw),
            by=call.principal.key_id,
        )
        return _made(self._channel_account(row), replayed)

    async def list_channel_accounts(self, call: Call) -> web.Response:
        call.query()
        rows = await self._channel_admin.list(call.book)
        return _list([self._channel_account(row) for row in rows], len(rows))

    async def get_channel_account(self, call: Call) -> web.Response:
        return responses.json(self._channel_account(await self._channel_admin.get(call.book, call.account())))

    async def change_channel_account(self, call: Call) -> web.Response:
        account = call.account()
        body, _ = await call.body(schemas.ChannelAccountChange)
        row = await self._channel_admin.change(
            call.book,
            account,
            version=body.version,
            terms=None if body.terms is None else _terms(body.terms),
            position=body.position,
            state=body.state,
            by=call.principal.key_id,
        )
        return responses.json(self._channel_account(row))

    async def rotate_channel_account(self, call: Call) -> web.Response:
        key, account = call.idempotency_key(), call.account()
        body, raw = await call.body(schemas.RotateIn)
        row, replayed = await self._channel_admin.rotate(
            call.book,
            account,
            body.credentials,
            keep=timedelta(days=body.keep_days),
            claims=self._claim(key, f"rotate {account}", raw),
            by=call.principal.key_id,
            prove=not body.unproven,
        )
        return self._done(row, replayed)

    async def get_routing_policy(self, call: Call) -> web.Response:
        call.query()
        return responses.json(routing_policy_payload(await self._routing_policies.current(call.book)))

    async def set_routing_policy(self, call: Call) -> web.Response:
        body, _ = await call.body(schemas.RoutingPolicyIn)
        row = await self._routing_policies.set(
            call.book, body.policy, note=body.note, version=body.version, by=call.principal.key_id
        )
        return responses.json(routing_policy_payload(row))

    async def drain_channel_account(self, call: Call) -> web.Response:
        key, account = call.idempotency_key(), call.account()
        _, raw = await call.body(schemas.NothingIn)
        row = await self._channel_admin.change(
            call.book,
            account,
            state="draining",
            claims=self._claim(key, f"drain {account}", raw),
            by=call.principal.key_id,
        )
        return responses.json(self._channel_account(row))

    def _claim(self, key: str, what: str, raw: bytes) -> Claims:
        """Return the claim of a request whose body may hold secrets: kept is an HMAC of it, which tells nothing."""
        digest = self._authenticator.digest(f"{what}\n{hashlib.sha256(raw).hexdigest()}")
        return Claims((f"i:{key}",), digest)

    def _channel_account(self, row: ChannelAccount) -> dict[str, Any]:
        notify_url = self._payments.notify_url(row.book, row.id, row.channel)
        return channel_account_payload(row, notify_url, self._channel_admin.problem(row))

    def _done(self, row: ChannelAccount, replayed: bool) -> web.Response:
        return responses.json(self._channel_account(row), 200, {"Idempotency-Replayed": "true"} if replayed else None)

    # ---- not merchants -----------------------------------------------------------------------------------------------

    async def notify(self, request: web.Request) -> web.Response:
        """Take a channel's notice; the answer is in the rail's own dialect."""
        info = request.match_info
        if not _BASE36.fullmatch(info["book"]) or int(info["book"], 36) > _MAX_BOOK:
            raise NotFound("no_such_route", "nothing listens here")
        raw = await read_body(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = await self._notices.receive(
            info["channel"], int(info["book"], 36), info["account"], Response(200, headers, raw)
        )
        return web.Response(status=answer.status, body=answer.body or None, headers=dict(answer.headers))

    async def unknown(self, request: web.Request) -> web.Response:
        """Answer for paths and methods that do not exist."""
        offered = {
            route.method: resource.canonical
            for resource in request.app.router.resources()
            for route in resource
            if resource.canonical != "/{anything}" and _matches(resource.canonical, request.path)
        }
        if offered:
            place = next(iter(offered.values()))
            raise Rejected("method_not_allowed", f"{request.method} is not offered at {place}", allowed=sorted(offered))
        raise NotFound("no_such_route", f"there is nothing at {request.path[:80]!r}")


def _matches(pattern: str, path: str) -> bool:
    """Tell whether a path fits a pattern such as /v1/payments/{id}."""
    want, have = pattern.split("/"), path.split("/")
    return len(want) == len(have) and all((w[:1] == "{" and h != "") or w == h for w, h in zip(want, have, strict=True))


def _terms(said: dict[str, Any]) -> Terms:
    """Return terms as sent. Raises Rejected (terms_wrong)."""
    try:
        return Terms.of(said)
    except TermsWrong as error:
        raise terms_wrong(error) from None


def _new_link(kind: str, body: schemas.PaymentLinkIn | schemas.MerchantQrIn) -> NewLink:
    return NewLink(
        kind,
        body.name,
        body.description,
        None,
        body.minimum,
        body.maximum,
        body.currency,
        split=[_asked(share) for share in body.split],
        metadata=schemas.metadata_text(body.metadata),
        return_url=body.return_url,
    )


def _asked(share: schemas.ShareIn) -> Asked:
    if share.amount is not None:
        return Asked(share.payee, ShareKind.AMOUNT, share.amount)
    if share.basis_points is not None:
        return Asked(share.payee, ShareKind.BASIS_POINTS, share.basis_points)
    return Asked(share.payee, ShareKind.REMAINDER, share.remainder or 0)


def _made(body: dict[str, Any], replayed: bool) -> web.Response:
    if replayed:
        return responses.json(body, 200, {"Idempotency-Replayed": "true"})
    return responses.json(body, 201)


def _done(body: dict[str, Any], replayed: bool) -> web.Response:
    """Answer for something done to an object that was there before."""
    return responses.json(body, 200, {"Idempotency-Replayed": "true"} if replayed else None)


def _not_from_a_list() -> Rejected:
    return Rejected("invalid_cursor", "starting_after is the id of the last one you have", param="starting_after")


def _list(data: list[dict[str, Any]], limit: int) -> web.Response:
    return responses.json({"object": "list", "data": data[:limit], "has_more": len(data) > limit})
