"""RecordOutcome: the one place where a payment becomes final.

The channel's answer, its notice, the janitor's query and, where it must, reconciliation and operators all end here:
book locked, state table, ledger, event, one transaction. Called any number of times, in any order, with the same
outcome, the result is the same.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import ledger
import splitting
import streams
from channels.contract import Confirmed, Method, Outcome, Pending, Refused, Unknown
from gateway import states
from gateway.objects import payment_event
from gateway.payments import unfinished
from gateway.payments.belief import Answers, believed, in_time
from gateway.payments.frozen import note_frozen
from gateway.payments.refund_holds import NewRefund, fee_needs, refund_needs, start_overpaid_refund, start_refund
from gateway.payments.schedule import next_query
from gateway.payments.shown import to_keep
from gateway.states import OPEN_ATTEMPT, OPEN_PAYMENT, PAID_ATTEMPT
from gateway.tables import ATTEMPTS, CASHIER, PAYMENTS, REFUNDS, Attempt, Payment
from kernel.clock import business_date
from kernel.errors import Broken, Conflict
from kernel.money import Money
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from ledger import Transfer, accounts


class EndedMeanwhile(Conflict):
    """The payment ended by another command of the same batch, so what a late confirmation needs was not loaded."""


class ReversedMeanwhile(Conflict):
    """A payer's code is said to be paid that has been reversed: paid it may have been, and given back by that."""


class Recorded(NamedTuple):
    """A payment and one of its attempts, as they now stand."""

    payment: Payment
    attempt: Attempt


def attempts_needs(work: Work, book: int, payment_id: str) -> Iterable[Need]:
    """Name a payment and every attempt of it."""
    yield BOOKS, (book,)
    yield PAYMENTS, (book, payment_id)
    if work.knows(PAYMENTS, (book, payment_id)) and (payment := work.find(PAYMENTS, (book, payment_id))) is not None:
        for number in range(1, payment.attempt_count + 1):
            yield ATTEMPTS, (book, payment_id, number)


def open_attempts(work: Work, payment: Payment) -> list[Attempt]:
    """Return a payment's attempts that have not ended, in order."""
    found = (work.get(ATTEMPTS, (payment.book, payment.id, n)) for n in range(1, payment.attempt_count + 1))
    return [attempt for attempt in found if attempt.status in OPEN_ATTEMPT]


def end_soon(work: Work, attempts: Iterable[Attempt]) -> None:
    """Have the janitor look at once after open attempts whose payment is going another way: it closes them."""
    for attempt in attempts:
        work.put(ATTEMPTS, attempt._replace(due_at=work.now, updated_at=work.now))


