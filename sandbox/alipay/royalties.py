"""Sharing a payment's money out 商家分账: alipay.trade.royalty.relation.* and alipay.trade.order.settle.

An order made with royalty_freeze has its money, less the fee, taken out of the day's net when it is paid; shares go
from there to their receivers, and what is left comes back with the request that says royalty_finish.
"""

import json
from typing import Any

from sandbox.acquirer import Acquirer, Trade, books
from sandbox.alipay.calls import Call
from sandbox.alipay.errors import failed, invalid, not_there
from sandbox.alipay.words import fen, number, objects, yuan
from sandbox.clock import wall_text
from sandbox.store import Tx

FROZEN, SHARED, RELEASED = "royalty_frozen", "royalty", "royalty_released"
TYPES = ("userId", "loginName", "openId")
MOST_RECEIVERS = 20


def freeze(tx: Tx, trade: Trade) -> None:
    """Take the money of a payment that is to be shared out from the day's net, until it is."""
    if trade.extra.get("frozen"):
        assert trade.paid_ms is not None
        _post(tx, trade, FROZEN, -trade.arrived, trade.paid_ms)


class Royalties:
    """See the module."""

    def __init__(self, acquirer: Acquirer) -> None:
        self._of = acquirer

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
        if not shares and not finish:
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
            if trade.state != "paid":
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
        return {
            "out_request_no": row["request_no"],
            "operation_dt": wall_text(row["at_ms"]),
            "royalty_detail_list": json.loads(row["details"]),
        }

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
        left = trade.arrived - trade.taken - sums["shared"]
        if sums["finished"] or sum(amount for _, amount in shares) > left:
            raise failed("ACQ.ALLOC_AMOUNT_VALIDATE_ERROR", "分账金额超过最大可分账金额")
        now_ms, details, moved = self._of.ctx.clock.now_ms(), [], 0
        last = tx.one("SELECT coalesce(max(seq), 0) AS seq FROM alipay_settle")
        assert last is not None
        settle_no = self._of.wire.number("hold", trade.merchant, last["seq"] + 1, now_ms) + "0000"
        for place, ((kind, account), amount) in enumerate(shares):
            known = "SELECT 1 FROM alipay_receiver WHERE merchant = ? AND type = ? AND account = ?"
            is_bound = tx.one(known, trade.merchant, kind, account) is not None
            moved += amount if is_bound else 0
            detail = {
                "operation_type": "transfer",
                "execute_dt": wall_text(now_ms),
                "trans_out": trade.merchant,
                "trans_out_type": "userId",
                "trans_in": account,
                "trans_in_type": kind,
                "amount": yuan(amount),
                "state": "SUCCESS" if is_bound else "FAIL",
                "detail_id": f"{settle_no}{place:02}",
            }
            refusal = {"error_code": "ROYALTY_RECEIVER_NOT_BOUND", "error_desc": "分账关系不存在"}
            details.append(detail if is_bound else detail | refusal)
        frozen = bool(trade.extra.get("frozen"))
        if moved:
            _post(tx, trade, SHARED, -moved, now_ms)
        if frozen and (moved or finish):  # what was frozen pays the shares; the rest is free when it is finished
            free = trade.arrived - sums["shared"] if finish else moved
            _post(tx, trade, RELEASED, free, now_ms)
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
