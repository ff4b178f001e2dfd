"""The sandbox bank's collection service: virtual sub-accounts 虚拟子账户 of a pool account, one for each payment."""

from aiohttp import web

from channels.sandbox import keys
from channels.sandbox.acquirer import Acquirer
from channels.sandbox.bank import Bank
from channels.sandbox.bank_transfer.routes import Routes
from channels.sandbox.bank_transfer.wire import CollectionWire
from channels.sandbox.context import SandboxContext

__all__ = ["install"]


async def install(app: web.Application, ctx: SandboxContext, bank: Bank, pool: keys.Pool) -> None:
    """Put the service's routes and background work into the sandbox's application."""
    wire = CollectionWire(ctx, bank, pool)
    acquirer = Acquirer(ctx, wire, bank)
    Routes(acquirer, wire, bank).add_to(app)
    await acquirer.install(app)
