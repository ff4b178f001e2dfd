"""WeChat Pay's own keys: platform certificates 平台证书 and the WeChat Pay public key 微信支付公钥, several at once."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox import keys
from sandbox.acquirer import Merchant
from sandbox.clock import rfc3339
from sandbox.context import SandboxContext
from sandbox.store import Tx
from sandbox.wechat.errors import ApiError, resource_not_exists
from sandbox.wechat.signing import encrypted


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """One signing key. key_id: 40 hexadecimal digits of a certificate, or PUB_KEY_ID_ and digits."""

    key_id: str
    key: rsa.RSAPrivateKey
    certificate_pem: bytes | None


class PlatformKeys:
    """The keys in use. The newest certificate signs unless the request names another key."""

    def __init__(self, ctx: SandboxContext, pool: keys.Pool) -> None:
        self._ctx, self._pool = ctx, pool
        self._keys: dict[str, PlatformKey] = {}
        for row in ctx.store.all("SELECT * FROM wechat_platform_key ORDER BY seq"):
            self._keys[row["key_id"]] = PlatformKey(
                row["key_id"], keys.read_private_key(row["private_pem"]), row["certificate_pem"]
            )

    async def start(self) -> None:
        """Make the first certificate and the public key if there are none yet."""
        if not self.certificates():
            await self.add_certificate()
        if not self.public_keys():
            await self._add(lambda key: _public(key, "PUB_KEY_ID_0116000000012024112400000001"))

    async def add_certificate(self) -> PlatformKey:
        """Bring a new platform certificate into use; older ones stay valid beside it (rotation 证书轮换)."""
        starts_at = self._ctx.clock.now_utc() - timedelta(hours=1)
        return await self._add(lambda key: _certified(key, starts_at))

    async def _add(self, name: Callable[[rsa.RSAPrivateKey], PlatformKey]) -> PlatformKey:
        made = name(await self._pool.new_key())

        def insert(tx: Tx) -> None:
            tx.execute(
                "INSERT INTO wechat_platform_key (key_id, private_pem, certificate_pem) VALUES (?, ?, ?)",
                *(made.key_id, keys.private_pem(made.key), made.certificate_pem),
            )

        public = made.certificate_pem or keys.public_pem(made.key.public_key())
        keys.write_file(self.file(made), public)
        await self._ctx.store.write(insert)
        self._keys[made.key_id] = made
        return made

    def file(self, key: PlatformKey) -> Path:
        """Return where the public half of a key lies."""
        kind = "public_keys" if key.certificate_pem is None else "platform_certificates"
        return (self._ctx.home / "wechat" / kind / f"{key.key_id}.pem").absolute()

    def certificates(self) -> list[PlatformKey]:
        """Return the keys that have a certificate, oldest first."""
        return [key for key in self._keys.values() if key.certificate_pem is not None]

    def public_keys(self) -> list[PlatformKey]:
        """Return the keys of public key mode, oldest first."""
        return [key for key in self._keys.values() if key.certificate_pem is None]

    def current(self, merchant: Merchant | None = None) -> PlatformKey:
        """Return the key that signs for a merchant that has not named one."""
        if merchant is not None and merchant.extra["public_key_only"]:
            return self.public_keys()[-1]
        return self.certificates()[-1]

    def asked_for(self, merchant: Merchant, header: str | None) -> PlatformKey:
        """Return the key the request's Wechatpay-Serial chooses. Raises PARAM_ERROR for one that is not ours."""
        if not header:
            return self.current(merchant)
        wanted = header if header.startswith("PUB_KEY_ID_") else header.upper().lstrip("0").rjust(40, "0")
        key = self._keys.get(wanted)
        if key is None or (merchant.extra["public_key_only"] and key.certificate_pem is not None):
            raise ApiError(400, "PARAM_ERROR", f"Http头Wechatpay-Serial不正确: 没有密钥{header}")
        return key

    def by_id(self, key_id: str | None, merchant: Merchant) -> PlatformKey:
        """Return the key with this id, or the merchant's current one."""
        return self._keys.get(key_id or "") or self.current(merchant)

    def described(self) -> dict[str, Any]:
        """Return the key part of a merchant's configuration."""
        public_key = self.public_keys()[-1]
        return {
            "platform_certificates": [
                {"serial_no": key.key_id, "file": str(self.file(key))} for key in self.certificates()
            ],
            "public_key_id": public_key.key_id,
            "public_key_file": str(self.file(public_key)),
        }

    def download(self, merchant: Merchant) -> dict[str, Any]:
        """Return the answer of GET /v3/certificates, encrypted for the merchant."""
        if merchant.extra["public_key_only"]:
            raise resource_not_exists("无可用的平台证书, 请使用微信支付公钥")
        return {"data": [_downloadable(key.certificate_pem, merchant) for key in self.certificates()]}


def _downloadable(pem: bytes | None, merchant: Merchant) -> dict[str, Any]:
    certificate, _ = keys.read_certificate(pem or b"")
    return {
        "serial_no": keys.serial_of(certificate),
        "effective_time": _moment(certificate.not_valid_before_utc),
        "expire_time": _moment(certificate.not_valid_after_utc),
        "encrypt_certificate": encrypted(merchant.extra["apiv3_key"], pem or b"", "certificate"),
    }


def _moment(at: datetime) -> str:
    return rfc3339(int(at.astimezone(UTC).timestamp()) * 1000)


def _certified(key: rsa.RSAPrivateKey, starts_at: datetime) -> PlatformKey:
    certificate = keys.new_certificate(key, "Tenpay.com sandbox", starts_at=starts_at)
    return PlatformKey(keys.serial_of(certificate), key, keys.certificate_pem(certificate))


def _public(key: rsa.RSAPrivateKey, key_id: str) -> PlatformKey:
    if not re.fullmatch(r"PUB_KEY_ID_[0-9]+", key_id):
        raise ValueError(key_id)
    return PlatformKey(key_id, key, None)
