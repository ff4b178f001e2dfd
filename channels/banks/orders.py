"""What the hub has a bank do, in no bank's form: a batch of instructions, and taking one of them back."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from kernel.money import Money

_BIC = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?", re.ASCII)
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line 结算指令 of a batch: pay this much from the pool account to that account."""

    end_to_end_id: str  # ours, never used twice; comes back in answers and bookings
    creditor_account: str
    creditor_name: str
    amount: Money
    remittance: str = ""  # what the payee reads on the statement
    bank_bic: str | None = None  # of the creditor's bank; None: the bank that is given the order


@dataclass(frozen=True, slots=True)
class Order:
    """The instructions of one pool account and one day, as they are given to a bank; every line has one currency.

    The same order is written the same whenever it is given again, whatever the bank's settings are by then.
    """

    message_id: str  # ours, never used twice
    debtor_account: str
    debtor_name: str
    execution_date: date
    instructions: Sequence[Instruction]
    created_at: datetime  # aware
    written_as: int = 1  # which of its bank's forms it is written in, see contract.Bank.form
    again_since: datetime | None = None  # when it was decided to send again what the bank had refused


# Why a payment is recalled, of the codes of ISO 20022's ExternalCancellationReason1Code: those that a payer can know.
# Source: iso20022.org, External Code Sets.
RECALL_REASONS: Mapping[str, str] = {
    "AC03": "paid to a wrong account",
    "AM09": "of a wrong amount",
    "CUST": "asked for by whom it was paid for",
    "DUPL": "a duplicate of another payment",
    "FRAD": "begun by a fraud",
    "TECH": "made by a technical fault",
    "UPAY": "not due: made to a wrong payee, or in error",
}


@dataclass(frozen=True, slots=True)
class RecallRequest:
    """What asks a bank to take back one instruction that it was given 追回: the same bytes whenever it is asked."""

    id: str  # ours, never used twice, and no order's; at most 35 characters
    order_id: str  # the message id of the order
    end_to_end_id: str  # of the instruction in it
    amount: Money
    execution_date: date  # as the order has it
    asker: str  # the holder of the account that it was paid from
    reason: str  # one of RECALL_REASONS
    note: str  # for the bank's people, at most 105 characters; may be empty
    created_at: datetime  # aware
    written_as: int = 1  # how the order is written


def is_bic(text: str) -> bool:
    """Tell whether a text has the form of a bank's identifier: 8 or 11 characters (ISO 9362)."""
    return _BIC.fullmatch(text) is not None


def no_text(what: str, value: str, limit: int) -> str | None:
    """Return why a text cannot be given to a bank; None where it can. limit: in characters."""
    if len(value) <= limit and value.strip() and not _NOT_TEXT.search(value):
        return None
    return f"{what} must be 1 to {limit} printable characters, not {value[:40]!r}"
