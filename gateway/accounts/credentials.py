"""The secrets of channel accounts: sealed before they are written, opened where a client is built and nowhere else.

An envelope belongs to one version of one account's credentials at one rail, with exactly the public settings beside
it: it opens in no other row, not after a row was set back, and not beside another address to call.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from gateway.tables import ChannelAccount
from kernel.clock import rfc3339
from kernel.sealing import Bound, CannotOpen, MasterKeys, Secret, label_of, seal, unseal


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a rail's `build` is given: public settings and secrets."""

    public: Mapping[str, Any]
    secrets: Mapping[str, Secret] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """Return both together, secrets in the clear: for `build`, never to be kept."""
        return {**self.public, **{name: secret.reveal() for name, secret in self.secrets.items()}}

    def public_text(self) -> str:
        """Return the public settings as they are stored."""
        return orjson.dumps(dict(self.public), option=orjson.OPT_SORT_KEYS).decode()


@dataclass(frozen=True, slots=True)
class Previous:
    """Credentials from before a rotation; notices made under them are believed until then."""

    until: datetime
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class Opened:
    """What an account's row and envelope say together."""

    current: Credentials
    previous: Sequence[Previous] = ()


def sealed(
    row: ChannelAccount,
    credentials: Credentials,
    previous: Sequence[Previous],
    keys: MasterKeys,
    secrets: Callable[[int], bytes],
) -> ChannelAccount:
    """Return the row with these credentials in it, sealed for the credentials_version that it bears."""
    row = row._replace(settings=credentials.public_text())
    text = orjson.dumps(
        {
            "secrets": {name: secret.reveal() for name, secret in credentials.secrets.items()},
            "previous": [
                {
                    "until": rfc3339(one.until),
                    "settings": dict(one.credentials.public),
                    "secrets": {name: secret.reveal() for name, secret in one.credentials.secrets.items()},
                }
                for one in previous
            ],
        }
    )
    label = {
        "fingerprints": {name: keys.fingerprint(secret) for name, secret in sorted(credentials.secrets.items())},
        "previous_until": [rfc3339(one.until) for one in previous],
    }
    return row._replace(sealed=seal(text, bound(row), keys, secrets, label=label))


def opened(row: ChannelAccount, keys: MasterKeys) -> Opened:
    """Return an account's credentials. Raises CannotOpen, Unavailable where the master keys cannot be read.

    A row without an envelope is one of before: its settings name key files.
    """
    public = orjson.loads(row.settings)
    if row.sealed is None:
        return Opened(Credentials(public))
    said = orjson.loads(unseal(row.sealed, bound(row), keys))
    previous = [
        Previous(datetime.fromisoformat(one["until"]), Credentials(one["settings"], _hidden(one["secrets"])))
        for one in said["previous"]
    ]
    return Opened(Credentials(public, _hidden(said["secrets"])), previous)


class Shown(NamedTuple):
    """What people may see of an account's secrets."""

    fingerprints: Mapping[str, str]  # name → by what it is recognised
    previous_until: Sequence[str]  # RFC 3339: until when notices made under earlier credentials are believed


def shown(row: ChannelAccount) -> Shown:
    """Return what people may see of an account's secrets; nothing is opened for it."""
    try:
        label = label_of(row.sealed) if row.sealed is not None else {}
    except CannotOpen:
        label = {}
    return Shown(label.get("fingerprints", {}), label.get("previous_until", ()))


def bound(row: ChannelAccount) -> Bound:
    """Return what an account's envelope belongs to."""
    settings = hashlib.sha256(row.settings.encode()).hexdigest()
    return ("channel account", row.book, row.id, row.channel, row.credentials_version, settings)


def _hidden(texts: Mapping[str, str]) -> dict[str, Secret]:
    return {name: Secret(text) for name, text in texts.items()}


def shared(one: Mapping[str, Any], other: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Return which of these settings, in two accounts of one rail called at the same address, is the same; or None."""
    at, there = (str(each.get("base_url") or "").rstrip("/") for each in (one, other))
    same = (name for name in names if one.get(name) and str(one[name]).strip() == str(other.get(name, "")).strip())
    return next(same, None) if at == there else None
