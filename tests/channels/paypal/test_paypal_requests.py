"""What we send to PayPal, byte for byte against tests/golden/paypal, and as PayPal's published schemas want it."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import paypal
from channels.paypal import PayPal, messages
from channels.paypal.messages import Ref
from kernel.env import Request
from kernel.money import Money
from tests.channels.paypal.paypal_rail import (
    AUTH_ID,
    CAPTURE_ID,
    CERT_URL,
    GOLDEN,
    NOW,
    ORDER_ID,
    REFUND_ID,
    Sender,
    capture,
    channel,
    order,
    refund_order,
    settings,
)
from tests.channels.paypal.paypal_schemas import faults

DAY = date(2026, 11, 23)
CREATED, HELD = f"order:{ORDER_ID}", f"auth:{ORDER_ID}:{AUTH_ID}"
HOLD = order(authorize_only=True, channel_ref=HELD)
REQUESTS: dict[str, Callable[[PayPal], Request | None]] = {
    "request_create": lambda rail: rail.pay_request(order()),
    "request_create_hold": lambda rail: rail.pay_request(order(authorize_only=True, return_url=None)),
    "request_query_before_paypal_answered": lambda rail: rail.query_request(order()),
    "request_query_order": lambda rail: rail.query_request(order(channel_ref=CREATED)),
    "request_query_hold": lambda rail: rail.query_request(HOLD),
    "request_query_capture": lambda rail: rail.query_request(order(channel_ref=CAPTURE_ID)),
    "request_proceed_capture": lambda rail: rail.proceed_request(order(channel_ref=CREATED)),
    "request_proceed_authorize": lambda rail: rail.proceed_request(order(channel_ref=CREATED, authorize_only=True)),
    "request_close": lambda rail: rail.close_request(order(channel_ref=CREATED)),
    "request_capture_part": lambda rail: rail.capture_request(HOLD, Money(1000, "USD")),
    "request_void": lambda rail: rail.void_request(HOLD),
    "request_refund": lambda rail: rail.refund_request(refund_order()),
    "request_refund_query": lambda rail: rail.refund_query_request(refund_order(channel_ref=REFUND_ID)),
    "request_bill": lambda rail: rail.bill_request(DAY),
    "request_certificate": lambda rail: rail.trusted_keys_request(Sender().notice("x", capture())),
}
SCHEMAS = {
    "request_create": ("checkout_orders_v2", "order_request"),
    "request_create_hold": ("checkout_orders_v2", "order_request"),
    "request_capture_part": ("payments_payment_v2", "capture_request"),
    "request_refund": ("payments_payment_v2", "refund_request"),
}


def as_sent(request: Request) -> str:
    """Show a request as it goes over the wire, for people to read."""
    headers = "".join(f"{name}: {value}\n" for name, value in request.headers.items())
    return f"{request.method} {request.url}\n{headers}\n{request.body.decode()}\n"


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_sent_is_what_the_golden_file_shows(name: str) -> None:
    rail = channel()
    request = REQUESTS[name](rail)
    assert request is not None
    assert as_sent(rail.sign(request, now=NOW, nonce="n")) == (GOLDEN / f"{name}.txt").read_text()


def test_the_login_is_what_the_golden_file_shows() -> None:
    request = channel().login_request(now=NOW.replace(year=2027))
    assert request is not None
    assert as_sent(request) == (GOLDEN / "request_login.txt").read_text()


def test_asking_before_paypal_answered_is_the_same_message_once_more() -> None:
    rail = channel()
    assert rail.query_request(order()) == rail.pay_request(order())
    assert rail.refund_query_request(refund_order()) == rail.refund_request(refund_order())


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_sent_is_as_paypals_schema_says(name: str) -> None:
    request = REQUESTS[name](channel())
    assert request is not None
    assert faults(*SCHEMAS[name], json.loads(request.body)) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"intent": "SALE"}, "/intent 'SALE' is none of"),
        ({"purchase_units": []}, "/purchase_units has 0 items"),
        ({"purchase_unit": [{}]}, "/purchase_unit is not known to PayPal"),
        ({"purchase_units": [{"amount": {"value": "1"}}]}, "/purchase_units/0/amount/currency_code is missing"),
        ({"purchase_units": [{"amount": {"currency_code": "USD", "value": 1}}]}, "value is no string"),
        ({"purchase_units": [{"custom_id": "x" * 128}]}, "/purchase_units/0/custom_id has 128 characters"),
    ],
)
def test_a_message_that_is_not_as_the_schema_says_would_be_noticed(change: dict[str, Any], complaint: str) -> None:
    body = json.loads(messages.order_body(order())) | change
    assert any(complaint in fault for fault in faults("checkout_orders_v2", "order_request", body))


# ---- numbers ---------------------------------------------------------------------------------------------------------


def test_each_message_has_a_request_id_of_its_own_that_never_changes() -> None:
    rail = channel()
    requests = [
        rail.pay_request(order()),
        rail.proceed_request(order(channel_ref=CREATED)),
        rail.proceed_request(order(channel_ref=CREATED, authorize_only=True)),
        rail.capture_request(HOLD, Money(1000, "USD")),
        rail.refund_request(refund_order()),
    ]
    ids = [request.headers["PayPal-Request-Id"] for request in requests]
    assert len(set(ids)) == len(ids)
    assert all(len(name) <= 108 for name in ids)
    later = replace(order(channel_ref=CREATED), expires_at=NOW, return_url=None)
    assert rail.proceed_request(later).headers["PayPal-Request-Id"] == ids[1]
    assert rail.capture_request(HOLD, Money(1, "USD")).headers["PayPal-Request-Id"] == ids[3], "captured once, whatever"


@pytest.mark.parametrize(
    "ref", [Ref(), Ref(order=ORDER_ID), Ref(order=ORDER_ID, authorization=AUTH_ID), Ref(capture=CAPTURE_ID)]
)
def test_what_is_stored_of_paypals_numbers_is_read_back(ref: Ref) -> None:
    assert Ref.parse(str(ref) if ref != Ref() else None) == ref


@pytest.mark.parametrize(
    "strange", ["order:../x", "auth:X", "auth:X:y", "capture:3C67", "3C67/refund", "order:a b", "é"]
)
def test_a_number_we_never_stored_builds_no_address(strange: str) -> None:
    with pytest.raises(ValueError, match="reference of PayPal"):
        channel().query_request(order(channel_ref=strange))


def test_a_payment_that_was_never_captured_is_asked_to_be_refunded_at_an_address_that_is_nothing() -> None:
    for ref in (None, CREATED, HELD):
        request = channel().refund_request(refund_order(payment_channel_ref=ref))
        assert request.url == "https://api-m.paypal.com/v2/payments/captures/NONE/refund"


# ---- amounts and words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minor", "currency", "value"),
    [
        (1234, "USD", "12.34"),
        (1, "CNY", "0.01"),
        (100, "EUR", "1.00"),
        (1234, "JPY", "1234"),
        (1200, "TWD", "12"),
        (1234, "TWD", "12.34"),  # PayPal refuses it: no decimals of TWD there
        (99_999_999, "HUF", "999999.99"),
        (50_000, "HUF", "500"),
    ],
)
def test_amounts_are_written_as_paypal_wants_them(minor: int, currency: str, value: str) -> None:
    assert messages.amount(Money(minor, currency)) == {"currency_code": currency, "value": value}


@given(st.integers(1, 10**13), st.sampled_from(sorted(PayPal.capabilities.currencies)))
def test_an_amount_that_was_written_is_read_as_itself(minor: int, currency: str) -> None:
    written = messages.amount(Money(minor, currency))
    assert messages.money(written) == Money(minor, currency)
    assert re.fullmatch(r"[0-9]+([.][0-9]{2})?", written["value"])


def test_the_description_fits_however_long_it_is_and_whatever_it_says() -> None:
    for said in ("茶" * 200, "a" * 200, "\x00\n\t", "", "😀" * 60, "ends with a space " * 20):
        body = json.loads(messages.order_body(order(description=said)))
        assert faults("checkout_orders_v2", "order_request", body) == []
        shown = body["purchase_units"][0]["description"]
        assert 1 <= len(shown.encode()) <= 127
        assert shown.isprintable()


def test_a_refund_without_a_reason_says_none() -> None:
    assert "note_to_payer" not in json.loads(messages.refund_body(refund_order(reason="")))


# ---- settings --------------------------------------------------------------------------------------------------------


def test_settings_that_lack_something_say_what() -> None:
    for change, complaint in (
        ({"client_secret": None}, "client_secret"),
        ({"webhook_root_cert_file": None}, "webhook_root_cert"),
        ({"base_url": "https://api-m.paypal.com/v2"}, "base_url"),
        ({"base_url": "ftp://api-m.paypal.com"}, "base_url"),
        ({"webhook_root_cert": "no certificate"}, "PEM"),
    ):
        with pytest.raises(ValueError, match=complaint):
            paypal.build(settings(**change))
    for name in ("client_id", "merchant_id"):
        with pytest.raises(ValueError, match=f"{name} is not given"):
            paypal.build({key: value for key, value in settings().items() if key != name})


def test_the_certificate_is_fetched_at_paypals_address_alone() -> None:
    rail = channel()
    for url in (
        "https://api.paypal.com.example/certs/1",
        "https://paypal.com.example/certs/1",
        "https://evilpaypal.com/certs/1",
        "http://api.paypal.com/certs/1",
        "https://user@api.paypal.com/certs/1",
        "https://api.paypal.com@evil.example/certs/1",
        "https://evil.example\\.paypal.com/certs/1",
        "https://api.paypal.com:8443/certs/1",
        "https://api.paypal.com/certs/1#x.paypal.com",
        "https://api.paypal.com",
        "file:///etc/passwd",
        "//api.paypal.com/x",
        "https://[::1/x",
    ):
        message = Sender(cert_url=url).notice("PAYMENT.CAPTURE.COMPLETED", capture())
        assert rail.trusted_keys_request(message) is None, url
    for url in (CERT_URL, "https://api-m.paypal.com/certs/1", "https://api.sandbox.paypal.com:443/certs/1"):
        message = Sender(cert_url=url).notice("PAYMENT.CAPTURE.COMPLETED", capture())
        request = rail.trusted_keys_request(message)
        assert request is not None
        assert request.url == url
    assert rail.trusted_keys_request() is None
