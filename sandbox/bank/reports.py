"""What the bank writes: pain.002.001.10 (or .12), camt.029.001.09, camt.054.001.08 and camt.053.001.08. Pure.

Element order follows the schemas; the tests hold every message against them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from xml.etree.ElementTree import Element, tostring

from sandbox.bank.cancellations import Cancellation, Decision
from sandbox.bank.instructions import MESSAGE_NAME, Line, Order
from sandbox.bank.money import to_text
from sandbox.bank.rules import Account, Refusal, Status, group_status

_NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:"
STATUS_VERSION = 10  # of pain.002.001
NEWER_STATUS_VERSION = 12  # by an ordered fault; what the bank says is the same in both


@dataclass(frozen=True, slots=True)
class BankIdentity:
    """The bank as it names itself in messages."""

    bic: str
    name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One booking on one account. amount_minor is positive; is_credit says which way."""

    entry_ref: str  # NtryRef, unique in the account
    bank_ref: str  # AcctSvcrRef, unique in the bank
    amount_minor: int
    is_credit: bool
    booking_date: date
    family: str  # ISO bank transaction code family: RCDT, ICDT …
    sub_family: str
    end_to_end_id: str
    instruction_id: str | None
    message_id: str | None
    payment_id: str | None
    remittance: str
    other_name: str  # the other side of the transfer
    other_account: str | None
    return_reason: str | None = None  # set on a returned transfer 退票
    creditor_ref: str | None = None  # CdtrRefInf/Ref: the creditor's own name of what is paid
    creditor_account: str | None = None  # the virtual number the payer used in place of the account's own
    accepted_at: datetime | None = None  # AccptncDtTm, of collections and their returns
    is_reversal: bool = False
    batch_of: int = 0  # by an ordered fault: it stands for so many lines of its order, and shows none of them


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one line: refused, or executed with the debit's reference at the bank."""

    line: Line
    refusal: Refusal | None
    bank_ref: str | None
    last_word: Status = Status.SETTLED  # of a line that was executed

    @property
    def status(self) -> Status:
        """Return the line's ISO status."""
        return self.last_word if self.refusal is None else Status.REJECTED


@dataclass(frozen=True, slots=True)
class Statement:
    """One account's day. opening and closing are the true balances, whatever the entries shown add up to."""

    account: Account
    business_date: date
    sequence: int  # days since the account was opened, from 1
    opening_minor: int
    closing_minor: int
    entries: Sequence[Entry]


def status_report(
    bank: BankIdentity,
    report_id: str,
    created_at: datetime,
    order: Order,
    results: Sequence[Result],
    *,
    by_payment: bool = False,
    version: int = STATUS_VERSION,
) -> bytes:
    """Return the pain.002 that tells what became of every line of an order.

    by_payment: name no line; the status of each payment information is its lines', and the file was accepted.
    """
    group = group_status([result.status for result in results])
    blocks = [
        _block_status(payment_id, list(of_block), named=not by_payment)
        for payment_id, of_block in groupby(results, lambda result: result.line.payment_id)
    ]
    reasons = {result.refusal.code for result in results if result.refusal}
    reason = (
        _reason(Refusal(reasons.pop() if len(reasons) == 1 else "NARR", "every line was refused, see the lines"))
        if group is Status.REJECTED
        else None
    )
    return _document(
        f"pain.002.001.{version}",
        _el(
            "CstmrPmtStsRpt",
            _report_header(bank, report_id, created_at),
            _original_group(order, Status.ACCEPTED if by_payment else group, None if by_payment else reason),
            *blocks,
        ),
    )


def rejection_report(
    bank: BankIdentity,
    report_id: str,
    created_at: datetime,
    order: Order,
    refusal: Refusal,
    *,
    version: int = STATUS_VERSION,
) -> bytes:
    """Return the pain.002 that rejects a whole file without looking at its lines."""
    return _document(
        f"pain.002.001.{version}",
        _el(
            "CstmrPmtStsRpt",
            _report_header(bank, report_id, created_at),
            _original_group(order, Status.REJECTED, _reason(refusal)),
        ),
    )


