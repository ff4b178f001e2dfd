"""Alipay's side of the wire for tests, written from the public documents and not from our adapter."""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from channels import Method, Order, RefundOrder, alipay
from channels.alipay import Alipay
from kernel.env import Response
from kernel.money import Money

GOLDEN = Path(__file__).parents[2] / "golden" / "alipay"
KEYS = GOLDEN / "keys"
APP_ID, SELLER_ID = "2021000000000001", "2088101117955611"
# MD5 of the issuer, "CN=Ant Financial Certification Authority Class 2 R1,OU=…,O=…,C=CN", and the serial number.
OLD_SN, NEW_SN = "17d01f28fa8218e4b42132e5180946fe", "64d38f9128a4236f7d654aa29228dd7a"
APP_SN, ROOT_SN = "917c48393302da079fa7e4c9eeaac924", "4992fc358b0a487f7da9c76dd36c418f"
NOW = datetime(2026, 11, 24, 8, 30, 0, tzinfo=UTC)
BASE_URL = "https://openapi.alipay.com"


def pem(name: str) -> str:
    return (KEYS / f"{name}.pem").read_text()


def settings(**changes: Any) -> dict[str, Any]:
    """Return the settings of an account in key mode."""
    return {
        "app_id": APP_ID,
        "seller_id": SELLER_ID,
        "private_key_file": str(KEYS / "app.pem"),
        "alipay_public_key_file": str(KEYS / "alipay_public.pem"),
        "base_url": BASE_URL,
    } | changes


def certified(**changes: Any) -> dict[str, Any]:
    """Return the settings of the same account in certificate mode."""
    return {
        "app_id": APP_ID,
        "seller_id": SELLER_ID,
        "private_key": pem("app"),
        "app_certificate": pem("app_certificate"),
        "alipay_certificate_file": str(KEYS / "alipay_old_certificate.pem"),
        "alipay_root_certificate": pem("alipay_root"),
        "base_url": BASE_URL,
    } | changes


def channel(**changes: Any) -> Alipay:
    return alipay.build(settings(**changes))


def certified_channel(**changes: Any) -> Alipay:
    return alipay.build(certified(**changes))


def order(method: Method = Method.QR, **changes: Any) -> Order:
    fields: dict[str, Any] = {
        "reference": "1-01937a0b5c00aabbccddeeff001120",
        "amount": Money(1234, "CNY"),
        "method": method,
        "description": "茶叶 Tea",
        "notify_url": "https://hub.example/notify/alipay/1/acc",
        "expires_at": datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC),
        "created_at": datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC),
    }
    if method is Method.BARCODE:
        fields |= {"auth_code": "287654321098765432", "store": "till-7"}
    if method is Method.JSAPI:
        fields |= {"payer": "2088102177846880"}
    if method in (Method.PAGE, Method.H5):
        fields |= {"return_url": "https://shop.example/back"}
    return Order(**(fields | changes))


def refund_order(**changes: Any) -> RefundOrder:
    fields: dict[str, Any] = {
        "reference": "1-01937a0b5c00aabbccddeeff00999",
        "payment_reference": order().reference,
        "payment_amount": Money(1234, "CNY"),
        "amount": Money(234, "CNY"),
        "reason": "不合适",
        "notify_url": "https://hub.example/notify/alipay/1/acc",
        "created_at": datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC),
        "payment_created_at": order().created_at,
    }
    return RefundOrder(**(fields | changes))


