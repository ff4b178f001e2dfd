"""PayPal's transactions report as bill: read whole, or refused whole."""

import json
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import BadBill, BillLine, Kind
from channels.paypal import statement
from channels.powers import HasFundBill
from kernel.env import Response
from kernel.money import Money
from tests.channels.paypal.paypal_rail import (
    CAPTURE_ID,
    GOLDEN,
    MERCHANT_ID,
    NOW,
    REFUND_ID,
    answer,
    channel,
    error,
    order,
    refund_order,
)

RAIL, DAY = channel(), date(2026, 11, 24)
PAID_AT = datetime(2026, 11, 24, 8, 29, 58, tzinfo=UTC)


def payment(**changes: Any) -> dict[str, Any]:
    return {
        "paypal_account_id": "QYR5Z8XDVJNXQ",
        "transaction_id": CAPTURE_ID,
        "transaction_event_code": "T0006",
        "transaction_initiation_date": "2026-11-24T08:29:58+0000",
        "transaction_updated_date": "2026-11-24T08:29:58+0000",
        "transaction_amount": {"currency_code": "USD", "value": "12.34"},
        "fee_amount": {"currency_code": "USD", "value": "-0.84"},
        "transaction_status": "S",
        "invoice_id": order().reference,
        "custom_field": order().reference,
        "protection_eligibility": "01",
    } | changes


def repayment(**changes: Any) -> dict[str, Any]:
    return (
        payment(
            transaction_id=REFUND_ID,
            transaction_event_code="T1107",
            paypal_reference_id=CAPTURE_ID,
            paypal_reference_id_type="TXN",
            transaction_initiation_date="2026-11-24T10:00:00+0000",
            transaction_amount={"currency_code": "USD", "value": "-2.34"},
            fee_amount={"currency_code": "USD", "value": "0.16"},
            invoice_id=refund_order().reference,
        )
        | changes
    )


def page(*rows: dict[str, Any], number: int = 1, pages: int = 1, items: int | None = None, **changes: Any) -> Any:
    return {
        "transaction_details": [{"transaction_info": row} for row in rows],
        "account_number": MERCHANT_ID,
        "start_date": "2026-11-23T16:00:00+0000",
        "end_date": "2026-11-24T15:59:59+0000",
        "last_refreshed_datetime": "2026-11-24T18:59:59+0000",
        "page": number,
        "total_items": len(rows) if items is None else items,
        "total_pages": pages,
        "links": [],
    } | changes


def bill(*pages: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in pages)


def read(content: bytes, *, day: date = DAY, only_late: bool = False) -> list[BillLine]:
    return list(RAIL.bill_lines(content, day, only_late=only_late))


def refused(content: bytes, *, day: date = DAY) -> str:
    with pytest.raises(BadBill) as problem:
        RAIL.bill_lines(content, day)
    return problem.value.code


PAID = BillLine(
    kind=Kind.PAYMENT,
    reference=order().reference,
    payment_reference=order().reference,
    channel_ref=CAPTURE_ID,
    amount=Money(1234, "USD"),
    fee=Money(84, "USD"),
    status="success",
    happened_at=PAID_AT,
    row=1,
)
GIVEN_BACK = BillLine(
    kind=Kind.REFUND,
    reference=refund_order().reference,
    payment_reference=order().reference,
    channel_ref=REFUND_ID,
    amount=Money(234, "USD"),
    fee=Money(-16, "USD"),
    status="success",
    happened_at=datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC),
    row=2,
)


def test_a_days_report_is_read() -> None:
    assert read(bill(page(payment(), repayment()))) == [PAID, GIVEN_BACK]


def test_rows_count_through_over_the_pages() -> None:
    two = bill(page(payment(), pages=2, items=2), page(repayment(), number=2, pages=2, items=2))
    assert read(two) == [PAID, GIVEN_BACK]


def one(row: dict[str, Any]) -> BillLine:
    (line,) = read(bill(page(row)))
    return line


