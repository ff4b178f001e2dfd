"""Units of work on a real PostgreSQL: any batches of commands give what the commands give one after the other."""

import importlib
import pkgutil
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import asyncpg
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import cases
import channels
import gateway
import kernel
import ledger
import people
import reconciliation
import splitting
import streams
from kernel.db import Connection
from kernel.errors import NotFound, Rejected
from kernel.work import BOOKS, Memory, Need, NotLoaded, Sums, Table, Work, carry_out, new_head, perform
from streams.outbox import POSITIONS, Position
from tests.kernel.one_book import NOW, outside


class Thing(NamedTuple):
    book: int
    id: str
    a: int
    b: str | None
    c: int = 0
    d: str = "plain"


class Note(NamedTuple):
    book: int
    text: str


class Tally(NamedTuple):
    book: int
    name: str
    amount: int
    times: int


THINGS: Table[Thing] = Table("thing", Thing, "int text bigint text bigint text", keys=2, remembered=True)
NOTES: Table[Note] = Table("note", Note, "int text", keys=2)
TALLIES: Sums[Tally] = Sums("tally", Tally, "int text bigint bigint", keys=2)
SCHEMA = """
    CREATE TABLE thing (book int, id text, a bigint, b text, c bigint NOT NULL DEFAULT 0,
                        d text NOT NULL DEFAULT 'plain', PRIMARY KEY (book, id));
    CREATE TABLE tally (book int, name text, amount bigint, times bigint, PRIMARY KEY (book, name));
    CREATE TABLE note (book int, text text, number bigint GENERATED ALWAYS AS IDENTITY);
"""

_books = count(1)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with outside(database_url) as connection:
        await connection.execute(SCHEMA)
        yield connection


async def new_books(connection: Connection, how_many: int) -> list[int]:
    books = [next(_books) for _ in range(how_many)]
    await BOOKS.insert(connection, [new_head(book, NOW) for book in books])
    return books


# -- equal to some serial order ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Do:
    """A command that reads, writes and notes as it is told, may refuse at its end, and returns all that it read."""

    book: int
    steps: tuple[tuple[Any, ...], ...]
    refuses: bool = False

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        for step in self.steps:
            if step[0] not in ("note", "sum"):
                yield THINGS, (self.book, step[1])

    def apply(self, work: Work) -> list[Any]:
        read = []
        for step in self.steps:
            match step:
                case ("read", ident):
                    found = work.find(THINGS, (self.book, ident))
                    read.append(found and found[2:])
                case ("make", ident, *values):
                    work.put(THINGS, Thing(self.book, ident, *values))
                case ("add", ident, amount):
                    if (found := work.find(THINGS, (self.book, ident))) is not None:
                        work.put(THINGS, found._replace(a=found.a + amount))
                case ("sum", name, amount):
                    work.sum_up(TALLIES, (self.book, name), amount, 1)
                case ("note", text):
                    work.add(NOTES, Note(self.book, text))
        if self.refuses:
            raise Rejected("refused", "after all of it")
        return read


class SerialModel:
    """The same commands on plain dictionaries, one after the other."""

    def __init__(self) -> None:
        self.things: dict[str, tuple[Any, ...]] = {}
        self.notes: list[str] = []
        self.tallies: dict[str, tuple[int, int]] = {}

    def do(self, command: Do) -> Any:
        things, notes, read, tallies = dict(self.things), list(self.notes), [], dict(self.tallies)
        for what, name, *values in command.steps:
            if what == "read":
                read.append(things.get(name))
            elif what == "make":
                things[name] = tuple(values)
            elif what == "add" and name in things:
                things[name] = (things[name][0] + values[0], *things[name][1:])
            elif what == "note":
                notes.append(name)
            elif what == "sum":
                amount, times = tallies.get(name, (0, 0))
                tallies[name] = amount + values[0], times + 1
        if command.refuses:
            return "refused"
        self.things, self.notes, self.tallies = things, notes, tallies
        return read


names = st.sampled_from("xy")
reads = st.tuples(st.just("read"), names)
makes = st.tuples(
    st.just("make"), names, st.integers(-9, 9), st.none() | st.sampled_from(["", "p"]), st.sampled_from([0, 0, 5]),
    st.sampled_from(["plain", "plain", "odd"]),
)  # fmt: skip
adds = st.tuples(st.just("add"), names, st.sampled_from([0, 1, 2]))
notes = st.tuples(st.just("note"), st.sampled_from("mn"))
sums = st.tuples(st.just("sum"), names, st.sampled_from([0, 1, 7]))
steps = st.one_of(reads, reads, makes, adds, adds, notes, sums)
commands = st.tuples(
    st.sampled_from([0, 0, 0, 1]), st.lists(steps, min_size=1, max_size=4).map(tuple), st.integers(0, 3)
)


