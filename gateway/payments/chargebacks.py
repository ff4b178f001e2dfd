"""RecordChargeback: the one place where what a rail, or a person, says of a chargeback 拒付 moves its money.

When it is opened the rail has taken the money, and the books follow: the payees give their shares back as for a refund
of as much. When it is won everything is given again, as after a refund that failed; when it is lost it stays. What had
gone back before, by refunds or other chargebacks, no share can bear: that part is in suspense, and a person decides.
Source: docs/decisions/0055-chargebacks.md
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import zip_longest

import orjson

import cases
import ledger
import splitting
import streams
from channels.contract import Dispute, DisputeStatus
from gateway import states
from gateway.objects import chargeback_event
from gateway.payments.belief import AHEAD, EARLIEST
from gateway.payments.refund_holds import between, fee_made_good, fee_stands_again, refund_needs, taken_from_shares
from gateway.payments.refund_sums import fee_on_last, part_on_last, unshared_on_last
from gateway.tables import ATTEMPTS, CHARGEBACKS, PAYMENTS, Attempt, Chargeback, Payment, chargeback_id
from kernel.clock import BEIJING, business_date
from kernel.errors import Broken, Conflict, Rejected
from kernel.money import Money
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from ledger import Transfer, accounts

NOT_BOOKED, BEYOND = "chargeback_not_booked", "chargeback_beyond"  # cases, about the chargeback's id
CHARGE = "charge"  # what may be decided of what is beyond
# A dispute takes weeks; its rail tells of its end, and is asked besides lest that be lost.
ASK_EVERY = timedelta(hours=6)
# What each share gave back, as the row keeps it: a sum, or that and how much of it was frozen.
Parts = Sequence[int | Sequence[int]]


@dataclass(frozen=True, slots=True)
class RecordChargeback:
    """Record how a chargeback stands, and move its money accordingly; repeating it, in any order, changes nothing.

    number: of the attempt whose money it is. told: what the rail says of it, or the person `by`, who keeps the
    evidence where `evidence` says. scale: see schedule.query_wait. Returns the chargeback. Raises NotFound for a
    payment there is not, Broken (chargeback_not_booked) for what cannot be, and then nothing was booked.
    """

    book: int
    payment_id: str
    number: int
    account: str
    told: Dispute
    scale: float = 1.0
    by: str | None = None
    evidence: str | None = None

    @property
    def id(self) -> str:
        return chargeback_id(self.book, self.account, self.told.ref)

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield CHARGEBACKS, (self.book, self.id)
        yield from chargeback_needs(work, self.book, self.payment_id, self.number, self.id)

    def apply(self, work: Work) -> Chargeback:
        work.head(self.book)
        found = work.find(CHARGEBACKS, (self.book, self.id))
        told = self.told
        latest = max((at for at in (told.opened_at, told.ended_at) if at is not None), default=told.opened_at)
        if not EARLIEST <= told.opened_at <= latest <= work.now + AHEAD:
            raise self._not_booked(f"it is said to be of {told.opened_at}, ended {told.ended_at}, which cannot be")
        if found is None:
            found = self._open(work)
        elif (found.payment_id, found.attempt_number, found.amount_minor, found.currency) != (
            self.payment_id, self.number, told.amount.minor, told.amount.currency,
        ):  # fmt: skip
            had = Money(found.amount_minor, found.currency)
            raise self._not_booked(f"it was of {had} of {found.payment_id}, now it is said to be of {told.amount}")
        elif told.fee != (fee := Money(found.fee_minor, found.currency)):
            raise self._not_booked(f"the channel kept {fee} for it, now it is said to keep {told.fee}")
        after = self._moved(work, found)
        cases.close_case(work, self.book, NOT_BOOKED, self.id, why="it could be booked after all")
        return after

    # ---- opened ------------------------------------------------------------------------------------------------------

    def _open(self, work: Work) -> Chargeback:
        told, book = self.told, self.book
        payment = work.get(PAYMENTS, (book, self.payment_id))
        attempt = work.get(ATTEMPTS, (book, self.payment_id, self.number))
        if attempt.captured_minor == 0:
            raise self._not_booked(f"{attempt.reference} was not paid, as far as the hub knows")
        if {told.amount.currency, told.fee.currency} != {payment.currency}:
            raise self._not_booked(f"{payment.id} is in {payment.currency}: {told.amount}, fee {told.fee}")
        if told.amount.minor > attempt.captured_minor:
            paid = Money(attempt.captured_minor, payment.currency)
            raise self._not_booked(f"the channel took {told.amount} of {attempt.reference}, of which {paid} were paid")
        if self.by is None and told.payment_channel_ref != attempt.channel_ref:
            raise self._not_booked(f"it is of {told.payment_channel_ref}, {attempt.reference} is {attempt.channel_ref}")
        day = business_date(told.opened_at)
        # What another attempt brought on top was never shared out, and goes back whole by itself.
        winner = attempt.number == payment.won_attempt
        covered = min(told.amount.minor, payment.refundable_minor) if winner else 0
        row = Chargeback(
            book, self.id, payment.id, attempt.number, attempt.channel, attempt.channel_account, told.ref,
            told.amount.minor, payment.currency, 0, told.fee.minor, 0, 0, 0, "[]", told.reason[:80],
            states.ChargebackStatus.OPENED.value, told.evidence_due_at, self.evidence, self.by, day, None, work.now,
            work.now, None if self.by is not None else work.now + ASK_EVERY * self.scale,
        )  # fmt: skip
        channel = accounts.channel(attempt.channel_account, payment.currency)
        transfers: list[Transfer] = []
        if covered:
            row, transfers = self._borne(work, payment, attempt, row, covered, row.id, day)
            merchant = accounts.merchant(payment.currency)
            transfers.append(Transfer(f"{row.id}:taken", "chargeback", merchant, channel, covered, payment.currency))
        if row.coupon_minor:
            transfers.append(_coupon_back(work, attempt, row.id, row.coupon_minor, payment.currency))
        if beyond := told.amount.minor - covered:
            suspense = ledger.open_account(work, book, accounts.suspense(payment.currency)).name
            transfers.append(
                Transfer(f"{row.id}:beyond", "chargeback_beyond", suspense, channel, beyond, payment.currency)
            )
        if row.fee_minor:
            transfers.append(_fee(work, payment, attempt, f"{row.id}:charge", row.fee_minor))
        had = splitting.own_balance(work, book, payment.id)
        ledger.post_expected(work, book, row.id, transfers, business_date=day, fresh=True)
        splitting.note_cost_borne(work, book, payment.id, row.id, transfers, had)
        _count(work, row, covered, row.coupon_minor)
        work.put(CHARGEBACKS, row)
        streams.publish(work, book, "chargeback.opened", row.id, chargeback_event(row))
        if beyond:
            facts = {
                "payment": payment.id, "channel_account": attempt.channel_account, "channel_ref": told.ref,
                "taken": told.amount.minor,
            }  # fmt: skip
            cases.open_case(work, book, BEYOND, row.id, amount_minor=beyond, currency=payment.currency, facts=facts)
        return row

    def _borne(
        self, work: Work, payment: Payment, attempt: Attempt, row: Chargeback, minor: int, posting: str, day: date
    ) -> tuple[Chargeback, list[Transfer]]:
        try:
            return borne(work, payment, attempt, row, minor, posting, day)
        except Rejected as refusal:
            raise self._not_booked(str(refusal)) from None

    # ---- won, lost ---------------------------------------------------------------------------------------------------

    def _moved(self, work: Work, row: Chargeback) -> Chargeback:
        """Return the chargeback as it stands after what was told of it."""
        told, before = self.told, states.ChargebackStatus(row.status)
        event = states.ChargebackEvent(told.status.value)
        if (before, event) not in states.CHARGEBACK:
            raise self._not_booked(f"it was {before}, now it is said to be {event}")
        after = advance(states.CHARGEBACK, before, event)
        due = work.now + ASK_EVERY * self.scale if row.recorded_by is None else None
        if after is before:
            if after is states.ChargebackStatus.OPENED:
                evidence_due = told.evidence_due_at or row.evidence_due_at
                row = row._replace(evidence_due_at=evidence_due, due_at=due, updated_at=work.now)
                work.put(CHARGEBACKS, row)
            return row
        ended = business_date(told.ended_at or work.now)
        if after is states.ChargebackStatus.WON:
            row = self._given_again(work, row, max(ended, row.business_date))
        row = row._replace(
            status=after.value, ended_date=max(ended, row.business_date), due_at=None, updated_at=work.now,
            evidence=self.evidence or row.evidence,
        )  # fmt: skip
        work.put(CHARGEBACKS, row)
        streams.publish(work, self.book, f"chargeback.{after}", row.id, chargeback_event(row))
        return row

    def _given_again(self, work: Work, row: Chargeback, day: date) -> Chargeback:
        """Book that the money is back: the merchant has it, the payees have their shares, suspense has the rest."""
        book, currency, back = self.book, row.currency, self.told.fee_back
        fee_back = 0 if back is None else back.minor
        if self.told.returned not in (None, self.told.amount):
            raise self._not_booked(f"the channel took {self.told.amount} and gave back {self.told.returned}")
        if fee_back > row.fee_minor or (back is not None and back.currency != currency):
            raise self._not_booked(f"the channel kept {Money(row.fee_minor, currency)} for it and gave back {back}")
        payment = work.get(PAYMENTS, (book, row.payment_id))
        attempt = work.get(ATTEMPTS, (book, row.payment_id, row.attempt_number))
        merchant, channel = between(payment, attempt)
        posting, transfers = f"{row.id}:won", []
        live = payment.live_minor
        if row.covered_minor:
            transfers.append(Transfer(posting, "chargeback_won", channel, merchant, row.covered_minor, currency))
            if fee_part := fee_on_last(payment, row.covered_minor, live):
                transfers.append(fee_stands_again(work, payment, attempt, f"{posting}:fee", fee_part))
        if row.coupon_minor:
            cost = accounts.merchant_coupon(currency)
            coupon = Transfer(f"{posting}:coupon", "merchant_coupon", cost, channel, row.coupon_minor, currency)
            transfers.append(coupon)
        if beyond := row.amount_minor - row.covered_minor:
            suspense = accounts.suspense(currency)
            gone = Transfer(f"{posting}:beyond", "chargeback_beyond_back", channel, suspense, beyond, currency)
            transfers.append(gone)
        if fee_back:
            transfers.append(_fee_back(work, payment, attempt, f"{posting}:charge", fee_back))
        ledger.post_expected(work, book, posting, transfers, business_date=day, fresh=True)
        if row.covered_minor:
            shared = row.covered_minor - unshared_on_last(payment, row.covered_minor, live)
            parts: Parts = orjson.loads(row.taken_back)
            splitting.give_back_after_failed_refund(work, book, payment.id, posting, parts, shared, day)
        _count(work, row, -row.covered_minor, -row.coupon_minor)
        cases.close_case(work, book, BEYOND, row.id, why="the chargeback was won: the money is back")
        return row._replace(fee_back_minor=fee_back)

    def _not_booked(self, why: str) -> Broken:
        return Broken(
            "chargeback_not_booked", f"chargeback {self.told.ref} of {self.payment_id}: {why}; nothing was booked"
        )


def chargeback_needs(work: Work, book: int, payment_id: str, number: int, ident: str) -> Iterable[Need]:
    """Name the rows that moving a chargeback's money looks at."""
    yield from refund_needs(work, book, payment_id, number)
    yield from cases.needs(book, NOT_BOOKED, ident)
    yield from cases.needs(book, BEYOND, ident)
    if work.knows(PAYMENTS, (book, payment_id)) and (payment := work.find(PAYMENTS, (book, payment_id))) is not None:
        for account in (accounts.refund_cost, accounts.suspense, accounts.merchant_coupon):
            yield ledger.ACCOUNTS, (book, account(payment.currency))


