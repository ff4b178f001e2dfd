"""A process of the hub at another moment: `python -m ops.trials.settlements.at FILE gateway` (or worker, or desk).

FILE holds by how many seconds this process's wall clock is off, read at each look, so that a play moves all of its
processes from one moment of a day to the next; monotonic time passes likewise. The hub refuses to write where its clock
is not the database's; here time is given by hand, as that refusal foresees (`max_skew`). The timetable looks each
second, and not each fifteen.

`desk` is where people type their commands: it reads one a line, as JSON, runs each in a process of its own as `sluice`
would, and answers with its exit code and what it said.
"""

import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from kernel.env import SystemClock
from ops import wiring
from reconciliation.timetable import worker as following


def bend(file: Path) -> None:
    """Have this process's wall clock be off by what the file says."""

    def off() -> float:
        return float(file.read_text() or 0)

    begun = off()

    def now(self: SystemClock) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=off())

    def monotonic(self: SystemClock) -> float:
        return time.monotonic() + off() - begun

    SystemClock.now = now  # type: ignore[method-assign]
    SystemClock.monotonic = monotonic  # type: ignore[method-assign]
    wiring.hub = partial(wiring.hub, max_skew=None)
    following.EVERY_S = 1.0


def desk() -> None:
    """Run what is typed, line by line, until there is no more."""
    from ops import serve  # noqa: F401  # loaded once, for all commands
    from ops.cli import commands, main  # noqa: F401

    for line in sys.stdin:
        told = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if child == 0:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.argv = ["sluice", *told]
                code = 70
                try:
                    main()
                except SystemExit as ended:
                    code = ended.code if isinstance(ended.code, int) else 1
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            said = [file.seek(0) or file.read().decode(errors="replace") for file in (out, err)]
        answer = {"code": os.waitstatus_to_exitcode(status), "out": said[0], "err": said[1]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    bend(Path(sys.argv.pop(1)))
    if sys.argv[1:] == ["desk"]:
        desk()
    else:
        from ops.cli import main

        main()
