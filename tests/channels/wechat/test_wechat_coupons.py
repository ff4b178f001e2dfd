"""Coupons at WeChat Pay: what is not paid out is the merchant's, and parts that do not add up are no answer."""

import json
from typing import Any

import pytest

from channels import Confirmed, Kind, Notice, Outcome, Pending, Unknown
from kernel.money import Money
from tests.channels.wechat.wechat_rail import NOW, Rail, channel, order, refund, refund_order, transaction

RAIL, WECHAT = Rail(), channel()


def cny(minor: int) -> Money:
    return Money(minor, "CNY")


def coupon(amount: int, kind: str = "NOCASH", **changes: Any) -> dict[str, Any]:
    """A coupon as a transaction shows it."""
    shown = {
        "coupon_id": "109519",
        "name": "满减",
        "scope": "GLOBAL",
        "type": kind,
        "amount": amount,
        "stock_id": "931386",
    }
    return shown | {"currency": "CNY"} | changes


def paid_with(*coupons: Any, payer_total: int | None = None, **amount: Any) -> dict[str, Any]:
    own = 1234 - sum(one["amount"] for one in coupons) if payer_total is None else payer_total
    stated = {"total": 1234, "payer_total": own, "currency": "CNY", "payer_currency": "CNY", **amount}
    return transaction(amount=stated, promotion_detail=list(coupons))


def given_back(amount: dict[str, Any] | None = None, *parts: tuple[str, int], **changes: Any) -> dict[str, Any]:
    """A refund of 234 of an order of 1234, as its answers show it."""
    listed = [
        {"promotion_id": "109519", "scope": "GLOBAL", "type": kind, "amount": 500, "refund_amount": minor}
        for kind, minor in parts
    ]
    stated = {"total": 1234, "refund": 234, "payer_total": 1234, "payer_refund": 234, "currency": "CNY"}
    return refund(amount=stated | (amount or {}), promotion_detail=listed, **changes)


def queried(body: dict[str, Any]) -> Outcome:
    return WECHAT.query_outcome(order(), RAIL.signed(200, body), now=NOW)


def refund_queried(body: dict[str, Any]) -> Outcome:
    return WECHAT.refund_query_outcome(refund_order(), RAIL.signed(200, body), now=NOW)


OTHERS = {"wechatpay_contribute": 0, "merchant_contribute": 0}
PAID: dict[str, tuple[dict[str, Any], int | None]] = {
    "none": (transaction(), None),
    "an empty list": (paid_with(), None),
    "taken off 免充值": (paid_with(coupon(100)), 100),
    "taken off, given by a brand": (paid_with(coupon(100, **OTHERS, other_contribute=100)), 100),
    "paid in beforehand 充值": (paid_with(coupon(100, "CASH")), 0),
    "paid in beforehand by the merchant": (paid_with(coupon(100, "CASH", merchant_contribute=100)), 0),
    "one of each": (paid_with(coupon(100), coupon(34, "CASH")), 100),
    "two of one goods each": (paid_with(coupon(1, scope="SINGLE"), coupon(2, scope="SINGLE")), 3),
    "all but a fen": (paid_with(coupon(1233)), 1233),
    "not told who gave it": (paid_with(coupon(100, **OTHERS, other_contribute=0)), 100),
    "the payer's own money in another currency": (paid_with(coupon(100), payer_total=160, payer_currency="USD"), 100),
    "with what is settled": (paid_with(coupon(100), coupon(34, "CASH"), settlement_total=1134), 100),
    "of a kind we do not know": (paid_with(coupon(100, "TOKEN")), None),
    "nothing listed, and yet a part paid otherwise": (transaction(amount={"total": 1234, "payer_total": 1134}), None),
}


@pytest.mark.parametrize("what", PAID)
def test_the_merchants_part_of_a_payment_is_what_is_not_paid_out(what: str) -> None:
    body, minor = PAID[what]
    outcome = queried(body)
    assert isinstance(outcome, Confirmed)
    assert outcome.amount == cny(1234), "the amount is the order's, whoever paid which part of it"
    assert outcome.merchant_coupon == (None if minor is None else cny(minor))


DOUBTFUL: dict[str, dict[str, Any]] = {
    "coupons of more than the rest": paid_with(coupon(101), payer_total=1134),
    "coupons of less than the rest": paid_with(coupon(99), payer_total=1134),
    "the payer paid more than the order": transaction(amount={"total": 1234, "payer_total": 1235}),
    "a coupon of more than the order": paid_with(coupon(1235), payer_total=0),
    "another sum is settled": paid_with(coupon(100), settlement_total=1234),
    "contributions of more than the coupon": paid_with(coupon(100, merchant_contribute=101)),
    "contributions that are not the coupon": paid_with(
        coupon(100, wechatpay_contribute=1, merchant_contribute=50, other_contribute=0)
    ),
    "an amount below zero": paid_with(coupon(100), coupon(-100), payer_total=1234),
    "an amount that is text": paid_with({"type": "NOCASH", "amount": "100"}, payer_total=1134),
    "an amount with decimals": paid_with({"type": "NOCASH", "amount": 100.0}, payer_total=1134),
    "an amount that is true": paid_with({"type": "NOCASH", "amount": True}, payer_total=1233),
    "no amount": transaction(promotion_detail=[{"type": "NOCASH"}]),
    "another currency": paid_with(coupon(100, currency="HKD")),
    "no list": transaction(promotion_detail={"amount": 100}),
    "no objects": transaction(promotion_detail=[100]),
}


