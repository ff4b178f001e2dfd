"""A merchant's policy: read strictly, its rules hold when they say."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from channels.contract import Method
from gateway.routing.policy import Facts, Policy, PolicyWrong, RoutingRule
from tests.gateway.routing.accounts import NOON


def rule(when: dict[str, Any], then: dict[str, Any] | None = None) -> RoutingRule:
    return Policy.of({"rules": [{"when": when, "then": then or {"pin": "main"}}]}).rules[0]


def holds(when: dict[str, Any], **facts: Any) -> bool:
    known: dict[str, Any] = {
        "method": Method.QR, "currency": "CNY", "amount_minor": 10_000, "now": NOON, "region": None, "metadata": {},
    }  # fmt: skip
    return rule(when).holds(Facts(**known | facts))


def test_an_empty_policy_is_the_default_one() -> None:
    assert Policy.parse("{}") == Policy()


def test_a_policy_says_everything_it_can_say() -> None:
    policy = Policy.parse(
        orjson.dumps(
            {
                "margin_bp": 350,
                "explore": {"fraction_bp": 100, "up_to_minor": {"CNY": 5_000}},
                "rules": [
                    {
                        "name": "large ones",
                        "when": {
                            "amount": {"from": 100_000, "below": 500_000},
                            "currency": ["CNY"],
                            "method": ["qr", "card"],
                            "payer_region": ["CN", "HK"],
                            "metadata": {"shop": "west", "till": {"in": ["1", "2"]}},
                            "time": "22:00-06:00",
                            "weekday": ["sat", "sun"],
                        },
                        "then": {"prefer": {"main": 70, "channel:wechat": 30}},
                    },
                    {"then": {"exclude": ["old"]}},
                ],
            }
        ),
        version=4,
    )
    assert (policy.version, policy.margin_bp, policy.explore_bp) == (4, 350, 100)
    first, second = policy.rules
    assert (first.name, first.action, [str(t) for t in first.targets], first.weights) == (
        "large ones", "prefer", ["main", "channel:wechat"], (70, 30),
    )  # fmt: skip
    assert (second.name, second.action) == ("rule 2", "exclude")


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        (b"[]", ""),
        (b"{", ""),
        (b'{"margin_bp": 1, "margin_bp": 2}', ""),
        (b'{"margin": 200}', "margin"),
        (b'{"margin_bp": 0}', "margin_bp"),
        (b'{"margin_bp": 200.0}', "margin_bp"),
        (b'{"explore": {"fraction_bp": 10001}}', "explore.fraction_bp"),
        (b'{"explore": {"up_to_minor": {"CNX": 1}}}', "explore.up_to_minor"),
        (b'{"rules": [{"then": {}}]}', "rules.0.then"),
        (b'{"rules": [{"then": {"pin": "a", "only": ["b"]}}]}', "rules.0.then"),
        (b'{"rules": [{"then": {"pin": "channel:"}}]}', "rules.0.then.pin"),
        (b'{"rules": [{"then": {"prefer": {"a": 0}}}]}', "rules.0.then.prefer.a"),
        (b'{"rules": [{"then": {"only": []}}]}', "rules.0.then.only"),
        (b'{"rules": [{"when": {"amount": {"from": 5}}, "then": {"pin": "a"}}]}', "rules.0.when"),
        (
            b'{"rules": [{"when": {"currency": ["CNY"], "amount": {"from": 5, "below": 5}}, "then": {"pin": "a"}}]}',
            "rules.0.when.amount",
        ),
        (b'{"rules": [{"when": {"time": "9:00-10:00"}, "then": {"pin": "a"}}]}', "rules.0.when.time"),
        (b'{"rules": [{"when": {"time": "09:00-09:00"}, "then": {"pin": "a"}}]}', "rules.0.when"),
        (b'{"rules": [{"when": {"weekday": ["monday"]}, "then": {"pin": "a"}}]}', "rules.0.when.weekday.0"),
        (b'{"rules": [{"when": {"method": ["cash"]}, "then": {"pin": "a"}}]}', "rules.0.when.method.0"),
        (b'{"rules": [{"when": {"payer_region": ["china"]}, "then": {"pin": "a"}}]}', "rules.0.when.payer_region.0"),
        (b'{"rules": [{"when": {"moon": "full"}, "then": {"pin": "a"}}]}', "rules.0.when.moon"),
    ],
)
def test_what_is_not_exactly_a_policy_is_refused_with_its_place(wrong: bytes, param: str) -> None:
    with pytest.raises(PolicyWrong) as refusal:
        Policy.parse(wrong)
    assert refusal.value.param == param


def test_a_rule_without_conditions_always_holds() -> None:
    assert holds({})


def test_amounts_are_from_included_to_below_excluded_in_their_currency() -> None:
    span = {"amount": {"from": 100, "below": 200}, "currency": ["CNY"]}
    assert [holds(span, amount_minor=minor) for minor in (99, 100, 199, 200)] == [False, True, True, False]
    assert not holds(span, amount_minor=150, currency="USD")


def test_method_region_and_metadata_must_be_as_said() -> None:
    assert holds({"method": ["qr"]})
    assert not holds({"method": ["card"]})
    assert holds({"payer_region": ["HK"]}, region="HK")
    assert not holds({"payer_region": ["HK"]}, region="CN")
    assert not holds({"payer_region": ["HK"]}, region=None)
    assert holds({"metadata": {"shop": "west"}}, metadata={"shop": "west", "more": "x"})
    assert not holds({"metadata": {"shop": "west"}}, metadata={})
    assert holds({"metadata": {"shop": {"in": ["west", "east"]}}}, metadata={"shop": "east"})
    assert not holds({"metadata": {"shop": {"in": ["west", "east"]}}}, metadata={"shop": "north"})


def beijing(day: int, hour: int, minute: int = 0) -> datetime:
    """Return a moment of the week of Monday 2026-11-23 by Beijing's clock."""
    return datetime.fromisoformat(f"2026-11-{22 + day:02}T{hour:02}:{minute:02}:00+08:00").astimezone(UTC)


def test_times_and_weekdays_are_beijing_s() -> None:
    office = {"time": "09:00-18:00", "weekday": ["mon", "tue"]}
    assert [holds(office, now=beijing(1, *at)) for at in ((8, 59), (9, 0), (17, 59), (18, 0))] == [
        False, True, True, False,
    ]  # fmt: skip
    assert not holds(office, now=beijing(3, 10))


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    night = {"time": "22:00-06:00", "weekday": ["fri"]}
    assert holds(night, now=beijing(5, 23))
    assert holds(night, now=beijing(6, 5, 59))
    assert not holds(night, now=beijing(5, 5))  # the night that began on Thursday
    assert not holds(night, now=beijing(6, 22))
    assert not holds(night, now=beijing(6, 6))
    assert holds({"time": "18:00-24:00"}, now=beijing(1, 23, 59))


def test_names_that_nobody_bears_are_told() -> None:
    policy = Policy.of(
        {"rules": [{"name": "r", "then": {"only": ["main", "mian", "channel:wechat", "channel:wecht"]}}]}
    )
    assert list(policy.unknown({"main": "wechat"})) == [("r", "mian"), ("r", "channel:wecht")]


def test_what_may_be_used_for_trying_out_depends_on_currency_and_amount() -> None:
    policy = Policy.of({"explore": {"up_to_minor": {"CNY": 100}}})
    assert policy.small("CNY", 100)
    assert not policy.small("CNY", 101)
    assert not policy.small("USD", 1)
