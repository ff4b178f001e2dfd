"""The rows of a day's bill 对账单 in words no rail uses, made from the acquirer's books, ordered faults included.

What file they become is the rail's business. Faults spoil a row in the same way each time the bill is made.
"""

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Literal

from sandbox import coupons
from sandbox.acquirer import books
from sandbox.acquirer.models import Merchant
from sandbox.acquirer.wire import Wire
from sandbox.context import SandboxContext
from sandbox.faults import Fault
from sandbox.store import Row

DAY_MS = 86_400_000
ROW_KEYS = ("merchant", "order", "refund", "date")
DAY_KEYS = ("merchant", "date")
# No rail's word. One that means something might be acted on: UnionPay's file leaves out refunds that failed.
SPOILED = "spoiled"


@dataclass(frozen=True, slots=True)
class BillRow:
    """One row. Amounts in minor units, positive; fee is negative where it is given back.

    status: success | processing | failed | reversed, or the word of a `bill_row_status` fault.
    """

    # return: of a refund that was done and came back; dispute_won: of what a dispute had taken
    kind: Literal["payment", "refund", "return", "dispute", "dispute_won"]
    order: str  # the merchant's number of the payment
    refund: str | None  # the merchant's number of the refund; None on payments, and where a reversal gave money back
    ref: str  # the rail's number of this movement
    payment_ref: str  # the rail's number of the payment
    trade_ref: str  # the rail's number of the order
    amount: int
    currency: str
    fee: int
    status: str
    at_ms: int
    product: str
    payer: str
    payment_amount: int  # what was paid, also on refunds
    order_amount: int  # what was ordered; more than was paid after a partial capture
    extra: Mapping[str, Any] = field(default_factory=dict)  # the trade's
    refund_extra: Mapping[str, Any] = field(default_factory=dict)
    hold_ref: str | None = None
    coupon: int = 0  # what coupons paid of it, or bear of it on refunds
    not_paid_out: int = 0  # of that, what the merchant's own did
    success_ms: int | None = None  # when a refund was done, as far as the day's end knew
    scope: str = ""  # what the row is about, for faults


