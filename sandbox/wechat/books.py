"""WeChat Pay's fund flow 资金流水: every movement of a merchant's money, fees included."""

from datetime import date, timedelta

from sandbox.clock import date_of
from sandbox.store import Tx

PAYMENT, FEE, REFUND, FEE_BACK, SETTLEMENT = "payment", "fee", "refund", "fee_back", "settlement"
# Profit sharing 分账: money set aside, let go, come in as a share, and a share that went back to whom it came from.
FREEZE, UNFREEZE, SHARE_IN, SHARE_BACK = "freeze", "unfreeze", "share_in", "share_back"


def fee_of(total: int, fee_bp: int) -> int:
    """Return the fee 手续费 on a payment in fen, rounded half up."""
    return (total * fee_bp + 5_000) // 10_000


def fee_returned(fee: int, refunded: int, paid: int) -> int:
    """Return how much of `fee` has been given back once `refunded` of `paid` has, rounded half up.

    Working on the running total rather than on each refund makes a full refund in parts return exactly the fee.
    """
    return (2 * fee * refunded + paid) // (2 * paid)


def bill_date(tx: Tx, mchid: str, at_ms: int) -> date:
    """Return the bill a movement belongs to: its Beijing date, or the first open day once that date was closed."""
    row = tx.one("SELECT closed_through FROM wechat_merchant WHERE mchid = ?", mchid)
    assert row is not None
    return max(date_of(at_ms), date.fromisoformat(row["closed_through"]) + timedelta(days=1))


def post(
    tx: Tx, *, mchid: str, at_ms: int, day: date, kind: str, amount: int, business_no: str, voucher_no: str
) -> None:
    """Append one movement. amount: fen, positive in the merchant's favour; nothing is written for zero."""
    if amount == 0:
        return
    tx.execute("UPDATE wechat_merchant SET balance_minor = balance_minor + ? WHERE mchid = ?", amount, mchid)
    tx.execute(
        "INSERT INTO wechat_flow (mchid, at_ms, bill_date, kind, amount, balance, business_no, voucher_no)"
        " SELECT mchid, ?, ?, ?, ?, balance_minor, ?, ? FROM wechat_merchant WHERE mchid = ?",
        *(at_ms, day.isoformat(), kind, amount, business_no, voucher_no, mchid),
    )
