"""What a batch leaves: a reserve, and what an account of class II or III may not take. It is owed, and paid later."""

from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Rejected
from ops.verify import verify
from splitting.payees import SetAccountClass
from splitting.settlement import limits
from splitting.settlement.limits import LIMITS, AccountClass, Reserve
from splitting.tables import AccountUse
from tests.splitting.desk import AHEAD, Desk, a_desk
from tests.splitting.town import FARM, MILL

EVE = date(2026, 12, 28)  # the days below go on into the next year


# ---- the arithmetic --------------------------------------------------------------------------------------------------


@given(
    of=st.sampled_from(AccountClass),
    steps=st.lists(
        st.tuples(st.sampled_from(["send", "arrive", "refuse", "return", "spend", "sleep"]), st.integers(1, 1_200_000)),
        max_size=60,
    ),
)
def test_no_account_is_sent_more_than_it_may_take_and_what_does_not_stay_is_not_counted(
    of: AccountClass, steps: list[tuple[str, int]]
) -> None:
    use: AccountUse | None = None
    day, has = EVE, 0
    under_way: list[tuple[date, int]] = []
    stayed: dict[date, int] = defaultdict(int)  # what was sent for a day and was not given back
    paid: list[tuple[date, int]] = []
    for what, number in steps:
        if what == "sleep":
            day += timedelta(days=1 + number % 3)
        elif what == "spend":
            has -= min(has, number)
        elif what == "send":
            room = limits.room(of, use, day, has)
            rules, year = LIMITS[of], sum(minor for on, minor in stayed.items() if on.year == day.year)
            on_its_way = sum(minor for _, minor in under_way)
            by_hand = [rules.day_minor - stayed[day], rules.year_minor - year]
            if rules.balance_minor is not None:
                by_hand.append(rules.balance_minor - has - on_its_way)
            assert room == max(0, min(by_hand))
            if minor := min(number, room):
                use = limits.sent(use, 1, "pye", day, minor)
                under_way.append((day, minor))
                stayed[day] += minor
        elif what == "return":
            if paid and use is not None:
                on, minor = paid.pop(number % len(paid))
                minor_back = min(minor, has)
                if minor_back == minor:
                    use, has = limits.came_back(use, on, minor, on_its_way=False), has - minor
                    stayed[on] -= minor
        elif under_way and use is not None:
            on, minor = under_way.pop(number % len(under_way))
            if what == "arrive":
                use, has = limits.arrived(use, minor), has + minor
                paid.append((on, minor))
            else:
                use = limits.came_back(use, on, minor, on_its_way=True)
                stayed[on] -= minor


def test_a_day_before_the_last_counts_as_the_last() -> None:
    use = limits.sent(None, 1, "pye", EVE, 900_000)
    assert limits.room(AccountClass.II, use, EVE - timedelta(days=1), 0) == 100_000


