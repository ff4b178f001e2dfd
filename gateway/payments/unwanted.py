"""Money that nobody waits for goes back by itself, and is somebody's until it has.

What was paid late or twice is refunded without anyone asking. Where the rail refuses, the refund is begun again on a
schedule (schedule.next_retry), and from the first refusal on it is a case: a person may have it sent at once, or say
that it went back otherwise, or stays.
"""

from collections.abc import Iterable

import cases
from gateway import states
from gateway.tables import REFUNDS, Attempt, Refund, overpaid_refund_id
from kernel.work import Need, Work

NOT_GIVEN_BACK = "refund_of_unwanted_money_failed"
CAME_BACK = "refund_came_back"  # of a refund that somebody asked for; about the refund
RETRY, OUTSIDE, KEPT = "retry", "settled_outside", "keep"  # what may be decided about it


def about(attempt: Attempt) -> str:
    """Return how a case names an attempt."""
    return f"{attempt.payment_id}:{attempt.number}"


def is_unwanted(attempt: Attempt) -> bool:
    """Tell whether an attempt brought money that nobody waits for any more: late, or on top."""
    return attempt.status in (states.AttemptStatus.LATE, states.AttemptStatus.OVERPAID)


def goes_back_by_itself(refund: Refund, attempt: Attempt) -> bool:
    """Tell whether a refund is the hub's own, of the whole of such money."""
    return is_unwanted(attempt) and refund.id == overpaid_refund_id(attempt.payment_id, attempt.number)


def needs(attempt: Attempt) -> Iterable[Need]:
    """Name the rows that the functions below look at, of an attempt whose money is unwanted."""
    yield from cases.needs(attempt.book, NOT_GIVEN_BACK, about(attempt))
    yield REFUNDS, (attempt.book, overpaid_refund_id(attempt.payment_id, attempt.number))


def not_given_back(work: Work, attempt: Attempt, refund: Refund, why: str) -> None:
    """Have a person see that unwanted money did not go back; its refund, where it has a time, is begun again."""
    facts = {"refund": refund.id, "tries": refund.retry_count + 1, "why": why.strip()[:500], "channel": attempt.channel}
    cases.open_case(
        work, refund.book, NOT_GIVEN_BACK, about(attempt),
        amount_minor=refund.amount_minor, currency=refund.currency, facts=facts,
    )  # fmt: skip


def given_back(work: Work, attempt: Attempt) -> None:
    """Note that all of an attempt's unwanted money has gone back, by whichever refund: its own is not begun again."""
    own = work.find(REFUNDS, (attempt.book, overpaid_refund_id(attempt.payment_id, attempt.number)))
    if own is not None and own.status == states.RefundStatus.FAILED and own.due_at is not None:
        work.put(REFUNDS, own._replace(due_at=None, updated_at=work.now))
    cases.close_case(work, attempt.book, NOT_GIVEN_BACK, about(attempt), why="all of it has gone back")


def settled_outside(work: Work, attempt: Attempt) -> bool:
    """Tell whether a person has said that an attempt's unwanted money went back otherwise than by its rail."""
    case = work.find(cases.CASES, (attempt.book, cases.case_id(attempt.book, NOT_GIVEN_BACK, about(attempt))))
    return case is not None and case.decision == OUTSIDE
