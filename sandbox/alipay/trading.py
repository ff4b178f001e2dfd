"""Orders and what is asked about them: alipay.trade.*. Each takes a call and returns what it answers."""

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

from sandbox import coupons
from sandbox.acquirer import Acquirer, CoreError, Merchant, Trade
from sandbox.acquirer.models import Reader
from sandbox.alipay import royalties
from sandbox.alipay.calls import Call
from sandbox.alipay.errors import PAYING, ApiError, failed, invalid, not_there, of_core
from sandbox.alipay.words import CODE_LIFE_MS, end_of_order, fen, fund_channel, lasting, number, state_of, words, yuan
from sandbox.clock import wall_text
from sandbox.store import Tx

AUTH_CODE = re.compile(r"(2[5-9]|30)[0-9]{14,22}", re.ASCII)
ASKS_FIRST, HAS_NO_MONEY = "8", "9"  # the last digit of a payer's code
BUYER = "2088102177846880"
LOGIN = "159****5620"
CODE_PREFIX = "https://qr.alipay.com/"
PAGES = {"alipay.trade.page.pay": "page.pay", "alipay.trade.wap.pay": "wap.pay", "alipay.trade.app.pay": "app.pay"}

# What each way to pay calls its product; the empty one: it need not say. Clients spell the one of wap.pay in two ways.
PRODUCTS: Mapping[str, tuple[str, ...]] = {
    "alipay.trade.page.pay": ("FAST_INSTANT_TRADE_PAY",),
    "alipay.trade.wap.pay": ("QUICK_WAP_WAY", "QUICK_WAP_PAY"),
    "alipay.trade.app.pay": ("", "QUICK_MSECURITY_PAY"),
    "alipay.trade.pay": ("", "FACE_TO_FACE_PAYMENT"),
}


