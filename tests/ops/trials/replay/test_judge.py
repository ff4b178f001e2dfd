"""The judge of a day: a good day has no wrongs, and each wrong that is planted is reported."""

from collections.abc import Callable
from typing import Any

import pytest

from ops.trials.replay.day import Day
from ops.trials.replay.faults import Planted
from ops.trials.replay.patience import PromiseBroken
from ops.trials.replay.trade import Order
from ops.trials.replay.trouble import Plan
from tests.ops.trials.replay.days import MAIN, a_good_day, invoice


def trade(reference: str, total: int, *, charged: int = 1, back: int = 0, status: str = "SUCCESS") -> dict[str, Any]:
    """Return a trade as the sandbox's control API tells it."""
    refunds = [{"order": "r", "amount": back, "status": status}] if back else []
    return {"order": reference, "paid": total, "charged_count": charged, "refunds": refunds}


def test_a_good_day_has_no_wrongs() -> None:
    day = a_good_day()
    day.hold_against(MAIN, [trade("1-1", 7_000, back=2_000), trade("1-2", 3_000), trade("1-3", 900, charged=0)])
    assert day.wrongs() == []
    summary = day.summary()
    assert summary["captured_minor"] - summary["refunded_minor"] + summary["refused_minor"] == 7_500
    assert summary["file_net_minor"] == 7_500
    assert sum(summary["shares_minor"].values()) == 8_000
    assert summary["refused"] == {"nobody_paid_for_it": 1}


def lose_an_invoice(day: Day) -> None:
    del day.ledger.ended["2"]


def find_twice(day: Day) -> None:
    day.found.append(day.found[0])


def find_as_another_kind(day: Day) -> None:
    day.found[:] = [("1-2", "amount_differs")]


def find_another_beside_it(day: Day) -> None:
    day.found.append(("1-2", "amount_differs"))


@pytest.mark.parametrize(
    ("spoil", "reported"),
    [
        (
            lambda day: setattr(day, "captured_minor", 9_999),
            [
                "− refunded 20.00 CNY + refused -5.00 CNY comes to 74.99 CNY, the file's net is 75.00 CNY",
                "shares: they sum to 80.00 CNY, captured less refunded is 79.99 CNY",
                "told that 100.00 CNY was captured, the books say 99.99 CNY",
            ],
        ),
        (
            lambda day: setattr(day, "refunded_minor", 2_001),
            [
                "the file's net is",
                "shares: they sum to 80.00 CNY",
                "told that 20.00 CNY was refunded, the books say 20.01",
            ],
        ),
        (lambda day: setattr(day, "fee_minor", 47), ["shares: they sum to 79.99 CNY"]),
        (
            lambda day: day.shares.pop(),
            ["shares: they sum to 77.60 CNY", "the bank paid 79.52 CNY, the payees' books say 77.12 CNY"],
        ),
        (
            lambda day: setattr(day, "settled_minor", 7_951),
            ["the bank paid 79.51 CNY, the payees' books say 79.52 CNY"],
        ),
        (lambda day: day.ledger.payments.pop(), ["they have 1 paid orders, customers were told of 2", "70.00 CNY"]),
        (lambda day: day.ledger.refunds.clear(), ["told that 0.00 CNY was refunded, the books say 20.00 CNY"]),
        (lambda day: day.invariants.clear(), ["no invariant was checked"]),
        (lambda day: day.ledger.refused.clear(), ["the file's net is"]),
        (lose_an_invoice, ["1 invoices did not end: 2", "customers were told of 1"]),
        (
            lambda day: day.found.clear(),
            ["missed: bill_row_missing was planted on 1-2 (bank) and not found as missing_at_channel"],
        ),
        (find_as_another_kind, ["missed: bill_row_missing was planted on 1-2", "invented: amount_differs on 1-2"]),
        (lambda day: day.planted.clear(), ["invented: missing_at_channel on 1-2"]),
        (find_twice, ["invented: missing_at_channel on 1-2"]),
        (find_another_beside_it, ["invented: amount_differs on 1-2"]),
        (lambda day: day.charged_twice.append("1-1"), ["charged twice: 1-1"]),
        (lambda day: day.unknown_charges.append("1-9"), ["charged, unknown to the hub: 1-9"]),
        (lambda day: day.acknowledged_lost.append("pay_1 is gone"), ["acknowledged, but pay_1 is gone"]),
        (lambda day: day.broken.append("journal_balances: book 1"), ["journal_balances: book 1"]),
    ],
)
def test_each_wrong_is_reported(spoil: Callable[[Day], Any], reported: list[str]) -> None:
    day = a_good_day()
    spoil(day)
    wrongs = day.wrongs()
    assert len(wrongs) == len(reported), wrongs
    for part, wrong in zip(reported, wrongs, strict=True):
        assert part in wrong
    assert day.summary()["wrongs"] == wrongs


