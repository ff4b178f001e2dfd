"""The sandbox's one sqlite file. Whatever a counterparty has answered is in it.

One connection writes; whoever writes holds the lock for the whole transaction. A second connection reads, and in WAL
mode sees committed data only. Two ways to write:

* `with store.transaction() as tx:` commits before the block is left, on the calling thread. Never await inside.
* `await store.write(command)` runs `command(tx)` on the store's own thread and shares one commit (one fsync) with
  every command that arrived meanwhile. A command that raises is rolled back alone; its neighbours are not disturbed.
  Commands must not touch asyncio objects.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Row = sqlite3.Row


class Tx:
    """An open transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, *params: Any) -> int:
        """Run one statement and return how many rows it changed."""
        return self._connection.execute(sql, params).rowcount

    def one(self, sql: str, *params: Any) -> Row | None:
        """Return the first row, or None."""
        row: Row | None = self._connection.execute(sql, params).fetchone()
        return row

    def all(self, sql: str, *params: Any) -> list[Row]:
        """Return every row."""
        return self._connection.execute(sql, params).fetchall()


class Store:
    """See the module."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = _connect(path)
        self._reader = _connect(path)
        self._reader.execute("PRAGMA query_only=ON")
        self._tx = Tx(self._writer)
        self._lock = threading.RLock()
        self._read_lock = threading.Lock()
        self._depth = 0
        self._owner: object = None
        self._queue: list[tuple[Callable[[Tx], Any], asyncio.Future[Any]]] = []
        self._draining = False
        self._thread = ThreadPoolExecutor(1, "sandbox-store")

    def create(self, script: str) -> None:
        """Run a schema script (CREATE TABLE IF NOT EXISTS …); each part of the sandbox brings its own."""
        with self._lock:
            self._writer.executescript(script)

    def add_column(self, table: str, column: str, kind: str) -> None:
        """Add a column to a table, where a store of before lacks it."""
        with self._lock:
            known = {row[1] for row in self._writer.execute(f"PRAGMA table_info({table})")}
            if column not in known:
                self._writer.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """Open a transaction that is durable when the block ends, and undone when the block raises.

        Inside another one of the same thread and task it becomes a part of that (a savepoint). Never await inside.
        """
        with self._lock:
            owner = _current_task()
            if self._depth and owner is not self._owner:
                raise RuntimeError("a task awaited inside store.transaction(); its transaction is still open")
            self._owner = owner
            nested = self._depth > 0
            self._depth += 1
            begin, commit, undo = _NESTED if nested else _OUTER
            try:
                self._writer.execute(begin)
                try:
                    yield self._tx
                except BaseException:
                    for statement in undo:
                        self._writer.execute(statement)
                    raise
                self._writer.execute(commit)
            finally:
                self._depth -= 1

    async def write(self, command: Callable[[Tx], T]) -> T:
        """Run `command` in a transaction shared with its neighbours; return its result once that is durable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.append((command, future))
        if not self._draining:
            self._draining = True
            self._start(loop)
        return await future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._queue = self._queue, []
        loop.run_in_executor(self._thread, self._drain, loop, batch)

    def _drain(
        self, loop: asyncio.AbstractEventLoop, batch: Sequence[tuple[Callable[[Tx], Any], asyncio.Future[Any]]]
    ) -> None:
        """Commit one batch, then hand over to the loop, which starts again if more came meanwhile."""
        outcomes = self._carried_out([command for command, _ in batch])
        loop.call_soon_threadsafe(self._deliver, loop, [future for _, future in batch], outcomes)

    def _carried_out(self, commands: Sequence[Callable[[Tx], Any]]) -> list[tuple[bool, Any]]:
        """Commit some commands together; return what each came to."""
        outcomes: list[tuple[bool, Any]] = []
        try:
            with self.transaction():
                for command in commands:
                    try:
                        with self.transaction() as tx:
                            outcomes.append((True, command(tx)))
                    except Exception as error:
                        outcomes.append((False, error))
        except Exception as error:  # the commit itself failed: nobody is told otherwise
            outcomes = [(False, error)] * len(commands)
        return outcomes

    def _deliver(
        self,
        loop: asyncio.AbstractEventLoop,
        futures: Sequence[asyncio.Future[Any]],
        outcomes: Sequence[tuple[bool, Any]],
    ) -> None:
        if self._queue:
            self._start(loop)
        else:
            self._draining = False
        for future, (succeeded, value) in zip(futures, outcomes, strict=True):
            if future.done():  # the caller went away; what it asked for is done all the same
                continue
            if succeeded:
                future.set_result(value)
            else:
                future.set_exception(value)

    def one(self, sql: str, *params: Any) -> Row | None:
        """Return the first committed row, or None."""
        with self._read_lock:
            row: Row | None = self._reader.execute(sql, params).fetchone()
            return row

    def all(self, sql: str, *params: Any) -> list[Row]:
        """Return every committed row."""
        with self._read_lock:
            return self._reader.execute(sql, params).fetchall()

    def close(self) -> None:
        """Finish the queued commands and close the file."""
        self._thread.shutdown(wait=True)
        if left := [command for command, _ in self._queue]:  # came while the last batch was committed
            self._queue = []
            self._carried_out(left)
        self._reader.close()
        self._writer.close()


_OUTER = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
_NESTED = ("SAVEPOINT part", "RELEASE part", ("ROLLBACK TO part", "RELEASE part"))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _current_task() -> object:
    """Return the running task, or the thread where there is none."""
    try:
        return asyncio.current_task() or threading.current_thread()
    except RuntimeError:
        return threading.current_thread()
