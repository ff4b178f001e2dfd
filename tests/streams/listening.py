"""Events to listen to, and a listener whose effect can be counted."""

from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kernel.db import Connection, Pool, connect
from kernel.env import Env, Tasks, system_env
from kernel.lane import Lanes
from kernel.work import BOOKS, Need, Table, Work, new_head, perform
from streams import Consumer, Event, publish
from streams.consumer import Concerning
from tests.kernel.one_book import NOW, a_lane, outside


class Handled(NamedTuple):
    """One handling of one event. The table has no key, so a second handling shows."""

    book: int
    consumer: str
    seq: int


HANDLED: Table[Handled] = Table("handled", Handled, "int text bigint", keys=3)


@dataclass(frozen=True, slots=True)
class Tell:
    """Publish events of these subjects."""

    book: int
    subjects: Sequence[str]
    type: str = "payment.succeeded"

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)

    def apply(self, work: Work) -> None:
        for subject in self.subjects:
            publish(work, self.book, self.type, subject, {"subject": subject})


@dataclass
class Listener:
    """Counts each event it handles in the table `handled`, and fails on the subjects it is told to fail on."""

    name: str = "listener"
    fails: dict[str, Exception] = field(default_factory=dict)  # while handling
    fails_early: dict[str, Exception] = field(default_factory=dict)  # while naming the rows it needs
    met: list[tuple[int, int]] = field(default_factory=list)  # every call, whether it lasted or not

    def needs(self, work: Work, events: Sequence[Event]) -> Iterable[Need]:
        for event in events:
            if event.subject in self.fails_early:
                raise self.fails_early[event.subject]
        return ()

    def handle(self, work: Work, events: Sequence[Event]) -> None:
        for event in events:
            self.met.append((event.book, event.seq))
            work.add(HANDLED, Handled(event.book, self.name, event.seq))
            if event.subject in self.fails:
                raise self.fails[event.subject]


@dataclass
class Hall:
    """A database with open books, and a process's way to it."""

    url: str
    pool: Pool
    lanes: Lanes
    env: Env

    def consumer(
        self,
        listener: Listener,
        types: Sequence[str] = ("payment.succeeded",),
        concerning: Concerning | None = None,
    ) -> Consumer:
        return Consumer(
            listener.name,
            types,
            listener.needs,
            listener.handle,
            pool=self.pool,
            lanes=self.lanes,
            env=self.env,
            concerning=concerning,
        )

    async def tell(self, book: int, *subjects: str, type_: str = "payment.succeeded") -> None:
        await self.lanes.put(Tell(book, subjects, type_))

    async def handled(self, name: str = "listener") -> dict[int, list[int]]:
        """Return the numbers of the events handled in each book, in the order in which they were."""
        rows = await self.pool.fetch("SELECT book, seq FROM handled WHERE consumer = $1 ORDER BY ctid", name)
        found: dict[int, list[int]] = {}
        for book, seq in rows:
            found.setdefault(book, []).append(seq)
        return found

    async def positions(self, name: str = "listener") -> dict[int, int]:
        rows = await self.pool.fetch("SELECT book, seq FROM position WHERE consumer = $1", name)
        return {row[0]: row[1] for row in rows}


async def open_books(connection: Connection, books: Iterable[int]) -> None:
    await BOOKS.insert(connection, [new_head(book, NOW) for book in books])


async def set_up(url: str, books: Iterable[int]) -> None:
    """Open books, and make the table in which effects are counted."""
    async with outside(url) as connection:
        await open_books(connection, books)
        await connection.execute("CREATE TABLE handled (book int, consumer text, seq bigint)")
        await connection.execute("GRANT SELECT, INSERT ON handled TO sluice_app")


@asynccontextmanager
async def a_hall(url: str, **shape: Any) -> AsyncIterator[Hall]:
    """Be one process at the database."""
    env = system_env()
    async with connect(url, size=2, name="reading") as pool, a_lane(url, env=env, **shape) as lane:
        yield Hall(url, pool, Lanes([lane]), env)


async def told_at_once(connection: Connection, commands: Sequence[Tell]) -> None:
    async with connection.transaction():
        await perform(connection, commands, NOW)


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have a worker's loop run beside the test, as its process would, and end it as its process would."""
    tasks = Tasks()
    task = tasks.spawn("under test", work)
    try:
        yield
        assert not task.done(), "the loop ended by itself"
    finally:
        await tasks.aclose(patience_s=0.2)
