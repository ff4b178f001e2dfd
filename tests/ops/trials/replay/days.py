"""A small day that is as it must be, made by hand, for tests that spoil it."""

from datetime import UTC, date, datetime

from ops.trials.replay.day import Day
from ops.trials.replay.faults import Planted
from ops.trials.replay.orders import Invoice
from ops.trials.replay.rails import Part, RailAccount
from ops.trials.replay.trade import Ledger, Order, Paid, Refunded
from ops.trials.replay.trouble import Plan
from splitting.store import PayeeTotal

AT = datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
ON = "2010-12-01"
MAIN = RailAccount(Part("wechat", "main", 60, "13"), "1900000001", frozenset({"qr", "barcode"}), "WX1900000001")
OTHER = RailAccount(Part("alipay", "other", 55, "28"), "2088000001", frozenset({"qr", "barcode"}), "AP2088000001")
QUIET = Plan(cut=None, slow=None, lossy=None)


def invoice(number: str, minor: int) -> Invoice:
    return Invoice(number, "17850", AT, minor, {"8": minor * 100} if minor > 0 else {})


def a_good_day() -> Day:
    """Return a day on which 100.00 came in, 20.00 went back, and 5.00 of a stranger's cancellation was refused."""
    order, second, back, stranger = invoice("1", 7_000), invoice("2", 3_000), invoice("C3", -2_000), invoice("C4", -500)
    ledger = Ledger(
        payments=[
            Paid("pay_1", "1-1", "main", 7_000, 5_000, 42, ON, 1),
            Paid("pay_2", "1-2", "main", 3_000, 3_000, 18, ON),
        ],
        refunds=[Refunded("re_1", "main", 2_000, ON)],
        orders=[
            Order("1", 506, "qr", "auto", ("main",), "paid", "before"),
            Order("2", 506, "qr", "auto", ("main",), "paid", "before"),
        ],
    )
    ledger.end(order, "paid")
    ledger.end(second, "paid")
    ledger.end(back, "refunded")
    ledger.refuse(stranger, "nobody_paid_for_it")
    return Day(
        [order, second, back, stranger],
        "CNY",
        ledger,
        QUIET,
        [MAIN, OTHER],
        book=1,
        merchant="mer_1",
        captured_minor=10_000,
        refunded_minor=2_000,
        fee_minor=48,
        shares=[
            PayeeTotal("pye_1", "supplier 8", "supplier", 9_640, 1_928, 7_712),
            PayeeTotal("pye_0", "platform", "platform", 300, 60, 240),
        ],
        settled_minor=7_952,
        dates=[date(2010, 12, 1)],
        faults_asked=1,
        planted=[Planted("bill_row_missing", "1-2", "missing_at_channel")],
        found=[("1-2", "missing_at_channel")],
        acknowledged=3,
        invariants={"checked": 14, "broken": 0},
        seconds=1.5,
    )
