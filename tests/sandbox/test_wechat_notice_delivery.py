"""Notices: what they say, when they come again, and that no crash loses one."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from sandbox.wechat.wire import WeChatWire
from tests.ops.trials.replay.running import free_ports
from tests.sandbox.sandbox_client import BadSignature, Delivery, Door, Merchant, Sandbox, door, eventually, new_number


def pay_with_notice(sandbox: Sandbox, merchant: Merchant, url: str, total: int = 100, **create: Any) -> str:
    out_trade_no = new_number()
    body = merchant.order(out_trade_no, total, notify_url=url)
    assert merchant.call("POST", "/v3/pay/transactions/native", body, create.get("headers")).status == 200
    sandbox.pay(merchant, out_trade_no)
    return out_trade_no


def attempts(sandbox: Sandbox, merchant: Merchant) -> list[tuple[str, int | None]]:
    """Return what was sent to the merchant's only notice address and how it was answered."""
    (notice,) = sandbox.notices(merchant)
    return [(attempt["what"], attempt["http_status"]) for attempt in notice["attempts"]]


def state(sandbox: Sandbox, merchant: Merchant) -> str:
    (notice,) = sandbox.notices(merchant)
    return str(notice["state"])


def arrived(opened: Door, count: int) -> list[Delivery]:
    eventually(lambda: len(opened.deliveries) >= count)
    return opened.deliveries


def of_the_refund(opened: Door) -> Delivery:
    """Return the refund's notice, whichever of two comes first."""
    (found,) = (
        delivery for delivery in arrived(opened, 2) if json.loads(delivery.body)["event_type"].startswith("REFUND.")
    )
    return found


def test_a_payment_notice_is_signed_encrypted_and_says_what_the_query_says(
    sandbox: Sandbox, merchant: Merchant
) -> None:
    with door() as opened:
        out_trade_no = pay_with_notice(sandbox, merchant, opened.url, 777)
        (delivery,) = arrived(opened, 1)
        eventually(lambda: state(sandbox, merchant) == "acknowledged")
    merchant.verify(delivery.headers, delivery.body)
    notice = json.loads(delivery.body)
    assert (notice["event_type"], notice["resource_type"]) == ("TRANSACTION.SUCCESS", "encrypt-resource")
    assert notice["resource"]["original_type"] == "transaction"
    assert json.loads(merchant.decrypt(notice["resource"])) == merchant.query(out_trade_no).json


def test_a_refund_notice_carries_refund_status(sandbox: Sandbox, merchant: Merchant) -> None:
    with door() as opened:
        out_trade_no = pay_with_notice(sandbox, merchant, opened.url)
        number = new_number("r")
        merchant.refund(out_trade_no, number, 30, 100, notify_url=opened.url)
        delivery = of_the_refund(opened)
    merchant.verify(delivery.headers, delivery.body)
    notice = json.loads(delivery.body)
    assert (notice["event_type"], notice["resource"]["original_type"]) == ("REFUND.SUCCESS", "refund")
    plain = json.loads(merchant.decrypt(notice["resource"]))
    assert (plain["refund_status"], plain["out_refund_no"], plain["mchid"]) == ("SUCCESS", number, merchant.mchid)
    assert plain["amount"] == {"total": 100, "refund": 30, "payer_total": 100, "payer_refund": 30}
    assert "status" not in plain


def test_the_key_the_order_asked_for_signs_its_notices(sandbox: Sandbox, merchant: Merchant) -> None:
    public_key_id = merchant.credentials["public_key_id"]
    with door() as opened:
        pay_with_notice(sandbox, merchant, opened.url, headers={"Wechatpay-Serial": public_key_id})
        (delivery,) = arrived(opened, 1)
    assert merchant.verify(delivery.headers, delivery.body) == public_key_id


def test_a_refused_notice_comes_again_with_the_same_id_and_a_fresh_signature(
    sandbox: Sandbox, merchant: Merchant
) -> None:
    with door(answers=[500, 404, 302, 204]) as opened:
        pay_with_notice(sandbox, merchant, opened.url)
        deliveries = arrived(opened, 4)
        eventually(lambda: state(sandbox, merchant) == "acknowledged")
    assert len({delivery.id for delivery in deliveries}) == 1
    assert len({delivery.headers["Wechatpay-Nonce"] for delivery in deliveries}) == 4
    assert len({delivery.headers["Wechatpay-Signature"] for delivery in deliveries}) == 4
    for delivery in deliveries:
        merchant.verify(delivery.headers, delivery.body)
    assert attempts(sandbox, merchant) == [("right", 500), ("right", 404), ("right", 302), ("right", 204)]


