"""What a date owes: read without the journal, and paid exactly, whenever and in whatever order dates are settled."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kernel.clock import BEIJING, business_date
from kernel.db import Connection
from kernel.errors import Rejected
from kernel.work import BOOKS, new_head, perform
from ledger import OpenAccounts, Post, Transfer
from splitting import CreatePayee, DecideInstruction, MakeSettlement, Payee, store
from splitting.tables import Settlement
from tests.conftest import TestServer
from tests.kernel.one_book import DAY, NOW, broken, superuser
from tests.splitting.town import BANK, FARM, Town, a_town

CHANNEL, MERCHANT = "channel:rail:CNY", "merchant:CNY"
BOOK = 1


class Shop:
    """A book whose payees are given shares, lose them, and are paid, on days of the test's choice."""

    def __init__(self, connection: Connection, payees: int) -> None:
        self.connection, self.now, self._number = connection, NOW, 0
        self.payees = [f"pye_{n:06x}{0:020x}" for n in range(payees)]  # told by their first 16 digits

    async def do(self, *commands: Any) -> list[Any]:
        self.now += timedelta(milliseconds=1)
        async with self.connection.transaction():
            return await perform(self.connection, commands, self.now)

    async def opened(self) -> "Shop":
        await BOOKS.insert(self.connection, [new_head(BOOK, NOW)])
        rows = [Payee(BOOK, one, one, "supplier", "CNY", BANK, "62" + one[-12:], NOW) for one in self.payees]
        await self.do(OpenAccounts(BOOK, [CHANNEL, MERCHANT]), *map(CreatePayee, rows))
        return self

    async def moves(self, payee: str, minor: int, day: date) -> None:
        """Give a payee a share of a business date, or take one back."""
        self._number += 1
        owed, ident = f"payee:{payee}:CNY", f"t{self._number}"
        if minor > 0:
            captured = Transfer(f"{ident}c", "payment_captured", CHANNEL, MERCHANT, minor, "CNY")
            group = [captured, Transfer(ident, "share", MERCHANT, owed, minor, "CNY")]
        else:
            group = [Transfer(ident, "share_taken_back", owed, MERCHANT, -minor, "CNY")]
        (result,) = await self.do(Post(BOOK, ident, group, day))
        assert isinstance(result, list), result

    async def read(self, day: date) -> list[store.Owed]:
        return await store.owed_until(self.connection, BOOK, BANK, "CNY", day)

    async def settle(self, day: date, read: list[store.Owed] | None = None) -> dict[str, int]:
        """Settle a date; return what each payee is paid."""
        owed = await self.read(day) if read is None else read
        made = await self.made(day, owed)
        if made is None:
            return {}
        lines = await store.instructions(self.connection, BOOK, made.id)
        return {line.payee_id: line.amount_minor for line in lines}

    async def made(self, day: date, owed: list[store.Owed]) -> Settlement | None:
        over = datetime.combine(day + timedelta(days=1), datetime.min.time(), BEIJING)
        (result,) = await self.do(MakeSettlement(BOOK, BANK, day, day + timedelta(days=1), "CNY", owed, over))
        if isinstance(result, Exception):
            raise result
        made: Settlement | None = result
        return made


@pytest.fixture
async def connection(pg_server: TestServer, database_url: str) -> AsyncIterator[Connection]:
    async with superuser(pg_server, database_url) as connection:
        yield connection


# ---- dates that were missed ------------------------------------------------------------------------------------------

ONE, TWO, THREE = (DAY + timedelta(days=n) for n in range(3))


@pytest.fixture
async def shop(connection: Connection) -> Shop:
    """A shop of two payees, A and B, on the day after three days of shares."""
    shop = await Shop(connection, 2).opened()
    a, b = shop.payees
    for minor, day in ((100, ONE), (30, TWO), (500, THREE)):
        shop.now = datetime.combine(day, NOW.time(), BEIJING)
        await shop.moves(a, minor, day)
    await shop.moves(b, 7, TWO)
    shop.now += timedelta(days=1)
    return shop


async def test_a_missed_date_is_made_up_without_a_later_ones_shares(shop: Shop) -> None:
    a, b = shop.payees
    assert await shop.settle(ONE) == {a: 100}
    assert await shop.settle(TWO) == {a: 30, b: 7}
    assert await shop.settle(THREE) == {a: 500}
    assert await broken(shop.connection) == {}


