"""The decision: who may, what rules say, what each account is worth, and what is tried out."""

from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.contract import Capabilities, Method
from gateway.accounts.terms import FeeSchedule, Limits, Maintenance, Terms, Tier, Used
from gateway.routing import record
from gateway.routing.breaker import DEFAULT, Health
from gateway.routing.decision import PPM, TIE, Decision, decide
from gateway.routing.eligibility import REASONS, Candidate, Wanted, sift
from gateway.routing.knowledge import Knowledge, Seen
from gateway.routing.policy import Policy
from gateway.routing.verdicts import Verdict
from tests.gateway.routing.accounts import ALL, NOON, account, experience, wanted

NO_TRYING: dict[str, Any] = {"explore": {"fraction_bp": 0}}


def order(decision: Decision) -> list[str]:
    return [one.account_id for one in decision.ranked]


def policy(*rules: dict[str, Any], **more: Any) -> Policy:
    return Policy.of({**NO_TRYING, "rules": list(rules), **more}, version=1)


def ranked(*candidates: Candidate, known: Knowledge | None = None, by: Policy | None = None, **asked: Any) -> list[str]:
    return order(decide(candidates, wanted(**asked), known or Knowledge(), policy=by or policy()))


def why(candidate: Candidate, used: Used | None = None, **asked: Any) -> str | None:
    """Return the code by which an account is refused, beside one that takes everything."""
    other = account("other")
    _, refused = sift([candidate, other], wanted(**asked), lambda name: used or Used())
    return next((no.code for no in refused if no.account_id == candidate.account_id), None)


def fail(known: Knowledge, name: str, times: int, at: float, verdict: Verdict = Verdict.FAILED) -> None:
    for _ in range(times):
        known.see(Seen(name, Method.QR, "CNY", 10_000, verdict, at))


# ---- who may ---------------------------------------------------------------------------------------------------------


WECHAT = Capabilities(
    frozenset({Method.QR, Method.BARCODE}), frozenset({"CNY"}), 10, 99_999, barcode_prefixes=frozenset({"13", "14"})
)
ALIPAY = Capabilities(frozenset({Method.QR, Method.BARCODE}), frozenset({"CNY"}), barcode_prefixes=frozenset({"28"}))


def with_terms(**terms: Any) -> Candidate:
    return account("a", terms=Terms(**terms))


@pytest.mark.parametrize(
    ("candidate", "asked", "code"),
    [
        (Candidate("a", "r", ALL, "off"), {}, "off"),
        (Candidate("a", "r", ALL, "draining"), {}, "draining"),
        (account("a"), {"channel": "rail_b"}, "other_channel"),
        (account("a"), {"tried": frozenset({"a"})}, "tried"),
        (account("a", capabilities=WECHAT), {"method": Method.CARD}, "method_not_offered"),
        (account("a", capabilities=WECHAT), {"currency": "USD"}, "currency_not_offered"),
        (account("a", capabilities=WECHAT), {"minor": 9}, "below_rail_minimum"),
        (account("a", capabilities=WECHAT), {"minor": 100_000}, "above_rail_maximum"),
        (account("a"), {"reserve": True}, "no_reserving"),
        (with_terms(methods=(Method.CARD,)), {}, "method_not_agreed"),
        (with_terms(currencies=("USD",)), {}, "currency_not_agreed"),
        (with_terms(limits=Limits(minimum_minor=10_001)), {}, "below_minimum"),
        (with_terms(limits=Limits(maximum_minor=9_999)), {}, "above_maximum"),
        (with_terms(regions=("CN",)), {"region": "FR"}, "region"),
        (with_terms(windows=("mon-fri 13:00-22:00",)), {}, "closed"),
        (
            with_terms(maintenance=(Maintenance(NOON, NOON + timedelta(minutes=1), "new machines"),)),
            {},
            "maintenance",
        ),
    ],
)
def test_each_refusal_has_its_code(candidate: Candidate, asked: dict[str, Any], code: str) -> None:
    assert why(candidate, **asked) == code
    assert code in REASONS


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(day_minor=14_999), "day_limit"),
        (Limits(month_minor=59_999), "month_limit"),
        (Limits(day_count=3), "day_count"),
        (Limits(day_minor=15_000, month_minor=60_000, day_count=4), None),
    ],
)
def test_limits_of_day_and_month_count_what_was_taken(limits: Limits, code: str | None) -> None:
    assert why(with_terms(limits=limits), used=Used(5_000, 3, 50_000)) == code