class Trading:
    """See the module."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer

    # ---- placing orders ----------------------------------------------------------------------------------------------

    async def precreate(self, call: Call) -> dict[str, Any]:
        """Hand out a code to scan; the same one for the same order. There is no trade before somebody scans it."""
        order, now_ms = self._order(call, "precreate"), self._of.ctx.clock.now_ms()
        code_ends_ms = min(order["expires_ms"], now_ms + lasting(call.content, "qr_code_timeout_express", CODE_LIFE_MS))
        merchant, number_ = call.merchant, order["order"]

        def hand_out(tx: Tx) -> str:
            self._check_free(tx, merchant, order)
            sql = "SELECT token, content FROM alipay_precreate WHERE merchant = ? AND order_no = ?"
            row = tx.one(sql, merchant.merchant, number_)
            if row is not None and json.loads(row["content"])["params"] != order["params"]:
                raise failed(*PAYING["order_conflict"])
            token = row["token"] if row is not None else secrets.token_hex(17)
            tx.execute(
                "INSERT INTO alipay_precreate (merchant, order_no, token, content, code_ends_ms)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (merchant, order_no)"
                " DO UPDATE SET content = excluded.content, code_ends_ms = excluded.code_ends_ms",
                *(merchant.merchant, number_, token, json.dumps(order, ensure_ascii=False), code_ends_ms),
            )
            return str(token)

        token = await self._of.write(hand_out)
        return {"out_trade_no": number_, "qr_code": f"{CODE_PREFIX}{token}"}

    async def pay(self, call: Call) -> dict[str, Any]:
        """Charge a payer's code 付款码: at once, after asking, or not at all, as its last digit says."""
        code = str(call.content.get("auth_code", ""))
        if call.content.get("scene") not in ("bar_code", "wave_code"):
            raise invalid("scene")
        if not AUTH_CODE.fullmatch(code):
            raise failed("ACQ.PAYMENT_AUTH_CODE_INVALID", "支付失败，获取顾客账户信息失败，请顾客刷新付款码后重新收款")
        order = self._order(call, "pay")

        def charge(tx: Tx) -> Trade:
            trade, is_new = self._made(tx, call.merchant, order)
            if is_new:
                self._use_code(tx, call.merchant, order["order"], code)
                if code.endswith(HAS_NO_MONEY):
                    return self._of.trades.decline(tx, trade, final=True, refusal="ACQ.BUYER_BALANCE_NOT_ENOUGH")
                if not code.endswith(ASKS_FIRST):
                    return self._of.wire.payer_pays(tx, self._of, trade, BUYER)
                return trade
            if trade.state != "open":
                raise of_core(CoreError(f"order_{trade.state}", ""), PAYING)
            return trade

        trade = await self._of.write(charge)
        if trade.state == "closed":
            raise failed(
                "ACQ.BUYER_BALANCE_NOT_ENOUGH", "买家余额不足", out_trade_no=trade.order, **_amounts(trade, paid=0)
            )
        if trade.state == "open":
            return {"code": "10003", "msg": " order success pay inprocess", **shown_of(trade), **_amounts(trade)}
        return shown_of(trade) | _amounts(trade) | {"gmt_payment": wall_text(trade.paid_ms or 0)}

    async def create(self, call: Call) -> dict[str, Any]:
        """Make a trade that a payer who is known pays in Alipay's own browser (JSAPI)."""
        payer = call.content.get("buyer_id") or call.content.get("buyer_open_id")
        if not isinstance(payer, str) or not payer:
            raise invalid("buyer_id")
        order = self._order(call, "create") | {"payer": payer}

        def make(tx: Tx) -> Trade:
            trade, _ = self._made(tx, call.merchant, order)
            if trade.state != "open":
                raise of_core(CoreError(f"order_{trade.state}", ""), PAYING)
            return trade

        trade = await self._of.write(make)
        return {"out_trade_no": trade.order, "trade_no": trade.trade_ref}

    async def open_page(self, call: Call) -> Trade:
        """Make the trade that a payer's browser or app came with. Raises ApiError."""
        order = self._order(call, PAGES[call.method])

        def make(tx: Tx) -> Trade:
            return self._made(tx, call.merchant, order)[0]

        return await self._of.write(make)

    async def scanned(self, merchant: str | None, number_: str | None, code: str | None) -> Trade | None:
        """Make the trade of a code that somebody scans; None where none was handed out, or its time is over."""
        store, now_ms = self._of.ctx.store, self._of.ctx.clock.now_ms()
        if code is not None:
            sql = "SELECT * FROM alipay_precreate WHERE token = ?"
            row = store.one(sql, code.removeprefix(CODE_PREFIX))
        else:
            sql = "SELECT * FROM alipay_precreate WHERE merchant = ? AND order_no = ?"
            row = store.one(sql, merchant, number_)
        if row is None:
            return None
        of, order = self._of.merchants.get(row["merchant"]), json.loads(row["content"])
        known = self._of.trades.find(store, of.merchant, order["order"])
        if known is not None or row["code_ends_ms"] <= now_ms:
            return known

        def make(tx: Tx) -> Trade | None:
            gone = tx.one("SELECT 1 FROM alipay_precreate WHERE token = ?", row["token"]) is None
            return None if gone else self._made(tx, of, order)[0]

        return await self._of.write(make)

    # ---- asking and ending -------------------------------------------------------------------------------------------

    async def query(self, call: Call) -> dict[str, Any]:
        """Show a trade."""
        trade = trade_of(self._of, self._of.ctx.store, call)
        # As recorded: of what has all gone back the time of payment is left, and no amount but the order's.
        kept = 0 if trade.state == "reversed" or trade.refunded >= trade.paid else trade.paid
        shown = shown_of(trade) | {"trade_status": state_of(trade), **_amounts(trade, kept)}
        if kept:
            shown |= _on_request(trade, options_of(call.content))
        if trade.paid_ms is not None:
            shown["send_pay_date"] = wall_text(trade.paid_ms)
        if trade.state == "reversed" and call.merchant.extra["tells_reversals"]:
            shown["ext_infos"] = json.dumps({"action": "cancel"}, separators=(",", ":"))
        return shown

    async def close(self, call: Call) -> dict[str, Any]:
        """Close a trade that waits for its payer; any other state is refused, also when it is closed already."""

        def close(tx: Tx) -> Trade:
            trade = trade_of(self._of, tx, call)
            if trade.state != "open":
                raise failed("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
            return self._of.trades.close(tx, trade)

        trade = await self._of.write(close)
        return {"out_trade_no": trade.order, "trade_no": trade.trade_ref}

    async def cancel(self, call: Call) -> dict[str, Any]:
        """Undo an order 撤销: give back what was paid, close what was not, block a number nothing was made under."""

        def undo(tx: Tx) -> tuple[str, Trade | None, str | None]:
            try:
                trade = trade_of(self._of, tx, call)
            except ApiError:
                number_ = number(call.content, "out_trade_no")
                key = (call.merchant.merchant, number_)
                tx.execute("INSERT OR IGNORE INTO alipay_blocked (merchant, order_no) VALUES (?, ?)", *key)
                tx.execute("DELETE FROM alipay_precreate WHERE merchant = ? AND order_no = ?", *key)
                return number_, None, None
            action = {"open": "close", "paid": "refund", "reversed": "refund"}.get(trade.state)
            try:
                undone = self._of.refunds.reverse(tx, trade)
                royalties.thaw(tx, undone, undone.arrived, self._of.ctx.clock.now_ms())
                return trade.order, undone, action
            except CoreError:
                raise failed("ACQ.REASON_TRADE_REFUND_FEE_ERR", "交易已发生退款，不能撤销") from None

        number_, trade, action = await self._of.write(undo)
        said = {"out_trade_no": number_, "retry_flag": "N"}
        said |= {"trade_no": trade.trade_ref} if trade else {}
        return said | ({"action": action} if action else {})

    # ---- shared ------------------------------------------------------------------------------------------------------

    def _order(self, call: Call, product: str) -> dict[str, Any]:
        """Return the order a call wants placed, as the store keeps it. Raises INVALID_PARAMETER."""
        content = call.content
        if content.get("product_code", "") not in PRODUCTS.get(call.method, (content.get("product_code", ""),)):
            raise invalid("product_code")
        amount, subject = fen(content, "total_amount"), words(content, "subject", 256)
        extend = content.get("extend_params") or {}
        if not isinstance(extend, dict):
            raise invalid("extend_params")
        return {
            "order": number(content, "out_trade_no"),
            "amount": amount,
            "product": product,
            # What a repetition must be equal in; an end that is counted from now differs each time.
            "params": json.dumps([amount, subject], ensure_ascii=False),
            "expires_ms": end_of_order(content, self._of.ctx.clock.now_ms()),
            "notify_url": call.params.get("notify_url"),
            "payer": None,
            "extra": {
                "subject": subject,
                "charset": call.charset,
                "certified": call.certified,
                "return_url": call.params.get("return_url"),
                "passback_params": content.get("passback_params"),
                "terminal_id": str(content.get("terminal_id", "")),
                "frozen": str(extend.get("royalty_freeze", "")).lower() == "true",
            },
        }

    def _check_free(self, tx: Tx, merchant: Merchant, order: Mapping[str, Any]) -> None:
        """Raise what Alipay says of a number under which nothing can be paid any more."""
        key = (merchant.merchant, order["order"])
        if tx.one("SELECT 1 FROM alipay_blocked WHERE merchant = ? AND order_no = ?", *key):
            raise failed(*PAYING["order_closed"])
        trade = self._of.trades.find(tx, *key)
        if trade is not None and trade.params != order["params"]:
            raise failed(*PAYING["order_conflict"])
        if trade is not None and trade.state != "open":
            raise of_core(CoreError(f"order_{trade.state}", ""), PAYING)

    def _made(self, tx: Tx, merchant: Merchant, order: Mapping[str, Any]) -> tuple[Trade, bool]:
        """Make the trade of an order, or return the one there is, whatever has become of it. Raises ApiError."""
        blocked = "SELECT 1 FROM alipay_blocked WHERE merchant = ? AND order_no = ?"
        if tx.one(blocked, merchant.merchant, order["order"]):
            raise failed(*PAYING["order_closed"])
        try:
            trade, is_new = self._of.trades.create(
                tx,
                merchant,
                order=order["order"],
                amount=order["amount"],
                currency="CNY",
                product=order["product"],
                params=order["params"],
                expires_ms=order["expires_ms"],
                notify_url=order["notify_url"],
                extra=order["extra"] | {"payer": order["payer"]},
            )
        except CoreError as error:
            raise of_core(error, PAYING) from error
        return trade, is_new

    def _use_code(self, tx: Tx, merchant: Merchant, order: str, code: str) -> None:
        sql = "INSERT OR IGNORE INTO alipay_auth_code (code, merchant, order_no) VALUES (?, ?, ?)"
        if tx.execute(sql, code, merchant.merchant, order) == 0:
            raise failed("ACQ.PAYMENT_AUTH_CODE_INVALID", "支付失败，付款码已被使用")


def _amounts(trade: Trade, paid: int | None = None) -> dict[str, Any]:
    """Return a trade's sums (alipay.trade.pay, alipay.trade.query). paid: what is shown as paid, where not all is."""
    moved = trade.paid if paid is None else paid
    used = trade.coupons if moved else []
    buyer = yuan(moved - coupons.total_of(used))
    shown: dict[str, Any] = {
        "buyer_pay_amount": buyer,
        "invoice_amount": buyer,
        "point_amount": "0.00",
        "receipt_amount": yuan(moved - coupons.total_of(used, "merchant")),
        "total_amount": yuan(trade.amount),
    }
    if moved:
        shown["fund_bill_list"] = [
            {"amount": buyer, "fund_channel": "ALIPAYACCOUNT"},
            *({"amount": yuan(one["amount"]), "fund_channel": fund_channel(one)} for one in used),
        ]
    return shown


def _on_request(trade: Trade, options: list[Any]) -> dict[str, Any]:
    """Return what a query shows only where query_options name it."""
    shown: dict[str, Any] = {}
    if "mdiscount_amount" in options:
        shown["mdiscount_amount"] = yuan(trade.not_paid_out)
    if "voucher_detail_list" in options and trade.coupons:
        shown["voucher_detail_list"] = [
            {
                "id": f"{one['id']:028}",
                "name": "沙箱券",
                "amount": yuan(one["amount"]),
                "merchant_contribute": yuan(one["amount"] if one["paid_by"] == "merchant" else 0),
                "other_contribute": yuan(0 if one["paid_by"] == "merchant" else one["amount"]),
            }
            for one in trade.coupons
        ]
    return shown


def options_of(content: Mapping[str, Any]) -> list[Any]:
    """Return what a call asks to be shown besides."""
    options = content.get("query_options")
    return options if isinstance(options, list) else []


def trade_of(acquirer: Acquirer, reader: Reader, call: Call) -> Trade:
    """Return the trade a call names, by Alipay's number or else the merchant's. Raises TRADE_NOT_EXIST."""
    trade_no = call.content.get("trade_no")
    if trade_no:
        trade = acquirer.trades.find_by(reader, "trade_ref", str(trade_no))
        if trade is None or trade.merchant != call.merchant.merchant:
            raise not_there()
        return trade
    found = acquirer.trades.find(reader, call.merchant.merchant, number(call.content, "out_trade_no"))
    if found is None:
        raise not_there()
    return found


def shown_of(trade: Trade) -> dict[str, Any]:
    """Return how every answer about a trade begins."""
    return {
        "buyer_logon_id": LOGIN,
        "buyer_user_id": trade.payer or BUYER,
        "out_trade_no": trade.order,
        "trade_no": trade.trade_ref,
    }
