"""The seams: all the hub takes from the world outside its own memory is reached through an Env that is passed in.

This is the only module that reads the machine's clock, its randomness, or starts a task; a lint refuses them elsewhere
(docs/decisions/0003-seams.md). A simulator passes another Env and the same code runs under virtual time.
"""

import asyncio
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from kernel.addresses import PUBLIC, Addresses
from kernel.ids import Ids

T = TypeVar("T")
log = logging.getLogger(__name__)


class Clock(Protocol):
    """Wall time for records, monotonic time for durations; never mix them."""

    def now(self) -> datetime: ...  # aware, UTC
    def monotonic(self) -> float: ...  # seconds, never goes back


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Request:
    """One outgoing message, complete but for its signature."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    routine: bool = False  # asked all the time: told of in the log only where it fails
    for_file: bool = False  # what comes back is a bill, a statement or a list of such, and may be long
    file: Path | None = None  # in place of a body that is long: it is read from there piece by piece


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, or one incoming message, as the bytes that came."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class NotSent(Exception):
    """The message provably never left this host (no connection): the other side did nothing."""


class NoAnswer(Exception):
    """The message may have been received and acted on, but no complete answer came back."""


class Transport(Protocol):
    """The one way out of the host. Raises NotSent or NoAnswer, returns everything else as it came.

    addresses: what it can be asked to call; what it would refuse need not be stored.
    """

    @property
    def addresses(self) -> Addresses: ...

    async def send(self, request: Request, *, timeout_s: float) -> Response: ...


class NoTransport:
    """A transport for processes that never call out; using it is a wiring mistake."""

    addresses = PUBLIC

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        raise NotSent(f"this process has no way out, yet was asked to {request.method}")


class Tasks:
    """Background tasks with a name and an owner; one that fails is logged, never silently gone."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, name: str, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]], *, pause_s: float = 1.0) -> None:
        """Have `work` go on until we are closed: whatever ends it is told of, and it is begun again."""
        self.spawn(name, self._kept(name, work, pause_s))

    async def _kept(self, name: str, work: Callable[[], Coroutine[Any, Any, None]], pause_s: float) -> None:
        task = asyncio.current_task()
        while True:
            error: BaseException | None = None
            try:
                await work()
            except Exception as mistake:  # nothing may end it but its owner
                error = mistake
            except asyncio.CancelledError as cancelled:
                # One that nobody asked of us has leaked from something we waited for.
                if task is None or task.cancelling():
                    raise
                error = cancelled
            log.error("background work ended; it is begun again", extra={"task": name}, exc_info=error)
            await asyncio.sleep(pause_s)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background task ended with an error", extra={"task": task.get_name()}, exc_info=error)

    async def aclose(self, *, patience_s: float = 2.0) -> None:
        """Cancel what still runs and wait for it; cancel again what goes on regardless.

        asyncio.wait_for, before Python 3.12, loses a cancellation that meets an answer, and redis-py waits with it.
        """
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(set(self._running), timeout=patience_s)


@dataclass(slots=True)
class Env:
    """What a use case may take from the world. Build it in ops/wiring.py, pass it down."""

    clock: Clock
    rng: random.Random
    ids: Ids
    secrets: Callable[[int], bytes]  # that many unguessable bytes
    transport: Transport
    tasks: Tasks
    sleep: Callable[[float], Awaitable[None]]  # seconds
    executor: Executor | None

    @property
    def addresses(self) -> Addresses:
        """What may be called."""
        return self.transport.addresses

    def now(self) -> datetime:
        return self.clock.now()

    def spawn(self, name: str, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start background work that outlives its caller."""
        return self.tasks.spawn(name, work)

    def keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start background work that is to go on for as long as the process does."""
        self.tasks.keep(name, work)

    async def offload(self, work: Callable[..., T], *args: Any) -> T:
        """Run CPU work that releases the interpreter lock (signing, hashing big files) beside the event loop."""
        if self.executor is None:
            return work(*args)
        return await asyncio.get_running_loop().run_in_executor(self.executor, work, *args)


def system_env(transport: Transport | None = None, *, threads: int = 2) -> Env:
    """Build the Env of a real process: machine clock, operating-system randomness, a small thread pool."""
    clock = SystemClock()
    rng = random.Random(int.from_bytes(os.urandom(16), "big"))
    return Env(
        clock=clock,
        rng=rng,
        ids=Ids(lambda: int(time.time() * 1000), rng.getrandbits),
        secrets=os.urandom,
        transport=transport or NoTransport(),
        tasks=Tasks(),
        sleep=asyncio.sleep,
        executor=ThreadPoolExecutor(threads, thread_name_prefix="offload"),
    )
