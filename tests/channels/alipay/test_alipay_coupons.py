"""Coupons at Alipay: the merchant receives receipt_amount, and parts that contradict each other are no answer."""

import json
from typing import Any

import pytest

from channels import BadNotice, Confirmed, Method, Outcome, Unknown
from kernel.money import Money
from tests.channels.alipay.alipay_rail import (
    NOW,
    Rail,
    channel,
    charged,
    order,
    refund_found,
    refund_order,
    refunded,
    told,
    trade,
)
from tests.channels.alipay.test_alipay_statement import Row, details, read, refusal

RAIL, ALIPAY = Rail(), channel()


def cny(minor: int) -> Money:
    return Money(minor, "CNY")


def queried(**changes: Any) -> Outcome:
    return ALIPAY.query_outcome(order(), RAIL.answer("alipay.trade.query", trade(**changes)), now=NOW)


def voucher(own: str, others: str, amount: str, **changes: Any) -> dict[str, Any]:
    return {"id": "1", "name": "券", "amount": amount, "merchant_contribute": own, "other_contribute": others} | changes


UNTOLD = {"receipt_amount": "0.00", "buyer_pay_amount": "0.00"}
PAID: dict[str, tuple[dict[str, Any], int | None]] = {
    "none": ({}, None),
    "the merchant's": ({"receipt_amount": "11.34", "buyer_pay_amount": "11.34"}, 100),
    "Alipay's": ({"buyer_pay_amount": "10.34"}, None),
    "one of each": ({"receipt_amount": "11.34", "buyer_pay_amount": "10.34", "mdiscount_amount": "1.00"}, 100),
    "with its vouchers": (
        {"receipt_amount": "11.34", "voucher_detail_list": [voucher("1.00", "0.50", "1.50"), voucher("0", "1", "1")]},
        100,
    ),
    # A merchant's own red packets and cards are not among the vouchers, so they may come to less.
    "more than its vouchers": ({"receipt_amount": "11.34", "voucher_detail_list": [voucher("0.40", "0", "0.40")]}, 100),
    "no sums told, as of trades paid on a page": (UNTOLD, None),
    "no sums told but the discount": (UNTOLD | {"mdiscount_amount": "1.00"}, 100),
    "no sums told but the vouchers": (UNTOLD | {"voucher_detail_list": [voucher("1.00", "0", "1.00")]}, 100),
    "no sums and no discount": (UNTOLD | {"mdiscount_amount": "0.00"}, None),
    "no such fields": ({"receipt_amount": None, "buyer_pay_amount": None}, None),
}


@pytest.mark.parametrize("what", PAID)
def test_the_merchants_part_of_a_payment_is_what_it_does_not_receive(what: str) -> None:
    changes, minor = PAID[what]
    outcome = queried(**changes)
    assert isinstance(outcome, Confirmed)
    assert (outcome.amount, outcome.merchant_coupon) == (cny(1234), None if minor is None else cny(minor))


DOUBTFUL: dict[str, dict[str, Any]] = {
    "more is received than was ordered": {"receipt_amount": "12.35"},
    "less than nothing is received": {"receipt_amount": "-1.00"},
    "another discount": {"receipt_amount": "11.34", "mdiscount_amount": "0.99"},
    "a discount of more than the order": UNTOLD | {"mdiscount_amount": "12.35"},
    "vouchers of more than is not received": {"voucher_detail_list": [voucher("0.01", "0", "0.01")]},
    "contributions of more than the voucher": {
        "receipt_amount": "11.34",
        "voucher_detail_list": [voucher("1.00", "0.01", "1.00")],
    },
    "a contribution below zero": {"voucher_detail_list": [voucher("-1.00", "1.00", "0.00")]},
    "a sum that is no amount": {"receipt_amount": "eleven"},
    "a list that is none": {"voucher_detail_list": {"amount": "1.00"}},
    "a list of texts": {"voucher_detail_list": ["1.00"]},
}


@pytest.mark.parametrize("what", DOUBTFUL)
def test_parts_that_contradict_each_other_are_no_answer(what: str) -> None:
    assert isinstance(queried(**DOUBTFUL[what]), Unknown)


