"""A port has one hub: the second is told who has it. Gateway workers share theirs, and one that dies is replaced."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from ops.ports import PortTaken, holder, listen, require_free
from tests.ops.processes import Processes, status
from tests.ops.trials.replay.running import REPOSITORY, SLUICE, an_empty_home, free_ports


def test_a_port_is_taken_by_one_alone_and_who_has_it_is_said() -> None:
    (port,) = free_ports(1)
    require_free({"SLUICE_GATEWAY_PORT": ("127.0.0.1", port)})
    with listen("127.0.0.1", port, "SLUICE_GATEWAY_PORT"):
        assert f"process {os.getpid()} " in (holder(port) or "")
        with pytest.raises(PortTaken, match=f"port {port} is taken by process {os.getpid()} .*SLUICE_GATEWAY_PORT"):
            require_free({"SLUICE_GATEWAY_PORT": ("127.0.0.1", port)})
        with socket.socket() as sharing:
            sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with pytest.raises(OSError, match="in use"):
                sharing.bind(("127.0.0.1", port))
    assert holder(port) is None


@pytest.mark.parametrize("which", ["SLUICE_GATEWAY_PORT", "SLUICE_OPS_PORT", "SLUICE_SANDBOX_PORT"])
def test_a_hub_whose_port_is_taken_starts_nothing(which: str) -> None:
    with an_empty_home() as empty, listen("127.0.0.1", int(empty.environment[which]), which):
        done = subprocess.run(
            [*SLUICE, "up"], env=empty.environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert f"port {empty.environment[which]} is taken by process {os.getpid()}" in done.stderr
        assert which in done.stderr
        assert "is up" not in done.stdout
        assert not (empty.home / "postgres").exists()


def test_a_sandbox_whose_port_is_taken_ends_with_one_line() -> None:
    which = "SLUICE_SANDBOX_PORT"
    with an_empty_home() as empty, listen("127.0.0.1", int(empty.environment[which]), which):
        done = subprocess.run(
            [*SLUICE, "sandbox", "run"], env=empty.environment, cwd=REPOSITORY, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    (line,) = done.stderr.splitlines()
    assert (done.returncode, line[:32]) == (1, "sluice: the sandbox cannot work:")


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_second_gateway_on_a_port_ends_with_one_line(
    database_url: str, redis_url: str, tmp_path: Path, workers: int
) -> None:
    pair = Processes(tmp_path, database_url, redis_url, "json", WORKERS=workers)
    with listen("127.0.0.1", pair.port, "SLUICE_GATEWAY_PORT"):
        pair.start("gateway")
        assert await pair.ended("gateway") == 1
    said = pair.said("gateway")
    assert f"port {pair.port} is taken by process {os.getpid()} ({sys.executable}"[:60] in said
    assert "Traceback" not in said


async def test_a_killed_gateway_worker_is_replaced_and_nothing_counted_is_lost(
    database_url: str, redis_url: str, tmp_path: Path, alive: Callable[[int], bool]
) -> None:
    pair = Processes(tmp_path, database_url, redis_url, "json", WORKERS=2)
    parent = pair.start("gateway")
    try:
        await pair.until(lambda: pair.count("gateway", '"serving"') == 2)
        async with aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{pair.port}/v1/payments"
            for _ in range(40):
                assert await fresh_status(url) == 401
            counted = await requests_counted(client, pair)
            assert counted == 40
            before = children(parent.pid)
            assert len(before) == 2
            for killed in before:  # one after the other: the parent's figures are asked for each time
                os.kill(killed, signal.SIGKILL)
                await pair.until(lambda killed=killed: not alive(killed) and len(children(parent.pid)) == 2)
            await pair.until(lambda: pair.count("gateway", '"serving"') == 4)
            assert pair.count("gateway", "a gateway worker ended; starting another") == 2
            assert await fresh_status(url) == 401
            assert await requests_counted(client, pair) == 41
            assert await status(client, f"http://127.0.0.1:{pair.ops_port}/ready") == 200
        assert "Traceback" not in pair.said("gateway")
        parent.terminate()
        assert await pair.ended("gateway") == 0
    finally:
        parent.kill()
        parent.wait()


async def test_what_gateway_workers_count_is_in_memory_where_no_full_disk_ends_them(
    database_url: str, redis_url: str, tmp_path: Path, alive: Callable[[int], bool]
) -> None:
    """Each counts in pages of a file; for one that its disk has no room for the system kills it, and then the next."""
    pair = Processes(tmp_path, database_url, redis_url, "json", WORKERS=2)
    folders: list[Path] = []
    try:
        for started in (2, 4):
            parent = pair.start("gateway")
            await pair.until(lambda started=started: pair.count("gateway", '"serving"') == started)
            (folder,) = {figures_of(child) for child in children(parent.pid)}
            assert (folder.parent, list(folder.glob("counter_*.db")) != []) == (Path("/dev/shm"), True)
            assert [left for left in folders if left.exists()] == []
            folders.append(folder)
            workers = children(parent.pid)
            if started == 2:
                parent.kill()  # which leaves its folder to the next
                parent.wait()
                while any(map(alive, workers)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        parent.terminate()
        assert await pair.ended("gateway") == 0
        assert [left for left in folders if left.exists()] == []
    finally:
        parent.kill()
        parent.wait()


def figures_of(pid: int) -> Path:
    """Return where a gateway worker keeps what it counts."""
    facts = dict(one.partition("=")[::2] for one in Path(f"/proc/{pid}/environ").read_text().split("\0"))
    return Path(facts["PROMETHEUS_MULTIPROC_DIR"])


def children(parent: int) -> list[int]:
    """Return the living children of a process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            facts = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if facts[0] != "Z" and int(facts[1]) == parent:
            found.append(int(folder.name))
    return found


async def fresh_status(url: str) -> int | None:
    """Ask over a connection of its own, so that any worker may be the one to answer."""
    async with aiohttp.ClientSession() as client:
        return await status(client, url)


async def requests_counted(client: aiohttp.ClientSession, pair: Processes) -> float:
    async with client.get(f"http://127.0.0.1:{pair.ops_port}/metrics") as answer:
        figures = await answer.text()
    found = re.findall(r'^sluice_http_requests_total\{.*status="401".*\} (.*)$', figures, re.MULTILINE)
    return sum(map(float, found))
