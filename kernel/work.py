"""A unit of work 工作单元: rows loaded together, changed in memory one command after another, written together.

This is what lets one transaction serve hundreds of callers and still give exactly the result of some serial order:
the books concerned are locked, every row a command needs is read by key with one statement a table, the commands run
one after the other as plain functions on those rows, and what changed goes back with one statement a table.
A command that refuses leaves no trace. See docs/decisions/0002-the-book-is-the-lock.md.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from operator import add
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

from kernel.chain import GENESIS
from kernel.clock import business_date
from kernel.db import Connection
from kernel.errors import NotFound, SluiceError, Unavailable

Row = TypeVar("Row", bound=tuple[Any, ...])
R_co = TypeVar("R_co", covariant=True)
Key = tuple[Any, ...]  # (book, …)


class Table(Generic[Row]):
    """One table of rows known by key, written and read in sets.

    row: a NamedTuple whose fields are the columns, key first; types: their PostgreSQL types, in the same order;
    keys: how many leading columns are the primary key. remembered: a process that wrote a row may want it again soon
    (see Memory).
    """

    def __init__(self, name: str, row: Callable[..., Row], types: str, *, keys: int, remembered: bool = False) -> None:
        self.name = name
        self.keys = keys
        self.remembered = remembered
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
        # Fields with a default stand last and have the same default in the schema.
        defaults: dict[str, Any] = row._field_defaults  # type: ignore[attr-defined]
        self._fixed_columns = len(self.columns) - len(defaults)
        self._tail = tuple(defaults.values())

    def key_of(self, row: Row) -> Key:
        return row[: self.keys]

    async def load(self, connection: Connection, keys: Sequence[Key]) -> list[Row]:
        """Return the rows that exist among `keys`, in no order."""
        make = self._row
        return [make(*record) for record in await connection.fetch(self._load_sql, *map(list, zip(*keys, strict=True)))]

    async def insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Add rows, by COPY: cheaper on both sides than INSERT … SELECT unnest (docs/performance.md)."""
        fixed = self._fixed_columns
        if self._tail and all(row[fixed:] == self._tail for row in rows):  # new rows mostly are: nothing to send
            await connection.copy_records_to_table(
                self.name, records=[row[:fixed] for row in rows], columns=self.columns[:fixed]
            )
        else:
            await connection.copy_records_to_table(self.name, records=rows, columns=self.columns)

    def updates(self, changes: Sequence[Sequence[Row]]) -> "Iterator[Update]":
        """Yield what writes these [old, new] rows: one update for each set of columns that changed together."""
        by_columns: dict[tuple[int, ...], list[Row]] = {}
        for old, new in changes:
            changed = tuple([i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a is not b and a != b])
            if changed:
                by_columns.setdefault(changed, []).append(new)
        for changed, rows in by_columns.items():
            columns = list(zip(*rows, strict=True))
            yield Update(self, changed, [columns[i] for i in (*range(self.keys), *changed)])

    def update_sql(self, changed: tuple[int, ...], first: int) -> str:
        """Return the statement that writes these columns, by key; its parameters are numbered from `first`."""
        wanted = (*range(self.keys), *changed)
        arrays = ", ".join(f"${n}::{self._types[i]}[]" for n, i in enumerate(wanted, first))
        return (
            f"UPDATE {self.name} t SET {', '.join(f'{self.columns[i]} = u.{self.columns[i]}' for i in changed)} "
            f"FROM unnest({arrays}) AS u({', '.join(self.columns[i] for i in wanted)}) "
            f"WHERE {' AND '.join(f't.{c} = u.{c}' for c in self.columns[: self.keys])}"
        )

    def __repr__(self) -> str:
        return f"Table({self.name})"


class Sums(Table[Row]):
    """A table of sums that batches only add to, without reading them first: the columns after the key."""

    def update_sql(self, changed: tuple[int, ...], first: int) -> str:
        """Return the statement that adds to these sums, where there are none begins them."""
        names = ", ".join(self.columns)
        arrays = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(self._types, first))
        key = ", ".join(self.columns[: self.keys])
        more = ", ".join(f"{c} = t.{c} + excluded.{c}" for c in self.columns[self.keys :])
        return (
            f"INSERT INTO {self.name} AS t ({names}) SELECT * FROM unnest({arrays}) "
            f"ON CONFLICT ({key}) DO UPDATE SET {more}"
        )

    def more(self, rows: "Mapping[Key, tuple[int, ...]]") -> "Update":
        """Return what adds to the sums under these keys."""
        columns = zip(*[(*key, *sums) for key, sums in rows.items()], strict=True)
        return Update(self, tuple(range(self.keys, len(self.columns))), [list(column) for column in columns])


