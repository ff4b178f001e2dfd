"""Profit sharing 分账 and its rules. Every function runs inside one transaction.

The money of an order that asked for sharing (settle_info.profit_sharing) is frozen when it is paid: it belongs to the
merchant and is not paid out. A share takes from it at once and reaches its receiver a moment later, or is CLOSED and
goes back; releasing makes the rest the merchant's own. Refunds of such an order come out of what is frozen, while that
lasts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sandbox.acquirer import Acquirer, Refund, Trade, books
from sandbox.clock import rfc3339
from sandbox.faults import Faults
from sandbox.store import Row, Tx
from sandbox.wechat.checks import OUT_REFUND_NO, Fields
from sandbox.wechat.errors import ApiError, invalid_request, resource_not_exists

TYPES = ("MERCHANT_ID", "PERSONAL_OPENID")
RELATIONS = (
    *("SERVICE_PROVIDER", "STORE", "STAFF", "STORE_OWNER", "PARTNER", "HEADQUARTER", "BRAND", "DISTRIBUTOR", "USER"),
    *("SUPPLIER", "CUSTOM"),
)
NUMBER = OUT_REFUND_NO  # sharing's numbers are of the same letters
MOST_RECEIVERS = 50
MOST_REQUESTS = 50
REST = "解冻给分账方"
TAKES_S = 2
FREEZE, UNFREEZE, SHARE_IN, SHARE_BACK = "freeze", "unfreeze", "share_in", "share_back"  # movements of the fund flow


@dataclass(frozen=True, slots=True)
class ShareOrder:
    """A well-formed share order. receivers: (type, account, amount, description); release: the rest is let go."""

    transaction_id: str
    out_order_no: str
    receivers: Sequence[tuple[str, str, int, str]]
    release: bool
    request: str


@dataclass(frozen=True, slots=True)
class ReturnOrder:
    """A well-formed request for a share to come back. Exactly one of order_id and out_order_no is set."""

    order_id: str | None
    out_order_no: str | None
    out_return_no: str
    return_mchid: str
    amount: int
    description: str
    request: str


def declare_faults(faults: Faults) -> None:
    """Make known what can go wrong in sharing."""
    faults.declare("wechat", ["share_closed"], ("merchant", "share", "account"), reason="ACCOUNT_ABNORMAL")
    faults.declare("wechat", ["share_return_failed"], ("merchant", "share_return"), reason="BALANCE_NOT_ENOUGH")


# ---- frozen money ----------------------------------------------------------------------------------------------------


def freeze(tx: Tx, of: Acquirer, trade: Trade) -> None:
    """Freeze what a payment left the merchant, if its order asked for sharing."""
    if not trade.extra["shared"]:
        return
    tx.execute("INSERT INTO wechat_frozen (trade_id, frozen) VALUES (?, ?)", *(trade.trade_id, trade.arrived))
    _post(tx, of, trade, FREEZE, -trade.arrived, trade.order)


def unfreeze_for_refund(tx: Tx, of: Acquirer, trade: Trade, refund: Refund) -> None:
    """Take a refund's money, as far as it is there, out of what is frozen."""
    row = _frozen(tx, trade)
    if row is not None and (part := min(refund.taken - refund.fee_back, row["frozen"])):
        _take(tx, trade, part)
        _post(tx, of, trade, UNFREEZE, part, refund.order or trade.order)


def unsplit(tx: Tx, of: Acquirer, mchid: str, transaction_id: str) -> int:
    """Return how much of a payment is still frozen. Raises RESOURCE_NOT_EXISTS."""
    row = _frozen(tx, _paid_trade(tx, of, mchid, transaction_id))
    return 0 if row is None else int(row["frozen"])


# ---- receivers -------------------------------------------------------------------------------------------------------


def add_receiver(tx: Tx, of: Acquirer, mchid: str, kind: str, account: str, name: str, relation: str) -> None:
    """Let the merchant share to this receiver; again: the same. A merchant's name must be the one it signed up with."""
    if kind == "MERCHANT_ID":
        known = of.merchants.find(account)
        if known is not None and known.name != name:
            raise ApiError(400, "PARAM_ERROR", "分账接收方的名称与商户号不匹配")
    tx.execute(
        "INSERT INTO wechat_receiver (mchid, type, account, name, relation_type) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET name = excluded.name, relation_type = excluded.relation_type",
        *(mchid, kind, account, name, relation),
    )


