"""How far the chains were found unbroken: a mark outside the database, which nobody without this home's key can make.

Whoever can write the database could also write there how far it has been verified. So the mark is a file of the home,
under a MAC with a key that lives among the home's secrets. It is believed only where the record it ends at is still
there with the same hash: a chain that was written anew below the mark has another one there.
Source: docs/decisions/0028-verified-prefix.md
"""

import hmac
import os
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import orjson

from kernel.clock import rfc3339

Ends = Mapping[int, tuple[int, bytes]]  # book → (number, hash) of the last record walked
FILE = "verified.json"


class Mark(NamedTuple):
    """How far each book's journal and events were verified, and when."""

    at: str
    journal: Ends
    events: Ends


def load(home: Path, key: bytes) -> tuple[Mark | None, str]:
    """Return the mark of this home, or None and why there is none that can be believed."""
    try:
        kept = orjson.loads((home / FILE).read_bytes())
    except FileNotFoundError:
        return None, "nothing was verified from this home before"
    except (OSError, orjson.JSONDecodeError) as error:
        return None, f"the mark of the last time cannot be read: {error}"
    try:
        told, mac = kept["told"].encode(), bytes.fromhex(kept["mac"])
        if not hmac.compare_digest(mac, _mac(key, told)):
            return None, "the mark of the last time was not made with this home's key"
        said = orjson.loads(told)
        return Mark(said["at"], _ends(said["journal"]), _ends(said["events"])), ""
    except (KeyError, TypeError, ValueError, AttributeError):
        return None, "the mark of the last time is damaged"


def save(home: Path, key: bytes, now: datetime, journal: Ends, events: Ends) -> None:
    """Remember how far the chains hold. Replaces the mark of before in one step."""
    said = {"at": rfc3339(now), "journal": _plain(journal), "events": _plain(events)}
    told = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    draft = home / f".{FILE}.{os.getpid()}"
    draft.write_bytes(orjson.dumps({"told": told.decode(), "mac": _mac(key, told).hex()}))
    draft.replace(home / FILE)


def _mac(key: bytes, told: bytes) -> bytes:
    return hmac.digest(key, b"sluice verified\n" + told, sha256)


def _plain(ends: Ends) -> dict[str, list[int | str]]:
    return {str(book): [number, digest.hex()] for book, (number, digest) in ends.items()}


def _ends(said: Mapping[str, list[int | str]]) -> dict[int, tuple[int, bytes]]:
    return {int(book): (int(number), bytes.fromhex(str(digest))) for book, (number, digest) in said.items()}
