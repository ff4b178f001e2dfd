"""The witness: what the hub once told a merchant can neither be lost nor taken back."""

from typing import Any

import pytest

from ops.trials.replay.witness import Witness


def payment(status: str = "requires_action", ident: str = "pay_1", **more: Any) -> dict[str, Any]:
    told = {"object": "payment", "id": ident, "status": status, "amount": 100, "currency": "CNY"}
    return {**told, "merchant_order_id": "1", "amount_captured": 0, "amount_refunded": 0, **more}


def refund(status: str, **more: Any) -> dict[str, Any]:
    return {"object": "refund", "id": "re_1", "payment": "pay_1", "status": status, "amount": 40, **more}


PAID = payment("succeeded", amount_captured=100)


def test_a_life_that_only_goes_forward_contradicts_nothing() -> None:
    witness = Witness()
    for told in (payment("processing"), payment(), PAID, refund("processing"), refund("succeeded")):
        witness.saw(told)
    assert witness.judge([{**PAID, "amount_refunded": 40}, refund("succeeded")]) == []
    assert sorted(witness.told) == ["pay_1", "re_1"]


def test_reserved_money_whose_capture_is_under_way_has_lost_nothing() -> None:
    """As a merchant is told who reads the payment after its gateway was killed in the middle of the capture."""
    witness = Witness()
    for status in ("requires_capture", "processing", "requires_capture", "processing"):
        witness.saw(payment(status))
    witness.saw(PAID)
    assert witness.judge([PAID]) == []


def test_lists_and_other_objects_are_not_what_it_keeps() -> None:
    witness = Witness()
    witness.saw({"object": "list", "data": []})
    witness.saw({"object": "payee", "id": "pye_1"})
    assert witness.told == {}


@pytest.mark.parametrize(
    ("before", "now", "reported"),
    [
        (PAID, payment("processing", amount_captured=100), "was succeeded, now processing"),
        (PAID, payment("failed", amount_captured=100), "was succeeded, now failed"),
        (payment("failed"), PAID, "was failed, now succeeded"),
        (payment("expired"), payment("canceled"), "was expired, now canceled"),
        (payment("requires_action"), payment("processing"), "was requires_action, now processing"),
        (payment("requires_capture"), payment("requires_action"), "was requires_capture, now requires_action"),
        (PAID, payment("succeeded", amount_captured=99), "amount_captured fell from 100 to 99"),
        ({**PAID, "amount_refunded": 40}, PAID, "amount_refunded fell from 40 to 0"),
        (payment(), payment(amount=101), "amount was 100, now 101"),
        (payment(), payment(currency="GBP"), "currency was CNY, now GBP"),
        (payment(), payment(merchant_order_id="2"), "merchant_order_id was 1, now 2"),
        (refund("succeeded"), refund("failed"), "was succeeded, now failed"),
        (refund("processing"), refund("processing", payment="pay_2"), "payment was pay_1, now pay_2"),
    ],
)
def test_each_step_back_is_reported_whether_told_later_or_listed_in_the_end(
    before: dict[str, Any], now: dict[str, Any], reported: str
) -> None:
    told_later = Witness()
    told_later.saw(before)
    told_later.saw(now)
    listed = Witness()
    listed.saw(before)
    for wrongs in (told_later.judge([now]), listed.judge([now])):
        assert len(wrongs) == 1
        assert reported in wrongs[0]


def test_what_was_acknowledged_and_is_gone_is_reported() -> None:
    witness = Witness()
    witness.saw(PAID)
    assert witness.judge([]) == ["pay_1 was acknowledged as succeeded and is gone"]


def test_what_exists_and_was_never_told_of_was_made_twice() -> None:
    witness = Witness()
    witness.saw(PAID)
    assert witness.judge([PAID, payment(ident="pay_2")]) == ["pay_2 exists and nobody was told of it"]
