"""A gateway and a worker as processes, on servers of the test's."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from ops.supervisor import _GRACE_S
from tests.kernel.cable import Cable, cable
from tests.ops.trials.replay.running import free_ports


class Processes:
    """A gateway and a worker on one home, whose database is at the other end of a cable."""

    def __init__(self, home: Path, wire: Cable | str, redis_url: str, log_format: str, **more: object) -> None:
        """wire: to the database, or its address. more: settings."""
        database_url = wire if isinstance(wire, str) else wire.url
        if not isinstance(wire, str):
            self.wire = wire
        self.home = home
        self.port, self.ops_port, other = free_ports(3)
        ours = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
        facts = {"HOME": home, "GATEWAY_PORT": self.port, "OPS_PORT": self.ops_port, "SANDBOX_PORT": other}
        urls = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "LOG_FORMAT": log_format, **more}
        self.environment = {**ours, **{f"SLUICE_{name}": str(value) for name, value in {**facts, **urls}.items()}}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *, into: int | None = None) -> "subprocess.Popen[bytes]":
        """Start a process; into: a descriptor for all it says, instead of its file."""
        with (self.home / f"{name}.log").open("ab") as log:
            out = log if into is None else into
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "ops.cli", name], env=self.environment, stdout=out, stderr=out
            )
        return self.running[name]

    def said(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text()

    def count(self, name: str, what: str) -> int:
        return sum(what in line for line in self.said(name).splitlines())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait; pytest's own limit ends a wait in vain."""
        while not condition():
            for name, process in self.running.items():
                assert process.poll() is None, self.said(name)
            await asyncio.sleep(0.05)

    async def ended(self, name: str) -> int:
        """Return its exit code; one that does not end while its supervisor would wait for it fails the test."""
        code = await asyncio.to_thread(self.running[name].wait, _GRACE_S)
        del self.running[name]
        return code


@asynccontextmanager
async def a_pair(home: Path, database_url: str, redis_url: str, log_format: str) -> AsyncIterator[Processes]:
    async with cable(database_url) as wire:
        pair = Processes(home, wire, redis_url, log_format)
        try:
            pair.start("gateway")
            pair.start("worker")
            await pair.until(lambda: pair.count("gateway", "serving") == 1 and pair.count("worker", "working") == 1)
            yield pair
        finally:
            for process in pair.running.values():
                process.kill()
                process.wait()


async def status(client: aiohttp.ClientSession, url: str) -> int | None:
    """Return what a GET is answered with, None when nobody is there."""
    try:
        async with client.get(url) as answer:
            return answer.status
    except aiohttp.ClientConnectionError:
        return None
