"""The load scenario, run small against a whole hub: it passes a good one, and its thresholds bite."""

import ast
import re
import subprocess
import sys

import pytest

from tests.ops.trials.replay.running import REPOSITORY, RunningHub

SMALL = ("--users", "5", "--spawn-rate", "5", "--run-time", "8s")
HUB = {"kernel", "ledger", "channels", "streams", "cases", "people", "splitting", "gateway", "reconciliation", "ops"}
FOLDER = REPOSITORY / "loadtests"


def locust(hub: RunningHub, *arguments: str, **changed: str) -> "subprocess.CompletedProcess[str]":
    """Run the scenario to its end; changed: environment variables."""
    argv = [sys.executable, "-m", "locust", "--config", "loadtests/locust.conf", *arguments]
    return subprocess.run(
        argv, env={**hub.environment, **changed}, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def test_five_users_for_eight_seconds_keep_every_threshold(running_hub: RunningHub) -> None:
    # How fast this machine is while other tests run shows nothing of the hub; that every sale goes all the way does.
    done = locust(running_hub, *SMALL, LOAD_P95_FACTOR="1000", LOAD_PAYMENTS="1")
    assert done.returncode == 0, done.stderr
    assert "every threshold held" in done.stderr
    for name in ("create", "poll", "query", "refund", "until the notice", "sandbox: the payer pays"):
        assert re.search(rf"{name} +\d+ +0\(0\.00%\)", done.stderr), f"{name} was not asked, or failed"


@pytest.mark.parametrize(
    ("threshold", "value", "said"),
    [
        ("LOAD_P95_FACTOR", "0.00001", "create: p95 was"),
        ("LOAD_PAYMENTS", "1000000", "payments went all the way; 1000000 must"),
    ],
)
def test_a_threshold_that_cannot_be_kept_fails_the_run(
    running_hub: RunningHub, threshold: str, value: str, said: str
) -> None:
    done = locust(running_hub, "--users", "1", "--run-time", "2s", **{"LOAD_PAYMENTS": "1", threshold: value})
    assert done.returncode == 1
    assert said in done.stderr


def test_refused_requests_fail_the_run(running_hub: RunningHub) -> None:
    """A key that was never given out: every request is answered, none as wanted."""
    facts = {"LOAD_HUB_URL": running_hub.run.gateway_url, "LOAD_SANDBOX_URL": running_hub.run.sandbox_url}
    done = locust(running_hub, "--users", "1", "--run-time", "1s", LOAD_API_KEY="sk_none", LOAD_MCHID="1", **facts)
    assert done.returncode == 1
    assert "100.00% of the requests failed; 0.00% may" in done.stderr
    assert "refund: never asked" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "changed", "said"),
    [
        (("--users", "201"), {}, "--users from 1 to 200"),
        (("--run-time", "601s"), {}, "--run-time of at most 600s"),
        ((), {"LOAD_HUB_URL": "http://192.0.2.1:80"}, "this machine only"),
        ((), {"LOAD_SANDBOX_URL": "http://127.0.0.1.example.com"}, "this machine only"),
    ],
)
def test_a_run_without_bounds_or_against_another_machine_is_refused(
    running_hub: RunningHub, arguments: tuple[str, ...], changed: dict[str, str], said: str
) -> None:
    here = {"LOAD_HUB_URL": "http://127.0.0.1:1", "LOAD_SANDBOX_URL": "http://127.0.0.1:1"}
    done = locust(running_hub, *arguments, **{"LOAD_API_KEY": "sk_none", "LOAD_MCHID": "1", **here, **changed})
    assert done.returncode != 0
    assert said in done.stderr


def imported(source: str) -> set[str]:
    """Return the top-level packages a module imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_load_tests_import_nothing_of_the_hubs() -> None:
    assert imported("def f():\n    from gateway.api.app import make_app\n") & HUB == {"gateway"}  # it would be seen
    sources = list(FOLDER.glob("*.py"))
    assert len(sources) > 3
    assert {file.name: imported(file.read_text()) & HUB for file in sources if imported(file.read_text()) & HUB} == {}


def test_the_page_names_what_there_is() -> None:
    page, source = (FOLDER / "README.md").read_text(), (FOLDER / "locustfile.py").read_text()
    for file in (path.name for path in FOLDER.iterdir() if path.is_file() and path.name != "__init__.py"):
        assert file == "README.md" or f"`{file}`" in page
    for constant in re.findall(r"^([A-Z][A-Z0-9_]+) = ", source, re.MULTILINE):
        assert f"`{constant}`" in page or constant in ("NOTICE_WITHIN_S", "POLL_EVERY_S", "P95_FACTOR")
    read = set(re.findall(r"LOAD_[A-Z0-9_]+", source)) | {"LOAD_HUB_URL", "LOAD_SANDBOX_URL", "LOAD_MCHID"}
    assert set(re.findall(r"LOAD_[A-Z0-9_]+", page)) == read
    assert (REPOSITORY / "Makefile").read_text().count("\nload:") == 1
