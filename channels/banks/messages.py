"""ISO 20022 files: settlement instructions out, status reports and statements in. Pure: bytes and dataclasses only.

Source: ISO 20022 message definitions pain.001.001.09, pain.002.001.10, camt.053.001.08 and camt.054.001.08.
Everything that comes in is read whole or refused whole (BadStatement); nothing is imported from half a file.
"""

import hashlib
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, timezone
from enum import StrEnum
from xml.sax.saxutils import escape, quoteattr

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from kernel.errors import Rejected
from kernel.money import Money, from_major, is_currency

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:"
PAIN_001, PAIN_002 = "pain.001.001.09", "pain.002.001.10"
CAMT_053, CAMT_054 = "camt.053.001.08", "camt.054.001.08"

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 40  # the messages themselves go 14 deep
MAX_TEXT = 500  # characters; no text of the messages may have more
BEIJING = timezone(timedelta(hours=8))

NOT_PROVIDED = "NOTPROVIDED"  # what ISO 20022 puts where an end-to-end id is missing


class BadStatement(Exception):
    """The file is damaged or not what it should be. All of it is refused; `code` is stable, the text for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


# ---- instructions out ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line 结算指令 of a batch: pay this much from the pool account to that account."""

    end_to_end_id: str  # ours, never used twice; comes back in reports and statements
    creditor_account: str
    creditor_name: str
    amount: Money
    remittance: str = ""  # what the payee reads on the statement


@dataclass(frozen=True, slots=True)
class Batch:
    """The instructions of one pool account and one day; every line has the same currency."""

    message_id: str  # ours, never used twice: sending the same bytes again under it is safe
    debtor_account: str
    debtor_name: str
    execution_date: date
    bank_bic: str
    instructions: Sequence[Instruction]
    created_at: datetime | None = None  # aware; None: midnight in Beijing of the execution date


_ID = re.compile(r"[0-9A-Za-z/\-?:().,'+ ]{1,35}", re.ASCII)  # the SWIFT character set, without line ends
_ACCOUNT = re.compile(r"[0-9A-Za-z\-]{1,34}", re.ASCII)
_BIC = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?", re.ASCII)
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def pain001(batch: Batch) -> bytes:
    """Write a batch as pain.001.001.09; the same batch always gives the same bytes.

    Raises Rejected when something in it cannot be said in the format: then nothing may be sent.
    """
    _check(batch)
    # Midnight in Beijing rather than "now": the bank answers a repeat only when the bytes are the same.
    created_at = batch.created_at or datetime.combine(batch.execution_date, time(), BEIJING)
    total = Money(sum(line.amount.minor for line in batch.instructions), batch.instructions[0].amount.currency)
    agent = f"<FinInstnId><BICFI>{batch.bank_bic}</BICFI></FinInstnId>"
    counted = f"<NbOfTxs>{len(batch.instructions)}</NbOfTxs><CtrlSum>{total.major()}</CtrlSum>"
    debtor = escape(batch.debtor_name)
    parts = [
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{NAMESPACE}{PAIN_001}"><CstmrCdtTrfInitn>\n',
        f"<GrpHdr><MsgId>{escape(batch.message_id)}</MsgId><CreDtTm>{created_at.isoformat(timespec='seconds')}</CreDtTm>",
        f"{counted}<InitgPty><Nm>{debtor}</Nm></InitgPty></GrpHdr>\n",
        f"<PmtInf><PmtInfId>{escape(batch.message_id)}</PmtInfId><PmtMtd>TRF</PmtMtd>{counted}",
        f"<ReqdExctnDt><Dt>{batch.execution_date.isoformat()}</Dt></ReqdExctnDt><Dbtr><Nm>{debtor}</Nm></Dbtr>",
        f"<DbtrAcct>{_account(batch.debtor_account)}<Ccy>{total.currency}</Ccy></DbtrAcct><DbtrAgt>{agent}</DbtrAgt>\n",
    ]
    for line in batch.instructions:
        note = f"<RmtInf><Ustrd>{escape(line.remittance)}</Ustrd></RmtInf>" if line.remittance else ""
        parts.append(
            f"<CdtTrfTxInf><PmtId><EndToEndId>{escape(line.end_to_end_id)}</EndToEndId></PmtId>"
            f"<Amt><InstdAmt Ccy={quoteattr(line.amount.currency)}>{line.amount.major()}</InstdAmt></Amt>"
            f"<CdtrAgt>{agent}</CdtrAgt><Cdtr><Nm>{escape(line.creditor_name)}</Nm></Cdtr>"
            f"<CdtrAcct>{_account(line.creditor_account)}</CdtrAcct>{note}</CdtTrfTxInf>\n"
        )
    parts.append("</PmtInf></CstmrCdtTrfInitn></Document>\n")
    return "".join(parts).encode()