@dataclass
class Rail:
    """One of Alipay's signing keys, and what it would send. cert_sn: in certificate mode."""

    key_name: str = "alipay"
    cert_sn: str = ""
    key: Any = field(init=False)

    def __post_init__(self) -> None:
        self.key = serialization.load_pem_private_key(pem(self.key_name).encode(), None)

    def signature(self, message: bytes) -> str:
        return b64encode(self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()

    def answer(self, method: str, fields: Mapping[str, Any] | bytes, *, node: str = "", status: int = 200) -> Response:
        """Return a signed answer as Alipay writes them: the object, the certificate's number, the signature."""
        raw = fields if isinstance(fields, bytes) else as_alipay_writes(fields)
        name = node or f"{method.replace('.', '_')}_response"
        certificate = f'"alipay_cert_sn":"{self.cert_sn}",' if self.cert_sn else ""
        body = f'{{"{name}":'.encode() + raw + f',{certificate}"sign":"{self.signature(raw)}"}}'.encode()
        return Response(status, {"content-type": "text/html;charset=utf-8"}, body)

    def notice(self, fields: Mapping[str, str], *, charset: str = "utf-8", **swap: str) -> Response:
        """Return a signed form. swap: what is changed after it was signed."""
        raw = {name: value.encode(charset) for name, value in fields.items()}
        if self.cert_sn:
            raw["alipay_cert_sn"] = self.cert_sn.encode()
        lines = [name.encode() + b"=" + raw[name] for name in sorted(raw) if raw[name]]
        raw |= {"sign": self.signature(b"&".join(lines)).encode(), "sign_type": b"RSA2"}
        raw |= {name: value.encode(charset) for name, value in swap.items()}
        body = "&".join(f"{name}={quote_from_bytes(value, safe='')}" for name, value in raw.items())
        headers = {"content-type": f"application/x-www-form-urlencoded;charset={charset}"}
        return Response(200, headers, body.encode())


def as_alipay_writes(fields: Mapping[str, Any]) -> bytes:
    r"""Return JSON with each slash escaped, as Alipay's is."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/").encode()


def ok(**fields: Any) -> dict[str, Any]:
    return {"code": "10000", "msg": "Success", **fields}


def refused(sub_code: str, code: str = "40004", **fields: Any) -> dict[str, Any]:
    return {"code": code, "msg": "Business Failed", "sub_code": sub_code, "sub_msg": "说明", **fields}


TRADE_NO = "2026112422001446881000000001"
NUMBER, REFUND_NUMBER = "1_01937a0b5c00aabbccddeeff001120", "1_01937a0b5c00aabbccddeeff00999"


def trade(status: str = "TRADE_SUCCESS", **changes: Any) -> dict[str, Any]:
    """What a query answers."""
    body = ok(
        buyer_logon_id="159****5620",
        buyer_pay_amount="0.00",
        buyer_user_id="2088102177846880",
        invoice_amount="0.00",
        out_trade_no=NUMBER,
        point_amount="0.00",
        receipt_amount="0.00",
        total_amount="12.34",
        trade_no=TRADE_NO,
        trade_status=status,
    )
    if status in ("TRADE_SUCCESS", "TRADE_FINISHED"):
        body |= {
            "send_pay_date": "2026-11-24 16:29:58",
            "buyer_pay_amount": "12.34",
            "receipt_amount": "12.34",
            "fund_bill_list": [{"amount": "12.34", "fund_channel": "ALIPAYACCOUNT"}],
        }
    return {name: value for name, value in (body | changes).items() if value is not None}


def charged(**changes: Any) -> dict[str, Any]:
    """What charging a payer's code answers."""
    body = trade()
    del body["trade_status"], body["send_pay_date"]
    return body | {"gmt_payment": "2026-11-24 16:29:58"} | changes


def refunded(**changes: Any) -> dict[str, Any]:
    """What a refund request answers."""
    return (
        ok(
            buyer_logon_id="159****5620",
            buyer_user_id="2088102177846880",
            fund_change="Y",
            gmt_refund_pay="2026-11-24 18:00:01",
            out_trade_no=NUMBER,
            refund_fee="2.34",
            send_back_fee="0.00",
            trade_no=TRADE_NO,
        )
        | changes
    )


def refund_found(**changes: Any) -> dict[str, Any]:
    """What a refund query answers."""
    body = ok(
        gmt_refund_pay="2026-11-24 18:00:01",
        out_request_no=REFUND_NUMBER,
        out_trade_no=NUMBER,
        refund_amount="2.34",
        refund_status="REFUND_SUCCESS",
        total_amount="12.34",
        trade_no=TRADE_NO,
    )
    return {name: value for name, value in (body | changes).items() if value is not None}


def told(status: str = "TRADE_SUCCESS", **changes: str | None) -> dict[str, str]:
    """What a notice about a payment says."""
    body: dict[str, str | None] = {
        "gmt_create": "2026-11-24 16:29:50",
        "charset": "utf-8",
        "seller_email": "tea@shop.example",
        "subject": "茶叶 Tea",
        "buyer_id": "2088102177846880",
        "invoice_amount": "12.34",
        "notify_id": "2026112400222162958046880000000001",
        "fund_bill_list": '[{"amount":"12.34","fundChannel":"ALIPAYACCOUNT"}]',
        "notify_type": "trade_status_sync",
        "trade_status": status,
        "receipt_amount": "12.34",
        "buyer_pay_amount": "12.34",
        "app_id": APP_ID,
        "seller_id": SELLER_ID,
        "gmt_payment": "2026-11-24 16:29:58",
        "notify_time": "2026-11-24 16:29:59",
        "version": "1.0",
        "out_trade_no": NUMBER,
        "total_amount": "12.34",
        "trade_no": TRADE_NO,
        "auth_app_id": APP_ID,
        "point_amount": "0.00",
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


def told_of_refund(status: str = "TRADE_SUCCESS", **changes: str | None) -> dict[str, str]:
    """What a notice about a refund says."""
    refund = {"gmt_refund": "2026-11-24 18:00:01.234", "refund_fee": "2.34", "out_biz_no": REFUND_NUMBER}
    return told(status, **(refund | changes))
