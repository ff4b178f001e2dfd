"""Which accounts may take a payment, and in which order."""

from hypothesis import given
from hypothesis import strategies as st

from channels import Candidate, Capabilities, Method, rank
from channels.router import can
from kernel.money import Money

QR_ONLY = Capabilities(
    methods=frozenset({Method.QR}), currencies=frozenset({"CNY"}), minimum_minor=10, maximum_minor=99
)
BOTH = Capabilities(methods=frozenset(Method), currencies=frozenset({"CNY", "USD"}))


FIFTY = Money(50, "CNY")


def chosen(*candidates: Candidate, method: Method = Method.QR, amount: Money = FIFTY) -> list[str]:
    return [candidate.account_id for candidate in rank(candidates, method=method, amount=amount)]


def test_the_operators_order_is_kept_and_equal_ones_stay_as_given() -> None:
    assert chosen(
        Candidate("last", BOTH, position=9),
        Candidate("first", BOTH),
        Candidate("second", BOTH),
        Candidate("third", BOTH, position=1),
    ) == ["first", "second", "third", "last"]


def test_an_account_switched_off_is_not_chosen() -> None:
    assert chosen(Candidate("off", BOTH, enabled=False), Candidate("on", BOTH)) == ["on"]


def test_what_a_rail_cannot_do_is_not_asked_of_it() -> None:
    narrow, wide = Candidate("narrow", QR_ONLY), Candidate("wide", BOTH)
    assert chosen(narrow, wide, method=Method.BARCODE) == ["wide"]
    assert chosen(narrow, wide, amount=Money(50, "USD")) == ["wide"]
    assert chosen(narrow, wide, amount=Money(9, "CNY")) == ["wide"]
    assert chosen(narrow, wide, amount=Money(100, "CNY")) == ["wide"]
    assert chosen(narrow, wide, amount=Money(10, "CNY")) == ["narrow", "wide"]
    assert chosen(narrow, wide, amount=Money(99, "CNY")) == ["narrow", "wide"]
    assert chosen(narrow, amount=Money(50, "EUR")) == []


candidates = st.builds(
    Candidate,
    account_id=st.text("abc", min_size=1, max_size=3),
    capabilities=st.sampled_from([QR_ONLY, BOTH]),
    enabled=st.booleans(),
    position=st.integers(0, 3),
)


@given(st.lists(candidates, max_size=8), st.sampled_from(Method), st.integers(1, 200), st.sampled_from(["CNY", "USD"]))
def test_every_account_that_can_is_ranked_once_and_no_other(
    some: list[Candidate], method: Method, minor: int, currency: str
) -> None:
    amount = Money(minor, currency)
    ranked = list(rank(some, method=method, amount=amount))
    able = [one for one in some if one.enabled and can(one.capabilities, method, amount)]
    assert sorted(map(id, ranked)) == sorted(map(id, able))
    assert [one.position for one in ranked] == sorted(one.position for one in able)
