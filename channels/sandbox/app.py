"""The one HTTP application: every rail and the control API on one port."""

from aiohttp import web

from channels.sandbox import alipay, bank, bank_transfer, keys, paypal, stripe, unionpay, wechat
from channels.sandbox.context import SandboxContext
from channels.sandbox.control import Control, control_errors
from channels.sandbox.wechat.routes import bare_http_errors

LARGEST_BODY = 64 * 1024 * 1024  # bank files; WeChat Pay bodies are far smaller


async def make_app(ctx: SandboxContext, pool: keys.Pool) -> web.Application:
    """Build the application on a context whose base_url is known already."""
    app = web.Application(middlewares=[bare_http_errors, control_errors], client_max_size=LARGEST_BODY)
    Control(ctx).add_to(app)
    the_bank = bank.install(app, ctx)
    await wechat.install(app, ctx, the_bank, pool)
    await alipay.install(app, ctx, the_bank, pool)
    await bank_transfer.install(app, ctx, the_bank, pool)
    await stripe.install(app, ctx, the_bank)
    await unionpay.install(app, ctx, the_bank, pool)
    await paypal.install(app, ctx, the_bank, pool)
    ctx.info["control"] = sorted(
        f"{route.method} {route.resource.canonical}"
        for route in app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/control") and route.method != "HEAD"
    )
    return app
