"""camt.055.001.08 (CustomerPaymentCancellationRequest): what a customer wants back 追回; and the bank's rules. Pure.

Reason codes of a no: ISO 20022 external code set ExternalPaymentCancellationRejection1Code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from xml.etree.ElementTree import Element

from pyiso20022.camt.camt_055_001_08 import Document

from sandbox.bank.errors import FileRefused
from sandbox.bank.instructions import Order, read_order
from sandbox.bank.money import NotAnAmount, to_minor
from sandbox.bank.rules import Refusal
from sandbox.bank.schema import check, parse_xml

_PREFIX = f"{{{Document.Meta.namespace}}}"


class Decision(StrEnum):
    """CancellationIndividualStatus1Code: what the bank says of a recall."""

    ACCEPTED = "ACCR"
    REFUSED = "RJCR"
    PENDING = "PDCR"


@dataclass(frozen=True, slots=True)
class Cancellation:
    """One camt.055 file, which asks for one line back."""

    message_id: str  # Assgnmt/Id, which counts as the MsgId of an upload does
    recall_id: str  # Case/Id
    asker: str
    order_id: str  # OrgnlMsgId
    payment_id: str
    end_to_end_id: str
    amount_minor: int
    currency: str
    reason: str


def read_upload(raw: bytes) -> Order | Cancellation:
    """Return what a customer's file orders, or wants back. Raises FileRefused."""
    root = parse_xml(raw)
    return read_cancellation(root) if root.tag == f"{_PREFIX}Document" else read_order(raw)


def read_cancellation(root: Element) -> Cancellation:
    """Return what a camt.055 wants back, once it is conform to the schema. Raises FileRefused."""
    check(root, Document)
    body = root[0]
    payments = body.findall(_path("Undrlyg/OrgnlPmtInfAndCxl/TxInf"))
    if len(payments) != 1:
        raise FileRefused("one_line_only", f"a recall is of one line, and {len(payments)} are named")
    payment = payments[0]
    information = next(one for one in body.iterfind(_path("Undrlyg/OrgnlPmtInfAndCxl")) if payment in list(one))
    amount = payment.find(_path("OrgnlInstdAmt"))
    facts = {
        "Assgnmt/Id": body.findtext(_path("Assgnmt/Id")),
        "Case/Id": body.findtext(_path("Case/Id")),
        "OrgnlMsgId": information.findtext(_path("OrgnlGrpInf/OrgnlMsgId")),
        "OrgnlPmtInfId": information.findtext(_path("OrgnlPmtInfId")),
        "OrgnlEndToEndId": payment.findtext(_path("OrgnlEndToEndId")),
        "CxlRsnInf/Rsn/Cd": payment.findtext(_path("CxlRsnInf/Rsn/Cd")),
    }
    missing = [name for name, told in facts.items() if not told]
    if missing or amount is None:
        raise FileRefused("not_schema_conform", f"{(missing or ['OrgnlInstdAmt'])[0]} is missing; this bank needs it")
    message_id, recall_id, order_id, payment_id, end_to_end_id, reason = (told or "" for told in facts.values())
    try:
        minor = to_minor(amount.text or "", amount.attrib["Ccy"])
    except NotAnAmount as why:
        raise FileRefused("amount_not_allowed", f"EndToEndId {end_to_end_id}: {why}") from None
    asker = body.findtext(_path("Assgnmt/Assgnr/Pty/Nm")) or ""
    return Cancellation(
        message_id, recall_id, asker, order_id, payment_id, end_to_end_id, minor, amount.attrib["Ccy"], reason
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """How the line stands at the bank that a recall names. amount_minor None: there is no such line in the order."""

    amount_minor: int | None
    currency: str | None
    waits: bool = False  # it is checked and not carried out yet
    recalled: bool = False  # it waited, and was recalled before
    paid: bool = False
    returned: bool = False
    payee_has: bool = True  # its payee's account still has the money


def judge_recall(wanted: Cancellation, line: Standing, *, agrees: bool) -> tuple[Decision, Refusal | None]:
    """Return what becomes of a recall, and why where that is a no. agrees: the payee gives the money back."""
    if line.amount_minor is None:
        why = f"order {wanted.order_id} has no line {wanted.end_to_end_id}"
        return Decision.REFUSED, Refusal("NOOR", why)
    if (line.amount_minor, line.currency) != (wanted.amount_minor, wanted.currency):
        return Decision.REFUSED, Refusal("NOOR", f"line {wanted.end_to_end_id} is of another amount")
    if line.waits or line.recalled:
        return Decision.ACCEPTED, None
    if not line.paid:
        return Decision.REFUSED, Refusal("NOOR", f"line {wanted.end_to_end_id} was refused, and never paid")
    if line.returned:
        return Decision.REFUSED, Refusal("ARDT", f"line {wanted.end_to_end_id} has come back already")
    if not agrees:
        return Decision.REFUSED, Refusal("CUST", "the payee has the money and does not give it back")
    if not line.payee_has:
        return Decision.REFUSED, Refusal("AM04", "the payee's account has not so much any more")
    return Decision.ACCEPTED, None


def _path(path: str) -> str:
    return "/".join(_PREFIX + step for step in path.split("/"))
