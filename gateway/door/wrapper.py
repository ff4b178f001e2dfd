"""The one wrapper around every route: who calls, may it, what was answered, how fast."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import LineTooLong

from gateway.door import responses
from gateway.door.admission import STRANGERS, Admission, CallerLeft, Place, Rank, Reason, TurnedAway
from gateway.door.auth import Authenticator
from gateway.door.calls import read_call
from gateway.door.pages import Page
from gateway.door.server import Refusal
from gateway.metrics import Metrics
from kernel.cards import holds_card_number
from kernel.clock import rfc3339
from kernel.db import AGAIN, DATABASE, LOST
from kernel.env import Env
from kernel.errors import NotFound, Rejected, SluiceError, Unavailable
from kernel.masking import without_keys
from kernel.outage import said
from kernel.routes import JSON, Route

log = logging.getLogger(__name__)
R = TypeVar("R", bound=web.StreamResponse)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ANYTHING = r"/{anything:[\s\S]*}"  # a path may have any character, once it is decoded

_REQUEST_ID = re.compile(r"^[0-9A-Za-z_\-]{8,64}$")
# What keeps every request from being served has no line a request: the access log and the metrics have them all.
_COUNTED = frozenset({"database_unavailable", "busy", "shutting_down"})
# Not every OSError: a key file that cannot be read is our mistake, and asking again would not mend it.
_DATABASE_AWAY = (*(kind for kind in LOST if kind is not OSError), *AGAIN)

_READ_WITHIN_S = 30.0  # each part of what is sent as it is made
_REPLAYED = {"Idempotency-Replayed": "true"}


class Door:
    """The merchants' door of one process: its routes, each wrapped in the same way."""

    def __init__(
        self,
        routes: Sequence[Route[Any]],
        pages: Sequence[Page],
        *,
        authenticator: Authenticator,
        env: Env,
        admission: Admission,
        metrics: Metrics,
        access_log: Callable[[dict[str, Any]], None] | None = None,
        on_shutdown: Sequence[Callable[[web.Application], Awaitable[None]]] = (),
    ) -> None:
        """on_shutdown: lets go whoever waits for news, so that the process can end."""
        self._records, self._pages = routes, pages
        self._yielding = {(route.method, route.path): route.name for route in routes if route.gives_way}
        self._authenticator = authenticator
        self._env = env
        self._admission = admission
        self._metrics = metrics
        self._access_log = access_log
        self.on_shutdown = on_shutdown
        self._prepared: dict[Reason, responses.Prepared] = {}
        self.otherwise = self._open(Page("*", ANYTHING, "unknown", self.unknown, rank=Rank.CREATE, who=STRANGERS))
        self._refuse_expectation = self._open(
            Page("*", ANYTHING, "unknown", self.expectation, rank=Rank.CREATE, who=STRANGERS)
        )

    def routes(self) -> list[web.RouteDef]:
        """Return every route as aiohttp takes it; what fits none is answered by `unknown`."""
        found = [self._route(route.method, route.path, self._guarded(route)) for route in self._records]
        found += [self._route(page.method, page.path, self._open(page), head=page.head) for page in self._pages]
        # /v1/things/dry_run is no thing's id, whatever the method: it is not left to /v1/things/{id}.
        paths = {route.path for route in found}
        words = [
            path for path in sorted(paths) if any(_matches(one, path) and not _matches(path, one) for one in paths)
        ]
        return [*found, *(self._route("*", path, self.otherwise) for path in (*words, ANYTHING))]

    def _route(self, method: str, path: str, handler: Handler, *, head: bool = False) -> web.RouteDef:
        more: dict[str, Any] = {"allow_head": head} if method == "GET" else {}
        return web.route(method, path, handler, expect_handler=self._expect, **more)

    def _guarded(self, route: Route[Any]) -> Handler:
        """Wrap a merchant's route. One layer: each costs every request."""
        name, scope, work = route.name, route.scope, route.handler
        rank = Rank.CREATE if route.gives_way else Rank.QUERY
        read, is_json = read_call(route), route.media == JSON

        async def handle(request: web.Request) -> web.StreamResponse:
            started = self._env.clock.monotonic()
            request_id = self._request_id(request.headers)
            merchant = ticket = None
            response: web.StreamResponse
            given = request.headers.getall("Authorization", ())
            authorization = given[0] if len(given) == 1 else None  # of two, what stands between may have read the other
            try:
                ticket = self._admission.enter(rank, self._admission.caller(authorization), request.transport)
                principal = await self._authenticator.principal(authorization)
                self._admission.knows(authorization, principal.book)
                merchant = principal.merchant_id
                principal.require(scope)
                ticket.go_on()
                reply = await work(await read(request, principal))
                if is_json:
                    response = responses.json(reply.body, reply.status, _REPLAYED if reply.replayed else None)
                else:
                    response = await self._streamed(request, reply.body, route, request_id)
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

    async def _streamed(
        self, request: web.Request, parts: AsyncIterator[bytes], route: Route[Any], request_id: str
    ) -> web.StreamResponse:
        """Send what is made part by part; once it has begun, what goes wrong can only cut it short.

        The first part is made before anything is sent, so that a refusal is answered as usual. Who takes longer than
        _READ_WITHIN_S for a part is no longer read to: the place in the hub is another's.
        """
        first = await anext(parts)
        response = web.StreamResponse(headers={"X-Request-Id": request_id, "Cache-Control": "no-store"})
        response.content_type, response.charset = route.media, "utf-8"
        if route.file:
            response.headers["Content-Disposition"] = f'attachment; filename="{route.file}"'
        await response.prepare(request)
        try:
            await asyncio.wait_for(response.write(first), _READ_WITHIN_S)
            async for part in parts:
                await asyncio.wait_for(response.write(part), _READ_WITHIN_S)
            await response.write_eof()
        except Exception as error:
            log.warning("an answer was cut short", extra={"request_id": request_id, "why": said(error)})
            if request.transport is not None:
                request.transport.abort()  # without its end, so that nobody takes the part for the whole
        return response

    def _open(self, page: Page) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Wrap a page. What goes wrong is a page too, where it knows how to make one."""
        name, work, rank, who, page_for = page.name, page.work, page.rank, page.who, page.refused

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
                        Unavailable("database_unavailable", "the database is unavailable"), request, request_id
                    )
            except Exception:  # the outermost boundary, as above
                response = self._unexpected(request_id, name)
                if page_for is not None:
                    response = page_for(SluiceError("internal_error", "an error in the hub"), request, request_id)
            finally:
                if ticket is not None:
                    ticket.leave()
            return self._answered(request, response, request_id, name, started, None)

        return handle

    def gate(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | Place | None:
        """Turn what gives way away before anything is done for it, if it is too much; None: it is none of that.

        The wrappers above would do it too, for several times the price, and in a flood that is what is left of the hub.
        """
        name = self._yielding.get((method, path))
        if name is None:
            return None
        found = self._admission.hold(Rank.CREATE, self._admission.caller(headers.get("Authorization")))
        if isinstance(found, Place):
            return found
        prepared = self._prepared.get(found)
        if prepared is None:
            prepared = self._prepared[found] = responses.Prepared(found.error())
        self._metrics.answered(name, prepared.status, None)
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
        raise Rejected("expectation_unknown", "the only Expect value supported is 100-continue")

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
            "the address or a header is too long" if long else "this is not an HTTP request, or it breaks HTTP's rules",
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
        refusal = Unavailable(
            "database_unavailable", "the hub's database is unavailable; send the request again with the same key"
        )
        refusal.__cause__ = error
        if not DATABASE.is_on:
            log.warning(
                "the database failed a request", extra={"request_id": request_id, "route": name, "why": said(error)}
            )
        return self._problem(refusal, request_id, name)

    def _unexpected(self, request_id: str, name: str) -> web.Response:
        log.exception("a handler failed", extra={"request_id": request_id, "route": name})
        error = SluiceError(
            "internal_error", f"an error in the hub; quote {request_id} to the operator, and try again later"
        )
        return responses.problem(error, request_id)

    def _answered(
        self,
        request: web.BaseRequest,
        response: R,
        request_id: str,
        name: str,
        started: float,
        merchant: str | None,
    ) -> R:
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

    async def unknown(self, request: web.Request) -> web.Response:
        """Answer for paths and methods that do not exist."""
        offered: dict[str, str] = {}
        fitting = [one for one in request.app.router.resources() if _matches(one.canonical, request.path)]
        exact = [one for one in fitting if one.canonical == request.path]
        for resource in exact or fitting:
            offered |= {route.method: resource.canonical for route in resource if route.method != "*"}
        if offered:
            place = next(iter(offered.values()))
            raise Rejected("method_not_allowed", f"{place} does not take {request.method}", allowed=sorted(offered))
        raise NotFound("no_such_route", f"there is no route {request.path[:80]!r}")


def _matches(pattern: str, path: str) -> bool:
    """Tell whether a path fits a pattern such as /v1/payments/{id}."""
    want, have = pattern.split("/"), path.split("/")
    return len(want) == len(have) and all((w[:1] == "{" and h != "") or w == h for w, h in zip(want, have, strict=True))
