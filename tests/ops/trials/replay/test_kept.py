"""Every replay has a folder of its own; the last ten stay, and those of replays that still run."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ops.trials.replay.kept import KEPT, SAID, Kept, open_folder

AT = datetime(2026, 11, 29, 21, 24, 30, tzinfo=UTC)
GONE = 2**22 + 1  # no process has such a number


def test_a_folder_is_named_after_when_and_who_and_the_last_ten_stay(tmp_path: Path) -> None:
    made = [open_folder(tmp_path, now=AT + timedelta(minutes=n), pid=GONE + n).folder for n in range(KEPT + 3)]
    assert made[0] == tmp_path / "demo" / "runs" / f"20261129T212430Z-{GONE}"
    assert sorted((tmp_path / "demo" / "runs").iterdir()) == made[-KEPT:]


def test_the_folder_of_a_replay_that_still_runs_stays(tmp_path: Path) -> None:
    ours = open_folder(tmp_path, now=AT, pid=os.getpid())
    for n in range(KEPT + 3):
        open_folder(tmp_path, now=AT + timedelta(minutes=n + 1), pid=GONE + n)
    assert ours.folder.exists()


def line(who: str, event: str, level: str, **facts: object) -> str:
    return f"{who:<10} | {json.dumps({'event': event, 'level': level, 'logger': 'x', 'at': '21:26', **facts})}"


def test_of_the_hubs_log_the_last_errors_of_the_book_are_told(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert kept.hub_said(1) == []
    warned = line("gateway", "a notice was not believed", "warning")
    kept.hub_log.write_text("\n".join([line("worker", "working", "info", book=1), warned, "no line of ours\n"]))
    assert kept.hub_said(1) == ["gateway 21:26 warning: a notice was not believed"]
    lines = [
        warned,
        *(line("worker", f"{n} cannot be applied", "error", book=1, why="bad", bank="") for n in range(SAID)),
        line("worker", "another's", "error", book=2),
        line("worker", "it failed", "error", exception="Traceback:\n  File x\nValueError: planted"),
        "worker     | ended with signal 9 (SIGKILL); starting it again in 0.1 s",
    ]
    kept.hub_log.write_text("\n".join(lines) + "\n")
    assert kept.hub_said(1) == [
        *(f"worker 21:26 error: {n} cannot be applied (book 1, why bad)" for n in range(2, SAID)),
        "worker 21:26 error: it failed ValueError: planted",
        "worker ended with signal 9 (SIGKILL); starting it again in 0.1 s",
    ]
