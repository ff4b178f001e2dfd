"""Files that are what the messages' definitions allow, and unlike those of our own simulated bank.

Each is written after what banks' implementation guides say of their own files (Swiss, German, Dutch, Nordic and Baltic
ones), and held to its definition by another program.
"""

import re
from datetime import date

import pytest

from channels.banks import (
    KINDS,
    AccountStatement,
    BadStatement,
    Entry,
    Fate,
    Kind,
    StatusReport,
    disagreement,
    joined,
    other_payment_than_sent,
    read_notice,
)
from channels.banks.iso20022 import read_camt052, read_camt053, read_camt054, read_pain002, read_settings
from kernel.money import Money
from tests.channels.banks.bank_files import NS
from tests.channels.banks.test_bank_versions import conforms

DAY = "2026-11-24"


def balance(code: str, amount: str, *, currency: str = "EUR", day: str = DAY, sub: str = "", at: str = "") -> str:
    kind = f"<Cd>{code}</Cd>" if len(code) == 4 else f"<Prtry>{code}</Prtry>"
    below = f"<SubTp><Cd>{sub}</Cd></SubTp>" if sub else ""
    when = at or f"<Dt>{day}</Dt>"
    return (
        f'<Bal><Tp><CdOrPrtry>{kind}</CdOrPrtry>{below}</Tp><Amt Ccy="{currency}">{amount}</Amt>'
        f"<CdtDbtInd>CRDT</CdtDbtInd><Dt>{when}</Dt></Bal>"
    )


def entry(
    amount: str = "10.00",
    *,
    refs: tuple[str, str] = ("", "R1"),
    currency: str = "EUR",
    way: str = "CRDT",
    status: str = "BOOK",
    booked: str = f"<BookgDt><Dt>{DAY}</Dt></BookgDt>",
    details: str = "",
    version: int = 2,
) -> str:
    """refs: NtryRef and AcctSvcrRef. details: what stands in NtryDtls."""
    ref, bank_ref = (
        f"<{tag}>{r}</{tag}>" if r else "" for tag, r in zip(("NtryRef", "AcctSvcrRef"), refs, strict=True)
    )
    word = status if version < 7 or status.startswith("<") else f"<Cd>{status}</Cd>"
    inside = f"<NtryDtls>{details}</NtryDtls>" if details else ""
    return (
        f'<Ntry>{ref}<Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>{way}</CdtDbtInd><Sts>{word}</Sts>{booked}'
        f"<ValDt><Dt>{DAY}</Dt></ValDt>{bank_ref}<BkTxCd><Prtry><Cd>NTRF+166+9201</Cd></Prtry></BkTxCd>{inside}</Ntry>"
    )


def paid(name: str, amount: str = "", *, currency: str = "EUR", version: int = 2, refs: str = "") -> str:
    """Return one TxDtls; amount: what it says of itself, where it does."""
    told = ""
    if amount:
        told = f'<AmtDtls><TxAmt><Amt Ccy="{currency}">{amount}</Amt></TxAmt></AmtDtls>'
        if version >= 3:
            told = f'<Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
    return f"<TxDtls><Refs>{refs}<EndToEndId>{name}</EndToEndId></Refs>{told}</TxDtls>"


def statement(*parts: str, account: str = "<Id><IBAN>NL56AGDH9619008421</IBAN></Id>", ident: str = "S1") -> str:
    return f"<Stmt><Id>{ident}</Id><CreDtTm>{DAY}T23:00:00</CreDtTm><Acct>{account}</Acct>{''.join(parts)}</Stmt>"


def camt053(*statements: str, version: int = 2, pages: str = "", legal: bool = True) -> bytes:
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?><Document xmlns="{NS}camt.053.001.{version:02d}"><BkToCstmrStmt>'
        f"<GrpHdr><MsgId>M1</MsgId><CreDtTm>{DAY}T23:00:00</CreDtTm>{pages}</GrpHdr>{''.join(statements)}</BkToCstmrStmt>"
        "</Document>"
    ).encode()
    if legal:
        conforms(xml, "camt.053", version)
    return xml