def _account(number: str) -> str:
    return f"<Id><Othr><Id>{escape(number)}</Id></Othr></Id>"


def unsayable(name: str, account: str | None = None) -> str | None:
    """Return why a payee of this name and account number cannot be paid by a pain.001; None where it can be.

    Whoever registers payees and makes batches asks this first: one line that cannot be said is a file not written.
    account: None where it is not known yet.
    """
    if why := _no_text("its name", name, 140):
        return why
    if account is not None and not _ACCOUNT.fullmatch(account):
        return f"its account number must be 1 to 34 letters, digits and hyphens, not {account[:40]!r}"
    return None


def _no_text(what: str, value: str, limit: int) -> str | None:
    if len(value) <= limit and value.strip() and not _NOT_XML.search(value):
        return None
    return f"{what} must be 1 to {limit} printable characters, not {value[:40]!r}"


def _check(batch: Batch) -> None:
    """Refuse what the format cannot carry. A shortened name would be paid to somebody the payer did not name."""

    def text(what: str, value: str, limit: int, *, required: bool = True) -> None:
        if (value or required) and (why := _no_text(what, value, limit)):
            raise _bad(why)

    if not _ID.fullmatch(batch.message_id):
        raise _bad(f"message id {batch.message_id[:40]!r} must be 1 to 35 characters banks can carry")
    if not _BIC.fullmatch(batch.bank_bic):
        raise _bad(f"{batch.bank_bic[:20]!r} is not a BIC")
    if not _ACCOUNT.fullmatch(batch.debtor_account):
        raise _bad(f"debtor account {batch.debtor_account[:40]!r} must be 1 to 34 letters and digits")
    if batch.created_at is not None and batch.created_at.tzinfo is None:
        raise _bad("created_at must know its time zone")
    text("debtor name", batch.debtor_name, 140)
    if not batch.instructions:
        raise _bad("a batch without instructions is not sent")
    repeated = [ident for ident, n in Counter(line.end_to_end_id for line in batch.instructions).items() if n > 1]
    if repeated:
        raise _bad(f"end-to-end id {repeated[0]!r} stands in the batch more than once")
    for line in batch.instructions:
        if not _ID.fullmatch(line.end_to_end_id) or line.end_to_end_id == NOT_PROVIDED:
            raise _bad(f"end-to-end id {line.end_to_end_id[:40]!r} must be 1 to 35 characters banks can carry")
        if why := unsayable(line.creditor_name, line.creditor_account):
            raise _bad(f"{line.end_to_end_id} cannot be paid: {why}")
        text("remittance", line.remittance, 140, required=False)
        if line.amount.minor <= 0:
            raise _bad(f"{line.end_to_end_id} asks to pay {line.amount}; only amounts above zero can be paid")
        if not is_currency(line.amount.currency) or line.amount.currency != batch.instructions[0].amount.currency:
            raise _bad(f"{line.end_to_end_id} is in {line.amount.currency}; a batch has one currency")


def _bad(message: str) -> Rejected:
    return Rejected("bad_instruction", message)


# ---- status reports in -----------------------------------------------------------------------------------------------


