"""Signatures and encryption of WeChat Pay APIv3 微信支付: who signed what, over exactly the bytes that travelled.

Source: pay.weixin.qq.com merchant documentation, "signature generation" and "signature verification" (2025), and the
public Go and Java clients of WeChat Pay; see README.md.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from channels.contract import BadNotice, Request, Response
from kernel.safe_json import text

SCHEME = "WECHATPAY2-SHA256-RSA2048"
WINDOW_S = 300  # a message signed this long ago, or this far ahead, is refused: it may be a replay
PROBE = "WECHATPAY/SIGNTEST/"  # 探测流量: WeChat sends wrong signatures on purpose to see whether we look
_PUBLIC_KEY = "PUB_KEY_ID_"
_PADDING = padding.PKCS1v15()
_SHA256 = hashes.SHA256()
# WeChat's documents fix SHA-1 here, inside OAEP, where its weakness does no harm.
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
LONGEST_SEALED = 214
_HEX = re.compile(r"[0-9A-Fa-f]{1,64}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)


class Signer:
    """Signs requests with the merchant's API certificate 商户API证书."""

    def __init__(self, mchid: str, serial_no: str, private_key: RSAPrivateKey) -> None:
        self._key = private_key
        self._prefix = f'{SCHEME} mchid="{mchid}",serial_no="{serial_no}",nonce_str="'

    def sign(self, request: Request, *, now: datetime, nonce: str) -> Request:
        """Return the request with its Authorization header; about 0.4 ms of CPU outside the interpreter lock.

        nonce: at most 32 characters, never used before.
        """
        timestamp = str(int(now.timestamp()))
        head = f"{request.method}\n{target(request.url)}\n{timestamp}\n{nonce}\n".encode()
        signature = self.signature(head + request.body + b"\n")
        authorization = f'{self._prefix}{nonce}",timestamp="{timestamp}",signature="{signature}"'
        return Request(request.method, request.url, {**request.headers, "Authorization": authorization}, request.body)

    def signature(self, message: bytes) -> str:
        """Return the merchant's signature over these bytes, base64."""
        return b64encode(self._key.sign(message, _PADDING, _SHA256)).decode()


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """A key with which WeChat signs: of a platform certificate 平台证书, or a WeChat Pay public key 微信支付公钥."""

    key_id: str  # as `key_id` writes it
    public_key: RSAPublicKey
    expires_at: datetime | None = None  # public keys do not expire


class PlatformKeys:
    """The keys trusted now, several at once: WeChat changes keys while messages are under way."""

    def __init__(self, keys: Iterable[PlatformKey]) -> None:
        self._keys = {key.key_id: key for key in keys}

    def ids(self) -> list[str]:
        return sorted(self._keys)

    def with_more(self, more: Iterable[PlatformKey]) -> "PlatformKeys":
        """Return these keys and `more`.

        Old ones stay until their certificate expires: a notice signed before the change may still be under way.
        """
        return PlatformKeys([*self._keys.values(), *more])

    def sealer(self, preferred: str | None = None) -> "Sealer":
        """Return what encrypts for WeChat: with the preferred key, else with the certificate that is valid longest."""
        usable = self._keys.get(preferred or "") or max(
            self._keys.values(), key=lambda key: key.expires_at.timestamp() if key.expires_at else 0.0
        )
        return Sealer(usable)

    def verify(self, message: Response, *, now: datetime) -> str:
        """Return the id of the key that signed the message. Raises BadNotice when none of ours did, just now."""
        headers = message.headers
        signature = headers.get("wechatpay-signature", "")
        serial = headers.get("wechatpay-serial", "")
        timestamp = headers.get("wechatpay-timestamp", "")
        nonce = headers.get("wechatpay-nonce", "")
        if not (signature and serial and timestamp and nonce):
            raise BadNotice("unsigned", "a signature header of WeChat Pay is missing")
        if signature.startswith(PROBE):
            raise BadNotice("probe", "WeChat Pay sent a wrong signature on purpose; it will send the right one later")
        if headers.get("wechatpay-signature-type", SCHEME) != SCHEME:
            raise BadNotice("bad_signature", f"only {SCHEME} is understood")
        if not _SECONDS.fullmatch(timestamp) or not _PRINTABLE.fullmatch(nonce):
            raise BadNotice("bad_signature", "the timestamp or the nonce is malformed")
        if abs(now.timestamp() - int(timestamp)) >= WINDOW_S:
            raise BadNotice("stale", f"signed at {timestamp}, which is {WINDOW_S} seconds or more from now")
        named = key_id(serial)
        key = self._keys.get(named)
        if key is None:
            raise BadNotice("unknown_key", f"signed with a key we do not know: {named[:64]!r}")
        if key.expires_at is not None and now >= key.expires_at:
            raise BadNotice("expired_key", f"the certificate {named} expired at {key.expires_at}")
        signed = f"{timestamp}\n{nonce}\n".encode() + message.body + b"\n"
        try:
            key.public_key.verify(_strict_base64(signature), signed, _PADDING, _SHA256)
        except (InvalidSignature, ValueError):
            raise BadNotice("bad_signature", f"the signature is not one of {named} over these bytes") from None
        return named


