"""Split arithmetic: exact to the last unit whatever the plan, the fee and the refunds."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kernel.errors import Rejected
from kernel.money import share_bp
from splitting import Share, ShareKind, SplitLine, compute
from splitting.plans.arithmetic import OWN, fee_returned, give_again
from splitting.plans.tree import TakingBack
from splitting.shares.takeback import taken_back

FARM, MILL, HUB = "pye_farm", "pye_mill", "pye_hub"
RATIO = [TakingBack()]
amounts = st.integers(1, 10**12)


@st.composite
def lines(draw: st.DrawFn) -> list[SplitLine]:
    kinds = {
        ShareKind.AMOUNT: st.integers(0, 10**12),
        ShareKind.BASIS_POINTS: st.integers(0, 10_000),
        ShareKind.REMAINDER: st.integers(0, 10**12),
    }
    chosen = draw(st.lists(st.sampled_from(list(ShareKind)), max_size=8))
    return [SplitLine(f"pye_{n}", kind, draw(kinds[kind])) for n, kind in enumerate(chosen)]


@given(gross=amounts, fee_bp=st.integers(0, 10_000), asked=lines())
def test_shares_and_fee_are_the_payment_and_none_is_negative(gross: int, fee_bp: int, asked: list[SplitLine]) -> None:
    fee = share_bp(gross, fee_bp)
    try:
        shares = compute(gross, fee, asked)
    except Rejected as refusal:
        fixed = sum(a.value for a in asked if a.kind is ShareKind.AMOUNT)
        rates = sum(a.value for a in asked if a.kind is ShareKind.BASIS_POINTS)
        assume(refusal.code == "split_exceeds_payment")  # anything else would leave nothing to test, and fails below
        # Rounding never refuses: as fractions the shares and the fee are too much, or within a unit a line of it.
        if Fraction(gross * rates, 10_000) + fixed + fee + len(asked) <= gross:
            raise
        if fixed + fee == 0 and rates <= 10_000:
            raise
        return
    assert sum(share.amount_minor for share in shares) + fee == gross
    assert all(share.amount_minor >= 0 for share in shares)
    assert [share.payee_id for share in shares][: len(asked)] == [line.payee_id for line in asked]
    assert len(shares) in (len(asked), len(asked) + 1)
    assert len(shares) == len(asked) or (shares[-1].payee_id == OWN and shares[-1].amount_minor > 0)
    for line, share in zip(asked, shares, strict=False):
        if line.kind is ShareKind.AMOUNT:
            assert share.amount_minor == line.value


@given(gross=amounts, rates=st.lists(st.integers(0, 10_000), min_size=1, max_size=9))
def test_parts_of_a_whole_are_never_more_than_it_and_all_of_it_where_they_are_all(gross: int, rates: list[int]) -> None:
    """However each is rounded: two halves of 101 are 51 and 50."""
    whole = sum(rates) or 1
    parts = [rate * 10_000 // whole for rate in rates]
    parts[-1] += (10_000 - sum(parts)) * (gross % 2)  # all of it, or less
    asked = [SplitLine(f"pye_{n}", ShareKind.BASIS_POINTS, part) for n, part in enumerate(parts)]
    shares = compute(gross, 0, asked)
    assert sum(share.amount_minor for share in shares) == gross
    assert len(shares) == len(asked) or sum(parts) < 10_000
    for share, part in zip(shares, parts, strict=False):
        assert abs(share.amount_minor - Fraction(gross * part, 10_000)) < 1


@given(gross=amounts, rate=st.integers(0, 10_000))
def test_one_rate_alone_is_rounded_half_up(gross: int, rate: int) -> None:
    assert compute(gross, 0, [SplitLine(FARM, ShareKind.BASIS_POINTS, rate)])[0].amount_minor == share_bp(gross, rate)


def test_two_halves_of_an_odd_amount_are_no_more_than_it() -> None:
    halves = [SplitLine(FARM, ShareKind.BASIS_POINTS, 5_000), SplitLine(MILL, ShareKind.BASIS_POINTS, 5_000)]
    assert compute(101, 0, halves) == [Share(FARM, 51), Share(MILL, 50)]


@given(gross=amounts, fee_bp=st.integers(0, 10_000), coupon_bp=st.integers(1, 10_000), asked=lines())
def test_a_coupon_of_the_merchants_is_never_shared_and_never_stops_the_sharing(
    gross: int, fee_bp: int, coupon_bp: int, asked: list[SplitLine]
) -> None:
    """What the payer used is known only after the plan was made, so a plan that no longer fits is cut, not refused."""
    coupon = min(max(share_bp(gross, coupon_bp), 1), gross)
    fee = share_bp(gross - coupon, fee_bp)
    shares = compute(gross, fee, asked, coupon)
    assert sum(share.amount_minor for share in shares) + fee + coupon == gross
    assert all(share.amount_minor >= 0 for share in shares)
    for line, share in zip(asked, shares, strict=False):
        if line.kind is ShareKind.AMOUNT:
            assert share.amount_minor <= line.value, "nobody gets more because a coupon was used"


def test_of_ten_less_a_coupon_of_one_and_a_fee_of_five_cents_8_95_is_shared() -> None:
    plan = [SplitLine(FARM, ShareKind.BASIS_POINTS, 3_000), SplitLine(MILL, ShareKind.REMAINDER, 1)]
    assert compute(1_000, 5, plan, 100) == [Share(FARM, 270), Share(MILL, 625)]
    fixed = [SplitLine(FARM, ShareKind.AMOUNT, 600), SplitLine(MILL, ShareKind.AMOUNT, 300)]
    assert compute(1_000, 5, fixed, 100) == [Share(FARM, 597), Share(MILL, 298)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([], [(OWN, 9_940)]),
        ([SplitLine(FARM, ShareKind.REMAINDER, 1)], [(FARM, 9_940)]),
        ([SplitLine(FARM, ShareKind.REMAINDER, 0)], [(FARM, 0), (OWN, 9_940)]),
        ([SplitLine(FARM, ShareKind.BASIS_POINTS, 3_000)], [(FARM, 3_000), (OWN, 6_940)]),
        ([SplitLine(FARM, ShareKind.AMOUNT, 9_940)], [(FARM, 9_940)]),
        (
            [
                SplitLine(HUB, ShareKind.BASIS_POINTS, 50),
                SplitLine(FARM, ShareKind.AMOUNT, 1_000),
                SplitLine(MILL, ShareKind.REMAINDER, 1),
            ],
            [(HUB, 50), (FARM, 1_000), (MILL, 8_890)],
        ),
        # An odd unit goes to the largest remainder, the earlier one where they are equal.
        (
            [SplitLine(FARM, ShareKind.REMAINDER, 1), SplitLine(MILL, ShareKind.REMAINDER, 2)],
            [(FARM, 3_313), (MILL, 6_627)],
        ),
        (
            [SplitLine(p, ShareKind.REMAINDER, 1) for p in (FARM, MILL, HUB)],
            [(FARM, 3_314), (MILL, 3_313), (HUB, 3_313)],
        ),
    ],
)  # fmt: skip
def test_a_hundred_yuan_less_sixty_fen_is_shared_as_planned(
    asked: list[SplitLine], expected: list[tuple[str, int]]
) -> None:
    assert [(share.payee_id, share.amount_minor) for share in compute(10_000, 60, asked)] == expected


@pytest.mark.parametrize(
    "asked",
    [
        [SplitLine(FARM, ShareKind.AMOUNT, 9_941)],
        [SplitLine(FARM, ShareKind.BASIS_POINTS, 10_000)],
        [SplitLine(FARM, ShareKind.BASIS_POINTS, 5_000), SplitLine(MILL, ShareKind.AMOUNT, 4_941)],
    ],
)
def test_a_plan_that_gives_away_more_than_there_is_is_refused(asked: list[SplitLine]) -> None:
    with pytest.raises(Rejected) as refusal:
        compute(10_000, 60, asked)
    assert refusal.value.code == "split_exceeds_payment"
    assert "1 minor units more" in refusal.value.message or "60 minor units more" in refusal.value.message


def after(shares: list[Share], parts: list[int]) -> list[Share]:
    return [
        share._replace(taken_back_minor=share.taken_back_minor + part)
        for share, part in zip(shares, parts, strict=True)
    ]


@given(gross=amounts, fee_bp=st.integers(0, 10_000), asked=lines(), cuts=st.lists(st.integers(0, 10**12), max_size=12))
def test_refunds_in_any_parts_take_back_exactly_all_and_never_more_than_a_share(
    gross: int, fee_bp: int, asked: list[SplitLine], cuts: list[int]
) -> None:
    fee = share_bp(gross, fee_bp)
    try:
        shares = compute(gross, fee, asked)
    except Rejected:
        assume(False)
    marks = sorted({cut % (gross + 1) for cut in cuts} | {0, gross})
    for start, end in pairwise(marks):
        back = fee_returned(fee, gross, end) - fee_returned(fee, gross, start)
        assert 0 <= back <= end - start, "the channel gives back no more than is refunded"
        parts = taken_back(shares, end - start - back, RATIO, set())
        assert sum(parts) == end - start - back
        shares = after(shares, parts)
        assert all(share.left_minor >= 0 for share in shares)
    assert all(share.left_minor == 0 for share in shares)
    assert fee_returned(fee, gross, gross) == fee


def test_taking_back_more_than_is_left_is_an_error() -> None:
    with pytest.raises(ValueError, match="11 is more than the 10"):
        taken_back([Share(FARM, 6), Share(OWN, 10, 6)], 11, RATIO, set())
    assert taken_back([Share(FARM, 6), Share(OWN, 10, 6)], 10, RATIO, set()) == [6, 4]
    assert taken_back([], 0, RATIO, set()) == []


@st.composite
def taken(draw: st.DrawFn) -> Any:
    """Return shares, the parts a failed refund took of them, and what they get again."""
    shares = []
    for n in range(draw(st.integers(1, 6))):
        amount = draw(st.integers(0, 1_000))
        shares.append(Share(f"pye_{n}", amount, draw(st.integers(0, amount))))
    parts = [draw(st.integers(0, 1_000)) for _ in shares]
    return shares, parts, draw(st.integers(0, sum(share.taken_back_minor for share in shares)))


@given(taken())
def test_what_a_failed_refund_gives_again_is_exact_and_within_what_was_taken(drawn: Any) -> None:
    shares, parts, amount = drawn
    again = give_again(shares, parts, amount)
    assert sum(again) == amount
    assert all(0 <= given <= share.taken_back_minor for given, share in zip(again, shares, strict=True))


@given(taken())
def test_a_refund_that_fails_first_gives_again_exactly_what_it_took(drawn: Any) -> None:
    shares, _, _ = drawn
    parts = [share.taken_back_minor // 2 for share in shares]
    assert give_again(shares, parts, sum(parts)) == parts


def test_giving_again_more_than_was_taken_is_an_error() -> None:
    with pytest.raises(ValueError, match="is more than refunds have taken back"):
        give_again([Share(FARM, 10, 4)], [4], 5)
