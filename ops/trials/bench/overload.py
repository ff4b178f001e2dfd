"""`make overload`: what a hub still does when three and ten times as much comes as it can do, and how soon it recovers.

A PostgreSQL, a sandbox and a gateway of its own, each a process; the load comes from a fourth, `loadtests/flood.py`.
docs/performance.md says how it is measured and has the figures.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp import ClientSession, web

from kernel.addresses import LOOPBACK
from ops import embedded
from ops.migrate import migrate
from ops.settings import load
from ops.trials.bench.run import Server, audit, cpu_of, cpu_of_tree, served
from ops.wiring import hub

Say = Callable[[str], None]
MERCHANTS = 8
PROBES = {"notices": 5.0, "reads": 10.0}  # a second, beside the flood
MOST_STEPS = 8  # in which the peak is looked for, each a fifth above the last
GOALS = {3: 0.90, 10: 0.85}  # times the peak → goodput, as a share of the peak
RECOVERED = 0.9  # of what is offered after the surplus, done in that second


@dataclass
class World:
    """Everything that runs, and how its CPU is read."""

    gateway: Server
    postgres_pid: int
    sandbox_pid: int
    keys: list[str]
    mchids: list[str]
    sandbox_url: str
    folder: Path
    told: dict[str, tuple[dict[str, str], bytes]] = field(default_factory=dict)  # path and body → a rail's notice

    def cpu(self) -> dict[str, float]:
        return {
            "gateway": cpu_of(self.gateway.pid),
            "postgres": cpu_of_tree(self.postgres_pid),
            "sandbox": cpu_of_tree(self.sandbox_pid),
        }


# ---- the world -------------------------------------------------------------------------------------------------------


@contextmanager
def a_sandbox(folder: Path) -> Iterator[tuple[str, int]]:
    """Run the simulated rails; yield their address and process."""
    argv = [sys.executable, "-m", "sandbox", "--home", str(folder), "--port", "0"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1], process.pid
    finally:
        process.terminate()
        process.wait(20)


@asynccontextmanager
async def listening(told: dict[str, tuple[dict[str, str], bytes]]) -> AsyncIterator[str]:
    """Be the address to which rails send notices: keep each as it came, to be sent to the hub when the load is on."""

    async def keep(request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "connection")}
        told[f"{request.path} {body.decode()}"] = headers, body
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/{anything:.*}", keep)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def prepare(url: str, folder: Path, sandbox_url: str, public_url: str) -> dict[str, Any]:
    """Take merchants on, each with a WeChat Pay account at the sandbox; return the gateway's setup."""
    keys, mchids = [], []
    async with (
        ClientSession() as session,
        hub(database_url=url, redis_url=None, home=folder, public_url=public_url, addresses=LOOPBACK) as objects,
    ):
        for number in range(MERCHANTS):
            merchant = await objects.merchants.add(f"overload {number}", currencies=["CNY"])
            asked = {"name": f"overload {number}", "fee_bp": 60}
            async with session.post(f"{sandbox_url}/control/wechat/merchants", json=asked) as answer:
                wechat = await answer.json()
            settings = {**wechat, "base_url": sandbox_url}
            await objects.channel_admin.add_by_hand(merchant.book, "wechat", "wechat", settings, fee_bp=60)
            keys.append(merchant.api_key)
            mchids.append(wechat["mchid"])
    return {
        "database_url": url, "redis_url": None, "home": str(folder), "access_log": str(folder / "access.log"),
        "public_url": public_url, "keys": keys, "mchids": mchids,
    }  # fmt: skip


@asynccontextmanager
async def world(admin_url: str, postgres_pid: int) -> AsyncIterator[tuple[World, str]]:
    """Start everything on a database of its own, which is dropped at the end; yield it with the database's address."""
    name = f"sluice_overload_{os.getpid()}"
    url = admin_url.rpartition("/")[0] + f"/{name}"
    admin = await asyncpg.connect(admin_url)
    await admin.execute(f"CREATE DATABASE {name}")
    told: dict[str, tuple[dict[str, str], bytes]] = {}
    try:
        await asyncio.to_thread(migrate, url)
        with tempfile.TemporaryDirectory(prefix="sluice-overload-") as temporary:
            folder = Path(temporary)
            async with listening(told) as public_url:
                with a_sandbox(folder) as (sandbox_url, sandbox_pid):
                    setup = await prepare(url, folder, sandbox_url, public_url)
                    (folder / "setup.json").write_text(json.dumps(setup))
                    with served("rails", "--setup", str(folder / "setup.json")) as gateway:
                        yield (
                            World(
                                gateway, postgres_pid, sandbox_pid, setup["keys"], setup["mchids"], sandbox_url, folder,
                                told,
                            ),
                            url,
                        )  # fmt: skip
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()