@pytest.mark.parametrize(
    ("letter", "payments", "refunds"),
    [
        ("S", "success", "success"),
        ("P", "processing", "processing"),
        ("D", "failed", "failed"),
        ("V", "success", "unknown"),
        ("F", "success", "unknown"),
        ("?", "unknown", "unknown"),
    ],
)
def test_paypals_letters_are_translated(letter: str, payments: str, refunds: str) -> None:
    assert one(payment(transaction_status=letter)).status == payments
    assert one(repayment(transaction_status=letter)).status == refunds


def test_transfers_to_the_bank_and_reservations_are_no_payments() -> None:
    others = [payment(transaction_event_code=code) for code in ("T0300", "T0400", "T0401", "T1501", "T1502")]
    assert read(bill(page(payment(), *others))) == [PAID]


def test_what_nobody_knows_is_a_line_for_a_person() -> None:
    chargeback = repayment(transaction_event_code="T1201")
    del chargeback["invoice_id"], chargeback["custom_field"]
    line = one(chargeback)
    assert (line.kind, line.status) == (Kind.REFUND, "unknown")
    assert line.reference == line.payment_reference == REFUND_ID, "PayPal's own number, where it names none of ours"
    assert one(payment(transaction_event_code="T0200")).kind is Kind.PAYMENT


def test_a_refund_made_by_hand_goes_by_the_payments_number() -> None:
    by_hand = repayment()
    del by_hand["invoice_id"]
    assert one(by_hand).reference == order().reference


def test_a_fee_may_be_missing_and_then_is_none() -> None:
    free = payment()
    del free["fee_amount"]
    assert one(free).fee == Money(0, "USD")


def test_currencies_are_read_in_their_own_minor_units() -> None:
    yen = {"transaction_amount": {"currency_code": "JPY", "value": "1234"}}
    line = one(payment(**yen, fee_amount={"currency_code": "JPY", "value": "-89.00"}))
    assert (line.amount, line.fee) == (Money(1234, "JPY"), Money(89, "JPY"))
    dollars = {"transaction_amount": {"currency_code": "TWD", "value": "12"}}
    assert one(payment(**dollars, fee_amount={"currency_code": "TWD", "value": "0"})).amount == Money(1200, "TWD")


# ---- refused as a whole ----------------------------------------------------------------------------------------------

DAMAGED: list[tuple[str, dict[str, Any]]] = [
    ("an amount that is a number", {"transaction_amount": {"currency_code": "USD", "value": 12.34}}),
    ("an amount with three decimals", {"transaction_amount": {"currency_code": "USD", "value": "12.345"}}),
    ("an amount of nothing", {"transaction_amount": {"currency_code": "USD", "value": "0.00"}}),
    ("no currency", {"transaction_amount": {"value": "12.34"}}),
    ("a fee in another currency", {"fee_amount": {"currency_code": "EUR", "value": "-0.84"}}),
    ("a fee that is no amount", {"fee_amount": "0.84"}),
    ("no number", {"transaction_id": ""}),
    ("a moment without a zone", {"transaction_initiation_date": "2026-11-24T08:29:58"}),
    ("no moment", {"transaction_initiation_date": None}),
    ("a moment beyond the calendar", {"transaction_initiation_date": "9999-12-31T23:59:59Z"}),
    ("no status", {"transaction_status": None}),
    ("no code", {"transaction_event_code": None}),
    ("a custom field that is no text", {"custom_field": 7}),
]


@pytest.mark.parametrize(("what", "change"), DAMAGED, ids=[row[0] for row in DAMAGED])
def test_one_row_that_cannot_be_read_refuses_the_bill(what: str, change: dict[str, Any]) -> None:
    assert refused(bill(page(payment(), payment(**change)))) == "damaged"


