"""UnionPay's signature (signMethod 01, version 5.1.0): RSA with SHA-256 over the hexadecimal SHA-256 of the fields."""

import hashlib
from base64 import b64decode
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.keys import PADDING, SHA256


def hashed(fields: Mapping[str, str]) -> bytes:
    """Return the hexadecimal digits that are signed."""
    pairs = sorted((name, value) for name, value in fields.items() if name != "signature" and value)
    return hashlib.sha256("&".join(f"{name}={value}" for name, value in pairs).encode()).hexdigest().encode()


def is_signed(fields: Mapping[str, str], key: rsa.RSAPublicKey) -> bool:
    """Tell whether the fields are signed with this key."""
    try:
        key.verify(b64decode(fields.get("signature", ""), validate=True), hashed(fields), PADDING, SHA256)
    except (InvalidSignature, ValueError):
        return False
    return True