_CASE_STATUS = {Decision.ACCEPTED: "CNCL", Decision.REFUSED: "RJCR", Decision.PENDING: "PDCR"}


def recall_answer(
    bank: BankIdentity,
    answer_id: str,
    created_at: datetime,
    wanted: Cancellation,
    decision: Decision,
    why: Refusal | None,
) -> bytes:
    """Return the camt.029 that tells what became of a recall 追回."""
    asker = _el("Pty", _el("Nm", wanted.asker))
    reason = None
    if why is not None:
        reason = _el("CxlStsRsnInf", _el("Rsn", _el("Cd", why.code)), _el("AddtlInf", why.why[:105]))
    return _document(
        "camt.029.001.09",
        _el(
            "RsltnOfInvstgtn",
            _el(
                "Assgnmt",
                _el("Id", answer_id),
                _el("Assgnr", _el("Agt", _institution(bank))),
                _el("Assgne", asker),
                _el("CreDtTm", _instant(created_at)),
            ),
            _el("RslvdCase", _el("Id", wanted.recall_id), _el("Cretr", asker)),
            _el("Sts", _el("Conf", _CASE_STATUS[decision])),
            _el(
                "CxlDtls",
                _el(
                    "OrgnlPmtInfAndSts",
                    _el("OrgnlPmtInfId", wanted.payment_id),
                    _el("OrgnlGrpInf", _el("OrgnlMsgId", wanted.order_id), _el("OrgnlMsgNmId", MESSAGE_NAME)),
                    _el(
                        "TxInfAndSts",
                        _el("OrgnlEndToEndId", wanted.end_to_end_id),
                        _el("TxCxlSts", decision),
                        reason,
                        _el("OrgnlInstdAmt", to_text(wanted.amount_minor, wanted.currency), Ccy=wanted.currency),
                    ),
                ),
            ),
        ),
    )


def credit_notification(
    bank: BankIdentity, message_id: str, created_at: datetime, account: Account, entry: Entry
) -> bytes:
    """Return the camt.054 that announces one credit to an account."""
    return collection_report(bank, message_id, created_at, account, [entry])


def collection_report(
    bank: BankIdentity, message_id: str, created_at: datetime, account: Account, entries: Sequence[Entry]
) -> bytes:
    """Return the camt.054 that lists what was collected for an account on a day, and what was sent back."""
    return _document(
        "camt.054.001.08",
        _el(
            "BkToCstmrDbtCdtNtfctn",
            _el("GrpHdr", _el("MsgId", message_id), _el("CreDtTm", _instant(created_at))),
            _el(
                "Ntfctn",
                _el("Id", message_id),
                _el("CreDtTm", _instant(created_at)),
                _account(bank, account),
                *(_entry(bank, account, entry) for entry in entries),
            ),
        ),
    )


def statement_file(
    bank: BankIdentity,
    message_id: str,
    created_at: datetime,
    statements: Iterable[Statement],
    *,
    page: int,
    is_last: bool,
) -> bytes:
    """Return the camt.053 with one Stmt for each account; a day with many accounts takes several files (pages)."""
    return _document(
        "camt.053.001.08",
        _el(
            "BkToCstmrStmt",
            _el(
                "GrpHdr",
                _el("MsgId", message_id),
                _el("CreDtTm", _instant(created_at)),
                _el("MsgPgntn", _el("PgNb", str(page)), _el("LastPgInd", "true" if is_last else "false")),
            ),
            *(_statement(bank, created_at, statement) for statement in statements),
        ),
    )


def _block_status(payment_id: str, results: list[Result], *, named: bool) -> Element:
    status = group_status([result.status for result in results])
    refusals = [result.refusal for result in results if result.refusal]
    return _el(
        "OrgnlPmtInfAndSts",
        _el("OrgnlPmtInfId", payment_id),
        _el("PmtInfSts", status),
        *(_reasons(refusals[0]) if not named and status is Status.REJECTED else ()),
        *(_line_status(result) for result in results if named),
    )


