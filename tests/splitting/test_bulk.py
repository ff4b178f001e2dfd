"""Sharing out many orders at once gives each what the tree gives it, whatever the tree and the amounts."""

from array import array
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kernel.money import allocate
from splitting.plans.bulk import CHUNK, Orders, share_many
from splitting.plans.document import read
from splitting.plans.slots import MOST, MOST_WEIGHT, Slots
from splitting.plans.tree import Facts, share
from tests.splitting.test_tree import documents, facts_of, known

EDGES = st.sampled_from([0, 1, 2, 9_999, 10_000, 10_001, MOST - 1, MOST])


@given(
    values=st.lists(st.one_of(st.integers(0, MOST), EDGES), min_size=2, max_size=40),
    weights=st.lists(st.integers(0, MOST_WEIGHT // 9), min_size=1, max_size=9).filter(any),
)
def test_slots_allocate_as_money_does(values: list[int], weights: list[int]) -> None:
    slots = Slots(len(values))
    found = slots.allocated(slots.packed(array("q", values), 0), weights)
    columns = [slots.unpacked(part) for part in found]
    assert [list(row) for row in zip(*columns, strict=True)] == [allocate(value, weights) for value in values]


@given(values=st.lists(st.one_of(st.integers(0, MOST), EDGES), min_size=2, max_size=40), by=st.integers(1, MOST_WEIGHT))
def test_slots_divide_exactly(values: list[int], by: int) -> None:
    slots = Slots(len(values))
    quotient, remainder = slots.divided(slots.packed(array("q", values), 0), by)
    assert list(slots.unpacked(quotient)) == [value // by for value in values]
    assert list(slots.unpacked(remainder)) == [value % by for value in values]


def assert_equal(doc: dict[str, Any], orders: list[tuple[int, int, int]], facts: Facts) -> int:
    """Compare each order with the tree; return how many of them the tree itself shared out."""
    plan = read(doc)
    found = share_many(plan, Orders(*(array("q", column) for column in zip(*orders, strict=True))), facts)
    for n, (gross, fee, coupon) in enumerate(orders):
        one = share(plan, gross, fee, coupon, facts._replace(amount_minor=gross), cut=True)
        kept = {got.line.name: got.own_minor for got in one.lines}
        assert {line.name: column[n] for line, column in zip(found.lines, found.own, strict=True)} == {
            line.name: kept.get(line.name, 0) for line in found.lines
        }
        assert found.rest[n] == one.rest_minor
    return found.one_by_one


some = st.lists(
    st.tuples(st.integers(1, 20_000), st.integers(0, 10_000), st.integers(0, 10_000)), min_size=1, max_size=20
)


@given(doc=documents, drawn=some, told=known())
def test_whatever_the_tree_each_order_gets_what_the_tree_gives_it(
    doc: dict[str, Any], drawn: list[tuple[int, int, int]], told: dict[str, Any]
) -> None:
    orders = []
    for gross, fee_bp, coupon_bp in drawn:
        coupon = gross * coupon_bp // 40_000
        orders.append((gross, (gross - coupon) * fee_bp // 20_000, coupon))
    assert_equal(doc, orders, facts_of(told))


TREE: dict[str, Any] = {
    "version": 1,
    "lines": [
        {"name": "platform", "basis_points": 60, "minimum": 1, "cap": 500, "payee": "pye_" + "1" * 26},
        {"name": "fixed", "amount": 30},
        {"name": "agent", "remainder": 3, "payee": "pye_" + "2" * 26, "lines": [
            {"name": "store", "basis_points": 9_700}, {"name": "clerk", "basis_points": 150},
        ]},
        {"name": "guild", "remainder": 1},
    ],
}  # fmt: skip


def test_amounts_that_do_not_fit_a_lane_and_orders_that_are_cut_are_shared_out_by_the_tree() -> None:
    orders = [(gross, gross * 60 // 10_000, 0) for gross in range(1, 3 * CHUNK)]
    orders[7] = (MOST, 0, 0)
    orders[CHUNK] = (MOST + 1, 5, 7)
    orders[2 * CHUNK + 1] = (10**14, 10**12, 10**11)
    small = sum(1 for gross, _, _ in orders if gross < 31)
    found = assert_equal(TREE, orders, Facts(0))
    assert 2 < found <= small + 3


def test_a_plan_that_asks_for_the_amount_is_shared_out_by_the_tree() -> None:
    asks = {"version": 1, "lines": [{"name": "a", "basis_points": 100, "when": {"amount": {"below": 50}}}]}
    assert assert_equal(asks, [(n, 0, 0) for n in range(1, 99)], Facts(0)) == 98
    bounded = {"version": 1, "lines": [{"name": "a", "remainder": 1, "cap": 7}]}
    assert assert_equal(bounded, [(n, 0, 0) for n in range(1, 99)], Facts(0)) == 98


def test_no_orders_are_shared_out_to_nothing() -> None:
    nothing = array("q")
    assert list(share_many(read(TREE), Orders(nothing, nothing, nothing), Facts(0)).rest) == []
