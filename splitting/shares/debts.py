"""What payees owe 欠款: a refund took back more than a payee was owed, because its bank has paid it out before.

The debt is what the payee's account is below nothing, so whatever is credited to it next recovers the oldest debt
first, in the posting that credits it, and a batch pays nothing while anything is owed. A row says which refund made it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kernel.work import Work
from ledger import Transfer
from splitting.objects import debt_payload
from splitting.tables import PAYEE_DEBTS, PayeeDebt, Split
from streams import publish


class Taken(NamedTuple):
    """A posted transfer that took a share back, and whose share it was."""

    payee_id: str
    transfer: Transfer


def note(
    work: Work, split: Split, cause: str, taken: Sequence[Taken], had: Mapping[str, int], places: Mapping[str, int]
) -> list[PayeeDebt]:
    """Note what takings back, just posted as one group, left their accounts below nothing; return it.

    cause: the refund's id. had: what each account stood at before the group, in minor units, which only takings back
    have moved since. places: transfer's id → its place in the group.
    """
    book, left, last = split.book, dict(had), work.head(split.book).transfer_seq
    found = []
    for payee_id, transfer in taken:
        left[transfer.debit] -= transfer.amount_minor
        owed = -left[transfer.debit]
        if owed <= 0:
            continue
        debt = PayeeDebt(
            book, debt_id_of(book, transfer.id), payee_id, transfer.debit, transfer.id, split.payment_id, cause,
            min(transfer.amount_minor, owed), owed, transfer.currency, last - len(places) + 1 + places[transfer.id],
            work.now,
        )  # fmt: skip
        work.add(PAYEE_DEBTS, debt)
        publish(work, book, "debt.opened", debt.id, debt_payload(debt, debt.amount_minor))
        found.append(debt)
    return found


def debt_id_of(book: int, transfer_id: str) -> str:
    """Return a debt's id: it follows from the taking back, which is posted once."""
    return "dbt_" + hashlib.sha256(f"{book}/{transfer_id}".encode()).hexdigest()[:26]
