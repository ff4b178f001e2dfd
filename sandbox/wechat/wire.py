"""What WeChat Pay adds to the shared core: its numbers, merchants' credentials, its notices, its payers' ways."""

import hashlib
import os
import uuid
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson

from sandbox import keys
from sandbox.acquirer import (
    Acquirer,
    CoreError,
    Event,
    Merchant,
    NoticeJob,
    NumberKind,
    Refund,
    Sending,
    Signed,
    Trade,
    Wire,
)
from sandbox.clock import date_of, rfc3339
from sandbox.context import SandboxContext
from sandbox.control import ControlError
from sandbox.store import Tx
from sandbox.wechat import refunds, sharing, trades
from sandbox.wechat.certificates import PlatformKeys
from sandbox.wechat.signing import encrypted, new_apiv3_key, signed_headers

FIRST_MCHID = 1900000001
SUMMARIES = {"TRANSACTION.SUCCESS": "支付成功", "REFUND.SUCCESS": "退款成功", "REFUND.ABNORMAL": "退款异常"}
REFUND_EVENTS: Mapping[Event, str] = {"refunded": "REFUND.SUCCESS", "refund_failed": "REFUND.ABNORMAL"}
# Of what each number begins with: transaction_id, refund_id. The others are shown to nobody.
NUMBERS: Mapping[NumberKind, str] = {"charge": "4200", "refund": "5030"}
AMOUNTS = ("total", "payer_total", "refund", "payer_refund", "total_amount", "payer_amount")


