"""The one HTTP application: every rail and the control API on one port."""

from importlib import import_module
from pathlib import Path

from aiohttp import web

from sandbox import bank, cmb, keys, wallet
from sandbox.context import SandboxContext
from sandbox.control import Control, control_errors
from sandbox.wechat.routes import bare_http_errors

HERE = Path(__file__).parent
NOT_RAILS = frozenset({"acquirer", "bank", "cmb", "wallet"})  # what the rails stand on
LARGEST_BODY = 64 * 1024 * 1024  # bank files; WeChat Pay bodies are far smaller


def rails() -> list[str]:
    """Return the names of the simulated rails: every folder here, each with an `install` of its own."""
    folders = {path.parent.name for path in HERE.glob("*/__init__.py")}
    return sorted(folders - NOT_RAILS)


async def make_app(ctx: SandboxContext, pool: keys.Pool) -> web.Application:
    """Build the application on a context whose base_url is known already."""
    app = web.Application(middlewares=[bare_http_errors, control_errors], client_max_size=LARGEST_BODY)
    Control(ctx).add_to(app)
    the_bank = bank.install(app, ctx)
    cmb.install(app, ctx)
    for name in rails():
        await import_module(f"sandbox.{name}").install(app, ctx, the_bank, pool)
    wallet.install(app, ctx)
    ctx.info["control"] = sorted(
        f"{route.method} {route.resource.canonical}"
        for route in app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/control") and route.method != "HEAD"
    )
    return app
