"""What answers lead to: the codes that conclude something, and all else that does not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from channels import BadBill, BadNotice, Confirmed, Method, Outcome, Pending, Refused, Unknown
from channels.unionpay.adapter import DECIDED_BY_FILE, LAPSE
from kernel.clock import BEIJING
from kernel.env import Request, Response
from kernel.money import Money
from tests.channels.unionpay.unionpay_rail import (
    CAPTURE_ID,
    GOLDEN,
    HOLD_ID,
    MER_ID,
    NOW,
    ORDER_ID,
    QUERY_ID,
    REFUND_ID,
    REFUND_QUERY_ID,
    REFUND_TIME,
    TXN_TIME,
    VOID_ID,
    Rail,
    channel,
    held_order,
    moved,
    order,
    packed,
    payment_line,
    plain,
    queried,
    refund_order,
    said,
    zipped,
)

RAIL, UNIONPAY = Rail(), channel()
PAID = Confirmed(QUERY_ID, Money(1234, "CNY"), datetime(2026, 11, 24, 16, 1, 30, tzinfo=BEIJING))
REFUNDED = Confirmed(REFUND_QUERY_ID, Money(234, "CNY"), datetime(2026, 11, 24, 16, 10, 1, tzinfo=BEIJING))
NOT_FOUND = said("00", respCode="34", respMsg="查无此交易")
EXPIRED = order().expires_at
ALL_OF_IT = refund_order(amount=Money(1234, "CNY"))
HELD = Pending(channel_ref=HOLD_ID, authorized=Money(1234, "CNY"))
OF_REFUND = {"orderId": REFUND_ID, "txnTime": REFUND_TIME}


def refunding(code: str = "00", **fields: str) -> dict[str, str]:
    return said("04", **{"respCode": code, "queryId": REFUND_QUERY_ID if code == "00" else ""} | OF_REFUND | fields)


def refund_queried(code: str = "00", **fields: str) -> dict[str, str]:
    done = moved(234, REFUND_QUERY_ID, "1124161001") if code == "00" else {}
    return queried(code, **{**done, **OF_REFUND, **fields})


def undone(**fields: str) -> dict[str, str]:
    """Return a query's answer about a refund of everything on its day, which is an undo 撤销."""
    return queried("00", "31", **{**moved(1234, REFUND_QUERY_ID, "1124161001"), **OF_REFUND, **fields})


def outcome(op: str, answer: Response | dict[str, str], *, now: datetime = NOW, **changes: Any) -> Outcome:
    message = answer if isinstance(answer, Response) else RAIL.answer(answer)
    hold = {"capture": True, "void": True, "query of hold": True}.get(op, False)
    of = held_order(**changes) if hold else order(Method.APP if op == "pay" else Method.PAGE, **changes)
    read: dict[str, Callable[[], Outcome]] = {
        "pay": lambda: UNIONPAY.pay_outcome(of, message, now=now),
        "query": lambda: UNIONPAY.query_outcome(of, message, now=now),
        "query of hold": lambda: UNIONPAY.query_outcome(of, message, now=now),
        "close": lambda: UNIONPAY.close_outcome(of, message, now=now),
        "capture": lambda: UNIONPAY.capture_outcome(of, Money(1000, "CNY"), message, now=now),
        "void": lambda: UNIONPAY.void_outcome(of, message, now=now),
        "refund": lambda: UNIONPAY.refund_outcome(refund_order(), message, now=now),
        "refund_query": lambda: UNIONPAY.refund_query_outcome(refund_order(), message, now=now),
        "undo": lambda: UNIONPAY.refund_outcome(ALL_OF_IT, message, now=now),
        "undo_query": lambda: UNIONPAY.refund_query_outcome(ALL_OF_IT, message, now=now),
    }
    return read[op]()


def asked_next(found: Outcome) -> dict[str, str]:
    """Return the fields of the next question that an outcome has."""
    assert isinstance(found, Unknown)
    assert found.follow_up is not None
    assert found.follow_up.url.endswith("/gateway/api/queryTrans.do")
    return dict(pair.split("=", 1) for pair in found.follow_up.body.decode().split("&"))


# ---- an order and its payer ------------------------------------------------------------------------------------------


def test_an_app_is_given_the_number_it_opens() -> None:
    answer = said("01", "01", tn="201611241600001000001")
    assert outcome("pay", answer) == Pending({"type": "app", "tn": "201611241600001000001"})
    assert isinstance(outcome("pay", said("01", "01")), Unknown), "a number that is missing is no success"


