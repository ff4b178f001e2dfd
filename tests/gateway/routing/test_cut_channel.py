"""Two hundred payments over two accounts whose lines are cut at random moments: nothing is lost, nothing paid twice.

The rails of this test keep books of their own, written apart from the hub's code. A cut line loses the message, loses
the answer, or refuses the connection. Processes die between a rail's answer and its commit. In the end the rails' books
and ours must tell the same story for every payment.
"""

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from channels.contract import Outcome, Pending, Refused, Unknown
from gateway.payments.attempts import NewAttempt
from gateway.store import attempts
from gateway.tables import Attempt
from kernel.db import acquire
from kernel.errors import SluiceError
from kernel.ids import parse_reference
from tests.gateway.front import CODE, Front, HandClock, a_front
from tests.support import confirmed

PAYMENTS = 200
AT_ONCE = 10
AMOUNT = 10_000
QR = {"type": "qr", "code": "weixin://pay"}


@dataclass
class Order:
    """What a rail has of one order."""

    minor: int
    paid: bool = False
    closed: bool = False
    refunds: dict[str, int] = field(default_factory=dict)  # by our number of the refund
    refused_refunds: set[str] = field(default_factory=set)


@dataclass
class World:
    """A rail with books of its own, at the end of a line that may be cut."""

    rng: random.Random
    clock: HandClock
    down: bool = False
    calm: bool = False  # it refuses no order any more
    orders: dict[str, Order] = field(default_factory=dict)
    on_its_way: list[Any] = field(default_factory=list)

    def __call__(self, op: str, asked: Any) -> Outcome:
        if self.down:
            how = self.rng.random()
            if how < 0.4:
                return Unknown("no connection", not_sent=True)
            if how < 0.7:
                self.do(op, asked)  # it arrives, and its answer does not
            elif op == "pay":
                self.on_its_way.append(asked)  # and may arrive when nobody thinks of it any more
            return Unknown("the line is dead")
        return self.do(op, asked)

    def do(self, op: str, asked: Any) -> Outcome:
        outcome: Outcome = getattr(self, op)(asked)
        return outcome

    def pay(self, asked: Any) -> Outcome:
        order = self.orders.get(asked.reference)
        if order is None:
            if not self.calm and self.rng.random() < 0.1:
                return Refused("SYSTEM_BUSY", retriable=True)
            if not self.calm and self.rng.random() < 0.05:
                return Refused("NOTENOUGH")
            order = self.orders[asked.reference] = Order(asked.amount.minor)
            if asked.auth_code is not None and self.rng.random() < 0.7:
                order.paid = True
        return self.state(asked.reference, order)

    def query(self, asked: Any) -> Outcome:
        order = self.orders.get(asked.reference)
        if order is None:
            return Unknown("no such order", not_found=True)
        found = self.state(asked.reference, order)
        return Pending() if isinstance(found, Pending) else found

    def state(self, reference: str, order: Order) -> Outcome:
        if order.paid:
            return confirmed(reference, order.minor, self.clock.now())
        return Refused("CLOSED", closed=True) if order.closed else Pending(QR)

    def close(self, asked: Any) -> Outcome:
        order = self.orders.get(asked.reference)
        if order is None:
            return Unknown("no such order", not_found=True)
        if order.paid:
            return Unknown("it is paid")
        order.closed = True
        return Refused("CLOSED", closed=True)

    reverse = close

    def refund(self, asked: Any) -> Outcome:
        order = self.orders[asked.payment_reference]
        assert order.paid, "a refund of what was never paid"
        if asked.reference not in order.refunds:
            if asked.reference in order.refused_refunds or self.rng.random() < 0.2:
                order.refused_refunds.add(asked.reference)
                return Refused("NOT_ENOUGH")
            order.refunds[asked.reference] = asked.amount.minor
            assert sum(order.refunds.values()) <= order.minor, "more given back than was paid"
        return confirmed(asked.reference, asked.amount.minor, self.clock.now())

    def refund_query(self, asked: Any) -> Outcome:
        order = self.orders[asked.payment_reference]
        if asked.reference in order.refused_refunds:
            return Refused("NOT_ENOUGH")
        if asked.reference not in order.refunds:
            return Unknown("no such refund", not_found=True)
        return confirmed(asked.reference, asked.amount.minor, self.clock.now())

    def waiting(self) -> list[str]:
        """Return the orders that can be paid."""
        return [reference for reference, order in self.orders.items() if not order.paid and not order.closed]

    def arrives_late(self) -> None:
        """Deliver a message that was lost for a while."""
        if self.on_its_way:
            self.pay(self.on_its_way.pop(0))


