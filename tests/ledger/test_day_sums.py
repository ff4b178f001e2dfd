"""What is kept by day is what the journal adds up to, whatever comes late, and saves reading the journal."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

import ledger
from kernel.clock import BEIJING, business_date
from kernel.db import Connection
from kernel.errors import Rejected
from kernel.work import BOOKS, new_head, perform
from ledger import Post, Step, Transfer
from ledger.posting import Entry
from tests.conftest import TestServer
from tests.kernel.one_book import DAY, NOW, Pay, broken, superuser
from tests.ledger.day_sums import summed_up_anew

CHANNEL, MERCHANT, TRANSIT = "channel:rail:CNY", "merchant:CNY", "in_transit:bank:CNY"
PAYEES = [f"payee:{n}:CNY" for n in range(4)]
ACCOUNTS = [CHANNEL, MERCHANT, TRANSIT, *PAYEES]
BOOK = 1


@pytest.fixture
async def connection(pg_server: TestServer, database_url: str) -> AsyncIterator[Connection]:
    async with superuser(pg_server, database_url) as connection:
        await BOOKS.insert(connection, [new_head(BOOK, NOW)])
        await done(connection, [ledger.OpenAccounts(BOOK, ACCOUNTS)], NOW)
        yield connection


async def done(connection: Connection, commands: list[Any], now: datetime) -> list[Any]:
    async with connection.transaction():
        return await perform(connection, commands, now)


class Trade:
    """Random postings over days, dates of their own choice among them, some refused and some only held."""

    def __init__(self, seed: int) -> None:
        self._rng, self._number, self.now = random.Random(seed), 0, NOW

    def _transfer(self, rule: str, debit: str, credit: str, amount: int, *more: Any) -> Transfer:
        self._number += 1
        return Transfer(f"t{self._number}", rule, debit, credit, amount, "CNY", *more)

    def command(self) -> Post | Pay:
        rng = self._rng
        if rng.random() < 0.1:  # refused when all of it was posted
            return Pay(BOOK, self._transfer("payment_captured", CHANNEL, MERCHANT, 1).id, then=Rejected("no", "no"))
        payee, amount = rng.choice(PAYEES), rng.randint(1, 500)
        groups = [
            [self._transfer("payment_captured", CHANNEL, MERCHANT, 1_000)],
            [self._transfer("share", MERCHANT, payee, amount)],
            [self._transfer("share_taken_back", payee, MERCHANT, amount)],
            [self._transfer("settlement_sent", payee, TRANSIT, amount)],
            [self._transfer("refund", MERCHANT, CHANNEL, 5, Step.HOLD)],
            # refused as a whole after its first transfer was decided
            [
                self._transfer("payment_captured", CHANNEL, MERCHANT, 1_000),
                self._transfer("refund", MERCHANT, CHANNEL, 10**12),
            ],
        ]
        group = rng.choice(groups)
        day = business_date(self.now) + timedelta(days=rng.choice([0, 0, 0, -1, -3, 1]))
        return Post(BOOK, group[0].id, group, day)

    async def go_on(self, connection: Connection, batches: int) -> list[datetime]:
        """Post batches, some of them days apart; return the moment of each."""
        moments = []
        for _ in range(batches):
            self.now += timedelta(hours=self._rng.choice([0, 1, 9, 30, 80]), minutes=1)
            results = await done(connection, [self.command() for _ in range(self._rng.randint(1, 6))], self.now)
            assert [one for one in results if not isinstance(one, list | Rejected)] == []
            moments.append(self.now)
        return moments


def sums_of(entries: list[Entry]) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Add up entries by account, business date, day of recording and rule, in the plainest way."""
    debits, credits = Counter[tuple[Any, ...]](), Counter[tuple[Any, ...]]()
    for entry in entries:
        if entry.step in ("post", "post_hold"):
            key = (entry.business_date, business_date(entry.recorded_at), entry.rule)
            debits[entry.debit, *key] += entry.amount_minor
            credits[entry.credit, *key] += entry.amount_minor
    return {key: (debits[key], credits[key]) for key in debits | credits}


def balance_of(account: str, entries: list[Entry], until: datetime) -> int:
    moved = 0
    for entry in entries:
        if entry.step in ("post", "post_hold") and entry.recorded_at <= until:
            moved += entry.amount_minor * ((entry.debit == account) - (entry.credit == account))
    return moved if account == CHANNEL else -moved


async def the_journal(connection: Connection) -> list[Entry]:
    async with connection.transaction():
        return [entry async for entry in ledger.store.journal(connection, BOOK)]


