"""SM2 signatures and SM4 encryption 国密, as the bank wants them: keys as the bank gives them, and raw signatures.

Source: GB/T 32918.2-2016 (SM2 signatures), GB/T 32918.5-2017 (the curve, and the example that a test holds this to),
GB/T 32907-2016 (SM4). SM2 is GmSSL's, which takes the number that it uses once from the system; SM4 is
`cryptography`'s.
"""

import base64
import binascii
from typing import NamedTuple

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from gmssl_pyx import GmsslInnerError, normalize_sm2_public_key, sm2_sign, sm2_verify

_SIZE = 32


class KeyPair(NamedTuple):
    """Who signs: 32 bytes, and the point of 64 that belongs to them."""

    private: bytes
    public: bytes


def key_pair(private: str, public: str) -> KeyPair:
    """Read a private key, 32 bytes in base64, and its public key. Raises ValueError, which shows nothing of it."""
    pair = KeyPair(_decoded(private, _SIZE, "private_key"), public_key(public, "public_key"))
    try:
        fits = verify(b"", sign(b"", pair, b"probe"), pair.public, b"probe")
    except GmsslInnerError:
        raise ValueError("private_key is no SM2 key") from None
    if not fits:
        raise ValueError("public_key is not the one of private_key")
    return pair


def public_key(text: str, name: str = "bank_public_key") -> bytes:
    """Read a public key: a point, 65 bytes beginning with 04, in base64. Raises ValueError."""
    try:
        point: bytes = normalize_sm2_public_key(_decoded(text, 2 * _SIZE + 1, name))
    except GmsslInnerError:
        raise ValueError(f"{name} is no point of the SM2 curve") from None
    return point


def sign(message: bytes, pair: KeyPair, identity: bytes) -> bytes:
    """Return a signature, 64 bytes: r, then s."""
    r, s = decode_dss_signature(sm2_sign(pair.private, pair.public, message, identity))
    return r.to_bytes(_SIZE, "big") + s.to_bytes(_SIZE, "big")


def verify(message: bytes, signature: bytes, public: bytes, identity: bytes) -> bool:
    """Tell whether the key's owner made this signature over this message."""
    if len(signature) != 2 * _SIZE:
        return False
    r, s = int.from_bytes(signature[:_SIZE], "big"), int.from_bytes(signature[_SIZE:], "big")
    try:
        fits: bool = sm2_verify(public, message, encode_dss_signature(r, s), identity)
    except GmsslInnerError:  # r or s is no number that a signature has
        return False
    return fits


def encrypt(content: bytes, key: bytes, vector: bytes) -> bytes:
    """Return SM4-CBC with PKCS #7 padding. key, vector: 16 bytes each."""
    padder = padding.PKCS7(128).padder()
    cipher = Cipher(SM4(key), modes.CBC(vector)).encryptor()
    return cipher.update(padder.update(content) + padder.finalize()) + cipher.finalize()


def decrypt(content: bytes, key: bytes, vector: bytes) -> bytes:
    """Undo `encrypt`. Raises ValueError where it was not made with this key."""
    cipher = Cipher(SM4(key), modes.CBC(vector)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    return unpadder.update(cipher.update(content) + cipher.finalize()) + unpadder.finalize()


def _decoded(text: str, size: int, name: str) -> bytes:
    try:
        content = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError, AttributeError):
        content = b""
    if len(content) != size:
        raise ValueError(f"{name} is not {size} bytes in base64")
    return content
