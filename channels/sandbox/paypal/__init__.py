"""The simulated PayPal: Orders v2, Payments v2, webhooks, the transactions report; see README.md beside this."""

from pathlib import Path

from aiohttp import web

from channels.sandbox import keys
from channels.sandbox.acquirer import Acquirer, PayingBank
from channels.sandbox.context import SandboxContext
from channels.sandbox.paypal.certificates import Certificates
from channels.sandbox.paypal.report import Report
from channels.sandbox.paypal.routes import Routes
from channels.sandbox.paypal.service import PayPal
from channels.sandbox.paypal.webhooks import Webhooks
from channels.sandbox.paypal.wire import PayPalWire

__all__ = ["install"]


async def install(app: web.Application, ctx: SandboxContext, bank: PayingBank, pool: keys.Pool) -> None:
    """Put PayPal's routes and background work into the sandbox's application."""
    ctx.store.create(Path(__file__).with_name("schema.sql").read_text())
    certificates = Certificates(ctx, pool)
    await certificates.start()
    wire = PayPalWire(ctx, certificates)
    acquirer = Acquirer(ctx, wire, bank)
    webhooks = Webhooks(acquirer, certificates)
    Routes(PayPal(acquirer, wire), wire.views, Report(acquirer), webhooks, certificates).add_to(app)
    await acquirer.install(app)
