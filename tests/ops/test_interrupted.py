"""Ctrl-C, or SIGTERM, ends every command cleanly at whatever moment it comes: while it loads, begins, or works."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ops.trials.replay.running import free_ports

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLUICE = Path(sys.executable).parent / "sluice"
# Seconds after our own first line; before that the interpreter begins, and what it says of Ctrl-C then is its own.
# None: once the command listens for it itself, however long a busy machine takes until then.
MOMENTS_S = (0, 0.05, 0.1, 0.2, 0.4, None)
UNCLEAN = ("Traceback", "Exception ignored", "Fatal Python error", "never awaited", "KeyboardInterrupt")
# Those that run until they are told to end, and do so with 0 once they listen.
UNTIL_TOLD = ("up", "gateway", "worker", "sandbox run")
# Those that may have come to their own end before the signal.
SOON_DONE = ("doctor", "case list", "migrate")
COMMANDS = (*UNTIL_TOLD, *SOON_DONE, "verify", "replay")
TOLD = [
    *((command, signal.SIGINT, MOMENTS_S) for command in COMMANDS),
    # The others leave SIGTERM to the system; and until a command listens, so do these.
    *((command, signal.SIGTERM, (0.2, None)) for command in (*UNTIL_TOLD, "replay")),
]


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said, on either stream."""

    code: int
    said: str


async def told(command: str, number: signal.Signals, after_s: float | None, environment: dict[str, str]) -> Ended:
    """Run a command, send it a signal so long after it has begun, and return how it ended."""
    process = await asyncio.create_subprocess_exec(
        SLUICE, *command.split(), env=environment, cwd=environment["SLUICE_HOME"],
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True, limit=1 << 20, preexec_fn=may_be_interrupted,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    begun = False
    async for line in process.stderr:  # the interpreter tells of each import, once it is done
        if begun:
            break
        begun = line.rstrip().endswith(b" ops.cli")
    out, err = asyncio.create_task(process.stdout.read()), asyncio.create_task(process.stderr.read())
    if after_s is not None:
        await asyncio.sleep(after_s)
    while after_s is None and process.returncode is None and not listens(process.pid):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    if process.returncode is None:
        process.send_signal(number)
    said = b"".join(await asyncio.gather(out, err)).decode()
    lines = [line for line in said.splitlines() if "import time:" not in line]
    return Ended(await process.wait(), "\n".join(lines))


def listens(pid: int) -> bool:
    """Tell whether a process does something of its own about Ctrl-C."""
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(caught >> signal.SIGINT - 1 & 1)


def may_be_interrupted() -> None:
    """Undo what a shell does for whatever it runs in the background, this test perhaps among it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def home_of_its_own(folder: Path, name: str, database_url: str) -> dict[str, str]:
    home = folder / name
    home.mkdir()
    ports = dict(zip(("GATEWAY_PORT", "OPS_PORT", "SANDBOX_PORT"), map(str, free_ports(3)), strict=True))
    facts = {"HOME": str(home), **ports}
    if database_url:
        facts |= {"DATABASE_URL": database_url, "REDIS_URL": "redis://127.0.0.1:9"}
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    return {**ours, **{f"SLUICE_{name}": value for name, value in facts.items()}, "PYTHONPROFILEIMPORTTIME": "1"}


@pytest.mark.parametrize(("command", "number", "moments"), TOLD)
async def test_a_command_that_is_told_to_end_does_so_without_a_traceback(
    database_url: str, tmp_path: Path, command: str, number: signal.Signals, moments: Sequence[float | None]
) -> None:
    # Processes that never start servers of their own are given some; the others begin them, and must end those too.
    database = database_url if command in ("gateway", "worker", "case list") else ""
    homes = [home_of_its_own(tmp_path, str(moment), database) for moment in moments]
    ends = await asyncio.gather(
        *(told(command, number, moment, home) for moment, home in zip(moments, homes, strict=True))
    )
    own: set[int] = {0, 1} if command in SOON_DONE else {0} if command in UNTIL_TOLD else set()
    for moment, ended in zip(moments, ends, strict=True):
        assert not [word for word in UNCLEAN if word in ended.said], f"after {moment} s: {ended.said}"
        assert ended.code in {-number, 128 + number, *own}, f"after {moment} s: {ended}"


async def test_ctrl_c_that_is_ignored_from_without_stays_ignored(tmp_path: Path) -> None:
    """As a shell has it for what it runs in the background, and nohup for what shall outlive its terminal."""
    process = await asyncio.create_subprocess_exec(
        SLUICE, "qr", "decode", "-", env=home_of_its_own(tmp_path, "home", ""),
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True, limit=1 << 20,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    assert process.stderr is not None
    async for line in process.stderr:
        if line.rstrip().endswith(b" gateway.cashier.emvco"):
            break
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate(b"no code\n")
    assert (process.returncode, err.decode().splitlines()[-1][:7]) == (1, "sluice:")


async def test_a_bench_that_is_stopped_ends_what_it_measures_before_their_database(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        SLUICE, "bench", "--seconds", "0.2", env=home_of_its_own(tmp_path, "home", ""),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        preexec_fn=may_be_interrupted, limit=1 << 20,
    )  # fmt: skip
    assert process.stdout is not None
    async for line in process.stdout:
        if line.startswith(b"warming"):
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, _ = await process.communicate()
    ours = ("warming", "round", "import time:")
    assert [line for line in out.decode().splitlines() if not line.startswith(ours)] == []
    assert process.returncode == 130
