"""Split plans 分账方案: who is owed what of a payment. Pure arithmetic on whole minor units, exact to the last one."""

from collections.abc import Sequence
from typing import NamedTuple

from kernel.money import allocate, proportion
from splitting.plans.tree import OWN, Base, Facts, Line, Plan, ShareKind, share


class SplitLine(NamedTuple):
    """One line of a split plan."""

    payee_id: str
    kind: ShareKind
    value: int  # minor units, basis points, or weight


class Share(NamedTuple):
    """What a payee gets of one payment, and what refunds have taken back of it."""

    payee_id: str
    amount_minor: int
    taken_back_minor: int = 0
    line: str = ""  # of a tree: the name of the line that gave it
    part: int = 0  # of an order whose parts' plans have refunds take back in different ways: which part's it is
    # BY_RAIL: the rail pays it; empty: it is not to; else why one that was to does not go by it (rails/compile.py)
    rail: str = ""

    @property
    def left_minor(self) -> int:
        return self.amount_minor - self.taken_back_minor


def compute(
    gross_minor: int, fee_minor: int, asked: Sequence[SplitLine], coupon_minor: int = 0, *, cut: bool = False
) -> list[Share]:
    """Return each payee's share, in the order asked; they, the fee and the coupon sum to the gross.

    It is a tree of one level whose rates are of what was paid. gross_minor: what was paid; fee_minor: what the channel
    keeps of it; coupon_minor: what the merchant's own coupons paid of it, which never arrives and so is nobody's to
    share. What no remainder share takes is the merchant's own, a last share of payee OWN. Where fixed amounts and basis
    points leave less than nothing, a coupon has them cut, each in its proportion, to what arrives: the payer, not the
    merchant, chose to use it. So does cut. Else that raises Rejected (split_exceeds_payment).
    """
    facts = Facts(gross_minor)
    shared = share(flat(asked), gross_minor, fee_minor, coupon_minor, facts, cut=cut or bool(coupon_minor))
    shares = [Share(line.payee_id, got.own_minor) for line, got in zip(asked, shared.lines, strict=True)]
    return [*shares, Share(OWN, shared.rest_minor)] if shared.rest_minor else shares


def flat(asked: Sequence[SplitLine]) -> Plan:
    """Return a list of lines as the tree that it is: each is named by its place, and rates are of what was paid."""
    lines = [Line(str(n), line.payee_id, line.kind, line.value) for n, line in enumerate(asked, 1)]
    return Plan(Base.PAID, lines)


def fee_returned(fee_minor: int, gross_minor: int, refunded_minor: int) -> int:
    """Return how much of its fee the channel has given back once `refunded_minor` in all is refunded.

    In proportion and rounded half up on the total, so that parts that add up to the whole give the whole fee back.
    """
    return proportion(fee_minor, refunded_minor, gross_minor)


def give_again(shares: Sequence[Share], parts: Sequence[int], amount_minor: int) -> list[int]:
    """Return what each payee gets again of `amount_minor` after a refund that took `parts` has failed; exact.

    As a rule that is its part. Where refunds end in another order than they began, the channel's rounded share in one
    of them may be a unit more or less than when it began; the unit then goes to, or comes from, who has the most room.
    Raises ValueError when less than that is taken back.
    """
    again = [min(part, share.taken_back_minor) for part, share in zip(parts, shares, strict=True)]
    missing = amount_minor - sum(again)
    if missing < 0:
        return [given - less for given, less in zip(again, allocate(-missing, again), strict=True)]
    room = [share.taken_back_minor - given for share, given in zip(shares, again, strict=True)]
    if missing > sum(room):
        raise ValueError(f"{amount_minor} is more than refunds have taken back")
    return [given + more for given, more in zip(again, allocate(missing, room), strict=True)]
