"""Refunds: what is accepted, what never happens twice, and what the fee does."""

import base64
import sqlite3
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st

from sandbox.acquirer.books import fee_of, fee_returned
from tests.sandbox.sandbox_client import Merchant, Reply, Sandbox, eventually, new_number

TIME_SCALE = 0.0005  # the minute between two refunds of one order becomes 30 ms
REFUNDS = "/v3/refund/domestic/refunds"


@pytest.fixture
def paid(sandbox: Sandbox, merchant: Merchant) -> str:
    """The number of a paid order over 10.00 yuan."""
    out_trade_no = new_number()
    merchant.create(out_trade_no, 1000)
    sandbox.pay(merchant, out_trade_no)
    return out_trade_no


def patiently(refund: Any) -> Reply:
    """Repeat a refund, unchanged, while it is told to come later."""

    def attempt() -> Reply | None:
        reply: Reply = refund()
        return None if reply.status == 429 else reply

    reply = eventually(attempt)
    assert reply is not None
    return reply


def test_a_refund_is_accepted_first_and_done_a_moment_later(merchant: Merchant, paid: str) -> None:
    accepted = merchant.refund(paid, new_number("r"), 400, 1000, reason="坏了").json
    assert accepted["status"] == "PROCESSING"
    assert (accepted["amount"]["refund"], accepted["amount"]["total"]) == (400, 1000)
    assert accepted["channel"] == "ORIGINAL"
    number = accepted["out_refund_no"]
    eventually(lambda: merchant.refund_query(number).json["status"] == "SUCCESS")
    done = merchant.refund_query(number).json
    assert done["refund_id"] == accepted["refund_id"]
    assert done["success_time"].endswith("+08:00")
    assert merchant.query(paid).json["trade_state"] == "REFUND"


def test_the_same_refund_again_is_the_same_and_a_changed_one_is_refused(
    sandbox: Sandbox, merchant: Merchant, paid: str
) -> None:
    number = new_number("r")
    first = merchant.refund(paid, number, 400, 1000).json
    again = merchant.refund(paid, number, 400, 1000).json
    assert again["refund_id"] == first["refund_id"]
    changed = merchant.refund(paid, number, 401, 1000)
    assert (changed.status, changed.code) == (400, "INVALID_REQUEST")
    assert [refund["amount"] for refund in sandbox.trade(merchant, paid)["refunds"]] == [400]


def test_a_refund_may_name_the_transaction_id_instead(merchant: Merchant, paid: str) -> None:
    transaction_id = merchant.query(paid).json["transaction_id"]
    body = merchant.refund_body(paid, new_number("r"), 1, 1000, transaction_id=transaction_id)
    del body["out_trade_no"]
    assert merchant.call("POST", REFUNDS, body).json["out_trade_no"] == paid


def test_refunds_never_exceed_the_payment(sandbox: Sandbox, merchant: Merchant, paid: str) -> None:
    assert merchant.refund(paid, new_number("r"), 1001, 1000).code == "INVALID_REQUEST"
    assert merchant.refund(paid, new_number("r"), 600, 1000).status == 200
    refused = patiently(lambda: merchant.refund(paid, "too-much" + paid, 401, 1000))
    assert (refused.status, refused.code) == (400, "INVALID_REQUEST")
    rest = new_number("r")
    assert patiently(lambda: merchant.refund(paid, rest, 400, 1000)).status == 200
    assert sum(refund["amount"] for refund in sandbox.trade(merchant, paid)["refunds"]) == 1000


def test_the_total_must_be_what_was_paid(merchant: Merchant, paid: str) -> None:
    assert merchant.refund(paid, new_number("r"), 1, 999).code == "INVALID_REQUEST"


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("/out_refund_no", {"out_refund_no": "a b"}),
        ("/out_refund_no", {"out_refund_no": "x" * 65}),
        ("/reason", {"reason": "x" * 81}),
        ("/amount/currency", {"amount": {"refund": 1, "total": 1000}}),
        ("/amount/refund", {"amount": {"refund": 0, "total": 1000, "currency": "CNY"}}),
        (
            "/amount/from",
            {
                "amount": {
                    "refund": 2,
                    "total": 1000,
                    "currency": "CNY",
                    "from": [{"account": "AVAILABLE", "amount": 1}],
                }
            },
        ),
        ("/transaction_id", {"out_trade_no": None}),
        ("/notify_url", {"notify_url": "http://example.com/"}),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_named(merchant: Merchant, paid: str, field: str, change: dict[str, Any]) -> None:
    body = {**merchant.refund_body(paid, new_number("r"), 1, 1000), **change}
    reply = merchant.call("POST", REFUNDS, body)
    assert (reply.status, reply.code, reply.json["detail"]["field"]) == (400, "PARAM_ERROR", field)