class WeChatWire(Wire):
    """See the module."""

    rail = "wechat"
    mark = "WX"
    payer_name = "财付通支付科技有限公司"
    remitted_as = "WXPAY"
    schedule_s = (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600)
    refund_waits = "refund_abnormal"
    wishes = frozenset({"public_key_only"})
    has_coupons = True
    probes = True
    bill = "tradebill"
    states = (("trade_state", "status"),)
    also_matched = ("share", "share_return")
    words: Mapping[str, str] = {
        "mchid": "merchant",
        "out_trade_no": "order",
        "out_refund_no": "refund",
        "out_order_no": "share",
        "out_return_no": "share_return",
        "code_url": "code",
        "openid": "payer",
    }

    def __init__(self, ctx: SandboxContext, pool: keys.Pool, platform: PlatformKeys) -> None:
        self._ctx, self._pool, self._platform = ctx, pool, platform
        sharing.declare_faults(ctx.faults)

    # ---- merchants ---------------------------------------------------------------------------------------------------

    def merchant_id(self, seq: int) -> str:
        return str(FIRST_MCHID - 1 + seq)

    async def sign_up(self, merchant: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
        """Make appid, API certificate with its private key and APIv3 key; files for all of it."""
        public_key_only = wishes.get("public_key_only", False)
        if not isinstance(public_key_only, bool):
            raise ControlError(400, "bad_field", "public_key_only must be true or false")
        key, apiv3_key = await self._pool.new_key(), new_apiv3_key()
        starts_at = self._ctx.clock.now_utc() - timedelta(hours=1)
        certificate = keys.new_certificate(key, merchant, starts_at=starts_at)
        pem, folder = keys.certificate_pem(certificate), self._folder(merchant)
        keys.write_file(folder / "apiclient_key.pem", keys.private_pem(key), secret=True)
        keys.write_file(folder / "apiclient_cert.pem", pem)
        keys.write_file(folder / "apiv3_key.txt", apiv3_key.encode(), secret=True)
        keys.write_file(folder / "app_secret.txt", app_secret(apiv3_key).encode(), secret=True)
        return {
            "appid": f"wx{os.urandom(8).hex()}",
            "serial_no": keys.serial_of(certificate),
            "certificate_pem": pem.decode(),
            "apiv3_key": apiv3_key,
            "public_key_only": public_key_only,
        }

    def described(self, merchant: Merchant) -> dict[str, Any]:
        folder = self._folder(merchant.merchant)
        return {
            "mchid": merchant.merchant,
            "appid": merchant.extra["appid"],
            "serial_no": merchant.extra["serial_no"],
            "private_key_file": str(folder / "apiclient_key.pem"),
            "certificate_file": str(folder / "apiclient_cert.pem"),
            "apiv3_key_file": str(folder / "apiv3_key.txt"),
            "app_secret_file": str(folder / "app_secret.txt"),
            "open_url": self._ctx.base_url,
            "api_url": self._ctx.base_url,
            **self._platform.described(),
        }

    def _folder(self, merchant: str) -> Path:
        return (self._ctx.home / self.rail / merchant).absolute()

    async def rotate_keys(self, merchant: Merchant | None) -> dict[str, Any]:
        """Bring a new platform certificate into use beside the old ones; it is the same for all merchants."""
        key = await self._platform.add_certificate()
        return {"serial_no": key.key_id, "file": str(self._platform.file(key))}

    # ---- numbers -----------------------------------------------------------------------------------------------------

    def number(self, kind: NumberKind, merchant: str, seq: int, now_ms: int) -> str:
        if kind == "notice":
            return str(uuid.uuid4())
        digits = 13 if kind == "refund" else 12
        return f"{NUMBERS.get(kind, kind)}{merchant[-4:]}{date_of(now_ms):%Y%m%d}{seq:0{digits}d}"

    def token_in(self, code: str) -> str:
        return trades.token_in(code) or code

    def told_trade(self, trade: Trade) -> dict[str, Any]:
        """Return an order in WeChat Pay's own words, too."""
        return {
            "out_trade_no": trade.order,
            "transaction_id": trade.charge_ref,
            "total": trade.amount,
            "trade_state": trades.state_of(trade),
            "success_time": trade.paid_ms and rfc3339(trade.paid_ms),
            "payer": {"openid": trade.payer},
        }

    # ---- notices -----------------------------------------------------------------------------------------------------

    def content(
        self, event: Event, merchant: Merchant, trade: Trade, refund: Refund | None, now_ms: int
    ) -> dict[str, Any] | None:
        if event == "paid":
            return paid_content(trades.shown(trade), trade.extra["key_id"])
        if refund is not None and event in REFUND_EVENTS and refund.notify_url is not None:
            plain = refunds.notified(refund, trade)
            return {"event_type": REFUND_EVENTS[event], "plain": plain, "key_id": refund.extra["key_id"]}
        return None

    def wrong_amount(self, content: Mapping[str, Any]) -> dict[str, Any]:
        plain: dict[str, Any] = orjson.loads(orjson.dumps(content["plain"]))
        amount = plain["amount"] if "amount" in plain else plain["sub_orders"][0]["amount"]
        for field in AMOUNTS:
            if field in amount:
                amount[field] += 1
        return {**content, "plain": plain}

    async def sending(self, merchant: Merchant, notice: NoticeJob, signed: Signed) -> Sending:
        key = self._platform.by_id(notice.content["key_id"], merchant)
        headers = {
            "Content-Type": "application/json",
            "Accept": "*/*",
            "User-Agent": "Mozilla/4.0",
            "Request-ID": uuid.uuid4().hex,
        }
        body = _body(notice, str(merchant.extra["apiv3_key"]))
        return Sending(headers | await signed_headers(self._pool, key.key_id, key.key, body, signed), body)

    def acknowledged(self, status: int, body: bytes) -> bool:
        return status in (200, 204)

    # ---- the payer, and what time brings -----------------------------------------------------------------------------

    def payer_pays(self, tx: Tx, acquirer: Acquirer, trade: Trade, payer: str | None) -> Trade:
        if trade.extra.get("combined"):
            message = f"order {trade.order} is part of a combined one; that is what the payer pays"
            raise CoreError("order_combined", message, trade=trade)
        return trades.charge(tx, acquirer, trade, payer)

    def payer_declines(self, tx: Tx, acquirer: Acquirer, trade: Trade) -> Trade:
        """A payment by code ends with it; any other order stays open."""
        by_code = trade.product == "codepay"
        return acquirer.trades.decline(tx, trade, final=by_code, refusal="TRADE_ERROR")

    def end_due(self, tx: Tx, acquirer: Acquirer) -> int | None:
        return sharing.end_due(tx, acquirer)


def app_secret(apiv3_key: str) -> str:
    """Return the AppSecret of a merchant's official account; it follows from the APIv3 key."""
    return hashlib.sha256(b"app secret\n" + apiv3_key.encode()).hexdigest()[:32]


def paid_content(plain: Mapping[str, Any], key_id: str | None) -> dict[str, Any]:
    """Return what a notice of a payment is made of. plain: the order, or the combined one, as a query shows it."""
    return {"event_type": "TRANSACTION.SUCCESS", "plain": plain, "key_id": key_id}


def _body(notice: NoticeJob, apiv3_key: str) -> bytes:
    """Return the message, the same one each time: what makes its nonce is its id."""
    event_type = str(notice.content["event_type"])
    original_type = "transaction" if event_type.startswith("TRANSACTION") else "refund"
    nonce = hashlib.sha256(notice.notice_id.encode()).hexdigest()[:12]
    sealed = encrypted(apiv3_key, orjson.dumps(notice.content["plain"]), original_type, nonce)
    return orjson.dumps(
        {
            "id": notice.notice_id,
            "create_time": rfc3339(notice.created_ms),
            "resource_type": "encrypt-resource",
            "event_type": event_type,
            "summary": SUMMARIES[event_type],
            "resource": {"original_type": original_type, **sealed},
        }
    )