class Update(NamedTuple):
    """Rows of one table in which the same columns changed."""

    table: Table[Any]
    changed: tuple[int, ...]  # positions of those columns
    columns: list[Any]  # the keys' and those columns' values


_update_sql: dict[tuple[tuple[Table[Any], tuple[int, ...]], ...], str] = {}


async def write(connection: Connection, updates: Sequence[Update]) -> None:
    """Carry out updates of different rows in one statement: a journey to the database costs more than a small one."""
    if not updates:
        return
    updates = sorted(
        updates, key=lambda update: (update.table.name, update.changed)
    )  # few shapes: each is planned once
    shape = tuple([(update.table, update.changed) for update in updates])
    sql = _update_sql.get(shape)
    if sql is None:
        parts, first = [], 1
        for update in updates:
            parts.append(update.table.update_sql(update.changed, first))
            first += len(update.columns)
        *before, last = parts
        named = ", ".join(f"u{n} AS ({part})" for n, part in enumerate(before))
        sql = _update_sql[shape] = f"WITH {named} {last}" if before else last
    await connection.execute(sql, *[column for update in updates for column in update.columns])


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


def stamp(moment: datetime) -> str:
    """Write a moment as the hash chains cover it: UTC, microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


class NotLoaded(RuntimeError):
    """A command looked at a row it had not named: a mistake in its `needs`."""


Remembered = dict[Table[Any], dict[Key, Any]]  # of one book


class Memory:
    """What this process knows of books it wrote last, so that a payment's second step need not read it back.

    It is believed only while the book's head, read under its lock, is exactly the head this process left: every batch
    that writes a row which anybody may remember moves the head's time, so an equal head means that none was written in
    between. What nobody remembers moves no head: a consumer's position would make every gateway forget the book.
    """

    def __init__(self, rows_per_table: int = 2048, books: int = 1024) -> None:
        self._rows_per_table = rows_per_table
        self._books = books
        self._known: dict[int, tuple[Head, Remembered]] = {}

    def recall(self, head: Head) -> "Remembered":
        """Return the rows of a book that are certainly as the database has them."""
        found = self._known.get(head.book)
        return found[1] if found is not None and found[0] == head else {}

    def keep(self, work: "Work") -> None:
        """Take over what a batch has committed. Call it after the commit, never before."""
        for before, after, rows in work.outcome():
            found = self._known.pop(after.book, None)
            if found is not None and found[0].recorded_at > after.recorded_at:
                self._known[after.book] = found  # a later batch of ours was quicker to say so
                continue
            known = found[1] if found is not None and found[0] == before else {}
            for table, those in rows.items():
                of_table = known.setdefault(table, {})
                of_table.update(those)
                if len(of_table) > self._rows_per_table:
                    known[table] = dict(islice(of_table.items(), len(of_table) // 2, None))
            self._known[after.book] = (after, known)  # most recently written last
        while len(self._known) > self._books:
            del self._known[next(iter(self._known))]


class Recorded(NamedTuple):
    """The moment under which a batch's records stand in one book."""

    at: datetime
    stamp: str  # of `at`, as the hash chains write it
    day: date  # of `at`, in Beijing


