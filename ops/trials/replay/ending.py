"""What a replay says last and leaves behind, however it ended."""

import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from kernel.errors import SluiceError
from ops.embedded import CannotStart
from ops.trials.replay import page
from ops.trials.replay.day import Day, Stage
from ops.trials.replay.kept import Kept
from ops.trials.replay.patience import PromiseBroken
from ops.trials.replay.world import HubFailed, Refused

SHOWN = 12  # promises that did not hold; failure.txt has them all
_EXPECTED = (PromiseBroken, CannotStart, HubFailed, Refused, SluiceError, OSError)  # whose words say it all


@dataclass(frozen=True, slots=True)
class Ending:
    """Of one replay. json_file: where the summary was asked for, - for standard output.

    Every method keeps what it is about and returns the last words, "" where there is nothing to complain of.
    """

    kept: Kept
    json_file: Path | None

    def over(self, day: Day, orders: Path) -> str:
        """The day was played to its end: write its summary, show its page."""
        wrongs = day.wrongs()
        if why := self._write(day.summary()):
            wrongs.append(why)
        quiet = str(self.json_file) == "-"
        if not quiet:
            page.show(day, orders, Console())
            if self.json_file is not None and not why:
                typer.echo(f"written to {self.json_file}")
        if not wrongs:
            return ""
        said = f"{'1 promise' if len(wrongs) == 1 else f'{len(wrongs)} promises'} of this day did not hold"
        listed = [f"  {wrong}" for wrong in wrongs]
        self.kept.failure("\n".join([f"{said}:", *listed]))
        if not quiet:  # they stand on the page
            return f"{said}; {self._where()}"
        more = [f"  and {len(wrongs) - SHOWN} more"] if len(wrongs) > SHOWN else []
        return "\n".join([f"{said}:", *listed[:SHOWN], *more, self._where()])

    def stopped(self, how: str) -> str:
        """Somebody stopped it."""
        self.kept.failure(how)
        return f"{how}; nothing of ours runs any more; the logs are in {self.kept.folder}"

    def broken_off(self, error: Exception, stage: Stage | None) -> str:
        """It could not go on: say which promise did not hold, all that is known of it, and what the hub said."""
        why = str(error) if isinstance(error, _EXPECTED) else f"{type(error).__name__}: {error}"
        at = f"; it was at: {stage}" if stage else ""
        lines = [f"the day could not be played to its end{at}", *(f"  {line}" for line in why.splitlines())]
        if self.kept.hub_log.exists():
            said = self.kept.hub_said(stage.book if stage else None)
            lines.append("the hub's log has of it last:" if said else "the hub's log has no warning and no error of it")
            lines += [f"  {line}" for line in said]
        else:
            lines.append("the hub was not started by this replay, so its log is elsewhere")
        self._write({"wrongs": [why], "stage": str(stage)})
        self.kept.failure("\n".join([*lines, "", *traceback.format_exception(error)]))
        return "\n".join([*lines, self._where()])

    def _where(self) -> str:
        return f"failure.txt, summary.json and the logs are in {self.kept.folder}"

    def _write(self, summary: Mapping[str, Any]) -> str:
        """Keep the figures, and write them to where they were asked for; return why that could not be done, or ""."""
        text = json.dumps({**summary, "logs": str(self.kept.folder)}, ensure_ascii=False, indent=2) + "\n"
        try:
            self.kept.summary(text)
            if str(self.json_file) == "-":
                typer.echo(text, nl=False)
            elif self.json_file is not None:
                self.json_file.write_text(text, encoding="utf-8")
        except OSError as error:
            return f"the summary could not be written: {error}"
        return ""
