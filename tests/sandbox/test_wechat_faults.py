"""Faults in requests and answers: each bites, only where it was aimed, and only as often as ordered."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.sandbox.sandbox_client import BadSignature, Merchant, NoAnswer, Sandbox, new_number

NATIVE = "/v3/pay/transactions/native"
BEIJING = timezone(timedelta(hours=8))


@pytest.mark.parametrize(("fault", "executed"), [("request_lost", False), ("answer_lost", True)])
def test_a_lost_connection_leaves_the_merchant_without_an_answer(
    sandbox: Sandbox, merchant: Merchant, fault: str, executed: bool
) -> None:
    out_trade_no = new_number()
    sandbox.order_fault(fault, mchid=merchant.mchid, op="create")
    with pytest.raises(NoAnswer):
        merchant.create(out_trade_no)
    assert (sandbox.trade(merchant, out_trade_no) is not None) is executed
    merchant.create(out_trade_no)  # once is once


@pytest.mark.parametrize(("fault", "charged"), [("system_error", 0), ("system_error_after", 1)])
def test_a_system_error_says_nothing_about_what_happened(
    sandbox: Sandbox, merchant: Merchant, fault: str, charged: int
) -> None:
    order = merchant.code_order(new_number(), 0)
    sandbox.order_fault(fault, out_trade_no=order["out_trade_no"], op="codepay")
    reply = merchant.codepay(order)
    assert (reply.status, reply.code) == (500, "SYSTEM_ERROR")
    trade = sandbox.trade(merchant, order["out_trade_no"])
    assert (trade["charged_count"] if trade else 0) == charged
    assert merchant.codepay(order).json["trade_state"] == "SUCCESS"
    assert sandbox.trade(merchant, order["out_trade_no"])["charged_count"] == 1


def test_a_frequency_limit_executes_nothing(sandbox: Sandbox, merchant: Merchant) -> None:
    out_trade_no = new_number()
    sandbox.order_fault("frequency_limited", mchid=merchant.mchid)
    reply = merchant.call("POST", NATIVE, merchant.order(out_trade_no))
    assert (reply.status, reply.code) == (429, "FREQUENCY_LIMITED")
    assert sandbox.trade(merchant, out_trade_no) is None


def test_any_refusal_can_be_ordered(sandbox: Sandbox, merchant: Merchant) -> None:
    sandbox.order_fault("refuse", mchid=merchant.mchid, params={"status": 403, "code": "RULE_LIMIT"})
    reply = merchant.call("POST", NATIVE, merchant.order(new_number()))
    assert (reply.status, reply.code) == (403, "RULE_LIMIT")


def test_a_delay_comes_before_the_answer(sandbox: Sandbox, merchant: Merchant) -> None:
    fault = sandbox.order_fault("delay", mchid=merchant.mchid, params={"ms": 50})
    merchant.create(new_number())
    assert fired(sandbox, fault) == 1


@pytest.mark.parametrize("fault", ["unsigned_answer", "bad_signature", "sigtest"])
def test_an_answer_that_cannot_be_verified_must_not_be_believed(
    sandbox: Sandbox, merchant: Merchant, fault: str
) -> None:
    out_trade_no = new_number()
    merchant.create(out_trade_no)
    sandbox.order_fault(fault, mchid=merchant.mchid, op="query")
    target = f"/v3/pay/transactions/out-trade-no/{out_trade_no}?mchid={merchant.mchid}"
    spoiled = merchant.send("GET", target)
    assert spoiled.status == 200
    with pytest.raises(BadSignature):
        merchant.verify(spoiled.headers, spoiled.body)
    signature = spoiled.headers.get("Wechatpay-Signature", "")
    assert (signature == "") is (fault == "unsigned_answer")
    assert signature.startswith("WECHATPAY/SIGNTEST/") is (fault == "sigtest")
    assert merchant.query(out_trade_no).status == 200


def fired(sandbox: Sandbox, fault: Any) -> int:
    listed = sandbox.control("GET", "/faults")["faults"]
    return next(int(order["fired"]) for order in listed if order["fault_id"] == fault["fault_id"])


def test_every_operation_can_be_aimed_at(sandbox: Sandbox, merchant: Merchant) -> None:
    paid, waiting = merchant.code_order(new_number(), 0), merchant.code_order(new_number(), 8)
    native, number = new_number(), new_number("r")
    merchant.codepay(waiting)
    acts: list[tuple[str, Any]] = [
        ("create", lambda: merchant.call("POST", NATIVE, merchant.order(native))),
        ("codepay", lambda: merchant.codepay(paid)),
        ("query", lambda: merchant.query(native)),
        ("close", lambda: merchant.close(native)),
        ("reverse", lambda: merchant.reverse(waiting["out_trade_no"])),
        ("refund", lambda: merchant.refund(paid["out_trade_no"], number, 1, 100)),
        ("refund_query", lambda: merchant.refund_query(number)),
        ("bill", lambda: merchant.call("GET", "/v3/bill/tradebill?bill_date=2020-01-01")),
        ("certificates", lambda: merchant.call("GET", "/v3/certificates")),
    ]
    for op, act in acts:
        fault = sandbox.order_fault("system_error", mchid=merchant.mchid, op=op)
        statuses = [act().status, act().status]
        assert 500 in statuses, op
        assert fired(sandbox, fault) == 1, op


def test_a_fault_aimed_at_one_order_spares_the_others(sandbox: Sandbox, merchant: Merchant) -> None:
    aimed, spared = new_number(), new_number()
    fault = sandbox.order_fault("system_error", out_trade_no=aimed, times=2)
    assert merchant.call("POST", NATIVE, merchant.order(spared)).status == 200
    assert [merchant.call("POST", NATIVE, merchant.order(aimed)).status for _ in range(3)] == [500, 500, 200]
    assert fired(sandbox, fault) == 2


def test_a_fault_can_be_taken_back(sandbox: Sandbox, merchant: Merchant) -> None:
    fault = sandbox.order_fault("system_error", mchid=merchant.mchid)
    assert sandbox.control("DELETE", f"/faults/{fault['fault_id']}") is None
    assert merchant.call("POST", NATIVE, merchant.order(new_number())).status == 200
    sandbox.control("DELETE", f"/faults/{fault['fault_id']}", expect=404)


@pytest.mark.parametrize(
    "order",
    [
        {"rail": "wechat", "fault": "no_such_fault"},
        {"rail": "nowhere", "fault": "delay"},
        {"rail": "wechat", "fault": "delay"},
        {"rail": "wechat", "fault": "delay", "params": {"ms": 1, "colour": "red"}},
        {"rail": "wechat", "fault": "delay", "params": {"ms": "long"}},
        {"rail": "wechat", "fault": "notice_duplicate", "params": {"copies": "two"}},
        {"rail": "wechat", "fault": "system_error", "match": {"moon": "full"}},
        {"rail": "wechat", "fault": "system_error", "times": 0},
        {"rail": "wechat", "fault": "system_error", "when": "now"},
    ],
    ids=str,
)
def test_an_order_that_makes_no_sense_is_refused(sandbox: Sandbox, order: dict[str, Any]) -> None:
    refusal = sandbox.control("POST", "/faults", order, 400)
    assert set(refusal) == {"code", "message"}


def test_faults_on_order_survive_a_power_cut(own_sandbox: Sandbox) -> None:
    merchant, out_trade_no = own_sandbox.merchant(), new_number()
    own_sandbox.order_fault("system_error", mchid=merchant.mchid, times=2)
    assert merchant.call("POST", NATIVE, merchant.order(out_trade_no)).status == 500
    own_sandbox.kill()
    own_sandbox.start()
    merchant.base_url = own_sandbox.base_url
    assert [merchant.call("POST", NATIVE, merchant.order(out_trade_no)).status for _ in range(2)] == [500, 200]


def test_everything_can_be_said_in_the_words_of_every_rail(sandbox: Sandbox, merchant: Merchant) -> None:
    me, first, second = {"merchant": merchant.mchid}, new_number(), new_number()
    code = merchant.create(first, 250)
    merchant.create(second)
    assert sandbox.control("POST", "/wechat/pay", {"code": code, "payer": "oAlice"})["payer"] == {"openid": "oAlice"}
    sandbox.control("POST", "/wechat/decline", {**me, "order": second})
    sandbox.order_fault("request_lost", merchant=merchant.mchid, op="query", order=second)
    with pytest.raises(NoAnswer):
        merchant.query(second)
    returned = new_number("r")
    assert merchant.refund(first, returned, 50, 250).status == 200
    told = sandbox.control("GET", f"/wechat/trades?merchant={merchant.mchid}")["trades"]
    assert [(one["order"], one["state"], one["amount"], one["charged_count"]) for one in told] == [
        (first, "paid", 250, 1),
        (second, "open", 100, 0),
    ]
    ((refund,), ()) = (one["refunds"] for one in told)
    assert (refund["order"], refund["amount"]) == (returned, 50)
    day = datetime.now(BEIJING).date().isoformat()
    assert sandbox.control("POST", "/wechat/close-day", {**me, "date": day})["merchant"] == merchant.mchid


def test_a_rail_that_is_down_does_nothing_and_answers_nobody(sandbox: Sandbox, merchant: Merchant) -> None:
    number = new_number()
    sandbox.order_fault("down", times=3, merchant=merchant.mchid)
    for _ in range(3):
        with pytest.raises(NoAnswer):
            merchant.create(number)
    assert sandbox.trade(merchant, number) is None
    assert merchant.create(number)
