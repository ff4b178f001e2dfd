"""Answers to recalls in: camt.029, what became of one 追回. Source: camt.029.001.03 to .13, which agree in it.

A message is about one case alone, says its definition; so one that speaks of several payments is refused.
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from channels.banks.answers import RecallAnswer, RecallVerdict
from channels.banks.errors import BadStatement
from channels.banks.iso20022.pain002 import reason_of
from channels.banks.iso20022.xml import (
    NOT_PROVIDED,
    amount_of,
    children,
    document,
    maybe,
    only,
    text_of,
    told,
    versions,
)
from kernel.money import Money, is_currency

CAMT_029 = versions("camt.029", 3, 13)
# CancellationIndividualStatus1Code, and GroupCancellationStatus1Code, of which PACR (part of them) is none of ours.
_OF_PAYMENT = {
    "ACCR": RecallVerdict.ACCEPTED,
    "RJCR": RecallVerdict.REFUSED,
    "PDCR": RecallVerdict.PENDING,
}
# ExternalInvestigationExecutionConfirmation1Code, as far as it says what became of a cancellation.
_OF_CASE: Mapping[str, RecallVerdict] = {
    "CNCL": RecallVerdict.ACCEPTED,
    "RJCR": RecallVerdict.REFUSED,
    "PDCR": RecallVerdict.PENDING,
}


def read_camt029(xml: bytes) -> RecallAnswer:
    """Read what a bank says became of a recall. Raises BadStatement.

    What it says of the payment, of its payment information, of its file and of the case must be one and the same; a
    word that is not known decides nothing, so a file without another is refused.
    """
    answer = only(document(xml, CAMT_029), "RsltnOfInvstgtn")
    payment, information, group = _of_one_payment(answer)
    nodes = [node for node in (payment, information, group) if node is not None]
    said = [
        *(_said(node, path, _OF_PAYMENT) for node in nodes for path in ("TxCxlSts", "PmtInfCxlSts", "GrpCxlSts")),
        _said(answer, "Sts/Conf", _OF_CASE),
    ]
    words = [one for one in said if one is not None]
    known = {verdict for _, verdict in words if verdict is not None}
    if len(known) != 1:
        what = "says two things of one recall" if known else "says nothing of a recall that is known"
        raise BadStatement("recall_unclear", f"it {what}: {', '.join(word for word, _ in words)[:100] or 'no status'}")
    (verdict,) = known
    return RecallAnswer(
        message_id=text_of(answer, "Assgnmt/Id"),
        recall_id=_recall_id(answer, nodes),
        verdict=verdict,
        status=next(word for word, one in words if one is verdict),
        reasons=tuple(reason_of(one) for node in nodes for one in children(node, "CxlStsRsnInf")),
        order_id=_first(nodes, "OrgnlGrpInf/OrgnlMsgId", "OrgnlMsgId"),
        end_to_end_id=_first(nodes, "OrgnlEndToEndId"),
        amount=next((found for node in nodes if (found := _amount(node)) is not None), None),
    )


def _of_one_payment(answer: ET.Element) -> tuple[ET.Element | None, ET.Element | None, ET.Element | None]:
    """Return the one payment that an answer names, its payment information and its file; None where it names none."""
    groups = children(answer, "CxlDtls/OrgnlGrpInfAndSts")
    informations = children(answer, "CxlDtls/OrgnlPmtInfAndSts")
    payments = [*children(answer, "CxlDtls/OrgnlPmtInfAndSts/TxInfAndSts"), *children(answer, "CxlDtls/TxInfAndSts")]
    for found in (groups, informations, payments):
        if len(found) > 1:
            raise BadStatement("several_recalls", f"it speaks of {len(found)} payments; an answer is about one recall")
    return _one(payments), _one(informations), _one(groups)


def _one(found: list[ET.Element]) -> ET.Element | None:
    return found[0] if found else None


def _said(node: ET.Element, path: str, means: Mapping[str, RecallVerdict]) -> tuple[str, RecallVerdict | None] | None:
    word = maybe(node, path)
    return None if word is None else (word, means.get(word))


def _recall_id(answer: ET.Element, nodes: list[ET.Element]) -> str:
    """Return which of our recalls is answered; a file that names two is refused."""
    paths = ("RslvdCase/Id", "OrgnlPmtInfCxlId", "OrgnlGrpCxlId")
    found = {ident for node in (answer, *nodes) for path in paths if (ident := maybe(node, path)) is not None}
    found.discard(NOT_PROVIDED)
    if len(found) != 1:
        raise BadStatement("malformed", f"it names {len(found)} recalls where one must be")
    return found.pop()


def _first(nodes: list[ET.Element], *paths: str) -> str | None:
    found = (text for node in nodes for path in paths if (text := maybe(node, path)) not in (None, NOT_PROVIDED))
    return next(found, None)


def _amount(node: ET.Element) -> Money | None:
    """Return the amount of the payment, where the answer repeats it."""
    found = node.find("OrgnlInstdAmt")
    if found is None:
        found = node.find("OrgnlTxRef/Amt/InstdAmt")
    if found is None:
        return None
    currency, text = found.get("Ccy", ""), told(found) or ""
    try:
        if not is_currency(currency):
            raise ValueError(currency)
        return amount_of(text, currency)
    except ValueError:
        raise BadStatement("bad_amount", f"{text[:30]!r} {currency[:10]} is no amount") from None