@pytest.mark.parametrize(
    ("row", "value", "kind"),
    [(payment, "-12.34", Kind.REFUND), (repayment, "2.34", Kind.PAYMENT)],
    ids=["the merchant buys", "and is paid back"],
)
def test_what_the_merchant_buys_with_the_account_is_for_a_person_and_refuses_no_bill(
    row: Callable[..., dict[str, Any]], value: str, kind: Kind
) -> None:
    """The seller's notes on such a row are the seller's: they might look like a number of ours, and are none."""
    bought = row(transaction_amount={"currency_code": "USD", "value": value}, transaction_id="9BOUGHT")
    ours, theirs = read(bill(page(payment(), bought)))
    assert (ours.reference, ours.status) == (order().reference, "success")
    assert (theirs.kind, theirs.status, theirs.amount.minor) == (kind, "unknown", 1234 if row is payment else 234)
    assert {theirs.reference, theirs.payment_reference, theirs.channel_ref} == {"9BOUGHT"}


FRAMES: list[tuple[str, Callable[[Any], Any], str]] = [
    ("another account", lambda one: one | {"account_number": "STRANGER"}, "other_merchant"),
    ("another day", lambda one: one | {"start_date": "2026-11-22T16:00:00+0000"}, "other_day"),
    ("a longer period", lambda one: one | {"end_date": "2026-11-25T15:59:59+0000"}, "other_day"),
    ("refreshed too early", lambda one: one | {"last_refreshed_datetime": "2026-11-24T15:00:00Z"}, "not_complete"),
    ("another page", lambda one: one | {"page": 2}, "truncated"),
    ("more pages than there are", lambda one: one | {"total_pages": 2}, "truncated"),
    ("more rows than there are", lambda one: one | {"total_items": 3}, "truncated"),
    ("fewer rows than there are", lambda one: one | {"total_items": 1}, "truncated"),
    ("rows that are none", lambda one: one | {"transaction_details": [7]}, "not_a_bill"),
    ("rows that are no list", lambda one: one | {"transaction_details": {}}, "not_a_bill"),
    ("rows without content", lambda one: one | {"transaction_details": [{"payer_info": {}}]}, "not_a_bill"),
    ("a count that is text", lambda one: one | {"total_items": "2"}, "not_a_bill"),
    ("no account", lambda one: {name: one[name] for name in one if name != "account_number"}, "not_a_bill"),
]


@pytest.mark.parametrize(("what", "change", "code"), FRAMES, ids=[row[0] for row in FRAMES])
def test_a_page_that_is_not_what_was_asked_for_refuses_the_bill(
    what: str, change: Callable[[Any], Any], code: str
) -> None:
    assert refused(bill(change(page(payment(), repayment())))) == code


def test_pages_out_of_order_twice_or_missing_refuse_the_bill() -> None:
    first, second = page(payment(), pages=2, items=2), page(repayment(), number=2, pages=2, items=2)
    for pages in ((second, first), (first, first), (first,), (first, second, second)):
        assert refused(bill(*pages)) == "truncated"


@given(st.integers(0, len(bill(page(payment(), repayment()))) - 1))
def test_a_bill_cut_anywhere_is_refused(place: int) -> None:
    assert refused(bill(page(payment(), repayment()))[:place])


def test_rows_of_the_day_before_come_late_and_others_not_at_all() -> None:
    late = payment(transaction_initiation_date="2026-11-23T15:59:59Z", transaction_id="1LATE")
    assert [line.row for line in read(bill(page(late, payment())))] == [1, 2]
    assert refused(bill(page(late))) == "other_day"
    assert len(read(bill(page(late)), only_late=True)) == 1
    for other in ("2026-11-22T15:59:59Z", "2026-11-24T16:00:00Z"):
        assert refused(bill(page(payment(), payment(transaction_initiation_date=other)))) == "other_day"


# ---- page by page ----------------------------------------------------------------------------------------------------

ASKED = RAIL.bill_request(DAY)


