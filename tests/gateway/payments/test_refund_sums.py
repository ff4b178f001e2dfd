"""Any number of refunds of a shared payment, ending well or badly in any order: fee, shares and capture stay exact."""

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from channels.contract import Confirmed, Outcome, Refused
from gateway.claims import Claims
from gateway.payments.attempts import Chosen
from gateway.payments.create import CreatePayment, NewPayment
from gateway.payments.record_outcome import RecordOutcome
from gateway.payments.record_refund import RecordRefundOutcome
from gateway.payments.refunds import CreateRefund
from gateway.tables import PAYMENTS, Payment
from kernel.errors import Rejected
from kernel.money import Money, share_bp
from ledger import RULES
from ledger.posting import ENTRIES
from splitting import Part, ShareKind, SplitLine
from splitting.objects import shares_of
from splitting.plans.arithmetic import OWN, fee_returned
from splitting.shares.own import SetOwnPayee
from splitting.tables import PAYEE_DEBTS, SPLITS, OwnPayee
from tests.splitting.in_memory import BOOK, NOW, Book

PAYMENT = "pay_" + "1" * 26
FARM, MILL, PLATFORM, SHOP = (f"pye_{n:026x}" for n in (1, 2, 3, 4))
NO = Refused("NOT_ENOUGH")


@st.composite
def plans(draw: st.DrawFn) -> list[SplitLine]:
    """Plans the payment can always bear: at most half of it in basis points, perhaps a remainder for one or two."""
    plan = []
    for payee in (FARM, PLATFORM):
        if draw(st.booleans()):
            plan.append(SplitLine(payee, ShareKind.BASIS_POINTS, draw(st.integers(0, 2_500))))
    if draw(st.booleans()):
        plan.append(SplitLine(MILL, ShareKind.REMAINDER, draw(st.integers(0, 3))))
    return plan


class Shop:
    """A book with one captured payment, and refunds of it under way."""

    def __init__(
        self, amount: int, fee_bp: int, plan: list[SplitLine], *, fee_kept: bool, coupon: int = 0, own: bool = False
    ) -> None:
        """own: the shop, a payee itself, is paid what is its own."""
        self.book = Book()
        self.book.payee(FARM)
        self.book.payee(MILL)
        self.book.payee(PLATFORM, kind="platform")
        self.book.payee(SHOP, kind="merchant")
        if own:
            self.book.do(SetOwnPayee(OwnPayee(BOOK, "CNY", SHOP, "ada", NOW)))
        self.own = own
        split = [Part(split=plan)] if plan or own else []
        new = NewPayment("order", amount, "CNY", "qr", "tea", None, split, timedelta(hours=2))
        claims = Claims(("o:order",), b"h")
        chosen = Chosen("rail", "scripted", share_bp(amount, fee_bp), None, fee_kept)
        self.fee_kept = fee_kept
        self.book.do(CreatePayment(BOOK, PAYMENT, new, claims, chosen))
        paid = Confirmed("ch-1", Money(amount, "CNY"), NOW, Money(coupon, "CNY"))
        fee = share_bp(amount - coupon, fee_bp)
        self.book.do(RecordOutcome(BOOK, PAYMENT, 1, paid, timedelta(0), "re_" + "0" * 26, fee_minor=fee))
        self.made = 0
        self.open: list[tuple[str, int]] = []

    @property
    def payment(self) -> Payment:
        return self.book.get(PAYMENTS, (BOOK, PAYMENT))

    @property
    def shares(self) -> Any:
        split = self.book.find(SPLITS, (BOOK, PAYMENT))
        return shares_of(split) if split else []

    def ask(self, amount: int | None) -> bool:
        """Ask for a refund; False where nothing more may be given back."""
        self.made += 1
        refund_id = f"re_{self.made:026x}"
        claims = Claims((f"i:{refund_id}",), b"h")
        try:
            refund, _ = self.book.do(CreateRefund(BOOK, refund_id, PAYMENT, amount, "no", None, claims))
        except Rejected as refusal:
            if refusal.code not in ("refund_exceeds_captured", "refund_limit"):
                raise
            return False
        self.open.append((refund.id, refund.amount_minor))
        return True

    def end(self, which: int, *, well: bool, coupon: int | None = None) -> None:
        """End a refund. coupon: what the channel says the merchant's coupons bear of it; None: it does not say."""
        refund_id, amount = self.open.pop(which % len(self.open))
        said: Outcome = NO
        if well:
            part = None if coupon is None else Money(coupon % (amount + 1), "CNY")
            said = Confirmed("ch-re", Money(amount, "CNY"), NOW, part)
        for _ in range(2):  # rails repeat themselves
            self.book.do(RecordRefundOutcome(BOOK, refund_id, said, 1.0))

    def assert_exact(self) -> None:
        payment = self.payment
        live = payment.refunded_minor + payment.refunding_minor
        assert live <= payment.captured_minor
        back = fee_returned(payment.fee_minor, payment.captured_minor, live)
        moved = self.moved()
        returned = moved["channel_fee_returned"] - moved["channel_fee_kept"]
        borne = moved["refund_cost"] - moved["refund_cost_undone"]
        by_shop = moved["refund_cost_borne"] - moved["refund_cost_given_back"]
        assert (borne if self.own else by_shop) == 0
        borne += by_shop
        assert (moved["channel_fee"], returned, borne) == (
            (payment.fee_minor, 0, back) if self.fee_kept else (payment.fee_minor, back, 0)
        )
        coupon, returned = payment.coupon_minor, payment.coupon_returned_minor
        assert (moved["merchant_coupon"], moved["merchant_coupon_back"]) == (coupon, returned)
        assert self.book.balances.get("merchant_coupon:CNY", 0) == coupon - returned >= 0
        if self.shares:
            unshared = fee_returned(payment.fee_minor + coupon, payment.captured_minor, live)
            assert all(0 <= share.taken_back_minor <= share.amount_minor for share in self.shares)
            assert sum(share.taken_back_minor for share in self.shares) == live - unshared
            arriving = payment.captured_minor - payment.fee_minor - coupon
            assert sum(share.amount_minor for share in self.shares) == arriving
            owed = self.book.balances
            own = sum(share.left_minor for share in self.shares if share.payee_id == OWN)
            assert owed.get(f"payee:{SHOP}:CNY", 0) == (own - by_shop if self.own else 0)
            for share in self.shares:
                if share.payee_id != OWN:
                    account = "platform_fee:CNY" if share.payee_id == PLATFORM else f"payee:{share.payee_id}:CNY"
                    assert owed.get(account, 0) == share.left_minor
        self.book.assert_it_adds_up()

    def moved(self) -> dict[str, int]:
        """Return what each rule has moved in all."""
        totals = dict.fromkeys(RULES, 0)
        for entry in self.book._added[ENTRIES]:
            if entry.step in ("post", "post_hold"):
                totals[entry.rule] += entry.amount_minor
        return totals


