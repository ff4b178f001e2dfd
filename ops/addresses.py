"""What an operator lets this hub call: the setting, the sandbox where it is started, and the cables of a trial.

docs/decisions/0029-one-rule-for-addresses.md
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from kernel.addresses import Addresses, read_places
from ops.embedded.place import Lock, is_locked
from ops.settings import Settings

_TRIALS = "trial-addresses"  # a folder of the home: a file each, called as the address, locked while it may be called


def rule(settings: Settings, *more: str) -> Addresses:
    """Return what a process with these settings may call. more: places of this process alone, see read_places."""
    folder = settings.home / _TRIALS
    places = read_places(",".join((settings.allow_addresses, *more)))
    return Addresses(places, lambda ip, port: is_locked(_file(folder, ip, port)))


def with_sandbox(settings: Settings) -> str:
    """Return the setting for processes whose sandbox is started beside them: it may be called, at its very port."""
    return ",".join(part for part in (settings.allow_addresses, sandbox_of(settings)) if part)


def sandbox_of(settings: Settings) -> str:
    return f"127.0.0.1:{settings.sandbox_port}"


def origin_of(address: object) -> str:
    """Return the place that an address names, as read_places takes it. Raises ValueError."""
    parts = urlsplit(str(address or ""))
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].removesuffix(f':{port}')}:{port}"


@contextmanager
def open_to(home: Path, port: int) -> Iterator[None]:
    """Let every process of this home call a port of 127.0.0.1 meanwhile; that ends with this process, however it ends.

    Raises AlreadyRunning where somebody else has opened it.
    """
    folder = home / _TRIALS
    folder.mkdir(mode=0o700, exist_ok=True)
    path = _file(folder, "127.0.0.1", port)
    lock = Lock(path)
    lock.take(f"the trial at port {port}")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def _file(folder: Path, ip: str, port: int) -> Path:
    return folder / f"{ip.replace(':', '_')}_{port}"
