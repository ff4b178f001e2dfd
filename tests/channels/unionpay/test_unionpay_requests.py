"""What we send, byte for byte, against tests/golden/unionpay; and that each signature is one."""

import hashlib
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st

from channels import Method, unionpay
from channels.unionpay import UnionPay, messages
from kernel.env import Request
from kernel.ids import base36, parse_reference
from kernel.ids import reference as reference_of
from kernel.money import Money
from tests.channels.unionpay.unionpay_rail import (
    BASE_URL,
    CERT_ID,
    GOLDEN,
    KEYS,
    MER_ID,
    NOW,
    ORDER_ID,
    TXN_TIME,
    channel,
    held_order,
    order,
    refund_order,
    settings,
)

WHOLE = refund_order(amount=Money(1234, "CNY"))
REQUESTS: dict[str, Callable[[UnionPay], Request]] = {
    "request_app": lambda rail: rail.pay_request(order(Method.APP)),
    "request_app_hold": lambda rail: rail.pay_request(order(Method.APP, authorize_only=True)),
    "request_query": lambda rail: rail.query_request(order()),
    "request_query_of_hold": lambda rail: rail.query_request(held_order()),
    "request_close": lambda rail: rail.close_request(order()),
    "request_capture": lambda rail: rail.capture_request(held_order(), Money(1000, "CNY")),
    "request_void": lambda rail: rail.void_request(held_order()),
    "request_refund": lambda rail: rail.refund_request(refund_order()),
    "request_undo": lambda rail: rail.refund_request(WHOLE),
    "request_refund_query": lambda rail: rail.refund_query_request(refund_order()),
    "request_bill": lambda rail: rail.bill_request(date(2026, 11, 23)),
}


def fields(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True))


def as_sent(request: Request) -> str:
    """Show a request as it goes over the wire, for people to read: one field a line."""
    headers = "".join(f"{name}: {value}\n" for name, value in request.headers.items())
    return f"{request.method} {request.url}\n{headers}\n{request.body.decode().replace('&', '&' + chr(10))}\n"


def require_signed(sent: dict[str, str]) -> None:
    """Fail unless a form is signed by the merchant's key over the hexadecimal hash of all its other fields."""
    text = "&".join(f"{name}={sent[name]}" for name in sorted(sent) if name != "signature")
    digits = hashlib.sha256(text.encode()).hexdigest().encode()
    key = serialization.load_pem_private_key((KEYS / "merchant.pem").read_bytes(), None).public_key()
    key.verify(b64decode(sent["signature"]), digits, padding.PKCS1v15(), hashes.SHA256())  # type: ignore
    assert (sent["merId"], sent["certId"]) == (MER_ID, CERT_ID)
    assert (sent["version"], sent["signMethod"], sent["encoding"]) == ("5.1.0", "01", "UTF-8")
    assert all(sent.values()), "an empty field is not sent, as it is not signed"


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_sent_is_what_the_golden_file_shows(name: str) -> None:
    rail = channel()
    signed = rail.sign(REQUESTS[name](rail), now=NOW, nonce="")
    assert as_sent(signed) == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", REQUESTS)
def test_the_signature_is_over_the_hash_of_the_fields_as_they_travel(name: str) -> None:
    rail = channel()
    require_signed(fields(rail.sign(REQUESTS[name](rail), now=NOW, nonce="")))


def test_signing_adds_nothing_but_number_and_signature_and_a_time_where_there_is_none() -> None:
    rail = channel()
    for make in REQUESTS.values():
        asked = make(rail)
        before, after = fields(asked), fields(rail.sign(asked, now=NOW, nonce=""))
        assert after.keys() - before.keys() == {"certId", "signature"} | ({"txnTime"} - before.keys())
        assert {name: after[name] for name in before} == before
    asked = rail.bill_request(date(2026, 11, 23))
    assert fields(rail.sign(asked, now=NOW, nonce=""))["txnTime"] == "20261124163000"