class RecordOutcome(NamedTuple):
    """Record what a channel said about one attempt, and move its payment accordingly.

    outcome: signature and merchant already verified by the adapter; the amount is compared here. wait: how long until
    the channel is asked again should it still be open (schedule.query_wait). refund_id: the id a refund gets if the
    outcome turns out to be a late or second confirmation, whose money goes back by itself. latency_ms: how long the
    channel took to take the order, where that is what it answers. fee_minor: what the channel keeps where a coupon of
    the merchant's paid a part; None: what was expected. after_reversal: the channel was asked after it had said that
    the attempt was reversed. answers: what the outcome is the answer to; a refused message ends nothing while another
    of the same number may have reached the channel. Returns Recorded. Raises NotFound, Broken (amount_differs,
    charged_twice, channel_contradicts_itself, coupon_exceeds_payment), EndedMeanwhile: put it again; ReversedMeanwhile:
    ask the channel.
    """

    book: int
    payment_id: str
    number: int
    outcome: Outcome
    wait: timedelta
    refund_id: str
    latency_ms: int | None = None
    after_reversal: bool = False
    fee_minor: int | None = None
    answers: Answers = Answers.QUESTION
    share_basis_points: int | None = None  # the most that the rail shares out, where the account's terms say so

    def needs(self, work: Work) -> Iterable[Need]:
        payment_key, attempt_key = (self.book, self.payment_id), (self.book, self.payment_id, self.number)
        yield BOOKS, (self.book,)
        yield PAYMENTS, payment_key
        yield ATTEMPTS, attempt_key
        if not (work.knows(PAYMENTS, payment_key) and work.knows(ATTEMPTS, attempt_key)):
            return
        payment, attempt = work.find(PAYMENTS, payment_key), work.find(ATTEMPTS, attempt_key)
        if attempt is None or payment is None:
            return
        if payment.attempt_count > 1:
            yield from attempts_needs(work, self.book, self.payment_id)
        yield from unfinished.attempt_needs(work, payment, attempt)
        if not isinstance(self.outcome, Confirmed):
            return
        yield ledger.ACCOUNTS, (self.book, accounts.channel(attempt.channel_account, payment.currency))
        yield ledger.ACCOUNTS, (self.book, accounts.merchant(payment.currency))
        if _coupon_of(self.outcome):
            yield ledger.ACCOUNTS, (self.book, accounts.merchant_coupon(payment.currency))
        if payment.share_later:
            yield from splitting.freeze_needs(self.book, self.payment_id, self.number)
        if payment.status not in OPEN_PAYMENT:  # a late confirmation goes back at once, so its shares matter now
            yield REFUNDS, (self.book, self.refund_id)
            yield from splitting.needs(work, self.book, self.payment_id)
            yield from fee_needs(attempt, payment.currency)

    def apply(self, work: Work) -> Recorded:
        recorded = self._recorded(work)
        unfinished.see_attempt(work, recorded.payment, recorded.attempt)
        return recorded

    def _recorded(self, work: Work) -> Recorded:
        payment = work.get(PAYMENTS, (self.book, self.payment_id))
        attempt = work.get(ATTEMPTS, (self.book, self.payment_id, self.number))
        outcome = in_time(self.outcome, work.now)
        outcome = believed(outcome, self.answers, alone=sent_once(attempt, self.answers))
        match outcome:
            case Confirmed():
                return self._confirmed(work, payment, attempt, outcome)
            case Pending():
                return self._pending(work, payment, attempt, outcome)
            case Refused():
                return self._refused(work, payment, attempt, outcome)
            case _:
                _given_back_by_us(payment, attempt, outcome)
                after = advance(states.ATTEMPT, states.AttemptStatus(attempt.status), states.AttemptEvent.UNKNOWN)
                return Recorded(payment, self._note(work, payment, attempt, after, message=outcome.reason[:500]))

    def _confirmed(self, work: Work, payment: Payment, attempt: Attempt, outcome: Confirmed) -> Recorded:
        wanted = attempt.capture_minor or payment.amount_minor
        if (outcome.amount.minor, outcome.amount.currency) != (wanted, payment.currency):
            raise Broken(
                "amount_differs",
                f"{attempt.reference} asked for {Money(wanted, payment.currency)}, the channel says {outcome.amount}; "
                "nothing was booked",
                payment=payment.id,
            )
        coupon = outcome.merchant_coupon
        if coupon is not None and not (0 <= coupon.minor <= wanted and coupon.currency == payment.currency):
            raise Broken(
                "coupon_exceeds_payment",
                f"of the {Money(wanted, payment.currency)} of {attempt.reference} the channel says that coupons of the "
                f"merchant's paid {coupon}; nothing was booked",
                payment=payment.id,
            )
        if attempt.status in PAID_ATTEMPT:
            if attempt.channel_ref != outcome.channel_ref:
                raise Broken(
                    "charged_twice",
                    f"{attempt.reference} was paid as {attempt.channel_ref} and now as {outcome.channel_ref}",
                    payment=payment.id,
                )
            return Recorded(payment, attempt)
        if _may_have_been_reversed(attempt) and not self.after_reversal:
            raise ReversedMeanwhile("reversed_meanwhile", f"{attempt.reference} was reversed; was it paid before that?")
        if payment.captured_minor:
            event = states.AttemptEvent.CONFIRMED_AGAIN
        elif payment.status in OPEN_PAYMENT:
            event = states.AttemptEvent.CONFIRMED
        else:
            event = states.AttemptEvent.CONFIRMED_LATE
        after = advance(states.ATTEMPT, states.AttemptStatus(attempt.status), event)
        if after is not states.AttemptStatus.CONFIRMED and not self._may_give_back(work, payment):
            raise EndedMeanwhile("ended_meanwhile", f"{payment.id} ended a moment ago; what came late is recorded next")
        day = business_date(outcome.happened_at)
        fee = attempt.fee_minor if self.fee_minor is None else self.fee_minor
        attempt = attempt._replace(coupon_minor=_coupon_of(outcome), fee_minor=fee)
        self._book(work, payment, attempt, wanted, day)
        attempt = attempt._replace(
            status=after.value, channel_ref=outcome.channel_ref, code=None, message=None, updated_at=work.now,
            due_at=self._doubted(work, attempt, after), captured_minor=wanted, business_date=day, next_action=None,
            latency_ms=attempt.latency_ms if self.latency_ms is None else self.latency_ms,
        )  # fmt: skip
        work.put(ATTEMPTS, attempt)
        if payment.share_later:
            note_frozen(work, payment, attempt, outcome, self.share_basis_points)
        if after is states.AttemptStatus.OVERPAID:
            return self._overpaid(work, payment, attempt)
        status = payment.status
        if after is states.AttemptStatus.CONFIRMED:
            status = advance(states.PAYMENT, states.PaymentStatus(status), states.PaymentEvent.CONFIRMED).value
        captured = payment._replace(
            status=status,
            captured_minor=wanted,
            fee_minor=attempt.fee_minor,
            coupon_minor=attempt.coupon_minor,
            won_attempt=self.number,
            channel=attempt.channel,
            next_action=None,
            updated_at=work.now,
            succeeded_at=outcome.happened_at,
            business_date=day,
            due_at=None,
        )
        if payment.attempt_count > 1:  # the payer may still be looking at another's code
            end_soon(work, open_attempts(work, payment))
        if after is states.AttemptStatus.CONFIRMED:
            return Recorded(moved(work, captured, "payment.succeeded", attempt.method), attempt)
        # The merchant was told it would not come; the payer gets it back without anyone asking.
        moved(work, captured, "payment.late", attempt.method)
        asked = NewRefund(self.refund_id, wanted, "paid after the order had been closed", None)
        start_refund(work, captured, asked)
        return Recorded(work.get(PAYMENTS, (self.book, payment.id)), attempt)

    def _doubted(self, work: Work, attempt: Attempt, after: states.AttemptStatus) -> datetime | None:
        """Return when to ask about a paid attempt again: at once where what its channel was told may yet undo it.

        Money that goes back anyway is looked after by its refund.
        """
        doubted = after is states.AttemptStatus.CONFIRMED and attempt.undo_sent_at is not None
        return work.now if doubted else None

    def _book(self, work: Work, payment: Payment, attempt: Attempt, minor: int, day: date) -> None:
        """Post what an attempt captured, on its own channel account, and what the channel keeps or never got of it."""
        channel = accounts.channel(attempt.channel_account, payment.currency)
        merchant = accounts.merchant(payment.currency)
        base = f"{payment.id}:{attempt.number}"
        transfers = [Transfer(f"{base}:captured", "payment_captured", channel, merchant, minor, payment.currency)]
        if attempt.coupon_minor:
            cost = ledger.open_account(work, self.book, accounts.merchant_coupon(payment.currency)).name
            transfers.append(
                Transfer(f"{base}:coupon", "merchant_coupon", cost, channel, attempt.coupon_minor, payment.currency)
            )
        if attempt.fee_minor:
            transfers.append(
                Transfer(f"{base}:fee", "channel_fee", merchant, channel, attempt.fee_minor, payment.currency)
            )
        ledger.post_expected(work, self.book, base, transfers, business_date=day, fresh=True)

    def _may_give_back(self, work: Work, payment: Payment) -> bool:
        return all(work.knows(table, key) for table, key in refund_needs(work, self.book, payment.id, self.number))

    def _overpaid(self, work: Work, payment: Payment, attempt: Attempt) -> Recorded:
        """Give back what the payer paid on top: another attempt has paid the payment, and that one stays."""
        streams.publish(
            work, self.book, "payment.overpaid", payment.id, {**payment_event(payment), "attempt": attempt.number}
        )
        start_overpaid_refund(work, payment, attempt, self.refund_id)
        return Recorded(work.get(PAYMENTS, (self.book, payment.id)), attempt)

    def _pending(self, work: Work, payment: Payment, attempt: Attempt, outcome: Pending) -> Recorded:
        held, event = 0, states.AttemptEvent.PENDING
        if outcome.authorized is not None:
            held, event = outcome.authorized.minor, states.AttemptEvent.AUTHORIZED
            if not payment.capture_manual:
                raise Broken(
                    "channel_contradicts_itself",
                    f"{attempt.reference} was to be paid at once, and the channel says that {outcome.authorized} are "
                    "only reserved",
                    payment=payment.id,
                )
            if (held, outcome.authorized.currency) != (payment.amount_minor, payment.currency):
                raise Broken(
                    "amount_differs",
                    f"{attempt.reference} asked to reserve {Money(payment.amount_minor, payment.currency)}, the "
                    f"channel says {outcome.authorized}",
                    payment=payment.id,
                )
        after = advance(states.ATTEMPT, states.AttemptStatus(attempt.status), event)
        its_own = payment.status in OPEN_PAYMENT and payment.won_attempt in (0, self.number)
        in_vain = after is states.AttemptStatus.AUTHORIZED and attempt.status != after and not its_own
        action = None
        if its_own and after is states.AttemptStatus.PENDING:
            action = to_keep(outcome, attempt.channel)
        # An answer from before the money was reserved may come after; its number is not the one to capture by.
        known = outcome.authorized is None and attempt.status == states.AttemptStatus.AUTHORIZED
        of_cashier = payment.method == CASHIER
        will_proceed = outcome.proceed and after is states.AttemptStatus.PENDING and not is_lost(payment, attempt)
        attempt = self._note(
            work, payment, attempt, after, channel_ref=None if known else outcome.channel_ref,
            **({"due_at": work.now} if in_vain else {}),  # the janitor has it released at once
            **({"authorized_minor": held} if held else {}),
            **({"proceed_count": attempt.proceed_count + 1} if will_proceed else {}),
            **({"next_action": action} if action is not None and of_cashier else {}),
        )  # fmt: skip
        if its_own and after is states.AttemptStatus.AUTHORIZED:
            return Recorded(self._held(work, payment, attempt), attempt)
        if action is None or of_cashier or self.number != payment.attempt_count:
            return Recorded(payment, attempt)
        status = advance(states.PAYMENT, states.PaymentStatus(payment.status), states.PaymentEvent.ACTION_NEEDED)
        if (status, action) == (payment.status, payment.next_action):
            return Recorded(payment, attempt)
        waiting = payment._replace(status=status.value, next_action=action, updated_at=work.now)
        return Recorded(moved(work, waiting, "payment.requires_action"), attempt)

    def _held(self, work: Work, payment: Payment, attempt: Attempt) -> Payment:
        """Note that the payment's money is reserved; nothing is booked: it is not ours until it is captured."""
        if attempt.capture_minor or payment.status == states.PaymentStatus.REQUIRES_CAPTURE:
            return payment  # a capture is under way, or this is known
        status = advance(states.PAYMENT, states.PaymentStatus(payment.status), states.PaymentEvent.AUTHORIZED)
        if payment.attempt_count > 1:
            end_soon(work, (other for other in open_attempts(work, payment) if other.number != self.number))
        held = payment._replace(
            status=status.value, won_attempt=self.number, channel=attempt.channel, next_action=None, due_at=None,
            updated_at=work.now,
        )  # fmt: skip
        return moved(work, held, "payment.requires_capture")

    def _refused(self, work: Work, payment: Payment, attempt: Attempt, outcome: Refused) -> Recorded:
        event = states.AttemptEvent.CLOSED if outcome.closed else states.AttemptEvent.REFUSED
        before = states.AttemptStatus(attempt.status)
        if before is states.AttemptStatus.CONFIRMED:
            raise Broken(
                "channel_contradicts_itself",
                f"{attempt.reference} was paid as {attempt.channel_ref}; now the channel says {outcome.code}",
                payment=payment.id,
            )
        after = advance(states.ATTEMPT, before, event)
        attempt = self._note(work, payment, attempt, after, code=outcome.code, message=outcome.message[:500])
        was_authorized = payment.won_attempt == self.number
        if payment.status not in OPEN_PAYMENT or not (
            was_authorized or (payment.won_attempt == 0 and self.number == payment.attempt_count)
        ):
            return Recorded(payment, attempt)
        if payment.method == CASHIER and not was_authorized:
            return Recorded(payment, attempt)  # the payer may choose again, until the payment's time has run out
        if not outcome.closed:
            why = states.PaymentEvent.REFUSED
        elif not was_authorized and (payment.expires_at <= work.now or outcome is NOT_RECEIVED):
            why = states.PaymentEvent.TIMED_OUT
        else:
            why = states.PaymentEvent.CLOSED
        status = advance(states.PAYMENT, states.PaymentStatus(payment.status), why)
        ended = payment._replace(
            status=status.value,
            next_action=None,
            won_attempt=0,
            failure_code=outcome.code if status is states.PaymentStatus.FAILED else None,
            failure_message=outcome.message[:500] if status is states.PaymentStatus.FAILED else None,
            updated_at=work.now,
            due_at=None,
        )
        return Recorded(moved(work, ended, f"payment.{status}"), attempt)

    def _note(
        self, work: Work, payment: Payment, attempt: Attempt, after: states.AttemptStatus, **changes: Any
    ) -> Attempt:
        """Keep where an attempt has come to; one that had ended and stays so is left as it is."""
        still_open = after in OPEN_ATTEMPT
        if after == attempt.status and not still_open:
            return attempt
        noted: dict[str, Any] = {"code": None, "message": None, **changes}
        noted["channel_ref"] = noted.get("channel_ref") or attempt.channel_ref
        if still_open:
            noted.setdefault("due_at", next_query(payment, self.wait, work.now))
        else:
            noted["due_at"], noted["next_action"] = None, None
        if self.latency_ms is not None:
            noted["latency_ms"] = self.latency_ms
        attempt = attempt._replace(status=after.value, updated_at=work.now, **noted)
        work.put(ATTEMPTS, attempt)
        return attempt


