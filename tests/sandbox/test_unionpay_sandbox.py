"""The simulated UnionPay as a merchant who has read its documents meets it, without any code of the hub's."""

import hashlib
import json
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from tests.sandbox.sandbox_client import Reply, Sandbox, door, eventually, exchange, new_number

BEIJING = timezone(timedelta(hours=8))
FORM = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}
GATEWAY = "/gateway/api"


def hashed(fields: dict[str, str]) -> bytes:
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if name != "signature")
    return hashlib.sha256(text.encode()).hexdigest().encode()


def now_text(**off: float) -> str:
    return (datetime.now(BEIJING) + timedelta(**off)).strftime("%Y%m%d%H%M%S")


def plain(body: bytes) -> dict[str, str]:
    """Return the fields of an answer; none of this sandbox's values holds a separator."""
    return dict(pair.split("=", 1) for pair in body.decode().split("&"))


@dataclass
class Shop:
    """A merchant's server."""

    sandbox: Sandbox
    credentials: dict[str, Any]

    @property
    def mer_id(self) -> str:
        return str(self.credentials["mer_id"])

    def signed(self, fields: dict[str, str], *, spoil: bool = False) -> dict[str, str]:
        key: Any = serialization.load_pem_private_key(Path(self.credentials["private_key_file"]).read_bytes(), None)
        full = {name: value for name, value in fields.items() if value} | {"certId": self.credentials["cert_id"]}
        signature = b64encode(key.sign(hashed(full), padding.PKCS1v15(), hashes.SHA256())).decode()
        return full | {"signature": signature if not spoil else signature[::-1]}

    def verify(self, fields: dict[str, str]) -> x509.Certificate:
        """Return UnionPay's certificate that signed these fields, after walking its chain; fails otherwise."""
        root, middle = (
            x509.load_pem_x509_certificate(Path(self.credentials[f"{name}_cert_file"]).read_bytes())
            for name in ("root", "middle")
        )
        assert fields["signPubKeyCert"].startswith("-----BEGIN CERTIFICATE-----\r\n")
        leaf = x509.load_pem_x509_certificate(fields["signPubKeyCert"].encode())
        root.verify_directly_issued_by(root)
        middle.verify_directly_issued_by(root)
        leaf.verify_directly_issued_by(middle)
        name = leaf.subject.rfc4514_string().split("CN=")[1].split(",")[0].split("@")[2]
        assert name in ("00040000:SIGN", "中国银联股份有限公司")
        key: Any = leaf.public_key()
        key.verify(b64decode(fields["signature"]), hashed(fields), padding.PKCS1v15(), hashes.SHA256())
        return leaf

    def post(self, path: str, fields: dict[str, str], *, spoil: bool = False) -> Reply:
        body = urlencode(self.signed(fields, spoil=spoil)).encode()
        return exchange(self.sandbox.base_url, "POST", path, FORM, body)

    def call(self, path: str, fields: dict[str, str]) -> dict[str, str]:
        """Send a message and return the verified answer."""
        reply = self.post(path, fields)
        assert reply.status == 200
        answer = plain(reply.body)
        self.verify(answer)
        return answer

    def common(self, txn_type: str, sub_type: str, number: str, **fields: str) -> dict[str, str]:
        return {
            "version": "5.1.0",
            "encoding": "UTF-8",
            "signMethod": "01",
            "bizType": "000201",
            "accessType": "0",
            "channelType": "07",
            "merId": self.mer_id,
            "txnType": txn_type,
            "txnSubType": sub_type,
            "orderId": number,
            "txnTime": now_text(),
            **fields,
        }

    def order(self, number: str, amount: int = 100, **fields: str) -> dict[str, str]:
        money = {"txnAmt": str(amount), "currencyCode": "156", "backUrl": "http://127.0.0.1:9/nobody"}
        return self.common("01", "01", number, **money | fields)

    def app(self, order: dict[str, str]) -> dict[str, str]:
        return self.call(f"{GATEWAY}/appTransReq.do", order)

    def query(self, order: dict[str, str], **changes: str) -> dict[str, str]:
        asked = {"txnTime": order["txnTime"], "bizType": "000000"} | changes
        return self.call(f"{GATEWAY}/queryTrans.do", self.common("00", "00", order["orderId"]) | asked)

    def back(self, txn_type: str, query_id: str, amount: int, number: str, **fields: str) -> dict[str, str]:
        money = {"txnAmt": str(amount), "origQryId": query_id, "backUrl": "http://127.0.0.1:9/nobody"}
        return self.call(f"{GATEWAY}/backTransReq.do", self.common(txn_type, "00", number, **money | fields))

    def pays(self, number: str) -> Any:
        return self.sandbox.control("POST", "/unionpay/pay", {"merchant": self.mer_id, "order": number})

    def paid(self, amount: int = 100, **fields: str) -> dict[str, str]:
        """Return the query's answer about an order that was paid (or reserved)."""
        order = self.order(new_number(), amount, **fields)
        assert self.app(order)["respCode"] == "00"
        self.pays(order["orderId"])
        answer = self.query(order)
        assert answer["origRespCode"] == "00"
        return answer

    def truth(self, number: str) -> Any:
        trades = self.sandbox.control("GET", f"/unionpay/trades?merchant={self.mer_id}")["trades"]
        return next(trade for trade in trades if trade["order"] == number)


