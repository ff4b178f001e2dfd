"""Whether a process can do its work, tried rather than supposed, and what waits in the database to be done.

Readiness is what a load balancer acts on, so it fails only for what makes this gateway refuse payments: no durable
write, no master keys, a clock that is off. What is merely late, as everything the worker does, is told in the body and
in the figures: see docs/decisions/0023-ready-means-payments-can-be-taken.md.
"""

import asyncio
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path

import asyncpg

import cases
import splitting
import streams
from gateway.door.admission import Room
from gateway.metrics import Metrics
from gateway.store import beat, last_beat_s, overdue_s, some_sealed
from kernel.clock import BEIJING, business_date
from kernel.db import FULL, LOST, Pool, acquire
from kernel.env import Env
from kernel.errors import SluiceError
from kernel.lane import Lanes
from kernel.masking import masked
from kernel.outage import said
from kernel.sealing import CannotOpen, master_of
from kernel.work import clock_off
from ops.channel_keys import ChannelKeys
from reconciliation.proof import store as proofs

LOOK_S = 3.0  # a database that has not said all by then is as good as away
REMEMBER_S = 1.0  # whoever asks more often gets the same answer
BEAT_EVERY_S = 5.0
SILENT_AFTER_S = 30.0  # a worker that has not beaten for so long is stopped, stuck or cut off
LEAST_FREE_BYTES = 100 * 2**20  # less is used up by one checkpoint's worth of the database's log
_MOST_WAITING = 3000
PROOFS_WATCHED = timedelta(days=31)  # so far back a proof that does not hold is an alarm


@dataclass(frozen=True, slots=True)
class Health:
    """What keeps a process from serving, and what is late meanwhile; each by name, for people."""

    wrong: Mapping[str, str] = field(default_factory=dict)
    degraded: Mapping[str, str] = field(default_factory=dict)


