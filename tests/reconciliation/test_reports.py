"""Reports: shares sum, averages are of all days, and what is asked of the books is what they have."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.banks import region
from kernel.errors import Rejected
from ledger import OpenAccounts, Post, Transfer, accounts
from reconciliation.reports import Range, Reports, brought, concentration, floating, local
from reconciliation.reports.reading import By
from splitting import BankLink, LinkBank
from tests.splitting.town import BANK, Town, a_town

sums = st.dictionaries(st.text("abcde", min_size=1, max_size=3), st.integers(-1_000, 10**12), max_size=8)


@given(sums)
def test_parts_sum_to_the_whole_and_the_index_says_how_few_have_it(minor: dict[str, int]) -> None:
    found = concentration(minor)
    has = [max(0, one) for one in minor.values()]
    assert found.total_minor == sum(has)
    assert sum(one.basis_points for one in found.parts) == (10_000 if sum(has) else 0)
    assert [one.minor for one in found.parts] == sorted(has, reverse=True)
    some = [one for one in has if one]
    assert found.hhi <= 10_000
    if len(some) == 1:
        assert found.hhi == 10_000
    elif some:
        assert 10_000 // len(some) <= found.hhi < 10_000 or max(some) * 10_000 > sum(some) * 9_999


def test_what_lay_at_a_bank_is_the_average_of_all_days() -> None:
    found = floating([0, 0, 1_000_000], 5, 2)
    assert found == (333_333, 1_000_000, 5, 2, 18)  # 0.05 on 3,333.33 for three days is 0.18 % a year
    assert brought([1_000_000] * 365, 35) == 3_500
    assert floating([], 0, 0) == (0, 0, 0, 0, None)


def test_what_stays_in_a_region_is_what_its_banks_have() -> None:
    regions = {"here": "370705", "far": "440100", "new": None}
    assert local({"here": 5, "far": 7, "new": 1, "gone": 2}, regions, "3707") == (5, 7, 3)


@pytest.mark.parametrize("told", ["3707", 370_700, "070700", "37070O"])
def test_a_region_is_six_digits(told: object) -> None:
    with pytest.raises(ValueError, match="six digits"):
        region({"region": told})


@pytest.fixture
async def town(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A town two days on: three sales and a refund on one rail, one on another; deposits, interest and a charge."""
    async with a_town(database_url, tmp_path) as town:
        front, book = town.front, town.front.book
        await town.put(LinkBank(BankLink(book, BANK, "6200-pool", '{"region":"370705"}', "{}")))
        for _ in range(3):
            payment = await town.sell()
        await front.refund(payment, 4_000)
        bank, channel = accounts.bank(BANK, "CNY"), accounts.channel("rail", "CNY")
        front.clock.forward(86_400)
        mirrors = [bank, accounts.interest(BANK, "CNY"), accounts.bank_charge(BANK, "CNY")]
        await town.put(OpenAccounts(book, mirrors))
        for rule, debit, credit, minor in (
            ("channel_deposit", bank, channel, 25_000),
            ("bank_interest", bank, accounts.interest(BANK, "CNY"), 70),
            ("bank_charge", accounts.bank_charge(BANK, "CNY"), bank, 30),
        ):
            posted = Transfer(rule, rule, debit, credit, minor, "CNY")
            await town.put(Post(book, rule, [posted], town.today + timedelta(days=1)))
        front.clock.forward(2 * 86_400)
        yield town


async def test_a_report_says_what_the_books_have(town: Town) -> None:
    reports, now, first = Reports(town.front.hub.pool), town.front.clock.now(), town.today
    days = Range(first, first + timedelta(days=2), "CNY")
    (part,) = (await reports.concentration(days, By.CHANNEL, now)).parts
    assert (part.minor, part.basis_points) == (26_000, 10_000)
    assert [one.name for one in (await reports.concentration(days, By.ACCOUNT, now)).parts] == [
        f"{town.front.book}/rail"
    ]
    (lay,) = await reports.float_at_banks(days, 100, now)
    at_end = 25_000 + 70 - 30
    assert (lay.bank, lay.region, lay.figures.most_minor) == (BANK, "370705", at_end)
    assert lay.figures.average_minor == round(2 * at_end / 3)
    assert (lay.figures.interest_minor, lay.figures.charges_minor) == (70, 30)
    assert lay.brought_minor == brought([0, at_end, at_end], 100)
    assert await reports.deposited(days, now) == {BANK: 25_000}
    assert await reports.float_at_banks(days._replace(book=town.front.book + 1), None, now) == []
    assert (await reports.concentration(days._replace(currency="USD"), By.CHANNEL, now)).total_minor == 0


async def test_only_days_that_are_over_are_reported_on(town: Town) -> None:
    reports, now, first = Reports(town.front.hub.pool), town.front.clock.now(), town.today
    for last, code in ((first + timedelta(days=3), "period_not_over"), (first - timedelta(days=1), "period_backwards")):
        with pytest.raises(Rejected) as refused:
            await reports.deposited(Range(first, last, "CNY"), now)
        assert refused.value.code == code