def test_what_was_never_paid_cannot_be_refunded(sandbox: Sandbox, merchant: Merchant) -> None:
    unpaid = new_number()
    merchant.create(unpaid)
    for out_trade_no in (unpaid, new_number()):
        reply = merchant.refund(out_trade_no, new_number("r"), 1, 100)
        assert (reply.status, reply.code) == (404, "RESOURCE_NOT_EXISTS")
    assert merchant.refund_query(new_number("r")).code == "RESOURCE_NOT_EXISTS"
    reversed_order = merchant.code_order(new_number(), 0)
    merchant.codepay(reversed_order)
    merchant.reverse(reversed_order["out_trade_no"])
    assert merchant.refund(reversed_order["out_trade_no"], new_number("r"), 1, 100).code == "INVALID_REQUEST"


def test_another_merchant_cannot_refund_it(sandbox: Sandbox, paid: str) -> None:
    stranger = sandbox.merchant()
    assert stranger.refund(paid, new_number("r"), 1, 1000).code == "RESOURCE_NOT_EXISTS"


def test_after_a_year_a_payment_is_past_refunding(sandbox: Sandbox, merchant: Merchant, paid: str) -> None:
    with sqlite3.connect(sandbox.home / "sandbox" / "sandbox.db", timeout=100) as books:
        long_ago = "UPDATE acquirer_trade SET paid_ms = paid_ms - 366 * 86400000 WHERE order_no = ?"
        assert books.execute(long_ago, (paid,)).rowcount == 1
    reply = merchant.refund(paid, new_number("r"), 1, 1000)
    assert (reply.status, reply.code) == (403, "TRADE_OVERDUE")


def test_an_order_takes_fifty_refunds_a_minute_apart(sandbox: Sandbox, merchant: Merchant, paid: str) -> None:
    def refund(number: int) -> Reply:
        return patiently(lambda: merchant.refund(paid, f"{paid}-{number}", 1, 1000))

    assert {refund(number).status for number in range(50)} == {200}
    refused = refund(50)
    assert (refused.status, refused.code) == (403, "RULE_LIMIT")
    assert len(sandbox.trade(merchant, paid)["refunds"]) == 50


def test_two_refunds_of_one_order_at_once_are_one_too_many(own_sandbox: Sandbox) -> None:
    merchant, out_trade_no = own_sandbox.merchant(), new_number()
    merchant.create(out_trade_no, 1000)
    own_sandbox.pay(merchant, out_trade_no)
    assert merchant.refund(out_trade_no, new_number("r"), 1, 1000).status == 200
    hasty = merchant.refund(out_trade_no, new_number("r"), 1, 1000)
    assert (hasty.status, hasty.code) == (429, "FREQUENCY_LIMITED")


@given(st.integers(1, 10**9), st.integers(0, 1000), st.data())
def test_a_full_refund_in_any_parts_returns_exactly_the_fee(paid_fen: int, fee_bp: int, data: st.DataObject) -> None:
    fee = fee_of(paid_fen, fee_bp, 0)
    cuts = sorted(data.draw(st.lists(st.integers(0, paid_fen), max_size=6)))
    running = [fee_returned(fee, refunded, paid_fen) for refunded in [0, *cuts, paid_fen]]
    assert running[0] == 0
    assert running[-1] == fee
    assert running == sorted(running)  # no part ever takes fee back again


def test_fees_round_half_up() -> None:
    assert [fee_of(total, 60, 0) for total in (83, 84, 250, 1000)] == [0, 1, 2, 6]  # 0.498 0.504 1.5 6


def test_an_abnormal_refund_is_sent_on_to_a_card_and_then_done(sandbox: Sandbox, merchant: Merchant) -> None:
    out_trade_no, number = new_number(), new_number("r")
    merchant.create(out_trade_no, 100)
    sandbox.pay(merchant, out_trade_no)
    sandbox.order_fault("refund_abnormal", mchid=merchant.mchid)
    refund_id = merchant.refund(out_trade_no, number, 40, 100).json["refund_id"]
    target = f"/v3/refund/domestic/refunds/{refund_id}/apply-abnormal-refund"
    eventually(lambda: merchant.refund_query(number).json["status"] == "ABNORMAL")
    too_much = patiently(lambda: merchant.refund(out_trade_no, new_number("r"), 61, 100))
    assert too_much.code == "INVALID_REQUEST", "the money has left the merchant"
    key_id = merchant.credentials["public_key_id"]
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    sealed = base64.b64encode(merchant.platform_keys[key_id].encrypt("张三".encode(), oaep)).decode()
    card = {"out_refund_no": number, "type": "USER_BANK_CARD", "bank_type": "ICBC_DEBIT"}
    named = card | {"bank_account": sealed, "real_name": sealed}
    headers = {"Wechatpay-Serial": key_id}
    assert merchant.call("POST", target, card, headers).code == "PARAM_ERROR"
    assert merchant.call("POST", target, named | {"real_name": "张三"}, headers).code == "PARAM_ERROR"
    assert merchant.call("POST", target, named | {"out_refund_no": "other"}, headers).code == "RESOURCE_NOT_EXISTS"
    sent_on = merchant.call("POST", target, named, headers)
    assert (sent_on.status, sent_on.json["status"]) == (200, "PROCESSING")
    eventually(lambda: merchant.refund_query(number).json["status"] == "SUCCESS")
    again = merchant.call("POST", target, {"out_refund_no": number, "type": "MERCHANT_BANK_CARD"})
    assert again.code == "INVALID_REQUEST"