def _coupon_of(said: Confirmed) -> int:
    """Return what the merchant's own coupons paid, as far as the channel says."""
    return said.merchant_coupon.minor if said.merchant_coupon is not None else 0


# Not the channel's word but the end of our patience: an order that can no longer be sent, and never arrived.
# Should the channel confirm it after all, it is late, and goes back.
NOT_RECEIVED = Refused("not_received", "the channel never received it, and its time has run out", closed=True)


def sent_once(attempt: Attempt, answers: Answers) -> bool:
    """Tell whether the message that is answered is the only one of its step that can have left: pay, then proceed.

    A no to the only one, though a notice has said that it was paid, is a contradiction that somebody should hear of.
    """
    if attempt.status == states.AttemptStatus.CONFIRMED:
        return attempt.query_count == 0
    if answers is Answers.SECOND_CALL:
        return attempt.status == states.AttemptStatus.PENDING and attempt.proceed_count == 1
    return attempt.is_fresh  # a repeated first call's no says nothing of a second call that is on its way


def is_lost(payment: Payment, attempt: Attempt) -> bool:
    """Tell whether an attempt's payment goes another way: it is over, another has won it, or the payer chose anew."""
    if payment.won_attempt:
        return payment.won_attempt != attempt.number
    return payment.status not in OPEN_PAYMENT or attempt.number < payment.attempt_count


