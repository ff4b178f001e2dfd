"""The simulated Alipay OpenAPI, with keys and with certificates. README.md one folder up says how to use it."""

from pathlib import Path

from aiohttp import web

from sandbox import keys
from sandbox.acquirer import Acquirer
from sandbox.acquirer.days import PayingBank
from sandbox.alipay.bills import Bills
from sandbox.alipay.gateway import Gateway
from sandbox.alipay.refunding import Refunding
from sandbox.alipay.royalties import Royalties
from sandbox.alipay.signing import RailKeys
from sandbox.alipay.trading import Trading
from sandbox.alipay.wire import AlipayWire
from sandbox.context import SandboxContext

__all__ = ["install"]


async def install(app: web.Application, ctx: SandboxContext, bank: PayingBank, pool: keys.Pool) -> None:
    """Put Alipay's routes and background work into the sandbox's application; make its first keys and merchant."""
    ctx.store.create(Path(__file__).with_name("schema.sql").read_text())
    rail_keys = RailKeys(ctx.home / "alipay", pool)
    await rail_keys.start()
    wire = AlipayWire(ctx, rail_keys, pool)
    acquirer = Acquirer(ctx, wire, bank)
    trading = Trading(acquirer)
    shares = Royalties(acquirer)
    gateway = Gateway(acquirer, wire, trading, Refunding(acquirer, shares), shares, Bills(acquirer))
    wire.attach(acquirer, gateway.comes)
    gateway.add_to(app)
    await acquirer.install(app)
