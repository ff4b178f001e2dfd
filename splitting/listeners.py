"""What splitting does when it hears of something: it shares out every payment that succeeded."""

from collections.abc import Iterable, Sequence
from datetime import date

from pydantic import BaseModel, ConfigDict

from kernel.db import Connection, Pool
from kernel.env import Env
from kernel.lane import Lanes
from kernel.work import Need, Work
from splitting import store
from splitting.shares import sharing
from splitting.shares.sharing import Paid
from streams import Consumer, Event

NAME = "splitting"  # of the position in each book
SUCCEEDED = "payment.succeeded"


class PaymentSucceeded(BaseModel):
    """What of the event matters here, amounts in minor units; everything else that it tells is passed over."""

    model_config = ConfigDict(strict=True, frozen=True)

    business_date: date
    amount_captured: int
    channel_fee: int
    merchant_coupon: int = 0  # events of before coupons were known do not have it
    paid_by: str | None = None  # likewise


def needs(work: Work, events: Sequence[Event]) -> Iterable[Need]:
    yield from sharing.needs_of_many(work, events[0].book, [event.subject for event in events])


def handle(work: Work, events: Sequence[Event]) -> None:
    sharing.share_out_many(work, events[0].book, [_paid(event.subject, event.payload) for event in events])


def _paid(payment_id: str, payload: str) -> Paid:
    told = PaymentSucceeded.model_validate_json(payload)
    return Paid(
        payment_id, told.business_date, told.amount_captured, told.channel_fee, told.merchant_coupon, told.paid_by
    )


async def concerning(connection: Connection, book: int, events: Sequence[Event]) -> Sequence[Event]:
    """Return the events of payments that have a plan; the others have no effect."""
    planned = await store.with_plan(connection, book, [event.subject for event in events])
    return [event for event in events if event.subject in planned]


def splitter(pool: Pool, lanes: Lanes, env: Env) -> Consumer:
    """Return the listener that shares out every payment that succeeded."""
    return Consumer(NAME, [SUCCEEDED], needs, handle, pool=pool, lanes=lanes, env=env, concerning=concerning)
