"""What the plays of the contract suite are played with, and which rails play which.

A play says what it needs of a rail (`@plays`); the rail's own Capabilities, and where they are silent its counterparty,
say whether it has that. Nothing is skipped: a play a rail has no part in is not made for it at all, and
test_contract_is_played.py asserts that all others are.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import product
from typing import Any, TypeVar

import aiohttp

from channels import (
    CHANNELS,
    BadNotice,
    Capabilities,
    Channel,
    ChannelClient,
    Confirmed,
    Kind,
    Method,
    Notice,
    Order,
    Outcome,
    Pending,
    RefundOrder,
    Refused,
    Unknown,
    capabilities_of,
)
from channels.registry import class_of
from kernel.clock import business_date
from kernel.env import Clock, Env, Request, Response
from kernel.money import Money
from tests.contract.counterparties import COUNTERPARTIES, SHOWN, Counterparty, Inbox, Payer, inbox

AT_ONCE = frozenset({Method.BARCODE, Method.CARD})  # the payer has agreed before we call
BEST_FIRST = (
    Method.QR,
    Method.JSAPI,
    Method.CARD,
    Method.PAGE,
    Method.TRANSFER,
    Method.H5,
    Method.APP,
    Method.BARCODE,
)
# What can go wrong with a call, by the sandbox's names. After these nothing was done; after all others it was.
NOTHING_DONE = ("request_lost", "system_error", "frequency_limited", "down")
DONE = ("answer_lost", "system_error_after")
# Words that no rail has for a state: one of our own, one near to what many say, and none.
UNHEARD_OF = ("UNHEARD_OF", "successfully", "")
NOTICE_FAULTS = ("notice_forged", "notice_unsigned")


@dataclass(frozen=True)
class RailFacts:
    """What a rail can do, known before anything runs."""

    name: str
    capabilities: Capabilities
    other: type[Counterparty]
    tells_disputes: bool  # see powers.TellsDisputes

    @property
    def methods(self) -> frozenset[Method]:
        return self.capabilities.methods

    @property
    def called(self) -> list[Method]:
        """The methods that begin with a call; the others begin in the payer's own browser or app."""
        return sorted(self.methods - self.capabilities.payer_initiated)

    @property
    def shown(self) -> list[Method]:
        """The methods that show the payer something to act upon."""
        return sorted(self.methods & SHOWN)

    @property
    def at_once(self) -> list[Method]:
        return sorted(self.methods & AT_ONCE)

    @property
    def main(self) -> Method:
        """The method of plays in which any will do."""
        return next(method for method in BEST_FIRST if method in self.methods)

    @property
    def holds(self) -> list[Method]:
        return sorted(self.capabilities.authorizes)

    @property
    def closes(self) -> list[Method]:
        """The methods whose unpaid orders the rail closes when asked."""
        able = self.capabilities.closes and not self.capabilities.expires_only
        return sorted(self.methods & self.other.CLOSES) if able else []

    @property
    def known_after_payer(self) -> frozenset[Method]:
        """The methods whose orders the rail knows only once the payer has come."""
        return self.methods & (self.capabilities.known_after_payer | self.capabilities.payer_initiated)

    @property
    def two_calls(self) -> list[Method]:
        return sorted(self.methods & self.other.TWO_CALLS)

    @property
    def faults(self) -> list[str]:
        signed = ["unsigned_answer", "bad_signature"] if self.capabilities.signs_answers else []
        return [*NOTHING_DONE, *DONE, *signed, *(["sigtest"] if self.other.PROBES else [])]

    @property
    def notice_faults(self) -> list[str]:
        return [*NOTICE_FAULTS, *(["notice_sigtest"] if self.other.PROBES else [])]


# What no rail may stumble over: as long as the hub takes it, three bytes a character, and marks that part things there.
WORDS = "茶叶, `Tea`\n\\/=&+" + "茶" * 112


def facts(name: str) -> RailFacts:
    """Return what is known of a rail by its class: what `build` says that it returns, and its counterparty."""
    tells_disputes = hasattr(class_of(CHANNELS[name]), "dispute_request")
    return RailFacts(name, capabilities_of(CHANNELS[name]), COUNTERPARTIES[name], tells_disputes)


Played = dict[str, set[str]]  # by the test's name, the ids of the plays made of it
Values = Callable[[RailFacts], Iterable[Any]]
Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True)
class Rule:
    """Which rails play a play, and with which values."""

    when: Callable[[RailFacts], bool]
    values: Mapping[str, Values]
    alone: bool

    def cases(self, rail: RailFacts) -> Iterator[tuple[Any, ...]]:
        if self.when(rail):
            yield from product(*(list(values(rail)) for values in self.values.values()))


