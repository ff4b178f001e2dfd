"""A day's certificate 日终证明: what was proved, as canonical JSON under an Ed25519 signature. Pure.

A file is one line: `{"certificate":{…},"signature":"…"}`, keys in order, no space, a line feed at the end. The
signature is over the certificate's own bytes as they stand there. Each value is written in one way only, so no byte of
a file can be another and the file still be good.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from kernel.errors import Rejected
from kernel.safe_json import loads

FORMAT = "sluice day certificate 1"
# What is another each time, though what was proved is the same.
_OF_ITS_TIME = ("number", "replaces", "issued_at", "key")
_HEADS = ("journal", "events", "guarded")


class Certificate(NamedTuple):
    """A certificate as it is kept. Never changed."""

    business_date: date
    number: int  # of its date, from 1 on
    sha256: str  # of the file
    content: bytes  # the file
    key_id: str
    holds: bool

    @property
    def told(self) -> dict[str, Any]:
        """What it says."""
        told: dict[str, Any] = orjson.loads(self.content)["certificate"]
        return told


def canonical(told: Mapping[str, Any]) -> bytes:
    """Return the one way in which a certificate is written."""
    return orjson.dumps(dict(told), option=orjson.OPT_SORT_KEYS)


def same_proof(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two certificates say the same of their date, whenever they were issued."""
    return _proved(one) == _proved(other)


def _proved(told: Mapping[str, Any]) -> dict[str, Any]:
    return {**_without(told, *_OF_ITS_TIME), "books": [_of_book(book) for book in told["books"]]}


def _of_book(book: Mapping[str, Any]) -> dict[str, Any]:
    return {**_without(book, *_HEADS), "custody": [_without(one, "as_of_seq") for one in book["custody"]]}


def _without(told: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in names}


def signed(told: Mapping[str, Any], key: Ed25519PrivateKey) -> bytes:
    """Return a certificate's file."""
    signature = key.sign(canonical(told)).hex()
    return orjson.dumps({"certificate": dict(told), "signature": signature}, option=orjson.OPT_SORT_KEYS) + b"\n"


def digest(content: bytes) -> str:
    """Return by what the certificate of the next day, or one that replaces it, names a file."""
    return hashlib.sha256(content).hexdigest()


def key_id(key: Ed25519PublicKey) -> str:
    """Return the name of a public key: the first digits of its SHA-256."""
    return f"pfk_{hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:26]}"


def public_pem(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def read_public_key(pem: bytes) -> Ed25519PublicKey:
    """Read a public key in PEM. Raises Rejected (public_key_unreadable)."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise Rejected("public_key_unreadable", "this is no Ed25519 public key in PEM; see `sluice proof key`")
    return key


MAX_BYTES = 256 << 20  # a day of very many books


def verified(content: bytes, key: Ed25519PublicKey) -> dict[str, Any]:
    """Return what a file certifies, if the key signed exactly it and its sums add up. Raises Rejected.

    Codes: certificate_unreadable, certificate_of_another_key, certificate_forged, certificate_contradicts_itself. That
    a certificate is good does not mean that it says that the proof holds: that is its `holds`.
    """
    try:
        read = loads(content, max_bytes=MAX_BYTES)
        told: dict[str, Any] = read["certificate"]
        signature = bytes.fromhex(read["signature"])
        named, form = told["key"], told["format"]
        again = orjson.dumps({"certificate": told, "signature": signature.hex()}, option=orjson.OPT_SORT_KEYS) + b"\n"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Rejected("certificate_unreadable", "this is no certificate, or it is damaged") from None
    if form != FORMAT or again != content:
        raise Rejected("certificate_unreadable", f"this is not written as a certificate is ({FORMAT})")
    if named != key_id(key):
        raise Rejected(
            "certificate_of_another_key", f"it is signed by {str(named)[:40]!r}, and the public key is {key_id(key)}"
        )
    try:
        key.verify(signature, canonical(told))
    except InvalidSignature:
        raise Rejected("certificate_forged", "its signature is not over what it says: it was changed") from None
    try:
        wrong = next(contradictions(told), None)
    except (KeyError, TypeError, AttributeError):
        wrong = "it lacks a part"
    if wrong is not None:
        raise Rejected("certificate_contradicts_itself", f"it is signed, but {wrong}")
    return told


def contradictions(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield where a certificate's own figures do not come to what it says of them."""
    holding = []
    for book in told["books"]:
        number = book["book"]
        for one in book["custody"]:
            hub, bank, where = one["hub"], one["bank_statement"], f"book {number}, {one['bank']} {one['currency']}"
            for side in filter(None, (hub, bank)):
                total = side["custody_minor"] if side is hub else side["total_minor"]
                others = sum(side.get("others_minor", {}).values())
                if side["pool_minor"] + side["sub_accounts_minor"] + others != total:
                    yield f"{where}: the accounts do not sum to the custody"
            explained = sum(item["effect_minor"] for item in one["explained"])
            unexplained = sum(left["minor"] for left in one["unexplained"])
            if bank is not None and bank["total_minor"] - hub["custody_minor"] != explained + unexplained:
                yield f"{where}: what is listed is not what the bank and the hub differ by"
            if one["holds"] != (not one["unexplained"]) or (one["holds"] and bank is None):
                yield f"{where}: it says that it holds, or does not, and its lines say otherwise"
            holding.append(one["holds"])
        for control in book["control"]:
            where = f"book {number} {control['currency']}"
            if control["owed_minor"] - control["due_minor"] - control["custody_minor"] != control["difference_minor"]:
                yield f"{where}: the control accounts do not come to their difference"
            if control["holds"] != (not control["unexplained"]):
                yield f"{where}: it says that the control accounts hold, or do not, and its lines say otherwise"
            if control["holds"] and control["difference_minor"]:
                yield f"{where}: the control accounts hold though they differ"
            holding.append(control["holds"])
        guarded = book["second_clearing"]
        if guarded["holds"] != (not guarded["breaches"]):
            yield f"book {number}: it says that the platform has fees alone, or not, and its lines say otherwise"
        holding.append(guarded["holds"])
    if told["holds"] != all(holding):
        yield "it says as a whole what its parts do not"
