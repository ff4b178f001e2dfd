"""A bank's enrolment 银行开户资料: what the bank gave us to call it with, sealed before it is written.

As with channel accounts (docs/decisions/0012-credentials-are-sealed.md), an envelope opens in its own row alone and
beside the very settings it was sealed with: in no other book, at no other bank, for no other address.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from channels.banks import SECRETS
from channels.settings import absorb
from kernel.clock import rfc3339
from kernel.sealing import Bound, CannotOpen, MasterKeys, Secret, label_of, master_of, rewrap, seal, unseal
from splitting.tables import BankLink


def without_files(enrolment: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return an enrolment with the content of every file that it names. folder: what their paths are relative to.

    Raises ValueError that shows no secret.
    """
    public, hidden = absorb(enrolment, SECRETS, folder=folder)
    return {**public, **hidden}


def sealed(link: BankLink, enrolment: Mapping[str, Any], keys: MasterKeys, secrets: Callable[[int], bytes]) -> BankLink:
    """Return the row with this enrolment in it, which names no file; its secrets sealed. Raises ValueError."""
    public, hidden = absorb(enrolment, SECRETS, folder=None)
    link = link._replace(settings=orjson.dumps(public, option=orjson.OPT_SORT_KEYS).decode())
    label = {"fingerprints": {name: keys.fingerprint(Secret(text)) for name, text in sorted(hidden.items())}}
    return link._replace(sealed=seal(orjson.dumps(hidden), _bound(link), keys, secrets, label=label))


def opened(link: BankLink, keys: MasterKeys) -> dict[str, Any]:
    """Return what `channels.banks.a_bank` takes, secrets in the clear: never to be kept.

    A row without an envelope is one of before: its settings name key files. Raises CannotOpen, Unavailable where the
    master keys cannot be read.
    """
    public: dict[str, Any] = orjson.loads(link.settings)
    if link.sealed is None:
        return public
    return {**public, **orjson.loads(unseal(link.sealed, _bound(link), keys))}


def under_current(link: BankLink, keys: MasterKeys, secrets: Callable[[int], bytes]) -> BankLink:
    """Return the row sealed as it should be today; the very row where it is. Raises CannotOpen, ValueError."""
    enrolment = opened(link, keys)  # also where nothing is to be done: what does not open must not look well
    if link.sealed is None:
        return sealed(link, without_files(enrolment, Path()), keys, secrets)
    if master_of(link.sealed) == keys.current().id:
        return link
    return link._replace(sealed=rewrap(link.sealed, _bound(link), keys, secrets))


def fingerprints(link: BankLink) -> dict[str, str]:
    """Return by what people recognise the secrets of an enrolment; nothing is opened for it."""
    try:
        return dict(label_of(link.sealed)["fingerprints"]) if link.sealed is not None else {}
    except (CannotOpen, KeyError):
        return {}


def bank_link_payload(link: BankLink, problem: str | None) -> dict[str, Any]:
    """Return a merchant's custody as operators see it: of its secrets no more than names and fingerprints.

    problem: why it cannot be used, see Banks.problem.
    """
    return {
        "object": "bank_link",
        "book": link.book,
        "bank": link.bank,
        "pool_account": link.pool_account,
        "usable": problem is None,
        "problem": problem,
        "settings": orjson.loads(link.settings),
        "secrets": fingerprints(link),
        "sealed": link.sealed is not None,
        "files_read_at": rfc3339(link.read_at) if link.read_at is not None else None,
        "ended_at": rfc3339(link.ended_at) if link.ended_at is not None else None,
    }


def _bound(link: BankLink) -> Bound:
    return ("bank link", link.book, link.bank, hashlib.sha256(link.settings.encode()).hexdigest())
