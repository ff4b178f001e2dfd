"""The merchants of the simulated WeChat Pay, and the credentials each was given."""

import hashlib
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox import keys
from sandbox.context import SandboxContext
from sandbox.store import Row, Tx
from sandbox.wechat.signing import new_apiv3_key

DEFAULT_FEE_BP = 60
FIRST_MCHID = 1900000001


@dataclass(frozen=True, slots=True)
class Merchant:
    """A merchant 商户 as requests need it."""

    mchid: str
    appid: str
    serial_no: str
    public_key: rsa.RSAPublicKey
    apiv3_key: str
    fee_bp: int
    settle_to: str | None
    public_key_only: bool

    @property
    def app_secret(self) -> str:
        """The AppSecret of its official account; it follows from the APIv3 key, so the store need not have it."""
        return hashlib.sha256(b"app secret\n" + self.apiv3_key.encode()).hexdigest()[:32]


class Merchants:
    """All merchants, kept in memory beside the store because every request needs one."""

    def __init__(self, ctx: SandboxContext, pool: keys.Pool) -> None:
        self._ctx, self._pool = ctx, pool
        rows = ctx.store.all("SELECT * FROM wechat_merchant")
        self._by_mchid: dict[str, Merchant] = {row["mchid"]: _read(row) for row in rows}

    def find(self, mchid: str) -> Merchant | None:
        """Return the merchant with this number, if any."""
        return self._by_mchid.get(mchid)

    def all(self) -> list[Merchant]:
        """Return every merchant, oldest first."""
        return list(self._by_mchid.values())

    async def create(self, *, name: str, fee_bp: int, settle_to: str | None, public_key_only: bool) -> Merchant:
        """Sign up a merchant: number, appid, API certificate with its private key, APIv3 key; files for all of it."""
        key = await self._pool.new_key()
        starts_at = self._ctx.clock.now_utc() - timedelta(hours=1)
        day_before = self._ctx.clock.beijing_date() - timedelta(days=1)
        appid, apiv3_key = f"wx{os.urandom(8).hex()}", new_apiv3_key()

        def insert(tx: Tx) -> Row:
            row = tx.one("SELECT max(CAST(mchid AS INTEGER)) AS last FROM wechat_merchant")
            mchid = str((row["last"] if row and row["last"] else FIRST_MCHID - 1) + 1)
            certificate = keys.new_certificate(key, mchid, starts_at=starts_at)
            pem = keys.certificate_pem(certificate)
            folder = self.folder(mchid)
            keys.write_file(folder / "apiclient_key.pem", keys.private_pem(key), secret=True)
            keys.write_file(folder / "apiclient_cert.pem", pem)
            keys.write_file(folder / "apiv3_key.txt", apiv3_key.encode(), secret=True)
            tx.execute(
                "INSERT INTO wechat_merchant (mchid, appid, name, serial_no, certificate_pem, apiv3_key, fee_bp,"
                " settle_to, public_key_only, closed_through) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(mchid, appid, name, keys.serial_of(certificate), pem, apiv3_key, fee_bp),
                *(settle_to, public_key_only, day_before.isoformat()),
            )
            created = tx.one("SELECT * FROM wechat_merchant WHERE mchid = ?", mchid)
            assert created is not None
            return created

        merchant = _read(await self._ctx.store.write(insert))
        self._by_mchid[merchant.mchid] = merchant
        return merchant

    async def settle_to(self, mchid: str, account: str | None) -> Merchant:
        """Change the bank account a merchant's days are paid out to."""

        def update(tx: Tx) -> Row:
            tx.execute("UPDATE wechat_merchant SET settle_to = ? WHERE mchid = ?", account, mchid)
            row = tx.one("SELECT * FROM wechat_merchant WHERE mchid = ?", mchid)
            assert row is not None
            return row

        merchant = _read(await self._ctx.store.write(update))
        self._by_mchid[mchid] = merchant
        return merchant

    def folder(self, mchid: str) -> Path:
        """Return where a merchant's credentials lie."""
        return self._ctx.home / "wechat" / mchid

    def _app_secret_file(self, merchant: Merchant) -> Path:
        """Return the file of the AppSecret; merchants of before have none yet."""
        file = self.folder(merchant.mchid).absolute() / "app_secret.txt"
        if not file.exists():
            keys.write_file(file, merchant.app_secret.encode(), secret=True)
        return file

    def credentials(self, merchant: Merchant) -> dict[str, Any]:
        """Return what the merchant must configure, as the control API shows it."""
        folder = self.folder(merchant.mchid).absolute()
        return {
            "mchid": merchant.mchid,
            "appid": merchant.appid,
            "serial_no": merchant.serial_no,
            "private_key_file": str(folder / "apiclient_key.pem"),
            "certificate_file": str(folder / "apiclient_cert.pem"),
            "apiv3_key_file": str(folder / "apiv3_key.txt"),
            "app_secret_file": str(self._app_secret_file(merchant)),
            "open_url": self._ctx.base_url,
            "api_url": self._ctx.base_url,
            "fee_bp": merchant.fee_bp,
            "settle_to": merchant.settle_to,
            "base_url": self._ctx.base_url,
        }


def _read(row: Row) -> Merchant:
    _, public_key = keys.read_certificate(row["certificate_pem"])
    return Merchant(
        row["mchid"],
        row["appid"],
        row["serial_no"],
        public_key,
        row["apiv3_key"],
        row["fee_bp"],
        row["settle_to"],
        bool(row["public_key_only"]),
    )
