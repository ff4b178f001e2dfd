"""Where the pepper of API keys is lost, whatever looks or stops something still runs; nothing is made in its place."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from ops.secrets_file import CASHIER_TOKENS, PEPPER

Sluice = Callable[..., Result]

LOOKS = [
    ("merchant", "list"),
    ("key", "list"),
    ("channel", "list", "--book", "1"),
    ("bank", "list", "--book", "1"),
    ("link", "list", "--book", "1"),
    ("case", "list"),
    ("discrepancies", "--book", "1"),
    ("route", "policy", "show", "--book", "1"),
    ("route", "policy", "list", "--book", "1"),
    ("verify",),
    ("merchant", "suspend", "--book", "1"),
]
UNKNOWN = [  # they look, and what they are asked for is not there
    (("channel", "show", "--book", "1", "main"), "no_such_channel_account"),
    (("channel", "drain", "--book", "1", "main"), "no_such_channel_account"),
    (("case", "show", "case_1"), "no_such_case"),
    (("route", "explain", "pay_1"), "pay_1"),
    (("key", "revoke", "--book", "1", "key_1"), "no_such_key"),
]
LINK = ("tea", "--description", "tea", "--amount", "12.50")


@pytest.fixture
def secrets(tea_house: Sluice, tmp_path: Path) -> Path:
    return tmp_path / "home" / "secrets"


def named(secrets: Path) -> set[str]:
    return {path.name for path in secrets.iterdir()}


def test_what_looks_runs_without_the_pepper_and_makes_none(tea_house: Sluice, secrets: Path) -> None:
    (secrets / PEPPER).unlink()
    for words in LOOKS:
        tea_house(*words)
    for words, says in UNKNOWN:
        assert says in tea_house(*words, code=1).output
    assert PEPPER not in named(secrets)


def test_what_makes_a_key_says_what_is_lost_and_does_nothing(tea_house: Sluice, secrets: Path) -> None:
    kept = (secrets / PEPPER).read_bytes()
    (secrets / PEPPER).unlink()
    before = named(secrets)
    for words in (("merchant", "add", "coffee"), ("key", "new", "--book", "1"), ("link", "add", "--book", "1", *LINK)):
        assert f"{PEPPER} is not there" in tea_house(*words, code=1).output
    assert named(secrets) == before
    assert "coffee" not in tea_house("merchant", "list").output
    (secrets / PEPPER).write_bytes(kept)
    tea_house("key", "new", "--book", "1")


def test_addresses_are_not_shown_by_another_key_than_they_were_made_with(tea_house: Sluice, secrets: Path) -> None:
    tea_house("link", "add", "--book", "1", *LINK)
    (secrets / CASHIER_TOKENS).unlink()
    assert f"{CASHIER_TOKENS} is not there" in tea_house("link", "list", "--book", "1", code=1).output
    tea_house("merchant", "list")
    assert CASHIER_TOKENS not in named(secrets)


def test_a_home_that_was_not_restored_is_looked_from_and_not_filled(
    tea_house: Sluice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "elsewhere"))
    assert "tea" in tea_house("merchant", "list").output
    tea_house("channel", "list", "--book", "1")
    assert not (tmp_path / "elsewhere" / "secrets").exists()