class Sealer:
    """Encrypts single fields of a request 敏感信息加密 so that WeChat alone can read them.

    OAEP mixes in chance of its own, so the same text is written differently each time.
    """

    def __init__(self, key: PlatformKey) -> None:
        self._key = key.public_key
        # The header names the key as WeChat writes it: a certificate's serial has all its 40 digits.
        self.headers = {"Wechatpay-Serial": key.key_id if key.expires_at is None else key.key_id.rjust(40, "0")}

    def seal(self, plain: str) -> str:
        """Return the encrypted text, base64. Raises ValueError when it has more than 214 bytes of UTF-8."""
        raw = plain.encode()
        if len(raw) > LONGEST_SEALED:
            raise ValueError(f"an encrypted field holds at most {LONGEST_SEALED} bytes, this one has {len(raw)}")
        return b64encode(self._key.encrypt(raw, _OAEP)).decode()


def target(url: str) -> str:
    """Return what is signed of a URL: path and query as they travel, without the host."""
    return "/" + url.split("/", 3)[3]


def key_id(header: str) -> str:
    """Return one spelling for each key: public keys by their exact id, certificates by their serial as a number.

    The serial of a certificate is a number: leading zeros and the case of its letters mean nothing.
    """
    if header.startswith(_PUBLIC_KEY) or not _HEX.fullmatch(header):
        return header
    return f"{int(header, 16):X}"


def decrypt(apiv3_key: bytes, sealed: Mapping[str, Any]) -> bytes:
    """Return the plaintext of an encrypted resource (AES-256-GCM). Raises BadNotice when it is not meant for us."""
    try:
        if sealed["algorithm"] != "AEAD_AES_256_GCM":
            raise ValueError(f"algorithm {str(sealed['algorithm'])[:40]!r}")
        nonce = text(sealed["nonce"]).encode()
        extra = text(sealed.get("associated_data") or "").encode()
        return AESGCM(apiv3_key).decrypt(nonce, _strict_base64(text(sealed["ciphertext"])), extra)
    except (KeyError, ValueError, InvalidTag) as error:
        why = f"{type(error).__name__} {error}".strip()
        raise BadNotice("cannot_decrypt", f"the content cannot be opened with our APIv3 key: {why}") from None


def platform_key(pem: bytes, named: str) -> PlatformKey:
    """Return the key of a platform certificate; raises ValueError when its serial is not `named` or it is not RSA."""
    certificate = x509.load_pem_x509_certificate(pem)
    if f"{certificate.serial_number:X}" != key_id(named):
        raise ValueError(f"the certificate named {named} has the serial {certificate.serial_number:X}")
    return PlatformKey(key_id(named), _rsa(certificate.public_key()), certificate.not_valid_after_utc)


def public_key(pem: bytes, named: str) -> PlatformKey:
    """Return a WeChat Pay public key; `named`: its id, PUB_KEY_ID_ and digits."""
    if not named.startswith(_PUBLIC_KEY):
        raise ValueError(f"the id of a WeChat Pay public key begins with {_PUBLIC_KEY}; see public_key_id")
    return PlatformKey(named, _rsa(serialization.load_pem_public_key(pem)))


def private_key(pem: str) -> RSAPrivateKey:
    """Return the merchant's private key, an unencrypted PEM."""
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("the merchant's private key is not an RSA private key")
    return key


def apiv3_key(text: str) -> bytes:
    """Return the merchant's APIv3 key: 32 ASCII characters, used as bytes."""
    key = text.strip()
    if len(key) != 32 or not key.isascii():
        raise ValueError("the APIv3 key must be 32 ASCII characters")
    return key.encode()


def _rsa(key: object) -> RSAPublicKey:
    if not isinstance(key, RSAPublicKey):
        raise ValueError("WeChat Pay signs with RSA keys only")
    return key


def _strict_base64(encoded: str) -> bytes:
    """Decode base64 that is written the one right way; Python skips foreign characters and spare bits otherwise."""
    raw = b64decode(encoded.encode("ascii"), validate=True)
    if b64encode(raw) != encoded.encode("ascii"):
        raise ValueError("not canonical base64")
    return raw
