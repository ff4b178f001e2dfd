"""What WeChat Pay offers beside the code that is scanned: JSAPI, H5, app, sharing, combined and abnormal things."""

import json
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from channels import BadNotice, Confirmed, Method, Outcome, Pending, Refused, Unknown
from channels.powers import RefundTarget
from channels.sharing import Receiver, ReceiverKind, Share, Shared, ShareOrder, ShareReturn, Sharing
from channels.wechat import Combined, WeChatPay
from channels.wechat.combined import CombinedOrder, CombinedOutcome, CombinedPart
from kernel.env import Request, Response
from kernel.money import Money
from tests.channels.wechat.test_wechat_outcomes import PAID, PAID_AT, REFUNDED, received
from tests.channels.wechat.test_wechat_requests import NONCE, as_sent
from tests.channels.wechat.wechat_rail import (
    APPID,
    GOLDEN,
    KEYS,
    MCHID,
    NOW,
    OLD_SERIAL,
    PUBLIC_KEY_ID,
    Rail,
    channel,
    order,
    refund_order,
)

RAIL, WECHAT = Rail(), channel()
COMBINED = Combined(WECHAT)
JSAPI = order(Method.JSAPI, payer="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o")
H5 = order(Method.H5, client_ip="203.0.113.7", return_url="https://shop.example/back?o=1&p=2")
APP = order(Method.APP)
PREPAY_ID = "wx201410272009395522657a690389285100"

SUPPLIER = Receiver(ReceiverKind.MERCHANT, "1900000110", "茶叶批发有限公司", "SUPPLIER")
COURIER = Receiver(ReceiverKind.PERSON, "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", relation="骑手")
SHARE_REF, RETURN_REF = "1s01937a0b5c00aabbccddeeff00222", "1r01937a0b5c00aabbccddeeff00333"
SHARES = ShareOrder(
    reference=SHARE_REF,
    payment_reference=order().reference,
    payment_channel_ref=PAID.channel_ref,
    shares=[Share(SUPPLIER, Money(700, "CNY"), "货款"), Share(COURIER, Money(100, "CNY"), "配送")],
    created_at=NOW,
)
RELEASE = replace(SHARES, shares=(), description="订单完成")
RETURN = ShareReturn(RETURN_REF, SHARES, SUPPLIER, Money(300, "CNY"), "退货", NOW)
TOGETHER = CombinedOrder(
    reference="1c01937a0b5c00aabbccddeeff0044",
    method=Method.QR,
    parts=[
        CombinedPart(MCHID, order().reference, Money(1234, "CNY"), "茶叶 Tea", "桌 7"),
        CombinedPart("1900000110", "1-01937a0b5c00aabbccddeeff00555", Money(66, "CNY"), "杯子", share_later=True),
    ],
    notify_url="https://hub.example/notices/wechat/acc",
    expires_at=order().expires_at,
)
TARGET = RefundTarget(to_payer=True, bank_type="ICBC_DEBIT", bank_account="6222020000000000000", real_name="张三")
ABNORMAL = refund_order(channel_ref=REFUNDED.channel_ref)