def _given_back_by_us(payment: Payment, attempt: Attempt, outcome: Unknown) -> None:
    """Make sure that refunds of ours are what gave back the money of a payment that had succeeded.

    Raises Broken (channel_contradicts_itself): a reversal of ours may have been carried out after it was paid.
    """
    ours = payment.live_minor
    if outcome.given_back and attempt.status == states.AttemptStatus.CONFIRMED and ours < attempt.captured_minor:
        raise Broken(
            "channel_contradicts_itself",
            f"{attempt.reference} was paid as {attempt.channel_ref}; now the channel says that its payer has the money "
            "again, which refunds of ours do not explain",
            payment=payment.id,
        )


def _may_have_been_reversed(attempt: Attempt) -> bool:
    """Tell whether a channel has ended an attempt in a way that gives paid money back 撤销."""
    ended = attempt.status == states.AttemptStatus.CLOSED and attempt.code != NOT_RECEIVED.code
    return ended and attempt.method == Method.BARCODE


def moved(work: Work, payment: Payment, event: str, paid_by: str | None = None) -> Payment:
    """Put a payment that has moved, and tell. paid_by: the way it was paid, where it was."""
    work.put(PAYMENTS, payment)
    streams.publish(work, payment.book, event, payment.id, payment_event(payment, paid_by))
    return payment
