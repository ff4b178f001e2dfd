"""Money is whole minor units: nothing is lost, invented or guessed."""

from decimal import Decimal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from kernel.money import (
    MAX_MINOR,
    CurrencyDiffers,
    Money,
    allocate,
    from_major,
    is_currency,
    minor_digits,
    proportion,
    share_bp,
)

DIGITS = {"CNY": 2, "USD": 2, "JPY": 0, "KRW": 0, "KWD": 3, "BHD": 3, "CLF": 4}
currencies = st.sampled_from(sorted(DIGITS))


# -- sharing out -------------------------------------------------------------------------------------------------------


@given(st.integers(0, MAX_MINOR), st.lists(st.integers(0, 10**9), min_size=1, max_size=30))
@example(100, [1, 1, 1])
@example(1, [0, 0, 7])
@example(MAX_MINOR, [1] * 7)
def test_shares_sum_to_the_total_and_each_is_within_a_unit_of_its_part(total: int, weights: list[int]) -> None:
    assume(sum(weights) > 0)
    parts = allocate(total, weights)
    assert sum(parts) == total
    assert len(parts) == len(weights)
    for part, weight in zip(parts, weights, strict=True):
        low = total * weight // sum(weights)
        assert part in (low, low + 1)
        assert weight or not part


@given(st.integers(0, 10**6), st.lists(st.integers(0, 100), min_size=1, max_size=12))
def test_odd_units_go_to_the_largest_remainders_and_the_earlier_of_equals(total: int, weights: list[int]) -> None:
    assume(sum(weights) > 0)
    whole = sum(weights)
    parts = allocate(total, weights)
    odd = [part - total * weight // whole for part, weight in zip(parts, weights, strict=True)]
    rests = [total * weight % whole for weight in weights]
    for i in range(len(weights)):
        for j in range(len(weights)):
            if rests[i] > rests[j] or (rests[i] == rests[j] and i < j):
                assert odd[i] >= odd[j]


def test_nothing_cannot_be_split_by_nothing() -> None:
    assert allocate(0, [0, 0]) == [0, 0]
    assert allocate(0, []) == []
    for weights in ([0, 0], []):
        with pytest.raises(ValueError, match="every weight is zero"):
            allocate(1, weights)


@given(st.integers(0, MAX_MINOR), st.integers(0, 10_000))
def test_a_share_in_basis_points_is_rounded_half_up(minor: int, basis_points: int) -> None:
    assert share_bp(minor, basis_points) == (2 * minor * basis_points + 10_000) // 20_000
    assert share_bp(minor, 10_000) == minor
    assert share_bp(minor, 0) == 0


@given(st.integers(0, MAX_MINOR), st.integers(0, MAX_MINOR), st.integers(1, MAX_MINOR))
@example(1, 1, 2)
def test_a_proportion_is_rounded_half_up(minor: int, part: int, whole: int) -> None:
    twice = 2 * (proportion(minor, part, whole) * whole - minor * part)  # how far off, in halves of a unit
    assert -whole < twice <= whole
    assert proportion(1, 1, 2) == 1


# -- text --------------------------------------------------------------------------------------------------------------


@given(st.integers(-(10**15) + 1, 10**15 - 1), currencies)
@example(0, "CNY")
@example(-5, "KWD")
@example(7, "CLF")
def test_an_amount_written_is_the_amount_read(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert from_major(money.major(), currency) == money
    assert Decimal(money.major()) * 10 ** DIGITS[currency] == minor
    assert str(money) == f"{money.major()} {currency}"


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.34", "CNY", 1234),
        ("12.3", "CNY", 1230),
        ("12", "CNY", 1200),
        ("0.01", "CNY", 1),
        ("-0.01", "CNY", -1),
        ("007", "CNY", 700),
        ("12", "JPY", 12),
        ("1.234", "KWD", 1234),
        ("1.2", "KWD", 1200),
    ],
)
def test_plain_decimal_text_is_read_exactly(text: str, currency: str, minor: int) -> None:
    assert from_major(text, currency) == Money(minor, currency)


REFUSED = {
    "CNY": [
        "", ".", "-", "-.5", ".5", "5.", "1.2.3", "１２", "1２.34", "12.3４", "٣", "²", "12.²", "1_000", "1.0_0",
        "1,000", "1 000", " 1", "1 ", "1\n", "1\0", "1e2", "1E2", "1e-2", "0x10", "+1", "--1", "1-", "NaN", "Infinity",
        "inf", "¥1", "1.234", "1.000", "1.00 ", "1" * 16,
    ],
    "JPY": ["1.0", "1.", "1.5", "1" * 16],
    "KWD": ["1.2345", "1.0000"],
}  # fmt: skip


@pytest.mark.parametrize(("currency", "text"), [(currency, text) for currency in REFUSED for text in REFUSED[currency]])
def test_any_other_text_is_refused(currency: str, text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        from_major(text, currency)


@pytest.mark.parametrize("text", ["9" * 10_000_000, "1." + "0" * 10_000_000, "-" * 10_000_000, "1e" + "9" * 10_000_000])
def test_huge_text_is_refused_without_being_computed_or_repeated(text: str) -> None:
    """Ten million digits as a number would take minutes; the refusal quotes forty characters of it."""
    with pytest.raises(ValueError, match="is not an amount") as refusal:
        from_major(text, "CNY")
    assert len(str(refusal.value)) < 200


@given(st.text(max_size=20), currencies)
def test_whatever_is_read_is_plain_text_for_just_that_amount(text: str, currency: str) -> None:
    try:
        money = from_major(text, currency)
    except ValueError:
        return
    assert set(text) <= set("-.0123456789")
    assert Decimal(text) * 10 ** DIGITS[currency] == money.minor


# -- currencies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("currency", "digits"), sorted(DIGITS.items()))
def test_each_currency_has_its_decimals(currency: str, digits: int) -> None:
    assert minor_digits(currency) == digits
    assert is_currency(currency)


@pytest.mark.parametrize("code", ["", "cny", "CN", "CNYX", "156", "XAU", "XXX", "ＣＮＹ", "CNY ", "CNY\n", "ZZZ"])
def test_what_nobody_is_paid_in_is_no_currency(code: str) -> None:
    assert not is_currency(code)
    with pytest.raises(KeyError):
        minor_digits(code)
    with pytest.raises((KeyError, ValueError)):
        from_major("1", code)


@given(st.integers(), st.integers())
def test_amounts_of_one_currency_add_and_those_of_two_do_not(one: int, other: int) -> None:
    a, b = Money(one, "CNY"), Money(other, "CNY")
    assert a + b - b == a
    assert (a < b) is (one < other)
    for operation in (Money.__add__, Money.__sub__, Money.__lt__):
        with pytest.raises(CurrencyDiffers):
            operation(a, Money(other, "JPY"))


def test_nine_thousand_of_the_largest_amounts_fit_a_bigint() -> None:
    assert 9_000 * MAX_MINOR < 2**63


@pytest.mark.parametrize(
    ("money", "said"),
    [(Money(1101, "CNY"), "11.01 CNY"), (Money(1101, "JPY"), "1101 JPY"), (Money(7, "RMB"), "7 minor units of RMB")],
)
def test_an_amount_is_said_in_major_units_and_what_is_no_currency_as_it_came(money: Money, said: str) -> None:
    assert str(money) == said