async def test_a_date_settled_after_a_later_one_pays_nothing_again(shop: Shop) -> None:
    a, b = shop.payees
    assert await shop.settle(TWO) == {a: 130, b: 7}
    assert await shop.settle(ONE) == {}, "what it owed is paid, and the third date's shares are not its own"
    assert await shop.settle(THREE) == {a: 500}


async def test_two_dates_read_at_once_are_paid_once_whichever_comes_first(shop: Shop) -> None:
    a, b = shop.payees
    first, second = await shop.read(ONE), await shop.read(TWO)
    assert await shop.settle(TWO, second) == {a: 130, b: 7}
    assert await shop.settle(ONE, first) == {}
    assert await shop.settle(THREE) == {a: 500}


async def test_two_dates_read_at_once_in_their_order_are_paid_once(shop: Shop) -> None:
    a, b = shop.payees
    first, second = await shop.read(ONE), await shop.read(TWO)
    assert await shop.settle(ONE, first) == {a: 100}
    assert await shop.settle(TWO, second) == {a: 30, b: 7}


async def test_what_a_later_date_took_back_is_not_paid_out_of_one_later_still(shop: Shop) -> None:
    a, _ = shop.payees
    await shop.moves(a, -60, TWO)  # 100, then 70, then 570
    assert await shop.settle(ONE) == {a: 70}
    assert a not in await shop.settle(TWO)
    assert await shop.settle(THREE) == {a: 500}


async def test_a_share_that_comes_late_for_a_settled_date_goes_with_the_next(shop: Shop) -> None:
    a, b = shop.payees
    await shop.settle(ONE)
    await shop.moves(b, 11, ONE)
    assert await shop.settle(ONE) == {a: 100}, "the batch is as it was"
    assert await shop.settle(TWO) == {a: 30, b: 18}


async def test_a_refused_line_is_owed_again_by_whatever_date_comes_next(shop: Shop) -> None:
    a, _ = shop.payees
    await shop.settle(TWO)
    lines = await store.instructions(shop.connection, BOOK, f"stl_1_{TWO:%Y%m%d}_citybank_CNY")
    (line,) = [line for line in lines if line.payee_id == a]
    await shop.do(DecideInstruction(BOOK, line.id, False, "AC04", THREE + timedelta(days=1)))
    assert await shop.settle(THREE) == {a: 630}


async def test_no_date_is_settled_before_it_is_over(shop: Shop) -> None:
    today = business_date(shop.now)
    for day in (today, today + timedelta(days=1), today + timedelta(days=400)):
        with pytest.raises(Rejected) as refusal:
            await shop.settle(day)
        assert refusal.value.code == "date_not_over"
    shop.now = datetime.combine(today + timedelta(days=1), datetime.min.time(), BEIJING)
    assert len(await shop.settle(today)) == 2, "nothing of it was used up"


async def test_a_date_of_nothing_has_no_batch_and_may_have_one_later(shop: Shop) -> None:
    a, _ = shop.payees
    await shop.settle(THREE)
    empty = business_date(shop.now)
    shop.now += timedelta(days=1)
    assert await shop.settle(empty) == {}
    assert await shop.connection.fetchval("SELECT count(*) FROM settlement") == 1
    await shop.moves(a, 9, empty)
    assert await shop.settle(empty) == {a: 9}


async def test_a_batch_of_nothing_that_an_older_version_kept_uses_no_date_up(shop: Shop) -> None:
    a, _ = shop.payees
    await shop.connection.execute(
        "INSERT INTO settlement SELECT 1, $1, 'citybank', $2, $2, 'CNY', 'finished', 0, 0, 0, 0, now(), now()",
        f"stl_1_{ONE:%Y%m%d}_citybank_CNY",
        ONE,
    )
    assert await shop.settle(ONE) == {a: 100}
    assert await broken(shop.connection) == {}


