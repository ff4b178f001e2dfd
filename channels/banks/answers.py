"""What a bank says became of an order, in no bank's form; and whether it speaks of the order that it was given."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from channels.banks.errors import BadStatement
from kernel.money import Money, from_major


class Fate(StrEnum):
    """What a status means for the money of one line."""

    EXECUTED = "executed"
    REFUSED = "refused"
    PENDING = "pending"  # received, checked, accepted, under way: not final
    IN_DOUBT = "in_doubt"  # final words that decide nothing: it may have been paid, so a person asks the bank


FINAL = frozenset({Fate.EXECUTED, Fate.REFUSED})


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason of a status. A bank may give several; all of them count."""

    code: str | None  # None: only a text
    text: str | None = None
    says_duplicate: bool = False  # that the bank has it already
    is_words: bool = False  # only a person can read it

    def __str__(self) -> str:
        return ": ".join(part for part in (self.code, self.text) if part)


@dataclass(frozen=True, slots=True)
class LineStatus:
    """What the bank says of one instruction, by itself or of what it is part of."""

    end_to_end_id: str
    status: str  # as the bank wrote it: ACSC, RJCT, PDNG …; empty: it says none, and what is said above it holds
    said: Fate = Fate.PENDING  # what that word means by itself
    reason: str | None = None  # the first one's code, AC04 …
    reason_text: str | None = None
    bank_ref: str | None = None  # AcctSvcrRef, where the bank gives one
    reasons: tuple[Reason, ...] = ()
    payment_id: str | None = None  # OrgnlPmtInfId it stands below
    amount: Money | None = None  # what the bank was told to pay, where it repeats it (OrgnlTxRef)
    creditor_account: str | None = None  # likewise
    debtor_account: str | None = None  # likewise
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
        if self.contradicted or (self.said is not Fate.PENDING and self.says_duplicate):
            return Fate.IN_DOUBT
        if self.said is Fate.REFUSED and self.reasons and all(reason.is_words for reason in self.reasons):
            return Fate.IN_DOUBT
        return self.said


class RecallVerdict(StrEnum):
    """What a bank's answer to a recall 追回 means."""

    ACCEPTED = "accepted"  # the money comes back, or never goes
    REFUSED = "refused"
    PENDING = "pending"  # it is looked into; another answer follows


@dataclass(frozen=True, slots=True)
class RecallAnswer:
    """What a bank says became of one recall. What it does not repeat of the payment is None."""

    message_id: str
    recall_id: str  # ours
    verdict: RecallVerdict
    status: str  # as the bank wrote it: ACCR, RJCR, PDCR, CNCL …
    reasons: tuple[Reason, ...] = ()
    order_id: str | None = None
    end_to_end_id: str | None = None
    amount: Money | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """What a report says of how much it reports on; None where it does not say. A control sum has no currency."""

    count: int | None = None  # OrgnlNbOfTxs
    sum: str | None = None  # OrgnlCtrlSum, as written: digits, at most one point
    by_status: tuple[tuple[str, int], ...] = ()  # NbOfTxsPerSts: status → lines


@dataclass(frozen=True, slots=True)
class PaymentStatus:
    """What the bank says of a payment information: of each of its lines that it does not name."""

    payment_id: str
    status: str | None  # as the bank wrote it; None: nothing is said of all of them
    reasons: tuple[Reason, ...]
    totals: Totals = Totals()
    said: Fate = Fate.PENDING  # what that status means by itself


@dataclass(frozen=True)
class StatusReport:
    """The bank's word on one batch. `lines` may be fewer than were sent, or none."""

    message_id: str
    created_at: str  # as written; banks often leave the time zone out
    original_message_id: str
    group_status: str | None
    group_reason: str | None  # the first one's code
    lines: tuple[LineStatus, ...]
    group_reasons: tuple[Reason, ...] = ()
    payments: tuple[PaymentStatus, ...] = ()
    totals: Totals = Totals()
    said: Fate = Fate.PENDING  # what the group's status means by itself

    @cached_property
    def _by_id(self) -> dict[str, list[LineStatus]]:
        found: dict[str, list[LineStatus]] = {}
        for line in self.lines:
            found.setdefault(line.end_to_end_id, []).append(line)
        return found

    @cached_property
    def _said_of_lines(self) -> frozenset[Fate]:
        """The final words that it says of any line."""
        return frozenset(line.said for line in self.lines) & FINAL

    def fate_of(self, end_to_end_id: str) -> LineStatus | None:
        """Return the bank's word on one line of the batch, or None when the report does not speak of it.

        What is said of the line comes first, then of its payment information (a batch of ours has one, under the
        message's id), then of the file. Where nothing is said of it, a final word about what it is part of is its own.
        Reasons of every refusal above it are its reasons too. Words that contradict each other leave it in doubt.
        """
        own = self._by_id.get(end_to_end_id, [])
        above = {line.payment_id for line in own}
        payments = [one for one in self.payments if one.status and (not own or one.payment_id in above)]
        said = [(line.status, line.said, line.reasons) for line in own if line.status]
        worded = len(said)
        said += [(one.status or "", one.said, one.reasons) for one in payments]
        if self.group_status:
            said.append((self.group_status, self.said, self.group_reasons))
        final = {word for _, word, _ in said if word in FINAL}
        if not worded and not final:
            return None
        status, word, _ = said[0]
        reasons = own[0].reasons if own else ()
        reasons += tuple(one for _, told, more in said[1 if worded else 0 :] if told is Fate.REFUSED for one in more)
        contradicted = len(final) > 1 or (bool(final) and word not in FINAL)
        if not worded:
            strangers = any(one.payment_id != self.original_message_id for one in payments)
            contradicted = contradicted or strangers or not self._said_of_lines <= final
        line = own[0] if own else LineStatus(end_to_end_id, status, word, *first(reasons))
        if not worded:
            line = replace(line, status=status, said=word)
        return replace(line, reasons=reasons, contradicted=contradicted)


