"""That what the bank writes is what the schemas say, read by readers that share nothing with the writer."""

from datetime import UTC, date, datetime

import pytest
from pyiso20022.camt import camt_053_001_08 as camt053
from pyiso20022.camt import camt_054_001_08 as camt054

from sandbox.bank.errors import FileRefused
from sandbox.bank.instructions import read_order
from sandbox.bank.reports import (
    NEWER_STATUS_VERSION,
    STATUS_VERSION,
    BankIdentity,
    Entry,
    Result,
    Statement,
    credit_notification,
    rejection_report,
    statement_file,
    status_report,
)
from sandbox.bank.rules import Account, Refusal
from tests.iso_schemas import departures
from tests.sandbox.bank.bank_client import Pay, order, read, read_notice, read_report, read_statements

BANK = BankIdentity("SBXBCNBJXXX", "Sandbox Bank & Söhne <沙箱>")
NOW = datetime(2010, 12, 1, 9, 30, 15, 4_999, tzinfo=UTC)
POOL = Account("6200000000000000018", "cust_1", "收单商户 & Co", "CNY", "pool", "open", 4_000)
ORDER = read_order(order("M-1", POOL.number, [Pay("E-1", "60", "A"), Pay("E-2", "50", "B"), Pay("E-3", "5", "C")]))


def entry(ref: str, minor: int, **more: object) -> Entry:
    facts = {
        "entry_ref": ref,
        "bank_ref": f"SBX{ref}",
        "amount_minor": abs(minor),
        "is_credit": minor > 0,
        "booking_date": date(2010, 12, 1),
        "family": "RCDT",
        "sub_family": "BOOK",
        "end_to_end_id": f"E-{ref}",
        "instruction_id": "I-1",
        "message_id": "M-1",
        "payment_id": "P-1",
        "remittance": "WXPAY 1900000109 2010-12-01",
        "other_name": "张三小吃店",
        "other_account": "6200000000000000026",
        **more,
    }
    return Entry(**facts)  # type: ignore[arg-type]


def test_a_status_report_names_every_line_with_its_fate() -> None:
    refusal = Refusal("AM04", "too little money " * 20)
    lines = ORDER.lines
    results = [Result(lines[0], None, "SBX1"), Result(lines[1], refusal, None), Result(lines[2], None, "SBX2")]
    report = read_report(status_report(BANK, "P002-1", NOW, ORDER, results))
    assert (report.message_id, report.status, report.reason) == ("M-1", "PART", None)
    assert report.lines == [("E-1", "ACSC", None), ("E-2", "RJCT", "AM04"), ("E-3", "ACSC", None)]


def test_a_report_that_refuses_every_line_says_so_for_the_file_too() -> None:
    alike = [Result(line, Refusal("AC01", "unknown"), None) for line in ORDER.lines]
    report = read_report(status_report(BANK, "P002-1", NOW, ORDER, alike))
    assert (report.status, report.reason) == ("RJCT", "AC01")
    mixed = [*alike[:-1], Result(ORDER.lines[-1], Refusal("AM04", "short"), None)]
    report = read_report(status_report(BANK, "P002-1", NOW, ORDER, mixed))
    assert (report.status, report.reason) == ("RJCT", "NARR")


def test_a_file_refused_as_a_whole_is_reported_without_lines() -> None:
    for version in (STATUS_VERSION, NEWER_STATUS_VERSION):
        refused = rejection_report(BANK, "P002-1", NOW, ORDER, Refusal("AM05", "used before"), version=version)
        report = read_report(refused)
        assert (report.message_id, report.status, report.reason, report.lines) == ("M-1", "RJCT", "AM05", [])


@pytest.mark.parametrize("by_payment", [False, True])
def test_both_versions_of_a_status_report_say_the_same(by_payment: bool) -> None:
    results = [Result(ORDER.lines[0], None, "SBX1"), Result(ORDER.lines[1], Refusal("AM04", "short"), None)]
    told = [
        read_report(status_report(BANK, "P002-1", NOW, ORDER, results, by_payment=by_payment, version=version))
        for version in (STATUS_VERSION, NEWER_STATUS_VERSION)
    ]
    assert told[0] == told[1]


