"""The simulated Stripe: PaymentIntents, refunds, balance transactions, webhook endpoints. README.md here says more."""

from pathlib import Path

from aiohttp import web

from sandbox import keys
from sandbox.acquirer import Acquirer, PayingBank
from sandbox.context import SandboxContext
from sandbox.stripe.routes import Routes
from sandbox.stripe.wire import StripeWire

__all__ = ["install"]


async def install(app: web.Application, ctx: SandboxContext, bank: PayingBank, _pool: keys.Pool) -> None:
    """Put Stripe's routes and background work into the sandbox's application."""
    ctx.store.create(Path(__file__).with_name("schema.sql").read_text())
    wire = StripeWire(ctx)
    acquirer = Acquirer(ctx, wire, bank)
    wire.acquirer = acquirer
    Routes(acquirer).add_to(app)
    await acquirer.install(app)
