"""Status reports in: pain.002, what became of instructions. Source: pain.002.001.03 to .14, which agree in it."""

import xml.etree.ElementTree as ET

from channels.banks.answers import Fate, LineStatus, PaymentStatus, Reason, StatusReport, Totals, first
from channels.banks.errors import BadStatement
from channels.banks.iso20022.xml import MAX_TEXT, amount_of, children, document, maybe, only, text_of, told, versions
from kernel.money import Money, is_currency

PAIN_002 = versions("pain.002", 3, 14)

# Reasons that say the bank has it already: a file, a payment information, a line or one of their numbers came before,
# or what is asked for was accepted or paid before. Source: ISO 20022 external code sets, ExternalStatusReason1Code.
DUPLICATE = frozenset(
    {
        "AM05",  # duplication
        "DU01",  # the message id is not unique
        "DU02",  # the payment information is not unique
        "DU03",  # the transaction is not unique
        "DU04",  # the end-to-end id is not unique
        "DU05",  # the instruction id is not unique
        "DUPL",  # a duplicate of another payment
        "RF01",  # the transaction's reference is not unique within the message
        "AB12",  # the batch's sequence number came before
        "DS15",  # the same signature has been sent before
        "ALAC",  # accepted before; the list has it of requests to pay
        "APAR",  # paid before; likewise
    }
)
NARRATIVE = "NARR"  # the reason is in words alone
_FATE = {"ACSC": Fate.EXECUTED, "ACCC": Fate.EXECUTED, "RJCT": Fate.REFUSED}


def read_pain002(xml: bytes) -> StatusReport:
    """Read a payment status report, line by line. Raises BadStatement."""
    words: dict[str, str] = {}  # what stands in many lines is kept once
    lines: list[LineStatus] = []

    def line_of(payment: ET.Element, line: ET.Element) -> None:
        if payment.tag == "OrgnlPmtInfAndSts":
            lines.append(_line(text_of(payment, "OrgnlPmtInfId"), line, words))

    report = only(document(xml, PAIN_002, {"TxInfAndSts": line_of}), "CstmrPmtStsRpt")
    group = only(report, "OrgnlGrpInfAndSts")
    name = text_of(group, "OrgnlMsgNmId")
    if not name.startswith("pain.001"):
        raise BadStatement("other_message", f"the report speaks of a {name[:35]}, not of a pain.001")
    payments = []
    for payment in children(report, "OrgnlPmtInfAndSts"):
        payment_id = text_of(payment, "OrgnlPmtInfId")
        status, totals = maybe(payment, "PmtInfSts"), _totals(payment)
        payments.append(PaymentStatus(payment_id, status, _reasons(payment), totals, _said(status)))
    group_status, group_reasons = maybe(group, "GrpSts"), _reasons(group)
    return StatusReport(
        message_id=text_of(report, "GrpHdr/MsgId"),
        created_at=text_of(report, "GrpHdr/CreDtTm"),
        original_message_id=text_of(group, "OrgnlMsgId"),
        group_status=group_status,
        group_reason=first(group_reasons)[0],
        lines=tuple(lines),
        group_reasons=group_reasons,
        payments=tuple(payments),
        totals=_totals(group),
        said=_said(group_status),
    )


def _line(payment_id: str, line: ET.Element, words: dict[str, str]) -> LineStatus:
    reasons, debtor = _reasons(line), _account(line, "OrgnlTxRef/DbtrAcct")
    word = maybe(line, "TxSts") or ""  # then what is said above it is said of it
    return LineStatus(
        maybe(line, "OrgnlEndToEndId") or "",  # which is no line of ours
        words.setdefault(word, word),
        _said(word),
        *first(reasons),
        bank_ref=maybe(line, "AcctSvcrRef"),
        reasons=reasons,
        payment_id=words.setdefault(payment_id, payment_id),
        amount=_amount(line),
        creditor_account=_account(line, "OrgnlTxRef/CdtrAcct"),
        debtor_account=None if debtor is None else words.setdefault(debtor, debtor),
    )


def _said(status: str | None) -> Fate:
    return _FATE.get(status or "", Fate.PENDING)


def _totals(node: ET.Element) -> Totals:
    by_status = tuple(
        (text_of(one, "DtldSts"), _count(text_of(one, "DtldNbOfTxs"))) for one in children(node, "NbOfTxsPerSts")
    )
    count = maybe(node, "OrgnlNbOfTxs")
    return Totals(None if count is None else _count(count), maybe(node, "OrgnlCtrlSum"), by_status)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise BadStatement("malformed", f"{text[:20]!r} is no number of lines")
    return int(text)


def _amount(line: ET.Element) -> Money | None:
    """Return the amount of the original instruction, where the report repeats it."""
    found = line.find("OrgnlTxRef/Amt/InstdAmt")
    if found is None:
        return None
    currency, text = found.get("Ccy", ""), told(found) or ""
    try:
        if not is_currency(currency):
            raise ValueError(currency)
        return amount_of(text, currency)
    except ValueError:
        raise BadStatement("bad_amount", f"{text[:30]!r} {currency[:10]} is no amount") from None


def _account(line: ET.Element, path: str) -> str | None:
    return maybe(line, f"{path}/Id/Othr/Id") or maybe(line, f"{path}/Id/IBAN")


def _reasons(node: ET.Element) -> tuple[Reason, ...]:
    """Return every reason of a status."""
    return tuple(reason_of(reason) for reason in children(node, "StsRsnInf"))


def reason_of(node: ET.Element) -> Reason:
    """Read one reason of a status or of an answer: its code, or the bank's own word, and the words beside it."""
    code, own_word = maybe(node, "Rsn/Cd"), maybe(node, "Rsn/Prtry")
    words = " ".join(note.text.strip() for note in children(node, "AddtlInf") if note.text)[:MAX_TEXT] or None
    is_duplicate = code is not None and (code in DUPLICATE or code.startswith("DU"))
    return Reason(code or own_word, words, is_duplicate, code in (None, NARRATIVE))