class Bills:
    """See the module."""

    def __init__(self, ctx: SandboxContext, wire: Wire) -> None:
        self._ctx, self._wire = ctx, wire
        faults, rail = ctx.faults, wire.rail
        faults.declare(rail, ("bill_row_missing", "bill_row_doubled", "bill_row_late"), ROW_KEYS)
        faults.declare(rail, ["bill_row_altered"], ROW_KEYS, delta_minor=None)
        faults.declare(rail, ["bill_row_status"], ROW_KEYS, status="")
        # The number is what the listing shows, so that a judge can look for it.
        faults.declare(rail, ["bill_row_extra"], DAY_KEYS, total_minor=None, order=new_extra_number)
        self.file_keys = (*DAY_KEYS, *(("bill",) if wire.bill else ()))
        faults.declare(rail, ("bill_truncated", "bill_wrong_day"), self.file_keys)

    def rows(self, merchant: Merchant, day: date) -> list[BillRow]:
        """Return a day's rows, oldest first, faults applied; for an open day, what there is so far."""
        rows = self._spoiled(merchant, day, self.true_rows(merchant, day))
        if self.is_spoiled("bill_wrong_day", merchant, day):
            return self.true_rows(merchant, day - timedelta(days=1)) or [
                replace(row, at_ms=row.at_ms - DAY_MS) for row in rows
            ]
        return rows

    def day_shown(self, merchant: Merchant, day: date) -> date:
        """Return the day the file is to say it is of: `day`, or the one before where `bill_wrong_day` is ordered."""
        return day - timedelta(days=1) if self.is_spoiled("bill_wrong_day", merchant, day) else day

    def cut(self, merchant: Merchant, day: date, content: bytes, bill: str | None = None) -> bytes:
        """Return the bill's content, or two thirds of it where `bill_truncated` is ordered."""
        return content[: len(content) * 2 // 3] if self.is_spoiled("bill_truncated", merchant, day, bill) else content

    def true_rows(self, merchant: Merchant, day: date) -> list[BillRow]:
        """Return a day's rows as they truly are: payments, refunds and reversals, oldest first."""
        key = (self._wire.rail, merchant.merchant, day.isoformat())
        paid = self._ctx.store.all(
            "SELECT * FROM acquirer_trade WHERE rail = ? AND merchant = ? AND bill_date = ?", *key
        )
        returned = self._ctx.store.all(
            "SELECT t.*, r.refund_no, r.refund_ref, r.amount AS returned, r.fee_back, r.created_ms AS returned_ms,"
            " r.success_ms, r.extra AS refund_extra, coalesce(r.billed_status, r.status) AS refund_status"
            " FROM acquirer_refund r JOIN acquirer_trade t USING (trade_id)"
            " WHERE r.rail = ? AND r.merchant = ? AND r.bill_date = ?",
            *key,
        )
        back = self._ctx.store.all(
            "SELECT t.*, r.refund_no, r.refund_ref, r.amount AS returned, r.fee_back, b.at_ms AS returned_ms,"
            " r.success_ms, r.extra AS refund_extra, r.status AS refund_status"
            " FROM acquirer_return b JOIN acquirer_refund r USING (refund_id) JOIN acquirer_trade t USING (trade_id)"
            " WHERE b.rail = ? AND b.merchant = ? AND b.bill_date = ?",
            *key,
        )
        rows = [_payment_row(row) for row in paid] + [_refund_row(row) for row in returned]
        rows += [
            replace(one, kind="return", fee=-one.fee, scope=f"{one.scope}:return") for one in map(_refund_row, back)
        ]
        disputed = self._ctx.store.all(
            "SELECT t.*, d.dispute_ref, d.amount AS taken, d.fee AS dispute_fee, d.taken_ms, d.reason"
            " FROM acquirer_dispute d JOIN acquirer_trade t USING (trade_id)"
            " WHERE d.rail = ? AND d.merchant = ? AND d.bill_date = ?",
            *key,
        )
        won = self._ctx.store.all(
            "SELECT t.*, d.dispute_ref, d.amount AS taken, -d.fee_back AS dispute_fee, d.ended_ms AS taken_ms, d.reason"
            " FROM acquirer_dispute d JOIN acquirer_trade t USING (trade_id)"
            " WHERE d.rail = ? AND d.merchant = ? AND d.back_date = ?",
            *key,
        )
        rows += [_dispute_row(row, "dispute") for row in disputed] + [_dispute_row(row, "dispute_won") for row in won]
        return sorted(rows, key=lambda row: (row.at_ms, row.scope))

    def _spoiled(self, merchant: Merchant, day: date, rows: Iterable[BillRow]) -> list[BillRow]:
        yesterday = day - timedelta(days=1)
        spoiled = [
            row
            for row in self.true_rows(merchant, yesterday)
            if self._row_fault("bill_row_late", merchant, row, yesterday)
        ]
        for row in rows:
            spoiled.extend(self._spoil(merchant, row, day))
        spoiled.extend(self._extra_rows(merchant, day))
        return spoiled

    def _spoil(self, merchant: Merchant, row: BillRow, day: date) -> list[BillRow]:
        if any(self._row_fault(name, merchant, row, day) for name in ("bill_row_missing", "bill_row_late")):
            return []
        if fault := self._row_fault("bill_row_altered", merchant, row, day):
            row = replace(row, amount=row.amount + int(fault.params["delta_minor"]))
        if fault := self._row_fault("bill_row_status", merchant, row, day):
            row = replace(row, status=str(fault.params["status"]) or SPOILED)
        return [row, row] if self._row_fault("bill_row_doubled", merchant, row, day) else [row]

    def _row_fault(self, name: str, merchant: Merchant, row: BillRow, day: date) -> Fault | None:
        facts = {"merchant": merchant.merchant, "date": day.isoformat()}
        # A refund's row is named by its own number: a fault on an order is not to spoil its refunds too.
        facts |= {"order": row.order} if row.kind == "payment" else {"refund": row.refund or row.ref}
        return self._ctx.faults.bind(self._wire.rail, name, row.scope, **facts)

    def is_spoiled(self, name: str, merchant: Merchant, day: date, bill: str | None = None) -> bool:
        """Tell whether a fault of a day's file is ordered. bill: another than that of payments; the order names it."""
        kind = bill or self._wire.bill
        orders = [one for one in self._ctx.faults.listed() if one.name == name and one.match.get("bill") == kind]
        if kind != self._wire.bill and not orders:
            return False
        scope = f"{kind or 'bill'}:{merchant.merchant}:{day}"
        facts = {"merchant": merchant.merchant, "date": day.isoformat(), **({"bill": kind} if kind else {})}
        return self._ctx.faults.bind(self._wire.rail, name, scope, **facts) is not None

    def _extra_rows(self, merchant: Merchant, day: date) -> list[BillRow]:
        """Return payments nobody made through us, one for each such order."""
        extra: list[BillRow] = []
        for seq in range(1, 1000):
            scope, facts = f"extra:{merchant.merchant}:{day}:{seq}", {"merchant": merchant.merchant, "date": str(day)}
            fault = self._ctx.faults.bind(self._wire.rail, "bill_row_extra", scope, **facts)
            if fault is None:
                break
            extra.append(self._extra_row(merchant, day, seq, int(fault.params["total_minor"]), fault.params["order"]))
        return extra

    def _extra_row(self, merchant: Merchant, day: date, seq: int, amount: int, order: str) -> BillRow:
        at_ms = (day - date(1970, 1, 1)).days * DAY_MS + 4 * 3_600_000  # 12:00 in Beijing
        number = self._wire.number("charge", merchant.merchant, 10**9 + seq, at_ms)
        return BillRow(
            kind="payment",
            order=order,
            refund=None,
            ref=number,
            payment_ref=number,
            trade_ref=self._wire.number("trade", merchant.merchant, 10**9 + seq, at_ms),
            amount=amount,
            currency=self._wire.settles_in,
            fee=books.fee_of(amount, merchant.fee_bp, merchant.fixed_fee_minor),
            status="success",
            at_ms=at_ms,
            product="",
            payer="stranger",
            payment_amount=amount,
            order_amount=amount,
        )


def new_extra_number() -> str:
    """Return an order number for a row that belongs to nobody's order."""
    return f"extra{secrets.token_hex(8)}"


def _payment_row(row: Row) -> BillRow:
    return BillRow(
        kind="payment",
        order=row["order_no"],
        refund=None,
        ref=row["charge_ref"],
        payment_ref=row["charge_ref"],
        trade_ref=row["trade_ref"],
        amount=row["paid"],
        currency=row["currency"],
        fee=row["fee"],
        status="success",
        at_ms=row["paid_ms"],
        product=row["product"],
        payer=row["payer"] or "",
        payment_amount=row["paid"],
        order_amount=row["amount"],
        extra=(extra := json.loads(row["extra"])),
        hold_ref=row["hold_ref"],
        coupon=coupons.total_of(extra.get("coupons", ())),
        not_paid_out=coupons.total_of(extra.get("coupons", ()), "merchant"),
        scope=f"row:{row['charge_ref']}",
    )


def _refund_row(row: Row) -> BillRow:
    status = {"pending": "processing"}.get(row["refund_status"], row["refund_status"])
    return replace(
        _payment_row(row),
        kind="refund",
        refund=row["refund_no"],
        ref=row["refund_ref"],
        amount=row["returned"],
        fee=-row["fee_back"],
        status="reversed" if row["refund_no"] is None else status,
        at_ms=row["returned_ms"],
        refund_extra=(refund_extra := json.loads(row["refund_extra"])),
        coupon=coupons.returned(refund_extra.get("coupons", ())),
        not_paid_out=coupons.returned(refund_extra.get("coupons", ()), "merchant"),
        success_ms=row["success_ms"] if row["refund_status"] == "success" else None,
        scope=f"row:{row['refund_ref']}",
    )


def _dispute_row(row: Row, kind: Literal["dispute", "dispute_won"]) -> BillRow:
    return replace(
        _payment_row(row),
        kind=kind,
        ref=row["dispute_ref"],
        amount=row["taken"],
        fee=row["dispute_fee"],
        at_ms=row["taken_ms"],
        coupon=0,
        not_paid_out=0,
        refund_extra={"reason": row["reason"]},
        scope=f"row:{row['dispute_ref']}:{kind}",
    )
