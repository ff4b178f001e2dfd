"""Every rail of the registry plays every play that its capabilities imply."""

import ast
import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from channels import CHANNELS, Method
from channels.powers import HasFundBill, TellsDisputes, deposit_prefix
from channels.sharing import Sharing, TellsFrozen
from tests.contract.counterparties import COUNTERPARTIES, Payer
from tests.contract.plays import Play, Played, RailFacts, Rule, facts, play_id, plays

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
SUITE = sorted(path.stem for path in HERE.glob("test_contract_*.py"))


def every_test() -> Iterator[tuple[ModuleType, str]]:
    for name in SUITE:
        module = importlib.import_module(f"tests.contract.{name}")
        for test in vars(module):
            if test.startswith("test_"):
                yield module, test


def test_every_rail_of_the_registry_has_a_counterparty_to_be_tried_against() -> None:
    assert COUNTERPARTIES.keys() == CHANNELS.keys()
    assert {other.RAIL for other in COUNTERPARTIES.values()} == CHANNELS.keys()


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_every_rail_of_the_registry_has_golden_bytes_of_each_kind(name: str) -> None:
    shown = [path for path in (GOLDEN / name).iterdir() if path.is_file() and path.read_bytes().strip()]
    kinds = {path.name.partition("_")[0] for path in shown}
    assert {"request", "answer", "notice", "bill"} <= kinds, f"tests/golden/{name} has {sorted(kinds)}"


@pytest.mark.parametrize(
    "path", sorted(str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*_*") if path.is_file())
)
def test_no_golden_file_is_empty(path: str) -> None:
    assert (GOLDEN / path).read_bytes().strip(), f"tests/golden/{path} shows nothing"


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_every_rail_of_the_registry_names_its_secrets_and_says_what_it_believes(name: str) -> None:
    module = importlib.import_module(f"channels.{name}")
    assert module.SECRETS
    assert all(isinstance(secret, str) and not secret.endswith("_file") for secret in module.SECRETS)
    assert (Path(str(module.__file__)).parent / "README.md").exists()


def implied(rail: RailFacts) -> dict[str, set[str]]:
    """Return the plays that the whole suite has for a rail, whether or not they were made in this run."""
    rules = {name: getattr(vars(module)[name], "rule", None) for module, name in every_test()}
    return {
        name: {play_id(rail.name, values) for values in rule.cases(rail)}
        for name, rule in rules.items()
        if isinstance(rule, Rule)
    }


def missing(rail: RailFacts, played: Played) -> set[str]:
    """Return what was made for a rail and is not implied, or the other way round, in the tests of this run."""
    made = {name: {one for one in ids if one.split("-")[0] == rail.name} for name, ids in played.items()}
    wanted = implied(rail)
    return {f"{name}[{one}]" for name in played for one in made[name] ^ wanted[name]}


@plays()
@pytest.mark.asyncio(loop_scope="session")
async def test_a_rail_plays_exactly_what_its_capabilities_imply(play: Play, played: Played) -> None:
    """What was made before anything ran is held against the channel as its settings make it.

    The whole suite is imported and each play's rule asked again, so neither a rule that was never reached nor a class
    that promises other capabilities than its object has can leave a play out.
    """
    channel = play.client.channel
    disputes = isinstance(channel, TellsDisputes)
    built = RailFacts(play.rail.name, channel.capabilities, type(play.other), disputes)
    assert missing(built, played) == set()


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_a_play_that_was_not_made_would_be_noticed(name: str) -> None:
    rail = facts(name)
    played = implied(rail)
    assert missing(rail, played) == set()
    test = "test_asking_again_with_the_same_number_charges_once"
    left_out = played | {test: played[test] - {f"{name}-{rail.main}"}}
    assert missing(rail, left_out) == {f"{test}[{name}-{rail.main}]"}
    more = RailFacts(name, replace(rail.capabilities, methods=frozenset(Method)), rail.other, rail.tells_disputes)
    assert missing(more, played) >= {f"{test}[{name}-{method}]" for method in Method if method not in rail.methods}


@plays()
@pytest.mark.asyncio(loop_scope="session")
async def test_what_a_counterparty_says_of_its_rail_is_what_the_channel_does(play: Play) -> None:
    channel, other = play.client.channel, play.other
    assert isinstance(channel, HasFundBill) is other.FUND_BILL
    assert isinstance(channel, Sharing) is other.SHARES
    assert isinstance(channel, TellsFrozen) is other.TELLS_FROZEN
    assert channel.capabilities.methods >= other.TWO_CALLS
    assert channel.capabilities.authorizes <= channel.capabilities.methods
    assert channel.capabilities.payer_initiated <= channel.capabilities.methods
    assert not channel.capabilities.partial_capture or channel.capabilities.authorizes
    mark = deposit_prefix(channel)
    assert mark is None or (mark.isalnum() and 2 < len(mark) <= 27), "with the day it fits 35 characters"
    if Method.BARCODE in channel.capabilities.methods:
        assert other.auth_code(Payer.PAYS)[:2] in channel.capabilities.barcode_prefixes


def test_nothing_in_the_suite_is_skipped_or_left_without_a_rule() -> None:
    for module, name in every_test():
        marks = getattr(vars(module)[name], "pytestmark", [])
        assert not {mark.name for mark in marks} & {"skip", "skipif", "xfail"}, name
        if module.__name__ != __name__:
            rule = getattr(vars(module)[name], "rule", None)
            tried = [set(mark.args[1]) for mark in marks if mark.name == "parametrize"]
            assert isinstance(rule, Rule) or CHANNELS.keys() in tried, f"{name} is no play, nor tried with every rail"
    for name in SUITE:
        written = ast.walk(ast.parse((HERE / f"{name}.py").read_text()))
        called = {
            node.func.attr for node in written if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        assert not called & {"skip", "skipif", "xfail", "importorskip"}, name


def test_which_rails_send_probes_is_known() -> None:
    """探测流量: WeChat Pay alone is known to send wrong signatures on purpose; no other documents say so."""
    assert {name for name in CHANNELS if "sigtest" in facts(name).faults} == {"wechat"}
    assert {name for name in CHANNELS if "notice_sigtest" in facts(name).notice_faults} == {"wechat"}
