"""Who is believed: signatures of answers and notices, rotation of keys, and what notices say."""

import json
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest

from channels import BadNotice, Confirmed, Kind, Notice, Outcome, Pending, Refused
from kernel.env import Request, Response
from tests.channels.wechat.test_wechat_outcomes import PAID, REFUNDED, received
from tests.channels.wechat.wechat_rail import (
    KEYS,
    MCHID,
    NEW_SERIAL,
    NOW,
    OLD_SERIAL,
    PUBLIC_KEY_ID,
    Rail,
    certificates,
    channel,
    order,
    refund,
    sealed,
    transaction,
)

RAIL, WECHAT = Rail(), channel()
ASKED = Request("GET", "https://api.mch.weixin.qq.com/v3/certificates")
PAID_NOTICE = RAIL.notice("TRANSACTION.SUCCESS", transaction())


def refusal(message: Response, **at: Any) -> str:
    """Return the code with which a notice is refused; fails when it is believed."""
    with pytest.raises(BadNotice) as refused:
        WECHAT.notice(message, now=at.get("now", NOW))
    return refused.value.code


def with_headers(message: Response, **changes: str | None) -> Response:
    headers = dict(message.headers)
    for name, value in changes.items():
        if value is None:
            headers.pop(f"wechatpay-{name}")
        else:
            headers[f"wechatpay-{name}"] = value
    return Response(message.status, headers, message.body)


# ---- what notices say ------------------------------------------------------------------------------------------------

NOTICES: list[tuple[str, Kind, str, Outcome]] = [
    ("notice_payment_paid", Kind.PAYMENT, order().reference, PAID),
    ("notice_payment_signed_by_public_key", Kind.PAYMENT, order().reference, PAID),
    ("notice_refund_done", Kind.REFUND, "1-01937a0b5c00aabbccddeeff00999", REFUNDED),
    (
        "notice_refund_abnormal",
        Kind.REFUND,
        "1-01937a0b5c00aabbccddeeff00999",
        Pending({"type": "operator", "code": "ABNORMAL"}, REFUNDED.channel_ref),
    ),
    ("notice_refund_closed", Kind.REFUND, "1-01937a0b5c00aabbccddeeff00999", Refused("CLOSED", closed=True)),
]


@pytest.mark.parametrize(("name", "kind", "reference", "outcome"), NOTICES, ids=[row[0] for row in NOTICES])
def test_stored_notices_keep_their_meaning(name: str, kind: Kind, reference: str, outcome: Outcome) -> None:
    assert WECHAT.notice(received(name), now=NOW) == Notice(kind, reference, outcome, "EV-2018022511223320873")


def test_a_notice_states_the_amount_and_the_hub_compares_it() -> None:
    """The adapter keeps no orders, so it cannot; the amount it returns is WeChat's."""
    notice = WECHAT.notice(
        RAIL.notice("TRANSACTION.SUCCESS", transaction(amount={"total": 1, "currency": "CNY"})), now=NOW
    )
    assert isinstance(notice.outcome, Confirmed)
    assert notice.outcome.amount.minor == 1


CONTRADICTIONS: list[tuple[str, Response, str]] = [
    ("another merchant", RAIL.notice("TRANSACTION.SUCCESS", transaction(mchid="1900000110")), "not_ours"),
    ("another app", RAIL.notice("TRANSACTION.SUCCESS", transaction(appid="wx0")), "not_ours"),
    ("state and event differ", RAIL.notice("TRANSACTION.SUCCESS", transaction("CLOSED")), "not_ours"),
    ("refund of another merchant", RAIL.notice("REFUND.SUCCESS", refund(notice=True, mchid="19")), "not_ours"),
    ("refund's state and event differ", RAIL.notice("REFUND.CLOSED", refund(notice=True)), "not_ours"),
    ("a refund called a payment", RAIL.notice("TRANSACTION.SUCCESS", refund(notice=True)), "not_ours"),
    ("amount is text", RAIL.notice("TRANSACTION.SUCCESS", transaction(amount={"total": "1"})), "not_ours"),
    ("a name twice inside", RAIL.notice("TRANSACTION.SUCCESS", b'{"mchid":"1","mchid":"2"}'), "not_ours"),
    ("not JSON inside", RAIL.notice("TRANSACTION.SUCCESS", b"<xml/>"), "not_ours"),
    ("an event we do not know", RAIL.notice("PROFITSHARING", transaction()), "unknown_event"),
    ("not JSON", RAIL.signed(200, b"<xml/>"), "malformed"),
    ("empty", RAIL.signed(200, b""), "malformed"),
    ("no resource", RAIL.signed(200, {"event_type": "TRANSACTION.SUCCESS", "id": "1"}), "malformed"),
    ("resource is a list", RAIL.notice("TRANSACTION.SUCCESS", transaction(), resource=[]), "malformed"),
    ("id is a number", RAIL.notice("TRANSACTION.SUCCESS", transaction(), id=7), "malformed"),
    ("another cipher", RAIL.notice("TRANSACTION.SUCCESS", b"", resource={"algorithm": "NONE"}), "cannot_decrypt"),
]


