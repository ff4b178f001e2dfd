"""Limits of withdrawals, pure: what may be asked for, what counts, and by what number a bank knows one."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Conflict, Rejected
from splitting.settlement.limits import LIMITS as OF_CLASS
from splitting.settlement.limits import AccountClass
from splitting.tables import WithdrawalUse
from splitting.withdrawals.rules import (
    Limits,
    asked_in_year,
    asked_on,
    check,
    class_room,
    counted,
    given_back,
    id_of,
    limits,
    reference,
    withdrawable,
)

DAY = date(2026, 11, 30)
AMOUNTS = st.integers(0, 500)
LIMITS = st.builds(Limits, st.integers(0, 50), st.none() | st.integers(50, 300), st.none() | st.integers(50, 600))


def allowed(
    of: Limits, use: WithdrawalUse | None, day: date, available: int, minor: int, room: int | None = None
) -> bool:
    try:
        check(of, use, day, available, minor, room)
    except (Rejected, Conflict):
        return False
    return True


@given(LIMITS, AMOUNTS, AMOUNTS, st.integers(1, 700), st.none() | AMOUNTS)
def test_what_is_shown_as_withdrawable_is_the_most_that_is_allowed(
    of: Limits, available: int, asked: int, minor: int, room: int | None
) -> None:
    use = WithdrawalUse(1, "p", DAY, asked, asked)
    most = withdrawable(of, use, DAY, available, room)
    assert allowed(of, use, DAY, available, minor, room) == (max(of.minimum_minor, 1) <= minor <= most)


@given(LIMITS, st.lists(st.tuples(st.integers(0, 3), st.integers(1, 200), st.booleans()), max_size=20))
def test_no_day_ever_has_more_than_its_limit_and_what_was_refused_does_not_count(
    of: Limits, asked: list[tuple[int, int, bool]]
) -> None:
    use: WithdrawalUse | None = None
    stands: dict[date, int] = {}
    day = DAY
    for later, minor, refused in asked:
        day += timedelta(days=later)
        if not allowed(of, use, day, 10_000, minor):
            continue
        use = counted(use, 1, "p", day, minor)
        stands[day] = stands.get(day, 0) + minor
        assert of.day_minor is None or stands[day] <= of.day_minor
        if refused:
            use = given_back(use, day, minor)
            stands[day] -= minor
        assert asked_on(use, day) == stands[day]


@given(
    st.sampled_from(AccountClass),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 1_200_000), st.booleans()), max_size=60),
)
def test_an_account_of_a_class_never_sends_more_than_that_a_day_and_a_year(
    of: AccountClass, asked: list[tuple[int, int, bool]]
) -> None:
    use: WithdrawalUse | None = None
    stands: list[tuple[date, int]] = []
    day = DAY
    for later, minor, refused in asked:
        day += timedelta(days=later)
        room = class_room(of, use, day, bound_at_bank=False)
        today = sum(sent for on, sent in stands if on == day)
        this_year = sum(sent for on, sent in stands if on.year == day.year)
        assert room == min(OF_CLASS[of].day_minor - today, OF_CLASS[of].year_minor - this_year)
        minor = min(minor, room)
        use = counted(use, 1, "p", day, minor)
        stands.append((day, minor))
        if refused:
            use = given_back(use, day, minor)
            stands.pop()
    assert class_room(of, use, day, bound_at_bank=True) is None
    assert class_room(None, use, day, bound_at_bank=False) is None


def test_a_refusal_of_an_earlier_day_gives_nothing_back_to_this_one() -> None:
    use = counted(counted(None, 1, "p", DAY, 100), 1, "p", DAY + timedelta(days=1), 70)
    assert given_back(use, DAY, 100) == use._replace(year_minor=70)
    assert given_back(use, DAY.replace(year=2025), 100) == use, "nor one of an earlier year to this one"
    assert asked_on(use, DAY) == 70, "a clock that goes back opens no second day"
    assert asked_in_year(use, DAY.replace(year=2025)) == 170


@pytest.mark.parametrize("wrong", [(-1, None, None), (0, -1, None), (5, 4, None), (5, None, 4), (10**16, None, None)])
def test_limits_under_which_nothing_can_be_withdrawn_are_refused(wrong: tuple[int, int | None, int | None]) -> None:
    with pytest.raises(Rejected, match="withdrawal_limit_wrong"):
        limits(*wrong)


def test_a_banks_number_names_one_withdrawal_of_one_book() -> None:
    ident = "wdr_" + "0a" * 13
    assert reference(37, ident) == "11-w-" + "0a" * 13
    assert id_of(37, reference(37, ident)) == ident
    assert len(reference(2**31 - 1, ident)) <= 35
    for other in (reference(1, ident), "11-w-" + "0a" * 12, f"x {reference(37, ident)}", "11-" + "0a" * 13, ""):
        assert id_of(37, other) is None
