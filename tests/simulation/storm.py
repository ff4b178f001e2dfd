"""A storm: merchants trade over every rail through two gateways and two workers while everything around them fails.

Reproducible as far as real processes are: the seed draws who buys what and which harm comes when.
"""

import asyncio
import contextlib
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from channels import capabilities_of
from kernel.addresses import LOOPBACK
from kernel.db import acquire
from ops import embedded, verify
from ops.trials.replay import lacking
from ops.trials.replay.patience import InVain, again, until
from ops.trials.replay.rails import CAST, Cable, RailAccount, sign_up
from ops.trials.replay.world import World
from ops.wiring import Hub, hub
from tests.ops.trials.replay.running import TIME_SCALE, RunningHub, free_ports
from tests.simulation import judge
from tests.simulation.nemesis import Nemesis, SecondHost
from tests.simulation.shoppers import Shop, TwoDoors

SHOPS, CUSTOMERS = 2, 4
# A refund that failed is started again, or had succeeded after all; one that succeeded may come back.
REFUNDS_MAY = re.compile(r"re_\w+ was (failed, now (processing|succeeded)|succeeded, now (failed|processing))$")
TELL_EVERY_S = 30.0
CALM_WITHIN_S = 120.0  # after the storm, until nothing is open any more


@dataclass
class Storm:
    """What a storm came to."""

    seed: int
    harms: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    payments: int = 0
    refunds: int = 0
    open_cases: int = 0
    wrongs: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {self.payments} payments, {self.refunds} refunds, {self.retries} asked again"]
        lines += [f"  harm: {count:4} {name}" for name, count in sorted(self.harms.items())]
        lines += [f"  met:  {count:4} {name}" for name, count in sorted(self.met.items())]
        return "\n".join([*lines, f"  open cases: {self.open_cases}", *(f"  WRONG: {wrong}" for wrong in self.wrongs)])


async def storm(running: RunningHub, seed: int, seconds: float, keep: Path) -> Storm:
    """Let a storm of so many seconds pass over a running hub, wait for calm, and judge.

    keep: a folder for the logs and the rails' own truth, should anything be wrong.
    """
    found, rng, calm = Storm(seed), random.Random(seed), asyncio.Event()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=128)))
        run, home = running.run, running.home
        database, redis = embedded.postgres_url(home), embedded.valkey_url(home)
        assert database is not None
        assert redis is not None
        second = await stack.enter_async_context(_second_host(running, database, redis))
        doors = (run.gateway_url, f"http://127.0.0.1:{second.host.environment['SLUICE_GATEWAY_PORT']}")
        objects = await stack.enter_async_context(
            hub(
                database_url=database,
                redis_url=redis,
                home=home,
                public_url=run.gateway_url,
                addresses=LOOPBACK,
                name="storm",
            )
        )
        cables = [second.line]
        shops = [await _shop(objects, session, doors, run.sandbox_url, rng, calm, cables) for _ in range(SHOPS)]
        for cable in cables:
            stack.push_async_callback(cable.take_up)
        accounts = [account for shop in shops for account in shop.accounts]
        outside = World(session, run.gateway_url, "", run.sandbox_url)
        nemesis = Nemesis(running, second.host, outside, accounts, cables, random.Random(f"nemesis {seed}"))
        trading = [asyncio.create_task(shop.keep_open(CUSTOMERS)) for shop in shops]
        raging = asyncio.create_task(nemesis.rage())
        over_at, ended = time.monotonic() + seconds, set[Any]()
        while not ended and (left := over_at - time.monotonic()) > 0:
            ended, _ = await asyncio.wait(
                [*trading, raging], timeout=min(left, TELL_EVERY_S), return_when=asyncio.FIRST_COMPLETED
            )
            met = sum((shop.met for shop in shops), Counter[str]())
            print(f"… seed {seed}, {left:.0f} s left: {met.total()} met, {nemesis.done.total()} harms", flush=True)
        raging.cancel()
        await asyncio.wait([raging])
        if not raging.cancelled():
            raging.result()
        calm.set()
        await asyncio.gather(*trading)
        found.harms = nemesis.done
        for shop in shops:
            found.met += shop.met
            found.retries += shop.world.retries
            with contextlib.suppress(InVain):  # what is left open then is told by the judge
                await until(
                    "nothing is open", partial(lacking.endings, objects.pool, shop.book), patience_s=CALM_WITHIN_S
                )
            await _judged(objects, shop, found)
        verdicts = await again(lambda: verify.verify(objects.pool))
        found.wrongs += [f"{v.name}: {why}" for v in verdicts for why in v.broken[:3]]
        found.wrongs += _told_secrets(home, [account.settings for account in accounts], database)
        if found.wrongs:
            await asyncio.to_thread(_leave_traces, home, keep)
    return found


def _leave_traces(home: Path, keep: Path) -> None:
    for path in [home / "up.log", home / "second.log", *(home / "sandbox").glob("sandbox.db*")]:
        shutil.copy(path, keep)


