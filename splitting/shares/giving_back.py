"""Taking shares back for a refund 分账回退, and giving them again when it fails, inside the caller's batch.

What is frozen of a share gives back first: it was never the payee's to be paid. The rest goes back from what the payee
has, and from what it has been paid already: then it owes.
"""

from collections.abc import Sequence
from datetime import date

from kernel.errors import Rejected
from kernel.work import Work
from ledger import Step, Transfer, accounts, post_expected
from ledger.posting import ACCOUNTS
from splitting.objects import shares_of
from splitting.plans.arithmetic import Share, give_again
from splitting.plans.tree import OWN
from splitting.rails import orders
from splitting.rails.compile import BY_RAIL
from splitting.shares import debts
from splitting.shares.frozen import Frozen, frozen_again, frozen_of, kept, thawed
from splitting.shares.sharing import dump, owed_account, paid_to, parts_of, step_of
from splitting.shares.takeback import taken_back
from splitting.tables import PAYEES, SPLITS, Split

# What a share gave back of a refund, or that and how much of it was frozen; as the refund keeps it in JSON.
Part = int | Sequence[int]


def take_back_for_refund(
    work: Work, book: int, payment_id: str, refund_id: str, amount_minor: int, day: date
) -> list[Part]:
    """Take a refund's part back from those who shared the payment, so that the merchant account can pay it.

    Who gives back first its plan says. What a payee gives back and is not owed, it owes from then on 欠款.

    amount_minor: the refund less what the channel gives back of its fee and what a coupon had paid. The payment has
    been shared out (share_out). Returns what each share gave back, for `give_back_after_failed_refund`; empty where
    there was no plan: then the merchant account still has it all. refund_id: begins the ids of the transfers. Raises
    Rejected (refund_exceeds_shares).
    """
    split = work.find(SPLITS, (book, payment_id))
    if split is None:
        return []
    shares, plans_of = shares_of(split), [part.taking_back for part in parts_of(work, split)]
    try:
        parts = taken_back(shares, amount_minor, plans_of, _platforms(work, book, shares))
    except ValueError as error:
        raise Rejected("refund_exceeds_shares", str(error)) from None
    of_frozen = _move(work, book, split, refund_id, shares, parts, None, day)
    return [[part, cold] if cold else part for part, cold in zip(parts, of_frozen, strict=True)]


def _platforms(work: Work, book: int, shares: Sequence[Share]) -> set[str]:
    """Return the ids of the payees among shares that are the platform."""
    ids = {share.payee_id for share in shares if share.payee_id != OWN}
    return {payee_id for payee_id in ids if work.get(PAYEES, (book, payee_id)).kind == "platform"}


def give_back_after_failed_refund(
    work: Work, book: int, payment_id: str, refund_id: str, parts: Sequence[Part], amount_minor: int, day: date
) -> None:
    """Undo `take_back_for_refund`: the refund failed, so the payees' shares stand again.

    parts: what it returned. amount_minor: the refund less what the channel takes back of its fee and a coupon paid.
    """
    split = work.find(SPLITS, (book, payment_id))
    if split is not None and parts:
        shares, gave = shares_of(split), [(part, 0) if isinstance(part, int) else part for part in parts]
        again = give_again(shares, [part for part, _ in gave], amount_minor)
        of_frozen = [min(part, cold) for part, (_, cold) in zip(again, gave, strict=True)]
        _move(work, book, split, refund_id, shares, again, of_frozen, day)


def _move(
    work: Work,
    book: int,
    split: Split,
    posting: str,
    shares: Sequence[Share],
    parts: Sequence[int],
    freeze: Sequence[int] | None,
    day: date,
) -> list[int]:
    """Move each share's part back, of what is frozen first, or again; what moves in the ledger is one posting.

    freeze: None where it moves back; else it is given again, and this is what of each part is to be frozen, if it still
    can be. Returns what of each part was frozen, or is.
    """
    merchant, frozen, back = accounts.merchant(split.currency), frozen_of(split), freeze is None
    transfers: list[Transfer] = []
    taken: list[debts.Taken] = []
    after, of_frozen = [], [0] * len(shares)
    called_off: list[Transfer] = []
    for n, (share, part) in enumerate(zip(shares, parts, strict=True)):
        after.append(share._replace(taken_back_minor=share.taken_back_minor + (part if back else -part)))
        payee_id = paid_to(split, share)
        if payee_id == OWN or not part:
            continue
        payee = work.get(PAYEES, (book, payee_id))
        word = "commission" if payee.kind == "platform" else "share"
        owed = owed_account(payee)
        changed, of_frozen[n] = thawed(frozen, n, part) if freeze is None else frozen_again(frozen, n, freeze[n])
        frozen = _frozen_anew(work, split, share, frozen, changed, transfers)
        if not (rest := part - of_frozen[n]):
            continue
        if back:
            if share.rail == BY_RAIL:
                off = orders.call_off(work, split, n, rest, posting)
                called_off += off
                orders.fetch_back(work, split, n, rest - sum(t.amount_minor for t in off), posting)
            t = Transfer(f"{posting}:back:{n}", f"{word}_taken_back", owed, merchant, rest, split.currency)
            taken.append(debts.Taken(payee.id, t))
        else:
            t = Transfer(f"{posting}:again:{n}", word, merchant, owed, rest, split.currency)
        transfers.append(t)
    if called_off:
        post_expected(work, book, f"{posting}:called_off", called_off, business_date=day, fresh=True)
    if transfers:
        name = f"{posting}:taken_back" if back else f"{posting}:given_again"
        had = {one.transfer.debit: work.get(ACCOUNTS, (book, one.transfer.debit)).balance for one in taken}
        post_expected(work, book, name, transfers, business_date=day, fresh=True)
        places = {t.id: place for place, t in enumerate(transfers)}
        debts.note(work, split, posting.partition(":")[0], taken, had, places)
    split = kept(split, frozen)._replace(shares=dump(after))
    work.put(SPLITS, split)
    if split.rail is not None:
        orders.release_if_last(work, split, after, day, owed_account)
    return of_frozen


def _frozen_anew(
    work: Work,
    split: Split,
    share: Share,
    before: Sequence[Frozen],
    after: Sequence[Frozen],
    transfers: list[Transfer],
) -> list[Frozen]:
    """Append what gives the holds of parts free that have changed, and holds what is left of them; return the parts."""
    found = []
    for was, now in zip(before, after, strict=True):
        if was != now:
            if was.left_minor:
                transfers.append(step_of(work, split, share, was, Step.VOID_HOLD, ":changed"))
            now = now._replace(version=now.version + 1)
            if now.left_minor:
                transfers.append(step_of(work, split, share, now, Step.HOLD))
        found.append(now)
    return found