REQUESTS: dict[str, Callable[[WeChatPay], Request]] = {
    "request_jsapi": lambda wechat: wechat.pay_request(JSAPI),
    "request_h5": lambda wechat: wechat.pay_request(H5),
    "request_app": lambda wechat: wechat.pay_request(APP),
    "request_native_to_be_shared": lambda wechat: wechat.pay_request(order(share_later=True)),
    "request_codepay_to_be_shared": lambda wechat: wechat.pay_request(order(Method.BARCODE, share_later=True)),
    "request_receiver_person": lambda wechat: wechat.bind_request(COURIER, "unused"),
    "request_receiver_delete": lambda wechat: wechat.unbind_request(SUPPLIER, "unused"),
    "request_share": lambda wechat: wechat.share_request(SHARES),
    "request_share_query": lambda wechat: wechat.share_query_request(SHARES),
    "request_share_release": lambda wechat: wechat.release_request(RELEASE),
    "request_share_return": lambda wechat: wechat.give_back_request(RETURN),
    "request_share_return_query": lambda wechat: wechat.give_back_query_request(RETURN),
    "request_combined_native": lambda wechat: Combined(wechat).pay_request(TOGETHER),
    "request_combined_jsapi": lambda wechat: Combined(wechat).pay_request(
        replace(TOGETHER, method=Method.JSAPI, payer=JSAPI.payer)
    ),
    "request_combined_h5": lambda wechat: Combined(wechat).pay_request(
        replace(TOGETHER, method=Method.H5, client_ip=H5.client_ip)
    ),
    "request_combined_query": lambda wechat: Combined(wechat).query_request(TOGETHER),
    "request_combined_close": lambda wechat: Combined(wechat).close_request(TOGETHER),
    "request_abnormal_refund_to_merchant": lambda wechat: wechat.abnormal_refund_request(ABNORMAL, RefundTarget(False)),
}
# Encrypted fields are written differently each time, so these are shown with what is inside, and without signature.
SEALED: dict[str, Callable[[WeChatPay], Request]] = {
    "request_receiver_merchant": lambda wechat: wechat.bind_request(SUPPLIER, "unused"),
    "request_abnormal_refund_to_payer": lambda wechat: wechat.abnormal_refund_request(ABNORMAL, TARGET),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_sent_is_what_the_golden_file_shows(name: str) -> None:
    signed = WECHAT.sign(REQUESTS[name](WECHAT), now=NOW, nonce=NONCE)
    assert as_sent(signed) == (GOLDEN / f"{name}.txt").read_text()


def unsealed(request: Request, key_name: str = "platform_public_key") -> Request:
    """Return the request with its encrypted fields opened, as WeChat alone can."""
    key: Any = serialization.load_pem_private_key((KEYS / f"{key_name}.pem").read_bytes(), None)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)

    def opened(match: re.Match[str]) -> str:
        return f'"<{key.decrypt(b64decode(match[1]), oaep).decode()}>"'

    return replace(request, body=re.sub(r'"([A-Za-z0-9+/]{342}==)"', opened, request.body.decode()).encode())


@pytest.mark.parametrize("name", SEALED)
def test_what_only_wechat_may_read_is_encrypted_under_the_key_the_header_names(name: str) -> None:
    request = SEALED[name](WECHAT)
    assert request.headers["Wechatpay-Serial"] == PUBLIC_KEY_ID
    assert as_sent(unsealed(request)) == (GOLDEN / f"{name}.txt").read_text()
    assert request.body != SEALED[name](WECHAT).body, "OAEP mixes in chance"
    for plain in (SUPPLIER.name, TARGET.bank_account, TARGET.real_name):
        assert plain.encode() not in request.body


def test_without_a_public_key_the_certificate_that_is_valid_longest_encrypts() -> None:
    request = channel(public_key_id=None).bind_request(SUPPLIER, "unused")
    assert request.headers["Wechatpay-Serial"] == OLD_SERIAL, "with all its 40 digits"
    assert b'"name":"<' + SUPPLIER.name.encode() in unsealed(request, "platform_old").body


def test_a_name_too_long_to_be_encrypted_is_refused_before_anything_is_sent() -> None:
    assert WECHAT.bind_request(replace(SUPPLIER, name="名" * 71), "unused")
    with pytest.raises(ValueError, match="214 bytes"):
        WECHAT.bind_request(replace(SUPPLIER, name="名" * 72), "unused")


# ---- what the payer's WeChat is called with --------------------------------------------------------------------------


def verified(signature: str, *lines: str) -> None:
    key: Any = serialization.load_pem_private_key((KEYS / "merchant.pem").read_bytes(), None)
    message = "".join(f"{line}\n" for line in lines).encode()
    key.public_key().verify(b64decode(signature), message, padding.PKCS1v15(), hashes.SHA256())


def shown(asked: Any, answer: str) -> Pending:
    outcome = WECHAT.pay_outcome(asked, received(answer), now=NOW)
    assert isinstance(outcome, Pending)
    return outcome


def test_a_page_inside_wechat_gets_its_parameters_signed() -> None:
    call = WECHAT.signed_action(JSAPI, shown(JSAPI, "answer_jsapi_prepay"), now=NOW, nonce=NONCE).next_action
    assert call is not None
    signature = call["paySign"]
    verified(signature, APPID, "1795509000", NONCE, f"prepay_id={PREPAY_ID}")
    assert call == {
        "type": "jsapi",
        "appId": APPID,
        "timeStamp": "1795509000",
        "nonceStr": NONCE,
        "package": f"prepay_id={PREPAY_ID}",
        "signType": "RSA",
        "paySign": signature,
    }


