"""Sharing a payment's money out 商家分账: alipay.trade.royalty.relation.*, order.settle, and what refunds bring back.

An order made with royalty_freeze has its money, less the fee, taken out of the day's net when it is paid; shares go
from there to their receivers, refunds are paid from there as far as it reaches, and what is left comes back with the
request that says royalty_finish. A refund of a payment on a page or in an app may name receivers who give back.
"""

import json
from typing import Any

from sandbox.acquirer import Acquirer, Refund, Trade, books
from sandbox.acquirer.models import Reader
from sandbox.alipay.calls import Call
from sandbox.alipay.errors import failed, invalid, not_there
from sandbox.alipay.words import fen, number, objects, yuan
from sandbox.clock import wall_text
from sandbox.store import Row, Tx

FROZEN, SHARED, RELEASED = "royalty_frozen", "royalty", "royalty_released"
RECEIVED, RETURNED = "royalty_received", "royalty_returned"
TYPES = ("userId", "loginName", "openId")
MOST_RECEIVERS = 20
MOST_SHARES = 50  # of one request
NAMED = ("page.pay", "wap.pay", "app.pay")  # products whose refunds name who gives back


def freeze(tx: Tx, trade: Trade) -> None:
    """Take the money of a payment that is to be shared out from the day's net, until it is."""
    if trade.extra.get("frozen"):
        assert trade.paid_ms is not None
        _post(tx, trade, FROZEN, -trade.arrived, trade.paid_ms)


def frozen(reader: Reader, trade: Trade) -> int:
    """Return how much of a payment is frozen still."""
    row = reader.one(
        "SELECT coalesce(-sum(amount), 0) AS left FROM acquirer_flow WHERE trade_id = ? AND kind IN (?, ?)",
        *(trade.trade_id, FROZEN, RELEASED),
    )
    assert row is not None
    return int(row["left"])


def thaw(tx: Tx, trade: Trade, most: int, at_ms: int) -> None:
    """Let so much of what is frozen go, as far as it is there."""
    _post(tx, trade, RELEASED, min(frozen(tx, trade), most), at_ms)


def thaw_for_refund(tx: Tx, trade: Trade, refund: Refund) -> None:
    """Take a refund's money, as far as it is there, out of what is frozen."""
    if refund.status == "success":
        thaw(tx, trade, refund.taken - refund.fee_back, refund.created_ms)


