"""The fund flow 资金流水 of one rail: fees, the day a movement belongs to, and every movement itself."""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from sandbox.clock import date_of
from sandbox.store import Tx

PAYMENT, FEE, REFUND, FEE_BACK = "payment", "fee", "refund", "fee_back"
REFUND_FAILED, SETTLEMENT = "refund_failed", "settlement"
DISPUTE, DISPUTE_FEE, DISPUTE_WON = "dispute", "dispute_fee", "dispute_won"


def fee_of(amount: int, fee_bp: int, fixed_minor: int) -> int:
    """Return the fee 手续费 on a payment in minor units: its share rounded half up, and the fixed part."""
    return (amount * fee_bp + 5_000) // 10_000 + fixed_minor


def fee_returned(fee: int, refunded: int, paid: int) -> int:
    """Return how much of `fee` has been given back once `refunded` of `paid` has, rounded half up.

    Working on the running total rather than on each refund makes a full refund in parts return exactly the fee.
    """
    return (2 * fee * refunded + paid) // (2 * paid)


def bill_date(tx: Tx, rail: str, merchant: str, at_ms: int) -> date:
    """Return the bill a movement belongs to: its Beijing date, or the first open day once that date was closed."""
    row = tx.one("SELECT closed_through FROM acquirer_merchant WHERE rail = ? AND merchant = ?", rail, merchant)
    assert row is not None
    return max(date_of(at_ms), date.fromisoformat(row["closed_through"]) + timedelta(days=1))


def post(
    tx: Tx,
    rail: str,
    *,
    merchant: str,
    currency: str,
    at_ms: int,
    day: date,
    kind: str,
    amount: int,
    trade_id: int | None = None,
    refund_id: int | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Append one movement. amount: positive in the merchant's favour; nothing is written for zero.

    extra: what a bill says of it that does not follow from trade and refund.
    """
    if amount == 0:
        return
    tx.execute(
        "INSERT INTO acquirer_flow (rail, merchant, currency, at_ms, bill_date, kind, amount, trade_id, refund_id,"
        " extra) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *(rail, merchant, currency, at_ms, day.isoformat(), kind, amount, trade_id, refund_id),
        None if extra is None else json.dumps(extra, ensure_ascii=False),
    )