@pytest.mark.parametrize(
    ("code", "retriable"),
    [("11", True), ("31", True), ("32", True), ("33", True), ("38", True), ("39", True),
     ("10", False), ("13", False), ("60", False), ("61", False), ("64", False), ("68", False)],
)  # fmt: skip
def test_only_listed_codes_refuse_an_order(code: str, retriable: bool) -> None:
    found = outcome("pay", said("01", "01", respCode=code, respMsg="不行"))
    assert found == Refused(code, "不行", retriable=retriable)


@pytest.mark.parametrize(
    "code", ["03", "04", "05", "06", "12", "34", "35", "36", "37", "59", "69", "98", "99", "", "0", "A6"]
)
def test_any_other_code_leaves_an_order_unknown(code: str) -> None:
    fields = said("01", "01", respMsg="?") | {"respCode": code}
    found = outcome("pay", fields)
    assert isinstance(found, Unknown)
    assert not found.not_found


@pytest.mark.parametrize("code", ["00", "A6"])
def test_a_query_says_that_it_was_paid(code: str) -> None:
    assert outcome("query", queried(code, **moved())) == PAID


@pytest.mark.parametrize("code", ["03", "04", "05"])
def test_what_unionpay_has_not_decided_is_pending(code: str) -> None:
    assert outcome("query", queried(code)) == Pending()


@pytest.mark.parametrize("code", ["03", "04", "05"])
def test_an_order_that_was_begun_and_never_numbered_ends_once_the_settlement_file_has_decided(code: str) -> None:
    """Recorded: an unpaid order is 05 without a queryId. The samples: what stays undecided, the file decides."""
    last = EXPIRED + DECIDED_BY_FILE
    assert outcome("query", queried(code), now=last - timedelta(seconds=1)) == Pending()
    assert outcome("query", queried(code), now=last) == Refused(code, "说明", closed=True)
    assert outcome("close", queried(code), now=last) == Refused(code, "说明", closed=True)
    numbered = queried(code, queryId=QUERY_ID)
    assert outcome("query", numbered, now=last + timedelta(days=9)) == Pending(), "it may be done yet"
    assert outcome("query", queried(), now=last) == PAID


@pytest.mark.parametrize("code", ["61", "64", "33", "39"])
def test_a_card_that_was_refused_leaves_the_payer_others_until_the_order_lapses(code: str) -> None:
    assert outcome("query", queried(code)) == Pending()
    assert outcome("query", queried(code), now=EXPIRED + LAPSE - timedelta(seconds=1)) == Pending()
    assert outcome("query", queried(code), now=EXPIRED + LAPSE) == Refused(code, "说明", closed=True)


@pytest.mark.parametrize("code", ["06", "59", "99", "??", ""])
def test_a_state_on_no_list_is_unknown(code: str) -> None:
    for now in (NOW, EXPIRED + timedelta(days=1)):
        found = outcome("query", queried("61") | {"origRespCode": code}, now=now)
        assert isinstance(found, Unknown)
        assert not found.not_found


def test_an_order_unionpay_does_not_know_may_still_be_paid_until_it_lapses() -> None:
    """The payer's browser brings it, so nobody knows whether it is on its way."""
    before = outcome("query", NOT_FOUND)
    assert isinstance(before, Unknown)
    assert before.not_found, "it may be asked for again: the same page"
    begun = outcome("query", NOT_FOUND, now=EXPIRED)
    assert isinstance(begun, Unknown)
    assert not begun.not_found, "nothing new begins, but what was begun may end well"
    assert outcome("query", NOT_FOUND, now=EXPIRED + LAPSE) == Refused("34", "查无此交易", closed=True)


def test_an_order_is_closed_by_lapsing_and_by_nothing_else() -> None:
    lapsed = EXPIRED + LAPSE
    for fields in (NOT_FOUND, queried("05"), queried("61"), queried()):
        assert isinstance(outcome("close", fields), Unknown)
    assert outcome("close", NOT_FOUND, now=lapsed) == Refused("34", "查无此交易", closed=True)
    assert isinstance(outcome("close", queried(), now=lapsed), Unknown), "it was paid"
    assert isinstance(outcome("close", queried("05"), now=lapsed), Unknown), "it is being paid"