def test_an_app_gets_its_parameters_signed() -> None:
    call = WECHAT.signed_action(APP, shown(APP, "answer_jsapi_prepay"), now=NOW, nonce=NONCE).next_action
    assert call is not None
    signature = call["sign"]
    verified(signature, APPID, "1795509000", NONCE, PREPAY_ID)
    assert call == {
        "type": "app",
        "appid": APPID,
        "partnerid": MCHID,
        "prepayid": PREPAY_ID,
        "package": "Sign=WXPay",
        "noncestr": NONCE,
        "timestamp": "1795509000",
        "sign": signature,
    }


def test_a_phones_browser_is_sent_to_wechat_and_told_where_to_come_back_to() -> None:
    assert shown(H5, "answer_h5_page") == Pending(
        {
            "type": "redirect",
            "url": "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx2016121516420242444321ca0631331346"
            "&package=1405458241&redirect_url=https%3A%2F%2Fshop.example%2Fback%3Fo%3D1%26p%3D2",
        },
        usable_until=NOW + timedelta(seconds=285),
    ), "five minutes, less what the answer may have been under way"
    nowhere = replace(H5, return_url=None)
    assert (shown(nowhere, "answer_h5_page").next_action or {})["url"].endswith("&package=1405458241")


@pytest.mark.parametrize(
    ("asked", "body"),
    [
        (JSAPI, {}),
        (JSAPI, {"prepay_id": ""}),
        (JSAPI, {"prepay_id": 7}),
        (JSAPI, {"prepay_id": "wx1\nprepay_id=wx2"}),
        (JSAPI, {"code_url": "weixin://wxpay/x"}),
        (APP, {"prepay_id": "wx 1"}),
        (H5, {"h5_url": "http://wx.tenpay.com/x"}),
        (H5, {"h5_url": "javascript:alert(1)"}),
        (H5, {"h5_url": "https://wx.tenpay.com/\u00e9"}),
        (H5, {"prepay_id": PREPAY_ID}),
    ],
    ids=str,
)
def test_an_answer_with_nothing_good_to_show_is_unknown(asked: Any, body: dict[str, Any]) -> None:
    assert isinstance(WECHAT.pay_outcome(asked, RAIL.signed(200, body), now=NOW), Unknown)


# ---- sharing ---------------------------------------------------------------------------------------------------------

SHARED_AT = datetime(2026, 11, 24, 8, 30, 2, tzinfo=UTC)
GOT = Confirmed("36011111111111111111111", Money(700, "CNY"), SHARED_AT)
ORDER_REF = "3008450740201411110007820472"


def share_answer(state: str = "FINISHED", **changes: Any) -> dict[str, Any]:
    """What a share order's answer looks like: one got its part, one did not."""
    common = {"create_time": "2026-11-24T16:30:00+08:00", "finish_time": "2026-11-24T16:30:02+08:00"}
    one = common | {
        "type": "MERCHANT_ID",
        "account": SUPPLIER.account,
        "amount": 700,
        "description": "货款",
        "result": "SUCCESS",
        "detail_id": GOT.channel_ref,
    }
    two = common | {
        "type": "PERSONAL_OPENID",
        "account": COURIER.account,
        "amount": 100,
        "description": "配送",
        "result": "CLOSED",
        "fail_reason": "NO_RELATION",
        "detail_id": "36011111111111111111112",
    }
    return {
        "transaction_id": PAID.channel_ref,
        "out_order_no": SHARE_REF,
        "order_id": ORDER_REF,
        "state": state,
        "receivers": [one, two],
    } | changes


def lines(*changes: dict[str, Any]) -> dict[str, Any]:
    """The same with its lines changed, one after another; None leaves one out."""
    answer = share_answer()
    answer["receivers"] = [line | change for line, change in zip(answer["receivers"], changes, strict=False)]
    return answer


def shared(body: dict[str, Any]) -> Shared:
    return WECHAT.share_query_outcome(SHARES, RAIL.signed(200, body), now=NOW)


def test_the_adapter_is_what_a_sharing_rail_is() -> None:
    assert isinstance(WECHAT, Sharing)
    assert WECHAT.receiver_kinds == {ReceiverKind.MERCHANT, ReceiverKind.PERSON}


