"""Freezing a payee's account 冻结: nothing is paid to it or withdrawn from it, by people's word or the bank's."""

from collections.abc import Iterable
from dataclasses import dataclass

from kernel.errors import Conflict, NotFound
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from splitting import states
from splitting.objects import payee_payload
from splitting.tables import PAYEES, Payee
from streams import publish

BANK, OPERATOR = "bank", "operator"
# Reason codes (ISO 20022 ExternalStatusReason1Code) of a refusal by which a bank says that the account is blocked.
BLOCKED = frozenset({"AC06"})


@dataclass(frozen=True, slots=True)
class FreezeAccount:
    """Have nothing paid to a payee's account or withdrawn from it, by an operator's word. Returns the payee.

    What it is owed is booked as ever, and what its bank has been told goes on. One that is frozen already stays as it
    is. Raises NotFound (no_such_object), Conflict (payee_account_not_open) where there is no open account.
    """

    book: int
    payee_id: str

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield PAYEES, (self.book, self.payee_id)

    def apply(self, work: Work) -> Payee:
        payee = find(work, self.book, self.payee_id)
        check_freezable(payee)
        return payee if payee.frozen_at is not None else _moved(work, payee, states.SubAccountEvent.FROZEN, OPERATOR)


@dataclass(frozen=True, slots=True)
class UnfreezeAccount:
    """Have a payee's account paid and withdrawn from again, whoever had frozen it. Returns the payee.

    All that it is owed by then is in the next batch. One that is not frozen stays as it is. Raises NotFound
    (no_such_object).
    """

    book: int
    payee_id: str

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield PAYEES, (self.book, self.payee_id)

    def apply(self, work: Work) -> Payee:
        payee = find(work, self.book, self.payee_id)
        return payee if payee.frozen_at is None else _moved(work, payee, states.SubAccountEvent.UNFROZEN, None)


def find(work: Work, book: int, payee_id: str) -> Payee:
    """Return a payee. Raises NotFound (no_such_object)."""
    payee = work.find(PAYEES, (book, payee_id))
    if payee is None:
        raise NotFound("no_such_object", f"there is no payee {payee_id}; see `sluice payee list`")
    return payee


def check_freezable(payee: Payee) -> None:
    """Raise Conflict (payee_account_not_open) where a payee has no account at a bank that is open, or frozen."""
    if payee.account_status not in (states.SubAccount.OPEN, states.SubAccount.FROZEN):
        why = f"{payee.id} has no open account at a bank: nothing is paid to it anyway"
        raise Conflict("payee_account_not_open", why, param="payee")


def frozen_by_bank(work: Work, payee: Payee, reason: str | None) -> None:
    """Freeze a payee's account that its bank has just refused to pay as blocked; for another reason nothing changes.

    An account that people have frozen stays frozen by them.
    """
    if reason in BLOCKED and payee.account_status == states.SubAccount.OPEN:
        _moved(work, payee, states.SubAccountEvent.FROZEN, BANK, reason)


def _moved(work: Work, payee: Payee, event: states.SubAccountEvent, by: str | None, reason: str | None = None) -> Payee:
    before = states.SubAccount(payee.account_status or "")
    status = advance(states.SUB_ACCOUNT, before, event)
    frozen_at = None if by is None else work.now
    payee = payee._replace(account_status=status.value, account_reason=reason, frozen_at=frozen_at, frozen_by=by)
    work.put(PAYEES, payee)
    told = states.SUB_ACCOUNT[before, event].tells
    assert told is not None
    publish(work, payee.book, told, payee.id, payee_payload(payee))
    return payee