class Fate(StrEnum):
    """What a status means for the money of one line."""

    EXECUTED = "executed"
    REFUSED = "refused"
    PENDING = "pending"  # received, checked, accepted, under way: not final
    IN_DOUBT = "in_doubt"  # final words that decide nothing: it may have been paid, so a person asks the bank


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


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason of a status. A bank may give several; all of them count."""

    code: str | None  # of the external code set, or a word of the bank's own; None: only a text
    own_word: bool = False  # Prtry: no code of the set
    text: str | None = None

    @property
    def says_duplicate(self) -> bool:
        """Whether it says that the bank has it already."""
        return not self.own_word and (self.code in DUPLICATE or (self.code or "").startswith("DU"))

    @property
    def is_words(self) -> bool:
        """Whether only a person can read it."""
        return self.own_word or self.code in (None, NARRATIVE)

    def __str__(self) -> str:
        return ": ".join(part for part in (self.code, self.text) if part)


@dataclass(frozen=True, slots=True)
class LineStatus:
    """What the bank says of one instruction, by itself or of what it is part of."""

    end_to_end_id: str
    status: str  # as the bank wrote it: ACSC, RJCT, PDNG …
    reason: str | None = None  # the first one's code, AC04 …
    reason_text: str | None = None
    bank_ref: str | None = None  # AcctSvcrRef, where the bank gives one
    reasons: tuple[Reason, ...] = ()
    payment_id: str | None = None  # OrgnlPmtInfId it stands below
    contradicted: bool = False  # another final or more particular word of the same report says otherwise

    @property
    def says_duplicate(self) -> bool:
        """Whether one of its reasons says that the bank has it already, from an earlier sending."""
        return any(reason.says_duplicate for reason in self.reasons)

    @property
    def fate(self) -> Fate:
        """What it means for the instruction. Only explicit words end it; one nobody knows is not final.

        A refusal is believed unless a reason says that the bank has it already, or all of them are words: then what
        was sent first may have been paid, and paying it again would pay twice.
        """
        found = _FATE.get(self.status, Fate.PENDING)
        if self.contradicted or (found is not Fate.PENDING and self.says_duplicate):
            return Fate.IN_DOUBT
        if found is Fate.REFUSED and self.reasons and all(reason.is_words for reason in self.reasons):
            return Fate.IN_DOUBT
        return found


@dataclass(frozen=True, slots=True)
class PaymentStatus:
    """What the bank says of a payment information: of each of its lines that it does not name."""

    payment_id: str
    status: str | None  # PmtInfSts
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class StatusReport:
    """One pain.002: the bank's word on one batch. `lines` may be fewer than were sent, or none."""

    message_id: str
    created_at: str  # as written; banks often leave the time zone out
    original_message_id: str
    group_status: str | None
    group_reason: str | None  # the first one's code
    lines: tuple[LineStatus, ...]
    group_reasons: tuple[Reason, ...] = ()
    payments: tuple[PaymentStatus, ...] = ()

    def fate_of(self, end_to_end_id: str) -> LineStatus | None:
        """Return the bank's word on one line of the batch, or None when the report does not speak of it.

        What is said of the line comes first, then of its payment information (a batch of ours has one, under the
        message's id), then of the file. Where it is not named, a final word about what it is part of is its own.
        Reasons of every refusal above it are its reasons too. Words that contradict each other leave it in doubt.
        """
        own = [line for line in self.lines if line.end_to_end_id == end_to_end_id]
        above = {line.payment_id for line in own}
        payments = [one for one in self.payments if one.status and (not own or one.payment_id in above)]
        said = [(line.status, line.reasons) for line in own] + [(one.status or "", one.reasons) for one in payments]
        if self.group_status:
            said.append((self.group_status, self.group_reasons))
        final = {_FATE[status] for status, _ in said if status in _FATE}
        if not own and not final:
            return None
        status = said[0][0]
        reasons = own[0].reasons if own else ()
        reasons += tuple(one for word, more in said[1 if own else 0 :] if word == "RJCT" for one in more)
        contradicted = len(final) > 1 or (bool(final) and status not in _FATE)
        if not own:
            others = {_FATE[line.status] for line in self.lines if line.status in _FATE}
            strangers = any(one.payment_id != self.original_message_id for one in payments)
            contradicted = contradicted or strangers or not others <= final
        line = own[0] if own else LineStatus(end_to_end_id, status, *_first(reasons))
        return replace(line, reasons=reasons, contradicted=contradicted)


