"""What the simulated Alipay does that the contract suite does not look at: its wire, payers, shares and files."""

import io
import json
import sqlite3
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from tests.sandbox.sandbox_client import Reply, Sandbox, exchange

BEIJING = timezone(timedelta(hours=8))


def today() -> date:
    return datetime.now(BEIJING).date()


class Shop:
    """A merchant's side of Alipay, written from the protocol alone."""

    def __init__(self, sandbox: Sandbox, **wishes: Any) -> None:
        self.sandbox = sandbox
        self.account = sandbox.control("POST", "/alipay/merchants", wishes)
        self.merchant, self.app_id = self.account["merchant"], self.account["app_id"]
        private = Path(self.account["private_key_file"]).read_bytes()
        self.key: Any = serialization.load_pem_private_key(private, None)
        public = Path(self.account["alipay_public_key_file"]).read_bytes()
        self.alipay: Any = serialization.load_pem_public_key(public)
        self.orders = 0

    def order(self) -> str:
        self.orders += 1
        return f"o_{self.merchant}_{self.orders}"

    def code(self, last: str) -> str:
        """Return a payer's code."""
        self.orders += 1
        return f"28{int(self.merchant) % 10**9:09}{self.orders:06}{last}"

    def params(self, named: str, content: Any, **changes: str | None) -> dict[str, str]:
        """Return signed parameters; `changes` are made before signing, but for a `sign` of their own."""
        said: dict[str, str | None] = {
            "app_id": self.app_id,
            "method": named,
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": f"{datetime.now(BEIJING):%Y-%m-%d %H:%M:%S}",
            "version": "1.0",
            "biz_content": content if isinstance(content, str) else json.dumps(content, ensure_ascii=False),
        }
        kept = {name: value for name, value in (said | changes).items() if value is not None}
        message = "&".join(f"{name}={value}" for name, value in sorted(kept.items()) if value and name != "sign")
        charset = {"GBK": "gbk"}.get(kept.get("charset", ""), "utf-8")
        signature = self.key.sign(message.encode(charset), padding.PKCS1v15(), hashes.SHA256())
        return {"sign": b64encode(signature).decode()} | kept

    def ask(self, method: str, content: Any, **changes: str | None) -> dict[str, Any]:
        """Send a call with everything in its query, and return the response once its signature is verified."""
        reply = self.send(self.params(method, content, **changes))
        name, said = self.read(reply)
        assert name == method.replace(".", "_") + "_response"
        return said

    def send(self, params: dict[str, str]) -> Reply:
        return exchange(self.sandbox.base_url, "GET", "/gateway.do?" + urlencode(params), {}, b"")

    def read(self, reply: Reply, charset: str = "utf-8") -> tuple[str, dict[str, Any]]:
        """Return (name, response) of an answer whose signature is right. Raises InvalidSignature."""
        assert reply.status == 200
        text = reply.body.decode(charset)
        name, _, rest = text.removeprefix('{"').partition('":')
        signed, _, signature = rest.partition(',"sign":"')
        raw = signature.removesuffix('"}')
        self.alipay.verify(b64decode(raw), signed.encode(charset), padding.PKCS1v15(), hashes.SHA256())
        return name, json.loads(signed)

    def paid(self, fen: int = 1000, **content: Any) -> tuple[str, dict[str, Any]]:
        """Return a paid order and its query."""
        order = self.order()
        wanted = {"out_trade_no": order, "total_amount": f"{fen / 100:.2f}", "subject": "tea", **content}
        assert self.ask("alipay.trade.precreate", wanted)["code"] == "10000"
        self.control("pay", order=order)
        return order, self.ask("alipay.trade.query", {"out_trade_no": order})

    def control(self, call: str, **body: str) -> Any:
        named = body if "code" in body else {"merchant": self.merchant, **body}
        return self.sandbox.control("POST", f"/alipay/{call}", named)

    def flow(self) -> dict[str, int]:
        """Return the account flow of today, which ends with it: business → sum in fen."""
        self.control("close-day", date=today().isoformat())
        sums: dict[str, int] = {}
        for line in self.file("signcustomer").splitlines():
            values = line.split(",")
            if line.startswith("0"):
                sums[values[10]] = (
                    sums.get(values[10], 0) + round(float(values[6]) * 100) + round(float(values[7]) * 100)
                )
        return sums

    def file(self, kind: str) -> str:
        url = self.address(kind)
        target = url.removeprefix(self.sandbox.base_url)
        raw = exchange(self.sandbox.base_url, "GET", target, {}, b"").body
        with zipfile.ZipFile(io.BytesIO(raw)) as bundle:
            return bundle.read(bundle.infolist()[0]).decode("gbk")

    def address(self, kind: str) -> str:
        asked = {"bill_type": kind, "bill_date": today().isoformat()}
        url = self.ask("alipay.data.dataservice.bill.downloadurl.query", asked)["bill_download_url"]
        assert isinstance(url, str)
        return url


