"""The master keys of sealed credentials: one JSON file beside the database, never in it, readable by its owner alone.

    {"current": "mk_…", "fingerprints": "base64", "keys": {"mk_…": "base64 of 32 bytes", …}}

Made on first use in SLUICE_HOME/secrets, while nothing is sealed yet; with SLUICE_CHANNEL_KEYS it lies elsewhere and
must exist. Whoever has lost it has lost the credentials: back it up, apart from the database
(docs/decisions/0012-credentials-are-sealed.md).
"""

import fcntl
import logging
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from kernel.errors import Unavailable
from kernel.sealing import KEY_BYTES, MasterKey, Secret, fingerprint_of, keys_unusable

FILE = "channel-keys.json"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Ring:
    """What the file held when it was read."""

    current: str
    keys: dict[str, MasterKey] = field(repr=False)
    fingerprints: bytes = field(repr=False)


class ChannelKeys:
    """The file of master keys. Read again whenever it has changed: another process may have added a key."""

    def __init__(
        self, path: Path, secrets: Callable[[int], bytes], *, named: str = FILE, may_make: bool = True
    ) -> None:
        """named: what its operator calls it. may_make: make the file on first use; otherwise it must be there."""
        self._path = path
        self._named = named
        self._secrets = secrets
        self._may_make = may_make
        self._read: tuple[tuple[int, ...], _Ring] | None = None

    def is_there(self) -> bool:
        """Tell whether there is a file; one that may be made is not made for that."""
        return self._path.is_file()

    def current(self) -> MasterKey:
        """Return the key under which is sealed today. Raises Unavailable."""
        ring = self._ring()
        return ring.keys[ring.current]

    def find(self, key_id: str) -> MasterKey | None:
        """Return a key by its id, current or not. Raises Unavailable."""
        return self._ring().keys.get(key_id)

    def fingerprint(self, secret: Secret) -> str:
        """Return eight hexadecimal digits by which people recognise a secret; the same under every master key."""
        return fingerprint_of(secret, self._ring().fingerprints)

    def ids(self) -> list[str]:
        """Return the ids of all keys, the current one first."""
        ring = self._ring()
        return [ring.current, *(ident for ident in ring.keys if ident != ring.current)]

    def add(self) -> MasterKey:
        """Make a new key, write it down durably, and seal under it from now on."""
        with self._alone():
            ring = self._load() if self._path.exists() else None
            made = self._new()
            keys = {**(ring.keys if ring else {}), made.id: made}
            self._write(_Ring(made.id, keys, ring.fingerprints if ring else self._secrets(KEY_BYTES)))
        return made

    def retire(self, unused: set[str]) -> None:
        """Forget these keys for ever; the current one stays whatever is asked."""
        with self._alone():
            ring = self._load()
            kept = {ident: key for ident, key in ring.keys.items() if ident not in unused or ident == ring.current}
            self._write(_Ring(ring.current, kept, ring.fingerprints))

    # ---- the file ----------------------------------------------------------------------------------------------------

    def _ring(self) -> _Ring:
        try:
            seen = self._stamp()
        except FileNotFoundError:
            self._make()
            seen = self._stamp()
        if self._read is None or self._read[0] != seen:
            self._read = (seen, self._load())
        return self._read[1]

    def _stamp(self) -> tuple[int, ...]:
        found = self._path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _make(self) -> None:
        if not self._may_make or self._read is not None:  # one that was here is lost, and a new one opens nothing
            raise self._unusable("is not there; put it back, or copy it from where it was made")
        with self._alone():
            if not self._path.exists():
                made = self._new()
                self._write(_Ring(made.id, {made.id: made}, self._secrets(KEY_BYTES)))

    def _new(self) -> MasterKey:
        return MasterKey(f"mk_{self._secrets(8).hex()}", self._secrets(KEY_BYTES))

    def _load(self) -> _Ring:
        try:
            said: dict[str, Any] = orjson.loads(self._path.read_bytes())
            keys = {
                str(ident): MasterKey(ident, b64decode(text, validate=True)) for ident, text in said["keys"].items()
            }
            ring = _Ring(str(said["current"]), keys, b64decode(said["fingerprints"], validate=True))
            if ring.current not in keys or len(ring.fingerprints) < KEY_BYTES:
                raise ValueError
            if self._path.stat().st_mode & 0o077:
                log.error("the file of master keys can be read by other users", extra={"path": str(self._path)})
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._unusable("is damaged; put back a copy") from None
        return ring

    def _write(self, ring: _Ring) -> None:
        """Replace the file by a whole one, on the disk before the name points to it."""
        keys = {ident: b64encode(key.key).decode() for ident, key in ring.keys.items()}
        text = orjson.dumps(
            {"current": ring.current, "fingerprints": b64encode(ring.fingerprints).decode(), "keys": keys},
            option=orjson.OPT_INDENT_2,
        )
        draft = self._path.with_name(f".{self._path.name}.draft")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from changing the file meanwhile: of two that add a key, neither loses the other's."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(f"cannot be changed: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _unusable(self, why: str) -> Unavailable:
        """Return the error, which merchants may see, and tell the operator's log where the file is."""
        log.error("the file of master keys cannot be used", extra={"path": str(self._path), "why": why})
        return keys_unusable(self._named, why)


def channel_keys(
    home: Path, named: Path | None, secrets: Callable[[int], bytes], *, may_make: bool = True
) -> ChannelKeys:
    """Return the master keys of an installation. named: what SLUICE_CHANNEL_KEYS says. may_make: nothing is sealed."""
    if named is not None:
        return ChannelKeys(named, secrets, named="SLUICE_CHANNEL_KEYS", may_make=False)
    return ChannelKeys(home / "secrets" / FILE, secrets, may_make=may_make)