def test_a_payers_code_says_it_at_once() -> None:
    answer = RAIL.answer("alipay.trade.pay", charged(receipt_amount="11.34"))
    outcome = ALIPAY.pay_outcome(order(Method.BARCODE), answer, now=NOW)
    assert isinstance(outcome, Confirmed)
    assert outcome.merchant_coupon == cny(100)


def test_a_notice_says_it_too_with_its_vouchers_as_a_text() -> None:
    """Its names are written in camels there; one that does not fit is not believed."""

    def noticed(own: str) -> Any:
        listed = [
            {"amount": "1.00", "merchantContribute": own, "otherContribute": "0.00", "type": "ALIPAY_FIX_VOUCHER"}
        ]
        said = told(receipt_amount="11.34", buyer_pay_amount="11.34", voucher_detail_list=json.dumps(listed))
        return ALIPAY.notice(RAIL.notice(said), now=NOW)

    notice = noticed("1.00")
    assert isinstance(notice.outcome, Confirmed)
    assert notice.outcome.merchant_coupon == cny(100)
    with pytest.raises(BadNotice):
        noticed("1.01")


REFUNDED: dict[str, tuple[dict[str, Any], int | None]] = {
    "not told": ({"send_back_fee": "0.00"}, None),
    "none": ({"send_back_fee": "2.34"}, 0),
    "the merchant's": ({"send_back_fee": "2.15"}, 19),
    "with the discount": ({"send_back_fee": "2.15", "present_refund_mdiscount_amount": "0.19"}, 19),
    "the discount alone": ({"present_refund_mdiscount_amount": "0.19"}, 19),
}


@pytest.mark.parametrize("what", REFUNDED)
def test_the_coupons_part_of_a_refund_is_what_is_not_taken_from_the_merchant(what: str) -> None:
    changes, minor = REFUNDED[what]
    asked = RAIL.answer("alipay.trade.fastpay.refund.query", refund_found(**changes))
    at_once = RAIL.answer("alipay.trade.refund", refunded(**changes))
    for outcome in (
        ALIPAY.refund_query_outcome(refund_order(), asked, now=NOW),
        ALIPAY.refund_outcome(refund_order(), at_once, now=NOW),
    ):
        assert isinstance(outcome, Confirmed)
        assert (outcome.amount, outcome.merchant_coupon) == (cny(234), None if minor is None else cny(minor))


@pytest.mark.parametrize(
    "changes",
    [
        {"send_back_fee": "2.35"},
        {"send_back_fee": "2.15", "present_refund_mdiscount_amount": "0.18"},
        {"present_refund_mdiscount_amount": "2.35"},
        {"send_back_fee": "-0.01"},
    ],
)
def test_a_refund_whose_parts_contradict_each_other_is_no_answer(changes: dict[str, str]) -> None:
    answer = RAIL.answer("alipay.trade.fastpay.refund.query", refund_found(**changes))
    assert isinstance(ALIPAY.refund_query_outcome(refund_order(), answer, now=NOW), Unknown)


def test_a_bill_says_it_as_the_order_less_what_is_received() -> None:
    rows = [
        Row(1, amount="10.00", fee="-0.05", discount="1.00"),
        Row(
            1, amount="-4.00", kind="退款", fee="0.02", discount="-0.40", at="2026-11-23 12:00:01", request="1_refund1"
        ),
        Row(2, amount="10.00", fee="-0.05", discount="1.00"),
        Row(2, amount="-10.00", kind="退款", fee="0.05", discount="-1.00", at="2026-11-23 12:00:02"),
        Row(3),
    ]
    found = [(line.amount.minor, line.coupon_minor, line.fee.minor) for line in read(details(rows))]
    assert found == [(1000, 100, 5), (400, -40, -2), (1000, 100, 5), (1000, -100, -5), (1234, 0, 7)]


@pytest.mark.parametrize("discount", ["-0.01", "12.35"])
def test_a_bill_that_receives_more_than_was_ordered_or_less_than_nothing_is_damaged(discount: str) -> None:
    assert refusal(details([Row(1, discount=discount)])) == "damaged"
