"""Creating payments and refunds: the first of a request's two commits. Nothing has left for a channel yet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import ledger
import splitting
import streams
from gateway import states
from gateway.objects import payment_event
from gateway.settle import RefundAsked, refund_needs, start_refund
from gateway.tables import ATTEMPTS, CLAIMS, PAYMENTS, REFUNDS, Attempt, Claim, Payment, Refund
from kernel.errors import Conflict, Rejected
from kernel.money import share_bp
from kernel.work import BOOKS, Need, Work
from ledger import accounts
from splitting import Asked


@dataclass(frozen=True, slots=True)
class NewPayment:
    """A payment as a merchant asked for it, checked for form. Amounts in minor units."""

    merchant_order_id: str
    amount_minor: int
    currency: str
    method: str
    description: str
    metadata: str | None  # JSON
    split: Sequence[Asked]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Claims:
    """What a request uses up: its idempotency key and its own number, and the hash that tells a repetition apart."""

    keys: Sequence[str]  # "i:<idempotency key>", "o:<merchant order id>", "r:<merchant refund id>"
    body_hash: bytes

    def needs(self, book: int) -> Iterable[Need]:
        for key in self.keys:
            yield CLAIMS, (book, key)

    def earlier(self, work: Work, book: int) -> str | None:
        """Return the id of the object an earlier identical request made, or None for a first request.

        Raises Rejected (idempotency_key_reused, duplicate_order, duplicate_refund) where another body came before.
        """
        found = [claim for key in self.keys if (claim := work.find(CLAIMS, (book, key))) is not None]
        for claim in found:
            if claim.body_hash != self.body_hash:
                code, what = _WORDS[claim.key[0]]
                raise Conflict(
                    code,
                    f"{what} {claim.key[2:]!r} was used before, with another request body, for {claim.object_id}",
                    object_id=claim.object_id,
                )
        if len({claim.object_id for claim in found}) > 1:
            raise Conflict("idempotency_key_reused", f"these numbers belong to {found[0].object_id} and another object")
        return found[0].object_id if found else None

    def take(self, work: Work, book: int, object_id: str) -> None:
        for key in self.keys:
            if work.find(CLAIMS, (book, key)) is None:
                work.put(CLAIMS, Claim(book, key, self.body_hash, object_id, work.now))


_WORDS = {
    "i": ("idempotency_key_reused", "idempotency key"),
    "o": ("duplicate_order", "merchant_order_id"),
    "r": ("duplicate_refund", "merchant_refund_id"),
}


class Created(NamedTuple):
    """What a create command answers: the payment, its open attempt, and whether an earlier request had made it."""

    payment: Payment
    attempt: Attempt
    replayed: bool


@dataclass(frozen=True, slots=True)
class CreatePayment:
    """Record a payment and its first attempt; the same request again returns what the first one made.

    payment_id: chosen by the caller, so that repeating the command after a lost commit finds itself.
    due_at: when the janitor asks the channel should nothing more be heard.
    Raises Conflict (idempotency_key_reused, duplicate_order), Rejected from splitting.plan.
    """

    book: int
    payment_id: str
    new: NewPayment
    claims: Claims
    channel_account: str
    channel: str
    fee_bp: int
    due_at: datetime

    def needs(self, work: Work) -> Iterable[Need]:
        book = self.book
        yield BOOKS, (book,)
        yield from self.claims.needs(book)
        yield ledger.ACCOUNTS, (book, accounts.merchant(self.new.currency))
        yield ledger.ACCOUNTS, (book, accounts.channel(self.channel_account, self.new.currency))
        if self.new.split:
            yield from splitting.plan_needs(book, self.payment_id, self.new.split)
        yield from _earlier_needs(work, book, self.claims)

    def apply(self, work: Work) -> Created:
        book, new = self.book, self.new
        work.head(book)
        earlier = _earlier(work, book, self.claims)
        if earlier is not None:
            return earlier._replace(replayed=earlier.payment.id != self.payment_id)
        ledger.open_account(work, book, accounts.merchant(new.currency))
        ledger.open_account(work, book, accounts.channel(self.channel_account, new.currency))
        fee = share_bp(new.amount_minor, self.fee_bp)
        if new.split:
            splitting.plan(work, book, self.payment_id, new.amount_minor, fee, new.currency, new.split)
        now = work.now
        payment = Payment(
            book, self.payment_id, new.merchant_order_id, new.amount_minor, new.currency, new.method, new.description,
            new.metadata, states.Payment.PROCESSING.value, 1, fee, now, now, new.expires_at,
        )  # fmt: skip
        attempt = Attempt(
            book, self.payment_id, 1, self.channel_account, self.channel, self.fee_bp, states.Attempt.CREATED.value,
            now, now, self.due_at,
        )  # fmt: skip
        work.put(PAYMENTS, payment)
        work.put(ATTEMPTS, attempt)
        self.claims.take(work, book, self.payment_id)
        streams.publish(work, book, "payment.created", payment.id, payment_event(payment))
        return Created(payment, attempt, replayed=False)


def _earlier_needs(work: Work, book: int, claims: Claims) -> Iterable[Need]:
    for key in claims.keys:
        if work.knows(CLAIMS, (book, key)) and (claim := work.find(CLAIMS, (book, key))) is not None:
            yield PAYMENTS, (book, claim.object_id)
            yield ATTEMPTS, (book, claim.object_id, 1)


def _earlier(work: Work, book: int, claims: Claims) -> Created | None:
    """Return the payment an earlier identical request made, None for a first request. Raises Conflict."""
    payment_id = claims.earlier(work, book)
    if payment_id is None:
        return None
    claims.take(work, book, payment_id)
    payment, attempt = work.get(PAYMENTS, (book, payment_id)), work.get(ATTEMPTS, (book, payment_id, 1))
    return Created(payment, attempt, replayed=True)


@dataclass(frozen=True, slots=True)
class FindEarlier:
    """Return what an earlier identical request made, or None; for requests that can make nothing. Raises Conflict."""

    book: int
    claims: Claims

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield from self.claims.needs(self.book)
        yield from _earlier_needs(work, self.book, self.claims)

    def apply(self, work: Work) -> Created | None:
        work.head(self.book)
        return _earlier(work, self.book, self.claims)


@dataclass(frozen=True, slots=True)
class CreateRefund:
    """Record a refund and reserve its money; the same request again returns what the first one made.

    amount_minor: None refunds all that is left. Raises what settle.start_refund raises, and Conflict.
    """

    book: int
    refund_id: str
    payment_id: str
    amount_minor: int | None
    reason: str
    merchant_refund_id: str | None
    claims: Claims
    due_at: datetime

    def needs(self, work: Work) -> Iterable[Need]:
        yield from self.claims.needs(self.book)
        yield from refund_needs(work, self.book, self.payment_id)
        for key in self.claims.keys:
            if work.knows(CLAIMS, (self.book, key)) and (claim := work.find(CLAIMS, (self.book, key))) is not None:
                yield REFUNDS, (self.book, claim.object_id)

    def apply(self, work: Work) -> tuple[Refund, bool]:
        """Return the refund, and whether an earlier request had made it."""
        work.head(self.book)
        earlier = self.claims.earlier(work, self.book)
        if earlier is not None:
            self.claims.take(work, self.book, earlier)
            return work.get(REFUNDS, (self.book, earlier)), earlier != self.refund_id
        payment = work.get(PAYMENTS, (self.book, self.payment_id))
        amount = payment.refundable_minor if self.amount_minor is None else self.amount_minor
        if amount <= 0:
            raise Rejected(
                "refund_exceeds_captured" if payment.captured_minor else "payment_not_captured",
                f"nothing of {payment.id} is left to refund",
                param="amount",
                refundable_minor=payment.refundable_minor,
            )
        asked = RefundAsked(self.refund_id, amount, self.reason, self.merchant_refund_id)
        refund = start_refund(work, payment, asked, due_at=self.due_at)
        self.claims.take(work, self.book, refund.id)
        return refund, False


@dataclass(frozen=True, slots=True)
class Asking:
    """Note that the channel is about to be asked about an attempt or a refund, and when to ask next."""

    book: int
    key: tuple[Any, ...]  # (payment_id, number) of an attempt, or (refund_id,)
    next_at: datetime

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield (ATTEMPTS if len(self.key) == 2 else REFUNDS), (self.book, *self.key)

    def apply(self, work: Work) -> bool:
        """Return whether it is still this worker's to ask: False when another took it or it has ended."""
        work.head(self.book)
        if len(self.key) == 2:
            attempt = work.get(ATTEMPTS, (self.book, *self.key))
            if attempt.due_at is None or attempt.due_at > work.now:
                return False
            work.put(ATTEMPTS, attempt._replace(due_at=self.next_at, asked_count=attempt.asked_count + 1))
        else:
            refund = work.get(REFUNDS, (self.book, *self.key))
            if refund.due_at is None or refund.due_at > work.now:
                return False
            work.put(REFUNDS, refund._replace(due_at=self.next_at, asked_count=refund.asked_count + 1))
        return True
