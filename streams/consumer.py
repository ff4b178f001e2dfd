"""Consumers: our own listeners to events. A consumer's position is written in the transaction of what it did.

What has gathered in a book is handled together, in one commit. Where that cannot be done the half of it is tried, and
so on: all before the one event that cannot be handled is done, and that one stops its book for this listener.

Most events concern no listener. What is passed over is no reason to lock a book, which would set it aside at every
gateway that is just taking payments of it: then only the position moves, if it still stands where it was read.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kernel.db import Connection, Pool, acquire, tell
from kernel.env import Env
from kernel.errors import Conflict, SluiceError, Unavailable
from kernel.lane import Lanes
from kernel.turns import Turns
from kernel.work import BOOKS, Need, Work
from streams.bell import Bell
from streams.outbox import POSITIONS, Event, Position
from streams.store import behind, events_after, pass_over

log = logging.getLogger(__name__)

SLOW_S = 1.0  # a round waits so long for a book
PAGE = 500  # events of a book in a round
# While events keep coming, a round is begun so long after the last: what gathers is handled together. Each round of a
# book is a commit that its payments wait for.
GATHER_S = 0.1

# The effect of some events of one book, in their order: the rows they need, and what they do to them. Both are called
# inside the batch's transaction.
Needs = Callable[[Work, Sequence[Event]], Iterable[Need]]
Handle = Callable[[Work, Sequence[Event]], Any]
# Those of a book's events that may have an effect, read outside any lock: so what tells must never change once the
# event is there.
Concerning = Callable[[Connection, int, Sequence[Event]], Awaitable[Sequence[Event]]]


@dataclass(frozen=True, slots=True)
class Consume:
    """Handle a run of a book's events and move the consumer's position past them, all or nothing."""

    book: int
    consumer: str
    position: int  # where the consumer stood when these events were read
    up_to: int
    events: Sequence[Event]  # those of interest among them, in order
    events_need: Needs
    handle: Handle

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield POSITIONS, (self.book, self.consumer)
        if self.events:
            yield from self.events_need(work, self.events)

    def apply(self, work: Work) -> int:
        stored = work.find(POSITIONS, (self.book, self.consumer))
        if (stored.seq if stored else 0) != self.position:
            raise Conflict("position_moved", f"{self.consumer} of book {self.book} was moved by another worker")
        if self.events:
            self.handle(work, self.events)
        work.put(POSITIONS, Position(self.book, self.consumer, self.up_to))
        return len(self.events)


class Consumer:
    """Feeds one listener with the events it wants, in order within each book, each exactly once in effect."""

    def __init__(
        self,
        name: str,
        types: Sequence[str],
        needs: Needs,
        handle: Handle,
        *,
        pool: Pool,
        lanes: Lanes,
        env: Env,
        concerning: Concerning | None = None,
    ) -> None:
        """concerning: which events of these types may have an effect; None: all of them."""
        self.name = name
        self._concerning = concerning
        self._types = list(types)
        self._needs = needs
        self._handle = handle
        self._pool = pool
        self._lanes = lanes
        self._env = env
        self._turns: Turns[int, bool] = Turns(env, f"the part of {name} in the events of a book")
        self._reading = asyncio.Semaphore(4)  # of the pool's connections
        self._more = False  # there is a book of which the last round has left something

    @property
    def busy(self) -> bool:
        """Whether something of a round is still under way."""
        return bool(self._turns.keys)

    async def once(self) -> int:
        """Handle what is there now, up to PAGE events a book; return how many books moved on.

        An event nobody can handle stops only its book, and only at that event. A book that something else holds is left
        to its own task, and the others go on.
        """
        moved, after = 0, -1
        self._more = False
        while True:
            async with acquire(self._pool) as connection:
                page = await behind(connection, self.name, 200, after=after)
            if not page:
                return moved
            for book, position, last in page:
                if book not in self._turns:
                    self._turns.begin(book, self._turn(book, position, last))
            done, _ = await asyncio.wait([self._turns.of(book) for book, _, _ in page], timeout=SLOW_S)
            moved += sum(task.result() or 0 for task in done)
            after = page[-1][0]

    async def _turn(self, book: int, position: int, last: int) -> bool:
        """Handle a book's next events, of which `last` is there; return whether it moved on."""
        up_to = min(position + PAGE, last)  # a book's events are numbered without a gap
        try:
            async with self._reading, acquire(self._pool) as connection:
                wanted: Sequence[Event] = await events_after(connection, book, position, PAGE, self._types, up_to=up_to)
                if wanted and self._concerning is not None:
                    wanted = await self._concerning(connection, book, wanted)
            self._more = self._more or up_to < last
            return await self._handled(book, position, up_to, wanted)
        except Unavailable as error:  # no event's fault
            log.info("a book's events wait", extra={"consumer": self.name, "book": book, "why": str(error)})
            return False

    async def _handled(self, book: int, position: int, up_to: int, wanted: Sequence[Event]) -> bool:
        """Handle these events, or as many of them as can be; return whether the book moved on."""
        if not wanted and position:  # without one there is no row yet, whose foreign key would ask for the book
            async with self._reading, acquire(self._pool) as connection:
                return await pass_over(connection, book, self.name, position, up_to)
        command = Consume(book, self.name, position, up_to, wanted, self._needs, self._handle)
        try:
            await self._lanes.put(command)
        except Unavailable:
            raise  # no event's fault
        except Exception as error:  # whatever it is, it must not stop the other books
            if isinstance(error, Conflict) and error.code == "position_moved":
                log.info("another worker is at this book", extra={"consumer": self.name, "book": book})
                return False
            if len(wanted) > 1:
                first = wanted[: len(wanted) // 2]
                return await self._handled(book, position, first[-1].seq, first)
            if wanted and wanted[0].seq > position + 1:  # what is before it
                return await self._handled(book, position, wanted[0].seq - 1, [])
            log.error(
                "a consumer cannot handle a book's next event",
                extra={
                    "consumer": self.name,
                    "book": book,
                    "event": [event.id for event in wanted],
                    "why": repr(error),
                },
                exc_info=None if isinstance(error, SluiceError) else error,
            )
            return False
        return True

    async def run(self, bell: Bell, *, idle_s: float = 1.0) -> None:
        """Handle events until cancelled: when the bell rings, and every `idle_s` whether it rings or not.

        The first of them at once; while more come, what gathers within GATHER_S.
        """
        while True:
            self._turns.tell_late()
            try:
                moved = await self.once()
            except Exception as error:  # the worker loop: nothing may end it but its owner
                tell(log, "a consumer's round failed; it goes on", error, consumer=self.name)
                moved = 0
            if not moved:
                await bell.wait(idle_s)
            elif not self._more:
                await self._env.sleep(GATHER_S)