def test_a_payer_s_code_picks_the_rail_it_belongs_to() -> None:
    rails = [account("w", capabilities=WECHAT), account("a", capabilities=ALIPAY), account("any")]
    scan: dict[str, Any] = {"method": Method.BARCODE}
    assert ranked(*rails, code_prefix="13", **scan) == ["w"]
    assert ranked(*rails, code_prefix="28", **scan) == ["a"]
    assert ranked(*rails, code_prefix="99", **scan) == ["any"]  # nobody claims it; the one that cannot tell may try
    for prefix, named in (("99", "rail_w"), ("28", "rail_w"), ("13", "rail_a")):  # naming the rail changes no code
        assert ranked(*rails, code_prefix=prefix, channel=named, **scan) == []
        assert ranked(rails[0], code_prefix="28", channel="rail_w", **scan) == []  # whether or not its owner is there
    assert ranked(*rails, code_prefix="13", channel="rail_w", **scan) == ["w"]
    assert ranked(*rails, code_prefix="99", channel="rail_any", **scan) == ["any"]


def test_who_may_not_is_told_and_who_may_is_ranked_and_nobody_is_both() -> None:
    decision = decide([account("a"), Candidate("b", "r", ALL, "off")], wanted(), Knowledge())
    assert order(decision) == ["a"]
    assert [(no.account_id, no.code) for no in decision.refused] == [("b", "off")]


def test_where_nobody_may_nobody_is_ranked() -> None:
    decision = decide([account("a")], wanted(channel="other"), Knowledge())
    assert decision.ranked == ()


# ---- what it is worth ------------------------------------------------------------------------------------------------


def test_the_cheaper_is_first_where_they_succeed_alike() -> None:
    assert ranked(account("dear", 60), account("cheap", 38)) == ["cheap", "dear"]


def test_a_better_chance_outweighs_a_fee_once_the_sale_is_worth_enough() -> None:
    rails = [account("cheap", 30), account("sure", 60)]
    known = experience({"cheap": (750, 250), "sure": (980, 20)})
    assert ranked(*rails, known=known) == ["sure", "cheap"]  # .75 × (200 − 30) < .98 × (200 − 60)
    assert ranked(*rails, known=known, by=policy(margin_bp=100)) == ["cheap", "sure"]


def test_the_value_is_the_chance_times_worth_less_fee_in_whole_numbers() -> None:
    decision = decide(
        [account("a", 38), account("b", 60)], wanted(12_345), experience({"a": (90, 10)}), policy=policy()
    )
    assert decision.worth == 12_345 * 200
    for one in decision.ranked:
        assert one.value == one.p_ppm * (decision.worth - one.fee_minor * 10_000)
    assert {one.account_id: one.fee_minor for one in decision.ranked} == {"a": 47, "b": 74}


def test_tiers_and_free_quotas_count_as_far_as_they_have_got() -> None:
    tiered = account("tiered", terms=Terms(fees=FeeSchedule(60, tiers=(Tier(1_000_000, 20),))))
    free = account("free", terms=Terms(fees=FeeSchedule(60, free_quota_minor=20_000)))
    flat = account("flat", 50)

    def first(**taken: int) -> str:
        decision = decide(
            [tiered, free, flat], wanted(), Knowledge(), policy=policy(), used=lambda a: Used(0, 0, taken.get(a, 0))
        )
        return decision.ranked[0].account_id

    assert first() == "free"
    assert first(free=20_000) == "flat"
    assert first(free=20_000, tiered=1_000_000) == "tiered"


