"""What the bank takes in and what it refuses at the door: sandbox.bank.instructions and .schema."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiso20022.pain import pain_001_001_09 as pain001

from sandbox.bank.errors import FileRefused
from sandbox.bank.instructions import read_order
from sandbox.bank.money import NotAnAmount, to_minor, to_text
from sandbox.bank.schema import MAX_BYTES, check, parse_xml
from tests.sandbox.bank.bank_client import BIC, Pay, order

GOOD = order("M-1", "6200000000000000018", [Pay("E-1", "60.05", "6200000000000000026"), Pay("E-2", "0.95", "X")])


def refusal(raw: bytes) -> FileRefused:
    with pytest.raises(FileRefused) as caught:
        read_order(raw)
    return caught.value


def changed(old: str, new: str, times: int = 1) -> bytes:
    """Return the good order with a text replaced, which must be there."""
    text = GOOD.decode()
    assert old in text
    return text.replace(old, new, times).encode()


def test_a_good_order_is_read_line_by_line() -> None:
    read = read_order(GOOD)
    assert (read.message_id, read.line_count, read.control_sum) == ("M-1", 2, "61.00")
    assert [(line.end_to_end_id, line.amount_minor, line.creditor_account) for line in read.lines] == [
        ("E-1", 6005, "6200000000000000026"),
        ("E-2", 95, "X"),
    ]
    assert {line.debtor_account for line in read.lines} == {"6200000000000000018"}
    assert read.lines[0].creditor_name == "张三小吃店"


@pytest.mark.parametrize(
    ("raw", "code", "words"),
    [
        pytest.param(b"", "not_xml", "no element", id="empty"),
        pytest.param(b"not xml", "not_xml", "well-formed", id="no xml"),
        pytest.param(GOOD[:-20], "not_xml", "well-formed", id="cut off"),
        pytest.param(b"\xff\xfe" + GOOD, "not_xml", "well-formed", id="wrong encoding"),
        pytest.param(b'<?xml version="1.0" encoding="gb18030"?><a/>', "not_xml", "encoding", id="multi-byte encoding"),
        pytest.param(b"<!DOCTYPE x><Document/>", "dtd_forbidden", "DTD", id="bare doctype"),
        pytest.param(
            b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Document>&e;</Document>',
            "dtd_forbidden",
            "DTD",
            id="external entity",
        ),
        pytest.param(
            b'<!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">]><Document>&b;</Document>',
            "dtd_forbidden",
            "DTD",
            id="billion laughs",
        ),
        pytest.param(b"<a>" * 100_000 + b"</a>" * 100_000, "too_deep", "100", id="deep nesting"),
        pytest.param(b" " * (MAX_BYTES + 1), "file_too_large", str(MAX_BYTES), id="too large"),
        pytest.param(changed("pain.001.001.09", "pain.001.001.03"), "wrong_namespace", "pain.001.001.03", id="older"),
        pytest.param(changed("urn:iso:std", "urn:nobody"), "wrong_namespace", "urn:nobody", id="stranger"),
        pytest.param(changed("<NbOfTxs>2<", "<NbOfTxs>3<"), "count_differs", "says 3, there are 2", id="count"),
        pytest.param(changed("<CtrlSum>61.00<", "<CtrlSum>61.01<"), "control_sum_differs", "61.00", id="control sum"),
        pytest.param(changed(">60.05<", ">-60.05<"), "not_schema_conform", "less than 0", id="negative"),
        pytest.param(changed(">60.05<", ">60.050<"), "amount_not_allowed", "3 decimals, CNY has 2", id="decimals"),
        pytest.param(changed(">60.05<", ">6.005E1<"), "not_schema_conform", "decimal number", id="exponent"),
        pytest.param(changed(">60.05<", ">NaN<"), "not_schema_conform", "decimal number", id="not a number"),
        pytest.param(changed('"CNY"', '"JPY"'), "amount_not_allowed", "2 decimals, JPY has 0", id="decimals of yen"),
        pytest.param(changed('"CNY"', '"QQQ"'), "amount_not_allowed", "ISO 4217", id="no currency"),
        pytest.param(changed('"CNY"', '"XAU"'), "amount_not_allowed", "no minor unit", id="gold"),
        pytest.param(changed('"CNY"', '"yuan"'), "not_schema_conform", "@Ccy", id="currency form"),
        pytest.param(changed(">TRF<", ">CHK<"), "method_not_offered", "CHK", id="cheque"),
        pytest.param(changed(">TRF<", ">ABC<"), "not_schema_conform", "code list", id="no such method"),
        pytest.param(changed("<MsgId>M-1</MsgId>", ""), "not_schema_conform", "MsgId is missing", id="no MsgId"),
        pytest.param(changed(">M-1<", f">{'M' * 36}<"), "not_schema_conform", "36 characters", id="MsgId too long"),
        pytest.param(changed(">M-1<", "><"), "not_schema_conform", "0 characters", id="MsgId empty"),
        pytest.param(changed(">E-1<", f">{'E' * 36}<"), "not_schema_conform", "EndToEndId", id="EndToEndId too long"),
        pytest.param(changed("2010-12-01T09:00:00Z", "yesterday"), "not_schema_conform", "DateTime", id="no time"),
        pytest.param(changed(">2010-12-01<", ">2010-02-30<"), "not_schema_conform", "Date", id="no such day"),
        pytest.param(changed(BIC, "sbx"), "not_schema_conform", "BICFI", id="BIC form"),
        pytest.param(changed("<PmtMtd>TRF</PmtMtd>", ""), "not_schema_conform", "PmtMtd is missing", id="no method"),
        pytest.param(changed("</PmtInfId>", "</PmtInfId><Bonus>1</Bonus>"), "not_schema_conform", "Bonus", id="extra"),
        pytest.param(changed("</PmtInfId>", "</PmtInfId>!"), "not_schema_conform", "text between", id="loose text"),
        pytest.param(changed("<PmtInfId>", '<PmtInfId a="b">'), "not_schema_conform", "attribute a", id="attribute"),
        pytest.param(
            changed("<PmtMtd>", '<x xmlns="urn:other"/><PmtMtd>'), "not_schema_conform", "urn:other", id="foreign"
        ),
        pytest.param(
            changed("<Othr><Id>X</Id></Othr>", "<IBAN>DE12</IBAN><Othr><Id>X</Id></Othr>"),
            "not_schema_conform",
            "IBAN",
            id="two branches",
        ),
        pytest.param(changed("<Othr><Id>X</Id></Othr>", ""), "not_schema_conform", "exactly one of", id="no branch"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_words(raw: bytes, code: str, words: str) -> None:
    refused = refusal(raw)
    assert (refused.status, refused.code) == (400, code)
    assert words in refused.message


def test_elements_out_of_order_are_refused_though_a_lenient_reader_would_take_them() -> None:
    text = GOOD.decode()
    swapped = text.replace("<NbOfTxs>2</NbOfTxs>", "").replace("<MsgId>", "<NbOfTxs>2</NbOfTxs><MsgId>", 1)
    assert "missing" in refusal(swapped.encode()).message


def test_totals_of_a_block_are_checked_besides_those_of_the_file() -> None:
    right = changed("<ReqdExctnDt>", "<NbOfTxs>2</NbOfTxs><CtrlSum>61</CtrlSum><ReqdExctnDt>")
    assert read_order(right).line_count == 2
    assert refusal(right.replace(b"<CtrlSum>61<", b"<CtrlSum>60<")).code == "control_sum_differs"


def test_an_order_without_control_sum_is_taken_since_the_schema_leaves_it_out() -> None:
    assert read_order(changed("<CtrlSum>61.00</CtrlSum>", "")).control_sum is None


def test_supplementary_data_may_hold_anything() -> None:
    extra = '<SplmtryData><Envlp><any xmlns="urn:x">1</any></Envlp></SplmtryData></CdtTrfTxInf>'
    assert read_order(changed("</CdtTrfTxInf>", extra)).line_count == 2


@pytest.mark.parametrize("word", ["MsgId", "CreDtTm", "InitgPty", "PmtInfId", "Dbtr", "DbtrAcct", "DbtrAgt", "Amt"])
def test_each_mandatory_element_is_missed(word: str) -> None:
    """Remove one element after the other; a check that never bites would let one through."""
    root = parse_xml(GOOD)
    tag = f"{{{pain001.Document.Meta.namespace}}}{word}"
    holder = next(parent for parent in root.iter() if parent.find(tag) is not None)
    found = holder.find(tag)
    assert found is not None
    check(root, pain001.Document)
    holder.remove(found)
    with pytest.raises(FileRefused, match=f"{word} is missing"):
        check(root, pain001.Document)


@given(minor=st.integers(0, 10**15), currency=st.sampled_from(["CNY", "JPY", "KWD"]))
def test_amounts_survive_being_written_and_read(minor: int, currency: str) -> None:
    text = to_text(minor, currency)
    assert to_minor(text, currency) == minor
    digits = {"CNY": 2, "JPY": 0, "KWD": 3}[currency]
    assert Decimal(text) == Decimal(minor).scaleb(-digits)


@pytest.mark.parametrize("text", ["", ".", "1,00", "-1", "1e3", "0x10", "1.001", "１", "1 0"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(NotAnAmount):
        to_minor(text, "CNY")


@pytest.mark.parametrize(("text", "minor"), [("1", 100), ("+1.5", 150), ("1.", 100), (".05", 5), (" 7 ", 700)])
def test_every_spelling_the_schema_allows_is_understood(text: str, minor: int) -> None:
    assert to_minor(text, "CNY") == minor