def remove_receiver(tx: Tx, mchid: str, kind: str, account: str) -> None:
    """Let the merchant share to this receiver no longer."""
    tx.execute("DELETE FROM wechat_receiver WHERE mchid = ? AND type = ? AND account = ?", mchid, kind, account)


# ---- share orders ----------------------------------------------------------------------------------------------------


def read_order(body: dict[str, Any], appid: str, request: str) -> ShareOrder:
    """Return the share order in `body`. Raises the refusal that names its first fault."""
    fields = Fields(body)
    if fields.text("appid", 32) != appid:
        raise ApiError(400, "APPID_MCHID_NOT_MATCH", "appid和mchid不匹配")
    listed = body.get("receivers")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_RECEIVERS:
        raise fields.wrong("receivers", f"must be a list of 1 to {MOST_RECEIVERS}")
    receivers = [_receiver(index, one) for index, one in enumerate(listed)]
    if len({(kind, account) for kind, account, _, _ in receivers}) < len(receivers):
        raise fields.wrong("receivers", "must not name a receiver twice")
    release = body.get("unfreeze_unsplit")
    if not isinstance(release, bool):
        raise fields.wrong("unfreeze_unsplit", "must be true or false")
    return ShareOrder(
        fields.text("transaction_id", 32), fields.text("out_order_no", 64, NUMBER), receivers, release, request
    )


def _receiver(index: int, one: object) -> tuple[str, str, int, str]:
    pointer = f"/receivers/{index}"
    if not isinstance(one, dict):
        raise Fields({}, pointer).wrong("", "must be an object")
    fields = Fields(one, pointer)
    kind, account = fields.choice("type", *TYPES), fields.text("account", 64)
    return kind, account, fields.amount("amount"), fields.text("description", 80)


def read_release(body: dict[str, Any], request: str) -> ShareOrder:
    """Return the order that releases the rest."""
    fields = Fields(body)
    fields.text("description", 80)
    return ShareOrder(fields.text("transaction_id", 32), fields.text("out_order_no", 64, NUMBER), (), True, request)


def share(tx: Tx, of: Acquirer, mchid: str, order: ShareOrder) -> dict[str, Any]:
    """Accept a share order and take its money from what is frozen; the same order again is the same."""
    known = find(tx, mchid, order.out_order_no)
    if known is not None:
        if known["request"] != order.request:
            raise invalid_request("商户分账单号重复, 且请求参数与原请求不同")
        return shown(tx, of, known)
    trade = _paid_trade(tx, of, mchid, order.transaction_id)
    row = _frozen(tx, trade)
    if row is None:
        raise ApiError(403, "NOT_SHARE_ORDER", "非分账订单, 下单时须指定profit_sharing")
    wanted = sum(amount for _, _, amount, _ in order.receivers)
    if wanted > row["frozen"]:
        raise ApiError(403, "NOT_ENOUGH", "分账金额超过剩余可分金额")
    if row["requests"] >= MOST_REQUESTS:
        raise ApiError(403, "RULE_LIMIT", f"一笔订单最多分账{MOST_REQUESTS}次")
    rest = row["frozen"] - wanted if order.release else 0
    _take(tx, trade, wanted + rest)
    tx.execute("UPDATE wechat_frozen SET requests = requests + 1 WHERE trade_id = ?", trade.trade_id)
    number = _next(tx, "wechat_share", "share_id")
    tx.execute(
        "INSERT INTO wechat_share (order_id, mchid, out_order_no, trade_id, request, state, created_ms, settles_ms)"
        " VALUES (?, ?, ?, ?, ?, 'PROCESSING', ?, ?)",
        *(f"3008{mchid[-4:]}{number:020d}", mchid, order.out_order_no, trade.trade_id, order.request),
        *_now_and_then(of),
    )
    lines = [*order.receivers, *([("MERCHANT_ID", mchid, rest, REST)] if rest else [])]
    for kind, account, amount, description in lines:
        line = _next(tx, "wechat_share_line", "line_id")
        tx.execute(
            "INSERT INTO wechat_share_line (detail_id, share_id, type, account, amount, description, result)"
            " VALUES (?, ?, ?, ?, ?, ?, 'PENDING')",
            *(f"3601{mchid[-4:]}{line:020d}", number, kind, account, amount, description),
        )
    made = find(tx, mchid, order.out_order_no)
    assert made is not None
    return shown(tx, of, made)