@pytest.mark.parametrize(("what", "message", "code"), CONTRADICTIONS, ids=[row[0] for row in CONTRADICTIONS])
def test_a_signed_notice_that_contradicts_itself_or_us_is_refused(what: str, message: Response, code: str) -> None:
    assert refusal(message) == code


@pytest.mark.parametrize(
    ("event", "content", "about"),
    [
        ("TRANSACTION.SUCCESS", transaction(mchid="1900000110", out_trade_no="SO-10077"), "SO-10077"),
        ("TRANSACTION.SUCCESS", transaction(out_trade_no="SO-10077", amount={"total": "1"}), "SO-10077"),
        ("REFUND.CLOSED", refund(notice=True, out_refund_no="SO-10078"), "SO-10078"),
        ("PROFITSHARING", transaction(out_trade_no="SO-10077"), "SO-10077"),
        ("COUPON.USE", {"coupon_id": "9856000"}, ""),
        ("TRANSACTION.SUCCESS", {"mchid": "1900000110"}, None),
    ],
)
def test_of_a_verified_notice_that_is_not_believed_it_is_said_whose_it_is(
    event: str, content: dict[str, Any], about: str | None
) -> None:
    with pytest.raises(BadNotice) as refused:
        WECHAT.notice(RAIL.notice(event, content), now=NOW)
    assert refused.value.about == about


def test_content_sealed_with_another_apiv3_key_or_altered_is_refused() -> None:
    resource = sealed(json.dumps(transaction()).encode(), "transaction")
    for altered in (
        resource | {"associated_data": "refund"},
        resource | {"nonce": "fdasflkja485"},
        resource | {"nonce": ""},
        resource | {"ciphertext": b64encode(bytes(80)).decode()},
        resource | {"ciphertext": resource["ciphertext"] + "!"},
        resource | {"ciphertext": ""},
        resource | {"ciphertext": None},
    ):
        assert refusal(RAIL.notice("TRANSACTION.SUCCESS", b"", resource=altered)) == "cannot_decrypt"


# ---- signatures ------------------------------------------------------------------------------------------------------


def test_each_byte_of_a_notice_is_signed() -> None:
    body = PAID_NOTICE.body
    for place in range(len(body)):
        altered = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert refusal(Response(200, PAID_NOTICE.headers, altered)) == "bad_signature"


@pytest.mark.parametrize("name", ["timestamp", "nonce", "signature"])
def test_each_character_of_the_signed_headers_counts(name: str) -> None:
    value = PAID_NOTICE.headers[f"wechatpay-{name}"]
    for place in range(len(value)):
        letter = "A" if value[place] != "A" else "B"
        if name == "timestamp":
            letter = str((int(value[place]) + 1) % 10)
        altered = with_headers(PAID_NOTICE, **{name: value[:place] + letter + value[place + 1 :]})
        assert refusal(altered) in ("bad_signature", "stale")


def test_moving_a_line_from_the_body_to_the_nonce_does_not_help_a_forger() -> None:
    """What is signed stays the same, what is read does not."""
    whole = RAIL.signed(200, b'{"a": 1}\n{"b": 2}')
    assert WECHAT.verified_by(whole, now=NOW)
    nonce = whole.headers["wechatpay-nonce"]
    moved = with_headers(Response(200, whole.headers, b'{"b": 2}'), nonce=nonce + '\n{"a": 1}')
    assert refusal(moved) == "bad_signature"