def borne(
    work: Work, payment: Payment, attempt: Attempt, row: Chargeback, minor: int, posting: str, day: date
) -> tuple[Chargeback, list[Transfer]]:
    """Have the payment bear so much of a chargeback, as it bears a refund; return it with what is still to be posted.

    The transfers make the channel's fee good: after them the merchant's account has the sum. Raises Rejected.
    """
    fee_part, parts, _ = taken_from_shares(work, payment, attempt, posting, minor, day)
    transfers = [fee_made_good(work, payment, attempt, f"{posting}:fee", fee_part)] if fee_part else []
    coupon = payment.coupon_minor - payment.coupon_returned_minor
    if payment.refunded_minor + payment.charged_back_minor + minor < payment.captured_minor:
        coupon = min(coupon, part_on_last(payment.coupon_minor, payment, minor, payment.live_minor + minor))
    row = row._replace(
        covered_minor=row.covered_minor + minor,
        fee_returned_minor=row.fee_returned_minor + (0 if attempt.fee_kept else fee_part),
        coupon_minor=row.coupon_minor + coupon,
        taken_back=orjson.dumps(_added(orjson.loads(row.taken_back), parts)).decode(),
    )
    return row, transfers


def _added(one: Parts, other: Parts) -> Parts:
    """Return what each share gave back in two goes."""
    if not one or not other:
        return one or other

    def both(part: int | Sequence[int]) -> tuple[int, int]:
        return (part, 0) if isinstance(part, int) else (part[0], part[1])

    pairs = [(both(a), both(b)) for a, b in zip_longest(one, other, fillvalue=0)]
    return [[a[0] + b[0], a[1] + b[1]] for a, b in pairs]


