"""A bank's collection service as the tests play it: its keys, its answers, its notifications."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives import serialization

from channels import Method, Order, RefundOrder
from channels.bank_transfer import BankTransfer, build
from channels.banks.iso20022 import signing
from kernel.env import Response
from kernel.money import Money

GOLDEN = Path(__file__).parents[2] / "golden" / "bank_transfer"
KEYS = GOLDEN / "keys"
NOW = datetime(2026, 11, 24, 8, 30, 0, tzinfo=UTC)
POOL = "6200000000000000017"
VIRTUAL = "6299000000000000421"
HOLDER = "云南茶行有限公司"  # of the pool account, and so of every virtual one
CREDIT_REF, RETURN_REF = "SBC202611240000000042", "SBR202611240000000007"


def public_pem(name: str) -> str:
    key = signing.private_key((KEYS / f"{name}.pem").read_text())
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def settings(**changes: Any) -> dict[str, Any]:
    given = {
        "merchant": "VA00000001",
        "base_url": "https://bank.example/collect",
        "pool": POOL,
        "token": "va_token_of_the_customer",
        "key_id": "CUST-1",
        "private_key": (KEYS / "customer.pem").read_text(),
        "bank_key_id": "COLL-1",
        "bank_public_key": public_pem("bank"),
    }
    return given | changes


def channel() -> BankTransfer:
    return build(settings())


def order(**changes: Any) -> Order:
    fields: dict[str, Any] = {
        "reference": "1-01937a0b5c00aabbccddeeff001",
        "amount": Money(123456, "CNY"),
        "method": Method.TRANSFER,
        "description": "茶叶\nTea",
        "notify_url": "https://hub.example/notify/bank_transfer/1/main",
        "expires_at": datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC),
        "created_at": datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC),
    }
    return Order(**(fields | changes))


def refund_order(**changes: Any) -> RefundOrder:
    fields: dict[str, Any] = {
        "reference": "1-01937a0b5c00aabbccddeeff99",
        "payment_reference": order().reference,
        "payment_amount": Money(123456, "CNY"),
        "amount": Money(456, "CNY"),
        "reason": "不合适",
        "notify_url": "https://hub.example/notify/bank_transfer/1/main",
        "created_at": datetime(2026, 11, 24, 8, 20, 0, tzinfo=UTC),
        "payment_created_at": order().created_at,
        "payment_channel_ref": CREDIT_REF,
    }
    return RefundOrder(**(fields | changes))


@dataclass
class Bank:
    """Signs as the bank does, with the key of that name."""

    key: str = "bank"
    key_id: str = "COLL-1"

    def signed(self, status: int, body: bytes, *, at: datetime = NOW) -> Response:
        key = signing.private_key((KEYS / f"{self.key}.pem").read_text())
        header = signing.sign(body, key, key_id=self.key_id, created=int(at.timestamp()))
        return Response(status, {signing.HEADER.lower(): header}, body)

    def says(self, status: int, body: Any, *, at: datetime = NOW) -> Response:
        return self.signed(status, orjson.dumps(body), at=at)


def account(**changes: Any) -> dict[str, Any]:
    said = {
        "reference": order().reference,
        "account": VIRTUAL,
        "name": HOLDER,
        "bank_name": "Sandbox Bank",
        "bic": "SBXBCNBJXXX",
        "amount": "1234.56",
        "currency": "CNY",
        "status": "open",
        "credit": None,
    }
    return said | changes


def credited(**changes: Any) -> dict[str, Any]:
    credit = {"bank_ref": CREDIT_REF, "amount": "1234.56", "currency": "CNY", "booked_at": "2026-11-24T08:10:00.500Z"}
    return account(status="credited", credit=credit | changes)


def returned(**changes: Any) -> dict[str, Any]:
    said = {
        "reference": refund_order().reference,
        "payment_reference": order().reference,
        "amount": "4.56",
        "currency": "CNY",
        "status": "booked",
        "bank_ref": RETURN_REF,
        "booked_at": "2026-11-24T08:25:00Z",
    }
    return said | changes


def notification(name: str) -> bytes:
    return (GOLDEN / f"{name}.xml").read_bytes()
