"""What workers do to share orders and fetchings-back: claiming one, and recording what its rail said. One commit each.

A number is never given up for a new one. After silence the rail is asked, and where it knows nothing, told the same
again. A no ends an order only where no other message of its number may have arrived (docs/decisions/0020).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

import cases
from channels.contract import Confirmed, Outcome, Pending, Refused, Unknown
from channels.sharing import Shared
from kernel.clock import business_date
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from ledger import Transfer, accounts, open_account, post_expected
from ledger.posting import ACCOUNTS
from splitting import states
from splitting.rails.limits import RAILS
from splitting.rails.objects import share_order_payload, share_return_payload
from splitting.rails.orders import gap_ends, order_id_of, rule_of, settles_at
from splitting.rails.parts import Part, dump, groups, parts_of
from splitting.states import Fetching, FetchingEvent, RailPart, RailPartEvent, SharingEvent
from splitting.states import Sharing as State
from splitting.tables import RAIL_PAYMENTS, SHARE_ORDERS, SHARE_RETURNS, RailPayment, ShareOrder, ShareReturn
from streams import publish

# Until when somebody who claimed one is taken to be at work; a call and its answer take less.
CLAIMED_FOR = timedelta(seconds=40)
# How long a message may be on its way: a rail that knows nothing of it after that never will.
ARRIVED_AFTER = timedelta(seconds=90)
CONTRADICTED = "channel_contradicts_itself"
REST = timedelta(days=30)  # a rail says the same each time it is asked; so long after a decision it opens nothing
WAITS_S = (2, 5, 10, 30, 60, 300, 600, 1800, 3600)


def wait(count: int, scale: float) -> timedelta:
    """Return how long after the count-th call the next one is made. scale: shortens it for a sandbox."""
    return timedelta(seconds=WAITS_S[min(count, len(WAITS_S) - 1)] * scale)


class Claimed(NamedTuple):
    """A share order that is somebody's to send or to ask about, and the payment that it is of."""

    order: ShareOrder
    paid: RailPayment


@dataclass(frozen=True, slots=True)
class ClaimSharing:
    """Note that a share order is about to be sent, or asked about; None where it is not due, or another took it.

    send: it is to be sent, for the first time or again. seen: how often it had been sent when that was decided.
    """

    book: int
    order_id: str
    scale: float
    send: bool
    seen: int

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield from _order_needs(work, self.book, self.order_id)

    def apply(self, work: Work) -> Claimed | None:
        work.head(self.book)
        order = work.get(SHARE_ORDERS, (self.book, self.order_id))
        if order.due_at is None or order.sent_count != self.seen:
            return None
        paid = work.get(RAIL_PAYMENTS, (self.book, order.rail_payment))
        if order.status == State.PLANNED:
            if not order.release_rest and not groups(parts_of(order)):  # refunds took all of it before it left
                status = advance(states.SHARING, State.PLANNED, SharingEvent.CLAIMED)
                _ended(work, order._replace(status=status.value), SharingEvent.DECIDED)
                return None
            later = settles_at(paid, self.scale)
            if later > work.now:
                work.put(SHARE_ORDERS, order._replace(due_at=later))
                return None
        order = order._replace(
            status=advance(states.SHARING, State(order.status), SharingEvent.CLAIMED).value,
            due_at=work.now + CLAIMED_FOR, updated_at=work.now,
        )  # fmt: skip
        if self.send:
            order = order._replace(sent_count=order.sent_count + 1, sent_at=work.now, code=None)
        else:
            order = order._replace(query_count=order.query_count + 1)
        work.put(SHARE_ORDERS, order)
        return Claimed(order, paid)


