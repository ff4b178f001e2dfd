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
