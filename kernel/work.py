"""A unit of work 工作单元: rows loaded together, changed in memory one command after another, written together.

This is what lets one transaction serve hundreds of callers and still give exactly the result of some serial order:
the books concerned are locked, every row a command needs is read by key with one statement a table, the commands run
one after the other as plain functions on those rows, and what changed goes back with one statement a table.
A command that refuses leaves no trace. See docs/decisions/0002-the-book-is-the-lock.md.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

from kernel.chain import GENESIS
from kernel.db import Connection
from kernel.errors import NotFound, SluiceError

Row = TypeVar("Row", bound=tuple[Any, ...])
R_co = TypeVar("R_co", covariant=True)
Key = tuple[Any, ...]  # (book, …)


class Table(Generic[Row]):
    """One table of rows known by key, written and read in sets.

    row: a NamedTuple whose fields are the columns, key first; types: their PostgreSQL types, in the same order;
    keys: how many leading columns are the primary key.
    """

    def __init__(self, name: str, row: Callable[..., Row], types: str, *, keys: int) -> None:
        self.name = name
        self.keys = keys
        self.columns: tuple[str, ...] = row._fields  # type: ignore[attr-defined]
        self._row = row
        self._types = types.split()
        if len(self._types) != len(self.columns):
            raise ValueError(f"{name}: {len(self.columns)} columns, {len(self._types)} types")
        key = self.columns[:keys]
        arrays = ", ".join(f"${i}::{kind}[]" for i, kind in enumerate(self._types[:keys], 1))
        self._load_sql = (
            f"SELECT {', '.join('t.' + c for c in self.columns)} FROM unnest({arrays}) AS k({', '.join(key)}) "
            f"JOIN {name} t ON {' AND '.join(f't.{c} = k.{c}' for c in key)}"
        )
        self._update_sql: dict[tuple[int, ...], str] = {}

    def key_of(self, row: Row) -> Key:
        return row[: self.keys]

    async def load(self, connection: Connection, keys: Sequence[Key]) -> list[Row]:
        """Return the rows that exist among `keys`, in no order."""
        make = self._row
        return [make(*record) for record in await connection.fetch(self._load_sql, *map(list, zip(*keys, strict=True)))]

    async def insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Add rows. COPY costs half of what INSERT … SELECT unnest does, on both sides (docs/performance.md)."""
        await connection.copy_records_to_table(self.name, records=rows, columns=self.columns)

    async def update(self, connection: Connection, changes: Sequence[tuple[Row, Row]]) -> None:
        """Write (old, new) rows: one statement for each set of columns that changed together, with those alone."""
        by_columns: dict[tuple[int, ...], list[Row]] = {}
        for old, new in changes:
            changed = tuple([i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a is not b and a != b])
            if changed:
                by_columns.setdefault(changed, []).append(new)
        for changed, rows in by_columns.items():
            columns = list(zip(*rows, strict=True))
            wanted = (*range(self.keys), *changed)
            await connection.execute(self._update(changed), *[columns[i] for i in wanted])

    def _update(self, changed: tuple[int, ...]) -> str:
        """Return the statement that writes these columns, by key."""
        sql = self._update_sql.get(changed)
        if sql is None:
            wanted = (*range(self.keys), *changed)
            arrays = ", ".join(f"${n}::{self._types[i]}[]" for n, i in enumerate(wanted, 1))
            sql = self._update_sql[changed] = (
                f"UPDATE {self.name} t SET {', '.join(f'{self.columns[i]} = u.{self.columns[i]}' for i in changed)} "
                f"FROM unnest({arrays}) AS u({', '.join(self.columns[i] for i in wanted)}) "
                f"WHERE {' AND '.join(f't.{c} = u.{c}' for c in self.columns[: self.keys])}"
            )
        return sql

    def __repr__(self) -> str:
        return f"Table({self.name})"


class Head(NamedTuple):
    """The head of a book 账套: what its next journal and event records follow. Its lock is the book's lock."""

    book: int
    transfer_seq: int  # number of the last transfer
    transfer_hash: bytes
    event_seq: int
    event_hash: bytes
    recorded_at: datetime  # of the last record; never goes back within a book


BOOKS: Table[Head] = Table("book", Head, "int bigint bytea bigint bytea timestamptz", keys=1)


def new_head(book: int, now: datetime) -> Head:
    """Return the head of an empty book."""
    return Head(book, 0, GENESIS, 0, GENESIS, now)


class Command(Protocol[R_co]):
    """One caller's wish, decided in memory. Repeating it with the same ids must do nothing more and answer the same."""

    @property
    def book(self) -> int: ...

    def needs(self, work: "Work") -> "Iterable[Need]":
        """Name the rows `apply` will look at; asked again while rows it named were still to be loaded."""

    def apply(self, work: "Work") -> R_co:
        """Decide and change rows through `work`. Raises SluiceError to refuse; then nothing it did stays."""


Need = tuple[Table[Any], Key]


class NotLoaded(RuntimeError):
    """A command looked at a row it had not named: a mistake in its `needs`."""


