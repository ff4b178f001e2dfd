"""What accounts have taken: counted from the books, for tiers, quotas and limits, alike in every process."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from channels.contract import Method
from gateway.accounts.ready import ChannelAccounts
from gateway.accounts.terms import Terms, Used
from gateway.routing.seam import RoutingRequest
from kernel.money import Money
from tests.gateway.front import SILENCE, Front, a_front, another_process

COUNTED = Terms.of({"fees": {"basis_points": 60, "tiers": [{"from_volume_minor": 25_000, "basis_points": 20}]}})


@pytest_asyncio.fixture
async def front(database_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    async with a_front(database_url, tmp_path) as found:
        await found.hub.channel_admin.change(found.book, "rail", terms=COUNTED)
        yield found


async def used(front: Front, accounts: ChannelAccounts | None = None, currency: str = "CNY") -> Used:
    accounts = accounts or front.hub.accounts
    front.clock.forward(1.1)
    await accounts.of_book(front.book)
    return accounts.used(front.book, "rail", currency, front.clock.now())


async def test_captures_are_counted_by_day_and_month_and_nothing_else_is(front: Front) -> None:
    assert await used(front) == Used(0, 0, 0)
    for number in range(3):
        await front.paid(f"o-{number}", 10_000)
    await front.pay("small", 7_000, method={"type": "qr"})
    front.rail.says(pay=SILENCE)
    await front.pay("silent", 500)
    assert await used(front) == Used(37_000, 4, 37_000)
    assert await used(front, currency="GBP") == Used(0, 0, 0)


async def test_a_day_and_a_month_end_in_beijing(front: Front) -> None:
    await front.paid("today", 10_000)
    front.clock.forward((datetime(2100, 6, 1, 16, tzinfo=UTC) - front.clock.now()).total_seconds())
    assert await used(front) == Used(0, 0, 10_000)
    await front.paid("tomorrow", 400)
    assert await used(front) == Used(400, 1, 10_400)
    front.clock.forward((datetime(2100, 6, 30, 16, tzinfo=UTC) - front.clock.now()).total_seconds())
    assert await used(front) == Used(0, 0, 0)
    await front.paid("next-month", 5)
    assert await used(front) == Used(5, 1, 5)


async def test_a_process_that_starts_late_counts_what_was_before_it(
    front: Front, database_url: str, tmp_path: Path
) -> None:
    for number in range(5):
        await front.paid(f"o-{number}", 1_000 + number)
    async with another_process(front, database_url, tmp_path) as other:
        assert await used(other) == Used(5_010, 5, 5_010)
        await front.paid("here", 90)
        await other.paid("there", 900, key="there")
        assert await used(other) == await used(front) == Used(6_000, 7, 6_000)


async def test_only_the_month_is_read_however_long_the_book(front: Front) -> None:
    for number in range(4):
        await front.paid(f"may-{number}", 100)
    front.clock.forward((datetime(2100, 8, 2, tzinfo=UTC) - front.clock.now()).total_seconds())
    await front.paid("august", 30)
    fresh = ChannelAccounts(front.hub.channels, front.hub.keys, front.hub.pool, front.hub.env)
    assert await used(front, fresh) == Used(30, 1, 30)


async def test_questions_asked_at_once_count_nothing_twice(front: Front) -> None:
    for number in range(3):
        await front.paid(f"o-{number}", 100)
    fresh = ChannelAccounts(front.hub.channels, front.hub.keys, front.hub.pool, front.hub.env)
    await asyncio.gather(*(fresh.of_book(front.book) for _ in range(5)))
    assert fresh.used(front.book, "rail", "CNY", front.clock.now()) == Used(300, 3, 300)
    await front.paid("one-more", 100)
    front.clock.forward(1.1)
    await asyncio.gather(*(fresh.of_book(front.book) for _ in range(5)))
    assert fresh.used(front.book, "rail", "CNY", front.clock.now()) == Used(400, 4, 400)


async def test_a_payment_and_its_refund_are_one_capture(front: Front) -> None:
    await front.refund(await front.paid("o", 10_000), 4_000)
    assert await used(front) == Used(10_000, 1, 10_000)


async def test_the_rate_falls_once_the_volume_is_reached(front: Front) -> None:
    async def fee(minor: int) -> int:
        ask = RoutingRequest(front.book, "auto", Method.QR, Money(minor, "CNY"), None, None, None, front.clock.now())
        return (await front.hub.router.choose(ask))[0].fee_minor

    assert await fee(10_000) == 60
    for number in range(3):
        await front.paid(f"o-{number}", 10_000)
    front.clock.forward(1.1)
    assert await fee(10_000) == 20


@pytest.mark.parametrize("limits", [{"day_minor": 25_000}, {"month_minor": 25_000}, {"day_count": 2}])
async def test_an_account_whose_limit_is_reached_takes_no_more_until_it_is_over(
    front: Front, limits: dict[str, int]
) -> None:
    await front.hub.channel_admin.change(front.book, "rail", terms=Terms.of({"limits": limits}))
    for number in range(2):
        await front.paid(f"o-{number}", 10_000)
    front.clock.forward(1.1)
    assert (await front.pay("over", 10_000)).code == "no_channel"
    front.clock.forward(35 * 86_400)
    await front.paid("next-month", 10_000)


async def test_who_asks_for_no_count_pays_for_none(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        await front.paid("o", 10_000)
        assert await used(front) == Used(0, 0, 0)