def find(tx: Tx, mchid: str, out_order_no: str) -> Row | None:
    """Return a share order by the merchant's number."""
    return tx.one("SELECT * FROM wechat_share WHERE mchid = ? AND out_order_no = ?", mchid, out_order_no)


def query(tx: Tx, of: Acquirer, mchid: str, out_order_no: str, transaction_id: str) -> dict[str, Any]:
    """Return a share order as the query API shows it. Raises RESOURCE_NOT_EXISTS."""
    row = find(tx, mchid, out_order_no)
    view = None if row is None else shown(tx, of, row)
    if view is None or view["transaction_id"] != transaction_id:
        raise resource_not_exists("分账单不存在")
    return view


def end_due(tx: Tx, of: Acquirer) -> int | None:
    """End shares and returns whose time has come; return the moment of the next."""
    now_ms = of.ctx.clock.now_ms()
    for share in tx.all("SELECT * FROM wechat_share WHERE settles_ms <= ? ORDER BY settles_ms, share_id", now_ms):
        _settle(tx, of, share, now_ms)
    for back in tx.all("SELECT * FROM wechat_share_return WHERE settles_ms <= ? ORDER BY settles_ms, seq", now_ms):
        _settle_return(tx, of, back, now_ms)
    row = tx.one(
        "SELECT min(at) AS at FROM (SELECT min(settles_ms) AS at FROM wechat_share WHERE settles_ms IS NOT NULL"
        " UNION ALL SELECT min(settles_ms) FROM wechat_share_return WHERE settles_ms IS NOT NULL)"
    )
    assert row is not None
    found: int | None = row["at"]
    return found


def _settle(tx: Tx, of: Acquirer, row: Row, now_ms: int) -> None:
    """End a share order: each receiver gets its part or is CLOSED."""
    trade = of.trades.by_id(tx, row["trade_id"])
    released = orjson.loads(row["request"]).get("unfreeze_unsplit", True)
    for line in _lines(tx, row):
        if line["type"] == "MERCHANT_ID" and line["account"] == row["mchid"]:
            reason = None
            _post(tx, of, trade, UNFREEZE, line["amount"], row["out_order_no"])
        elif (reason := _refusal(tx, of, row, line)) is None:
            _credit(tx, of, line, SHARE_IN, line["amount"], row["out_order_no"])
        tx.execute(
            "UPDATE wechat_share_line SET result = ?, fail_reason = ?, finish_ms = ? WHERE line_id = ?",
            *("CLOSED" if reason else "SUCCESS", reason, now_ms, line["line_id"]),
        )
    back = sum(line["amount"] for line in _lines(tx, row) if line["result"] == "CLOSED")
    if back and released:
        _post(tx, of, trade, UNFREEZE, back, row["out_order_no"])
    else:
        _take(tx, trade, -back)
    tx.execute("UPDATE wechat_share SET state = 'FINISHED', settles_ms = NULL WHERE share_id = ?", row["share_id"])


def shown(tx: Tx, of: Acquirer, row: Row) -> dict[str, Any]:
    """Return a share order as the API shows it."""
    return {
        "transaction_id": of.trades.by_id(tx, row["trade_id"]).charge_ref,
        "out_order_no": row["out_order_no"],
        "order_id": row["order_id"],
        "state": row["state"],
        "receivers": [_shown_line(row, line) for line in _lines(tx, row)],
    }


def _shown_line(row: Row, line: Row) -> dict[str, Any]:
    view = {key: line[key] for key in ("type", "account", "amount", "description", "result", "detail_id")}
    view["create_time"] = rfc3339(row["created_ms"])
    if line["finish_ms"] is not None:
        view["finish_time"] = rfc3339(line["finish_ms"])
    return view | ({"fail_reason": line["fail_reason"]} if line["fail_reason"] else {})


# ---- returns ---------------------------------------------------------------------------------------------------------


