"""Start the sandbox, and tell where a running one is."""

import asyncio
import fcntl
import json
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from sandbox import keys
from sandbox.app import make_app
from sandbox.clock import Clock
from sandbox.context import SandboxContext, Tasks
from sandbox.faults import Faults
from sandbox.store import Store

STOP_WITHIN_S = 5


class NotRunning(Exception):
    """No sandbox has ever started in this home."""


class AlreadyRunning(Exception):
    """Another sandbox uses this home."""


def folder_of(home: Path | str | None = None) -> Path:
    """Return the sandbox's own folder in the hub's home ($SLUICE_HOME, else ./.sluice)."""
    return Path(home or os.environ.get("SLUICE_HOME") or ".sluice").absolute() / "sandbox"


def info(home: Path | str | None = None) -> dict[str, Any]:
    """Return what the last start in this home announced, with `running` telling whether that process still lives.

    Raises NotRunning if there was none.
    """
    folder = folder_of(home)
    try:
        announced: dict[str, Any] = json.loads((folder / "info.json").read_text())
    except FileNotFoundError as error:
        raise NotRunning(f"no sandbox has started in {folder}; start one with `sluice sandbox run`") from error
    try:
        with _only_one(folder):
            running = False
    except AlreadyRunning:
        running = True
    return {**announced, "running": running}


def run(home: Path | str | None = None, port: int = 0, time_scale: float = 1.0, host: str = "127.0.0.1") -> int:
    """Serve until SIGTERM or SIGINT; return the exit code (1 if background work failed).

    port: 0 takes a free one; the line `sandbox ready http://…` and info.json say which.
    time_scale: factor on every wait of the simulated world; 0.01 makes a retry after 15 s come after 0.15 s.
    Raises AlreadyRunning, and OSError if the port is taken.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    folder = folder_of(home)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # private keys lie in it
    with _only_one(folder):
        if prepared := os.environ.get("SANDBOX_KEYS"):
            keys.use_prepared(keys.Prepared(Path(prepared), folder / "keys-used"))
        return asyncio.run(_serve(folder, host, port, time_scale))


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the home's lock; the system lets go of it when the process dies, however it dies."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(
                f"a sandbox is running in {folder}; stop it, or name another home (SLUICE_HOME)"
            ) from error
        yield


async def _serve(folder: Path, host: str, port: int, time_scale: float) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = _listen(host, port)
    base_url = f"http://{host}:{listener.getsockname()[1]}"
    store, pool = Store(folder / "sandbox.db"), keys.Pool()
    ctx = SandboxContext(folder, base_url, store, Faults(store), Clock(), Tasks(), time_scale)
    ctx.info |= {
        "base_url": base_url,
        "pid": os.getpid(),
        "port": listener.getsockname()[1],
        "home": str(folder),
        "time_scale": time_scale,
    }
    runner = web.AppRunner(await make_app(ctx, pool), access_log=None, shutdown_timeout=STOP_WITHIN_S)
    try:
        await runner.setup()
        await web.SockSite(runner, listener, backlog=1024).start()
        keys.write_file(folder / "info.json", json.dumps(ctx.info, indent=2, ensure_ascii=False).encode(), secret=True)
        print(f"sandbox ready {base_url}", flush=True)
        await _first(stop, ctx.tasks.failed)
    finally:
        await runner.cleanup()
        await ctx.tasks.stop()
        pool.close()
        store.close()
    return 1 if ctx.tasks.failed.is_set() else 0


def _listen(host: str, port: int) -> socket.socket:
    """Bind now, so that the address is known before anything is built on it; connections wait until we serve."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
