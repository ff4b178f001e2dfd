"""WeChat Pay as one object: the parts, and the use cases that join them in one transaction each."""

import asyncio
from functools import partial
from typing import Any

from sandbox import keys
from sandbox.context import SandboxContext
from sandbox.store import Row, Tx
from sandbox.wechat import combine, refunds, sharing, trades
from sandbox.wechat.certificates import PlatformKeys
from sandbox.wechat.combine import CombinedOrder
from sandbox.wechat.errors import order_not_exist, resource_not_exists
from sandbox.wechat.merchants import Merchant, Merchants
from sandbox.wechat.notices import Notices
from sandbox.wechat.orders import Order
from sandbox.wechat.refunds import RefundOrder
from sandbox.wechat.sharing import ReturnOrder, ShareOrder

REFUND_TAKES_S = 3
REFUND_INTERVAL_S = 60
SHARE_TAKES_S = 2
PATIENCE_S = 60
# What the control API calls things on every rail, and what WeChat Pay calls them.
NEUTRAL = {
    "merchant": "mchid",
    "order": "out_trade_no",
    "refund": "out_refund_no",
    "share": "out_order_no",
    "share_return": "out_return_no",
}
LEAST_PATIENCE_S = 5  # however fast the simulated world runs, a test must get its answer to the prompt in


