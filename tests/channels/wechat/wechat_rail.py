"""WeChat's side of the wire for tests, written from the public documents and not from our adapter."""

import json
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from channels import Method, Order, RefundOrder, wechat
from channels.wechat import WeChatPay
from kernel.env import Response
from kernel.money import Money

GOLDEN = Path(__file__).parents[2] / "golden" / "wechat"
KEYS = GOLDEN / "keys"
MCHID, APPID = "1900000109", "wxd678efh567hg6787"
MERCHANT_SERIAL = "33DDFEC51BF5412F663B9B56510FD567B625FC68"
OLD_SERIAL, NEW_SERIAL = "0A11CE0000000000000000000000000000000001", "5EA1000000000000000000000000000000000002"
PUBLIC_KEY_ID = "PUB_KEY_ID_0114232134912410000000000000"
NOW = datetime(2026, 11, 24, 8, 30, 0, tzinfo=UTC)
BASE_URL = "https://api.mch.weixin.qq.com"
APIV3_KEY = (KEYS / "apiv3_key.txt").read_bytes()


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "mchid": MCHID,
        "appid": APPID,
        "serial_no": MERCHANT_SERIAL,
        "private_key_file": str(KEYS / "merchant.pem"),
        "apiv3_key_file": str(KEYS / "apiv3_key.txt"),
        "base_url": BASE_URL,
        "platform_certificates": [{"serial_no": OLD_SERIAL, "file": str(KEYS / "platform_old_certificate.pem")}],
        "public_key_id": PUBLIC_KEY_ID,
        "public_key_file": str(KEYS / "platform_public_key_public.pem"),
    } | changes


def channel(**changes: Any) -> WeChatPay:
    return wechat.build(settings(**changes))


def order(method: Method = Method.QR, **changes: Any) -> Order:
    fields: dict[str, Any] = {
        "reference": "1-01937a0b5c00aabbccddeeff00112",
        "amount": Money(1234, "CNY"),
        "method": method,
        "description": "茶叶 Tea",
        "notify_url": "https://hub.example/notices/wechat/acc",
        "expires_at": datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC),
        "created_at": datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC),
    }
    if method is Method.BARCODE:
        fields |= {"auth_code": "134567890123456787", "store": "till-7"}
    return Order(**(fields | changes))


def refund_order(**changes: Any) -> RefundOrder:
    fields: dict[str, Any] = {
        "reference": "1-01937a0b5c00aabbccddeeff00999",
        "payment_reference": order().reference,
        "payment_amount": Money(1234, "CNY"),
        "amount": Money(234, "CNY"),
        "reason": "不合适",
        "notify_url": "https://hub.example/notices/wechat/acc",
        "created_at": datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC),
        "payment_created_at": order().created_at,
    }
    return RefundOrder(**(fields | changes))


@dataclass
class Rail:
    """One of WeChat's signing keys, and what it would send."""

    key_name: str = "platform_old"
    serial: str = OLD_SERIAL
    key: Any = field(init=False)

    def __post_init__(self) -> None:
        self.key = serialization.load_pem_private_key((KEYS / f"{self.key_name}.pem").read_bytes(), None)

    def signed(self, status: int, body: bytes | dict[str, Any] = b"", *, at: datetime = NOW, **swap: str) -> Response:
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        timestamp, nonce = str(int(at.timestamp())), "5K8264ILTKCH16CQ2502SI8ZNMTM67VS"
        message = f"{timestamp}\n{nonce}\n".encode() + raw + b"\n"
        signature = b64encode(self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()
        headers = {
            "wechatpay-timestamp": timestamp,
            "wechatpay-nonce": nonce,
            "wechatpay-signature": signature,
            "wechatpay-serial": self.serial,
            "wechatpay-signature-type": "WECHATPAY2-SHA256-RSA2048",
            "request-id": "08F7",
        }
        return Response(status, headers | {name.replace("_", "-"): value for name, value in swap.items()}, raw)

    def notice(
        self, event: str, content: dict[str, Any] | bytes, *, associated: str = "transaction", **changes: Any
    ) -> Response:
        plain = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()
        envelope = {
            "id": "EV-2018022511223320873",
            "create_time": "2026-11-24T16:29:59+08:00",
            "resource_type": "encrypt-resource",
            "event_type": event,
            "summary": "支付成功",
            "resource": sealed(plain, associated) | {"original_type": associated},
        } | changes
        return self.signed(200, envelope)


def sealed(plain: bytes, associated: str, nonce: str = "fdasflkja484") -> dict[str, Any]:
    ciphertext = AESGCM(APIV3_KEY).encrypt(nonce.encode(), plain, associated.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": b64encode(ciphertext).decode(),
        "associated_data": associated,
        "nonce": nonce,
    }


def certificates(*names_and_serials: tuple[str, str]) -> dict[str, Any]:
    """What /v3/certificates answers."""
    return {
        "data": [
            {
                "serial_no": serial,
                "effective_time": "2022-01-01T08:00:00+08:00",
                "expire_time": "2031-11-01T08:00:00+08:00",
                "encrypt_certificate": sealed((KEYS / f"{name}_certificate.pem").read_bytes(), "certificate"),
            }
            for name, serial in names_and_serials
        ]
    }


def transaction(state: str = "SUCCESS", **changes: Any) -> dict[str, Any]:
    """What a query answers, and what a payment notice holds."""
    paid = {
        "transaction_id": "4200002511202611249876543210",
        "trade_type": "NATIVE",
        "bank_type": "OTHERS",
        "success_time": "2026-11-24T16:29:58+08:00",
        "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
        "amount": {"total": 1234, "payer_total": 1234, "currency": "CNY", "payer_currency": "CNY"},
    }
    body = {
        "appid": APPID,
        "mchid": MCHID,
        "out_trade_no": order().reference,
        "trade_state": state,
        "trade_state_desc": "支付成功",
        "attach": "",
    }
    return body | (paid if state in ("SUCCESS", "REFUND") else {}) | changes


def refund(status: str = "SUCCESS", *, notice: bool = False, **changes: Any) -> dict[str, Any]:
    """What a refund query answers, or what a refund notice holds."""
    body: dict[str, Any] = {
        "refund_id": "50302511112026112412345678901",
        "out_refund_no": refund_order().reference,
        "transaction_id": "4200002511202611249876543210",
        "out_trade_no": order().reference,
        "user_received_account": "招商银行信用卡0403",
    }
    amount: dict[str, Any] = {"total": 1234, "refund": 234, "payer_total": 1234, "payer_refund": 234}
    if status == "SUCCESS":
        body["success_time"] = "2026-11-24T16:29:59+08:00"
    if notice:
        return body | {"mchid": MCHID, "refund_status": status, "amount": amount} | changes
    answer = {"channel": "ORIGINAL", "create_time": "2026-11-24T16:29:50+08:00", "status": status}
    return body | answer | {"amount": amount | {"currency": "CNY"}} | changes
