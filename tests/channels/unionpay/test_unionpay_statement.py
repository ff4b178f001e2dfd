"""Settlement files: read whole, or refused whole."""

from datetime import date, datetime, timedelta

import pytest

from channels import BadBill, BillLine, Kind
from kernel.clock import BEIJING
from kernel.money import Money
from tests.channels.unionpay.unionpay_rail import (
    DAY,
    GOLDEN,
    MER_ID,
    ORDER_ID,
    QUERY_ID,
    REFERENCE,
    REFUND_ID,
    REFUND_QUERY_ID,
    REFUND_REFERENCE,
    WIDTHS,
    ZME_WIDTHS,
    channel,
    line,
    payment_line,
    refund_line,
    zipped,
)

UNIONPAY = channel()
PAYMENT = BillLine(
    kind=Kind.PAYMENT,
    reference=REFERENCE,
    payment_reference=REFERENCE,
    channel_ref=QUERY_ID,
    amount=Money(1234, "CNY"),
    fee=Money(7, "CNY"),
    status="success",
    happened_at=datetime(2026, 11, 24, 16, 1, 30, tzinfo=BEIJING),
    row=1,
)
REFUND = BillLine(
    kind=Kind.REFUND,
    reference=REFUND_REFERENCE,
    payment_reference=REFERENCE,
    channel_ref=REFUND_QUERY_ID,
    amount=Money(234, "CNY"),
    fee=Money(-1, "CNY"),
    status="success",
    happened_at=datetime(2026, 11, 24, 16, 10, 1, tzinfo=BEIJING),
    row=2,
)


def read(content: bytes, day: date = DAY, *, only_late: bool = False) -> list[BillLine]:
    return list(UNIONPAY.bill_lines(content, day, only_late=only_late))


def refusal(content: bytes, day: date = DAY) -> str:
    with pytest.raises(BadBill) as refused:
        UNIONPAY.bill_lines(content, day)  # refused when asked for, before any line
    return refused.value.code


def test_the_layout_is_what_the_documents_say() -> None:
    assert len(payment_line()) == sum(WIDTHS) + len(WIDTHS) - 1 == 607


def test_a_file_is_read_in_our_words() -> None:
    assert read(zipped(payment_line(), refund_line())) == [PAYMENT, REFUND]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_file_of_transactions_is_read_without_its_zip_too(end: bytes) -> None:
    assert read(end.join((payment_line(), refund_line()))) == [PAYMENT, REFUND]
    assert read(payment_line() + end + refund_line() + end + b"\x1a") == [PAYMENT, REFUND]


def test_a_stored_file_keeps_its_meaning() -> None:
    assert read((GOLDEN / "bill_payments_and_refund.zip").read_bytes()) == [PAYMENT, REFUND]


def test_a_day_without_business_is_a_file_without_lines() -> None:
    assert read(zipped()) == []
    assert refusal(b"") == "not_a_bill"


def test_a_completion_goes_by_the_number_of_its_order() -> None:
    (captured,) = read(zipped(payment_line(c12=ORDER_ID.replace("Z", "C"), c20="03", c21="00")))
    assert captured == PAYMENT


@pytest.mark.parametrize("txn_type", ["31", "33"])
def test_an_undo_is_a_refund_under_its_own_number(txn_type: str) -> None:
    (undone,) = read(zipped(refund_line(c1="S31", c20=txn_type)))
    assert (undone.kind, undone.reference, undone.status) == (Kind.REFUND, REFUND_REFERENCE, "success")


def test_a_number_of_somebody_else_is_shown_as_it_is() -> None:
    strange = payment_line(c12="POS20261124000017")
    assert [one.reference for one in read(zipped(strange))] == ["POS20261124000017"]
    (refund,) = read(zipped(refund_line(c12="POS20261124000018", c35="")))
    assert (refund.reference, refund.payment_reference) == ("POS20261124000018", "POS20261124000018")


@pytest.mark.parametrize(("columns", "kind"), [({"c1": "E22"}, Kind.PAYMENT), ({"c20": "77"}, Kind.PAYMENT),
                                               ({"c20": "77", "c17": "D000000001227"}, Kind.REFUND)])  # fmt: skip
def test_a_kind_of_row_we_do_not_know_counts_and_is_for_a_person(columns: dict[str, str], kind: Kind) -> None:
    (strange,) = read(zipped(payment_line(**columns)))
    assert (strange.status, strange.kind, strange.amount) == ("unknown", kind, PAYMENT.amount)