def _line_status(result: Result) -> Element:
    line = result.line
    return _el(
        "TxInfAndSts",
        _el("OrgnlInstrId", line.instruction_id) if line.instruction_id else None,
        _el("OrgnlEndToEndId", line.end_to_end_id),
        _el("TxSts", result.status),
        *(_reasons(result.refusal) if result.refusal else ()),
        _el("AcctSvcrRef", result.bank_ref) if result.bank_ref and result.status is Status.SETTLED else None,
        _el(
            "OrgnlTxRef",
            _el("Amt", _el("InstdAmt", to_text(line.amount_minor, line.currency), Ccy=line.currency)),
        ),
    )


def _report_header(bank: BankIdentity, report_id: str, created_at: datetime) -> Element:
    return _el(
        "GrpHdr",
        _el("MsgId", report_id),
        _el("CreDtTm", _instant(created_at)),
        _el("DbtrAgt", _institution(bank)),
    )


def _original_group(order: Order, group: Status, reason: Element | None) -> Element:
    return _el(
        "OrgnlGrpInfAndSts",
        _el("OrgnlMsgId", order.message_id),
        _el("OrgnlMsgNmId", MESSAGE_NAME),
        _el("OrgnlCreDtTm", order.created_at),
        _el("OrgnlNbOfTxs", str(order.line_count)),
        _el("OrgnlCtrlSum", order.control_sum) if order.control_sum else None,
        _el("GrpSts", group),
        reason,
    )


def _reasons(refusal: Refusal) -> list[Element]:
    return [_reason(refusal), *(_el("StsRsnInf", _el("Rsn", _el("Cd", code))) for code in refusal.more)]


def _reason(refusal: Refusal) -> Element:
    # The schema allows 105 characters a piece; two pieces hold every sentence this bank has.
    pieces = [refusal.why[start : start + 105] for start in range(0, min(len(refusal.why), 210), 105)]
    return _el(
        "StsRsnInf",
        _el("Rsn", _el("Cd", refusal.code)),
        *(_el("AddtlInf", piece) for piece in pieces),
    )


def _statement(bank: BankIdentity, created_at: datetime, statement: Statement) -> Element:
    account, day = statement.account, statement.business_date
    return _el(
        "Stmt",
        _el("Id", f"{account.number}-{day:%Y%m%d}"),
        _el("ElctrncSeqNb", str(statement.sequence)),
        _el("CreDtTm", _instant(created_at)),
        _el(
            "FrToDt",
            _el("FrDtTm", f"{day.isoformat()}T00:00:00+08:00"),
            _el("ToDtTm", f"{day.isoformat()}T23:59:59+08:00"),
        ),
        _account(bank, account),
        _balance("OPBD", statement.opening_minor, account.currency, day),
        _balance("CLBD", statement.closing_minor, account.currency, day),
        *(_entry(bank, account, entry) for entry in statement.entries),
    )


def _balance(code: str, minor: int, currency: str, day: date) -> Element:
    return _el(
        "Bal",
        _el("Tp", _el("CdOrPrtry", _el("Cd", code))),
        _el("Amt", to_text(abs(minor), currency), Ccy=currency),
        _el("CdtDbtInd", _direction(minor >= 0)),
        _el("Dt", _el("Dt", day.isoformat())),
    )


def _entry(bank: BankIdentity, account: Account, entry: Entry) -> Element:
    amount = to_text(entry.amount_minor, account.currency)
    booked_on = _el("Dt", entry.booking_date.isoformat())
    other = _el("Pty", _el("Nm", entry.other_name)) if entry.other_name else None
    other_account = _other_id(entry.other_account) if entry.other_account else None
    side = "Dbtr" if entry.is_credit else "Cdtr"
    parties = [
        _el(side, other) if other is not None else None,
        _el(f"{side}Acct", other_account) if other_account is not None else None,
        _el("CdtrAcct", _other_id(entry.creditor_account)) if entry.creditor_account and entry.is_credit else None,
    ]
    return _el(
        "Ntry",
        _el("NtryRef", entry.entry_ref),
        _el("Amt", amount, Ccy=account.currency),
        _el("CdtDbtInd", _direction(entry.is_credit)),
        _el("RvslInd", "true") if entry.is_reversal else None,
        _el("Sts", _el("Cd", "BOOK")),
        _el("BookgDt", booked_on),
        _el("ValDt", booked_on),
        _el("AcctSvcrRef", entry.bank_ref),
        _el(
            "BkTxCd",
            _el("Domn", _el("Cd", "PMNT"), _el("Fmly", _el("Cd", entry.family), _el("SubFmlyCd", entry.sub_family))),
        ),
        _details(bank, account, entry, amount, side, parties),
    )


