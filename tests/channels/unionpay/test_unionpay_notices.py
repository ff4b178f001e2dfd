"""Who is believed when UnionPay comes by itself, and what its notices say."""

from datetime import timedelta
from typing import Any

import pytest

from channels import BadNotice, Kind, Notice, Outcome, Refused
from kernel.env import Response
from tests.channels.unionpay.test_unionpay_outcomes import HELD, PAID, REFUNDED, received
from tests.channels.unionpay.unionpay_rail import (
    CAPTURE_ID,
    HOLD_ID,
    MER_ID,
    NOW,
    ORDER_ID,
    QUERY_ID,
    REFERENCE,
    REFUND_ID,
    REFUND_QUERY_ID,
    REFUND_REFERENCE,
    REFUND_TIME,
    VOID_ID,
    Rail,
    a_chain,
    channel,
    form,
    moved,
    plain,
    said,
)

RAIL, UNIONPAY = Rail(), channel()
PAYMENT = said("01", "01", **moved())
REFUND = said("04", orderId=REFUND_ID, txnTime=REFUND_TIME, **moved(234, REFUND_QUERY_ID, "1124161001"))
RELEASED = Refused("VOIDED", "released", closed=True)


def refusal(message: Response) -> str:
    """Return the code with which a notice is refused; fails when it is believed."""
    with pytest.raises(BadNotice) as refused:
        UNIONPAY.notice(message, now=NOW)
    return refused.value.code


NOTICES: list[tuple[str, dict[str, str], Kind, str, Outcome, str]] = [
    ("paid", PAYMENT, Kind.PAYMENT, REFERENCE, PAID, f"01:{QUERY_ID}"),
    ("held", said("02", "01", **moved(1234, HOLD_ID)), Kind.PAYMENT, REFERENCE, HELD, f"02:{HOLD_ID}"),
    ("captured", said("03", orderId=CAPTURE_ID, **moved()), Kind.PAYMENT, REFERENCE, PAID, f"03:{QUERY_ID}"),
    ("released", said("32", orderId=VOID_ID, **moved()), Kind.PAYMENT, REFERENCE, RELEASED, f"32:{QUERY_ID}"),
    ("refunded", REFUND, Kind.REFUND, REFUND_REFERENCE, REFUNDED, f"04:{REFUND_QUERY_ID}"),
    ("undone", REFUND | {"txnType": "31"}, Kind.REFUND, REFUND_REFERENCE, REFUNDED, f"31:{REFUND_QUERY_ID}"),
]


@pytest.mark.parametrize(
    ("fields", "kind", "reference", "outcome", "notice_id"),
    [one[1:] for one in NOTICES],
    ids=[one[0] for one in NOTICES],
)
def test_a_notice_says_what_was_done(
    fields: dict[str, str], kind: Kind, reference: str, outcome: Outcome, notice_id: str
) -> None:
    expected = Notice(kind, reference, outcome, notice_id)
    assert UNIONPAY.notice(RAIL.notice(fields), now=NOW) == expected
    assert UNIONPAY.notice(RAIL.notice(fields), now=NOW + timedelta(days=2)) == expected, "it may come late"


@pytest.mark.parametrize(("name", "index"), [("notice_payment_paid", 0), ("notice_held", 1), ("notice_refund_done", 4)])
def test_stored_notices_keep_their_meaning(name: str, index: int) -> None:
    _, _, kind, reference, outcome, notice_id = NOTICES[index]
    assert UNIONPAY.notice(received(name), now=NOW) == Notice(kind, reference, outcome, notice_id)


def test_the_amount_is_the_one_unionpay_states() -> None:
    told = UNIONPAY.notice(RAIL.notice(PAYMENT | {"txnAmt": "9"}), now=NOW)
    assert told.outcome != PAID
    assert told.reference == REFERENCE


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"merId": MER_ID[:-1] + "9"}, "not_ours"),
        ({"orderId": "20261124001"}, "not_ours"),
        ({"orderId": CAPTURE_ID}, "not_ours"),
        ({"orderId": VOID_ID}, "not_ours"),
        ({"txnType": "03"}, "not_ours"),
        ({"txnType": "99"}, "unknown_event"),
        ({"txnType": "00"}, "unknown_event"),
        ({"respCode": "05"}, "unknown_event"),
        ({"respCode": ""}, "unknown_event"),
        ({"txnAmt": "x"}, "not_ours"),
        ({"currencyCode": "840"}, "not_ours"),
        ({"queryId": ""}, "not_ours"),
        ({"txnTime": "2026"}, "not_ours"),
        ({"traceTime": "9999999999"}, "not_ours"),
    ],
)
def test_a_notice_that_is_signed_and_makes_no_sense_is_refused(change: dict[str, str], code: str) -> None:
    assert refusal(RAIL.notice(PAYMENT | change)) == code


@pytest.mark.parametrize(
    "change", [{}, {"merId": "777"}, {"txnType": "99"}, {"respCode": "05"}, {"currencyCode": "840"}]
)
def test_of_a_verified_notice_that_is_not_believed_it_is_said_whose_it_is(change: dict[str, str]) -> None:
    with pytest.raises(BadNotice) as refused:
        UNIONPAY.notice(RAIL.notice(PAYMENT | {"orderId": "20261124001"} | change), now=NOW)
    assert refused.value.about == "20261124001"
    with pytest.raises(BadNotice) as refused:
        UNIONPAY.notice(RAIL.notice(PAYMENT | (change or {"txnAmt": "x"})), now=NOW)
    assert refused.value.about == REFERENCE
    with pytest.raises(BadNotice) as refused:
        UNIONPAY.notice(form(RAIL.signed(PAYMENT) | {"orderId": "20261124001"}), now=NOW)
    assert refused.value.about is None