def read_pain002(xml: bytes) -> StatusReport:
    """Read a payment status report. Raises BadStatement."""
    report = _only(_document(xml, PAIN_002), "CstmrPmtStsRpt")
    group = _only(report, "OrgnlGrpInfAndSts")
    name = _text(group, "OrgnlMsgNmId")
    if not name.startswith("pain.001"):
        raise BadStatement("other_message", f"the report speaks of a {name[:35]}, not of a pain.001")
    lines, payments = [], []
    for payment in _children(report, "OrgnlPmtInfAndSts"):
        payment_id = _text(payment, "OrgnlPmtInfId")
        payments.append(PaymentStatus(payment_id, _maybe(payment, "PmtInfSts"), _reasons(payment)))
        for line in _children(payment, "TxInfAndSts"):
            reasons = _reasons(line)
            lines.append(
                LineStatus(
                    _text(line, "OrgnlEndToEndId"),
                    _text(line, "TxSts"),
                    *_first(reasons),
                    bank_ref=_maybe(line, "AcctSvcrRef"),
                    reasons=reasons,
                    payment_id=payment_id,
                )
            )
    group_reasons = _reasons(group)
    return StatusReport(
        message_id=_text(report, "GrpHdr/MsgId"),
        created_at=_text(report, "GrpHdr/CreDtTm"),
        original_message_id=_text(group, "OrgnlMsgId"),
        group_status=_maybe(group, "GrpSts"),
        group_reason=_first(group_reasons)[0],
        lines=tuple(lines),
        group_reasons=group_reasons,
        payments=tuple(payments),
    )


def _reasons(node: ET.Element) -> tuple[Reason, ...]:
    """Return every reason of a status."""
    return tuple(
        Reason(
            code=_maybe(reason, "Rsn/Cd") or _maybe(reason, "Rsn/Prtry"),
            own_word=_maybe(reason, "Rsn/Cd") is None and _maybe(reason, "Rsn/Prtry") is not None,
            text=" ".join(note.text.strip() for note in _children(reason, "AddtlInf") if note.text)[:MAX_TEXT] or None,
        )
        for reason in _children(node, "StsRsnInf")
    )


def _first(reasons: Sequence[Reason]) -> tuple[str | None, str | None]:
    return (reasons[0].code, reasons[0].text) if reasons else (None, None)


# ---- statements and notifications in ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One booking on one of our accounts at the bank, as a statement or a credit notification shows it."""

    account: str
    entry_ref: str  # the bank's number of the booking, the same in camt.054 and camt.053; "#2": it has a second one
    end_to_end_id: str | None  # ours, where the booking comes from an instruction or the payer named one
    amount: Money  # signed: money in is positive
    booked_on: date
    counterparty_account: str | None = None
    counterparty_name: str | None = None
    remittance: str = ""
    reversal: bool = False
    return_reason: str | None = None  # 退票: the code with which a payout came back
    creditor_ref: str | None = None  # CdtrRefInf/Ref: what the payment is for, in the words of whom it is paid to
    creditor_account: str | None = None  # money in: the number the payer used, where it is not the account's own
    accepted_at: datetime | None = None  # AccptncDtTm: the moment, where the bank says more than the day
    statement_ref: str | None = None  # NtryRef: unique within its statement or notification at most
    has_bank_ref: bool = True  # entry_ref is an AcctSvcrRef; else it is the NtryRef
    notice: str = ""  # camt.054: which notification it stands in
    nth: int = 1  # camt.054: which of the entries under that notice that cannot be told from it
    raw_ref: str = ""  # entry_ref as the bank wrote it

    @property
    def booking_ref(self) -> str:
        """The bank's number of the booking that no other day's has: an NtryRef may be "1" every day."""
        return self.entry_ref if self.has_bank_ref else f"{self.entry_ref}@{self.booked_on.isoformat()}"

    @property
    def alike(self) -> tuple[str, ...]:
        """What the entries of one booking have in common in a notification and in the statement of its day.

        Two bookings may have it in common. The NtryRef is no part of it: it need not be the same in both.
        """
        told = (self.account, self.raw_ref if self.has_bank_ref else "", self.booked_on.isoformat())
        way = "out" if self.amount.minor < 0 else "in"
        return (
            *told, self.amount.currency, way, str(self.reversal), self.end_to_end_id or "", self.creditor_ref or "",
        )  # fmt: skip

    @property
    def booking(self) -> str:
        """A short name of the booking: entries of different bookings have different ones, as far as they tell.

        Two alike in one notification have two, the same notification read again gives the same ones. Another
        notification with the same name tells of the same booking again, or of a second one that looks like it.
        """
        parts = (*_alike(self), str(self.nth))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:26]