class WeChat:
    """See the module."""

    def __init__(self, ctx: SandboxContext, pool: keys.Pool) -> None:
        self.ctx, self.pool = ctx, pool
        self.merchants = Merchants(ctx, pool)
        self.platform = PlatformKeys(ctx, pool)
        self.notices = Notices(ctx, pool, self.platform, self.merchants)
        self._due = asyncio.Event()
        ctx.faults.also_called("wechat", NEUTRAL)
        ctx.faults.declare("wechat", ["share_closed"], ("mchid", "out_order_no", "account"), reason="ACCOUNT_ABNORMAL")
        ctx.faults.declare("wechat", ["share_return_failed"], ("mchid", "out_return_no"), reason="BALANCE_NOT_ENOUGH")
        ctx.faults.declare("wechat", ["refund_abnormal"], ("mchid", "out_trade_no", "out_refund_no"))

    def _payer(self, merchant: Merchant) -> trades.Payer:
        patience_s = max(PATIENCE_S * self.ctx.time_scale, LEAST_PATIENCE_S)
        return trades.Payer(default_openid(merchant), int(patience_s * 1000))

    async def create(self, merchant: Merchant, order: Order) -> Row:
        """Record an order to be paid by scanning or in the app."""
        now_ms = self.ctx.clock.now_ms()
        row = await self.ctx.store.write(lambda tx: trades.create(tx, merchant, order, now_ms))
        self._due.set()
        return row

    async def codepay(self, merchant: Merchant, order: Order) -> Row:
        """Charge a payment code."""
        now_ms, payer = self.ctx.clock.now_ms(), self._payer(merchant)
        row = await self.ctx.store.write(lambda tx: trades.codepay(tx, merchant, order, payer, now_ms))
        self._due.set()
        return row

    async def pay(self, merchant: Merchant, out_trade_no: str, openid: str | None) -> Row:
        """Let the payer pay, and notify the merchant. Raises ORDER_NOT_EXIST, NotPayable."""
        now_ms = self.ctx.clock.now_ms()

        def command(tx: Tx) -> Row:
            row = trades.get(tx, merchant.mchid, out_trade_no, now_ms)
            if combine.is_part(tx, row):
                raise trades.NotPayable(f"order {out_trade_no} is part of a combined one; that is what the payer pays")
            paid = trades.pay(tx, row, openid or default_openid(merchant), now_ms)
            if paid["notify_url"]:
                self.notices.write(
                    tx,
                    merchant,
                    "TRANSACTION.SUCCESS",
                    trades.shown(paid, "SUCCESS"),
                    url=paid["notify_url"],
                    key_id=paid["key_id"],
                    now_ms=now_ms,
                )
            return paid

        row = await self.ctx.store.write(command)
        self.notices.wake()
        return row

    async def create_combined(self, merchant: Merchant, order: CombinedOrder) -> Row:
        """Record a combined order."""
        now_ms = self.ctx.clock.now_ms()
        row = await self.ctx.store.write(lambda tx: combine.create(tx, merchant, order, now_ms))
        self._due.set()
        return row

    async def pay_combined(self, merchant: Merchant, number: str, openid: str | None) -> dict[str, Any]:
        """Let the payer pay a combined order, and notify who started it. Raises ORDER_NOT_EXIST, NotPayable."""
        now_ms = self.ctx.clock.now_ms()

        def command(tx: Tx) -> dict[str, Any]:
            row = combine.get(tx, merchant.mchid, number)
            combine.pay(tx, row, openid or default_openid(merchant), now_ms)
            row = combine.get(tx, merchant.mchid, number)
            view = combine.shown(row, combine.parts_of(tx, row, now_ms))
            facts: dict[str, Any] = {"url": row["notify_url"], "key_id": row["key_id"], "now_ms": now_ms}
            self.notices.write(tx, merchant, "TRANSACTION.SUCCESS", view, **facts)
            return view

        view = await self.ctx.store.write(command)
        self.notices.wake()
        return view

    async def decline(self, merchant: Merchant, out_trade_no: str) -> Row:
        """Let the payer's attempt fail. Raises ORDER_NOT_EXIST, NotPayable."""
        now_ms = self.ctx.clock.now_ms()
        return await self.ctx.store.write(
            lambda tx: trades.decline(tx, trades.get(tx, merchant.mchid, out_trade_no, now_ms), now_ms)
        )

    async def close(self, merchant: Merchant, out_trade_no: str) -> None:
        """Close an unpaid order."""
        now_ms = self.ctx.clock.now_ms()

        def command(tx: Tx) -> None:
            row = trades.get(tx, merchant.mchid, out_trade_no, now_ms)
            if combine.is_part(tx, row):
                raise order_not_exist()
            trades.close(tx, row)

        await self.ctx.store.write(command)

    async def reverse(self, merchant: Merchant, out_trade_no: str) -> None:
        """Reverse a code payment, giving back what was paid."""
        now_ms = self.ctx.clock.now_ms()

        def command(tx: Tx) -> None:
            row = trades.get(tx, merchant.mchid, out_trade_no, now_ms)
            if amount := trades.revoke(tx, row, now_ms):
                refunds.give_back_reversed(tx, row, amount, now_ms)

        await self.ctx.store.write(command)

    def query(self, merchant: Merchant, column: str, number: str) -> dict[str, Any]:
        """Return an order as the query API shows it. column: out_trade_no or transaction_id."""
        sql = {
            "out_trade_no": "SELECT * FROM wechat_trade WHERE mchid = ? AND out_trade_no = ?",
            "transaction_id": "SELECT * FROM wechat_trade WHERE mchid = ? AND transaction_id = ?",
        }[column]
        row = self.ctx.store.one(sql, merchant.mchid, number)
        if row is None or combine.is_part(self.ctx.store, row):
            raise order_not_exist()
        return trades.shown(row, trades.expired_state(row, self.ctx.clock.now_ms()))

    async def refund(self, merchant: Merchant, order: RefundOrder) -> dict[str, Any]:
        """Accept a refund."""
        now_ms, scale = self.ctx.clock.now_ms(), self.ctx.time_scale
        settles_ms = now_ms + int(REFUND_TAKES_S * scale * 1000)
        interval_ms = int(REFUND_INTERVAL_S * scale * 1000)
        row, trade = await self.ctx.store.write(
            lambda tx: refunds.create(tx, merchant, order, now_ms, settles_ms=settles_ms, interval_ms=interval_ms)
        )
        self._due.set()
        return refunds.shown(row, trade)

    def refund_query(self, merchant: Merchant, out_refund_no: str) -> dict[str, Any]:
        """Return a refund as the refund query API shows it."""
        row = self.ctx.store.one(
            "SELECT * FROM wechat_refund WHERE mchid = ? AND out_refund_no = ?", merchant.mchid, out_refund_no
        )
        if row is None:
            raise resource_not_exists("退款单不存在")
        trade = self.ctx.store.one("SELECT * FROM wechat_trade WHERE trade_id = ?", row["trade_id"])
        assert trade is not None
        return refunds.shown(row, trade)

    async def abnormal_refund(self, merchant: Merchant, refund_id: str, out_refund_no: str) -> dict[str, Any]:
        """Send the money of an ABNORMAL refund elsewhere."""
        settles_ms = self._soon_ms(REFUND_TAKES_S)
        row, trade = await self.ctx.store.write(
            lambda tx: refunds.settle_abnormal(tx, merchant.mchid, refund_id, out_refund_no, settles_ms)
        )
        self._due.set()
        return refunds.shown(row, trade)

    async def share(self, merchant: Merchant, order: ShareOrder) -> dict[str, Any]:
        """Accept a share order, or the release of the rest."""
        now_ms, settles_ms = self.ctx.clock.now_ms(), self._soon_ms(SHARE_TAKES_S)
        view = await self.ctx.store.write(
            lambda tx: sharing.share(tx, merchant.mchid, order, now_ms, settles_ms=settles_ms)
        )
        self._due.set()
        return view

    async def give_back(self, merchant: Merchant, order: ReturnOrder) -> dict[str, Any]:
        """Accept the return of a share."""
        now_ms, settles_ms = self.ctx.clock.now_ms(), self._soon_ms(SHARE_TAKES_S)
        view = await self.ctx.store.write(
            lambda tx: sharing.give_back(tx, merchant.mchid, order, now_ms, settles_ms=settles_ms)
        )
        self._due.set()
        return view

    def _soon_ms(self, seconds: float) -> int:
        return self.ctx.clock.now_ms() + int(seconds * self.ctx.time_scale * 1000)

    async def run_due(self) -> None:
        """End refunds and orders when their time has come, for as long as the sandbox lives."""
        while True:
            self._due.clear()
            wait_s = await self.ctx.store.write(self._end_due)
            self.notices.wake()
            try:
                await asyncio.wait_for(self._due.wait(), wait_s)
            except TimeoutError:
                continue

    def _end_due(self, tx: Tx) -> float | None:
        """End what is due now; return the seconds until the next, None if there is none."""
        now_ms = self.ctx.clock.now_ms()
        for trade in tx.all("SELECT * FROM wechat_trade WHERE expires_ms <= ?", now_ms):
            trades.expire(tx, trade, now_ms)
        for refund in tx.all("SELECT * FROM wechat_refund WHERE settles_ms <= ? ORDER BY settles_ms, seq", now_ms):
            self._end_refund(tx, refund, now_ms)
        for share in tx.all("SELECT * FROM wechat_share WHERE settles_ms <= ? ORDER BY settles_ms, share_id", now_ms):
            sharing.settle(tx, share, now_ms, partial(self._share_closed, share))
        for back in tx.all("SELECT * FROM wechat_share_return WHERE settles_ms <= ? ORDER BY settles_ms, seq", now_ms):
            facts = {"mchid": back["mchid"], "out_return_no": back["out_return_no"]}
            fault = self.ctx.faults.take("wechat", "share_return_failed", **facts)
            sharing.settle_return(tx, back, now_ms, str(fault.params["reason"]) if fault else None)
        row = tx.one(
            "SELECT min(at) AS at FROM (SELECT min(settles_ms) AS at FROM wechat_refund WHERE settles_ms IS NOT NULL"
            " UNION ALL SELECT min(settles_ms) FROM wechat_share WHERE settles_ms IS NOT NULL"
            " UNION ALL SELECT min(settles_ms) FROM wechat_share_return WHERE settles_ms IS NOT NULL"
            " UNION ALL SELECT min(expires_ms) FROM wechat_trade WHERE expires_ms IS NOT NULL)"
        )
        return None if row is None or row["at"] is None else max(0.0, (row["at"] - now_ms) / 1000)

    def _share_closed(self, share: Row, line: Row) -> str | None:
        """Return why a share does not reach its receiver, if it is to fail on order."""
        facts = {"mchid": share["mchid"], "out_order_no": share["out_order_no"], "account": line["account"]}
        fault = self.ctx.faults.take("wechat", "share_closed", **facts)
        return str(fault.params["reason"]) if fault else None

    def _end_refund(self, tx: Tx, refund: Row, now_ms: int) -> None:
        trade = tx.one("SELECT * FROM wechat_trade WHERE trade_id = ?", refund["trade_id"])
        merchant = self.merchants.find(refund["mchid"])
        assert trade is not None
        assert merchant is not None
        facts = {"out_trade_no": trade["out_trade_no"], "out_refund_no": refund["out_refund_no"]}
        broken = self.ctx.faults.take("wechat", "refund_abnormal", mchid=merchant.mchid, **facts)
        ended = refunds.settle(tx, refund, now_ms, status="ABNORMAL" if broken else "SUCCESS")
        if refund["notify_url"]:
            self.notices.write(
                tx,
                merchant,
                f"REFUND.{ended['status']}",
                refunds.notified(ended, trade),
                url=refund["notify_url"],
                key_id=refund["key_id"],
                now_ms=now_ms,
            )


def default_openid(merchant: Merchant) -> str:
    """Return the payer who pays when nobody says who does."""
    return f"oPayer{merchant.appid[2:]:0<22}"