def read_return(body: dict[str, Any], request: str) -> ReturnOrder:
    """Return the request in `body` for a share to come back."""
    fields = Fields(body)
    by_id = fields.has("order_id")
    return ReturnOrder(
        fields.text("order_id", 64) if by_id else None,
        None if by_id else fields.text("out_order_no", 64),
        fields.text("out_return_no", 64, NUMBER),
        fields.text("return_mchid", 32),
        fields.amount("amount"),
        fields.text("description", 80),
        request,
    )


def give_back(tx: Tx, of: Acquirer, mchid: str, order: ReturnOrder) -> dict[str, Any]:
    """Accept a return 分账回退; the same request again is the same."""
    known = tx.one(
        "SELECT * FROM wechat_share_return WHERE mchid = ? AND out_return_no = ?", mchid, order.out_return_no
    )
    if known is not None:
        if known["request"] != order.request:
            raise invalid_request("商户回退单号重复, 且请求参数与原请求不同")
        return _shown_return(tx, known)
    row = tx.one(
        "SELECT * FROM wechat_share WHERE mchid = ? AND (order_id = ? OR out_order_no = ?)",
        *(mchid, order.order_id, order.out_order_no),
    )
    if row is None:
        raise resource_not_exists("分账单不存在")
    line = next((one for one in _lines(tx, row) if _merchants_line(one, order.return_mchid, mchid)), None)
    if line is None:
        raise invalid_request("回退商户不是该分账单的接收方")
    if line["result"] != "SUCCESS" or order.amount > line["amount"] - line["returned"]:
        raise ApiError(403, "NOT_ENOUGH", "回退金额超过该接收方可回退金额")
    tx.execute("UPDATE wechat_share_line SET returned = returned + ? WHERE line_id = ?", order.amount, line["line_id"])
    number = _next(tx, "wechat_share_return", "seq")
    tx.execute(
        "INSERT INTO wechat_share_return (return_id, mchid, out_return_no, line_id, request, amount, description,"
        " result, created_ms, settles_ms) VALUES (?, ?, ?, ?, ?, ?, ?, 'PROCESSING', ?, ?)",
        *(f"3009{mchid[-4:]}{number:020d}", mchid, order.out_return_no, line["line_id"], order.request),
        *(order.amount, order.description, *_now_and_then(of)),
    )
    made = tx.one("SELECT * FROM wechat_share_return WHERE seq = ?", number)
    assert made is not None
    return _shown_return(tx, made)


def return_query(tx: Tx, mchid: str, out_return_no: str, out_order_no: str) -> dict[str, Any]:
    """Return a return as the query API shows it. Raises RESOURCE_NOT_EXISTS."""
    row = tx.one("SELECT * FROM wechat_share_return WHERE mchid = ? AND out_return_no = ?", mchid, out_return_no)
    view = None if row is None else _shown_return(tx, row)
    if view is None or view["out_order_no"] != out_order_no:
        raise resource_not_exists("回退单不存在")
    return view


def _settle_return(tx: Tx, of: Acquirer, row: Row, now_ms: int) -> None:
    """End a return: the money comes back to the merchant's own account, unless it fails on order."""
    line, order = _line_and_order(tx, row)
    facts = {"merchant": row["mchid"], "share_return": row["out_return_no"]}
    fault = of.ctx.faults.take("wechat", "share_return_failed", **facts)
    reason = None if fault is None else str(fault.params["reason"])
    if reason is None:
        trade = of.trades.by_id(tx, order["trade_id"])
        _post(tx, of, trade, SHARE_BACK, row["amount"], row["out_return_no"])
        _credit(tx, of, line, SHARE_BACK, -row["amount"], row["out_return_no"])
    else:
        tx.execute(
            "UPDATE wechat_share_line SET returned = returned - ? WHERE line_id = ?", row["amount"], line["line_id"]
        )
    tx.execute(
        "UPDATE wechat_share_return SET result = ?, fail_reason = ?, settles_ms = NULL, finish_ms = ? WHERE seq = ?",
        *("FAILED" if reason else "SUCCESS", reason, now_ms, row["seq"]),
    )


