"""Attempts after the first: on the next account when one provably did nothing, and in the wallet the payer chooses.

Each is recorded, and the one before it ended or told to end, in one commit before the next channel hears of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import orjson

import ledger
import splitting
from channels.contract import Method, Outcome, Refused, Unknown
from gateway import states
from gateway.payments.belief import Answers
from gateway.payments.record_outcome import attempts_needs, end_soon, moved, open_attempts
from gateway.payments.schedule import FIRST_ANSWER
from gateway.routing.seam import AUTO, Choice
from gateway.states import OPEN_ATTEMPT, OPEN_PAYMENT
from gateway.tables import ATTEMPTS, CASHIER, MAX_ATTEMPTS, PAYMENTS, Attempt, Payment
from kernel.errors import Conflict
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from ledger import accounts

MAX_FAILOVERS = 5  # attempts made on the hub's own account; a payer who keeps changing wallets may bring it to more


class Chosen(NamedTuple):
    """The account an attempt goes to, as it is recorded."""

    account_id: str
    channel: str
    fee_minor: int
    decision: str | None  # JSON
    fee_kept: bool = False  # by the channel, when this is refunded
    share_basis_points: int | None = None  # the most that its rail shares out, where its terms say so

    @classmethod
    def of(cls, choice: Choice) -> "Chosen":
        ready = choice.ready
        kept = ready.terms.fees.keeps_on_refund(ready.client.channel.capabilities)
        return cls(
            ready.account.id, ready.account.channel, choice.fee_minor, choice.decision, kept,
            ready.terms.share_basis_points,
        )  # fmt: skip

    def at_rail(self, *, reserves: bool, method: str | None) -> splitting.AtRail:
        """Return the account as sharing out looks at it. reserves: the money is to be reserved first."""
        return splitting.AtRail(self.account_id, self.channel, self.share_basis_points, reserves, method)


class NewAttempt(NamedTuple):
    """How the payer pays: what an attempt is made of besides its account."""

    method: str
    details: str | None = None  # JSON: payer, token, client_ip, return_url; never a payer's code

    def on(self, book: int, payment_id: str, number: int, chosen: Chosen, now: datetime) -> Attempt:
        """Return the attempt's row, to be asked about should whoever records it now hear no answer."""
        return Attempt(
            book, payment_id, number, chosen.account_id, chosen.channel, chosen.fee_minor, self.method, self.details,
            chosen.decision, states.AttemptStatus.CREATED.value, now, now, now + FIRST_ANSWER, fee_kept=chosen.fee_kept,
        )  # fmt: skip


class Undecided(Conflict):
    """A message of an earlier attempt may have moved the payer's money, or may do so yet: nothing else is begun."""


def may_have_charged(attempt: Attempt) -> bool:
    """Tell whether a message of ours that moves money by itself may have reached an attempt's channel, undecided.

    Other orders wait for their payer, who pays one of them; these wait for nobody.
    """
    by_itself = attempt.method in (Method.BARCODE, Method.CARD) or attempt.proceed_count > 0
    return by_itself and attempt.status in OPEN_ATTEMPT


class Begun(NamedTuple):
    """A payment and the attempt that is under way for it.

    is_running: it was recorded before, by another request or another try, which may still await its answer.
    """

    payment: Payment
    attempt: Attempt
    is_running: bool = False


def provably_did_nothing(outcome: Outcome) -> bool:
    """Tell whether a channel certainly did nothing and another may well say yes; silence never says so."""
    if isinstance(outcome, Refused):
        return outcome.retriable and not outcome.closed
    return isinstance(outcome, Unknown) and outcome.not_sent