@dataclass(frozen=True, slots=True)
class RecordSharing:
    """Record what a rail said of a share order: of each receiver, in the order it was asked, and of the whole.

    answers_message: it answers the order itself, not a question about it. Returns the order as it then stands. What is
    recorded once is not recorded again; what contradicts it changes nothing and is a case, and the other parts go on.
    """

    book: int
    order_id: str
    said: Shared
    answers_message: bool
    scale: float

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield from _order_needs(work, self.book, self.order_id)
        key = (self.book, self.order_id)
        if not work.knows(SHARE_ORDERS, key) or (order := work.find(SHARE_ORDERS, key)) is None:
            return
        yield ACCOUNTS, (self.book, accounts.rail_transit(order.channel_account, order.currency))
        yield ACCOUNTS, (self.book, accounts.channel(order.channel_account, order.currency))
        for place, part in enumerate(parts_of(order)):
            yield ACCOUNTS, (self.book, part.owed)
            yield from cases.needs(self.book, CONTRADICTED, _part_id(order, place))
        paid_key = (self.book, order.rail_payment)
        if work.knows(RAIL_PAYMENTS, paid_key):
            paid = work.get(RAIL_PAYMENTS, paid_key)
            yield SHARE_ORDERS, (self.book, order_id_of(order.payment_id, paid.order_count + 1))

    def apply(self, work: Work) -> ShareOrder:
        work.head(self.book)
        order = work.get(SHARE_ORDERS, (self.book, self.order_id))
        if order.status != State.SENT:
            return order
        order = _noted(order, self.said.whole)
        if self.answers_message:
            no = isinstance(self.said.whole, Refused) and not self.said.shares
            is_over = no and order.code is not None and order.sent_count == 1
        else:
            is_over = _never_arrived(order, self.said.whole, work.now)
        return self._refused(work, order) if is_over else self._went_on(work, order)

    def _went_on(self, work: Work, order: ShareOrder) -> ShareOrder:
        """Book what is decided of an order; end it where all of it is."""
        parts, said, today = parts_of(order), self.said, business_date(work.now)
        asked = groups(parts)
        moves: list[_Move] = []
        if len(said.shares) == len(asked):
            for places, outcome in zip(asked, said.shares, strict=True):
                if isinstance(outcome, Confirmed):
                    on = min(business_date(outcome.happened_at), today)
                    moves += [_Move(place, RailPartEvent.PAID, on) for place in places]
                elif isinstance(outcome, Refused):
                    moves += [_Move(place, RailPartEvent.CLOSED, today, outcome.code[:80]) for place in places]
        parts = _moved(work, order, parts, moves)
        order = order._replace(parts=dump(parts), updated_at=work.now)
        if asked:
            is_over = all(part.status != RailPart.OPEN for part in parts if part.amount_minor)
        else:  # nothing but the rest is released
            is_over = isinstance(said.whole, Confirmed)
        if not is_over:
            order = order._replace(due_at=work.now + wait(order.query_count + order.sent_count - 1, self.scale))
            work.put(SHARE_ORDERS, order)
            return order
        if order.release_rest:
            days = [date.fromisoformat(part.on) for part in parts if part.on]
            if isinstance(said.whole, Confirmed):
                days.append(min(business_date(said.whole.happened_at), today))
            _released(work, order, max(days, default=today))
        return _ended(work, order, SharingEvent.DECIDED)

    def _refused(self, work: Work, order: ShareOrder) -> ShareOrder:
        """End an order of which the rail has nothing: its parts are owed again, its rest is to be released."""
        today, had = business_date(work.now), any(part.amount_minor for part in parts_of(order))
        order = _closed(work, order)
        if order.release_rest:
            limits = RAILS.get(order.channel)
            if had and (limits is None or order.code not in limits.never_frozen):
                _release_alone(work, order)
            elif limits is not None and order.code in limits.gone:
                _released(work, order, today)
        return _ended(work, order, SharingEvent.REFUSED)


def refused_unsent(work: Work, order: ShareOrder) -> ShareOrder:
    """End an order that the rail was never told and cannot carry out any more: its parts are owed again."""
    return _ended(work, _closed(work, order), SharingEvent.REFUSED)


def _closed(work: Work, order: ShareOrder) -> ShareOrder:
    """Close all that is open of an order, for its code; return it."""
    today, parts = business_date(work.now), parts_of(order)
    still = [n for n, part in enumerate(parts) if part.amount_minor and part.status == RailPart.OPEN]
    return order._replace(
        parts=dump(_moved(work, order, parts, [_Move(n, RailPartEvent.CLOSED, today, order.code) for n in still]))
    )


def _order_needs(work: Work, book: int, order_id: str) -> Iterable[Need]:
    yield SHARE_ORDERS, (book, order_id)
    if work.knows(SHARE_ORDERS, (book, order_id)):
        order = work.find(SHARE_ORDERS, (book, order_id))
        if order is not None:
            yield RAIL_PAYMENTS, (book, order.rail_payment)


class _Move(NamedTuple):
    """What became of a part: of which place, on which business date, and for the rail's which reason."""

    place: int
    event: RailPartEvent
    on: date
    reason: str | None = None


def _noted(order: ShareOrder, said: Outcome) -> ShareOrder:
    """Return an order with what was said last, for people, and with a no that may end it."""
    match said:
        case Refused():
            words = f"{said.code}: {said.message}" if said.message else said.code
            return order._replace(message=words[:500], code=None if said.retriable else said.code[:80])
        case Unknown():
            return order._replace(message=said.reason[:500])
        case Pending() | Confirmed():
            return order._replace(message=None, channel_ref=said.channel_ref or order.channel_ref)
    return order


def _never_arrived(told: ShareOrder | ShareReturn, said: Outcome, now: datetime) -> bool:
    """Tell whether the rail knows nothing of a number, and its last message was answered by a final no."""
    lost = isinstance(said, Unknown) and said.not_found
    return lost and told.code is not None and told.sent_at is not None and now - told.sent_at >= ARRIVED_AFTER


