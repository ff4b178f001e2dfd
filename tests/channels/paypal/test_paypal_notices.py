"""PayPal's notices: believed with the signature of a certificate that leads to our root, for our webhook, in time."""

import json
import zlib
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st

from channels import BadNotice, Confirmed, Kind, Notice, Pending, Refused, paypal
from channels.paypal import PayPal
from channels.paypal.signing import MAX_KEYS
from kernel.env import Request, Response
from kernel.money import Money
from tests.channels.paypal.paypal_rail import (
    AUTH_ID,
    CAPTURE_ID,
    CERT_URL,
    GOLDEN,
    KEYS,
    MERCHANT_ID,
    NEW_CERT_URL,
    NOW,
    ORDER_ID,
    PAID_AT,
    REFUND_ID,
    WEBHOOK_ID,
    Sender,
    authorization,
    capture,
    channel,
    order,
    refund,
    refund_order,
    settings,
    shown,
    usd,
)
from tests.channels.paypal.test_paypal_outcomes import received

RAIL, OLD, NEW = channel(), Sender(), Sender("notices_new", NEW_CERT_URL)
NOTICE_ID = "WH-8TJ94466AK0404331-8VR08457L76408149"
OF_ORDER = {"supplementary_data": {"related_ids": {"order_id": ORDER_ID}}}
PAID = Notice(Kind.PAYMENT, order().reference, Confirmed(CAPTURE_ID, Money(1234, "USD"), PAID_AT), NOTICE_ID)


def read(message: Response, *, at: datetime = NOW, rail: PayPal = RAIL) -> Notice | None:
    return rail.notice(message, now=at)


def refused(message: Response, *, at: datetime = NOW, rail: PayPal = RAIL) -> str:
    with pytest.raises(BadNotice) as problem:
        rail.notice(message, now=at)
    return problem.value.code


def payment(outcome: Any) -> Notice:
    return Notice(Kind.PAYMENT, order().reference, outcome, NOTICE_ID)


def repaid(outcome: Any) -> Notice:
    return Notice(Kind.REFUND, refund_order().reference, outcome, NOTICE_ID)


EVENTS: list[tuple[str, Any, Notice | None]] = [
    ("CHECKOUT.ORDER.APPROVED", shown("APPROVED"), payment(Pending(channel_ref=f"order:{ORDER_ID}", proceed=True))),
    ("PAYMENT.CAPTURE.COMPLETED", capture(payee={"merchant_id": MERCHANT_ID}), PAID),
    ("PAYMENT.CAPTURE.PENDING", capture("PENDING"), payment(Pending(channel_ref=CAPTURE_ID))),
    ("PAYMENT.CAPTURE.DENIED", capture("DECLINED"), payment(Refused("DECLINED"))),
    ("PAYMENT.CAPTURE.DECLINED", capture("DECLINED"), payment(Refused("DECLINED"))),
    (
        "PAYMENT.AUTHORIZATION.CREATED",
        authorization(**OF_ORDER),
        payment(Pending(channel_ref=f"auth:{ORDER_ID}:{AUTH_ID}", authorized=Money(1234, "USD"))),
    ),
    ("PAYMENT.CAPTURE.REFUNDED", refund(), repaid(Confirmed(REFUND_ID, Money(234, "USD"), PAID_AT))),
    ("PAYMENT.CAPTURE.REFUNDED", refund("PENDING"), repaid(Pending(channel_ref=REFUND_ID))),
    ("PAYMENT.AUTHORIZATION.VOIDED", authorization("VOIDED"), None),
    ("PAYMENT.CAPTURE.REVERSED", refund(), None),
    ("CHECKOUT.ORDER.COMPLETED", shown("COMPLETED"), None),
    ("CUSTOMER.DISPUTE.CREATED", {"dispute_id": "PP-D-27803"}, None),
    ("PAYMENT.CAPTURE.COMPLETED", {k: v for k, v in capture().items() if k != "custom_id"}, PAID),
    ("PAYMENT.CAPTURE.COMPLETED", {k: v for k, v in capture().items() if k[-3:] != "_id"}, None),  # made by hand
    ("PAYMENT.CAPTURE.REFUNDED", refund(invoice_id=order().reference), None),  # given back by hand
]