def camt054(*entries: str, version: int = 2, totals: str = "", pages: str = "") -> bytes:
    xml = (
        f'<Document xmlns="{NS}camt.054.001.{version:02d}"><BkToCstmrDbtCdtNtfctn><GrpHdr><MsgId>M1</MsgId>'
        f"<CreDtTm>{DAY}T10:00:00</CreDtTm>{pages}</GrpHdr><Ntfctn><Id>N1</Id><CreDtTm>{DAY}T10:00:00</CreDtTm>"
        f"<Acct><Id><IBAN>NL56AGDH9619008421</IBAN></Id></Acct>{totals}{''.join(entries)}</Ntfctn>"
        "</BkToCstmrDbtCdtNtfctn></Document>"
    ).encode()
    conforms(xml, "camt.054", version)
    return xml


OPEN, CLOSE = balance("OPBD", "0.00"), balance("CLBD", "10.00")


def only(xml: bytes) -> AccountStatement:
    (found,) = read_camt053(xml)
    return found


# ---- balances --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "balances",
    [
        balance("PRCD", "0.00", day="2026-11-23") + CLOSE,
        balance("PRCD", "7.00", day="2026-11-20") + OPEN + CLOSE,
        CLOSE + OPEN,
        OPEN + CLOSE + balance("CLAV", "9.00") + balance("FWAV", "9.00") + balance("FWAV", "8.00", day="2026-11-25"),
        balance("OWN-KIND", "5.00") + OPEN + CLOSE + balance("XPCD", "1") + balance("INFO", "1"),
        OPEN + balance("ITBD", "4.00") + balance("ITBD", "6.00") + CLOSE,
        balance("OPBD", "0", at=f"<DtTm>{DAY}T00:00:00</DtTm>")
        + balance("CLBD", "10", at=f"<DtTm>{DAY}T12:00:00Z</DtTm>"),
        balance("OPBD", "0.0") + balance("CLBD", "10.000", at=f"<Dt>{DAY}+01:00</Dt>"),
    ],
)  # fmt: skip
def test_a_statement_opens_and_closes_with_what_is_booked(balances: str) -> None:
    read = only(camt053(statement(balances, entry())))
    assert (read.opening.minor, read.closing.minor, read.gap.minor) == (0, 1_000, 0)
    assert (read.business_date, read.part, read.last_part) == (date(2026, 11, 24), 1, True)


@pytest.mark.parametrize("balances", [CLOSE, OPEN, balance("ITBD", "1.00"), OPEN + balance("CLAV", "10.00")])
def test_a_statement_without_two_booked_balances_cannot_be_read(balances: str) -> None:
    odd: list[BadStatement] = []
    with pytest.raises(BadStatement) as refused:
        read_camt053(camt053(statement(balances)), odd=odd)
    assert (refused.value.code, odd) == ("balance_missing", [])
    (other,) = read_camt053(camt053(statement(balances), statement(OPEN, CLOSE, entry(), ident="S2")), odd=odd)
    assert (other.statement_id, [error.code for error in odd]) == ("S2", ["balance_missing"])
    assert "S1" in str(odd[0]), "the statement is named"


def test_an_account_that_has_two_currencies_has_two_statements() -> None:
    dollars = statement(
        balance("OPBD", "5.00", currency="USD"), balance("CLBD", "6.00", currency="USD"),
        entry("1.00", currency="USD"), ident="S2",
    )  # fmt: skip
    read = read_camt053(camt053(statement(OPEN, CLOSE, entry()), dollars))
    assert [(one.account, str(one.closing)) for one in read] == [
        ("NL56AGDH9619008421", "10.00 EUR"),
        ("NL56AGDH9619008421", "6.00 USD"),
    ]