def _shown_return(tx: Tx, row: Row) -> dict[str, Any]:
    line, order = _line_and_order(tx, row)
    view = {
        "order_id": order["order_id"],
        "out_order_no": order["out_order_no"],
        "out_return_no": row["out_return_no"],
        "return_id": row["return_id"],
        "return_mchid": line["account"],
        "amount": row["amount"],
        "description": row["description"],
        "result": row["result"],
        "create_time": rfc3339(row["created_ms"]),
    }
    if row["finish_ms"] is not None:
        view["finish_time"] = rfc3339(row["finish_ms"])
    return view | ({"fail_reason": row["fail_reason"]} if row["fail_reason"] else {})


# ---- shared ----------------------------------------------------------------------------------------------------------


def _merchants_line(line: Row, return_mchid: str, mchid: str) -> bool:
    return bool(line["type"] == "MERCHANT_ID" and line["account"] == return_mchid != mchid)


def _line_and_order(tx: Tx, row: Row) -> tuple[Row, Row]:
    line = tx.one("SELECT * FROM wechat_share_line WHERE line_id = ?", row["line_id"])
    assert line is not None
    order = tx.one("SELECT * FROM wechat_share WHERE share_id = ?", line["share_id"])
    assert order is not None
    return line, order


def _now_and_then(of: Acquirer) -> tuple[int, int]:
    """Return the moment, and the one at which what begins now is decided."""
    now_ms = of.ctx.clock.now_ms()
    return now_ms, now_ms + int(TAKES_S * of.ctx.time_scale * 1000)


def _paid_trade(tx: Tx, of: Acquirer, mchid: str, transaction_id: str) -> Trade:
    trade = of.trades.find_by(tx, "charge_ref", transaction_id)
    if trade is None or trade.merchant != mchid:
        raise resource_not_exists("订单不存在或未支付")
    return trade


def _frozen(tx: Tx, trade: Trade) -> Row | None:
    return tx.one("SELECT * FROM wechat_frozen WHERE trade_id = ?", trade.trade_id)


def _take(tx: Tx, trade: Trade, amount: int) -> None:
    tx.execute("UPDATE wechat_frozen SET frozen = frozen - ? WHERE trade_id = ?", amount, trade.trade_id)


def _lines(tx: Tx, row: Row) -> list[Row]:
    return tx.all("SELECT * FROM wechat_share_line WHERE share_id = ? ORDER BY line_id", row["share_id"])


def _refusal(tx: Tx, of: Acquirer, row: Row, line: Row) -> str | None:
    """Return why a part does not reach its receiver, if it does not."""
    facts = {"merchant": row["mchid"], "share": row["out_order_no"], "account": line["account"]}
    if (fault := of.ctx.faults.take("wechat", "share_closed", **facts)) is not None:
        return str(fault.params["reason"])
    bound = tx.one(
        "SELECT 1 FROM wechat_receiver WHERE mchid = ? AND type = ? AND account = ?",
        *(row["mchid"], line["type"], line["account"]),
    )
    return None if bound else "NO_RELATION"


def _credit(tx: Tx, of: Acquirer, line: Row, kind: str, amount: int, voucher_no: str) -> None:
    """Post a receiver's side, where the receiver is a merchant here."""
    if line["type"] == "MERCHANT_ID" and of.merchants.find(line["account"]) is not None:
        extra = {"business_no": line["detail_id"], "voucher_no": voucher_no}
        _move(tx, of, line["account"], kind, amount, extra, None)


def _post(tx: Tx, of: Acquirer, trade: Trade, kind: str, amount: int, voucher_no: str) -> None:
    _move(tx, of, trade.merchant, kind, amount, {"voucher_no": voucher_no}, trade.trade_id)


def _move(
    tx: Tx, of: Acquirer, mchid: str, kind: str, amount: int, extra: dict[str, Any], trade_id: int | None
) -> None:
    now_ms = of.ctx.clock.now_ms()
    books.post(
        tx,
        "wechat",
        merchant=mchid,
        currency="CNY",
        at_ms=now_ms,
        day=books.bill_date(tx, "wechat", mchid, now_ms),
        kind=kind,
        amount=amount,
        trade_id=trade_id,
        extra=extra,
    )


def _next(tx: Tx, table: str, key: str) -> int:
    row = tx.one(f"SELECT coalesce(max({key}), 0) + 1 AS next FROM {table}")
    assert row is not None
    return int(row["next"])
