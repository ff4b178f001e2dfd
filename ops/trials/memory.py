"""How much memory this process has used at most, since a moment of one's own choice where the system tells that."""

import resource
from contextlib import suppress
from pathlib import Path


def forget_peak() -> None:
    """Have the peak begin anew at what is in use now; nothing where the system cannot."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> int:
    """Return the peak in megabytes, since forget_peak was called or else since the process began."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return next(round(int(line.split()[1]) / 1024) for line in status.splitlines() if line.startswith("VmHWM:"))
