"""Share orders 分账单 inside the caller's batch: planned with the shares, called off or fetched back by a refund.

A share that the rail pays is posted to its payee like any other, and goes on from there to what is in transit at the
rail, in the same batch: no batch of a bank's ever has it. What the rail does not pay comes back to the payee's account.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta

from channels.sharing import ReceiverKind
from kernel.work import Need, Work
from ledger import Transfer, accounts, open_account, post_expected
from ledger.posting import ACCOUNTS
from splitting import states
from splitting.plans.arithmetic import Share
from splitting.rails.compile import BY_RAIL
from splitting.rails.limits import RAILS
from splitting.rails.parts import Part, dump, parts_of
from splitting.shares.frozen import frozen_of
from splitting.tables import (
    PAYEES,
    RAIL_PAYMENTS,
    RAIL_RECEIVERS,
    SHARE_ORDERS,
    SHARE_RETURNS,
    SPLITS,
    Payee,
    RailPayment,
    ShareOrder,
    ShareReturn,
    Split,
)

WAITS_FOR_RETURNS = timedelta(minutes=10)  # a refund, at most


def rule_of(owed: str, what: str) -> str:
    """Return the posting rule of a payee's or the platform's account: `what` is to_rail, off_rail or fetched_back."""
    word = "commission" if owed.startswith(f"{accounts.AccountKind.PLATFORM_FEE}:") else "share"
    return f"{word}_{what}"


def freeze_needs(book: int, payment_id: str, number: int) -> Iterable[Need]:
    """Name the rows that `frozen_at_rail` looks at."""
    yield SPLITS, (book, payment_id)
    yield RAIL_PAYMENTS, (book, f"{payment_id}:{number}")


def frozen_at_rail(work: Work, paid: RailPayment, *, is_the_payments: bool) -> None:
    """Note that a rail keeps an attempt's money frozen. Repeating it changes nothing.

    is_the_payments: it is what its payment is shared out from, not paid on top, which goes back whole.
    """
    if work.find(RAIL_PAYMENTS, (paid.book, paid.id)) is not None:
        return
    work.put(RAIL_PAYMENTS, paid)
    split = work.find(SPLITS, (paid.book, paid.payment_id))
    if is_the_payments and split is not None:
        work.put(SPLITS, split._replace(rail=paid.id))


def needs(work: Work, split: Split, payee_ids: Sequence[str]) -> Iterable[Need]:
    """Name the rows that this module looks at. payee_ids: of the payees whose shares may go by the rail."""
    if split.rail is None:
        return
    book, key = split.book, (split.book, split.rail)
    yield RAIL_PAYMENTS, key
    if not work.knows(RAIL_PAYMENTS, key):
        return
    paid = work.get(RAIL_PAYMENTS, key)
    yield ACCOUNTS, (book, accounts.rail_transit(paid.channel_account, split.currency))
    for payee_id in payee_ids:
        yield RAIL_RECEIVERS, (book, payee_id, paid.channel_account)
    for number in range(1, paid.order_count + 3):  # and those that may be planned now
        yield SHARE_ORDERS, (book, order_id_of(split.payment_id, number))


def order_id_of(payment_id: str, number: int) -> str:
    return f"{payment_id}:rail:{number}"


def plan_order(
    work: Work,
    split: Split,
    shares: Sequence[Share],
    amounts: Sequence[tuple[int, int]],
    day: date,
    owed_account: Callable[[Payee], str],
) -> None:
    """Have the rail pay parts of shares that have just been posted, and with the last of them release the rest.

    amounts: places of shares that the rail pays, and how much of each. What a payee owes is not sent: its next shares
    pay its debts first. Nor is anything sent to a payee that is suspended, or whose account is frozen, or that is no
    receiver any more: a bank pays that, once it may.
    """
    book = split.book
    paid = work.get(RAIL_PAYMENTS, (book, split.rail))
    if paid.is_last:
        return
    number, last = paid.order_count + 1, not _waits(split, shares)
    order_id = order_id_of(split.payment_id, number)
    transit = accounts.rail_transit(paid.channel_account, split.currency)
    parts: list[Part] = []
    transfers: list[Transfer] = []
    left: dict[str, int] = {}
    for place, minor in amounts:
        payee = work.get(PAYEES, (book, shares[place].payee_id))
        row = work.find(RAIL_RECEIVERS, (book, payee.id, paid.channel_account))
        if row is None or row.status != states.Receiver.REGISTERED or payee.is_stopped:
            continue
        owed = owed_account(payee)
        has = left.setdefault(owed, max(work.get(ACCOUNTS, (book, owed)).balance, 0))
        minor = min(minor, has)
        if not minor:
            continue
        left[owed] -= minor
        transfers.append(
            Transfer(f"{order_id}:{len(parts)}:sent", rule_of(owed, "to_rail"), owed, transit, minor, split.currency)
        )
        parts.append(Part(place, payee.id, owed, row.kind, row.account, minor))
    if not parts and not last:
        return
    if transfers:
        open_account(work, book, transit)
        post_expected(work, book, order_id, transfers, business_date=day, fresh=True)
    work.put(
        SHARE_ORDERS,
        ShareOrder(
            book, order_id, split.payment_id, number, paid.id, paid.channel_account, paid.channel, split.currency,
            dump(parts), last, states.Sharing.PLANNED.value, None, None, None, 0, 0, None, work.now, work.now, work.now,
        ),
    )  # fmt: skip
    work.put(RAIL_PAYMENTS, paid._replace(order_count=number, is_last=last))


def release_if_last(
    work: Work, split: Split, shares: Sequence[Share], day: date, owed_account: Callable[[Payee], str]
) -> None:
    """Release what is left at the rail where a refund took all that another order was to pay."""
    if not _waits(split, shares):
        plan_order(work, split, shares, [], day, owed_account)


def _waits(split: Split, shares: Sequence[Share]) -> bool:
    """Tell whether some of a share that the rail pays is frozen in the book still, so that another order follows."""
    return any(part.frozen_minor and shares[part.share].rail == BY_RAIL for part in frozen_of(split))


def call_off(work: Work, split: Split, place: int, minor: int, cause: str) -> list[Transfer]:
    """Take up to `minor` of a share out of orders of which nothing has left; return what brings it back to its payee.

    cause: what the taking back is posted as; it begins with the refund's id.
    """
    transfers: list[Transfer] = []
    for order in _orders(work, split):
        if order.status != states.Sharing.PLANNED:
            continue
        parts = parts_of(order)
        for n, part in enumerate(parts):
            cut = min(part.amount_minor, minor) if part.share == place else 0
            if not cut:
                continue
            parts[n] = part._replace(amount_minor=part.amount_minor - cut)
            transit = accounts.rail_transit(order.channel_account, order.currency)
            transfers.append(
                Transfer(
                    f"{order.id}:{n}:off:{cause}", rule_of(part.owed, "off_rail"), transit, part.owed, cut,
                    order.currency,
                )
            )  # fmt: skip
            minor -= cut
        work.put(SHARE_ORDERS, order._replace(parts=dump(parts), updated_at=work.now))
    return transfers


def fetch_back(work: Work, split: Split, place: int, minor: int, cause: str) -> None:
    """Have up to `minor` of a share fetched back from its receiver, where its rail has it or may have, and can do that.

    Nothing waits for it: the payee owes what a refund took of it until it is there.
    """
    for order in _orders(work, split):
        limits = RAILS.get(order.channel)
        if order.status in (states.Sharing.PLANNED, states.Sharing.REFUSED) or limits is None:
            continue
        days = limits.give_back_days
        if days is not None and work.now - order.created_at >= timedelta(days=days):
            continue
        begun = 0
        parts = parts_of(order)
        for n, part in enumerate(parts):
            can = ReceiverKind(part.kind) in limits.gives_back and part.status != states.RailPart.CLOSED
            cut = min(part.amount_minor - part.returned_minor, minor) if can and part.share == place else 0
            most = limits.returns_an_order
            if not cut or (most is not None and order.return_count >= most):
                continue
            begun += 1
            parts[n] = part._replace(returned_minor=part.returned_minor + cut)
            order = order._replace(return_count=order.return_count + 1, parts=dump(parts), updated_at=work.now)
            work.put(
                SHARE_RETURNS,
                ShareReturn(
                    order.book, f"{order.id}:{n}:fetched:{cause}", order.payment_id, order.id, n,
                    cause.partition(":")[0], order.return_count, cut, states.Fetching.WAITING.value, None, None, 0, 0,
                    work.now, None, work.now, work.now,
                ),
            )  # fmt: skip
            minor -= cut
        work.put(SHARE_ORDERS, order)
        if begun:
            paid = work.get(RAIL_PAYMENTS, (order.book, order.rail_payment))
            work.put(RAIL_PAYMENTS, paid._replace(returns_open=paid.returns_open + begun))


def refund_needs(work: Work, book: int, payment_id: str) -> Iterable[Need]:
    """Name the rows that `refund_waits_until` looks at."""
    yield SPLITS, (book, payment_id)
    if work.knows(SPLITS, (book, payment_id)):
        split = work.find(SPLITS, (book, payment_id))
        if split is not None and split.rail is not None:
            yield RAIL_PAYMENTS, (book, split.rail)


def refund_waits_until(
    work: Work, book: int, payment_id: str, paid_by: str, begun_at: datetime, scale: float
) -> datetime | None:
    """Return when to look again whether a refund may leave; None: it may now.

    At rails that fetch nothing back of a payment once it is refunded, it waits for what is to be fetched back; not for
    ever, as its payer is to have the money whether a receiver gives back or not. paid_by: the rail_payment of what it
    gives back; begun_at: when it was begun.
    """
    split = work.find(SPLITS, (book, payment_id))
    if split is None or split.rail != paid_by:
        return None
    paid = work.get(RAIL_PAYMENTS, (book, split.rail))
    limits = RAILS.get(paid.channel)
    if limits is None or not limits.returns_first:
        return None
    if paid.returns_open:
        return work.now + timedelta(seconds=2 * scale) if work.now - begun_at < WAITS_FOR_RETURNS else None
    return gap_ends(paid, work.now, scale)


def gap_ends(paid: RailPayment, now: datetime, scale: float) -> datetime | None:
    """Return when the next thing may be fetched back or refunded of a payment, where that is not now."""
    limits = RAILS.get(paid.channel)
    if limits is None or paid.return_sent_at is None:
        return None
    ends = paid.return_sent_at + timedelta(seconds=limits.return_gap_s * scale)
    return ends if ends > now else None


def _orders(work: Work, split: Split) -> list[ShareOrder]:
    """Return the share orders of a payment, the newest first."""
    if split.rail is None:
        return []
    paid = work.get(RAIL_PAYMENTS, (split.book, split.rail))
    numbers = range(paid.order_count, 0, -1)
    return [work.get(SHARE_ORDERS, (split.book, order_id_of(split.payment_id, number))) for number in numbers]


def settles_at(paid: RailPayment, scale: float) -> datetime:
    """Return from when on a rail shares a payment out. scale: shortens it for a sandbox."""
    limits = RAILS.get(paid.channel)
    return paid.paid_at + timedelta(seconds=(0 if limits is None else limits.settles_s) * scale)