# ---- load ------------------------------------------------------------------------------------------------------------


async def orders_and_notices(here: World, count: int) -> tuple[list[str], list[str]]:
    """Make payments and have their payers pay; return their ids, and the rail's notices, which the hub has not seen."""
    hub_url = f"http://127.0.0.1:{here.gateway.port}"
    here.told.clear()
    ids: list[str] = []
    at_once = asyncio.Semaphore(4)

    async def one(session: ClientSession, number: int) -> None:
        order = f"probe-{os.urandom(8).hex()}"
        body = {"merchant_order_id": order, "amount": 500, "currency": "CNY", "method": {"type": "qr"}}
        body["description"] = "tea"
        headers = {"Authorization": f"Bearer {here.keys[0]}", "Idempotency-Key": order}
        async with at_once:
            async with session.post(f"{hub_url}/v1/payments", json=body, headers=headers) as answer:
                payment = await answer.json()
                if answer.status != 201:
                    return
            scan = {"code_url": payment["next_action"]["code"]}
            async with session.post(f"{here.sandbox_url}/control/wechat/pay", json=scan) as answer:
                await answer.read()
            ids.append(payment["id"])

    async with ClientSession() as session:
        await asyncio.gather(*(one(session, number) for number in range(count)))
    for _ in range(100):
        if len(here.told) >= len(ids):
            break
        await asyncio.sleep(0.1)
    notices = []
    for key, (headers, body) in here.told.items():
        lines = [f"POST {key.split(' ', 1)[0]} HTTP/1.1", "Host: hub", *(f"{n}: {v}" for n, v in headers.items())]
        notices.append("\r\n".join(lines) + "\r\n\r\n" + body.decode("latin-1"))
    return ids, notices


async def flood(here: World, stretches: Sequence[Mapping[str, Any]], ids: list[str], notices: list[str]) -> list[Any]:
    """Play stretches; return what became of each, with the CPU that each process used in it."""
    plan = {
        "port": here.gateway.port, "keys": here.keys, "accepted": str(here.folder / "accepted"), "reads": ids,
        "notices": notices, "stretches": stretches,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests.flood", stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 24
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(plan).encode())
    process.stdin.close()
    at, spent = here.cpu(), []
    found: list[Any] = []
    while line := await process.stdout.readline():
        said = json.loads(line)
        now = here.cpu()
        if "ended" in said:
            spent.append({name: now[name] - at[name] for name in now})
        at = now
        found = said.get("stretches", found)
    if await process.wait() or len(found) != len(stretches):
        raise RuntimeError("the load generator failed; its error is above")
    for stretch, cpu in zip(found, spent, strict=True):
        cpu["generator"] = stretch["cpu_s"]
        stretch["cpu"] = {name: round(used / stretch["seconds"], 2) for name, used in cpu.items()}  # cores
    return found


def goodput(stretch: Mapping[str, Any]) -> float:
    """Return the payments a second that began in a stretch and were made within their callers' patience."""
    done: int = stretch["kinds"]["payments"]["done"]
    return round(done / float(stretch["seconds"]), 1)


async def estimate(here: World, seconds: float) -> float:
    """Return about how many payments a second are made when plenty come: where the peak is looked for."""
    stretch = {"name": "estimate", "seconds": seconds, "payments": 400}
    return max(goodput(one) for one in await flood(here, [stretch, stretch], [], []))


