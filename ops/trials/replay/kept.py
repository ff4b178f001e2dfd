"""What every replay leaves behind: a folder of its own with its logs, its summary, and why it failed if it did."""

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KEPT = 10  # folders; the oldest go first
SAID = 5  # lines of the hub's log that stand in a failure's text


_SAID_APART = ("event", "level", "at", "logger", "exception")


@dataclass(frozen=True, slots=True)
class Kept:
    """The folder of one replay, SLUICE_HOME/demo/runs/<when, UTC>-<process>.

    hub.log where the hub was started by this replay, replay.log, summary.json where there is one, failure.txt.
    """

    folder: Path

    @property
    def hub_log(self) -> Path:
        return self.folder / "hub.log"

    @property
    def replay_log(self) -> Path:
        return self.folder / "replay.log"

    def summary(self, text: str) -> None:
        """Keep the figures, as JSON."""
        (self.folder / "summary.json").write_text(text, encoding="utf-8")

    def failure(self, text: str) -> None:
        """Keep why it failed. A full disk must not hide the reason, which is told elsewhere too."""
        with suppress(OSError):
            (self.folder / "failure.txt").write_text(text.rstrip() + "\n", encoding="utf-8")

    def hub_said(self, book: int | None) -> list[str]:
        """Return the last errors, or else warnings, of the hub's log about this book, or about no book."""
        try:
            lines = self.hub_log.read_text(errors="replace").splitlines()
        except OSError:
            return []
        troubles = [found for line in lines if (found := _trouble(line, book))]
        errors = [said for level, said in troubles if level != "warning"]
        return (errors or [said for _, said in troubles])[-SAID:]


def open_folder(home: Path, *, now: datetime, pid: int) -> Kept:
    """Make the folder of a replay that begins, and remove the oldest others; never one whose replay still runs.

    Raises OSError.
    """
    runs = home / "demo" / "runs"
    folder = runs / f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{pid}"
    folder.mkdir(parents=True)
    others = sorted(path for path in runs.iterdir() if path != folder)
    for old in others[: max(0, len(others) - KEPT + 1)]:
        if not _runs(old):
            shutil.rmtree(old, ignore_errors=True)
    return Kept(folder)


def _runs(folder: Path) -> bool:
    """Tell whether the process that a folder is named after is there; another under its number only keeps it longer."""
    _, _, pid = folder.name.rpartition("-")
    return pid.isdigit() and Path(f"/proc/{pid}").exists()


def _trouble(line: str, book: int | None) -> tuple[str, str] | None:
    """Return the level and the words of a line of the hub's log; None where it is no trouble or is another book's."""
    who, _, said = line.partition(" | ")
    try:
        told: dict[str, Any] = json.loads(said)
        level = told["level"]
    except (ValueError, TypeError, KeyError):
        died = said.endswith("starting it again") or "; starting it again in " in said or "was not ready at" in said
        return ("error", f"{who.strip()} {said}") if died else None
    if level not in ("warning", "error", "critical") or (book is not None and told.get("book", book) != book):
        return None
    facts = {name: value for name, value in told.items() if name not in _SAID_APART and value not in ("", None)}
    more = ", ".join(f"{name} {value}" for name, value in facts.items())
    trace = str(told.get("exception", "")).rstrip()
    words = [f"{who.strip()} {told.get('at', '')} {level}: {told.get('event', '')}", more and f"({more})"]
    return level, " ".join(filter(None, [*words, trace.rpartition("\n")[2]]))
