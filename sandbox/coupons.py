"""Coupons 代金券 that payers have, of any rail: given by the control API, used by the next payment they fit.

Who pays for one decides what the merchant gets. `merchant`: it is taken off, and what was taken off is not paid out
(WeChat Pay's 免充值, Alipay's 商家优惠). `prepaid`: the merchant paid its money in beforehand (预充值), so the order is
paid out whole. `rail`: the rail, or somebody else, pays for it; likewise. Sources: pay.weixin.qq.com,
docs/merchant/products: cash-coupons/introduction (2025-08-20) and refund/introduction (2025-06-27).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from sandbox.context import SandboxContext
from sandbox.control import Body, ControlError, reply
from sandbox.store import Tx

PAID_BY = ("merchant", "prepaid", "rail")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS coupon (
    coupon_id INTEGER PRIMARY KEY AUTOINCREMENT,
    rail TEXT NOT NULL,
    merchant TEXT NOT NULL,
    order_no TEXT,                           -- the one order it is for; NULL: the next it fits
    amount INTEGER NOT NULL,
    paid_by TEXT NOT NULL,                   -- merchant prepaid rail
    used INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS coupon_unused ON coupon (rail, merchant) WHERE used = 0;
"""

Coupon = Mapping[str, Any]  # id, amount, paid_by, returned: what refunds have taken of it


def install(ctx: SandboxContext) -> None:
    """Make room for coupons."""
    ctx.store.create(_SCHEMA)


async def give(ctx: SandboxContext, rail: str, merchant: str, body: Body, order: str | None) -> web.Response:
    """Give the merchant's payers a coupon of `amount`, paid for by `paid_by`, for one order or the next it fits."""
    amount, paid_by = body.whole("amount", 0), body.text("paid_by")
    if amount < 1 or paid_by not in PAID_BY:
        raise ControlError(400, "bad_field", f"amount must be 1 or more, and paid_by one of {', '.join(PAID_BY)}")

    def command(tx: Tx) -> int:
        row = tx.one(
            "INSERT INTO coupon (rail, merchant, order_no, amount, paid_by) VALUES (?, ?, ?, ?, ?) RETURNING coupon_id",
            *(rail, merchant, order, amount, paid_by),
        )
        assert row is not None
        return int(row["coupon_id"])

    return reply({"coupon": await ctx.store.write(command), "amount": amount, "paid_by": paid_by}, 201)


def use(tx: Tx, rail: str, merchant: str, order: str, total: int) -> list[Coupon]:
    """Use the payer's coupons for an order that is being paid: those for it, and those for any.

    The payer pays at least one minor unit, so a coupon that is too much stays unused.
    """
    used: list[Coupon] = []
    left = total
    for row in tx.all("SELECT * FROM coupon WHERE rail = ? AND merchant = ? AND used = 0", rail, merchant):
        if row["amount"] >= left or row["order_no"] not in (None, order):
            continue
        left -= row["amount"]
        tx.execute("UPDATE coupon SET used = 1 WHERE coupon_id = ?", row["coupon_id"])
        used.append({"id": row["coupon_id"], "amount": row["amount"], "paid_by": row["paid_by"], "returned": 0})
    return used


def total_of(coupons: Sequence[Coupon], *paid_by: str) -> int:
    """Return what coupons come to; of these payers where given."""
    return sum(int(one["amount"]) for one in coupons if not paid_by or one["paid_by"] in paid_by)


def give_back(coupons: Sequence[Coupon], total: int, before: int, amount: int) -> tuple[list[Coupon], list[Coupon]]:
    """Return (the parts of a refund that the coupons bear, the coupons as they are after it).

    The payer gets the refund's proportion of what they paid, rounded half up; whatever completes the whole gives back
    what is left. before: what was given back before it. How WeChat Pay parts the rest among several coupons is not
    documented: here in proportion to what is left of each, the first one taking what does not divide.
    """
    if not coupons:
        return [], []
    left = [int(one["amount"] - one["returned"]) for one in coupons]
    own_left = total - total_of(coupons) - (before - sum(int(one["returned"]) for one in coupons))
    if before + amount == total:
        parts = left
    else:
        own = (2 * amount * (total - total_of(coupons)) + total) // (2 * total)
        borne = amount - min(max(own, amount - sum(left)), own_left)
        parts = [borne * one // sum(left) if sum(left) else 0 for one in left]
        for n, one in enumerate(left):
            parts[n] += min(borne - sum(parts), one - parts[n])
    back: list[Coupon] = [{**one, "refund": part} for one, part in zip(coupons, parts, strict=True)]
    return back, [{**one, "returned": one["returned"] + part} for one, part in zip(coupons, parts, strict=True)]


def undo(coupons: Sequence[Coupon], back: Sequence[Coupon]) -> list[Coupon]:
    """Return the coupons as they are after a refund that they bore a part of has failed."""
    again = {one["id"]: one["refund"] for one in back}
    return [{**one, "returned": one["returned"] - again.get(one["id"], 0)} for one in coupons]


def returned(back: Sequence[Coupon], *paid_by: str) -> int:
    """Return what coupons bear of a refund; of these payers where given."""
    return sum(int(one["refund"]) for one in back if not paid_by or one["paid_by"] in paid_by)


def dump(coupons: Sequence[Coupon]) -> str:
    return json.dumps(coupons)


def read(text: str | None) -> list[Coupon]:
    found: list[Coupon] = json.loads(text or "[]")
    return found
