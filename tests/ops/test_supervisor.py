"""The supervisor, on a hub of small processes that are really killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.supervisor import Process, Run, find_run, without_password
from tests.conftest import _new_home
from tests.ops.trials.replay.running import free_ports

Wait = Callable[[Callable[[], bool]], None]
Alive = Callable[[int], bool]


class Hub:
    """A hub run as a process of its own, and what it has said."""

    def __init__(self, home: Path, *modes: str) -> None:
        self.home = home
        (self.port,) = free_ports(1)
        self.out = home / f"said-{os.urandom(4).hex()}"
        with self.out.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).parent / "hub.py"), str(home), str(self.port), *modes],
                stdout=file,
                stderr=file,
            )

    def said(self, text: str) -> bool:
        return text in self.out.read_text()

    def said_or_ended(self, text: str) -> bool:
        return self.said(text) or self.process.poll() is not None

    def run(self) -> Run:
        run = find_run(self.home)
        assert run is not None, self.out.read_text()
        return run

    def pid(self, name: str) -> int:
        run = self.run()
        pid = next(process.pid for process in [*run.servers, *run.children] if process.name == name)
        assert pid is not None
        return pid

    def pids(self) -> list[int]:
        run = self.run()
        return [process.pid for process in [*run.servers, *run.children] if process.pid is not None]


@pytest.fixture
def hub(home: Path, wait_until: Wait) -> Iterator[Callable[..., Hub]]:
    """Start a hub and wait until it is ready or has given up."""
    started: list[Hub] = []

    def start(*modes: str) -> Hub:
        found = Hub(home, *modes)
        started.append(found)
        wait_until(lambda: found.said_or_ended("READY"))
        return found

    yield start
    for found in started:
        found.process.kill()
        found.process.wait()


@pytest.fixture(scope="module")
def running() -> Iterator[Hub]:
    """A hub for tests that leave it running, whatever they kill of it; its end is a clean one."""
    with _new_home() as home:
        found = Hub(home)
        while not found.said_or_ended("READY"):
            time.sleep(0.05)
        yield found
        assert found.process.poll() is None, found.out.read_text()
        found.process.terminate()
        assert found.process.wait() == 0


def test_a_wished_end_stops_everything_in_reverse_and_leaves_nothing(
    hub: Callable[..., Hub], wait_until: Wait, alive: Alive
) -> None:
    running = hub()
    wait_until(lambda: running.said("other has begun"))
    pids = running.pids()
    assert len(pids) == 4
    assert all(map(alive, pids))
    running.process.terminate()
    assert running.process.wait() == 0
    assert not any(map(alive, pids))
    assert not (running.home / "run.json").exists()
    said = running.out.read_text()
    assert said.index("other has finished") < said.index("web has finished") < said.index("stopped")


def test_the_run_file_names_addresses_and_no_password(running: Hub) -> None:
    text = (running.home / "run.json").read_text()
    for path in (running.home / "secrets").iterdir():
        assert path.read_text().strip() not in text
        assert path.read_text().strip() not in running.out.read_text()
    assert running.said("secret seen")
    run = running.run()
    assert run.pid == running.process.pid
    assert run.gateway_url == "http://127.0.0.1:8400"


@pytest.mark.parametrize("name", ["web", "other", "postgres", "valkey"])
def test_whatever_is_killed_is_started_again(running: Hub, wait_until: Wait, name: str) -> None:
    def process() -> Process:
        run = running.run()
        return next(process for process in [*run.servers, *run.children] if process.name == name)

    before = process()
    os.kill(running.pid(name), signal.SIGKILL)
    wait_until(lambda: process().restarts == before.restarts + 1 and process().pid not in (None, before.pid))
    assert running.process.poll() is None


@pytest.mark.parametrize("name", ["web", "valkey"])
def test_a_hub_that_cannot_note_what_runs_goes_on(running: Hub, wait_until: Wait, name: str) -> None:
    """Its disk is full when a process of its own ends: just then the hub must not end as well."""
    readied = running.out.read_text().count(ready := f"{name:<10} | ready")
    noted = running.home / "run.json"
    first = running.pid(name)
    noted.rename(running.home / "before")
    (noted / "in the way").mkdir(parents=True)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: running.out.read_text().count(ready) > readied or running.process.poll() is not None)
    assert running.process.poll() is None
    assert running.said("run.json cannot be written")
    (noted / "in the way").rmdir()
    noted.rmdir()
    os.kill(int(json.loads((running.home / "before").read_text())["servers"][0]["pid"]), signal.SIGKILL)
    wait_until(lambda: noted.is_file() and len(running.pids()) == 4)
    assert running.pid(name) != first


def test_a_hub_that_cannot_note_that_it_runs_begins_all_the_same(
    hub: Callable[..., Hub], home: Path, wait_until: Wait
) -> None:
    """A machine is started again with a full disk; the database may have one of its own."""
    (home / "run.json" / "in the way").mkdir(parents=True)
    (home / "supervisor.lock").symlink_to("/dev/full")
    running = hub()
    assert running.said("READY"), running.out.read_text()
    wait_until(lambda: running.said("run.json cannot be written"))
    (home / "run.json" / "in the way").rmdir()
    (home / "run.json").rmdir()
    running.process.terminate()
    assert running.process.wait() == 0


def test_a_hub_whose_home_has_no_room_for_what_it_needs_says_so_in_one_line(
    hub: Callable[..., Hub], home: Path
) -> None:
    (home / "secrets").write_text("")  # and no folder can be made there
    running = hub()
    assert running.process.wait() == 1
    assert running.said("postgres-superuser cannot be used: File exists\n")
    assert not running.said("Traceback")


def test_a_killed_supervisor_takes_everything_along_and_the_next_one_starts(
    hub: Callable[..., Hub], wait_until: Wait, alive: Alive
) -> None:
    running = hub()
    pids = running.pids()
    running.process.kill()
    running.process.wait()
    wait_until(lambda: not any(map(alive, pids)))
    assert (running.home / "run.json").exists()
    assert find_run(running.home) is None
    assert hub().said("READY")


def test_a_second_hub_on_one_home_is_refused_and_the_first_goes_on(running: Hub, alive: Alive) -> None:
    second = Hub(running.home)
    assert second.process.wait() == 1
    assert second.said(f"already run by process {running.process.pid}")
    assert all(map(alive, running.pids()))


def test_a_process_that_never_comes_up_ends_the_start_with_its_own_words(hub: Callable[..., Hub], alive: Alive) -> None:
    failed = hub("broken")
    assert failed.process.wait() == 1
    assert failed.said("the till is missing")
    assert failed.said("3 times running")
    assert failed.said("web has finished")
    assert not failed.said("READY")


def test_a_second_signal_ends_even_a_deaf_process(hub: Callable[..., Hub], wait_until: Wait, alive: Alive) -> None:
    running = hub("stubborn")
    pids = running.pids()
    wait_until(lambda: running.said("stubborn is deaf"))
    running.process.send_signal(signal.SIGINT)
    wait_until(lambda: running.said("stopping"))
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait() == 0
    assert running.said("stubborn   | ended with signal SIGKILL")
    assert not any(map(alive, pids))


def test_nobody_reads_what_the_hub_says_and_it_goes_on(hub: Callable[..., Hub], home: Path, alive: Alive) -> None:
    """Standard output and standard error go into pipes that nobody reads until the end."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "hub.py"), str(home), str(port), "chatty"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while find_run(home) is None:
            assert process.poll() is None
            time.sleep(0.05)
        while not (home / "all-said").exists():  # a supervisor that waits for a reader hears no more than a pipe holds
            time.sleep(0.05)
        web = next(child for child in find_run(home).children if child.name == "web").pid
        assert web is not None
        os.kill(web, signal.SIGKILL)

        def restarts() -> int:
            return next(child.restarts for child in find_run(home).children if child.name == "web")

        while restarts() == 0 or alive(web):  # whoever waits for a reader would start nothing again
            time.sleep(0.05)
        process.terminate()
        out, err = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "READY" in out
    assert "lines were dropped: nobody read them" in out + err
    assert "err  " not in out
    assert "out  " not in err


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("broken", "the till is missing"),
        ("unready", "was not ready at http://127.0.0.1:{port}/never within 0.5 s; it said last: 404 "),
    ],
)
def test_standard_error_goes_to_standard_error(home: Path, mode: str, said: str) -> None:
    (port,) = free_ports(1)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "hub.py"), str(home), str(port), mode],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "web        | ready" in done.stdout
    assert said.format(port=port) in done.stderr
    assert "3 times running" in done.stderr
    assert said.format(port=port) not in done.stdout


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:hush@host:5432/base?x=1", "postgresql://user@host:5432/base?x=1"),
        ("redis://:hush@host:1/0", "redis://host:1/0"),
        ("postgresql://user:hush@one:1,two:2/base", "postgresql://user@one:1,two:2/base"),
        ("postgresql://user:hu%40sh@[::1]:1/base", "postgresql://user@[::1]:1/base"),
        ("redis://host", "redis://host"),
    ],
)
def test_addresses_are_shown_without_their_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