def _details(
    bank: BankIdentity, account: Account, entry: Entry, amount: str, side: str, parties: Sequence[Element | None]
) -> Element:
    """Return NtryDtls: the transaction, or of an order that is booked as one only which it is."""
    if entry.batch_of:
        return _el(
            "NtryDtls",
            _el(
                "Btch",
                _el("MsgId", entry.message_id),
                _el("PmtInfId", entry.payment_id),
                _el("NbOfTxs", str(entry.batch_of)),
                _el("TtlAmt", amount, Ccy=account.currency),
                _el("CdtDbtInd", _direction(entry.is_credit)),
            ),
        )
    return _el(
        "NtryDtls",
        _el(
            "TxDtls",
            _el(
                "Refs",
                _el("MsgId", entry.message_id) if entry.message_id else None,
                _el("AcctSvcrRef", entry.bank_ref),
                _el("PmtInfId", entry.payment_id) if entry.payment_id else None,
                _el("InstrId", entry.instruction_id) if entry.instruction_id else None,
                _el("EndToEndId", entry.end_to_end_id),
            ),
            _el("Amt", amount, Ccy=account.currency),
            _el("CdtDbtInd", _direction(entry.is_credit)),
            _el("RltdPties", *parties) if any(part is not None for part in parties) else None,
            _el("RltdAgts", _el(f"{side}Agt", _institution(bank))) if entry.other_account else None,
            _el("RmtInf", *_remittance(entry)) if entry.remittance or entry.creditor_ref else None,
            _el("RltdDts", _el("AccptncDtTm", _instant(entry.accepted_at))) if entry.accepted_at else None,
            _el("RtrInf", _el("Rsn", _el("Cd", entry.return_reason))) if entry.return_reason else None,
        ),
    )


def _remittance(entry: Entry) -> list[Element]:
    text = entry.remittance
    unstructured = [_el("Ustrd", text[start : start + 140]) for start in range(0, len(text), 140)]
    if entry.creditor_ref is None:
        return unstructured
    return [*unstructured, _el("Strd", _el("CdtrRefInf", _el("Ref", entry.creditor_ref)))]


def _other_id(account: str) -> Element:
    return _el("Id", _el("Othr", _el("Id", account)))


def _account(bank: BankIdentity, account: Account) -> Element:
    return _el(
        "Acct",
        _el("Id", _el("Othr", _el("Id", account.number))),
        _el("Ccy", account.currency),
        _el("Nm", account.name),
        _el("Svcr", _institution(bank)),
    )


def _institution(bank: BankIdentity) -> Element:
    return _el("FinInstnId", _el("BICFI", bank.bic), _el("Nm", bank.name))


def _direction(is_credit: bool) -> str:
    return "CRDT" if is_credit else "DBIT"


def _instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _document(message: str, body: Element) -> bytes:
    # Written as a plain attribute: prefixes on every element would only make the files harder to read.
    return bytes(tostring(_el("Document", body, xmlns=_NAMESPACE + message), encoding="utf-8", xml_declaration=True))


def _el(name: str, *content: Element | str | None, **attributes: str) -> Element:
    """Return an element with its children or its text; what is None is left out."""
    element = Element(name, attributes)
    for item in content:
        if isinstance(item, str):
            element.text = str(item)
        elif item is not None:
            element.append(item)
    return element