def test_an_entry_is_in_the_currency_of_the_balances_where_the_account_says_none() -> None:
    odd: list[BadStatement] = []
    xml = camt053(statement(OPEN, CLOSE, entry(), entry("10.00", currency="USD", refs=("", "R2"))))
    (read,) = read_camt053(xml, odd=odd)
    assert ([one.entry_ref for one in read.entries], [error.code for error in odd]) == (["R1"], ["other_currency"])


# ---- pages -----------------------------------------------------------------------------------------------------------


def of_pages(*pages: bytes) -> list[AccountStatement]:
    return joined([one for xml in pages for one in read_camt053(xml)])


def by_message(number: int, last: bool) -> str:
    return f"<MsgPgntn><PgNb>{number}</PgNb><LastPgInd>{str(last).lower()}</LastPgInd></MsgPgntn>"


FIRST = statement(OPEN, balance("CLBD", "10.00", sub="INTM"), entry())
LAST = statement(balance("OPBD", "10.00", sub="INTM"), balance("CLBD", "30.00"), entry("20.00", refs=("", "R2")))


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (camt053(FIRST, pages=by_message(1, False)), camt053(LAST, pages=by_message(2, True))),
        (
            camt053(statement(OPEN, balance("ITBD", "10.00"), entry()), pages=by_message(1, False)),
            camt053(
                statement(balance("ITBD", "10.00"), balance("CLBD", "30.00"), entry("20.00", refs=("", "R2"))),
                pages=by_message(2, True),
            ),
        ),
        tuple(
            camt053(one.replace("<CreDtTm>", f"{by_message(n, n == 2).replace('Msg', 'Stmt')}<CreDtTm>", 1), version=6)
            for n, one in ((1, FIRST), (2, LAST))
        ),
    ],
)
def test_the_pages_of_a_statement_come_together(first: bytes, last: bytes) -> None:
    for order in ((first, last), (last, first), (first, last, first), (first, last, last)):
        (read,) = of_pages(*order)
        assert [one.entry_ref for one in read.entries] == ["R1", "R2"]
        assert (read.opening.minor, read.closing.minor, read.gap.minor) == (0, 3_000, 0)
    assert of_pages(first) == of_pages(last) == [], "while a page is missing there is no statement"
    (whole,) = of_pages(first, last, camt053(statement(OPEN, CLOSE, entry())))
    assert whole.closing.minor == 1_000, "a whole one that comes later stands for all of them"


def test_a_page_that_does_not_go_on_where_the_one_before_ended_leaves_a_gap() -> None:
    (read,) = of_pages(
        camt053(FIRST, pages=by_message(1, False)),
        camt053(LAST.replace(">10.00<", ">12.00<").replace(">30.00<", ">32.00<"), pages=by_message(2, True)),
    )
    assert read.gap.minor == 200


def test_a_page_of_a_message_that_holds_whole_statements_is_no_page_of_a_statement() -> None:
    read = only(camt053(statement(OPEN, CLOSE, entry()), pages=by_message(2, False)))
    assert (read.page, read.last_page, read.part, read.last_part) == (2, False, 1, True)
    assert joined([read]) == [read]


def test_what_a_page_announces_of_the_whole_is_not_held_against_it() -> None:
    totals = "<TxsSummry><TtlNtries><NbOfNtries>9</NbOfNtries><Sum>900</Sum></TtlNtries></TxsSummry>"
    assert len(read_camt054(camt054(entry(), totals=totals, pages=by_message(1, False)))) == 1
    with pytest.raises(BadStatement):
        read_camt054(camt054(entry(), totals=totals))


@pytest.mark.parametrize(("number", "total"), [(2, "15.00"), (1, "10.0"), (2, ""), (0, "10")])
def test_banks_announce_all_entries_or_those_that_are_booked(number: int, total: str) -> None:
    told = (f"<NbOfNtries>{number}</NbOfNtries>" if number else "") + (f"<Sum>{total}</Sum>" if total else "")
    xml = camt054(entry(), entry("5.00", status="PDNG"), totals=f"<TxsSummry><TtlNtries>{told}</TtlNtries></TxsSummry>")
    assert [one.amount.minor for one in read_camt054(xml)] == [1_000]
    with pytest.raises(BadStatement) as refused:
        read_camt054(re.sub(b">(10|15)(.0*)?</Sum>", b">11</Sum>", xml).replace(b">2</Nb", b">3</Nb"))
    assert refused.value.code == "totals_differ"


