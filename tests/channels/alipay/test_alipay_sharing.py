"""Sharing a payment's money out at Alipay: what each answer is taken to mean."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from channels import Confirmed, Outcome, Pending, Refused, Unknown
from channels.sharing import Receiver, ReceiverKind, Shared, ShareReturn, Sharing
from kernel.env import Response
from kernel.money import Money
from tests.channels.alipay.alipay_rail import NOW, TRADE_NO, Rail, channel, ok, refused
from tests.channels.alipay.test_alipay_requests import SHARED, content

RAIL, ALIPAY = Rail(), channel()
SETTLE_NO, NUMBER = "20261124002530020036530021395831", "1_01937a0b5c00aabbccddeeff00777"
DONE_AT = datetime(2026, 11, 24, 8, 29, 58, tzinfo=UTC)
SENT = replace(SHARED, channel_ref=SETTLE_NO)
AGENT = SHARED.shares[0].receiver


def detail(share: int, state: str = "SUCCESS", **changes: Any) -> dict[str, Any]:
    """What a query shows of one share."""
    of = SHARED.shares[share]
    return {
        "operation_type": "transfer",
        "execute_dt": "2026-11-24 16:29:58",
        "trans_out": "2088101117955611",
        "trans_out_type": "userId",
        "trans_in": of.receiver.account,
        "trans_in_type": "userId",
        "amount": of.amount.major(),
        "state": state,
        "detail_id": f"D{share}",
    } | changes


def asked(*details: Mapping[str, Any], **changes: Any) -> Shared:
    fields = ok(out_request_no=NUMBER, operation_dt="2026-11-24 16:29:57", royalty_detail_list=list(details)) | changes
    return ALIPAY.share_query_outcome(SENT, RAIL.answer("alipay.trade.order.settle.query", fields), now=NOW)


def test_alipay_is_a_rail_that_shares_out() -> None:
    assert isinstance(ALIPAY, Sharing)
    assert ALIPAY.receiver_kinds == frozenset(ReceiverKind)


@pytest.mark.parametrize(
    ("receiver", "kind"),
    [
        (Receiver(ReceiverKind.MERCHANT, "2088101126708402"), "userId"),
        (Receiver(ReceiverKind.PERSON, "2088101126708402"), "userId"),
        (Receiver(ReceiverKind.PERSON, "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5"), "openId"),
        (Receiver(ReceiverKind.LOGIN, "tea@shop.example", "茶叶"), "loginName"),
    ],
)
def test_a_receiver_is_named_as_alipay_names_it(receiver: Receiver, kind: str) -> None:
    (entity,) = content(ALIPAY.bind_request(receiver, "1-bind"))["receiver_list"]
    assert (entity["type"], entity["account"]) == (kind, receiver.account)
    assert entity.get("name", "") == receiver.name


@pytest.mark.parametrize("method", ["bind", "unbind"])
def test_a_receiver_is_known_or_no_longer_known_when_alipay_says_so(method: str) -> None:
    op = f"alipay.trade.royalty.relation.{method}"
    read = ALIPAY.bind_outcome if method == "bind" else ALIPAY.unbind_outcome

    def outcome(answer: Response) -> Outcome:
        return read(AGENT, answer, now=NOW)

    assert outcome(RAIL.answer(op, ok(result_code="SUCCESS"))) == Confirmed(AGENT.account, Money(0, "CNY"), NOW)
    assert outcome(RAIL.answer(op, refused("ACQ.USER_NOT_EXIST"))) == Refused("ACQ.USER_NOT_EXIST", "说明")
    for answer in (
        RAIL.answer(op, ok()),
        RAIL.answer(op, ok(result_code="FAIL")),
        RAIL.answer(op, refused("ACQ.SYSTEM_ERROR")),
        Rail("stranger").answer(op, ok(result_code="SUCCESS")),
    ):
        assert isinstance(outcome(answer), Unknown)


def test_sharing_out_is_accepted_and_not_yet_done() -> None:
    answer = RAIL.answer("alipay.trade.order.settle", ok(trade_no=TRADE_NO, settle_no=SETTLE_NO))
    assert ALIPAY.share_outcome(SHARED, answer, now=NOW) == Shared(Pending(channel_ref=SETTLE_NO))
    said = content(ALIPAY.share_request(SHARED))
    assert said["extend_params"] == {"royalty_finish": "true"}
    assert [share["amount"] for share in said["royalty_parameters"]] == ["1.00", "0.07"]
    assert "extend_params" not in content(ALIPAY.share_request(replace(SHARED, release_rest=False)))


def test_each_share_is_told_by_the_query() -> None:
    both = asked(detail(1), detail(0))
    assert both.shares == (
        Confirmed("D0", Money(100, "CNY"), DONE_AT),
        Confirmed("D1", Money(7, "CNY"), DONE_AT),
    )
    assert both.whole == Confirmed(SETTLE_NO, Money(107, "CNY"), DONE_AT)
    one = asked(detail(0), detail(1, "FAIL", error_code="TXN_RESULT_ACCOUNT_BALANCE_NOT_ENOUGH", error_desc="不足"))
    assert one.shares[1] == Refused("TXN_RESULT_ACCOUNT_BALANCE_NOT_ENOUGH", "不足")
    assert one.whole == Confirmed(SETTLE_NO, Money(100, "CNY"), DONE_AT)
    assert asked(detail(0), detail(1, "PROCESSING")).whole == Pending(channel_ref=SETTLE_NO)
    assert isinstance(asked(detail(0)).whole, Unknown), "one the answer says nothing of is in doubt"


def test_amounts_may_be_numbers_and_returns_are_not_shares() -> None:
    assert isinstance(asked(detail(0, amount=1.0), detail(1, amount=0.07)).whole, Confirmed)
    returned = detail(0, operation_type="transfer_refund")
    assert isinstance(asked(returned, detail(1)).whole, Unknown)


def test_two_shares_alike_are_two_shares() -> None:
    alike = replace(SENT, shares=(SHARED.shares[0], SHARED.shares[0]))
    fields = ok(out_request_no=NUMBER, royalty_detail_list=[detail(0), detail(0, detail_id="D9")])
    answer = RAIL.answer("alipay.trade.order.settle.query", fields)
    assert ALIPAY.share_query_outcome(alike, answer, now=NOW).whole == Confirmed(SETTLE_NO, Money(200, "CNY"), DONE_AT)
    fields["royalty_detail_list"] = [detail(0)]
    answer = RAIL.answer("alipay.trade.order.settle.query", fields)
    assert isinstance(ALIPAY.share_query_outcome(alike, answer, now=NOW).whole, Unknown)


@pytest.mark.parametrize(
    "found",
    [
        asked(detail(0, "NEW"), detail(1)),
        asked(detail(0, execute_dt="soon"), detail(1)),
        asked(detail(0), detail(1), out_request_no="another"),
        asked(detail(0, amount="1.01"), detail(1)),
        asked(detail(0, amount=True), detail(1)),
        asked(detail(0, trans_in="2088000000000000"), detail(1)),
        asked(royalty_detail_list="none"),
    ],
)
def test_an_answer_that_does_not_fit_what_was_asked_is_in_doubt(found: Shared) -> None:
    assert isinstance(found.whole, Unknown)
    assert not found.whole.not_found


def test_a_sharing_out_nobody_made_is_not_found() -> None:
    answer = RAIL.answer("alipay.trade.order.settle.query", refused("ACQ.TRADE_NOT_EXIST"))
    whole = ALIPAY.share_query_outcome(SHARED, answer, now=NOW).whole
    assert isinstance(whole, Unknown)
    assert whole.not_found
    assert content(ALIPAY.share_query_request(SHARED)) == {"out_request_no": NUMBER, "trade_no": TRADE_NO}
    assert content(ALIPAY.share_query_request(SENT)) == {"settle_no": SETTLE_NO}


def test_releasing_the_rest_says_no_amount() -> None:
    answer = RAIL.answer("alipay.trade.order.settle", ok(trade_no=TRADE_NO, settle_no=SETTLE_NO))
    assert ALIPAY.release_outcome(SHARED, answer, now=NOW) == Confirmed(SETTLE_NO, Money(0, "CNY"), NOW)
    other = RAIL.answer("alipay.trade.order.settle", ok(trade_no="1", settle_no=SETTLE_NO))
    assert isinstance(ALIPAY.release_outcome(SHARED, other, now=NOW), Unknown)


def test_a_release_that_was_carried_out_is_told_by_the_query() -> None:
    release = replace(SENT, shares=())

    def told(**changes: Any) -> Shared:
        fields = ok(out_request_no=NUMBER, operation_dt="2026-11-24 16:29:58", royalty_detail_list=[]) | changes
        answer = RAIL.answer("alipay.trade.order.settle.query", fields)
        return ALIPAY.share_query_outcome(release, answer, now=NOW)

    assert told() == Shared(Confirmed(SETTLE_NO, Money(0, "CNY"), DONE_AT))
    assert isinstance(told(operation_dt="").whole, Unknown)
    assert isinstance(told(out_request_no="another").whole, Unknown)


BACK = ShareReturn("1-back", SENT, AGENT, Money(40, "CNY"), "退货", NOW)


def test_a_share_is_fetched_back_by_a_refund_of_nothing_that_names_who_gives_back() -> None:
    said = content(ALIPAY.give_back_request(BACK))
    (line,) = said.pop("refund_royalty_parameters")
    assert said == {
        "out_trade_no": SENT.payment_reference.replace("-", "_"), "out_request_no": "1_back", "refund_amount": "0.00"
    }  # fmt: skip
    assert (line["trans_out"], line["trans_out_type"], line["amount"]) == (AGENT.account, "userId", "0.40")
    assert line["trans_in"] == ALIPAY.seller_id
    person = replace(BACK, receiver=Receiver(ReceiverKind.PERSON, "2088101126708402"))
    with pytest.raises(ValueError, match="from merchants only"):
        ALIPAY.give_back_request(person)


def given(**fields: Any) -> Outcome:
    ours = {"out_trade_no": SENT.payment_reference.replace("-", "_"), "fund_change": "Y", "refund_fee": "0.00"}
    answer = RAIL.answer("alipay.trade.refund", ok(**(ours | fields)))
    return ALIPAY.give_back_outcome(BACK, answer, now=NOW)


def test_what_is_answered_at_once_says_nothing_of_the_share() -> None:
    assert given() == Pending()
    assert given(fund_change="N") == Pending()
    assert isinstance(given(out_trade_no="another"), Unknown)


@pytest.mark.parametrize(
    "code", ["ACQ.REFUNDALLOC_UNAUTH_LIMIT", "ACQ.SELLER_BALANCE_NOT_ENOUGH", "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR"]
)
def test_a_no_leaves_the_share_with_its_receiver(code: str) -> None:
    said = ALIPAY.give_back_outcome(BACK, RAIL.answer("alipay.trade.refund", refused(code)), now=NOW)
    assert said == Refused(code, "说明")


def test_that_a_payment_is_closed_may_say_that_it_is_done() -> None:
    said = ALIPAY.give_back_outcome(BACK, RAIL.answer("alipay.trade.refund", refused("ACQ.TRADE_HAS_CLOSE")), now=NOW)
    assert isinstance(said, Unknown)
    assert said.refusal == Refused("ACQ.TRADE_HAS_CLOSE", "说明")


def came_back(line: Mapping[str, Any] | None = None, **changes: Any) -> Outcome:
    royalty = {"refund_amount": "0.40", "result_code": "SUCCESS", "trans_out": AGENT.account} | dict(line or {})
    fields = {
        "out_trade_no": SENT.payment_reference.replace("-", "_"), "out_request_no": "1_back", "trade_no": TRADE_NO,
        "refund_status": "REFUND_SUCCESS", "refund_amount": "0.00", "gmt_refund_pay": "2026-11-24 16:29:58",
        "refund_royaltys": [royalty],
    } | changes  # fmt: skip
    answer = RAIL.answer(
        "alipay.trade.fastpay.refund.query", ok(**{name: value for name, value in fields.items() if value is not None})
    )
    return ALIPAY.give_back_query_outcome(BACK, answer, now=NOW)


def test_a_share_has_come_back_when_the_line_about_its_receiver_says_so() -> None:
    assert came_back() == Confirmed(TRADE_NO, Money(40, "CNY"), DONE_AT)
    assert came_back({"trans_out": "2088000000000001", "trans_out_email": AGENT.account}) == came_back()
    assert came_back(refund_status="REFUND_PROCESSING") == Pending()
    assert came_back({"result_code": "FAIL"}) == Refused("FAIL", closed=True)
    nothing = came_back(
        out_request_no=None, refund_status=None, refund_royaltys=None, refund_amount=None, gmt_refund_pay=None
    )
    assert isinstance(nothing, Unknown)
    assert nothing.not_found


@pytest.mark.parametrize(
    "found",
    [
        came_back({"refund_amount": "0.41"}),
        came_back({"trans_out": "2088000000000001"}),
        came_back(refund_royaltys=[]),
        came_back(refund_royaltys=[{"trans_out": AGENT.account}, {"trans_out": AGENT.account}]),
        came_back(refund_royaltys="none"),
        came_back(refund_status=None),
        came_back(refund_status="DONE"),
        came_back(out_request_no="1_other"),
        came_back(out_trade_no="1_other"),
        came_back(gmt_refund_pay=None),
        came_back(trade_no=None),
    ],
)
def test_an_answer_that_does_not_tell_of_just_this_share_is_in_doubt(found: Outcome) -> None:
    assert isinstance(found, Unknown)
    assert not found.not_found
