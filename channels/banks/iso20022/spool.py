"""A file on its way to a bank: written to the disk piece by piece, hashed as it is written, and gone when it is closed.

Everything here blocks, so it is called beside the event loop.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from channels.banks.iso20022 import signing

HEAD = 4_096  # bytes


class Spooled:
    """A file, read by nobody but us. Close it, or use it in a `with`."""

    def __init__(self, pieces: Iterable[bytes], created: int) -> None:
        """Write the pieces, one after the other. created: unix seconds; the moment of its signature."""
        self.created = created
        self.to_sign = signing.begun(created)
        self.head = b""  # its first bytes
        hashed = hashlib.sha256()
        self._file = tempfile.NamedTemporaryFile(prefix="sluice-")  # noqa: SIM115 - closed by `close`
        try:
            for piece in pieces:
                self._file.write(piece)
                hashed.update(piece)
                self.to_sign.update(piece)
                self.head += piece[: HEAD - len(self.head)]
            self._file.flush()
            self.size = self._file.tell()  # bytes
        except BaseException:
            self._file.close()
            raise
        self.sha256 = hashed.hexdigest()

    @property
    def path(self) -> Path:
        return Path(self._file.name)

    def copy_to(self, target: BinaryIO) -> None:
        """Write it to another file."""
        with self.path.open("rb") as source:
            shutil.copyfileobj(source, target, 1 << 20)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    hashed = hashlib.sha256()
    with path.open("rb") as opened:
        while piece := opened.read(1 << 20):
            hashed.update(piece)
    return hashed.hexdigest()
