"""Settings: what is refused is refused in words, and nothing secret is ever shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.settings import Settings, SettingsWrong, load, unknown_variables


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SLUICE_"):
            monkeypatch.delenv(name)


def test_every_setting_says_what_it_is_for() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert not field.is_required(), name


def test_the_home_is_absolute_whatever_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_HOME", "somewhere/below")
    assert load().home == Path.cwd() / "somewhere/below"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"SLUICE_GATEWAY_PORT": "70000", "SLUICE_LOG_FORMAT": "xml"}, ["SLUICE_GATEWAY_PORT", "SLUICE_LOG_FORMAT"]),
        ({"SLUICE_DATABASE_URL": "mysql://hush"}, ["SLUICE_DATABASE_URL", "postgresql://"]),
        ({"SLUICE_REDIS_URL": "http://hush"}, ["SLUICE_REDIS_URL", "redis://"]),
        ({"SLUICE_OPS_PORT": "8400"}, ["SLUICE_OPS_PORT", "SLUICE_GATEWAY_PORT", "must differ"]),
        ({"SLUICE_WORKERS": "0"}, ["SLUICE_WORKERS"]),
    ],
)
def test_what_cannot_be_used_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], said: list[str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsWrong) as refusal:
        load()
    assert all(part in str(refusal.value) for part in said)
    assert "hush" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("GATEWAY_PORT", "abc", ": write a whole number, without quotes"),
        ("GATEWAY_PORT", '"8400"', ": write a whole number, without quotes"),
        ("OPS_PORT", "8.5", ": write a whole number, without quotes"),
        ("SANDBOX_PORT", "0", ": write 1 or more"),
        ("WORKER_PORT", "70000", ": write 65535 or less"),
        ("WORKERS", "two", ": write a whole number, without quotes"),
        ("WORKERS", "-2", ": write 1 or more"),
        ("WORKERS", "65", ": write 64 or less"),
        ("TIME_SCALE", "fast", ": write a number, without quotes"),
        ("TIME_SCALE", "-1", ": write more than 0.0"),
        ("TIME_SCALE", "nan", ": write a number, without quotes"),
        ("TIME_SCALE", "2", ": write 1.0 or less"),
        ("LOG_LEVEL", "loud", ": write one of 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("LOG_FORMAT", "xml", ": write one of 'console' or 'json'"),
        ("DATABASE_URL", "hush", ": write an address that begins with postgresql:// or postgres://"),
        ("REDIS_URL", "http://hush", ": write an address that begins with redis:// or rediss:// or unix://"),
        (
            "DATABASE_URL",
            "postgresql://u@host:hush/base",
            ": this cannot be read as an address; write special characters of a password as in any address (@ is %40), "
            "and a port as a number",
        ),
        (
            "REDIS_URL",
            "redis://u:hu#sh@[::1/0",
            ": this cannot be read as an address; write special characters of a password as in any address (@ is %40), "
            "and a port as a number",
        ),
        ("PUBLIC_URL", "pay.example.com", ": give an address that begins with https://"),
        ("PUBLIC_URL", "ftp://pay.example.com", ": give an address that begins with https://"),
        ("PUBLIC_URL", "https://", ": this address names no host, or no port behind its colon"),
        ("PUBLIC_URL", "https://pay.example.com/?hush", ": give the address without a query and without a fragment"),
        ("PUBLIC_URL", "https://me:hush@pay.example.com", ": give the address without a user and a password"),
        (
            "ALLOW_ADDRESSES",
            "10.0.0.0/99",
            ": '10.0.0.0/99' is neither a host's name nor an address or a network; write one such as 10.1.2.3:8443",
        ),
        ("HOME", "~nobody-of-this-name/x", ": there is no such user's home; write the folder's whole path"),
        ("CHANNEL_KEYS", "~nobody-of-this-name/x", ": there is no such user's home; write the file's whole path"),
    ],
)
def test_a_refusal_says_what_to_write_instead(
    monkeypatch: pytest.MonkeyPatch, name: str, given: str, said: str
) -> None:
    monkeypatch.setenv(f"SLUICE_{name}", given)
    with pytest.raises(SettingsWrong) as refusal:
        load()
    assert str(refusal.value) == f"SLUICE_{name}{said}"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_setting_counts_as_not_given(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    usual = load()
    monkeypatch.setenv(f"SLUICE_{name.upper()}", "")
    assert load() == usual


@pytest.mark.parametrize(
    "good",
    [
        "postgresql://u:p%40ss@host:5432/base", "postgresql:///base?host=/run/postgresql", "postgres://one:1,two:2/base",
        "postgresql://[::1]:5432/base", "postgresql://host/base",
    ],
)  # fmt: skip
def test_every_form_of_a_databases_address_is_taken(monkeypatch: pytest.MonkeyPatch, good: str) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", good)
    found = load().database_url
    assert found is not None
    assert found.get_secret_value() == good


def test_a_password_may_come_from_a_file_and_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sluice_database_url").write_text("postgresql://user:hush@host/base\n")
    monkeypatch.setenv("SLUICE_SECRETS_DIR", str(tmp_path))
    settings = load()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://user:hush@host/base"
    assert "hush" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_a_misspelt_variable_is_found_with_what_was_meant() -> None:
    given = {"SLUICE_GATEWAY_PROT": "1", "SLUICE_QQQQ": "1", "SLUICE_HOME": "x", "PATH": "y", "SLUICE_SECRETS_DIR": "z"}
    assert unknown_variables(given) == {"SLUICE_GATEWAY_PROT": "SLUICE_GATEWAY_PORT", "SLUICE_QQQQ": None}


def test_nothing_is_read_from_a_file_that_happens_to_lie_there(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SLUICE_WORKERS=7\n")
    said = subprocess.run(
        [sys.executable, "-c", "from ops.settings import load; print(load().workers)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == "1\n"
