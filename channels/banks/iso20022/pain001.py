"""Instructions out: pain.001, the payments that a bank is to make. Source: pain.001.001.09, and .03 for older banks."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from xml.sax.saxutils import escape, quoteattr

from channels.banks.iso20022.xml import NAMESPACE, NOT_PROVIDED
from channels.banks.orders import Instruction, Order, is_bic, no_text
from kernel.clock import BEIJING
from kernel.errors import Rejected
from kernel.money import Money, is_currency

PAIN_001, PAIN_001_OLD = "pain.001.001.09", "pain.001.001.03"
WRITTEN = (PAIN_001, PAIN_001_OLD)
# Order.written_as: in which version, and whether BtchBookg says that each line is to be booked by itself. 0: as it was
# before that was said.
FORMS = {0: (PAIN_001, False), 1: (PAIN_001, True), 2: (PAIN_001_OLD, True)}


@dataclass(frozen=True, slots=True)
class Batch:
    """An order as one file; every line has the same currency."""

    message_id: str  # ours, never used twice: sending the same bytes again under it is safe
    debtor_account: str
    debtor_name: str
    execution_date: date
    bank_bic: str
    instructions: Sequence[Instruction]
    created_at: datetime | None = None  # aware; None: midnight in Beijing of the execution date
    says_booking: bool = True  # whether BtchBookg says that each line is to be booked by itself
    version: str = PAIN_001  # one of WRITTEN


def batch_of(order: Order, bic: str) -> Batch:
    """Return an order as a file has it. bic: the bank's."""
    version, says_booking = FORMS[order.written_as]
    return Batch(
        order.message_id,
        order.debtor_account,
        order.debtor_name,
        order.execution_date,
        bic,
        order.instructions,
        order.created_at,
        says_booking=says_booking,
        version=version,
    )


_ID = re.compile(r"[0-9A-Za-z/\-?:().,'+ ]{1,35}", re.ASCII)  # the SWIFT character set, without line ends
_ACCOUNT = re.compile(r"[0-9A-Za-z\-]{1,34}", re.ASCII)


AT_A_TIME = 500  # lines of a piece


def pain001(batch: Batch) -> bytes:
    """Return a batch as a pain.001, as `written` does in pieces. Raises Rejected."""
    return b"".join(written(batch))


def written(batch: Batch) -> Iterator[bytes]:
    """Write a batch as pain.001 of its version, in pieces; the same batch always gives the same bytes.

    Raises Rejected, before the first piece, when something in it cannot be said in the format: then nothing may be
    sent.
    """
    _check(batch)
    # Midnight in Beijing rather than "now": the bank answers a repeat only when the bytes are the same.
    created_at = batch.created_at or datetime.combine(batch.execution_date, time(), BEIJING)
    total = Money(sum(line.amount.minor for line in batch.instructions), batch.instructions[0].amount.currency)
    is_old = batch.version == PAIN_001_OLD  # a day is a choice since 08, and the BIC has another name since 04
    bic, day = "BIC" if is_old else "BICFI", batch.execution_date.isoformat()
    agent = _agent(bic, batch.bank_bic)
    counted = f"<NbOfTxs>{len(batch.instructions)}</NbOfTxs><CtrlSum>{total.major()}</CtrlSum>"
    debtor = escape(batch.debtor_name)
    booking = "<BtchBookg>false</BtchBookg>" if batch.says_booking else ""
    head = [
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{NAMESPACE}{batch.version}"><CstmrCdtTrfInitn>\n',
        f"<GrpHdr><MsgId>{escape(batch.message_id)}</MsgId><CreDtTm>{created_at.isoformat(timespec='seconds')}</CreDtTm>",
        f"{counted}<InitgPty><Nm>{debtor}</Nm></InitgPty></GrpHdr>\n",
        f"<PmtInf><PmtInfId>{escape(batch.message_id)}</PmtInfId><PmtMtd>TRF</PmtMtd>{booking}{counted}",
        f"<ReqdExctnDt>{day if is_old else f'<Dt>{day}</Dt>'}</ReqdExctnDt><Dbtr><Nm>{debtor}</Nm></Dbtr>",
        f"<DbtrAcct>{_account(batch.debtor_account)}<Ccy>{total.currency}</Ccy></DbtrAcct><DbtrAgt>{agent}</DbtrAgt>\n",
    ]
    yield "".join(head).encode()
    parts: list[str] = []
    for line in batch.instructions:
        note = f"<RmtInf><Ustrd>{escape(line.remittance)}</Ustrd></RmtInf>" if line.remittance else ""
        parts.append(
            f"<CdtTrfTxInf><PmtId><EndToEndId>{escape(line.end_to_end_id)}</EndToEndId></PmtId>"
            f"<Amt><InstdAmt Ccy={quoteattr(line.amount.currency)}>{line.amount.major()}</InstdAmt></Amt>"
            f"<CdtrAgt>{_agent(bic, line.bank_bic or batch.bank_bic)}</CdtrAgt>"
            f"<Cdtr><Nm>{escape(line.creditor_name)}</Nm></Cdtr>"
            f"<CdtrAcct>{_account(line.creditor_account)}</CdtrAcct>{note}</CdtTrfTxInf>\n"
        )
        if len(parts) == AT_A_TIME:
            yield "".join(parts).encode()
            parts.clear()
    yield "".join([*parts, "</PmtInf></CstmrCdtTrfInitn></Document>\n"]).encode()


def _agent(element: str, bic: str) -> str:
    return f"<FinInstnId><{element}>{bic}</{element}></FinInstnId>"


def _account(number: str) -> str:
    return f"<Id><Othr><Id>{escape(number)}</Id></Othr></Id>"


def sayable_id(ident: str) -> bool:
    """Tell whether banks can carry an id of ours."""
    return _ID.fullmatch(ident) is not None and ident != NOT_PROVIDED


def unsayable(name: str, account: str | None = None) -> str | None:
    """Return why a payee of this name and account number cannot be paid by a pain.001; None where it can be.

    Whoever registers payees and makes batches asks this first: one line that cannot be said is a file not written.
    account: None where it is not known yet.
    """
    if why := no_text("its name", name, 140):
        return why
    if account is not None and not _ACCOUNT.fullmatch(account):
        return f"its account number must be 1 to 34 letters, digits and hyphens, not {account[:40]!r}"
    return None


def _check(batch: Batch) -> None:
    """Refuse what the format cannot carry. A shortened name would be paid to somebody the payer did not name."""

    def text(what: str, value: str, limit: int, *, required: bool = True) -> None:
        if (value or required) and (why := no_text(what, value, limit)):
            raise _bad(why)

    if batch.version not in WRITTEN:
        raise _bad(f"{batch.version[:40]!r} is not written; there are {' and '.join(WRITTEN)}")
    if not _ID.fullmatch(batch.message_id):
        raise _bad(f"message id {batch.message_id[:40]!r} must be 1 to 35 characters banks can carry")
    if not is_bic(batch.bank_bic):
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
        if line.bank_bic is not None and not is_bic(line.bank_bic):
            raise _bad(f"{line.bank_bic[:20]!r} is not a BIC")
        text("remittance", line.remittance, 140, required=False)
        if line.amount.minor <= 0:
            raise _bad(f"{line.end_to_end_id} asks to pay {line.amount}; only amounts above zero can be paid")
        if not is_currency(line.amount.currency) or line.amount.currency != batch.instructions[0].amount.currency:
            raise _bad(f"{line.end_to_end_id} is in {line.amount.currency}; a batch has one currency")


def _bad(message: str) -> Rejected:
    return Rejected("bad_instruction", message)