def test_what_departs_from_a_schema_is_named() -> None:
    raw = status_report(BANK, "P002-1", NOW, ORDER, [Result(ORDER.lines[0], None, "SBX1")], version=12)
    for old, new in [
        (b"OrgnlMsgNmId", b"OrgnlMsgName"),
        (b"<MsgId>P002-1</MsgId>", b""),
        (b"2010-12-01T", b"2010-12-32T"),
        (b"<TxSts>ACSC", b"<TxSts>SETTLED"),
        (b"</GrpHdr>", b"<Nm>x</Nm></GrpHdr>"),
    ]:
        assert old in raw
        assert departures(raw.replace(old, new)), old
    assert not departures(raw)


def test_a_credit_notice_carries_the_booking() -> None:
    account, booking = read_notice(credit_notification(BANK, "C054-1", NOW, POOL, entry("1", 6_000)))
    assert account == POOL.number
    assert (booking.end_to_end_id, booking.minor, booking.date) == ("E-1", 6_000, "2010-12-01")
    assert (booking.bank_ref, booking.other_account) == ("SBX1", "6200000000000000026")
    assert booking.remittance == "WXPAY 1900000109 2010-12-01"


@pytest.mark.parametrize("note", ["", "x" * 140, "长" * 141, "a & b < c"])
@pytest.mark.parametrize("other", ["", "somebody"])
def test_long_and_missing_texts_still_make_conform_messages(note: str, other: str) -> None:
    bare = entry(
        "1", 1, remittance=note, other_name=other, other_account=None, message_id=None, payment_id=None,
        instruction_id=None,
    )  # fmt: skip
    _, booking = read_notice(credit_notification(BANK, "C054-1", NOW, POOL, bare))
    assert (booking.remittance or "") == note


def test_a_statement_shows_both_balances_and_every_entry_in_order() -> None:
    entries = [entry("1", 10_000), entry("2", -6_000), entry("3", 700, return_reason="AC04")]
    statement = Statement(POOL, date(2010, 12, 1), 7, -700, 4_000, entries)
    raw = statement_file(BANK, "C053-1", NOW, [statement], page=1, is_last=True)
    day = read_statements(raw)[POOL.number]
    assert (day.sequence, day.opening, day.closing) == (7, -700, 4_000)
    assert [(booking.end_to_end_id, booking.minor) for booking in day.bookings] == [
        ("E-1", 10_000),
        ("E-2", -6_000),
        ("E-3", 700),
    ]
    assert [booking.return_reason for booking in day.bookings] == [None, None, "AC04"]
    assert day.adds_up


def test_an_order_booked_as_one_names_itself_and_none_of_its_lines() -> None:
    whole = entry("7", -5_900, batch_of=2)
    statement = Statement(POOL, date(2010, 12, 1), 1, 9_900, 4_000, [whole])
    raw = statement_file(BANK, "C053-1", NOW, [statement], page=1, is_last=True)
    assert read(raw, camt053.Document)
    assert b"<Btch><MsgId>M-1</MsgId><PmtInfId>P-1</PmtInfId><NbOfTxs>2</NbOfTxs>" in raw
    assert b"EndToEndId" not in raw


def test_currencies_are_written_with_their_own_decimals() -> None:
    for currency, text in [("JPY", b'Ccy="JPY">4000<'), ("KWD", b'Ccy="KWD">4.000<'), ("CNY", b'Ccy="CNY">40.00<')]:
        account = Account("1", "c", "n", currency, "sub", "open", 4_000)
        statement = Statement(account, date(2010, 12, 1), 1, 4_000, 4_000, [])
        raw = statement_file(BANK, "C053-1", NOW, [statement], page=1, is_last=True)
        assert text in raw
        read(raw, camt053.Document)


def test_the_readers_of_these_tests_notice_a_message_that_is_not_conform() -> None:
    raw = credit_notification(BANK, "C054-1", NOW, POOL, entry("1", 6_000))
    assert read(raw, camt054.Document)
    for old, new in [
        (b"<NtryRef>", b"<NtryReference>"),
        (b"<Cd>BOOK</Cd></Sts>", b"BOOK</Sts>"),
        (b"CRDT", b"CREDIT"),
        (b' Ccy="CNY"', b""),
        (b"2010-12-01T", b"2010-12-32T"),
    ]:
        assert old in raw
        spoiled = raw.replace(old, new).replace(
            b"</NtryRef>", b"</NtryReference>" if b"Reference" in new else b"</NtryRef>"
        )
        with pytest.raises(FileRefused):
            read(spoiled, camt054.Document)
