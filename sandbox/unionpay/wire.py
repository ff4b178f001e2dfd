"""What UnionPay adds to the shared core: merchants' certificates, its numbers, its notices, its return page."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web

from sandbox import keys
from sandbox.acquirer import Acquirer, Event, Merchant, NoticeJob, NumberKind, Refund, Sending, Signed, Trade, Wire
from sandbox.acquirer.page import show
from sandbox.clock import BEIJING
from sandbox.context import SandboxContext
from sandbox.unionpay.certificates import SigningKeys

if TYPE_CHECKING:
    from sandbox.store import Tx

KINDS: Mapping[str, int] = {"trade": 1, "hold": 2, "charge": 3, "refund": 4, "notice": 5, "webhook": 6}
NO_FUNDS = "64"
DONE = {"respCode": "00", "respMsg": "success"}
FORM = "application/x-www-form-urlencoded;charset=UTF-8"
_ORDER_ID = re.compile(r"([0-9a-z]{1,6})[ZCV]([0-9a-z]+)", re.ASCII)


def shown(order_id: str) -> str:
    """Return how the control API calls an orderId: a merchant whose numbers have a dash must send a capital for it."""
    match = _ORDER_ID.fullmatch(order_id)
    return f"{match[1]}-{match[2]}" if match else order_id


def beijing(ms: int) -> str:
    """Write a moment as UnionPay does: 20261124163000."""
    return datetime.fromtimestamp(ms // 1000, BEIJING).strftime("%Y%m%d%H%M%S")


def common(merchant: str, extra: Mapping[str, Any]) -> dict[str, str]:
    """Return what every message says. extra: the trade's or the refund's, with the numbers the merchant gave it."""
    return {
        "version": "5.1.0",
        "encoding": "UTF-8",
        "signMethod": "01",
        "bizType": str(extra.get("bizType", "000201")),
        "accessType": "0",
        "merId": merchant,
        "orderId": str(extra["orderId"]),
        "txnTime": str(extra["txnTime"]),
        "txnType": str(extra["txnType"]),
        "txnSubType": str(extra["txnSubType"]),
        **({"reqReserved": str(extra["reqReserved"])} if extra.get("reqReserved") else {}),
    }


def money(extra: Mapping[str, Any], amount: int, query_id: str, at_ms: int) -> dict[str, str]:
    """Return what UnionPay says of money it moved.

    extra: as in common. traceTime is the txnTime of the message that asked for it, in all that is recorded.
    """
    at = beijing(at_ms)
    return {
        "txnAmt": str(amount),
        "currencyCode": "156",
        "settleAmt": str(amount),
        "settleCurrencyCode": "156",
        "settleDate": at[4:8],
        "traceNo": query_id[-6:],
        "traceTime": str(extra["txnTime"])[4:],
        "queryId": query_id,
        "payCardType": "01",
        "accNo": "6216***********0018",
    }


class UnionPayWire(Wire):
    """See the module."""

    rail = "unionpay"
    mark = "UP"
    payer_name = "中国银联股份有限公司"
    schedule_s = (60, 120, 240, 300)
    acknowledge_within_s = 10.0
    states = (("origRespCode",), ("respCode",))

    def __init__(self, ctx: SandboxContext, pool: keys.Pool, signing_keys: SigningKeys) -> None:
        self._ctx, self._pool, self._keys = ctx, pool, signing_keys

    # ---- merchants ---------------------------------------------------------------------------------------------------

    def merchant_id(self, seq: int) -> str:
        return f"777290{seq:09d}"

    async def sign_up(self, merchant: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
        key = await self._pool.new_key()
        starts_at = self._ctx.clock.now_utc() - timedelta(hours=1)
        certificate = keys.new_certificate(key, f"041@{merchant}@00000001", starts_at=starts_at)
        pem, folder = keys.certificate_pem(certificate), self._ctx.home / self.rail / merchant
        keys.write_file(folder / "merchant_key.pem", keys.private_pem(key), secret=True)
        keys.write_file(folder / "merchant_cert.pem", pem)
        return {"cert_id": str(certificate.serial_number), "certificate": pem.decode()}

    def described(self, merchant: Merchant) -> dict[str, Any]:
        folder = (self._ctx.home / self.rail / merchant.merchant).absolute()
        return {
            "mer_id": merchant.merchant,
            "cert_id": merchant.extra["cert_id"],
            "private_key_file": str(folder / "merchant_key.pem"),
            "certificate_file": str(folder / "merchant_cert.pem"),
            "root_cert_file": str(self._keys.file("root").absolute()),
            "middle_cert_file": str(self._keys.file("middle").absolute()),
            "file_url": f"{self._ctx.base_url}/unionpay/filedownload",
        }

    async def rotate_keys(self, merchant: Merchant | None) -> dict[str, Any]:
        return {"cert_serial": await self._keys.rotate()}

    # ---- numbers -----------------------------------------------------------------------------------------------------

    def number(self, kind: NumberKind, merchant: str, seq: int, now_ms: int) -> str:
        """Return 21 digits: the moment, then what it is a number of."""
        stranger = seq >= 10**9
        return f"{beijing(now_ms)}{KINDS[kind] + 3 * stranger}{seq % 10**6:06d}"

    # ---- notices -----------------------------------------------------------------------------------------------------

    def content(
        self, event: Event, merchant: Merchant, trade: Trade, refund: Refund | None, now_ms: int
    ) -> dict[str, Any] | None:
        """Return the fields of a notice: UnionPay tells of what was done, never of what failed."""
        match event:
            case "paid" if trade.hold_ref is None:
                fields = common(trade.merchant, trade.extra) | money(
                    trade.extra, trade.paid, str(trade.charge_ref), now_ms
                )
            case "paid":
                numbers = trade.extra["capture"]
                fields = common(trade.merchant, numbers) | money(numbers, trade.paid, str(trade.charge_ref), now_ms)
                fields["origQryId"] = str(trade.hold_ref)
            case "held":
                fields = common(trade.merchant, trade.extra) | money(
                    trade.extra, trade.amount, str(trade.hold_ref), now_ms
                )
            case "voided" if "void" in trade.extra:
                void = trade.extra["void"]
                fields = common(trade.merchant, void) | money(void, trade.amount, void_ref(trade), now_ms)
                fields["origQryId"] = str(trade.hold_ref)
            case "refunded" if refund is not None and refund.order is not None:
                fields = common(trade.merchant, refund.extra) | money(
                    refund.extra, refund.amount, refund.refund_ref, now_ms
                )
                fields["origQryId"] = str(trade.charge_ref)
            case _:
                return None
        return fields | DONE

    def wrong_amount(self, content: Mapping[str, Any]) -> dict[str, Any]:
        wrong = str(int(content["txnAmt"]) + 1)
        return {**content, "txnAmt": wrong, "settleAmt": wrong}

    async def sending(self, merchant: Merchant, notice: NoticeJob, signed: Signed) -> Sending:
        fields = {name: str(value) for name, value in notice.content.items()}
        if signed != "none":
            key = self._keys.key if signed == "right" else await self._keys.strangers_key()
            fields = await self._keys.signed(fields, key)
        return Sending({"Content-Type": FORM}, urlencode(fields).encode())

    # ---- the payer ---------------------------------------------------------------------------------------------------

    def payer_declines(self, tx: "Tx", acquirer: "Acquirer", trade: Trade) -> Trade:
        return acquirer.trades.decline(tx, trade, final=False, refusal=NO_FUNDS)

    def after_payer(self, trade: Trade) -> web.StreamResponse | None:
        """Return the page with the way back to the merchant, which carries what the notice says, signed likewise."""
        url = trade.extra.get("frontUrl")
        if not url:
            return None
        words = {"paid": "支付成功 Paid", "held": "授权成功 Authorised"}.get(trade.state, "未支付 Not paid")
        fields = common(trade.merchant, trade.extra) | {"respCode": "01", "respMsg": "未支付"}
        if trade.state == "paid":
            fields |= money(trade.extra, trade.paid, str(trade.charge_ref), trade.paid_ms or 0) | DONE
        elif trade.state == "held":
            fields |= money(trade.extra, trade.amount, str(trade.hold_ref), trade.held_ms or 0) | DONE
        fields = self._keys.signed_now(fields)
        hidden = "".join(f'<input type="hidden" name="{escape(n)}" value="{escape(v)}">' for n, v in fields.items())
        form = f'<form method="post" action="{escape(url)}">{hidden}<button>返回商户 Back to the shop</button></form>'
        return show("沙箱 unionpay", f"<p>{words}</p>{form}")


def void_ref(trade: Trade) -> str:
    """Return the queryId of a release: the reservation's, told apart by its kind."""
    ref = str(trade.hold_ref)
    return f"{ref[:14]}7{ref[15:]}"