@pytest.mark.parametrize("code", ["11", "12", "37", "06", "98"])
def test_a_question_that_was_refused_says_nothing_of_the_order(code: str) -> None:
    for now in (NOW, EXPIRED + LAPSE):
        found = outcome("query", said("00", respCode=code), now=now)
        assert isinstance(found, Unknown)
        assert not found.not_found


# ---- reserved money --------------------------------------------------------------------------------------------------


def test_a_reservation_is_held_and_not_paid() -> None:
    unnumbered = {"channel_ref": None}
    assert outcome("query of hold", queried("00", "02", **moved(1234, HOLD_ID)), **unnumbered) == HELD
    found = outcome("query of hold", queried("00", "02", **moved(1235, HOLD_ID)), **unnumbered)
    assert isinstance(found, Unknown)
    assert found.stated_amount is None, "none has moved"


def test_what_became_of_a_reservation_is_asked_by_the_numbers_it_can_have_got() -> None:
    first = UNIONPAY.query_request(held_order())
    assert f"orderId={CAPTURE_ID}" in first.body.decode()
    second = outcome("query of hold", NOT_FOUND | {"orderId": CAPTURE_ID})
    assert asked_next(second)["orderId"] == VOID_ID
    assert outcome("query of hold", NOT_FOUND | {"orderId": VOID_ID}) == HELD
    assert outcome("query of hold", queried("35", orderId=VOID_ID)) == HELD, "a release that failed released nothing"
    released = outcome("query of hold", queried(orderId=VOID_ID))
    assert released == Refused("VOIDED", "released", closed=True)


def test_what_ends_a_reservation_is_sent_and_asked_about_by_its_own_moment() -> None:
    """UnionPay's samples: txnTime must be the time of sending (必须取当前时间), days after the reservation's."""
    ended = held_order(ending_at=datetime(2026, 11, 27, 1, 2, 3, tzinfo=UTC))
    ends = "txnTime=20261127090203"
    requests = [
        UNIONPAY.capture_request(ended, Money(1000, "CNY")),
        UNIONPAY.void_request(ended),
        UNIONPAY.query_request(ended),
    ]
    assert all(ends in request.body.decode() for request in requests)
    changes: dict[str, Any] = {"ending_at": ended.ending_at}
    then = {"txnTime": "20261127090203"}
    taken = said("03", orderId=CAPTURE_ID, **then)
    assert asked_next(outcome("capture", taken, **changes))["txnTime"] == then["txnTime"]
    done = queried(orderId=CAPTURE_ID, **moved(1000, trace_time="1127090203")) | then
    at = datetime(2026, 11, 27, 9, 2, 3, tzinfo=BEIJING)
    for op in ("capture", "query of hold"):
        assert outcome(op, done, **changes) == replace(PAID, amount=Money(1000, "CNY"), happened_at=at)
        assert isinstance(outcome(op, done | {"txnTime": TXN_TIME}, **changes), Unknown)
    asked = asked_next(outcome("query of hold", NOT_FOUND | {"orderId": CAPTURE_ID} | then, **changes))
    assert (asked["orderId"], asked["txnTime"]) == (VOID_ID, then["txnTime"])
    released = queried(orderId=VOID_ID) | then
    for op in ("void", "query of hold"):
        assert outcome(op, released, **changes) == Refused("VOIDED", "released", closed=True)
    reserved = queried("00", "02", **moved(1234, HOLD_ID))
    assert outcome("query of hold", reserved, **changes, channel_ref=None) == HELD, "the reservation's is its order's"


def test_a_completion_is_confirmed_with_what_was_captured() -> None:
    found = outcome("query of hold", queried(orderId=CAPTURE_ID, **moved(1000)))
    assert found == replace(PAID, amount=Money(1000, "CNY"))
    more = outcome("query of hold", queried(orderId=CAPTURE_ID, **moved(1235)))
    assert isinstance(more, Unknown)
    assert more.stated_amount == Money(1235, "CNY")
    assert outcome("query of hold", queried("05", orderId=CAPTURE_ID)) == Pending()
    assert asked_next(outcome("query of hold", queried("64", orderId=CAPTURE_ID)))["orderId"] == VOID_ID
    unclear = outcome("query of hold", queried("99", orderId=CAPTURE_ID))
    assert isinstance(unclear, Unknown)
    assert unclear.follow_up is None, "a capture that may have been made is not followed by another question"