@dataclass(frozen=True)
class Batch:
    process: int  # which of two processes writes it
    ends: str  # committed | rolled back | committed, but its answer is lost
    commands: list[tuple[int, tuple[tuple[Any, ...], ...], int]]


batches = st.builds(
    Batch,
    st.integers(0, 1),
    st.sampled_from(["committed", "committed", "committed", "rolled back", "lost"]),
    st.lists(commands, min_size=1, max_size=4),
)


class Undone(Exception):
    pass


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=st.lists(batches, min_size=1, max_size=10))
async def test_any_history_of_batches_equals_its_commands_one_by_one(
    connection: Connection, history: list[Batch]
) -> None:
    """Two processes that remember what they wrote, batches that are rolled back, commits whose answer is lost."""
    books = await new_books(connection, 2)
    models = [SerialModel() for _ in books]
    memories = [Memory(), Memory(rows_per_table=1, books=1)]
    for batch in history:
        asked = [Do(books[where], doing, refuses == 3) for where, doing, refuses in batch.commands]
        memory = memories[batch.process]
        event(batch.ends)
        try:
            async with connection.transaction():
                results, work = await carry_out(connection, asked, NOW, memory)
                if batch.ends == "rolled back":
                    raise Undone
        except Undone:
            continue
        if batch.ends == "committed":
            memory.keep(work)
        wanted = [models[where].do(command) for (where, *_), command in zip(batch.commands, asked, strict=True)]
        assert ["refused" if isinstance(result, Rejected) else result for result in results] == wanted
    for book, model in zip(books, models, strict=True):
        rows = await connection.fetch("SELECT id, a, b, c, d FROM thing WHERE book = $1", book)
        assert {row[0]: tuple(row)[1:] for row in rows} == model.things
        noted = await connection.fetch("SELECT text FROM note WHERE book = $1 ORDER BY number", book)
        assert [row[0] for row in noted] == model.notes
        tallied = await connection.fetch("SELECT name, amount, times FROM tally WHERE book = $1", book)
        assert {row[0]: tuple(row)[1:] for row in tallied} == model.tallies


async def test_what_is_remembered_is_not_read_again(connection: Connection) -> None:
    """Else the property above would hold for a memory that remembers nothing."""
    (book,) = await new_books(connection, 1)
    memory = Memory()
    make, read = Do(book, (("make", "x", 1, None),)), Do(book, (("read", "x"),))
    for command in (make, read):
        _, work = await carry_out(connection, [command], NOW, memory)
        memory.keep(work)
    # what nobody may do: change a row beside the lane, so that the book's head does not move
    await connection.execute("UPDATE thing SET a = 99 WHERE book = $1", book)
    results, _ = await carry_out(connection, [read], NOW, memory)
    assert results == [[(1, None, 0, "plain")]]
    assert await perform(connection, [read], NOW) == [[(99, None, 0, "plain")]]


@pytest.mark.parametrize("in_between", ["made elsewhere", "rolled back here", "lost here"])
async def test_what_is_remembered_is_given_up_when_anything_else_became_of_the_book(
    connection: Connection, in_between: str
) -> None:
    (book,) = await new_books(connection, 1)
    memory, elsewhere = Memory(), Memory()

    async def batch(memory: Memory, *doing: tuple[Any, ...], ends: str = "committed") -> Any:
        with suppress(Undone):
            async with connection.transaction():
                (result,), work = await carry_out(connection, [Do(book, doing)], NOW, memory)
                if ends == "rolled back":
                    raise Undone
            if ends == "committed":
                memory.keep(work)
            return result

    await batch(memory, ("make", "x", 1, None), ("make", "y", 1, None))
    match in_between:
        case "made elsewhere":
            await batch(elsewhere, ("make", "x", 2, None))
        case "rolled back here":  # and another's batch takes the very moment that it had
            await batch(memory, ("make", "x", 3, None), ends="rolled back")
            await batch(elsewhere, ("make", "x", 2, None))
        case "lost here":
            await batch(memory, ("make", "x", 2, None), ends="lost")
    await batch(memory, ("make", "y", 2, None))  # which remembers the book again, but not what it knew of x
    assert await batch(memory, ("read", "x"), ("read", "y")) == [(2, None, 0, "plain"), (2, None, 0, "plain")]


@dataclass(frozen=True)
class Advance:
    """Move a consumer's position, which nobody remembers."""

    book: int
    seq: int

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield POSITIONS, (self.book, "splitting")

    def apply(self, work: Work) -> None:
        work.put(POSITIONS, Position(self.book, "splitting", self.seq))


