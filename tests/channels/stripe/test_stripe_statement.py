"""Bills of balance transactions: pages become a bill, and a bill in doubt is refused as a whole."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import BadBill, BillFile, BillLine, Kind
from channels.powers import HasFundBill
from kernel.env import Request, Response
from kernel.money import Money
from tests.channels.stripe.stripe_rail import (
    CHARGE,
    INTENT,
    NOW,
    PAID_AT,
    REFUND,
    answer,
    channel,
    intent,
    order,
    refund,
    refund_order,
    transaction,
)
from tests.channels.stripe.test_stripe_outcomes import received

STRIPE = channel()
DAY = date(2026, 11, 24)
ASKED = STRIPE.bill_request(DAY)
OVER = "Tue, 24 Nov 2026 16:00:00 GMT"  # midnight in Beijing
LATE_AT = int(datetime(2026, 11, 23, 15, 59, 59, tzinfo=UTC).timestamp())  # the day before, in Beijing
CHARGED = intent()["latest_charge"] | {"balance_transaction": "txn_1"}


def row(number: int = 1, **changes: Any) -> dict[str, Any]:
    names = {"id": f"ch_{number}", "payment_intent": f"pi_{number}", "metadata": {"reference": f"1-pay{number}"}}
    return transaction(id=f"txn_{number}", source=CHARGED | names) | changes


def back(number: int = 1, **changes: Any) -> dict[str, Any]:
    source = refund(
        id=f"re_{number}",
        payment_intent=f"pi_{number}",
        metadata={"reference": f"1-refund{number}", "payment_reference": f"1-pay{number}"},
    )
    given_back = {"id": f"txn_r{number}", "type": "refund", "amount": -234, "fee": -13, "net": -221, "source": source}
    return transaction(**given_back) | changes


def listed(*rows: dict[str, Any], more: bool = False, at: str = OVER, **changes: Any) -> Response:
    return answer({"object": "list", "data": list(rows), "has_more": more, "url": "/v1/x"} | changes, date=at)


def page(*rows: dict[str, Any], more: bool = False, asked: Request = ASKED) -> BillFile:
    return STRIPE.bill_file(asked, listed(*rows, more=more), now=NOW)


def bill(*pages: Sequence[dict[str, Any]]) -> bytes:
    """Return the bill that these pages make, fetched as the client does."""
    content, asked = b"", ASKED
    for number, rows in enumerate(pages, 1):
        file = page(*rows, more=number < len(pages), asked=asked)
        assert file.content is not None, file.reason
        content += file.content
        if file.more is not None:
            asked = file.more
    return content


def read(content: bytes, **how: Any) -> list[BillLine]:
    return list(STRIPE.bill_lines(content, DAY, **how))


def refused(content: bytes, **how: Any) -> str:
    with pytest.raises(BadBill) as refusal:
        STRIPE.bill_lines(content, DAY, **how)  # refused when asked for, before any line
    return refusal.value.code


# ---- pages -----------------------------------------------------------------------------------------------------------


def test_a_page_leads_to_the_next_of_the_same_day() -> None:
    file = page(row(1), row(2), more=True)
    assert file.more is not None
    first, second = (parse_qs(urlsplit(request.url).query) for request in (ASKED, file.more))
    assert second == first | {"starting_after": ["txn_2"]}
    last = page(row(3), asked=file.more)
    assert (last.ready, last.more) == (True, None)


def test_a_bill_of_many_pages_reads_as_one() -> None:
    lines = read(bill([row(1), row(2)], [row(3), back(1)], [row(4)]))
    assert [line.reference for line in lines] == ["1-pay1", "1-pay2", "1-pay3", "1-refund1", "1-pay4"]


def test_a_day_without_business_is_known_to_be_one_once_it_is_over() -> None:
    file = page()
    assert (file.ready, file.nothing, file.content) == (False, True, None)


@pytest.mark.parametrize("at", ["Tue, 24 Nov 2026 15:59:59 GMT", "Mon, 23 Nov 2026 20:00:00 GMT", "", "soon"])
def test_a_day_that_is_not_over_by_their_clock_has_no_bill_yet_nor_none(at: str) -> None:
    for said in (listed(row(), at=at), listed(at=at)):
        file = STRIPE.bill_file(ASKED, said, now=NOW + timedelta(days=9))
        assert (file.ready, file.nothing, file.content) == (False, False, None)
        assert file.reason


@pytest.mark.parametrize(
    "said",
    [
        listed(row(), object="charge"),
        listed(row(), data=None),
        listed(row(), data=[7]),
        listed(row(), data=[intent()]),
        listed(row(), data=[row() | {"id": "x"}]),
        listed(row(), has_more="no"),
        listed(more=True),
        listed(row(), date=OVER, has_more=None),
        answer(b'{"object":"list","data":[', date=OVER),
        answer(listed(row()).body, 201, date=OVER),
        answer({"error": {"type": "api_error", "message": "x"}}, 500, date=OVER),
        answer({"error": {"type": "invalid_request_error", "message": "key"}}, 401, date=OVER),
        answer(b"", 429, date=OVER),
    ],
)
def test_a_page_in_doubt_is_no_page_and_says_why(said: Response) -> None:
    file = STRIPE.bill_file(ASKED, said, now=NOW)
    assert (file.ready, file.nothing, file.content, file.more) == (False, False, None, None)
    assert file.reason


def test_a_page_that_leads_to_itself_is_not_followed() -> None:
    more = page(row(1), more=True).more
    assert more is not None
    assert not page(row(1), more=True, asked=more).ready


def test_whose_card_it_was_stays_with_stripe() -> None:
    source = CHARGED | {"billing_details": {"name": "Li Lei"}, "payment_method_details": {"card": {"last4": "4242"}}}
    content = page(row(source=source)).content
    assert content is not None
    assert b"Li Lei" not in content
    assert b"4242" not in content


# ---- good bills ------------------------------------------------------------------------------------------------------


def test_a_stored_page_reads_as_a_payment_and_a_refund() -> None:
    file = STRIPE.bill_file(ASKED, received("bill_page"), now=NOW)
    assert file.content is not None
    given_back, paid = read(file.content)
    assert paid == BillLine(
        kind=Kind.PAYMENT,
        reference=order().reference,
        payment_reference=order().reference,
        channel_ref=INTENT,
        amount=Money(1234, "USD"),
        fee=Money(66, "USD"),
        status="success",
        happened_at=PAID_AT,
        row=3,
    )
    assert given_back == BillLine(
        kind=Kind.REFUND,
        reference=refund_order().reference,
        payment_reference=order().reference,
        channel_ref=REFUND,
        amount=Money(234, "USD"),
        fee=Money(-13, "USD"),
        status="success",
        happened_at=PAID_AT.replace(second=59),
        row=2,
    )


def line(only: dict[str, Any]) -> BillLine:
    (found,) = read(bill([only]))
    return found


@pytest.mark.parametrize(
    ("status", "meaning"),
    [("succeeded", "success"), ("pending", "processing"), ("failed", "failed"), ("new", "unknown")],
)
def test_the_state_of_a_payment_is_that_of_its_charge(status: str, meaning: str) -> None:
    assert line(row(source=CHARGED | {"status": status})).status == meaning


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("succeeded", "success"),
        ("pending", "processing"),
        ("requires_action", "processing"),
        ("failed", "returned"),
        ("canceled", "returned"),
        ("new", "unknown"),
    ],
)
def test_the_state_of_a_refund_is_its_own(status: str, meaning: str) -> None:
    assert line(back(source=refund(status))).status == meaning


def test_a_refund_that_came_back_went_out_and_came_in_by_two_lines() -> None:
    came_back = line(
        back(type="refund_failure", amount=234, fee=0, net=234, source=back()["source"] | {"status": "failed"})
    )
    assert (came_back.kind, came_back.reference, came_back.status) == (Kind.RETURN, "1-refund1", "success")
    assert came_back.amount == Money(234, "USD")
    for status in ("failed", "canceled"):
        went_out = line(back(source=back()["source"] | {"status": status}))
        assert (went_out.kind, went_out.reference, went_out.status) == (Kind.REFUND, "1-refund1", "returned")


def test_what_was_not_made_by_us_goes_by_stripes_numbers() -> None:
    theirs = line(row(source=CHARGED | {"metadata": {}}))
    assert (theirs.reference, theirs.channel_ref) == (INTENT, INTENT)
    assert line(row(source=CHARGED | {"metadata": {}, "payment_intent": None})).reference == CHARGE
    given_back = line(back(source=refund(metadata={})))
    assert (given_back.reference, given_back.payment_reference) == (REFUND, INTENT)


@pytest.mark.parametrize(
    ("kind", "amount", "side"),
    [("adjustment", -1500, Kind.REFUND), ("stripe_fee", -20, Kind.REFUND), ("invented", 7, Kind.PAYMENT)],
)
def test_what_is_neither_payment_nor_refund_is_shown_to_a_person(kind: str, amount: int, side: Kind) -> None:
    found = line(row(type=kind, amount=amount, fee=0, net=amount, source="dp_1"))
    assert (found.kind, found.reference, found.status) == (side, "txn_1", "unknown")
    assert found.amount == Money(abs(amount), "USD")


def test_a_sum_that_was_converted_is_shown_to_a_person_and_mixes_no_currencies() -> None:
    found = line(row(currency="hkd", source=CHARGED))
    assert (found.status, found.amount, found.fee) == ("unknown", Money(1234, "HKD"), Money(66, "HKD"))


def test_payouts_are_left_to_the_banks_statement() -> None:
    out = row(2, type="payout", amount=-5000, fee=0, net=-5000, source="po_1")
    assert [found.reference for found in read(bill([row(1), out]))] == ["1-pay1"]
    assert read(bill([out])) == []


def test_rows_of_the_day_before_are_let_through_beside_rows_of_the_day() -> None:
    late = row(2, created=LATE_AT)
    assert [found.reference for found in read(bill([row(1), late]))] == ["1-pay1", "1-pay2"]
    assert refused(bill([late])) == "other_day"
    assert len(read(bill([late]), only_late=True)) == 1


def test_a_row_that_stands_twice_is_given_out_twice() -> None:
    assert len(read(bill([row(1), row(1)]))) == 2


# ---- bad bills -------------------------------------------------------------------------------------------------------

GOOD = bill([row(1), row(2)], [row(3), back(1)])


@pytest.mark.parametrize("length", range(0, len(GOOD), 7))
def test_a_bill_cut_short_anywhere_is_refused(length: int) -> None:
    assert refused(GOOD[:length]) in ("truncated", "damaged")


def test_a_bill_that_lacks_a_line_or_has_one_twice_is_refused() -> None:
    lines = GOOD.splitlines(keepends=True)
    for place in range(len(lines)):
        for altered in (lines[:place] + lines[place + 1 :], [*lines[: place + 1], *lines[place:]]):
            assert refused(b"".join(altered)) in ("truncated", "damaged")


def test_pages_in_another_order_are_refused() -> None:
    lines = GOOD.splitlines(keepends=True)
    assert refused(b"".join(lines[3:] + lines[:3])) == "truncated"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount": 1235}, "damaged"),
        ({"fee": 67}, "damaged"),
        ({"net": "1168"}, "damaged"),
        ({"amount": 1234.0}, "damaged"),
        ({"amount": True, "fee": 0, "net": 1}, "damaged"),
        ({"amount": -1234, "net": -1300}, "damaged"),
        ({"amount": 0, "fee": 0, "net": 0}, "damaged"),
        ({"amount": 10**18, "fee": 0, "net": 10**18}, "damaged"),
        ({"currency": "USD"}, "damaged"),
        ({"currency": "zzz"}, "damaged"),
        ({"created": None}, "damaged"),
        ({"created": -5}, "damaged"),
        ({"created": int(PAID_AT.timestamp()) + 86_400}, "other_day"),
        ({"created": int(PAID_AT.timestamp()) - 2 * 86_400}, "other_day"),
        ({"type": None}, "damaged"),
        ({"source": None}, "damaged"),
        ({"source": "ch_1"}, "damaged"),
        ({"source": CHARGED | {"payment_intent": 7}}, "damaged"),
        ({"source": CHARGED | {"metadata": {"reference": 7}}}, "damaged"),
        ({"type": "refund"}, "damaged"),
        ({"type": "refund_failure", "amount": -1234, "net": -1300, "source": refund()}, "damaged"),
    ],
)
def test_a_row_that_cannot_be_right_refuses_the_whole_bill(changes: dict[str, Any], code: str) -> None:
    assert refused(bill([row(1)], [row(2, **changes), row(3)])) == code


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'"day":"2026-11-24"', b'"day":"2026-11-23"', "other_day"),
        (b'"rows":2', b'"rows":true', "damaged"),
        (b'"rows":2', b'"rows":-2', "damaged"),
        (b'"rows":2', b'"rows":3', "damaged"),
        (b'"more":true', b'"more":1', "damaged"),
        (b'"more":true', b'"more":false', "damaged"),
        (b'"more":false', b'"more":true', "truncated"),
        (b'"after":null', b'"after":"txn_9"', "truncated"),
        (b'"after":"txn_2"', b'"after":"txn_1"', "truncated"),
        (b'"net":1168', b'"net":1168,"net":1168', "damaged"),
        (b"{", b"[{", "damaged"),
        (b'{"page"', b'{"pages"', "damaged"),
        (b"}\n", b"}\n\n", "damaged"),
        (b"txn_1", b"txn_\xff", "damaged"),
    ],
)
def test_a_bill_tampered_with_is_refused(old: bytes, new: bytes, code: str) -> None:
    altered = GOOD.replace(old, new, 1)
    assert altered != GOOD
    assert refused(altered) == code


def test_nothing_at_all_is_no_bill() -> None:
    assert refused(b"") == "truncated"
    assert refused(b"\n") == "damaged"


def test_there_is_no_file_to_fetch_elsewhere() -> None:
    with pytest.raises(BadBill):
        STRIPE.bill_content(BillFile(ready=True), answer(b""))
    assert not isinstance(STRIPE, HasFundBill)


json_values = st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.integers(), max_size=2)


@given(st.sampled_from(sorted(row())), json_values, st.sampled_from(sorted(CHARGED)), json_values)
def test_no_field_whatever_makes_the_reader_stumble(name: str, value: Any, inner: str, deep: Any) -> None:
    said = listed(row(source=CHARGED | {inner: deep}) | {name: value})
    file = STRIPE.bill_file(ASKED, said, now=NOW)
    assert file.content is not None or file.reason
    if file.content is not None:
        assert verdict(file.content) in ("good", "damaged", "other_day")


@given(st.binary(max_size=200))
def test_no_bytes_whatever_make_the_reader_stumble(content: bytes) -> None:
    assert verdict(content) in ("damaged", "truncated")


def verdict(content: bytes) -> str:
    """Return the code a bill is refused with, or `good`; anything but BadBill fails."""
    try:
        read(content)
    except BadBill as bad:
        return bad.code
    return "good"


def test_a_bill_of_full_pages_loses_no_row() -> None:
    pages = [[row(100 * number + place) for place in range(100)] for number in range(20)]
    assert len(read(bill(*pages))) == 2000
    assert json.loads(bill(*pages).splitlines()[0])["page"]["rows"] == 100
