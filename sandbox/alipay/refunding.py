"""Refunds: alipay.trade.refund and what is asked about them. Each takes a call and returns what it answers."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from sandbox.acquirer import Acquirer, CoreError, Refund, Trade
from sandbox.acquirer.models import Reader
from sandbox.alipay import royalties
from sandbox.alipay.calls import Call
from sandbox.alipay.errors import REFUNDING, failed, invalid, of_core
from sandbox.alipay.royalties import Royalties
from sandbox.alipay.trading import options_of, shown_of, trade_of
from sandbox.alipay.words import fen, number, objects, yuan
from sandbox.clock import wall_text
from sandbox.store import Tx


class Refunding:
    """See the module."""

    def __init__(self, acquirer: Acquirer, shares: Royalties) -> None:
        self._of, self._shares = acquirer, shares

    async def refund(self, call: Call) -> dict[str, Any]:
        """Give money back; a number that was used moves nothing and shows what moved before.

        A refund that names receivers fetches their shares back; it may give its payer nothing.
        """
        content = call.content
        if objects(content, "refund_royalty_parameters") and _is_nothing(content.get("refund_amount")):
            return await self._fetch_back(call)
        if objects(content, "refund_royalty_parameters"):
            raise invalid("refund_royalty_parameters: 沙箱只支持单独退分账")
        amount = fen(content, "refund_amount")
        request_no = number(content, "out_request_no") if content.get("out_request_no") else None

        def give_back(tx: Tx) -> tuple[Trade, Refund, bool]:
            trade = trade_of(self._of, tx, call)
            named = request_no or trade.order
            known = self._refund(tx, trade, named)
            if known is None and request_no is None and trade.paid and amount != trade.paid:
                raise failed("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "撤销或退款金额与订单金额不一致")
            try:
                refund, is_new = self._of.refunds.create(
                    tx,
                    trade,
                    order=known.order or named if known else self._free_number(tx, trade, named),
                    amount=amount,
                    params=str(amount),
                    reason=str(content.get("refund_reason", ""))[:256],
                    notify_url=call.params.get("notify_url"),
                    extra={"request_no": named},
                )
            except CoreError as error:
                raise of_core(error, REFUNDING) from error
            trade = self._of.trades.by_id(tx, trade.trade_id)
            if is_new:
                royalties.thaw_for_refund(tx, trade, refund)
            return trade, refund, is_new

        trade, refund, is_new = await self._of.write(give_back)
        if refund.status == "failed":
            raise failed("ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足")
        return shown_of(trade) | {
            "fund_change": "Y" if is_new else "N",
            "refund_fee": yuan(trade.refunded),
            "send_back_fee": yuan(refund.taken) if "refund_detail_item_list" in options_of(content) else "0.00",
            "gmt_refund_pay": wall_text(refund.created_ms),
        }

    async def refund_query(self, call: Call) -> dict[str, Any]:
        """Show a refund that was carried out; nothing at all for any other."""
        store = self._of.ctx.store
        trade, request_no = trade_of(self._of, store, call), number(call.content, "out_request_no")
        refund = self._refund(store, trade, request_no)
        if refund is None and (back := self._shares.returned(store, trade, request_no)) is not None:
            return {
                "out_request_no": request_no,
                "out_trade_no": trade.order,
                "refund_amount": "0.00",
                "refund_status": "REFUND_SUCCESS",
                "refund_royaltys": json.loads(back["details"]),
                "total_amount": yuan(trade.paid),
                "trade_no": trade.trade_ref,
                "gmt_refund_pay": wall_text(back["at_ms"]),
            }
        if refund is None or refund.status != "success":
            return {}
        shown = {
            "out_request_no": request_no,
            "out_trade_no": trade.order,
            "refund_amount": yuan(refund.amount),
            "refund_reason": refund.reason,
            "refund_status": "REFUND_SUCCESS",
            "total_amount": yuan(trade.paid),
            "trade_no": trade.trade_ref,
        }
        if "gmt_refund_pay" in options_of(call.content):
            shown["gmt_refund_pay"] = wall_text(refund.created_ms)
        if "refund_detail_item_list" in options_of(call.content):
            shown["send_back_fee"] = yuan(refund.taken)
        return {name: value for name, value in shown.items() if value}

    async def _fetch_back(self, call: Call) -> dict[str, Any]:
        request_no = number(call.content, "out_request_no")

        def fetch(tx: Tx) -> tuple[Trade, bool]:
            trade = trade_of(self._of, tx, call)
            is_new = self._shares.returned(tx, trade, request_no) is None
            self._shares.give_back(tx, call, trade, request_no)
            return trade, is_new

        trade, is_new = await self._of.write(fetch)
        changed = {"fund_change": "Y" if is_new else "N", "refund_fee": yuan(trade.refunded), "send_back_fee": "0.00"}
        return shown_of(trade) | changed

    def _refund(self, reader: Reader, trade: Trade, request_no: str) -> Refund | None:
        """Return a trade's refund by its number; at Alipay each trade has numbers of its own."""
        for kept in (request_no, f"{trade.order}:{request_no}"):
            refund = self._of.refunds.find(reader, trade.merchant, kept)
            if refund is not None and refund.trade_id == trade.trade_id:
                return refund
        return None

    def _free_number(self, tx: Tx, trade: Trade, request_no: str) -> str:
        """Return under which number the books keep a refund: its own, but where another trade's has that."""
        taken = self._of.refunds.find(tx, trade.merchant, request_no)
        return request_no if taken is None else f"{trade.order}:{request_no}"


def _is_nothing(amount: object) -> bool:
    try:
        return Decimal(str(amount)) == 0
    except InvalidOperation:
        return False
