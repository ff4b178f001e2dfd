"""The locks that `make` installs from: complete, hashed, in step with each other, and free of registry addresses."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements-bootstrap.lock", "requirements.lock", "requirements-dev.lock"]


def pins(name: str) -> dict[str, str]:
    """Return package → version of a lock."""
    found = re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", (ROOT / name).read_text(), re.MULTILINE)
    return dict(found)


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", wanted)[0].lower().replace("_", "-") for wanted in requirements}


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_a_hash_and_no_line_names_a_registry(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    for block in re.split(r"\n(?=\S)", text.strip()):
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_the_locks_hold_what_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = names(project["project"]["dependencies"]) | names(project["build-system"]["requires"])
    assert runtime <= pins("requirements.lock").keys(), "run `make lock`"
    dev = names(project["project"]["optional-dependencies"]["dev"])
    assert runtime | dev <= pins("requirements-dev.lock").keys(), "run `make lock`"


def test_what_is_tested_is_what_runs() -> None:
    dev = pins("requirements-dev.lock")
    assert {name: dev[name] for name in pins("requirements.lock")} == pins("requirements.lock")
