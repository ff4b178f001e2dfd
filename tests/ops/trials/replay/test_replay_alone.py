"""A replay in a home where no hub runs: it starts one, shares it, stops it, and leaves nothing behind."""

import signal
import socket
import subprocess
from pathlib import Path

import asyncpg
import pytest

from ops import embedded
from ops.settings import Settings
from ops.supervisor import find_run
from ops.trials.replay import command, generate
from tests.ops.trials.replay.running import RunningHub, ended, free_ports


def test_two_replays_in_an_empty_home_share_the_hub_that_the_faster_one_starts(
    idle_home: RunningHub, tmp_path: Path
) -> None:
    file = tmp_path / "orders.csv"
    generate.write(file, 11, orders=20)
    both = [idle_home.start("replay", "--json", "-", "--orders", str(file), "--faults", "5") for _ in range(2)]
    first, second = (ended(process).assert_good() for process in both)
    assert first["book"] != second["book"]
    assert find_run(idle_home.home) is None
    idle_home.wait_until_all_have_gone()
    assert {path.name for path in (idle_home.home / "demo").iterdir()} == {"runs", "bank.lock", "users.lock"}
    for found in (first, second):
        assert {path.name for path in Path(found["logs"]).iterdir()} == {"hub.log", "replay.log", "summary.json"}


def test_a_replay_that_is_told_to_stop_takes_everything_along(idle_home: RunningHub) -> None:
    process = until(idle_home.start("replay", "--json", "-"), "orders")
    assert len(idle_home.processes()) > 5
    stopped(process, signal.SIGINT, 130)
    idle_home.wait_until_all_have_gone()
    assert find_run(idle_home.home) is None


def test_a_replay_that_is_told_to_stop_leaves_a_hub_that_is_not_its_own_alone(running_hub: RunningHub) -> None:
    before = running_hub.run
    process = until(running_hub.start("replay", "--json", "-"), "orders")
    stopped(process, signal.SIGTERM, 143)
    assert running_hub.run == before
    assert process.pid not in running_hub.processes()


def until(process: "subprocess.Popen[str]", stage: str) -> "subprocess.Popen[str]":
    """Wait until a replay says that it has come to a stage."""
    assert process.stderr is not None
    said = ""
    while stage not in said:
        said = process.stderr.readline()
        assert said, "the replay ended by itself"
    return process


def stopped(process: "subprocess.Popen[str]", number: signal.Signals, code: int) -> None:
    """Tell a replay to stop; it must say so in one line and nothing else."""
    process.send_signal(number)
    done = ended(process)
    assert done.code == code, done.err
    assert done.out == ""
    assert done.err.startswith("sluice: ")
    assert done.err.count("\n") == 1
    assert "the logs are in " in done.err


def test_a_replay_that_is_told_to_stop_while_it_starts_the_hub_takes_that_along(idle_home: RunningHub) -> None:
    process = until(idle_home.start("replay", "--json", "-"), "starting the hub")
    while not idle_home.processes().keys() - {process.pid}:
        assert process.poll() is None
    stopped(process, signal.SIGINT, 130)
    idle_home.wait_until_all_have_gone()


def test_a_killed_replay_leaves_no_process_behind(idle_home: RunningHub) -> None:
    process = idle_home.start("replay", "--json", "-")
    idle_home.wait_until_up(process)
    process.kill()
    ended(process)
    idle_home.wait_until_all_have_gone()  # the kernel tells the children one after the other


async def test_ports_that_are_taken_before_the_hub_listens_are_chosen_anew(
    idle_home: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "hub.log"
    with socket.socket() as theirs:
        theirs.bind(("127.0.0.1", 0))
        theirs.listen()
        taken = theirs.getsockname()[1]
        drawn = [[*free_ports(2), taken], free_ports(3)]
        monkeypatch.setattr(command, "free_ports", lambda count: drawn.pop(0))
        async with command._started(Settings(home=idle_home.home), log) as run:
            assert run.sandbox_url != f"http://127.0.0.1:{taken}"
    assert drawn == []
    assert f"port {taken} is taken by " in log.read_text()


NO_SHARES = """
    CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted by a test'; END $$;
    CREATE TRIGGER planted BEFORE INSERT ON split FOR EACH ROW EXECUTE FUNCTION planted();
"""


# The last test of this home: its trigger stays.
async def test_a_day_that_cannot_go_on_says_in_its_last_lines_why_and_its_logs_stay(idle_home: RunningHub) -> None:
    there = idle_home.home / "demo" / "runs"
    before = {path: path.read_bytes() for path in there.glob("*/*")}
    process = until(idle_home.start("replay", "--json", "-"), "orders")
    connection = await asyncpg.connect(embedded.postgres_url(idle_home.home))
    await connection.execute(NO_SHARES)
    book = await connection.fetchval("SELECT max(book) FROM book")
    await connection.close()
    done = ended(process)
    assert done.code == 1
    first, why, *said, last = done.err.splitlines()
    assert first.startswith("sluice: the day could not be played to its end; it was at: orders 交易, ")
    assert first.endswith(f" done, book {book}")
    assert why.startswith("  POST /v1/payments: 500 internal_error: ")
    assert said[0] == "the hub's log has of it last:"
    assert "planted by a test" in said[-1]
    (kept,) = set(there.iterdir()) - {path.parent for path in before}
    assert last == f"failure.txt, summary.json and the logs are in {kept}"
    assert done.summary["wrongs"] == [why.strip()]
    assert done.summary["logs"] == str(kept)
    assert {path.name for path in kept.iterdir()} == {"hub.log", "replay.log", "summary.json", "failure.txt"}
    assert why in (kept / "failure.txt").read_text()
    assert {path: path.read_bytes() for path in before} == before