async def kept(connection: Connection) -> tuple[list[Any], ...]:
    return tuple(
        [
            [tuple(row) for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4, 5")]
            for table in ("day_sum", "day_end", "account")
        ]
    )


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_kept_is_what_the_journal_adds_up_to_and_every_question_has_its_answer(
    connection: Connection, seed: int
) -> None:
    moments = await Trade(seed).go_on(connection, 40)
    entries = await the_journal(connection)
    rows = await connection.fetch("SELECT * FROM day_sum")
    assert {tuple(row)[1:5]: tuple(row)[5:] for row in rows} == sums_of(entries)
    assert any(row["business_date"] < row["recorded_on"] for row in rows), "something came late"
    for account in ACCOUNTS:
        for moment in [NOW - timedelta(days=1), *moments, moments[-1] + timedelta(days=9)]:
            found = await ledger.store.balance_at(connection, BOOK, account, moment)
            assert found == balance_of(account, entries, moment)
        first = business_date(moments[0]) - timedelta(days=1)
        for start, length in ((0, 60), (2, 0), (5, 1), (9, 30), (200, 3)):
            start_day = first + timedelta(days=start)
            end_day = start_day + timedelta(days=length)
            found = await ledger.store.statement(connection, BOOK, account, start_day, end_day)
            begins = datetime.combine(start_day, datetime.min.time(), BEIJING)
            ends = begins + timedelta(days=length + 1)
            tick = timedelta(microseconds=1)
            assert found == (
                balance_of(account, entries, begins - tick),
                [e for e in entries if begins <= e.recorded_at < ends and account in (e.debit, e.credit)
                 and e.step in ("post", "post_hold")],
                balance_of(account, entries, ends - tick),
            )  # fmt: skip
    assert await broken(connection) == {}


async def test_an_account_nobody_opened_has_no_statement(connection: Connection) -> None:
    assert await ledger.store.statement(connection, BOOK, "payee:stranger:CNY", DAY, DAY) is None


async def test_a_book_of_before_is_summed_up_to_the_very_same(connection: Connection) -> None:
    trade = Trade(7)
    await trade.go_on(connection, 40)
    before = await kept(connection)
    assert all(before)
    await summed_up_anew(connection)
    assert await kept(connection) == before
    await trade.go_on(connection, 10)
    assert await broken(connection) == {}


async def test_a_day_that_is_over_is_never_written_again(connection: Connection) -> None:
    trade = Trade(3)
    await trade.go_on(connection, 20)
    over = business_date(trade.now)
    trade.now += timedelta(days=1)
    rows = "SELECT * FROM day_sum WHERE recorded_on <= $1 ORDER BY 2, 3, 4, 5"
    before = await connection.fetch(rows, over)
    ends = await connection.fetch("SELECT * FROM day_end ORDER BY 2, 3")
    await trade.go_on(connection, 20)
    assert await connection.fetch(rows, over) == before
    assert set(ends) <= set(await connection.fetch("SELECT * FROM day_end"))


async def test_the_end_of_a_day_is_kept_for_good(connection: Connection) -> None:
    await Trade(3).go_on(connection, 20)
    await connection.execute("SET session_replication_role = DEFAULT")
    for change in ("UPDATE day_end SET debits = debits", "DELETE FROM day_end", "TRUNCATE day_end"):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await connection.execute(change)


async def test_what_a_moment_and_a_statement_cost_does_not_grow_with_the_book(connection: Connection) -> None:
    """Rows of the journal that are read: the page ranges of one day, however many days there are."""

    async def read(day: date) -> tuple[int, int]:
        await connection.execute("SELECT brin_summarize_new_values('transfer_lately')")
        await connection.execute("ANALYZE transfer")
        counts = []
        for asked in (
            ledger.store.balance_at(connection, BOOK, MERCHANT, datetime.combine(day, NOW.time(), BEIJING)),
            ledger.store.statement(connection, BOOK, MERCHANT, day, day),
        ):
            before = await rows()
            await asked
            counts.append(await rows() - before)
        return counts[0], counts[1]

    async def rows() -> int:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        found: int = await connection.fetchval(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'transfer'"
        )
        return found

    async def days(first: int, last: int) -> None:
        for n in range(first, last):
            captured = [Transfer(f"d{n}-{m}", "payment_captured", CHANNEL, MERCHANT, 7, "CNY") for m in range(400)]
            day = DAY + timedelta(days=n)
            await done(connection, [Post(BOOK, f"d{n}", captured, day)], NOW + timedelta(days=n))

    await days(0, 6)
    short = await read(DAY + timedelta(days=4))
    await days(6, 40)
    long = await read(DAY + timedelta(days=20))
    entries = await connection.fetchval("SELECT count(*) FROM transfer")
    for before, now in zip(short, long, strict=True):
        assert 400 <= now <= before + 800 < entries // 5