class Royalties:
    """See the module."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer
        facts = ("merchant", "share", "account")
        acquirer.ctx.faults.declare("alipay", ["share_closed"], facts, reason="TXN_RESULT_ACCOUNT_BALANCE_NOT_ENOUGH")
        acquirer.ctx.faults.declare("alipay", ["share_waits"], facts[:2])

    async def bind(self, call: Call) -> dict[str, Any]:
        """Let receivers be given shares; again: nothing."""
        receivers = [self._receiver(one) for one in self._listed(call)]
        await self._of.write(
            lambda tx: [
                tx.execute(
                    "INSERT OR REPLACE INTO alipay_receiver (merchant, type, account, name, memo)"
                    " VALUES (?, ?, ?, ?, ?)",
                    *(call.merchant.merchant, *receiver),
                )
                for receiver in receivers
            ]
        )
        return {"result_code": "SUCCESS"}

    async def unbind(self, call: Call) -> dict[str, Any]:
        """End it; again: nothing."""
        receivers = [self._receiver(one) for one in self._listed(call)]
        sql = "DELETE FROM alipay_receiver WHERE merchant = ? AND type = ? AND account = ?"
        await self._of.write(
            lambda tx: [tx.execute(sql, call.merchant.merchant, *receiver[:2]) for receiver in receivers]
        )
        return {"result_code": "SUCCESS"}

    async def bound(self, call: Call) -> dict[str, Any]:
        """List who may be given shares."""
        sql = "SELECT * FROM alipay_receiver WHERE merchant = ? ORDER BY type, account"
        rows = self._of.ctx.store.all(sql, call.merchant.merchant)
        listed = [{"type": row["type"], "account": row["account"], "memo": row["memo"]} for row in rows]
        return {
            "result_code": "SUCCESS",
            "receiver_list": listed,
            "total_page_num": 1,
            "total_record_num": len(listed),
            "current_page_num": 1,
            "current_page_size": len(listed),
        }

    async def settle(self, call: Call) -> dict[str, Any]:
        """Share out, release the rest, or both; a number that was used does nothing again."""
        request_no = number(call.content, "out_request_no")
        shares = [(self._to(one), fen(one, "amount")) for one in objects(call.content, "royalty_parameters")]
        extend = call.content.get("extend_params") or {}
        finish = isinstance(extend, dict) and str(extend.get("royalty_finish", "")).lower() == "true"
        params = json.dumps([shares, finish])
        if (not shares and not finish) or len(shares) > MOST_SHARES:
            raise invalid("royalty_parameters")

        def share_out(tx: Tx) -> tuple[str, Trade]:
            trade = self._trade(tx, call)
            key = (call.merchant.merchant, trade.trade_id, request_no)
            sql = "SELECT * FROM alipay_settle WHERE merchant = ? AND trade_id = ? AND request_no = ?"
            known = tx.one(sql, *key)
            if known is not None:
                if known["params"] != params:
                    raise failed("ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求")
                return known["settle_no"], trade
            if trade.state != "paid" or trade.refunded == trade.paid:
                raise failed("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
            return self._settle(tx, call, trade, request_no, shares, finish, params), trade

        settle_no, trade = await self._of.write(share_out)
        return {"trade_no": trade.trade_ref, "settle_no": settle_no}

    async def settle_query(self, call: Call) -> dict[str, Any]:
        """Show what became of each share."""
        store, merchant = self._of.ctx.store, call.merchant.merchant
        if call.content.get("settle_no"):
            sql = "SELECT * FROM alipay_settle WHERE merchant = ? AND settle_no = ?"
            row = store.one(sql, merchant, str(call.content["settle_no"]))
        else:
            trade = self._of.trades.find_by(store, "trade_ref", str(call.content.get("trade_no", "")))
            sql = "SELECT * FROM alipay_settle WHERE merchant = ? AND trade_id = ? AND request_no = ?"
            row = (
                None
                if trade is None
                else store.one(sql, merchant, trade.trade_id, number(call.content, "out_request_no"))
            )
        if row is None:
            raise not_there()
        details = json.loads(row["details"])
        if self._of.ctx.faults.take("alipay", "share_waits", merchant=merchant, share=row["request_no"]) is not None:
            details = [{**detail, "state": "PROCESSING"} for detail in details]
        return {
            "out_request_no": row["request_no"],
            "operation_dt": wall_text(row["at_ms"]),
            "royalty_detail_list": details,
        }

    def give_back(self, tx: Tx, call: Call, trade: Trade, request_no: str) -> None:
        """Fetch shares back 退分账 from those whom a refund names; the same number again does nothing.

        Raises what Alipay says no with; then nothing has moved.
        """
        asked = [(self._from(one), fen(one, "amount")) for one in objects(call.content, "refund_royalty_parameters")]
        params = json.dumps(asked)
        if (known := self.returned(tx, trade, request_no)) is not None:
            if known["params"] != params:
                raise failed("ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求")
            return
        if trade.product not in NAMED:
            raise invalid("refund_royalty_parameters: 当面付由系统自动按比率退分账")
        if trade.state != "paid":
            raise failed("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
        if trade.refunded == trade.paid:
            raise failed("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
        now_ms = self._of.ctx.clock.now_ms()
        details = []
        for (_, account), amount in asked:
            if amount > self._had(tx, trade, account):
                raise failed("ACQ.ALLOC_AMOUNT_VALIDATE_ERROR", "退分账金额超限")
            _post(tx, trade, RETURNED, amount, now_ms)
            self._credit(tx, account, RETURNED, -amount, now_ms)
            line = {"refund_amount": yuan(amount), "royalty_type": "transfer", "result_code": "SUCCESS"}
            details.append(line | {"trans_out": account, "trans_in": trade.merchant})
        tx.execute(
            "INSERT INTO alipay_royalty_return (merchant, trade_id, request_no, params, details, at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(trade.merchant, trade.trade_id, request_no, params, json.dumps(details), now_ms),
        )

    def returned(self, reader: Reader, trade: Trade, request_no: str) -> Row | None:
        """Return what a refund of that number fetched back of shares."""
        sql = "SELECT * FROM alipay_royalty_return WHERE merchant = ? AND trade_id = ? AND request_no = ?"
        return reader.one(sql, trade.merchant, trade.trade_id, request_no)

    def _had(self, reader: Reader, trade: Trade, account: str) -> int:
        """Return what a receiver has had of a payment and not given back, in fen."""
        left = 0
        for row in reader.all("SELECT details FROM alipay_settle WHERE trade_id = ?", trade.trade_id):
            paid = [one for one in json.loads(row["details"]) if one["state"] == "SUCCESS"]
            left += sum(fen(one, "amount") for one in paid if one["trans_in"] == account)
        for row in reader.all("SELECT details FROM alipay_royalty_return WHERE trade_id = ?", trade.trade_id):
            left -= sum(fen(one, "refund_amount") for one in json.loads(row["details"]) if one["trans_out"] == account)
        return left

    def _from(self, one: dict[str, Any]) -> tuple[str, str]:
        kind, account = one.get("trans_out_type", "userId"), one.get("trans_out")
        if kind not in TYPES or not isinstance(account, str) or not account:
            raise invalid("refund_royalty_parameters.trans_out")
        return str(kind), account

    def _credit(self, tx: Tx, account: str, kind: str, amount: int, at_ms: int) -> None:
        """Post a receiver's side, where the receiver is a merchant here."""
        if self._of.merchants.find(account) is None:
            return
        books.post(
            tx, "alipay", merchant=account, currency="CNY", at_ms=at_ms,
            day=books.bill_date(tx, "alipay", account, at_ms), kind=kind, amount=amount,
        )  # fmt: skip

    def _settle(
        self,
        tx: Tx,
        call: Call,
        trade: Trade,
        request_no: str,
        shares: list[tuple[tuple[str, str], int]],
        finish: bool,
        params: str,
    ) -> str:
        """Move the money of shares whose receivers are bound; the others fail by themselves."""
        sums = tx.one(
            "SELECT coalesce(sum(shared), 0) AS shared, coalesce(max(finished), 0) AS finished FROM alipay_settle"
            " WHERE trade_id = ?",
            trade.trade_id,
        )
        assert sums is not None
        is_frozen = bool(trade.extra.get("frozen"))
        left = frozen(tx, trade) if is_frozen else trade.arrived - trade.taken - sums["shared"]
        if sums["finished"] or sum(amount for _, amount in shares) > left:
            raise failed("ACQ.ALLOC_AMOUNT_VALIDATE_ERROR", "分账金额超过最大可分账金额")
        now_ms, details, moved = self._of.ctx.clock.now_ms(), [], 0
        last = tx.one("SELECT coalesce(max(seq), 0) AS seq FROM alipay_settle")
        assert last is not None
        settle_no = self._of.wire.number("hold", trade.merchant, last["seq"] + 1, now_ms) + "0000"
        for place, ((kind, account), amount) in enumerate(shares):
            known = "SELECT 1 FROM alipay_receiver WHERE merchant = ? AND type = ? AND account = ?"
            is_bound = tx.one(known, trade.merchant, kind, account) is not None
            refusal = None if is_bound else ("ROYALTY_RECEIVER_INVALID", "收入方不在分账关系内")
            facts = {"merchant": trade.merchant, "share": request_no, "account": account}
            if (fault := self._of.ctx.faults.take("alipay", "share_closed", **facts)) is not None:
                refusal = str(fault.params["reason"]), "分账失败"
            moved += 0 if refusal else amount
            if not refusal:
                self._credit(tx, account, RECEIVED, amount, now_ms)
            detail = {
                "operation_type": "transfer",
                "execute_dt": wall_text(now_ms),
                "trans_out": trade.merchant,
                "trans_out_type": "userId",
                "trans_in": account,
                "trans_in_type": kind,
                "amount": yuan(amount),
                "state": "FAIL" if refusal else "SUCCESS",
                "detail_id": f"{settle_no}{place:02}",
            }
            details.append(detail | {"error_code": refusal[0], "error_desc": refusal[1]} if refusal else detail)
        _post(tx, trade, SHARED, -moved, now_ms)
        if is_frozen:  # what was frozen pays the shares; the rest is free when it is finished
            thaw(tx, trade, left if finish else moved, now_ms)
        tx.execute(
            "INSERT INTO alipay_settle (merchant, trade_id, request_no, params, settle_no, details, shared, finished,"
            " at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(trade.merchant, trade.trade_id, request_no, params, settle_no),
            *(json.dumps(details, ensure_ascii=False), moved, finish, now_ms),
        )
        return settle_no

    def _trade(self, tx: Tx, call: Call) -> Trade:
        trade = self._of.trades.find_by(tx, "trade_ref", str(call.content.get("trade_no", "")))
        if trade is None or trade.merchant != call.merchant.merchant:
            raise not_there()
        return trade

    def _listed(self, call: Call) -> list[dict[str, Any]]:
        number(call.content, "out_request_no")
        listed = objects(call.content, "receiver_list")
        if not 0 < len(listed) <= MOST_RECEIVERS:
            raise invalid("receiver_list")
        return listed

    def _receiver(self, one: dict[str, Any]) -> tuple[str, str, str, str]:
        kind, account, name = one.get("type"), one.get("account"), one.get("name", "")
        if kind not in TYPES or not isinstance(account, str) or not account or not isinstance(name, str):
            raise invalid("receiver_list")
        if kind == "loginName" and not name:
            raise invalid("receiver_list.name")
        return str(kind), account, name, str(one.get("memo", ""))

    def _to(self, one: dict[str, Any]) -> tuple[str, str]:
        kind, account = one.get("trans_in_type", "userId"), one.get("trans_in")
        if kind not in TYPES or not isinstance(account, str) or not account:
            raise invalid("royalty_parameters.trans_in")
        return str(kind), account


def _post(tx: Tx, trade: Trade, kind: str, amount: int, at_ms: int) -> None:
    day = books.bill_date(tx, "alipay", trade.merchant, at_ms)
    books.post(
        tx,
        "alipay",
        merchant=trade.merchant,
        currency=trade.currency,
        at_ms=at_ms,
        day=day,
        kind=kind,
        amount=amount,
        trade_id=trade.trade_id,
    )