# ---- entries ---------------------------------------------------------------------------------------------------------


def told(entry: Entry) -> tuple[str, str | None, int]:
    return entry.entry_ref, entry.end_to_end_id, entry.amount.minor


@pytest.mark.parametrize(
    ("written", "minor"),
    [("10", 1_000), ("10.5", 1_050), ("10.500", 1_050), ("+10.5", 1_050), (".5", 50), ("0010.50", 1_050), ("3.", 300)],
)
def test_an_amount_is_read_as_xml_may_write_it(written: str, minor: int) -> None:
    assert read_camt054(camt054(entry(written)))[0].amount.minor == minor


@pytest.mark.parametrize(
    ("refs", "inside", "named", "is_banks"),
    [
        (("", "R1"), "", "R1", True),
        (("7", ""), "", "7", False),
        (("", ""), "<AcctSvcrRef>T1</AcctSvcrRef>", "T1", True),
        (("7", ""), "<AcctSvcrRef>T1</AcctSvcrRef>", "T1", True),
        (("7", "NONREF"), "", "7", False),
        (("7", "NOTPROVIDED"), "<AcctSvcrRef>NONREF</AcctSvcrRef>", "7", False),
    ],
)
def test_a_reference_may_stand_at_the_entry_or_at_its_transaction(
    refs: tuple[str, str], inside: str, named: str, is_banks: bool
) -> None:
    xml = camt054(entry(refs=refs, details=paid("E1", refs=inside)))
    (found,) = read_camt054(xml)
    assert (found.entry_ref, found.has_bank_ref, found.end_to_end_id) == (named, is_banks, "E1")


def test_an_entry_without_any_reference_has_a_name_of_its_own() -> None:
    first, second = (entry(refs=("", ""), details=paid(name)) for name in ("E1", "E2"))
    names = [one.entry_ref for one in read_camt054(camt054(first, second, second))]
    assert len(set(names)) == 3
    assert names[2] == f"{names[1]}#2", "two of which the bank says the same are two"
    assert names[:2] == [one.entry_ref for one in read_camt054(camt054(first, second))]
    assert only(camt053(statement(OPEN, CLOSE, first))).entries[0].entry_ref == names[0]
    bookings = {one.booking for one in read_camt054(camt054(first, second, second))}
    assert len(bookings) == 3


@pytest.mark.parametrize(
    "details",
    [
        paid("a", "6.00") + paid("b", "4.00"),  # charges of 0.50 were taken off
        paid("a", "6.00", currency="USD") + paid("b", "3.50", currency="USD"),  # before an exchange
        paid("a", "6.00") + paid("b"),
        "<Btch><NbOfTxs>86</NbOfTxs></Btch>" + paid("a", "9.50"),
        "<Btch><NbOfTxs>3</NbOfTxs></Btch>",
        paid("a", "6.005") + paid("b", "3.495"),  # more decimals than there are cents
    ],
)
@pytest.mark.parametrize("version", [2, 4, 8])
def test_an_entry_whose_transactions_do_not_come_to_it_is_whole_and_nobodys(details: str, version: int) -> None:
    if version >= 4:
        details = re.sub(
            r"<AmtDtls><TxAmt>(<Amt.*?</Amt>)</TxAmt></AmtDtls>", r"\1<CdtDbtInd>CRDT</CdtDbtInd>", details
        )
    written = entry("9.50", details=details, version=version)
    if version < 4 or paid("b") not in details:
        assert [told(one) for one in read_camt054(camt054(written, version=version))] == [("R1", None, 950)]
    read = only(
        camt053(statement(OPEN, balance("CLBD", "9.50"), written), version=version, legal=paid("b") not in details)
    )
    assert ([told(one) for one in read.entries], read.gap.minor) == ([("R1", None, 950)], 0)


