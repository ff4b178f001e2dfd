"""SM2 signatures and SM4 encryption 国密, as the bank wants them. Pure: keys, bytes and a random number are passed in.

Source: GB/T 32918.2-2016 (SM2 signatures), GB/T 32918.5-2017 (the curve, and the example that a test holds this to),
GB/T 32905-2016 (SM3), GB/T 32907-2016 (SM4). `cryptography` has SM3 and SM4, and no SM2: hence the arithmetic here. It
does not run in constant time; whoever can time the hub's calls to its bank is on the hub's own machine.
"""

import base64
import binascii
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

_P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
_A = _P - 3
_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
_N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
_G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
_SIZE = 32

Point = tuple[int, int]
_Jacobian = tuple[int, int, int]


def private_key(text: str) -> int:
    """Read a private key: 32 bytes in base64. Raises ValueError that shows nothing of it."""
    number = int.from_bytes(_decoded(text, _SIZE, "private_key"), "big")
    if not 1 <= number < _N - 1:
        raise ValueError("private_key is no SM2 key")
    return number


def public_key(text: str) -> Point:
    """Read a public key: a point, 65 bytes beginning with 04, in base64. Raises ValueError."""
    content = _decoded(text, 2 * _SIZE + 1, "bank_public_key")
    point = int.from_bytes(content[1 : 1 + _SIZE], "big"), int.from_bytes(content[1 + _SIZE :], "big")
    if content[0] != 4 or not _on_curve(point):
        raise ValueError("bank_public_key is no point of the SM2 curve")
    return point


def public_of(private: int) -> Point:
    """Return the public half of a private key."""
    return _affine(_times(private, _G))


def sign(message: bytes, private: int, identity: bytes, random: Callable[[int], bytes]) -> bytes:
    """Return a signature, 64 bytes: r, then s. random: so many bytes that nobody can guess."""
    digest = _digest(message, public_of(private), identity)
    while True:
        once = int.from_bytes(random(_SIZE + 8), "big") % (_N - 1) + 1
        r = (digest + _affine(_times(once, _G))[0]) % _N
        if r in (0, _N - once):
            continue
        s = pow(1 + private, -1, _N) * (once - r * private) % _N
        if s:
            return r.to_bytes(_SIZE, "big") + s.to_bytes(_SIZE, "big")


def verify(message: bytes, signature: bytes, public: Point, identity: bytes) -> bool:
    """Tell whether the key's owner made this signature over this message."""
    if len(signature) != 2 * _SIZE:
        return False
    r, s = int.from_bytes(signature[:_SIZE], "big"), int.from_bytes(signature[_SIZE:], "big")
    if not (1 <= r < _N and 1 <= s < _N) or (t := (r + s) % _N) == 0:
        return False
    found = _plus(_times(s, _G), _times(t, public))
    return found[2] != 0 and (_digest(message, public, identity) + _affine(found)[0]) % _N == r


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


def sm3(*parts: bytes) -> bytes:
    """Return the SM3 hash of these bytes, one after another."""
    digest = hashes.Hash(hashes.SM3())
    for part in parts:
        digest.update(part)
    return digest.finalize()


def _digest(message: bytes, public: Point, identity: bytes) -> int:
    told = (len(identity) * 8).to_bytes(2, "big") + identity
    numbers = (_A, _B, *_G, *public)
    signer = sm3(told, *(number.to_bytes(_SIZE, "big") for number in numbers))
    return int.from_bytes(sm3(signer, message), "big")


def _decoded(text: str, size: int, name: str) -> bytes:
    try:
        content = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError, AttributeError):
        content = b""
    if len(content) != size:
        raise ValueError(f"{name} is not {size} bytes in base64")
    return content


# ---- the curve, in Jacobian coordinates ------------------------------------------------------------------------------


def _on_curve(point: Point) -> bool:
    x, y = point
    return x < _P and y < _P and (y * y - x * x * x - _A * x - _B) % _P == 0


def _times(number: int, point: Point) -> _Jacobian:
    found, base = (1, 1, 0), (*point, 1)
    for bit in bin(number)[2:]:
        found = _double(found)
        if bit == "1":
            found = _plus(found, base)
    return found


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    if not z:
        return point
    square = y * y % _P
    s, m = 4 * x * square % _P, 3 * (x - z * z) * (x + z * z) % _P  # a is -3
    across = (m * m - 2 * s) % _P
    return across, (m * (s - across) - 8 * square * square) % _P, 2 * y * z % _P


def _plus(one: _Jacobian, other: _Jacobian) -> _Jacobian:
    if not one[2]:
        return other
    if not other[2]:
        return one
    (x1, y1, z1), (x2, y2, z2) = one, other
    zz1, zz2 = z1 * z1 % _P, z2 * z2 % _P
    u1, u2 = x1 * zz2 % _P, x2 * zz1 % _P
    s1, s2 = y1 * zz2 * z2 % _P, y2 * zz1 * z1 % _P
    if u1 == u2:
        return _double(one) if s1 == s2 else (1, 1, 0)
    h, r = u2 - u1, s2 - s1
    hh = h * h % _P
    hhh, v = hh * h % _P, u1 * hh % _P
    across = (r * r - hhh - 2 * v) % _P
    return across, (r * (v - across) - s1 * hhh) % _P, h * z1 * z2 % _P


def _affine(point: _Jacobian) -> Point:
    x, y, z = point
    back = pow(z, -1, _P)
    return x * back * back % _P, y * back * back * back % _P
