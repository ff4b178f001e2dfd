"""The hub's processes: gateway workers that share a port, and the background worker."""

import asyncio
import contextlib
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry, multiprocess

from gateway.api.app import make_app, make_ops_app
from gateway.door.server import DoorRunner
from kernel.db import LOST
from kernel.errors import SluiceError
from kernel.outage import said
from ops.addresses import rule
from ops.embedded import CannotStart
from ops.embedded.child import end, ended, spawn
from ops.embedded.place import Lock, address_of, is_locked
from ops.logs import AccessLog, configure, count_dropped
from ops.ports import PortTaken, listen
from ops.settings import Settings, variable
from ops.wiring import hub, worker

log = logging.getLogger(__name__)
DRAIN_S = 10.0
ANSWER_S = 4.0  # what a caller waits for a reading, and a second more where the database says nothing at all
_FIRST_PAUSE_S, _WELL_AFTER_S = 0.1, 60.0
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # of prometheus_client, which looks at it when it is first imported
_SOCKETS = "_SLUICE_SOCKETS"  # descriptors that a gateway worker has from its parent


def settle_memory() -> None:
    """Tell the garbage collector that what was loaded stays, and to look less often: requests leave few cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def public_url(settings: Settings) -> str:
    """Return where channels reach this hub's notices."""
    return settings.public_url or f"http://{settings.gateway_host}:{settings.gateway_port}"


def gateway(settings: Settings, database_url: str, redis_url: str) -> int:
    """Serve the merchant API until SIGTERM; with several workers, start and watch them."""
    configure(settings.log_level, settings.log_format, secrets=passwords(database_url, redis_url))
    if settings.workers == 1:
        return _ran(_gateway(settings, database_url, redis_url))
    try:
        sockets = _sockets(settings)
    except (PortTaken, OSError) as error:
        log.error("this process cannot work", extra={"why": said(error)})
        return 1
    with _folder_for_figures(settings.home) as folder:
        environment = {
            **os.environ,
            "SLUICE_WORKERS": "1",
            "SLUICE_DATABASE_URL": database_url,
            "SLUICE_REDIS_URL": redis_url,
            _METRICS_FOLDER: str(folder),
            _SOCKETS: ",".join(str(listening.fileno()) for listening in sockets),
        }
        argv = [sys.executable, "-m", "ops.cli", "gateway"]
        return asyncio.run(_watch(argv, environment, settings.workers, sockets))


