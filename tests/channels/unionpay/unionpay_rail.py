"""UnionPay's side of the wire for tests, written from the public documents and not from our adapter."""

import hashlib
import zipfile
import zlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.x509.oid import NameOID

from channels import Method, Order, RefundOrder, unionpay
from channels.unionpay import UnionPay
from kernel.env import Response
from kernel.money import Money

GOLDEN = Path(__file__).parents[2] / "golden" / "unionpay"
KEYS = GOLDEN / "keys"
MER_ID, CERT_ID = "777290058110048", "68759585097"
BASE_URL = "https://gateway.95516.com"
NOW = datetime(2026, 11, 24, 8, 30, 0, tzinfo=UTC)  # 16:30 in Beijing
REFERENCE, ORDER_ID = "1-01937a0b5c00aabbccddeeff001", "1Z01937a0b5c00aabbccddeeff001"
CAPTURE_ID, VOID_ID = "1C01937a0b5c00aabbccddeeff001", "1V01937a0b5c00aabbccddeeff001"
REFUND_REFERENCE, REFUND_ID = "1-01937a0b5c00aabbccddeeff99", "1Z01937a0b5c00aabbccddeeff99"
TXN_TIME, REFUND_TIME = "20261124160000", "20261124161000"
QUERY_ID, HOLD_ID, REFUND_QUERY_ID = "201611241600003000001", "201611241600002000001", "201611241610004000001"


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "mer_id": MER_ID,
        "cert_id": CERT_ID,
        "private_key_file": str(KEYS / "merchant.pem"),
        "root_cert_file": str(KEYS / "root_certificate.pem"),
        "middle_cert_file": str(KEYS / "middle_certificate.pem"),
        "base_url": BASE_URL,
    } | changes


def channel(**changes: Any) -> UnionPay:
    return unionpay.build(settings(**changes))


def order(method: Method = Method.PAGE, **changes: Any) -> Order:
    fields: dict[str, Any] = {
        "reference": REFERENCE,
        "amount": Money(1234, "CNY"),
        "method": method,
        "description": "茶叶 Tea & more",
        "notify_url": "https://hub.example/notices/unionpay/acc",
        "expires_at": datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC),
        "created_at": datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC),
        "return_url": "https://shop.example/thanks?order=7",
    }
    return Order(**(fields | changes))


def held_order(**changes: Any) -> Order:
    return order(authorize_only=True, **({"channel_ref": HOLD_ID} | changes))


def refund_order(**changes: Any) -> RefundOrder:
    fields: dict[str, Any] = {
        "reference": REFUND_REFERENCE,
        "payment_reference": REFERENCE,
        "payment_amount": Money(1234, "CNY"),
        "amount": Money(234, "CNY"),
        "reason": "不合适",
        "notify_url": "https://hub.example/notices/unionpay/acc",
        "created_at": datetime(2026, 11, 24, 8, 10, 0, tzinfo=UTC),
        "payment_created_at": order().created_at,
        "payment_channel_ref": QUERY_ID,
        "payment_authorized": False,
    }
    return RefundOrder(**(fields | changes))


@dataclass(frozen=True)
class Rail:
    """One of UnionPay's signing keys with a certificate of it, and what it would send."""

    key_name: str = "signing_old"
    certificate_name: str = "signing_old"
    certificate: str = ""  # PEM, instead of one that is kept

    def signed(self, fields: Mapping[str, str]) -> dict[str, str]:
        pem = self.certificate or (KEYS / f"{self.certificate_name}_certificate.pem").read_text()
        full = {**fields, "signPubKeyCert": pem.replace("\n", "\r\n")}
        text = "&".join(f"{name}={full[name]}" for name in sorted(full))
        key: Any = serialization.load_pem_private_key((KEYS / f"{self.key_name}.pem").read_bytes(), None)
        digits = hashlib.sha256(text.encode()).hexdigest().encode()
        return full | {"signature": b64encode(key.sign(digits, padding.PKCS1v15(), hashes.SHA256())).decode()}

    def answer(self, fields: Mapping[str, str], status: int = 200) -> Response:
        return plain(self.signed(fields), status)

    def notice(self, fields: Mapping[str, str]) -> Response:
        return form(self.signed(fields))


@cache
def a_chain(*names: str) -> tuple[dict[str, str], dict[str, Rail]]:
    """Return the settings that pin a chain of its own, and under each of these names a signer of that chain."""
    key: Any = serialization.load_pem_private_key((KEYS / "signing_old.pem").read_bytes(), None)
    root_key, middle_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root, middle = x509.Name([_named("Root")]), x509.Name([_named("Middle")])

    def issue(subject: x509.Name, public_key: Any, issuer: x509.Name, issuer_key: Any) -> str:
        builder = x509.CertificateBuilder(issuer, subject, public_key, x509.random_serial_number())
        builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    pinned = {
        "root_cert": issue(root, root_key.public_key(), root, root_key),
        "middle_cert": issue(middle, middle_key.public_key(), root, root_key),
    }
    signers = {}
    for name in names:
        leaf = x509.Name([_named(f"041@Z2024@{name}@00000001")])
        signers[name] = Rail(certificate=issue(leaf, key.public_key(), middle, middle_key))
    return pinned, signers


