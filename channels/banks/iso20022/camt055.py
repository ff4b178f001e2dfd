"""Recalls out: camt.055, asking a bank for a payment back 追回. Source: camt.055.001.08."""

from xml.sax.saxutils import escape, quoteattr

from channels.banks.iso20022.pain001 import FORMS, sayable_id
from channels.banks.iso20022.xml import NAMESPACE
from channels.banks.orders import RECALL_REASONS, RecallRequest, is_bic, no_text
from kernel.errors import Rejected

CAMT_055 = "camt.055.001.08"
MOST_NOTE = 105  # characters of AddtlInf


def camt055(request: RecallRequest, bic: str) -> bytes:
    """Write a recall of one instruction; the same request always gives the same bytes. bic: the bank's.

    Our id stands for the assignment, the case, and the cancellation of the line. Raises Rejected (bad_recall) when
    something in it cannot be said in the format: then nothing may be sent.
    """
    _check(request, bic)
    ident, order = escape(request.id), escape(request.order_id)
    by = f"<Pty><Nm>{escape(request.asker)}</Nm></Pty>"
    to = f"<Agt><FinInstnId><BICFI>{bic}</BICFI></FinInstnId></Agt>"
    note = f"<AddtlInf>{escape(request.note)}</AddtlInf>" if request.note else ""
    amount = f"<OrgnlInstdAmt Ccy={quoteattr(request.amount.currency)}>{request.amount.major()}</OrgnlInstdAmt>"
    parts = [
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{NAMESPACE}{CAMT_055}"><CstmrPmtCxlReq>\n',
        f"<Assgnmt><Id>{ident}</Id><Assgnr>{by}</Assgnr><Assgne>{to}</Assgne>",
        f"<CreDtTm>{request.created_at.isoformat(timespec='seconds')}</CreDtTm></Assgnmt>\n",
        f"<Case><Id>{ident}</Id><Cretr>{by}</Cretr></Case><CtrlData><NbOfTxs>1</NbOfTxs></CtrlData>\n",
        f"<Undrlyg><OrgnlPmtInfAndCxl><OrgnlPmtInfId>{order}</OrgnlPmtInfId><OrgnlGrpInf><OrgnlMsgId>{order}",
        f"</OrgnlMsgId><OrgnlMsgNmId>{FORMS[request.written_as][0]}</OrgnlMsgNmId></OrgnlGrpInf>\n",
        f"<TxInf><CxlId>{ident}</CxlId><OrgnlEndToEndId>{escape(request.end_to_end_id)}</OrgnlEndToEndId>{amount}",
        f"<OrgnlReqdExctnDt><Dt>{request.execution_date.isoformat()}</Dt></OrgnlReqdExctnDt>",
        f"<CxlRsnInf><Rsn><Cd>{request.reason}</Cd></Rsn>{note}</CxlRsnInf></TxInf></OrgnlPmtInfAndCxl></Undrlyg>\n",
        "</CstmrPmtCxlReq></Document>\n",
    ]
    return "".join(parts).encode()


def _check(request: RecallRequest, bic: str) -> None:
    """Raise Rejected for what the format cannot carry."""
    named = {"recall": request.id, "order": request.order_id, "end-to-end": request.end_to_end_id}
    wrong = [f"{what} id {ident[:40]!r}" for what, ident in named.items() if not sayable_id(ident)]
    if wrong:
        raise _bad(f"{wrong[0]} must be 1 to 35 characters banks can carry")
    if request.reason not in RECALL_REASONS:
        raise _bad(f"{request.reason[:10]!r} is no reason of a recall; there are {', '.join(RECALL_REASONS)}")
    if not is_bic(bic):
        raise _bad(f"{bic[:20]!r} is not a BIC")
    if why := no_text("the account holder's name", request.asker, 140):
        raise _bad(why)
    if request.note and (why := no_text("the note", request.note, MOST_NOTE)):
        raise _bad(why)
    if request.created_at.tzinfo is None:
        raise _bad("created_at must know its time zone")


def _bad(message: str) -> Rejected:
    return Rejected("bad_recall", message)