def first(reasons: Sequence[Reason]) -> tuple[str | None, str | None]:
    """Return the first reason's code and words."""
    return (reasons[0].code, reasons[0].text) if reasons else (None, None)


def disagreement(report: StatusReport, sent: Mapping[str, tuple[Money, str]]) -> BadStatement | None:
    """Return which total or id of its batch a report has otherwise; None where they agree.

    sent: the lines the bank was given: end-to-end id → amount, creditor's account. What a report leaves out says
    nothing. A line twice in one report is no disagreement: fate_of weighs it.
    """
    if not sent:
        return BadStatement("other_line", f"nothing was sent under {report.original_message_id}")
    named = Counter(line.payment_id for line in report.lines)
    for payment in report.payments:
        if payment.payment_id != report.original_message_id:
            why = f"it reports on a payment information {payment.payment_id}, and ours is {report.original_message_id}"
            return BadStatement("other_payment", why)
        if wrong := _wrong_totals(f"payment information {payment.payment_id}", payment.totals, sent):
            return wrong
        reported = sum(number for _, number in payment.totals.by_status)
        if payment.totals.by_status and named[payment.payment_id] > reported:
            why = f"it counts {reported} lines by status and has {named[payment.payment_id]}"
            return BadStatement("count_differs", why)
    if wrong := _wrong_totals("the file", report.totals, sent):
        return wrong
    for line in report.lines:
        if line.end_to_end_id not in sent:
            which = line.end_to_end_id or "one without an end-to-end id"
            return BadStatement("other_line", f"it reports on a line that is not in the batch: {which}")
    return None


def other_payment_than_sent(
    report: StatusReport, sent: Mapping[str, tuple[Money, str]], debtor_account: str
) -> BadStatement | None:
    """Return which line of the batch was carried out with another amount or account; None where none was.

    sent: as `disagreement` takes it. Nobody can let that pass: the money moved otherwise than it was to.
    """
    for line in report.lines:
        if line.end_to_end_id not in sent:
            continue
        amount, account = sent[line.end_to_end_id]
        if line.amount is not None and line.amount != amount:
            why = f"line {line.end_to_end_id}: it reports {line.amount}, and {amount} was to be paid"
            return BadStatement("amount_differs", why)
        if line.creditor_account is not None and line.creditor_account != account:
            why = f"line {line.end_to_end_id}: it names the account …{line.creditor_account[-4:]}, not …{account[-4:]}"
            return BadStatement("account_differs", why)
        if line.debtor_account is not None and line.debtor_account != debtor_account:
            why = f"line {line.end_to_end_id}: it was paid from …{line.debtor_account[-4:]}, not …{debtor_account[-4:]}"
            return BadStatement("account_differs", why)
    return None


def _wrong_totals(of: str, totals: Totals, sent: Mapping[str, tuple[Money, str]]) -> BadStatement | None:
    if totals.count is not None and totals.count != len(sent):
        return BadStatement("count_differs", f"{of} had {totals.count} lines by the report, and {len(sent)} were sent")
    by_status = sum(number for _, number in totals.by_status)
    if by_status > len(sent):
        return BadStatement("count_differs", f"{of}: {by_status} lines by status, and {len(sent)} were sent")
    if totals.sum is None:
        return None
    total = Money(sum(amount.minor for amount, _ in sent.values()), next(iter(sent.values()))[0].currency)
    whole, _, decimals = totals.sum.removeprefix("+").partition(".")
    if _is(f"{whole}.{decimals.rstrip('0')}".rstrip("."), total):
        return None
    return BadStatement("sum_differs", f"{of} came to {totals.sum[:30]} by the report, and {total} was sent")


def _is(text: str, money: Money) -> bool:
    try:
        return from_major(text, money.currency) == money
    except ValueError:
        return False
