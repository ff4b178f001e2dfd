"""Who is believed at Alipay: signatures of notices and answers, new certificates, and what notices say."""

import json
from base64 import b64decode, b64encode
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import BadNotice, Confirmed, Kind, Notice, Outcome, Pending, Refused, Unknown
from channels.alipay import Alipay, signing
from kernel.env import Request, Response
from tests.channels.alipay.alipay_rail import (
    NEW_SN,
    NOW,
    NUMBER,
    OLD_SN,
    TRADE_NO,
    Rail,
    certified_channel,
    channel,
    ok,
    order,
    pem,
    refund_order,
    refused,
    told,
    told_of_refund,
    trade,
)
from tests.channels.alipay.test_alipay_outcomes import PAID, received

RAIL, ALIPAY = Rail(), channel()
PAID_NOTICE = RAIL.notice(told())
NOTICE_ID = told()["notify_id"]
CERTIFICATE = "alipay.open.app.alipaycert.download"


def refusal(message: Response, alipay: Alipay = ALIPAY, **at: Any) -> str:
    """Return the code with which a notice is refused; fails when it is believed."""
    with pytest.raises(BadNotice) as refused:
        alipay.notice(message, now=at.get("now", NOW))
    return refused.value.code


# ---- what notices say ------------------------------------------------------------------------------------------------

HINT = Pending(channel_ref=TRADE_NO)
NOTICES: list[tuple[str, Kind, str, Outcome]] = [
    ("notice_payment_paid", Kind.PAYMENT, order().reference, PAID),
    ("notice_payment_paid_gbk", Kind.PAYMENT, order().reference, PAID),
    ("notice_payment_closed", Kind.PAYMENT, order().reference, Refused("TRADE_CLOSED", closed=True)),
    ("notice_refund_in_part", Kind.REFUND, refund_order().reference, HINT),
    ("notice_refund_of_all", Kind.REFUND, refund_order().reference, HINT),
]


@pytest.mark.parametrize(("name", "kind", "reference", "outcome"), NOTICES, ids=[row[0] for row in NOTICES])
def test_stored_notices_keep_their_meaning(name: str, kind: Kind, reference: str, outcome: Outcome) -> None:
    assert ALIPAY.notice(received(name), now=NOW) == Notice(kind, reference, outcome, NOTICE_ID)


def test_a_stored_notice_signed_with_a_certificate_keeps_its_meaning() -> None:
    message = received("notice_payment_paid_signed_with_certificate")
    assert certified_channel().notice(message, now=NOW) == Notice(Kind.PAYMENT, order().reference, PAID, NOTICE_ID)


def test_a_notice_states_the_amount_and_the_hub_compares_it() -> None:
    notice = ALIPAY.notice(RAIL.notice(told(total_amount="0.01", receipt_amount="0.01")), now=NOW)
    assert notice is not None
    assert isinstance(notice.outcome, Confirmed)
    assert notice.outcome.amount.minor == 1


def test_a_payer_who_has_only_begun_is_not_a_payment() -> None:
    notice = ALIPAY.notice(RAIL.notice(told("WAIT_BUYER_PAY", gmt_payment=None)), now=NOW)
    assert notice is not None
    assert notice.outcome == HINT


def test_no_refund_is_believed_done_by_a_sum_over_all_refunds() -> None:
    """refund_fee grows with each refund; taken for the second refund's own it would be too much."""
    notice = ALIPAY.notice(RAIL.notice(told_of_refund(refund_fee="7.34")), now=NOW)
    assert notice is not None
    assert (notice.kind, notice.outcome) == (Kind.REFUND, HINT)


@pytest.mark.parametrize(
    "fields",
    [
        told("TRADE_CLOSED"),
        told("TRADE_CLOSED", gmt_refund="2026-11-24 18:00:01", refund_fee="12.34"),
        told_of_refund("TRADE_CLOSED", out_biz_no=NUMBER),
    ],
    ids=["closed after payment", "refund without a number", "under the payment's number"],
)
def test_a_trade_closed_after_payment_without_a_refund_of_ours_is_nothing_to_act_on(fields: dict[str, str]) -> None:
    assert ALIPAY.notice(RAIL.notice(fields), now=NOW) is None


