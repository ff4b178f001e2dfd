"""The simulated WeChat Pay API v3, for direct merchants 直连商户. README.md one folder up says how to use it."""

from pathlib import Path

from aiohttp import web

from sandbox import coupons, keys
from sandbox.context import SandboxContext
from sandbox.wechat.bills import Bills
from sandbox.wechat.control import WeChatControl
from sandbox.wechat.days import Days, PayingBank
from sandbox.wechat.pages import Pages
from sandbox.wechat.routes import Routes
from sandbox.wechat.service import WeChat
from sandbox.wechat.visitors import Visitors

__all__ = ["install"]


async def install(app: web.Application, ctx: SandboxContext, bank: PayingBank, pool: keys.Pool) -> None:
    """Put WeChat Pay's routes and background work into the sandbox's application; make its first keys and merchant."""
    ctx.store.create(Path(__file__).with_name("schema.sql").read_text())
    for table in ("wechat_trade", "wechat_refund"):
        ctx.store.add_column(table, "coupons", "TEXT")
    coupons.install(ctx)
    wechat = WeChat(ctx, pool)
    await wechat.platform.start()
    if not wechat.merchants.all():
        await wechat.merchants.create(name="default merchant", fee_bp=60, settle_to=None, public_key_only=False)
    days = Days(ctx, wechat.merchants, bank)
    control = WeChatControl(wechat, days)
    Routes(wechat, Bills(ctx)).add_to(app)
    Pages(wechat).add_to(app)
    Visitors(wechat).add_to(app)
    control.add_to(app)
    ctx.info["wechat"] = {
        "base_url": ctx.base_url,
        "default_mchid": wechat.merchants.all()[0].mchid,
        "merchants": [control.described(merchant) for merchant in wechat.merchants.all()],
    }

    async def start(_: web.Application) -> None:
        ctx.spawn("wechat: send notices", wechat.notices.run())
        ctx.spawn("wechat: end refunds and orders", wechat.run_due())
        ctx.spawn("wechat: close days", days.run())

    app.on_startup.append(start)
