"""Any plan, any refunds and any chargebacks, ended in any order and told any number of times: the books add up."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import CASES
from channels.contract import Confirmed, Dispute, DisputeStatus, Refused
from gateway.payments.chargebacks import BEYOND, ChargePayment, RecordChargeback
from gateway.payments.record_refund import RecordRefundOutcome
from gateway.payments.refund_holds import NewRefund, start_refund
from gateway.tables import ATTEMPTS, CHARGEBACKS, PAYMENTS, REFUNDS, Attempt, Chargeback, Payment
from kernel.errors import Broken, Conflict
from kernel.money import Money, proportion
from kernel.work import Work
from ledger import Transfer, accounts, open_account, post_expected
from splitting.objects import shares_of
from splitting.plans.asked import Part
from splitting.shares import sharing
from splitting.tables import SPLITS
from tests.splitting.in_memory import BOOK, DAY, NOW, Book
from tests.splitting.test_taking_back import HUB, PAYEES, Do, documents

ID = "pay_" + "0" * 26
OPENED, WON, LOST = DisputeStatus.OPENED, DisputeStatus.WON, DisputeStatus.LOST


class Life:
    """One payment of a shop in memory, and what becomes of its money."""

    def __init__(self, document: dict[str, Any], captured: int, fee: int, coupon: int, *, fee_kept: bool) -> None:
        self.book, self.captured, self.count = Book(), captured, 0
        self.refunds: list[str] = []  # under way
        self.disputes: dict[str, Dispute] = {}
        self.told: list[Dispute] = []
        self.book.payee(HUB, kind="platform")
        for payee in PAYEES:
            self.book.payee(payee)
        part = Part(document=orjson.dumps(document).decode())
        payment = Payment(
            BOOK, ID, "order", captured, "CNY", "qr", "tea", None, "succeeded", 1, fee, NOW, NOW, NOW,
            captured_minor=captured, won_attempt=1, business_date=DAY, succeeded_at=NOW, coupon_minor=coupon,
        )  # fmt: skip
        attempt = Attempt(
            BOOK, ID, 1, "rail", "scripted", fee, "qr", None, None, "confirmed", NOW, NOW, None, "ch",
            fee_kept=fee_kept, captured_minor=captured, coupon_minor=coupon, business_date=DAY,
        )  # fmt: skip

        def paid(work: Work) -> None:
            sharing.plan(work, BOOK, ID, 10_000, 0, "CNY", [part])  # what no longer fits is cut
            channel, merchant = accounts.channel("rail", "CNY"), accounts.merchant("CNY")
            moves = [Transfer(f"{ID}:1:captured", "payment_captured", channel, merchant, captured, "CNY")]
            if coupon:
                cost = open_account(work, BOOK, accounts.merchant_coupon("CNY")).name
                moves.append(Transfer(f"{ID}:1:coupon", "merchant_coupon", cost, channel, coupon, "CNY"))
            if fee:
                moves.append(Transfer(f"{ID}:1:fee", "channel_fee", merchant, channel, fee, "CNY"))
            post_expected(work, BOOK, ID, moves, business_date=DAY)
            work.put(PAYMENTS, payment)
            work.put(ATTEMPTS, attempt)

        self.book.do(Do(paid))

    @property
    def payment(self) -> Payment:
        found: Payment = self.book._rows[PAYMENTS][BOOK, ID]
        return found

    @property
    def rows(self) -> list[Chargeback]:
        return [row for row in self.book._rows.get(CHARGEBACKS, {}).values() if row is not None]

    # ---- what happens ------------------------------------------------------------------------------------------------

    def refund(self, amount: int) -> None:
        amount = min(amount, self.payment.refundable_minor)
        if amount:
            self.count += 1
            ident = f"re_{self.count:026}"
            self.book.do(Do(lambda work: start_refund(work, self.payment, NewRefund(ident, amount, "why", None))))
            self.refunds.append(ident)

    def end_refund(self, place: int, *, fails: bool) -> None:
        if not self.refunds:
            return
        ident = self.refunds.pop(place % len(self.refunds))
        minor = self.book._rows[REFUNDS][BOOK, ident].amount_minor
        said = Refused("NO", closed=True) if fails else Confirmed("rf", Money(minor, "CNY"), self.book.now)
        for _ in range(2):
            self.book.do(RecordRefundOutcome(BOOK, ident, said, 1.0))

    def dispute(self, amount: int, fee: int) -> None:
        ref = f"dp_{len(self.disputes)}"
        at = self.book.now
        told = Dispute(ref, None, "ch", OPENED, Money(amount, "CNY"), Money(fee, "CNY"), "why", at)
        self.disputes[ref] = told
        self.tell(told)

    def end_dispute(self, place: int, *, won: bool, fee_back: bool, unheard: bool) -> None:
        """unheard: the notice of its opening was lost, so that its end is the first that is heard of it."""
        if unheard:
            ref = f"dp_{len(self.disputes)}"
            amount = Money(1 + place % self.captured, "CNY")
            self.disputes[ref] = Dispute(ref, None, "ch", OPENED, amount, Money(7, "CNY"), "why", self.book.now)
        elif not self.disputes:
            return
        else:
            ref = sorted(self.disputes)[place % len(self.disputes)]
        told = self.disputes[ref]
        if told.status is WON:
            return
        back = Money(told.fee.minor if fee_back else 0, "CNY")
        told = replace(told, status=WON if won else LOST, ended_at=self.book.now, fee_back=back)
        self.disputes[ref] = told
        self.tell(told)

    def tell(self, told: Dispute) -> None:
        for _ in range(2):
            self.book.do(RecordChargeback(BOOK, ID, 1, "rail", told))
        self.told.append(told)

    def tell_again(self, place: int) -> None:
        """Whatever was told before is told again: nothing changes, though a contradiction is refused."""
        if self.told:
            before = self.book.balances
            with suppress(Broken):  # it had been lost, and was won since
                self.book.do(RecordChargeback(BOOK, ID, 1, "rail", self.told[place % len(self.told)]))
            assert self.book.balances == before

    def charge(self) -> None:
        for case in list(self.book._rows.get(CASES, {}).values()):
            if case is not None and case.kind == BEYOND and case.status == "open":
                with suppress(Conflict):
                    self.book.do(Do(lambda work, case=case: ChargePayment().apply(work, case)))

    # ---- what must hold ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        payment, book = self.payment, self.book
        book.assert_it_adds_up()
        assert payment.charged_back_minor == sum(row.covered_minor for row in self.rows if row.status != "won")
        live, unshared = payment.live_minor, payment.fee_minor + payment.coupon_minor
        assert 0 <= live <= payment.captured_minor
        split = book._rows[SPLITS][BOOK, ID]
        if split.status == "posted":
            shares = shares_of(split)
            assert all(0 <= share.left_minor <= share.amount_minor for share in shares)
            base = max(self.captured - unshared, 0)
            assert sum(share.amount_minor for share in shares) == base
            back = live - proportion(unshared, live, self.captured)
            assert sum(share.taken_back_minor for share in shares) == back
        beyond = sum(row.amount_minor - row.covered_minor for row in self.rows if row.status != "won")
        assert book.balances.get(accounts.suspense("CNY"), 0) == -beyond
        kept = sum(row.fee_minor - row.fee_back_minor for row in self.rows)
        cost = book.balances.get(accounts.refund_cost("CNY"), 0)
        attempt = book._rows[ATTEMPTS][BOOK, ID, 1]
        of_payment = proportion(payment.fee_minor, live, self.captured) if attempt.fee_kept else 0
        assert cost == kept + of_payment

    def check_end(self) -> None:
        """Everything has gone back: nobody has anything of it but what channels keep."""
        payment = self.payment
        if payment.live_minor != self.captured or self.refunds:
            return
        left = self.book.balances
        assert payment.coupon_returned_minor == payment.coupon_minor
        for name in (accounts.merchant("CNY"), accounts.platform_fee("CNY"), accounts.merchant_coupon("CNY")):
            assert name not in left
        assert not [name for name in left if name.startswith("payee:")]


AMOUNTS = st.integers(1, 10_000)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("refund"), AMOUNTS),
        st.tuples(st.just("end_refund"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("dispute"), AMOUNTS, st.sampled_from([0, 0, 7, 1_500])),
        st.tuples(st.just("end_dispute"), st.integers(0, 9_999), st.booleans(), st.booleans(), st.booleans()),
        st.tuples(st.just("tell_again"), st.integers(0, 99)),
        st.tuples(st.just("charge")),
    ),
    max_size=14,
)


@settings(max_examples=250, deadline=None)
@given(
    document=documents(),
    captured=st.sampled_from([1, 3, 101, 10_000]),
    fee=st.sampled_from([0, 1, 60]),
    coupon=st.sampled_from([0, 0, 1, 33]),
    fee_kept=st.booleans(),
    steps=STEPS,
)
def test_whatever_goes_back_how_and_in_what_order_the_books_add_up(
    document: dict[str, Any], captured: int, fee: int, coupon: int, *, fee_kept: bool, steps: list[tuple[Any, ...]]
) -> None:
    life = Life(document, captured, min(fee, captured // 2), min(coupon, captured // 3), fee_kept=fee_kept)
    life.book.now += timedelta(minutes=1)
    for step in steps:
        match step:
            case ("refund", amount):
                life.refund(amount)
            case ("end_refund", place, fails):
                life.end_refund(place, fails=fails)
            case ("dispute", amount, kept):
                life.dispute(min(amount, captured), kept)
            case ("end_dispute", place, won, fee_back, unheard):
                life.end_dispute(place, won=won, fee_back=fee_back, unheard=unheard)
            case ("tell_again", place):
                life.tell_again(place)
            case _:
                life.charge()
        life.check()
    while life.refunds:
        life.end_refund(0, fails=False)
        life.check()
    life.refund(captured)
    life.end_refund(0, fails=False)
    life.check()
    life.check_end()