CONTRADICTIONS: list[tuple[str, dict[str, str], str]] = [
    ("another application", told(app_id="2021000000000002"), "not_ours"),
    ("another merchant", told(seller_id="2088101568342361"), "not_ours"),
    ("no application", told(app_id=None), "not_ours"),
    ("no merchant", told(seller_id=None), "not_ours"),
    ("another kind", told(notify_type="dut_user_sign"), "unknown_event"),
    ("no kind", told(notify_type=None), "unknown_event"),
    ("no order", told(out_trade_no=None), "malformed"),
    ("no id", told(notify_id=None), "malformed"),
    ("a new state", told("TRADE_PENDING"), "not_ours"),
    ("no amount", told(total_amount=None), "not_ours"),
    ("amount with three decimals", told(total_amount="12.345"), "not_ours"),
    ("amount zero", told(total_amount="0.00"), "not_ours"),
    ("no time", told(gmt_payment=None), "not_ours"),
    ("no trade", told(trade_no=None), "not_ours"),
]


@pytest.mark.parametrize(("what", "fields", "code"), CONTRADICTIONS, ids=[row[0] for row in CONTRADICTIONS])
def test_a_signed_notice_that_contradicts_itself_or_us_is_refused(what: str, fields: dict[str, str], code: str) -> None:
    assert refusal(RAIL.notice(fields)) == code


@pytest.mark.parametrize(
    ("fields", "about"),
    [
        (told(app_id="2021000000000002", out_trade_no="SO_10077"), "SO-10077"),
        (told("TRADE_PENDING", out_trade_no="SO_10077"), "SO-10077"),
        (told(notify_type="dut_user_sign", out_trade_no="SO_10077"), "SO-10077"),
        (told(notify_type="dut_user_sign", out_trade_no=None), ""),
        (told(out_trade_no=None), None),
        (told_of_refund(seller_id="2088101568342361", out_biz_no="RF_1"), "RF-1"),
    ],
)
def test_of_a_verified_notice_that_is_not_believed_it_is_said_whose_it_is(
    fields: dict[str, str], about: str | None
) -> None:
    with pytest.raises(BadNotice) as refused:
        ALIPAY.notice(RAIL.notice(fields), now=NOW)
    assert refused.value.about == about


# ---- signatures ------------------------------------------------------------------------------------------------------


def test_each_parameter_of_a_notice_is_signed() -> None:
    for name in told():
        if name != "charset":
            assert refusal(RAIL.notice(told(), **{name: "x"})) == "bad_signature", name
    assert refusal(RAIL.notice(told(), added="x")) == "bad_signature"


def test_each_letter_of_a_notice_counts() -> None:
    body = PAID_NOTICE.body
    start = body.index(b"total_amount=") + len(b"total_amount=")
    for place in range(start, start + 5):
        altered = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert refusal(Response(200, PAID_NOTICE.headers, altered)) in ("bad_signature", "malformed")


def test_a_name_given_twice_is_refused_whichever_is_signed() -> None:
    for extra in (b"&total_amount=0.01", b"&sign=x", b"&total%5Famount=0.01"):
        assert refusal(Response(200, {}, PAID_NOTICE.body + extra)) == "malformed"


def test_moving_letters_between_name_and_value_does_not_help_a_forger() -> None:
    """What is signed is joined by & and =; a value may not pretend to be two parameters."""
    body = PAID_NOTICE.body.replace(b"version=1.0&", b"version=1.0%26").replace(b"out_trade_no", b"out%5Ftrade_no")
    assert refusal(Response(200, {}, body)) in ("bad_signature", "malformed")


def test_empty_values_mean_nothing_whether_or_not_they_are_signed() -> None:
    right = told() | {"passback_params": ""}
    assert ALIPAY.notice(RAIL.notice(right), now=NOW) is not None, "left out of what is signed"
    fields = sorted(right.items())
    every = "&".join(f"{name}={value}" for name, value in fields)
    assert ALIPAY.notice(RAIL.notice(right, sign=RAIL.signature(every.encode())), now=NOW) is not None, "signed"


@pytest.mark.parametrize("sign_type", ["RSA", "MD5", "HMAC", "rsa2"])
def test_another_algorithm_is_refused(sign_type: str) -> None:
    assert refusal(RAIL.notice(told(), sign_type=sign_type)) == "bad_signature"


