"""The sandbox bank's collection service: virtual sub-accounts 虚拟子账户 of a pool account, one for each payment."""

from aiohttp import web

from sandbox import keys
from sandbox.acquirer import Acquirer
from sandbox.bank import Bank
from sandbox.bank_transfer.routes import Routes
from sandbox.bank_transfer.wire import CollectionWire
from sandbox.context import SandboxContext

__all__ = ["install"]


async def install(app: web.Application, ctx: SandboxContext, bank: Bank, pool: keys.Pool) -> None:
    """Put the service's routes and background work into the sandbox's application."""
    wire = CollectionWire(ctx, bank, pool)
    acquirer = Acquirer(ctx, wire, bank)
    Routes(acquirer, wire, bank).add_to(app)
    await acquirer.install(app)