def _alike(entry: Entry) -> tuple[str, ...]:
    """Return by what a booking is told from others, wherever it is told of. The amount is not: it may be corrected."""
    told = entry.creditor_ref is not None and entry.has_bank_ref  # a payment's own transfers are told by the bank's ref
    return (
        entry.account,
        entry.raw_ref,
        "" if told else entry.statement_ref or "",
        entry.booked_on.isoformat(),
        entry.amount.currency,
        "out" if entry.amount.minor < 0 else "in",
        str(entry.reversal),
        entry.end_to_end_id or "",
        entry.creditor_ref or "",
    )


@dataclass(frozen=True, slots=True)
class AccountStatement:
    """One account's booked day. gap is zero unless the reader was asked to let it pass."""

    message_id: str
    statement_id: str
    account: str
    business_date: date
    opening: Money
    closing: Money
    entries: tuple[Entry, ...]
    page: int = 1  # which file of the day's statements this stood in; a bank with many accounts sends several
    last_page: bool = True

    @property
    def gap(self) -> Money:
        """What the entries lack to lead from the opening to the closing balance."""
        booked = sum(entry.amount.minor for entry in self.entries)
        return Money(self.closing.minor - self.opening.minor - booked, self.closing.currency)


def read_camt053(xml: bytes, *, allow_gap: bool = False) -> list[AccountStatement]:
    """Read an end-of-day statement file, one AccountStatement each account. Raises BadStatement.

    allow_gap: return statements whose opening and entries do not make the closing, instead of refusing the file. Only
    for a reader that reports AccountStatement.gap and books nothing on the entries' word (reconciliation).
    """
    body = _only(_document(xml, CAMT_053), "BkToCstmrStmt")
    message_id = _text(body, "GrpHdr/MsgId")
    page, last = _page(body, "GrpHdr/MsgPgntn")
    statements = [replace(_statement(message_id, node), page=page, last_page=last) for node in _children(body, "Stmt")]
    for statement in statements:
        if statement.gap.minor and not allow_gap:
            raise BadStatement(
                "totals_differ",
                f"account {statement.account}: opening {statement.opening} and the entries "
                f"do not make the closing {statement.closing}; {statement.gap} is missing",
            )
    if not statements:
        raise BadStatement("empty", "the file holds no statement")
    seen: set[tuple[str, date]] = set()
    for statement in statements:
        if (statement.account, statement.business_date) in seen:
            raise BadStatement(
                "duplicate_statement", f"account {statement.account} has two statements of {statement.business_date}"
            )
        seen.add((statement.account, statement.business_date))
    return statements


def read_camt054(xml: bytes, *, odd: list[BadStatement] | None = None) -> list[Entry]:
    """Read a debit/credit notification: booked entries only. Raises BadStatement.

    odd: takes what is wrong with entries and notifications that cannot be read, and the others are returned; None: one
    such has the whole file refused.
    It may overlap other notifications and the statement; `entry_ref` tells what is the same booking, and `notice` and
    `booking` together what was read before. A page of a longer message is a notice of its own.
    """
    body = _only(_document(xml, CAMT_054), "BkToCstmrDbtCdtNtfctn")
    message = [_maybe(body, "GrpHdr/MsgId") or "", _maybe(body, "GrpHdr/MsgPgntn/PgNb") or ""]
    entries: list[Entry] = []
    likes: Counter[tuple[str, ...]] = Counter()  # of the message: two of its notifications may have one id
    for position, notification in enumerate(_children(body, "Ntfctn"), 1):
        try:
            account, currency = _own_account(notification)
        except BadStatement as error:
            named = f"notification {position} ({_maybe(notification, 'Id') or 'without an id'}): {error.message}"
            if odd is None:
                raise BadStatement(error.code, named) from None
            odd.append(BadStatement(error.code, named))
            continue
        place = [*message, _maybe(notification, "Id") or "", _maybe(notification, "NtfctnPgntn/PgNb") or ""]
        notice = "/".join(place) if message[0] or place[2] else hashlib.sha256(xml).hexdigest()
        for entry in _entries(notification, account, currency, odd):
            likes[notice, *_alike(entry)] += 1
            entries.append(replace(entry, notice=notice, nth=likes[notice, *_alike(entry)]))
    return entries


