"""Secrets that live in files beside the database, never in it: made once, readable by their owner alone.

One is made only where nothing was made with it yet. A new pepper beside the database of an old one looks like a start
without a fault, and not one merchant's API key is known any more.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import asyncpg

from gateway.cashier.tokens import CashierTokens
from gateway.door.auth import Authenticator
from gateway.store import made_with_secrets
from ops.channel_keys import FILE as CHANNEL_KEYS
from ops.embedded import CannotStart
from people.store import some_person
from reconciliation.proof.store import some_key
from splitting.store import some_link_sealed

PEPPER, CASHIER_TOKENS = "api-key-pepper", "cashier-tokens"


async def secrets_in_use(connection: "asyncpg.pool.PoolConnectionProxy | asyncpg.Connection") -> Mapping[str, str]:
    """Return the names of the secrets that something in the database was made with, and what that is, for people."""
    made = await made_with_secrets(connection)
    sealed = made.credentials or await some_link_sealed(connection) or await some_key(connection)
    found = {PEPPER: made.keys or await some_person(connection), CASHIER_TOKENS: made.links, CHANNEL_KEYS: sealed}
    what = {
        PEPPER: "API keys and persons' credentials",
        CASHIER_TOKENS: "payment links and standing codes",
        CHANNEL_KEYS: "credentials of channels and banks, and the key of certificates",
    }
    return {name: what[name] for name, in_use in found.items() if in_use}


def lost_secrets(home: Path, in_use: Mapping[str, str]) -> CannotStart | None:
    """Return what to say where a secret of ours that is in use is not in this home; None where all are.

    Master keys are not looked at: they may lie elsewhere, and readiness says what becomes of payments without them.
    """
    for name in (PEPPER, CASHIER_TOKENS):
        path = home / "secrets" / name
        if name in in_use and not path.exists():
            return CannotStart(
                f"{path} is not there, and the {in_use[name]} in the database were made with it: put it back from the "
                "backup of SLUICE_HOME/secrets, or name the right SLUICE_HOME; docs/backup.md says what to do if it is "
                "lost for good"
            )
    return None


class NoPepper(Authenticator):
    """For commands that know no API key by it and make none: whatever would need the pepper says what is lost."""

    def __init__(self, lost: CannotStart) -> None:
        self._lost = lost

    def digest(self, key: str) -> bytes:
        raise self._lost


class NoTokens(CashierTokens):
    """For commands that show no address of a payer's page: whatever would need the key says what is lost."""

    def __init__(self, lost: CannotStart) -> None:
        self._lost = lost

    def seal(self, text: str) -> str:
        raise self._lost

    def _mac(self, name: str, what: bytes = b"") -> str:
        raise self._lost


def secret_file(home: Path, name: str, secrets: Callable[[int], bytes], *, size: int = 32) -> bytes:
    """Return the secret of this name, made on first use. Two processes that start together get the same one."""
    folder = home / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    if not path.exists():
        with suppress(FileExistsError):  # another process was first; its secret then counts
            write_private(path, secrets(size))
    return path.read_bytes()


def write_private(path: Path, content: bytes) -> None:
    """Make a file that its owner alone may read, whole or not at all. Raises FileExistsError."""
    draft = path.parent / f".{path.name}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink()
