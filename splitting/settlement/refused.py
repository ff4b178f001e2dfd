"""Batches that are not paid: a bank refused one as a whole 银行拒收, or two people cancel it 撤销 before it is sent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cases
from cases import Case, Effect
from kernel.errors import Conflict
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from splitting import states
from splitting.objects import settlement_payload
from splitting.settlement.instructions import REFUSED_WHOLE, DecideInstruction, holder_of, written_as
from splitting.tables import BANK_LINKS, INSTRUCTIONS, SETTLEMENTS, Instruction, Settlement
from streams import publish

SEND_AGAIN, CANCEL = "send_again", "cancel"
CANCELLED = "the batch was cancelled"  # the reason of its lines


@dataclass(frozen=True, slots=True)
class RefuseSettlement:
    """Take in that nothing of a batch was done and nothing will be: it is sent no more, and is a case.

    To be put only when the bank, asked, has nothing of it. code, message: the bank's, or the hub's where it cannot
    write the batch (by_hub). amount_minor: what of the batch is in transit. A batch that the bank has by now, or that
    was decided, stays as it is. Returns the batch.
    """

    book: int
    settlement_id: str
    code: str
    message: str
    amount_minor: int
    by_hub: bool = False

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield SETTLEMENTS, (self.book, self.settlement_id)
        yield from cases.needs(self.book, REFUSED_WHOLE, self.settlement_id)

    def apply(self, work: Work) -> Settlement:
        batch = work.get(SETTLEMENTS, (self.book, self.settlement_id))
        if batch.status != states.Batch.CREATED:
            return batch
        batch = _moved(work, batch, states.BatchEvent.REFUSED, "settlement.refused")
        facts: dict[str, Any] = {
            "bank": batch.bank,
            "business_date": batch.business_date.isoformat(),
            "code": self.code[:100],
            "message": self.message[:300],
            "refused_by": "hub" if self.by_hub else "bank",
            "lines_in_transit": batch.open_count,
        }
        cases.open_case(
            work, self.book, REFUSED_WHOLE, batch.id,
            amount_minor=self.amount_minor, currency=batch.currency, facts=facts,
        )  # fmt: skip
        return batch


class SendAgain:
    """Have a refused batch sent again: the same lines under the same number, as the bank's settings are by now."""

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield BOOKS, (case.book,)
        yield SETTLEMENTS, (case.book, case.about)
        if work.knows(SETTLEMENTS, (case.book, case.about)):
            yield BANK_LINKS, (case.book, work.get(SETTLEMENTS, (case.book, case.about)).bank)

    def apply(self, work: Work, case: Case) -> None:
        batch = _refused(work, case)
        link = work.find(BANK_LINKS, (case.book, batch.bank))
        batch = batch._replace(written_as=written_as(link), debtor_name=holder_of(link), again_at=work.now)
        _moved(work, batch, states.BatchEvent.SEND_AGAIN, "settlement.released")


class Cancel:
    """Have nothing more of a refused batch sent; the worker gives its lines back, once the bank says it has none."""

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield BOOKS, (case.book,)
        yield SETTLEMENTS, (case.book, case.about)

    def apply(self, work: Work, case: Case) -> None:
        _moved(work, _refused(work, case), states.BatchEvent.CANCEL, "settlement.cancelled")


@dataclass(frozen=True, slots=True)
class CancelSettlement:
    """Have a batch that awaits its release never sent; the worker gives its lines back. Returns it.

    One that is cancelled already stays so. Raises NotFound, Conflict (settlement_moved) where it is released, or needed
    no release.
    """

    book: int
    settlement_id: str

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield SETTLEMENTS, (self.book, self.settlement_id)

    def apply(self, work: Work) -> Settlement:
        batch = work.get(SETTLEMENTS, (self.book, self.settlement_id))
        if batch.status == states.Batch.CANCELLED:
            return batch
        if batch.status != states.Batch.AWAITING_RELEASE:
            why = f"{batch.id} is {batch.status}: only a batch that awaits its release can be cancelled"
            raise Conflict("settlement_moved", why)
        return _moved(work, batch, states.BatchEvent.CANCEL, "settlement.cancelled")


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Owe a line of a cancelled batch to its payee again; where the batch is not cancelled any more, nothing."""

    book: int
    line_id: str

    @property
    def _decision(self) -> DecideInstruction:
        return DecideInstruction(self.book, self.line_id, False, CANCELLED)

    def needs(self, work: Work) -> Iterable[Need]:
        yield from self._decision.needs(work)

    def apply(self, work: Work) -> Instruction:
        line = work.get(INSTRUCTIONS, (self.book, self.line_id))
        if work.get(SETTLEMENTS, (self.book, line.settlement_id)).status != states.Batch.CANCELLED:
            return line
        return self._decision.apply(work)


def _refused(work: Work, case: Case) -> Settlement:
    batch = work.get(SETTLEMENTS, (case.book, case.about))
    if batch.status != states.Batch.REFUSED or batch.paid_minor:
        raise Conflict("settlement_moved", f"{batch.id} is {batch.status}: the bank has it after all; nothing changed")
    return batch


def _moved(work: Work, batch: Settlement, event: states.BatchEvent, told: str) -> Settlement:
    status = advance(states.BATCH, states.Batch(batch.status), event)
    batch = batch._replace(status=status.value, updated_at=work.now)
    work.put(SETTLEMENTS, batch)
    publish(work, batch.book, told, batch.id, settlement_payload(batch))
    return batch


EFFECTS: Mapping[tuple[str, str], Effect] = {
    (REFUSED_WHOLE, SEND_AGAIN): SendAgain(),
    (REFUSED_WHOLE, CANCEL): Cancel(),
}