async def test_a_batch_moves_the_head_exactly_when_it_writes_a_row_that_may_be_remembered(
    connection: Connection,
) -> None:
    (book,) = await new_books(connection, 1)
    seen = [await connection.fetchval("SELECT recorded_at FROM book WHERE book = $1", book)]
    commands = [Do(book, (doing,)) for doing in [("make", "x", 1, None), ("add", "x", 1), ("note", "m"), ("read", "x")]]
    for command in [*commands, Advance(book, 1), Advance(book, 2)]:
        await perform(connection, [command], NOW - timedelta(days=1))  # even by a clock that is behind
        seen.append(await connection.fetchval("SELECT recorded_at FROM book WHERE book = $1", book))
    assert seen[0] < seen[1] < seen[2] == seen[3] == seen[4] == seen[5] == seen[6]


async def test_a_consumer_that_moves_on_lets_nobody_forget_the_book(connection: Connection) -> None:
    (book,) = await new_books(connection, 1)
    memory = Memory()
    _, work = await carry_out(connection, [Do(book, (("make", "x", 1, None),))], NOW, memory)
    memory.keep(work)
    await perform(connection, [Advance(book, 1)], NOW)
    # Seen by what nobody may do: change a row beside the lane.
    await connection.execute("UPDATE thing SET a = 99 WHERE book = $1", book)
    results, _ = await carry_out(connection, [Do(book, (("read", "x"),))], NOW, memory)
    assert results == [[(1, None, 0, "plain")]]


# -- reading and writing -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unnamed:
    book: int

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield THINGS, (self.book, "named")

    def apply(self, work: Work) -> Any:
        assert work.find(THINGS, (self.book, "named")) is None
        with pytest.raises(NotFound):
            work.get(THINGS, (self.book, "named"))
        return work.find(THINGS, (self.book, "another"))


async def test_a_row_that_was_not_named_cannot_be_looked_at(connection: Connection) -> None:
    (book,) = await new_books(connection, 1)
    before, wrong, after = await perform(
        connection, [Do(book, (("note", "m"),)), Unnamed(book), Do(book, (("note", "n"),))], NOW
    )
    assert isinstance(wrong, NotLoaded)
    assert "thing" in str(wrong)
    assert any("Unnamed" in note for note in wrong.__notes__)
    assert (before, after) == ([], [])
    assert [row[0] for row in await connection.fetch("SELECT text FROM note ORDER BY number")] == ["m", "n"]


@dataclass(frozen=True)
class Follows:
    """A command that learns from one row which row it needs next."""

    book: int

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        ident = "first"
        while ident:
            yield THINGS, (self.book, ident)
            found = work.find(THINGS, (self.book, ident)) if work.knows(THINGS, (self.book, ident)) else None
            ident = found.b or "" if found else ""

    def apply(self, work: Work) -> Any:
        return work.get(THINGS, (self.book, "third")).a


async def test_needs_may_lead_from_row_to_row(connection: Connection) -> None:
    (book,) = await new_books(connection, 1)
    chain = [("make", "first", 1, "second"), ("make", "second", 2, "third"), ("make", "third", 3, None)]
    await perform(connection, [Do(book, tuple(chain))], NOW)
    assert await perform(connection, [Follows(book)], NOW) == [3]


async def test_only_the_columns_that_changed_are_written(connection: Connection) -> None:
    (book,) = await new_books(connection, 1)
    await perform(connection, [Do(book, (("make", "x", 1, "p", 5, "odd"), ("make", "y", 2, None)))], NOW)
    await connection.execute(
        """
        CREATE FUNCTION untouchable() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'a column was written that had not changed'; END $$;
        CREATE TRIGGER others BEFORE UPDATE OF book, id, b, c, d ON thing
            FOR EACH ROW EXECUTE FUNCTION untouchable();
        """
    )
    await perform(connection, [Do(book, (("add", "x", 3), ("add", "y", 4), ("add", "y", 1)))], NOW)
    rows = await connection.fetch("SELECT * FROM thing WHERE book = $1 ORDER BY id", book)
    assert [tuple(row) for row in rows] == [(book, "x", 4, "p", 5, "odd"), (book, "y", 7, None, 0, "plain")]
    with pytest.raises(asyncpg.RaiseError):  # the trigger does bite
        await perform(connection, [Do(book, (("make", "x", 4, "q", 5, "odd"),))], NOW)


async def test_a_row_put_back_as_it_was_is_not_written(connection: Connection) -> None:
    (book,) = await new_books(connection, 1)
    await perform(connection, [Do(book, (("make", "x", 1, "p"),))], NOW)
    before = await connection.fetchval("SELECT xmin FROM thing WHERE book = $1", book)
    await perform(connection, [Do(book, (("add", "x", 1), ("add", "x", -1)))], NOW)
    assert await connection.fetchval("SELECT xmin FROM thing WHERE book = $1", book) == before


