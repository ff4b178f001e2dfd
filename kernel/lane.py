"""The commit lane: requests that arrive together are committed together.

A durable commit costs the same for one payment as for a thousand, so it is shared. While one commit is under way the
next commands gather; when it returns, all of them go into the next. There is no timer: an idle lane commits at once,
a busy one in larger batches. Each caller gets its own result, and only after the commit. This is the one clever thing
in the hub (docs/performance.md has its figures); everything that moves money goes through it.

A batch never waits for one of its books: a book that another transaction holds is set aside with its commands, which
gather and are committed by themselves once it is free, while the lane goes on with the others. A batch of one book
waits a moment: most often the holder is another process of the hub, about to commit. Nor does a book wait for one
command: where something else holds a row that only one of them needs, that one is found and waits by itself.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

import asyncpg

from kernel.db import AGAIN, LOST, Pool, transaction
from kernel.env import Env
from kernel.errors import Unavailable
from kernel.work import SET_ASIDE, ClockDiffers, Command, Memory, carry_out, lock_books


class OfBook(Protocol):
    """What a lane must know of a command: whose book it is about."""

    @property
    def book(self) -> int: ...


C = TypeVar("C", bound=OfBook)
R = TypeVar("R")

# One transaction: a result or an exception for each command. The flag tells whether it may wait for books that another
# transaction holds; where it may not, or has waited long enough, their commands' result is SET_ASIDE.
Commit = Callable[[Sequence[C], bool], Awaitable[Sequence[Any]]]

BATCH_STATEMENT_S = 5.0  # of a shared transaction; one that takes longer is carried out book by book
ASIDES = 4  # books waited for at a time; each has a connection of its own meanwhile
SHARED_LOCK_MS = 50  # how long a shared transaction waits for a lock
TURN_MS = 250  # how long one for a book set aside does, before another book has its turn
AGAIN_S = 1.0  # after which a command that waits for something else than its book is tried again
MAX_SKEW = timedelta(seconds=5)  # between a host's clock and the database's

# Somebody holds a row or a table that is needed, or a statement took too long. Whose it was is not known.
_HELD_UP = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)
_HELD: Any = object()  # stands for the result of a command whose batch was held up so, though it had its book


class BookHeld(Exception):
    """Another transaction holds the book itself, so none of its commands can be carried out."""


@dataclass(slots=True)
class LaneFigures:
    """What a lane has done, for metrics and the bench."""

    batches: int = 0
    commands: int = 0
    largest: int = 0
    looked_up_again: int = 0  # commits whose answer was lost
    split: int = 0  # batches halved because an item poisoned them
    refused_full: int = 0
    set_aside: int = 0  # commands whose book another transaction held when they were first tried
    locked_out: int = 0  # of those, how many were never carried out
    sizes: dict[int, int] = field(default_factory=dict)  # batch size rounded up to a power of two → how often


@dataclass(slots=True)
class _Aside(Generic[C]):
    """What waits for one book: its commands, and those found to wait for something that the others do not need."""

    queue: "deque[tuple[C, asyncio.Future[Any]]]" = field(default_factory=deque)
    stuck: "deque[tuple[tuple[C, asyncio.Future[Any]], float]]" = field(default_factory=deque)  # and till when

    def __len__(self) -> int:
        return len(self.queue) + len(self.stuck)

    def forget_who_has_given_up(self) -> None:
        """Take out what is not begun yet for callers that wait no more."""
        while self.queue and _has_given_up(self.queue[0][1]):
            self.queue.popleft()
        while self.stuck and _has_given_up(self.stuck[0][0][1]):
            self.stuck.popleft()


class Lane(Generic[C]):
    """Commits commands in shared transactions.

    commit: carries out a batch in one transaction. It must be safe to call again with the same commands: they carry
    their ids, and are looked up by them under the book's lock before anything is written.
    max_batch: commands in one transaction. max_waiting: beyond it `put` refuses before anything is done; a book that is
    set aside may have a part of it. writers: transactions at a time; more than one only helps where batches touch
    different books. patience_s: how long the database may be away, and how long a caller waits for it whatever the
    reason. lock_patience_s: how long a book may be held.
    """

    def __init__(
        self,
        commit: Commit[C],
        env: Env,
        *,
        max_batch: int = 512,
        max_waiting: int = 4096,
        writers: int = 1,
        patience_s: float = 8.0,
        lock_patience_s: float = 5.0,
    ) -> None:
        self._commit = commit
        self._env = env
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._most_aside = max(max_batch, max_waiting // 8)
        self._writers = writers
        self._patience_s = patience_s
        self._lock_patience_s = lock_patience_s
        self._waiting: deque[tuple[C, asyncio.Future[Any]]] = deque()
        self._writing = 0
        self._aside: dict[int, _Aside[C]] = {}  # by book
        self._turns = asyncio.Semaphore(ASIDES)
        self.figures = LaneFigures()

    async def put(self, command: C, *, alone: bool = False) -> Any:
        """Have the command committed and return its result.

        alone: it may take long, so it has a transaction of its own beside the lane's, and its caller waits as long as
        that takes; other books do not wait for it.
        A caller that is cancelled only stops waiting; its command goes on with its neighbours. One that has waited long
        enough is told so, and what has not been begun for it is not done.
        Raises what the command refused with; Unavailable when the lane is full, its book stays locked or the database
        is away or silent. In the last case the command may have been done: the caller repeats it with the same ids.
        """
        aside = self._aside.get(command.book)
        if self.waiting >= self._max_waiting or (aside is not None and len(aside) >= self._most_aside):
            self.figures.refused_full += 1
            raise Unavailable(
                "busy", "more requests are waiting than the hub can write; nothing was done", retry_after_s=1
            )
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if alone or aside is not None:
            self._set_aside(command, answer)
        else:
            self._waiting.append((command, answer))
            if self._writing < self._writers:
                self._start()
        if alone:
            return await answer
        timer = answer.get_loop().call_later(self._patience_s, _give_up, answer)
        try:
            return await answer
        finally:
            timer.cancel()

    @property
    def waiting(self) -> int:
        """How many commands wait for a commit, or for their book."""
        return len(self._waiting) + sum(map(len, self._aside.values()))

    @property
    def books_aside(self) -> int:
        """How many books are set aside just now."""
        return len(self._aside)

    def _start(self) -> None:
        self._writing += 1
        self._env.spawn("lane", self._write()).add_done_callback(self._ended)

    def _ended(self, writer: "asyncio.Task[None]") -> None:
        """Count a writer out. Where the last was stopped from outside, nobody comes for those still waiting."""
        self._writing -= 1
        if not writer.cancelled() and writer.exception() is None:
            if self._waiting:  # put between its last look and now
                self._start()
        elif not self._writing:
            _tell(
                self._waiting,
                Unavailable("shutting_down", "the hub is stopping, and nothing was done; send the request again"),
            )

    async def _write(self) -> None:
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
            taken = [one for one in taken if not _has_given_up(one[1])]
            if not taken:
                continue
            results = await self._committed(taken, wait=False)
            for (command, answer), result in zip(taken, results, strict=True):
                if result is SET_ASIDE:
                    self.figures.set_aside += 1
                    self._set_aside(command, answer)
                else:
                    _give(answer, result)
            # Those just answered run before we do: what they put next is in the next batch, not in the one after it.
            await asyncio.sleep(0)  # noqa: TID251 - no time passes

    def _set_aside(self, command: C, answer: "asyncio.Future[Any]") -> None:
        """Have a command wait for its book, with all that come for it meanwhile."""
        aside = self._aside.get(command.book)
        if aside is None:
            aside = self._aside[command.book] = _Aside()
            writer = self._env.spawn("lane, one book", self._write_aside(command.book, aside))
            # One that is stopped before its first step never comes to its own end.
            writer.add_done_callback(partial(self._leave_aside, command.book, aside))
        aside.queue.append((command, answer))

    async def _write_aside(self, book: int, aside: "_Aside[C]") -> None:
        """Commit what waits for one book, as soon as whoever holds it lets go; tell them when that takes too long.

        Where something else than the book is held, ever fewer are tried at a time until one is held up alone. That one
        is stuck: it is tried by itself now and then, and the others go on.
        """
        clock = self._env.clock
        locked = Unavailable(
            "book_locked",
            f"another transaction holds book {book}, or a part of it that this needs; nothing was done, try again",
        )
        size, retry_at = self._max_batch, 0.0
        try:
            give_up_at = clock.monotonic() + self._lock_patience_s
            while aside:
                async with self._turns:
                    aside.forget_who_has_given_up()
                    if not aside:
                        break
                    again = bool(aside.stuck) and (not aside.queue or clock.monotonic() >= retry_at)
                    tried = [aside.stuck[0][0]] if again else list(islice(aside.queue, size))
                    results = await self._committed(tried, wait=True)
                now = clock.monotonic()
                done = [result is not SET_ASIDE and result is not _HELD for result in results]
                for (_, answer), result, is_done in zip(tried, results, done, strict=True):
                    if is_done:
                        _give(answer, result)
                if again:
                    one, until = aside.stuck.popleft()
                    retry_at = now + AGAIN_S
                    if done == [True]:  # most likely all of them waited for the same
                        aside.queue.extendleft(one for one, _ in reversed(aside.stuck))
                        aside.stuck.clear()
                    else:
                        aside.stuck.append((one, until))
                else:
                    for _ in tried:
                        aside.queue.popleft()
                    held = any(result is _HELD for result in results)
                    if held and len(tried) == 1:
                        aside.stuck.append((tried[0], now + self._lock_patience_s))
                    else:
                        left = [one for one, is_done in zip(tried, done, strict=True) if not is_done]
                        aside.queue.extendleft(reversed(left))
                    size = max(1, len(tried) // 2) if held else min(self._max_batch, size * 2)
                if late := [one for one, until in aside.stuck if until <= now]:
                    aside.stuck = deque(kept for kept in aside.stuck if kept[1] > now)
                    self.figures.locked_out += len(late)
                    _tell(late, locked)
                if any(done):
                    give_up_at = now + self._lock_patience_s
                elif now >= give_up_at:
                    self.figures.locked_out += len(aside)
                    _tell(aside.queue, locked)
                    _tell([one for one, _ in aside.stuck], locked)
                    aside.stuck.clear()
        finally:
            self._leave_aside(book, aside)

    def _leave_aside(self, book: int, aside: "_Aside[C]", _: object = None) -> None:
        """Let a book go through the lane again, and tell whoever still waits for it, unless that is done."""
        if self._aside.get(book) is aside:
            del self._aside[book]
            stopping = Unavailable("shutting_down", "the hub is stopping, and nothing was done; send the request again")
            _tell(aside.queue, stopping)
            _tell([one for one, _ in aside.stuck], stopping)

    async def _committed(self, taken: "Sequence[tuple[C, asyncio.Future[Any]]]", *, wait: bool) -> Sequence[Any]:
        """Return what became of each command, and count what was carried out."""
        try:
            results = await self._counted(taken, wait)
        except asyncio.CancelledError:
            _tell(taken, Unavailable("shutting_down", "the hub is stopping; send the request again with the same key"))
            raise
        if done := sum(result is not SET_ASIDE and result is not _HELD for result in results):
            figures = self.figures
            figures.batches += 1
            figures.commands += done
            figures.largest = max(figures.largest, done)
            bucket = 1 << (done - 1).bit_length()
            figures.sizes[bucket] = figures.sizes.get(bucket, 0) + 1
        return results

    async def _counted(self, taken: "Sequence[tuple[C, asyncio.Future[Any]]]", wait: bool) -> Sequence[Any]:
        """Return one result or exception a command, whatever happens to the database on the way."""
        commands = [command for command, _ in taken]
        give_up_at = self._env.clock.monotonic() + self._patience_s
        pause, left_s = 0.02, None
        while True:
            try:
                async with asyncio.timeout(left_s):
                    return await self._commit(commands, wait)
            except BookHeld:
                return [SET_ASIDE] * len(commands)
            except _HELD_UP:  # each book finds out by itself whether it is the one, and then which of its commands
                return [_HELD if wait else SET_ASIDE] * len(commands)
            except ClockDiffers as error:
                return [error] * len(commands)
            except (*AGAIN, *LOST, Unavailable) as error:
                # The commit may have happened although its answer was lost. Repeating the batch is a look-up by ids:
                # it first waits for the book's lock, so for the end of the lost transaction, then reads what is there.
                await self._env.sleep(pause * (1 + self._env.rng.random()))
                pause = min(pause * 2, 1.0)
                left_s = give_up_at - self._env.clock.monotonic()
                if left_s <= 0 or all(_has_given_up(answer) for _, answer in taken):
                    refusal = _away()
                    refusal.__cause__ = error
                    return [refusal] * len(commands)
                self.figures.looked_up_again += 1
            except Exception as error:
                if len(commands) == 1:
                    return [error]
                self.figures.split += 1
                middle = len(commands) // 2
                return [*await self._counted(taken[:middle], wait), *await self._counted(taken[middle:], wait)]


def _away() -> Unavailable:
    return Unavailable(
        "database_unavailable", "the hub's database is unavailable; send the request again with the same key"
    )


def _give_up(answer: "asyncio.Future[Any]") -> None:
    _give(answer, _away())


def _has_given_up(answer: "asyncio.Future[Any]") -> bool:
    """Tell of one that has no result yet whether its caller waits no more; one who was cancelled has not said so."""
    return answer.done() and not answer.cancelled()


def _tell(waiting: "Iterable[tuple[Any, asyncio.Future[Any]]]", refusal: Unavailable) -> None:
    """Answer all these callers alike; a queue is empty afterwards."""
    for _, answer in waiting:
        _give(answer, refusal)
    if isinstance(waiting, deque):
        waiting.clear()


def _give(answer: "asyncio.Future[Any]", result: Any) -> None:
    """Hand a caller its result or exception, unless it has gone."""
    if answer.done():
        return
    if isinstance(result, StopIteration):  # the one exception a future cannot carry
        mistake = RuntimeError("a command ended with StopIteration")
        mistake.__cause__ = result
        answer.set_exception(mistake)
    elif isinstance(result, BaseException):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def committing(pool: Pool, aside: Pool, env: Env, *, max_skew: timedelta | None = MAX_SKEW) -> Commit[Command[Any]]:
    """Return the commit of a lane on this database: one transaction, the books of the batch locked.

    pool: opened by_key, with a connection for each writer of the lane; what many callers share is cut off early there
    (SHARED_LOCK_MS, BATCH_STATEMENT_S). aside: likewise, with ASIDES connections, where one book may take its time
    (TURN_MS). max_skew: how far this host's clock may be from the database's; None where time is given by hand.
    """
    memory = Memory()

    async def commit(commands: Sequence[Command[Any]], wait: bool) -> Sequence[Any]:
        async with transaction(aside if wait else pool) as connection:
            now = env.now()
            books = {command.book for command in commands}
            try:
                locked = await lock_books(connection, books, wait=wait or len(books) == 1)
            except asyncpg.LockNotAvailableError as error:
                if wait:
                    raise BookHeld from error
                raise
            results, work = await carry_out(connection, commands, now, memory, locked=locked, max_skew=max_skew)
        memory.keep(work)
        return results

    return commit


class Lanes:
    """The lanes of a process, chosen by book: one for each database node, connected to the node that holds the book."""

    def __init__(self, lanes: Sequence[Lane[Command[Any]]], node_of: Callable[[int], int] = lambda book: 0) -> None:
        self._lanes = lanes
        self._node_of = node_of

    async def put(self, command: Command[R], *, alone: bool = False) -> R:
        """Commit the command on the lane of its book and return its result; see Lane.put."""
        result: R = await self._lanes[self._node_of(command.book)].put(command, alone=alone)
        return result

    @property
    def all(self) -> Sequence[Lane[Command[Any]]]:
        return self._lanes
