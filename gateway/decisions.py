"""What a person's decisions about cases of the gateway's do, in the batch that records them."""

from collections.abc import Iterable
from dataclasses import dataclass

import cases
from channels.contract import Refused
from gateway import states, unfinished, unwanted
from gateway.refunds import again_needs, begin_again
from gateway.settle import Settle
from gateway.tables import REFUNDS, surplus_refund_id
from kernel.errors import Conflict
from kernel.work import BOOKS, Need, Work


@dataclass(frozen=True, slots=True)
class DecideUnwanted:
    """Have the refund of unwanted money that failed begun again at once, or never by itself any more."""

    retry: bool

    def needs(self, work: Work, case: cases.Case) -> Iterable[Need]:
        yield BOOKS, (case.book,)
        yield REFUNDS, (case.book, surplus_refund_id(*_attempt_of(case)))

    def apply(self, work: Work, case: cases.Case) -> None:
        """Raises Conflict (refund_under_way): what is being sent may succeed, so nothing is decided meanwhile."""
        refund = work.get(REFUNDS, (case.book, surplus_refund_id(*_attempt_of(case))))
        if refund.status == states.Refund.PROCESSING:
            raise Conflict("refund_under_way", f"{refund.id} is with the channel just now; decide when it has answered")
        work.put(REFUNDS, refund._replace(due_at=work.now if self.retry else None, updated_at=work.now))


class EndUnpaid:
    """End an order that its rail is said, elsewhere, to have ended; money that comes all the same goes back."""

    def needs(self, work: Work, case: cases.Case) -> Iterable[Need]:
        yield from self._settle(case).needs(work)

    def apply(self, work: Work, case: cases.Case) -> None:
        self._settle(case).apply(work)

    def _settle(self, case: cases.Case) -> Settle:
        payment_id, number = _attempt_of(case)
        said = Refused("ended_by_person", f"{case.decided_by}: {case.note}", closed=True)
        return Settle(case.book, payment_id, number, said, None, surplus_refund_id(payment_id, number))


class SendAgain:
    """Begin a refund again that had come back; the worker sends it under a new number."""

    def needs(self, work: Work, case: cases.Case) -> Iterable[Need]:
        yield BOOKS, (case.book,)
        yield REFUNDS, (case.book, case.about)
        if work.knows(REFUNDS, (case.book, case.about)):
            yield from again_needs(work, work.get(REFUNDS, (case.book, case.about)))

    def apply(self, work: Work, case: cases.Case) -> None:
        """Raises Conflict (refund_not_failed), and what begin_again raises."""
        refund = work.get(REFUNDS, (case.book, case.about))
        if refund.status != states.Refund.FAILED:
            raise Conflict("refund_not_failed", f"{refund.id} is {refund.status}", status_now=refund.status)
        begin_again(work, refund, work.now, sent_count=0)


def _attempt_of(case: cases.Case) -> tuple[str, int]:
    payment_id, _, number = case.about.partition(":")
    return payment_id, int(number)


EFFECTS: dict[tuple[str, str], cases.Effect] = {
    (unwanted.NOT_GIVEN_BACK, "retry"): DecideUnwanted(retry=True),
    (unwanted.NOT_GIVEN_BACK, unwanted.OUTSIDE): DecideUnwanted(retry=False),
    (unwanted.NOT_GIVEN_BACK, unwanted.KEPT): DecideUnwanted(retry=False),
    (unwanted.CAME_BACK, "retry"): SendAgain(),
    (unfinished.HOLD, "released"): EndUnpaid(),
    (unfinished.ATTEMPT, "ended_unpaid"): EndUnpaid(),
}
