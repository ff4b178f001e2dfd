"""What we send to Alipay, byte for byte, against tests/golden/alipay; and that each signature is one."""

from base64 import b64decode
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from channels import Method, Pending
from channels.alipay import Alipay, build, messages
from channels.sharing import Receiver, ReceiverKind, Share, ShareOrder
from kernel.env import Request, Response
from kernel.money import Money
from tests.channels.alipay.alipay_rail import (
    APP_ID,
    APP_SN,
    BASE_URL,
    GOLDEN,
    NEW_SN,
    NOW,
    ROOT_SN,
    Rail,
    certified,
    certified_channel,
    channel,
    order,
    pem,
    refund_order,
    settings,
)

NONCE = "593BEC0C930BF1AFEB40B4A08C8FB242"
DAY = date(2026, 11, 23)
SHARED = ShareOrder(
    reference="1-01937a0b5c00aabbccddeeff00777",
    payment_reference=order().reference,
    payment_channel_ref="2026112422001446881000000001",
    shares=(
        Share(Receiver(ReceiverKind.MERCHANT, "2088101126708402"), Money(100, "CNY"), "佣金"),
        Share(Receiver(ReceiverKind.LOGIN, "tea@shop.example", "茶叶"), Money(7, "CNY"), ""),
    ),
    created_at=order().created_at,
    release_rest=True,
)
REQUESTS: dict[str, Callable[[Alipay], Request | None]] = {
    "request_precreate": lambda alipay: alipay.pay_request(order()),
    "request_pay_barcode": lambda alipay: alipay.pay_request(order(Method.BARCODE)),
    "request_create_jsapi": lambda alipay: alipay.pay_request(order(Method.JSAPI)),
    "request_query": lambda alipay: alipay.query_request(order()),
    "request_close": lambda alipay: alipay.close_request(order()),
    "request_cancel": lambda alipay: alipay.reverse_request(order(Method.BARCODE)),
    "request_refund": lambda alipay: alipay.refund_request(refund_order()),
    "request_refund_query": lambda alipay: alipay.refund_query_request(refund_order()),
    "request_trade_bill": lambda alipay: alipay.bill_request(DAY),
    "request_fund_bill": lambda alipay: alipay.fund_bill_request(DAY),
    "request_royalty_bind": lambda alipay: alipay.bind_request(SHARED.shares[1].receiver, "1-bind"),
    "request_royalty_unbind": lambda alipay: alipay.unbind_request(SHARED.shares[0].receiver, "1-unbind"),
    "request_settle": lambda alipay: alipay.share_request(SHARED),
    "request_settle_query": lambda alipay: alipay.share_query_request(SHARED),
    "request_settle_finish": lambda alipay: alipay.release_request(SHARED),
}
CERTIFIED: dict[str, Callable[[Alipay], Request | None]] = {
    "request_query_with_certificates": lambda alipay: alipay.query_request(order()),
    "request_certificate": lambda alipay: alipay.trusted_keys_request(
        Rail("alipay_new", NEW_SN).answer("alipay.trade.query", {"code": "10000"})
    ),
}
LOCAL = {"action_page": Method.PAGE, "action_wap": Method.H5, "action_app": Method.APP}


def signed(name: str) -> Request:
    alipay = certified_channel() if name in CERTIFIED else channel()
    request = (REQUESTS | CERTIFIED)[name](alipay)
    assert request is not None
    return alipay.sign(request, now=NOW, nonce=NONCE)


def shown(method: Method, **changes: Any) -> str:
    action = channel().payer_initiated_action(order(method, **changes), now=NOW, nonce=NONCE)
    assert isinstance(action, Pending)
    assert action.next_action is not None
    kind, value = action.next_action.values()
    assert kind == ("app" if method is Method.APP else "redirect")
    return value


def as_sent(request: Request) -> str:
    """Show a request as it goes over the wire, for people to read."""
    headers = "".join(f"{name}: {value}\n" for name, value in request.headers.items())
    return f"{request.method} {request.url}\n{headers}\n{request.body.decode()}\n"


def parameters(request: Request) -> dict[str, str]:
    """Return all that a request says: the gateway takes what stands in the query and what stands in the body as one."""
    pairs = parse_qsl(urlsplit(request.url).query) + parse_qsl(request.body.decode())
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def content(request: Request) -> dict[str, Any]:
    return dict(orjson.loads(parameters(request)["biz_content"]))