def test_nobody_listening_is_a_failed_attempt_like_any_other(sandbox: Sandbox, merchant: Merchant) -> None:
    (port,) = free_ports(1)  # which no connection of another test is given while nobody listens
    with door(port) as opened:
        url = opened.url
    pay_with_notice(sandbox, merchant, url)
    eventually(lambda: len(attempts(sandbox, merchant)) >= 2)
    with door(port) as opened:
        arrived(opened, 1)
        eventually(lambda: state(sandbox, merchant) == "acknowledged")


def test_after_fifteen_repetitions_it_gives_up(tmp_path: Path) -> None:
    assert len(WeChatWire.schedule_s) == 15
    assert sum(WeChatWire.schedule_s) == (24 * 60 + 4) * 60
    hasty = Sandbox(tmp_path, 0.000001)
    try:
        merchant = hasty.merchant()
        with door(answers=[500]) as opened:
            pay_with_notice(hasty, merchant, opened.url)
            eventually(lambda: state(hasty, merchant) == "given_up")
            assert len(opened.deliveries) == 16
    finally:
        hasty.kill()


def test_a_power_cut_loses_neither_trades_nor_pending_notices(own_sandbox: Sandbox) -> None:
    merchant = own_sandbox.merchant()
    (port,) = free_ports(1)  # which no connection of another test is given while nobody listens
    with door(port) as opened:
        url = opened.url
    orders = [pay_with_notice(own_sandbox, merchant, url, total) for total in (101, 102, 103)]
    merchant.refund(orders[0], new_number("r"), 1, 101, notify_url=url)
    own_sandbox.kill()
    with door(port) as opened:
        own_sandbox.start()
        merchant.base_url = own_sandbox.base_url
        eventually(lambda: len({delivery.id for delivery in opened.deliveries}) == 4)
        eventually(lambda: {notice["state"] for notice in own_sandbox.notices(merchant)} == {"acknowledged"})
    told = {}
    for delivery in opened.deliveries:
        merchant.verify(delivery.headers, delivery.body)
        plain = json.loads(merchant.decrypt(json.loads(delivery.body)["resource"]))
        told[plain["out_trade_no"]] = plain["amount"]["total"]
    assert told == dict(zip(orders, (101, 102, 103), strict=True))
    assert [own_sandbox.trade(merchant, order)["charged_count"] for order in orders] == [1, 1, 1]
    assert merchant.query(orders[1]).json["trade_state"] == "SUCCESS"


# --- faults --------------------------------------------------------------------------------------------------------


@pytest.fixture
def verifying(merchant: Merchant) -> Any:
    """A merchant's door that answers 401 to what WeChat Pay did not sign."""

    def rule(delivery: Delivery) -> int:
        try:
            merchant.verify(delivery.headers, delivery.body)
        except BadSignature:
            return 401
        return 200

    return rule


def test_a_dropped_notice_comes_on_its_next_turn(sandbox: Sandbox, merchant: Merchant) -> None:
    sandbox.order_fault("notice_drop", mchid=merchant.mchid, times=2)
    with door() as opened:
        pay_with_notice(sandbox, merchant, opened.url)
        eventually(lambda: state(sandbox, merchant) == "acknowledged")
        assert len(opened.deliveries) == 1
    assert attempts(sandbox, merchant) == [("dropped", None), ("dropped", None), ("right", 200)]


def test_a_duplicated_notice_arrives_several_times_at_once(sandbox: Sandbox, merchant: Merchant) -> None:
    sandbox.order_fault("notice_duplicate", mchid=merchant.mchid, params={"copies": 3})
    with door() as opened:
        pay_with_notice(sandbox, merchant, opened.url)
        deliveries = arrived(opened, 3)
    assert len({delivery.body for delivery in deliveries}) == 1


