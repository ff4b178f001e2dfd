"""Claiming what is due: whoever is about to ask a channel about an open row has noted it before."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway import states
from gateway.payments.schedule import FIRST_ANSWER, next_after_undo
from gateway.tables import ATTEMPTS, REFUNDS
from kernel.work import BOOKS, Need, Work


@dataclass(frozen=True, slots=True)
class ClaimDue:
    """Note that the channel is about to be asked about an attempt or a refund, and when to ask should nobody answer.

    scale: see schedule.query_wait. anyway: also before that is due; then whoever else sends something about it is not
    alone any more.
    """

    book: int
    key: tuple[Any, ...]  # (payment_id, number) of an attempt, or (refund_id,)
    scale: float
    anyway: bool = False

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield (ATTEMPTS if len(self.key) == 2 else REFUNDS), (self.book, *self.key)

    def apply(self, work: Work) -> datetime | None:
        """Return since when it is this worker's to ask; None when another took it or it has ended."""
        work.head(self.book)
        if len(self.key) == 2:
            attempt = work.get(ATTEMPTS, (self.book, *self.key))
            if attempt.due_at is None or (attempt.due_at > work.now and not self.anyway):
                return None
            asking = attempt._replace(due_at=work.now + FIRST_ANSWER, query_count=attempt.query_count + 1)
            if attempt.status == states.AttemptStatus.CONFIRMED:
                assert attempt.undo_sent_at is not None, "nothing else that is paid is asked about"
                due_at = next_after_undo(attempt.undo_sent_at, work.now, self.scale)
                asking = asking._replace(due_at=due_at, undo_sent_at=attempt.undo_sent_at if due_at else None)
            work.put(ATTEMPTS, asking)
        else:
            refund = work.get(REFUNDS, (self.book, *self.key))
            if refund.due_at is None or (refund.due_at > work.now and not self.anyway):
                return None
            work.put(REFUNDS, refund._replace(due_at=work.now + FIRST_ANSWER, query_count=refund.query_count + 1))
        return work.now