class Checks:
    """Looks at what one process stands on."""

    def __init__(
        self,
        *,
        pool: Pool,
        lanes: Lanes,
        env: Env,
        keys: ChannelKeys,
        metrics: Metrics,
        rooms: Callable[[], Iterable[tuple[str, Room]]],
        late: Callable[[], Awaitable[Mapping[str, float]]],
        max_skew: timedelta | None,
        disk: Path | None,
    ) -> None:
        """late: for how many seconds each step of the timetable has been due.

        disk: where the database keeps its data, None where that is not on this host.
        """
        self._pool, self._lanes, self._env, self._keys = pool, lanes, env, keys
        self._metrics, self._max_skew, self._disk = metrics, max_skew, disk
        self._rooms = rooms
        self._late = late
        self._found: tuple[float, Health] | None = None
        self._looking = asyncio.Lock()

    async def health(self) -> Health:
        """Return how this gateway is, found at most a second ago. Raises nothing: whatever fails is an answer."""
        async with self._looking:  # those who ask meanwhile get the same answer
            if self._found is None or self._env.clock.monotonic() - self._found[0] >= REMEMBER_S:
                found = await self._look()
                self._found = (self._env.clock.monotonic(), found)  # a look may take longer than it is remembered
            return self._found[1]

    async def _look(self) -> Health:
        wrong: dict[str, str] = {}
        degraded: dict[str, str] = {}
        try:
            async with asyncio.timeout(LOOK_S), acquire(self._pool, timeout_s=LOOK_S) as connection:
                if (why := await clock_off(connection, self._env.now(), self._max_skew)) is not None:
                    wrong["clock"] = why
                await self._beat(connection, "gateway")
                worker_s = await last_beat_s(connection, "worker")
                sealed = await some_sealed(connection)
        except Exception as error:  # readiness reports whatever is wrong and raises nothing
            wrong["database"] = _why(error)
        else:
            self._metrics.worker_beat.set(-1 if worker_s is None else worker_s)
            if worker_s is None or worker_s > SILENT_AFTER_S:
                since = "no worker has run yet" if worker_s is None else f"no sign of a worker for {worker_s:.0f} s"
                degraded["worker"] = f"{since}: shares, queries to channels, bank files and expiries wait for a worker"
            self._look_at_keys(sealed, wrong, degraded)
        if FULL.noticed_within(SILENT_AFTER_S):
            wrong["disk"] = "the database had no disk space for a write a moment ago"
        elif FULL.is_on and "database" not in wrong:  # a write has just had room
            FULL.back()
        if "disk" not in wrong and self._disk is not None:
            with suppress(OSError):
                free = shutil.disk_usage(self._disk).free
                if free < LEAST_FREE_BYTES:
                    wrong["disk"] = f"the database's disk has {free // 2**20} MiB left, and takes payments from 100 on"
        waiting = sum(lane.waiting for lane in self._lanes.all)
        if waiting > _MOST_WAITING:
            wrong["lane"] = f"{waiting} commands wait"
        return Health(wrong, degraded)

    def _look_at_keys(self, sealed: list[str], wrong: dict[str, str], degraded: dict[str, str]) -> None:
        """Find out whether the master keys are here that credentials are sealed under."""
        if not sealed:
            return
        try:
            under = [master_of(envelope) for envelope in sealed]
            if not self._keys.is_there():
                wrong["master_keys"] = (
                    "the file of master keys is missing, so no channel account can be used: restore it"
                )
                return
            here = set(self._keys.ids())
        except (SluiceError, CannotOpen) as error:
            wrong["master_keys"] = str(error)
            return
        closed = sum(key not in here for key in under)
        if closed == len(under):
            wrong["master_keys"] = (
                "no channel account is sealed with the master keys in this file: restore the right file"
            )
        elif closed:
            degraded["master_keys"] = (
                f"{closed} of the {len(under)} most recently changed channel accounts are sealed with master keys "
                "that this file lacks, and cannot be used: restore the right file"
            )

    async def beat(self) -> None:
        """Say until cancelled that a worker lives; nobody says so for one that is stuck or cut off."""
        while True:
            with suppress(*LOST, asyncpg.PostgresError, SluiceError):  # told of where it was noticed
                async with acquire(self._pool) as connection:
                    await self._beat(connection, "worker")
            await self._env.sleep(BEAT_EVERY_S)

    async def _beat(self, connection: "asyncpg.pool.PoolConnectionProxy | asyncpg.Connection", kind: str) -> None:
        await beat(connection, f"{kind}@{socket.gethostname()}", kind)

    def _tell_own(self) -> None:
        self._metrics.watch(self._lanes)
        self._metrics.tell_rooms(self._rooms())

    async def keep_telling(self) -> None:
        """Until cancelled, write down what is true of this process alone, for one of several that share a port.

        The one that is asked for metrics adds up what each wrote down last: one that was never asked itself would
        stand there as it stood when it was, or not at all.
        """
        while True:
            self._tell_own()
            await self._env.sleep(REMEMBER_S)

    async def measure(self) -> None:
        """Bring the figures up to date that are looked up rather than counted."""
        metrics, now = self._metrics, self._env.now()
        self._tell_own()
        try:
            async with asyncio.timeout(LOOK_S), acquire(self._pool, timeout_s=LOOK_S) as connection:
                waiting = await cases.store.waiting(connection)
                worker_s = await last_beat_s(connection, "worker")
                lag = {name: await streams.store.lag(connection, name) for name in ("splitting",)}
                overdue = await overdue_s(connection, now)
                settlement = await splitting.store.oldest_unfinished(connection)
                least_read = await splitting.store.least_read(connection)
                suspended, _ = await splitting.store.suspended_payees(connection)
                proved = await proofs.standing(connection, business_date(now) - PROOFS_WATCHED)
            async with asyncio.timeout(LOOK_S):
                late = await self._late()
        except Exception:  # figures are told as they are known; readiness says what is wrong
            metrics.database_up.set(0)
            return
        metrics.database_up.set(1)
        metrics.tell_banks(least_read, now)
        metrics.payees_suspended.set(suspended)
        for step, seconds in late.items():
            metrics.timetable_late.labels(step).set(seconds)
        metrics.proofs_failing.set(len(proved.failing))
        metrics.proof_age.set(-1 if proved.holding is None else _since_end_of(proved.holding, now))
        metrics.tell_cases(cases.KINDS, waiting, now)
        metrics.worker_beat.set(-1 if worker_s is None else worker_s)
        for name, events in lag.items():
            metrics.consumer_lag.labels(name).set(events)
        for what, seconds in overdue.items():
            metrics.overdue.labels(what).set(seconds)
        age = (now - settlement).total_seconds() if settlement is not None else 0
        metrics.overdue.labels("settlement").set(max(0, age))


def _since_end_of(day: date, now: datetime) -> float:
    return max(0.0, (now - datetime.combine(day + timedelta(days=1), time(), BEIJING)).total_seconds())


def _why(error: Exception) -> str:
    # Beneath a look that took too long is only that it was broken off.
    return masked(said(error if isinstance(error, TimeoutError) else error.__cause__ or error))