def _page(node: ET.Element, path: str) -> tuple[int, bool]:
    """Return the page number and whether it is the last one; a file that does not say is the only page."""
    number, last = _maybe(node, f"{path}/PgNb") or "1", _maybe(node, f"{path}/LastPgInd") or "true"
    if not (number.isascii() and number.isdigit() and len(number) <= 5) or last not in ("true", "false", "1", "0"):
        raise BadStatement("malformed", f"page {number[:10]!r}, last {last[:10]!r}: not a page number")
    return int(number), last in ("true", "1")


def _statement(message_id: str, node: ET.Element) -> AccountStatement:
    account, currency = _own_account(node)
    opening, closing, business_date = _balances(node, account, currency)
    if _page(node, "StmtPgntn") != (1, True):
        raise BadStatement("paged", f"account {account}: one page of a longer statement; whole statements only")
    entries = tuple(_entries(node, account, currency))
    announced = _maybe(node, "TxsSummry/TtlNtries/NbOfNtries")
    if announced is not None and announced != str(len(_children(node, "Ntry"))):
        raise BadStatement(
            "totals_differ",
            f"account {account}: {announced[:15]} entries announced, {len(_children(node, 'Ntry'))} there",
        )
    return AccountStatement(message_id, _text(node, "Id"), account, business_date, opening, closing, entries)


def _own_account(node: ET.Element) -> tuple[str, str | None]:
    account = _account_number(_only(node, "Acct"))
    if account is None:
        raise BadStatement("malformed", f"{node.tag} does not say which account it is of")
    return account, _maybe(node, "Acct/Ccy")


def _account_number(node: ET.Element) -> str | None:
    return _maybe(node, "Id/Othr/Id") or _maybe(node, "Id/IBAN")


def _balances(node: ET.Element, account: str, currency: str | None) -> tuple[Money, Money, date]:
    found: dict[str, tuple[Money, date]] = {}
    for balance in _children(node, "Bal"):
        code = _text(balance, "Tp/CdOrPrtry/Cd")
        if code not in ("OPBD", "CLBD"):
            continue
        if code in found:
            raise BadStatement("malformed", f"account {account} has two balances {code}")
        found[code] = (_signed(balance, currency), _date(_only(balance, "Dt")))
    try:
        (opening, _), (closing, business_date) = found["OPBD"], found["CLBD"]
    except KeyError as missing:
        raise BadStatement("balance_missing", f"account {account} has no balance {missing.args[0]}") from None
    if opening.currency != closing.currency:
        raise BadStatement(
            "other_currency", f"account {account} opens in {opening.currency}, ends in {closing.currency}"
        )
    return opening, closing, business_date


def _entries(
    node: ET.Element, account: str, currency: str | None, odd: list[BadStatement] | None = None
) -> Iterator[Entry]:
    """Yield the booked entries of one statement or notification, those with one reference numbered apart."""
    refs: Counter[str] = Counter()
    for entry in _read_entries(node, account, currency, odd):
        refs[entry.entry_ref] += 1
        nth = refs[entry.entry_ref]
        ref = entry.entry_ref if nth == 1 else f"{entry.entry_ref}#{nth}"
        yield replace(entry, entry_ref=ref, raw_ref=entry.entry_ref)


def _read_entries(
    node: ET.Element, account: str, currency: str | None, odd: list[BadStatement] | None
) -> Iterator[Entry]:
    for position, entry in enumerate(_children(node, "Ntry"), 1):
        try:
            yield from _read_entry(entry, account, currency)
        except BadStatement as error:
            named = BadStatement(error.code, f"entry {position}{_refs(entry)}: {error.message}")
            if odd is None:
                raise named from None
            odd.append(named)


def _refs(entry: ET.Element) -> str:
    """Return by what the bank knows an entry that cannot be read, for whoever asks it."""
    refs = [f"{ref.tag} {ref.text[:40]}" for ref in entry if ref.tag in ("AcctSvcrRef", "NtryRef") and ref.text]
    return f" ({', '.join(refs)})" if refs else ""


_NO_MONEY = frozenset({"PDNG", "FUTR", "INFO"})  # pending, of a later day, informational; of ExternalEntryStatus1Code


