"""Run the whole hub of one home: servers, migrations, then our processes, each watched and started again if it ends.

Everything started here dies with us, even by kill -9, so there is never half a hub. SLUICE_HOME/run.json tells other
commands where the hub is while it runs.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from pydantic import AwareDatetime, BaseModel

from kernel.db import connect
from kernel.env import SystemClock
from ops.embedded import CannotStart, Server, Servers, servers
from ops.embedded.child import describe_exit, end, ended, spawn
from ops.embedded.place import Lock, is_locked, open_home, write_whole
from ops.logs import Lines
from ops.migrate import MigrationFailed, migrate
from ops.people import record_migrations
from ops.ports import PortTaken, require_free
from ops.settings import Settings
from people import Audit

# SIGTERM means: finish what was accepted, take nothing new. A channel may take 15 s to answer.
_GRACE_S = 20.0
_BACK_OFF_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
# A process that lived this long was well; its next end starts the back-off anew.
_WELL_AFTER_S = 60.0
_TRIES_BEFORE_READY = 3
_LAST_LINES = 12
_LOOKS_AT_PORTS = 20  # a tenth of a second apart

Say = Callable[[str, str], None]  # (who, one line)


class Voice:
    """What the hub says: a line of standard output or of standard error, each with who said it; it never waits."""

    def __init__(self) -> None:
        self._out, self._err = Lines(1), Lines(2)
        for lines in (self._out, self._err):
            lines.told = lambda count: f"{'sluice':<10} | {count} lines were dropped: nobody read them\n"

    def say(self, who: str, line: str) -> None:
        """Say what is as it should be."""
        self._out.write(f"{who:<10} | {line}\n")

    def complain(self, who: str, line: str) -> None:
        """Say what somebody should look at."""
        self._err.write(f"{who:<10} | {line}\n")

    def end(self) -> None:
        """Have all of it written, as far as somebody reads."""
        self._out.flush()
        self._err.flush()


@dataclass(frozen=True, slots=True)
class Child:
    """One process of the hub.

    env: added to ours; the addresses of the servers are added by the supervisor.
    ready_url: answers 2xx once the process serves; None when starting is enough.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready_url: str | None = None
    ready_within_s: float = 60.0


class Process(BaseModel):
    """One process as run.json tells it."""

    name: str
    pid: int | None  # None while it is being started again
    restarts: int


class Run(BaseModel):
    """A running hub, as SLUICE_HOME/run.json tells it. No passwords: those stay in SLUICE_HOME/secrets."""

    pid: int
    home: Path
    started_at: AwareDatetime
    database_url: str
    redis_url: str
    gateway_url: str
    ops_url: str
    sandbox_url: str
    servers: list[Process]
    children: list[Process]


def find_run(home: Path) -> Run | None:
    """Return the hub that runs on this home, None if none does; a file left by a killed one does not count."""
    if not is_locked(home / "supervisor.lock"):
        return None
    try:
        return Run.model_validate_json((home / "run.json").read_text())
    except (OSError, ValueError):
        return None


