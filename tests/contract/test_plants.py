"""The plays bite: each harm that a rail could do is planted into its adapter, and a play fails."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any

import aiohttp
import pytest

from channels import CHANNELS, BadBill, BadNotice, Channel
from kernel.env import Env
from tests.contract.counterparties import Counterparty
from tests.contract.plants import HARMS, Harm, Planted
from tests.contract.plays import Rule, a_play, facts

PLANTED = [(rail, harm) for rail in sorted(CHANNELS) for harm in HARMS if not HARMS[harm].spared(facts(rail))]
FAILURES = (AssertionError, pytest.fail.Exception, BadNotice, BadBill)  # how a play ends that does not hold


@pytest.fixture(scope="session")
def planted_accounts() -> dict[str, tuple[Counterparty, Channel]]:
    return {}


def cases(harm: Harm, rail: str) -> Iterator[tuple[str, Callable[..., Any], bool, Mapping[str, Any]]]:
    """Yield (name, play, whether it is played alone, its values) of a harm's plays, each with each of its values."""
    for name in harm.plays:
        module, _, test = name.partition(".")
        play = vars(importlib.import_module(f"tests.contract.test_contract_{module}"))[f"test_{test}"]
        rule: Rule = play.rule
        for values in rule.cases(facts(rail)):
            yield name, play, rule.alone, dict(zip(rule.values, values, strict=True))


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("rail", "named"), PLANTED, ids=[f"{rail}-{named}" for rail, named in PLANTED])
async def test_a_planted_harm_makes_a_play_fail(
    rail: str, named: str, base_url: str, env: Env, http: aiohttp.ClientSession,
    planted_accounts: dict[str, tuple[Counterparty, Channel]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    harm, build = HARMS[named], CHANNELS[rail]
    monkeypatch.setattr(Planted, "everybody", [])

    @wraps(build)
    def planted(settings: Mapping[str, Any]) -> Planted:
        return harm.plant(build(settings))

    monkeypatch.setitem(CHANNELS, rail, planted)  # type: ignore[arg-type]
    survived = []
    for name, test, alone, values in cases(harm, rail):
        # A shared account's channel was made without the plant; what is shared is the account.
        async with a_play(rail, base_url, env, http, planted_accounts, alone=alone) as play:
            if not alone:
                play.client.channel = CHANNELS[rail](play.other.settings())
            try:
                await test(play, **values)
            except FAILURES:
                return
            survived.append((name, dict(values)))
    raise AssertionError(f"{named}: planted into {rail}, it survives {survived or 'as no play is made for it'}")


# What a rail cannot do wrong; why stands in its counterparty, or follows from its Capabilities.
OF_DISPUTES = {
    "a bill's chargebacks read as refunds",
    "a dispute's end not understood",
    "an inquiry taken for a chargeback",
    "another dispute's answer believed",
}
SPARED: Mapping[str, set[str]] = {
    "alipay": OF_DISPUTES
    | {
        "a bill's second page ignored",
        "a notice of any age believed",
        "a refund accepted read as done",
        "another merchant's answer believed",
    },
    "bank_transfer": OF_DISPUTES
    | {
        "a bill's second page ignored",
        "a bill's fees ignored",
        "a refund accepted read as done",
        "another merchant's answer believed",
        "paid for ever",
    },
    "paypal": OF_DISPUTES
    | {
        "a bill of any bytes read",
        "a refund accepted read as done",
        "an order that never ends",
        "not found read as refused",
        "paid for ever",
    },
    "stripe": {
        "a bill of any bytes read",
        "a refund accepted read as done",
        "a rail's new key never learned",
        "an order that never ends",
        "another merchant's bill read",
        "not found read as refused",
        "paid for ever",
    },
    "unionpay": OF_DISPUTES | {"a bill's second page ignored", "a notice of any age believed", "paid for ever"},
    "wechat": OF_DISPUTES | {"a bill's second page ignored"},
}


def test_every_harm_is_planted_into_every_rail_that_could_do_it() -> None:
    """A rail is spared a harm only for a reason that it gives itself, and no harm is spared everywhere."""
    for named, harm in HARMS.items():
        reasons = {rail: harm.spared(facts(rail)) for rail in CHANNELS}
        assert all(len(reason) > 20 for reason in reasons.values() if reason), named
        assert not all(reasons.values()), f"no rail can do this harm: {named}"
    spared = {rail: {named for named in HARMS if HARMS[named].spared(facts(rail))} for rail in CHANNELS}
    assert {rail: spared[rail] for rail in SPARED} == SPARED