@pytest.fixture
def shop(sandbox: Sandbox) -> Shop:
    return Shop(sandbox, sandbox.control("POST", "/unionpay/merchants", {"name": "tea"}))


# ---- the payer's page ------------------------------------------------------------------------------------------------


def test_a_payer_is_shown_a_page_pays_there_and_is_sent_back(sandbox: Sandbox, shop: Shop) -> None:
    with door() as opened:
        order = shop.order(new_number(), 123456, backUrl=opened.url, frontUrl="https://shop.example/thanks?a=1&b=2")
        assert shop.query(order)["respCode"] == "34", "nobody has brought it yet"
        reply = shop.post(f"{GATEWAY}/frontTransReq.do", order)
        page = reply.body.decode()
        assert "1234.56 CNY" in page
        assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert shop.query(order)["origRespCode"] == "05"
        action = re.search(r'action="([^"]+)"', page)
        assert action is not None
        ended = unescape(exchange(sandbox.base_url, "POST", action[1], FORM, b"choice=pay").body.decode())
        assert "支付成功" in ended
        assert 'action="https://shop.example/thanks?a=1&b=2"' in ended
        back = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', ended))
        shop.verify(back)
        assert (back["orderId"], back["txnAmt"], back["respCode"]) == (order["orderId"], "123456", "00")
        eventually(lambda: opened.deliveries)
    told = dict(parse_qsl(opened.deliveries[0].body.decode()))
    shop.verify(told)
    assert (told["orderId"], told["txnAmt"], told["respCode"]) == (order["orderId"], "123456", "00")
    assert told["queryId"] == shop.query(order)["queryId"]
    assert "支付成功" not in shop.post(f"{GATEWAY}/frontTransReq.do", order).body.decode()


def test_a_page_with_a_form_that_is_not_the_merchants_shows_why(shop: Shop) -> None:
    order = shop.order(new_number(), frontUrl="https://shop.example/thanks")
    for wrong, spoil, code in ((order, True, "11"), (order | {"frontUrl": ""}, False, "13")):
        page = shop.post(f"{GATEWAY}/frontTransReq.do", wrong, spoil=spoil).body.decode()
        assert f"respCode {code}" in page
        assert "<form" not in page


def test_a_payer_whose_card_is_refused_may_try_again(sandbox: Sandbox, shop: Shop) -> None:
    order = shop.order(new_number())
    assert shop.app(order)["respCode"] == "00"
    sandbox.control("POST", "/unionpay/decline", {"merchant": shop.mer_id, "order": order["orderId"]})
    assert shop.query(order)["origRespCode"] == "64"
    shop.pays(order["orderId"])
    assert shop.query(order)["origRespCode"] == "00"


