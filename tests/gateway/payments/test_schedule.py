"""When an open attempt is asked about, and when it is given up."""

from datetime import UTC, datetime, timedelta

import pytest

from channels.contract import Capabilities, Method
from gateway.payments import schedule
from gateway.tables import Attempt, Payment

AT = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
EXPIRES = AT + timedelta(hours=2)
RAIL = Capabilities(methods=frozenset({Method.QR, Method.BARCODE}), currencies=frozenset({"CNY"}))


def payment(method: Method) -> Payment:
    return Payment(1, "pay_1", "1", 100, "CNY", method, "tea", None, "processing", 1, 0, AT, AT, EXPIRES)


def attempt(method: Method) -> Attempt:
    return Attempt(1, "pay_1", 1, "main", "wechat", 60, method, None, None, "pending", AT, AT, AT)


@pytest.mark.parametrize(
    ("method", "after", "given_up"),
    [
        (Method.BARCODE, timedelta(seconds=44), False),
        (Method.BARCODE, timedelta(seconds=45), True),
        (Method.QR, timedelta(hours=1), False),
        (Method.QR, timedelta(hours=2), True),
    ],
)
def test_a_payer_has_the_rails_time_to_type_a_password_and_the_orders_to_scan(
    method: Method, after: timedelta, given_up: bool
) -> None:
    assert schedule.should_give_up(RAIL, payment(method), attempt(method), AT + after) is given_up


def test_a_fast_clock_shortens_the_waits_between_questions_and_not_the_payers_time() -> None:
    requested_at = AT + timedelta(seconds=10)
    wait = schedule.query_wait(RAIL, attempt(Method.BARCODE), 0.02)
    assert wait == timedelta(seconds=0.1)
    assert not schedule.should_give_up(RAIL, payment(Method.BARCODE), attempt(Method.BARCODE), requested_at + wait)


@pytest.mark.parametrize(
    ("requested_at", "due"),
    [
        (AT, AT + timedelta(minutes=5)),
        (EXPIRES - timedelta(minutes=1), EXPIRES),
        (EXPIRES, EXPIRES + timedelta(minutes=5)),
    ],
)
def test_an_order_is_asked_about_when_it_runs_out_at_the_latest(requested_at: datetime, due: datetime) -> None:
    assert schedule.next_query(payment(Method.QR), timedelta(minutes=5), requested_at) == due