@pytest.fixture(scope="module")
def shop(sandbox: Sandbox) -> Shop:
    """A merchant for all tests: making keys takes longer than most of them."""
    return Shop(sandbox)


@pytest.fixture
def own_shop(sandbox: Sandbox) -> Shop:
    """A merchant whose day may be ended."""
    return Shop(sandbox)


# ---- the wire --------------------------------------------------------------------------------------------------------


def ways(shop: Shop, params: dict[str, str]) -> Iterator[Callable[[], Reply]]:
    base, form = shop.sandbox.base_url, {"Content-Type": "application/x-www-form-urlencoded"}
    common = {name: value for name, value in params.items() if name != "biz_content"}
    content = urlencode({"biz_content": params["biz_content"]}).encode()
    yield lambda: exchange(base, "GET", f"/gateway.do?{urlencode(params)}", {}, b"")
    yield lambda: exchange(base, "POST", "/gateway.do", form, urlencode(params).encode())
    yield lambda: exchange(base, "POST", f"/gateway.do?{urlencode(common)}", form, content)
    yield lambda: exchange(base, "POST", f"{base}/gateway.do?{urlencode(common)}", form, content)  # absolute form
    yield lambda: exchange(base, "GET", f"/gateway.do?{urlencode(params, quote_via=quote)}", {}, b"")


def test_a_call_may_be_sent_in_each_way_that_clients_send_it(shop: Shop) -> None:
    order = {"out_trade_no": shop.order(), "total_amount": "1.00", "subject": "茶 +1% & ="}
    codes = {shop.read(send())[1]["qr_code"] for send in ways(shop, shop.params("alipay.trade.precreate", order))}
    assert len(codes) == 1, "and the same order gives the same code"


def test_gbk_is_read_and_answered_in_gbk(shop: Shop) -> None:
    params = shop.params("alipay.trade.query", {"out_trade_no": "none", "x": "龙井茶"}, charset="GBK")
    reply = exchange(shop.sandbox.base_url, "GET", f"/gateway.do?{urlencode(params, encoding='gbk')}", {}, b"")
    name, said = shop.read(reply, "gbk")
    assert (name, said["sub_msg"]) == ("alipay_trade_query_response", "交易不存在")


def test_answers_escape_slashes_and_name_no_certificate_in_key_mode(shop: Shop) -> None:
    order = {"out_trade_no": shop.order(), "total_amount": "1.00", "subject": "tea"}
    body = shop.send(shop.params("alipay.trade.precreate", order)).body
    assert b'"qr_code":"https:\\/\\/qr.alipay.com\\/' in body
    assert b"alipay_cert_sn" not in body


NOT_LET_IN: list[tuple[dict[str, str | None], str, str]] = [
    ({"method": None}, "40001", "isv.missing-method"),
    ({"sign_type": None}, "40001", "isv.missing-signature-type"),
    ({"timestamp": None}, "40001", "isv.missing-timestamp"),
    ({"version": None}, "40001", "isv.missing-version"),
    ({"method": "alipay.trade.steal"}, "40002", "isv.invalid-method"),
    ({"sign_type": "RSA"}, "40002", "isv.invalid-signature-type"),
    ({"timestamp": "2026-11-24T16:30:00Z"}, "40002", "isv.invalid-timestamp"),
    ({"charset": "utf-7"}, "40002", "isv.invalid-charset"),
    ({"sign": "QUJD"}, "40002", "isv.invalid-signature"),
    ({"sign": ""}, "40001", "isv.missing-signature"),
    ({"app_cert_sn": "1" * 32, "alipay_root_cert_sn": "2" * 32}, "40002", "isv.invalid-signature"),
]


@pytest.mark.parametrize(("changes", "code", "sub_code"), NOT_LET_IN, ids=[row[2] for row in NOT_LET_IN])
def test_a_request_that_is_not_right_is_not_let_in_and_told_so_signed(
    shop: Shop, changes: dict[str, str | None], code: str, sub_code: str
) -> None:
    params = shop.params("alipay.trade.query", {"out_trade_no": "x"}, **changes)
    _, said = shop.read(shop.send(params))
    assert (said["code"], said["sub_code"]) == (code, sub_code)


