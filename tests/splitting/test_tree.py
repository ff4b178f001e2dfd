"""Split plans as trees: every unit is given once, whatever the tree, and as the slow reference gives it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Rejected
from splitting.plans.asked import Part, in_proportion
from splitting.plans.document import DEEPEST, MOST_LINES, PlanWrong, hash_of, read, resolved
from splitting.plans.tree import CONDITIONS, OWN, Base, Facts, Float, Line, Plan, ShareKind, fill, share
from tests.splitting.slow_tree import DoesNotFit, poured, shared

PAYEES = [f"pye_{n:026x}" for n in range(4)]
METHODS = ["qr", "card", "app"]
small = st.integers(0, 120)


@st.composite
def lines(draw: st.DrawFn, depth: int = 0, names: Any = None) -> list[dict[str, Any]]:
    """Lines of a level with all that a line may have, and lines under some."""
    names = iter(range(10_000)) if names is None else names
    found: list[dict[str, Any]] = []
    rates = 10_000  # left for lines that nothing bounds
    for _ in range(draw(st.integers(1, 4))):
        line: dict[str, Any] = {"name": f"line-{next(names)}"}
        kind = draw(st.sampled_from(["amount", "basis_points", "basis_points", "remainder"]))
        if draw(st.booleans()):
            line["payee"] = draw(st.sampled_from(PAYEES))
        most = {"amount": 60, "basis_points": min(rates, draw(st.sampled_from([50, 3_333, 5_000]))), "remainder": 3}[
            kind
        ]
        line[kind] = draw(st.integers(0, most))
        rates -= line.get("basis_points", 0)
        if kind != "amount" and draw(st.integers(0, 3)) == 0:
            line["minimum"] = draw(st.integers(0, 30))
        if kind != "amount" and draw(st.integers(0, 3)) == 0:
            line["cap"] = line.get("minimum", 0) + draw(small)
        if draw(st.integers(0, 4)) == 0:
            begins = sorted(draw(st.sets(st.integers(1, 100), min_size=1, max_size=3)))
            line["tiers"] = [{"from": one, "value": draw(st.integers(0, most))} for one in begins]
            line["volume_of"] = draw(st.sampled_from(["payee", "merchant"])) if "payee" in line else "merchant"
        if draw(st.integers(0, 2)) == 0:
            line["when"] = draw(conditions("payee" in line))
            line["otherwise"] = draw(st.sampled_from(["parent", "others"]))
        if depth < 4 and draw(st.integers(0, 2)) == 0:
            line["lines"] = draw(lines(depth + 1, names))
        found.append(line)
    return found


@st.composite
def conditions(draw: st.DrawFn, of_payee: bool) -> dict[str, Any]:
    when: dict[str, Any] = {}
    if draw(st.booleans()):
        when["method"] = draw(st.lists(st.sampled_from(METHODS), min_size=1, max_size=2, unique=True))
    if draw(st.booleans()):
        when["amount"] = {"from": draw(st.integers(0, 300)), "below": draw(st.integers(301, 20_000))}
    if of_payee and draw(st.booleans()):
        when["payee"] = draw(st.sampled_from(["active", "suspended"]))
    if not when or draw(st.booleans()):
        when["product_line"] = draw(st.lists(st.sampled_from(["tea", "rice"]), min_size=1, max_size=2, unique=True))
    return when


@st.composite
def known(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "amount": 0,
        "method": draw(st.sampled_from([*METHODS, None])),
        "product_line": draw(st.sampled_from(["tea", "rice", None])),
        "suspended": draw(st.sets(st.sampled_from(PAYEES))),
        "volumes": {who: draw(st.integers(0, 120)) for who in [OWN, *PAYEES]},
    }


documents = st.builds(
    lambda base, found: {"version": 1, "base": base, "lines": found},
    st.sampled_from(["arriving", "paid", "gross"]),
    lines(),
)


def facts_of(told: dict[str, Any]) -> Facts:
    return Facts(told["amount"], told["method"], told["product_line"], frozenset(told["suspended"]), told["volumes"])


@given(
    doc=documents,
    gross=st.integers(1, 20_000),
    fee_bp=st.sampled_from([0, 0, 60, 9_000]),
    coupon_bp=st.sampled_from([0, 0, 500]),
    told=known(),
    cut=st.booleans(),
)
def test_a_tree_gives_what_the_slow_reference_gives_and_every_unit_once(
    doc: dict[str, Any], gross: int, fee_bp: int, coupon_bp: int, told: dict[str, Any], cut: bool
) -> None:
    coupon = gross * coupon_bp // 10_000
    fee = (gross - coupon) * fee_bp // 10_000
    told = {**told, "amount": gross}
    plan = read(doc)
    try:
        wanted = shared(doc, gross, fee, coupon, told, cut)
    except DoesNotFit:
        with pytest.raises(Rejected, match=r"^split_exceeds_payment"):
            share(plan, gross, fee, coupon, facts_of(told), cut=cut)
        wanted = shared(doc, gross, fee, coupon, told, True)
        cut = True
    found = share(plan, gross, fee, coupon, facts_of(told), cut=cut)
    assert found.rest_minor == wanted.pop("")
    keeps = {one.line.name: one.own_minor for one in found.lines}
    assert {name: minor for name, minor in keeps.items() if minor} == {n: m for n, m in wanted.items() if m}
    assert found.rest_minor + sum(keeps.values()) == gross - fee - coupon
    assert min([found.rest_minor, *keeps.values()]) >= 0
    for one in found.lines:
        if one.why not in ("cut", *CONDITIONS) and one.line.kind is not ShareKind.AMOUNT:
            assert one.line.minimum <= one.got_minor <= (10**30 if one.line.cap is None else one.line.cap)
        if one.why in CONDITIONS:
            assert one.got_minor == 0
        if one.why == "":
            assert one.got_minor == one.unbounded_minor or one.line.kind is ShareKind.REMAINDER


@given(
    minor=st.integers(0, 10**13),
    floats=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 40), st.one_of(st.none(), st.integers(0, 10**6))), max_size=6
    ),
)
def test_what_is_left_is_poured_to_one_level(minor: int, floats: list[tuple[int, int, int | None]]) -> None:
    asked = [Float(weight, low, None if room is None else low + room) for weight, low, room in floats]
    minor += sum(one.minimum for one in asked)
    found = fill(minor, asked)
    assert found == poured(
        minor, [one.weight for one in asked], [(o.minimum, 10**30 if o.cap is None else o.cap) for o in asked]
    )
    assert sum(found) <= minor


def test_a_level_rises_where_a_cap_cuts_and_falls_where_a_minimum_takes() -> None:
    assert fill(100, [Float(1, 10), Float(99, 0, 50)]) == [50, 50], "what the cap cuts off goes to the other"
    assert fill(100, [Float(1, 10), Float(99)]) == [10, 90]
    assert fill(100, [Float(1, 0, 10), Float(1, 0, 20)]) == [10, 20], "and what nobody may take is left"
    assert fill(100, [Float(0, 7), Float(0)]) == [7, 0]


def deep(levels: int) -> dict[str, Any]:
    line: dict[str, Any] = {"name": f"level-{levels}", "payee": PAYEES[0], "basis_points": 5_000}
    for n in range(levels - 1, 0, -1):
        line = {"name": f"level-{n}", "payee": PAYEES[0], "basis_points": 5_000, "lines": [line]}
    return {"version": 1, "lines": [line]}


def test_a_tree_may_be_sixteen_deep_and_have_a_thousand_lines() -> None:
    found = share(read(deep(DEEPEST)), 2**DEEPEST, 0, 0, Facts(2**DEEPEST), cut=False)
    assert [one.got_minor for one in found.lines] == [2 ** (DEEPEST - n) for n in range(1, DEEPEST + 1)]
    wide = {"version": 1, "lines": [{"name": str(n), "payee": PAYEES[0], "remainder": 1} for n in range(MOST_LINES)]}
    assert len(read(wide).lines) == MOST_LINES
    for doc, why in ((deep(DEEPEST + 1), "at most 16 levels"), (deep(5_000), "at most 16 levels")):
        with pytest.raises(PlanWrong, match=why):
            read(doc)
    wide["lines"].append({"name": "one-more", "remainder": 1})  # type: ignore[attr-defined]
    with pytest.raises(PlanWrong, match="at most 1000 lines"):
        read(wide)


def line(**fields: Any) -> dict[str, Any]:
    return {"name": "agent", "payee": PAYEES[0], **fields}


RATE: dict[str, Any] = {"basis_points": 100}


@pytest.mark.parametrize(
    ("wrong", "param", "why"),
    [
        ({"version": 2, "lines": [line(**RATE)]}, "version", "send one of 1"),
        ({"version": 1, "lines": []}, "lines", "at least one line"),
        ({"version": 1, "lines": [line()]}, "lines.0", "exactly one of amount, basis_points and remainder"),
        ({"version": 1, "lines": [line(**RATE, amount=5)]}, "lines.0", "exactly one of"),
        ({"version": 1, "lines": [line(basis_points=10_001)]}, "lines.0.basis_points", "send 10000 or less"),
        ({"version": 1, "lines": [line(amount=5, cap=9)]}, "lines.0", "neither minimum nor cap"),
        ({"version": 1, "lines": [line(**RATE, minimum=9, cap=8)]}, "lines.0", "minimum is more than cap"),
        ({"version": 1, "lines": [line(**RATE, volume_of="payee")]}, "lines.0", "tiers and volume_of together"),
        (
            {"version": 1, "lines": [line(**RATE, volume_of="payee", tiers=[{"from": 5, "value": 1}] * 2)]},
            "lines.0",
            "tiers rise",
        ),
        (
            {"version": 1, "lines": [line(**RATE, volume_of="payee", tiers=[{"from": 5, "value": 10_001}])]},
            "lines.0",
            "at most 10000",
        ),
        ({"version": 1, "lines": [line(**RATE, when={})]}, "lines.0.when", "at least one condition"),
        ({"version": 1, "lines": [line(**RATE, when={"method": ["cheque"]})]}, "lines.0.when.method.0", "send one of"),
        (
            {"version": 1, "lines": [line(**RATE, when={"amount": {"from": 5, "below": 5}})]},
            "lines.0.when.amount",
            "below must be above from",
        ),
        (
            {"version": 1, "lines": [{"name": "agent", **RATE, "when": {"payee": "active"}}]},
            "lines.0",
            "it has no payee",
        ),
        ({"version": 1, "lines": [line(**RATE), line(**RATE)]}, "lines.1.name", "another line has this name"),
        (
            {"version": 1, "lines": [{"name": "store", "remainder": 1, "lines": [line(basis_points=True)]}]},
            "lines.0.lines.0.basis_points",
            "whole number",
        ),
        (
            {"version": 1, "lines": [{"name": "a", "basis_points": 6_000}, line(basis_points=4_001)]},
            "lines",
            "add up to 10001 basis points",
        ),
        ({"version": 1, "lines": [line(**RATE, colour="red")]}, "lines.0.colour", "colour: there is no such field"),
    ],
)  # fmt: skip
def test_what_is_not_a_plan_is_refused_with_the_field_and_the_line(wrong: dict[str, Any], param: str, why: str) -> None:
    with pytest.raises(PlanWrong, match=why) as refusal:
        read(wrong)
    assert refusal.value.facts["param"] == param
    inside = param.startswith("lines.") or "add up" in why
    assert refusal.value.facts.get("line") == ("agent" if inside else None)


@pytest.mark.parametrize("nothing", [None, [], "plan", 7, {}, {"version": 1, "lines": {"a": 1}}, {"lines": [[[]]]}])
def test_what_is_nothing_like_a_plan_is_refused_too(nothing: Any) -> None:
    with pytest.raises(PlanWrong):
        read(nothing)


def test_rates_that_exclude_one_another_may_add_up_to_more() -> None:
    when = [{"method": ["qr"]}, {"method": ["card"]}]
    both = [
        {"name": f"fee-{n}", "payee": PAYEES[n], "basis_points": 6_000, "when": one, "otherwise": "others"}
        for n, one in enumerate(when)
    ]
    found = share(read({"version": 1, "lines": both}), 1_000, 0, 0, Facts(1_000, "card"), cut=False)
    assert [(one.got_minor, one.why) for one in found.lines] == [(0, "method"), (600, "")]


def test_where_a_condition_does_not_hold_the_parent_keeps_it_or_the_others_share_it() -> None:
    """Of 100, a third line waits for a payee who is suspended."""
    for otherwise, expected in (("parent", [33, 33, 0]), ("others", [50, 50, 0])):
        doc = {
            "version": 1,
            "lines": [
                {"name": "a", "payee": PAYEES[0], "remainder": 1},
                {"name": "b", "payee": PAYEES[1], "remainder": 1},
                {"name": "c", "payee": PAYEES[2], "remainder": 1, "when": {"payee": "active"}, "otherwise": otherwise},
            ],
        }
        found = share(
            read(doc),
            99 if otherwise == "parent" else 100,
            0,
            0,
            Facts(100, suspended=frozenset(PAYEES[2:])),
            cut=False,
        )
        assert [one.got_minor for one in found.lines] == expected
        assert found.rest_minor == (33 if otherwise == "parent" else 0)


def test_a_refusal_names_the_line_under_which_there_is_too_little() -> None:
    doc = {
        "version": 1,
        "lines": [
            {"name": "store", "basis_points": 100, "lines": [{"name": "clerk", "payee": PAYEES[0], "amount": 50}]}
        ],
    }
    with pytest.raises(
        Rejected, match="the lines under 'store' add up to 40 minor units more than the 10 that it gets"
    ):
        share(read(doc), 1_000, 0, 0, Facts(1_000), cut=False)


# ---- inheriting ------------------------------------------------------------------------------------------------------

BASE_PLAN = {
    "version": 1,
    "base": "paid",
    "lines": [
        {"name": "platform", "payee": PAYEES[0], "basis_points": 60, "cap": 500},
        {"name": "store", "remainder": 1, "lines": [{"name": "clerk", "payee": PAYEES[1], "amount": 100}]},
    ],
}
EXTENDS = {"plan": "spl_" + "1" * 26, "version": 3}


def kept(plan: str, version: int) -> dict[str, Any] | None:
    return BASE_PLAN if (plan, version) == (EXTENDS["plan"], EXTENDS["version"]) else None


def test_a_plan_inherits_anothers_version_and_changes_lines_by_name() -> None:
    changed = resolved(
        {
            "version": 1,
            "extends": EXTENDS,
            "override": {"platform": {"amount": 30, "cap": None}, "clerk": {"payee": PAYEES[2]}},
            "lines": [{"name": "agent", "payee": PAYEES[3], "basis_points": 10}],
        },
        kept,
    )
    assert changed == {
        "version": 1,
        "base": "paid",
        "lines": [
            {"name": "platform", "payee": PAYEES[0], "amount": 30},
            {"name": "store", "remainder": 1, "lines": [{"name": "clerk", "payee": PAYEES[2], "amount": 100}]},
            {"name": "agent", "payee": PAYEES[3], "basis_points": 10},
        ],
    }
    without = resolved({"version": 1, "extends": EXTENDS, "override": {"store": None}}, kept)
    assert [one["name"] for one in without["lines"]] == ["platform"]
    assert hash_of(without) != hash_of(changed)
    assert hash_of(BASE_PLAN) == hash_of(resolved({"version": 1, "extends": EXTENDS}, kept))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"extends": {**EXTENDS, "version": 4}}, "there is no version 4 of a plan"),
        ({"extends": EXTENDS, "override": {"nobody": {"amount": 1}}}, "no inherited line 'nobody'"),
        ({"extends": EXTENDS, "override": {"store": None, "clerk": {"amount": 1}}}, "no inherited line 'clerk'"),
        (
            {"extends": EXTENDS, "override": {"store": {"lines": []}, "clerk": {"amount": 1}}},
            "no inherited line 'clerk'",
        ),
        ({"extends": EXTENDS, "override": {"platform": {"amount": 1}}}, "neither minimum nor cap"),
        ({"extends": EXTENDS, "lines": [line(**RATE, name="clerk")]}, "another line has this name"),
        ({"override": {"platform": None}, "lines": [line(**RATE)]}, "nothing to override"),
    ],
)  # fmt: skip
def test_overrides_that_make_no_plan_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(PlanWrong, match=why):
        resolved({"version": 1, **wrong}, kept)


def test_a_plan_of_one_payment_extends_none() -> None:
    with pytest.raises(PlanWrong, match="extends none"):
        read({"version": 1, "extends": EXTENDS})


# ---- parts of an order -----------------------------------------------------------------------------------------------


@given(
    amounts=st.lists(st.integers(1, 10**6), min_size=1, max_size=8),
    captured_bp=st.integers(1, 10_000),
    lost=st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)),
)
def test_parts_of_an_order_bear_fee_and_coupon_by_their_amounts(
    amounts: list[int], captured_bp: int, lost: tuple[int, int]
) -> None:
    gross = max(sum(amounts) * captured_bp // 10_000, 1)
    coupon = gross * lost[0] // 10_000
    fee = (gross - coupon) * lost[1] // 10_000
    found = in_proportion([Part(amount) for amount in amounts], gross, fee, coupon)
    assert [sum(column) for column in zip(*(one[1:] for one in found), strict=True)] == [gross, fee, coupon]
    for _, amount, part_fee, part_coupon in found:
        assert min(part_fee, part_coupon) >= 0
        assert part_fee + part_coupon <= amount
    assert Plan(Base.PAID, [Line("1", OWN, ShareKind.REMAINDER, 1)]).payees() == []