def test_two_faults_on_two_records_need_two_discrepancies() -> None:
    day = a_good_day()
    day.planted.append(Planted("bill_row_missing", "1-1", "missing_at_channel"))
    [wrong] = day.wrongs()
    assert wrong.startswith("missed: bill_row_missing was planted on 1-1")
    day.found.append(("1-1", "missing_at_channel"))
    assert day.wrongs() == []


@pytest.mark.parametrize(
    ("trades", "reported"),
    [
        ([trade("1-1", 7_000, charged=2), trade("1-2", 3_000)], "charged twice: 1-1 on main, 2 times, 70.00 CNY"),
        ([trade("1-1", 7_000), trade("1-2", 3_000, charged=0)], "nobody was charged: 1-2"),
        ([trade("1-1", 7_000)], "nobody was charged: 1-2"),
        ([trade("1-1", 7_000), trade("1-2", 3_000), trade("1-9", 800)], "unknown to the hub: 1-9"),
        (
            [trade("1-1", 7_000), trade("1-2", 3_000), trade("1-9", 800, back=799)],
            "1-9 on main, 8.00 CNY charged, 7.99 CNY given back",
        ),
        (
            [trade("1-1", 7_000), trade("1-2", 3_000), trade("1-9", 800, back=800, status="ABNORMAL")],
            "unknown to the hub: 1-9",
        ),
    ],
)
def test_what_the_channel_knows_otherwise_is_reported(trades: list[dict[str, Any]], reported: str) -> None:
    day = a_good_day()
    day.hold_against(MAIN, trades)
    [wrong] = day.wrongs()
    assert reported in wrong


def test_a_charge_that_went_back_whole_is_no_wrong() -> None:
    day = a_good_day()
    day.hold_against(MAIN, [trade("1-1", 7_000), trade("1-2", 3_000), trade("1-9", 800, back=800)])
    assert day.wrongs() == []


def test_an_invoice_cannot_end_twice() -> None:
    day = a_good_day()
    with pytest.raises(PromiseBroken, match="ended twice"):
        day.ledger.end(invoice("1", 7_000), "paid")


def during(how: str, *accounts: str, method: str = "qr", other_wallet: bool = False) -> Order:
    return Order("n", 12 * 60 + 5, method, "auto", accounts, how, "during", other_wallet)


def test_what_a_cut_did_is_told_apart() -> None:
    day = a_good_day()
    assert day.cut() is None
    day.plan = Plan(cut="alipay", slow=None, lossy=None)
    day.ledger.orders += [
        during("paid", "other", "main"),  # begun on the cut rail, paid on another
        during("paid", "main"),  # sent elsewhere at once
        during("paid", "other"),  # waited
        during("paid", "main", method="card"),  # nothing to do with the cut
        during("paid", "main", method="barcode", other_wallet=True),
        during("amount_not_positive"),  # refused for what it was
        during("channel_unreachable", "other", method="barcode"),
        Order("late", 14 * 60, "qr", "auto", ("other",), "expired", "after"),
    ]
    cut = day.cut()
    assert cut is not None
    assert (cut["orders_during"], cut["routed_away"], cut["failed_over"], cut["waited"]) == (7, 3, 1, 1)
    assert (cut["other_wallet"], cut["failed_because_of_cut"]) == (1, 1)
    assert cut["failed_share"] == round(1 / 9, 5)


def test_what_each_rail_took_and_cost_adds_up() -> None:
    day = a_good_day()
    day.ledger.orders.append(during("paid", "other", "main"))
    main, other = day.rails()
    assert (main["paid"], main["captured_minor"], main["fee_minor"], main["refunded_minor"]) == (2, 10_000, 60, 2_000)
    assert main["cost_per_10k"] == 60
    assert (other["attempts"], other["failed_over"], other["paid"], other["cost_per_10k"]) == (1, 1, 0, 0)