@contextlib.contextmanager
def _folder_for_figures(home: Path) -> Iterator[Path]:
    """Make the folder in which each worker keeps what it counts; in memory, where the system has a place for that.

    A worker counts in pages of its file. For one that a full disk has no room for the system kills it (SIGBUS).
    """
    memory = Path("/dev/shm")
    where, prefix = memory if memory.is_dir() else home, "sluice-figures-"
    for lock_file in where.glob(f"{prefix}*/lock"):  # of a gateway that was killed, unless somebody has it
        with contextlib.suppress(FileNotFoundError):  # another that begins has just removed it
            if lock_file.parent.lstat().st_uid == os.geteuid() and not is_locked(lock_file):
                shutil.rmtree(lock_file.parent, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
    lock = Lock(folder / "lock")
    lock.take("the gateway")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _sockets(settings: Settings) -> list[socket.socket]:
    """Return what the merchants' and the operator's port listen with: our parent's where it has some, else our own.

    Raises PortTaken.
    """
    if inherited := os.environ.get(_SOCKETS):
        return [socket.socket(fileno=int(number)) for number in inherited.split(",")]
    return [
        listen(settings.gateway_host, settings.gateway_port, variable("gateway_port")),
        listen("127.0.0.1", settings.ops_port, variable("ops_port")),
    ]


async def _watch(argv: Sequence[str], environment: dict[str, str], count: int, sockets: Sequence[socket.socket]) -> int:
    """Keep `count` workers running until SIGTERM; whichever is idle takes the next connection of our sockets."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def keep() -> None:
        pause = _FIRST_PAUSE_S
        while not stop.is_set():
            begun = loop.time()
            descriptors = [listening.fileno() for listening in sockets]
            process = spawn(argv, env=environment, cwd=Path.cwd(), stdout=1, stderr=2, pass_fds=descriptors)
            dying = asyncio.ensure_future(ended(process))
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait({dying, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if stop.is_set():
                dying.cancel()
                await end(process, (signal.SIGTERM, DRAIN_S + 5))
                return
            # What it counted stays in the sums; what was true of it alone goes.
            multiprocess.mark_process_dead(process.pid, environment[_METRICS_FOLDER])  # type: ignore[no-untyped-call]
            log.error(
                "a gateway worker ended; starting another", extra={"pid": process.pid, "code": process.returncode}
            )
            if loop.time() - begun > _WELL_AFTER_S:
                pause = _FIRST_PAUSE_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            pause = min(pause * 2, 5.0)

    await asyncio.gather(*(keep() for _ in range(count)))
    return 0


async def _gateway(settings: Settings, database_url: str, redis_url: str) -> int:
    """Serve in this process."""
    stop = _Stopping()
    shared = _METRICS_FOLDER in os.environ
    sockets = _sockets(settings)
    async with hub(
        database_url=database_url,
        redis_url=redis_url,
        home=settings.home,
        keys_file=settings.channel_keys,
        public_url=public_url(settings),
        time_scale=settings.time_scale,
        addresses=rule(settings),
        name="sluice gateway",
        statement_s=ANSWER_S,
    ) as objects:
        count_dropped(objects.metrics.log_lines_dropped.inc)
        exposed = objects.registry
        if shared:
            exposed = CollectorRegistry()
            multiprocess.MultiProcessCollector(exposed)  # type: ignore[no-untyped-call]
        # Standard output has one line a request; standard error has what somebody should look at.
        with AccessLog(objects.env, sys.stdout.fileno()) as access:
            access.lines.on_dropped = objects.metrics.log_lines_dropped.inc
            listed = settings.log_level in ("DEBUG", "INFO")
            api = make_app(objects.api(access.write if listed else None))
            checks = objects.checks(_disk(settings))
            own = make_ops_app(checks.health, exposed, checks.measure)
            runners = [await _serve(app, listening) for app, listening in zip((api, own), sockets, strict=True)]
            settle_memory()
            if shared:  # whoever is asked for the figures adds up what the others wrote down of themselves
                objects.env.tasks.spawn("figures of this process", checks.keep_telling())
            log.info("serving", extra={"port": settings.gateway_port, "pid": os.getpid()})
            await stop.wait()
            for runner in runners:  # takes nothing new, finishes what it accepted
                await runner.cleanup()
    return 0


def _disk(settings: Settings) -> Path | None:
    """Return where our own PostgreSQL keeps its data; None where the database is another's."""
    if settings.database_url is not None and not is_locked(address_of(settings.home, "postgres") / "lock"):
        return None
    return address_of(settings.home, "postgres")


async def _serve(app: web.Application, listening: socket.socket) -> web.AppRunner:
    """Answer whoever connects to this socket."""
    runner = DoorRunner(app, shutdown_timeout=DRAIN_S)
    await runner.setup()
    await web.SockSite(runner, listening, backlog=1024).start()
    return runner


def background(settings: Settings, database_url: str, redis_url: str) -> int:
    """Do the background work until SIGTERM: splitting, the janitor, settlement, the relay."""
    configure(settings.log_level, settings.log_format, secrets=passwords(database_url, redis_url))
    return _ran(_background(settings, database_url, redis_url))


async def _background(settings: Settings, database_url: str, redis_url: str) -> int:
    stop = _Stopping()
    async with (
        hub(
            database_url=database_url,
            redis_url=redis_url,
            home=settings.home,
            keys_file=settings.channel_keys,
            public_url=public_url(settings),
            time_scale=settings.time_scale,
            addresses=rule(settings),
            name="sluice worker",
        ) as objects,
        worker(objects, redis_url),
    ):
        count_dropped(objects.metrics.log_lines_dropped.inc)
        runners = []
        if settings.worker_port is not None:
            checks = objects.checks(_disk(settings))
            own = make_ops_app(checks.health, objects.registry, checks.measure)
            runners.append(await _serve(own, listen("127.0.0.1", settings.worker_port, variable("worker_port"))))
        settle_memory()
        log.info("working", extra={"pid": os.getpid()})
        await stop.wait()
        for runner in runners:
            await runner.cleanup()
    return 0


class _Stopping:
    """SIGTERM and SIGINT: what is being started is cancelled, what runs is told."""

    def __init__(self) -> None:
        """Listen from now on, on behalf of the task that runs."""
        self._heard = asyncio.Event()
        self._runs = False
        self._main = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._hear)

    def _hear(self) -> None:
        self._heard.set()
        if not self._runs and self._main is not None:
            self._main.cancel()

    async def wait(self) -> None:
        """Return when it is time to stop; from here on nothing is cancelled."""
        self._runs = True
        await self._heard.wait()


def _ran(work: Coroutine[Any, Any, int]) -> int:
    """Run a process's work and return its exit code; what keeps it from starting is one line."""
    try:
        return uvloop.run(work)
    except asyncio.CancelledError:  # told to stop before it had begun
        return 0
    except (*LOST, asyncpg.PostgresError, SluiceError, PortTaken, CannotStart) as error:
        log.error("this process cannot work", extra={"why": said(error)})
        return 1


def passwords(*urls: str) -> list[str]:
    """Return the passwords of these addresses as they are written there and as they are meant."""
    found = [urlsplit(url).password or "" for url in urls]
    return [*found, *map(unquote, found)]