def test_stored_share_answers_keep_their_meaning() -> None:
    accepted = WECHAT.share_outcome(SHARES, received("answer_share_accepted"), now=NOW)
    assert accepted.whole == Pending(channel_ref=ORDER_REF)
    assert [type(share) for share in accepted.shares] == [Pending, Pending]
    assert shared(json.loads((GOLDEN / "answer_share_finished.txt").read_text().partition("\n\n")[2])) == Shared(
        Confirmed(ORDER_REF, Money(700, "CNY"), SHARED_AT), (GOT, Refused("NO_RELATION"))
    )
    released = WECHAT.release_outcome(RELEASE, received("answer_share_released"), now=NOW)
    assert released == Confirmed(ORDER_REF, Money(426, "CNY"), SHARED_AT)
    back = WECHAT.give_back_outcome(RETURN, received("answer_share_returned"), now=NOW)
    assert back == Confirmed("3008450740201411110007820999", Money(300, "CNY"), SHARED_AT)
    bound = WECHAT.bind_outcome(SUPPLIER, received("answer_receiver_added"), now=NOW)
    assert bound == Confirmed(SUPPLIER.account, Money(0, "CNY"), NOW)


@pytest.mark.parametrize(
    "body",
    [
        share_answer(out_order_no="other"),
        share_answer(transaction_id="4200"),
        share_answer(state="DONE"),
        share_answer(order_id=None),
        share_answer(receivers=None),
        share_answer(receivers=[7]),
        share_answer(receivers=[]),
        share_answer(receivers=share_answer()["receivers"][:1]),
        share_answer(receivers=[*share_answer()["receivers"], share_answer()["receivers"][0]]),
        share_answer(receivers=[*share_answer()["receivers"], share_answer()["receivers"][0] | {"account": "19"}]),
        lines({"amount": 701}, {}),
        lines({"amount": "700"}, {}),
        lines({"account": "1900000111"}, {}),
        lines({"type": "PERSONAL_OPENID"}, {}),
        lines({"result": "OK"}, {}),
        lines({"result": None}, {}),
        lines({"finish_time": "2026-11-24T16:30:02"}, {}),
        lines({"detail_id": ""}, {}),
    ],
    ids=str,
)
def test_a_share_answer_that_is_not_about_our_shares_is_unknown(body: dict[str, Any]) -> None:
    found = shared(body)
    assert isinstance(found.whole, Unknown)
    assert found.shares == ()


def test_a_share_of_another_amount_states_it() -> None:
    found = shared(lines({"amount": 701}, {})).whole
    assert isinstance(found, Unknown)
    assert found.stated_amount == Money(701, "CNY")


def test_beside_our_shares_there_may_be_a_line_for_the_rest() -> None:
    rest = share_answer()["receivers"][0] | {"account": MCHID, "amount": 426}
    assert shared(share_answer(receivers=[*share_answer()["receivers"], rest])).shares == (GOT, Refused("NO_RELATION"))


@pytest.mark.parametrize("op", ["share", "share_query", "release", "bind", "unbind", "give_back", "give_back_query"])
def test_no_sharing_answer_is_believed_without_its_signature(op: str) -> None:
    asked: Any = {"bind": SUPPLIER, "unbind": SUPPLIER, "give_back": RETURN, "give_back_query": RETURN}.get(op, SHARES)
    for answer in (
        Response(200, {}, orjson.dumps(share_answer())),
        Rail("stranger").signed(200, share_answer()),
        Response(500, {}, b'{"code":"PARAM_ERROR","message":""}'),
        Response(429, {}, b'{"code":"PARAM_ERROR","message":""}'),
        Response(403, {}, b'{"code":"INVALID_REQUEST","message":""}'),
        RAIL.signed(200, b"[]"),
    ):
        outcome = getattr(WECHAT, f"{op}_outcome")(asked, answer, now=NOW)
        whole = outcome.whole if isinstance(outcome, Shared) else outcome
        assert isinstance(whole, Unknown)
        assert not whole.not_found


