"""A whole hub run as its users run it, and replays against it; for tests that look at it from outside only."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.embedded.place import is_free
from ops.supervisor import Run, find_run
from tests.conftest import _new_home

REPOSITORY = Path(__file__).parents[4]
SLUICE = [sys.executable, "-m", "ops.cli"]
TIME_SCALE = "0.02"

# Every key of the summary that `sluice replay --json` writes.
KEYS = {
    *("invoices", "paid", "refunded", "refused", "currency", "captured_minor", "refunded_minor", "refused_minor"),
    *("file_net_minor", "shares_minor", "settled_minor", "settlement_lines_refused", "business_dates"),
    *("faults_asked", "faults_planted", "discrepancies_found", "discrepancies_missed", "discrepancies_invented"),
    *("discrepancies_explained", "faults", "disturbances", "retries", "charged_twice", "unknown_charges"),
    *("acknowledged", "acknowledged_lost", "invariants", "wrongs", "book", "seconds"),
    *("rails", "cut", "slow", "lossy", "given_back", "rung_up_again", "logs"),
}


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on just now, of those that Linux gives to no outgoing connection meanwhile."""
    return [port for port in random.sample(range(15_000, 30_000), 200) if is_free(port)][:count]


@dataclass(frozen=True)
class Replay:
    """What became of one `sluice replay`."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        """The summary; standard output must have been nothing else."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    def assert_good(self) -> dict[str, Any]:
        """Hold the summary against itself; every replay must pass this."""
        assert self.code == 0, self.err + self.out
        found = self.summary
        assert set(found) == KEYS
        assert found["wrongs"] == []
        assert found["invoices"] == found["paid"] + found["refunded"] + sum(found["refused"].values())
        net = found["captured_minor"] - found["refunded_minor"] + found["refused_minor"]
        assert net == found["file_net_minor"]
        assert sum(found["shares_minor"].values()) == found["captured_minor"] - found["refunded_minor"]
        assert found["discrepancies_missed"] == found["discrepancies_invented"] == 0
        assert found["discrepancies_found"] == found["faults_planted"] == len(found["faults"])
        assert found["charged_twice"] == found["unknown_charges"] == found["acknowledged_lost"] == 0
        assert found["acknowledged"] >= found["paid"]
        assert found["invariants"]["broken"] == 0
        assert sum(rail["paid"] for rail in found["rails"]) == found["paid"]
        assert sum(rail["captured_minor"] for rail in found["rails"]) == found["captured_minor"]
        assert sum(rail["refunded_minor"] for rail in found["rails"]) == found["refunded_minor"]
        assert found["cut"] is None or found["cut"]["failed_share"] < 0.005
        assert found["invariants"]["checked"] >= 14
        return found


@dataclass(frozen=True)
class RunningHub:
    """A hub under `sluice up`, or a home in which there is none."""

    home: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def run(self) -> Run:
        found = find_run(self.home)
        assert found is not None, self.said()
        return found

    def wait_until_up(self, process: "subprocess.Popen[Any]") -> None:
        """Wait for the hub that `process` starts; pytest's own limit ends a wait in vain."""
        # The file first: looking whether the lock is held takes it for a moment.
        while not (self.home / "run.json").exists() or find_run(self.home) is None:
            assert process.poll() is None, self.said()
            time.sleep(0.05)

    def said(self) -> str:
        log = self.home / "up.log"
        return log.read_text(errors="replace")[-4000:] if log.exists() else "nothing"

    def start(self, *arguments: str, **more: Any) -> "subprocess.Popen[str]":
        """Start a `sluice …` in this home; more: of Popen, both outputs are piped where it does not say otherwise."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
        return subprocess.Popen([*SLUICE, *arguments], env=self.environment, cwd=REPOSITORY, text=True, **pipes)

    def replay(self, *arguments: str) -> Replay:
        """Run `sluice replay --json - …` to its end."""
        return ended(self.start("replay", "--json", "-", *arguments))

    def processes(self) -> dict[int, str]:
        """Return the processes that have anything to do with this home, by pid."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                facts = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
                facts += os.fsencode(os.readlink(folder / "cwd"))
                alive = (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
            except OSError:  # it ended meanwhile, or is another user's
                continue
            if alive and os.fsencode(self.home) in facts and int(folder.name) != os.getpid():
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def wait_until_all_have_gone(self) -> None:
        """Wait for the last process of this home; pytest's own limit ends a wait in vain."""
        while self.processes():
            time.sleep(0.05)


def ended(process: "subprocess.Popen[str]") -> Replay:
    """Wait for a replay and return what became of it."""
    out, err = process.communicate()
    return Replay(process.returncode, out, err)


@contextmanager
def an_empty_home(**settings: str) -> Iterator[RunningHub]:
    """Yield a home in which nothing runs yet, with ports of its own. settings: SLUICE_… of its processes.

    What lays cables of its own to the sandbox and has them called gives SLUICE_ALLOW_ADDRESSES="loopback".
    """
    names = ("SLUICE_GATEWAY_PORT", "SLUICE_OPS_PORT", "SLUICE_SANDBOX_PORT")
    ports = dict(zip(names, map(str, free_ports(len(names))), strict=True))
    with _new_home() as home:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
        facts = {"SLUICE_HOME": str(home), "SLUICE_TIME_SCALE": TIME_SCALE, "SLUICE_LOG_FORMAT": "json", **ports}
        yield RunningHub(home, ours | facts | settings | {"TMPDIR": tempfile.gettempdir()})


@contextmanager
def a_running_hub(**settings: str) -> Iterator[RunningHub]:
    """Run `sluice up` in a fresh home for as long as the context lasts, and see that it ends cleanly."""
    with an_empty_home(**settings) as empty:
        with (empty.home / "up.log").open("ab") as log:
            process = subprocess.Popen(
                [*SLUICE, "up"], env=empty.environment, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True
            )
        hub = RunningHub(empty.home, empty.environment, process)
        try:
            hub.wait_until_up(process)
            yield hub
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0, hub.said()
        finally:
            process.kill()
            process.wait()
