"""`python -m sandbox`: the simulated counterparties as a process of their own."""

import argparse
import json
import sys
from pathlib import Path

from sandbox import clock
from sandbox.main import AlreadyRunning, NotRunning, info, run


def main() -> int:
    """Read the command line and run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--home", help="the hub's home; default $SLUICE_HOME, else ./.sluice")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--time-scale", type=float, default=1.0, help="factor on simulated waits, e.g. 0.01")
    parser.add_argument("--clock", type=Path, help="a file that says by how many seconds this clock is off")
    parser.add_argument("--info", action="store_true", help="show where the sandbox of this home is, and end")
    arguments = parser.parse_args()
    try:
        if arguments.info:
            print(json.dumps(info(arguments.home), indent=2, ensure_ascii=False))
            return 0
        clock.follow(arguments.clock)
        return run(arguments.home, arguments.port, arguments.time_scale, arguments.host)
    except (AlreadyRunning, NotRunning, OSError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
