"""Kills one process of a running hub after the other while a day is played, and notes what was in flight each time."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg

from kernel.db import LOST
from ops import embedded
from ops.supervisor import Process
from tests.ops.trials.replay.running import RunningHub

LOOK_EVERY_S = 0.005


@dataclass(frozen=True)
class Sight:
    """A day as the database has it at one moment."""

    payments: int
    calling: int  # payments and refunds whose first call to the channel is under way
    waiting: int  # those the channel has and has not decided
    at_bank: int  # lines of the settlement that the bank has not decided


@dataclass(frozen=True)
class Kill:
    """One kill -9 that hit, and what was seen just before."""

    name: str
    pid: int
    sight: Sight


@dataclass
class Killer:
    """Follows the day of one book in the database, as nobody of the hub's can notice, and kills when its turn comes.

    trading: (how many payments the day must have, whom to kill then). settling: whom to kill, one after the other,
    while the bank has not decided the day's settlement.
    """

    hub: RunningHub
    book: int
    trading: Sequence[tuple[int, str]]
    settling: Sequence[str]
    kills: list[Kill] = field(default_factory=list)

    async def follow(self, day: "subprocess.Popen[str]") -> None:
        """Kill according to plan until the day is over."""
        trading, settling = list(self.trading), list(self.settling)
        while day.poll() is None:
            sight = await self._look()
            if trading and sight.payments >= trading[0][0] and _worth_it(trading[0][1], sight):
                await self._kill(trading.pop(0)[1], sight)
            elif settling and sight.at_bank:
                await self._kill(settling.pop(0), sight)
            else:
                await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> Sight:
        while True:
            with contextlib.suppress(asyncpg.PostgresError, *LOST):
                connection = await self._connected()
                row = await connection.fetchrow(
                    """
                    SELECT (SELECT count(*) FROM payment WHERE book = $1),
                           (SELECT count(*) FROM attempt WHERE book = $1 AND status = 'created')
                           + (SELECT count(*) FROM refund
                              WHERE book = $1 AND status = 'processing' AND channel_ref IS NULL),
                           (SELECT count(*) FROM attempt WHERE book = $1 AND status IN ('pending', 'unknown'))
                           + (SELECT count(*) FROM refund
                              WHERE book = $1 AND status = 'processing' AND channel_ref IS NOT NULL),
                           (SELECT coalesce(sum(open_count), 0)::int FROM settlement WHERE book = $1)
                    """,
                    self.book,
                )
                assert row is not None
                return Sight(*row)
            await asyncio.sleep(0.05)

    _connection: "asyncpg.Connection[asyncpg.Record] | None" = None

    async def _connected(self) -> "asyncpg.Connection[asyncpg.Record]":
        if self._connection is None or self._connection.is_closed():
            url = embedded.postgres_url(self.hub.home)
            self._connection = await asyncpg.connect(url, timeout=5, command_timeout=5)
        return self._connection

    async def _kill(self, name: str, sight: Sight) -> None:
        """Kill -9 and wait until the supervisor has put another in its place."""
        before = self._process(name)
        assert before.pid is not None
        os.kill(before.pid, signal.SIGKILL)
        self.kills.append(Kill(name, before.pid, sight))
        now = before
        while now.restarts == before.restarts or now.pid in (None, before.pid):
            await asyncio.sleep(0.02)
            now = self._process(name)

    def _process(self, name: str) -> Process:
        run = self.hub.run
        return next(process for process in [*run.servers, *run.children] if process.name == name)


def _worth_it(name: str, sight: Sight) -> bool:
    """Tell whether this death would come at a bad moment.

    A gateway's does while it calls the channel. Whoever asked waits until that call must be over, wherever it was made:
    20 s. So not too many at once, or the whole day stands still and nothing is in flight for the next kill.
    """
    return 1 <= sight.calling <= 4 if name == "gateway" else sight.calling + sight.waiting > 0
