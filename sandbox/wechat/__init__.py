"""The simulated WeChat Pay API v3, for direct merchants 直连商户. README.md one folder up says how to use it."""

from aiohttp import web

from sandbox import keys
from sandbox.acquirer import Acquirer, PayingBank
from sandbox.context import SandboxContext
from sandbox.wechat.bills import Bills
from sandbox.wechat.carry_over import make_room
from sandbox.wechat.certificates import PlatformKeys
from sandbox.wechat.control import WeChatControl
from sandbox.wechat.pages import Pages
from sandbox.wechat.routes import Routes
from sandbox.wechat.visitors import Visitors
from sandbox.wechat.wire import WeChatWire

__all__ = ["install"]


async def install(app: web.Application, ctx: SandboxContext, bank: PayingBank, pool: keys.Pool) -> None:
    """Put WeChat Pay's routes and background work into the sandbox's application; make its first keys and merchant."""
    make_room(ctx)
    platform = PlatformKeys(ctx, pool)
    await platform.start()
    acquirer = Acquirer(ctx, WeChatWire(ctx, pool, platform), bank, WeChatControl)
    Routes(acquirer, platform, pool, Bills(acquirer)).add_to(app)
    Pages(acquirer).add_to(app)
    Visitors(acquirer).add_to(app)
    await acquirer.install(app)
    ctx.info["wechat"]["default_mchid"] = ctx.info["wechat"]["default_merchant"]