def test_a_small_sale_under_a_dear_minimum_fee_still_counts_success_as_good() -> None:
    minimum = Terms(fees=FeeSchedule(minimum_minor=50))
    known = experience({"sure": (990, 10), "poor": (500, 500)}, minor=100)
    assert ranked(account("poor", terms=minimum), account("sure", terms=minimum), known=known, minor=100) == [
        "sure",
        "poor",
    ]


def test_among_equals_the_faster_is_first_and_then_the_operator_s_order_holds() -> None:
    assert ranked(account("b", position=1), account("a", position=0)) == ["a", "b"]
    known = Knowledge()
    for name, latency in (("a", 900.0), ("b", 100.0)):
        known.see(Seen(name, Method.QR, "CNY", 10_000, Verdict.WORKED, NOON.timestamp(), latency))
    assert ranked(account("b", position=1), account("a", position=0), known=known) == ["b", "a"]


# ---- rules -----------------------------------------------------------------------------------------------------------


def test_a_pin_is_obeyed_though_others_are_better_and_though_the_breaker_is_open() -> None:
    known = experience({"pinned": (10, 90)})
    fail(known, "pinned", 5, NOON.timestamp())
    assert known.rail("pinned").breaker.health(NOON.timestamp()) is Health.OPEN
    rails = [account("better", 10), account("pinned", 90)]
    decision = decide(rails, wanted(), known, policy=policy({"then": {"pin": "pinned"}}))
    assert order(decision) == ["pinned"]
    assert [(no.account_id, no.code, no.words) for no in decision.refused] == [("better", "rule", "rule 1")]


def test_a_pin_to_an_account_that_may_not_leaves_nobody() -> None:
    assert ranked(account("a"), Candidate("b", "r", ALL, "off"), by=policy({"then": {"pin": "b"}})) == []


def test_a_pinned_rail_has_all_its_accounts_by_value() -> None:
    rails = [account("a", 60, channel="w"), account("b", 38, channel="w"), account("c", 10, channel="x")]
    assert ranked(*rails, by=policy({"then": {"pin": "channel:w"}})) == ["b", "a"]


def test_only_and_exclude_narrow_what_later_rules_see_and_the_first_pin_ends_them() -> None:
    rails = [account(name) for name in "abcd"]
    narrowing = ({"then": {"exclude": ["a"]}}, {"then": {"only": ["a", "b", "c"]}})
    assert ranked(*rails, by=policy(*narrowing)) == ["b", "c"]
    assert ranked(*rails, by=policy(*narrowing, {"then": {"pin": "c"}}, {"then": {"pin": "b"}})) == ["c"]


def test_a_rule_that_does_not_hold_has_no_say_and_is_not_named() -> None:
    rule = {"name": "cards", "when": {"method": ["card"]}, "then": {"pin": "b"}}
    decision = decide([account("a"), account("b")], wanted(), Knowledge(), policy=policy(rule))
    assert (order(decision), decision.rules) == (["a", "b"], [])


def test_weights_are_kept_over_many_payments_and_drawn_alike_for_the_same_one() -> None:
    rails, by = [account(name) for name in "abc"], policy({"then": {"prefer": {"b": 70, "c": 30}}})
    known = Knowledge()
    firsts = [
        order(decide(rails, wanted(payment_id=f"pay_{n}"), known, policy=by))[0] for n in (*range(2000), *range(2000))
    ]
    assert firsts[:2000] == firsts[2000:]
    assert 0.66 < firsts.count("b") / 4000 < 0.74
    assert firsts.count("a") == 0


