"""The simulated Alipay OpenAPI, with keys and with certificates. README.md one folder up says how to use it."""

from pathlib import Path

from aiohttp import web

from channels.sandbox import keys
from channels.sandbox.acquirer import Acquirer
from channels.sandbox.acquirer.days import PayingBank
from channels.sandbox.alipay.bills import Bills
from channels.sandbox.alipay.gateway import Gateway
from channels.sandbox.alipay.royalties import Royalties
from channels.sandbox.alipay.signing import RailKeys
from channels.sandbox.alipay.trading import Trading
from channels.sandbox.alipay.wire import AlipayWire
from channels.sandbox.context import SandboxContext

__all__ = ["install"]


async def install(app: web.Application, ctx: SandboxContext, bank: PayingBank, pool: keys.Pool) -> None:
    """Put Alipay's routes and background work into the sandbox's application; make its first keys and merchant."""
    ctx.store.create(Path(__file__).with_name("schema.sql").read_text())
    rail_keys = RailKeys(ctx.home / "alipay", pool)
    await rail_keys.start()
    wire = AlipayWire(ctx, rail_keys, pool)
    acquirer = Acquirer(ctx, wire, bank)
    trading = Trading(acquirer)
    gateway = Gateway(acquirer, wire, trading, Royalties(acquirer), Bills(acquirer))
    wire.attach(acquirer, gateway.comes)
    gateway.add_to(app)
    await acquirer.install(app)
