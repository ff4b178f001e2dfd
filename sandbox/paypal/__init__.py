"""The simulated PayPal: Orders v2, Payments v2, webhooks, the transactions report; see README.md beside this."""

from pathlib import Path

from aiohttp import web

from sandbox import keys
from sandbox.acquirer import Acquirer, PayingBank
from sandbox.context import SandboxContext
from sandbox.paypal.certificates import Certificates
from sandbox.paypal.report import Report
from sandbox.paypal.routes import Routes
from sandbox.paypal.service import PayPal
from sandbox.paypal.webhooks import Webhooks
from sandbox.paypal.wire import PayPalWire

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
