"""`sluice split bench`, the posting: many orders' shares in one commit against one order a transaction.

Two books have the same orders under the same plan. In one the hub's own listener posts their shares as it does any
merchant's, what has gathered in one commit; in the other each order has a transaction. They take turns on one server,
and afterwards the two books must be the same.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import asyncpg
import orjson

import ledger
import splitting
import streams
from kernel.db import Connection, connect
from kernel.env import system_env
from kernel.lane import ASIDES, Lane, Lanes, committing
from kernel.work import BOOKS, Need, Work, new_head
from ledger import OpenAccounts, Transfer, accounts, post_expected
from ledger.posting import ACCOUNTS
from ops import embedded
from ops.migrate import migrate
from ops.serve import settle_memory
from ops.settings import Settings
from ops.trials.split_bench import a_plan, some_orders
from splitting import CreatePayee, Payee
from splitting.listeners import NAME, SUCCEEDED, handle, needs, splitter
from splitting.plans.asked import Part, to_json
from splitting.plans.bulk import Orders
from splitting.plans.document import hash_of, read
from splitting.tables import PLAN_VERSIONS, SPLIT_PLANS, SPLITS, PlanVersion, Split, SplitPlan
from streams import Consumer, Event, publish
from streams.consumer import Consume
from streams.store import events_after

CURRENCY = "CNY"
CHANNEL, MERCHANT = accounts.channel("rail", CURRENCY), accounts.merchant(CURRENCY)
PLAN = f"spl_{1:026x}"
BEGUN = datetime(2026, 11, 30, 4, tzinfo=UTC)
DAY = date(2026, 11, 30)
A_COMMIT = 250  # payments
IN_BULK, ONE_BY_ONE = 1, 2  # the books
GOAL = 15.0  # at least so many times as fast


@dataclass(frozen=True, slots=True)
class KeepPlan:
    """Keep the bench's plan, active."""

    book: int

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield SPLIT_PLANS, (self.book, PLAN)
        yield PLAN_VERSIONS, (self.book, PLAN, 1)

    def apply(self, work: Work) -> None:
        text = orjson.dumps(a_plan()).decode()
        work.put(SPLIT_PLANS, SplitPlan(self.book, PLAN, "bench", CURRENCY, 1, 1, work.now))
        row = PlanVersion(
            self.book, PLAN, 1, text, text, hash_of(a_plan()), "active", "bench", "bench", work.now, work.now
        )
        work.put(PLAN_VERSIONS, row)


@dataclass(frozen=True, slots=True)
class Trade:
    """Take these orders' payments, each with the plan, and tell that they succeeded."""

    book: int
    first: int  # the number of the first
    orders: Orders

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield ACCOUNTS, (self.book, CHANNEL)
        yield ACCOUNTS, (self.book, MERCHANT)

    def apply(self, work: Work) -> None:
        asked = to_json([Part(plan_id=PLAN, version=1)])
        for n, (gross, fee, coupon) in enumerate(zip(*self.orders, strict=True), self.first):
            payment = f"pay_{n:026x}"
            paid = [Transfer(payment, "payment_captured", CHANNEL, MERCHANT, gross - coupon, CURRENCY)]
            if fee:
                paid.append(Transfer(f"{payment}:fee", "channel_fee", MERCHANT, CHANNEL, fee, CURRENCY))
            post_expected(work, self.book, payment, paid, business_date=DAY, fresh=True)
            work.put(SPLITS, Split(self.book, payment, "planned", CURRENCY, asked, gross, fee, "[]", None))
            told = {"amount_captured": gross, "channel_fee": fee, "merchant_coupon": coupon, "paid_by": "balance"}
            publish(work, self.book, SUCCEEDED, payment, {"business_date": DAY.isoformat(), **told})


