"""What a rail releases by itself 到期解冻: noticed by asking it, once the time is over for which it keeps money frozen.

The hub shares a payment out, or releases it, long before; unless it was away, or the rail would not have it for weeks.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from channels.contract import Confirmed, Outcome
from kernel.clock import business_date
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from ledger import accounts
from ledger.posting import ACCOUNTS
from splitting import states
from splitting.rails.limits import RAILS
from splitting.rails.orders import order_id_of
from splitting.rails.parts import parts_of
from splitting.rails.record import refused_unsent
from splitting.states import Sharing, SharingEvent
from splitting.tables import RAIL_PAYMENTS, SHARE_ORDERS, RailPayment

log = logging.getLogger(__name__)
RELEASED = "RELEASED_BY_RAIL"  # ShareOrder.code of one that was never sent
AGAIN = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class RecordLeft:
    """Record how much of a payment its rail says is frozen, after the time for which it keeps it; return the payment.

    Where nothing is, orders of which nothing has left are refused, so that a bank pays their shares, and none follow.
    said: what is frozen; None: the rail does not tell, and what its rule says is taken for it. scale: shortens waits
    for a sandbox.
    """

    book: int
    paid_id: str
    said: Outcome | None
    scale: float

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        key = (self.book, self.paid_id)
        yield RAIL_PAYMENTS, key
        if not work.knows(RAIL_PAYMENTS, key):
            return
        paid = work.get(RAIL_PAYMENTS, key)
        yield ACCOUNTS, (self.book, accounts.rail_transit(paid.channel_account, paid.currency))
        yield ACCOUNTS, (self.book, accounts.channel(paid.channel_account, paid.currency))
        for number in range(1, paid.order_count + 1):
            order_key = (self.book, order_id_of(paid.payment_id, number))
            yield SHARE_ORDERS, order_key
            if work.knows(SHARE_ORDERS, order_key):
                for part in parts_of(work.get(SHARE_ORDERS, order_key)):
                    yield ACCOUNTS, (self.book, part.owed)

    def apply(self, work: Work) -> RailPayment:
        work.head(self.book)
        paid = work.get(RAIL_PAYMENTS, (self.book, self.paid_id))
        if paid.ask_at is None:
            return paid
        ids = [order_id_of(paid.payment_id, number) for number in range(1, paid.order_count + 1)]
        orders = [work.get(SHARE_ORDERS, (self.book, order_id)) for order_id in ids]
        is_free = self.said is None or (isinstance(self.said, Confirmed) and self.said.amount.minor == 0)
        if paid.released_on is not None:
            paid = paid._replace(ask_at=None)
        elif not is_free or any(order.status == Sharing.SENT for order in orders):  # that the rail decides about
            paid = paid._replace(ask_at=work.now + AGAIN * self.scale)
        else:
            for order in orders:
                if order.status == Sharing.PLANNED:
                    status = advance(states.SHARING, Sharing.PLANNED, SharingEvent.CLAIMED)
                    refused_unsent(work, order._replace(status=status.value, code=RELEASED))
            on = min(released_by_itself_on(paid), business_date(work.now))
            paid = paid._replace(is_last=True, released_on=on, ask_at=None)
            log.warning("a rail released by itself what was not shared out", extra={"payment": paid.payment_id})
        work.put(RAIL_PAYMENTS, paid)
        return paid


def released_by_itself_on(paid: RailPayment) -> date:
    """Return the business date on which a rail releases a payment by itself; its own date where it has no rule."""
    limits = RAILS.get(paid.channel)
    return paid.frozen_on + timedelta(days=0 if limits is None else limits.frozen_days)


def ask_from(channel: str, paid_at: datetime) -> datetime | None:
    """Return from when a rail is asked whether it has released a payment by itself: a day after it should have."""
    limits = RAILS.get(channel)
    return None if limits is None else paid_at + timedelta(days=limits.frozen_days + 1)
