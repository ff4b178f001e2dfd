"""Cancellations against a hub made by hand: which payments they are taken from, and why some are refused."""

from dataclasses import replace
from typing import Any

import pytest

from ops.trials.replay import trade
from ops.trials.replay.faults import Disturber
from ops.trials.replay.orders import Invoice
from ops.trials.replay.rails import Payers, RailAccount
from ops.trials.replay.trade import MOST_REFUNDS, RUNG_UP_AGAIN, Trader
from ops.trials.replay.trouble import Trouble
from ops.trials.replay.world import Refused, World
from tests.ops.trials.replay.days import AT, MAIN, QUIET


class HandMadeHub(World):
    """Takes every payment at once and gives back what is asked, within what was paid.

    ends: how the first payments end instead.
    """

    def __init__(self, *ends: dict[str, Any]) -> None:
        self.ends = list(ends)
        self.refunds: list[tuple[str, int]] = []  # (order, minor units)
        self.keys: list[str] = []
        self._orders: dict[str, dict[str, Any]] = {}

    async def hub(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> dict[str, Any]:
        if key is not None:
            assert key not in self.keys
            self.keys.append(key)
        if path.endswith("/refunds"):
            order = path.split("/")[3]
            self.refunds.append((order, body["amount"]))
            return {"id": f"re_{len(self.refunds)}", "status": "succeeded", "business_date": "2010-12-01"}
        if method == "POST":
            if body["amount"] <= 0:
                raise Refused(422, {"code": "amount_not_positive"})
            self._orders[body["merchant_order_id"]] = body
        order = body["merchant_order_id"] if body else path.split("/")[3]
        amount = self._orders[order]["amount"]
        instead = self.ends.pop(0) if self.ends and method == "GET" else {}
        return {
            "id": order,
            "status": "succeeded",
            "amount_captured": amount,
            "channel_fee": 0,
            "merchant_coupon": 0,
            "business_date": "2010-12-01",
            "won_attempt": 1,
            "attempts": [
                {"number": 1, "channel_account": "main", "reference": f"1-{order}", "status": "confirmed"},
            ],
        } | instead

    async def control(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        return {"trades": []}


async def played(
    *orders: tuple[str, int] | tuple[str, int, str], hub: HandMadeHub | None = None, account: RailAccount = MAIN
) -> tuple[Trader, HandMadeHub]:
    """Play invoices of (number, minor units, customer 17850 where not said) one after the other."""
    invoices = [
        Invoice(number, customer[0] if customer else "17850", AT, minor, {"8": 1} if minor > 0 else {})
        for number, minor, *customer in orders
    ]
    hub, steps = hub or HandMadeHub(), []
    trouble = Trouble(hub, QUIET, [account], [], invoices, seed=1)
    trader = Trader(
        hub, payers=Payers(hub, [account], run_id="run"), payees={"8": "pye_8"}, platform="pye_0", currency="CNY",
        run_id="run", seed=1, disturber=Disturber(hub, [account], on=False), trouble=trouble,
        step=lambda: steps.append(1),
    )  # fmt: skip
    await trouble.run()
    await trader.play(invoices)
    assert len(steps) == len(trader.ledger.ended) == len(invoices)
    return trader, hub


async def test_a_cancellation_is_taken_from_the_latest_payments_that_cover_it() -> None:
    trader, hub = await played(("1", 500), ("2", 300), ("C3", -100), ("C4", -400), ("C5", -300))
    assert hub.refunds == [("2", 100), ("2", 200), ("1", 200), ("1", 300)]
    assert [payment.left_minor for payment in trader.ledger.payments] == [0, 0]
    assert [refund.minor for refund in trader.ledger.refunds] == [100, 200, 200, 300]


@pytest.mark.parametrize(
    ("orders", "reason"),
    [
        ([("1", 500), ("C2", 100)], "cancels_nothing"),
        ([("1", 500), ("C2", 0)], "cancels_nothing"),
        ([("1", 500), ("C2", -100, "")], "no_customer"),
        ([("1", 500), ("C2", -100, "17851")], "nobody_paid_for_it"),
        ([("1", 500), ("C2", -501)], "more_than_was_paid"),
        ([("1", 500), ("3", -5)], "amount_not_positive"),
    ],
)
async def test_what_cannot_be_given_back_is_refused_with_its_reason(orders: list[Any], reason: str) -> None:
    trader, hub = await played(*orders)
    assert hub.refunds == []
    assert {why: len(found) for why, found in trader.ledger.refused.items()} == {reason: 1}


async def test_a_payment_that_has_had_all_its_refunds_is_left_alone() -> None:
    many = [(f"C{n}", -1) for n in range(100, 100 + MOST_REFUNDS)]
    trader, hub = await played(("1", 500), ("2", 300), *many, ("C300", -500), ("C301", -1))
    assert hub.refunds == [("2", 1)] * MOST_REFUNDS + [("1", 500)]
    assert list(trader.ledger.refused) == ["more_than_was_paid"]


async def test_keys_say_whose_they_are_whatever_the_invoice_is_called() -> None:
    _, hub = await played(("发票 1\n", 500), ("C发票 1\n", -100))
    assert all(key.isascii() and key.isprintable() and " " not in key for key in hub.keys)
    assert len(hub.keys) == 2


CANCELED = {"status": "canceled"}
UNREACHED = {"status": "failed", "failure": {"code": "channel_unreachable"}}


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        ([], "paid"),
        ([CANCELED], "paid"),
        ([CANCELED, UNREACHED], "paid"),
        ([CANCELED, UNREACHED, CANCELED], "canceled"),
    ],
)
async def test_a_sale_at_the_till_that_came_to_nothing_is_rung_up_again(
    ends: list[dict[str, Any]], outcome: str
) -> None:
    """The payer's time may run out while a gateway is restarted: the goods are still on the counter."""
    till = replace(MAIN, methods=frozenset({"barcode"}))
    trader, hub = await played(("1", 500), hub=HandMadeHub(*ends), account=till)
    assert trader.ledger.ended == {"1": outcome}
    assert trader.ledger.rung_up_again == min(len(ends), len(RUNG_UP_AGAIN))
    assert len(set(hub.keys)) == trader.ledger.rung_up_again + 1
    (order,) = trader.ledger.orders
    assert (order.outcome, order.other_wallet) == (outcome, UNREACHED in ends)


class ManyLost(HandMadeHub):
    """Leaves payments undecided for as long as a lost message waits for them at the account."""

    def __init__(self) -> None:
        super().__init__()
        self.patience_s = 0.5
        named = {"rail": MAIN.channel, "match": {"merchant": MAIN.merchant, "op": "create"}, "times": 1, "fired": 0}
        self.lost = {f"fault_{n}": {**named, "fault_id": f"fault_{n}"} for n in range(3)}

    async def hub(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> dict[str, Any]:
        told = await super().hub(method, path, body, key=key)
        if self.lost:
            return {**told, "status": "processing", "attempts": [{**told["attempts"][0], "status": "unknown"}]}
        return told

    async def control(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        if method == "DELETE":
            del self.lost[path.rpartition("/")[2]]
        return {"faults": list(self.lost.values()), "trades": []}


async def test_an_order_does_not_lose_message_after_message_until_it_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Faults on requests pile up, and a hub asks ever more rarely: the day would wait for minutes, or in vain."""
    monkeypatch.setattr(trade, "IN_DOUBT_S", 0.0)
    hub = ManyLost()
    trader, _ = await played(("1", 500), hub=hub)
    assert trader.ledger.ended == {"1": "paid"}
    assert hub.lost == {}