@pytest.mark.parametrize(("method", "device"), [(Method.PAGE, "07"), (Method.H5, "08")])
def test_a_page_is_a_form_that_the_payers_browser_carries(method: Method, device: str) -> None:
    rail = channel()
    action = rail.payer_initiated_action(order(method), now=NOW, nonce="").next_action
    assert action is not None
    assert (action["type"], action["url"]) == ("form", f"{BASE_URL}/gateway/api/frontTransReq.do")
    sent = action["fields"]
    require_signed(sent)
    assert (sent["txnType"], sent["channelType"], sent["txnAmt"], sent["currencyCode"]) == ("01", device, "1234", "156")
    assert (sent["orderId"], sent["txnTime"], sent["payTimeout"]) == (ORDER_ID, TXN_TIME, "20261124170000")
    assert (sent["backUrl"], sent["frontUrl"]) == (order().notify_url, order().return_url)


def test_a_page_asked_for_again_is_the_same_page_whenever_that_is() -> None:
    rail = channel()
    first = rail.payer_initiated_action(order(), now=NOW, nonce="a")
    assert rail.payer_initiated_action(order(), now=NOW + timedelta(hours=9), nonce="b") == first


def test_a_stored_form_is_still_what_we_make() -> None:
    action = channel().payer_initiated_action(order(), now=NOW, nonce="").next_action
    assert action is not None
    shown = "".join(f"{name}={value}\n" for name, value in sorted(action["fields"].items()))
    assert shown == (GOLDEN / "request_page_form.txt").read_text()


def test_times_are_written_in_beijing_time_wherever_the_hub_runs() -> None:
    expires_at = datetime(2026, 12, 31, 13, 0, 0, tzinfo=timezone(timedelta(hours=-4)))
    sent = fields(channel().pay_request(order(Method.APP, expires_at=expires_at)))
    assert sent["payTimeout"] == "20270101010000"


def test_a_description_has_nothing_that_parts_fields_and_is_short() -> None:
    sent = fields(channel().pay_request(order(Method.APP, description="a&b={c}[d]\n`e`" + "茶" * 99)))
    assert re.fullmatch(r"a b  c  d *e 茶+", sent["orderDesc"])
    assert 30 <= len(sent["orderDesc"].encode()) <= 32, "UnionPay counts bytes"


@pytest.mark.parametrize("method", [Method.PAGE, Method.H5])
def test_a_page_of_a_shop_that_names_no_way_back_leads_to_our_own_door(method: Method) -> None:
    action = channel().payer_initiated_action(order(method, return_url=None), now=NOW, nonce="").next_action
    assert action is not None
    assert action["fields"]["frontUrl"] == order().notify_url


# ---- refunds and undos -----------------------------------------------------------------------------------------------


def kind_of(**changes: object) -> str:
    return fields(channel().refund_request(replace(WHOLE, **changes)))["txnType"]  # type: ignore[arg-type]


def test_a_whole_payment_is_undone_on_its_own_day_and_refunded_otherwise() -> None:
    evening = datetime(2026, 11, 24, 14, 30, 0, tzinfo=UTC)  # 22:30 in Beijing; the business day turns at 23:00
    assert kind_of() == "31"
    assert kind_of(created_at=evening) == "31"
    assert kind_of(created_at=evening + timedelta(seconds=1)) == "04"
    assert kind_of(created_at=evening + timedelta(hours=10)) == "04", "the next day"
    assert kind_of(amount=Money(1233, "CNY")) == "04"
    assert kind_of(payment_created_at=WHOLE.created_at - timedelta(hours=17)) == "04", "it may be of the day before"


def test_what_has_failed_as_an_undo_is_asked_for_again_as_a_refund() -> None:
    """UnionPay's samples: a few banks take no undo (可能存在极少数银行不支持), all take a refund."""
    assert [kind_of(retry_count=times) for times in (0, 1, 2)] == ["31", "04", "04"]


