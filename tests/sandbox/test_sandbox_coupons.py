"""Coupons: who pays for one decides what the merchant gets, and a refund parts as WeChat Pay's documents say."""

import pytest

from tests.sandbox.sandbox_client import Merchant, Sandbox, eventually, new_number
from tests.sandbox.test_wechat_bills import trade_bill


def give(sandbox: Sandbox, merchant: Merchant, amount: int, paid_by: str, **order: str) -> None:
    body = {"merchant": merchant.mchid, "amount": amount, "paid_by": paid_by, **order}
    sandbox.control("POST", "/wechat/coupons", body)


def bought(sandbox: Sandbox, merchant: Merchant, amount: int, *coupons: tuple[int, str]) -> str:
    number = new_number()
    for minor, paid_by in coupons:
        give(sandbox, merchant, minor, paid_by, order=number)
    merchant.create(number, amount)
    sandbox.pay(merchant, number)
    return number


def test_a_transaction_lists_its_coupons_and_they_are_what_the_payer_did_not_pay(
    sandbox: Sandbox, merchant: Merchant
) -> None:
    paid = merchant.query(bought(sandbox, merchant, 1000, (100, "merchant"), (50, "rail"), (30, "prepaid"))).json
    assert (paid["amount"]["total"], paid["amount"]["payer_total"]) == (1000, 820)
    listed = [
        (one["type"], one["amount"], one["wechatpay_contribute"], one["merchant_contribute"])
        for one in paid["promotion_detail"]
    ]
    assert listed == [("NOCASH", 100, 0, 100), ("CASH", 50, 50, 0), ("CASH", 30, 0, 30)]


def test_of_ten_with_a_coupon_of_three_nine_given_back_are_6_30_for_the_payer(
    sandbox: Sandbox, merchant: Merchant
) -> None:
    """The two examples of WeChat Pay's page on refunds (refund/introduction, 2025-06-27): a part, and all of it."""
    order, whole = (bought(sandbox, merchant, 1000, (300, "merchant")) for _ in range(2))
    part = merchant.refund(order, new_number("r"), 900, 1000).json["amount"]
    names = ("refund", "payer_refund", "settlement_refund", "discount_refund", "settlement_total")
    assert [part[name] for name in names] == [900, 630, 630, 270, 700]
    back = merchant.refund(whole, new_number("r"), 1000, 1000).json
    assert [back["amount"][name] for name in names] == [1000, 700, 700, 300, 700]
    assert [(one["type"], one["amount"], one["refund_amount"]) for one in back["promotion_detail"]] == [
        ("DISCOUNT", 300, 300)
    ]


def test_a_coupon_that_was_paid_in_beforehand_is_settled_and_taken_back_whole(
    sandbox: Sandbox, merchant: Merchant
) -> None:
    order = bought(sandbox, merchant, 1000, (300, "rail"))
    amount = merchant.refund(order, new_number("r"), 900, 1000).json["amount"]
    assert (amount["payer_refund"], amount["settlement_refund"], amount["settlement_total"]) == (630, 900, 1000)


def test_the_bill_and_what_is_paid_out_know_what_is_settled(sandbox: Sandbox) -> None:
    merchant = sandbox.merchant()
    order = bought(sandbox, merchant, 1000, (100, "merchant"))
    other = bought(sandbox, merchant, 1000, (200, "rail"))
    number = new_number("r")
    merchant.refund(order, number, 400, 1000)
    eventually(lambda: merchant.refund_query(number).json["status"] == "SUCCESS")
    day = str(sandbox.trade(merchant, order)["bill_date"])
    closed = sandbox.close_day(merchant, day)
    rows, totals = trade_bill(merchant, day)
    names = ("应结订单金额", "代金券金额", "订单金额", "退款金额", "充值券退款金额", "申请退款金额", "手续费")
    assert [[row[name] for name in names] for row in rows] == [
        ["9.00", "1.00", "10.00", "0.00", "0.00", "0.00", "0.05000"],
        ["10.00", "2.00", "10.00", "0.00", "0.00", "0.00", "0.06000"],
        ["0.00", "0.00", "0.00", "3.60", "0.00", "4.00", "-0.02000"],
    ]
    assert (totals["应结订单总金额"], totals["退款总金额"], totals["订单总金额"]) == ("19.00", "3.60", "20.00")
    assert closed["net"] == 900 - 5 + 1000 - 6 - 360 + 2
    assert sandbox.trade(merchant, other)["fee"] == 6


@pytest.mark.parametrize("body", [{"amount": 0, "paid_by": "rail"}, {"amount": 1, "paid_by": "nobody"}])
def test_a_coupon_over_nothing_or_of_nobodys_is_refused(
    sandbox: Sandbox, merchant: Merchant, body: dict[str, object]
) -> None:
    assert sandbox.try_control("POST", "/wechat/coupons", {"merchant": merchant.mchid, **body}).status == 400


def test_a_coupon_that_leaves_nothing_to_pay_is_not_used_and_one_is_used_once(
    sandbox: Sandbox, merchant: Merchant
) -> None:
    give(sandbox, merchant, 100, "merchant")
    small, big, next_one = (bought(sandbox, merchant, amount) for amount in (100, 101, 500))
    paid = [merchant.query(order).json["amount"]["payer_total"] for order in (small, big, next_one)]
    assert paid == [100, 1, 500]