class Day:
    """A day of payments and accidents."""

    def __init__(self, front: Front, seed: int) -> None:
        self.front = front
        self.rng = random.Random(seed)
        self.worlds = {"rail": World(self.rng, front.clock), "second": World(self.rng, front.clock)}
        for account, world in self.worlds.items():
            front.shop.rails[account].script = world
        self.keys: dict[str, int] = {}
        self._record = front.hub.payments._recording.record
        front.hub.payments._recording.record = self.mortal  # type: ignore[method-assign]
        self.deaths = self.cuts = 0
        self.immortal = False

    async def mortal(self, *facts: Any, **more: Any) -> Any:
        """Record what a channel said, or die before."""
        if not self.immortal and self.rng.random() < 0.03:
            self.deaths += 1
            raise RuntimeError("kill -9")
        return await self._record(*facts, **more)

    async def play(self) -> None:
        for first in range(0, PAYMENTS, AT_ONCE):
            await asyncio.gather(*(self.customer(n) for n in range(first, first + AT_ONCE)))
            for _ in range(6):
                await self.accident()
        self.immortal = True
        for account, world in self.worlds.items():
            world.down, world.calm = False, True
            while world.on_its_way:
                world.arrives_late()
            for reference in [reference for reference, order in world.orders.items() if order.paid]:
                await self.notice(account, reference)  # rails repeat themselves until they are heard
        await self.pays_twice()
        for _ in range(60):  # nobody pays any more; everything open is decided
            await self.front.later(1_000)
            await self.refunds_again()

    async def customer(self, n: int) -> None:
        """Buy something, in one of three ways; where there is no answer, ask again with the same key."""
        kind = self.rng.choice(["qr", "barcode", "cashier"])
        method: dict[str, str] = {"type": kind} | ({"auth_code": CODE} if kind == "barcode" else {})
        for _ in range(2):
            answer = await self.front.pay(f"order-{n}", AMOUNT, key=f"of-order-{n}", method=method, expires_in=600)
            if answer.status < 500:
                break
        if kind == "cashier" and answer.status == 201:
            for payer in self.rng.choices(["anna", "bob"], k=self.rng.randint(1, 3)):
                new = NewAttempt("jsapi", f'{{"payer":"{payer}"}}')
                channel = self.rng.choice(["scripted", "other", "auto"])
                with contextlib.suppress(SluiceError, RuntimeError):  # the payer shrugs
                    await self.front.hub.payments.attempt(self.front.book, answer.body["id"], new, channel=channel)

    async def pays_twice(self) -> None:
        """One more buys in two wallets at once. Others have by chance, as a rule, and not in every order of events."""
        answer = await self.front.pay("order-twice", AMOUNT, method={"type": "cashier"}, expires_in=600)
        for payer, channel in (("anna", "scripted"), ("bob", "other")):
            new = NewAttempt("jsapi", f'{{"payer":"{payer}"}}')
            await self.front.hub.payments.attempt(self.front.book, answer.body["id"], new, channel=channel)
        for number, (account, world) in enumerate(self.worlds.items(), 1):
            reference = (await self.front.attempt(answer.body["id"], number)).reference
            world.orders[reference].paid = True
            await self.notice(account, reference)

    async def accident(self) -> None:
        what = self.rng.random()
        world_name = self.rng.choice(list(self.worlds))
        world = self.worlds[world_name]
        if what < 0.25:
            world.down = not world.down
            self.cuts += world.down
        elif what < 0.5:
            await self.payer()
        elif what < 0.6:
            world.arrives_late()
        elif what < 0.9:
            await self.janitor(self.rng.choice([1, 6, 31, 61]))
        else:
            paid = (await self.front.get("/v1/payments?status=succeeded&limit=100")).body["data"]
            if paid:
                await self.front.refund(self.rng.choice(paid)["id"], self.rng.choice([None, 1_234, AMOUNT]))

    async def payer(self) -> None:
        """Have somebody pay in every wallet with an order for it; the rails may tell of it, once or twice."""
        waiting = [reference for world in self.worlds.values() for reference in world.waiting()]
        if not waiting:
            return
        payment = self.rng.choice(waiting)[:-1]
        for account, world in self.worlds.items():
            for reference in world.waiting():
                if reference[:-1] == payment:
                    world.orders[reference].paid = True
                    for _ in range(self.rng.choice([0, 1, 2])):
                        await self.notice(account, reference)

    async def notice(self, account: str, reference: str) -> None:
        rail = self.front.shop.rails[account].name
        await self.front.notice(reference, AMOUNT, account=account, rail=rail)

    async def janitor(self, seconds: float) -> None:
        self.front.clock.forward(seconds)
        with contextlib.suppress(ExceptionGroup):  # it dies, and another is started
            await self.front.hub.janitor().once()

    async def refunds_again(self) -> None:
        """Somebody sees to the refunds that failed and that nobody but the hub asked for."""
        async with acquire(self.front.hub.pool) as connection:
            rows = await connection.fetch(
                "SELECT id FROM refund WHERE book = $1 AND status = 'failed' AND reason <> 'requested'", self.front.book
            )
        for row in rows:
            answer = await self.front.post(f"/v1/refunds/{row['id']}/retry", key=self.front.new_key())
            assert answer.status == 200, answer