def _moved(work: Work, order: ShareOrder, parts: Sequence[Part], moves: Sequence[_Move]) -> list[Part]:
    """Book the ends of parts, those of one day as one posting; return the parts.

    A part of which a rail takes back what it has said stays as it is, and is a case.
    """
    after = list(parts)
    transit = accounts.rail_transit(order.channel_account, order.currency)
    channel = accounts.channel(order.channel_account, order.currency)
    by_day: dict[date, list[Transfer]] = {}
    for place, event, on, reason in moves:
        part = after[place]
        if (RailPart(part.status), event) not in states.RAIL_PART:
            _contradicted(work, order, place, event, reason)
            continue
        status = advance(states.RAIL_PART, RailPart(part.status), event)
        if status == part.status:
            continue  # rails repeat their answers
        paid = status is RailPart.PAID
        rule = "share_paid_by_rail" if paid else rule_of(part.owed, "off_rail")
        to = channel if paid else part.owed
        by_day.setdefault(on, []).append(
            Transfer(f"{_part_id(order, place)}:{status}", rule, transit, to, part.amount_minor, order.currency)
        )
        after[place] = part._replace(status=status.value, reason=reason, on=on.isoformat())
    for on, transfers in sorted(by_day.items()):
        name = f"{transfers[0].id}:{len(transfers)}"
        post_expected(work, order.book, name, transfers, business_date=on, fresh=True)
    return after


def _part_id(order: ShareOrder, place: int) -> str:
    return f"{order.id}:{place}"


def _contradicted(work: Work, order: ShareOrder, place: int, event: RailPartEvent, reason: str | None) -> None:
    part = parts_of(order)[place]
    facts = {
        "payment": order.payment_id, "payee": part.payee_id, "account": order.channel_account, "was": part.status,
        "on": part.on, "then": event.value, "reason": reason,
    }  # fmt: skip
    cases.open_case(
        work, order.book, CONTRADICTED, _part_id(order, place),
        amount_minor=part.amount_minor, currency=order.currency, facts=facts, rest=REST,
    )  # fmt: skip


def _released(work: Work, order: ShareOrder, on: date) -> None:
    paid = work.get(RAIL_PAYMENTS, (order.book, order.rail_payment))
    if paid.released_on is None:
        limits = RAILS.get(paid.channel)
        if limits is not None:  # what was learned later, the rail had released by itself by then
            on = min(on, paid.frozen_on + timedelta(days=limits.frozen_days))
        work.put(RAIL_PAYMENTS, paid._replace(released_on=on, ask_at=None))


def _release_alone(work: Work, order: ShareOrder) -> None:
    """Plan the release of the rest that a refused order was to bring."""
    paid = work.get(RAIL_PAYMENTS, (order.book, order.rail_payment))
    number = paid.order_count + 1
    anew = order._replace(
        id=order_id_of(order.payment_id, number), number=number, parts="[]", status=State.PLANNED.value, code=None,
        message=None, channel_ref=None, sent_count=0, query_count=0, sent_at=None, due_at=work.now,
        created_at=work.now, updated_at=work.now, return_count=0,
    )  # fmt: skip
    work.put(SHARE_ORDERS, anew)
    work.put(RAIL_PAYMENTS, paid._replace(order_count=number))


def _ended(work: Work, order: ShareOrder, event: SharingEvent) -> ShareOrder:
    status = advance(states.SHARING, State(order.status), event)
    order = order._replace(status=status.value, due_at=None, updated_at=work.now)
    work.put(SHARE_ORDERS, order)
    publish(work, order.book, f"share_order.{status}", order.id, share_order_payload(order))
    return order


# ---- fetching back ---------------------------------------------------------------------------------------------------


class ClaimedReturn(NamedTuple):
    """A fetching-back that is somebody's to send or to ask about."""

    row: ShareReturn
    order: ShareOrder
    paid: RailPayment


