"""The control API of WeChat Pay: sign up merchants, be the payer, end the day, tell the truth.

Everything can be asked for in the words of every rail (merchant, order, code, payer) or in WeChat Pay's own.
"""

import re
from collections import Counter, defaultdict
from datetime import date
from typing import Any

from aiohttp import web

from sandbox import coupons
from sandbox.bank import Refused
from sandbox.clock import rfc3339
from sandbox.control import Body, ControlError, reply
from sandbox.store import Row
from sandbox.wechat import books, trades
from sandbox.wechat.days import Days, NotClosable
from sandbox.wechat.errors import ApiError
from sandbox.wechat.merchants import DEFAULT_FEE_BP, Merchant
from sandbox.wechat.service import WeChat
from sandbox.wechat.trades import NotPayable

NEUTRAL = {"merchant": "mchid", "order": "out_trade_no", "code": "code_url", "payer": "openid"}
STATES = {"NOTPAY": "open", "USERPAYING": "open", "SUCCESS": "paid", "REFUND": "paid", "REVOKED": "reversed"}
REFUND_STATES = {"PROCESSING": "pending", "SUCCESS": "success", "ABNORMAL": "failed"}
_TOKEN = re.compile(r"(?:.*[?&](?:pr|prepay_id)=)?(?:wx)?([0-9a-f]{34})(?:&.*)?", re.DOTALL)


