"""Receivers, share orders and fetchings-back as the API, the events and the command line show them."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from channels.sharing import ReceiverKind
from kernel.answers import Currency, Day, Minor, PaymentId, Time, id_schema, words
from kernel.clock import rfc3339
from splitting import states
from splitting.rails.parts import parts_of, reference_of
from splitting.tables import RailReceiver, ShareOrder, ShareReturn
from streams.catalogue import EventType

PayeeId = Annotated[str, WithJsonSchema(id_schema("pye"))]


class SharePartOut(TypedDict):
    """One share in a share order."""

    share: Annotated[int, Field(description="its place in the split's `shares`, counted from 0")]
    payee: PayeeId
    receiver: Annotated[str, Field(description="as whom the rail knows the payee; a person's number is shortened")]
    amount_minor: Minor
    status: Annotated[str, words(states.RailPart)]
    reason: Annotated[
        str | None, Field(description="the rail's, of what it closed: that is owed again, and paid by bank")
    ]
    fetched_back_minor: Annotated[Minor, Field(description="what of it refunds have asked to fetch back")]


class ShareOrderOut(TypedDict):
    """A sharing-out of a payment at its rail 分账单."""

    object: Literal["share_order"]
    id: str
    payment: PaymentId
    reference: Annotated[str, Field(description="our number of it at the rail")]
    channel: str
    channel_account: str
    channel_ref: Annotated[str | None, Field(description="the rail's number of it, once it has told us")]
    currency: Currency
    status: Annotated[str, words(states.Sharing)]
    releases_rest: Annotated[bool, Field(description="what the rail has frozen beside it is released with it")]
    parts: list[SharePartOut]
    said: Annotated[str | None, Field(description="what the rail said last, where that was no plain yes")]
    created_at: Time
    updated_at: Time


class ShareReturnOut(TypedDict):
    """A fetching-back of what a rail had paid of a share 分账回退."""

    object: Literal["share_return"]
    id: str
    payment: PaymentId
    share_order: str
    payee: PayeeId
    refund: Annotated[str, Field(description="for which it is")]
    currency: Currency
    amount_minor: Minor
    status: Annotated[str, words(states.Fetching)]
    reason: Annotated[str | None, Field(description="the rail's, where it said no: the payee owes it")]
    done_on: Day | None
    created_at: Time


class RailReceiverOut(TypedDict):
    """As whom a rail knows a payee 分账接收方."""

    object: Literal["rail_receiver"]
    payee: PayeeId
    channel_account: str
    channel: str
    kind: Annotated[str, words(ReceiverKind)]
    account: Annotated[str, Field(description="a person's is shortened to its last four characters")]
    name: Annotated[str, Field(description="which the rail compares; empty: it is not told")]
    relation: Annotated[str, Field(description="what it is to you, in the rail's own words; empty: the rail's widest")]
    status: Annotated[str, words(states.Receiver)]
    reason: Annotated[str | None, Field(description="the rail's words, while it has not registered it")]
    set_by: Annotated[str, Field(description="a person's name, or an API key's id")]
    updated_at: Time


EVENTS = {
    "rail_receiver.set": EventType("a payee is to be a receiver at a channel account", RailReceiverOut),
    "rail_receiver.registered": EventType("the rail knows a payee as a receiver", RailReceiverOut),
    "rail_receiver.refused": EventType("the rail refuses a payee as a receiver: change it", RailReceiverOut),
    "share_order.finished": EventType("the rail has decided about each share that it was to pay", ShareOrderOut),
    "share_order.refused": EventType("the rail shares nothing of it out: a bank pays those shares", ShareOrderOut),
    "share_return.done": EventType("the rail has fetched back what it had paid of a share", ShareReturnOut),
    "share_return.refused": EventType("the rail fetches nothing back: the payee owes it", ShareReturnOut),
}


def share_order_payload(order: ShareOrder) -> ShareOrderOut:
    """Return a share order as the API and the events show it."""
    return {
        "object": "share_order",
        "id": order.id,
        "payment": order.payment_id,
        "reference": reference_of(order),
        "channel": order.channel,
        "channel_account": order.channel_account,
        "channel_ref": order.channel_ref,
        "currency": order.currency,
        "status": order.status,
        "releases_rest": order.release_rest,
        "parts": [
            {
                "share": part.share,
                "payee": part.payee_id,
                "receiver": shortened(part.kind, part.account),
                "amount_minor": part.amount_minor,
                "status": part.status,
                "reason": part.reason,
                "fetched_back_minor": part.returned_minor,
            }
            for part in parts_of(order)
        ],
        "said": order.message,
        "created_at": rfc3339(order.created_at),
        "updated_at": rfc3339(order.updated_at),
    }


def share_return_payload(row: ShareReturn, order: ShareOrder) -> ShareReturnOut:
    """Return a fetching-back as the events show it. order: of which it is."""
    return {
        "object": "share_return",
        "id": row.id,
        "payment": row.payment_id,
        "share_order": row.order_id,
        "payee": parts_of(order)[row.part].payee_id,
        "refund": row.cause,
        "currency": order.currency,
        "amount_minor": row.amount_minor,
        "status": row.status,
        "reason": row.code,
        "done_on": None if row.done_on is None else row.done_on.isoformat(),
        "created_at": rfc3339(row.created_at),
    }


def rail_receiver_payload(row: RailReceiver) -> RailReceiverOut:
    """Return a receiver as the API and the events show it."""
    return {
        "object": "rail_receiver",
        "payee": row.payee_id,
        "channel_account": row.channel_account,
        "channel": row.channel,
        "kind": row.kind,
        "account": shortened(row.kind, row.account),
        "name": row.name,
        "relation": row.relation,
        "status": row.status,
        "reason": row.message,
        "set_by": row.set_by,
        "updated_at": rfc3339(row.updated_at),
    }


def shortened(kind: str, account: str) -> str:
    """Return a receiver's account for people to see: a person's shortened to its last four characters."""
    return account if kind == ReceiverKind.MERCHANT else f"…{account[-4:]}"