@pytest.mark.parametrize("what", DOUBTFUL)
def test_parts_that_do_not_add_up_are_no_answer(what: str) -> None:
    assert isinstance(queried(DOUBTFUL[what]), Unknown)


SETTLED = {"payer_total": 1134, "settlement_total": 1134}
REFUNDED: dict[str, tuple[dict[str, Any], int | None]] = {
    "no coupon": (given_back(), None),
    "no coupon, all amounts told": (
        given_back({"settlement_total": 1234, "settlement_refund": 234, "discount_refund": 0}),
        None,
    ),
    "taken off": (
        given_back(SETTLED | {"payer_refund": 215, "settlement_refund": 215, "discount_refund": 19}, ("DISCOUNT", 19)),
        19,
    ),
    "paid in beforehand": (
        given_back(
            {"payer_total": 1134, "payer_refund": 215, "settlement_refund": 234, "discount_refund": 19}, ("COUPON", 19)
        ),
        0,
    ),
    "one of each": (
        given_back(
            {"payer_total": 1100, "payer_refund": 205, "settlement_refund": 213, "discount_refund": 29},
            ("DISCOUNT", 21),
            ("COUPON", 8),
        ),
        21,
    ),
    "amounts alone": (given_back(SETTLED | {"payer_refund": 215, "settlement_refund": 215}), 19),
    "a coupon of other goods": (given_back(SETTLED | {"settlement_refund": 234}), 0),
    "of a kind we do not know, with what is settled": (
        given_back(SETTLED | {"payer_refund": 215, "settlement_refund": 215, "discount_refund": 19}, ("TOKEN", 19)),
        19,
    ),
    "not told": (given_back({"payer_total": 1134, "payer_refund": 215}), None),
}


@pytest.mark.parametrize("what", REFUNDED)
def test_the_coupons_part_of_a_refund_is_what_is_not_taken_from_the_merchant(what: str) -> None:
    body, minor = REFUNDED[what]
    outcome = refund_queried(body)
    assert isinstance(outcome, Confirmed)
    assert outcome.amount == cny(234)
    assert outcome.merchant_coupon == (None if minor is None else cny(minor))


BAD_REFUNDS: dict[str, dict[str, Any]] = {
    "more is settled than given back": given_back({"settlement_refund": 235}),
    "the payer gets more than was taken": given_back({"payer_refund": 234, "settlement_refund": 200}),
    "coupons that are not the rest": given_back(
        SETTLED | {"payer_refund": 215, "settlement_refund": 215, "discount_refund": 19}, ("DISCOUNT", 18)
    ),
    "another sum of discounts": given_back(
        SETTLED | {"payer_refund": 215, "settlement_refund": 215, "discount_refund": 20}, ("DISCOUNT", 19)
    ),
    "kinds that are not what is settled": given_back(
        SETTLED | {"payer_refund": 215, "settlement_refund": 215, "discount_refund": 19}, ("COUPON", 19)
    ),
}


@pytest.mark.parametrize("what", BAD_REFUNDS)
def test_a_refund_whose_parts_do_not_add_up_is_no_answer(what: str) -> None:
    assert isinstance(refund_queried(BAD_REFUNDS[what]), Unknown)


def noticed(body: dict[str, Any], event: str, original: str) -> Notice:
    return WECHAT.notice(RAIL.notice(event, body, associated=original), now=NOW)


def test_a_payments_notice_says_it_as_a_query_does() -> None:
    told = noticed(paid_with(coupon(100)), "TRANSACTION.SUCCESS", "transaction")
    assert isinstance(told.outcome, Confirmed)
    assert told.outcome.merchant_coupon == cny(100)


def test_a_refunds_notice_does_not_say_it_so_it_only_says_that_it_is_time_to_ask() -> None:
    """Its amount has total, refund, payer_total and payer_refund and no more: not whose coupon made the difference."""
    amount = {"total": 1234, "refund": 234, "payer_total": 1134, "payer_refund": 215}
    told = noticed(refund(notice=True, amount=amount), "REFUND.SUCCESS", "refund")
    assert (told.kind, told.outcome) == (Kind.REFUND, Pending(channel_ref="50302511112026112412345678901"))
    plain = noticed(refund(notice=True), "REFUND.SUCCESS", "refund")
    assert isinstance(plain.outcome, Confirmed), "where the payer paid all of it, there is nothing to ask"


def test_what_coupons_say_is_read_as_strictly_as_everything_else() -> None:
    body = json.dumps(paid_with(coupon(100))).replace('"amount": 100', '"amount": 100, "amount": 1')
    assert isinstance(WECHAT.query_outcome(order(), RAIL.signed(200, body.encode()), now=NOW), Unknown)