class WeChatControl:
    """See the module."""

    def __init__(self, wechat: WeChat, days: Days) -> None:
        self._wechat, self._days = wechat, days

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        prefix = "/control/wechat"
        app.router.add_post(f"{prefix}/merchants", self.create_merchant)
        app.router.add_get(f"{prefix}/merchants", self.list_merchants)
        app.router.add_patch(f"{prefix}/merchants/{{mchid}}", self.change_merchant)
        app.router.add_post(f"{prefix}/rotate-keys", self.rotate)
        app.router.add_post(f"{prefix}/coupons", self.give_coupon)
        app.router.add_post(f"{prefix}/scan", self.scan)
        app.router.add_post(f"{prefix}/pay", self.pay)
        app.router.add_post(f"{prefix}/decline", self.decline)
        app.router.add_post(f"{prefix}/close-day", self.close_day)
        app.router.add_get(f"{prefix}/trades", self.trades)
        app.router.add_get(f"{prefix}/notices", self.notices)

    def described(self, merchant: Merchant) -> dict[str, Any]:
        """Return everything the merchant must configure."""
        credentials = self._wechat.merchants.credentials(merchant)
        return {"merchant": merchant.mchid, **credentials, **self._wechat.platform.described()}

    async def create_merchant(self, request: web.Request) -> web.Response:
        """Sign up a merchant."""
        body = await Body.of(request, {"name", "fee_bp", "settle_to", "public_key_only"})
        fee_bp = body.whole("fee_bp", DEFAULT_FEE_BP)
        if not 0 <= fee_bp <= 1000:
            raise ControlError(400, "bad_field", "fee_bp must be 0 to 1000")
        merchant = await self._wechat.merchants.create(
            name=body.optional_text("name") or "sandbox merchant",
            fee_bp=fee_bp,
            settle_to=self._account(body),
            public_key_only=body.flag("public_key_only"),
        )
        return reply(self.described(merchant), 201)

    async def list_merchants(self, request: web.Request) -> web.Response:
        """Return every merchant."""
        return reply({"merchants": [self.described(merchant) for merchant in self._wechat.merchants.all()]})

    async def change_merchant(self, request: web.Request) -> web.Response:
        """Change where a merchant's days are paid out to; null: nowhere."""
        merchant = self._merchant(request.match_info["mchid"])
        body = await Body.of(request, {"settle_to"})
        return reply(self.described(await self._wechat.merchants.settle_to(merchant.mchid, self._account(body))))

    def _account(self, body: Body) -> str | None:
        account = body.optional_text("settle_to")
        if account is not None and not self._days.bank_has(account):
            raise ControlError(404, "no_such_account", f"the sandbox bank has no account {account}; open it first")
        return account

    async def rotate(self, request: web.Request) -> web.Response:
        """Bring a new platform certificate into use beside the old ones; it is the same for all merchants."""
        await Body.of(request, {"mchid"}, NEUTRAL)
        key = await self._wechat.platform.add_certificate()
        return reply({"serial_no": key.key_id, "file": str(self._wechat.platform.file(key))}, 201)

    async def give_coupon(self, request: web.Request) -> web.Response:
        """Give a merchant's payers a coupon, for one order or for the next it fits."""
        body = await Body.of(request, {"mchid", "out_trade_no", "amount", "paid_by"}, NEUTRAL)
        mchid, number = self._merchant(body.text("mchid")).mchid, body.optional_text("out_trade_no")
        return await coupons.give(self._wechat.ctx, "wechat", mchid, body, number)

    async def scan(self, request: web.Request) -> web.Response:
        """Be the payer: look what is asked for, and decide later. Not for combined orders."""
        body = await Body.of(request, {"mchid", "out_trade_no", "code_url"}, NEUTRAL)
        mchid, number, _ = self._order(body)
        row = self._wechat.ctx.store.one(
            "SELECT * FROM wechat_trade WHERE mchid = ? AND out_trade_no = ?", mchid, number
        )
        if row is None:
            raise ControlError(404, "no_such_order", f"{mchid} has no single order {number}")
        return reply(_neutral_trade(row, trades.expired_state(row, self._wechat.ctx.clock.now_ms())))

    async def pay(self, request: web.Request) -> web.Response:
        """Be the payer: scan and pay, one order or a combined one."""
        body = await Body.of(request, {"mchid", "out_trade_no", "code_url", "openid"}, NEUTRAL)
        mchid, number, combined = self._order(body)
        merchant, openid = self._merchant(mchid), body.optional_text("openid")
        if combined:
            return await self._acted(self._wechat.pay_combined(merchant, number, openid))
        return await self._acted(self._wechat.pay(merchant, number, openid))

    async def decline(self, request: web.Request) -> web.Response:
        """Be the payer: give up. A combined order stays open."""
        body = await Body.of(request, {"mchid", "out_trade_no", "code_url"}, NEUTRAL)
        mchid, number, combined = self._order(body)
        if combined:
            return reply({"combine_out_trade_no": number})
        return await self._acted(self._wechat.decline(self._merchant(mchid), number))

    async def _acted(self, action: Any) -> web.Response:
        try:
            acted = await action
        except NotPayable as error:
            raise ControlError(409, "not_payable", str(error)) from error
        except ApiError as error:
            raise ControlError(error.status, error.code.lower(), error.message) from error
        return reply(acted if isinstance(acted, dict) else trades.shown(acted, acted["state"]))

    def _order(self, body: Body) -> tuple[str, str, bool]:
        """Return whose order is meant, its number, and whether it is a combined one."""
        store = self._wechat.ctx.store
        code = body.optional_text("code_url")
        if code is None:
            mchid, number = body.text("mchid"), body.text("out_trade_no")
            sql = "SELECT 1 FROM wechat_combine WHERE mchid = ? AND combine_out_trade_no = ?"
            single = store.one("SELECT 1 FROM wechat_trade WHERE mchid = ? AND out_trade_no = ?", mchid, number)
            return mchid, number, single is None and store.one(sql, mchid, number) is not None
        if match := _TOKEN.fullmatch(code):
            if row := store.one("SELECT * FROM wechat_trade WHERE token = ?", match[1]):
                return row["mchid"], row["out_trade_no"], False
            if row := store.one("SELECT * FROM wechat_combine WHERE token = ?", match[1]):
                return row["mchid"], row["combine_out_trade_no"], True
        raise ControlError(404, "no_such_order", f"no order has the code {code}")

    def _merchant(self, mchid: str) -> Merchant:
        merchant = self._wechat.merchants.find(mchid)
        if merchant is None:
            raise ControlError(404, "no_such_merchant", f"there is no merchant {mchid}")
        return merchant

    async def close_day(self, request: web.Request) -> web.Response:
        """End a merchant's day."""
        body = await Body.of(request, {"mchid", "date"}, NEUTRAL)
        merchant = self._merchant(body.text("mchid"))
        try:
            day = date.fromisoformat(body.text("date"))
        except ValueError as error:
            raise ControlError(400, "bad_field", "date must be YYYY-MM-DD") from error
        try:
            return reply(self._days.close(merchant, day))
        except NotClosable as error:
            raise ControlError(409, "not_closable", str(error)) from error
        except Refused as error:
            raise ControlError(409, "bank_refused", f"nothing was closed: the bank says {error.message}") from error

    async def trades(self, request: web.Request) -> web.Response:
        """Return a merchant's orders as they truly are, with how often each payer was charged.

        Asked for by `merchant` they are told in the words of every rail, by `mchid` in WeChat Pay's.
        """
        neutral = "merchant" in request.query
        mchid = self._asked(request)
        store = self._wechat.ctx.store
        charges = Counter(
            row["voucher_no"]
            for row in store.all(
                "SELECT voucher_no FROM wechat_flow WHERE mchid = ? AND kind = ?", mchid, books.PAYMENT
            )
        )
        returned: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for refund in store.all("SELECT * FROM wechat_refund WHERE mchid = ? ORDER BY seq", mchid):
            returned[refund["trade_id"]].append(_neutral_refund(refund) if neutral else _shown_refund(refund))
        now_ms = self._wechat.ctx.clock.now_ms()
        rows = store.all("SELECT * FROM wechat_trade WHERE mchid = ? ORDER BY trade_id", mchid)
        show = _neutral_trade if neutral else _shown_trade
        return reply(
            {
                "trades": [
                    {
                        **show(row, trades.expired_state(row, now_ms)),
                        "fee": row["fee"],
                        "charged_count": charges[row["out_trade_no"]],
                        "refunds": returned[row["trade_id"]],
                    }
                    for row in rows
                ]
            }
        )

    def _asked(self, request: web.Request) -> str:
        return self._merchant(request.query.get("merchant") or request.query.get("mchid", "")).mchid

    async def notices(self, request: web.Request) -> web.Response:
        """Return a merchant's notices and how each attempt was answered."""
        return reply({"notices": self._wechat.notices.listed(self._asked(request))})


def _shown_trade(row: Row, state: str) -> dict[str, Any]:
    return {
        **{key: row[key] for key in ("out_trade_no", "transaction_id", "total", "bill_date")},
        "trade_state": state,
        "success_time": row["success_ms"] and rfc3339(row["success_ms"]),
    }


def _neutral_trade(row: Row, state: str) -> dict[str, Any]:
    return {
        "order": row["out_trade_no"],
        "state": STATES.get(state, "closed"),
        "amount": row["total"],
        "currency": "CNY",
        "paid": row["total"] if row["transaction_id"] else 0,
        "merchant_coupon": trades.not_paid_out(row),
        "channel_ref": row["transaction_id"],
    }


def _shown_refund(row: Row) -> dict[str, Any]:
    return {
        **{key: row[key] for key in ("out_refund_no", "refund_id", "status")},
        "refund": row["amount"],
        "success_time": row["success_ms"] and rfc3339(row["success_ms"]),
    }


def _neutral_refund(row: Row) -> dict[str, Any]:
    return {"order": row["out_refund_no"], "amount": row["amount"], "status": REFUND_STATES[row["status"]]}