@dataclass(frozen=True, slots=True)
class ClaimReturn:
    """Note that a fetching-back is about to be sent or asked about; None where there is nothing to do now.

    It waits until its order has ended. It is dropped where the rail has not paid that share: then the payee, who was
    not paid by it, is owed what it had in transit, and the taking back has it.
    """

    book: int
    return_id: str
    order_id: str
    scale: float
    send: bool
    seen: int

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield SHARE_RETURNS, (self.book, self.return_id)
        yield from _order_needs(work, self.book, self.order_id)

    def apply(self, work: Work) -> ClaimedReturn | None:
        work.head(self.book)
        row = work.get(SHARE_RETURNS, (self.book, self.return_id))
        if row.due_at is None or row.sent_count != self.seen:
            return None
        order = work.get(SHARE_ORDERS, (self.book, self.order_id))
        paid = work.get(RAIL_PAYMENTS, (self.book, order.rail_payment))
        if row.status == Fetching.WAITING:
            if order.due_at is not None:
                work.put(SHARE_RETURNS, row._replace(due_at=max(order.due_at, work.now + wait(1, self.scale))))
                return None
            if parts_of(order)[row.part].status != RailPart.PAID:
                _end_return(work, row, order, FetchingEvent.DROPPED)
                return None
        if self.send and (ends := gap_ends(paid, work.now, self.scale)) is not None:
            work.put(SHARE_RETURNS, row._replace(due_at=ends))
            return None
        row = row._replace(
            status=advance(states.FETCHING, Fetching(row.status), FetchingEvent.CLAIMED).value,
            due_at=work.now + CLAIMED_FOR, updated_at=work.now,
        )  # fmt: skip
        if self.send:
            row = row._replace(sent_count=row.sent_count + 1, sent_at=work.now, code=None)
            work.put(RAIL_PAYMENTS, paid._replace(return_sent_at=work.now))
        else:
            row = row._replace(query_count=row.query_count + 1)
        work.put(SHARE_RETURNS, row)
        return ClaimedReturn(row, order, paid)


@dataclass(frozen=True, slots=True)
class RecordReturn:
    """Record what a rail said of a fetching-back; return it as it then stands.

    Where it has the money back, what the payee owes is paid by it. A no leaves the debt as it is.
    """

    book: int
    return_id: str
    order_id: str
    said: Outcome
    answers_message: bool
    scale: float

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield SHARE_RETURNS, (self.book, self.return_id)
        yield from _order_needs(work, self.book, self.order_id)
        key = (self.book, self.order_id)
        if work.knows(SHARE_ORDERS, key) and (order := work.find(SHARE_ORDERS, key)) is not None:
            yield ACCOUNTS, (self.book, accounts.channel(order.channel_account, order.currency))
            for part in parts_of(order):
                yield ACCOUNTS, (self.book, part.owed)

    def apply(self, work: Work) -> ShareReturn:
        work.head(self.book)
        row = work.get(SHARE_RETURNS, (self.book, self.return_id))
        if row.status != Fetching.SENT:
            return row
        order, said = work.get(SHARE_ORDERS, (self.book, self.order_id)), self.said
        if isinstance(said, Confirmed):
            return self._done(work, row, order, min(business_date(said.happened_at), business_date(work.now)))
        no = said if isinstance(said, Refused) else said.refusal if isinstance(said, Unknown) else None
        limits = RAILS.get(order.channel)
        is_final = no is not None and (
            no.closed or not no.retriable or (limits is not None and no.code in limits.short)
        )
        if no is not None and is_final:
            row = row._replace(code=no.code[:80], message=no.message[:500])
            is_over = no.closed or not self.answers_message or row.sent_count == 1
        else:
            is_over = not self.answers_message and _never_arrived(row, said, work.now)
            match said:
                case Refused():
                    row = row._replace(message=f"{said.code}: {said.message}"[:500])
                case Unknown() if row.code is None:
                    row = row._replace(message=said.reason[:500])
        if is_over:
            row = _end_return(work, row, order, FetchingEvent.REFUSED)
            publish(work, row.book, "share_return.refused", row.id, share_return_payload(row, order))
            return row
        row = row._replace(due_at=work.now + wait(row.query_count + row.sent_count - 1, self.scale))
        work.put(SHARE_RETURNS, row)
        return row

    def _done(self, work: Work, row: ShareReturn, order: ShareOrder, on: date) -> ShareReturn:
        part = parts_of(order)[row.part]
        channel = open_account(work, self.book, accounts.channel(order.channel_account, order.currency)).name
        rule = rule_of(part.owed, "fetched_back")
        transfer = Transfer(row.id, rule, channel, part.owed, row.amount_minor, order.currency)
        post_expected(work, self.book, row.id, [transfer], business_date=on, fresh=True)
        row = _end_return(work, row._replace(done_on=on, message=None, code=None), order, FetchingEvent.DONE)
        publish(work, row.book, "share_return.done", row.id, share_return_payload(row, order))
        return row


def _end_return(work: Work, row: ShareReturn, order: ShareOrder, event: FetchingEvent) -> ShareReturn:
    """End a fetching-back; its payment has one less that is open."""
    status = advance(states.FETCHING, Fetching(row.status), event)
    row = row._replace(status=status.value, due_at=None, updated_at=work.now)
    work.put(SHARE_RETURNS, row)
    paid = work.get(RAIL_PAYMENTS, (order.book, order.rail_payment))
    work.put(RAIL_PAYMENTS, paid._replace(returns_open=paid.returns_open - 1))
    return row
