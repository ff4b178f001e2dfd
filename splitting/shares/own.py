"""What is the merchant's own of payments 商户本金, and the payee by which it is paid that.

A payment keeps the payee that was set when it was made. From then on the remainder of a plan, and the whole of a
payment without a plan, is a share like any other: a batch pays it, a refund takes it back, and what the channel keeps
for a refund or a chargeback the merchant bears out of it. Without such a payee all that stays in the merchant's
account.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kernel.errors import NotFound, Rejected
from kernel.work import BOOKS, Need, Work
from ledger import Transfer
from ledger.posting import ACCOUNTS
from splitting.objects import own_payee_payload
from splitting.shares import debts
from splitting.shares.sharing import owed_account
from splitting.tables import OWN_PAYEES, PAYEES, SPLITS, OwnPayee
from streams import publish


@dataclass(frozen=True, slots=True)
class SetOwnPayee:
    """Set by which payee the merchant is paid what is its own of payments made from now on. Returns the row.

    row.payee_id: None for none any more. Repeating it changes nothing. Raises NotFound (no_such_payee), Rejected
    (payee_is_not_merchant, currency_differs).
    """

    row: OwnPayee

    @property
    def book(self) -> int:
        return self.row.book

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield OWN_PAYEES, (self.book, self.row.currency)
        if self.row.payee_id is not None:
            yield PAYEES, (self.book, self.row.payee_id)

    def apply(self, work: Work) -> OwnPayee:
        work.head(self.book)
        row = self.row
        there = work.find(OWN_PAYEES, (self.book, row.currency))
        if (None if there is None else there.payee_id) == row.payee_id:
            return there or row
        if row.payee_id is not None:
            payee = work.find(PAYEES, (self.book, row.payee_id))
            if payee is None:
                raise NotFound("no_such_payee", f"there is no payee {row.payee_id}", param="payee")
            if payee.kind != "merchant":
                raise Rejected("payee_is_not_merchant", f"{payee.id} is a {payee.kind}, not yourself", param="payee")
            if payee.currency != row.currency:
                raise Rejected("currency_differs", f"{payee.id} is paid in {payee.currency}", param="currency")
        row = row._replace(set_at=work.now)
        work.put(OWN_PAYEES, row)
        publish(work, self.book, "own_payee.set", row.payee_id or row.currency, own_payee_payload(row))
        return row


def own_account(work: Work, book: int, payment_id: str) -> str | None:
    """Return the account in which the merchant is owed its own of a payment; None where nobody is paid it."""
    split = work.find(SPLITS, (book, payment_id))
    if split is None or split.own_payee is None:
        return None
    return owed_account(work.get(PAYEES, (book, split.own_payee)))


def own_balance(work: Work, book: int, payment_id: str) -> int:
    """Return what that account stands at, in minor units; 0 where there is none."""
    account = own_account(work, book, payment_id)
    return 0 if account is None else work.get(ACCOUNTS, (book, account)).balance


def note_cost_borne(
    work: Work, book: int, payment_id: str, refund_id: str, posted: Sequence[Transfer], had: int
) -> None:
    """Note what the merchant's own payee owes since it bore a fee that the channel keeps of a refund or chargeback.

    posted: the group of transfers, just posted. had: what its account stood at before.
    """
    taken = [one for one in posted if one.rule in ("refund_cost_borne", "chargeback_fee_borne")]
    split = work.find(SPLITS, (book, payment_id))
    if not taken or split is None or split.own_payee is None:
        return
    borne = [debts.Taken(split.own_payee, one) for one in taken]
    places = {one.id: place for place, one in enumerate(posted)}
    debts.note(work, split, refund_id.partition(":")[0], borne, {one.debit: had for one in taken}, places)
