"""What a daily `sluice verify` says of one invariant, for tests that have planted a fault in their transaction."""

from datetime import UTC, datetime

from kernel.clock import rfc3339
from kernel.db import Connection
from ops import touched
from ops.verified import Mark
from ops.verify import Run

LONG_AGO = rfc3339(datetime(2020, 1, 1, tzinfo=UTC))
NOTHING = Mark(LONG_AGO, LONG_AGO, {}, {}, {}, {}, [], 0)  # a mark of empty books: everything has come since


async def daily(connection: Connection, invariant: str, since: Mark = NOTHING, *, again: int = 0) -> list[str]:
    """Return what a daily run since this mark finds broken. Needs a transaction, which it leaves as it was."""
    async with touched.copies(connection):
        run = Run(connection, since, again=again)
        await run.begin()
        return await run.check(invariant)
