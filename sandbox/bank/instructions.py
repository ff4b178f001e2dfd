"""pain.001.001.09 (CustomerCreditTransferInitiation): what a customer asks the bank to pay. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from xml.etree.ElementTree import Element

from pyiso20022.pain.pain_001_001_09 import Document

from sandbox.bank.errors import FileRefused
from sandbox.bank.money import NotAnAmount, to_minor
from sandbox.bank.schema import check, parse_xml

MESSAGE_NAME = "pain.001.001.09"
_PREFIX = f"{{{Document.Meta.namespace}}}"


@dataclass(frozen=True, slots=True)
class Line:
    """One credit transfer: who is to be paid what, for what."""

    payment_id: str  # PmtInfId of the block it stands in
    instruction_id: str | None
    end_to_end_id: str
    currency: str
    amount_minor: int
    debtor_account: str
    debtor_bic: str | None
    debtor_name: str
    creditor_account: str | None
    creditor_bic: str | None
    creditor_name: str
    remittance: str


@dataclass(frozen=True, slots=True)
class Order:
    """One pain.001 file."""

    message_id: str
    created_at: str  # as written; echoed, never compared
    line_count: int
    control_sum: str | None  # as written
    lines: tuple[Line, ...]


def read_order(raw: bytes) -> Order:
    """Return what a file orders, once it is safe, conform to the schema and consistent in itself.

    Raises FileRefused: such a file is not taken in at all. What concerns one line alone (unknown account, no funds)
    is not judged here, see rules.py.
    """
    root = parse_xml(raw)
    check(root, Document)
    body = _need(root, "CstmrCdtTrfInitn")
    header = _need(body, "GrpHdr")
    lines: list[Line] = []
    amounts: list[Decimal] = []
    for block in body.iterfind(_path("PmtInf")):
        in_block, block_amounts = _read_block(block)
        _check_totals(f"PmtInf {_text(block, 'PmtInfId')}", block, block_amounts)
        lines += in_block
        amounts += block_amounts
    _check_totals("GrpHdr", header, amounts)
    return Order(
        message_id=_text(header, "MsgId"),
        created_at=_text(header, "CreDtTm"),
        line_count=len(lines),
        control_sum=header.findtext(_path("CtrlSum")),
        lines=tuple(lines),
    )


def _read_block(block: Element) -> tuple[list[Line], list[Decimal]]:
    payment_id = _text(block, "PmtInfId")
    method = _text(block, "PmtMtd")
    if method != "TRF":
        raise FileRefused("method_not_offered", f"PmtInf {payment_id}: PmtMtd {method} is not offered, only TRF is")
    debtor_account = _account(block, "DbtrAcct")
    if debtor_account is None:  # the schema requires DbtrAcct/Id, so one of its branches is there
        raise FileRefused("not_schema_conform", f"PmtInf {payment_id}: DbtrAcct is missing")
    lines: list[Line] = []
    amounts: list[Decimal] = []
    for transfer in block.iterfind(_path("CdtTrfTxInf")):
        end_to_end_id = _text(transfer, "PmtId/EndToEndId")
        where = f"PmtInf {payment_id}, EndToEndId {end_to_end_id}"
        amount = transfer.find(_path("Amt/InstdAmt"))
        if amount is None:
            raise FileRefused("amount_not_allowed", f"{where}: only InstdAmt is offered, no equivalent amounts")
        text, currency = amount.text or "", amount.attrib["Ccy"]
        try:
            minor = to_minor(text, currency)
        except NotAnAmount as reason:
            raise FileRefused("amount_not_allowed", f"{where}: {reason}") from None
        amounts.append(Decimal(text.strip()))
        lines.append(
            Line(
                payment_id=payment_id,
                instruction_id=transfer.findtext(_path("PmtId/InstrId")),
                end_to_end_id=end_to_end_id,
                currency=currency,
                amount_minor=minor,
                debtor_account=debtor_account,
                debtor_bic=block.findtext(_path("DbtrAgt/FinInstnId/BICFI")),
                debtor_name=block.findtext(_path("Dbtr/Nm")) or "",
                creditor_account=_account(transfer, "CdtrAcct"),
                creditor_bic=transfer.findtext(_path("CdtrAgt/FinInstnId/BICFI")),
                creditor_name=transfer.findtext(_path("Cdtr/Nm")) or "",
                remittance=" ".join(note.text or "" for note in transfer.iterfind(_path("RmtInf/Ustrd"))),
            )
        )
    return lines, amounts


def _check_totals(where: str, holder: Element, amounts: list[Decimal]) -> None:
    """Compare NbOfTxs and CtrlSum, where written, with what is there; CtrlSum adds all currencies alike."""
    count = holder.findtext(_path("NbOfTxs"))
    if count is not None and int(count) != len(amounts):
        raise FileRefused("count_differs", f"{where}: NbOfTxs says {count}, there are {len(amounts)} lines")
    control_sum = holder.findtext(_path("CtrlSum"))
    if control_sum is not None and Decimal(control_sum) != sum(amounts, Decimal(0)):
        total = sum(amounts, Decimal(0))
        raise FileRefused("control_sum_differs", f"{where}: CtrlSum says {control_sum}, the lines add up to {total}")


def _account(holder: Element, name: str) -> str | None:
    return holder.findtext(_path(f"{name}/Id/IBAN")) or holder.findtext(_path(f"{name}/Id/Othr/Id"))


def _text(holder: Element, path: str) -> str:
    return holder.findtext(_path(path)) or ""


def _need(holder: Element, name: str) -> Element:
    found = holder.find(_path(name))
    if found is None:
        raise FileRefused("not_schema_conform", f"{name} is missing")
    return found


def _path(path: str) -> str:
    return "/".join(_PREFIX + step for step in path.split("/"))
