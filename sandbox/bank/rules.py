"""Whether one line of an order is executed or refused. Pure.

Reason codes: ISO 20022 external code set ExternalStatusReason1Code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sandbox.bank.instructions import Line
from sandbox.bank.money import to_text


class Status(StrEnum):
    """ISO 20022 status codes this bank uses, of a line, a block or a file."""

    SETTLED = "ACSC"  # AcceptedSettlementCompleted
    PARTLY = "PART"  # some lines settled, some rejected
    REJECTED = "RJCT"
    ACCEPTED = "ACCP"  # checked and taken in; says nothing of the money
    VALIDATED = "ACTC"  # likewise, by an ordered fault: the last word of this bank's about a line
    IN_PROCESS = "ACSP"  # likewise


@dataclass(frozen=True, slots=True)
class Account:
    """What the rules need to know of an account at this bank."""

    number: str
    customer_id: str
    name: str
    currency: str
    kind: str  # pool | sub
    status: str  # open | closed; of one that is not there: pending | refused
    balance_minor: int
    reason: str | None = None  # of one that was refused


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a line is not executed: code of the external code set, and a sentence; further codes after it."""

    code: str
    why: str
    more: tuple[str, ...] = ()


def judge(
    line: Line,
    *,
    customer_id: str,
    bic: str,
    debtor: Account | None,
    creditor: Account | None,
    already_paid: bool,
) -> Refusal | None:
    """Return why a line is refused, or None if it is to be executed now.

    customer_id: who sent the file. bic: this bank's. already_paid: this customer's EndToEndId was executed before;
    a refused one may be sent again.
    """
    if line.amount_minor == 0:
        return Refusal("AM01", "the amount is zero")
    if not _same_bank(line.debtor_bic, bic):
        return Refusal("RC01", f"the debtor's agent {line.debtor_bic} is not this bank, {bic}")
    if debtor is None or debtor.customer_id != customer_id:
        return Refusal("AC01", f"debtor account {line.debtor_account} is none of the sender's accounts at this bank")
    elsewhere = leaves_the_bank(line, bic)
    if debtor.kind == "sub" and not elsewhere:
        return Refusal("AG01", f"debtor account {debtor.number} is a sub-account, which pays to other banks alone")
    if debtor.kind == "pool" and elsewhere:
        return Refusal("RC01", f"the creditor's agent {line.creditor_bic} is not this bank, {bic}")
    if debtor.status != "open":
        return Refusal("AC04", f"debtor account {debtor.number} is {debtor.status}")
    if elsewhere:
        return _judge_elsewhere(line, debtor, already_paid=already_paid)
    if creditor is None:
        return Refusal("AC01", f"creditor account {line.creditor_account or '(none)'} is unknown at this bank")
    if creditor.status != "open":
        return Refusal("AC04", f"creditor account {creditor.number} is {creditor.status}")
    if creditor.number == debtor.number:
        return Refusal("AG01", "debtor and creditor are the same account")
    if line.currency != debtor.currency or line.currency != creditor.currency:
        accounts = f"{debtor.currency} (debtor) and {creditor.currency} (creditor)"
        return Refusal("AM03", f"the amount is in {line.currency}, the accounts are in {accounts}")
    return _judge_funds(line, debtor, already_paid=already_paid)


def leaves_the_bank(line: Line, bic: str) -> bool:
    """Return whether a line pays to an account at another bank than this one."""
    return not _same_bank(line.creditor_bic, bic)


def _judge_elsewhere(line: Line, debtor: Account, *, already_paid: bool) -> Refusal | None:
    """Return why a line to another bank is refused: out of a sub-account, its holder pays itself alone 同名."""
    if not line.creditor_account:
        return Refusal("AC01", "the creditor account is missing")
    if line.creditor_name != debtor.name:
        return Refusal("BE01", f"account {debtor.number} pays to other banks in its holder's own name alone")
    if line.currency != debtor.currency:
        return Refusal("AM03", f"the amount is in {line.currency}, the account is in {debtor.currency}")
    return _judge_funds(line, debtor, already_paid=already_paid)


def _judge_funds(line: Line, debtor: Account, *, already_paid: bool) -> Refusal | None:
    if already_paid:
        return Refusal("AM05", f"EndToEndId {line.end_to_end_id} was executed before")
    if line.amount_minor > debtor.balance_minor:
        needed = to_text(line.amount_minor, line.currency)
        return Refusal("AM04", f"{needed} {line.currency} is more than the balance of account {debtor.number}")
    return None


def group_status(statuses: list[Status]) -> Status:
    """Return the status of a file or block from its lines' statuses; an empty one counts as rejected."""
    if statuses and statuses[0] is not Status.REJECTED and all(status is statuses[0] for status in statuses):
        return statuses[0]
    if all(status is Status.REJECTED for status in statuses):
        return Status.REJECTED
    return Status.PARTLY


def _same_bank(named: str | None, bic: str) -> bool:
    """Return whether a BIC names this bank, or none is named; eight characters mean the head office, XXX."""
    return named is None or named.ljust(11, "X")[:11] == bic.ljust(11, "X")[:11]