def test_transactions_in_several_groups_are_those_of_the_entry() -> None:
    split = entry("10.00", details=paid("a", "6.00") + "</NtryDtls><NtryDtls>" + paid("b", "4.00"))
    assert [told(one) for one in read_camt054(camt054(split))] == [("R1/1", "a", 600), ("R1/2", "b", 400)]


def test_an_entry_that_does_not_say_when_it_was_booked_was_booked_on_the_day_of_its_statement_or_notice() -> None:
    undated = entry(booked="")
    assert only(camt053(statement(OPEN, CLOSE, undated))).entries[0].booked_on == date(2026, 11, 24)
    (noticed,) = read_camt054(camt054(undated).replace(b"<ValDt><Dt>2026-11-24", b"<ValDt><Dt>2026-12-01"))
    assert noticed.booked_on == date(2026, 11, 24)


def test_a_status_of_the_banks_own_concerns_its_entry_alone() -> None:
    odd: list[BadStatement] = []
    strange = entry("1.00", refs=("", "R9"), status="<Prtry>HELD</Prtry>", version=8)
    (found,) = read_camt054(camt054(strange, entry(version=8), version=8), odd=odd)
    assert (found.entry_ref, [str(error) for error in odd]) == (
        "R1",
        ["entry 1 (AcctSvcrRef R9): 'HELD' is no status of an entry"],
    )
    (read,) = read_camt053(camt053(statement(OPEN, CLOSE, strange, entry(version=8)), version=8), odd=odd)
    assert ([one.entry_ref for one in read.entries], read.gap.minor, len(odd)) == (["R1"], 0, 2)


def test_what_cannot_be_read_of_one_account_keeps_no_other_from_being_read() -> None:
    odd: list[BadStatement] = []
    bad = statement(OPEN, CLOSE, entry("1.234"), ident="S2", account="<Id><Othr><Id>A2</Id></Othr></Id>")
    twice = statement(OPEN, CLOSE, entry(), ident="S3")
    xml = camt053(statement(OPEN, CLOSE, entry()), bad, twice)
    good, gapped = read_camt053(xml, odd=odd, allow_gap=True)
    assert (good.gap.minor, gapped.account, gapped.gap.minor) == (0, "A2", 1_000), "what is missing can be told"
    assert [error.code for error in odd] == ["bad_amount", "duplicate_statement"]
    with pytest.raises(BadStatement):
        read_camt053(xml)


# ---- status reports --------------------------------------------------------------------------------------------------

SENT = {"L1": (Money(1_050, "CNY"), "62"), "L2": (Money(2_000, "CNY"), "63")}


def line(name: str = "L1", status: str = "", more: str = "") -> str:
    named = f"<OrgnlEndToEndId>{name}</OrgnlEndToEndId>" if name else "<OrgnlInstrId>I7</OrgnlInstrId>"
    return f"<TxInfAndSts>{named}{f'<TxSts>{status}</TxSts>' if status else ''}{more}</TxInfAndSts>"


def report(*lines: str, group: str = "", payment: str = "", ident: str = "B1") -> StatusReport:
    inside = f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{ident}</OrgnlPmtInfId>{payment}{''.join(lines)}</OrgnlPmtInfAndSts>"
    xml = (
        f'<Document xmlns="{NS}pain.002.001.03"><CstmrPmtStsRpt><GrpHdr><MsgId>R1</MsgId><CreDtTm>{DAY}T10:00:00'
        f"</CreDtTm></GrpHdr><OrgnlGrpInfAndSts><OrgnlMsgId>B1</OrgnlMsgId><OrgnlMsgNmId>pain.001</OrgnlMsgNmId>"
        f"{group}</OrgnlGrpInfAndSts>{inside if lines or payment else ''}</CstmrPmtStsRpt></Document>"
    ).encode()
    conforms(xml, "pain.002", 3)
    return read_pain002(xml)