@dataclass(frozen=True, slots=True)
class FailOver:
    """End an attempt whose channel provably did nothing, and record the next one on another account.

    outcome: see provably_did_nothing. answers: what that is the answer to; where it is a message, no other of this
    attempt may have left, by this process or another. Returns Begun with the new attempt, on the account chosen here;
    None when that is not so, or the payment has run out or meanwhile gone another way, also when somebody else has
    failed over from this attempt, so that the outcome is to be settled like any other. Raises Rejected
    (split_exceeds_payment, rail_cannot_share) where the account's fee leaves too little for the payment's shares, or
    its rail cannot pay those that it is to.
    """

    book: int
    payment_id: str
    number: int
    outcome: Outcome
    chosen: Chosen
    latency_ms: int | None = None
    answers: Answers = Answers.MESSAGE

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield PAYMENTS, (self.book, self.payment_id)
        yield ATTEMPTS, (self.book, self.payment_id, self.number)
        yield ATTEMPTS, (self.book, self.payment_id, self.number + 1)
        yield from splitting.check_needs(
            work, self.book, self.payment_id, self.chosen.at_rail(reserves=False, method=None)
        )
        if work.knows(PAYMENTS, (self.book, self.payment_id)):
            payment = work.find(PAYMENTS, (self.book, self.payment_id))
            if payment is not None:
                yield ledger.ACCOUNTS, (self.book, accounts.channel(self.chosen.account_id, payment.currency))

    def apply(self, work: Work) -> Begun | None:
        work.head(self.book)
        payment = work.get(PAYMENTS, (self.book, self.payment_id))
        attempt = work.get(ATTEMPTS, (self.book, self.payment_id, self.number))
        following = work.find(ATTEMPTS, (self.book, self.payment_id, self.number + 1))
        if following is not None and attempt.status == states.AttemptStatus.FAILED_OVER and self._is_ours(following):
            # This very command, whose commit was in doubt; or another's, and then two are about to send.
            following = following._replace(query_count=following.query_count + 1)
            work.put(ATTEMPTS, following)
            return Begun(payment, following)
        move = (states.AttemptStatus(attempt.status), states.AttemptEvent.FAILED_OVER)
        if (
            move not in states.ATTEMPT
            or payment.status not in OPEN_PAYMENT
            or payment.expires_at <= work.now
            or payment.won_attempt
            or payment.attempt_count != self.number
            or self.number >= MAX_ATTEMPTS
            or (self.answers is Answers.MESSAGE and not attempt.is_fresh)
        ):
            return None
        at = self.chosen.at_rail(reserves=payment.capture_manual, method=attempt.method)
        splitting.check(work, self.book, payment.id, payment.amount_minor, self.chosen.fee_minor, at)
        ledger.open_account(work, self.book, accounts.channel(self.chosen.account_id, payment.currency))
        why = self.outcome
        code, message = (
            (why.code, why.message) if isinstance(why, Refused) else ("not_sent", getattr(why, "reason", ""))
        )
        work.put(
            ATTEMPTS,
            attempt._replace(
                status=advance(states.ATTEMPT, *move).value, code=code, message=message[:500], updated_at=work.now,
                due_at=None, next_action=None, latency_ms=self.latency_ms,
            ),
        )  # fmt: skip
        spec = NewAttempt(attempt.method, attempt.details)
        following = spec.on(self.book, payment.id, self.number + 1, self.chosen, work.now)
        work.put(ATTEMPTS, following)
        payment = payment._replace(attempt_count=self.number + 1, channel=self.chosen.channel, updated_at=work.now)
        if payment.method != CASHIER:
            payment = payment._replace(fee_minor=self.chosen.fee_minor)
        work.put(PAYMENTS, payment)
        return Begun(payment, following)

    def _is_ours(self, following: Attempt) -> bool:
        """Tell whether an attempt is still as this command makes it: on the account chosen here, and sent nowhere."""
        return (following.channel_account, following.status) == (self.chosen.account_id, states.AttemptStatus.CREATED)


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Record an attempt of a payment whose payer has chosen how to pay.

    The same choice again, while that attempt is the last and open, returns it; once its first message must have been
    answered or lost, marked so that a refused repetition ends nothing. Another choice makes another attempt,
    and has the one before closed at its channel; should the payer pay both, the second goes back by itself. Where a
    message of ours may have charged the payer already, that is decided first (docs/decisions/0020).
    channel: as the payer chose it, a rail's name or AUTO. Raises NotFound, Conflict (payment_ended, payment_has_method,
    too_many_attempts), Undecided (attempt_undecided), Rejected (split_exceeds_payment, rail_cannot_share).
    """

    book: int
    payment_id: str
    new: NewAttempt
    same_payer: str  # what tells one payer's choice from another's: payer and token of the details
    channel: str
    chosen: Chosen

    def needs(self, work: Work) -> Iterable[Need]:
        yield from attempts_needs(work, self.book, self.payment_id)
        yield from splitting.check_needs(
            work, self.book, self.payment_id, self.chosen.at_rail(reserves=False, method=None)
        )
        if work.knows(PAYMENTS, (self.book, self.payment_id)):
            payment = work.find(PAYMENTS, (self.book, self.payment_id))
            if payment is not None:
                yield ledger.ACCOUNTS, (self.book, accounts.channel(self.chosen.account_id, payment.currency))

    def apply(self, work: Work) -> Begun:
        work.head(self.book)
        payment = work.get(PAYMENTS, (self.book, self.payment_id))
        open_to_payer(payment, work.now)
        before = open_attempts(work, payment)
        if before and self._is_same(before[-1], payment):
            return self._again(work, payment, before[-1])
        if any(may_have_charged(one) for one in before):
            raise Undecided(
                "attempt_undecided",
                f"{payment.id} may have been paid by what was tried before; its channel is being asked, try again soon",
            )
        if payment.attempt_count >= MAX_ATTEMPTS:
            raise Conflict(
                "too_many_attempts", f"{payment.id} has been tried {MAX_ATTEMPTS} times; create a new payment"
            )
        at = self.chosen.at_rail(reserves=payment.capture_manual, method=self.new.method)
        splitting.check(work, self.book, payment.id, payment.amount_minor, self.chosen.fee_minor, at)
        ledger.open_account(work, self.book, accounts.channel(self.chosen.account_id, payment.currency))
        end_soon(work, before)
        number = payment.attempt_count + 1
        attempt = self.new.on(self.book, payment.id, number, self.chosen, work.now)
        work.put(ATTEMPTS, attempt)
        payment = payment._replace(attempt_count=number, channel=self.chosen.channel, updated_at=work.now)
        work.put(PAYMENTS, payment)
        return Begun(payment, attempt)

    def _again(self, work: Work, payment: Payment, last: Attempt) -> Begun:
        running = is_running(last, work.now)
        if last.next_action is None and not running:  # else nothing is sent
            last = last._replace(query_count=last.query_count + 1)
            work.put(ATTEMPTS, last)
        return Begun(payment, last, running)

    def _is_same(self, last: Attempt, payment: Payment) -> bool:
        return (
            last.number == payment.attempt_count
            and last.status != states.AttemptStatus.AUTHORIZED
            and self.channel in (AUTO, last.channel)
            and (last.method, payer_of(last.details)) == (self.new.method, self.same_payer)
        )


def is_running(attempt: Attempt, now: datetime) -> bool:
    """Tell whether the process that recorded an attempt may still await its answer."""
    return attempt.status == states.AttemptStatus.CREATED and now - attempt.created_at < FIRST_ANSWER


def open_to_payer(payment: Payment, now: datetime) -> None:
    """Make sure that a payer may still choose how to pay this. Raises Conflict (payment_ended, payment_has_method)."""
    if payment.method != CASHIER:
        raise Conflict(
            "payment_has_method", f"{payment.id} has the method {payment.method}, so there is nothing to choose"
        )
    if payment.status != states.PaymentStatus.REQUIRES_ACTION or payment.expires_at <= now:
        ended = (
            payment.status if payment.status != states.PaymentStatus.REQUIRES_ACTION else states.PaymentStatus.EXPIRED
        )
        raise Conflict("payment_ended", f"{payment.id} is {ended} and cannot be paid now", status_now=ended)


def payer_of(details: str | None) -> str:
    """Return who pays, as far as an attempt's details tell: the payer at the rail, or the token of a card."""
    found = {} if details is None else orjson.loads(details)
    return f"{found.get('payer', '')} {found.get('token', '')}"


