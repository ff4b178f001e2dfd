"""The Bank-Signature header.

The header is `keyid="…",alg="rsa-v1_5-sha256",created="<unix seconds>",sig="<base64>"`; the signature covers the
bytes `created`, a line feed, and the body exactly as transferred.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sandbox import keys

HEADER = "Bank-Signature"
ALGORITHM = "rsa-v1_5-sha256"
_HEADER = re.compile(
    r'keyid="(?P<keyid>[^"]{1,64})",\s*alg="(?P<alg>[^"]{1,32})",\s*'
    r'created="(?P<created>[0-9]{1,12})",\s*sig="(?P<sig>[A-Za-z0-9+/=]{1,1024})"'
)


class NotSigned(Exception):
    """Say why a signature header is no proof."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A parsed header."""

    key_id: str
    created: str
    value: bytes


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the id under which the other side knows its public half."""

    key_id: str
    key: rsa.RSAPrivateKey

    @property
    def public_pem(self) -> bytes:
        """Return the public half as SubjectPublicKeyInfo PEM."""
        return keys.public_pem(self.key.public_key())

    def sign(self, body: bytes, at: datetime) -> str:
        """Return the header for a body. RSA PKCS #1 v1.5 with SHA-256."""
        created = str(int(at.timestamp()))
        signature = self.key.sign(created.encode() + b"\n" + body, padding.PKCS1v15(), hashes.SHA256())
        encoded = base64.b64encode(signature).decode()
        return f'keyid="{self.key_id}",alg="{ALGORITHM}",created="{created}",sig="{encoded}"'


def parse_header(header: str | None) -> Signature:
    """Return the parts of a Bank-Signature header. Raises NotSigned."""
    if not header:
        raise NotSigned(f"the {HEADER} header is missing")
    found = _HEADER.fullmatch(header.strip())
    if found is None:
        raise NotSigned(f'{HEADER} must read keyid="…",alg="{ALGORITHM}",created="<unix seconds>",sig="<base64>"')
    if found["alg"] != ALGORITHM:
        raise NotSigned(f"algorithm {found['alg']} is not offered, only {ALGORITHM} is")
    try:
        value = base64.b64decode(found["sig"], validate=True)
    except binascii.Error:
        raise NotSigned("sig is not base64") from None
    return Signature(found["keyid"], found["created"], value)


def verify(signature: Signature, public_key_pem: str, body: bytes) -> None:
    """Raise NotSigned unless the signature over `created`, line feed, body was made by the key's owner."""
    key = serialization.load_pem_public_key(public_key_pem.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        raise NotSigned("the registered key is not an RSA key")
    signed = signature.created.encode() + b"\n" + body
    try:
        key.verify(signature.value, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise NotSigned("the signature does not fit the body and key") from None


def new_signing_key(prefix: str, path: Path) -> SigningKey:
    """Make an RSA 2048 key and write its private half to a file only the owner can read. Takes a noticeable moment."""
    key = keys.new_key()
    keys.write_file(path, keys.private_pem(key), secret=True)
    return SigningKey(_key_id(prefix, key), key)


def load_signing_key(prefix: str, path: Path) -> SigningKey:
    """Return the key kept in a file, made and written there first if the file is absent."""
    if not path.exists():
        return new_signing_key(prefix, path)
    key = keys.read_private_key(path.read_bytes())
    return SigningKey(_key_id(prefix, key), key)


def _key_id(prefix: str, key: rsa.RSAPrivateKey) -> str:
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"{prefix}-{hashlib.sha256(der).hexdigest()[:16].upper()}"
