"""Split plans 分账方案: who is owed what of a payment. Pure arithmetic on whole minor units, exact to the last one."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from kernel.errors import Rejected
from kernel.money import allocate, proportion, share_bp


class ShareKind(StrEnum):
    AMOUNT = "amount"  # a fixed amount, minor units
    BASIS_POINTS = "basis_points"  # of the payment's gross amount less the merchant's own coupons, rounded half up
    REMAINDER = "remainder"  # what the others and the channel's fee leave, by weight


class SplitLine(NamedTuple):
    """One line of a split plan."""

    payee_id: str
    kind: ShareKind
    value: int  # minor units, basis points, or weight


OWN = ""  # stands for the merchant itself where a plan leaves something over; it stays in the merchant account


class Share(NamedTuple):
    """What a payee gets of one payment, and what refunds have taken back of it."""

    payee_id: str
    amount_minor: int
    taken_back_minor: int = 0

    @property
    def left_minor(self) -> int:
        return self.amount_minor - self.taken_back_minor


def compute(gross_minor: int, fee_minor: int, asked: Sequence[SplitLine], coupon_minor: int = 0) -> list[Share]:
    """Return each payee's share, in the order asked; they, the fee and the coupon sum to the gross.

    gross_minor: what was paid; fee_minor: what the channel keeps of it; coupon_minor: what the merchant's own coupons
    paid of it, which never arrives and so is nobody's to share. What no remainder share takes is the merchant's own, a
    last share of payee OWN. Where fixed amounts and basis points leave less than nothing, a coupon has them cut, each
    in its proportion, to what arrives: the payer, not the merchant, chose to use it. Without one that raises Rejected
    (split_exceeds_payment).
    """
    paid = gross_minor - coupon_minor
    fixed = [
        line.value
        if line.kind is ShareKind.AMOUNT
        else share_bp(paid, line.value)
        if line.kind is ShareKind.BASIS_POINTS
        else 0
        for line in asked
    ]
    rest = paid - fee_minor - sum(fixed)
    if rest < 0 and not coupon_minor:
        raise Rejected(
            "split_exceeds_payment",
            f"the shares and the channel's fee add up to {-rest} minor units more than the payment",
            param="split",
            gross_minor=gross_minor,
            fee_minor=fee_minor,
        )
    if rest < 0:
        fixed, rest = allocate(max(paid - fee_minor, 0), fixed), 0
    weights = [line.value if line.kind is ShareKind.REMAINDER else 0 for line in asked]
    remainders = allocate(rest, weights) if any(weights) else [0] * len(asked)
    shares = [Share(a.payee_id, f + r) for a, f, r in zip(asked, fixed, remainders, strict=True)]
    return shares if any(weights) or not rest else [*shares, Share(OWN, rest)]


def fee_returned(fee_minor: int, gross_minor: int, refunded_minor: int) -> int:
    """Return how much of its fee the channel has given back once `refunded_minor` in all is refunded.

    In proportion and rounded half up on the total, so that parts that add up to the whole give the whole fee back.
    """
    return proportion(fee_minor, refunded_minor, gross_minor)


def take_back(shares: Sequence[Share], amount_minor: int) -> list[int]:
    """Return what each payee gives back of `amount_minor`, in proportion to what it has left; exact.

    Repeated part refunds never take back more than a share, and together take back all of it. Raises ValueError when
    the shares have less left than that.
    """
    left = [share.left_minor for share in shares]
    if amount_minor > sum(left):
        raise ValueError(f"{amount_minor} is more than the {sum(left)} the payees have left")
    return allocate(amount_minor, left)


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
