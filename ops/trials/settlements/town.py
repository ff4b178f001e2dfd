"""The processes of a trial, all at one moment that the trial moves: servers, gateway, worker, sandbox, and a desk."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from pathlib import Path
from typing import IO, Any

import aiohttp

from kernel.clock import BEIJING
from ops.embedded import CannotStart, servers
from ops.embedded.child import end, spawn
from ops.embedded.place import write_whole
from ops.migrate import migrate
from ops.settings import Settings
from ops.trials.replay.command import free_ports
from ops.trials.replay.patience import PromiseBroken

UP_WITHIN_S = 60.0
HUB = ("gateway", "worker")
AT = [sys.executable, "-m", "ops.trials.settlements.at"]


class Hands:
    """The moment at which all processes are."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def move_to(self, day: date, at: str) -> None:
        """Go to a time of a day in Beijing; time goes on from there. It never goes back."""
        wanted = datetime.combine(day, time_of_day.fromisoformat(at), BEIJING)
        if self.file.exists() and wanted <= self.now():
            return
        write_whole(self.file, str((wanted - datetime.now(UTC)).total_seconds()))

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        write_whole(self.file, str(float(self.file.read_text()) + seconds))

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time() + float(self.file.read_text()), UTC)


@dataclass(frozen=True, slots=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> Any:
        return json.loads(self.out)


class Desk:
    """Where people type commands, one after the other."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._turn = asyncio.Lock()

    async def type(self, *words: str, code: int | None = 0, person: str = "") -> Said:
        """Run `sluice words…`. Raises PromiseBroken where it ends with another exit code than `code`; None: any."""
        who = ["--as", person] if person else []
        async with self._turn:
            said = Said(**json.loads(await asyncio.to_thread(self._ask, [*who, *words])))
        if code is not None and said.code != code:
            raise PromiseBroken(f"`sluice {' '.join(words)}` ends with {said.code}, not {code}: {said.out}{said.err}")
        return said

    def _ask(self, words: list[str]) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    async def by_two(self, *words: str, code: int | None = 0) -> Said:
        """Have ada type a command, cy agree to it, and ada type it again."""
        asked = await self.type(*words, code=1)
        if "approval_asked" not in asked.out + asked.err:
            raise PromiseBroken(f"`sluice {' '.join(words)}` takes two people: {asked.out}{asked.err}")
        waiting = (await self.type("approval", "list", "--json")).told["approvals"]
        (one,) = [one for one in waiting if one["status"] == "asked"]
        await self.type("approval", "approve", one["id"], person="cy")
        return await self.type(*words, code=code)


@dataclass(slots=True)
class Town:
    """See the module."""

    hands: Hands
    environment: Mapping[str, str]
    log: IO[bytes]
    hub_url: str
    ops_url: str
    sandbox_url: str
    desk: Desk
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    async def start(self, *names: str) -> None:
        """Start processes of the hub, and wait until the gateway is ready. Raises CannotStart."""
        for name in names:
            self.processes[name] = _spawn([*AT, str(self.hands.file), name], self.environment, self.log)
        if "gateway" in names:
            await _answers(f"{self.ops_url}/live", self.processes["gateway"])

    def kill(self, *names: str) -> None:
        """End processes as a power cut does."""
        for name in names:
            self.processes[name].send_signal(signal.SIGKILL)
        for name in names:
            self.processes[name].wait()


@asynccontextmanager
async def a_town(settings: Settings, log: Path, begins: Callable[[Hands], None]) -> AsyncIterator[Town]:
    """Run everything in a home of its own, at the moment that `begins` moves to. Raises CannotStart."""
    hands = Hands(settings.home / "clock")
    hands.file.unlink(missing_ok=True)
    begins(hands)
    gateway, ops, sandbox = free_ports(3)
    async with servers(settings) as found, AsyncExitStack() as stack:
        await asyncio.to_thread(migrate, found.database_url)
        environment = os.environ | {
            "SLUICE_HOME": str(settings.home),
            "SLUICE_DATABASE_URL": found.hub_database_url,
            "SLUICE_REDIS_URL": found.redis_url,
            "SLUICE_GATEWAY_PORT": str(gateway),
            "SLUICE_OPS_PORT": str(ops),
            "SLUICE_SANDBOX_PORT": str(sandbox),
            "SLUICE_TIME_SCALE": "0.02",
            "SLUICE_LOG_FORMAT": "json",
            "SLUICE_ALLOW_ADDRESSES": f"127.0.0.1:{sandbox}",
        }
        out = stack.enter_context(log.open("ab"))
        world = [sys.executable, "-m", "sandbox", "--home", str(settings.home), "--port", str(sandbox)]
        world += ["--time-scale", "0.02", "--clock", str(hands.file)]
        process = _spawn(world, environment, out)
        stack.push_async_callback(end, process, (signal.SIGTERM, 10.0))
        await _answers(f"http://127.0.0.1:{sandbox}/control/info", process)
        typing = spawn(
            [*AT, str(hands.file), "desk"], env=environment, cwd=Path.cwd(), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=out,
        )  # fmt: skip
        stack.push_async_callback(end, typing, (signal.SIGTERM, 5.0))
        here = "http://127.0.0.1"
        town = Town(
            hands, environment, out, f"{here}:{gateway}", f"{here}:{ops}", f"{here}:{sandbox}", Desk(typing)
        )  # fmt: skip
        try:
            await town.start(*HUB)
            yield town
        finally:
            for one in town.processes.values():
                await end(one, (signal.SIGTERM, 20.0))


def _spawn(argv: list[str], environment: Mapping[str, str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    return spawn(argv, env=environment, cwd=Path.cwd(), stdout=log, stderr=log)


async def _answers(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a process serves. Raises CannotStart."""
    give_up_at = time.monotonic() + UP_WITHIN_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as client:
        while process.poll() is None and time.monotonic() < give_up_at:
            try:
                async with client.get(url) as answer:
                    if answer.ok:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.1)
    raise CannotStart(f"nothing answers at {url}")