def test_weights_pass_over_an_account_whose_breaker_is_open() -> None:
    known = Knowledge()
    fail(known, "b", 5, NOON.timestamp())
    by = policy({"then": {"prefer": {"b": 99, "c": 1}}})
    assert ranked(account("a", 10), account("b"), account("c"), known=known, by=by) == ["c", "a", "b"]
    fail(known, "c", 5, NOON.timestamp())
    assert ranked(account("a", 10), account("b"), account("c"), known=known, by=by)[0] == "a"


# ---- health ----------------------------------------------------------------------------------------------------------


def both_known() -> Knowledge:
    """Return knowledge of two accounts that have long been well."""
    return experience({"best": (196, 4), "worse": (196, 4)})


def test_an_account_whose_breaker_is_open_is_asked_last_and_still_asked_where_there_is_no_other() -> None:
    known = both_known()
    fail(known, "best", 5, NOON.timestamp())
    free, dear = account("best", 0), account("worse", 190)  # by value the failing one would still be first
    assert ranked(free, dear, known=known) == ["worse", "best"]
    assert ranked(free, known=known) == ["best"]


def test_a_rested_account_is_tried_by_one_payment_and_stands_back_for_the_next() -> None:
    known, rails = both_known(), [account("best", 10), account("worse", 90)]
    fail(known, "best", 5, NOON.timestamp())
    rested = NOON + timedelta(seconds=DEFAULT.pause_s)
    decision = decide(rails, wanted(now=rested), known, policy=policy())
    assert (order(decision), decision.probe) == (["best", "worse"], True)
    known.rail("best").breaker.probing(rested.timestamp())
    assert ranked(*rails, known=known, now=rested) == ["worse", "best"]


def test_a_large_payment_is_not_used_to_try_a_rested_account() -> None:
    known, rails = both_known(), [account("best", 10), account("worse", 90)]
    fail(known, "best", 5, NOON.timestamp())
    rested = NOON + timedelta(seconds=DEFAULT.pause_s)
    assert ranked(*rails, known=known, now=rested, minor=20_001) == ["worse", "best"]


def test_a_rested_account_that_is_not_the_best_is_not_tried() -> None:
    known = both_known()
    fail(known, "worse", 5, NOON.timestamp())
    rested = NOON + timedelta(seconds=DEFAULT.pause_s)
    decision = decide([account("best", 10), account("worse", 90)], wanted(now=rested), known, policy=policy())
    assert (order(decision), decision.probe) == (["best", "worse"], False)


def test_an_account_that_comes_back_takes_a_growing_part() -> None:
    known, rails = both_known(), [account("best", 10), account("worse", 90)]
    at = NOON + timedelta(seconds=DEFAULT.pause_s)
    fail(known, "best", 5, NOON.timestamp())
    known.rail("best").breaker.health(at.timestamp())
    fail(known, "best", DEFAULT.probes, at.timestamp(), Verdict.WORKED)

    def part(after_s: float) -> float:
        now = at + timedelta(seconds=after_s)
        firsts = [ranked(*rails, known=known, now=now, payment_id=f"pay_{n}")[0] for n in range(400)]
        return firsts.count("best") / 400

    assert 0.05 < part(0) < 0.16
    assert 0.45 < part(DEFAULT.ramp_s / 2) < 0.65
    assert part(DEFAULT.ramp_s) == 1.0


# ---- trying out ------------------------------------------------------------------------------------------------------


def test_trying_out_keeps_to_its_fraction_and_to_small_payments() -> None:
    rails, known = [account(name) for name in "abcde"], Knowledge()
    by = Policy.of({"explore": {"fraction_bp": 500, "up_to_minor": {"CNY": 20_000}}})
    tried = [decide(rails, wanted(payment_id=f"pay_{n}"), known, policy=by) for n in range(4000)]
    explored = [one for one in tried if one.explored]
    assert 0.02 < len(explored) / 4000 <= 0.06
    assert {one.ranked[0].account_id for one in explored} == set("bcde")  # a, the first, is the best known
    large = [decide(rails, wanted(20_001, payment_id=f"pay_{n}"), known, policy=by) for n in range(4000)]
    assert not any(one.explored for one in large)