async def measure(url: str, orders: int, rounds: int, seed: int = 1) -> dict[str, Any]:
    """Post the shares of orders in both ways, in turns, on a database with the hub's schema; return the figures.

    Rates are of the wall's time, the medians of the rounds. unequal: rows of journal, balances, splits and events that
    the two books have otherwise; unsound: what the invariants find.
    """
    env = system_env()
    on_lane = partial(connect, url, name="bench lane", by_key=True)
    connection = await asyncpg.connect(url)
    try:
        async with (
            connect(url, size=4, name="bench") as pool,
            on_lane(size=1) as writing,
            on_lane(size=ASIDES) as aside,
        ):
            lanes = Lanes([Lane(committing(writing, aside, env), env)])
            all_of_them, size = some_orders(orders, seed), -(-orders // rounds)
            for book in (IN_BULK, ONE_BY_ONE):
                await _open(connection, lanes, book)
            bulk: list[float] = []
            plain: list[float] = []
            consumer = splitter(pool, lanes, env)
            for begin in range(0, orders, size):
                some = Orders(*(column[begin : begin + size] for column in all_of_them))
                await _trade(lanes, IN_BULK, begin, some)
                bulk.append(len(some.gross) / await _timed(_in_bulk(consumer)))
                await _trade(lanes, ONE_BY_ONE, begin, some)
                events = await _told(connection, begin)
                position = await _position(connection)
                plain.append(len(some.gross) / await _timed(_one_by_one(lanes, position, events)))
                await _in_bulk(consumer)  # past what the second book's shares have told
        return await _figures(connection, orders, bulk, plain)
    finally:
        await env.tasks.aclose()
        await connection.close()


async def _open(connection: Connection, lanes: Lanes, book: int) -> None:
    await BOOKS.insert(connection, [new_head(book, BEGUN)])
    await lanes.put(OpenAccounts(book, [CHANNEL, MERCHANT]))
    for payee in read(a_plan()).payees():
        await lanes.put(CreatePayee(Payee(book, payee, payee, "supplier", CURRENCY, None, None, BEGUN)))
    await lanes.put(KeepPlan(book))


async def _trade(lanes: Lanes, book: int, begin: int, orders: Orders) -> None:
    for first in range(0, len(orders.gross), A_COMMIT):
        part = Orders(*(column[first : first + A_COMMIT] for column in orders))
        await lanes.put(Trade(book, begin + first, part))


async def _told(connection: Connection, begin: int) -> Sequence[Event]:
    """Return the events of the payments from a number on, of the second book."""
    events = await events_after(connection, ONE_BY_ONE, 0, 1 << 30, [SUCCEEDED])
    return events[begin:]


async def _timed(work: Awaitable[None]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _in_bulk(consumer: Consumer) -> None:
    while await consumer.once():
        pass


async def _position(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT coalesce(max(seq), 0) FROM position WHERE book = $1", ONE_BY_ONE))


async def _one_by_one(lanes: Lanes, position: int, events: Sequence[Event]) -> None:
    for event in events:
        await lanes.put(Consume(ONE_BY_ONE, NAME, position, event.seq, [event], needs, handle))
        position = event.seq


async def _rows(connection: Connection, book: int) -> list[Any]:
    """Return what the two books must have alike: each row but for its book, its times and its hash."""
    return [
        await connection.fetch(
            "SELECT seq, id, posting, rule, step, debit, credit, amount_minor, currency, hold_id, business_date "
            "FROM transfer WHERE book = $1 ORDER BY seq",
            book,
        ),
        await connection.fetch(
            "SELECT name, currency, side, debits, credits, debits_held, credits_held FROM account "
            "WHERE book = $1 ORDER BY name",
            book,
        ),
        await connection.fetch(
            "SELECT payment_id, status, gross_minor, fee_minor, coupon_minor, shares, frozen FROM split "
            "WHERE book = $1 ORDER BY payment_id",
            book,
        ),
    ]


async def _figures(
    connection: Connection, orders: int, bulk: Sequence[float], plain: Sequence[float]
) -> dict[str, Any]:
    unequal = 0
    for ours, theirs in zip(await _rows(connection, IN_BULK), await _rows(connection, ONE_BY_ONE), strict=True):
        unequal += abs(len(ours) - len(theirs)) + sum(a != b for a, b in zip(ours, theirs, strict=False))
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        unsound = sum(
            [
                len(await check(connection))
                for check in (ledger.INVARIANTS | splitting.INVARIANTS | streams.INVARIANTS).values()
            ]
        )
        posted = await connection.fetchval(
            "SELECT count(*) FROM split WHERE book = ANY($1) AND status = 'posted'", [IN_BULK, ONE_BY_ONE]
        )
    return {
        "posted_orders": orders,
        "bulk_posted_per_s": round(statistics.median(bulk)),
        "plain_posted_per_s": round(statistics.median(plain)),
        "posting_speedup": round(statistics.median(a / b for a, b in zip(bulk, plain, strict=True)), 1),
        "posting_goal": GOAL,
        "posting_unequal": unequal + abs(posted - 2 * orders),
        "posting_unsound": unsound,
    }


async def alone(admin_url: str, *, name: str, orders: int, rounds: int) -> dict[str, Any]:
    """Make a database for the bench on a server, measure there, and drop it. name: of the database."""
    url = admin_url.rpartition("/")[0] + f"/{name}"
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        await asyncio.to_thread(migrate, url)
        return await measure(url, orders, rounds)
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()


async def on_its_own_server(settings: Settings, orders: int, rounds: int) -> dict[str, Any]:
    """Measure on a PostgreSQL of the bench's own, durable as the hub's is, with the worker's habits of memory."""
    settle_memory()
    home = settings.home / "bench-servers"
    async with embedded.postgres(home, bin_folder=settings.pg_bin, user=settings.server_user) as postgres:
        name = f"sluice_split_bench_{os.getpid()}"
        return await alone(postgres.admin_socket_url, name=name, orders=orders, rounds=rounds)
