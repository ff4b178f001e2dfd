"""PostgreSQL: the pool, transactions, and which errors mean that nothing is known about a commit."""

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias

import asyncpg

from kernel.errors import SluiceError, Unavailable
from kernel.outage import Outage

log = logging.getLogger(__name__)
FULL = Outage("the database's disk", log, gone="is full", well="has had room for a while")
DATABASE = Outage("the database", log)  # of this process, whichever of its pools noticed

Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"
Pool: TypeAlias = "asyncpg.Pool[Any]"

STATEMENT_S = 30.0  # where nobody stands and waits
SILENCE_S = 1.0  # the server is late by that much with ending a statement: it has stopped, or nothing reaches it

APP_ROLE = "sluice_app"  # may add to the journal, never change it; see ops/migrations

# The connection ended while a statement or a COMMIT was on its way.
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server's farewell was heard while nobody asked it anything
    asyncpg.exceptions.AdminShutdownError,
    asyncpg.exceptions.CrashShutdownError,
    asyncpg.exceptions.CannotConnectNowError,
    ConnectionError,
    TimeoutError,
    OSError,
)
# Nothing was done, and whoever asks again may have better luck: not the fault of what was asked.
AGAIN = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,  # by the statement timeout, or by an operator
    asyncpg.InsufficientResourcesError,  # no connection, memory or disk left
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is not promoted yet
)


def tell(log: logging.Logger, line: str, error: BaseException, **facts: Any) -> None:
    """Log what a round of background work ended with.

    Nothing where the database is away, which is told of once; one line for what passes or is said for people; a
    traceback for what is a mistake of ours.
    """
    if isinstance(error, Unavailable) and error.code == "database_unavailable":
        return
    if isinstance(error, (*LOST, *AGAIN, SluiceError)):
        if not (DATABASE.is_on and isinstance(error, LOST)):
            log.warning(line, extra={**facts, "why": str(error) or type(error).__name__})
        return
    log.error(line, extra=facts, exc_info=error)


async def attempt(work: Awaitable[Any]) -> Exception | None:
    """Do what one row of many asks for; return what it raised, so that nothing wrong in it stops the next.

    Whoever calls it tells of that. Raises Unavailable, and what says that the database is away or should be asked
    again: then the next row would fare no better.
    """
    try:
        await work
    except (Unavailable, *LOST, *AGAIN):
        raise
    except Exception as error:  # whatever it is, it is this row's alone
        return error
    return None


@asynccontextmanager
async def connect(
    dsn: str,
    *,
    size: int = 8,
    role: str | None = APP_ROLE,
    name: str = "sluice",
    by_key: bool = False,
    lock_ms: int = 5000,
    statement_s: float | None = STATEMENT_S,
) -> AsyncIterator[Pool]:
    """Open a pool whose connections act as `role` and give up rather than hang.

    size: connections at most. An idle transaction is ended after 15 s. lock_ms: how long a statement waits for a lock.
    by_key: for the commit lane, which reaches every row by its key: plans that scan are ruled out, so a plan made
    while a table was empty stays right when it is not.
    statement_s: how long a statement may take. The server ends it then; one that has not done so a second later does
    not answer any more, and the statement is given up on here. None: here never, for whoever reads whole tables and
    lifts the server's timeout for that.
    """
    server_settings = {
        "application_name": name,
        "timezone": "UTC",
        "statement_timeout": str(round(1000 * (statement_s or STATEMENT_S))),
        "lock_timeout": str(lock_ms),
        "idle_in_transaction_session_timeout": "15000",
        "jit": "off",
    }
    if by_key:
        server_settings |= {
            "plan_cache_mode": "force_generic_plan",  # the statements are few: planning each once is enough
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
        }
    if role is not None:
        server_settings["role"] = role
    pool = asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        command_timeout=None if statement_s is None else statement_s + SILENCE_S,
        timeout=10,
        server_settings=server_settings,
        init=_prepare if by_key else None,
        # We leave nothing in a session but transactions, which end: what asyncpg would reset is not there.
        reset=_leave_as_it_is,
    )
    async with pool:
        try:
            yield pool
        finally:
            await _close(pool)


async def _close(pool: Pool, *, patience_s: float = 2.0) -> None:
    """Take leave of the server, but not of one that does not answer: then cut the connections off."""
    try:
        async with asyncio.timeout(patience_s):
            await pool.close()
    except (*LOST, asyncpg.PostgresError):
        pool.terminate()


async def _leave_as_it_is(connection: Connection) -> None:
    """Reset nothing."""


async def _prepare(connection: Connection) -> None:
    """Make writing moments cheap: a batch writes the same one hundreds of times."""
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=_moment_to_wire, decoder=_moment_from_wire, format="binary"
    )


_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def _moment_to_wire(moment: datetime) -> bytes:
    """Return microseconds since 2000 as PostgreSQL's binary format has them."""
    since = moment - _POSTGRES_EPOCH
    return struct.pack("!q", (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def _moment_from_wire(raw: bytes) -> datetime:
    return _POSTGRES_EPOCH + timedelta(microseconds=struct.unpack("!q", raw)[0])


@asynccontextmanager
async def acquire(pool: Pool, *, timeout_s: float = 5) -> AsyncIterator[Connection]:
    """Take a connection. Raises Unavailable when the database cannot be reached or every connection is busy."""
    try:
        connection = await pool.acquire(timeout=timeout_s)
    except (*LOST, asyncpg.InsufficientResourcesError) as error:
        DATABASE.away(error if str(error) else f"no connection within {timeout_s:g} s")
        raise Unavailable("database_unavailable", "the hub's database cannot be reached") from error
    try:
        yield connection
        DATABASE.back()
    except asyncpg.DiskFullError as error:
        FULL.away(error)
        raise
    except (asyncio.CancelledError, *LOST) as error:
        if isinstance(error, TimeoutError) or (not isinstance(error, asyncio.CancelledError) and _is_lost(connection)):
            DATABASE.away(error)
        # A statement cut off in the middle leaves the session in doubt; such a connection is never used again. To have
        # the server end the statement in words would mean to wait for a server that says nothing.
        if isinstance(error, (asyncio.CancelledError, asyncpg.InternalClientError, TimeoutError)):
            connection.terminate()
        raise
    finally:
        await pool.release(connection)


def _is_lost(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # its pool has let go of it, which it does where it is closed
        return True


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """Run one transaction at READ COMMITTED; correctness comes from the book's lock, not from the isolation level.

    Whoever is cancelled inside, or gives up on a statement, leaves at once: the transaction ends with its connection
    (`acquire`). To roll it back in words, as asyncpg's own block does, would first wait for the statement that was cut
    off, and a silent server never answers that.
    """
    async with acquire(pool) as connection:
        block = connection.transaction()
        await block.start()
        try:
            yield connection
        except (asyncio.CancelledError, TimeoutError):
            raise
        except BaseException:
            await block.rollback()
            raise
        await block.commit()
