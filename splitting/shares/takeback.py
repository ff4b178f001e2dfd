"""What each share gives back of a refund, by the policy of the plan that gave it. Pure, exact to the last unit.

A policy puts the shares of a payment into an order: a group of shares gives back, in proportion to what is left of
each, until nothing is left of it; then the next group. So whatever parts a refund comes in, no share gives back more
than it is, and refunds of the whole payment bring every share to nothing.
"""

from collections.abc import Sequence, Set

from kernel.money import allocate
from splitting.plans.arithmetic import Share
from splitting.plans.tree import OWN, Policy, TakingBack


def taken_back(
    shares: Sequence[Share], amount_minor: int, plans: Sequence[TakingBack], platforms: Set[str]
) -> list[int]:
    """Return what each share gives back of `amount_minor`.

    plans: how refunds take back, of each part of the order; the refund falls on parts in proportion to what is left of
    each. platforms: the ids of payees that are the platform. Raises ValueError when the shares have less left.
    """
    left = sum(share.left_minor for share in shares)
    if amount_minor > left:
        raise ValueError(f"{amount_minor} is more than the {left} the payees have left")
    parts = sorted({share.part for share in shares})
    of_parts = [[n for n, share in enumerate(shares) if share.part == part] for part in parts]
    back = [0] * len(shares)
    falls = allocate(amount_minor, [sum(shares[n].left_minor for n in of_part) for of_part in of_parts])
    for part, of_part, amount in zip(parts, of_parts, falls, strict=True):
        for group in _order(shares, of_part, plans[part], platforms):
            weights = [shares[n].left_minor for n in group]
            taken = min(amount, sum(weights))
            amount -= taken
            for n, minor in zip(group, allocate(taken, weights), strict=True):
                back[n] = minor
    return back


def _order(
    shares: Sequence[Share], of_part: Sequence[int], plan: TakingBack, platforms: Set[str]
) -> Sequence[Sequence[int]]:
    """Return the groups in which the shares of a part give back, the first group first."""
    if plan.policy is Policy.RATIO:
        return [of_part]
    if plan.policy is Policy.LAST_IN_FIRST_OUT:
        return [[n] for n in reversed(of_part)]
    if plan.policy is Policy.PLATFORM_FIRST:
        first = [n for n in of_part if shares[n].payee_id in platforms]
    elif plan.payer == OWN:
        first = [n for n in of_part if shares[n].payee_id == OWN]
    else:
        first = [n for n in of_part if shares[n].line == plan.payer and shares[n].payee_id != OWN]
    return [first, [n for n in of_part if n not in first]]
