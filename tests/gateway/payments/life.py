"""A payment's life in memory: whatever channels, payers and merchants may do to it, in any order."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta

from channels.contract import Confirmed, Outcome, Pending, Refused, Unknown
from gateway import states
from gateway.claims import Claims
from gateway.payments.attempts import Chosen, EndUnpaid, FailOver, NewAttempt, StartAttempt
from gateway.payments.captures import CaptureRefused, StartCapture, StartUndo
from gateway.payments.create import CreatePayment, NewPayment
from gateway.payments.due import ClaimDue
from gateway.payments.record_outcome import RecordOutcome
from gateway.payments.record_refund import RecordRefundOutcome
from gateway.payments.refunds import CreateRefund, RetryRefund
from gateway.states import OPEN_ATTEMPT, OPEN_PAYMENT, PAID_ATTEMPT
from gateway.tables import ATTEMPTS, PAYMENTS, REFUNDS, Attempt, Payment, Refund, overpaid_refund_id
from kernel.errors import Broken, Conflict, Rejected
from kernel.money import Money, share_bp
from kernel.work import NotLoaded
from ledger import accounts
from splitting import Part, ShareKind, SplitLine
from tests.splitting.in_memory import BOOK, NOW, Book

PAYMENT = "pay_" + "1" * 26
FARM = f"pye_{1:026x}"
AMOUNT = 10_001
LASTS = timedelta(hours=2)
WAIT = timedelta(seconds=5)
RAILS = ("one", "two", "three")
KEEPS_ITS_FEE = "three"  # also of what goes back
OUTCOMES = ("confirmed", "pending", "action", "held", "refused", "closed", "unknown")


class Life:
    """One payment in memory, tried on three channel accounts."""

    def __init__(self, *, cashier: bool, manual: bool, split: bool, wallets: int = 0, book: Book | None = None) -> None:
        self.book = book or Book()
        self.book.payee(FARM)
        plan = [Part(split=[SplitLine(FARM, ShareKind.BASIS_POINTS, 3_000)])] if split else []
        method = "cashier" if cashier else "page"
        new = NewPayment(
            "order", AMOUNT, "CNY", method, "tea", None, plan, LASTS, None, manual, "{}" if cashier else None
        )
        first = None if cashier else self.chosen("one")
        self.book.do(CreatePayment(BOOK, PAYMENT, new, Claims(("o:order",), b"h"), first))
        self.asked = 0
        for wallet in range(wallets if cashier else 0):
            self.chooses(wallet)

    @staticmethod
    def chosen(account: str, amount: int = AMOUNT) -> Chosen:
        fee = share_bp(amount, 60 + 10 * RAILS.index(account))
        return Chosen(account, account, fee, None, fee_kept=account == KEEPS_ITS_FEE)

    @property
    def payment(self) -> Payment:
        return self.book.get(PAYMENTS, (BOOK, PAYMENT))

    @property
    def attempts(self) -> list[Attempt]:
        return [self.book.get(ATTEMPTS, (BOOK, PAYMENT, n)) for n in range(1, self.payment.attempt_count + 1)]

    @property
    def refunds(self) -> list[Refund]:
        return [refund for refund in self.book._rows.get(REFUNDS, {}).values() if refund is not None]

    def key(self) -> Claims:
        self.asked += 1
        return Claims((f"i:{self.asked}",), b"h")

    def step(self, what: str, n: int) -> None:
        """Do one thing, or be refused; a refusal leaves no trace."""
        before = self.book._rows[PAYMENTS].copy(), self.book._rows.get(ATTEMPTS, {}).copy(), self.book.balances
        try:
            getattr(self, what)(n)
        except (Broken, Conflict, Rejected):
            assert (self.book._rows[PAYMENTS], self.book._rows.get(ATTEMPTS, {}), self.book.balances) == before
        except NotLoaded:
            raise

    def says(self, n: int) -> None:
        tries = self.attempts
        if not tries:
            return
        attempt = tries[n // len(OUTCOMES) % len(tries)]
        captured = attempt.capture_minor or AMOUNT
        outcome: Outcome = {
            "confirmed": Confirmed(f"ch-{attempt.reference}", Money(captured, "CNY"), NOW),
            "pending": Pending(),
            "action": Pending({"type": "qr", "code": "x"}),
            "held": Pending(authorized=Money(AMOUNT, "CNY")),
            "refused": Refused("NO"),
            "closed": Refused("CLOSED", closed=True),
            "unknown": Unknown("silence"),
        }[OUTCOMES[n % len(OUTCOMES)]]
        for _ in range(2):  # everybody repeats himself
            refund_id = overpaid_refund_id(PAYMENT, attempt.number)
            self.book.do(RecordOutcome(BOOK, PAYMENT, attempt.number, outcome, WAIT, refund_id, 5))

    def fails_over(self, n: int) -> None:
        tries = self.attempts
        if tries:
            number, account = tries[n % len(tries)].number, RAILS[n % 3]
            said: Outcome = Refused("BUSY", retriable=True) if n % 2 else Unknown("", not_sent=True)
            for _ in range(2):
                self.book.do(FailOver(BOOK, PAYMENT, number, said, self.chosen(account)))

    def chooses(self, n: int) -> None:
        payer = f"p{n % 2}"
        new = NewAttempt("jsapi", f'{{"payer":"{payer}"}}')
        account = RAILS[n % 3]
        for _ in range(2):
            self.book.do(StartAttempt(BOOK, PAYMENT, new, f"{payer} ", account, self.chosen(account)))

    def captures(self, n: int) -> None:
        amount = 1 + n * 97 % AMOUNT
        self.book.do(StartCapture(BOOK, PAYMENT, amount, share_bp(amount, 60), self.key()))

    def capture_refused(self, n: int) -> None:
        number = 1 + n % max(1, self.payment.attempt_count)
        self.book.do(CaptureRefused(BOOK, PAYMENT, number, "NO", "", share_bp(AMOUNT, 60), WAIT))

    def told_to_undo(self, n: int) -> None:
        if tries := self.attempts:
            attempt = tries[n % len(tries)]
            after = self.book.do(StartUndo(BOOK, PAYMENT, attempt.number, releases=attempt.status == "authorized"))
            assert (after.undo_sent_at is None or after == attempt) or attempt.status in OPEN_ATTEMPT

    @contextlib.contextmanager
    def later(self, after: timedelta) -> Iterator[None]:
        now = self.book.now
        self.book.now += after
        try:
            yield
        finally:
            self.book.now = now

    def asked_about(self, n: int) -> None:
        for one in self.attempts:
            with self.later(timedelta(minutes=1) if n % 2 else timedelta(days=1)):  # undone, it never is again
                self.book.do(ClaimDue(BOOK, (PAYMENT, one.number), 1.0))

    def ends(self, n: int) -> None:
        why = states.PaymentEvent.TIMED_OUT if n % 2 else states.PaymentEvent.CLOSED
        with self.later(LASTS if n % 2 else timedelta(0)):
            self.book.do(EndUnpaid(BOOK, PAYMENT, why))

    def refunds_asked(self, n: int) -> None:
        refund_id = f"re_{0xABC + self.asked:026x}"
        self.book.do(CreateRefund(BOOK, refund_id, PAYMENT, 1 + n * 31 % AMOUNT, "no", None, self.key()))

    def refund_ends(self, n: int) -> None:
        if self.refunds:
            refund = self.refunds[n // 2 % len(self.refunds)]
            good = Confirmed("ch-re", Money(refund.amount_minor, "CNY"), NOW)
            said: Outcome = good if n % 2 else Refused("NOT_ENOUGH")
            for _ in range(2):
                self.book.do(RecordRefundOutcome(BOOK, refund.id, said, 1.0, refund.retry_count))

    def refund_retried(self, n: int) -> None:
        mostly = [refund for refund in self.refunds if refund.status == "failed" or n % 5 == 0]
        if mostly:
            claims, refund_id = self.key(), mostly[n % len(mostly)].id
            for _ in range(2):
                self.book.do(RetryRefund(BOOK, refund_id, claims))

    # ---- what must hold after every step -----------------------------------------------------------------------------

    def assert_exact(self) -> None:
        payment, tries, refunds = self.payment, self.attempts, self.refunds
        winners = [one for one in tries if one.status in ("confirmed", "late")]
        assert len(winners) <= 1
        assert payment.captured_minor == sum(one.captured_minor for one in winners)
        if winners:
            assert payment.won_attempt == winners[0].number
            assert payment.fee_minor == winners[0].fee_minor
        assert (payment.status == "succeeded") is any(one.status == "confirmed" for one in tries)
        for one in tries:
            assert (one.captured_minor > 0) is (one.status in PAID_ATTEMPT)
            doubted = one.status == "confirmed" and one.undo_sent_at is not None
            assert (one.due_at is not None) is (one.status in OPEN_ATTEMPT or doubted)
            live = [r for r in refunds if r.attempt_number == one.number and r.status != "failed"]
            assert sum(r.amount_minor for r in live) <= one.captured_minor
            if one.status in ("late", "overpaid"):
                whole = [r for r in refunds if r.attempt_number == one.number and r.amount_minor == one.captured_minor]
                assert whole, "it is on its way back, or somebody can send it there"
        its = [r for r in refunds if r.attempt_number == payment.won_attempt]
        assert payment.refunded_minor == sum(r.amount_minor for r in its if r.status == "succeeded")
        assert payment.refunding_minor == sum(r.amount_minor for r in its if r.status == "processing")
        if payment.status in OPEN_PAYMENT:
            assert payment.due_at is not None or any(one.status in OPEN_ATTEMPT for one in tries)
        if payment.status == "requires_capture":
            held = tries[payment.won_attempt - 1]
            assert (held.status, held.capture_minor, held.authorized_minor) == ("authorized", 0, AMOUNT)
        self.book.assert_it_adds_up()
        for rail in RAILS:
            brought = sum(one.captured_minor for one in tries if one.channel_account == rail)
            gone = sum(
                r.amount_minor
                for r in refunds
                if r.status == "succeeded" and tries[r.attempt_number - 1].channel_account == rail
            )
            standing = self.book.balances.get(accounts.channel(rail, "CNY"), 0)
            assert 0 <= brought - gone - standing <= share_bp(AMOUNT, 80) * len(tries), "but for fees"

    def settle_all_that_goes_back(self) -> None:
        """Send back whatever nobody wants, as often as it takes."""
        for refund in self.refunds:
            of_winner = refund.attempt_number == self.payment.won_attempt
            if refund.status == "failed" and (not of_winner or self.payment.status != "succeeded"):
                # What a merchant has meanwhile given back himself is not given back again.
                with contextlib.suppress(Rejected):
                    self.book.do(RetryRefund(BOOK, refund.id, self.key()))
        for refund in self.refunds:
            if refund.status == "processing":
                good = Confirmed("ch-re", Money(refund.amount_minor, "CNY"), NOW)
                self.book.do(RecordRefundOutcome(BOOK, refund.id, good, 1.0, refund.retry_count))


MOVES = [
    *["says"] * 6,
    *["fails_over", "chooses", "captures", "capture_refused", "ends", "refunds_asked", "told_to_undo", "asked_about"],
    *["refund_ends", "refund_retried"] * 2,
]