@pytest.mark.parametrize("name", ["merId", "orderId", "txnTime", "txnAmt", "queryId", "traceTime", "txnType"])
def test_a_notice_that_lacks_what_it_is_about_is_refused(name: str) -> None:
    assert refusal(RAIL.notice({key: value for key, value in PAYMENT.items() if key != name}))


@pytest.mark.parametrize("counted", [True, False])
def test_an_empty_field_is_no_reason_to_doubt_whether_or_not_the_signature_counts_it(counted: bool) -> None:
    empty = {"reqReserved": "", "issInsCode": ""}
    fields = RAIL.signed(PAYMENT | empty) if counted else RAIL.signed(PAYMENT) | empty
    assert UNIONPAY.notice(form(fields), now=NOW).outcome == PAID
    assert UNIONPAY.notice(plain(fields), now=NOW).outcome == PAID


def test_a_notice_that_is_not_unionpays_is_refused() -> None:
    signed = RAIL.signed(PAYMENT)
    assert refusal(form(PAYMENT)) == "unsigned"
    assert refusal(form(signed | {"txnAmt": "1"})) == "bad_signature"
    assert refusal(Rail("stranger", "stranger").notice(PAYMENT)) == "untrusted_certificate"
    assert refusal(Rail("stranger", "signing_old").notice(PAYMENT)) == "bad_signature"
    for name in ("other_name", "no_at", "expired", "by_root"):
        assert refusal(Rail(certificate_name=name).notice(PAYMENT)) == "untrusted_certificate", name
    assert refusal(form(signed | {"signPubKeyCert": "-----BEGIN CERTIFICATE-----\r\nAAAA"})) == "untrusted_certificate"
    assert refusal(form(signed | {"signature": "%%%"})) == "bad_signature"


def test_a_certificate_of_another_use_is_not_unionpays_even_under_its_root() -> None:
    """Every merchant has a certificate of that chain, and can sign nothing of UnionPay's with it."""
    fields = RAIL.signed(PAYMENT) | {
        "signPubKeyCert": Rail(certificate_name="other_name").signed(PAYMENT)["signPubKeyCert"]
    }
    assert refusal(form(fields)) == "untrusted_certificate"


COMPANY, TEST_NAME, OTHER_NAME = "中国银联股份有限公司", "00040000:SIGN", "某某商户有限公司"
PRODUCTION, TESTING = "https://gateway.95516.com", "https://gateway.test.95516.com"


@pytest.mark.parametrize(
    ("base_url", "given", "believed"),
    [
        (PRODUCTION, None, {COMPANY}),
        (PRODUCTION, "", {COMPANY}),
        (PRODUCTION, [], {COMPANY}),
        (TESTING, None, {COMPANY, TEST_NAME}),
        ("http://127.0.0.1:8410", None, {COMPANY, TEST_NAME}),
        (TESTING, COMPANY, {COMPANY}),
        (TESTING, f" {TEST_NAME} ", {TEST_NAME}),
        (PRODUCTION, [TEST_NAME, COMPANY], {COMPANY, TEST_NAME}),
        (PRODUCTION, [OTHER_NAME, TEST_NAME], {OTHER_NAME, TEST_NAME}),
    ],
)
def test_unionpay_signs_under_the_names_its_environment_has(base_url: str, given: Any, believed: set[str]) -> None:
    """Its own clients take the company alone in production, and two names in the test environment."""
    pinned, signers = a_chain(COMPANY, TEST_NAME, OTHER_NAME)
    account = channel(base_url=base_url, sign_cert_name=given, **pinned)
    for name, signer in signers.items():
        notice = signer.notice(PAYMENT)
        if name in believed:
            assert account.notice(notice, now=NOW).reference == REFERENCE
        else:
            with pytest.raises(BadNotice):
                account.notice(notice, now=NOW)


@pytest.mark.parametrize("given", [["", COMPANY], [1], 7, {"name": COMPANY}, "  "])
def test_a_name_that_is_none_is_refused_when_the_account_is_made(given: Any) -> None:
    with pytest.raises(ValueError, match="sign_cert_name"):
        channel(sign_cert_name=given)


@pytest.mark.parametrize(
    "message",
    [
        Response(200, {}, b""),
        Response(200, {"content-type": "application/x-www-form-urlencoded"}, b""),
        Response(200, {"content-type": "application/x-www-form-urlencoded"}, b"a=%ff"),
        Response(200, {"content-type": "application/json"}, b'{"orderId":"1"}'),
        form({str(number): "1" for number in range(300)}),
    ],
)
def test_what_is_no_message_of_unionpays_is_refused(message: Response) -> None:
    assert refusal(message)


def test_a_field_that_stands_twice_is_refused() -> None:
    body = RAIL.notice(PAYMENT).body + b"&txnAmt=1"
    assert refusal(Response(200, {"content-type": "application/x-www-form-urlencoded"}, body)) == "not_ours"


def test_the_signature_is_over_decoded_fields_so_an_answer_is_no_notice() -> None:
    answer = plain(RAIL.signed(PAYMENT))
    as_form = Response(200, {"content-type": "application/x-www-form-urlencoded"}, answer.body)
    assert refusal(as_form) in ("bad_signature", "untrusted_certificate", "not_ours")


def test_notices_are_accepted_with_200_and_refused_with_anything_else() -> None:
    assert UNIONPAY.notice_accepted().status == 200
    assert UNIONPAY.notice_refused("x", again=True).status == 503
    assert UNIONPAY.notice_refused("x", again=False).status == 400


def test_a_notice_names_the_order_it_is_about() -> None:
    assert UNIONPAY.notice(RAIL.notice(PAYMENT | {"orderId": ORDER_ID}), now=NOW).reference == REFERENCE