@pytest.mark.parametrize(
    "body",
    [b"", b"<xml/>", b"{}", b"[]", b"a", b"=1", b"\xff=1", b"charset=utf-16&a=1", b"charset=utf-8&a=%FF", b"&&&"],
)
def test_what_is_no_form_is_refused_and_does_no_harm(body: bytes) -> None:
    assert refusal(Response(200, {}, body)) in ("malformed", "unsigned")


def test_a_signature_that_is_not_plain_base64_is_refused_and_does_no_harm() -> None:
    for sign in ("QU!!JD", "é" * 344, "====", "A", " "):
        assert refusal(RAIL.notice(told(), sign=sign)) == "bad_signature"
    assert refusal(RAIL.notice(told(), sign="")) == "unsigned"


def test_a_right_signature_by_somebody_elses_key_is_refused() -> None:
    for name in ("stranger", "app", "alipay_old"):
        assert refusal(Rail(name).notice(told())) == "bad_signature"


def test_a_notice_sent_again_a_day_later_says_what_it_said() -> None:
    assert ALIPAY.notice(PAID_NOTICE, now=NOW + timedelta(hours=25)) == ALIPAY.notice(PAID_NOTICE, now=NOW)


@given(st.binary(max_size=400))
def test_no_notice_whatever_makes_the_adapter_stumble(body: bytes) -> None:
    refusal(Response(200, {}, body))


@given(st.sampled_from(sorted({*told(), *told_of_refund()})), st.text(max_size=20))
def test_no_signed_value_of_any_kind_makes_the_adapter_stumble_or_confirm_more(name: str, value: str) -> None:
    if name == "charset":
        return
    try:
        notice = ALIPAY.notice(RAIL.notice(told_of_refund() | {name: value}), now=NOW)
    except BadNotice:
        return
    assert notice is None or isinstance(notice.outcome, Pending | Confirmed | Refused)


# ---- certificates ----------------------------------------------------------------------------------------------------

OLD, NEW = Rail("alipay_old", OLD_SN), Rail("alipay_new", NEW_SN)


def handed_out(name: str = "alipay_new_certificate", by: Rail = NEW) -> Response:
    return by.answer(CERTIFICATE, ok(alipay_cert_content=b64encode(pem(name).encode()).decode()))


def asked_for(message: Response, alipay: Alipay | None = None) -> Request:
    request = (alipay or certified_channel()).trusted_keys_request(message)
    assert request is not None
    return request


def test_an_answer_is_verified_by_the_certificate_it_names() -> None:
    alipay = certified_channel()
    assert alipay.query_outcome(order(), OLD.answer("alipay.trade.query", trade()), now=NOW) == PAID
    assert alipay.verified_by(OLD.notice(told()), now=NOW) == OLD_SN
    wrong = Rail("alipay_new", OLD_SN).answer("alipay.trade.query", trade())
    assert isinstance(alipay.query_outcome(order(), wrong, now=NOW), Unknown)
    with pytest.raises(BadNotice, match="do not know") as unknown:
        alipay.verified_by(NEW.answer("alipay.trade.query", trade()), now=NOW)
    assert unknown.value.code == "unknown_key"


def test_a_notice_that_names_no_certificate_may_be_by_any_of_alipays() -> None:
    alipay = certified_channel()
    assert alipay.notice(Rail("alipay_old").notice(told()), now=NOW) is not None
    assert refusal(Rail("alipay_new").notice(told()), alipay) == "bad_signature"


@pytest.mark.parametrize(
    "message", [NEW.answer("alipay.trade.query", trade()), NEW.notice(told())], ids=["answer", "notice"]
)
def test_a_new_certificate_is_asked_for_by_name_and_learned(message: Response) -> None:
    alipay = certified_channel()
    request = asked_for(message, alipay)
    assert NEW_SN in request.body.decode()
    assert alipay.trust(request, handed_out(), now=NOW) == sorted([OLD_SN, NEW_SN])
    assert alipay.verified_by(message, now=NOW) == NEW_SN
    assert alipay.notice(OLD.notice(told()), now=NOW) is not None, "what was under way is still read"


def test_the_stored_answer_with_a_certificate_is_taken_over() -> None:
    alipay = certified_channel()
    assert NEW_SN in alipay.trust(asked_for(NEW.notice(told())), received("answer_certificate"), now=NOW)


