"""The command line, `sluice …`; commands.py says which module has which command.

Exit codes: 0 done; 1 the answer is no, or something is wrong; 2 the command was not understood; 3 nothing certain is
known: the database does not answer or does not let us in, or (channel call) the rail did not say; 130 and 143 stopped
by Ctrl-C and SIGTERM, but by either 0 where a process that runs until then has begun.
"""

import gc
import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line.

    Until a command listens for Ctrl-C itself the system ends it, as it does for SIGTERM: nothing is open yet that would
    have to be closed. An exception out of the midst of an import is a traceback, or is lost where Python drops it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else somebody wants it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.set_threshold(
        200_000, 20, 50
    )  # what is loaded stays: looking through it again and again is a quarter of loading
    from ops.cli.commands import app

    app(prog_name="sluice")
