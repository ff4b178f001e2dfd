"""Servers that are stopped in the middle of their work: they are there, take connections, and say nothing."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ops import embedded
from ops.embedded.server import processes_of


@contextmanager
def frozen(server: "embedded.Postgres | embedded.Valkey") -> Iterator[None]:
    """Stop every process of a server of the test's while inside; afterwards they go on as if nothing had been."""
    assert server.pid is not None
    stopped: list[int] = []
    try:
        # Whoever makes the others first; then there are no more of them than are found.
        for pid in (server.pid, *processes_of(server.place.data, server._is_ours)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
        yield
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
