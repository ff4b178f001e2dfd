"""SM2 signatures and SM4 encryption of the simulated bank's side; written apart from the hub's."""

from __future__ import annotations

import secrets

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

P = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_00000000_FFFFFFFF_FFFFFFFF
A = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_00000000_FFFFFFFF_FFFFFFFC
B = 0x28E9FA9E_9D9F5E34_4D5A9E4B_CF6509A7_F39789F5_15AB8F92_DDBCBD41_4D940E93
N = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_7203DF6B_21C6052B_53BBF409_39D54123
G = (
    0x32C4AE2C_1F198119_5F990446_6A39C994_8FE30BBF_F2660BE1_715A4589_334C74C7,
    0xBC3736A2_F4F6779C_59BDCEE3_6B692153_D0A9877C_C62A4740_02DF32E5_2139F0A0,
)
Point = tuple[int, int] | None  # None: at infinity


def add(one: Point, other: Point) -> Point:
    """Return the sum of two points."""
    if one is None or other is None:
        return other if one is None else one
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    slope = (3 * x1 * x1 + A) * pow(2 * y1, -1, P) if one == other else (y2 - y1) * pow(x2 - x1, -1, P)
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def multiply(number: int, point: Point) -> Point:
    """Return a point added to itself so often."""
    found: Point = None
    while number:
        if number & 1:
            found = add(found, point)
        point, number = add(point, point), number >> 1
    return found


def new_key() -> tuple[int, tuple[int, int]]:
    """Return a private key and its point."""
    private = secrets.randbelow(N - 2) + 1
    point = multiply(private, G)
    assert point is not None
    return private, point


def sm3(content: bytes) -> bytes:
    """Return the SM3 hash."""
    digest = hashes.Hash(hashes.SM3())
    digest.update(content)
    return digest.finalize()


def _hash(content: bytes, point: tuple[int, int], name: bytes) -> int:
    numbers = b"".join(number.to_bytes(32, "big") for number in (A, B, *G, *point))
    return int.from_bytes(sm3(sm3((len(name) * 8).to_bytes(2, "big") + name + numbers) + content), "big")


def sign(content: bytes, private: int, name: bytes) -> bytes:
    """Return r and s, 32 bytes each."""
    point = multiply(private, G)
    assert point is not None
    e = _hash(content, point, name)
    while True:
        k = secrets.randbelow(N - 1) + 1
        shown = multiply(k, G)
        assert shown is not None
        r = (e + shown[0]) % N
        s = pow(1 + private, -1, N) * (k - r * private) % N
        if r and r + k != N and s:
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def is_signed(content: bytes, signature: bytes, point: tuple[int, int], name: bytes) -> bool:
    """Tell whether the owner of a point signed this."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if len(signature) != 64 or not 0 < r < N or not 0 < s < N or (r + s) % N == 0:
        return False
    shown = add(multiply(s, G), multiply((r + s) % N, point))
    return shown is not None and (_hash(content, point, name) + shown[0]) % N == r


def encrypt(content: bytes, key: bytes, vector: bytes) -> bytes:
    """SM4-CBC with PKCS #7."""
    pad = padding.PKCS7(128).padder()
    cipher = Cipher(SM4(key), modes.CBC(vector)).encryptor()
    return cipher.update(pad.update(content) + pad.finalize()) + cipher.finalize()


def decrypt(content: bytes, key: bytes, vector: bytes) -> bytes:
    """Undo `encrypt`. Raises ValueError."""
    cipher = Cipher(SM4(key), modes.CBC(vector)).decryptor()
    pad = padding.PKCS7(128).unpadder()
    return pad.update(cipher.update(content) + cipher.finalize()) + pad.finalize()
