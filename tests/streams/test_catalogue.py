"""The event catalogue: what it is made of, and that what is published is as it says."""

import pytest
from pydantic import TypeAdapter

from ops.wiring import joined_events
from tests.documented import event_faults, faults

A_REFUND = {
    "object": "refund",
    "id": "re_" + "0" * 26,
    "payment": "pay_" + "0" * 26,
    "amount": 1,
    "currency": "CNY",
    "status": "succeeded",
    "channel": None,
    "channel_fee_returned": 0,
    "merchant_coupon": 0,
    "failure_code": None,
    "business_date": "2026-11-24",
}


@pytest.mark.parametrize("type_", joined_events())
def test_every_event_says_what_it_is_and_has_a_model_with_a_version(type_: str) -> None:
    found = joined_events()[type_]
    schema = TypeAdapter(found.payload).json_schema()
    assert found.says
    assert found.version >= 1
    assert schema["properties"]["object"]["const"]


def test_an_event_as_its_model_says_has_no_fault() -> None:
    assert event_faults({"type": "refund.succeeded", "data": A_REFUND}) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"amount": "1"}, "$.amount"),
        ({"status": "gone"}, "$.status"),
        ({"business_date": "tomorrow"}, "$.business_date"),
        ({"payer": "somebody"}, "payer"),
        ({"id": "pay_1"}, "$.id"),
    ],
)
def test_an_event_that_is_not_as_its_model_says_is_noticed(change: dict[str, str], fault: str) -> None:
    (found,) = event_faults({"type": "refund.succeeded", "data": {**A_REFUND, **change}})
    assert fault in found


def test_a_member_that_is_missing_and_a_type_that_is_none_are_noticed() -> None:
    short = {name: value for name, value in A_REFUND.items() if name != "currency"}
    assert "currency" in event_faults({"type": "refund.succeeded", "data": short})[0]
    assert event_faults({"type": "refund.mislaid", "data": A_REFUND}) == ["there is no event refund.mislaid"]


def test_a_model_that_lets_others_in_is_left_open() -> None:
    from gateway.objects import NextActionOut

    assert faults(NextActionOut, {"type": "jsapi", "package": "x"}) == []
    assert faults(NextActionOut, {"package": "x"}) != []