FORGED: list[tuple[str, Response, str]] = [
    ("unsigned", Response(200, {}, handed_out().body.replace(b'"sign":', b'"sing":')), "no signature"),
    ("signed by a stranger", handed_out(by=Rail("stranger", NEW_SN)), "over these bytes"),
    ("the old one again", handed_out("alipay_old_certificate", OLD), "asked for"),
    ("a merchant's, of the same authority", handed_out("merchants_certificate", Rail("stranger")), "somebody else's"),
    ("issued by a merchant", handed_out("by_a_merchant_certificate", Rail("stranger")), "may not issue"),
    ("issued by itself", handed_out("by_itself_certificate", Rail("stranger")), "may not issue|end at a root"),
    (
        "issued by a root of the same name",
        handed_out("by_a_forged_root_certificate", Rail("stranger")),
        "not signed by",
    ),
    ("expired", handed_out("expired_certificate", Rail("stranger")), "not valid now"),
    ("an error", NEW.answer(CERTIFICATE, refused("isv.cert-not-exist", "40002")), "no certificate of that number"),
    ("nothing", NEW.answer(CERTIFICATE, ok()), "not a certificate"),
    ("not base64", NEW.answer(CERTIFICATE, ok(alipay_cert_content="!")), "not a certificate"),
    (
        "not a certificate",
        NEW.answer(CERTIFICATE, ok(alipay_cert_content=b64encode(b"x").decode())),
        "not a certificate",
    ),
    ("a key", handed_out("stranger"), "not a certificate"),
    ("an answer to something else", NEW.answer("alipay.trade.query", trade()), "no answer to"),
    ("HTTP 500", Response(500, {}, handed_out().body), "200 only"),
]


@pytest.mark.parametrize(("what", "answer", "why"), FORGED, ids=[row[0] for row in FORGED])
def test_a_certificate_in_doubt_changes_nothing(what: str, answer: Response, why: str) -> None:
    """Each is asked for by its own name, so that it is refused for what it is and not for how it is called."""
    alipay = certified_channel()
    named = NEW_SN if what == "the old one again" else name_of(answer)
    request = asked_for(Rail("alipay_new", named).notice(told()), alipay)
    with pytest.raises(BadNotice, match=why):
        alipay.trust(request, answer, now=NOW)
    with pytest.raises(BadNotice, match="do not know"):
        alipay.notice(NEW.notice(told()), now=NOW)


def name_of(answer: Response) -> str:
    """Return the serial sn of the certificate an answer holds; where it holds none, of the one that was asked for."""
    fields = json.loads(answer.body).get("alipay_open_app_alipaycert_download_response", {})
    try:
        pems = b64decode(fields["alipay_cert_content"], validate=True).decode()
        return signing.cert_sn(signing.certificates(pems)[0])
    except (KeyError, ValueError):
        return NEW_SN


def test_an_expired_certificate_reads_nothing() -> None:
    alipay = certified_channel()
    expired_at = NOW.replace(year=2027, month=1, day=1, hour=0, minute=0)
    assert refusal(OLD.notice(told()), alipay, now=expired_at) == "expired_key"
    assert alipay.notice(OLD.notice(told()), now=expired_at - timedelta(seconds=1)) is not None


def test_nothing_is_asked_for_where_there_is_nothing_to_learn() -> None:
    alipay = certified_channel()
    for message in (None, Rail("alipay_old").notice(told()), Response(200, {}, b"<html>"), Response(200, {}, b"{}")):
        assert alipay.trusted_keys_request(message) is None
    for sn in ("x" * 32, "../../etc/passwd", OLD_SN.upper(), OLD_SN + "0"):
        assert alipay.trusted_keys_request(Rail("alipay_old", sn).notice(told())) is None
    assert channel().trusted_keys_request(NEW.notice(told())) is None, "in key mode the key stays"
    with pytest.raises(BadNotice):
        channel().trust(asked_for(NEW.notice(told())), handed_out(), now=NOW)


# ---- what we answer --------------------------------------------------------------------------------------------------


def test_accepting_is_seven_letters_and_refusing_is_anything_else() -> None:
    assert ALIPAY.notice_accepted().body == b"success"
    assert ALIPAY.notice_accepted().status == 200
    for again in (True, False):
        refused = ALIPAY.notice_refused("not now", again=again)
        assert refused.status >= 400
        assert refused.body == b"fail"