REFUSALS: list[tuple[str, int, str, Outcome]] = [
    ("share", 403, "NOT_SHARE_ORDER", Refused("NOT_SHARE_ORDER", "说明")),
    ("share", 403, "NOT_ENOUGH", Refused("NOT_ENOUGH", "说明")),
    ("share", 403, "RULE_LIMIT", Refused("RULE_LIMIT", "说明")),
    ("share", 400, "PARAM_ERROR", Refused("PARAM_ERROR", "说明")),
    ("share", 404, "RESOURCE_NOT_EXISTS", Refused("RESOURCE_NOT_EXISTS", "说明")),
    ("share", 403, "NO_AUTH", Refused("NO_AUTH", "说明", retriable=True)),
    ("share_query", 404, "RESOURCE_NOT_EXISTS", Unknown("RESOURCE_NOT_EXISTS: 说明", not_found=True)),
    ("release", 403, "NOT_SHARE_ORDER", Refused("NOT_SHARE_ORDER", "说明")),
    ("bind", 400, "PARAM_ERROR", Refused("PARAM_ERROR", "说明")),
    ("give_back", 403, "NOT_ENOUGH", Refused("NOT_ENOUGH", "说明", retriable=True)),
    ("give_back", 404, "RESOURCE_NOT_EXISTS", Refused("RESOURCE_NOT_EXISTS", "说明")),
    ("give_back_query", 404, "RESOURCE_NOT_EXISTS", Unknown("RESOURCE_NOT_EXISTS: 说明", not_found=True)),
]


@pytest.mark.parametrize(("op", "status", "code", "meaning"), REFUSALS, ids=[f"{o}-{c}" for o, _, c, _ in REFUSALS])
def test_only_listed_errors_conclude_a_share(op: str, status: int, code: str, meaning: Outcome) -> None:
    asked: Any = {"bind": SUPPLIER, "give_back": RETURN, "give_back_query": RETURN}.get(op, SHARES)
    answer = Response(status, {}, json.dumps({"code": code, "message": "说明"}).encode())
    outcome = getattr(WECHAT, f"{op}_outcome")(asked, answer, now=NOW)
    assert (outcome.whole if isinstance(outcome, Shared) else outcome) == meaning


def returned(**changes: Any) -> Outcome:
    body = json.loads((GOLDEN / "answer_share_returned.txt").read_text().partition("\n\n")[2]) | changes
    return WECHAT.give_back_query_outcome(RETURN, RAIL.signed(200, body), now=NOW)


def test_a_return_is_under_way_done_failed_or_in_doubt() -> None:
    assert returned(result="PROCESSING") == Pending(channel_ref="3008450740201411110007820999")
    assert returned(result="FAILED", fail_reason="BALANCE_NOT_ENOUGH") == Refused("BALANCE_NOT_ENOUGH", closed=True)
    for changes in ({"result": "?"}, {"amount": 301}, {"return_mchid": "19"}, {"out_return_no": "x"}):
        assert isinstance(returned(**changes), Unknown)
    with pytest.raises(ValueError, match="merchants only"):
        WECHAT.give_back_request(replace(RETURN, receiver=COURIER))


def test_a_receiver_wechat_does_not_know_by_that_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="login"):
        WECHAT.bind_request(Receiver(ReceiverKind.LOGIN, "a@b.example"), "unused")


# ---- combined payments -----------------------------------------------------------------------------------------------

CUPS = Confirmed("4200002511202611249876543211", Money(66, "CNY"), PAID_AT)


def combined_answer(*states: str, **changes: Any) -> dict[str, Any]:
    body = json.loads((GOLDEN / "answer_combined_query_paid.txt").read_text().partition("\n\n")[2])
    for part, state in zip(body["sub_orders"], states, strict=False):
        part["trade_state"] = state
    return body | changes


def combined(body: dict[str, Any]) -> CombinedOutcome:
    return COMBINED.query_outcome(TOGETHER, RAIL.signed(200, body), now=NOW)


def test_a_combined_payment_is_paid_with_the_sum_and_each_part_by_itself() -> None:
    answer = received("answer_combined_query_paid")
    assert COMBINED.query_outcome(TOGETHER, answer, now=NOW) == CombinedOutcome(
        Confirmed(TOGETHER.reference, Money(1300, "CNY"), PAID_AT), (PAID, CUPS)
    )
    assert combined(combined_answer("NOTPAY", "NOTPAY")).whole == Pending()
    assert combined(combined_answer("CLOSED", "CLOSED")).whole == Refused("CLOSED", closed=True)