@pytest.mark.parametrize("code", ["00", "05", "12"])
def test_a_completion_unionpay_has_is_asked_about_at_once(code: str) -> None:
    taken = outcome("capture", said("03", orderId=CAPTURE_ID, respCode=code))
    assert asked_next(taken)["orderId"] == CAPTURE_ID
    done = outcome("capture", queried(orderId=CAPTURE_ID, **moved(1000)))
    assert done == replace(PAID, amount=Money(1000, "CNY"))
    other = outcome("capture", queried(orderId=CAPTURE_ID, **moved(400)))
    assert isinstance(other, Unknown)
    assert other.stated_amount == Money(400, "CNY")


def test_a_completion_is_refused_by_name_and_lost_ones_stay_unknown() -> None:
    assert outcome("capture", said("03", orderId=CAPTURE_ID, respCode="36", respMsg="多")) == Refused("36", "多")
    assert isinstance(outcome("capture", said("03", orderId=CAPTURE_ID, respCode="99")), Unknown)
    lost = outcome("capture", NOT_FOUND | {"orderId": CAPTURE_ID})
    assert isinstance(lost, Unknown)
    assert not lost.not_found


@pytest.mark.parametrize("code", ["00", "05", "12"])
def test_a_release_unionpay_has_is_asked_about_at_once(code: str) -> None:
    assert asked_next(outcome("void", said("32", orderId=VOID_ID, respCode=code)))["orderId"] == VOID_ID
    assert outcome("void", queried(orderId=VOID_ID)) == Refused("VOIDED", "released", closed=True)


def test_a_release_that_is_not_done_is_unknown_whatever_is_said() -> None:
    for fields in (
        said("32", orderId=VOID_ID, respCode="35"),
        said("32", orderId=VOID_ID, respCode="99"),
        queried("05", orderId=VOID_ID),
        NOT_FOUND | {"orderId": VOID_ID},
    ):
        assert isinstance(outcome("void", fields), Unknown)


# ---- refunds ---------------------------------------------------------------------------------------------------------


def test_a_refund_that_was_taken_is_not_done() -> None:
    assert outcome("refund", refunding()) == Pending(channel_ref=REFUND_QUERY_ID)
    assert outcome("refund", refunding("05")) == Pending()


def test_a_refund_number_unionpay_knows_is_asked_about_at_once() -> None:
    found = outcome("refund", refunding("12"))
    asked = asked_next(found)
    assert (asked["orderId"], asked["txnTime"]) == (REFUND_ID, REFUND_TIME)
    assert outcome("refund", refund_queried()) == REFUNDED
    under_way = refund_queried("05", **moved(234, REFUND_QUERY_ID))
    assert outcome("refund", under_way) == Pending(channel_ref=REFUND_QUERY_ID)
    assert isinstance(outcome("refund", under_way | {"txnAmt": "235"}), Unknown), "it is another refund"
    lost = outcome("refund", NOT_FOUND | OF_REFUND)
    assert isinstance(lost, Unknown)
    assert not lost.not_found, "it said that it has it"


@pytest.mark.parametrize("code", ["10", "13", "35", "36"])
def test_only_listed_codes_refuse_a_refund(code: str) -> None:
    assert outcome("refund", refunding(code, respMsg="不")) == Refused(code, "不")
    assert isinstance(outcome("refund", refunding("99")), Unknown)
    assert isinstance(outcome("refund", refunding("03")), Unknown)


def test_a_refund_is_done_when_a_query_says_so() -> None:
    assert outcome("refund_query", refund_queried()) == REFUNDED
    assert outcome("refund_query", refund_queried("05")) == Pending()
    assert outcome("refund_query", refund_queried("60")) == Refused("60", "说明")
    assert isinstance(outcome("refund_query", refund_queried("99")), Unknown)
    found = outcome("refund_query", NOT_FOUND | OF_REFUND)
    assert isinstance(found, Unknown)
    assert found.not_found


# ---- whose answer it is ----------------------------------------------------------------------------------------------

