"""What Alipay adds to the shared core: its numbers, its merchants' keys, its notices, and payers who come late."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web

from sandbox import coupons, keys
from sandbox.acquirer import Acquirer, Event, Merchant, NoticeJob, NumberKind, Refund, Sending, Signed, Trade
from sandbox.acquirer.wire import Wire
from sandbox.alipay import royalties
from sandbox.alipay.signing import RailKeys, cert_sn, signed_text
from sandbox.alipay.words import fen, fund_channel, state_of, yuan
from sandbox.clock import BEIJING, wall_text
from sandbox.context import SandboxContext
from sandbox.control import ControlError
from sandbox.store import Tx

Comes = Callable[[str | None, str | None, str | None], Awaitable[Trade | None]]
_SPELLED = re.compile(r"\A([0-9a-z]{1,6})_([0-9a-z]+)\Z", re.ASCII)
FORM = "application/x-www-form-urlencoded; charset="


class AlipayWire(Wire):
    """See the module."""

    rail = "alipay"
    mark = "AP"
    payer_name = "支付宝(中国)网络技术有限公司"
    schedule_s = (240, 600, 600, 3600, 7200, 21600, 54000)
    refund_takes_s = 0
    wishes = frozenset({"certificates", "tells_reversals"})
    states = (("trade_status", "refund_status", "fund_change", "retry_flag"), ("code",))
    also_matched = ("share",)
    has_coupons = True

    def __init__(self, ctx: SandboxContext, rail_keys: RailKeys, pool: keys.Pool) -> None:
        self._ctx, self.keys, self._pool = ctx, rail_keys, pool
        self._acquirer: Acquirer
        self._comes: Comes

    def attach(self, acquirer: Acquirer, comes: Comes) -> None:
        """Make known who keeps the books, and who can read the order in what a payer carries."""
        self._acquirer, self._comes = acquirer, comes

    # ---- merchants ---------------------------------------------------------------------------------------------------

    def merchant_id(self, seq: int) -> str:
        return f"20881{seq:011}"

    async def sign_up(self, merchant: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
        certificates, tells = wishes.get("certificates", False), wishes.get("tells_reversals", True)
        if not (isinstance(certificates, bool) and isinstance(tells, bool)):
            raise ControlError(400, "bad_field", "certificates and tells_reversals must be true or false")
        folder = self._ctx.home / self.rail / merchant
        key = await self._pool.new_key()
        keys.write_file(folder / "private_key.pem", keys.private_pem(key), secret=True)
        extra: dict[str, Any] = {"app_id": f"2021{merchant[4:]}", "tells_reversals": tells}
        extra["public_key"] = keys.public_pem(key.public_key()).decode()
        if certificates:
            await self.keys.authority()
            certificate = self.keys.certify("Sluice sandbox merchant", merchant, key.public_key())
            keys.write_file(folder / "app_certificate.pem", keys.certificate_pem(certificate))
            extra["app_cert_sn"] = cert_sn(certificate)
        return extra

    def described(self, merchant: Merchant) -> dict[str, Any]:
        folder = (self._ctx.home / self.rail / merchant.merchant).absolute()
        settings = {
            "app_id": merchant.extra["app_id"],
            "seller_id": merchant.merchant,
            "private_key_file": str(folder / "private_key.pem"),
            "alipay_public_key_file": str(self.keys.public_key_file),
        }
        if "app_cert_sn" in merchant.extra:
            settings |= {
                "app_certificate_file": str(folder / "app_certificate.pem"),
                "alipay_certificate_file": str(self.keys.certificate_file),
                "alipay_root_certificate_file": str(self.keys.root_file),
            }
        return settings

    async def rotate_keys(self, merchant: Merchant | None) -> dict[str, Any]:
        sn, path = await self.keys.new_certificate()
        return {"alipay_cert_sn": sn, "alipay_certificate_file": str(path)}

    # ---- numbers -----------------------------------------------------------------------------------------------------

    def number(self, kind: NumberKind, merchant: str, seq: int, now_ms: int) -> str:
        day = datetime.fromtimestamp(now_ms / 1000, BEIJING)
        if kind == "notice":
            return f"{day:%Y%m%d}00222{day:%H%M%S}{seq % 10**15:015}"
        # A trade and its charge have one number; it is the trade's, and the core's for the charge is not shown.
        group = {"trade": "22001", "refund": "99001"}.get(kind, "00000")
        return f"{day:%Y%m%d}{group}{seq:015}"

    def spelled(self, number: str) -> str:
        """Numbers are letters, digits and underscores; whoever has a dash in theirs has written an underscore here."""
        return number.replace("-", "_")

    def told(self, number: str) -> str:
        """The underscore behind a short beginning of small letters and digits stands for such a dash."""
        return _SPELLED.sub(r"\1-\2", number)

    # ---- notices -----------------------------------------------------------------------------------------------------

    def content(
        self, event: Event, merchant: Merchant, trade: Trade, refund: Refund | None, now_ms: int
    ) -> dict[str, Any] | None:
        if event not in ("paid", "closed", "refunded"):
            return None
        extra = trade.extra
        said = {
            "gmt_create": wall_text(trade.created_ms),
            "charset": str(extra["charset"]),
            "subject": str(extra["subject"]),
            "notify_type": "trade_status_sync",
            "app_id": str(merchant.extra["app_id"]),
            "auth_app_id": str(merchant.extra["app_id"]),
            "seller_id": merchant.merchant,
            "seller_email": f"{merchant.merchant}@sandbox.alipay",
            "version": "1.0",
            "out_trade_no": trade.order,
            "trade_no": trade.trade_ref,
            "total_amount": yuan(trade.amount),
            "trade_status": state_of(trade),
        }
        if trade.paid_ms is not None:
            used = trade.coupons
            buyer = yuan(trade.paid - coupons.total_of(used))
            funds = [{"amount": buyer, "fundChannel": "ALIPAYACCOUNT"}]
            funds += [{"amount": yuan(one["amount"]), "fundChannel": fund_channel(one)} for one in used]
            said |= {
                "gmt_payment": wall_text(trade.paid_ms),
                "buyer_id": str(trade.payer),
                "buyer_logon_id": "159****5620",
                "receipt_amount": yuan(trade.paid - trade.not_paid_out),
                "buyer_pay_amount": buyer,
                "invoice_amount": buyer,
                "point_amount": "0.00",
                "fund_bill_list": json.dumps(funds, separators=(",", ":")),
            }
        if event == "closed":
            said["gmt_close"] = wall_text(now_ms)
        if refund is not None:
            said |= {
                "gmt_refund": f"{wall_text(refund.created_ms)}.{refund.created_ms % 1000:03}",
                "refund_fee": yuan(trade.refunded),
                "out_biz_no": str(refund.extra["request_no"]),
            }
        if extra.get("passback_params"):
            said["passback_params"] = str(extra["passback_params"])
        return said | {"certified": bool(extra["certified"])}

    def wrong_amount(self, content: Mapping[str, Any]) -> dict[str, Any]:
        return {**content, "total_amount": yuan(fen(content, "total_amount") + 1)}

    async def sending(self, merchant: Merchant, notice: NoticeJob, signed: Signed) -> Sending:
        said = {name: str(value) for name, value in notice.content.items() if name != "certified"}
        certified, charset = bool(notice.content["certified"]), said["charset"]
        said |= {"notify_id": notice.notice_id, "notify_time": wall_text(self._ctx.clock.now_ms())}
        if certified:
            said["alipay_cert_sn"] = (await self.keys.sign(b"", certified=True, signed="right"))[1]
        text = signed_text(said).encode(charset)
        signature, _ = await self.keys.sign(text, certified=certified, signed=signed)
        if signature:
            said |= {"sign": signature, "sign_type": "RSA2"}
        body = urlencode(said, encoding=charset).encode()
        return Sending({"Content-Type": f"{FORM}{charset}"}, body)

    def acknowledged(self, status: int, body: bytes) -> bool:
        return status == 200 and body == b"success"

    # ---- the payer ---------------------------------------------------------------------------------------------------

    async def payer_comes(
        self, acquirer: Acquirer, merchant: str | None, order: str | None, code: str | None
    ) -> Trade | None:
        return await self._comes(merchant, order, code)

    def payer_pays(self, tx: Tx, acquirer: Acquirer, trade: Trade, payer: str | None) -> Trade:
        charged = acquirer.trades.charge(tx, trade, payer or trade.payer or "2088102177846880")
        royalties.freeze(tx, charged)
        return charged

    def payer_declines(self, tx: Tx, acquirer: Acquirer, trade: Trade) -> Trade:
        """A payer who is asked at the till and says no ends it; any other may try again."""
        return acquirer.trades.decline(tx, trade, final=trade.product == "pay")

    def after_payer(self, trade: Trade) -> web.StreamResponse | None:
        """Send the browser back to the merchant with what the page is told, signed (同步返回)."""
        back = trade.extra.get("return_url")
        if not back or trade.state != "paid":
            return None
        app_id = str(self._acquirer.merchants.get(trade.merchant).extra["app_id"])
        said = {
            "charset": "utf-8",
            "method": f"alipay.trade.{trade.product}.return",
            "app_id": app_id,
            "auth_app_id": app_id,
            "seller_id": trade.merchant,
            "out_trade_no": trade.order,
            "trade_no": trade.trade_ref,
            "total_amount": yuan(trade.paid),
            "timestamp": wall_text(self._ctx.clock.now_ms()),
            "version": "1.0",
            "sign_type": "RSA2",
        }
        signature, _ = self.keys.sign_now(
            signed_text(said, "sign_type").encode(), certified=bool(trade.extra["certified"])
        )
        said["sign"] = signature
        separator = "&" if "?" in str(back) else "?"
        return web.Response(status=302, headers={"Location": f"{back}{separator}{urlencode(said, quote_via=quote)}"})