def test_an_application_nobody_knows_is_told_so_unsigned(shop: Shop) -> None:
    for app_id, sub_code in (("2021000000000000", "isv.invalid-app-id"), (None, "isv.missing-app-id")):
        said = shop.send(shop.params("alipay.trade.query", {"out_trade_no": "x"}, app_id=app_id)).json
        assert said.keys() == {"error_response"}
        assert said["error_response"]["sub_code"] == sub_code


def test_a_parameter_changed_after_signing_is_seen(shop: Shop) -> None:
    params = shop.params("alipay.trade.query", {"out_trade_no": "x"})
    _, said = shop.read(shop.send(params | {"biz_content": '{"out_trade_no":"y"}'}))
    assert said["sub_code"] == "isv.invalid-signature"


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"out_trade_no": "a-b"}, "out_trade_no"),
        ({"out_trade_no": "x" * 65}, "out_trade_no"),
        ({"out_trade_no": None}, "out_trade_no"),
        ({"total_amount": "0.001"}, "total_amount"),
        ({"total_amount": "0"}, "total_amount"),
        ({"total_amount": "-1.00"}, "total_amount"),
        ({"total_amount": "100000000.01"}, "total_amount"),
        ({"total_amount": "NaN"}, "total_amount"),
        ({"total_amount": True}, "total_amount"),
        ({"total_amount": None}, "total_amount"),
        ({"subject": ""}, "subject"),
        ({"subject": "长" * 257}, "subject"),
        ({"time_expire": "2020-01-01 00:00:00"}, "time_expire"),
        ({"time_expire": "soon"}, "time_expire"),
        ({"timeout_express": "90s"}, "timeout_express"),
    ],
)
def test_content_that_makes_no_sense_is_refused_by_name(shop: Shop, content: dict[str, Any], field: str) -> None:
    good = {"out_trade_no": shop.order(), "total_amount": "1.00", "subject": "tea"}
    said = shop.ask("alipay.trade.precreate", good | content)
    assert (said["code"], said["sub_code"]) == ("40004", "ACQ.INVALID_PARAMETER")
    assert field in said["sub_msg"]


@pytest.mark.parametrize("content", ["", "[]", "{", "null", '"x"'])
def test_content_that_is_no_object_is_refused(shop: Shop, content: str) -> None:
    assert shop.ask("alipay.trade.query", content)["sub_code"] == "ACQ.INVALID_PARAMETER"


# ---- certificates ----------------------------------------------------------------------------------------------------


def test_certificates_chain_to_the_root_and_a_new_one_can_be_had_by_its_sn(sandbox: Sandbox) -> None:
    shop = Shop(sandbox, certificates=True)
    root = x509.load_pem_x509_certificate(Path(shop.account["alipay_root_certificate_file"]).read_bytes())
    for name in ("app_certificate_file", "alipay_certificate_file"):
        certificate = x509.load_pem_x509_certificate(Path(shop.account[name]).read_bytes())
        certificate.verify_directly_issued_by(root)
    made = shop.control("rotate-keys")
    said = shop.ask("alipay.open.app.alipaycert.download", {"alipay_cert_sn": made["alipay_cert_sn"]})
    pem = b64decode(said["alipay_cert_content"])
    assert pem == Path(made["alipay_certificate_file"]).read_bytes()
    x509.load_pem_x509_certificate(pem).verify_directly_issued_by(root)
    unknown = shop.ask("alipay.open.app.alipaycert.download", {"alipay_cert_sn": "0" * 32})
    assert unknown["sub_code"] == "isv.invalid-parameter"


# ---- codes, pages and apps -------------------------------------------------------------------------------------------