async def test_a_batch_reads_and_changes_its_rows_with_one_statement_each(connection: Connection) -> None:
    (book,) = await new_books(connection, 1)
    said: list[str] = []
    make = [Do(book, (("make", f"x{n}", n, None), ("note", "m"))) for n in range(50)]
    change = [Do(book, (("add", f"x{n}", 1), ("note", "n"))) for n in range(50)]
    await perform(connection, make, NOW)
    await perform(connection, change[:1], NOW)  # every statement is prepared by now
    connection.add_query_logger(lambda record: said.append(record.query))
    await perform(connection, change, NOW)
    assert [query.split()[0] for query in said] == ["SELECT", "SELECT", "WITH"], said  # all its updates in one
    assert await connection.fetchval("SELECT sum(a) FROM thing WHERE book = $1", book) == sum(range(50)) + 51


def test_a_table_must_have_a_type_for_each_column() -> None:
    with pytest.raises(ValueError, match="6 columns, 5 types"):
        Table("thing", Thing, "int text bigint text bigint", keys=2)


# -- the tables of the hub ---------------------------------------------------------------------------------------------

PACKAGES = [kernel, ledger, streams, cases, people, splitting, gateway, reconciliation, channels]
ROOT = Path(kernel.__file__).parent.parent


def tables() -> dict[str, Table[Any]]:
    """Return every Table that a package of the hub defines."""
    found: dict[str, Table[Any]] = {}
    modules: list[ModuleType] = []
    for package in PACKAGES:
        modules += [
            importlib.import_module(f"{package.__name__}.{info.name}")
            for info in pkgutil.iter_modules(package.__path__)
            if not info.ispkg
        ]
    for module in modules:
        found |= {thing.name: thing for thing in vars(module).values() if isinstance(thing, Table)}
    return found


async def test_every_table_is_as_the_schema_has_it(database_url: str) -> None:
    """Columns and their types, the key, and the defaults that are not sent with a new row."""
    assert tables().keys() >= {"book", "account", "transfer", "hold", "event", "position", "payment", "attempt"}
    async with outside(database_url) as connection:
        for table in tables().values():
            columns = await connection.fetch(
                "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
                "WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
                table.name,
            )
            kinds = {row[0]: row[1] for row in columns}
            for column, kind in zip(table.columns, table._types, strict=True):
                assert await connection.fetchval("SELECT $1::text::regtype = $2::text::regtype", kind, kinds[column]), (
                    f"{table.name}.{column} is {kinds[column]}, the code says {kind}"
                )
            key = await connection.fetchval(
                "SELECT array_agg(a.attname ORDER BY k.n)::text[] FROM pg_index i, "
                "unnest(i.indkey) WITH ORDINALITY AS k(attnum, n) JOIN pg_attribute a USING (attnum) "
                "WHERE i.indrelid = $1::text::regclass AND i.indisprimary AND a.attrelid = i.indrelid",
                table.name,
            )
            assert tuple(key) == table.columns[: table.keys]
            for column, default in zip(table.columns[table._fixed_columns :], table._tail, strict=True):
                said = await connection.fetchval(
                    "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute a ON attrelid = adrelid "
                    "AND attnum = adnum WHERE adrelid = $1::text::regclass AND attname = $2",
                    table.name,
                    column,
                )
                value = None if said is None else await connection.fetchval(f"SELECT {said}")
                assert value == default, f"{table.name}.{column} is {default!r} by default here, {said} in the schema"


def test_rows_that_are_remembered_are_written_by_the_lane_alone() -> None:
    """A row changed beside the lane would not move its book's head, and the old one would be believed (Memory)."""
    remembered = [table.name for table in tables().values() if table.remembered]
    assert "account" in remembered
    beside = re.compile(rf"(UPDATE|INTO|DELETE FROM|COPY|MERGE INTO)\s+({'|'.join(remembered)})\b", re.IGNORECASE)
    assert beside.search("UPDATE account SET debits = 0")
    sources = [
        path for name in [*(p.__name__ for p in PACKAGES), "ops"] for path in sorted((ROOT / name).rglob("*.py"))
    ]
    assert len(sources) > 50
    assert {str(path): found.group() for path in sources if (found := beside.search(path.read_text()))} == {}
    handed = re.compile(rf"\b({'|'.join(name.upper() + 'S' for name in remembered)})\.(insert|update)\(")
    assert handed.search("ACCOUNTS.insert(connection, rows)")
    assert [str(path) for path in sources if handed.search(path.read_text())] == []