SUCCESSES: dict[str, dict[str, str]] = {
    "pay": said("01", "01", tn="201611241600001000001"),
    "query": queried(),
    "query of hold": queried(orderId=CAPTURE_ID, **moved(1000)),
    "capture": queried(orderId=CAPTURE_ID, **moved(1000)),
    "void": queried(orderId=VOID_ID),
    "refund": refunding(),
    "refund_query": refund_queried(),
    "undo": refunding(txnType="31"),
    "undo_query": undone(),
}
FOUND: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "payment": ("query", queried(), {}),
    "reservation": ("query of hold", queried("00", "02", **moved(1234, HOLD_ID)), {"channel_ref": None}),
    "completion": ("query of hold", queried(orderId=CAPTURE_ID, **moved(1000)), {}),
    "completion, asked at once": ("capture", queried(orderId=CAPTURE_ID, **moved(1000)), {}),
    "release": ("query of hold", queried(orderId=VOID_ID), {}),
    "release, asked at once": ("void", queried(orderId=VOID_ID), {}),
    "refund": ("refund_query", refund_queried(), {}),
    "refund, asked at once": ("refund", refund_queried(), {}),
    "undo": ("undo_query", undone(), {}),
    "undo, asked at once": ("undo", undone(), {}),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_a_question_finds_carries_its_own_type_and_is_believed_with_no_other(name: str) -> None:
    """Recorded of a payment and of an undo: the question's 00/00 is not repeated, see README.md."""
    op, fields, changes = FOUND[name]
    assert not isinstance(outcome(op, fields, **changes), Unknown)
    own = (fields["txnType"], fields["txnSubType"])
    kinds = [("00", "00"), ("01", "01"), ("02", "01"), ("03", "00"), ("04", "00"), ("31", "00"), ("32", "00")]
    for txn_type, sub_type in [*kinds, ("33", "00"), (own[0], "99"), (own[0], "")]:
        if (txn_type, sub_type) != own:
            other = fields | {"txnType": txn_type, "txnSubType": sub_type}
            found = outcome(op, {field: value for field, value in other.items() if value}, **changes)
            assert isinstance(found, Unknown), other
            assert (found.not_found, found.follow_up) == (False, None)


@pytest.mark.parametrize("name", FOUND)
def test_what_a_question_does_not_find_has_no_type_but_the_questions(name: str) -> None:
    op, fields, changes = FOUND[name]
    numbers = {field: fields[field] for field in ("orderId", "txnTime")}
    none = outcome(op, NOT_FOUND | numbers, **changes)
    if name == "release":
        assert none == HELD, "neither completed nor released"
    else:
        assert isinstance(none, Unknown)
    other = outcome(op, said("88", "88", respCode="34", **numbers), **changes)
    assert isinstance(other, Unknown)
    assert not other.not_found


@pytest.mark.parametrize("op", SUCCESSES)
@pytest.mark.parametrize("name", ["merId", "orderId", "txnTime", "txnType", "txnSubType", "respCode"])
def test_an_answer_about_something_else_is_not_believed(op: str, name: str) -> None:
    assert not isinstance(outcome(op, SUCCESSES[op]), Unknown)
    for other in ("", "1", "20261124160001", "88", ORDER_ID[:-1] + "2"):
        fields = {key: value for key, value in {**SUCCESSES[op], name: other}.items() if value or key != name}
        found = outcome(op, fields)
        assert isinstance(found, Unknown)
        assert not found.not_found


@pytest.mark.parametrize("op", ["query", "capture", "refund_query"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("txnAmt", "0"), ("txnAmt", "-1"), ("txnAmt", "12.34"), ("txnAmt", "1234567890123"), ("txnAmt", "１２"),
        ("currencyCode", "840"), ("queryId", ""), ("queryId", "abc"), ("traceTime", "1332000000"), ("traceTime", "0"),
    ],
)  # fmt: skip
def test_money_that_is_not_fully_described_is_not_believed(op: str, name: str, value: str) -> None:
    found = outcome(op, SUCCESSES[op] | {name: value})
    assert isinstance(found, Unknown)


def test_another_amount_than_ours_is_stated_and_not_confirmed() -> None:
    for op, amount in (("query", 1235), ("refund_query", 235), ("refund_query", 1), ("undo_query", 1233)):
        found = outcome(op, SUCCESSES[op] | {"txnAmt": str(amount)})
        assert isinstance(found, Unknown)
        assert found.stated_amount == Money(amount, "CNY")


