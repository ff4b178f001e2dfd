"""Secrets that live in files beside the database, never in it: made once, readable by their owner alone."""

import os
from collections.abc import Callable
from pathlib import Path


def secret_file(home: Path, name: str, secrets: Callable[[int], bytes], *, size: int = 32) -> bytes:
    """Return the secret of this name, made on first use. Two processes that start together get the same one."""
    folder = home / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    if not path.exists():
        draft = folder / f".{name}.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets(size))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails where another process was first; its secret then counts
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes()