@pytest.mark.parametrize("held", [None, True])
def test_what_may_have_been_reserved_first_is_never_undone(held: bool | None) -> None:
    assert kind_of(payment_authorized=held) == "04"


def test_a_refund_is_the_same_message_each_time_it_is_sent() -> None:
    rail = channel()
    first = rail.sign(rail.refund_request(WHOLE), now=NOW, nonce="a")
    assert rail.sign(rail.refund_request(WHOLE), now=NOW + timedelta(days=3), nonce="b") == first


def test_a_payment_whose_number_at_unionpay_is_unknown_is_named_by_ours() -> None:
    sent = fields(channel().refund_request(refund_order(payment_channel_ref=None)))
    assert (sent["origOrderId"], sent["origTxnTime"]) == (ORDER_ID, TXN_TIME)
    assert "origQryId" not in sent


# ---- our numbers -----------------------------------------------------------------------------------------------------

BODIES = st.from_regex(r"[0-9a-f]{26}[0-9a-z]?", fullmatch=True)
BOOKS = st.integers(0, 36**4 - 1)


@given(BOOKS, BODIES, st.sampled_from([messages.PAYMENT, messages.CAPTURE, messages.VOID]))
def test_every_reference_has_a_number_at_unionpay_and_comes_back_from_it(book: int, body: str, what: str) -> None:
    ours = f"{base36(book)}-{body}"
    number = messages.order_id(ours, what)
    assert re.fullmatch(r"[0-9A-Za-z]{8,32}", number), "a settlement file shows 32 characters"
    assert messages.reference(number) == ours


def test_our_own_ids_are_such_references() -> None:
    made = reference_of(36**4 - 1, "pay_01937a0b5c00aabbccddeeff00_1")
    assert messages.reference(messages.order_id(made)) == made
    assert parse_reference(made, "pay") is not None


@pytest.mark.parametrize("strange", ["20261124001", "extra0123456789abcdef", "ABCZ0001", "1Z2Z3", "1X23", ""])
def test_a_number_that_is_not_ours_stays_as_it_is(strange: str) -> None:
    assert messages.reference(strange) == strange


@pytest.mark.parametrize(
    "strange", ["1-", "-0123456789", "1-ABCDEFGHIJ", "1-0123_456789", "1-0-123456789", "1-" + "0" * 31]
)
def test_a_reference_that_cannot_be_sent_is_refused_before_anything_is(strange: str) -> None:
    with pytest.raises(ValueError, match="orderId"):
        channel().pay_request(order(Method.APP, reference=strange))


# ---- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"private_key_file": None}, "private_key"),
        ({"root_cert_file": None}, "root_cert"),
        ({"middle_cert_file": str(KEYS / "stranger_certificate.pem")}, "middle_cert"),
        ({"root_cert_file": str(KEYS / "middle_certificate.pem")}, "root_cert"),
        ({"base_url": "https://gateway.95516.com/gateway"}, "base_url"),
        ({"file_url": "ftp://x"}, "file_url"),
        ({"cert_id": "33DDFE"}, "cert_id"),
        ({"mer_id": "7772 9005"}, "mer_id"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(change: dict[str, str | None], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        unionpay.build(settings(**change))


def test_keys_may_stand_in_the_settings_themselves() -> None:
    inline = {
        "private_key": (KEYS / "merchant.pem").read_text(),
        "root_cert": (KEYS / "root_certificate.pem").read_text(),
        "middle_cert": (KEYS / "middle_certificate.pem").read_text(),
    }
    rail = unionpay.build({name: value for name, value in settings().items() if not name.endswith("_file")} | inline)
    assert rail.payer_initiated_action(order(), now=NOW, nonce="") == channel().payer_initiated_action(
        order(), now=NOW, nonce=""
    )
    assert {"private_key"} == unionpay.SECRETS