def _read_entry(entry: ET.Element, account: str, currency: str | None) -> list[Entry]:
    """Return an entry, if it is booked; one that gathers several transactions comes out as its transactions.

    It stays whole where one of them does not say its amount, which the message leaves open; and where not all of them
    are shown it is whole and nobody's.
    """
    status = _text(entry, "Sts/Cd")
    if status in _NO_MONEY:
        return []
    if status != "BOOK":
        raise BadStatement("malformed", f"{status[:10]!r} is no status of an entry")
    amount = _signed(entry, currency)
    bank_ref = _maybe(entry, "AcctSvcrRef")
    ref = bank_ref or _text(entry, "NtryRef")
    base = Entry(
        account=account,
        entry_ref=ref,
        end_to_end_id=None,
        amount=amount,
        booked_on=_date(_only(entry, "BookgDt")),
        reversal=_maybe(entry, "RvslInd") in ("true", "1"),
        statement_ref=_maybe(entry, "NtryRef"),
        has_bank_ref=bank_ref is not None,
    )
    details: list[ET.Element] = []
    for group in _children(entry, "NtryDtls"):
        shown, announced = _children(group, "TxDtls"), _maybe(group, "Btch/NbOfTxs")
        if announced is not None and announced.lstrip("0") != str(len(shown)):
            return [base]
        details += shown
    if len(details) <= 1:
        return [_detailed(base, details[0]) if details else base]
    if any(_transaction_amount(one) is None for one in details):
        return [base]
    parts = [
        _detailed(
            replace(
                base,
                entry_ref=_maybe(one, "Refs/AcctSvcrRef") or f"{ref}/{number}",
                has_bank_ref=bank_ref is not None or _maybe(one, "Refs/AcctSvcrRef") is not None,
                amount=_part(one, entry, amount.currency),
            ),
            one,
        )
        for number, one in enumerate(details, 1)
    ]
    if sum(part.amount.minor for part in parts) != amount.minor:
        raise BadStatement("totals_differ", f"the transactions of entry {ref} do not add up to it")
    return parts


def _detailed(entry: Entry, node: ET.Element) -> Entry:
    other_side = "Dbtr" if entry.amount.minor >= 0 else "Cdtr"
    end_to_end = _maybe(node, "Refs/EndToEndId")
    accounts = _children(node, f"RltdPties/{other_side}Acct")
    ours = _children(node, "RltdPties/CdtrAcct") if entry.amount.minor >= 0 else []
    return replace(
        entry,
        end_to_end_id=None if end_to_end in (None, NOT_PROVIDED) else end_to_end,
        counterparty_account=_account_number(accounts[0]) if accounts else None,
        counterparty_name=_maybe(node, f"RltdPties/{other_side}/Pty/Nm") or _maybe(node, f"RltdPties/{other_side}/Nm"),
        remittance="".join(note.text or "" for note in _children(node, "RmtInf/Ustrd")),
        return_reason=_maybe(node, "RtrInf/Rsn/Cd"),
        creditor_ref=_maybe(node, "RmtInf/Strd/CdtrRefInf/Ref"),
        creditor_account=_account_number(ours[0]) if ours else None,
        accepted_at=_moment(node, "RltdDts/AccptncDtTm"),
    )


def _transaction_amount(node: ET.Element) -> ET.Element | None:
    """Return what a transaction of an entry says its amount is; it may stand among its details."""
    amount = node.find("Amt")
    return amount if amount is not None else node.find("AmtDtls/TxAmt/Amt")


def _part(node: ET.Element, entry: ET.Element, currency: str) -> Money:
    """Read a transaction's amount; where it does not say which way money went, it went the entry's way."""
    amount = _transaction_amount(node)
    assert amount is not None
    return _with_sign(amount, _maybe(node, "CdtDbtInd") or _text(entry, "CdtDbtInd"), currency)


def _signed(node: ET.Element, currency: str | None) -> Money:
    """Read Amt with the sign of CdtDbtInd."""
    return _with_sign(_only(node, "Amt"), _text(node, "CdtDbtInd"), currency)


def _with_sign(amount: ET.Element, direction: str, currency: str | None) -> Money:
    """Read an amount, which itself never carries a sign."""
    code = amount.get("Ccy", "")
    if not is_currency(code):
        raise BadStatement("bad_currency", f"{code[:10]!r} is no currency we know")
    if currency is not None and code != currency:
        raise BadStatement("other_currency", f"an amount in {code} on an account in {currency}")
    text = _told(amount) or ""
    if text.startswith("-"):
        raise BadStatement(
            "negative_amount", f"the amount {text[:30]} is below zero; CdtDbtInd says which way money went"
        )
    try:
        money = from_major(text, code)
    except ValueError:
        raise BadStatement("bad_amount", f"{text[:30]!r} is not an amount in {code}") from None
    match direction:
        case "CRDT":
            return money
        case "DBIT":
            return Money(-money.minor, code)
        case other:
            raise BadStatement("malformed", f"CdtDbtInd is {other[:10]!r}, neither CRDT nor DBIT")