def test_an_exception_is_shown_to_a_person_and_not_dropped() -> None:
    chargeback = line(ZME_WIDTHS, c1="E74", c4="000123", c5="1124120000", c7="000000001234")
    lines = read(zipped(payment_line(), exceptions=chargeback + b"\r\n"))
    assert lines[0] == PAYMENT
    assert (lines[1].reference, lines[1].amount.minor, lines[1].status) == (
        "ZME-E74-000123-1124120000",
        1234,
        "unknown",
    )


def test_a_business_day_may_begin_the_evening_before() -> None:
    (late,) = read(zipped(payment_line(c5="1123230001")))
    assert late.happened_at == datetime(2026, 11, 23, 23, 0, 1, tzinfo=BEIJING)
    assert refusal(payment_line(c5="1123230001")) == "other_day", "without a name only the rows say whose day it is"
    assert read(payment_line(c5="1123230001"), only_late=True) == [late]


def test_the_year_of_a_row_is_that_of_its_day() -> None:
    new_year = date(2027, 1, 1)
    rows = read(zipped(payment_line(c5="1231233000"), payment_line(c5="0101000001"), day=new_year), new_year)
    assert [row.happened_at.year for row in rows] == [2026, 2027]
    leap = date(2028, 3, 1)
    assert read(zipped(payment_line(c5="0229233000"), payment_line(c5="0301000001"), day=leap), leap)


@pytest.mark.parametrize("moment", ["1122235959", "1125000000", "1124250000", "1124", "", "112416013x"])
def test_a_row_of_another_day_spoils_the_file(moment: str) -> None:
    assert refusal(zipped(payment_line(), payment_line(c5=moment))) == "other_day"


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"c28": "777290058110049"}, "other_merchant"),
        ({"c28": ""}, "other_merchant"),
        ({"c7": "12.34"}, "damaged"),
        ({"c7": "-00000001234"}, "damaged"),
        ({"c7": ""}, "damaged"),
        ({"c10": "QUERY"}, "damaged"),
        ({"c12": ""}, "damaged"),
        ({"c16": "000000000007"}, "damaged"),
        ({"c16": "X000000000007"}, "damaged"),
        ({"c17": "C"}, "damaged"),
        ({"c17": ""}, "damaged"),
    ],
)
def test_one_bad_row_spoils_the_file(columns: dict[str, str], code: str) -> None:
    assert refusal(zipped(payment_line(), payment_line(**columns), payment_line())) == code


def test_columns_that_are_not_where_they_belong_spoil_the_file() -> None:
    good = payment_line()
    assert refusal(zipped(good, good[:-1])) == "damaged"
    assert refusal(zipped(good[:400])) == "damaged"
    assert refusal(zipped(good[:50] + good[51:] + b" ")) == "damaged"
    assert refusal(zipped(good[:3] + b"," + good[4:])) == "damaged"
    bad = bytearray(payment_line(c31="某某商户"))
    start = bad.index("某".encode("gbk"))
    bad[start : start + 2] = b"\xff\xff"
    assert refusal(zipped(bytes(bad))) == "damaged"
    assert read(zipped(payment_line(c31="某某商户"))) == [PAYMENT], "a width counts bytes"


def test_another_days_or_merchants_file_is_refused_by_its_name() -> None:
    assert refusal(zipped(payment_line(), day=DAY - timedelta(days=1))) == "other_day"
    assert refusal(zipped(payment_line()), DAY + timedelta(days=7)) == "other_day"
    assert refusal(zipped(payment_line(), mer_id="777290058110049")) == "other_merchant"


def test_a_zip_that_is_none_or_holds_no_transactions_is_refused() -> None:
    good = zipped(payment_line())
    assert refusal(good[: len(good) * 2 // 3]) == "damaged"
    assert refusal(b"PK" + b"\0" * 100) == "damaged"
    only_other = zipped(payment_line()).replace(b"88ZM_", b"88ZX_")
    assert refusal(only_other) == "not_a_bill"
    flipped = bytearray(good)
    flipped[60] ^= 0x10
    assert refusal(bytes(flipped)) == "damaged"
    assert read(zipped(payment_line(), **{"README.txt": b"hello"})) == [PAYMENT]


def test_the_name_of_the_refund_in_a_file_is_ours() -> None:
    assert refund_line().find(REFUND_ID.encode()) > 0
    assert read(zipped(refund_line()))[0].reference == REFUND_REFERENCE
    assert MER_ID in zipped(payment_line()).decode("latin-1")
