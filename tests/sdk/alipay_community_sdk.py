"""Run in the environment of python-alipay-sdk: a merchant's day, in key mode and with certificates, printed as JSON."""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

sys.path.insert(0, str(Path(__file__).parent))

from alipay import AliPay, DCAliPay
from alipay.exceptions import AliPayException, AliPayValidationError
from alipay_world import World

told = json.load(sys.stdin)
world = World(told["base_url"], told["seller_id"])


def open_to(library: Any) -> Any:
    library._gateway = f"{told['base_url']}/gateway.do"
    return library


keys = open_to(
    AliPay(
        appid=told["app_id"],
        app_notify_url=world.notify_url,
        app_private_key_string=told["private_key"],
        alipay_public_key_string=told["alipay_public_key"],
    )
)
certificates = open_to(
    DCAliPay(
        appid=told["app_id"],
        app_notify_url=world.notify_url,
        app_private_key_string=told["private_key"],
        app_public_key_cert_string=told["app_certificate"],
        alipay_public_key_cert_string=told["alipay_certificate"],
        alipay_root_cert_string=told["alipay_root_certificate"],
    )
)


def verified(library: Any, form: str, **changes: str) -> bool:
    """Verify a notice as the library does."""
    fields = dict(parse_qsl(form)) | changes
    return bool(library.verify(fields, fields.pop("sign")))


def trade(library: Any, name: str) -> dict[str, Any]:
    """Do everything once with the library in one of its modes."""
    order = f"sdk_community_{name}"
    said: dict[str, Any] = {"precreate": library.api_alipay_trade_precreate("茶叶", order, "12.34")}
    world.pay(order)
    said["query"] = library.api_alipay_trade_query(out_trade_no=order)
    said["notice"] = world.notice(order)
    said["notice_verified"] = verified(library, said["notice"])
    said["forged_verified"] = verified(library, said["notice"], total_amount="99.99")
    said["refunds"] = [
        library.api_alipay_trade_refund("2.34", out_trade_no=order, out_request_no=f"{name}_r1") for _ in range(2)
    ]
    said["refund_query"] = library.api_alipay_trade_fastpay_refund_query(f"{name}_r1", out_trade_no=order)
    said["barcode"] = library.api_alipay_trade_pay(
        f"{order}_code", "bar_code", told["auth_codes"].pop(), "tea", total_amount=1
    )
    said["cancel"] = library.api_alipay_trade_cancel(out_trade_no=f"{order}_code")
    said["close"] = library.api_alipay_trade_close(out_trade_no="sdk_community_none")
    page = library.api_alipay_trade_page_pay("茶叶 page", f"{order}_page", 3.0)
    said["page"] = world.fetch(f"{told['base_url']}/gateway.do?{page}")
    receiver = {"type": "userId", "account": "2088101126708402"}
    binding = {"receiver_list": [receiver], "out_request_no": f"{name}_bind"}
    said["bind"] = library.server_api("alipay.trade.royalty.relation.bind", binding)
    shares = [{"royalty_type": "transfer", "trans_in": receiver["account"], "amount": "0.50"}]
    said["settle"] = library.api_alipay_trade_order_settle(f"{name}_s1", said["query"]["trade_no"], shares)
    settled = {"settle_no": said["settle"]["settle_no"]}
    said["settle_query"] = library.server_api("alipay.trade.order.settle.query", settled)
    return said


said: dict[str, Any] = {"keys": trade(keys, "keys"), "certificates": trade(certificates, "certificates")}
said["app_cert_sn"], said["root_cert_sn"] = certificates.app_cert_sn, certificates.alipay_root_cert_sn

strange = open_to(
    AliPay(
        appid=told["app_id"],
        app_private_key_string=told["private_key"],
        alipay_public_key_string=told["app_public_key"],
    )
)
try:
    said["stranger"] = strange.api_alipay_trade_query(out_trade_no="sdk_community_keys")
except AliPayValidationError as refused:
    said["stranger"] = type(refused).__name__
nobody = open_to(
    AliPay(
        appid="2021000000000000",
        app_private_key_string=told["private_key"],
        alipay_public_key_string=told["alipay_public_key"],
    )
)
try:
    said["nobody"] = nobody.api_alipay_trade_query(out_trade_no="sdk_community_keys")
except AliPayException as refused:
    said["nobody"] = str(refused)

world.control("alipay/close-day", date=told["day"])
for kind in ("trade", "signcustomer"):
    asked = {"bill_type": kind, "bill_date": told["day"]}
    bill = keys.server_api("alipay.data.dataservice.bill.downloadurl.query", asked)
    said[kind] = world.texts(bill["bill_download_url"])


# The library's own verification, given the application's key in place of Alipay's, over its own text to sign.
def ours_verified(params: dict[str, str]) -> bool:
    items = strange._ordered_data({name: value for name, value in params.items() if name != "sign" and value})
    return bool(strange._verify("&".join(f"{name}={value}" for name, value in items), params["sign"]))


said["ours_verified"] = [ours_verified(params) for params in told["ours"]]
said["ours_altered"] = [ours_verified(params | {"app_id": "1"}) for params in told["ours"]]
print(json.dumps(said))
