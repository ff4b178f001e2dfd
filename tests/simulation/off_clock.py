"""A process of the hub on a host whose clock is off: `python -m tests.simulation.off_clock FILE gateway` (or worker).

FILE holds by how many seconds, read anew at each look at the clock, so that the clock can jump while the process runs.
Only the one seam is bent through which the hub sees wall time; monotonic time is as it is, as on a real host.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kernel.env import SystemClock
from ops.cli import main


def bend(file: Path) -> None:
    """Have this process's wall clock be off by what the file says."""

    def now(_: SystemClock) -> datetime:
        try:
            off = float(file.read_text() or 0)
        except (OSError, ValueError):  # it is just being written
            off = 0.0
        return datetime.now(UTC) + timedelta(seconds=off)

    SystemClock.now = now  # type: ignore[method-assign]


if __name__ == "__main__":
    bend(Path(sys.argv.pop(1)))
    main()