async def every_attempt(front: Front) -> dict[str, list[Attempt]]:
    async with acquire(front.hub.pool) as connection:
        rows = await connection.fetch("SELECT id FROM payment WHERE book = $1 ORDER BY id", front.book)
        return {row["id"]: await attempts(connection, front.book, row["id"]) for row in rows}


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_nothing_is_lost_or_paid_twice_however_the_lines_are_cut(
    database_url: str, tmp_path: Path, seed: int
) -> None:
    async with a_front(database_url, tmp_path, accounts={"second": "other"}) as front:
        day = Day(front, seed)
        await day.play()
        tries = await every_attempt(front)
        assert len(tries) == PAYMENTS + 1
        kept = dict.fromkeys(day.worlds, 0)
        statuses: dict[str, int] = {}
        for payment_id, its_attempts in tries.items():
            payment = await front.stored(payment_id)
            at_rails = 0
            for attempt in its_attempts:
                statuses[attempt.status] = statuses.get(attempt.status, 0) + 1
                order = day.worlds[attempt.channel_account].orders.get(attempt.reference)
                paid = order.minor if order is not None and order.paid else 0
                assert attempt.captured_minor == paid, f"{attempt.reference} is {attempt.status}"
                if order is not None:
                    left = paid - sum(order.refunds.values())
                    at_rails += left
                    kept[attempt.channel_account] += left
            wanted = payment.captured_minor - payment.refunded_minor if payment.status == "succeeded" else 0
            assert at_rails == wanted, f"{payment_id} is {payment.status}, the rails kept {at_rails} of it"
            assert payment.status in ("succeeded", "failed", "expired", "canceled"), "everything has ended"
        known = {parse_reference(reference, "pay") for world in day.worlds.values() for reference in world.orders}
        assert {ident for _, ident in filter(None, known)} <= {
            f"{payment_id}_{attempt.number}" for payment_id, its in tries.items() for attempt in its
        }, "no rail has an order that we do not know"
        balances = await front.balances()
        for account, minor in kept.items():
            booked = balances.get(f"channel:{account}:CNY", (0, 0))[0]
            assert booked == minor - await fee_kept(front, account), f"{account}'s own books say {minor}"

        # Without these the test would say nothing.
        assert day.cuts > 5
        assert day.deaths > 5
        assert {"confirmed", "failed_over", "overpaid", "closed", "refused"} <= set(statuses), statuses


async def fee_kept(front: Front, account: str) -> int:
    """Return what the channel account keeps in fees, by our journal."""
    async with acquire(front.hub.pool) as connection:
        name = f"channel:{account}:CNY"
        found: int = await connection.fetchval(
            "SELECT coalesce(sum(CASE WHEN rule = 'channel_fee_returned' THEN -amount_minor ELSE amount_minor END), 0) "
            "::bigint FROM transfer WHERE rule LIKE 'channel_fee%' AND (debit = $1 OR credit = $1)",
            name,
        )
    return found
