"""Secrets at rest 静态加密: sealed in envelopes, under master keys that live outside the database.

An envelope holds a text encrypted with a data key of its own (AES-256-GCM), and that data key encrypted with a master
key (the same). What the envelope belongs to is bound into both: moved to another place, it does not open. To change
the master key, only the data keys are encrypted anew. See docs/decisions/0012-credentials-are-sealed.md.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kernel.errors import Unavailable

KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = 1

Bound = Sequence[str | int]  # what an envelope belongs to; whoever opens it must know the very same


class Secret:
    """A text that shows itself only to who asks for it: not in repr, not in str, not in a log, not in an exception."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def without_secrets(text: str, secrets: Sequence[Secret]) -> str:
    """Return text for people with every one of these secrets, and every longer line of one, replaced by an ellipsis."""
    for secret in secrets:
        plain = secret.reveal()
        for part in (plain, plain.strip(), *plain.split()):
            if len(part) >= 6:
                text = text.replace(part, "…")
    return text


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A key that encrypts data keys; `id` says which in the envelopes."""

    id: str
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes")


class MasterKeys(Protocol):
    """The master keys of this installation."""

    def current(self) -> MasterKey:
        """Return the key under which is sealed today."""

    def find(self, key_id: str) -> MasterKey | None:
        """Return a key by its id, current or not."""

    def fingerprint(self, secret: Secret) -> str:
        """Return eight hexadecimal digits by which people recognise a secret and nobody can guess it."""


def keys_unusable(which: str, why: str) -> Unavailable:
    """Return the error of master keys that cannot be read. which: the file as its operator knows it, without a path."""
    return Unavailable("channel_keys_unusable", f"the file of master keys, {which}, {why}", retry_after_s=60)


class CannotOpen(Exception):
    """An envelope does not open: its master key is not here, or it is not what was sealed, where it was sealed."""


def seal(
    plain: bytes, bound: Bound, keys: MasterKeys, secrets: Callable[[int], bytes], *, label: Mapping[str, Any]
) -> str:
    """Return an envelope, JSON, that opens only where the very same is `bound`.

    label: what may be read without opening it; it cannot be changed unseen either.
    secrets: the source of unguessable bytes.
    """
    data_key, shown = secrets(KEY_BYTES), dict(label)
    sealed = _encrypt(data_key, plain, _of_text(bound, shown), secrets)
    return _written(_wrapped(data_key, bound, keys.current(), secrets) | {"sealed": sealed, "label": shown})


def unseal(envelope: str, bound: Bound, keys: MasterKeys) -> bytes:
    """Return what was sealed. Raises CannotOpen, whose message holds nothing secret."""
    parts = _read(envelope)
    return _decrypt(_data_key(parts, bound, keys), parts["sealed"], _of_text(bound, parts["label"]))


def rewrap(envelope: str, bound: Bound, keys: MasterKeys, secrets: Callable[[int], bytes]) -> str:
    """Return the envelope under the current master key; what is sealed is not touched. Raises CannotOpen."""
    parts = _read(envelope)
    data_key = _data_key(parts, bound, keys)
    _decrypt(data_key, parts["sealed"], _of_text(bound, parts["label"]))
    return _written(parts | _wrapped(data_key, bound, keys.current(), secrets))


def master_of(envelope: str) -> str:
    """Return the id of the master key an envelope is under. Raises CannotOpen."""
    return str(_read(envelope)["key"])


def label_of(envelope: str) -> dict[str, Any]:
    """Return an envelope's label, unverified: for people. Raises CannotOpen."""
    return dict(_read(envelope)["label"])


# ---- the format ------------------------------------------------------------------------------------------------------


def _wrapped(data_key: bytes, bound: Bound, master: MasterKey, secrets: Callable[[int], bytes]) -> dict[str, Any]:
    wrapped = _encrypt(master.key, data_key, _of_key(bound, master.id), secrets)
    return {"v": _VERSION, "key": master.id, "wrapped": wrapped}


def _data_key(parts: Mapping[str, Any], bound: Bound, keys: MasterKeys) -> bytes:
    master = keys.find(parts["key"])
    if master is None:
        raise CannotOpen(f"sealed under master key {parts['key'][:40]!r}, which is not here")
    return _decrypt(master.key, parts["wrapped"], _of_key(bound, master.id))


def _of_text(bound: Bound, label: Mapping[str, Any]) -> bytes:
    """Return what is authenticated beside the text; JSON, so that no two lists of parts look alike."""
    return orjson.dumps(["sluice sealed text", _VERSION, list(bound), dict(label)], option=orjson.OPT_SORT_KEYS)


def _of_key(bound: Bound, master_id: str) -> bytes:
    return orjson.dumps(["sluice data key", _VERSION, list(bound), master_id])


def _encrypt(key: bytes, plain: bytes, beside: bytes, secrets: Callable[[int], bytes]) -> str:
    nonce = secrets(_NONCE_BYTES)
    return b64encode(nonce + AESGCM(key).encrypt(nonce, plain, beside)).decode()


def _decrypt(key: bytes, text: str, beside: bytes) -> bytes:
    try:
        raw = b64decode(text, validate=True)
        return AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], beside)
    except (InvalidTag, ValueError):
        raise CannotOpen(
            "it is not what was sealed here: altered, moved from elsewhere, or from another time"
        ) from None


def _written(parts: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(parts), option=orjson.OPT_SORT_KEYS).decode()


def _read(envelope: str) -> dict[str, Any]:
    try:
        parts = orjson.loads(envelope)
        texts = all(isinstance(parts[name], str) for name in ("key", "wrapped", "sealed"))
        if parts["v"] == _VERSION and texts and isinstance(parts["label"], dict):
            return dict(parts)
    except (ValueError, KeyError, TypeError):
        pass
    raise CannotOpen("it is no envelope of ours")


def fingerprint_of(secret: Secret, key: bytes) -> str:
    """Return the first eight hexadecimal digits of HMAC-SHA-256 of a secret under a key kept beside the masters."""
    return hmac.new(key, secret.reveal().encode(), hashlib.sha256).hexdigest()[:8]