@given(earned=st.lists(st.integers(-10_000, 10_000)), fixed=st.integers(0, 10_000), bp=st.integers(0, 10_000))
def test_a_reserve_is_never_less_than_its_part_of_each_date_and_a_date_that_lost_adds_nothing(
    earned: list[int], fixed: int, bp: int
) -> None:
    kept = limits.kept(Reserve(fixed, bp, len(earned)), earned)
    assert kept * 10_000 >= fixed * 10_000 + sum(minor * bp for minor in earned if minor > 0)
    assert kept <= fixed + sum(minor * bp // 10_000 + 1 for minor in earned if minor > 0)


@pytest.mark.parametrize("wrong", [(-1, 0, 0), (0, 10_001, 7), (0, 500, 0), (0, 0, 7), (0, 500, 367)])
def test_a_reserve_that_means_nothing_is_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(Rejected) as refused:
        limits.reserve(*wrong)
    assert refused.value.code == "reserve_wrong"


# ---- a real database -------------------------------------------------------------------------------------------------


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(database_url, tmp_path) as desk:
        yield desk


async def test_a_rolling_reserve_is_kept_for_its_days_also_of_dates_that_are_made_up_late(desk: Desk) -> None:
    desk.at("11-23")
    await desk.pay(None, "T+1")
    await desk.keep(None, rolling_bp=1_000, rolling_days=2)
    await desk.keep(MILL)
    for day in ("11-23", "11-24", "11-25"):
        desk.at(day)
        await desk.town.sell()
    desk.at("11-26", "03:00")
    assert await desk.run() == {
        "11-23": {"farm": 2_700, "mill": 6_890, "platform": 50},
        "11-24": {"farm": 2_700, "mill": 6_890, "platform": 50},
        "11-25": {"farm": 3_000, "mill": 6_890, "platform": 50},  # the first date's 300 are kept no more
    }
    desk.at("11-27", "03:00")
    assert await desk.run() == {"11-26": {"farm": 300}}
    desk.at("11-30", "03:00")  # a Monday
    assert await desk.run() == {"11-29": {"farm": 300}}
    assert (await desk.town.standing()).get("payee:farm") is None


async def test_a_fixed_reserve_is_always_kept_and_a_refund_comes_out_of_it(desk: Desk) -> None:
    desk.at("11-23")
    await desk.pay(None, "T+1")
    await desk.keep(FARM, fixed_minor=1_000)
    payment = await desk.town.sell()
    desk.at("11-24")
    assert (await desk.run())["11-23"]["farm"] == 2_000
    assert (await desk.town.front.refund(payment, 2_000)).status == 201
    assert (await desk.town.standing())["payee:farm"] == 400, "nothing is owed: there was a reserve"
    await desk.town.sell()
    desk.at("11-25")
    assert (await desk.run())["11-24"]["farm"] == 2_400
    await desk.keep(FARM)
    desk.at("11-26")
    assert await desk.run() == {"11-25": {"farm": 1_000}}


async def test_an_account_of_class_iii_is_sent_what_it_may_have_and_the_rest_stays_owed(desk: Desk) -> None:
    town = desk.town
    desk.at("11-23")
    await desk.pay(None, "T+1")
    await town.put(SetAccountClass(town.front.book, FARM, "III"))
    await town.sell(1_000_000)  # the farm's 30 % are 3,000.00, and it may have 2,000.00
    desk.at("11-24")
    assert (await desk.run())["11-23"]["farm"] == 200_000
    assert (await town.decide(date(2026, 11, 23) + AHEAD, FARM, paid=False)).status == "refused"
    desk.at("11-25")
    assert (await desk.run())["11-24"] == {"farm": 200_000}, "what was refused takes up no room"
    assert (await town.decide(date(2026, 11, 24) + AHEAD, FARM, paid=True)).status == "paid"
    desk.at("11-26")
    assert await desk.run() == {}, "its account is full"
    await town.put(SetAccountClass(town.front.book, FARM, None))
    desk.at("11-27")
    assert await desk.run() == {"11-26": {"farm": 100_000}}
    assert [one for one in await verify(town.front.hub.pool) if one.broken] == []


async def test_two_dates_that_are_paid_on_one_day_share_what_the_account_may_take_that_day(desk: Desk) -> None:
    town = desk.town
    desk.at("11-23")
    await desk.pay(None, "T+1")
    await town.put(SetAccountClass(town.front.book, FARM, "II"))
    for day in ("11-23", "11-24"):
        desk.at(day)
        await town.sell(2_000_000)
    desk.at("11-25", "03:00")
    found = await desk.run()
    assert [one.get("farm") for one in found.values()] == [600_000, 400_000]
    desk.at("11-26", "03:00")
    assert await desk.run() == {"11-25": {"farm": 200_000}}


async def test_only_an_account_at_a_bank_in_yuan_has_a_class(desk: Desk) -> None:
    hub, book = desk.town.front.hub, desk.town.front.book
    with pytest.raises(Rejected) as refused:
        await hub.payees.register(
            book, reference="x", name="x", kind="supplier", currency="CNY", bank=None, account_class="II"
        )
    assert refused.value.code == "account_class_wrong"
