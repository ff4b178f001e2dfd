"""What the acquirer's books hold, read from their rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sandbox import coupons
from sandbox.coupons import Coupon
from sandbox.store import Row

Event = Literal[
    "created",
    "approved",
    "held",
    "paid",
    "declined",
    "closed",
    "voided",
    "reversed",
    "refunded",
    "refund_failed",
    "disputed",
]


class Reader(Protocol):
    """The store, or a transaction: whatever answers a SELECT."""

    def one(self, sql: str, *params: Any) -> Row | None: ...

    def all(self, sql: str, *params: Any) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class Merchant:
    """A merchant 商户 of one rail. extra: what the rail keeps about it (keys, secrets)."""

    merchant: str
    name: str
    fee_bp: int
    fixed_fee_minor: int
    settle_to: str | None
    extra: Mapping[str, Any]
    refund_fee: str | None  # returned | kept; None: as the rail does


@dataclass(frozen=True, slots=True)
class Trade:
    """An order of a merchant and what became of it; the columns are explained in schema.sql."""

    trade_id: int
    merchant: str
    order: str
    product: str
    params: str
    amount: int
    currency: str
    hold: bool
    notify_url: str | None
    token: str
    extra: Mapping[str, Any]
    state: str
    closed_by: str | None
    refusal: str | None
    payer: str | None
    created_ms: int
    expires_ms: int | None
    trade_ref: str
    hold_ref: str | None
    charge_ref: str | None
    held_ms: int | None
    paid_ms: int | None
    bill_date: str | None
    paid: int
    fee: int
    refunded: int

    @property
    def coupons(self) -> list[Coupon]:
        """What the payer used."""
        return list(self.extra.get("coupons", ()))

    @property
    def not_paid_out(self) -> int:
        """What coupons of the merchant's own paid: its part of the payment does not reach the merchant."""
        return coupons.total_of(self.coupons, "merchant")

    @property
    def arrived(self) -> int:
        """What the merchant has had of it, refunds aside."""
        return self.paid - self.not_paid_out - self.fee

    @property
    def taken(self) -> int:
        """What refunds have taken from the merchant."""
        own = sum(int(one["returned"]) for one in self.coupons if one["paid_by"] == "merchant")
        return self.refunded - own

    @property
    def channel_ref(self) -> str:
        """The rail's latest number for it."""
        return self.charge_ref or self.hold_ref or self.trade_ref


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund 退款, or the way back of a reversal, which has no number of the merchant's (`order` is None)."""

    refund_id: int
    merchant: str
    order: str | None
    trade_id: int
    params: str
    amount: int
    fee_back: int
    reason: str
    notify_url: str | None
    extra: Mapping[str, Any]
    status: str
    refund_ref: str
    created_ms: int
    success_ms: int | None

    @property
    def coupons(self) -> list[Coupon]:
        """What coupons bear of it."""
        return list(self.extra.get("coupons", ()))

    @property
    def taken(self) -> int:
        """What it takes from the merchant: not what coupons of the merchant's own bear of it."""
        return self.amount - coupons.returned(self.coupons, "merchant")


def read_merchant(row: Row) -> Merchant:
    """Return the merchant in a row."""
    return Merchant(
        row["merchant"],
        row["name"],
        row["fee_bp"],
        row["fixed_fee_minor"],
        row["settle_to"],
        extra := json.loads(row["extra"]),
        extra.get("refund_fee"),
    )


def read_trade(row: Row, now_ms: int) -> Trade:
    """Return the trade in a row as it stands at `now_ms`, whether or not its expiry has been written yet."""
    state, closed_by = row["state"], row["closed_by"]
    if row["expires_ms"] is not None and row["expires_ms"] <= now_ms and state in ("open", "held"):
        state, closed_by = "closed", "expired"
    return Trade(
        trade_id=row["trade_id"],
        merchant=row["merchant"],
        order=row["order_no"],
        product=row["product"],
        params=row["params"],
        amount=row["amount"],
        currency=row["currency"],
        hold=bool(row["hold"]),
        notify_url=row["notify_url"],
        token=row["token"],
        extra=json.loads(row["extra"]),
        state=state,
        closed_by=closed_by,
        refusal=row["refusal"],
        payer=row["payer"],
        created_ms=row["created_ms"],
        expires_ms=row["expires_ms"],
        trade_ref=row["trade_ref"],
        hold_ref=row["hold_ref"],
        charge_ref=row["charge_ref"],
        held_ms=row["held_ms"],
        paid_ms=row["paid_ms"],
        bill_date=row["bill_date"],
        paid=row["paid"],
        fee=row["fee"],
        refunded=row["refunded"],
    )


def read_refund(row: Row) -> Refund:
    """Return the refund in a row."""
    return Refund(
        refund_id=row["refund_id"],
        merchant=row["merchant"],
        order=row["refund_no"],
        trade_id=row["trade_id"],
        params=row["params"],
        amount=row["amount"],
        fee_back=row["fee_back"],
        reason=row["reason"],
        notify_url=row["notify_url"],
        extra=json.loads(row["extra"]),
        status=row["status"],
        refund_ref=row["refund_ref"],
        created_ms=row["created_ms"],
        success_ms=row["success_ms"],
    )