class Work:
    """The rows of one batch, by table and key.

    `now` is the one moment at which the whole batch is decided. What it appends to a book is recorded under
    `recorded(book)`: the same moment, unless the book already has a later record.
    """

    def __init__(self, now: datetime, heads: Iterable[Head] = (), memory: Memory | None = None) -> None:
        self.now = now
        self._heads = list(heads)
        here = _recorded(now)
        # Two hosts' clocks may differ a little; within a book the order of records and their times must agree. The
        # batch's other books keep the true time: one that is ahead draws no other with it.
        later = ((head.book, head.recorded_at + timedelta(microseconds=1)) for head in self._heads)
        self._recorded = {book: here if at <= now else _recorded(at) for book, at in later}
        self._here = here
        self._rows: dict[Table[Any], dict[Key, Any]] = {BOOKS: {(head.book,): head for head in self._heads}}
        # key → [the row as the database has it, None for a new one; the row as it is to be]
        self._changed: dict[Table[Any], dict[Key, list[Any]]] = {}
        self._added: dict[Table[Any], list[Any]] = {}
        self._sums: dict[Sums[Any], dict[Key, tuple[int, ...]]] = {}
        self._undo: list[tuple[Any, ...]] = []
        self._recalled = {head.book: memory.recall(head) for head in self._heads} if memory else {}

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
            raise NotFound(f"no_such_{table.name}", f"there is no {table.name.replace('_', ' ')} {key[-1]}")
        return row

    def knows(self, table: Table[Any], key: Key) -> bool:
        """Tell whether the row, or its absence, has been loaded."""
        return key in self._rows.get(table, ())

    def put(self, table: Table[Row], row: Row) -> None:
        """Create or change a row. Tables are written in the order in which a batch first puts a row into them."""
        key = row[: table.keys]
        rows, changed = self._rows.setdefault(table, {}), self._changed.setdefault(table, {})
        old = rows.get(key, _ABSENT)
        change = changed.get(key)
        if change is None:
            changed[key] = [None if old is _ABSENT else old, row]
        else:
            change[1] = row
        self._undo.append((rows, key, old, changed, change))
        rows[key] = row

    def add(self, table: Table[Row], row: Row) -> None:
        """Append a row to a journal: never read back in this batch, never changed."""
        rows = self._added.setdefault(table, [])
        rows.append(row)
        self._undo.append((rows,))

    def add_all(self, table: Table[Row], rows: Sequence[Row]) -> None:
        """Append rows to a journal, as `add` does each."""
        there = self._added.setdefault(table, [])
        before = len(there)
        there.extend(rows)
        self._undo.append((there, before))

    def sum_up(self, table: Sums[Any], key: Key, *more: int) -> None:
        """Add to the sums under a key. What they are then no command of the batch sees."""
        sums = self._sums.setdefault(table, {})
        before = sums.get(key)
        sums[key] = more if before is None else tuple(map(add, before, more))
        self._undo.append((sums, key, before))

    def recorded(self, book: int) -> Recorded:
        """Return the moment under which this batch's records stand in a book."""
        return self._recorded.get(book, self._here)

    def head(self, book: int) -> Head:
        """Return the book's head, locked for this batch. Raises NotFound for a book nobody opened."""
        return self.get(BOOKS, (book,))

    # -- one batch --------------------------------------------------------------------------------------------------

    async def load(self, connection: Connection, commands: Sequence[Command[Any]]) -> None:
        """Read every row the commands need and nobody here remembers, one statement a table and round."""
        asking: Sequence[Command[Any]] = commands
        while asking:
            missing: dict[Table[Any], dict[Key, None]] = {}
            again: list[Command[Any]] = []
            for command in asking:
                recalled = self._recalled.get(command.book, _NOTHING)
                complete = True
                for table, key in command.needs(self):
                    rows = self._rows.setdefault(table, {})
                    if key in rows:
                        continue
                    if (row := recalled.get(table, _NOTHING).get(key)) is not None:
                        rows[key] = row  # at once, so the command may go on to what this row leads to
                    else:
                        missing.setdefault(table, {})[key] = None
                        complete = False
                if not complete:
                    again.append(command)
            for table, wanted in missing.items():
                rows = self._rows[table]
                for row in await table.load(connection, list(wanted)):
                    rows[row[: table.keys]] = row
                for key in wanted:
                    rows.setdefault(key, None)
            asking = again

    def know_absent(self, book: int) -> None:
        """Note that there is no such book."""
        self._rows[BOOKS].setdefault((book,), None)

    def run(self, command: Command[Any]) -> Any:
        """Apply one command; return its result or the exception it ended with, in which case it left no trace."""
        self._undo.clear()
        try:
            return command.apply(self)
        except Exception as error:
            self._take_back()
            if not isinstance(error, SluiceError):
                error.add_note(f"while applying {type(command).__name__} to book {command.book}")
            return error

    def _take_back(self) -> None:
        """Undo what the last command did."""
        for step in reversed(self._undo):
            if len(step) == 1:
                step[0].pop()
                continue
            if len(step) == 2:
                del step[0][step[1] :]
                continue
            if len(step) == 3:
                if step[2] is None:
                    del step[0][step[1]]
                else:
                    step[0][step[1]] = step[2]
                continue
            rows, key, old, changed, change = step
            if old is _ABSENT:
                del rows[key]
            else:
                rows[key] = old
            if change is None:
                del changed[key]
            else:
                change[1] = old

    async def flush(self, connection: Connection) -> None:
        """Write what changed, one statement a table and kind; see Memory for which books have their heads moved."""
        for book in self._to_be_moved():
            head = self.head(book)
            recorded_at = self.recorded(book).at
            if head.recorded_at != recorded_at:
                self.put(BOOKS, head._replace(recorded_at=recorded_at))
        updates: list[Update] = []
        for table, changes in self._changed.items():
            new = [row for old, row in changes.values() if old is None]
            if new:
                await table.insert(connection, new)
            if len(new) < len(changes):
                updates += table.updates([change for change in changes.values() if change[0] is not None])
        updates += [table.more(sums) for table, sums in self._sums.items() if sums]
        await write(connection, updates)
        for table, added in self._added.items():
            if added:
                await table.insert(connection, added)

    def _to_be_moved(self) -> set[int]:
        """Return the books in which this batch writes a row that somebody may remember; a journal moves its head."""
        return {key[0] for table, changed in self._changed.items() if table.remembered for key in changed}

    def outcome(self) -> Iterator[tuple[Head, Head, Remembered]]:
        """Yield, for each book written: its head before and after, and the rows worth remembering."""
        worth: dict[int, Remembered] = {}
        for table, rows in self._rows.items():
            if table.remembered:
                for key, row in rows.items():
                    if row is not None:
                        worth.setdefault(key[0], {}).setdefault(table, {})[key] = row
        for before in self._heads:
            after = self._rows[BOOKS][(before.book,)]
            if after is not before:
                yield before, after, worth.get(before.book, {})