def verify(said: dict[str, str]) -> None:
    """Fail unless the signature is the application's over everything else, sorted by name."""
    signature = b64decode(said["sign"])
    message = "&".join(f"{name}={value}" for name, value in sorted(said.items()) if name != "sign" and value)
    key: Any = serialization.load_pem_public_key(pem("app_public").encode())
    key.verify(signature, message.encode(), padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("name", [*REQUESTS, *CERTIFIED])
def test_what_is_sent_is_what_the_golden_file_shows(name: str) -> None:
    assert as_sent(signed(name)) == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", LOCAL)
def test_what_the_payer_carries_is_what_the_golden_file_shows(name: str) -> None:
    assert shown(LOCAL[name]) + "\n" == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", [*REQUESTS, *CERTIFIED])
def test_every_parameter_is_signed_with_its_raw_value(name: str) -> None:
    said = parameters(signed(name))
    verify(said)
    assert said["sign_type"] == "RSA2"
    assert (said["app_id"], said["charset"], said["format"], said["version"]) == (APP_ID, "utf-8", "JSON", "1.0")
    assert said["timestamp"] == "2026-11-24 16:30:00", "Beijing time, wherever the hub runs"
    assert ("app_cert_sn" in said) is (name in CERTIFIED)


@pytest.mark.parametrize("method", LOCAL.values())
def test_what_the_payer_carries_is_signed_and_keeps_to_the_order(method: Method) -> None:
    carried = shown(method)
    if method is not Method.APP:
        assert carried.startswith(f"{BASE_URL}/gateway.do?")
    said = dict(parse_qsl(carried.rpartition("?")[2]))
    verify(said)
    assert said["method"] == messages.WAYS[method][0]
    biz = orjson.loads(said["biz_content"])
    assert biz["out_trade_no"] == "1_01937a0b5c00aabbccddeeff001120"
    assert biz["total_amount"] == "12.34"
    assert biz["time_expire"] == "2026-11-24 17:00:00", "after this nobody can pay with it"
    assert said["notify_url"] == order().notify_url
    assert said.get("return_url") == (None if method is Method.APP else "https://shop.example/back")


def test_signing_adds_the_time_and_the_signature_and_nothing_else() -> None:
    alipay = channel()
    request = alipay.pay_request(order())
    done = alipay.sign(request, now=NOW, nonce=NONCE)
    assert done.url.startswith(f"{request.url}&timestamp=")
    assert (done.method, done.headers, done.body) == (request.method, request.headers, request.body)
    assert set(parameters(done)) - set(parameters(request)) == {"timestamp", "sign"}


def test_nothing_is_added_to_the_address_of_a_file() -> None:
    elsewhere = Request("GET", "https://dwbillcenter.alipay.com/downloadBillFile.resource?a=1")
    assert channel().sign(elsewhere, now=NOW, nonce=NONCE) == elsewhere


def test_certificates_are_named_by_their_sn() -> None:
    said = parameters(signed("request_query_with_certificates"))
    assert (said["app_cert_sn"], said["alipay_root_cert_sn"]) == (APP_SN, ROOT_SN)


def test_the_same_order_is_the_same_content_each_time() -> None:
    assert channel().pay_request(order()) == channel().pay_request(order())


# ---- what the content says -------------------------------------------------------------------------------------------


def test_our_dash_is_an_underscore_at_alipay_and_comes_back_as_a_dash() -> None:
    for reference in (order().reference, refund_order().reference, "zz-0", "1-a"):
        rails = messages.rail_number(reference)
        assert rails.replace("_", "").isalnum()
        assert messages.our_number(rails) == reference


@pytest.mark.parametrize(
    ("minor", "yuan"), [(1, "0.01"), (10, "0.10"), (100, "1.00"), (1234, "12.34"), (10**10, "100000000.00")]
)
def test_amounts_are_yuan_with_two_decimals(minor: int, yuan: str) -> None:
    assert content(channel().pay_request(order(amount=Money(minor, "CNY"))))["total_amount"] == yuan


def test_a_subject_cannot_break_the_bill_it_will_come_back_in_nor_be_refused() -> None:
    subject = content(channel().pay_request(order(description='a,"b\nc\x00/=&' + "长" * 300)))["subject"]
    assert subject.startswith("a，'b c ／＝＆长")
    assert len(subject) == 256


def test_a_subject_of_nothing_but_blanks_is_still_a_subject() -> None:
    assert content(channel().pay_request(order(description=" \n\t")))["subject"] == "-"


def test_expiry_is_written_in_beijing_time_wherever_the_hub_runs() -> None:
    tokyo = datetime(2026, 11, 24, 18, 0, tzinfo=timezone(timedelta(hours=9)))
    assert content(channel().pay_request(order(expires_at=tokyo)))["time_expire"] == "2026-11-24 17:00:00"


@pytest.mark.parametrize(("lasts", "minutes"), [(30, "1m"), (3600, "60m"), (90 * 86400, "21600m")])
def test_a_code_lives_as_long_as_its_order(lasts: int, minutes: str) -> None:
    expires_at = order().created_at + timedelta(seconds=lasts)
    assert content(channel().pay_request(order(expires_at=expires_at)))["qr_code_timeout_express"] == minutes


@pytest.mark.parametrize(
    ("payer", "name"),
    [("2088102177846880", "buyer_id"), ("074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5", "buyer_open_id")],
)
def test_old_and_new_ids_of_payers_are_told_apart(payer: str, name: str) -> None:
    assert content(channel().pay_request(order(Method.JSAPI, payer=payer)))[name] == payer


def test_a_merchant_with_a_mini_app_pays_by_the_newer_product() -> None:
    said = content(channel(mini_app_id="2021000000000099").pay_request(order(Method.JSAPI)))
    assert (said["product_code"], said["op_app_id"]) == ("JSAPI_PAY", "2021000000000099")
    assert "op_app_id" not in content(channel().pay_request(order(Method.JSAPI)))


def test_money_to_be_shared_later_is_frozen_from_the_start() -> None:
    for method in (Method.QR, Method.BARCODE, Method.JSAPI):
        said = content(channel().pay_request(order(method, share_later=True)))
        assert said["extend_params"] == {"royalty_freeze": "true"}
    assert "extend_params" not in content(channel().pay_request(order()))


# ---- settings --------------------------------------------------------------------------------------------------------


def test_keys_may_be_bare_base64_as_alipays_own_tool_writes_them() -> None:
    def bare(text: str) -> str:
        return "".join(line for line in text.splitlines() if not line.startswith("-----"))

    named = settings(private_key=bare(pem("app")), alipay_public_key=bare(pem("alipay_public")))
    for name in ("private_key_file", "alipay_public_key_file"):
        del named[name]
    alipay = build(named)
    assert alipay.sign(alipay.query_request(order()), now=NOW, nonce="") == signed("request_query")
    assert alipay.verified_by(Rail().answer("alipay.trade.query", {"code": "1"}), now=NOW) == "alipay_public_key"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (settings(base_url=f"{BASE_URL}/gateway.do"), "base_url"),
        (settings(base_url="ftp://openapi.alipay.com"), "base_url"),
        (settings(seller_id="tea@shop.example"), "seller_id"),
        (settings(private_key=pem("alipay_public")), "private_key"),
        (settings(private_key="!"), "private_key"),
        (settings(alipay_public_key="QUJD"), "alipay_public_key"),
        (settings(alipay_public_key_file=None), "neither alipay_public_key nor alipay_public_key_file"),
        (certified(alipay_root_certificate=None), "alipay_root_certificate"),
        (certified(alipay_certificate_file="/nowhere"), "cannot be read"),
        (certified(app_certificate="-----BEGIN CERTIFICATE-----"), "certificate|PEM"),
    ],
)
def test_settings_that_cannot_be_right_are_refused_at_start(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        build(given)


def test_no_complaint_shows_a_secret() -> None:
    with pytest.raises(ValueError, match="private_key") as complaint:
        build(settings(private_key="c2VjcmV0LXNlY3JldA=="))
    assert "c2Vjcm" not in str(complaint.value)


# ---- where a bill may be ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "fetched"),
    [
        (
            "http://dwbillcenter.alipay.com/down.resource?a=1&b=2",
            "https://dwbillcenter.alipay.com/down.resource?a=1&b=2",
        ),
        ("https://dwbillcenter.alipay.com/down.resource?a=1", "https://dwbillcenter.alipay.com/down.resource?a=1"),
        (f"{BASE_URL}/bill?t=1", f"{BASE_URL}/bill?t=1"),
        ("https://dwbillcenter.alipay.com.evil.example/a?b", None),
        ("https://evil.example/dwbillcenter.alipay.com/a?b", None),
        ("https://dwbillcenter.alipay.com@evil.example/a?b", None),
        ("https://dwbillcenter.alipay.com:8443/a?b", None),
        ("ftp://dwbillcenter.alipay.com/a", None),
        ("file:///etc/passwd", None),
        ("http://[::1/a", None),
        ("https://dwbillcenter.alipay.com/a b", None),
        ("", None),
        (7, None),
    ],
)
def test_a_bill_is_fetched_from_alipay_alone_and_by_https(said: object, fetched: str | None) -> None:
    """The file is neither signed nor hashed: TLS to the right host is all that vouches for it."""
    method = "alipay.data.dataservice.bill.downloadurl.query"
    answer = Rail().answer(method, {"code": "10000", "msg": "Success", "bill_download_url": said})
    file = channel().bill_file(channel().bill_request(DAY), answer, now=NOW)
    assert (file.download.url if file.download else None) == fetched
    assert file.ready is (fetched is not None)


@pytest.mark.parametrize("sub_code", ["isp.bill_not_exist", "BILL_NOT_EXIST", "ACQ.BILL_NOT_EXIST"])
def test_a_day_without_business_is_known_to_be_one(sub_code: str) -> None:
    method = "alipay.data.dataservice.bill.downloadurl.query"
    answer = Rail().answer(method, {"code": "40004", "msg": "Business Failed", "sub_code": sub_code, "sub_msg": ""})
    assert channel().bill_file(channel().bill_request(DAY), answer, now=NOW).nothing
    unsigned = Response(200, {}, answer.body.replace(b'"sign"', b'"sing"'))
    forged = Rail("stranger").answer(method, {"code": "40004", "sub_code": sub_code})
    for doubtful in (unsigned, forged, Response(500, {}, answer.body)):
        file = channel().bill_file(channel().bill_request(DAY), doubtful, now=NOW)
        assert (file.ready, file.nothing) == (False, False)
        assert file.reason
