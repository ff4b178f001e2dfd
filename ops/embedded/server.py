"""A server of our own: started, watched, restarted and stopped by the process that wants it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from . import child
from .account import UnixAccount
from .errors import CannotStart
from .place import Lock, Place, choose_port, is_free, open_home, open_place

_LOG_KEPT_BYTES = 10_000_000


class Server(ABC):
    """One server process on one place, which ends when we end.

    Life: start, then any number of restarts, then stop; `ensure_running` restarts it when it died.
    Everything is called from the event loop of the main thread.
    """

    name: str
    death_signal: signal.Signals
    stop_steps: tuple[tuple[signal.Signals, float], ...]

    def __init__(self, home: Path, *, user: str = "nobody", options: Mapping[str, str] | None = None) -> None:
        """Prepare to run the server of `home`.

        user: whom the server becomes when we are root.
        options: settings of the server that outrank ours.
        """
        self.home = open_home(home)
        self.options = dict(options or {})
        self._user = user
        self._place: Place | None = None
        self._lock: Lock | None = None
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._one_at_a_time = asyncio.Lock()

    # -- what each server says for itself

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect, password included."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make the data ready and end what an earlier owner left; blocking, run in a thread."""

    @abstractmethod
    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the process."""

    @abstractmethod
    async def _answers(self) -> bool:
        """Tell whether the process takes clients now."""

    async def _after_start(self) -> None:  # noqa: B027 — optional
        """Do what needs the running server, each time it was started."""

    def _after_stop(self) -> None:  # noqa: B027 — optional
        """Clear away what only a running server needs."""

    # -- facts

    @property
    def place(self) -> Place:
        if self._place is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._place

    @property
    def account(self) -> UnixAccount | None:
        return self.place.account

    @property
    def port(self) -> int:
        if self._port is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._port

    @property
    def pid(self) -> int | None:
        """The process id while the server runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log(self) -> Path:
        return self.home / "log" / f"{self.name}.log"

    # -- life

    async def start(self) -> None:
        """Take the home's server, make its data if it has none, start it and wait until it answers.

        Raises AlreadyRunning when another process has it, CannotStart when it does not come up.
        """
        async with self._one_at_a_time:
            self._place = await asyncio.to_thread(open_place, self.home, self.name, self._user)
            self._lock = Lock(self._place.root / "lock")
            self._lock.take(self.name)
            try:
                await self._launch(may_move=True)
            except BaseException:
                await self._halt()
                self._lock.release()
                raise

    async def stop(self) -> None:
        """Stop the server cleanly and give the home back; harmless when it does not run."""
        async with self._one_at_a_time:
            await self._halt()
            if self._lock is not None:
                self._lock.release()

    async def restart(self) -> None:
        """Stop the server and start it again at the same address."""
        async with self._one_at_a_time:
            await self._halt()
            await self._launch(may_move=False)

    async def ensure_running(self) -> bool:
        """Start the server again at the same address if it has died; tell whether that was needed."""
        async with self._one_at_a_time:
            if self.pid is not None:
                return False
            await self._launch(may_move=False)
            return True

    async def ended(self) -> str:
        """Wait until the process ends and say how."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return child.describe_exit(await child.ended(self._process))

    async def wait_until_ready(self, within_s: float = 120) -> None:
        """Wait until the server takes clients. Recovery after a crash counts as waiting.

        Raises CannotStart, with the end of the log, when the process ends or takes longer.
        """
        process = self._process
        if process is None:
            raise RuntimeError(f"{self.name} was not started")
        deadline = asyncio.get_running_loop().time() + within_s
        while process.poll() is None:
            if await self._answers():
                return
            if asyncio.get_running_loop().time() > deadline:
                raise CannotStart(f"{self.name} did not answer within {within_s:g} s.{self._last_words()}")
            await asyncio.sleep(0.02)
        raise CannotStart(f"{self.name} ended with {child.describe_exit(process.returncode)}.{self._last_words()}")

    async def _launch(self, *, may_move: bool) -> None:
        """Start the process and wait for it; a port taken in between is chosen again, or waited for if fixed."""
        await _to_the_end(self._prepare)
        for tries_left in range(5, -1, -1):
            if may_move or self._port is None:
                self._port = choose_port(self.place.root)
            log = self._open_log()
            try:
                self._process = self._spawn(log)
            finally:
                log.close()
            try:
                await self.wait_until_ready()
                break
            except CannotStart:
                await self._halt()
                if tries_left == 0 or is_free(self._port):
                    raise
                await asyncio.sleep(0 if may_move else 1)
        await self._after_start()

    async def _halt(self) -> None:
        if self._process is not None:
            await child.end(self._process, *self.stop_steps)
            await _to_the_end(self._end_leftovers)
            self._after_stop()

    def _open_log(self) -> IO[bytes]:
        try:
            self.log.parent.mkdir(mode=0o700, exist_ok=True)
            if self.log.exists() and self.log.stat().st_size > _LOG_KEPT_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
            handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotStart(f"{error.filename} cannot be written: {error.strerror}; is it another user's?") from error
        file = os.fdopen(handle, "ab")
        self._log_start = file.tell()
        return file

    def _last_words(self) -> str:
        """Return the last lines the process logged, set off for a message."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read().decode(errors="replace").splitlines()[-12:]
        return "".join(f"\n  {line}" for line in [f"It said ({self.log}):", *lines])

    def _end_leftovers(self) -> None:
        """End processes of this server that outlived their owner; the caller holds the lock, so none is wanted.

        Only Linux tells where a process works; elsewhere the server itself refuses data in use.
        """
        for wanted in (self.stop_steps[-1][0], signal.SIGKILL):
            for pid in processes_of(self.place.data, self._is_ours):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, wanted)
            for _ in range(100):
                if not (left := processes_of(self.place.data, self._is_ours)):
                    return
                time.sleep(0.1)
        raise CannotStart(f"processes {left} still use {self.place.data} and cannot be ended")

    @staticmethod
    @abstractmethod
    def _is_ours(program: str) -> bool:
        """Tell from its file name whether a process that works in our data folder is this server's."""


async def _to_the_end(work: Callable[[], None]) -> None:
    """Run blocking `work` in a thread and, even when cancelled, wait for its end: it touches data we hold locked."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


def processes_of(data: Path, is_ours: Callable[[str], bool]) -> list[int]:
    """Return the processes that work in the folder `data` and whose program's name satisfies `is_ours`."""
    if sys.platform != "linux" or not data.exists():
        return []
    folder = os.path.realpath(data)
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                works_in = os.readlink(f"/proc/{name}/cwd")
                program = os.readlink(f"/proc/{name}/exe").removesuffix(" (deleted)")
            except OSError:  # it ended meanwhile, is another user's, or is the kernel's
                continue
            if works_in == folder and is_ours(os.path.basename(program)):
                found.append(int(name))
    return found
