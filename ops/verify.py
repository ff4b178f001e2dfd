"""`sluice verify`: every invariant of the books, each with what breaks it."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import cases
import gateway.store
import ledger
import splitting
import streams
from kernel.db import Connection, Pool, acquire

INVARIANTS: dict[str, Callable[[Connection], Awaitable[list[str]]]] = {
    **ledger.INVARIANTS,
    **streams.INVARIANTS,
    **cases.INVARIANTS,
    **splitting.INVARIANTS,
    **gateway.store.INVARIANTS,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one invariant came to."""

    name: str
    says: str  # the first sentence of its description
    broken: list[str]
    seconds: float


async def verify(pool: Pool) -> list[Verdict]:
    """Check every invariant on one snapshot of the database."""
    verdicts = []
    async with acquire(pool) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL statement_timeout = 0")
        for name, check in INVARIANTS.items():
            started = time.perf_counter()
            broken = await check(connection)
            says = (check.__doc__ or name).strip().splitlines()[0]
            verdicts.append(Verdict(name, says, broken, time.perf_counter() - started))
    return verdicts


def as_json(verdicts: list[Verdict]) -> dict[str, Any]:
    """Return the verdicts for machines."""
    return {
        "checked": len(verdicts),
        "broken": sum(1 for v in verdicts if v.broken),
        "invariants": {v.name: {"broken": len(v.broken), "examples": v.broken[:10]} for v in verdicts},
    }