def test_there_is_no_trade_before_somebody_scans(shop: Shop) -> None:
    order = shop.order()
    named = {"out_trade_no": order}
    code = shop.ask("alipay.trade.precreate", named | {"total_amount": "1.00", "subject": "tea"})["qr_code"]
    for method in ("alipay.trade.query", "alipay.trade.close"):
        assert shop.ask(method, named)["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    seen = shop.control("scan", code=code)
    assert (seen["order"], seen["state"], seen["amount"]) == (order, "open", 100)
    assert shop.ask("alipay.trade.query", named)["trade_status"] == "WAIT_BUYER_PAY"
    shop.control("pay", code=code)
    assert shop.ask("alipay.trade.query", named)["trade_status"] == "TRADE_SUCCESS"
    again = shop.ask("alipay.trade.precreate", named | {"total_amount": "1.00", "subject": "tea"})
    assert again["sub_code"] == "ACQ.TRADE_HAS_SUCCESS"


def test_a_number_is_for_one_content(shop: Shop) -> None:
    order = {"out_trade_no": shop.order(), "total_amount": "1.00", "subject": "tea"}
    shop.ask("alipay.trade.precreate", order)
    for other in ({"total_amount": "2.00"}, {"subject": "coffee"}):
        assert shop.ask("alipay.trade.precreate", order | other)["sub_code"] == "ACQ.CONTEXT_INCONSISTENT"
    assert shop.ask("alipay.trade.precreate", order | {"total_amount": 1})["code"] == "10000", "the same amount"


def test_a_number_cancelled_before_it_was_scanned_cannot_be_paid(shop: Shop) -> None:
    order = {"out_trade_no": shop.order(), "total_amount": "1.00", "subject": "tea"}
    code = shop.ask("alipay.trade.precreate", order)["qr_code"]
    said = shop.ask("alipay.trade.cancel", {"out_trade_no": order["out_trade_no"]})
    assert (said["retry_flag"], "action" in said) == ("N", False)
    shop.sandbox.control("POST", "/alipay/pay", {"code": code}, 404)
    assert shop.ask("alipay.trade.precreate", order)["sub_code"] == "ACQ.TRADE_HAS_CLOSE"


def test_a_code_whose_time_is_over_leads_nowhere(shop: Shop) -> None:
    end = datetime.now(BEIJING) + timedelta(hours=1)
    order = {"out_trade_no": shop.order(), "total_amount": "1.00", "subject": "tea"}
    said = shop.ask("alipay.trade.precreate", order | {"time_expire": f"{end:%Y-%m-%d %H:%M:%S}"})
    with closing(sqlite3.connect(shop.sandbox.home / "sandbox" / "sandbox.db", timeout=60)) as books, books:
        named = (shop.merchant, order["out_trade_no"])
        (ends_ms,) = books.execute(
            "SELECT code_ends_ms FROM alipay_precreate WHERE merchant = ? AND order_no = ?", named
        ).fetchone()
        assert ends_ms == int(end.timestamp()) * 1000
        books.execute("UPDATE alipay_precreate SET code_ends_ms = 1 WHERE merchant = ? AND order_no = ?", named)
    shop.sandbox.control("POST", "/alipay/scan", {"code": said["qr_code"]}, 404)


PRODUCTS = {
    "alipay.trade.page.pay": "FAST_INSTANT_TRADE_PAY",
    "alipay.trade.wap.pay": "QUICK_WAP_WAY",
    "alipay.trade.app.pay": "QUICK_MSECURITY_PAY",
}


def visit(shop: Shop, method: str, **content: Any) -> tuple[str, str]:
    """Open a signed address as a payer's browser does; return the order and the address of the payer's page."""
    order = shop.order()
    wanted = {
        "out_trade_no": order,
        "total_amount": "8.88",
        "subject": "tea",
        "product_code": PRODUCTS[method],
        **content,
    }
    reply = shop.send(shop.params(method, wanted, return_url="https://shop.example/back?order=1"))
    assert reply.status == 302, reply.body
    return order, reply.headers["Location"].removeprefix(shop.sandbox.base_url)


@pytest.mark.parametrize("method", PRODUCTS)
def test_a_page_shows_the_amount_takes_the_payment_and_leads_back_signed(shop: Shop, method: str) -> None:
    order, page = visit(shop, method)
    shown = exchange(shop.sandbox.base_url, "GET", page, {}, b"")
    text = shown.body.decode()
    assert "8.88 CNY" in text
    assert order in text
    assert shown.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "http" not in text, "the page asks nobody else for anything"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    back = exchange(shop.sandbox.base_url, "POST", page, form, b"choice=pay")
    assert back.status == 302
    where, _, query = back.headers["Location"].partition("&")
    assert where == "https://shop.example/back?order=1"
    said = dict(parse_qsl(query))
    assert (said["out_trade_no"], said["total_amount"], said["seller_id"]) == (order, "8.88", shop.merchant)
    signed = {name: value for name, value in said.items() if name not in ("sign", "sign_type")}
    message = "&".join(f"{name}={value}" for name, value in sorted(signed.items()))
    shop.alipay.verify(b64decode(said["sign"]), message.encode(), padding.PKCS1v15(), hashes.SHA256())
    assert shop.ask("alipay.trade.query", {"out_trade_no": order})["trade_status"] == "TRADE_SUCCESS"


@pytest.mark.parametrize("method", PRODUCTS)
def test_a_page_of_another_product_is_refused(shop: Shop, method: str) -> None:
    wanted = {"out_trade_no": shop.order(), "total_amount": "8.88", "subject": "tea", "product_code": "JSAPI_PAY"}
    reply = shop.send(shop.params(method, wanted))
    assert reply.status == 400
    assert b"product_code" in reply.body


def test_a_page_that_was_not_signed_by_the_merchant_shows_no_amount(shop: Shop) -> None:
    order = {"out_trade_no": shop.order(), "total_amount": "8.88", "subject": "<b>tea"}
    params = shop.params("alipay.trade.page.pay", order)
    forged = params | {"biz_content": params["biz_content"].replace("8.88", "0.01")}
    reply = shop.send(forged)
    assert reply.status == 400
    assert b"isv.invalid-signature" in reply.body
    shop.sandbox.control("POST", "/alipay/pay", {"code": urlencode(forged)}, 404)
    assert shop.ask("alipay.trade.query", order)["sub_code"] == "ACQ.TRADE_NOT_EXIST"


def test_an_apps_order_string_is_a_code_a_payer_can_pay_by(shop: Shop) -> None:
    order = {"out_trade_no": shop.order(), "total_amount": "8.88", "subject": "tea"}
    string = urlencode(shop.params("alipay.trade.app.pay", order))
    assert shop.control("scan", code=string)["state"] == "open"
    assert shop.control("pay", code=string)["charged_count"] == 1


# ---- payers' codes ---------------------------------------------------------------------------------------------------


def barcode(shop: Shop, code: str, **content: Any) -> dict[str, Any]:
    wanted = {"out_trade_no": shop.order(), "total_amount": "1.00", "subject": "tea", "scene": "bar_code"}
    return shop.ask("alipay.trade.pay", wanted | {"auth_code": code} | content)


def test_a_payers_code_serves_one_order(shop: Shop) -> None:
    code = shop.code("7")
    assert barcode(shop, code)["code"] == "10000"
    assert barcode(shop, code)["sub_code"] == "ACQ.PAYMENT_AUTH_CODE_INVALID"
    for wrong in ("134567890123456787", "28", "2" * 30, "", "28ABCDEFGHIJKLMNOP"):
        assert barcode(shop, wrong)["sub_code"] == "ACQ.PAYMENT_AUTH_CODE_INVALID"
    assert barcode(shop, code, scene="face")["sub_code"] == "ACQ.INVALID_PARAMETER"


def test_a_payer_who_is_asked_may_be_asked_again_and_pays_once(shop: Shop) -> None:
    code, order = shop.code("8"), shop.order()
    for _ in range(2):
        said = barcode(shop, code, out_trade_no=order)
        assert (said["code"], "gmt_payment" in said) == ("10003", False)
    assert shop.control("pay", order=order)["charged_count"] == 1
    assert barcode(shop, code, out_trade_no=order)["sub_code"] == "ACQ.TRADE_HAS_SUCCESS"


# ---- refunds ---------------------------------------------------------------------------------------------------------


def test_refund_fee_is_what_went_back_so_far_and_a_number_belongs_to_its_trade(shop: Shop) -> None:
    order, _ = shop.paid()
    other, _ = shop.paid()

    def refund(of: str, number: str, yuan: str) -> dict[str, Any]:
        return shop.ask("alipay.trade.refund", {"out_trade_no": of, "out_request_no": number, "refund_amount": yuan})

    assert [refund(order, number, "3.00")["refund_fee"] for number in ("r1", "r2", "r2")] == ["3.00", "6.00", "6.00"]
    assert refund(other, "r1", "1.00")["fund_change"] == "Y", "another trade has numbers of its own"
    found = shop.ask("alipay.trade.fastpay.refund.query", {"out_trade_no": other, "out_request_no": "r1"})
    assert found["refund_amount"] == "1.00"
    assert refund(other, "r1", "1.01")["sub_code"] == "ACQ.DISCORDANT_REPEAT_REQUEST"
    assert refund(order, "r3", "4.01")["sub_code"] == "ACQ.REASON_TRADE_REFUND_FEE_ERR"
    assert refund(order, "r3", "4.00")["refund_fee"] == "10.00"
    closed = shop.ask("alipay.trade.query", {"out_trade_no": order})
    assert (closed["trade_status"], closed["total_amount"]) == ("TRADE_CLOSED", "10.00")
    assert {closed[name] for name in ("buyer_pay_amount", "receipt_amount", "invoice_amount")} == {"0.00"}, (
        "as recorded"
    )
    assert "send_pay_date" in closed
    assert "fund_bill_list" not in closed
    assert refund(order, "r4", "0.01")["sub_code"] in ("ACQ.TRADE_HAS_CLOSE", "ACQ.REASON_TRADE_REFUND_FEE_ERR")


def test_a_refund_without_a_number_is_of_the_whole(shop: Shop) -> None:
    order, _ = shop.paid()
    wanted = {"out_trade_no": order, "refund_amount": "1.00"}
    assert shop.ask("alipay.trade.refund", wanted)["sub_code"] == "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
    for change in ("Y", "N"):
        assert shop.ask("alipay.trade.refund", wanted | {"refund_amount": "10.00"})["fund_change"] == change
    found = shop.ask("alipay.trade.fastpay.refund.query", {"out_trade_no": order, "out_request_no": order})
    assert found["refund_status"] == "REFUND_SUCCESS"


def test_a_refund_that_fails_is_refused_and_not_there(shop: Shop) -> None:
    order, _ = shop.paid()
    shop.sandbox.order_fault("refund_failed", rail="alipay", merchant=shop.merchant, refund="r-1")
    wanted = {"out_trade_no": order, "out_request_no": "r_1", "refund_amount": "1.00"}
    assert shop.ask("alipay.trade.refund", wanted)["sub_code"] == "ACQ.SELLER_BALANCE_NOT_ENOUGH"
    found = shop.ask("alipay.trade.fastpay.refund.query", {"out_trade_no": order, "out_request_no": "r_1"})
    assert "refund_status" not in found


# ---- shares ----------------------------------------------------------------------------------------------------------


def share(shop: Shop, trade_no: str, *fen: int, finish: bool = False, to: str = "2088101126708402") -> dict[str, Any]:
    wanted = {
        "out_request_no": shop.order(),
        "trade_no": trade_no,
        "royalty_parameters": [{"trans_in": to, "amount": f"{one / 100:.2f}"} for one in fen],
        "extend_params": {"royalty_finish": "true"} if finish else {},
    }
    return shop.ask("alipay.trade.order.settle", wanted)


def bind(shop: Shop, method: str = "bind", **receiver: str) -> dict[str, Any]:
    listed = [{"type": "userId", "account": "2088101126708402", **receiver}]
    return shop.ask(
        f"alipay.trade.royalty.relation.{method}", {"receiver_list": listed, "out_request_no": shop.order()}
    )


def test_frozen_money_is_not_paid_out_before_it_is_shared_or_released(own_shop: Shop) -> None:
    shop = own_shop
    bind(shop)
    _, paid = shop.paid(10_000, extend_params={"royalty_freeze": "true"})
    assert share(shop, paid["trade_no"], 1000, 500)["settle_no"]
    assert share(shop, paid["trade_no"], 8441)["sub_code"] == "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR", "the fee is not shared"
    assert share(shop, paid["trade_no"], 440, finish=True)["settle_no"]
    assert share(shop, paid["trade_no"], 1)["sub_code"] == "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR", "it is finished"
    flow = shop.flow()
    assert flow == {"在线支付": 10_000, "收费": -60, "分账冻结": -9940, "交易分账": -1940, "分账解冻": 9940}
    assert sum(flow.values()) == 10_000 - 60 - 1940


def test_frozen_money_that_nobody_released_stays_frozen(own_shop: Shop) -> None:
    shop = own_shop
    bind(shop)
    _, paid = shop.paid(10_000, extend_params={"royalty_freeze": "true"})
    share(shop, paid["trade_no"], 1000)
    assert sum(shop.flow().values()) == 0


def on_a_page(shop: Shop, fen: int = 10_000) -> dict[str, Any]:
    """Return the query of a payment on a page that is to be shared out."""
    order = shop.order()
    wanted = {
        "out_trade_no": order, "total_amount": f"{fen / 100:.2f}", "subject": "tea",
        "product_code": "FAST_INSTANT_TRADE_PAY", "extend_params": {"royalty_freeze": "true"},
    }  # fmt: skip
    shop.control("pay", code=f"/gateway.do?{urlencode(shop.params('alipay.trade.page.pay', wanted))}")
    return shop.ask("alipay.trade.query", {"out_trade_no": order})


def back(shop: Shop, order: str, number: str, fen: int, whose: str = "2088101126708402") -> dict[str, Any]:
    named = [{"trans_out": whose, "trans_in": shop.merchant, "amount": f"{fen / 100:.2f}"}]
    wanted = {"out_trade_no": order, "out_request_no": number, "refund_amount": "0", "refund_royalty_parameters": named}
    return shop.ask("alipay.trade.refund", wanted)


def test_a_refund_is_paid_from_what_is_frozen(own_shop: Shop) -> None:
    shop = own_shop
    bind(shop)
    paid = on_a_page(shop)
    wanted = {"out_trade_no": paid["out_trade_no"], "out_request_no": "r_1", "refund_amount": "40.00"}
    shop.ask("alipay.trade.refund", wanted)
    share(shop, paid["trade_no"], 1000)
    assert share(shop, paid["trade_no"], 9940 - 3976 - 1000 + 1)["sub_code"] == "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR"
    flow = shop.flow()
    assert flow["分账解冻"] == 4000 - flow["退费"] + 1000
    assert sum(flow.values()) == 0, "all that is left of it is frozen"


def test_a_share_comes_back_by_a_refund_that_names_its_receiver(own_shop: Shop, sandbox: Sandbox) -> None:
    shop, agent = own_shop, Shop(sandbox)
    bind(shop, account=agent.merchant)
    paid = on_a_page(shop)
    order = paid["out_trade_no"]
    share(shop, paid["trade_no"], 2000, finish=True, to=agent.merchant)
    for change in ("Y", "N"):
        assert back(shop, order, "b_1", 1500, agent.merchant)["fund_change"] == change
    assert back(shop, order, "b_1", 1400, agent.merchant)["sub_code"] == "ACQ.DISCORDANT_REPEAT_REQUEST"
    assert back(shop, order, "b_2", 501, agent.merchant)["sub_code"] == "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR"
    found = shop.ask("alipay.trade.fastpay.refund.query", {"out_trade_no": order, "out_request_no": "b_1"})
    assert found["refund_status"] == "REFUND_SUCCESS"
    (line,) = found["refund_royaltys"]
    assert (line["trans_out"], line["refund_amount"], line["result_code"]) == (agent.merchant, "15.00", "SUCCESS")
    missing = shop.ask("alipay.trade.fastpay.refund.query", {"out_trade_no": order, "out_request_no": "b_2"})
    assert "refund_status" not in missing
    shop.ask("alipay.trade.refund", {"out_trade_no": order, "out_request_no": "r_1", "refund_amount": "100.00"})
    assert back(shop, order, "b_3", 1, agent.merchant)["sub_code"] == "ACQ.TRADE_HAS_CLOSE"
    assert share(shop, paid["trade_no"], 1, finish=True)["sub_code"] == "ACQ.TRADE_STATUS_ERROR"
    assert agent.flow() == {"分账收入": 2000, "退分账": -1500}
    flow = shop.flow()
    assert (flow["交易分账"], flow["退分账"]) == (-2000, 1500)
    assert sum(flow.values()) == -500


def test_of_a_payment_by_code_nobody_is_named_who_gives_back(shop: Shop) -> None:
    bind(shop)
    order, paid = shop.paid(10_000)
    share(shop, paid["trade_no"], 2000)
    assert back(shop, order, "b_1", 100)["sub_code"] == "ACQ.INVALID_PARAMETER"


def test_a_share_fails_or_waits_when_that_is_ordered(shop: Shop) -> None:
    bind(shop)
    _, paid = shop.paid(10_000)
    facts = {"rail": "alipay", "merchant": shop.merchant}
    shop.sandbox.order_fault("share_closed", **facts, account="2088101126708402")
    shop.sandbox.order_fault("share_waits", **facts)
    settled = share(shop, paid["trade_no"], 100)

    def asked() -> dict[str, Any]:
        (found,) = shop.ask("alipay.trade.order.settle.query", {"settle_no": settled["settle_no"]})[
            "royalty_detail_list"
        ]
        return dict(found)

    assert asked()["state"] == "PROCESSING"
    found = asked()
    assert (found["state"], found["error_code"]) == ("FAIL", "TXN_RESULT_ACCOUNT_BALANCE_NOT_ENOUGH")


def test_receivers_are_bound_listed_and_unbound(shop: Shop) -> None:
    assert bind(shop)["result_code"] == bind(shop)["result_code"] == "SUCCESS"
    listed = shop.ask("alipay.trade.royalty.relation.batchquery", {"out_request_no": shop.order()})
    assert [one["account"] for one in listed["receiver_list"]] == ["2088101126708402"]
    assert bind(shop, type="loginName", account="a@b.c")["sub_code"] == "ACQ.INVALID_PARAMETER", "a name is needed"
    assert bind(shop, type="nickname")["sub_code"] == "ACQ.INVALID_PARAMETER"
    for _ in range(2):
        assert bind(shop, "unbind")["result_code"] == "SUCCESS"
    _, paid = shop.paid()
    settled = share(shop, paid["trade_no"], 100)
    found = shop.ask("alipay.trade.order.settle.query", {"settle_no": settled["settle_no"]})
    assert [one["state"] for one in found["royalty_detail_list"]] == ["FAIL"]


# ---- files -----------------------------------------------------------------------------------------------------------


def test_the_address_of_a_file_is_a_secret_of_half_a_minute(own_shop: Shop) -> None:
    shop = own_shop
    shop.paid()
    asked = {"bill_type": "trade", "bill_date": today().isoformat()}
    method = "alipay.data.dataservice.bill.downloadurl.query"
    assert shop.ask(method, asked)["sub_code"] == "INVAILID_ARGUMENTS", "the day is not over"
    shop.control("close-day", date=today().isoformat())
    target = urlsplit(shop.address("trade"))
    assert target.path == "/downloadBillFile.resource"
    wrong = f"{target.path}?{target.query[:-4]}0000"
    assert exchange(shop.sandbox.base_url, "GET", wrong, {}, b"").status == 404
    for changes in ({"bill_type": "weather"}, {"bill_date": "yesterday"}, {"bill_date": "2026-11"}):
        assert shop.ask(method, asked | changes)["sub_code"] == "INVAILID_ARGUMENTS"


def test_a_day_without_business_has_no_bill(own_shop: Shop) -> None:
    shop = own_shop
    shop.control("close-day", date=today().isoformat())
    asked = {"bill_type": "trade", "bill_date": today().isoformat()}
    said = shop.ask("alipay.data.dataservice.bill.downloadurl.query", asked)
    assert said["sub_code"] == "isp.bill_not_exist"


# ---- what was answered is kept ---------------------------------------------------------------------------------------


def test_a_killed_sandbox_keeps_its_keys_codes_and_trades(own_sandbox: Sandbox) -> None:
    shop = Shop(own_sandbox, certificates=True)
    named = {"out_trade_no": shop.order(), "total_amount": "1.00", "subject": "tea"}
    code = shop.ask("alipay.trade.precreate", named)["qr_code"]
    order, paid = shop.paid()
    made = shop.control("rotate-keys")
    own_sandbox.kill()
    own_sandbox.start()
    assert shop.ask("alipay.trade.query", {"out_trade_no": order}) == paid
    assert shop.ask("alipay.trade.precreate", named)["qr_code"] == code
    assert shop.control("pay", code=code)["charged_count"] == 1
    wanted = {"alipay_cert_sn": made["alipay_cert_sn"]}
    assert shop.ask("alipay.open.app.alipaycert.download", wanted)["alipay_cert_content"]


def test_these_tests_do_look_at_signatures(shop: Shop) -> None:
    shop.sandbox.order_fault("bad_signature", rail="alipay", merchant=shop.merchant, op="query")
    with pytest.raises(InvalidSignature):
        shop.ask("alipay.trade.query", {"out_trade_no": "x"})


# ---- coupons ---------------------------------------------------------------------------------------------------------


def test_who_pays_for_a_coupon_decides_what_the_merchant_receives(own_shop: Shop) -> None:
    own_shop.sandbox.control(
        "POST", "/alipay/coupons", {"merchant": own_shop.merchant, "amount": 100, "paid_by": "merchant"}
    )
    order, paid = own_shop.paid(1000)
    assert [paid[name] for name in ("total_amount", "receipt_amount", "buyer_pay_amount")] == ["10.00", "9.00", "9.00"]
    assert {fund["fund_channel"]: fund["amount"] for fund in paid["fund_bill_list"]} == {
        "ALIPAYACCOUNT": "9.00",
        "MDISCOUNT": "1.00",
    }
    assert "mdiscount_amount" not in paid, "told to who asks for it alone"
    own_shop.sandbox.control(
        "POST", "/alipay/coupons", {"merchant": own_shop.merchant, "amount": 200, "paid_by": "rail"}
    )
    _, others = own_shop.paid(1000)
    assert (others["receipt_amount"], others["buyer_pay_amount"]) == ("10.00", "8.00")
    asked = {"out_trade_no": order, "query_options": ["mdiscount_amount", "voucher_detail_list"]}
    told = own_shop.ask("alipay.trade.query", asked)
    assert told["mdiscount_amount"] == "1.00"
    assert [one["merchant_contribute"] for one in told["voucher_detail_list"]] == ["1.00"]
    back = {"out_trade_no": order, "refund_amount": "4.00", "out_request_no": "r1"}
    given = own_shop.ask("alipay.trade.refund", back | {"query_options": ["refund_detail_item_list"]})
    assert (given["refund_fee"], given["send_back_fee"]) == ("4.00", "3.60")
    flow = own_shop.flow()
    assert sum(flow.values()) == 900 - 5 + 1000 - 6 - 360 + 2
    rows = [line.split(",") for line in own_shop.file("trade").splitlines() if line[:4].isdigit()]
    assert [(row[11], row[12], row[15], row[16]) for row in rows] == [
        ("10.00", "9.00", "0.00", "1.00"),
        ("10.00", "10.00", "2.00", "0.00"),
        ("-4.00", "-3.60", "0.00", "-0.40"),
    ]