def plays(
    *, when: Callable[[RailFacts], bool] = lambda rail: True, alone: bool = False, **values: Values
) -> Callable[[Test], Test]:
    """Make a test a play of every rail for which `when` holds, once for each combination of `values`.

    alone: with an account that no other play has used; notices, bills and changes of keys need that.
    """

    def mark(test: Test) -> Test:
        test.__dict__["rule"] = Rule(when, values, alone)
        return test

    return mark


def play_id(name: str, values: Iterable[object]) -> str:
    """Return how a play is called: the rail, then its values."""
    return "-".join([name, *map(str, values)])


@dataclass
class Play:
    """One channel, its client, its counterparty, and the merchant's notice address."""

    rail: RailFacts
    client: ChannelClient
    other: Counterparty
    env: Env
    box: Inbox

    # ---- what is asked for -------------------------------------------------------------------------------------------

    def order(
        self,
        method: Method | None = None,
        *,
        minor: int = 1234,
        currency: str | None = None,
        payer: Payer = Payer.PAYS,
        hold: bool = False,
        reference: str | None = None,
    ) -> Order:
        method = method or self.rail.main
        page = method in (Method.PAGE, Method.H5, Method.CARD)
        return Order(
            reference=reference or f"1-{self.env.ids.body()}0",
            amount=Money(minor, currency or self.currency),
            method=method,
            description=WORDS,
            notify_url=self.box.url,
            expires_at=self.env.now() + timedelta(hours=1),
            created_at=self.env.now(),
            auth_code=self.other.auth_code(payer) if method is Method.BARCODE else None,
            store="till-7" if method is Method.BARCODE else None,
            payer=self.other.payer() if method is Method.JSAPI else None,
            token=self.other.token(payer) if method is Method.CARD else None,
            client_ip="203.0.113.7" if method is Method.H5 else None,
            return_url=self.box.url.replace("/notices", "/back") if page else None,
            authorize_only=hold,
        )

    @property
    def currency(self) -> str:
        currencies = self.rail.capabilities.currencies
        return "CNY" if "CNY" in currencies else min(currencies)

    def refund(self, order: Order, minor: int) -> RefundOrder:
        return RefundOrder(
            reference=f"1-{self.env.ids.body()}",
            payment_reference=order.reference,
            payment_amount=order.amount,
            amount=Money(minor, order.amount.currency),
            reason="不合适，" * 20,  # as long as the hub takes it
            notify_url=self.box.url,
            created_at=self.env.now(),
            payment_created_at=order.created_at,
            payment_channel_ref=order.channel_ref,
        )

    # ---- as the hub does it ------------------------------------------------------------------------------------------

    async def carried(self, order: Order, outcome: Outcome) -> tuple[Order, Outcome]:
        """Keep the rail's number, and make its second call when it waits for one."""
        for _ in range(3):
            if isinstance(outcome, Pending | Confirmed) and outcome.channel_ref:
                order = replace(order, channel_ref=outcome.channel_ref)
            if not (isinstance(outcome, Pending) and outcome.proceed):
                return order, outcome
            outcome = await self.client.proceed(order)
        raise AssertionError(f"the second call was made three times and led to {outcome}")

    async def begun(self, order: Order) -> Order:
        """Place an order, up to where its payer has something to do; the payer has come and not paid."""
        outcome = await self.client.pay(order)
        assert isinstance(outcome, Pending), outcome
        if outcome.channel_ref:
            order = replace(order, channel_ref=outcome.channel_ref)
        if order.method in self.rail.known_after_payer:
            await self.other.come(order, outcome)
        return order

    async def agreed(self, order: Order) -> tuple[Order, Outcome]:
        """Place an order and have its payer agree; return what the hub knows then."""
        outcome: Outcome
        if order.method in SHOWN:
            order = await self.begun(order)
            await self.other.pay(order.reference)
            order, outcome = await self.carried(order, await self.client.query(order))
        else:
            order, outcome = await self.carried(order, await self.client.pay(order))
        return order, outcome

    async def paid(self, method: Method | None = None, *, minor: int = 1234, currency: str | None = None) -> Order:
        order, outcome = await self.agreed(self.order(method, minor=minor, currency=currency))
        assert isinstance(outcome, Confirmed), outcome
        assert outcome.amount == order.amount
        return order

    async def held(self, method: Method, *, minor: int = 1234) -> Order:
        order, outcome = await self.agreed(self.order(method, minor=minor, hold=True))
        assert isinstance(outcome, Pending), outcome
        assert outcome.authorized == order.amount
        return order

    async def sent_back(self, refund: RefundOrder) -> tuple[RefundOrder, Outcome]:
        """Ask for a refund, keeping the rail's number."""
        outcome = await self.client.refund(refund)
        if isinstance(outcome, Pending | Confirmed) and outcome.channel_ref:
            refund = replace(refund, channel_ref=outcome.channel_ref)
        return refund, outcome

    async def refunded(self, refund: RefundOrder) -> Confirmed:
        """Query until the refund is done; a refund takes the channel a moment."""
        for _ in range(5_000):
            outcome = await self.client.refund_query(refund)
            if isinstance(outcome, Confirmed):
                return outcome
            assert isinstance(outcome, Pending), outcome
            await self.env.sleep(0.01)
        raise AssertionError("the refund was never done")

    # ---- answers, before anybody has read them -----------------------------------------------------------------------

    async def answer(self, op: str, asked: Any) -> Response:
        """Ask, and return what was answered: the rail's own bytes. op: as in `reads`."""
        return await self.answered(op, getattr(self.client.channel, f"{op}_request")(asked))

    async def answered(self, op: str, request: Request) -> Response:
        """Send a request and return what was answered."""
        answers: list[Response] = []

        def keep(asked: Request, answer: Response, /, *, now: datetime) -> Outcome:
            answers.append(answer)
            return Unknown("kept")

        outcome = await self.client.exchange(op, request, lambda asked: asked, keep)
        assert answers, outcome
        return answers[-1]

    def reads(self, op: str, asked: Any, answer: Response) -> Outcome:
        """Return what the channel makes of an answer to this question, whatever it answers.

        op: pay query close reverse proceed void refund refund_query.
        """
        outcome: Outcome = getattr(self.client.channel, f"{op}_outcome")(asked, answer, now=self.env.now())
        return outcome

    # ---- notices and days --------------------------------------------------------------------------------------------

    async def read(self, message: Response) -> Notice | None:
        """Read a message as the hub's door does: with new keys where it is signed by one we do not know."""
        try:
            return self.client.channel.notice(message, now=self.env.now())
        except BadNotice as doubt:
            if doubt.code != "unknown_key" or not await self.client.refresh_keys(message):
                raise
        return self.client.channel.notice(message, now=self.env.now())

    async def notice(self, kind: Kind = Kind.PAYMENT) -> tuple[Notice, Response]:
        """Return the next notice that says that money moved, and the message it came in. Raises BadNotice."""
        while True:
            message = await self.box.next()
            notice = await self.read(message)
            if notice is not None and notice.kind is kind and isinstance(notice.outcome, Confirmed):
                return notice, message

    def today(self) -> date:
        return business_date(self.env.now())