def _recorded(at: datetime) -> Recorded:
    return Recorded(at, stamp(at), business_date(at))


_ABSENT: Any = object()  # stands for a row that was not known at all
_NOTHING: dict[Any, Any] = {}


class ClockDiffers(Unavailable):
    """This host's clock and the database's are too far apart to record anything under; nothing was done."""


class _SetAside:
    """Stands for the result of a command whose book another transaction holds: nothing of it was done."""

    def __repr__(self) -> str:
        return "SET_ASIDE"


SET_ASIDE = _SetAside()


class Locked(NamedTuple):
    """What a batch found when it asked for the locks of its books."""

    heads: list[Head]  # those it has
    held: frozenset[int]  # those that another transaction has; empty where it waited for them
    began_at: datetime  # when the transaction began, by the database's clock


async def lock_books(connection: Connection, books: Iterable[int], *, wait: bool = True) -> Locked:
    """Lock the heads of these books, lowest first so that two batches never wait for each other, and return them.

    wait: for those another transaction holds, as long as `lock_timeout` says; else they are only named. Books nobody
    opened are in neither list. Raises asyncpg.LockNotAvailableError.
    """
    wanted = sorted(set(books))
    records = await connection.fetch(
        "SELECT book, transfer_seq, transfer_hash, event_seq, event_hash, recorded_at, transaction_timestamp() "
        f"FROM book WHERE book = ANY($1::int[]) ORDER BY book FOR UPDATE{'' if wait else ' SKIP LOCKED'}",
        wanted,
    )
    heads = [Head(*record[:6]) for record in records]
    held: frozenset[int] = frozenset()
    if not wait and len(heads) < len(wanted):
        missing = set(wanted) - {head.book for head in heads}
        found = await connection.fetch(
            "SELECT book, transaction_timestamp() FROM book WHERE book = ANY($1::int[])", sorted(missing)
        )
        held = frozenset(record[0] for record in found)
        records = records or found
    began_at = records[0][-1] if records else await connection.fetchval("SELECT transaction_timestamp()")
    return Locked(heads, held, began_at)


async def carry_out(
    connection: Connection,
    commands: Sequence[Command[Any]],
    now: datetime,
    memory: Memory | None = None,
    *,
    locked: Locked | None = None,
    max_skew: timedelta | None = None,
) -> tuple[list[Any], Work]:
    """Carry out a batch inside the caller's transaction.

    now: by this host's clock, read after the transaction began. locked: what lock_books found for these commands; None
    where their books are still to be locked. Commands whose book is held end as SET_ASIDE and the others are carried
    out. max_skew: how far `now` may be from the database's clock, which all hosts share; None where time is given by
    hand. Returns a result or an exception for each command, and the work, which `memory.keep` may have once it is
    committed. Raises ClockDiffers.
    """
    if locked is None:
        locked = await lock_books(connection, (command.book for command in commands))
    if max_skew is not None and abs(now - locked.began_at) > max_skew:
        raise ClockDiffers("clock_differs", clock_differs(now, locked.began_at))
    held, mine = locked.held, commands
    if held:
        mine = [command for command in commands if command.book not in held]
    work = Work(now, locked.heads, memory)
    for book in {command.book for command in mine} - {head.book for head in locked.heads}:
        work.know_absent(book)
    await work.load(connection, mine)
    results = [SET_ASIDE if command.book in held else work.run(command) for command in commands]
    await work.flush(connection)
    return results, work


def clock_differs(here: datetime, database: datetime) -> str:
    """Say how far a host's clock is from the database's, and what to do."""
    ahead = (here - database).total_seconds()
    way = "ahead of" if ahead > 0 else "behind"
    return f"this host's clock is {abs(ahead):.1f} s {way} the database's; set it right, nothing is written until then"


async def clock_off(connection: Connection, now: datetime, max_skew: timedelta | None) -> str | None:
    """Say how far a host's clock, at which it is `now`, is from the database's; None where that is within max_skew."""
    there: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return clock_differs(now, there) if max_skew is not None and abs(now - there) > max_skew else None


async def perform(connection: Connection, commands: Sequence[Command[Any]], now: datetime) -> list[Any]:
    """Carry out a batch and return a result or an exception for each command; for callers with nothing to remember."""
    return (await carry_out(connection, commands, now))[0]
