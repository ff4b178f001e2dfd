"""The payer's wallet as a page: /wallet. See pages.py."""

from aiohttp import web

from sandbox.context import SandboxContext
from sandbox.wallet.pages import Wallet

__all__ = ["install"]


def install(app: web.Application, ctx: SandboxContext) -> None:
    """Put the wallet into the sandbox's application. It is a client of the control API like any other."""
    Wallet(ctx.base_url).add_to(app)