async def supervise(
    settings: Settings,
    children: Sequence[Child],
    *,
    on_ready: Callable[[Run], str],
    voice: Voice | None = None,
    ports: Mapping[str, tuple[str, int]] | None = None,
) -> int:
    """Run servers and children until SIGINT, SIGTERM or SIGHUP; return 0 after a wished end, 1 if it did not come up.

    children: started in this order, each once the one before it is ready; stopped in reverse.
    on_ready: called once, when all are ready; returns what is to be said about it.
    voice: where the lines of all processes go.
    ports: what the children will listen on, variable → (host, port); one that is taken is told of before anything is
    started.
    A second signal skips the grace.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()
    voice = voice or Voice()
    try:
        home = open_home(settings.home)
        lock = Lock(home / "supervisor.lock")
        lock.take("the hub")
        try:
            await _free(ports or {})
            with _signals(stop, hurry, voice.say):
                await _until(stop, _run(settings, home, children, on_ready, voice, hurry))
        finally:
            (home / "run.json").unlink(missing_ok=True)
            lock.release()
    except (CannotStart, MigrationFailed, PortTaken, OSError) as error:
        for line in str(error).splitlines():
            voice.complain("sluice", line)
        return 1
    else:
        voice.say("sluice", "stopped")
        return 0
    finally:
        voice.end()


async def _free(ports: Mapping[str, tuple[str, int]]) -> None:
    """Raise PortTaken where one is taken, and not only by what dies just now with a supervisor that was killed."""
    for _ in range(_LOOKS_AT_PORTS - 1):
        try:
            require_free(ports)
        except PortTaken:
            await asyncio.sleep(0.1)
        else:
            return
    require_free(ports)


async def _run(
    settings: Settings,
    home: Path,
    children: Sequence[Child],
    on_ready: Callable[[Run], str],
    voice: Voice,
    hurry: asyncio.Event,
) -> None:
    """Bring everything up and keep it up until cancelled; take it down in reverse."""
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(servers(settings))
        board = _Board(settings, home, found, voice)
        server_keepers = [_ServerKeeper(server, board, voice) for server in found.own]
        applied = await asyncio.to_thread(migrate, found.database_url)
        for name in applied:
            voice.say("migrate", f"applied {name}")
        async with connect(found.database_url, size=1, name="sluice up") as pool:
            await record_migrations(Audit(pool, SystemClock().now), None, "up", applied)
        watched = [await stack.enter_async_context(_task(keeper.keep())) for keeper in server_keepers]
        addresses = {
            "SLUICE_HOME": str(home),
            "SLUICE_DATABASE_URL": found.hub_database_url,
            "SLUICE_REDIS_URL": found.redis_url,
        }
        for child in children:
            keeper = _ChildKeeper(child, {**os.environ, **addresses, **child.env}, board, voice)
            # Pushed first, so that at the end the keeper goes first and does not start again what we stop.
            stack.push_async_callback(keeper.stop, hurry)
            task = await stack.enter_async_context(_task(keeper.keep()))
            await _first(task, asyncio.ensure_future(keeper.ready.wait()))
            watched.append(task)
        board.publish()
        voice.say("sluice", on_ready(board.run()))
        await _first(*watched, asyncio.ensure_future(asyncio.Event().wait()))


class _Board:
    """What runs, kept in run.json from the moment that all is ready."""

    def __init__(self, settings: Settings, home: Path, found: Servers, voice: Voice) -> None:
        self._settings, self._home, self._found, self._voice = settings, home, found, voice
        self._started_at = datetime.now(UTC)
        self._published = False
        self.servers: list[_ServerKeeper] = []
        self.children: list[_ChildKeeper] = []

    def run(self) -> Run:
        settings = self._settings
        return Run(
            pid=os.getpid(),
            home=self._home,
            started_at=self._started_at,
            database_url=without_password(self._found.database_url),
            redis_url=without_password(self._found.redis_url),
            gateway_url=f"http://{settings.gateway_host}:{settings.gateway_port}",
            ops_url=f"http://127.0.0.1:{settings.ops_port}",
            sandbox_url=f"http://127.0.0.1:{settings.sandbox_port}",
            servers=[Process(name=k.name, pid=k.pid, restarts=k.restarts) for k in self.servers],
            children=[Process(name=k.name, pid=k.pid, restarts=k.restarts) for k in self.children],
        )

    def publish(self) -> None:
        self._published = True
        self.changed()

    def changed(self) -> None:
        """Note how things stand. Where that fails, as on a full disk, the hub goes on beside what was noted before."""
        if self._published:
            try:
                self._write()
            except OSError as error:
                why = "run.json cannot be written, so commands find this hub as it was before, or not at all"
                self._voice.complain("sluice", f"{why}: {error}")

    def _write(self) -> None:
        write_whole(self._home / "run.json", self.run().model_dump_json(indent=2) + "\n")


class _ServerKeeper:
    """Starts a server of ours again when it has died."""

    def __init__(self, server: Server, board: _Board, voice: Voice) -> None:
        self._server, self._board, self._voice = server, board, voice
        self.name = server.name
        self.restarts = 0
        board.servers.append(self)
        voice.say(self.name, f"ready: process {server.pid}, port {server.port}")

    @property
    def pid(self) -> int | None:
        return self._server.pid

    async def keep(self) -> None:
        back_off = _BackOff()
        while True:
            how = await self._server.ended()
            self._voice.complain(self.name, f"ended with {how}; starting it again")
            self._board.changed()
            await asyncio.sleep(back_off.next())
            try:
                await self._server.ensure_running()
            except (CannotStart, OSError) as error:
                for line in str(error).splitlines():
                    self._voice.complain(self.name, line)
                continue
            self.restarts += 1
            self._voice.say(self.name, f"ready again: process {self.pid}")
            self._board.changed()


class _ChildKeeper:
    """Starts one of our processes, again whenever it ends, and passes its lines on."""

    def __init__(self, child: Child, env: Mapping[str, str], board: _Board, voice: Voice) -> None:
        self._child, self._env, self._board, self._voice = child, env, board, voice
        self._process: subprocess.Popen[bytes] | None = None
        self._reading: list[asyncio.Task[None]] = []
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self.name = child.name
        self.restarts = 0
        self.ready = asyncio.Event()
        board.children.append(self)

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    async def keep(self) -> None:
        """Keep the process running. Raises CannotStart when it ends thrice before it was ever ready."""
        back_off = _BackOff()
        while True:
            process = self._start()
            if await self._became_ready(process):
                self._voice.say(self.name, f"ready: process {process.pid}")
                self.ready.set()
                self._board.changed()
            else:
                await end(process, (signal.SIGTERM, 5.0))
            how = describe_exit(await ended(process))
            await self._read_to_end()
            self.restarts += 1
            if not self.ready.is_set() and self.restarts >= _TRIES_BEFORE_READY:
                said = "".join(f"\n  {line}" for line in self._last_lines)
                raise CannotStart(f"{self.name} ended with {how}, {self.restarts} times running. It said last:{said}")
            wait_s = back_off.next()
            self._voice.complain(self.name, f"ended with {how}; starting it again in {wait_s:g} s")
            self._board.changed()
            await asyncio.sleep(wait_s)

    async def stop(self, hurry: asyncio.Event) -> None:
        """Ask the process to end, wait for it as long as its grace lasts and nobody hurries us, then end it."""
        process = self._process
        if process is None:
            return
        ending = asyncio.create_task(end(process, (signal.SIGTERM, _GRACE_S)))
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({ending, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ending.done():
            process.kill()
        how = describe_exit(await ending)
        await self._read_to_end()
        self._voice.say(self.name, f"ended with {how}")

    def _start(self) -> subprocess.Popen[bytes]:
        process = spawn(self._child.argv, env=self._env, cwd=Path.cwd(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self._reading = [
            asyncio.create_task(self._read(process.stdout, self._voice.say)),
            asyncio.create_task(self._read(process.stderr, self._voice.complain)),
        ]
        return process

    async def _read(self, pipe: IO[bytes], say: Say) -> None:
        """Pass on what the process writes, line by line; a line longer than 64 kB comes in parts."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            rest = b""
            while chunk := await reader.read(65_536):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > 65_536:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._pass_on(line, say)
            if rest:
                self._pass_on(rest, say)
        finally:
            transport.close()

    def _pass_on(self, line: bytes, say: Say) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        self._last_lines.append(text)
        say(self.name, text)

    async def _read_to_end(self) -> None:
        """Wait for the last lines, but not for a grandchild that holds the pipe open."""
        if self._reading:
            await asyncio.wait(self._reading, timeout=1)
            for reading in self._reading:
                reading.cancel()

    async def _became_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until the process serves; False when it ends before, or takes too long."""
        url = self._child.ready_url
        if url is None:
            return True
        give_up_at = time.monotonic() + self._child.ready_within_s
        said = "it did not answer"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as client:
            while process.poll() is None and time.monotonic() < give_up_at:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with client.get(url) as response:
                        if response.ok:
                            return True
                        said = f"it said last: {response.status} {(await response.text())[:500]}"
                await asyncio.sleep(0.1)
        if process.poll() is None:
            within = f"{self._child.ready_within_s:g} s"
            self._voice.complain(self.name, f"was not ready at {url} within {within}; {said}")
        return False


class _BackOff:
    """How long to wait before the next start: longer each time, from the beginning after a good while."""

    def __init__(self) -> None:
        self._step = -1
        self._last = time.monotonic()

    def next(self) -> float:
        now = time.monotonic()
        self._step = 0 if now - self._last > _WELL_AFTER_S else min(self._step + 1, len(_BACK_OFF_S) - 1)
        self._last = now
        return _BACK_OFF_S[self._step]


@contextmanager
def _signals(stop: asyncio.Event, hurry: asyncio.Event, say: Say) -> Iterator[None]:
    """Turn the first signal into `stop` and the second into `hurry`."""
    loop = asyncio.get_running_loop()

    def heard() -> None:
        if stop.is_set():
            hurry.set()
        else:
            stop.set()
            say("sluice", f"stopping: each process has {_GRACE_S:g} s to finish; a second signal ends them now")

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in wanted:
        loop.add_signal_handler(number, heard)
    try:
        yield
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _task(work: Coroutine[None, None, None]) -> AsyncIterator["asyncio.Task[None]"]:
    """Run `work` beside us; cancelled, and waited for, at the end."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _first(*waits: "asyncio.Future[None] | asyncio.Task[bool] | asyncio.Future[bool]") -> None:
    """Wait for the first of several to finish, and raise what it raised. The last one is ours to cancel."""
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waits[-1].cancel()
    for finished in done:
        finished.result()


async def _until(stop: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Run `work` until it fails or `stop` is set; then cancel it and wait for its clean end."""
    async with _task(work) as task:
        stopped = asyncio.create_task(stop.wait())
        await _first(task, stopped)
    if not task.cancelled() and (error := task.exception()) is not None:  # its clean end was not clean
        raise error


def without_password(url: str) -> str:
    """Return an address fit to be shown: user kept, password gone."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=user + parts.netloc.rpartition("@")[2]))