def test_a_delayed_notice_waits(sandbox: Sandbox, merchant: Merchant) -> None:
    fault = sandbox.order_fault("notice_delay", mchid=merchant.mchid, params={"ms": 700})
    with door() as opened:
        began = time.monotonic()
        out_trade_no = pay_with_notice(sandbox, merchant, opened.url)
        assert merchant.query(out_trade_no).json["trade_state"] == "SUCCESS"
        arrived(opened, 1)
        assert time.monotonic() - began > 0.65  # a slow machine only makes it longer
    listed = {order["fault_id"]: order["fired"] for order in sandbox.control("GET", "/faults")["faults"]}
    assert listed[fault["fault_id"]] == 1


def test_a_forged_notice_comes_besides_the_right_one(sandbox: Sandbox, merchant: Merchant, verifying: Any) -> None:
    sandbox.order_fault("notice_forged", mchid=merchant.mchid)
    with door(rule=verifying) as opened:
        pay_with_notice(sandbox, merchant, opened.url)
        deliveries = arrived(opened, 2)
        eventually(lambda: state(sandbox, merchant) == "acknowledged")
    assert [delivery.answered for delivery in deliveries] == [401, 200]
    assert deliveries[0].headers["Wechatpay-Serial"] == deliveries[1].headers["Wechatpay-Serial"]


@pytest.mark.parametrize("fault", ["notice_sigtest", "notice_unsigned"])
def test_a_probe_or_an_unsigned_notice_is_followed_by_the_right_one(
    sandbox: Sandbox, merchant: Merchant, verifying: Any, fault: str
) -> None:
    sandbox.order_fault(fault, mchid=merchant.mchid)
    with door(rule=verifying) as opened:
        pay_with_notice(sandbox, merchant, opened.url)
        deliveries = arrived(opened, 2)
        eventually(lambda: state(sandbox, merchant) == "acknowledged")
    assert [delivery.answered for delivery in deliveries] == [401, 200]
    first = deliveries[0].headers.get("Wechatpay-Signature", "")
    assert first.startswith("WECHATPAY/SIGNTEST/") is (fault == "notice_sigtest")
    assert deliveries[0].id == deliveries[1].id


def test_believing_a_probe_does_not_acknowledge_the_notice(sandbox: Sandbox, merchant: Merchant) -> None:
    sandbox.order_fault("notice_sigtest", mchid=merchant.mchid)
    with door() as opened:
        pay_with_notice(sandbox, merchant, opened.url)
        arrived(opened, 2)
    assert attempts(sandbox, merchant)[0] == ("sigtest", 200)


def test_a_notice_with_a_wrong_amount_is_properly_signed(sandbox: Sandbox, merchant: Merchant) -> None:
    sandbox.order_fault("notice_wrong_amount", mchid=merchant.mchid)
    with door() as opened:
        pay_with_notice(sandbox, merchant, opened.url, 100)
        deliveries = arrived(opened, 2)
    totals = []
    for delivery in deliveries:
        merchant.verify(delivery.headers, delivery.body)
        totals.append(json.loads(merchant.decrypt(json.loads(delivery.body)["resource"]))["amount"]["total"])
    assert totals == [101, 100]
    assert deliveries[0].id != deliveries[1].id


def test_a_reordered_notice_waits_for_another_of_the_merchant(sandbox: Sandbox, merchant: Merchant) -> None:
    with door() as opened:
        first = new_number()
        sandbox.order_fault("notice_reordered", mchid=merchant.mchid, out_trade_no=first)
        merchant.create(first, notify_url=opened.url)
        sandbox.pay(merchant, first)
        eventually(lambda: state(sandbox, merchant) == "held")
        second = pay_with_notice(sandbox, merchant, opened.url)
        deliveries = arrived(opened, 2)
    order = [json.loads(merchant.decrypt(json.loads(d.body)["resource"]))["out_trade_no"] for d in deliveries]
    assert order == [second, first]


def test_a_refund_may_end_abnormal(sandbox: Sandbox, merchant: Merchant) -> None:
    with door() as opened:
        out_trade_no = pay_with_notice(sandbox, merchant, opened.url)
        number = new_number("r")
        sandbox.order_fault("refund_abnormal", out_refund_no=number)
        merchant.refund(out_trade_no, number, 30, 100, notify_url=opened.url)
        delivery = of_the_refund(opened)
    assert json.loads(delivery.body)["event_type"] == "REFUND.ABNORMAL"
    assert merchant.refund_query(number).json["status"] == "ABNORMAL"