def test_an_app_is_opened_by_its_number(sandbox: Sandbox, shop: Shop) -> None:
    order = shop.order(new_number())
    tn = shop.app(order)["tn"]
    assert shop.app(order)["tn"] == tn, "it may be asked for again while it waits"
    assert shop.app(order | {"txnAmt": "99"})["respCode"] == "12"
    sandbox.control("POST", "/unionpay/pay", {"code": tn})
    assert shop.query(order)["origRespCode"] == "00"
    assert shop.app(order)["respCode"] == "12"
    assert shop.truth(order["orderId"])["charged_count"] == 1


def test_an_order_lapses_at_its_time_and_cannot_be_paid_then(sandbox: Sandbox, shop: Shop) -> None:
    late = shop.order(new_number(), payTimeout=now_text(seconds=-1))
    assert shop.app(late)["respCode"] == "10"
    order = shop.order(new_number(), payTimeout=now_text(seconds=2))
    assert shop.app(order)["respCode"] == "00"
    eventually(lambda: shop.query(order)["respCode"] == "34")
    named = {"merchant": shop.mer_id, "order": order["orderId"]}
    assert sandbox.try_control("POST", "/unionpay/pay", named).status == 409


# ---- reserved money --------------------------------------------------------------------------------------------------


def test_a_reservation_is_completed_in_part_under_a_number_of_its_own(shop: Shop) -> None:
    held = shop.paid(1000, txnType="02")
    assert shop.truth(held["orderId"])["charged_count"] == 0
    number = new_number("c")
    assert shop.back("03", held["queryId"], 1001, new_number("c"))["respCode"] == "36"
    done = shop.back("03", held["queryId"], 400, number)
    assert done["respCode"] == "00"
    asked = shop.query(done)
    assert (asked["origRespCode"], asked["txnAmt"], asked["queryId"]) == ("00", "400", done["queryId"])
    assert shop.back("03", held["queryId"], 400, number)["respCode"] == "12"
    assert shop.back("32", held["queryId"], 1000, new_number("v"))["respCode"] == "35"
    truth = shop.truth(held["orderId"])
    assert (truth["paid"], truth["charged_count"]) == (400, 1)


def test_a_reservation_is_released_and_then_cannot_be_completed(shop: Shop) -> None:
    held = shop.paid(1000, txnType="02")
    assert shop.back("32", held["queryId"], 999, new_number("v"))["respCode"] == "36"
    released = shop.back("32", held["queryId"], 1000, new_number("v"))
    assert shop.query(released)["origRespCode"] == "00"
    assert shop.back("03", held["queryId"], 1000, new_number("c"))["respCode"] == "35"
    assert shop.truth(held["orderId"])["state"] == "closed"


# ---- what a question is answered ----


def test_an_answer_about_a_transaction_carries_its_type_and_not_the_questions(shop: Shop) -> None:
    """Recorded of UnionPay's test environment in 2018 and 2024, of a payment and of an undo."""

    def kind(answer: dict[str, str]) -> tuple[str, str, str]:
        assert answer["respCode"] == "00"
        return answer["txnType"], answer["txnSubType"], answer["bizType"]

    waiting = shop.order(new_number(), reqReserved="MYFIELD")
    shop.app(waiting)
    assert kind(shop.query(waiting)) == ("01", "01", "000000"), "the question's product, the order's kind"
    assert shop.query(waiting)["reqReserved"] == "MYFIELD"
    assert (shop.query(waiting)["txnAmt"], shop.query(waiting)["settleAmt"]) == ("100", "0")
    assert {"queryId", "currencyCode", "traceTime"}.isdisjoint(shop.query(waiting)), "as recorded"
    paid, held, other = shop.paid(), shop.paid(1000, txnType="02"), shop.paid(1000, txnType="02")
    assert paid["traceTime"] == paid["txnTime"][4:]
    assert (kind(paid), kind(held)) == (("01", "01", "000000"), ("02", "01", "000000"))
    completed = shop.back("03", held["queryId"], 400, new_number("c"))
    released = shop.back("32", other["queryId"], 1000, new_number("v"))
    back, undo = shop.paid(), shop.paid()
    refund = shop.back("04", back["queryId"], 60, new_number("r"), reqReserved=back["orderId"])
    undone = shop.back("31", undo["queryId"], 100, new_number("u"))
    taken_back = shop.back("33", completed["queryId"], 400, new_number("u"))
    for said, txn_type in ((completed, "03"), (released, "32"), (refund, "04"), (undone, "31"), (taken_back, "33")):
        assert kind(said) == (txn_type, "00", "000201")
        assert {"origQryId", "txnAmt", "queryId"} <= set(said)
        assert shop.query(said)["traceTime"] == said["txnTime"][4:], "as in all that is recorded"
        assert kind(shop.query(said)) == (txn_type, "00", "000000")
    assert shop.query(refund)["reqReserved"] == back["orderId"]
    none = shop.query(shop.order(new_number()))
    assert (none["respCode"], none["txnType"], none["txnSubType"]) == ("34", "00", "00")