def fates(told: StatusReport) -> list[Fate | None]:
    return [None if (said := told.fate_of(name)) is None else said.fate for name in SENT]


WHY = "<StsRsnInf><Rsn><Cd>AC04</Cd></Rsn></StsRsnInf>"
DONE, NO = "<PmtInfSts>ACSC</PmtInfSts>", "<PmtInfSts>RJCT</PmtInfSts>"


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (report(group="<GrpSts>ACSC</GrpSts>"), [Fate.EXECUTED] * 2),
        (report(payment=DONE), [Fate.EXECUTED] * 2),
        (report(line("L1"), line("L2"), payment=DONE), [Fate.EXECUTED] * 2),
        (report(line("L1", more=WHY), payment=NO), [Fate.REFUSED] * 2),
        (report(line("L1"), line("L2"), group="<GrpSts>RJCT</GrpSts>"), [Fate.REFUSED] * 2),
        (report(line("L1"), line("L2"), group="<GrpSts>ACCP</GrpSts>"), [None] * 2),
        (report(line("L1"), line("L2", "RJCT", WHY), payment=DONE), [Fate.IN_DOUBT] * 2),
        (report(line("L1"), payment=DONE, ident="B9"), [Fate.IN_DOUBT] * 2),
        (report(line("L1", more=WHY.replace("AC04", "DU03")), payment=NO), [Fate.IN_DOUBT, Fate.REFUSED]),
        (report(line("L1", "ACSC"), line("L2", "ACWC")), [Fate.EXECUTED, Fate.PENDING]),
    ],
)  # fmt: skip
def test_a_line_without_a_word_of_its_own_has_the_word_that_is_said_above_it(
    told: StatusReport, wanted: list[Fate | None]
) -> None:
    assert fates(told) == wanted


def test_totals_and_amounts_of_a_report_are_read_as_xml_may_write_them() -> None:
    repeated = '<OrgnlTxRef><Amt><InstdAmt Ccy="CNY">10.5000</InstdAmt></Amt></OrgnlTxRef>'
    totals = "<OrgnlNbOfTxs>02</OrgnlNbOfTxs><OrgnlCtrlSum>+30.5</OrgnlCtrlSum>"
    told = report(line("L1", "ACSC", repeated), group=totals)
    assert disagreement(told, SENT) is other_payment_than_sent(told, SENT, "61") is None
    other = other_payment_than_sent(report(line("L1", "ACSC", repeated.replace("10.5", "10.6"))), SENT, "61")
    assert other is not None


def test_a_line_that_names_no_line_of_ours_keeps_none_from_being_read() -> None:
    told = report(line(""), line("L2", "ACSC"))
    assert fates(told) == [None, Fate.EXECUTED]
    wrong = disagreement(told, SENT)
    assert wrong is not None
    assert (wrong.code, wrong.message[-24:]) == ("other_line", "without an end-to-end id")


# ---- how it is written -----------------------------------------------------------------------------------------------


PLAIN = camt053(statement(OPEN, CLOSE, entry(details=paid("E1"))))
XSI = b'<Document xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:x camt.xsd" '


@pytest.mark.parametrize(
    "xml",
    [
        b"\xef\xbb\xbf" + PLAIN,
        PLAIN.decode().replace("UTF-8", "UTF-16").encode("utf-16"),
        PLAIN.decode().replace("UTF-8", "ISO-8859-15").encode("iso-8859-15"),
        PLAIN.replace(b"><", b">\r\n\t<"),
        PLAIN.replace(b"<Document ", XSI),
        re.sub(rb"<(/?)(?=\w)", rb"<\1bank:", PLAIN).replace(b"xmlns=", b"xmlns:bank="),
        PLAIN.replace(b"<GrpHdr>", b"<!-- made by --><?stamp 7?><GrpHdr>").replace(b"10.00</A", b"10<!-- x -->.00</A"),
        PLAIN.replace(b"10.00</Amt>", b"<![CDATA[10.00]]></Amt>"),
        PLAIN.replace(b"10.00</Amt>", b"\n  10.00\n</Amt>"),
        PLAIN.replace(b"E1", b"&#69;&#x31;"),
    ],
)  # fmt: skip
def test_however_a_file_is_written_it_says_the_same(xml: bytes) -> None:
    assert [told(one) for one in only(xml).entries] == [("R1", "E1", 1_000)]
    assert only(xml) == only(PLAIN)


