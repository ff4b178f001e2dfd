"""What we send, byte for byte, against tests/golden/wechat; and that each signature is one."""

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone

import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from channels import Method
from channels.wechat import WeChatPay
from kernel.env import Request
from tests.channels.wechat.wechat_rail import GOLDEN, KEYS, MCHID, MERCHANT_SERIAL, NOW, channel, order, refund_order

NONCE = "593BEC0C930BF1AFEB40B4A08C8FB242"
DAY = date(2026, 11, 23)
REQUESTS: dict[str, Callable[[WeChatPay], Request | None]] = {
    "request_native": lambda wechat: wechat.pay_request(order()),
    "request_codepay": lambda wechat: wechat.pay_request(order(Method.BARCODE)),
    "request_query": lambda wechat: wechat.query_request(order()),
    "request_close": lambda wechat: wechat.close_request(order()),
    "request_reverse": lambda wechat: wechat.reverse_request(order(Method.BARCODE)),
    "request_refund": lambda wechat: wechat.refund_request(refund_order()),
    "request_refund_query": lambda wechat: wechat.refund_query_request(refund_order()),
    "request_trade_bill": lambda wechat: wechat.bill_request(DAY),
    "request_fund_bill": lambda wechat: wechat.fund_bill_request(DAY),
    "request_certificates": lambda wechat: wechat.trusted_keys_request(),
}


def as_sent(request: Request) -> str:
    """Show a request as it goes over the wire, for people to read."""
    headers = "".join(f"{name}: {value}\n" for name, value in request.headers.items())
    return f"{request.method} {request.url}\n{headers}\n{request.body.decode()}\n"


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_sent_is_what_the_golden_file_shows(name: str) -> None:
    wechat = channel()
    request = REQUESTS[name](wechat)
    assert request is not None
    signed = wechat.sign(request, now=NOW, nonce=NONCE)
    assert as_sent(signed) == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", REQUESTS)
def test_the_signature_is_over_the_five_lines_as_they_travel(name: str) -> None:
    wechat = channel()
    request = REQUESTS[name](wechat)
    assert request is not None
    signed = wechat.sign(request, now=NOW, nonce=NONCE)
    scheme, _, rest = signed.headers["Authorization"].partition(" ")
    fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    assert scheme == "WECHATPAY2-SHA256-RSA2048"
    assert fields.keys() == {"mchid", "nonce_str", "timestamp", "serial_no", "signature"}
    assert (fields["mchid"], fields["serial_no"], fields["nonce_str"]) == (MCHID, MERCHANT_SERIAL, NONCE)
    path = signed.url.removeprefix("https://api.mch.weixin.qq.com")
    message = f"{signed.method}\n{path}\n{fields['timestamp']}\n{NONCE}\n{signed.body.decode()}\n"
    key = serialization.load_pem_private_key((KEYS / "merchant.pem").read_bytes(), None).public_key()
    key.verify(b64decode(fields["signature"]), message.encode(), padding.PKCS1v15(), hashes.SHA256())  # type: ignore


def test_signing_changes_nothing_but_the_authorization() -> None:
    wechat = channel()
    request = wechat.pay_request(order())
    signed = wechat.sign(request, now=NOW, nonce=NONCE)
    headers = dict(signed.headers)
    headers.pop("Authorization")
    assert (signed.method, signed.url, signed.body, headers) == (
        request.method,
        request.url,
        request.body,
        dict(request.headers),
    )


def test_expiry_is_written_in_beijing_time_wherever_the_hub_runs() -> None:
    tokyo = datetime(2026, 11, 24, 18, 0, tzinfo=timezone(timedelta(hours=9)))
    body = orjson.loads(channel().pay_request(order(expires_at=tokyo)).body)
    assert body["time_expire"] == "2026-11-24T17:00:00+08:00"


def test_a_description_cannot_break_the_bill_it_will_come_back_in() -> None:
    body = orjson.loads(channel().pay_request(order(description="a,`b\nc\x00")).body)
    assert body["description"] == "a,'b c"


@pytest.mark.parametrize("method", [Method.QR, Method.BARCODE])
def test_words_are_cut_by_the_bytes_that_wechat_counts_and_never_within_a_character(method: Method) -> None:
    placed = orjson.loads(channel().pay_request(order(method, description="a" + "长" * 126)).body)
    assert placed["description"] == "a" + "长" * 42  # 127 bytes
    refunded = orjson.loads(channel().refund_request(refund_order(reason="退" * 80)).body)
    assert refunded["reason"] == "退" * 26  # 78 of 80 bytes


def test_a_description_of_nothing_but_blanks_is_still_a_description() -> None:
    assert orjson.loads(channel().pay_request(order(description=" \n\t")).body)["description"] == "-"


def test_a_number_with_letters_that_mean_something_in_an_address_stays_one_number() -> None:
    request = channel().query_request(order(reference="a/../b?c=d|e*f"))
    assert request.url.endswith("/out-trade-no/a%2F..%2Fb%3Fc%3Dd%7Ce%2Af?mchid=" + MCHID)


def test_without_a_public_key_no_key_is_asked_for_by_name() -> None:
    wechat = channel(public_key_id=None)
    assert "Wechatpay-Serial" not in wechat.pay_request(order()).headers


def test_an_account_with_a_public_key_alone_has_no_certificates_to_fetch() -> None:
    assert channel(platform_certificates=[]).trusted_keys_request() is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"platform_certificates": [], "public_key_id": None}, "no answer could be verified"),
        ({"public_key_id": "1234"}, "PUB_KEY_ID_"),
        ({"base_url": "https://api.mch.weixin.qq.com/v3"}, "base_url"),
        ({"base_url": "ftp://api.mch.weixin.qq.com"}, "base_url"),
        ({"apiv3_key_file": str(KEYS / "README.md")}, "32 ASCII"),
        (
            {"platform_certificates": [{"serial_no": "77", "file": str(KEYS / "platform_old_certificate.pem")}]},
            "the certificate named 77",
        ),
    ],
)
def test_settings_that_cannot_be_right_are_refused_at_start(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        channel(**changes)
