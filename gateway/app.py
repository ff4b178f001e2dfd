"""The web applications of a gateway process: the merchant API, and the operator's port beside it."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gateway.bodies import MAX_BODY
from gateway.door import OTHERWISE, UNREADABLE
from gateway.responses import json, problem
from gateway.routes import Api
from kernel.errors import NotFound, Rejected


def make_app(api: Api) -> web.Application:
    """Return the merchant API. No middleware: the one wrapper in routes.py does what they would, for less."""
    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes(api.routes())
    app[OTHERWISE], app[UNREADABLE] = api.otherwise, api.unreadable
    app.on_shutdown.append(api.close)
    return app


def make_ops_app(
    ready: Callable[[], Awaitable[dict[str, str]]], registry: CollectorRegistry, refresh: Callable[[], Awaitable[None]]
) -> web.Application:
    """Return the operator's port: liveness, readiness, metrics. Never on the public address.

    ready: returns what is wrong by name, empty when this process can serve. refresh: brings the figures up to date.
    """

    async def live(_: web.Request) -> web.Response:
        return json({"status": "live"})

    async def readiness(_: web.Request) -> web.Response:
        wrong = await ready()
        return json({"status": "ready" if not wrong else "not_ready", "wrong": wrong}, 503 if wrong else 200)

    async def metrics(_: web.Request) -> web.Response:
        await refresh()
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def otherwise(_: web.Request) -> web.StreamResponse:
        return problem(NotFound("no_such_route", "here are /live, /ready and /metrics"), "")

    def unreadable(_: web.BaseRequest, error: BaseException | None, status: int) -> web.Response:
        return problem(Rejected("malformed_request", "this is no HTTP request, or breaks its rules"), "")

    app = web.Application()
    app[OTHERWISE], app[UNREADABLE] = otherwise, unreadable
    app.add_routes([web.get("/live", live), web.get("/ready", readiness), web.get("/metrics", metrics)])
    return app