def test_certificates_take_turns_with_the_names_of_the_test_environment(sandbox: Sandbox, shop: Shop) -> None:
    order, names = shop.order(new_number()), []
    for _ in range(2):
        names.append(shop.verify(shop.query(order)).subject.rfc4514_string().split("@")[2])
        sandbox.control("POST", "/unionpay/rotate-keys", {})
    assert sorted(names) == ["00040000:SIGN", "中国银联股份有限公司"]


def test_a_message_must_name_the_time_at_which_it_is_sent(shop: Shop) -> None:
    """UnionPay's samples: 必须取当前时间，否则会报txnTime无效."""
    for off in (timedelta(days=-2), timedelta(days=2)):
        then = (datetime.now(BEIJING) + off).strftime("%Y%m%d%H%M%S")
        assert shop.app(shop.order(new_number(), txnTime=then))["respCode"] == "10"
        held = shop.paid(1000, txnType="02")
        for kind in ("03", "32"):
            assert shop.back(kind, held["queryId"], 1000, new_number("e"), txnTime=then)["respCode"] == "10"
        assert shop.truth(held["orderId"])["state"] == "held"


# ---- giving back -----------------------------------------------------------------------------------------------------


def test_a_refund_is_taken_then_done_and_its_number_is_used_up(shop: Shop) -> None:
    paid = shop.paid(100)
    first = shop.back("04", paid["queryId"], 60, new_number("r"))
    assert first["respCode"] == "00"
    again = shop.back("04", paid["queryId"], 60, first["orderId"])
    assert again["respCode"] == "12"
    done = eventually(lambda: (a := shop.query(first))["origRespCode"] == "00" and a)
    assert (done["txnAmt"], done["queryId"]) == ("60", first["queryId"])
    assert shop.back("04", paid["queryId"], 41, new_number("r"))["respCode"] == "36"
    assert shop.back("04", "0" * 21, 1, new_number("r"))["respCode"] == "35"
    by_number = {"origQryId": "", "origOrderId": paid["orderId"], "origTxnTime": paid["txnTime"]}
    assert shop.back("04", "", 40, new_number("r"), **by_number)["respCode"] == "00"
    assert sum(refund["amount"] for refund in shop.truth(paid["orderId"])["refunds"]) == 100


def test_an_undo_gives_back_all_of_a_payment_and_nothing_less(shop: Shop) -> None:
    paid = shop.paid(100)
    assert shop.back("31", paid["queryId"], 99, new_number("u"))["respCode"] == "36"
    assert shop.back("33", paid["queryId"], 100, new_number("u"))["respCode"] == "35", "33 undoes a completion"
    assert shop.back("31", paid["queryId"], 100, new_number("u"))["respCode"] == "00"
    assert shop.back("31", paid["queryId"], 100, new_number("u"))["respCode"] == "36"
    assert [refund["amount"] for refund in shop.truth(paid["orderId"])["refunds"]] == [100]


def test_a_completion_is_undone_by_its_own_kind_of_message(shop: Shop) -> None:
    held = shop.paid(1000, txnType="02")
    done = shop.back("03", held["queryId"], 1000, new_number("c"))
    assert shop.back("31", done["queryId"], 1000, new_number("u"))["respCode"] == "35"
    assert shop.back("33", done["queryId"], 1000, new_number("u"))["respCode"] == "00"


