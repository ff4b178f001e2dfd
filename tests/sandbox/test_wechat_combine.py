"""Combined payments 合单支付 and the page behind h5_url, in the simulated WeChat Pay."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.sandbox.sandbox_client import Merchant, Sandbox, door, eventually, exchange, new_number

COMBINED = "/v3/combine-transactions"


@pytest.fixture
def neighbour(sandbox: Sandbox) -> Merchant:
    return sandbox.merchant(name="neighbour")


def body(merchant: Merchant, *parts: tuple[Merchant, str, int], **other: Any) -> dict[str, Any]:
    return {
        "combine_appid": merchant.appid,
        "combine_mchid": merchant.mchid,
        "combine_out_trade_no": new_number("c"),
        "notify_url": "http://127.0.0.1:9/nobody-listens",
        "sub_orders": [
            {
                "mchid": one.mchid,
                "attach": "x",
                "amount": {"total_amount": total, "currency": "CNY"},
                "out_trade_no": number,
                "description": "苹果",
            }
            for one, number, total in parts
        ],
        **other,
    }


def two(merchant: Merchant, neighbour: Merchant, **other: Any) -> dict[str, Any]:
    return body(merchant, (merchant, new_number(), 100), (neighbour, new_number(), 2000), **other)


def query(merchant: Merchant, asked: dict[str, Any]) -> Any:
    return merchant.call("GET", f"{COMBINED}/out-trade-no/{asked['combine_out_trade_no']}")


def test_all_orders_are_paid_in_one_go_and_told_in_one_notice(
    sandbox: Sandbox, merchant: Merchant, neighbour: Merchant
) -> None:
    with door() as opened:
        asked = two(merchant, neighbour, notify_url=opened.url)
        code = merchant.call("POST", f"{COMBINED}/native", asked).json["code_url"]
        assert merchant.call("POST", f"{COMBINED}/native", asked).json["code_url"] == code
        assert {part["trade_state"] for part in query(merchant, asked).json["sub_orders"]} == {"NOTPAY"}
        sandbox.control("POST", "/wechat/pay", {"code": code, "payer": "oAlice"})
        view = query(merchant, asked).json
        assert [(one["mchid"], one["trade_state"]) for one in view["sub_orders"]] == [
            (merchant.mchid, "SUCCESS"),
            (neighbour.mchid, "SUCCESS"),
        ]
        assert view["combine_payer_info"] == {"openid": "oAlice"}
        assert view["sub_orders"][1]["amount"]["total_amount"] == 2000
        (delivery,) = eventually(lambda: opened.deliveries)
        merchant.verify(delivery.headers, delivery.body)
        assert json.loads(merchant.decrypt(json.loads(delivery.body)["resource"])) == view
    numbers = [one["out_trade_no"] for one in asked["sub_orders"]]
    assert sandbox.trade(merchant, numbers[0])["charged_count"] == 1
    assert sandbox.trade(neighbour, numbers[1])["fee"] == 12, "each merchant pays its own"
    assert neighbour.refund(numbers[1], new_number("r"), 500, 2000).status == 200


def test_its_orders_are_paid_closed_and_asked_about_together_only(
    sandbox: Sandbox, merchant: Merchant, neighbour: Merchant
) -> None:
    asked = two(merchant, neighbour)
    merchant.call("POST", f"{COMBINED}/native", asked)
    number = asked["sub_orders"][0]["out_trade_no"]
    assert merchant.query(number).code == "ORDER_NOT_EXIST"
    assert merchant.close(number).code == "ORDER_NOT_EXIST"
    alone = sandbox.try_control("POST", "/wechat/pay", {"mchid": merchant.mchid, "out_trade_no": number})
    assert alone.status == 409
    target = f"{COMBINED}/out-trade-no/{asked['combine_out_trade_no']}/close"
    names = [{"mchid": one["mchid"], "out_trade_no": one["out_trade_no"]} for one in asked["sub_orders"]]
    closing = {"combine_appid": merchant.appid, "sub_orders": names}
    assert merchant.call("POST", target, closing | {"sub_orders": names[:1]}).code == "PARAM_ERROR"
    for _ in range(2):
        assert merchant.call("POST", target, closing).status == 204
    assert {one["trade_state"] for one in query(merchant, asked).json["sub_orders"]} == {"CLOSED"}
    assert merchant.call("POST", f"{COMBINED}/native", asked).code == "ORDER_CLOSED"
    shut = {"merchant": merchant.mchid, "order": asked["combine_out_trade_no"]}
    assert sandbox.try_control("POST", "/wechat/pay", shut).status == 409


def test_paid_ones_cannot_be_closed_and_numbers_serve_once(
    sandbox: Sandbox, merchant: Merchant, neighbour: Merchant
) -> None:
    asked = two(merchant, neighbour)
    merchant.call("POST", f"{COMBINED}/app", asked)
    sandbox.control("POST", "/wechat/pay", {"merchant": merchant.mchid, "order": asked["combine_out_trade_no"]})
    names = [{"mchid": one["mchid"], "out_trade_no": one["out_trade_no"]} for one in asked["sub_orders"]]
    target = f"{COMBINED}/out-trade-no/{asked['combine_out_trade_no']}/close"
    closing = {"combine_appid": merchant.appid, "sub_orders": names}
    assert merchant.call("POST", target, closing).code == "INVALID_REQUEST"
    other = {**asked, "combine_out_trade_no": new_number("c")}
    assert merchant.call("POST", f"{COMBINED}/native", other).code == "OUT_TRADE_NO_USED"
    stranger = body(merchant, (merchant, new_number(), 1))
    stranger["sub_orders"][0]["mchid"] = "1999999999"
    assert merchant.call("POST", f"{COMBINED}/native", stranger).code == "MCH_NOT_EXISTS"
    assert query(merchant, {"combine_out_trade_no": "nobody-made-it"}).code == "ORDER_NOT_EXIST"


@pytest.mark.parametrize(
    ("product", "field", "change"),
    [
        ("native", "/sub_orders", {"sub_orders": []}),
        ("native", "/sub_orders/0/", {"sub_orders": [7]}),
        ("native", "/sub_orders/0/mchid", {"sub_orders": [{}]}),
        ("native", "/combine_mchid", {"combine_mchid": "1900000999"}),
        ("native", "/notify_url", {"notify_url": None}),
        ("jsapi", "/combine_payer_info", {}),
        ("h5", "/scene_info", {}),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_named(merchant: Merchant, product: str, field: str, change: dict[str, Any]) -> None:
    reply = merchant.call("POST", f"{COMBINED}/{product}", body(merchant, (merchant, new_number(), 1)) | change)
    assert (reply.code, reply.json["detail"]["field"]) == ("PARAM_ERROR", field)


@pytest.mark.parametrize("choice", ["pay", "decline"])
@pytest.mark.parametrize("combined", [False, True])
def test_the_page_of_h5_pays_or_not_and_sends_the_payer_back(
    sandbox: Sandbox, merchant: Merchant, choice: str, combined: bool
) -> None:
    scene = {"payer_client_ip": "10.0.0.1", "h5_info": {"type": "Wap"}}
    number = new_number()
    if combined:
        asked, path = body(merchant, (merchant, number, 1234), scene_info=scene), f"{COMBINED}/h5"
    else:
        asked, path = merchant.order(number, 1234, scene_info=scene), "/v3/pay/transactions/h5"
    url = merchant.call("POST", path, asked).json["h5_url"]
    assert url.startswith(sandbox.base_url)
    back = "http://127.0.0.1:9/back?o=1"
    target = f"{url.removeprefix(sandbox.base_url)}&redirect_url={quote(back, safe='')}"
    assert exchange(sandbox.base_url, "GET", target, {}, b"").status == 400, "nobody types the address of such a page"
    page = exchange(sandbox.base_url, "GET", target, {"Referer": "http://127.0.0.1:9/"}, b"").body.decode()
    assert "12.34" in page
    assert "<script" not in page
    assert "http" not in page.replace("redirect_url=http", "")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answered = exchange(sandbox.base_url, "POST", target, form, f"choice={choice}".encode())
    assert (answered.status, answered.headers["Location"]) == (303, back)
    assert sandbox.trade(merchant, number)["charged_count"] == (1 if choice == "pay" else 0)


@pytest.mark.parametrize("combined", [False, True])
def test_an_address_of_h5_is_good_for_five_minutes_and_the_same_order_again_has_a_fresh_one(
    sandbox: Sandbox, merchant: Merchant, combined: bool
) -> None:
    scene, number = {"payer_client_ip": "10.0.0.1", "h5_info": {"type": "Wap"}}, new_number()
    if combined:
        asked, path = body(merchant, (merchant, number, 1234), scene_info=scene), f"{COMBINED}/h5"
    else:
        asked, path = merchant.order(number, 1234, scene_info=scene), "/v3/pay/transactions/h5"

    def shown(url: str) -> str:
        target = url.removeprefix(sandbox.base_url)
        return exchange(sandbox.base_url, "GET", target, {"Referer": "http://127.0.0.1:9/"}, b"").body.decode()

    first = merchant.call("POST", path, asked).json["h5_url"]
    place, made_ms = first.rpartition("=")[0], int(first.rpartition("=")[2])
    assert "支付 Pay" in shown(f"{place}={made_ms - 290_000}"), "made almost five minutes ago"
    assert "支付请求已失效" in shown(f"{place}={made_ms - 300_000}")
    second = merchant.call("POST", path, asked).json["h5_url"]
    assert second != first
    assert "支付 Pay" in shown(second)
    assert "支付 Pay" in shown(first), "nothing says that it ends sooner"


def test_a_page_of_no_order_is_not_there(sandbox: Sandbox) -> None:
    assert exchange(sandbox.base_url, "GET", "/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx1", {}, b"").status == 404