# ---- any order of days -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_comes_when_each_batch_pays_what_its_date_still_owes(connection: Connection, seed: int) -> None:
    """Against a plain reckoning: the least that was earned at the end of any date since, less all that was sent."""
    rng = random.Random(seed)
    shop = await Shop(connection, 3).opened()
    earned: dict[str, Counter[date]] = defaultdict(Counter)
    sent = Counter[str]()
    first, days = DAY, 12
    unsettled: list[date] = []
    for n in range(days):
        today = first + timedelta(days=n)
        shop.now = datetime.combine(today, NOW.time(), BEIJING)
        for _ in range(rng.randint(0, 8)):
            payee, day = rng.choice(shop.payees), today - timedelta(days=rng.choice([0, 0, 0, 1, 2]))
            minor = rng.choice([rng.randint(1, 900), -rng.randint(1, 300)])
            await shop.moves(payee, minor, day)
            earned[payee][day] += minor
        unsettled.append(today)
        due = [day for day in unsettled if day < today and rng.random() < 0.5]
        rng.shuffle(due)
        for day in due:
            unsettled.remove(day)
            expected = {}
            for payee in shop.payees:
                ends = [day, *(d for d in earned[payee] if d > day)]
                least = min(sum(m for d, m in earned[payee].items() if d <= end) for end in ends)
                if least > sent[payee]:
                    expected[payee] = least - sent[payee]
            assert await shop.settle(day) == expected
            sent.update(expected)
    shop.now += timedelta(days=2)
    for day in sorted(unsettled):
        sent.update(await shop.settle(day))
    for payee in shop.payees:
        total = sum(earned[payee].values())
        assert sent[payee] >= max(total, 0), "all of it was paid, and more only where it was taken back later"
        standing = await connection.fetchval(
            "SELECT credits - debits FROM account WHERE name = $1", f"payee:{payee}:CNY"
        )
        assert standing == total - sent[payee]
    assert await broken(connection) == {}


# ---- what it costs ---------------------------------------------------------------------------------------------------


async def test_what_is_owed_is_read_in_one_pass_that_does_not_grow_with_the_book(connection: Connection) -> None:
    """300 payees, and ten times the transfers: no row of the journal is read, and of the days' sums as many as before.

    It was payees × journal: 9.4 s at 40 thousand transfers, and no answer at all at 400 thousand.
    """
    shop = await Shop(connection, 300).opened()

    async def trade(first: int, last: int) -> date:
        for n in range(first, last):
            day = DAY + timedelta(days=n)
            transfers = [Transfer(f"c{n}", "payment_captured", CHANNEL, MERCHANT, 30_000, "CNY")]
            transfers += [
                Transfer(f"s{n}-{payee}", "share", MERCHANT, f"payee:{payee}:CNY", 100, "CNY") for payee in shop.payees
            ]
            shop.now = datetime.combine(day, NOW.time(), BEIJING)
            await shop.do(Post(BOOK, f"d{n}", transfers, day))
        await connection.execute("ANALYZE")
        return DAY + timedelta(days=last - 1)

    async def cost(day: date) -> Counter[str]:
        before = await rows()
        assert len(await shop.read(day)) == 300
        return await rows() - before

    async def rows() -> Counter[str]:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        found = await connection.fetch(
            "SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables"
        )
        return Counter({row[0]: row[1] for row in found})

    short = await cost(await trade(0, 4) - timedelta(days=1))
    long = await cost(await trade(4, 40) - timedelta(days=1))
    assert short["transfer"] == long["transfer"] == 0
    assert long["day_sum"] <= short["day_sum"] <= 1_200
    assert long["day_sum"] >= 300, "those of the last day"


# ---- with a hub ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def town(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with a_town(database_url, tmp_path) as town:
        yield town


async def test_ten_who_settle_two_dates_at_once_pay_each_share_once(town: Town) -> None:

    await town.sell()
    town.front.clock.forward(86_400)
    await town.sell()
    town.front.clock.forward(86_400)
    dates = [town.today, town.today + timedelta(days=1)]
    await asyncio.gather(*(town.asked(day) for day in dates * 5))
    lines = {day: await town.lines(day) for day in dates}
    assert sum(line.amount_minor for day in dates for line in lines[day].values()) == 2 * 9_940
    assert (await town.standing())["in_transit:citybank"] == 2 * 9_940
    assert sum(lines[day][FARM].amount_minor for day in dates if FARM in lines[day]) == 6_000
