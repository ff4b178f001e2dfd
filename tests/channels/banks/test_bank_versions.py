"""Messages of every version that is read: each conforms to its own schema, and all say the same."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from importlib import import_module
from typing import Any

import pytest

from channels.banks import BadStatement, Fate, Instruction
from channels.banks.iso20022 import Batch, pain001, read_camt053, read_camt054, read_pain002
from kernel.errors import Rejected
from kernel.money import Money
from sandbox.bank.schema import check, parse_xml
from tests.channels.banks.bank_files import NS

VERSIONS = {"pain.002": range(3, 15), "camt.053": range(2, 13), "camt.054": range(2, 13)}
EVERY = [(message, version) for message, those in VERSIONS.items() for version in those]


def conforms(xml: bytes, message: str, version: int) -> None:
    """Fail unless a file is what the message's schema says, as another program has it (pyiso20022)."""
    name = f"{message.replace('.', '_')}_001_{version:02d}"
    module: Any = import_module(f"pyiso20022.{message.partition('.')[0]}.{name}")
    check(parse_xml(xml), module.Document)


def pain002(version: int) -> bytes:
    return (
        f'<Document xmlns="{NS}pain.002.001.{version:02d}"><CstmrPmtStsRpt><GrpHdr><MsgId>R1</MsgId>'
        "<CreDtTm>2026-11-24T10:00:00Z</CreDtTm></GrpHdr><OrgnlGrpInfAndSts><OrgnlMsgId>B1</OrgnlMsgId>"
        "<OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId><OrgnlNbOfTxs>2</OrgnlNbOfTxs><OrgnlCtrlSum>30.5</OrgnlCtrlSum>"
        "<GrpSts>PART</GrpSts></OrgnlGrpInfAndSts><OrgnlPmtInfAndSts><OrgnlPmtInfId>B1</OrgnlPmtInfId>"
        "<NbOfTxsPerSts><DtldNbOfTxs>1</DtldNbOfTxs><DtldSts>RJCT</DtldSts></NbOfTxsPerSts>"
        "<TxInfAndSts><OrgnlEndToEndId>L1</OrgnlEndToEndId><TxSts>ACSC</TxSts><AcctSvcrRef>REF</AcctSvcrRef>"
        '<OrgnlTxRef><Amt><InstdAmt Ccy="CNY">10.50</InstdAmt></Amt>'
        "<DbtrAcct><Id><Othr><Id>61</Id></Othr></Id></DbtrAcct><CdtrAcct><Id><Othr><Id>62</Id></Othr></Id></CdtrAcct>"
        "</OrgnlTxRef></TxInfAndSts><TxInfAndSts><OrgnlEndToEndId>L2</OrgnlEndToEndId><TxSts>RJCT</TxSts>"
        "<StsRsnInf><Rsn><Cd>AC04</Cd></Rsn><AddtlInf>closed</AddtlInf></StsRsnInf></TxInfAndSts>"
        "</OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>"
    ).encode()


def entry(version: int) -> str:
    status = "<Sts><Cd>BOOK</Cd></Sts>" if version >= 7 else "<Sts>BOOK</Sts>"
    party = "<Pty><Nm>Payer</Nm></Pty>" if version >= 7 else "<Nm>Payer</Nm>"
    amount = '<Amt Ccy="CNY">10.50</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
    if version == 2:
        amount = '<AmtDtls><TxAmt><Amt Ccy="CNY">10.50</Amt></TxAmt></AmtDtls>'
    return (
        f'<Ntry><NtryRef>1</NtryRef><Amt Ccy="CNY">10.50</Amt><CdtDbtInd>CRDT</CdtDbtInd>{status}'
        "<BookgDt><Dt>2026-11-24</Dt></BookgDt><ValDt><Dt>2026-11-24</Dt></ValDt><AcctSvcrRef>REF</AcctSvcrRef>"
        "<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>RRTN</SubFmlyCd></Fmly></Domn></BkTxCd>"
        "<NtryDtls><TxDtls><Refs><EndToEndId>L1</EndToEndId></Refs>"
        f"{amount}"
        f"<RltdPties><Dbtr>{party}</Dbtr><DbtrAcct><Id><Othr><Id>63</Id></Othr></Id></DbtrAcct></RltdPties>"
        "<RmtInf><Ustrd>rent</Ustrd></RmtInf><RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf></TxDtls></NtryDtls></Ntry>"
    )