@pytest.mark.parametrize(("event", "resource", "meaning"), EVENTS, ids=[row[0] for row in EVENTS])
def test_a_notice_means_what_the_table_says(event: str, resource: Any, meaning: Notice | None) -> None:
    assert read(OLD.notice(event, resource)) == meaning


def test_the_amount_is_the_one_paypal_states_for_the_hub_to_compare() -> None:
    notice = read(OLD.notice("PAYMENT.CAPTURE.COMPLETED", capture(amount=usd("12.35"))))
    assert notice is not None
    assert isinstance(notice.outcome, Confirmed)
    assert notice.outcome.amount == Money(1235, "USD")


@pytest.mark.parametrize(
    ("event", "resource"),
    [
        ("PAYMENT.CAPTURE.COMPLETED", capture(payee={"merchant_id": "STRANGER"})),
        ("PAYMENT.CAPTURE.COMPLETED", capture("ODD")),
        ("PAYMENT.CAPTURE.COMPLETED", capture(amount=usd("12.3x"))),
        ("PAYMENT.CAPTURE.COMPLETED", capture(custom_id=7)),
        ("CHECKOUT.ORDER.APPROVED", shown("CREATED")),
        ("CHECKOUT.ORDER.APPROVED", shown("APPROVED", unit={"payee": {"merchant_id": "STRANGER"}})),
        ("PAYMENT.AUTHORIZATION.CREATED", authorization()),  # of which order, it does not say
        ("PAYMENT.AUTHORIZATION.CREATED", authorization("PENDING", **OF_ORDER)),
        ("PAYMENT.CAPTURE.REFUNDED", refund("ODD")),
        ("PAYMENT.CAPTURE.REFUNDED", refund(invoice_id=None)),
    ],
)
def test_a_signed_notice_that_is_not_about_us_or_not_understood_is_refused(event: str, resource: Any) -> None:
    assert refused(OLD.notice(event, resource)) == "not_ours"


@pytest.mark.parametrize(
    ("event", "resource", "about"),
    [
        ("PAYMENT.CAPTURE.COMPLETED", capture("ODD", custom_id="SO-10077", invoice_id="SO-10077"), "SO-10077"),
        ("PAYMENT.CAPTURE.COMPLETED", capture(custom_id=None, invoice_id="SO-1", amount=usd("1.x")), "SO-1"),
        ("CHECKOUT.ORDER.APPROVED", shown("CREATED", unit={"custom_id": "SO-10077"}), "SO-10077"),
        ("PAYMENT.CAPTURE.REFUNDED", refund("ODD", custom_id="SO-10077"), "SO-10077"),
        ("PAYMENT.CAPTURE.COMPLETED", capture(custom_id=7), order().reference),
        ("PAYMENT.CAPTURE.COMPLETED", capture("ODD"), order().reference),
    ],
)
def test_of_a_verified_notice_that_is_not_believed_it_is_said_whose_it_is(
    event: str, resource: Any, about: str
) -> None:
    with pytest.raises(BadNotice) as problem:
        RAIL.notice(OLD.notice(event, resource), now=NOW)
    assert problem.value.about == about


def test_a_signed_message_that_is_no_notice_is_refused() -> None:
    for body in (b"{}", b"[]", b"", b'{"event_type": "X", "id": "1"}', b'{"event_type":"X","id":"1","resource":7}'):
        message = OLD.notice("x", {})
        signed = resigned(body)
        assert refused(Response(200, message.headers | signed, body)) == "malformed"


