"""Creating payments: the first of a request's two commits. Nothing has left for a channel yet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import ledger
import splitting
import streams
from gateway import states
from gateway.claims import Claims, replaced
from gateway.objects import payment_event
from gateway.payments.attempts import Chosen, NewAttempt
from gateway.tables import ATTEMPTS, CLAIMS, PAYMENTS, Attempt, Payment
from kernel.work import BOOKS, Need, Work
from ledger import accounts
from splitting import Part


class NewPayment(NamedTuple):
    """A payment as a merchant asked for it, checked for form. Amounts in minor units.

    expires_in: from when it is recorded. details: what its attempts are to have (NewAttempt.details); of a cashier's
    payment also the rail asked for. next_action: of a cashier's payment, JSON: where the payer chooses how to pay.
    split: by what it is shared out, one for all of it or one for each part; none: nobody else gets a share.
    store, link_id: the merchant's store and the payment link that it is made with, to which a plan may be attached.
    """

    merchant_order_id: str
    amount_minor: int
    currency: str
    method: str
    description: str
    metadata: str | None  # JSON
    split: Sequence[Part]
    expires_in: timedelta
    details: str | None = None  # JSON
    capture_manual: bool = False
    next_action: str | None = None
    store: str | None = None
    link_id: str | None = None
    share_later: bool = False  # its plan has the rail share it out, so only a rail that does takes it


class Created(NamedTuple):
    """What a create command answers: the payment, its last attempt, and whether an earlier request had made it."""

    payment: Payment
    attempt: Attempt | None  # None: the payer has not chosen yet
    replayed: bool


class CreatePayment(NamedTuple):
    """Record a payment and its first attempt; the same request again returns what the first one made.

    An order whose payment ended unpaid may be paid by another, under another idempotency key; one whose payment is open
    or paid may not. Should the one that ended be paid after all, that goes back by itself.
    payment_id: chosen by the caller, so that repeating the command after a lost commit finds itself.
    chosen: where the attempt goes; None: there is none until the payer has chosen how to pay.
    Raises Conflict (idempotency_key_reused, duplicate_order), Rejected from splitting.plan.
    """

    book: int
    payment_id: str
    new: NewPayment
    claims: Claims
    chosen: Chosen | None

    def needs(self, work: Work) -> Iterable[Need]:
        book = self.book
        yield BOOKS, (book,)
        yield from self.claims.needs(book)
        yield ledger.ACCOUNTS, (book, accounts.merchant(self.new.currency))
        if self.chosen is not None:
            yield ledger.ACCOUNTS, (book, accounts.channel(self.chosen.account_id, self.new.currency))
        if self.new.split:
            yield from splitting.plan_needs(work, book, self.payment_id, self.new.currency, self.new.split, self._at)
        yield from earlier_needs(work, book, self.claims)

    @property
    def _at(self) -> splitting.AtRail | None:
        if self.chosen is None:
            return None
        return self.chosen.at_rail(reserves=self.new.capture_manual, method=self.new.method)

    def apply(self, work: Work) -> Created:
        book, new, chosen = self.book, self.new, self.chosen
        work.head(book)
        earlier = earlier_payment(work, book, self.claims)
        if earlier is not None:
            return earlier._replace(replayed=earlier.payment.id != self.payment_id)
        ledger.open_account(work, book, accounts.merchant(new.currency))
        fee = chosen.fee_minor if chosen is not None else 0
        share_later = bool(new.split) and splitting.plan(
            work, book, self.payment_id, new.amount_minor, fee, new.currency, new.split, self._at
        )
        now = work.now
        expires_at = now + new.expires_in
        attempt = None
        payment = Payment(
            book, self.payment_id, new.merchant_order_id, new.amount_minor, new.currency, new.method, new.description,
            new.metadata, states.PaymentStatus.PROCESSING.value, 1, fee, now, now, expires_at,
        )  # fmt: skip
        if new.capture_manual:
            payment = payment._replace(capture_manual=True)
        if share_later:
            payment = payment._replace(share_later=True)
        if chosen is not None:
            ledger.open_account(work, book, accounts.channel(chosen.account_id, new.currency))
            payment = payment._replace(channel=chosen.channel)
            attempt = NewAttempt(new.method, new.details).on(book, payment.id, 1, chosen, now)
            work.put(ATTEMPTS, attempt)
        else:
            payment = payment._replace(
                status=states.PaymentStatus.REQUIRES_ACTION.value, attempt_count=0, details=new.details,
                next_action=new.next_action, due_at=expires_at,
            )  # fmt: skip
        work.put(PAYMENTS, payment)
        self.claims.take(work, book, self.payment_id, anew=True)
        streams.publish(work, book, "payment.created", payment.id, payment_event(payment))
        return Created(payment, attempt, replayed=False)


def earlier_needs(work: Work, book: int, claims: Claims) -> Iterable[Need]:
    for key in claims.keys:
        if work.knows(CLAIMS, (book, key)) and (claim := work.find(CLAIMS, (book, key))) is not None:
            yield CLAIMS, (book, replaced(claim))
            yield PAYMENTS, (book, claim.object_id)
            if work.knows(PAYMENTS, (book, claim.object_id)):
                payment = work.find(PAYMENTS, (book, claim.object_id))
                if payment is not None and payment.attempt_count:
                    yield ATTEMPTS, (book, payment.id, payment.attempt_count)


def earlier_payment(work: Work, book: int, claims: Claims) -> Created | None:
    """Return the payment an earlier identical request made, None for a first one, or for another of an unpaid order.

    Raises Conflict.
    """
    payment_id = claims.earlier(work, book, free=lambda ident: _ended_unpaid(work.find(PAYMENTS, (book, ident))))
    if payment_id is None:
        return None
    payment = work.get(PAYMENTS, (book, payment_id))
    if not _ended_unpaid(payment):
        claims.take(work, book, payment_id)
    count = payment.attempt_count
    return Created(payment, work.get(ATTEMPTS, (book, payment_id, count)) if count else None, replayed=True)


def _ended_unpaid(payment: Payment | None) -> bool:
    """Tell whether an order may be paid by another payment: this one is over, and what still comes for it goes back."""
    return payment is not None and payment.status in states.UNPAID


@dataclass(frozen=True, slots=True)
class FindEarlier:
    """Return what an earlier identical request made, or None; for requests that can make nothing. Raises Conflict."""

    book: int
    claims: Claims

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield from self.claims.needs(self.book)
        yield from earlier_needs(work, self.book, self.claims)

    def apply(self, work: Work) -> Created | None:
        work.head(self.book)
        return earlier_payment(work, self.book, self.claims)