# ---- reports of the day so far ---------------------------------------------------------------------------------------


def camt052(*entries: str, message: str = "M1", version: int = 2, pages: str = "") -> bytes:
    xml = (
        f'<Document xmlns="{NS}camt.052.001.{version:02d}"><BkToCstmrAcctRpt><GrpHdr><MsgId>{message}</MsgId>'
        f"<CreDtTm>{DAY}T10:00:00</CreDtTm>{pages}</GrpHdr><Rpt><Id>R-{message}</Id><CreDtTm>{DAY}T10:00:00</CreDtTm>"
        f"<Acct><Id><IBAN>NL56AGDH9619008421</IBAN></Id></Acct>{balance('ITBD', '0.00')}{''.join(entries)}</Rpt>"
        "</BkToCstmrAcctRpt></Document>"
    ).encode()
    conforms(xml, "camt.052", version)
    return xml


@pytest.mark.parametrize("version", range(2, 13))
def test_a_report_of_every_version_tells_what_was_booked_so_far(version: int) -> None:
    pending = entry("7.00", refs=("", "R2"), status="PDNG", version=version)
    (found,) = read_camt052(
        camt052(entry(details=paid("E1", "10.00", version=version), version=version), pending, version=version)
    )
    assert (told(found), found.account, found.is_return) == (("R1", "E1", 1_000), "NL56AGDH9619008421", False)
    with pytest.raises(BadStatement, match=r"not a camt\.052"):
        read_camt052(PLAIN)
    with pytest.raises(BadStatement, match=r"not a camt\.05[34]"):
        read_camt054(camt052(entry(version=version), version=version))


def test_a_later_report_of_the_day_tells_of_the_same_bookings() -> None:
    def named(xml: bytes) -> list[tuple[str, str]]:
        return [(one.booking, one.notice) for one in read_camt052(xml)]

    one, two = entry(details=paid("E1")), entry(details=paid("E2"))
    first, second = named(camt052(one)), named(camt052(one, one, two, message="M2"))
    assert (first[0], len(set(second))) == (second[0], 3), "two alike in one report are two"
    (in_notice,) = read_camt054(camt054(one))
    assert in_notice.booking == first[0][0]
    assert in_notice.notice != first[0][1], "what a notification told of before is for a person"


def test_an_entry_of_a_report_that_no_other_report_can_be_known_by_is_odd() -> None:
    odd: list[BadStatement] = []
    xml = camt052(entry(refs=("1", "")), entry(), entry(refs=("", "NONREF")))
    assert [one.entry_ref for one in read_camt052(xml, odd=odd)] == ["R1"]
    assert [error.code for error in odd] == ["no_reference"] * 2
    with pytest.raises(BadStatement):
        read_camt052(xml)


def test_a_setting_says_in_which_message_a_bank_tells_of_bookings() -> None:
    given = {"base_url": "https://bank.example", "token": "t", "key_id": "k", "private_key": "p", "bank_key_id": "b",
             "bank_public_key": "q", "bic": "SBXBCNBJXXX"}  # fmt: skip
    assert read_settings(given).notices == "camt.054"
    assert read_settings({**given, "notices": "camt.052"}).notices == "camt.052"
    for wrong in ("camt.053", "", None, ["camt.052"]):
        with pytest.raises(ValueError, match=r"camt\.054, camt\.052"):
            read_settings({**given, "notices": wrong})
    assert KINDS["camt.052"] is Kind.NOTICE
    assert [told(one) for one in read_notice("camt.052", camt052(entry()))] == [("R1", None, 1_000)]
