"""Whatever a rail answers, and whenever refunds come, each share is paid once, by rail or by bank."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import cases
from channels.client import ChannelClient
from channels.contract import Confirmed, Outcome, Pending, Refused, Unknown
from channels.sharing import ReceiverKind, Shared, ShareOrder, ShareReturn
from kernel.env import system_env
from kernel.lane import Lanes
from kernel.money import Money
from kernel.work import BOOKS, Work
from ledger import Post, Transfer, accounts
from splitting.objects import shares_of
from splitting.plans.asked import Part
from splitting.rails.orders import frozen_at_rail
from splitting.rails.own_release import RecordLeft, ask_from
from splitting.rails.parts import parts_of
from splitting.rails.receivers import RecordReceiver, SetReceiver
from splitting.rails.record import ARRIVED_AFTER
from splitting.rails.store import DueReturn
from splitting.rails.worker import RailWorker
from splitting.shares import sharing
from splitting.shares.giving_back import take_back_for_refund
from splitting.shares.release import ConfirmDelivery
from splitting.tables import (
    RAIL_PAYMENTS,
    SHARE_ORDERS,
    SHARE_RETURNS,
    RailPayment,
    RailReceiver,
)
from splitting.tables import ShareOrder as OrderRow
from tests.splitting.in_memory import BOOK, DAY, Book
from tests.support import HereTransport, ScriptedChannel

FARM, CLERK, HUB, MILL = ("pye_" + str(n) * 26 for n in (1, 2, 3, 4))
RECEIVERS = {FARM: ("merchant", "190001"), CLERK: ("person", "oClerk"), HUB: ("merchant", "190003")}
# What the rails call: more than is left, too often or not at all, and not admitted.
WORDS = {
    "wechat": {"NOT_ENOUGH": "NOT_ENOUGH", "RULE_LIMIT": "RULE_LIMIT", "NO_AUTH": "NO_AUTH"},
    "alipay": {
        "NOT_ENOUGH": "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR", "RULE_LIMIT": "ACQ.TRADE_STATUS_ERROR",
        "NO_AUTH": "ACQ.PRODUCT_UNSIGN",
    },
}  # fmt: skip
GROSS, FEE = 10_000, 60
HALF_LATER = [{"basis_points": 5_000}, {"basis_points": 5_000, "when": "delivery", "days": 9}]
LINES: list[dict[str, Any]] = [
    {"name": "farm", "payee": FARM, "basis_points": 1_500, "travels": "rail", "release": HALF_LATER},
    {"name": "clerk", "payee": CLERK, "basis_points": 500, "travels": "rail"},
    {"name": "hub", "payee": HUB, "basis_points": 60, "travels": "rail"},
    {"name": "mill", "payee": MILL, "basis_points": 3_000},
]
DOCUMENT = orjson.dumps({"version": 1, "base": "paid", "lines": LINES}).decode()


@dataclass(frozen=True)
class Does:
    """A command that is a function of the work."""

    act: Any
    book: int = BOOK

    def needs(self, work: Work) -> Any:
        yield BOOKS, (BOOK,)

    def apply(self, work: Work) -> Any:
        return self.act(work)


@dataclass
class PlayRail:
    """A rail that does what it is told, once a number, unless the next fate says otherwise; it knows whom it paid.

    It may say for a while that it knows nothing of what it has carried out, as the hub takes a rail to do
    (ARRIVED_AFTER), and no longer.
    """

    fates: list[str]
    now: Any
    name: str = "wechat"
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    since: dict[str, datetime] = field(default_factory=dict)
    returns: dict[str, int] = field(default_factory=dict)
    left: int = 0  # what it says is frozen
    paid: Counter[str] = field(default_factory=Counter)  # account → minor units, less what was fetched back

    def fate(self) -> str:
        return self.fates.pop(0) if self.fates else "well"

    def __call__(self, op: str, order: Any) -> Any:
        fate = self.fate()
        if fate == "request_lost":
            return Unknown("no answer")
        answer = getattr(self, op)(order, fate)
        return Unknown("no answer") if fate == "answer_lost" else answer

    def share(self, order: ShareOrder, fate: str) -> Outcome | Shared:
        if fate in ("NOT_ENOUGH", "RULE_LIMIT"):  # also of a number that it has carried out
            return Refused(WORDS[self.name][fate])
        if fate == "NO_AUTH":
            return Refused(WORDS[self.name][fate], retriable=True)
        if order.reference not in self.orders:
            ends = {one.receiver.account: "open" for one in order.shares}
            assert len(ends) == len(order.shares), "each receiver once"
            self.orders[order.reference] = ends
            self.since[order.reference] = self.now()
        return self.told(order, fate)

    def share_query(self, order: ShareOrder, fate: str) -> Outcome | Shared:
        if order.reference not in self.orders:
            return Unknown("no such order", not_found=True)
        since = self.since.get(order.reference)
        if fate == "unknown_yet" and since is not None and self.now() - since < ARRIVED_AFTER:
            return Unknown("no such order", not_found=True)
        return self.told(order, fate)

    def told(self, order: ShareOrder, fate: str) -> Shared:
        ends = self.orders[order.reference]
        shares: list[Outcome] = []
        for n, one in enumerate(order.shares):
            account = one.receiver.account
            if ends[account] == "open" and fate != "pending" and not (fate == "half" and n % 2):
                ends[account] = "closed" if fate == "closed" else "paid"
                self.paid[account] += one.amount.minor if ends[account] == "paid" else 0
            shares.append(
                {
                    "open": Pending(),
                    "paid": Confirmed("d", one.amount, self.now()),
                    "closed": Refused("ACCOUNT_ABNORMAL"),
                }[ends[account]]
            )
        is_open = any(isinstance(one, Pending) for one in shares)
        whole: Outcome = Pending() if is_open else Confirmed("o", Money(0, "CNY"), self.now())
        return Shared(whole, tuple(shares))

    def release(self, order: ShareOrder, fate: str) -> Outcome | Shared:
        if fate == "RULE_LIMIT" and self.name == "alipay":  # of a payment that was refunded whole
            return Refused(WORDS[self.name][fate])
        self.orders.setdefault(order.reference, {})
        return Confirmed("o", Money(0, "CNY"), self.now())

    def frozen(self, order: ShareOrder, fate: str) -> Outcome:
        return Confirmed("p", Money(self.left, "CNY"), self.now())

    def give_back(self, order: ShareReturn, fate: str) -> Outcome:
        if order.reference not in self.returns:
            if fate == "closed" and self.name == "alipay":  # also of one that has just closed the payment
                return Unknown("closed", refusal=Refused("ACQ.TRADE_HAS_CLOSE"))
            if fate in ("NOT_ENOUGH", "RULE_LIMIT"):
                return Refused(WORDS[self.name][fate], retriable=fate == "NOT_ENOUGH" and self.name == "wechat")
            assert order.receiver.kind is ReceiverKind.MERCHANT
            self.returns[order.reference] = order.amount.minor
            self.paid[order.receiver.account] -= order.amount.minor
            assert self.paid[order.receiver.account] >= 0, "more fetched back than was paid"
        return Pending() if fate == "pending" else Confirmed("r", order.amount, self.now())

    def give_back_query(self, order: ShareReturn, fate: str) -> Outcome:
        if order.reference not in self.returns:
            return Unknown("no such return", not_found=True)
        return Confirmed("r", order.amount, self.now())


class PlayChannel(ScriptedChannel):
    """The scripted channel, whose rail says of each share by itself."""

    def share_outcome(self, order: ShareOrder, answer: Any, *, now: datetime) -> Shared:
        return as_shared(self.script("share", order))

    def share_query_outcome(self, order: ShareOrder, answer: Any, *, now: datetime) -> Shared:
        return as_shared(self.script("share_query", order))


def as_shared(said: Any) -> Shared:
    return said if isinstance(said, Shared) else Shared(said)


class Market:
    """A book in memory with one payment that a rail shares out."""

    def __init__(self, fates: list[str], book: Book | None = None, rail: str = "wechat") -> None:
        self.book = book or Book()
        self.rail = PlayRail(fates, lambda: self.book.now, rail)
        env = system_env(HereTransport())
        env.executor = None
        self.rail_client = ChannelClient(PlayChannel(self.rail), env)
        lanes = cast(Lanes, self)
        self.worker = RailWorker(self, cast(Any, None), lanes, env, time_scale=0)
        self.refunds = 0
        for payee in (FARM, CLERK, MILL):
            self.book.payee(payee, bank="b")
        self.book.payee(HUB, kind="platform", bank="b")
        now = self.book.now
        for payee, (kind, account) in RECEIVERS.items():
            row = RailReceiver(
                BOOK, payee, "rail", rail, kind, account, "", "", "registering", None, None, 0, now, "ada", now, now
            )
            told = self.book.do(SetReceiver(row))
            self.book.do(RecordReceiver(told, Confirmed("", Money(0, "CNY"), now), 0))

    async def client(self, book: int, account_id: str) -> ChannelClient:
        return self.rail_client

    async def put(self, command: Any) -> Any:
        return self.book.do(command)

    def sell_late(self) -> None:
        """Sell, and share it out once the rail has released it by itself."""
        self.sell(released=True)

    def sell(self, *, released: bool = False) -> None:
        channel, merchant = accounts.channel("rail", "CNY"), accounts.merchant("CNY")
        self.book.do(
            Post(
                BOOK,
                "captured",
                [
                    Transfer("c", "payment_captured", channel, merchant, GROSS, "CNY"),
                    Transfer("f", "channel_fee", merchant, channel, FEE, "CNY"),
                ],
                DAY,
            )
        )
        paid = RailPayment(
            BOOK, "pay_1:1", "pay_1", "rail", self.rail.name, "1-1", "ch", "CNY", GROSS - FEE, DAY, self.book.now, None,
            ask_at=ask_from(self.rail.name, self.book.now),
        )  # fmt: skip
        if released:
            paid = paid._replace(released_on=DAY, is_last=True, ask_at=None)

        def sold(work: Work) -> None:
            sharing.plan(work, BOOK, "pay_1", GROSS, FEE, "CNY", [Part(document=DOCUMENT)])
            frozen_at_rail(work, paid, is_the_payments=True)
            sharing.share_out(work, BOOK, sharing.Paid("pay_1", DAY, GROSS, FEE))

        self.book.do(Does(sold))

    def deliver(self) -> None:
        self.book.do(ConfirmDelivery(BOOK, "pay_1"))

    def refund(self, minor: int) -> None:
        self.refunds += 1
        self.book.do(Does(lambda work: take_back_for_refund(work, BOOK, "pay_1", f"re_{self.refunds}", minor, DAY)))

    async def step(self) -> int:
        """Let time pass, and have the worker see to everything that is open."""
        self.book.now += ARRIVED_AFTER / 3
        orders: list[OrderRow] = [row for row in self.book._rows.get(SHARE_ORDERS, {}).values() if row.due_at]
        for row in orders:
            await self.worker._share(row)
        returns = [row for row in self.book._rows.get(SHARE_RETURNS, {}).values() if row.due_at]
        for back in returns:
            await self.worker._fetch(DueReturn(back, "rail"))
        return len(orders) + len(returns)

    def assert_each_share_is_paid_once(self, taken: dict[str, int], given: dict[str, int]) -> None:
        for payee, (_, account) in RECEIVERS.items():
            name = accounts.platform_fee("CNY") if payee == HUB else accounts.payee(payee, "CNY")
            by_bank = self.book.balances.get(name, 0)  # owed, which a bank pays; below nothing, what it owes
            assert by_bank + self.rail.paid[account] == given[payee] - taken[payee], payee
        self.book.assert_it_adds_up()


EVERY_FATE = (
    *("well", "request_lost", "answer_lost", "pending", "half", "closed", "unknown_yet"),
    *("NOT_ENOUGH", "RULE_LIMIT", "NO_AUTH"),
)
FATES = st.sampled_from(EVERY_FATE)
STEPS = st.lists(
    st.one_of(st.just("work"), st.just("deliver"), st.integers(1, 9_940)),
    max_size=8,
)


@example(fates=["answer_lost", "unknown_yet"], steps=["work"], rail="wechat")  # a new number would pay twice
@example(
    fates=["answer_lost", "unknown_yet", "NOT_ENOUGH"], steps=["work"], rail="wechat"
)  # so would taking this no for the first
@example(fates=["answer_lost", "unknown_yet", "NOT_ENOUGH", "unknown_yet"], steps=["work", "work"], rail="wechat")
@example(fates=["pending"], steps=["work", 9_940], rail="wechat")
@settings(suppress_health_check=[HealthCheck.too_slow])
@example(fates=["well", "closed", "closed"], steps=["work", 9_940], rail="alipay")
@example(fates=["well", "request_lost", "NOT_ENOUGH"], steps=["work", 9_940], rail="alipay")  # asked for ever, else
@given(fates=st.lists(FATES, max_size=12), steps=STEPS, rail=st.sampled_from(sorted(WORDS)))
def test_each_share_is_paid_once_whatever_the_rail_answers(fates: list[str], steps: list[Any], rail: str) -> None:
    asyncio.run(_lived(fates, steps, rail))


async def _lived(fates: list[str], steps: list[Any], rail: str) -> None:
    market = Market(list(fates), rail=rail)
    market.sell()
    left = GROSS - FEE
    for step in steps:
        if step == "work":
            await market.step()
        elif step == "deliver":
            market.deliver()
        elif left:
            minor = min(step, left)
            left -= minor
            market.refund(minor)
        market.book.assert_it_adds_up()
    market.deliver()
    for _ in range(60):
        if not await market.step():
            break
    else:
        raise AssertionError("it never ended")
    assert market.book.balances.get(accounts.rail_transit("rail", "CNY"), 0) == 0
    (paid,) = market.book._rows[RAIL_PAYMENTS].values()
    assert paid.returns_open == 0, "no refund waits for nothing"
    split = market.book.do(Does(lambda work: work.get(sharing.SPLITS, (BOOK, "pay_1"))))
    given = {one.payee_id: one.amount_minor for one in shares_of(split)}
    taken = {one.payee_id: one.taken_back_minor for one in shares_of(split)}
    market.assert_each_share_is_paid_once(taken, given)


async def test_a_no_that_follows_a_silence_ends_what_is_fetched_back() -> None:
    market = Market(["well"], rail="alipay")
    market.sell()
    market.deliver()
    for _ in range(3):
        await market.step()
    market.refund(9_940)
    market.rail.fates = ["request_lost", "request_lost", *["RULE_LIMIT"] * 50]
    for _ in range(20):
        if not await market.step():
            break
    else:
        raise AssertionError("it is asked for for ever")
    assert {row.status for row in market.book._rows[SHARE_RETURNS].values()} == {"refused"}
    assert {row.code for row in market.book._rows[SHARE_RETURNS].values()} == {"ACQ.TRADE_STATUS_ERROR"}


@pytest.mark.parametrize("words", [("paid", "closed"), ("closed", "paid")])
async def test_a_rail_that_takes_back_its_word_on_a_share_is_a_case_and_holds_no_other_share_up(
    words: tuple[str, str],
) -> None:
    market = Market(["pending"] * 9, rail="alipay")
    market.sell()
    await market.step()
    (ends,) = market.rail.orders.values()
    for word in (*words, words[1]):
        ends["190001"] = word
        await market.step()
    (case,) = market.book._rows[cases.CASES].values()
    assert (case.kind, case.amount_minor, case.opened_count) == ("channel_contradicts_itself", 750, 1)
    facts = orjson.loads(case.facts)
    assert (facts["payee"], facts["was"], facts["then"]) == (FARM, *words)
    market.rail.fates = []
    for _ in range(3):
        await market.step()
    (order,) = market.book._rows[SHARE_ORDERS].values()
    assert (order.status, [part.status for part in parts_of(order)]) == ("finished", [words[0], "paid", "paid"])
    owed = market.book.balances.get(accounts.payee(FARM, "CNY"), 0)
    assert owed == (0 if words[0] == "paid" else 750), "what was booked stays booked"
    market.book.assert_it_adds_up()


async def test_shares_of_a_payment_are_fetched_back_three_seconds_apart_at_alipay() -> None:
    market = Market([], rail="alipay")
    market.worker._scale = 1.0
    market.sell()
    for _ in range(3):
        await market.step()
    market.refund(9_940)
    now = market.book.now
    market.book.now += timedelta(seconds=100)
    waiting = list(market.book._rows[SHARE_RETURNS].values())
    assert len(waiting) == 2
    for back in waiting:
        await market.worker._fetch(DueReturn(back, "rail"))
    later = [row for row in market.book._rows[SHARE_RETURNS].values() if row.status == "waiting"]
    assert [(row.due_at - now).seconds for row in later if row.due_at] == [103]


def paid_of(market: Market) -> RailPayment:
    (paid,) = market.book._rows[RAIL_PAYMENTS].values()
    return paid


async def test_what_a_rail_released_by_itself_while_the_hub_was_away_goes_by_bank() -> None:
    market = Market([])
    market.sell()
    assert paid_of(market).ask_at is not None
    market.book.now += timedelta(days=40)
    market.rail.left = 7_000
    await market.worker._look(paid_of(market))
    assert paid_of(market).released_on is None, "it says that some is frozen"
    market.rail.left = 0
    await market.worker._look(paid_of(market))
    paid = paid_of(market)
    assert (paid.released_on, paid.is_last, paid.ask_at) == (DAY + timedelta(days=30), True, None)
    orders = market.book._rows[SHARE_ORDERS].values()
    assert [(row.status, row.code, row.due_at) for row in orders] == [("refused", "RELEASED_BY_RAIL", None)]
    market.deliver()
    assert await market.step() == 0, "and no order follows"
    split = market.book.do(Does(lambda work: work.get(sharing.SPLITS, (BOOK, "pay_1"))))
    given = {one.payee_id: one.amount_minor for one in shares_of(split)}
    market.assert_each_share_is_paid_once(dict.fromkeys(given, 0), given)
    assert not market.rail.paid, "all of it by bank"


async def test_what_is_at_the_rail_is_its_to_decide_also_after_it_released_the_rest() -> None:
    market = Market(["pending", "pending"])
    market.sell()
    await market.step()
    market.book.now += timedelta(days=40)
    market.book.do(RecordLeft(BOOK, "pay_1:1", None, 0))
    assert paid_of(market).released_on is None
    market.deliver()
    for _ in range(5):
        await market.step()
    assert paid_of(market).released_on == DAY + timedelta(days=30), "its own, not the day on which it was heard of"
    market.book.do(RecordLeft(BOOK, "pay_1:1", None, 0))
    assert paid_of(market).ask_at is None


async def test_of_a_rail_that_does_not_tell_its_rule_is_taken() -> None:
    market = Market([], rail="alipay")
    market.sell()
    market.book.now += timedelta(days=40)
    market.book.do(RecordLeft(BOOK, "pay_1:1", None, 0))
    assert paid_of(market).released_on == DAY + timedelta(days=30)
    assert {row.status for row in market.book._rows[SHARE_ORDERS].values()} == {"refused"}


def test_what_is_shared_out_after_the_rail_has_let_it_go_goes_by_bank() -> None:
    market = Market([])
    market.sell_late()
    split = market.book.do(Does(lambda work: work.get(sharing.SPLITS, (BOOK, "pay_1"))))
    assert {one.rail for one in shares_of(split) if one.payee_id in RECEIVERS} == {"no_rail"}
    assert not market.book._rows.get(SHARE_ORDERS)