def test_what_is_well_known_is_not_tried_out_in_vain() -> None:
    known = experience({"good": (980, 20), "bad": (500, 500)})
    by = Policy.of({"explore": {"fraction_bp": 10000}})
    tried = [
        decide([account("good"), account("bad")], wanted(payment_id=f"pay_{n}"), known, policy=by).explored
        for n in range(2000)
    ]
    assert not any(tried)


def test_rules_with_weights_are_not_overruled_by_trying_out() -> None:
    by = Policy.of({"explore": {"fraction_bp": 2000}, "rules": [{"then": {"prefer": {"b": 1}}}]})
    for n in range(500):
        assert (
            order(decide([account("a"), account("b")], wanted(payment_id=f"pay_{n}"), Knowledge(), policy=by))[0] == "b"
        )


# ---- what always holds -----------------------------------------------------------------------------------------------


names = st.sampled_from(["a", "b", "c", "d", "channel:x", "channel:y"])
actions = st.one_of(
    st.fixed_dictionaries({"pin": names}),
    st.fixed_dictionaries({"only": st.lists(names, min_size=1, max_size=3, unique=True)}),
    st.fixed_dictionaries({"exclude": st.lists(names, min_size=1, max_size=3, unique=True)}),
    st.fixed_dictionaries({"prefer": st.dictionaries(names, st.integers(1, 100), min_size=1, max_size=3)}),
)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "method": st.lists(st.sampled_from(["qr", "card"]), min_size=1, unique=True),
        "currency": st.just(["CNY"]),
        "weekday": st.lists(st.sampled_from(["mon", "tue"]), min_size=1, unique=True),
    },
)
policies = st.builds(
    lambda rules, fraction: Policy.of({"rules": rules, "explore": {"fraction_bp": fraction}}),
    st.lists(st.fixed_dictionaries({"when": conditions, "then": actions}), max_size=4),
    st.sampled_from([0, 2000]),
)
terms = st.builds(
    Terms,
    fees=st.builds(FeeSchedule, basis_points=st.integers(0, 100), minimum_minor=st.integers(0, 50)),
    limits=st.builds(Limits, maximum_minor=st.sampled_from([None, 5_000]), day_count=st.sampled_from([None, 0, 5])),
    methods=st.sampled_from([(), (Method.QR,)]),
)
accounts = st.lists(
    st.builds(
        Candidate,
        account_id=st.sampled_from("abcd"),
        channel=st.sampled_from("xy"),
        capabilities=st.sampled_from([ALL, WECHAT]),
        state=st.sampled_from(["enabled", "enabled", "draining", "off"]),
        terms=terms,
        position=st.integers(0, 3),
    ),
    max_size=4,
    unique_by=lambda one: one.account_id,
)
payments = st.builds(
    wanted,
    minor=st.sampled_from([1, 4_999, 10_000, 500_000]),
    payment_id=st.text("0123456789", min_size=1, max_size=4),
    method=st.sampled_from([Method.QR, Method.CARD]),
    currency=st.sampled_from(["CNY", "USD"]),
    channel=st.sampled_from(["auto", "auto", "x"]),
    tried=st.sampled_from([frozenset(), frozenset("a")]),
)
pasts = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(Verdict), st.floats(0, 60)), max_size=40)


def past(seen: list[tuple[str, Verdict, float]]) -> Knowledge:
    known, at = Knowledge(), NOON.timestamp() - 3000
    for name, verdict, gap in seen:
        at += gap
        known.see(Seen(name, Method.QR, "CNY", 10_000, verdict, at, 100.0))
    return known


