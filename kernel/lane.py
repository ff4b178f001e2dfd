"""The commit lane: requests that arrive together are committed together.

A durable commit costs the same for one payment as for a thousand, so it is shared. While one commit is under way the
next commands gather; when it returns, all of them go into the next. There is no timer: an idle lane commits at once,
a busy one in larger batches. Each caller gets its own result, and only after the commit. This is the one clever thing
in the hub (docs/performance.md has its figures); everything that moves money goes through it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from kernel.db import AGAIN, LOST, Pool, transaction
from kernel.env import Env
from kernel.errors import Unavailable
from kernel.work import Command, Memory, carry_out

C = TypeVar("C")
R = TypeVar("R")

Commit = Callable[[Sequence[C]], Awaitable[Sequence[Any]]]  # one transaction: a result or an exception for each command


@dataclass(slots=True)
class LaneFigures:
    """What a lane has done, for metrics and the bench."""

    batches: int = 0
    commands: int = 0
    largest: int = 0
    looked_up_again: int = 0  # commits whose answer was lost
    split: int = 0  # batches halved because an item poisoned them
    refused_full: int = 0
    sizes: dict[int, int] = field(default_factory=dict)  # batch size rounded up to a power of two → how often


class Lane(Generic[C]):
    """Commits commands in shared transactions.

    commit: carries out a batch in one transaction. It must be safe to call again with the same commands: they carry
    their ids, and are looked up by them under the book's lock before anything is written.
    max_batch: commands in one transaction. max_waiting: beyond it `put` refuses before anything is done.
    writers: transactions at a time; more than one only helps where batches touch different books.
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
    ) -> None:
        self._commit = commit
        self._env = env
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._writers = writers
        self._patience_s = patience_s
        self._waiting: deque[tuple[C, asyncio.Future[Any]]] = deque()
        self._writing = 0
        self.figures = LaneFigures()

    async def put(self, command: C) -> Any:
        """Have the command committed and return its result.

        A caller that is cancelled only stops waiting; its command goes on with its neighbours.
        Raises what the command refused with; Unavailable when the lane is full or the database stays away. In the
        second case the command may have been done: the caller repeats it with the same ids.
        """
        if len(self._waiting) >= self._max_waiting:
            self.figures.refused_full += 1
            raise Unavailable("busy", "the hub has more waiting than it can write; nothing was done", retry_after_s=1)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        if self._writing < self._writers:
            self._start()
        return await answer

    @property
    def waiting(self) -> int:
        """How many commands wait for the next commit."""
        return len(self._waiting)

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
            for _, answer in self._waiting:
                _give(answer, Unavailable("shutting_down", "the hub is stopping and nothing was done; ask again"))
            self._waiting.clear()

    async def _write(self) -> None:
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
            figures = self.figures
            figures.batches += 1
            figures.commands += len(taken)
            figures.largest = max(figures.largest, len(taken))
            bucket = 1 << (len(taken) - 1).bit_length()
            figures.sizes[bucket] = figures.sizes.get(bucket, 0) + 1
            try:
                results = await self._settled([command for command, _ in taken])
            except asyncio.CancelledError:
                for _, answer in taken:
                    _give(answer, Unavailable("shutting_down", "the hub is stopping; ask again with the same key"))
                raise
            for (_, answer), result in zip(taken, results, strict=True):
                _give(answer, result)

    async def _settled(self, commands: Sequence[C]) -> Sequence[Any]:
        """Return one result or exception a command, whatever happens to the database on the way."""
        give_up_at = self._env.clock.monotonic() + self._patience_s
        pause = 0.02
        while True:
            try:
                return await self._commit(commands)
            except (*AGAIN, *LOST, Unavailable) as error:
                # The commit may have happened although its answer was lost. Repeating the batch is a look-up by ids:
                # it first waits for the book's lock, so for the end of the lost transaction, then reads what is there.
                if self._env.clock.monotonic() >= give_up_at:
                    refusal = Unavailable(
                        "database_unavailable", "the hub's database is away; ask again with the same key"
                    )
                    refusal.__cause__ = error
                    return [refusal] * len(commands)
                self.figures.looked_up_again += 1
                await self._env.sleep(pause * (1 + self._env.rng.random()))
                pause = min(pause * 2, 1.0)
            except Exception as error:
                if len(commands) == 1:
                    return [error]
                self.figures.split += 1
                middle = len(commands) // 2
                return [*await self._settled(commands[:middle]), *await self._settled(commands[middle:])]


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


def committing(pool: Pool, env: Env) -> Commit[Command[Any]]:
    """Return the commit of a lane on this database: one transaction, the books of the batch locked."""
    memory = Memory()

    async def commit(commands: Sequence[Command[Any]]) -> Sequence[Any]:
        async with transaction(pool) as connection:
            results, work = await carry_out(connection, commands, env.now(), memory)
        memory.keep(work)
        return results

    return commit


class Lanes:
    """The lanes of a process, chosen by book: one for each database node, connected to the node that holds the book."""

    def __init__(self, lanes: Sequence[Lane[Command[Any]]], node_of: Callable[[int], int] = lambda book: 0) -> None:
        self._lanes = lanes
        self._node_of = node_of

    async def put(self, command: Command[R]) -> R:
        """Commit the command on the lane of its book and return its result; see Lane.put."""
        result: R = await self._lanes[self._node_of(command.book)].put(command)
        return result

    @property
    def all(self) -> Sequence[Lane[Command[Any]]]:
        return self._lanes