class Work:
    """The rows of one batch, by table and key. `now` is one moment for the whole batch."""

    def __init__(self, now: datetime, heads: Iterable[Head] = ()) -> None:
        self.now = now
        self._rows: dict[Table[Any], dict[Key, Any]] = {}
        self._stored: dict[Table[Any], dict[Key, Any]] = {}  # as the database has them: what flush compares with
        self._added: dict[Table[Any], list[Any]] = {}
        self._undo: list[Callable[[], Any]] = []
        if heads:
            self._know(BOOKS, [(h.book,) for h in heads], heads)

    # -- reading and changing rows ---------------------------------------------------------------------------------

    def find(self, table: Table[Row], key: Key) -> Row | None:
        """Return the row as it stands now in this batch, or None."""
        try:
            return cast("Row | None", self._rows[table][key])
        except KeyError:
            raise NotLoaded(f"{table.name} {key} was not named by needs()") from None

    def get(self, table: Table[Row], key: Key) -> Row:
        """Return the row. Raises NotFound."""
        row = self.find(table, key)
        if row is None:
            raise NotFound(f"no_such_{table.name}", f"there is no {table.name} {key[-1]}")
        return row

    def knows(self, table: Table[Any], key: Key) -> bool:
        """Tell whether the row, or its absence, has been loaded."""
        return key in self._rows.get(table, ())

    def put(self, table: Table[Row], row: Row) -> None:
        """Create or change a row."""
        rows, key = self._rows.setdefault(table, {}), row[: table.keys]
        if key in rows:
            old = rows[key]
            self._undo.append(lambda: rows.__setitem__(key, old))
        else:
            self._undo.append(lambda: rows.pop(key))
        rows[key] = row

    def add(self, table: Table[Row], row: Row) -> None:
        """Append a row to a journal: never read back in this batch, never changed."""
        rows = self._added.setdefault(table, [])
        rows.append(row)
        self._undo.append(rows.pop)

    def head(self, book: int) -> Head:
        """Return the book's head, locked for this batch. Raises NotFound for a book nobody opened."""
        return self.get(BOOKS, (book,))

    # -- one batch --------------------------------------------------------------------------------------------------

    async def load(self, connection: Connection, commands: Sequence[Command[Any]]) -> None:
        """Read every row the commands need, one statement a table and round."""
        asking: Sequence[Command[Any]] = commands
        while asking:
            missing: dict[Table[Any], dict[Key, None]] = {}
            again: list[Command[Any]] = []
            for command in asking:
                complete = True
                for table, key in command.needs(self):
                    if key not in self._rows.get(table, ()):
                        missing.setdefault(table, {})[key] = None
                        complete = False
                if not complete:
                    again.append(command)
            for table, wanted in missing.items():
                keys = list(wanted)
                self._know(table, keys, await table.load(connection, keys))
            asking = again

    def run(self, command: Command[Any]) -> Any:
        """Apply one command; return its result or the exception it ended with, in which case it left no trace."""
        self._undo.clear()
        try:
            return command.apply(self)
        except Exception as error:
            for undo in reversed(self._undo):
                undo()
            if not isinstance(error, SluiceError):
                error.add_note(f"while applying {type(command).__name__} to book {command.book}")
            return error

    async def flush(self, connection: Connection) -> bool:
        """Write what changed, one statement a table. Returns False when nothing did."""
        wrote = False
        for table, rows in self._rows.items():
            stored = self._stored.get(table, {})
            new = [row for key, row in rows.items() if row is not None and stored.get(key) is None]
            changed = [
                (old, row) for key, row in rows.items() if (old := stored.get(key)) is not None and row is not old
            ]
            if new:
                await table.insert(connection, new)
            if changed:
                await table.update(connection, changed)
            wrote = wrote or bool(new or changed)
        for table, added in self._added.items():
            if added:
                await table.insert(connection, added)
                wrote = True
        return wrote

    def _know(self, table: Table[Any], keys: Iterable[Key], rows: Iterable[Any]) -> None:
        known = self._rows.setdefault(table, {})
        stored = self._stored.setdefault(table, {})
        for key in keys:
            known.setdefault(key, None)
        for row in rows:
            key = row[: table.keys]
            known[key] = stored[key] = row


async def lock_books(connection: Connection, books: Iterable[int]) -> list[Head]:
    """Lock the heads of these books, lowest first so that two batches never wait for each other, and return them."""
    records = await connection.fetch(
        "SELECT book, transfer_seq, transfer_hash, event_seq, event_hash, recorded_at FROM book "
        "WHERE book = ANY($1::int[]) ORDER BY book FOR UPDATE",
        sorted(set(books)),
    )
    return [Head(*record) for record in records]


async def perform(connection: Connection, commands: Sequence[Command[Any]], now: datetime) -> list[Any]:
    """Carry out a batch inside the caller's transaction; return a result or an exception for each command."""
    heads = await lock_books(connection, (command.book for command in commands))
    # Two hosts' clocks may differ; within a book the record order and the clock must agree all the same.
    latest = max((head.recorded_at for head in heads), default=now)
    work = Work(max(now, latest + timedelta(microseconds=1)) if latest >= now else now, heads)
    known = {head.book for head in heads}
    for book in {command.book for command in commands} - known:
        work._know(BOOKS, [(book,)], [])
    await work.load(connection, commands)
    results = [work.run(command) for command in commands]
    await work.flush(connection)
    return results
