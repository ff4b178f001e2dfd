"""What splitting hears: it reads only what the event's model has, and wiring builds it without knowing what it does."""

import ast
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from ops.wiring import joined_events
from splitting.listeners import NAME, SUCCEEDED, PaymentSucceeded

ROOT = Path(__file__).resolve().parents[2]
TOLD: dict[str, Any] = {
    "id": "pay_1", "business_date": "2026-11-24", "amount_captured": 10_000, "channel_fee": 60, "merchant_coupon": 500,
}  # fmt: skip


def test_what_splitting_reads_is_what_the_event_tells() -> None:
    event = joined_events()[SUCCEEDED]
    assert set(PaymentSucceeded.model_fields) <= set(event.payload.__annotations__)
    assert NAME in event.listeners


def test_an_event_of_before_coupons_were_known_has_none() -> None:
    told = {name: value for name, value in TOLD.items() if name != "merchant_coupon"}
    assert PaymentSucceeded.model_validate_json(orjson.dumps(told)).merchant_coupon == 0
    read = PaymentSucceeded.model_validate_json(orjson.dumps(TOLD))
    assert read == PaymentSucceeded(
        business_date=date(2026, 11, 24), amount_captured=10_000, channel_fee=60, merchant_coupon=500
    )


@pytest.mark.parametrize(
    "wrong",
    [{"amount_captured": "10000"}, {"amount_captured": 10_000.0}, {"channel_fee": None}, {"business_date": None}],
)
def test_an_event_that_tells_something_else_is_not_guessed_at(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PaymentSucceeded.model_validate_json(orjson.dumps(TOLD | wrong))


def test_wiring_only_builds() -> None:
    tree = ast.parse((ROOT / "ops" / "wiring.py").read_text("utf-8"))
    named = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    assert not named & {"Work", "Event", "Need"}, "what a listener does stands in its package"
    inner = {
        inside.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inside in ast.walk(node)
        if isinstance(inside, ast.FunctionDef | ast.AsyncFunctionDef) and inside is not node
    }
    assert inner == {"secret"}
