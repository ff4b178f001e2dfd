"""Run the bench: servers in processes of their own and a worker beside them, interleaved rounds, medians.

CPU is what the kernel has accounted. What a stretch leaves to the worker is waited for and counted with it.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

import streams
from ledger import INVARIANTS
from ops.migrate import migrate
from ops.trials.bench.server import CHANNELS
from ops.wiring import hub

ROUNDS = 3
BOOKS = 8  # merchants taking turns: one would let lane size 1 wait for one book's lock and look worse than it is
LEFT_TO_THE_WORKER_S = 60.0  # how long it may take for what a stretch has left to it
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Server:
    """A process of the bench."""

    process: subprocess.Popen[bytes]
    port: int | None  # None: the worker, which serves nobody
    pid: int


@dataclass(slots=True)
class Beside:
    """What runs beside the server under load, and works because of it."""

    postgres_pid: int
    worker: Server
    database_url: str


@contextmanager
def served(*arguments: str) -> Iterator[Server]:
    """Start a bench server and stop it at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.trials.bench.server", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal reaches us alone, and we stop it
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        said = json.loads(process.stdout.readline() or b"{}")
        if "pid" not in said:
            raise RuntimeError("a bench server did not start; its error is above")
        yield Server(process, said.get("port"), said["pid"])
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_of(pid: int) -> float:
    """Return the CPU seconds a process has used, its reaped children's counted."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[i]) for i in (11, 12, 13, 14)) / _TICK


def cpu_of_tree(root: int) -> float:
    """Return the CPU seconds of a process and all its living and reaped descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    total, waiting = 0.0, [root]
    while waiting:
        pid = waiting.pop()
        try:
            total += cpu_of(pid)
        except OSError:
            continue
        waiting += children.get(pid, [])
    return total


@dataclass(slots=True)
class Sample:
    """One stretch of load on one server."""

    rps: float
    p50_ms: float
    p99_ms: float
    requests: int
    server_cpu_us: float
    postgres_cpu_us: float
    worker_cpu_us: float
    client_cpu_us: float
    problems: dict[str, int]
    batch: float | None  # commands a batch


def drive(server: Server, beside: Beside, keys: Path, connections: int, seconds: float) -> Sample:
    """Put load on a server and account for every CPU second."""

    def so_far() -> tuple[float, float, float]:
        return cpu_of(server.pid), cpu_of_tree(beside.postgres_pid), cpu_of(beside.worker.pid)

    before, lane_before = so_far(), _figures(server)
    done = subprocess.run(
        [
            sys.executable, "-m", "loadtests.wire", "--port", str(server.port), "--connections", str(connections),
            "--seconds", str(seconds), "--keys", str(keys),
        ],
        capture_output=True,
        check=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    asyncio.run(_worked_off(beside.database_url))
    after, lane_after = so_far(), _figures(server)
    requests = said["requests"]
    problems = {status: count for status, count in said["statuses"].items() if status not in ("200", "201")}
    if problems:
        print(f"  unexpected answers: {problems} {said['first_problem']}", file=sys.stderr)
    batch = None
    if lane_before and lane_after:
        batches = lane_after["batches"] - lane_before["batches"]
        batch = (lane_after["commands"] - lane_before["commands"]) / batches if batches else None
    return Sample(
        said["rps"],
        said["p50_ms"],
        said["p99_ms"],
        requests,
        1e6 * (after[0] - before[0]) / requests,
        1e6 * (after[1] - before[1]) / requests,
        1e6 * (after[2] - before[2]) / requests,
        1e6 * said["client_cpu_s"] / requests,
        problems,
        batch,
    )


async def _worked_off(url: str) -> None:
    """Return when the worker has handled every event there is."""
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(LEFT_TO_THE_WORKER_S):
            while await streams.store.lag(connection, "splitting"):  # noqa: ASYNC110 - another process's work
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise RuntimeError(f"the worker has not handled all events within {LEFT_TO_THE_WORKER_S:g} s") from None
    finally:
        await connection.close()


def _figures(server: Server) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/bench/figures", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return None


async def prepare(admin_url: str, redis_url: str | None, folder: Path, name: str) -> dict[str, Any]:
    """Make a database of this bench alone with its merchants; return the servers' setup with the keys."""
    connection = await asyncpg.connect(admin_url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    url = admin_url.rpartition("/")[0] + f"/{name}"
    await asyncio.to_thread(migrate, url)
    keys = []
    async with hub(
        database_url=url, redis_url=None, home=folder, public_url="http://127.0.0.1:1", channels=CHANNELS
    ) as objects:
        for number in range(BOOKS):
            merchant = await objects.merchants.add(f"bench {number}", currencies=["CNY"])
            await objects.channel_admin.add_by_hand(merchant.book, "instant", "instant", {}, fee_bp=60)
            keys.append(merchant.api_key)
    return {
        "database_url": url,
        "redis_url": redis_url,
        "home": str(folder),
        "access_log": str(folder / "access.log"),
        "keys": keys,
    }


async def audit(url: str) -> tuple[int, dict[str, int]]:
    """Count what the books' invariants find after the load, and how many rows of each kind there are."""
    connection = await asyncpg.connect(url)
    broken = 0
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for check in INVARIANTS.values():
            broken += len(await check(connection))
        row = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM payment) payments, (SELECT count(*) FROM payment WHERE status = 'succeeded') "
            "succeeded, (SELECT count(*) FROM transfer) transfers, (SELECT count(*) FROM event) events"
        )
    await connection.close()
    assert row is not None
    return broken, dict(row)