# Small parts, so that several are under way at once and end in another order than they began.
steps = st.one_of(
    st.tuples(st.just("ask"), st.integers(1, 10**6)),
    st.tuples(st.just("ask"), st.integers(1, 10)),
    st.tuples(st.just("succeed"), st.integers(0, 10)),
    st.tuples(st.just("fail"), st.integers(0, 10)),
)


@settings(max_examples=400, deadline=None)
@given(
    amount=st.one_of(st.integers(1, 200), st.integers(1, 10**12)),
    fee_bp=st.sampled_from([0, 1, 60, 100, 3_333, 5_000]),
    plan=plans(),
    fee_kept=st.booleans(),
    own=st.booleans(),
    coupon_bp=st.sampled_from([0, 1, 900, 5_000, 9_999]),
    says=st.one_of(st.none(), st.integers(0, 10**6)),
    script=st.lists(steps, min_size=6, max_size=30),
)
def test_refunds_in_any_order_and_with_any_end_stay_exact(
    amount: int,
    fee_bp: int,
    plan: list[SplitLine],
    fee_kept: bool,
    own: bool,
    coupon_bp: int,
    says: int | None,
    script: list[tuple[str, int]],
) -> None:
    """says: what the channel says of the coupon's part in each refund, also where that is not its proportion."""
    coupon = amount * coupon_bp // 10_000
    shop = Shop(amount, fee_bp, plan, fee_kept=fee_kept, coupon=coupon, own=own)
    for step, value in script:
        if step == "ask":
            shop.ask(1 + value % (amount // 5 + 1))
        elif shop.open:
            shop.end(value, well=step == "succeed", coupon=says)
        shop.assert_exact()
    while shop.open:
        shop.end(0, well=True, coupon=says)
    if shop.payment.refundable_minor:
        assert shop.ask(None), "what is left can always be given back"
        shop.end(0, well=True)
    shop.assert_exact()
    assert shop.payment.refunded_minor == amount
    fee = shop.payment.fee_minor if fee_kept else 0
    left = coupon - shop.payment.coupon_returned_minor
    assert left == 0 or says is not None, "where the channel does not say, the whole given back is all of the coupon"
    standing = {"channel:rail:CNY": -fee - left, "merchant_coupon:CNY": left}
    standing |= {f"payee:{SHOP}:CNY": -fee} if own else {"refund_cost:CNY": fee}
    owed = [debt for debt in shop.book._added.get(PAYEE_DEBTS, ()) if debt.payee_id == SHOP]
    assert bool(owed) == (own and fee > 0), "what the shop bears and has not, it owes"
    assert shop.book.balances == {name: minor for name, minor in standing.items() if minor}


@settings(max_examples=100, deadline=None)
@given(
    amount=st.integers(1, 10**6),
    plan=plans(),
    fee_kept=st.booleans(),
    own=st.booleans(),
    coupon_bp=st.sampled_from([0, 900, 9_999]),
    amounts=st.lists(st.integers(1, 10**6), min_size=1, max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_when_every_refund_fails_the_books_are_as_before_any_was_asked_for(
    amount: int, plan: list[SplitLine], fee_kept: bool, own: bool, coupon_bp: int, amounts: list[int], order: Any
) -> None:
    shop = Shop(amount, 60, plan, fee_kept=fee_kept, coupon=amount * coupon_bp // 10_000, own=own)
    for part in amounts:
        shop.ask(1 + part % (amount // 5 + 1))
    if shop.shares:
        given_out = [share.amount_minor for share in shop.shares]
    while shop.open:
        shop.end(order.randrange(len(shop.open)), well=False)
        shop.assert_exact()
    assert shop.payment.refundable_minor == amount
    if shop.shares:
        assert [share.left_minor for share in shop.shares] == given_out
