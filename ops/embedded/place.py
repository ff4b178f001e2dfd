"""Where a server of our own keeps its things, and who may use them.

    SLUICE_HOME/                 0711 when root made it, else 0700
      secrets/                   0700; one file a password, 0600
      log/                       what the servers say
      postgres/ valkey/          a place: lock, remembered port, data/ (0700, the server's own), sockets/
      postgres.place             only when the place is elsewhere: its address

A server that root starts runs as somebody else, who must be able to reach its data. Where SLUICE_HOME lies behind a
closed door (a checkout below /root), we do not open that door: the place is made below /var/lib/sluice and its
address kept in SLUICE_HOME. Not below /tmp: that is emptied, and these are books.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .account import UnixAccount, may_enter, server_account
from .errors import AlreadyRunning, CannotStart

ELSEWHERE = Path("/var/lib/sluice")

# Outside the range from which Linux takes ports for outgoing connections, so a remembered port stays free.
_PORTS = range(15_000, 30_000)
# sun_path holds 108 bytes with its final zero; PostgreSQL adds "/.s.PGSQL.12345.lock".
_LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.12345.lock")


@dataclass(frozen=True, slots=True)
class Place:
    """One server's own folder, and the identity that may use what is in it."""

    root: Path
    account: UnixAccount | None

    @property
    def data(self) -> Path:
        return self.root / "data"

    def give(self, path: Path) -> None:
        """Make the server the owner of `path`, which we created."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def private_folder(self, path: Path) -> Path:
        """Return `path` as a folder which only the server can enter, making it if need be."""
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)
        self.give(path)
        return path


def open_home(home: Path) -> Path:
    """Return SLUICE_HOME as an absolute path, made if need be.

    Raises CannotStart when it can be neither made nor written.
    """
    home = home.expanduser().absolute()
    try:
        if not home.exists():
            home.mkdir(parents=True, mode=0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise CannotStart(f"SLUICE_HOME {home} cannot be made: {error.strerror}") from error
    if not home.is_dir() or not os.access(home, os.W_OK | os.X_OK):
        raise CannotStart(f"SLUICE_HOME {home} is not a folder you can write; choose another or run as its owner")
    return home


def address_of(home: Path, name: str) -> Path:
    """Return where the place called `name` of this home is, whether or not it exists yet."""
    pointer = home / f"{name}.place"
    return Path(pointer.read_text().strip()) if pointer.exists() else home / name


def open_place(home: Path, name: str, user: str) -> Place:
    """Return the place of the server called `name`, made if need be, where that server can reach it.

    user: the unprivileged user whom servers become when we are root.
    Raises CannotStart when existing data can no longer be reached: starting afresh elsewhere would look like loss.
    """
    root = address_of(home, name)
    account = server_account(user, root / "data")
    try:
        if account is not None and not may_enter(root.parent if root.parent.exists() else home, account):
            if (root / "data").exists() or root != home / name:
                raise CannotStart(
                    f"user {account.name} can no longer reach {root}: give its parents back their x for others, "
                    f"or move the folder and write its new address into {home / f'{name}.place'}"
                )
            root = _elsewhere(home, name, account)
        root.mkdir(exist_ok=True)
        root.chmod(0o711 if account is not None else 0o700)
    except OSError as error:
        raise CannotStart(
            f"{error.filename or root} cannot be used: {error.strerror}; is it another user's?"
        ) from error
    return Place(root, account)


def _elsewhere(home: Path, name: str, account: UnixAccount) -> Path:
    """Make a place outside a home that `account` cannot reach, and write its address into the home."""
    tag = hashlib.sha256(str(home).encode()).hexdigest()[:8]
    ELSEWHERE.mkdir(exist_ok=True)
    ELSEWHERE.chmod(0o711)
    # A fresh name each time: a folder left by an earlier home of this path has passwords that are lost.
    root = Path(tempfile.mkdtemp(prefix=f"{name}-{tag}-", dir=ELSEWHERE))
    root.chmod(0o711)
    if not may_enter(root, account):
        raise CannotStart(
            f"user {account.name} can reach neither {home} nor {ELSEWHERE}; set SLUICE_HOME to a folder all of whose "
            "parents have x for others"
        )
    write_whole(root / "home", f"{home}\n")
    write_whole(home / f"{name}.place", f"{root}\n")
    return root


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a small file at once: a reader finds the old text or the new, never half of one."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


class Lock:
    """The right to run one thing of one home; the kernel takes it back when we die."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self, what: str) -> None:
        """Take the right. Raises AlreadyRunning, with the other's process id, when somebody has it."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise AlreadyRunning(
                f"{what} of {self._path.parent} is already run by process {holder}; "
                "stop that one, or set SLUICE_HOME to a folder of your own"
            ) from None
        with contextlib.suppress(OSError):  # who holds it is told to people only; a full disk must not matter
            os.truncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle

    def release(self) -> None:
        """Give the right back; doing so twice is harmless."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def is_locked(path: Path) -> bool:
    """Tell whether a living process holds the lock kept in `path`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def secret(home: Path, name: str, *, may_make: bool = True) -> str:
    """Return the password kept in SLUICE_HOME/secrets/`name`, made at first use: 256 bits, safe inside a URL.

    may_make: false where a server was given the password before; another one opens nothing.
    Raises CannotStart when others can read the file: then it is no secret any more.
    """
    folder = home / "secrets"
    path = folder / name
    try:
        if not path.exists():
            if not may_make:
                raise CannotStart(
                    f"{path} is not there, and the server knows what stood in it: put it back from the backup of "
                    "SLUICE_HOME/secrets; docs/backup.md says what to do if it is lost for good"
                )
            folder.mkdir(mode=0o700, exist_ok=True)
            write_whole(path, secrets.token_urlsafe(32), mode=0o600)
        if path.stat().st_mode & 0o077:
            raise CannotStart(
                f"{path} can be read by other users of this machine (mode {path.stat().st_mode & 0o777:04o}), who may "
                f"know the password by now: chmod 600 {path}, and change the password if they are not trusted"
            )
        return path.read_text().strip()
    except OSError as error:
        todo = "; run as its owner" if isinstance(error, PermissionError) else ""
        raise CannotStart(f"{path} cannot be used: {error.strerror}{todo}") from error


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def remembered_port(root: Path) -> int | None:
    """Return the port which the server of this place had last, None if it never had one."""
    try:
        return int(json.loads((root / "port.json").read_text())["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def choose_port(root: Path) -> int:
    """Return a free port for the server of this place: the one it had if it is free, and remember it.

    Raises CannotStart when no port is free.
    """
    known = remembered_port(root)
    drawn = (secrets.choice(_PORTS) for _ in range(1_000))
    for port in (*([known] if known else []), *drawn):
        if is_free(port):
            if port != known:
                write_whole(root / "port.json", json.dumps({"port": port}) + "\n")
            return port
    raise CannotStart(f"no port of 127.0.0.1 between {_PORTS.start} and {_PORTS.stop} is free")


def sockets_of(root: Path) -> Path | None:
    """Return the folder of the socket inside a place; None where its address is too long for one."""
    folder = root / "sockets"
    return folder if len(os.fsencode(folder)) <= _LONGEST_SOCKET_FOLDER else None


def socket_folder(place: Place) -> Path:
    """Return an empty folder for the server's socket which only the server (and root) can enter.

    Inside the place when the address is short enough for a socket, else under a name of its own in the temporary
    folder, which the caller removes.
    """
    folder = sockets_of(place.root) or Path(tempfile.mkdtemp(prefix="sluice-"))
    place.private_folder(folder)
    for stale in folder.iterdir():
        stale.unlink()
    return folder
