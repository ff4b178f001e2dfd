"""`sluice route …` in the words an operator types: what is understood, what is told, which exit codes."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from typer.testing import Result

Sluice = Callable[..., Result]


@pytest.fixture
def sluice(tea_house: Sluice) -> Sluice:
    return partial(tea_house, "route")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.json"
    file.write_text('{"margin_bp": 250, "rules": [{"name": "west", "then": {"pin": "channel:alipay"}}]}')
    return file


def test_a_policy_is_set_listed_shown_and_checked(sluice: Sluice, policy: Path) -> None:
    assert "book 1 has set no routing policy" in sluice("policy", "show", "--book", "1").stdout
    done = sluice("policy", "set", "--book", "1", str(policy), "--note", "a try")
    assert "routing policy 1 holds" in done.stdout
    assert "west: channel:alipay is none of the merchant's accounts or rails" in done.stdout
    listed = json.loads(sluice("policy", "list", "--book", "1", "--json").stdout)
    assert [(one["version"], one["note"], one["set_by"]) for one in listed] == [(1, "a try", "operator")]
    shown = json.loads(sluice("policy", "show", "--book", "1", "--version", "1", "--json").stdout)
    assert shown["policy"] == json.loads(policy.read_text())
    sluice("policy", "check", "--book", "1", str(policy), code=1)
    policy.write_text('{"margin_bp": 250}')
    sluice("policy", "check", "--book", "1", str(policy))


def test_what_is_wrong_is_told_with_the_exit_code_for_it(sluice: Sluice, policy: Path, tmp_path: Path) -> None:
    assert "there is no book 7" in sluice("policy", "list", "--book", "7", code=1).output
    assert "there is no payment" in sluice("explain", "pay_1", code=1).output
    none = str(tmp_path / "none.json")
    said = sluice("policy", "check", "--book", "1", none, code=2).output
    assert "none.json cannot be used: No such file or directory" in " ".join(said.split())
    assert "Errno" not in said
    days = ("--from", "2026-11-01", "--to", "2026-11-02")
    assert (
        "is after"
        in sluice(
            "replay", "--book", "1", "--policy", str(policy), "--from", "2026-11-02", "--to", "2026-11-01", code=1
        ).output
    )
    policy.write_text('{"margin": 250}')
    for words in (
        ("policy", "check", "--book", "1", str(policy)),
        ("replay", "--book", "1", "--policy", str(policy), *days),
    ):
        assert "margin" in sluice(*words, code=2).output
    assert "routing_policy_wrong" in sluice("policy", "set", "--book", "1", str(policy), "--note", "x", code=1).output
    policy.write_text("{")
    sluice("policy", "check", "--book", "1", str(policy), code=2)
    sluice("bench", "--payments", "1000", "--policy", str(policy), code=2)


def test_a_replay_of_days_without_payments_says_so(sluice: Sluice, policy: Path) -> None:
    done = sluice(
        "replay", "--book", "1", "--policy", str(policy), "--from", "2026-11-01", "--to", "2026-11-30", "--json"
    )
    told = json.loads(done.stdout)
    assert (told["payments"], told["moved"], told["fees"]) == (0, 0, {})
