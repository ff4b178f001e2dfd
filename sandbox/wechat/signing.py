"""Signatures and encryption of WeChat Pay API v3, from the counterparty's side."""

import base64
import binascii
import os
import re
import secrets
import time
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sandbox import clock
from sandbox.acquirer import Signed
from sandbox.keys import PADDING, SHA256, Pool
from sandbox.wechat.errors import sign_error

SCHEME = "WECHATPAY2-SHA256-RSA2048"
CLOCK_WINDOW_S = 300
PROBE_PREFIX = "WECHATPAY/SIGNTEST/"
_PAIR = re.compile(r'\s*([a-z_]+)="([^"]*)"\s*')
_PARTS = frozenset({"mchid", "nonce_str", "signature", "timestamp", "serial_no"})


@dataclass(frozen=True, slots=True)
class Authorization:
    """A well-formed Authorization header."""

    mchid: str
    serial_no: str
    timestamp: int
    nonce: str
    signature: bytes


def read_authorization(header: str | None) -> Authorization:
    """Return the header's parts. Raises SIGN_ERROR if it is missing or malformed."""
    if not header:
        raise sign_error("Http头缺少Authorization")
    scheme, _, rest = header.partition(" ")
    if scheme != SCHEME:
        raise sign_error(f"Http头Authorization认证类型不正确, 应为{SCHEME}")
    parts: dict[str, str] = {}
    for pair in rest.split(","):
        match = _PAIR.fullmatch(pair)
        if match is None or match[1] in parts:
            raise sign_error("Http头Authorization值格式错误, 请参考签名规则")
        parts[match[1]] = match[2]
    if parts.keys() != _PARTS or not all(parts.values()):
        raise sign_error("Http头Authorization值格式错误, 应有mchid nonce_str signature timestamp serial_no")
    if not re.fullmatch(r"[0-9]{1,11}", parts["timestamp"]) or len(parts["nonce_str"]) > 32:
        raise sign_error("Http头Authorization值格式错误, timestamp或nonce_str不正确")
    try:
        signature = base64.b64decode(parts["signature"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise sign_error("Http头Authorization值格式错误, signature不是base64") from error
    return Authorization(
        parts["mchid"], parts["serial_no"].upper(), int(parts["timestamp"]), parts["nonce_str"], signature
    )


def check_clock(timestamp: int) -> None:
    """Raise SIGN_ERROR if the request was signed more than five minutes away from now."""
    if abs(clock.seconds() - timestamp) > CLOCK_WINDOW_S:
        raise sign_error("Http头Authorization中的timestamp与发起请求的时间不得超过5分钟")


def check_signature(key: rsa.RSAPublicKey, auth: Authorization, method: str, target: str, body: bytes) -> None:
    """Raise SIGN_ERROR unless the merchant signed this very request. target: path and query as received."""
    head = f"{method}\n{target}\n{auth.timestamp}\n{auth.nonce}\n"
    try:
        key.verify(auth.signature, head.encode() + body + b"\n", PADDING, SHA256)
    except InvalidSignature as error:
        raise sign_error("错误的签名, 验签失败") from error


class Nonces:
    """Nonces seen lately, so that a recorded request cannot be played again.

    Kept in memory only: after a restart the operations' own idempotency protects. Two generations of ten minutes
    cover the longest time a timestamp stays acceptable (five minutes early to five minutes late).
    """

    def __init__(self) -> None:
        self._young: set[tuple[str, str]] = set()
        self._old: set[tuple[str, str]] = set()
        self._since = time.monotonic()

    def use(self, mchid: str, nonce: str) -> None:
        """Remember the nonce of a request whose signature held. Raises SIGN_ERROR the second time."""
        if time.monotonic() - self._since > 2 * CLOCK_WINDOW_S:
            self._old, self._young, self._since = self._young, set(), time.monotonic()
        if (mchid, nonce) in self._young or (mchid, nonce) in self._old:
            raise sign_error("nonce_str已被使用, 请求不得重放")
        self._young.add((mchid, nonce))


async def signed_headers(
    pool: Pool, key_id: str, key: rsa.RSAPrivateKey, body: bytes, signed: Signed
) -> dict[str, str]:
    """Return the five signature headers for an answer or a notice with this body, as of now.

    signed: right; wrong: by a stranger's key; probe 签名探测: must fail verification; none: there are no headers then.
    """
    if signed == "none":
        return {}
    key = await pool.strangers_key() if signed == "wrong" else key
    timestamp, nonce = str(int(clock.seconds())), secrets.token_hex(16)
    made = base64.b64encode(await pool.sign(key, f"{timestamp}\n{nonce}\n".encode() + body + b"\n")).decode()
    return {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Signature": PROBE_PREFIX + made[len(PROBE_PREFIX) :] if signed == "probe" else made,
        "Wechatpay-Serial": key_id,
        "Wechatpay-Signature-Type": SCHEME,
    }


def encrypted(apiv3_key: str, plain: bytes, associated_data: str, nonce: str | None = None) -> dict[str, str]:
    """Return `plain` as an AEAD_AES_256_GCM resource object. nonce: 12 letters, for nothing else; None: by chance."""
    nonce = nonce or secrets.token_hex(6)
    sealed = AESGCM(apiv3_key.encode()).encrypt(nonce.encode(), plain, associated_data.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(sealed).decode(),
        "associated_data": associated_data,
        "nonce": nonce,
    }


def new_apiv3_key() -> str:
    """Return 32 random ASCII characters."""
    alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"
    return "".join(alphabet[byte % len(alphabet)] for byte in os.urandom(32))


def strict_base64(text: str) -> bytes:
    """Decode base64. Raises ValueError."""
    return base64.b64decode(text.encode("ascii"), validate=True)
