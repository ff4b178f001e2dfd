"""A book on a real database, commands that pay, refuse and poison, and a look at it from outside.

For the tests of kernel, ledger and streams.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg

import ledger
import streams
from kernel.db import Connection, connect
from kernel.env import Env, SystemClock, system_env
from kernel.lane import ASIDES, BATCH_STATEMENT_S, SHARED_LOCK_MS, TURN_MS, Lane, committing
from kernel.work import BOOKS, Command, Need, Work, new_head, perform
from ledger import Account, Result, Transfer, accounts, post
from ledger.posting import needs as posting_needs
from streams import publish
from tests.conftest import TestServer

DAY = date(2026, 11, 24)
NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
CHANNEL = accounts.channel("rail", "CNY")
MERCHANT = accounts.merchant("CNY")


@dataclass(frozen=True, slots=True)
class Pay:
    """Book a capture and tell it; found again by its id, as every command of the hub is.

    note: stands in the journal, so it is text from outside that reaches PostgreSQL.
    fresh: claim that the id was never used; a lie poisons the batch.
    then: refuse with this after everything was changed.
    """

    book: int
    id: str
    amount_minor: int = 100
    note: str = "a note"
    fresh: bool = False
    then: Exception | None = None

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield from posting_needs(self.book, self._transfers, fresh=self.fresh)

    @property
    def _transfers(self) -> list[Transfer]:
        return [Transfer(self.id, "payment_captured", CHANNEL, MERCHANT, self.amount_minor, "CNY")]

    def apply(self, work: Work) -> str:
        results = post(work, self.book, self.note, self._transfers, business_date=DAY, fresh=self.fresh)
        if results == [Result.EXISTS]:
            return "was done before"
        publish(work, self.book, "payment.succeeded", self.id, {"amount": self.amount_minor})
        if self.then is not None:
            raise self.then
        return f"{self.id} done"


async def open_book(connection: Connection, book: int, now: datetime = NOW) -> None:
    """Open a book with the two accounts that Pay moves money between."""
    await BOOKS.insert(connection, [new_head(book, now)])
    await perform(connection, [ledger.OpenAccounts(book, [CHANNEL, MERCHANT])], now)


@asynccontextmanager
async def a_lane(
    database_url: str,
    *,
    env: Env | None = None,
    max_skew: timedelta | None = None,
    shared_lock_ms: int = SHARED_LOCK_MS,
    **shape: Any,
) -> AsyncIterator[Lane[Command[Any]]]:
    """Open a commit lane as wiring does, with pools and an Env of its own."""
    env = env or system_env()
    name = "lane under test"
    async with (
        connect(
            database_url, size=1, name=name, by_key=True, lock_ms=shared_lock_ms, statement_s=BATCH_STATEMENT_S
        ) as pool,
        connect(database_url, size=ASIDES, name=name, by_key=True, lock_ms=TURN_MS) as aside,
    ):
        try:
            yield Lane(committing(pool, aside, env, max_skew=max_skew), env, **shape)
        finally:
            await env.tasks.aclose()


class Hurried(SystemClock):
    """Monotonic time that passes only in sleeps: patience ends after so many pauses, however slow the machine is."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def monotonic(self) -> float:
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        self._seconds += seconds
        await asyncio.sleep(0)


def hurried() -> Env:
    """Return an Env in which nobody waits in earnest."""
    env = system_env()
    env.clock = clock = Hurried()
    env.sleep = clock.sleep
    return env


@asynccontextmanager
async def outside(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Connect as the owner of the database, beside the hub."""
    connection = await asyncpg.connect(database_url)
    try:
        yield connection
    finally:
        connection.terminate()


@asynccontextmanager
async def superuser(server: TestServer, database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Connect as one whom neither privilege nor trigger stops, for planting faults."""
    url = server.server.admin_url.rpartition("/")[0] + "/" + database_url.rpartition("/")[2]
    async with outside(url) as connection:
        await connection.execute("SET session_replication_role = replica")
        yield connection


@asynccontextmanager
async def book_held(database_url: str, *books: int) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Hold the books' locks, so that what the lane writes next stays on its way."""
    async with outside(database_url) as connection, connection.transaction():
        await connection.fetch("SELECT 1 FROM book WHERE book = ANY($1::int[]) ORDER BY book FOR UPDATE", books)
        yield connection


async def until(true: Callable[[], Any]) -> None:
    """Return as soon as the condition holds; the test's own time limit is the only clock."""
    while not true():  # noqa: ASYNC110 - what is watched sets no event, and should not for a test's sake
        await asyncio.sleep(0.002)


async def waiting_for_a_lock(connection: Connection, *, pid: int | None = None) -> None:
    """Return when a backend of the lane, or the one with this pid, waits for a lock."""
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        "AND CASE WHEN $1::int IS NULL THEN application_name = 'lane under test' ELSE pid = $1 END"
    )
    while not await connection.fetchval(waits, pid):  # noqa: ASYNC110 - another process gets there
        await asyncio.sleep(0.002)


async def gathered(lane: Lane[Command[Any]], commands: Sequence[Command[Any]]) -> list[Any]:
    """Put the commands at once and return each one's result or exception."""
    return await asyncio.gather(*[lane.put(command) for command in commands], return_exceptions=True)


@asynccontextmanager
async def commit_held(lane: Lane[Command[Any]]) -> AsyncIterator[None]:
    """Have the lane's commits begin only when this block is left."""
    commit, let_go = lane._commit, asyncio.Event()

    async def later(commands: Sequence[Command[Any]], wait: bool) -> Sequence[Any]:
        await let_go.wait()
        return await commit(commands, wait)

    lane._commit = later
    try:
        yield
    finally:
        lane._commit = commit
        let_go.set()


async def under_way(lane: Lane[Command[Any]], command: Command[Any]) -> "asyncio.Task[Any]":
    """Put a command into an idle lane and return when its commit has begun."""
    putting = asyncio.create_task(lane.put(command))
    await until(lambda: lane._writing and not lane.waiting)
    return putting


async def behind_another(lane: Lane[Command[Any]], first: Command[Any], others: Sequence[Command[Any]]) -> list[Any]:
    """Put the others while the first is being written, so that they share the next transaction; return all results."""
    async with commit_held(lane):
        leading = await under_way(lane, first)
        following = [asyncio.create_task(lane.put(command)) for command in others]
        await until(lambda: lane.waiting == len(others))
    return await asyncio.gather(leading, *following, return_exceptions=True)


async def paid(connection: Connection, book: int) -> list[str]:
    """Return the ids of the transfers of a book, in order of number."""
    return [row[0] for row in await connection.fetch("SELECT id FROM transfer WHERE book = $1 ORDER BY seq", book)]


async def told(connection: Connection, book: int) -> list[str]:
    """Return the subjects of the events of a book, in order of number."""
    return [row[0] for row in await connection.fetch("SELECT subject FROM event WHERE book = $1 ORDER BY seq", book)]


async def standing(connection: Connection, book: int) -> dict[str, Account]:
    """Return the accounts of a book by name."""
    return {account.name: account for account in await ledger.store.balances(connection, book)}


async def broken(connection: Connection) -> dict[str, list[str]]:
    """Return what each invariant of ledger and streams finds; only those that find something."""
    found = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for name, check in (ledger.INVARIANTS | streams.INVARIANTS).items():
            if says := await check(connection):
                found[name] = says
    return found
