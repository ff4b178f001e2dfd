"""The parts of a share order as its row keeps them, and what is asked of the rail for them. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from channels.sharing import Receiver, ReceiverKind, Share
from channels.sharing import ShareOrder as AtChannel
from kernel.ids import reference
from kernel.money import Money
from splitting.states import RailPart
from splitting.tables import RailPayment, ShareOrder


class Part(NamedTuple):
    """One share in a share order. Amounts in minor units."""

    share: int  # its place in the split's shares
    payee_id: str
    owed: str  # the payee's account in the ledger
    kind: str  # of the receiver, as it stood when the order was planned
    account: str
    amount_minor: int
    status: str = RailPart.OPEN.value
    returned_minor: int = 0  # what of it refunds have asked to fetch back
    reason: str | None = None  # the rail's, of what it closed
    on: str | None = None  # the business date of its end, ISO 8601

    @property
    def receiver(self) -> tuple[str, str]:
        return self.kind, self.account


def parts_of(order: ShareOrder) -> list[Part]:
    """Return the parts of a stored order."""
    return [Part(*part) for part in orjson.loads(order.parts)]


def dump(parts: Sequence[Part]) -> str:
    """Return parts as they are stored."""
    return orjson.dumps([list(part) for part in parts]).decode()


def reference_of(order: ShareOrder) -> str:
    """Return our number of a share order at the rail: it follows from the payment and is never made anew."""
    return f"{reference(order.book, order.payment_id)}s{order.number}"


def groups(parts: Sequence[Part]) -> list[list[int]]:
    """Return the places of the parts of each receiver, in order: a rail takes a receiver once in a request.

    Parts of nothing are in none: a refund came before they left.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for place, part in enumerate(parts):
        if part.amount_minor:
            found.setdefault(part.receiver, []).append(place)
    return list(found.values())


def as_frozen(paid: RailPayment) -> AtChannel:
    """Return a payment as its channel is asked what of it is frozen."""
    return AtChannel(
        reference=paid.reference,
        payment_reference=paid.reference,
        payment_channel_ref=paid.channel_ref,
        shares=(),
        created_at=paid.paid_at,
    )


def at_channel(order: ShareOrder, paid: RailPayment) -> AtChannel:
    """Return the order as its channel is asked for it; the same rows always make the same one."""
    parts = parts_of(order)
    shares = [
        Share(
            Receiver(ReceiverKind(parts[places[0]].kind), parts[places[0]].account),
            Money(sum(parts[place].amount_minor for place in places), order.currency),
        )
        for places in groups(parts)
    ]
    return AtChannel(
        reference=reference_of(order),
        payment_reference=paid.reference,
        payment_channel_ref=paid.channel_ref,
        shares=shares,
        created_at=order.created_at,
        release_rest=order.release_rest,
        description=f"{order.payment_id}",
        channel_ref=order.channel_ref,
    )