async def peak_of(here: World, factor: int, first: float, seconds: float, ids: list[str]) -> dict[str, Any]:
    """Return the stretch with the best goodput, the surplus being sent to a handler that only refuses."""
    steps: list[dict[str, Any]] = []
    rate = 0.7 * first
    while len(steps) < MOST_STEPS:
        wanted = {
            "name": f"{rate:.0f}/s", "seconds": seconds, "payments": rate, "refused": rate * (factor - 1),
            "reads": sum(PROBES.values()),  # as many as the probes beside the flood
        }  # fmt: skip
        steps += await flood(here, [wanted], ids, [])
        if goodput(steps[-1]) < 0.9 * rate and len(steps) > 2:
            break  # more than can be done: it gets no better
        rate *= 1.2
    best = max(steps, key=goodput)
    best["steps"] = [goodput(one) for one in steps]
    return best


async def one_factor(here: World, factor: int, first: float, seconds: float, say: Say) -> dict[str, Any]:
    """Find the peak, then send `factor` times that; return the figures."""
    ids, notices = await orders_and_notices(here, int(PROBES["notices"] * seconds) + 3)
    best = await peak_of(here, factor, first, max(1.0, seconds / 6), ids)
    peak = goodput(best)
    say(f"  {factor} x  peak {peak:.0f}/s {_cpu(best)} of {best['steps']}")
    tail = max(3.0, seconds / 6)
    found = await flood(
        here,
        [
            {"name": "overload", "seconds": seconds, "payments": factor * peak, **PROBES},
            {"name": "at the peak again", "seconds": tail, "payments": RECOVERED * peak},
            {"name": "at half", "seconds": tail, "payments": peak / 2},
        ],
        ids,
        notices,
    )
    over, again, half = found
    payments = over["kinds"]["payments"]
    figures = {
        "factor": factor,
        "peak": peak,
        "goodput": goodput(over),
        "share_of_peak": round(goodput(over) / peak, 3) if peak else 0.0,
        "p50_ms": payments["p50_ms"],
        "p99_ms": payments["p99_ms"],
        "statuses": payments["statuses"],
        "unclean": payments["unclean"] + sum(n for s, n in payments["statuses"].items() if not s.isdigit()),
        "first_unclean": payments["first_unclean"],
        "probes": {name: over["kinds"].get(name) for name in PROBES},
        "recovery_s": _recovery(again, RECOVERED * peak),
        "afterwards": again["kinds"]["payments"],
        "half": half["kinds"]["payments"],
        "cpu_at_peak": best["cpu"],
        "cpu": over["cpu"],
        "generator_behind_ms": over["behind_ms"],
        "connections": over["connections"],
    }
    say(_page(figures, over))
    return figures


def _recovery(again: Mapping[str, Any], offered: float) -> int | None:
    """Return after how many whole seconds every further one saw as much done as was offered; None: not at all."""
    done = again["kinds"]["payments"]["done_in"]
    whole = done[: int(again["seconds"])]
    good = [one >= RECOVERED * offered for one in whole]
    for second in range(len(good)):
        if all(good[second:]):
            return second
    return None


def _cpu(stretch: Mapping[str, Any]) -> str:
    return "(cores: " + ", ".join(f"{name} {used:.2f}" for name, used in stretch["cpu"].items()) + ")"


def _page(f: Mapping[str, Any], over: Mapping[str, Any]) -> str:
    probes = "; ".join(
        f"{name} {told['done']} of {told['sent']} served, p99 {told['p99_ms']} ms" for name, told in f["probes"].items()
    )
    return "\n".join(
        [
            f"       goodput {f['goodput']:.0f}/s = {f['share_of_peak']:.1%} of it {_cpu(over)}",
            f"       accepted p50 {f['p50_ms']} ms, p99 {f['p99_ms']} ms; {f['statuses']}, {f['unclean']} unclean",
            f"       {probes}",
            f"       recovered in {f['recovery_s']} s; afterwards {f['afterwards']['statuses']}, "
            f"at half load {f['half']['statuses']}, p99 {f['half']['p99_ms']} ms",
            f"       the generator was at most {f['generator_behind_ms']} ms behind, {f['connections']} connections",
        ]
    )


# ---- what must hold --------------------------------------------------------------------------------------------------


