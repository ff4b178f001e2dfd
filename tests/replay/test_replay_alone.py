"""A replay in a home where no hub runs: it starts one, shares it, stops it, and leaves nothing behind."""

import signal
from pathlib import Path

from ops.replay import generate
from ops.supervisor import find_run
from tests.replay.running import RunningHub, ended


def test_two_replays_in_an_empty_home_share_the_hub_that_the_faster_one_starts(
    empty_home: RunningHub, tmp_path: Path
) -> None:
    file = tmp_path / "orders.csv"
    generate.write(file, 11, orders=20)
    both = [empty_home.start("replay", "--json", "-", "--orders", str(file), "--faults", "5") for _ in range(2)]
    first, second = (ended(process).assert_good() for process in both)
    assert first["book"] != second["book"]
    assert find_run(empty_home.home) is None
    assert empty_home.processes() == {}
    assert {path.name for path in (empty_home.home / "demo").iterdir()} == {
        *("hub.log", "replay.log", "bank.lock", "users.lock")
    }


def test_a_replay_that_is_told_to_stop_takes_everything_along(empty_home: RunningHub) -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = empty_home.start("replay", "--json", "-")
        assert process.stderr is not None
        said = ""
        while "orders" not in said:
            said = process.stderr.readline()
            assert said, "the replay ended by itself"
        assert len(empty_home.processes()) > 5
        process.send_signal(number)
        done = ended(process)
        assert done.code == code, done.err
        assert done.out == ""
        assert "Traceback" not in done.err
        assert done.err.count("\n") == 1
        assert empty_home.processes() == {}
        assert find_run(empty_home.home) is None


def test_a_replay_that_is_told_to_stop_while_it_starts_the_hub_takes_that_along(empty_home: RunningHub) -> None:
    process = empty_home.start("replay", "--json", "-")
    while not (empty_home.home / "supervisor.lock").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    done = ended(process)
    assert done.code == 130
    assert "Traceback" not in done.err
    assert empty_home.processes() == {}


def test_a_killed_replay_leaves_no_process_behind(empty_home: RunningHub) -> None:
    process = empty_home.start("replay", "--json", "-")
    while find_run(empty_home.home) is None:
        assert process.poll() is None
    process.kill()
    ended(process)
    while empty_home.processes():  # the kernel tells the children one after the other
        pass