def _fee(work: Work, payment: Payment, attempt: Attempt, transfer_id: str, minor: int) -> Transfer:
    """Return the transfer of what the channel keeps for a chargeback: a cost, borne as a refund's fee is."""
    channel, currency = accounts.channel(attempt.channel_account, payment.currency), payment.currency
    if (own := splitting.own_account(work, payment.book, payment.id)) is not None:
        return Transfer(transfer_id, "chargeback_fee_borne", own, channel, minor, currency)
    cost = ledger.open_account(work, payment.book, accounts.refund_cost(currency)).name
    return Transfer(transfer_id, "chargeback_fee", cost, channel, minor, currency)


def _fee_back(work: Work, payment: Payment, attempt: Attempt, transfer_id: str, minor: int) -> Transfer:
    """Return the transfer that undoes `_fee`, or a part of it, after the chargeback was won."""
    channel, currency = accounts.channel(attempt.channel_account, payment.currency), payment.currency
    if (own := splitting.own_account(work, payment.book, payment.id)) is not None:
        return Transfer(transfer_id, "chargeback_fee_repaid", channel, own, minor, currency)
    return Transfer(transfer_id, "chargeback_fee_back", channel, accounts.refund_cost(currency), minor, currency)


def _coupon_back(work: Work, attempt: Attempt, posting: str, minor: int, currency: str) -> Transfer:
    cost = ledger.open_account(work, attempt.book, accounts.merchant_coupon(currency)).name
    channel = accounts.channel(attempt.channel_account, currency)
    return Transfer(f"{posting}:coupon", "merchant_coupon_back", channel, cost, minor, currency)


