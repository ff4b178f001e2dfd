"""Terms of a channel account: what is kept, what is taken, when it is open; and what is refused as no terms at all."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.contract import Capabilities, Method, RefundFee
from gateway.accounts.terms import FeeSchedule, Terms, TermsWrong, Tier, Used, flat, month_of
from kernel.clock import BEIJING
from kernel.money import Money, share_bp

NOON = datetime(2026, 11, 24, 4, tzinfo=UTC)  # a Tuesday, 12:00 in Beijing
TEN_YUAN = Money(1_000, "CNY")


def beijing(day: int, hour: int, minute: int = 0) -> datetime:
    """Return a moment of November 2026; the 23rd is a Monday."""
    return datetime(2026, 11, day, hour, minute, tzinfo=BEIJING)


def fee(amount: int, volume: int = 0, **fees: Any) -> int:
    return Terms.of({"fees": fees}).fees.fee_minor(amount, volume)


# ---- fees ------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 10**12), st.integers(0, 10_000))
def test_a_flat_rate_rounds_as_all_shares_do(amount: int, rate: int) -> None:
    assert flat(rate).fees.fee_minor(amount) == share_bp(amount, rate)


schedules = st.builds(
    FeeSchedule,
    basis_points=st.integers(0, 10_000),
    fixed_minor=st.integers(0, 500),
    minimum_minor=st.integers(0, 50),
    cap_minor=st.none() | st.integers(50, 10**6),
    tiers=st.lists(st.builds(Tier, st.integers(1, 10**6), st.integers(0, 10_000)), max_size=4, unique_by=lambda t: t[0])
    .map(sorted)
    .map(tuple),
    free_quota_minor=st.integers(0, 10**6),
    refund_fee=st.none() | st.sampled_from(RefundFee),
)


@given(schedules, st.integers(1, 10**9), st.integers(0, 10**7))
def test_no_fee_is_negative_or_above_its_payment(fees: FeeSchedule, amount: int, volume: int) -> None:
    assert 0 <= fees.fee_minor(amount, volume) <= amount


@given(schedules)
def test_terms_are_read_as_they_were_written(fees: FeeSchedule) -> None:
    terms = Terms(fees=fees)
    assert Terms.parse(terms.to_json()) == terms


@pytest.mark.parametrize(
    ("agreed", "usual", "kept"),
    [(None, "kept", True), (None, "returned", False), ("returned", "kept", False), ("kept", "returned", True)],
)
def test_a_fee_stays_on_a_refund_as_agreed_and_else_as_is_usual(agreed: str | None, usual: str, kept: bool) -> None:
    rail = Capabilities(frozenset(), frozenset(), refund_fee=RefundFee(usual))
    assert Terms.of({"fees": {"refund_fee": agreed}}).fees.keeps_on_refund(rail) is kept


def test_a_fixed_part_a_minimum_and_a_cap() -> None:
    assert fee(10_000, basis_points=290, fixed_minor=30) == 320
    assert fee(100, basis_points=60, minimum_minor=5) == 5
    assert fee(3, basis_points=60, minimum_minor=5) == 3  # never more than was paid
    assert fee(10_000_000, basis_points=60, cap_minor=8_000) == 8_000


def test_a_tier_holds_from_the_volume_it_names() -> None:
    tiers = [{"from_volume_minor": 1_000, "basis_points": 50}, {"from_volume_minor": 9_000, "basis_points": 30}]
    assert [fee(10_000, v, basis_points=60, tiers=tiers) for v in (0, 999, 1_000, 8_999, 9_000, 10**9)] == [
        60,
        60,
        50,
        50,
        30,
        30,
    ]


def test_a_free_quota_is_used_up_payment_by_payment() -> None:
    terms = {"basis_points": 100, "fixed_minor": 7, "free_quota_minor": 10_000}
    assert fee(10_000, 0, **terms) == 0
    assert fee(10_000, 4_000, **terms) == 47  # 4000 beyond the quota at 1 %, and the fixed part
    assert fee(10_000, 10_000, **terms) == 107


# ---- limits, methods, regions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "used", "code"),
    [
        ({"methods": ["barcode"]}, Used(), "method_not_agreed"),
        ({"currencies": ["JPY"]}, Used(), "currency_not_agreed"),
        ({"limits": {"minimum_minor": 1_001}}, Used(), "below_minimum"),
        ({"limits": {"maximum_minor": 999}}, Used(), "above_maximum"),
        ({"limits": {"day_minor": 5_000}}, Used(day_minor=4_001), "day_limit"),
        ({"limits": {"month_minor": 5_000}}, Used(month_minor=4_001), "month_limit"),
        ({"limits": {"day_count": 3}}, Used(day_count=3), "day_count"),
        ({"regions": ["US", "GB"]}, Used(), "region"),
        ({"windows": ["sat 10:00-12:00"]}, Used(), "closed"),
        (
            {
                "maintenance": [
                    {"from": "2026-11-24T11:00:00+08:00", "until": "2026-11-24T04:01:00Z", "note": "new tills"}
                ]
            },
            Used(),
            "maintenance",
        ),
    ],
)
def test_every_bound_refuses_under_its_own_code(terms: dict[str, Any], used: Used, code: str) -> None:
    found = Terms.of(terms).why_not(TEN_YUAN, Method.QR, NOON, used, region="CN")
    assert found is not None
    assert found.code == code
    assert str(found).startswith(f"{code}: ")


@pytest.mark.parametrize(
    ("terms", "used"),
    [
        ({}, Used(10**12, 10**6, 10**13)),
        ({"methods": ["qr"], "currencies": ["CNY"], "regions": ["CN"]}, Used()),
        ({"limits": {"minimum_minor": 1_000, "maximum_minor": 1_000}}, Used()),
        ({"limits": {"day_minor": 5_000, "month_minor": 5_000, "day_count": 3}}, Used(4_000, 2, 4_000)),
        ({"windows": ["tue 12:00-12:01"]}, Used()),
        ({"maintenance": [{"from": "2026-11-24T11:00:00+08:00", "until": "2026-11-24T12:00:00+08:00"}]}, Used()),
    ],
)
def test_at_its_bounds_a_payment_is_taken(terms: dict[str, Any], used: Used) -> None:
    assert Terms.of(terms).why_not(TEN_YUAN, Method.QR, NOON, used, region="CN") is None


def test_a_payer_whose_region_is_not_known_is_not_refused_for_it() -> None:
    assert Terms.of({"regions": ["US"]}).why_not(TEN_YUAN, Method.QR, NOON) is None


def test_a_refusal_for_people_tells_the_limit_and_what_is_left() -> None:
    found = Terms.of({"limits": {"day_minor": 5_000}}).why_not(TEN_YUAN, Method.QR, NOON, Used(day_minor=4_500))
    assert found is not None
    assert found.words == "45.00 CNY of 50.00 CNY a day are taken"


# ---- opening hours ---------------------------------------------------------------------------------------------------


def is_open(terms: Terms, now: datetime) -> bool:
    return terms.why_not(Money(1, "CNY"), Method.QR, now) is None


def test_opening_hours_are_beijings_and_end_before_their_last_minute() -> None:
    terms = Terms.of({"windows": ["mon-fri 08:00-22:00"]})
    assert not is_open(terms, beijing(24, 7, 59))
    assert is_open(terms, beijing(24, 8))
    assert is_open(terms, beijing(24, 21, 59) + timedelta(seconds=59))
    assert not is_open(terms, beijing(24, 22))
    assert not is_open(terms, beijing(28, 12))  # Saturday
    assert is_open(terms, beijing(27, 21).astimezone(UTC))


def test_hours_over_midnight_belong_to_the_day_they_begin_on() -> None:
    terms = Terms.of({"windows": ["fri 22:00-02:00", "sun 23:00-24:00"]})
    opened = [beijing(27, 21), beijing(27, 23), beijing(28, 1, 59), beijing(28, 2), beijing(28, 22), beijing(27, 1)]
    assert [is_open(terms, moment) for moment in opened] == [False, True, True, False, False, False]
    assert is_open(terms, beijing(29, 23, 59))
    assert not is_open(terms, beijing(23, 0))


def test_weekdays_may_be_listed_and_run_over_the_week_s_end() -> None:
    open_on = [is_open(Terms.of({"windows": ["sat-mon,wed 09:00-10:00"]}), beijing(day, 9)) for day in range(23, 30)]
    assert open_on == [True, False, True, False, False, True, True]


def test_months_turn_in_beijing() -> None:
    assert str(month_of(datetime(2026, 11, 30, 16, tzinfo=UTC))) == "2026-12-01"
    assert str(month_of(datetime(2026, 11, 30, 15, 59, tzinfo=UTC))) == "2026-11-01"


# ---- what is no terms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("[]", ""),
        ('{"fees": {}, "fees": {}}', ""),
        ('{"fee": {}}', "fee"),
        ('{"fees": {"basis_points": "60"}}', "fees.basis_points"),
        ('{"fees": {"basis_points": 60.0}}', "fees.basis_points"),
        ('{"fees": {"basis_points": true}}', "fees.basis_points"),
        ('{"fees": {"basis_points": 10001}}', "fees.basis_points"),
        ('{"fees": {"cap_minor": 1, "minimum_minor": 2}}', "fees.cap_minor"),
        ('{"fees": {"tiers": [{"basis_points": 1}]}}', "fees.tiers.0.from_volume_minor"),
        ('{"fees": {"tiers": [{"from_volume_minor": 1, "basis_points": 1, "rate": 2}]}}', "fees.tiers.0.rate"),
        (
            '{"fees": {"tiers": [{"from_volume_minor": 2, "basis_points": 1}, '
            '{"from_volume_minor": 2, "basis_points": 2}]}}',
            "fees.tiers.1.from_volume_minor",
        ),
        ('{"limits": {"maximum_minor": 0}}', "limits.maximum_minor"),
        ('{"limits": {"minimum_minor": 5, "maximum_minor": 4}}', "limits.maximum_minor"),
        ('{"methods": "qr"}', "methods"),
        ('{"methods": ["qr", "cheque"]}', "methods.1"),
        ('{"methods": ["qr", "qr"]}', "methods.1"),
        ('{"currencies": ["cny"]}', "currencies.0"),
        ('{"regions": ["CHN"]}', "regions.0"),
        ('{"fees": {"refund_fee": "half"}}', "fees.refund_fee"),
        ('{"fees": {"refund_fee": true}}', "fees.refund_fee"),
        ('{"windows": ["mon-fri 8:00-22:00"]}', "windows.0"),
        ('{"windows": ["mon-fri 08:00-25:00"]}', "windows.0"),
        ('{"windows": ["mon-fri 08:00-08:00"]}', "windows.0"),
        ('{"windows": ["mo 08:00-09:00"]}', "windows.0"),
        ('{"windows": ["mon- 08:00-09:00"]}', "windows.0"),
        ('{"maintenance": [{"from": "2026-11-24T08:00:00", "until": "2026-11-25T08:00:00Z"}]}', "maintenance.0.from"),
        ('{"maintenance": [{"from": "2026-11-24T08:00:00Z", "until": "2026-11-24T08:00:00Z"}]}', "maintenance.0.until"),
    ],
)
def test_what_is_not_exactly_terms_is_refused_by_the_name_of_its_field(text: str, param: str) -> None:
    with pytest.raises(TermsWrong) as refused:
        Terms.parse(text)
    assert refused.value.param == param


def test_no_terms_are_terms_that_leave_everything_open() -> None:
    assert Terms.parse("{}") == Terms()
    assert Terms().to_json() == "{}"
    assert Terms.parse('{"fees": null, "limits": {}, "windows": []}') == Terms()


def test_terms_may_name_only_what_the_rail_has() -> None:
    rail = Capabilities(methods=frozenset({Method.QR}), currencies=frozenset({"CNY"}))
    Terms.of({"methods": ["qr"], "currencies": ["CNY"]}).check_rail(rail)
    with pytest.raises(TermsWrong, match="the rail has no card; it has qr"):
        Terms.of({"methods": ["qr", "card"]}).check_rail(rail)