async def exactly_once(url: str, accepted: Path) -> dict[str, int]:
    """Compare what was accepted with what is in the books."""
    orders = (await asyncio.to_thread(accepted.read_text)).split()
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT merchant_order_id, count(*) AS n FROM payment GROUP BY 1")
    finally:
        await connection.close()
    kept = {row["merchant_order_id"]: row["n"] for row in rows}
    broken, _ = await audit(url)
    return {
        "accepted": len(orders),
        "missing": sum(order not in kept for order in orders),
        "twice": sum(n != 1 for n in kept.values()) + len(orders) - len(set(orders)),
        "balance_mismatches": broken,
    }


def complaints(figures: Mapping[str, Any], *, timed: bool) -> list[str]:
    """Return every promise that was not kept. timed: those too that a loaded machine breaks by itself."""
    wrong = []
    books = figures["books"]
    for name in ("missing", "twice", "balance_mismatches"):
        if books[name]:
            wrong.append(f"{books[name]} payments {name} in the books")
    for f in figures["factors"]:
        name = f"{f['factor']} x"
        if not f["statuses"].get("201") or not books["accepted"]:
            wrong.append(f"{name}: nothing was accepted")
        odd = {status for status in f["statuses"] if status not in ("201", "429", "503", "gave up")}
        if odd:
            wrong.append(f"{name}: answers of {sorted(odd)}; {f['first_unclean']}")
        if f["unclean"] - f["statuses"].get("gave up", 0):
            wrong.append(
                f"{name}: refusals that are no problem, or do not say when to come again: {f['first_unclean']}"
            )
        for probe, told in f["probes"].items():
            served = sum(n for status, n in told["statuses"].items() if status[:1] == "2")
            failed = told["sent"] - served - (0 if timed else told["statuses"].get("gave up", 0))
            if failed:
                wrong.append(f"{name}: {failed} of {told['sent']} {probe} were not served: {told['statuses']}")
        if not timed:
            continue
        goal = GOALS.get(f["factor"], 0.85)
        if f["share_of_peak"] < goal:
            wrong.append(f"{name}: goodput {f['share_of_peak']:.1%} of the peak; at least {goal:.0%} must be")
        if (f["p99_ms"] or 1e9) > 1000:
            wrong.append(f"{name}: p99 of the accepted {f['p99_ms']} ms; at most 1000 may be")
        if f["statuses"].get("gave up"):
            wrong.append(f"{name}: {f['statuses']['gave up']} callers gave up")
        if f["recovery_s"] is None or f["recovery_s"] > 2:
            wrong.append(f"{name}: recovered in {f['recovery_s']} s; 2 are allowed")
        if set(f["half"]["statuses"]) != {"201"}:
            wrong.append(f"{name}: at half load afterwards {f['half']['statuses']}")
    return wrong


async def measured(
    admin_url: str, postgres_pid: int, factors: list[int], seconds: float, say: Say, rate: float | None = None
) -> dict[str, Any]:
    """Run everything and return the figures. rate: instead of the first estimate."""
    async with world(admin_url, postgres_pid) as (here, url):
        first = rate or await estimate(here, max(1.0, seconds / 10))
        if not first:
            raise RuntimeError("no payment was made in time: this machine has too much else to do")
        say(f"first estimate: {first:.0f} payments/s")
        found = [await one_factor(here, factor, first, seconds, say) for factor in factors]
        return {"seconds": seconds, "factors": found, "books": await exactly_once(url, here.folder / "accepted")}


async def _main(given: argparse.Namespace) -> int:
    settings = load()
    home = settings.home / "bench-servers"
    async with embedded.postgres(home, bin_folder=settings.pg_bin, user=settings.server_user) as postgres:
        assert postgres.pid is not None
        figures = await measured(postgres.admin_socket_url, postgres.pid, given.factors, given.seconds, print)
    figures["wrong"] = complaints(figures, timed=True)
    target = settings.home / "overload.json"
    target.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"books: {figures['books']}")
    for line in figures["wrong"]:
        print(f"✘ {line}")
    print(f"written to {target}" if figures["wrong"] else f"✔ every promise was kept; written to {target}")
    return 1 if figures["wrong"] else 0


def main() -> None:
    """Read the command line, run, exit with 1 where a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factors", type=int, nargs="+", default=[3, 10], help="times the peak")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each overload")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(_main(given)))


if __name__ == "__main__":
    main()