@dataclass
class _Second:
    host: SecondHost
    line: Cable


@asynccontextmanager
async def _second_host(running: RunningHub, database: str, redis: str) -> AsyncIterator[_Second]:
    there = urlsplit(database)
    line = Cable(there.hostname or "127.0.0.1", there.port or 5432)
    port = urlsplit(await line.lay()).port
    user, _, _ = there.netloc.rpartition("@")
    gateway_port, ops_port = map(str, free_ports(2))
    environment = {
        **running.environment,
        "SLUICE_DATABASE_URL": there._replace(netloc=f"{user}@127.0.0.1:{port}").geturl(),
        "SLUICE_REDIS_URL": redis,
        "SLUICE_GATEWAY_PORT": gateway_port,
        "SLUICE_OPS_PORT": ops_port,
        "SLUICE_PUBLIC_URL": running.run.gateway_url,
        "SLUICE_TIME_SCALE": TIME_SCALE,
        "SLUICE_ALLOW_ADDRESSES": "loopback",
    }
    clock = running.home / "second-clock"
    clock.write_text("0")
    with (running.home / "second.log").open("ab") as log:
        host = SecondHost(running, clock, environment, log)
        try:
            for name in ("gateway", "worker"):
                host.start(name)
            yield _Second(host, line)
        finally:
            host.end()


async def _shop(
    objects: Hub, session: aiohttp.ClientSession, doors: tuple[str, str], sandbox_url: str, rng: random.Random,
    calm: asyncio.Event, cables: list[Cable],
) -> Shop:  # fmt: skip
    """Take a merchant on at the hub, at the bank and at every rail; lay a cable to each rail."""
    merchant = await objects.merchants.add("storm", currencies=["CNY"])
    world = TwoDoors(session, doors, merchant.api_key, sandbox_url, random.Random(rng.random()))
    bank = await world.control("POST", "/control/bank/customers", {"name": "storm"})
    link = await objects.merchants.link_bank(merchant.book, "harbour", bank, name="storm pool", currency="CNY")
    accounts = []
    for part in CAST:
        rail = objects.channels[part.channel]
        webhooks = not capabilities_of(rail).per_order_notices
        settings = await sign_up(
            world, part, pool=link.pool_account, hub_url=doors[0], book=merchant.book, webhooks=webhooks
        )
        if part.channel != "paypal":  # whose pages the hub believes at the rail's own address alone
            there = urlsplit(sandbox_url)
            cable = Cable(there.hostname or "127.0.0.1", there.port or 80)
            settings["base_url"] = str(settings["base_url"]).replace(sandbox_url, await cable.lay())
            cables.append(cable)
        await objects.channel_admin.add_by_hand(merchant.book, part.account, part.channel, settings, fee_bp=part.fee_bp)
        methods = frozenset(str(method) for method in rail(settings).capabilities.methods)
        accounts.append(RailAccount(part, str(settings["merchant"]), methods, None, settings))
    payees = []
    for name in ("agent", "store"):
        body = {"name": name, "kind": "supplier", "currency": "CNY", "bank": "harbour", "reference": name}
        payees.append(str((await world.hub("POST", "/v1/payees", body))["id"]))
    return Shop(merchant.book, world, accounts, payees, random.Random(rng.random()), calm)


async def _judged(objects: Hub, shop: Shop, found: Storm) -> None:
    async def theirs() -> tuple[dict[tuple[str, str], judge.Told], list[str], int]:
        async with acquire(objects.pool) as connection:
            cases = await connection.fetchval(
                "SELECT count(*) FROM case_file WHERE book = $1 AND status = 'open'", shop.book
            )
            return await judge.told(connection, shop.book), await judge.still_open(connection, shop.book), cases

    attempts, still_open, cases = await again(theirs)
    late = await judge.without_refused(still_open, shop.world, shop.accounts)
    found.wrongs += [f"open {CALM_WITHIN_S:.0f} s later: {what}" for what in late]
    found.open_cases += cases
    found.wrongs += await judge.wrongs(shop.world, shop.accounts, attempts)
    payments = [one async for one in shop.world.listed("/v1/payments")]
    refunds = [one async for one in shop.world.listed("/v1/refunds")]
    found.payments += len(payments)
    found.refunds += len(refunds)
    automatic = {one["id"] for one in refunds} - set(shop.world.witness.told)
    found.wrongs += [
        wrong
        for wrong in shop.world.witness.judge([*payments, *refunds])
        if wrong.split()[0] not in automatic and not REFUNDS_MAY.match(wrong)
    ]


def _told_secrets(home: Path, settings: list[dict[str, Any]], database: str) -> list[str]:
    password = urlsplit(database).password
    assert password
    wanted = {password, *(secret for one in settings for secret in judge.secrets(one))}
    logs = [path for path in [home / "up.log", home / "second.log"] if path.exists()]
    assert logs
    return [
        f"{path.name} holds a secret: {secret[:6]}…"
        for path in logs
        for secret in wanted
        if secret.encode() in path.read_bytes()
    ]
