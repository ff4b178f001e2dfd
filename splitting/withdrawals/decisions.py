"""What people's decisions about withdrawals that are in doubt bring about, each in the batch that records it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cases import Case, Effect
from kernel.errors import Conflict
from kernel.work import Need, Work
from splitting import states
from splitting.tables import WITHDRAWALS
from splitting.withdrawals.commands import IN_DOUBT, DecideWithdrawal, SendWithdrawalAgain

_DECIDED = frozenset({states.Withdrawal.PAID, states.Withdrawal.REFUSED, states.Withdrawal.RETURNED})


@dataclass(frozen=True, slots=True)
class Decide:
    """Book a withdrawal that was in doubt as what people found out at the bank: paid, or not paid and held no more."""

    paid: bool

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield from self._command(case).needs(work)

    def apply(self, work: Work, case: Case) -> None:
        row = work.get(WITHDRAWALS, (case.book, case.about))
        if row.status in _DECIDED:
            raise Conflict("withdrawal_moved", f"{row.id} is now {row.status}; nothing was changed")
        self._command(case).apply(work)

    def _command(self, case: Case) -> DecideWithdrawal:
        reason = None if self.paid else "the bank says that it was not paid"
        return DecideWithdrawal(case.book, case.about, self.paid, reason)


class SendAgain:
    """Have a withdrawal sent again that the bank took no order for."""

    def needs(self, work: Work, case: Case) -> Iterable[Need]:
        yield from SendWithdrawalAgain(case.book, case.about).needs(work)

    def apply(self, work: Work, case: Case) -> None:
        SendWithdrawalAgain(case.book, case.about).apply(work)


EFFECTS: Mapping[tuple[str, str], Effect] = {
    (IN_DOUBT, "paid"): Decide(paid=True),
    (IN_DOUBT, "not_paid"): Decide(paid=False),
    (IN_DOUBT, "send_again"): SendAgain(),
}
