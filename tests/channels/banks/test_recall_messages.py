"""Recalls as messages 追回: camt.055, by two independent readers; and camt.029, which says one thing or is refused."""

from dataclasses import replace
from datetime import date, datetime

import pytest
from pyiso20022.camt import camt_055_001_08
from xsdata.formats.dataclass.parsers import XmlParser

from channels.banks import RECALL_REASONS, BadStatement, RecallRequest, RecallVerdict, read_resolution
from channels.banks.iso20022 import camt055
from kernel.clock import BEIJING
from kernel.errors import Rejected
from kernel.money import Money
from sandbox.bank.cancellations import Cancellation, read_upload
from tests.sandbox.bank.bank_client import read

ASKED = RecallRequest(
    "r1-1-261124-0123456789abcdef",
    "stl-1-20261124-citybank-CNY",
    "1-261124-0123456789abcdef",
    Money(3_000, "CNY"),
    date(2026, 11, 25),
    "杭州茶铺有限公司",
    "DUPL",
    "paid <twice> & asked",
    datetime(2026, 11, 24, 9, tzinfo=BEIJING),
)


@pytest.mark.parametrize("note", ["", ASKED.note])
@pytest.mark.parametrize("written_as", [0, 1, 2])
def test_a_recall_is_read_by_others_as_it_was_asked_for(note: str, written_as: int) -> None:
    xml = camt055(replace(ASKED, note=note, written_as=written_as), "SBXBCNBJXXX")
    assert xml == camt055(replace(ASKED, note=note, written_as=written_as), "SBXBCNBJXXX")
    told = read(xml, camt_055_001_08.Document).cstmr_pmt_cxl_req
    (underlying,) = told.undrlyg
    (information,) = underlying.orgnl_pmt_inf_and_cxl
    (payment,) = information.tx_inf
    (why,) = payment.cxl_rsn_inf
    assert {told.assgnmt.id, told.case.id, payment.cxl_id} == {ASKED.id}
    assert told.assgnmt.assgne.agt.fin_instn_id.bicfi == "SBXBCNBJXXX"
    assert {information.orgnl_pmt_inf_id, information.orgnl_grp_inf.orgnl_msg_id} == {ASKED.order_id}
    assert information.orgnl_grp_inf.orgnl_msg_nm_id == ("pain.001.001.03" if written_as == 2 else "pain.001.001.09")
    assert (payment.orgnl_end_to_end_id, str(payment.orgnl_instd_amt.value)) == (ASKED.end_to_end_id, "30.00")
    assert (why.rsn.cd, why.addtl_inf) == ("DUPL", [note] if note else [])
    assert XmlParser().from_bytes(xml, camt_055_001_08.Document).cstmr_pmt_cxl_req == told
    seen = read_upload(xml)
    assert isinstance(seen, Cancellation)
    assert (seen.recall_id, seen.end_to_end_id, seen.amount_minor) == (ASKED.id, ASKED.end_to_end_id, 3_000)


@pytest.mark.parametrize("reason", RECALL_REASONS)
def test_every_reason_can_be_written(reason: str) -> None:
    assert f"<Cd>{reason}</Cd>".encode() in camt055(replace(ASKED, reason=reason), "SBXBCNBJXXX")


@pytest.mark.parametrize(
    "wrong",
    [
        replace(ASKED, id="r" * 36),
        replace(ASKED, end_to_end_id="NOTPROVIDED"),
        replace(ASKED, order_id="with_underscore"),
        replace(ASKED, reason="WHY?"),
        replace(ASKED, note="x" * 106),
        replace(ASKED, asker=""),
        replace(ASKED, created_at=datetime(2026, 11, 24)),
    ],
)
def test_what_the_format_cannot_say_is_not_sent(wrong: RecallRequest) -> None:
    with pytest.raises(Rejected) as refused:
        camt055(wrong, "SBXBCNBJXXX")
    assert refused.value.code == "bad_recall"


