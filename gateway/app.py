"""The web applications of a gateway process: the merchant API, and the operator's port beside it."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gateway.responses import json
from gateway.routes import MAX_BODY, Api


def make_app(api: Api) -> web.Application:
    """Return the merchant API. No middleware: the one wrapper in routes.py does what they would, for less."""
    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes(api.routes())
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

    app = web.Application()
    app.add_routes([web.get("/live", live), web.get("/ready", readiness), web.get("/metrics", metrics)])
    return app
