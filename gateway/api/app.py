"""The web applications of a gateway process: the merchant API, and the operator's port beside it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gateway.door.bodies import MAX_BODY
from gateway.door.responses import json, problem
from gateway.door.server import GATE, OTHERWISE, UNREADABLE
from gateway.door.wrapper import Door
from kernel.errors import NotFound, Rejected


class Health(Protocol):
    """What keeps a process from serving, and what is only late; each by name."""

    @property
    def wrong(self) -> Mapping[str, str]: ...
    @property
    def degraded(self) -> Mapping[str, str]: ...


def make_app(door: Door) -> web.Application:
    """Return the merchant API. No middleware: the door's one wrapper does what they would, for less."""
    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes(door.routes())
    app[GATE], app[OTHERWISE], app[UNREADABLE] = door.gate, door.otherwise, door.unreadable
    app.on_shutdown.extend(door.on_shutdown)
    return app


def make_ops_app(
    health: Callable[[], Awaitable[Health]], registry: CollectorRegistry, refresh: Callable[[], Awaitable[None]]
) -> web.Application:
    """Return the operator's port: liveness, readiness, metrics. Never on the public address.

    health: returns what is wrong and what is late, by name; with nothing wrong this process can serve.
    refresh: brings the figures up to date.
    """

    async def live(_: web.Request) -> web.Response:
        return json({"status": "live"})

    async def readiness(_: web.Request) -> web.Response:
        found = await health()
        status = "not_ready" if found.wrong else "degraded" if found.degraded else "ready"
        body = {"status": status, "wrong": dict(found.wrong), "degraded": dict(found.degraded)}
        return json(body, 503 if found.wrong else 200)

    async def metrics(_: web.Request) -> web.Response:
        await refresh()
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def otherwise(_: web.Request) -> web.StreamResponse:
        return problem(NotFound("no_such_route", "this port has /live, /ready and /metrics"), "")

    def unreadable(_: web.BaseRequest, error: BaseException | None, status: int) -> web.Response:
        return problem(Rejected("malformed_request", "this is not an HTTP request, or it breaks HTTP's rules"), "")

    app = web.Application()
    app[OTHERWISE], app[UNREADABLE] = otherwise, unreadable
    app.add_routes([web.get("/live", live), web.get("/ready", readiness), web.get("/metrics", metrics)])
    return app