@pytest.mark.parametrize(
    "body",
    [
        combined_answer("SUCCESS", "NOTPAY"),
        combined_answer("CLOSED", "SUCCESS"),
        combined_answer(combine_mchid="1900000110"),
        combined_answer(combine_appid="wx0"),
        combined_answer(combine_out_trade_no="other"),
        combined_answer(sub_orders=None),
        combined_answer(sub_orders=[]),
        combined_answer(sub_orders=combined_answer()["sub_orders"][:1]),
        combined_answer(sub_orders=[part | {"mchid": MCHID} for part in combined_answer()["sub_orders"]]),
        combined_answer(
            sub_orders=[part | {"amount": {"total_amount": 1}} for part in combined_answer()["sub_orders"]]
        ),
    ],
    ids=range(10),
)
def test_a_combined_answer_that_is_not_about_all_our_orders_alike_is_unknown(body: dict[str, Any]) -> None:
    assert isinstance(combined(body).whole, Unknown)


def test_a_combined_notice_names_each_order_and_what_it_paid() -> None:
    told = COMBINED.notice(received("notice_combined_paid"), now=NOW)
    assert told.reference == TOGETHER.reference
    assert told.outcomes == {TOGETHER.parts[0].reference: PAID, TOGETHER.parts[1].reference: CUPS}
    assert told.notice_id


def test_the_door_for_single_payments_does_not_believe_a_combined_notice_nor_the_other_way_round() -> None:
    with pytest.raises(BadNotice) as refused:
        WECHAT.notice(received("notice_combined_paid"), now=NOW)
    assert refused.value.code == "not_ours"
    with pytest.raises(BadNotice) as refused:
        COMBINED.notice(received("notice_payment_paid"), now=NOW)
    assert refused.value.code == "not_ours"


@pytest.mark.parametrize(
    "content",
    [
        combined_answer("SUCCESS", "NOTPAY"),
        combined_answer(combine_mchid="1900000110"),
        combined_answer(sub_orders=[]),
        combined_answer(sub_orders=7),
        b"not JSON",
    ],
    ids=range(5),
)
def test_a_combined_notice_that_contradicts_itself_or_us_is_refused(content: Any) -> None:
    with pytest.raises(BadNotice) as refused:
        COMBINED.notice(RAIL.notice("TRANSACTION.SUCCESS", content), now=NOW)
    assert refused.value.code == "not_ours"


def test_a_combined_order_is_shown_signed_closed_and_not_found_like_a_single_one() -> None:
    inside = replace(TOGETHER, method=Method.JSAPI, payer=JSAPI.payer)
    outcome = COMBINED.pay_outcome(inside, received("answer_jsapi_prepay"), now=NOW)
    assert isinstance(outcome, Pending)
    signed = COMBINED.signed_action(inside, outcome, now=NOW, nonce=NONCE)
    assert (signed.next_action or {})["package"] == f"prepay_id={PREPAY_ID}"
    code = COMBINED.pay_outcome(TOGETHER, received("answer_native_code_to_show"), now=NOW)
    assert isinstance(code, Pending)
    closed = COMBINED.close_outcome(TOGETHER, received("answer_close_empty_and_signed"), now=NOW)
    assert closed == Refused("CLOSED", closed=True)
    assert isinstance(COMBINED.close_outcome(TOGETHER, RAIL.signed(200, {}), now=NOW), Unknown)
    unknown = COMBINED.query_outcome(TOGETHER, received("answer_query_unknown_order_unsigned"), now=NOW)
    assert isinstance(unknown.whole, Unknown)
    assert unknown.whole.not_found


def test_a_combined_payment_has_one_to_fifty_orders() -> None:
    for parts in ((), TOGETHER.parts[:1] * 51):
        with pytest.raises(ValueError, match="1 to 50"):
            COMBINED.pay_request(replace(TOGETHER, parts=parts))


# ---- abnormal refunds ------------------------------------------------------------------------------------------------


def test_an_abnormal_refund_that_is_sent_on_is_under_way_again() -> None:
    outcome = WECHAT.abnormal_refund_outcome(ABNORMAL, received("answer_refund_accepted"), now=NOW)
    assert outcome == Pending(channel_ref=REFUNDED.channel_ref)
    refused = Response(400, {}, b'{"code":"PARAM_ERROR","message":""}')
    assert isinstance(WECHAT.abnormal_refund_outcome(ABNORMAL, refused, now=NOW), Refused)
    doubt = Response(400, {}, b'{"code":"INVALID_REQUEST","message":""}')
    assert isinstance(WECHAT.abnormal_refund_outcome(ABNORMAL, doubt, now=NOW), Unknown)
