"""Child processes that end when we end, however we end."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from .account import UnixAccount, as_account
from .errors import CannotStart

Stream = int | IO[bytes]

_PR_SET_PDEATHSIG = 1  # prctl(2)
# Looked up before any fork: a child between fork and exec must not load libraries.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def spawn(
    argv: Sequence[str | Path],
    *,
    account: UnixAccount | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = subprocess.DEVNULL,
    stderr: Stream = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own which Linux sends `death_signal` when we die, even by kill -9.

    account: whom the child becomes; None keeps our own identity.
    env: the child's whole environment; None hands on ours.
    pass_fds: descriptors of ours that stay open in the child, under the same numbers.
    Call it from the main thread: Linux takes the death of the *thread* that forked for the death of the parent.
    On other systems the child is tied to nothing, and the next start finds and ends what was left.
    Raises CannotStart when the program cannot be run or the identity not be taken.
    """
    if _libc is not None and threading.current_thread() is not threading.main_thread():
        raise RuntimeError("children are started from the main thread: they die with the thread that started them")
    try:
        return subprocess.Popen(
            [str(part) for part in argv],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=None if env is None else dict(env),
            cwd="/" if cwd is None else cwd,
            # A session of its own: Ctrl-C in the terminal reaches us alone, and we stop children in our order.
            start_new_session=True,
            pass_fds=pass_fds,
            preexec_fn=_tie(death_signal),
            **as_account(account),
        )
    except (OSError, subprocess.SubprocessError) as error:
        whom = "" if account is None else f" as user {account.name} (uid {account.uid})"
        raise CannotStart(f"{argv[0]} could not be run{whom}: {error}") from error


def _tie(death_signal: signal.Signals) -> Callable[[], None] | None:
    """Return what the new child runs just before its program; by then it has its final identity.

    It must come after the change of identity, because that change clears the wish.
    """
    libc, parent = _libc, os.getpid()
    if libc is None:
        return None

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the wish was heard
            os.kill(os.getpid(), signal.SIGKILL)

    return tie


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait until a child has ended and return its exit code, negative when a signal ended it.

    It looks twenty times a second, which costs nothing and works under every event loop and system.
    """
    while (code := process.poll()) is None:  # noqa: ASYNC110 — the system has no event for it that all loops share
        await asyncio.sleep(0.05)
    return code


async def end(
    process: subprocess.Popen[bytes],
    *steps: tuple[signal.Signals, float],
) -> int:
    """Ask a child to end, ever less politely, and return its exit code.

    steps: (signal, seconds to wait for its effect), in order; SIGKILL follows the last one.
    """
    for polite, grace in steps:
        if process.poll() is not None:
            break
        process.send_signal(polite)
        try:
            return await asyncio.wait_for(ended(process), grace)
        except TimeoutError:
            continue
    if process.poll() is None:
        process.kill()
    return await ended(process)


def describe_exit(code: int) -> str:
    """Say how a process ended: `exit code 3`, or `signal SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
