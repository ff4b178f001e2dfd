"""Run in the environment of alipay-sdk-python: a merchant's day with Alipay's own library, printed as JSON."""

import http.client
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

sys.path.insert(0, str(Path(__file__).parent))

from alipay.aop.api.AlipayClientConfig import AlipayClientConfig
from alipay.aop.api.DefaultAlipayClient import DefaultAlipayClient
from alipay.aop.api.exception.Exception import ResponseException
from alipay.aop.api.request.AlipayDataDataserviceBillDownloadurlQueryRequest import (
    AlipayDataDataserviceBillDownloadurlQueryRequest,
)
from alipay.aop.api.request.AlipayTradeAppPayRequest import AlipayTradeAppPayRequest
from alipay.aop.api.request.AlipayTradeCancelRequest import AlipayTradeCancelRequest
from alipay.aop.api.request.AlipayTradeCloseRequest import AlipayTradeCloseRequest
from alipay.aop.api.request.AlipayTradeFastpayRefundQueryRequest import AlipayTradeFastpayRefundQueryRequest
from alipay.aop.api.request.AlipayTradePagePayRequest import AlipayTradePagePayRequest
from alipay.aop.api.request.AlipayTradePayRequest import AlipayTradePayRequest
from alipay.aop.api.request.AlipayTradePrecreateRequest import AlipayTradePrecreateRequest
from alipay.aop.api.request.AlipayTradeQueryRequest import AlipayTradeQueryRequest
from alipay.aop.api.request.AlipayTradeRefundRequest import AlipayTradeRefundRequest
from alipay.aop.api.util import WebUtils
from alipay.aop.api.util.SignatureUtils import get_sign_content, verify_with_rsa
from alipay_world import World

told = json.load(sys.stdin)
world = World(told["base_url"], told["seller_id"])


def through(host: str, port: int, timeout: float) -> http.client.HTTPConnection:
    """Connect to the sandbox: the library always calls port 80 and cannot name another; all else stays as it is."""
    return http.client.HTTPConnection("127.0.0.1", urlsplit(told["base_url"]).port, timeout=timeout)


WebUtils.httplib = SimpleNamespace(HTTPConnection=through)


def client(charset: str = "utf-8", alipay_public_key: str = "") -> DefaultAlipayClient:
    config = AlipayClientConfig()
    config.server_url = "http://127.0.0.1/gateway.do"
    config.app_id, config.charset, config.sign_type = told["app_id"], charset, "RSA2"
    config.app_private_key = told["private_key"]
    config.alipay_public_key = alipay_public_key or told["alipay_public_key"]
    return DefaultAlipayClient(config)


def ask(kind: Any, content: dict[str, Any], by: DefaultAlipayClient | None = None) -> dict[str, Any]:
    """Return what the library returns: the response whose signature it has verified."""
    request = kind()
    request.biz_content = content
    if kind in (AlipayTradePrecreateRequest, AlipayTradePagePayRequest, AlipayTradeAppPayRequest):
        request.notify_url = world.notify_url
    return json.loads((by or client()).execute(request))


def signed(kind: Any, order: str, product: str) -> Any:
    request = kind()
    request.biz_content = {
        "out_trade_no": order,
        "total_amount": "3.00",
        "subject": "茶叶 page",
        "product_code": product,
    }
    return request


def verified(params: dict[str, str], public_key: str, *without: str) -> bool:
    """Verify as the library does: its own text to sign, its own verification."""
    kept = {name: value for name, value in params.items() if name not in ("sign", *without) and value}
    try:
        return bool(verify_with_rsa(public_key, get_sign_content(kept).encode(), params["sign"]))
    except Exception:
        return False


order = {"out_trade_no": "sdk_official_1", "total_amount": "12.34", "subject": "茶叶 / Tea"}
said: dict[str, Any] = {"precreate": ask(AlipayTradePrecreateRequest, order)}
said["before"] = ask(AlipayTradeQueryRequest, {"out_trade_no": order["out_trade_no"]})
world.pay(order["out_trade_no"])
said["query"] = ask(AlipayTradeQueryRequest, {"out_trade_no": order["out_trade_no"]})
said["notice"] = world.notice(order["out_trade_no"])
fields = dict(parse_qsl(said["notice"]))
said["notice_verified"] = verified(fields, told["alipay_public_key"], "sign_type")
said["forged_verified"] = verified(fields | {"total_amount": "99.99"}, told["alipay_public_key"], "sign_type")
refund = {"out_trade_no": order["out_trade_no"], "refund_amount": "2.34", "out_request_no": "r_1"}
said["refunds"] = [ask(AlipayTradeRefundRequest, refund) for _ in range(2)]
said["refund_query"] = ask(
    AlipayTradeFastpayRefundQueryRequest,
    {"out_trade_no": order["out_trade_no"], "out_request_no": "r_1", "query_options": ["gmt_refund_pay"]},
)
said["no_refund"] = ask(
    AlipayTradeFastpayRefundQueryRequest, {"out_trade_no": order["out_trade_no"], "out_request_no": "r_2"}
)

code = {"scene": "bar_code", "auth_code": "280000000000000007", "out_trade_no": "sdk_official_2"}
said["barcode"] = ask(AlipayTradePayRequest, code | {"total_amount": "1.00", "subject": "tea"})
said["cancel"] = ask(AlipayTradeCancelRequest, {"out_trade_no": "sdk_official_2"})
said["close"] = ask(AlipayTradeCloseRequest, {"out_trade_no": "sdk_official_none"})

gbk = order | {"out_trade_no": "sdk_official_gbk", "subject": "龙井茶"}
said["gbk"] = ask(AlipayTradePrecreateRequest, gbk, client("gbk"))
try:
    said["stranger"] = ask(AlipayTradeQueryRequest, refund, client(alipay_public_key=told["app_public_key"]))
except ResponseException as refused:
    said["stranger"] = str(refused)[:200]

page = client().page_execute(
    signed(AlipayTradePagePayRequest, "sdk_official_page", "FAST_INSTANT_TRADE_PAY"), http_method="GET"
)
query = page.partition("?")[2]
said["page"] = world.fetch(f"{told['base_url']}/gateway.do?{query}")
string = client().sdk_execute(signed(AlipayTradeAppPayRequest, "sdk_official_app", "QUICK_MSECURITY_PAY"))
said["app"] = world.control("alipay/scan", code=string)["amount"]
world.control("alipay/pay", code=string)

world.control("alipay/close-day", date=told["day"])
bill = ask(AlipayDataDataserviceBillDownloadurlQueryRequest, {"bill_type": "trade", "bill_date": told["day"]})
said["bill"] = world.texts(bill["bill_download_url"])
said["ours_verified"] = [verified(params, told["app_public_key"]) for params in told["ours"]]
said["ours_altered"] = [verified(params | {"app_id": "1"}, told["app_public_key"]) for params in told["ours"]]
print(json.dumps(said))