@pytest.mark.parametrize("altered", [b" %b", b"%b ", b"%b\n", b"\xef\xbb\xbf%b"])
def test_blanks_around_the_body_are_part_of_what_is_signed(altered: bytes) -> None:
    assert refusal(Response(200, PAID_NOTICE.headers, altered % PAID_NOTICE.body)) == "bad_signature"


@pytest.mark.parametrize("name", ["timestamp", "nonce", "signature", "serial"])
def test_a_missing_or_empty_header_is_no_signature(name: str) -> None:
    assert refusal(with_headers(PAID_NOTICE, **{name: None})) == "unsigned"
    assert refusal(with_headers(PAID_NOTICE, **{name: ""})) == "unsigned"


@pytest.mark.parametrize(
    "signature",
    ["QU!!JD", "é" * 344, "====", "A", PAID_NOTICE.headers["wechatpay-signature"] + "\n"],
    ids=["foreign letters", "not ASCII", "padding alone", "short", "line end"],
)
def test_a_signature_that_is_not_plain_base64_is_refused_and_does_no_harm(signature: str) -> None:
    assert refusal(with_headers(PAID_NOTICE, signature=signature)) == "bad_signature"


def test_a_second_spelling_of_the_same_signature_is_refused() -> None:
    """The last letter before the padding holds bits that mean nothing; Python would accept any of them."""
    signature = PAID_NOTICE.headers["wechatpay-signature"]
    assert signature.endswith("==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = signature[:-3] + alphabet[alphabet.index(signature[-3]) ^ 1] + "=="
    assert refusal(with_headers(PAID_NOTICE, signature=twin)) == "bad_signature"


@pytest.mark.parametrize(
    "timestamp", ["", "1e9", "１７９５５０９０００", "-1", "1795509000.0", "0x10", "1_795_509_000"]
)
def test_a_timestamp_is_ascii_digits(timestamp: str) -> None:
    assert refusal(with_headers(PAID_NOTICE, timestamp=timestamp)) in ("bad_signature", "unsigned")


@pytest.mark.parametrize("seconds", [300, -300, 3600, -86400])
def test_a_message_signed_five_minutes_from_now_or_more_is_stale(seconds: int) -> None:
    assert refusal(PAID_NOTICE, now=NOW + timedelta(seconds=seconds)) == "stale"


@pytest.mark.parametrize("seconds", [299, -299])
def test_a_message_signed_just_within_five_minutes_is_read(seconds: int) -> None:
    assert WECHAT.notice(PAID_NOTICE, now=NOW + timedelta(seconds=seconds)).outcome == PAID


def test_the_rails_own_wrong_signatures_fail() -> None:
    """探测流量: whoever accepts these does not look at signatures."""
    assert refusal(received("notice_signtest_probe")) == "probe"


def test_a_right_signature_by_somebody_elses_key_is_refused() -> None:
    assert refusal(Rail("stranger").notice("TRANSACTION.SUCCESS", transaction())) == "bad_signature"
    assert refusal(Rail("merchant").notice("TRANSACTION.SUCCESS", transaction())) == "bad_signature"


def test_another_algorithm_is_refused() -> None:
    assert refusal(with_headers(PAID_NOTICE, **{"signature-type": "WECHATPAY2-SM2-WITH-SM3"})) == "bad_signature"


# ---- which key -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", [OLD_SERIAL, OLD_SERIAL.lower(), OLD_SERIAL.lstrip("0"), "000" + OLD_SERIAL])
def test_the_serial_of_a_certificate_is_a_number(spelling: str) -> None:
    assert WECHAT.verified_by(with_headers(PAID_NOTICE, serial=spelling), now=NOW) == OLD_SERIAL.lstrip("0")


@pytest.mark.parametrize(
    "serial", [NEW_SERIAL, PUBLIC_KEY_ID.lower(), PUBLIC_KEY_ID + "0", "0x" + OLD_SERIAL, OLD_SERIAL + "\u0661", "é"]
)
def test_a_key_we_do_not_know_is_unknown_and_not_wrong(serial: str) -> None:
    assert refusal(with_headers(PAID_NOTICE, serial=serial)) == "unknown_key"


def test_the_key_named_is_the_key_used_even_when_another_of_ours_would_fit() -> None:
    assert refusal(with_headers(PAID_NOTICE, serial=PUBLIC_KEY_ID)) == "bad_signature"


def test_a_new_certificate_is_learned_and_old_notices_are_still_read() -> None:
    wechat, new = channel(), Rail("platform_new", NEW_SERIAL)
    late = new.notice("TRANSACTION.SUCCESS", transaction())
    with pytest.raises(BadNotice, match="do not know"):
        wechat.notice(late, now=NOW)
    trusted = wechat.trust(ASKED, received("answer_certificates_old_and_new"), now=NOW)
    assert list(trusted) == sorted([OLD_SERIAL.lstrip("0"), NEW_SERIAL, PUBLIC_KEY_ID])
    assert wechat.notice(late, now=NOW).outcome == PAID
    assert wechat.notice(PAID_NOTICE, now=NOW).outcome == PAID


def test_an_old_certificate_that_left_the_list_still_reads_notices_under_way() -> None:
    wechat, new = channel(), Rail("platform_new", NEW_SERIAL)
    wechat.trust(ASKED, new.signed(200, certificates(("platform_new", NEW_SERIAL))), now=NOW)
    assert wechat.notice(PAID_NOTICE, now=NOW).outcome == PAID


def test_an_expired_certificate_reads_nothing() -> None:
    expired_at = NOW.replace(year=2027, month=1, day=1, hour=0, minute=0)
    late = RAIL.signed(200, PAID_NOTICE.body, at=expired_at)
    assert refusal(late, now=expired_at) == "expired_key"
    assert WECHAT.notice(RAIL.signed(200, PAID_NOTICE.body, at=expired_at), now=expired_at - timedelta(seconds=1))


FORGED_LISTS: list[tuple[str, Response]] = [
    ("unsigned", Response(200, {}, RAIL.signed(200, certificates(("platform_new", NEW_SERIAL))).body)),
    ("signed by a stranger", Rail("stranger").signed(200, certificates(("platform_new", NEW_SERIAL)))),
    ("an error", Response(404, {}, b'{"code":"RESOURCE_NOT_EXISTS","message":""}')),
    ("not a list", RAIL.signed(200, {"data": 7})),
    ("serial and certificate differ", RAIL.signed(200, certificates(("platform_new", OLD_SERIAL)))),
    (
        "sealed with another key",
        RAIL.signed(
            200,
            {
                "data": [
                    {
                        "serial_no": NEW_SERIAL,
                        "encrypt_certificate": sealed(b"", "certificate") | {"nonce": "000000000000"},
                    }
                ]
            },
        ),
    ),
    (
        "not a certificate",
        RAIL.signed(
            200,
            {
                "data": [
                    {
                        "serial_no": NEW_SERIAL,
                        "encrypt_certificate": sealed((KEYS / "stranger.pem").read_bytes(), "certificate"),
                    }
                ]
            },
        ),
    ),
]


@pytest.mark.parametrize(("what", "answer"), FORGED_LISTS, ids=[row[0] for row in FORGED_LISTS])
def test_a_list_of_certificates_in_doubt_changes_nothing(what: str, answer: Response) -> None:
    wechat = channel()
    with pytest.raises(BadNotice):
        wechat.trust(ASKED, answer, now=NOW)
    with pytest.raises(BadNotice, match="do not know"):
        wechat.notice(Rail("platform_new", NEW_SERIAL).notice("TRANSACTION.SUCCESS", transaction()), now=NOW)


# ---- what we answer --------------------------------------------------------------------------------------------------


def test_accepting_says_no_more_than_it_must_and_refusing_asks_for_another_try() -> None:
    assert WECHAT.notice_accepted() == Response(204, {}, b"")
    refused = WECHAT.notice_refused("not now", again=True)
    assert refused.status >= 400
    assert json.loads(refused.body) == {"code": "FAIL", "message": "not now"}
    assert MCHID not in refused.body.decode()
