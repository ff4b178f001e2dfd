"""What rails allow when they share a payment out 分账规则: data, one entry a rail, each number with its source.

A rail without an entry shares nothing out for the hub. What no document of the rail's says stands in the README under
"Unproven".
"""

from collections.abc import Mapping
from typing import NamedTuple

from channels.contract import Method
from channels.sharing import ReceiverKind


class Limits(NamedTuple):
    """What one rail allows of one payment."""

    name: str  # of the rail, for people
    receiver_kinds: frozenset[ReceiverKind]
    named: frozenset[ReceiverKind]  # kinds whose name has to be told
    methods: frozenset[Method] | None  # whose payments can be shared out as a plan says; None: all
    why_not_others: str  # the rail's rule about payments by other methods
    receivers_a_request: int
    requests_a_payment: int
    basis_points: (
        int | None
    )  # of what was paid, all its shares together 最大分账比例; None: as its terms agree it, no other
    frozen_days: int  # after the payment's day: then the rail releases by itself what was not shared out
    settles_s: int  # after the payment: before that the rail says that the payment is still being settled
    gives_back: frozenset[ReceiverKind]  # from whom a share can be fetched back
    give_back_days: int | None  # after which it cannot; None: as long as the payment can be refunded
    returns_an_order: int | None  # how often of one share order; None: no bound
    returns_first: bool  # what a refund closes is fetched back no more, so refunds wait for fetchings-back
    return_gap_s: int  # between two fetchings-back of a payment, and before its refund
    short: frozenset[str]  # its refusals of a fetching-back that say that the receiver does not have it
    gone: frozenset[str]  # its refusals of a mere release that say that nothing is frozen
    never_frozen: frozenset[str]  # and those, of any share order, that say that nothing ever was
    source: str


# WeChat Pay:
# - "Sharing, questions" (pay.weixin.qq.com/doc/v3/merchant/4014547102, 2025-11-17): money is frozen for 30 days at most
#   and then released; 50 requests an order, 50 receivers each; all shares together are at most the order less its fee.
# - The same of v2 (pay.weixin.qq.com/wiki/doc/api/allocation.php?chapter=26_4, 2026-01-30): and at most the maximum
#   ratio of the order's amount, which the merchant's portal sets.
# - The same for partners (pay.weixin.qq.com/doc/v3/partner/4015981574, 2025-12-19): a minute after the payment.
# - "Returning shares" (pay.weixin.qq.com/docs/partner/apis/profit-sharing/return-orders/create-return-order.html,
#   2025-09-29): from merchants only, within 180 days, of an order that is finished, 50 times an order.
# Alipay:
# - "Sharing by merchants, how to join" 商家分账 接入指南 (opendocs.alipay.com, 2025-06-09; mirrored at
#   zhifubao.apifox.cn/doc-3273123): frozen by royalty_freeze for 30 days, then released by itself; by default at most
#   30% of total_amount; an asynchronous request may succeed in part; a refund may give back shares alone.
# - "Sharing by platforms" 直付通 分账 (2023, mirrored at cnblogs.com/keleyu/p/17645634.html), of the same interface:
#   asynchronously 50 receivers a request and 300 requests a payment.
# - alipay.trade.royalty.relation.bind: receivers by userId, loginName or openId; loginName with a name.
# - alipay.trade.refund, on refund_royalty_parameters: of payments by a code 当面付 shares come back by themselves, in
#   proportion, and none can be named; of those on a page, on a phone's page and in an app each is named, or none comes
#   back. Its notes of 2025: three seconds between two refunds of a payment; receivers must have agreed to give back,
#   and persons cannot. Its errors: a payment that was refunded whole is closed, and refunds no more.
RAILS: Mapping[str, Limits] = {
    "wechat": Limits(
        name="WeChat Pay",
        receiver_kinds=frozenset({ReceiverKind.MERCHANT, ReceiverKind.PERSON}),
        named=frozenset(),
        methods=None,
        why_not_others="",
        receivers_a_request=50,
        requests_a_payment=50,
        basis_points=3000,
        frozen_days=30,
        settles_s=60,
        gives_back=frozenset({ReceiverKind.MERCHANT}),
        give_back_days=180,
        returns_an_order=50,
        returns_first=False,
        return_gap_s=0,
        short=frozenset({"NOT_ENOUGH"}),
        gone=frozenset({"NOT_ENOUGH", "NOT_SHARE_ORDER", "RESOURCE_NOT_EXISTS"}),
        never_frozen=frozenset({"NOT_SHARE_ORDER"}),
        source="https://pay.weixin.qq.com/doc/v3/merchant/4014547102",
    ),
    "alipay": Limits(
        name="Alipay",
        receiver_kinds=frozenset(ReceiverKind),
        named=frozenset({ReceiverKind.LOGIN}),
        methods=frozenset({Method.PAGE, Method.H5, Method.APP}),
        why_not_others="of a payment by a code or in its own browser, Alipay takes shares back by itself with every "
        "refund, in proportion, from whom a plan may not have asked",
        receivers_a_request=50,
        requests_a_payment=300,
        basis_points=3000,
        frozen_days=30,
        settles_s=0,
        gives_back=frozenset({ReceiverKind.MERCHANT, ReceiverKind.LOGIN}),
        give_back_days=None,
        returns_an_order=None,
        returns_first=True,
        return_gap_s=3,
        short=frozenset({"ACQ.SELLER_BALANCE_NOT_ENOUGH"}),
        gone=frozenset({"ACQ.ALLOC_AMOUNT_VALIDATE_ERROR", "ACQ.TRADE_STATUS_ERROR", "ACQ.TRADE_NOT_EXIST"}),
        never_frozen=frozenset(),
        source="https://opendocs.alipay.com/open/20190308105425129272/intro",
    ),
}


class AtRail(NamedTuple):
    """The channel account that a payment goes to, as far as sharing out looks at it."""

    account_id: str
    channel: str  # the rail
    basis_points: int | None = None  # the ceiling that the account's terms agree; None: the rail's
    reserves: bool = False  # 预授权: the payment's money is only reserved at first
    method: str | None = None  # how it is to be paid; None: not known yet

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


def shares_out(channel: str, method: str | None) -> bool:
    """Tell whether a rail shares out payments by a method for the hub; None: by any."""
    limits = RAILS.get(channel)
    return limits is not None and (method is None or limits.methods is None or method in limits.methods)