@asynccontextmanager
async def a_play(
    name: str,
    base_url: str,
    env: Env,
    http: aiohttp.ClientSession,
    accounts: dict[str, tuple[Counterparty, Channel]],
    *,
    alone: bool,
) -> AsyncIterator[Play]:
    """Set a play up: with the rail's account among `accounts`, kept there once opened; or, alone, with a new one."""
    async with inbox() as box:
        if alone or name not in accounts:
            other = COUNTERPARTIES[name](base_url, http)
            await other.open_account()
            if alone and not facts(name).capabilities.per_order_notices:
                await other.register_notices(box.url)  # a shared account would be told at an address that is gone
            channel = CHANNELS[name](other.settings())
            if not alone:
                accounts[name] = other, channel
        else:
            other, channel = accounts[name]
        box.refused = other.TELLS_PAID
        box.accept, box.refuse = channel.notice_accepted(), channel.notice_refused("later", again=True)
        yield Play(facts(name), ChannelClient(channel, env), other, env, box)


def closed(outcome: Outcome) -> bool:
    """Tell whether an outcome says that the order is closed."""
    return isinstance(outcome, Refused) and outcome.closed


def not_found(outcome: Outcome) -> bool:
    """Tell whether an outcome says that the channel knows no such number."""
    return isinstance(outcome, Unknown) and outcome.not_found


@dataclass(frozen=True)
class WrongClock:
    """A clock that is off by so much."""

    right: Clock
    by: timedelta

    def now(self) -> datetime:
        return self.right.now() + self.by

    def monotonic(self) -> float:
        return self.right.monotonic()


def skewed(env: Env, by: timedelta) -> Env:
    """Return the same world seen by somebody whose clock is wrong."""
    return replace(env, clock=WrongClock(env.clock, by))