# ---- who is who ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"merId": "777290000000000"}, "31"),
        ({"version": "5.0.0"}, "10"),
        ({"signMethod": "11"}, "10"),
        ({"bizType": ""}, "13"),
        ({"bizType": "B2C"}, "10"),
        ({"bizType": "000000"}, "32"),
        ({"accessType": "1"}, "10"),
        ({"channelType": "09"}, "10"),
        ({"orderDesc": "茶" * 11}, "10"),
        ({"txnType": ""}, "13"),
        ({"orderId": ""}, "13"),
        ({"orderId": "1-2345678"}, "10"),
        ({"orderId": "1234567"}, "10"),
        ({"txnTime": "2026"}, "10"),
        ({"txnTime": "20261324000000"}, "10"),
        ({"txnAmt": "1.00"}, "10"),
        ({"txnAmt": "0"}, "10"),
        ({"currencyCode": "840"}, "10"),
        ({"backUrl": ""}, "13"),
        ({"txnType": "77"}, "32"),
    ],
)
def test_a_message_that_is_not_right_is_refused_by_code(shop: Shop, change: dict[str, str], code: str) -> None:
    order = shop.order(new_number()) | change
    assert shop.app(order)["respCode"] == code
    assert shop.query(shop.order(new_number()))["respCode"] == "34"


def test_nothing_is_done_for_whoever_has_not_the_merchants_key(sandbox: Sandbox, shop: Shop) -> None:
    order = shop.order(new_number())
    answer = plain(shop.post(f"{GATEWAY}/appTransReq.do", order, spoil=True).body)
    shop.verify(answer)
    assert answer["respCode"] == "11"
    stranger = sandbox.control("POST", "/unionpay/merchants", {})
    other = Shop(sandbox, shop.credentials | {"private_key_file": stranger["private_key_file"]})
    assert other.app(order)["respCode"] == "11"
    assert Shop(sandbox, shop.credentials | {"cert_id": stranger["cert_id"]}).app(order)["respCode"] == "11"
    assert shop.query(order)["respCode"] == "34"
    paid = shop.paid()
    theirs = Shop(sandbox, stranger)
    assert theirs.back("04", paid["queryId"], 1, new_number("r"))["respCode"] == "35", "another merchant's payment"


def test_an_order_is_asked_for_by_number_and_time_together(shop: Shop) -> None:
    paid = shop.paid()
    assert shop.query(paid, txnTime=now_text(seconds=-5))["respCode"] == "34"


def test_a_new_certificate_signs_and_the_chain_stays(sandbox: Sandbox, shop: Shop) -> None:
    order = shop.order(new_number())
    before = shop.verify(shop.query(order))
    made = sandbox.control("POST", "/unionpay/rotate-keys", {})
    after = shop.verify(shop.query(order))
    assert str(after.serial_number) == made["cert_serial"] != str(before.serial_number)


def test_numbers_with_a_capital_for_the_dash_are_called_by_the_dash(sandbox: Sandbox, shop: Shop) -> None:
    body = new_number("")[:20]
    order = shop.order(f"1Z{body}")
    sandbox.order_fault("refuse", rail="unionpay", order=f"1-{body}", params={"code": "38"})
    assert shop.app(order)["respCode"] == "38"
    assert shop.app(order)["respCode"] == "00"
    shop.pays(f"1-{body}")
    assert shop.truth(f"1-{body}")["state"] == "paid"
    assert shop.query(order)["orderId"] == f"1Z{body}"


def test_a_power_cut_loses_neither_keys_nor_orders(own_sandbox: Sandbox) -> None:
    shop = Shop(own_sandbox, own_sandbox.control("POST", "/unionpay/merchants", {}))
    held = shop.paid(1000, txnType="02")
    done = shop.back("03", held["queryId"], 400, new_number("c"))
    before = shop.verify(shop.query(done))
    own_sandbox.kill()
    own_sandbox.start()
    asked = shop.query(done)
    assert (asked["origRespCode"], asked["txnAmt"]) == ("00", "400")
    assert shop.verify(asked).serial_number == before.serial_number
    announced = json.loads((own_sandbox.home / "sandbox" / "info.json").read_text())
    assert shop.mer_id in [merchant["mer_id"] for merchant in announced["unionpay"]["merchants"]]
