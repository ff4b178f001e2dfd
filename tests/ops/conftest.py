"""Helpers for tests that kill processes for real, and for those that type commands."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ops.cli.commands import app

HERE = Path(__file__).parent


@pytest.fixture
def owner() -> Iterator[Callable[..., tuple[subprocess.Popen[str], dict[str, Any]]]]:
    """Start a process that owns the servers of a home; returns it and what it said."""
    started: list[subprocess.Popen[str]] = []

    def start(home: Path) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "owner.py"), str(home)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Wait for a condition; pytest's own time limit ends a wait in vain."""

    def wait(condition: Callable[[], bool]) -> None:
        while not condition():
            time.sleep(0.02)

    return wait


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Tell whether a process runs; a zombie that its parent has not looked at does not."""

    def tell(pid: int) -> bool:
        try:
            os.kill(pid, 0)
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (ProcessLookupError, FileNotFoundError):
            return False
        except PermissionError:
            return True

    return tell


@pytest.fixture
def bare_home(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """A home on a database of its own in which there is nobody yet.

    Run `sluice` there, see to its exit code, and return what it said.
    """
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)
    monkeypatch.setenv("SLUICE_REDIS_URL", redis_url)
    monkeypatch.setenv("SLUICE_PUBLIC_URL", "https://pay.example.com")

    def run(*words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == code, done.output
        assert "PRIVATE KEY" not in done.output
        return done

    return run


@pytest.fixture
def tea_house(bare_home: Callable[..., Result]) -> Callable[..., Result]:
    """The same with ada as its operator, and book 1 a tea house's."""
    bare_home("person", "add", "ada", "--first")
    bare_home("merchant", "add", "tea")
    return bare_home


@pytest.fixture
def two_operators(tea_house: Callable[..., Result]) -> Callable[..., Result]:
    """The same with a second operator, cy, whom `--as cy` names, and bo, a clerk, whom the two took on."""
    tea_house("person", "add", "cy", "--role", "operator", "--keep")
    bo = ("person", "add", "bo", "--keep")
    tea_house(*bo, code=1)
    (asked,) = json.loads(tea_house("approval", "list", "--json").stdout)["approvals"]
    tea_house("--as", "cy", "approval", "approve", asked["id"])
    tea_house(*bo)
    return tea_house
