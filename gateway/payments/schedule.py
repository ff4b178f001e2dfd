"""When to ask a channel about something still open. Pure."""

from datetime import datetime, timedelta

from channels.contract import Capabilities, Method
from gateway.states import AttemptStatus as State
from gateway.tables import Attempt, Payment, Refund

FIRST_ANSWER_S = 20  # a call to a channel ends sooner; after that its process is taken to be gone
FIRST_ANSWER = timedelta(seconds=FIRST_ANSWER_S)
# A payer's code lives a minute: after this nobody can send it again, and a channel that has not heard of it never will.
NOT_RECEIVED_AFTER = timedelta(seconds=90)
# What the payer's own browser brings may have been begun in the last second before its expiry (decision 0014).
ON_ITS_WAY = timedelta(minutes=5)
# 预授权: how a hold ends by itself is the rail's affair, days from now; until then it is only looked at.
HOLD_S = 3600
# The payer waits while one channel after another is tried: after this no further attempt is begun.
PATIENCE_S = 12.0
PATIENCE_AT_THE_TILL_S = 8.0
# Money that goes back by itself and was refused: what the rail lacked (balance, a permission) may be there later. After
# these it is only a person's; refunds have more numbers left than these use.
RETRY_S = (600, 3600, 4 * 3600, 12 * 3600, *[86400] * 8)
REFUND_S = (5, 5, 30, 60, 300, 600, 1200, 1800)
# What undoes may be carried out long after it was sent: what was paid all the same is asked about when so much time has
# passed since, each time twice as much, up to half a day.
UNDO_S = tuple(10 * 2**n for n in range(13))


def query_wait(capabilities: Capabilities, attempt: Attempt, scale: float) -> timedelta:
    """Return how long to wait before an open attempt is asked about again.

    scale: shortens every wait, for sandboxes with a fast clock.
    """
    if attempt.method == Method.BARCODE:
        return timedelta(seconds=capabilities.barcode_poll_s * scale)
    if attempt.status == State.AUTHORIZED and not attempt.capture_minor:
        return timedelta(seconds=HOLD_S * scale)
    steps = capabilities.query_schedule_s
    return timedelta(seconds=steps[min(attempt.query_count, len(steps) - 1)] * scale)


def next_query(payment: Payment, wait: timedelta, now: datetime) -> datetime:
    """Return when to ask about an open attempt next: after that wait, or when its payment runs out before."""
    due = now + wait
    # An unpaid order is closed soon after it has run out, not at the schedule's leisure.
    return payment.expires_at if now < payment.expires_at < due else due


def should_give_up(capabilities: Capabilities, payment: Payment, attempt: Attempt, now: datetime) -> bool:
    """Tell whether an open attempt is to be closed (or, a barcode's, reversed) rather than asked about once more.

    Never shortened for a sandbox: this is the time people have, and a hub whose clock ran fast for them would reverse
    what a payer is just typing the password for.
    """
    if attempt.status == State.AUTHORIZED:
        return False  # what is reserved is captured or voided by the merchant, or ends at the rail
    if attempt.method == Method.BARCODE:
        return now - attempt.created_at >= timedelta(seconds=capabilities.barcode_give_up_s)
    return now >= payment.expires_at


def may_still_come(capabilities: Capabilities, payment: Payment, method: Method, now: datetime) -> bool:
    """Tell whether an order that its rail does not know may yet be brought to it: by the payer, with what we showed.

    Such an order cannot be taken back. It ends with its expiry, for the rail refuses it from then on.
    """
    brought = method in capabilities.payer_initiated | capabilities.known_after_payer or capabilities.expires_only
    return brought and now < payment.expires_at + ON_ITS_WAY


def next_after_undo(undo_sent_at: datetime, now: datetime, scale: float) -> datetime | None:
    """Return when to ask next about what was paid though its channel had been told to undo it; None: not any more."""
    times = (undo_sent_at + timedelta(seconds=seconds * scale) for seconds in UNDO_S)
    return next((time for time in times if time > now), None)


def patience_s(method: Method) -> float:
    """Return how long after a payer's choice another channel may still be tried."""
    return PATIENCE_AT_THE_TILL_S if method is Method.BARCODE else PATIENCE_S


def next_refund_query(refund: Refund, now: datetime, scale: float) -> datetime:
    """Return when to ask about an open refund next."""
    return now + timedelta(seconds=REFUND_S[min(refund.query_count, len(REFUND_S) - 1)] * scale)


def next_retry(retry_count: int, now: datetime, scale: float) -> datetime | None:
    """Return when a failed refund that goes back by itself is begun again; None: not by itself any more.

    retry_count: how often it has been begun again so far.
    """
    return now + timedelta(seconds=RETRY_S[retry_count] * scale) if retry_count < len(RETRY_S) else None