def camt(message: str, version: int) -> bytes:
    statement = message == "camt.053"
    root, one = ("BkToCstmrStmt", "Stmt") if statement else ("BkToCstmrDbtCdtNtfctn", "Ntfctn")
    balances = "".join(
        f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
        "<Dt><Dt>2026-11-24</Dt></Dt></Bal>"
        for code, amount in (("OPBD", "1.00"), ("CLBD", "11.50"))
    )
    totals = "<TxsSummry><TtlNtries><NbOfNtries>1</NbOfNtries><Sum>10.5</Sum></TtlNtries></TxsSummry>"
    return (
        f'<Document xmlns="{NS}{message}.001.{version:02d}"><{root}><GrpHdr><MsgId>M1</MsgId>'
        f"<CreDtTm>2026-11-24T10:00:00Z</CreDtTm></GrpHdr><{one}><Id>N1</Id><CreDtTm>2026-11-24T10:00:00Z</CreDtTm>"
        f"<Acct><Id><Othr><Id>61</Id></Othr></Id><Ccy>CNY</Ccy></Acct>{balances if statement else ''}{totals}"
        f"{entry(version)}</{one}></{root}></Document>"
    ).encode()


@pytest.mark.parametrize("version", VERSIONS["pain.002"])
def test_a_report_of_every_version_says_the_same(version: int) -> None:
    xml = pain002(version)
    conforms(xml, "pain.002", version)
    report = read_pain002(xml)
    assert (report.totals.count, report.totals.sum, report.payments[0].totals.by_status) == (2, "30.5", (("RJCT", 1),))
    paid, refused = report.lines
    assert (paid.fate, paid.amount, paid.creditor_account, paid.debtor_account) == (
        Fate.EXECUTED, Money(1_050, "CNY"), "62", "61",
    )  # fmt: skip
    assert (refused.fate, str(refused.reasons[0])) == (Fate.REFUSED, "AC04: closed")


def entries_of(message: str, xml: bytes) -> Iterator[Any]:
    if message == "camt.054":
        yield from read_camt054(xml)
        return
    for statement in read_camt053(xml):
        assert (statement.account, statement.closing, statement.gap.minor) == ("61", Money(1_150, "CNY"), 0)
        yield from statement.entries


@pytest.mark.parametrize("version", VERSIONS["camt.053"])
@pytest.mark.parametrize("message", ["camt.053", "camt.054"])
def test_a_statement_and_a_notice_of_every_version_say_the_same(message: str, version: int) -> None:
    xml = camt(message, version)
    conforms(xml, message, version)
    (told,) = entries_of(message, xml)
    assert (told.account, told.amount, told.booked_on, told.end_to_end_id) == (
        "61", Money(1_050, "CNY"), date(2026, 11, 24), "L1",
    )  # fmt: skip
    assert (told.counterparty_name, told.counterparty_account, told.remittance) == ("Payer", "63", "rent")
    assert (told.return_reason, told.is_return) == ("AC04", True)


@pytest.mark.parametrize(("message", "version"), EVERY)
def test_a_file_is_of_one_version_and_one_message(message: str, version: int) -> None:
    written = pain002(version) if message == "pain.002" else camt(message, version)
    read = {"pain.002": read_pain002, "camt.053": read_camt053, "camt.054": read_camt054}
    for other, reader in read.items():
        if other != message:
            with pytest.raises(BadStatement, match="not a"):
                reader(written)


@pytest.mark.parametrize(("message", "version"), [("pain.002", 2), ("pain.002", 15), ("camt.053", 1), ("camt.054", 13)])
def test_versions_that_nobody_has_looked_at_are_refused(message: str, version: int) -> None:
    written = pain002(version) if message == "pain.002" else camt(message, version)
    reader: Any = {"pain.002": read_pain002, "camt.053": read_camt053, "camt.054": read_camt054}[message]
    with pytest.raises(BadStatement) as refused:
        reader(written)
    assert refused.value.code == "wrong_namespace"


@pytest.mark.parametrize("version", [3, 9])
def test_an_order_is_written_in_the_version_that_the_bank_takes(version: int) -> None:
    name = f"pain.001.001.{version:02d}"
    lines = [Instruction(f"L{n}", "62", "付款 & Co", Money(1_050, "CNY"), "rent") for n in range(2)]
    batch = Batch("B1", "61", "pool", date(2026, 11, 24), "SBXBCNBJXXX", lines, version=name)
    xml = pain001(batch)
    conforms(xml, "pain.001", version)
    assert f"{NS}{name}".encode() in xml
    assert pain001(replace(batch, says_booking=False)) == xml.replace(b"<BtchBookg>false</BtchBookg>", b"")
    with pytest.raises(Rejected):
        pain001(replace(batch, version="pain.001.001.05"))
