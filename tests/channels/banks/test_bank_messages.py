"""ISO 20022 out and in: exactness, completeness, and what is refused."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiso20022.pain.pain_001_001_09 import pain_001_001_09 as schema
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

from channels.banks import BadStatement, Fate, Instruction, LineStatus
from channels.banks.iso20022 import Batch, pain001, read_camt053, read_camt054, read_pain002
from channels.banks.iso20022.pain001 import AT_A_TIME, written
from channels.banks.iso20022.pain002 import PAIN_002
from channels.banks.iso20022.xml import document
from kernel.errors import Rejected
from kernel.money import Money
from tests.channels.banks.bank_files import (
    NS,
    balance,
    camt053,
    camt054,
    entry,
    pain002,
    report_block,
    report_line,
    statement,
)
from tests.iso_schemas import departures

LINE = Instruction("ins-1", "6200000000000000018", "王小明 & 家人 <食堂>", Money(12345, "CNY"), "Settlement 2026-11-24")
BATCH = Batch("BAT-1", "6200000000000000026", "Sluice 汇闸", date(2026, 11, 24), "SBXBCNBJXXX", [LINE])


def refusal(read: object, xml: bytes) -> str:
    with pytest.raises(BadStatement) as caught:
        read(xml)  # type: ignore[operator]
    assert caught.value.message
    return caught.value.code


# ---- out -------------------------------------------------------------------------------------------------------------


def as_others_read_it(xml: bytes) -> schema.CustomerCreditTransferInitiationV09:
    """Read a pain.001 by its schema, and with an independent library."""
    assert departures(xml) == []
    strict = ParserConfig(fail_on_unknown_properties=True, fail_on_unknown_attributes=True)
    return XmlParser(config=strict).from_bytes(xml, schema.Document).cstmr_cdt_trf_initn


def test_an_independent_reader_finds_in_the_instruction_file_what_was_put_in() -> None:
    other = replace(LINE, end_to_end_id="ins-2", creditor_account="62-9", amount=Money(5, "CNY"), remittance="")
    read = as_others_read_it(pain001(replace(BATCH, instructions=[LINE, other])))
    assert read.grp_hdr.msg_id == "BAT-1"
    assert (read.grp_hdr.nb_of_txs, read.grp_hdr.ctrl_sum) == ("2", Decimal("123.50"))
    (block,) = read.pmt_inf
    assert (block.pmt_mtd.value, str(block.reqd_exctn_dt.dt)) == ("TRF", "2026-11-24")
    assert block.dbtr_acct.id.othr.id == "6200000000000000026"
    assert block.dbtr_agt.fin_instn_id.bicfi == "SBXBCNBJXXX"
    first, second = block.cdt_trf_tx_inf
    assert first.pmt_id.end_to_end_id == "ins-1"
    assert (first.amt.instd_amt.value, first.amt.instd_amt.ccy) == (Decimal("123.45"), "CNY")
    assert first.cdtr.nm == "王小明 & 家人 <食堂>"
    assert first.cdtr_acct.id.othr.id == "6200000000000000018"
    assert first.rmt_inf.ustrd == ["Settlement 2026-11-24"]
    assert second.amt.instd_amt.value == Decimal("0.05")
    assert second.rmt_inf is None


def test_the_same_batch_always_gives_the_same_bytes() -> None:
    assert pain001(BATCH) == pain001(replace(BATCH))


def test_a_long_batch_is_written_in_pieces_that_are_the_file() -> None:
    count = 2 * AT_A_TIME + 1
    lines = [replace(LINE, end_to_end_id=f"ins-{n}", amount=Money(n + 1, "CNY")) for n in range(count)]
    pieces = list(written(replace(BATCH, instructions=lines)))
    assert [piece.count(b"<CdtTrfTxInf>") for piece in pieces] == [0, AT_A_TIME, AT_A_TIME, 1]
    assert b"".join(pieces) == pain001(replace(BATCH, instructions=lines))
    (block,) = as_others_read_it(b"".join(pieces)).pmt_inf
    assert (block.nb_of_txs, block.ctrl_sum) == (str(count), Decimal(count * (count + 1) // 2) / 100)
    wrong = replace(BATCH, instructions=[*lines, replace(LINE, amount=Money(0, "CNY"))])
    with pytest.raises(Rejected):
        next(iter(written(wrong)))


@pytest.mark.parametrize(("currency", "minor", "text"), [("JPY", 7, "7"), ("KWD", 7, "0.007"), ("CNY", 7, "0.07")])
def test_amounts_have_the_decimals_of_their_currency(currency: str, minor: int, text: str) -> None:
    xml = pain001(replace(BATCH, instructions=[replace(LINE, amount=Money(minor, currency))])).decode()
    assert f'<InstdAmt Ccy="{currency}">{text}</InstdAmt>' in xml
    assert f"<CtrlSum>{text}</CtrlSum>" in xml


@given(st.lists(st.integers(1, 10**13), min_size=1, max_size=20))
def test_the_control_sum_is_exactly_the_sum_of_the_lines(amounts: list[int]) -> None:
    lines = [replace(LINE, end_to_end_id=f"i{n}", amount=Money(minor, "CNY")) for n, minor in enumerate(amounts)]
    read = as_others_read_it(pain001(replace(BATCH, instructions=lines)))
    assert read.grp_hdr.ctrl_sum == sum(t.amt.instd_amt.value for t in read.pmt_inf[0].cdt_trf_tx_inf)
    assert read.grp_hdr.ctrl_sum * 100 == sum(amounts)


@pytest.mark.parametrize(
    "batch",
    [
        replace(BATCH, instructions=[]),
        replace(BATCH, instructions=[LINE, LINE]),
        replace(BATCH, message_id="x" * 36),
        replace(BATCH, bank_bic="NOPE"),
        replace(BATCH, debtor_name=" "),
        replace(BATCH, instructions=[replace(LINE, amount=Money(0, "CNY"))]),
        replace(BATCH, instructions=[replace(LINE, amount=Money(-1, "CNY"))]),
        replace(BATCH, instructions=[LINE, replace(LINE, end_to_end_id="b", amount=Money(1, "USD"))]),
        replace(BATCH, instructions=[replace(LINE, creditor_name="名" * 141)]),
        replace(BATCH, instructions=[replace(LINE, creditor_name="a\x00b")]),
        replace(BATCH, instructions=[replace(LINE, end_to_end_id="NOTPROVIDED")]),
        replace(BATCH, instructions=[replace(LINE, creditor_account="</Id>")]),
    ],
)
def test_what_the_format_cannot_say_is_not_sent(batch: Batch) -> None:
    with pytest.raises(Rejected) as caught:
        pain001(batch)
    assert caught.value.code == "bad_instruction"


# ---- status reports --------------------------------------------------------------------------------------------------


def test_a_long_report_is_read_line_by_line_and_its_tree_keeps_none() -> None:
    xml = pain002("PART", *(report_line(f"l{n}", "RJCT" if n % 3 else "ACSC", "AC04" * (n % 3 > 0)) for n in range(90)))
    given: list[tuple[str, str | None]] = []

    def take(above: Element, line: Element) -> None:
        given.append((above.tag, line.findtext("OrgnlEndToEndId")))

    root = document(xml, PAIN_002, {"TxInfAndSts": take})
    assert given == [("OrgnlPmtInfAndSts", f"l{n}") for n in range(90)]
    assert not list(root.iter("TxInfAndSts"))
    assert [line.end_to_end_id for line in read_pain002(xml).lines] == [f"l{n}" for n in range(90)]


def test_what_a_long_report_says_of_a_line_is_found_without_looking_at_every_other() -> None:
    class Watched(tuple[LineStatus, ...]):
        read = 0

        def __iter__(self) -> Iterator[LineStatus]:
            Watched.read += 1
            return super().__iter__()

    report = read_pain002(pain002("ACSC", *(report_line(f"l{n}", "ACSC") for n in range(50))))
    watched = replace(report, lines=Watched(report.lines))
    said = [watched.fate_of(f"l{n}") for n in range(60)]
    assert [one.fate for one in said if one is not None] == [Fate.EXECUTED] * 60
    assert Watched.read <= 2


def test_a_partial_report_tells_the_fate_of_each_line() -> None:
    report = read_pain002(
        pain002("PART", report_line("a", "ACSC"), report_line("b", "RJCT", "AC04|the reason"), report_line("c", "PDNG"))
    )
    assert (report.original_message_id, report.group_status) == ("B1", "PART")
    fates = {ident: status.fate for ident in "abc" if (status := report.fate_of(ident))}
    assert fates == {"a": Fate.EXECUTED, "b": Fate.REFUSED, "c": Fate.PENDING}
    refused = report.fate_of("b")
    assert refused is not None
    assert (refused.reason, refused.reason_text) == ("AC04", "the reason")
    assert report.fate_of("d") is None


def test_a_status_nobody_agreed_on_ends_nothing() -> None:
    (line,) = read_pain002(pain002("ACCP", report_line("a", "XYZ1"))).lines
    assert line.fate is Fate.PENDING


def fate(report: bytes, line: str = "a") -> Fate | None:
    said = read_pain002(report).fate_of(line)
    return None if said is None else said.fate


HAS_IT = ["AM05", "DUPL", "DU01", "DU02", "DU03", "DU04", "DU05", "DU99", "RF01", "AB12", "DS15", "ALAC", "APAR"]


@pytest.mark.parametrize("code", HAS_IT)
@pytest.mark.parametrize("around", [(), ("NARR|see below",), ("AC04",), ("own:X1", "NARR")])
def test_a_refusal_that_says_the_bank_has_it_already_decides_nothing(code: str, around: tuple[str, ...]) -> None:
    for reasons in ((*around, code), (code, *around)):
        assert fate(pain002("PART", report_line("a", "RJCT", *reasons))) is Fate.IN_DOUBT
        assert fate(pain002("RJCT", reason=reasons)) is Fate.IN_DOUBT
        assert fate(pain002("ACCP", blocks=(report_block(status="RJCT", reasons=reasons),))) is Fate.IN_DOUBT
        above = report_block(report_line("a", "RJCT", "AC04"), status="RJCT", reasons=reasons)
        assert fate(pain002(None, blocks=(above,))) is Fate.IN_DOUBT
        assert fate(pain002("RJCT", report_line("a", "RJCT"), reason=reasons)) is Fate.IN_DOUBT


@pytest.mark.parametrize("reasons", [("NARR|sent before, see our letter",), ("own:DUPLICATE",), ("own:X1", "NARR")])
def test_a_refusal_in_words_alone_is_for_a_person_to_read(reasons: tuple[str, ...]) -> None:
    assert fate(pain002("PART", report_line("a", "RJCT", *reasons))) is Fate.IN_DOUBT
    assert fate(pain002("PART", report_line("a", "RJCT", *reasons, "AC04"))) is Fate.REFUSED
    assert fate(pain002("PART", report_line("a", "RJCT", "AC04", *reasons))) is Fate.REFUSED


def test_a_refusal_without_a_reason_is_one() -> None:
    assert fate(pain002("PART", report_line("a", "RJCT"))) is Fate.REFUSED


def test_a_payment_informations_status_is_that_of_every_line_it_does_not_name() -> None:
    for group in (None, "ACCP", "ACTC", "PART", "RJCT"):
        assert fate(pain002(group, blocks=(report_block(status="RJCT", reasons=("AC01",)),))) is Fate.REFUSED
    for group in (None, "ACCP", "ACSC"):
        assert fate(pain002(group, blocks=(report_block(status="ACSC"),))) is Fate.EXECUTED
    for status in ("ACCP", "ACSP", "PDNG", "PART"):
        assert fate(pain002("ACCP", blocks=(report_block(status=status),))) is None
    part = report_block(report_line("a", "RJCT", "AC04"), report_line("b", "ACSC"), status="PART")
    assert [fate(pain002("PART", blocks=(part,)), line) for line in "abc"] == [Fate.REFUSED, Fate.EXECUTED, None]
    block = report_block(status="RJCT", reasons=("AC01|no account",))
    said = read_pain002(pain002("ACCP", blocks=(block,))).fate_of("a")
    assert said is not None
    assert (said.reason, said.reason_text) == ("AC01", "no account")


def test_words_that_contradict_each_other_decide_nothing() -> None:
    refused, paid = report_line("a", "RJCT", "AC04"), report_line("a", "ACSC")
    under_way, other = report_line("a", "ACSP"), report_line("b", "ACSC")
    block = report_block
    for report in (
        pain002("PART", refused, paid),
        pain002("PART", paid, refused),
        pain002("RJCT", paid, reason="AC04"),
        pain002("ACSC", refused),
        pain002("RJCT", under_way, reason="AC04"),
        pain002("ACCP", blocks=(block(paid, status="RJCT", reasons=("AC04",)),)),
        pain002("ACSC", blocks=(block(status="RJCT", reasons=("AC04",)),)),
        pain002("RJCT", blocks=(block(status="ACCP"),), reason="AC04"),
        pain002("ACCP", blocks=(block(status="ACSC"), block(status="RJCT", reasons=("AC04",)))),
        pain002(None, blocks=(block(other, status="RJCT", reasons=("AC04",)),)),
        pain002("ACCP", blocks=(block(status="RJCT", reasons=("AC04",), ident="B2"),)),
        pain002("PART", report_line("a", "ACSC", "DU04")),
    ):
        assert fate(report) is Fate.IN_DOUBT, report


def test_a_batch_refused_as_a_whole_refuses_its_lines() -> None:
    line = read_pain002(pain002("RJCT", reason="AC01")).fate_of("a")
    assert line is not None
    assert (line.fate, line.reason) == (Fate.REFUSED, "AC01")


def test_a_report_on_another_kind_of_message_is_refused() -> None:
    assert refusal(read_pain002, pain002("ACSC", name="pain.008.001.08")) == "other_message"


# ---- statements ------------------------------------------------------------------------------------------------------

GOOD = camt053(
    statement(
        "A1",
        "100.00",
        "150.50",
        entry("R1", "70.50", credit=True, end_to_end_id="WX1900000001" + "20261124"),
        entry("R2", "20.00", credit=False, end_to_end_id="ins-1"),
    ),
    statement("A2", "0.00", "0.00"),
)


def test_a_statement_is_read_with_signs_references_and_parties() -> None:
    first, second = read_camt053(GOOD)
    assert (first.account, first.business_date, second.account) == ("A1", date(2026, 11, 24), "A2")
    assert (first.opening, first.closing, first.gap) == (Money(10000, "CNY"), Money(15050, "CNY"), Money(0, "CNY"))
    deposit, payout = first.entries
    assert (deposit.amount.minor, payout.amount.minor) == (7050, -2000)
    assert (deposit.entry_ref, deposit.end_to_end_id) == ("R1", "WX190000000120261124")
    assert (payout.counterparty_account, payout.counterparty_name) == ("62001", "对方 & Co")
    assert payout.remittance == "for rent"
    assert second.entries == ()


def test_an_overdrawn_account_opens_below_zero() -> None:
    overdrawn = statement("A1", "1.00", "4.00", entry("R1", "5.00", credit=True)).replace("CRDT", "DBIT", 1)
    (read,) = read_camt053(camt053(overdrawn))
    assert read.opening == Money(-100, "CNY")


def test_a_notification_is_read_like_a_statement_without_balances() -> None:
    (found,) = read_camt054(camt054("A1", entry("R1", "1.00", credit=True, end_to_end_id="E")))
    assert (found.account, found.amount, found.booked_on) == ("A1", Money(100, "CNY"), date(2026, 11, 24))


@pytest.mark.parametrize("status", ["BOKD", "book", "X" * 10])
def test_a_status_of_an_entry_that_nobody_knows_is_not_passed_over(status: str) -> None:
    good = entry("R1", "1.00", credit=True)
    odd: list[BadStatement] = []
    (found,) = read_camt054(camt054("A1", entry("R2", "2.00", credit=True, status=status), good), odd=odd)
    assert (found.entry_ref, [error.code for error in odd]) == ("R1", ["malformed"])
    assert "R2" in odd[0].message, "the bank can be asked about it"


@pytest.mark.parametrize("status", ["PDNG", "INFO", "FUTR"])
def test_only_booked_entries_are_money(status: str) -> None:
    assert read_camt054(camt054("A1", entry("R1", "1.00", credit=True, status=status))) == []


def test_nothing_is_read_of_a_text_that_has_elements_in_it_or_is_longer_than_any_text_of_the_message() -> None:
    for spoilt in (
        entry("R1", "7<X/>0.00", credit=True),
        entry("R1", "70.00", credit=True, end_to_end_id="E<X/>2"),
        entry("R1", "70.00", credit=True, end_to_end_id="E" * 501),
        entry("R1" * 251, "70.00", credit=True),
    ):
        odd: list[BadStatement] = []
        (found,) = read_camt054(camt054("A1", spoilt, entry("R2", "1.00", credit=True)), odd=odd)
        assert (found.entry_ref, [error.code for error in odd]) == ("R2", ["malformed"])


def test_an_entry_without_a_real_end_to_end_id_has_none() -> None:
    (found,) = read_camt054(camt054("A1", entry("R1", "1.00", credit=True, end_to_end_id="NOTPROVIDED")))
    assert found.end_to_end_id is None


def test_a_returned_payout_says_why_it_came_back() -> None:
    back = entry("R1", "1.00", credit=True, end_to_end_id="E", extra="<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>")
    (found,) = read_camt054(camt054("A1", back))
    assert found.return_reason == "AC04"


def test_entries_that_do_not_lead_to_the_closing_balance_refuse_the_file() -> None:
    xml = camt053(statement("A2", "0.00", "0.00"), statement("A1", "0.00", "5.00", entry("R1", "4.99", credit=True)))
    assert refusal(read_camt053, xml) == "totals_differ"
    _, gapped = read_camt053(xml, allow_gap=True)
    assert gapped.gap == Money(1, "CNY")


def test_a_batched_entry_comes_out_as_its_transactions_where_they_add_up() -> None:
    def part(ident: str, amount: str) -> str:
        return (
            f"<TxDtls><Refs><EndToEndId>{ident}</EndToEndId></Refs>"
            f'<Amt Ccy="CNY">{amount}</Amt><CdtDbtInd>DBIT</CdtDbtInd></TxDtls>'
        )

    batched = entry("R1", "3.00", credit=False)
    start, end = batched.index("<TxDtls>"), batched.index("</NtryDtls>")
    whole = batched[:start] + part("a", "1.00") + part("b", "2.00") + batched[end:]
    entries = read_camt054(camt054("A1", whole))
    assert [(e.end_to_end_id, e.amount.minor, e.entry_ref) for e in entries] == [
        ("a", -100, "R1/1"),
        ("b", -200, "R1/2"),
    ]
    short = batched[:start] + part("a", "1.00") + part("b", "1.99") + batched[end:]
    (one,) = read_camt054(camt054("A1", short))
    assert (one.amount.minor, one.end_to_end_id, one.entry_ref) == (-300, None, "R1"), "it is whole and nobody's"


def test_a_batchs_transactions_go_the_entrys_way_and_may_name_their_amounts_as_details() -> None:
    """In this version of the message a transaction need say neither its direction nor its amount once more."""
    batched = entry("R1", "3.00", credit=False)
    start, end = batched.index("<TxDtls>"), batched.index("</NtryDtls>")

    def read(*details: str) -> list[tuple[str | None, int, str]]:
        parts = "".join(
            f"<TxDtls><Refs><EndToEndId>{n}</EndToEndId></Refs>{one}</TxDtls>" for n, one in enumerate(details)
        )
        found = read_camt054(camt054("A1", batched[:start] + parts + batched[end:]))
        return [(one.end_to_end_id, one.amount.minor, one.entry_ref) for one in found]

    bare, detailed = '<Amt Ccy="CNY">1.00</Amt>', '<AmtDtls><TxAmt><Amt Ccy="CNY">2.00</Amt></TxAmt></AmtDtls>'
    assert read(bare, detailed) == [("0", -100, "R1/1"), ("1", -200, "R1/2")]
    back = '<Amt Ccy="CNY">4.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>', f"{bare}<CdtDbtInd>CRDT</CdtDbtInd>"
    assert read(*back) == [("0", -400, "R1/1"), ("1", 100, "R1/2")]
    assert read(bare, "") == [(None, -300, "R1")], "one that says no amount leaves the entry whole"


@pytest.mark.parametrize("shown", [0, 1])
def test_an_entry_of_which_not_all_transactions_are_shown_is_nobodys_in_particular(shown: int) -> None:
    """It would go whole to whoever is shown of it."""
    whole = entry("R1", "3.00", credit=True, end_to_end_id="E")
    start, end = whole.index("<TxDtls>"), whole.index("</NtryDtls>")
    said = "<Btch><NbOfTxs>3</NbOfTxs></Btch>" + whole[start:end] * shown
    (found,) = read_camt054(camt054("A1", whole[:start] + said + whole[end:]))
    assert (found.amount.minor, found.end_to_end_id, found.entry_ref) == (300, None, "R1")
    said = "<Btch><NbOfTxs>1</NbOfTxs></Btch>" + whole[start:end]
    (found,) = read_camt054(camt054("A1", whole[:start] + said + whole[end:]))
    assert found.end_to_end_id == "E"


def test_a_notification_that_cannot_be_read_keeps_no_other_of_its_file_from_being_read() -> None:
    xml = camt054("A1", entry("R1", "1.00", credit=True))
    bad = b"<Ntfctn><Id>N0</Id><Acct><Nm>ours</Nm></Acct>" + entry("R0", "5.00", credit=True).encode() + b"</Ntfctn>"
    odd: list[BadStatement] = []
    (found,) = read_camt054(xml.replace(b"<Ntfctn>", bad + b"<Ntfctn>"), odd=odd)
    assert (found.entry_ref, [error.code for error in odd]) == ("R1", ["malformed"])
    assert "N0" in odd[0].message
    assert refusal(read_camt054, xml.replace(b"<Ntfctn>", bad + b"<Ntfctn>")) == "malformed"


@pytest.mark.parametrize(
    ("told", "day"),
    [
        ("<Dt>2026-11-24</Dt>", 24),
        ("<Dt>2026-11-24+08:00</Dt>", 24),
        ("<DtTm>2026-11-24T23:30:00</DtTm>", 24),
        ("<DtTm>2026-11-24T23:30:00.123+08:00</DtTm>", 24),
        ("<DtTm>2026-11-24T23:30:00Z</DtTm>", 25),
        ("<DtTm>2026-11-24T15:59:59Z</DtTm>", 24),
        ("<DtTm>2026-11-24T00:30:00+09:00</DtTm>", 23),
    ],
)
def test_a_moment_is_of_beijings_day(told: str, day: int) -> None:
    xml = camt054("A1", entry("R1", "1.00", credit=True).replace("<Dt>2026-11-24</Dt>", told, 1))
    (found,) = read_camt054(xml)
    assert found.booked_on == date(2026, 11, day)


@pytest.mark.parametrize("name", ["GB18030", "gbk", "GB2312", "UTF-8", "UTF-16"])
def test_files_are_read_in_the_encodings_that_banks_in_china_write(name: str) -> None:
    whole = camt054("A1", entry("R1", "1.00", credit=True)).decode().replace("对方", "财付通")
    (found,) = read_camt054(f"<?xml version='1.0' encoding='{name}' ?>{whole}".encode(name))
    assert found.counterparty_name == "财付通 & Co"
    cut = f'<?xml version="1.0" encoding="{name}"?>{whole}'.encode(name).replace("财".encode(name), b"\xff")
    assert refusal(read_camt054, cut[:-1] if name == "UTF-16" else cut) == "not_xml"


def test_files_of_many_pages_say_which_page_they_are() -> None:
    page = "<MsgPgntn><PgNb>2</PgNb><LastPgInd>false</LastPgInd></MsgPgntn>"
    (read,) = read_camt053(camt053(statement("A1", "0.00", "0.00"), page=page))
    assert (read.page, read.last_page) == (2, False)


@pytest.mark.parametrize(
    ("code", "xml"),
    [
        ("wrong_namespace", camt053(statement("A1", "0.00", "0.00"), namespace=NS + "camt.053.001.01")),
        ("wrong_namespace", camt054("A1")),
        ("wrong_namespace", b"<Document><BkToCstmrStmt/></Document>"),
        ("empty", camt053()),
        ("not_xml", GOOD[:-20]),
        ("not_xml", b""),
        ("not_xml", b"\x00\x01"),
        ("not_xml", GOOD + GOOD),
        ("negative_amount", GOOD.replace(b">70.50<", b">-70.50<")),
        ("bad_amount", GOOD.replace(b">70.50<", b">70.501<")),
        ("bad_amount", GOOD.replace(b">70.50<", b">.<")),
        ("bad_amount", GOOD.replace(b">70.50<", b">7e1<")),
        ("bad_amount", GOOD.replace(b">70.50<", b">NaN<")),
        ("bad_amount", GOOD.replace(b">70.50<", ">７０.50<".encode())),
        ("bad_amount", GOOD.replace(b">70.50<", b"><")),
        ("bad_currency", GOOD.replace(b'Ccy="CNY">70.50', b'Ccy="ZZZ">70.50')),
        ("bad_currency", GOOD.replace(b'Amt Ccy="CNY">70.50', b"Amt>70.50")),
        ("other_currency", GOOD.replace(b'Ccy="CNY">70.50', b'Ccy="USD">70.50')),
        ("malformed", GOOD.replace(b"<CdtDbtInd>CRDT</CdtDbtInd><Sts>", b"<Sts>", 1)),
        ("malformed", GOOD.replace(b"<CdtDbtInd>CRDT</CdtDbtInd><Sts>", b"<CdtDbtInd>IN</CdtDbtInd><Sts>", 1)),
        ("malformed", GOOD.replace(b"<BookgDt><Dt>2026-11-24<", b"<BookgDt><Dt>24.11.2026<")),
        ("malformed", GOOD.replace(b"<BookgDt><Dt>2026-11-24</Dt>", b"<BookgDt><DtTm>9999-12-31T23:00:00Z</DtTm>")),
        ("malformed", GOOD.replace(b"<Acct><Id><Othr><Id>A1</Id></Othr></Id>", b"<Acct>")),
        ("balance_missing", GOOD.replace(balance("OPBD", "100.00").encode(), b"")),
        ("malformed", GOOD.replace(balance("OPBD", "100.00").encode(), balance("OPBD", "100.00").encode() * 2)),
        ("duplicate_statement", camt053(statement("A1", "0.00", "0.00"), statement("A1", "0.00", "0.00"))),
        ("malformed", camt053(statement("A1", "0.00", "0.00")).replace(b"<MsgId>M1</MsgId>", b"")),
        (
            "totals_differ",
            camt053(statement("A1", "0.00", "0.00")).replace(
                b"</Stmt>", b"<TxsSummry><TtlNtries><NbOfNtries>3</NbOfNtries></TtlNtries></TxsSummry></Stmt>"
            ),
        ),
    ],
)
def test_a_damaged_statement_is_refused_whole(code: str, xml: bytes) -> None:
    assert refusal(read_camt053, xml) == code


def test_entities_and_outside_files_are_never_resolved() -> None:
    bomb = b'<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><Document>&b;</Document>'
    outside = b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Document>&x;</Document>'
    harmless = b"<!DOCTYPE Document>" + GOOD.partition(b"?>")[2]
    for xml in (bomb, outside, harmless):
        assert refusal(read_camt053, xml) == "dtd_forbidden"


def test_absurd_nesting_is_refused() -> None:
    deep = GOOD.replace(b"<Ustrd>", b"<Ustrd>" + b"<x>" * 100_000, 1)
    assert refusal(read_camt053, deep) == "too_deep"


def test_a_file_beyond_the_size_limit_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels.banks.iso20022.xml.MAX_BYTES", len(GOOD) - 1)
    assert refusal(read_camt053, GOOD) == "too_big"


@given(st.binary(max_size=60), st.integers(0, len(GOOD) - 1), st.integers(0, 40))
def test_whatever_happens_to_the_bytes_the_answer_is_a_statement_or_a_refusal(noise: bytes, at: int, cut: int) -> None:
    mangled = GOOD[:at] + noise + GOOD[at + cut :]
    try:
        read = read_camt053(mangled)
    except BadStatement:
        return
    assert all(statement.gap.minor == 0 for statement in read)
