"""How far the books were found to hold: a mark outside the database, which nobody without this home's key can make.

Whoever can write the database could also write there how far it has been verified. So the mark is a file of the home,
under a MAC with a key that lives among the home's secrets. It is believed only where the record it ends at is still
there with the same hash: a chain that was written anew below the mark has another one there.
Source: docs/decisions/0028-verified-prefix.md
"""

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ops.embedded.place import write_whole

Ends = Mapping[int, tuple[int, bytes]]  # book → (number, hash) of the last record walked
FILE = "verified.json"


class Mark(NamedTuple):
    """What was found to hold, and when; everything is of one snapshot of the database."""

    at: str  # when the snapshot was taken
    whole_at: str  # when everything was looked at last
    journal: Ends
    events: Ends
    last_ids: Mapping[int, str]  # book → id of the last entry of its journal, by which it is found again
    balances: Mapping[int, bytes]  # book → digest of its accounts (ledger.invariants.sealed_balances)
    waiting: Sequence[tuple[int, str]]  # payments of which something was open: those may change without a word
    payment_count: int
    again: tuple[int, str] = (0, "")  # up to which payment the old ones have been looked at again
    audit: tuple[int, bytes] = (0, b"")  # number and hash of the audit log's last record; 0: none, or an older mark

    @property
    def moment(self) -> datetime:
        """When the snapshot was taken."""
        return datetime.fromisoformat(self.at)


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
        return _read(orjson.loads(told)), ""
    except (KeyError, TypeError, ValueError, AttributeError):
        return None, "the mark of the last time is damaged, or of another version"


def save(home: Path, key: bytes, mark: Mark) -> None:
    """Remember what holds. Replaces the mark of before in one step."""
    said = {
        **mark._asdict(),
        "journal": _plain(mark.journal),
        "events": _plain(mark.events),
        "last_ids": {str(book): ident for book, ident in mark.last_ids.items()},
        "balances": {str(book): digest.hex() for book, digest in mark.balances.items()},
        "audit": [mark.audit[0], mark.audit[1].hex()],
    }
    told = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    write_whole(home / FILE, orjson.dumps({"told": told.decode(), "mac": _mac(key, told).hex()}).decode())


def _read(said: dict[str, Any]) -> Mark:
    audit = said.get("audit", (0, ""))  # marks made before the log was in them have none
    mark = Mark(
        said["at"],
        said["whole_at"],
        _ends(said["journal"]),
        _ends(said["events"]),
        {int(book): str(ident) for book, ident in said["last_ids"].items()},
        {int(book): bytes.fromhex(digest) for book, digest in said["balances"].items()},
        [(int(book), str(ident)) for book, ident in said["waiting"]],
        int(said["payment_count"]),
        (int(said["again"][0]), str(said["again"][1])),
        (int(audit[0]), bytes.fromhex(audit[1])),
    )
    if mark.moment.tzinfo is None:
        raise ValueError("a mark's time has no zone")
    return mark


def _mac(key: bytes, told: bytes) -> bytes:
    return hmac.digest(key, b"sluice verified\n" + told, sha256)


def _plain(ends: Ends) -> dict[str, list[int | str]]:
    return {str(book): [number, digest.hex()] for book, (number, digest) in ends.items()}


def _ends(said: Mapping[str, list[int | str]]) -> dict[int, tuple[int, bytes]]:
    return {int(book): (int(number), bytes.fromhex(str(digest))) for book, (number, digest) in said.items()}