def answer(
    status: str = "ACCR",
    conf: str | None = "CNCL",
    *,
    ident: str = ASKED.id,
    reason: str = "",
    payments: int = 1,
    amount: str = "30.00",
    of: str = ASKED.order_id,
    line: str = ASKED.end_to_end_id,
    version: str = "09",
    more: str = "",
) -> bytes:
    """Write a camt.029 by hand, from the definition."""
    case = f"<RslvdCase><Id>{ident}</Id><Cretr><Pty><Nm>x</Nm></Pty></Cretr></RslvdCase>" if ident else ""
    why = f"<CxlStsRsnInf><Rsn><Cd>{reason}</Cd></Rsn></CxlStsRsnInf>" if reason else ""
    says = f"<TxCxlSts>{status}</TxCxlSts>" if status else ""
    payment = (
        f"<TxInfAndSts><OrgnlEndToEndId>{line}</OrgnlEndToEndId>{says}{why}"
        f'<OrgnlInstdAmt Ccy="CNY">{amount}</OrgnlInstdAmt></TxInfAndSts>'
    )
    return (
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.029.001.{version}"><RsltnOfInvstgtn><Assgnmt><Id>C-1'
        "</Id><Assgnr><Pty/></Assgnr><Assgne><Pty/></Assgne><CreDtTm>2026-11-24T10:00:00Z</CreDtTm></Assgnmt>"
        f"{case}<Sts>{f'<Conf>{conf}</Conf>' if conf else ''}</Sts><CxlDtls><OrgnlPmtInfAndSts>{more}"
        f"<OrgnlPmtInfId>{of}</OrgnlPmtInfId><OrgnlGrpInf><OrgnlMsgId>{of}</OrgnlMsgId></OrgnlGrpInf>"
        f"{payment * payments}</OrgnlPmtInfAndSts></CxlDtls></RsltnOfInvstgtn></Document>"
    ).encode()


@pytest.mark.parametrize(
    ("status", "conf", "verdict"),
    [
        ("ACCR", "CNCL", RecallVerdict.ACCEPTED),
        ("ACCR", None, RecallVerdict.ACCEPTED),
        ("", "CNCL", RecallVerdict.ACCEPTED),
        ("RJCR", "RJCR", RecallVerdict.REFUSED),
        ("PDCR", "PDCR", RecallVerdict.PENDING),
        ("PDCR", "FTNA", RecallVerdict.PENDING),  # passed on: no word of its own about the payment
    ],
)
@pytest.mark.parametrize("version", ["03", "09", "13"])
def test_an_answer_has_one_of_three_meanings(
    status: str, conf: str | None, verdict: RecallVerdict, version: str
) -> None:
    told = read_resolution("camt.029", answer(status, conf, reason="NOAS", version=version))
    assert (told.verdict, told.recall_id) == (verdict, ASKED.id)
    assert (told.order_id, told.end_to_end_id, told.amount) == (ASKED.order_id, ASKED.end_to_end_id, ASKED.amount)
    assert [str(reason) for reason in told.reasons] == ["NOAS"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (answer("ACCR", "RJCR"), "recall_unclear"),  # two words of one recall
        (answer("ACCR", "PDCR"), "recall_unclear"),
        (answer("ACWC", "MODI"), "recall_unclear"),  # none that is known
        (answer("", None), "recall_unclear"),
        (answer(payments=2), "several_recalls"),
        (answer(ident=""), "malformed"),  # no recall is named
        (answer(more="<OrgnlPmtInfCxlId>another</OrgnlPmtInfCxlId>"), "malformed"),  # two are
        (answer(amount="30.001"), "bad_amount"),
        (answer(version="99"), "wrong_namespace"),
        (answer()[:300], "not_xml"),
    ],
)
def test_an_answer_that_is_not_clear_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(BadStatement) as refused:
        read_resolution("camt.029", content)
    assert refused.value.code == code