def _count(work: Work, row: Chargeback, minor: int, coupon_minor: int) -> None:
    """Move a payment's sums; those of surplus money are not among them."""
    if not minor:
        return
    payment = work.get(PAYMENTS, (row.book, row.payment_id))
    counted = payment._replace(
        charged_back_minor=payment.charged_back_minor + minor,
        coupon_returned_minor=payment.coupon_returned_minor + coupon_minor, updated_at=work.now,
    )  # fmt: skip
    work.put(PAYMENTS, counted)


@dataclass(frozen=True, slots=True)
class ClaimChargeback:
    """Note that the rail is about to be asked about an open chargeback; tell whether it is this worker's to ask."""

    book: int
    id: str
    scale: float

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield CHARGEBACKS, (self.book, self.id)

    def apply(self, work: Work) -> bool:
        work.head(self.book)
        row = work.get(CHARGEBACKS, (self.book, self.id))
        if row.due_at is None or row.due_at > work.now:
            return False
        work.put(CHARGEBACKS, row._replace(due_at=work.now + ASK_EVERY * self.scale))
        return True


class ChargePayment:
    """Have the payment bear after all what is in suspense of its chargeback: a refund of it has come back since."""

    def needs(self, work: Work, case: cases.Case) -> Iterable[Need]:
        key = (case.book, case.about)
        yield BOOKS, (case.book,)
        yield CHARGEBACKS, key
        if work.knows(CHARGEBACKS, key) and (row := work.find(CHARGEBACKS, key)) is not None:
            yield from chargeback_needs(work, case.book, row.payment_id, row.attempt_number, row.id)

    def apply(self, work: Work, case: cases.Case) -> None:
        """Raises Conflict (chargeback_ended, nothing_to_charge)."""
        row = work.get(CHARGEBACKS, (case.book, case.about))
        payment = work.get(PAYMENTS, (case.book, row.payment_id))
        beyond = row.amount_minor - row.covered_minor
        if row.status == states.ChargebackStatus.WON:
            raise Conflict("chargeback_ended", f"{row.id} was won: the money is back", status_now=row.status)
        if row.attempt_number != payment.won_attempt or not 0 < beyond <= payment.refundable_minor:
            raise Conflict(
                "nothing_to_charge", f"{payment.id} has {payment.refundable_minor} minor units left, not {beyond}"
            )
        attempt = work.get(ATTEMPTS, (case.book, row.payment_id, row.attempt_number))
        posting, day, coupon_before = f"{row.id}:late", business_date(work.now), row.coupon_minor
        row, transfers = borne(work, payment, attempt, row, beyond, posting, day)
        merchant, suspense = accounts.merchant(row.currency), accounts.suspense(row.currency)
        transfers.append(Transfer(posting, "chargeback_charged", merchant, suspense, beyond, row.currency))
        if coupon := row.coupon_minor - coupon_before:
            transfers.append(_coupon_back(work, attempt, posting, coupon, row.currency))
        had = splitting.own_balance(work, case.book, payment.id)
        ledger.post_expected(work, case.book, posting, transfers, business_date=day, fresh=True)
        splitting.note_cost_borne(work, case.book, payment.id, posting, transfers, had)
        _count(work, row, beyond, coupon)
        work.put(CHARGEBACKS, row._replace(updated_at=work.now))


def ended_as(row: Chargeback, status: DisputeStatus, day: date, fee_back_minor: int) -> Dispute:
    """Return what a person says of a chargeback that has ended so, on that day of its rail's."""
    return Dispute(
        row.channel_ref, None, "", status, Money(row.amount_minor, row.currency), Money(row.fee_minor, row.currency),
        row.reason, noon(row.business_date), row.evidence_due_at, noon(day), Money(fee_back_minor, row.currency),
    )  # fmt: skip


def noon(day: date) -> datetime:
    """Return a moment of a day, in Beijing, for who knows the day alone."""
    return datetime.combine(day, time(12), BEIJING)
