"""Rails that share a payment's money out themselves 渠道分账: what the hub may ask of them, beside `Channel`.

An order placed with share_later stays frozen at the rail until it is shared out, and what is left is released. All
here is request and outcome, in the four words of channels/contract.py, as pure as a Channel is. `bind` says once who
may receive; `share` pays receivers out of one payment; `release` lets the rest go; `give_back` fetches a share back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from channels.contract import Confirmed, Outcome, Pending, Refused, Request, Response, Unknown
from kernel.money import Money


class ReceiverKind(StrEnum):
    """By what a receiver is known at the rail."""

    MERCHANT = "merchant"  # the rail's number of a merchant (WeChat mchid, Alipay 2088…)
    PERSON = "person"  # the rail's id of a person, as it told us (openid, user id)
    LOGIN = "login"  # what somebody logs in with at the rail (Alipay)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who may be given a share 分账接收方."""

    kind: ReceiverKind
    account: str
    name: str = ""  # full name; the rail compares it. Encrypted on the way where the rail wants that
    relation: str = ""  # what it is to us, in the rail's own words (WeChat relation_type); empty: the rail's widest


@dataclass(frozen=True, slots=True)
class Share:
    """One receiver's part of a share order."""

    receiver: Receiver
    amount: Money
    description: str = ""


@dataclass(frozen=True, slots=True)
class ShareOrder:
    """One sharing-out of one paid order; a payment may have several. Without shares: only the rest is released."""

    reference: str  # our number of it; the same number never shares twice
    payment_reference: str  # Order.reference
    payment_channel_ref: str  # the rail's number of the payment
    shares: Sequence[Share]
    created_at: datetime
    release_rest: bool = False  # what is not shared out here becomes ours, and the payment can be shared no more
    description: str = ""
    channel_ref: str | None = None  # the rail's number of this sharing-out, once it has told us


@dataclass(frozen=True, slots=True)
class ShareReturn:
    """One fetching-back 分账回退 of a share, or a part of it, from its receiver."""

    reference: str
    order: ShareOrder  # the sharing-out it undoes
    receiver: Receiver
    amount: Money
    description: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Shared:
    """What a rail says of a share order: as a whole, and for each share in the order of ShareOrder.shares.

    whole: Confirmed once every share is decided and at least one was paid; its amount is what was paid in all.
    shares: empty where the rail decided or said nothing about them one by one.
    """

    whole: Outcome
    shares: tuple[Outcome, ...] = ()


def together(channel_ref: str, shares: Sequence[Outcome]) -> Outcome:
    """Return what single shares make of their order as a whole; there is at least one.

    One in doubt leaves all in doubt; one under way leaves the order under way; one refused does not undo the others.
    """
    doubt = next((share for share in shares if isinstance(share, Unknown)), None)
    if doubt is not None:
        return doubt
    if any(isinstance(share, Pending) for share in shares):
        return Pending(channel_ref=channel_ref)
    paid = [share for share in shares if isinstance(share, Confirmed)]
    if not paid:
        return next(share for share in shares if isinstance(share, Refused))
    total = Money(sum(share.amount.minor for share in paid), paid[0].amount.currency)
    return Confirmed(channel_ref, total, max(share.happened_at for share in paid))


@runtime_checkable
class TellsFrozen(Protocol):
    """What a rail also offers that tells how much of a payment it keeps frozen."""

    def frozen_request(self, order: ShareOrder) -> Request:
        """Ask about the payment of `order`; its reference and shares are of no account."""

    def frozen_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return Confirmed with what is frozen still, which may be 0, or Unknown."""


@runtime_checkable
class Sharing(Protocol):
    """What a Channel also offers where its rail shares out. Requests are unsigned; whoever sends them signs them."""

    receiver_kinds: frozenset[ReceiverKind]

    def bind_request(self, receiver: Receiver, reference: str) -> Request:
        """Say that a receiver may be given shares; may be repeated. reference: ours of this request."""

    def bind_outcome(self, receiver: Receiver, answer: Response, *, now: datetime) -> Outcome:
        """Return Confirmed of nothing (amount 0, at `now`) when the receiver is known there, Refused, or Unknown."""

    def unbind_request(self, receiver: Receiver, reference: str) -> Request: ...
    def unbind_outcome(self, receiver: Receiver, answer: Response, *, now: datetime) -> Outcome:
        """Return the same when the receiver is no longer known."""

    def share_request(self, order: ShareOrder) -> Request:
        """Share out; repeating the same number never pays twice."""

    def share_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Shared: ...
    def share_query_request(self, order: ShareOrder) -> Request: ...
    def share_query_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Shared:
        """Return what became of it; whole is Unknown(not_found=True) when the rail knows no such number."""

    def release_request(self, order: ShareOrder) -> Request:
        """Release all that is still frozen 解冻剩余资金, under `order.reference`; order.shares is empty."""

    def release_outcome(self, order: ShareOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return Confirmed with the amount that the rail says became free, 0 where it says none."""

    def give_back_request(self, order: ShareReturn) -> Request:
        """Fetch a share back; repeating the same number never fetches twice. Raises ValueError for a receiver kind that
        gives nothing back at this rail."""

    def give_back_outcome(self, order: ShareReturn, answer: Response, *, now: datetime) -> Outcome: ...
    def give_back_query_request(self, order: ShareReturn) -> Request: ...
    def give_back_query_outcome(self, order: ShareReturn, answer: Response, *, now: datetime) -> Outcome: ...
