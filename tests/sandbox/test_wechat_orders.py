"""Creating, paying, querying, closing and reversing orders."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.sandbox.sandbox_client import Merchant, Sandbox, eventually, new_number

NATIVE = "/v3/pay/transactions/native"


def test_an_order_is_unpaid_until_the_payer_scans_and_pays(sandbox: Sandbox, merchant: Merchant) -> None:
    out_trade_no = new_number()
    code_url = merchant.create(out_trade_no, 1234, attach="桌 7")
    assert code_url.startswith("weixin://wxpay/bizpayurl?pr=")
    unpaid = merchant.query(out_trade_no).json
    assert unpaid["trade_state"] == "NOTPAY"
    assert "transaction_id" not in unpaid
    sandbox.control("POST", "/wechat/pay", {"code_url": code_url, "openid": "oAlice"})
    paid = merchant.query(out_trade_no).json
    assert paid["trade_state"] == "SUCCESS"
    assert (paid["trade_type"], paid["payer"], paid["attach"]) == ("NATIVE", {"openid": "oAlice"}, "桌 7")
    assert paid["amount"] == {"total": 1234, "payer_total": 1234, "currency": "CNY", "payer_currency": "CNY"}
    assert paid["success_time"].endswith("+08:00")
    assert paid["transaction_id"].isdigit()
    assert 28 <= len(paid["transaction_id"]) <= 32
    by_id = merchant.call("GET", f"/v3/pay/transactions/id/{paid['transaction_id']}?mchid={merchant.mchid}")
    assert by_id.json == paid


def test_each_product_answers_in_its_own_way(merchant: Merchant) -> None:
    scene = {"payer_client_ip": "10.0.0.1", "h5_info": {"type": "Wap"}}
    extra: dict[str, dict[str, Any]] = {"jsapi": {"payer": {"openid": "oBob"}}, "app": {}, "h5": {"scene_info": scene}}
    for product, fields in extra.items():
        body = merchant.order(new_number(), **fields)
        reply = merchant.call("POST", f"/v3/pay/transactions/{product}", body)
        assert reply.status == 200
        assert list(reply.json) == ["h5_url" if product == "h5" else "prepay_id"]


def test_the_same_order_again_is_the_same_and_another_under_its_number_is_refused(merchant: Merchant) -> None:
    out_trade_no = new_number()
    code_url = merchant.create(out_trade_no)
    assert merchant.create(out_trade_no) == code_url
    for body in (merchant.order(out_trade_no, 101), merchant.order(out_trade_no, attach="x")):
        reply = merchant.call("POST", NATIVE, body)
        assert (reply.status, reply.code) == (403, "OUT_TRADE_NO_USED")
    other_product = merchant.call("POST", "/v3/pay/transactions/app", merchant.order(out_trade_no))
    assert (other_product.status, other_product.code) == (403, "OUT_TRADE_NO_USED")


def test_two_merchants_may_use_the_same_number(sandbox: Sandbox, merchant: Merchant) -> None:
    out_trade_no, neighbour = new_number(), sandbox.merchant()
    merchant.create(out_trade_no, 100)
    neighbour.create(out_trade_no, 200)
    sandbox.pay(neighbour, out_trade_no)
    assert merchant.query(out_trade_no).json["trade_state"] == "NOTPAY"


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("/description", {"description": None}),
        ("/description", {"description": "x" * 128}),
        ("/description", {"description": "茶" * 43}),
        ("/out_trade_no", {"out_trade_no": "short"}),
        ("/out_trade_no", {"out_trade_no": "number with space"}),
        ("/out_trade_no", {"out_trade_no": "x" * 33}),
        ("/amount", {"amount": None}),
        ("/amount", {"amount": 100}),
        ("/amount/total", {"amount": {"total": 0}}),
        ("/amount/total", {"amount": {"total": "100"}}),
        ("/amount/total", {"amount": {"total": 1.0}}),
        ("/amount/total", {"amount": {"total": True}}),
        ("/amount/currency", {"amount": {"total": 1, "currency": "USD"}}),
        ("/notify_url", {"notify_url": None}),
        ("/notify_url", {"notify_url": "http://example.com/notices"}),
        ("/notify_url", {"notify_url": "https://example.com/notices?shop=1"}),
        ("/attach", {"attach": "x" * 129}),
        ("/attach", {"attach": "茶" * 43}),
        ("/time_expire", {"time_expire": "tomorrow"}),
        ("/time_expire", {"time_expire": "2099-01-01T00:00:00+08:00"}),
        ("/mchid", {"mchid": "1900009999"}),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_named(merchant: Merchant, field: str, change: dict[str, Any]) -> None:
    reply = merchant.call("POST", NATIVE, {**merchant.order(new_number()), **change})
    assert (reply.status, reply.code) == (400, "PARAM_ERROR")
    assert reply.json["detail"]["field"] == field
    assert reply.json["detail"]["location"] == "body"


def test_products_want_what_is_special_to_them(merchant: Merchant) -> None:
    codepay = merchant.code_order(new_number(), 0)
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("jsapi", merchant.order(new_number()), "/payer"),
        ("h5", merchant.order(new_number(), scene_info={"payer_client_ip": "10.0.0.1"}), "/scene_info/h5_info"),
        ("codepay", {**codepay, "payer": {"auth_code": "993456789012345678"}}, "/payer/auth_code"),
        ("codepay", {**codepay, "scene_info": {"store_info": {}}}, "/scene_info/store_info/id"),
    ]
    for product, body, field in cases:
        reply = merchant.call("POST", f"/v3/pay/transactions/{product}", body)
        assert (reply.code, reply.json["detail"]["field"]) == ("PARAM_ERROR", field)


def test_an_appid_of_somebody_else_does_not_match(merchant: Merchant) -> None:
    reply = merchant.call("POST", NATIVE, merchant.order(new_number(), appid="wx0000000000000000"))
    assert (reply.status, reply.code) == (400, "APPID_MCHID_NOT_MATCH")


def test_a_body_that_is_not_a_json_object_is_refused(merchant: Merchant) -> None:
    for raw in (b"{", b"[]", b"\xff"):
        assert merchant.send("POST", NATIVE, raw).code == "PARAM_ERROR"


def test_an_unknown_order_does_not_exist_and_the_query_must_name_the_merchant(merchant: Merchant) -> None:
    out_trade_no = new_number()
    assert (merchant.query(out_trade_no).status, merchant.query(out_trade_no).code) == (404, "ORDER_NOT_EXIST")
    for target in (f"/v3/pay/transactions/out-trade-no/{out_trade_no}", "/v3/pay/transactions/id/1?mchid=1"):
        assert merchant.call("GET", target).code == "PARAM_ERROR"
    assert merchant.close(out_trade_no).code == "ORDER_NOT_EXIST"


def test_a_closed_order_stays_closed(sandbox: Sandbox, merchant: Merchant) -> None:
    out_trade_no = new_number()
    merchant.create(out_trade_no)
    assert merchant.close(out_trade_no).status == 204
    assert merchant.close(out_trade_no).status == 204
    again = merchant.call("POST", NATIVE, merchant.order(out_trade_no))
    assert (again.status, again.code) == (400, "ORDER_CLOSED")
    refused = sandbox.control("POST", "/wechat/pay", {"mchid": merchant.mchid, "out_trade_no": out_trade_no}, 409)
    assert refused["code"] == "order_closed"
    assert sandbox.trade(merchant, out_trade_no)["charged_count"] == 0


def test_a_paid_order_cannot_be_closed_created_or_paid_again(sandbox: Sandbox, merchant: Merchant) -> None:
    out_trade_no = new_number()
    merchant.create(out_trade_no)
    sandbox.pay(merchant, out_trade_no)
    assert merchant.close(out_trade_no).code == "INVALID_REQUEST"
    assert merchant.call("POST", NATIVE, merchant.order(out_trade_no)).code == "INVALID_REQUEST"
    sandbox.control("POST", "/wechat/pay", {"mchid": merchant.mchid, "out_trade_no": out_trade_no}, 409)
    assert sandbox.trade(merchant, out_trade_no)["charged_count"] == 1


def test_an_order_closes_by_itself_at_time_expire(sandbox: Sandbox, merchant: Merchant) -> None:
    out_trade_no = new_number()
    for seconds in (2, 15, 120):  # one that is over before it arrives is refused
        soon = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")
        created = merchant.call("POST", NATIVE, merchant.order(out_trade_no, time_expire=soon))
        if created.status == 200:
            break
    assert created.status == 200, created.body
    eventually(lambda: merchant.query(out_trade_no).json["trade_state"] == "CLOSED")
    sandbox.control("POST", "/wechat/pay", {"mchid": merchant.mchid, "out_trade_no": out_trade_no}, 409)
    past = datetime.now(UTC) - timedelta(seconds=5)
    late = merchant.call("POST", NATIVE, merchant.order(new_number(), time_expire=past.isoformat(timespec="seconds")))
    assert (late.status, late.code) == (400, "INVALID_REQUEST")


def test_a_payers_failed_attempt_leaves_the_order_open(sandbox: Sandbox, merchant: Merchant) -> None:
    out_trade_no = new_number()
    merchant.create(out_trade_no)
    sandbox.control("POST", "/wechat/decline", {"mchid": merchant.mchid, "out_trade_no": out_trade_no})
    assert merchant.query(out_trade_no).json["trade_state"] == "NOTPAY"
    sandbox.pay(merchant, out_trade_no)
    assert merchant.query(out_trade_no).json["trade_state"] == "SUCCESS"


def test_however_many_create_and_pay_at_once_the_payer_is_charged_once(sandbox: Sandbox, merchant: Merchant) -> None:
    out_trade_no, codepay = new_number(), merchant.code_order(new_number(), 1)
    scan = {"mchid": merchant.mchid, "out_trade_no": out_trade_no}
    with ThreadPoolExecutor(16) as crowd:
        code_urls = set(crowd.map(lambda _: merchant.create(out_trade_no), range(32)))
        charged = list(crowd.map(lambda _: merchant.codepay(codepay).json.get("transaction_id"), range(32)))
        paid = list(crowd.map(lambda _: sandbox.try_control("POST", "/wechat/pay", scan).status, range(32)))
    assert len(code_urls) == 1
    assert len(set(charged)) == 1
    assert sorted(paid) == [200] + [409] * 31
    for number in (out_trade_no, codepay["out_trade_no"]):
        assert sandbox.trade(merchant, number)["charged_count"] == 1


def test_a_payment_code_that_needs_no_password_pays_at_once(sandbox: Sandbox, merchant: Merchant) -> None:
    order = merchant.code_order(new_number(), 3, 250)
    reply = merchant.codepay(order)
    assert reply.status == 200
    assert (reply.json["trade_state"], reply.json["trade_type"]) == ("SUCCESS", "MICROPAY")
    assert merchant.codepay(order).json == reply.json
    changed = merchant.codepay({**order, "amount": {"total": 251}})
    assert changed.code == "OUT_TRADE_NO_USED"
    stolen = merchant.codepay({**merchant.code_order(new_number(), 3), "payer": order["payer"]})
    assert (stolen.status, stolen.code) == (400, "INVALID_REQUEST")
    assert sandbox.trade(merchant, order["out_trade_no"])["charged_count"] == 1


def test_a_password_is_waited_for_until_the_payer_gives_it(sandbox: Sandbox, merchant: Merchant) -> None:
    order = merchant.code_order(new_number(), 8)
    waiting = merchant.codepay(order)
    assert (waiting.status, waiting.code) == (202, "USERPAYING")
    assert merchant.query(order["out_trade_no"]).json["trade_state"] == "USERPAYING"
    assert merchant.close(order["out_trade_no"]).code == "INVALID_REQUEST"
    sandbox.pay(merchant, order["out_trade_no"])
    assert merchant.query(order["out_trade_no"]).json["trade_state"] == "SUCCESS"
    assert merchant.codepay(order).json["trade_state"] == "SUCCESS"


def test_a_declined_or_forgotten_password_ends_the_order(sandbox: Sandbox, merchant: Merchant) -> None:
    declined, forgotten = merchant.code_order(new_number(), 8), merchant.code_order(new_number(), 8)
    for order in (declined, forgotten):
        merchant.codepay(order)
    sandbox.control("POST", "/wechat/decline", {"mchid": merchant.mchid, "out_trade_no": declined["out_trade_no"]})
    assert merchant.query(declined["out_trade_no"]).json["trade_state"] == "PAYERROR"
    eventually(lambda: merchant.query(forgotten["out_trade_no"]).json["trade_state"] == "PAYERROR")
    again = merchant.codepay(forgotten)
    assert (again.status, again.code) == (403, "TRADE_ERROR")


def test_a_payer_without_money_is_refused(sandbox: Sandbox, merchant: Merchant) -> None:
    order = merchant.code_order(new_number(), 9)
    reply = merchant.codepay(order)
    assert (reply.status, reply.code) == (403, "NOT_ENOUGH")
    assert merchant.query(order["out_trade_no"]).json["trade_state"] == "PAYERROR"
    assert sandbox.trade(merchant, order["out_trade_no"])["charged_count"] == 0


def test_reversing_gives_back_what_was_paid_and_closes_what_was_not(sandbox: Sandbox, merchant: Merchant) -> None:
    paid, waiting = merchant.code_order(new_number(), 0, 700), merchant.code_order(new_number(), 8)
    for order in (paid, waiting):
        merchant.codepay(order)
        for _ in range(2):
            reply = merchant.reverse(order["out_trade_no"])
            assert reply.json == {
                "appid": merchant.appid,
                "mchid": merchant.mchid,
                "out_trade_no": order["out_trade_no"],
            }
        assert merchant.query(order["out_trade_no"]).json["trade_state"] == "REVOKED"
    returned = sandbox.trade(merchant, paid["out_trade_no"])["refunds"]
    assert [(refund["amount"], refund["status"]) for refund in returned] == [(700, "success")]
    assert sandbox.trade(merchant, waiting["out_trade_no"])["refunds"] == []
    sandbox.control("POST", "/wechat/pay", {"mchid": merchant.mchid, "out_trade_no": waiting["out_trade_no"]}, 409)


def test_only_code_payments_can_be_reversed(merchant: Merchant) -> None:
    out_trade_no = new_number()
    merchant.create(out_trade_no)
    assert merchant.reverse(out_trade_no).code == "INVALID_REQUEST"
    assert merchant.reverse(new_number()).code == "ORDER_NOT_EXIST"