def run(
    admin_url: str,
    postgres_pid: int,
    redis_url: str | None,
    *,
    seconds: float,
    say: Callable[[str], None],
    rounds: int = ROUNDS,
) -> dict[str, Any]:
    """Run everything and return the figures; the database made for it is dropped again.

    seconds: of load in each stretch. There are seven stretches a round. redis_url: through which the worker hears of
    events, and where its relay copies them.
    """
    name = f"sluice_bench_{os.getpid()}"
    samples: dict[str, list[Sample]] = {}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as temp:
        folder = Path(temp)
        setup = asyncio.run(prepare(admin_url, redis_url, folder, name))
        (folder / "setup.json").write_text(json.dumps(setup))
        keys, one_key = folder / "keys.json", folder / "one-key.json"
        keys.write_text(json.dumps(setup["keys"]))
        one_key.write_text(json.dumps(setup["keys"][:1]))
        one = ("hub", "--setup", str(folder / "setup.json"), "--max-batch", "1", "--writers", "16")
        try:
            with (
                served("hello") as hello,
                served("hub", "--setup", str(folder / "setup.json")) as lane,
                served(*one) as lane1,
                served("worker", "--setup", str(folder / "setup.json")) as worker,
            ):
                beside = Beside(postgres_pid, worker, setup["database_url"])
                for server in (hello, lane, lane1):  # warm: imports, connections, plans
                    say(f"warming the server at {server.port}")
                    drive(server, beside, keys, 16, 1)
                plan = [
                    ("hello", hello, 256, keys),
                    ("lane", lane, 256, keys),
                    ("lane1", lane1, 256, keys),
                    ("hot", lane, 256, one_key),
                    ("hot1", lane1, 256, one_key),
                    ("hello32", hello, 32, keys),
                    ("lane32", lane, 32, keys),
                ]
                for number in range(1, rounds + 1):
                    for label, server, connections, callers in plan:
                        sample = drive(server, beside, callers, connections, seconds)
                        samples.setdefault(label, []).append(sample)
                        say(
                            f"round {number}/{rounds}  {label:8} {sample.rps:9.0f} req/s  p50 {sample.p50_ms:8.2f} ms  "
                            f"p99 {sample.p99_ms:8.2f} ms  server {sample.server_cpu_us:7.1f} us  "
                            f"postgres {sample.postgres_cpu_us:7.1f} us  worker {sample.worker_cpu_us:6.1f} us"
                            + (f"  batch {sample.batch:.0f}" if sample.batch else "")
                        )
            broken, rows = asyncio.run(audit(setup["database_url"]))
        finally:
            asyncio.run(_drop(admin_url, name))
    return figures(samples, broken, rows)