def resigned(body: bytes) -> dict[str, str]:
    """Return the signature headers of other bytes."""
    text = f"69cd13f0-d67a-11e5-baa3-778b53f4ae55|2026-11-24T08:29:59Z|{WEBHOOK_ID}|{zlib.crc32(body)}"
    return {
        "paypal-transmission-sig": b64encode(OLD.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()
    }


# ---- signatures ------------------------------------------------------------------------------------------------------

GOOD = OLD.notice("PAYMENT.CAPTURE.COMPLETED", capture())


@given(st.integers(0, len(GOOD.body) - 1), st.integers(1, 255))
def test_a_single_byte_changed_on_the_way_is_seen(place: int, change: int) -> None:
    altered = bytearray(GOOD.body)
    altered[place] ^= change
    assert refused(Response(200, GOOD.headers, bytes(altered))) == "bad_signature"


@pytest.mark.parametrize("name", [name for name in GOOD.headers if name.startswith("paypal-")])
def test_a_notice_without_one_of_its_headers_is_unsigned(name: str) -> None:
    headers = {key: value for key, value in GOOD.headers.items() if key != name}
    assert refused(Response(200, headers, GOOD.body)) == "unsigned"
    assert refused(Response(200, headers | {name: ""}, GOOD.body)) == "unsigned"
    assert refused(Response(200, headers | {name: "é"}, GOOD.body)) == "unsigned"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("paypal-transmission-id", "another"),
        ("paypal-transmission-time", "2026-11-24T08:29:58Z"),
        ("paypal-transmission-time", "2026-11-24T08:29:59"),
        ("paypal-transmission-time", "now"),
        ("paypal-transmission-sig", "AAAA"),
        ("paypal-transmission-sig", GOOD.headers["paypal-transmission-sig"] + "="),
        ("paypal-transmission-sig", "%%%"),
        ("paypal-auth-algo", "SHA1withRSA"),
        ("paypal-cert-url", "https://evil.example/cert"),
    ],
)
def test_a_header_that_was_changed_breaks_the_signature(name: str, value: str) -> None:
    assert refused(Response(200, GOOD.headers | {name: value}, GOOD.body)) == "bad_signature"


def test_a_notice_for_another_webhook_is_not_ours() -> None:
    assert refused(OLD.notice("PAYMENT.CAPTURE.COMPLETED", capture(), webhook_id="9AB")) == "bad_signature"
    stranger = channel(webhook_id="9AB")
    assert refused(GOOD, rail=stranger) == "bad_signature"


def test_an_account_without_a_registered_address_believes_no_notice() -> None:
    assert refused(GOOD, rail=channel(webhook_id="")) == "no_webhook"


def test_a_notice_signed_with_a_key_that_is_not_the_certificates_is_forged() -> None:
    assert refused(Sender("stranger").notice("PAYMENT.CAPTURE.COMPLETED", capture())) == "bad_signature"


def test_a_notice_is_read_for_four_days_and_a_little_ahead_and_no_longer() -> None:
    sent_at = datetime(2026, 11, 24, 8, 29, 59, tzinfo=UTC)
    for off in (timedelta(0), timedelta(days=4), -timedelta(minutes=10)):
        assert read(GOOD, at=sent_at + off) == PAID
    for off in (timedelta(days=4, seconds=1), -timedelta(minutes=10, seconds=1)):
        assert refused(GOOD, at=sent_at + off) == "stale"


# ---- certificates ----------------------------------------------------------------------------------------------------


def trusted(rail: PayPal, name: str, url: str = NEW_CERT_URL, *, at: datetime = NOW, status: int = 200) -> list[str]:
    body = (KEYS / name).read_bytes() if name.endswith(".pem") else name.encode()
    return list(rail.trust(Request("GET", url), Response(status, {}, body), now=at))


def test_a_new_certificate_is_asked_for_where_the_notice_says_and_old_notices_stay_readable() -> None:
    rail, later = channel(), NEW.notice("PAYMENT.CAPTURE.COMPLETED", capture())
    assert refused(later, rail=rail) == "unknown_key"
    request = rail.trusted_keys_request(later)
    assert request is not None
    assert request.url == NEW_CERT_URL
    assert trusted(rail, "notices_new_chain.pem") == sorted([CERT_URL, NEW_CERT_URL])
    assert read(later, rail=rail) == PAID
    assert read(GOOD, rail=rail) == PAID
    assert rail.verified_by(later, now=NOW) == NEW_CERT_URL


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("stranger_chain.pem", "foreign_certificate"),  # a root of the same name, and not ours
        ("other_name_chain.pem", "foreign_certificate"),
        ("expired_chain.pem", "foreign_certificate"),
        ("root_certificate.pem", "foreign_certificate"),
        ("notices_new.pem", "malformed"),
        ("no certificate", "malformed"),
        ("", "malformed"),
    ],
)
def test_a_certificate_that_does_not_lead_to_our_root_is_not_trusted(name: str, code: str) -> None:
    rail = channel()
    with pytest.raises(BadNotice) as problem:
        trusted(rail, name)
    assert problem.value.code == code
    assert refused(NEW.notice("PAYMENT.CAPTURE.COMPLETED", capture()), rail=rail) == "unknown_key"