@settings(max_examples=300, deadline=None)
@given(accounts, payments, policies, pasts)
def test_nobody_is_chosen_who_may_not_and_everybody_who_may_is_ranked_or_ruled_out(
    rails: list[Candidate], asked: Wanted, by: Policy, seen: list[tuple[str, Verdict, float]]
) -> None:
    decision = decide(rails, asked, past(seen), policy=by)
    able, unable = sift(rails, asked)
    assert {no.account_id for no in unable} | {one.account_id for one in able} == {one.account_id for one in rails}
    ruled_out = {no.account_id for no in decision.refused if no.code == "rule"}
    assert set(order(decision)) == {one.account_id for one in able} - ruled_out
    assert len(order(decision)) == len(set(order(decision)))
    assert {no.account_id for no in decision.refused} == {no.account_id for no in unable} | ruled_out
    assert all(no.code in REASONS for no in decision.refused)


@settings(max_examples=300, deadline=None)
@given(accounts, payments, policies, pasts)
def test_a_decision_follows_from_its_arguments_and_its_record_shows_how(
    rails: list[Candidate], asked: Wanted, by: Policy, seen: list[tuple[str, Verdict, float]]
) -> None:
    decision = decide(rails, asked, past(seen), policy=by)
    assert decide(rails, asked, past(seen), policy=by) == decision
    if not decision.ranked:
        return
    kept = orjson.loads(record.to_json(decision))
    assert kept["policy"] == by.version
    assert set(kept.get("no", {})) == {no.account_id for no in decision.refused}
    if "rank" in kept:
        for one in kept["rank"]:
            assert one["ev"] == one["p"] * (kept["worth"] - one["fee"] * 10_000) // PPM
        assert [one["a"] for one in kept["rank"]] == order(decision)
        if not decision.explored and decision.preferred is None:
            minor = asked.amount.minor
            keys = [
                (
                    "aside" in one,
                    -(one["p"] * (kept["worth"] - one["fee"] * 10_000) // (minor * TIE)),
                    one.get("ms", 10**9),
                )
                for one in kept["rank"]
            ]
            assert keys == sorted(keys)  # the order can be worked out again from what was kept


@settings(max_examples=200, deadline=None)
@given(accounts, payments, pasts, st.sampled_from("abcd"))
def test_a_pin_that_holds_is_obeyed_whatever_else_is_known(
    rails: list[Candidate], asked: Wanted, seen: list[tuple[str, Verdict, float]], pinned: str
) -> None:
    decision = decide(rails, asked, past(seen), policy=policy({"then": {"pin": pinned}}))
    assert set(order(decision)) <= {pinned}


@settings(max_examples=200, deadline=None)
@given(accounts, payments, pasts)
def test_whoever_is_open_stands_behind_whoever_is_well(
    rails: list[Candidate], asked: Wanted, seen: list[tuple[str, Verdict, float]]
) -> None:
    decision = decide(rails, asked, past(seen), policy=policy())
    if len(decision.ranked) > 1:
        behind = [one.aside is not None for one in decision.ranked]
        assert behind == sorted(behind)
        assert all(one.aside == "open" for one in decision.ranked if one.health is Health.OPEN)


def test_planted_a_decision_that_ignores_breakers_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.routing.breaker.Breaker.health", lambda self, now: Health.CLOSED)
    with pytest.raises(AssertionError):
        test_an_account_whose_breaker_is_open_is_asked_last_and_still_asked_where_there_is_no_other()


def test_planted_a_decision_that_ignores_eligibility_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.routing.decision.sift", lambda candidates, *rest: (list(candidates), []))
    with pytest.raises(AssertionError):
        test_a_pin_to_an_account_that_may_not_leaves_nobody()


def test_planted_trying_out_without_a_bound_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.routing.decision.draw", lambda payment_id, purpose: 0.0)
    with pytest.raises(AssertionError):
        test_trying_out_keeps_to_its_fraction_and_to_small_payments()
