"""Ports: taken by one program alone, and who has one that is taken."""

import errno
import os
import socket
from collections.abc import Mapping
from pathlib import Path

_LISTENS = "0A"  # TCP_LISTEN in /proc/net/tcp, proc(5)


class PortTaken(Exception):
    """Somebody else listens there; the message says who, as far as this system tells."""


def listen(host: str, port: int, variable: str, *, backlog: int = 1024) -> socket.socket:
    """Return a socket that listens there, and that nobody else can share.

    variable: the setting that names the port, for the message. Raises PortTaken; OSError when the address is no good.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Not SO_REUSEPORT: with it a second hub of the same user would get every other connection of ours.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(backlog)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(_taken(port, variable)) from None
        raise
    return listening


def require_free(ports: Mapping[str, tuple[str, int]]) -> None:
    """Raise PortTaken for the first of these that is taken; variable → (host, port)."""
    for variable, (host, port) in ports.items():
        listen(host, port, variable).close()


def _taken(port: int, variable: str) -> str:
    return f"port {port} is taken by {holder(port) or 'another program'}; stop that, or choose another with {variable}"


def holder(port: int) -> str | None:
    """Return who listens on a port of this machine, None where it cannot be known: another user's, or no /proc."""
    sockets = _listening(port)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(entry) in sockets for entry in (folder / "fd").iterdir()):
                return _described(folder)
        except OSError:  # it has ended, or is another user's
            continue
    return None


def _listening(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            facts = row.split()
            if facts[3] == _LISTENS and int(facts[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{facts[9]}]")
    return found


def _described(folder: Path) -> str:
    words = (folder / "cmdline").read_bytes().split(b"\0")
    environment = (folder / "environ").read_bytes().split(b"\0")
    homes = [pair.partition(b"=")[2] for pair in environment if pair.startswith(b"SLUICE_HOME=")]
    hub = f", of the hub in {os.fsdecode(homes[0])}" if homes else ""
    return f"process {folder.name} ({os.fsdecode(b' '.join(words).strip())[:80]}{hub})"
