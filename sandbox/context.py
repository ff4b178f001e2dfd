"""What every part of the sandbox is given: its place, its store, its clock, its faults, its tasks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.clock import Clock
from sandbox.faults import HELD_BACK, Faults
from sandbox.store import Store

log = logging.getLogger("sandbox")
ENDS_WITHIN_S = 1.0


class Tasks:
    """Background work: kept alive, stopped together, and never allowed to die unnoticed."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Event = asyncio.Event()

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start `work`. If it raises, the process stops: everything is in the store, and a silent half is worse."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("background task %s failed; stopping", task.get_name(), exc_info=error)
            self.failed.set()

    async def stop(self) -> None:
        """Cancel everything and wait until it has ended; cancel again what goes on regardless.

        asyncio.wait_for, before Python 3.12, loses a cancellation that meets the event waited for.
        """
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(set(self._running), timeout=ENDS_WITHIN_S)


@dataclass
class SandboxContext:
    """Handed to `install(app, ctx)` of each part.

    home: the sandbox's own folder, `<hub home>/sandbox`; a part keeps its files in a subfolder of its own name.
    base_url: `http://127.0.0.1:PORT`, no slash at the end; known before `install` is called.
    time_scale: every wait of the simulated world is multiplied by this (0.01 = a hundred times faster).
    info: what `GET /control/info` and info.json show; a part adds its own under its own key in `install`
        (`ctx.info["bank"] = {...}`) and the process writes the file when it listens.
    """

    home: Path
    base_url: str
    store: Store
    faults: Faults
    clock: Clock
    tasks: Tasks
    time_scale: float = 1.0
    info: dict[str, Any] = field(default_factory=dict)
    _held: dict[str, "_Held"] = field(default_factory=dict)  # by the fault that holds it back

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start background work that lives until the sandbox stops; see Tasks.spawn."""
        return self.tasks.spawn(name, work)

    def held_back(self, rail: str, execute: Callable[[], Awaitable[object]], **facts: object) -> bool:
        """Tell whether a request is to be held back: it is executed once that order is taken back, whoever has left.

        Lost where the sandbox stops before.
        """
        fault = self.faults.take(rail, HELD_BACK, **facts)
        if fault is None:
            return False
        held = self._held.setdefault(fault.fault_id, _Held())
        work = _later(held.end, execute)
        held.tasks.append(self.spawn(f"{rail}: held back by {fault.fault_id}", work))
        return True

    async def take_back(self, fault_id: str) -> bool:
        """Forget an order of a fault, and tell whether there was one; what it held back has been executed then."""
        found = self.faults.cancel(fault_id)
        if (held := self._held.pop(fault_id, None)) is not None:
            held.end.set()
            await asyncio.wait(held.tasks)
        return found

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of the simulated world."""
        await asyncio.sleep(seconds * self.time_scale)


@dataclass
class _Held:
    """Requests that one order of a fault holds back until it is taken back."""

    end: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)


async def _later(end: asyncio.Event, execute: Callable[[], Awaitable[object]]) -> None:
    await end.wait()
    try:
        await execute()
    except Exception as refusal:  # of the rail's own: there is nobody any more to tell
        log.info("what had been held back was refused: %r", refusal)
