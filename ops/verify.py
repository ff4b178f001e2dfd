"""`sluice verify`: every invariant of the books, each with what breaks it."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cases
import gateway.store
import ledger
import ledger.invariants
import splitting
import streams
from kernel.chain import Walk
from kernel.db import Connection, Pool, acquire
from kernel.env import Env
from ops.secrets_file import secret_file
from ops.verified import Ends, Mark, load, save

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


@dataclass(frozen=True, slots=True)
class Walked:
    """What of a chain was walked this time, and what was verified before and not walked again."""

    chain: str  # journal | events
    rows: int
    before: int
    since: str | None  # when that was verified
    why_all: str  # why all of it was walked, where that was not asked for


class Marks:
    """Where a home keeps how far its chains were found unbroken."""

    def __init__(self, home: Path, env: Env) -> None:
        self._home, self._env = home, env
        self._key = secret_file(home, "verified-mark", env.secrets)

    def load(self) -> tuple[Mark | None, str]:
        return load(self._home, self._key)

    def save(self, walks: Mapping[str, Walk]) -> None:
        save(self._home, self._key, self._env.now(), walks["journal"].ends, walks["events"].ends)


class _Chain(NamedTuple):
    invariant: str
    check: Callable[[Connection, Walk | None], Awaitable[list[str]]]
    table: str


CHAINS = {
    "journal": _Chain("journal_chain_holds", ledger.invariants.journal_chain_holds, "transfer"),
    "events": _Chain("event_chain_holds", streams.store.event_chain_holds, "event"),
}


async def verify(pool: Pool) -> list[Verdict]:
    """Check every invariant on one snapshot of the database, and walk the chains from their beginning."""
    return (await verify_since(pool, None))[0]


async def verify_since(
    pool: Pool, marks: Marks | None, *, everything: bool = False
) -> tuple[list[Verdict], list[Walked]]:
    """Check every invariant on one snapshot; of the chains walk what came after the home's mark, and move that.

    A mark that is missing, damaged or of another key is not believed: then all is walked. So it is with `everything`,
    and where the chains do not have any more what the mark ends at, which is a finding. The mark moves only where
    nothing is broken.
    """
    mark, why = (None, "") if marks is None else marks.load()
    verdicts, walks, told = [], {}, []
    async with acquire(pool) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL statement_timeout = 0")
        walked_as = {}
        for name, chain in CHAINS.items():
            ends = {} if mark is None else getattr(mark, name)
            rewritten = await _disagreeing(connection, chain.table, ends)
            walks[name] = Walk({} if rewritten or everything else ends)
            walked_as[chain.invariant] = chain.check, walks[name], rewritten
            known = sum(number for number, _ in walks[name].since.values())
            because = "what the mark ends at is not there any more" if rewritten else why
            told.append((name, known, mark.at if mark is not None and known else None, "" if everything else because))
        for name, check in INVARIANTS.items():
            started = time.perf_counter()
            if name in walked_as:
                walker, walk, rewritten = walked_as[name]
                broken = [*rewritten, *await walker(connection, walk)]
            else:
                broken = await check(connection)
            says = (check.__doc__ or name).strip().splitlines()[0]
            verdicts.append(Verdict(name, says, broken, time.perf_counter() - started))
    if marks is not None and not any(verdict.broken for verdict in verdicts):
        marks.save(walks)
    return verdicts, [Walked(name, walks[name].rows, known, at, because) for name, known, at, because in told]


async def _disagreeing(connection: Connection, table: str, ends: Ends) -> list[str]:
    """Return the books whose chain is not any more what it was when its prefix was verified."""
    found = {}
    for book, (number, _) in ends.items():
        found[book] = await connection.fetchval(f"SELECT hash FROM {table} WHERE book = $1 AND seq = $2", book, number)
    return [
        f"book {book}: {table} {number} is not the one that was verified: its chain was written anew, or a backup put "
        "back"
        for book, (number, digest) in ends.items()
        if number and found[book] != digest
    ]


def as_json(verdicts: list[Verdict], walked: Sequence[Walked] = ()) -> dict[str, Any]:
    """Return the verdicts for machines, with what of the chains was walked."""
    return {
        "walked": {
            one.chain: {
                "rows": one.rows,
                "verified_before": one.before,
                "verified_at": one.since,
                "why_all": one.why_all,
            }
            for one in walked
        },
        "checked": len(verdicts),
        "broken": sum(1 for v in verdicts if v.broken),
        "invariants": {v.name: {"broken": len(v.broken), "examples": v.broken[:10]} for v in verdicts},
    }