@pytest.mark.parametrize("op", SUCCESSES)
def test_an_answer_that_unionpay_did_not_sign_means_nothing(op: str) -> None:
    fields = SUCCESSES[op]
    signed = RAIL.signed(fields)
    spoiled: list[Response] = [
        plain(fields),
        plain({name: value for name, value in signed.items() if name != "signature"}),
        plain({name: value for name, value in signed.items() if name != "signPubKeyCert"}),
        plain(signed | {"respMsg": "改"}),
        plain(signed | {"added": "1"}),
        plain(signed | {"signature": signed["signature"][:-8] + "AAAAAA=="}),
        plain(signed | {"signature": "?"}),
        Rail("stranger", "stranger").answer(fields),
        Rail("stranger", "signing_old").answer(fields),
        Rail(certificate_name="other_name").answer(fields),
        Rail(certificate_name="no_at").answer(fields),
        Rail(certificate_name="expired").answer(fields),
        Rail(certificate_name="by_root").answer(fields),
        RAIL.answer(fields, 500),
        RAIL.answer(fields, 302),
        Response(200, {}, b""),
        Response(200, {}, b"<html>busy</html>"),
        Response(200, {}, b"\xff=1"),
        Response(200, {}, plain(signed).body + b"&respCode=00"),
        Response(502, {}, b"Bad Gateway"),
    ]
    for answer in spoiled:
        found = outcome(op, answer)
        assert isinstance(found, Unknown), answer
        assert (found.not_found, found.follow_up) == (False, None)


def test_a_new_certificate_of_unionpays_is_believed_without_being_told() -> None:
    answer = Rail("signing_new", "signing_new").answer(queried())
    assert outcome("query", answer) == PAID
    assert UNIONPAY.verified_by(answer, now=NOW) == "68759663126"
    assert outcome("query", RAIL.answer(queried())) == PAID, "and the old one still is"
    with pytest.raises(BadNotice, match="not valid today"):
        UNIONPAY.verified_by(answer, now=NOW + timedelta(days=3650))


@pytest.mark.parametrize(
    "value", ["{a=1&b=2}", "[{x=1&y=[2]}]", "a=b=c+/=", "line\r\nline", "{}", "{a}", "", "后{括&号"]
)
def test_a_value_may_hold_what_parts_fields_inside_brackets(value: str) -> None:
    fields = queried(customerInfo=value) | {"reqReserved": value}
    if value == "后{括&号":
        assert isinstance(outcome("query", fields), Unknown), "brackets protect only where they begin the value"
    else:
        assert outcome("query", fields) == PAID


@pytest.mark.parametrize("body", [b"a={x&b=1", b"a=[1]2&b=3", b"a&b=1", b"=1&a", b"a=1&a=2"])
def test_a_message_that_cannot_be_taken_apart_is_unknown(body: bytes) -> None:
    assert isinstance(outcome("query", Response(200, {"content-type": "text/html"}, body)), Unknown)
    with pytest.raises(BadNotice):
        UNIONPAY.verified_by(Response(200, {}, body), now=NOW)


@examples(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(st.sampled_from(sorted(SUCCESSES)), st.sampled_from(sorted(queried())), st.text(max_size=20))
def test_no_field_however_strange_makes_an_answer_raise_or_move_other_money(op: str, name: str, value: str) -> None:
    found = outcome(op, SUCCESSES[op] | {name: value.encode(errors="replace").decode()})
    assert isinstance(found, Confirmed | Pending | Refused | Unknown)
    if isinstance(found, Confirmed):
        assert found.amount.minor in (1234, 1000, 234)


# ---- when ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "trace", "expected"),
    [
        ("2026-12-31T15:59:30+00:00", "0101000010", "2027-01-01T00:00:10+08:00"),
        ("2026-12-31T15:59:30+00:00", "1231235940", "2026-12-31T23:59:40+08:00"),
        ("2027-01-01T00:00:10+08:00", "1231235959", "2026-12-31T23:59:59+08:00"),
        ("2028-02-28T23:00:00+08:00", "0229010000", "2028-02-29T01:00:00+08:00"),
    ],
)
def test_the_year_of_a_moment_is_the_one_after_we_sent_the_order(sent: str, trace: str, expected: str) -> None:
    created_at = datetime.fromisoformat(sent)
    fields = queried(**moved(trace_time=trace)) | {"txnTime": created_at.astimezone(BEIJING).strftime("%Y%m%d%H%M%S")}
    found = outcome("query", fields, created_at=created_at)
    assert isinstance(found, Confirmed)
    assert found.happened_at == datetime.fromisoformat(expected)


# ---- the file of a day -----------------------------------------------------------------------------------------------

FILE = zipped(payment_line())
ASKED = UNIONPAY.bill_request(date(2026, 11, 24))
MORNING = datetime(2026, 11, 25, 2, 0, 0, tzinfo=UTC)  # 10:00 in Beijing