async def _drop(admin_url: str, name: str) -> None:
    connection = await asyncpg.connect(admin_url)
    await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await connection.close()


def figures(samples: dict[str, list[Sample]], broken: int, rows: dict[str, int]) -> dict[str, Any]:
    """Return the medians and ratios; ratios are taken round by round, then their median."""

    def median(label: str, field: str) -> float:
        values: list[float] = [getattr(s, field) for s in samples[label]]
        return round(statistics.median(values), 2)

    def cost(sample: Sample) -> float:
        return sample.server_cpu_us + sample.postgres_cpu_us

    def ratio(top: str, bottom: str) -> float:
        return round(
            statistics.median(cost(t) / b.server_cpu_us for t, b in zip(samples[top], samples[bottom], strict=True)), 2
        )

    def speedup(top: str, bottom: str) -> float:
        return round(statistics.median(a.rps / b.rps for a, b in zip(samples[top], samples[bottom], strict=True)), 2)

    def cpu_saved(top: str, bottom: str) -> float:
        return round(
            statistics.median(cost(b) / cost(a) for a, b in zip(samples[top], samples[bottom], strict=True)), 2
        )

    batches = [s.batch for s in samples["lane"] if s.batch]
    return {
        "hello_cpu_us": median("hello", "server_cpu_us"),
        "hub_cpu_us": median("lane", "server_cpu_us"),
        "postgres_cpu_us": median("lane", "postgres_cpu_us"),
        "worker_cpu_us": median("lane", "worker_cpu_us"),
        "cpu_ratio": ratio("lane", "hello"),
        "hello_rps": median("hello", "rps"),
        "lane_rps": median("lane", "rps"),
        "lane1_rps": median("lane1", "rps"),
        "lane_speedup": speedup("lane", "lane1"),
        "lane_cpu_saved": cpu_saved("lane", "lane1"),
        "p50_ms": median("lane", "p50_ms"),
        "p99_ms": median("lane", "p99_ms"),
        "batch_size": round(statistics.median(batches), 1) if batches else None,
        "lane1_hub_cpu_us": median("lane1", "server_cpu_us"),
        "lane1_postgres_cpu_us": median("lane1", "postgres_cpu_us"),
        "one_merchant": {
            "lane_rps": median("hot", "rps"),
            "lane1_rps": median("hot1", "rps"),
            "lane_speedup": speedup("hot", "hot1"),
            "lane_cpu_saved": cpu_saved("hot", "hot1"),
            "hub_cpu_us": median("hot", "server_cpu_us"),
            "postgres_cpu_us": median("hot", "postgres_cpu_us"),
            "worker_cpu_us": median("hot", "worker_cpu_us"),
            "cpu_ratio": ratio("hot", "hello"),
            "lane1_hub_cpu_us": median("hot1", "server_cpu_us"),
            "lane1_postgres_cpu_us": median("hot1", "postgres_cpu_us"),
            "p50_ms": median("hot", "p50_ms"),
            "p99_ms": median("hot", "p99_ms"),
        },
        "at_32": {
            "hello_rps": median("hello32", "rps"),
            "hello_cpu_us": median("hello32", "server_cpu_us"),
            "lane_rps": median("lane32", "rps"),
            "p50_ms": median("lane32", "p50_ms"),
            "p99_ms": median("lane32", "p99_ms"),
            "hub_cpu_us": median("lane32", "server_cpu_us"),
            "postgres_cpu_us": median("lane32", "postgres_cpu_us"),
            "worker_cpu_us": median("lane32", "worker_cpu_us"),
            "cpu_ratio": ratio("lane32", "hello32"),
        },
        "books": BOOKS,
        "rounds": len(samples["lane"]),
        "unexpected_answers": sum(sum(s.problems.values()) for found in samples.values() for s in found),
        "balance_mismatches": broken,
        "rows": rows,
    }