def _named(common_name: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.COMMON_NAME, common_name)


def plain(fields: Mapping[str, str], status: int = 200) -> Response:
    """Return an answer: pairs that are not encoded."""
    body = "&".join(f"{name}={value}" for name, value in fields.items())
    return Response(status, {"content-type": "text/html;charset=UTF-8"}, body.encode())


def form(fields: Mapping[str, str]) -> Response:
    """Return a notice: an encoded form."""
    return Response(
        200, {"content-type": "application/x-www-form-urlencoded;charset=UTF-8"}, urlencode(fields).encode()
    )


def said(txn_type: str, sub_type: str = "00", **fields: str) -> dict[str, str]:
    """Return what each message of UnionPay's says; without those fields whose value is empty."""
    full = {
        "version": "5.1.0",
        "encoding": "UTF-8",
        "signMethod": "01",
        "bizType": "000201",
        "accessType": "0",
        "merId": MER_ID,
        "orderId": ORDER_ID,
        "txnTime": TXN_TIME,
        "txnType": txn_type,
        "txnSubType": sub_type,
        "respCode": "00",
        "respMsg": "成功[0000000]",
    } | fields
    return {name: value for name, value in full.items() if value}


def moved(amount: int = 1234, query_id: str = QUERY_ID, trace_time: str = "1124160130") -> dict[str, str]:
    """Return what UnionPay says of money it moved."""
    return {
        "txnAmt": str(amount),
        "currencyCode": "156",
        "settleAmt": str(amount),
        "settleCurrencyCode": "156",
        "settleDate": "1124",
        "traceNo": "000001",
        "traceTime": trace_time,
        "queryId": query_id,
        "payCardType": "01",
        "accNo": "6216***********0018",
        "cardTransData": "{a=1&b={c=2}}",
    }


SUB_TYPES = {"01": "01", "02": "01", "03": "00", "04": "00", "31": "00", "32": "00"}


def queried(code: str = "00", txn_type: str = "", **fields: str) -> dict[str, str]:
    """Return a query's answer about a transaction that ended with this code.

    txn_type: that of the transaction, which the answer carries; by default what our numbers are of.
    """
    done = moved() if code == "00" else {}
    of = {CAPTURE_ID: "03", VOID_ID: "32", REFUND_ID: "04"}
    kind = txn_type or of.get(fields.get("orderId", ORDER_ID), "01")
    words = "成功[0000000]" if code == "00" else "说明"
    return said(kind, SUB_TYPES[kind], bizType="000000", origRespCode=code, origRespMsg=words) | done | fields


# ---- settlement files ------------------------------------------------------------------------------------------------

WIDTHS = [3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32,
          13, 13, 8, 32, 13, 13, 12, 2, 1, 131]  # fmt: skip
ZME_WIDTHS = [3, 11, 11, 6, 10, 19, 12, 4, 2, 2, 6, 10, 4, 12, 13, 13, 15, 15, 1, 12, 2, 135]
DAY = date(2026, 11, 24)


def line(widths: list[int] = WIDTHS, **columns: str) -> bytes:
    """Return one line; columns are named c1, c2, … as the layout counts them."""
    values = [columns.get(f"c{number}", "").encode("gbk") for number in range(1, len(widths) + 1)]
    return b" ".join(value.ljust(width) for value, width in zip(values, widths, strict=True))


def payment_line(**columns: str) -> bytes:
    return line(
        **{
            "c1": "S22", "c4": "000001", "c5": "1124160130", "c7": "000000001234", "c10": QUERY_ID, "c12": ORDER_ID,
            "c16": "D000000000007", "c17": "C000000001227", "c20": "01", "c21": "01", "c22": "000201", "c28": MER_ID,
        } | columns
    )  # fmt: skip


def refund_line(**columns: str) -> bytes:
    return line(
        **{
            "c1": "S30", "c4": "000002", "c5": "1124161001", "c7": "000000000234", "c10": REFUND_QUERY_ID,
            "c12": REFUND_ID, "c16": "C000000000001", "c17": "D000000000233", "c20": "04", "c21": "00",
            "c22": "000201", "c27": QUERY_ID, "c28": MER_ID, "c35": ORDER_ID,
        } | columns
    )  # fmt: skip


def zipped(*lines: bytes, day: date = DAY, mer_id: str = MER_ID, exceptions: bytes = b"", **more: bytes) -> bytes:
    """Return a day's zip. more: further files by name."""
    archive = BytesIO()
    files = {
        f"INN{day:%y%m%d}88ZM_{mer_id}": b"".join(one + b"\r\n" for one in lines),
        f"INN{day:%y%m%d}88ZME_{mer_id}": exceptions,
    }
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in (files | more).items():
            target.writestr(zipfile.ZipInfo(name, (2026, 11, 25, 9, 0, 0)), content)
    return archive.getvalue()


def packed(content: bytes) -> str:
    """Return fileContent."""
    return b64encode(zlib.compress(content)).decode()
