"""What is asked about again and again and does not end becomes a case, so that it is not only the janitor's.

A refund that its rail has had for a week, whose repetitions it refuses, or of which it says that a person must act; an
order that is open a day after its time ran out; money that stays reserved for a payment that is over, or whose capture
is undecided for a day.
They go on being asked about.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import orjson

import cases
from channels.contract import Outcome, Pending, Unknown
from gateway import states
from gateway.payments.unwanted import about
from gateway.tables import ATTEMPTS, PAYMENTS, REFUNDS, Attempt, Payment, Refund
from kernel.work import BOOKS, Need, Work

REFUND = "refund_unfinished"
AT_RAIL = "at_rail"  # the fact that the rail has the money and waits for its merchant's word
HOLD = "hold_not_released"
ATTEMPT = "attempt_unfinished"
CAPTURE = "capture_unfinished"
KINDS = (HOLD, ATTEMPT, CAPTURE)  # of attempts
REFUSED_AFTER = timedelta(hours=1)  # and the rail, asked, has not carried it out: nobody else can say that it failed
REFUND_AFTER = timedelta(days=7)  # cards and banks take days to give money back; none takes longer
ATTEMPT_AFTER = timedelta(days=1)  # after its expiry; each rail has ended by then what it ends
CAPTURE_AFTER = timedelta(days=1)
CAPTURE_QUERIES = 7  # and was asked about so often since it was asked for
HOLD_QUERIES = 3  # a hold in vain is voided each time it is asked about, once an hour
REST = timedelta(days=3)  # how long a person's "wait" holds


def refund_needs(refund: Refund) -> Iterable[Need]:
    """Name the rows that the functions about refunds look at."""
    yield from cases.needs(refund.book, REFUND, refund.id)


def asks_for_a_person(outcome: Outcome | None) -> bool:
    """Tell whether a rail has a refund's money and waits for its merchant to say, there, where it is to go."""
    action = outcome.next_action if isinstance(outcome, Pending) else None
    return action is not None and action.get("type") == "operator"


def see_refund(work: Work, refund: Refund, outcome: Outcome | None) -> None:
    """Have a person see a refund that its rail does not finish. outcome: what the rail said, if it said anything."""
    no = outcome.repetition if isinstance(outcome, Unknown) else None
    lasts = work.now - refund.requested_at
    at_rail = asks_for_a_person(outcome)
    if at_rail or lasts >= REFUND_AFTER or (no is not None and lasts >= REFUSED_AFTER):
        says = None if no is None else f"{no.code}: {no.message}"[:200]
        if isinstance(outcome, Pending) and outcome.next_action is not None:
            says = outcome.next_action.get("code")
        facts = {"payment": refund.payment_id, "reference": refund.reference, "rail_says": says, AT_RAIL: at_rail}
        if says is None and not isinstance(outcome, Pending):
            facts = _said_before(work, refund) or facts  # silence takes nothing back
        cases.open_case(
            work, refund.book, REFUND, refund.id,
            amount_minor=refund.amount_minor, currency=refund.currency, facts=facts, rest=REST,
        )  # fmt: skip


def _said_before(work: Work, refund: Refund) -> dict[str, Any] | None:
    """Return the facts of a refund's case, where it is about its present number."""
    case = work.find(cases.CASES, (refund.book, cases.case_id(refund.book, REFUND, refund.id)))
    facts = {} if case is None else orjson.loads(case.facts)
    return facts if facts.get("reference") == refund.reference else None


def refund_ended(work: Work, refund: Refund) -> None:
    """Note that a refund is no longer under way."""
    cases.close_case(work, refund.book, REFUND, refund.id, why=f"the refund is {refund.status}")


def _kind_of(payment: Payment, attempt: Attempt, work: Work) -> str | None:
    """Return the kind of case that an attempt still open at its rail is, or None while that is nothing unusual."""
    if attempt.status not in states.OPEN_ATTEMPT:
        return None
    if attempt.status != states.AttemptStatus.AUTHORIZED:
        return ATTEMPT if work.now - payment.expires_at >= ATTEMPT_AFTER else None
    if payment.status in states.OPEN_PAYMENT and payment.won_attempt == attempt.number:
        lasts = attempt.ending_at is not None and work.now - attempt.ending_at >= CAPTURE_AFTER
        return CAPTURE if lasts and attempt.capture_minor and attempt.query_count >= CAPTURE_QUERIES else None
    return None if attempt.query_count < HOLD_QUERIES else HOLD


def attempt_needs(work: Work, payment: Payment, attempt: Attempt) -> Iterable[Need]:
    """Name the rows that the functions about attempts look at: of most attempts none."""
    if _kind_of(payment, attempt, work) is not None:
        for kind in KINDS:
            yield from cases.needs(attempt.book, kind, about(attempt))


def see_attempt(work: Work, payment: Payment, attempt: Attempt) -> None:
    """Have a person see an order that does not end, or note that it has; where attempt_needs named its cases."""
    if not all(work.knows(cases.CASES, key) for key in _keys(attempt)):
        return
    kind = _kind_of(payment, attempt, work)
    if attempt.status not in states.OPEN_ATTEMPT:
        for each in KINDS:
            cases.close_case(work, attempt.book, each, about(attempt), why=f"the attempt is {attempt.status}")
    elif kind is not None:
        facts = {"channel": attempt.channel, "reference": attempt.reference, "status": attempt.status}
        cases.open_case(
            work, attempt.book, kind, about(attempt),
            amount_minor=payment.amount_minor, currency=payment.currency, facts=facts, rest=REST,
        )  # fmt: skip


def _keys(attempt: Attempt) -> Iterator[tuple[int, str]]:
    """Yield the keys of an attempt's cases; each costs a hash, and that of most attempts' first one is not known."""
    return ((attempt.book, cases.case_id(attempt.book, kind, about(attempt))) for kind in KINDS)


class SeeUnfinished(NamedTuple):
    """Look at an open row that could not even be asked about: its account does not open, or what it said cannot be.

    key: (payment_id, number) of an attempt, or (refund_id,).
    """

    book: int
    key: tuple[str, int] | tuple[str]

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        if len(self.key) == 1:
            yield REFUNDS, (self.book, *self.key)
            if work.knows(REFUNDS, (self.book, *self.key)):
                yield from refund_needs(work.get(REFUNDS, (self.book, *self.key)))
            return
        payment_key, attempt_key = (self.book, self.key[0]), (self.book, *self.key)
        yield PAYMENTS, payment_key
        yield ATTEMPTS, attempt_key
        if work.knows(PAYMENTS, payment_key) and work.knows(ATTEMPTS, attempt_key):
            yield from attempt_needs(work, work.get(PAYMENTS, payment_key), work.get(ATTEMPTS, attempt_key))

    def apply(self, work: Work) -> None:
        work.head(self.book)
        if len(self.key) == 1:
            refund = work.get(REFUNDS, (self.book, *self.key))
            if refund.status == states.RefundStatus.PROCESSING:
                see_refund(work, refund, None)
            return
        see_attempt(work, work.get(PAYMENTS, (self.book, self.key[0])), work.get(ATTEMPTS, (self.book, *self.key)))