def test_the_day_is_beijings_and_each_page_asks_for_the_next() -> None:
    assert "start_date=2026-11-23T16:00:00Z&end_date=2026-11-24T15:59:59Z" in ASKED.url
    first = RAIL.bill_file(ASKED, answer(200, page(payment(), pages=2, items=2)), now=NOW)
    assert first.ready
    assert first.more is not None
    assert first.more.url == ASKED.url.replace("&page=1", "&page=2")
    second = RAIL.bill_file(first.more, answer(200, page(repayment(), number=2, pages=2, items=2)), now=NOW)
    assert second.more is None
    assert read((first.content or b"") + (second.content or b"")) == [PAID, GIVEN_BACK]


def test_a_page_written_over_several_lines_is_one_line_of_the_bill() -> None:
    raw = json.dumps(page(payment()), indent=2).replace("\n", "\r\n").encode()
    file = RAIL.bill_file(ASKED, Response(200, {}, raw), now=NOW)
    assert file.content is not None
    assert file.content.count(b"\n") == 1
    assert read(file.content) == [PAID]


def test_a_day_without_business_is_final_once_paypal_has_looked_at_all_of_it() -> None:
    assert RAIL.bill_file(ASKED, answer(200, page(pages=0)), now=NOW).nothing
    early = RAIL.bill_file(ASKED, answer(200, page(last_refreshed_datetime="2026-11-24T15:59:58Z")), now=NOW)
    assert not early.nothing
    assert not early.ready
    assert "yet" in early.reason


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (error(400, "INVALID_REQUEST", "INVALID_DATE_RANGE"), "INVALID_DATE_RANGE"),
        (error(400, "RESULTSET_TOO_LARGE"), "RESULTSET_TOO_LARGE"),
        (error(403, "NOT_AUTHORIZED"), "NOT_AUTHORIZED"),
        (Response(503, {}, b"<html>"), "HTTP 503"),
        (answer(200, b"{"), "not believed"),
        (answer(200, page(payment(), account_number="STRANGER")), "STRANGER"),
        (answer(200, page(payment(), number=2, pages=2)), "another page"),
        (answer(200, page(payment(), start_date="2026-11-22T16:00:00Z")), "another day"),
    ],
)
def test_a_page_that_cannot_be_had_says_why(reply: Response, reason: str) -> None:
    file = RAIL.bill_file(ASKED, reply, now=NOW)
    assert (file.ready, file.nothing, file.content) == (False, False, None)
    assert reason in file.reason


def test_a_report_is_never_a_file_somewhere_else() -> None:
    with pytest.raises(BadBill):
        RAIL.bill_content(RAIL.bill_file(ASKED, answer(200, page(payment())), now=NOW), Response(200, {}, b""))
    assert not isinstance(RAIL, HasFundBill)
    assert RAIL.deposit_prefix() == f"PP{MERCHANT_ID}"


def test_a_full_page_is_below_the_limit_for_answers() -> None:
    long = payment(transaction_subject="茶" * 128, transaction_note="茶" * 255, custom_field="x" * 127)
    raw = json.dumps(page(*[deepcopy(long) for _ in range(statement.PAGE_SIZE)]), ensure_ascii=False).encode()
    assert len(raw) < 1 << 20
    assert len(read(raw + b"\n")) == statement.PAGE_SIZE


# ---- golden ----------------------------------------------------------------------------------------------------------


def test_the_stored_report_is_read() -> None:
    lines = read((GOLDEN / "bill_two_pages.ndjson").read_bytes(), day=date(2026, 11, 24))
    assert [(line.kind, line.amount.minor, line.fee.minor, line.status) for line in lines] == [
        (Kind.PAYMENT, 1234, 84, "success"),
        (Kind.PAYMENT, 5000, 250, "processing"),
        (Kind.REFUND, 234, -16, "success"),
    ]
    assert lines[0].happened_at - lines[2].happened_at == -timedelta(hours=1, minutes=30, seconds=2)


def test_the_request_for_it_is_to_the_api_alone() -> None:
    assert (ASKED.method, ASKED.body) == ("GET", b"")
    assert ASKED.url.startswith("https://api-m.paypal.com/v1/reporting/transactions?")