def test_a_chain_without_its_intermediate_or_out_of_its_time_is_not_trusted() -> None:
    leaf = (KEYS / "notices_new_chain.pem").read_text().partition("-----END CERTIFICATE-----\n")[0]
    with pytest.raises(BadNotice):
        channel().trust(
            Request("GET", NEW_CERT_URL), Response(200, {}, f"{leaf}-----END CERTIFICATE-----\n".encode()), now=NOW
        )
    for at in (NOW.replace(year=2021), NOW.replace(year=2037)):
        with pytest.raises(BadNotice):
            trusted(channel(), "notices_new_chain.pem", at=at)


def test_an_answer_that_is_no_success_brings_no_certificate() -> None:
    with pytest.raises(BadNotice) as problem:
        trusted(channel(), "notices_new_chain.pem", status=404)
    assert problem.value.code == "not_delivered"


def test_a_certificate_that_has_expired_since_signs_nothing_any_more() -> None:
    rail = channel()
    at = NOW.replace(year=2036, month=2)
    message = OLD.notice("PAYMENT.CAPTURE.COMPLETED", capture(), at=at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert refused(message, rail=rail, at=at) == "expired_key"


def test_however_many_addresses_we_are_made_to_fetch_the_keys_kept_are_few() -> None:
    rail = channel()
    for number in range(MAX_KEYS + 5):
        ids = trusted(rail, "notices_new_chain.pem", f"https://api.paypal.com/certs/{number}")
    assert len(ids) == MAX_KEYS
    assert f"https://api.paypal.com/certs/{MAX_KEYS + 4}" in ids
    assert len(trusted(rail, "notices_new_chain.pem", f"https://api.paypal.com/certs/{MAX_KEYS + 4}")) == MAX_KEYS


def test_another_accounts_root_trusts_nothing_of_ours() -> None:
    root = (KEYS / "stranger_chain.pem").read_text().split("-----END CERTIFICATE-----\n")[1]
    rail = paypal.build(settings(webhook_root_cert=f"{root}-----END CERTIFICATE-----\n"))
    with pytest.raises(BadNotice):
        trusted(rail, "notices_new_chain.pem")
    assert trusted(rail, "stranger_chain.pem") == [NEW_CERT_URL]


def test_an_answer_of_the_api_carries_no_signature_and_needs_no_key() -> None:
    with pytest.raises(BadNotice) as problem:
        RAIL.verified_by(Response(200, {"content-type": "application/json"}, b"{}"), now=NOW)
    assert problem.value.code == "unsigned"


# ---- what we answer, and golden bytes --------------------------------------------------------------------------------


def test_our_answers_are_the_ones_paypal_stops_or_goes_on_for() -> None:
    assert RAIL.notice_accepted().status == 200
    assert RAIL.notice_refused("bad_signature: no", again=False).status == 400
    again = RAIL.notice_refused("x" * 1000, again=True)
    assert again.status == 503
    assert len(json.loads(again.body)["message"]) == 200


GOLDEN_NOTICES: dict[str, Notice] = {
    "notice_order_approved": payment(Pending(channel_ref=f"order:{ORDER_ID}", proceed=True)),
    "notice_capture_completed": PAID,
    "notice_capture_denied": payment(Refused("DECLINED")),
    "notice_money_reserved": payment(Pending(channel_ref=f"auth:{ORDER_ID}:{AUTH_ID}", authorized=Money(1234, "USD"))),
    "notice_refunded": repaid(Confirmed(REFUND_ID, Money(234, "USD"), PAID_AT)),
}


@pytest.mark.parametrize("name", GOLDEN_NOTICES)
def test_stored_notices_keep_their_meaning(name: str) -> None:
    assert read(received(name)) == GOLDEN_NOTICES[name]


def test_every_stored_notice_is_read() -> None:
    assert {path.stem for path in GOLDEN.glob("notice_*.txt")} == GOLDEN_NOTICES.keys()
