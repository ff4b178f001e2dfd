"""What rails allow when they share a payment out 分账规则: data, one entry a rail, each number with its source.

A rail without an entry shares nothing out for the hub. What no document of the rail's says stands in the README under
"Unproven".
"""

from collections.abc import Mapping
from typing import NamedTuple

from channels.sharing import ReceiverKind


class Limits(NamedTuple):
    """What one rail allows of one payment."""

    name: str  # of the rail, for people
    receiver_kinds: frozenset[ReceiverKind]
    receivers_a_request: int
    requests_a_payment: int
    basis_points: (
        int | None
    )  # of what was paid, all its shares together 最大分账比例; None: as its terms agree it, no other
    frozen_days: int  # after the payment's day: then the rail releases by itself what was not shared out
    settles_s: int  # after the payment: before that the rail says that the payment is still being settled
    gives_back: frozenset[ReceiverKind]  # from whom a share can be fetched back
    give_back_days: int  # after which it cannot
    source: str


# WeChat Pay:
# - "Sharing, questions" (pay.weixin.qq.com/doc/v3/merchant/4014547102, 2025-11-17): money is frozen for 30 days at most
#   and then released; 50 requests an order, 50 receivers each; all shares together are at most the order less its fee.
# - The same of v2 (pay.weixin.qq.com/wiki/doc/api/allocation.php?chapter=26_4, 2026-01-30): and at most the maximum
#   ratio of the order's amount, which the merchant's portal sets.
# - The same for partners (pay.weixin.qq.com/doc/v3/partner/4015981574, 2025-12-19): a minute after the payment.
# - "Returning shares" (pay.weixin.qq.com/docs/partner/apis/profit-sharing/return-orders/create-return-order.html,
#   2025-09-29): from merchants only, within 180 days, of an order that is finished, 50 times an order.
RAILS: Mapping[str, Limits] = {
    "wechat": Limits(
        name="WeChat Pay",
        receiver_kinds=frozenset({ReceiverKind.MERCHANT, ReceiverKind.PERSON}),
        receivers_a_request=50,
        requests_a_payment=50,
        basis_points=3000,
        frozen_days=30,
        settles_s=60,
        gives_back=frozenset({ReceiverKind.MERCHANT}),
        give_back_days=180,
        source="https://pay.weixin.qq.com/doc/v3/merchant/4014547102",
    ),
}


class AtRail(NamedTuple):
    """The channel account that a payment goes to, as far as sharing out looks at it."""

    account_id: str
    channel: str  # the rail
    basis_points: int | None = None  # the ceiling that the account's terms agree; None: the rail's
    reserves: bool = False  # 预授权: the payment's money is only reserved at first

    @property
    def limits(self) -> Limits | None:
        """What the rail allows; None where it shares nothing out for the hub."""
        return RAILS.get(self.channel)

    @property
    def ceiling(self) -> int | None:
        """The most of a payment that it may share out, in basis points; None: no bound but what arrives."""
        if self.basis_points is not None or self.limits is None:
            return self.basis_points
        return self.limits.basis_points