def filed(**fields: str) -> Response:
    full = {"orderId": "", "settleDate": "1124", "fileName": "x.zip", "fileContent": packed(FILE)} | fields
    return RAIL.answer(said("76", "01", **full))


def test_the_answer_holds_the_file() -> None:
    file = UNIONPAY.bill_file(ASKED, filed(), now=MORNING)
    assert (file.ready, file.content) == (True, FILE)
    assert [line.amount.minor for line in UNIONPAY.bill_lines(FILE, date(2026, 11, 24))] == [1234]


def test_no_file_means_no_business_once_the_file_must_exist() -> None:
    none = filed(respCode="98", respMsg="文件不存在", fileContent="")
    early = UNIONPAY.bill_file(ASKED, none, now=MORNING - timedelta(seconds=1))
    assert (early.ready, early.nothing) == (False, False)
    assert early.reason
    assert UNIONPAY.bill_file(ASKED, none, now=MORNING).nothing
    leap = UNIONPAY.bill_request(date(2024, 2, 29))
    late = UNIONPAY.bill_file(leap, filed(respCode="98", settleDate="0229", fileContent=""), now=MORNING)
    assert late.nothing, "the latest 29 February is years ago"


def test_a_file_of_another_day_or_from_nobody_is_not_taken() -> None:
    other_day = filed(settleDate="1123")
    unsigned = Response(200, {}, b"respCode=98&settleDate=1124&txnType=76&txnSubType=01")
    other = RAIL.answer(said("76", "01", merId=MER_ID[:-1] + "9", settleDate="1124", respCode="98"))
    for answer in (other_day, unsigned, other, filed(respCode="99"), Response(500, {}, b"")):
        file = UNIONPAY.bill_file(ASKED, answer, now=MORNING)
        assert (file.ready, file.nothing, file.content) == (False, False, None)
        assert file.reason


@pytest.mark.parametrize("content", ["", "?", "AAAA", packed(FILE)[:-8], packed(FILE)[:-4] + "AAAA"])
def test_a_file_that_cannot_be_unpacked_is_refused(content: str) -> None:
    with pytest.raises(BadBill):
        UNIONPAY.bill_file(ASKED, filed(fileContent=content), now=MORNING)


def test_the_file_has_no_address() -> None:
    with pytest.raises(BadBill):
        UNIONPAY.bill_content(UNIONPAY.bill_file(ASKED, filed(), now=MORNING), Response(200, {}, FILE))
    assert UNIONPAY.deposit_prefix() == f"UP{MER_ID}"
    assert isinstance(ASKED, Request)


# ---- golden bytes ----------------------------------------------------------------------------------------------------

GOLDEN_ANSWERS: dict[str, tuple[str, Outcome]] = {
    "answer_app_tn": ("pay", Pending({"type": "app", "tn": "201611241600001000001"})),
    "answer_query_paid": ("query", PAID),
    "answer_query_under_way": ("query", Pending()),
    "answer_query_unknown_order": ("query", Unknown("34: 查无此交易", not_found=True)),
    "answer_query_captured_in_part": ("query of hold", replace(PAID, amount=Money(1000, "CNY"))),
    "answer_query_released": ("query of hold", Refused("VOIDED", "released", closed=True)),
    "answer_refund_accepted": ("refund", Pending(channel_ref=REFUND_QUERY_ID)),
    "answer_refund_query_done": ("refund_query", REFUNDED),
    "answer_refund_too_much": ("refund", Refused("36", "与原交易信息不符")),
}


def received(name: str) -> Response:
    """Return a stored answer or notice: status line, headers, blank line, body without a final newline."""
    head, _, body = (GOLDEN / f"{name}.txt").read_bytes().partition(b"\n\n")
    status, *headers = head.decode().split("\n")
    return Response(int(status), dict(line.split(": ", 1) for line in headers if line), body)


@pytest.mark.parametrize("name", GOLDEN_ANSWERS)
def test_stored_answers_keep_their_meaning(name: str) -> None:
    op, meaning = GOLDEN_ANSWERS[name]
    assert outcome(op, received(name)) == meaning


def test_a_stored_file_keeps_its_meaning() -> None:
    file = UNIONPAY.bill_file(ASKED, received("answer_bill"), now=MORNING)
    assert file.content == (GOLDEN / "bill_payments_and_refund.zip").read_bytes()
