"""The Bank-Signature header: RSA PKCS#1 v1.5 with SHA-256 over `created`, a line feed and the body as it travels."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

HEADER = "Bank-Signature"
ALGORITHM = "rsa-v1_5-sha256"
_FIELD = re.compile(r'([a-z]+)="([^"]*)"', re.ASCII)
_CREATED = re.compile(r"[0-9]{1,12}", re.ASCII)


class BadSignature(Exception):
    """The signature is missing, malformed, by an unknown key, or does not fit the bytes. `code` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def private_key(pem: str) -> rsa.RSAPrivateKey:
    """Read an RSA private key; raises ValueError for any other kind or below 2048 bits."""
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < 2048:
        raise ValueError("the bank's protocol signs with RSA keys of at least 2048 bits")
    return key


def public_key(pem: str) -> rsa.RSAPublicKey:
    """Read an RSA public key; raises ValueError for any other kind or below 2048 bits."""
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise ValueError("the bank's protocol signs with RSA keys of at least 2048 bits")
    return key


def sign(body: bytes, key: rsa.RSAPrivateKey, *, key_id: str, created: int) -> str:
    """Return the header's value. created: unix seconds, covered by the signature."""
    hashed = begun(created)
    hashed.update(body)
    return sign_hashed(hashed, key, key_id=key_id, created=created)


def begun(created: int | str) -> "hashlib._Hash":
    """Return the hash that a signature is of, before the first byte of the body: so a body may come in pieces."""
    return hashlib.sha256(f"{created}\n".encode())


def sign_hashed(hashed: "hashlib._Hash", key: rsa.RSAPrivateKey, *, key_id: str, created: int) -> str:
    """Return the header's value. hashed: `begun` with the same `created`, and all of the body since."""
    signature = key.sign(hashed.digest(), padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
    return f'keyid="{key_id}",alg="{ALGORITHM}",created="{created}",sig="{base64.b64encode(signature).decode()}"'


def verify(header: str | None, body: bytes, keys: Mapping[str, rsa.RSAPublicKey]) -> int:
    """Return when the body was signed, in unix seconds. Raises BadSignature unless one of `keys` signed these bytes."""
    if not header:
        raise BadSignature("unsigned", f"there is no {HEADER} header")
    fields: dict[str, str] = {}
    for part in header.split(","):
        match = _FIELD.fullmatch(part.strip())
        if match is None or match[1] in fields:
            raise BadSignature("malformed", f"the {HEADER} header cannot be read: {header[:80]!r}")
        fields[match[1]] = match[2]
    if fields.keys() != {"keyid", "alg", "created", "sig"} or not _CREATED.fullmatch(fields["created"]):
        raise BadSignature("malformed", f"the {HEADER} header must have keyid, alg, created and sig")
    if fields["alg"] != ALGORITHM:
        raise BadSignature("wrong_algorithm", f"signed with {fields['alg'][:40]!r}; only {ALGORITHM} is accepted")
    key = keys.get(fields["keyid"])
    if key is None:
        raise BadSignature("unknown_key", f"signed with key {fields['keyid'][:60]!r}, which we do not know")
    try:
        signature = base64.b64decode(fields["sig"], validate=True)
        hashed = begun(fields["created"])
        hashed.update(body)
        key.verify(signature, hashed.digest(), padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
    except (binascii.Error, InvalidSignature):
        raise BadSignature("forged", "the signature does not fit the bytes") from None
    return int(fields["created"])
