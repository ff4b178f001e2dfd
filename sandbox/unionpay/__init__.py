"""The simulated UnionPay ACP 5.1.0 全渠道. README.md one folder up says how to use it."""

from pathlib import Path

from aiohttp import web

from sandbox import keys
from sandbox.acquirer import Acquirer, PayingBank
from sandbox.context import SandboxContext
from sandbox.unionpay.certificates import SigningKeys
from sandbox.unionpay.routes import Routes
from sandbox.unionpay.wire import UnionPayWire

__all__ = ["install"]


async def install(app: web.Application, ctx: SandboxContext, bank: PayingBank, pool: keys.Pool) -> None:
    """Put UnionPay's routes and background work into the sandbox's application; make its first keys and merchant."""
    ctx.store.create(Path(__file__).with_name("schema.sql").read_text())
    signing_keys = SigningKeys(ctx, pool)
    await signing_keys.start()
    acquirer = Acquirer(ctx, UnionPayWire(ctx, pool, signing_keys), bank)
    Routes(acquirer, signing_keys).add_to(app)
    await acquirer.install(app)