@dataclass(frozen=True, slots=True)
class EndUnpaid:
    """End a payment of which no attempt is open: its time has run out, or the merchant closes it.

    One that has run out while an attempt is still open at its channel is looked at again. Returns the payment as it
    then stands.
    """

    book: int
    payment_id: str
    why: states.PaymentEvent  # TIMED_OUT | CLOSED

    def needs(self, work: Work) -> Iterable[Need]:
        yield from attempts_needs(work, self.book, self.payment_id)

    def apply(self, work: Work) -> Payment:
        work.head(self.book)
        payment = work.get(PAYMENTS, (self.book, self.payment_id))
        if payment.method != CASHIER or payment.status != states.PaymentStatus.REQUIRES_ACTION:
            return payment
        timed_out = payment.expires_at <= work.now
        is_open = bool(open_attempts(work, payment))
        if not timed_out and (is_open or self.why is states.PaymentEvent.TIMED_OUT):
            waiting = payment._replace(due_at=payment.expires_at)  # until then its orders are looked after, not it
            work.put(PAYMENTS, waiting)
            return waiting
        if is_open:
            waiting = payment._replace(due_at=work.now + FIRST_ANSWER)
            work.put(PAYMENTS, waiting)
            return waiting
        status = advance(states.PAYMENT, states.PaymentStatus(payment.status), self.why)
        ended = payment._replace(status=status.value, next_action=None, updated_at=work.now, due_at=None)
        return moved(work, ended, f"payment.{status}")