def _date(node: ET.Element) -> date:
    """Return a day; a moment that knows its time zone is of Beijing's day."""
    text, moment = _maybe(node, "Dt"), _moment(node, "DtTm")
    told = text or _maybe(node, "DtTm") or ""
    try:
        if text is None and moment is not None:
            return moment.date()
        return date.fromisoformat(told[:10])
    except ValueError:
        raise BadStatement("malformed", f"{told[:30]!r} is not a date") from None


def _moment(node: ET.Element, path: str) -> datetime | None:
    """Return a moment, Beijing; None where there is none, or one without its time zone."""
    text = _maybe(node, path)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(BEIJING) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        raise BadStatement("malformed", f"{text[:40]!r} is not a moment") from None


# ---- XML, distrusted -------------------------------------------------------------------------------------------------


class _Bounded(ET.TreeBuilder):
    """Builds the tree with plain names; refuses foreign namespaces and nesting no real file has."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self._prefix = f"{{{NAMESPACE}{message}}}"
        self._message = message
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str]) -> ET.Element:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadStatement("too_deep", f"elements are nested deeper than {MAX_DEPTH}")
        if tag.startswith(self._prefix):
            tag = tag[len(self._prefix) :]
        elif self._depth <= 2:
            raise BadStatement("wrong_namespace", f"this is {tag[:120]}, not a {self._message}")
        # Deeper foreign elements (supplementary data of the bank's own) keep their full name, so nothing reads them.
        return super().start(tag, attrs)

    def end(self, tag: str) -> ET.Element:
        self._depth -= 1
        return super().end(tag.removeprefix(self._prefix))


# What banks in China write and expat does not read; the later of the two standards has all of the earlier.
_CHINESE = re.compile(rb"""<\?xml[^>]{1,99}encoding\s*=\s*["'](gb18030|gbk|gb2312)["']""", re.IGNORECASE)


def _document(xml: bytes, message: str) -> ET.Element:
    """Return the root of a message of exactly this version. DTDs and entities are refused."""
    if len(xml) > MAX_BYTES:
        raise BadStatement("too_big", f"{len(xml)} bytes; at most {MAX_BYTES} are read")
    parser = DefusedXMLParser(target=_Bounded(message), forbid_dtd=True)
    try:
        parser.feed(xml.decode("gb18030") if _CHINESE.match(xml) else xml)
        root = parser.close()
    except DefusedXmlException as error:
        raise BadStatement("dtd_forbidden", f"the file defines entities or a DTD: {type(error).__name__}") from None
    except (ET.ParseError, ValueError, LookupError) as error:
        raise BadStatement("not_xml", f"the file is not well-formed XML: {str(error)[:200]}") from None
    if not isinstance(root, ET.Element) or root.tag != "Document":
        raise BadStatement("wrong_namespace", f"this is no {message}")
    return root


def _children(node: ET.Element, path: str) -> list[ET.Element]:
    return node.findall(path)


def _only(node: ET.Element, name: str) -> ET.Element:
    found = node.findall(name)
    if len(found) != 1:
        raise BadStatement("malformed", f"{node.tag} has {len(found)} elements {name} where one must be")
    return found[0]


def _maybe(node: ET.Element, path: str) -> str | None:
    found = node.find(path)
    return None if found is None else _told(found)


def _told(node: ET.Element) -> str | None:
    """Return an element's text; None where it is empty. What is no text of these messages is not read in part."""
    text = (node.text or "").strip()
    if len(node) or len(text) > MAX_TEXT:
        raise BadStatement("malformed", f"{node.tag} is not text alone, or longer than {MAX_TEXT} characters")
    return text or None


def _text(node: ET.Element, path: str) -> str:
    text = _maybe(node, path)
    if text is None:
        raise BadStatement("malformed", f"{node.tag} has no {path}")
    return text
