"""Whether a merchant takes payments: an operator may suspend it, and one without a live API key takes none by itself.

Only what begins is refused: open payments are followed to their end, what was paid is shared out and settled, and
refunds go back to payers. See docs/decisions/0025-a-suspended-merchant.md.
"""

from gateway.store import Standing, find_standing
from kernel.cache import Cache
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import Conflict


class Standings:
    """How the merchants of a process stand, each looked up once a second at most."""

    def __init__(self, pool: Pool, env: Env) -> None:
        self._pool = pool
        self._env = env
        self._found = Cache(self._look_up, env)

    async def require(self, book: int) -> None:
        """Raise Conflict (merchant_suspended) unless new payments may begin."""
        standing = await self._found.get(book)
        if standing.suspended_at is not None:
            raise _suspended("the merchant is suspended")
        if not standing.has_live_key:
            raise _suspended("the merchant has no API key that is in force")

    async def _look_up(self, book: int) -> Standing:
        async with acquire(self._pool) as connection:
            return await find_standing(connection, book, self._env.now())


def _suspended(why: str) -> Conflict:
    return Conflict(
        "merchant_suspended",
        f"{why}, so no payment can begin; open payments continue, and refunds are made",
        why="inactive",
    )
