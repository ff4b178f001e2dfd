"""A merchant of the hub with an account on a rail: what plays of the hub's whole life are played with."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import orjson

import cases
from channels import Method, Pending
from gateway.accounts.terms import Terms
from gateway.claims import Claims
from gateway.payments.create import NewPayment
from gateway.store import find_attempt, find_payment, find_refund
from gateway.tables import Attempt, Payment, Refund
from kernel.db import acquire
from ops.verify import verify
from ops.wiring import Hub
from tests.contract.counterparties import SHOWN, Payer
from tests.contract.plays import Play

MINOR = 1234


@dataclass
class Till:
    """A merchant of the hub with an account on the play's rail."""

    play: Play
    hub: Hub
    book: int

    async def pay(
        self, method: Method, *, manual: bool = False, minor: int = MINOR, payer: Payer = Payer.PAYS
    ) -> Payment:
        """Ask for a payment and have its payer agree; one whose code is charged as `payer` takes it."""
        order = self.play.order(method, minor=minor, payer=payer)
        details = {
            name: value
            for name in ("payer", "token", "client_ip", "return_url")
            if (value := getattr(order, name)) is not None
        }
        new = NewPayment(
            order.reference, minor, order.amount.currency, method.value, "tea", None, [],
            timedelta(hours=1), orjson.dumps(details).decode() if details else None, manual,
        )  # fmt: skip
        claims = Claims((f"o:{order.reference}",), hashlib.sha256(order.reference.encode()).digest())
        payment, _ = await self.hub.payments.create(
            self.book, new, claims, channel=self.play.rail.name, auth_code=order.auth_code
        )
        if method in SHOWN:
            assert payment.status == "requires_action", await self.attempt(payment)
            if method in self.play.rail.known_after_payer:
                shown = Pending(orjson.loads(payment.next_action or "{}"))
                attempt = await self.attempt(payment)
                await self.play.other.come(self.hub.payments._orders.order(payment, attempt), shown)
            await self.play.other.pay((await self.attempt(payment)).reference)
        return payment

    async def attempt(self, payment: Payment) -> Attempt:
        async with acquire(self.hub.pool) as connection:
            found = await find_attempt(connection, self.book, payment.id, 1)
        assert found is not None
        return found

    async def payment(self, payment_id: str) -> Payment:
        async with acquire(self.hub.pool) as connection:
            found = await find_payment(connection, self.book, payment_id)
        assert found is not None
        return found

    async def refund(self, refund_id: str) -> Refund:
        async with acquire(self.hub.pool) as connection:
            found = await find_refund(connection, self.book, refund_id)
        assert found is not None
        return found

    async def until(self, status: str, look: Callable[[], Awaitable[Payment | Refund]]) -> None:
        """Let the janitor ask until this is so."""
        for _ in range(5_000):
            found = await look()
            if found.status == status:
                return
            await self.hub.janitor().once()
            await self.play.env.sleep(0.02)
        raise AssertionError(f"it never was {status}: {await look()}")

    async def give_back(self, payment: Payment, minor: int | None) -> Refund:
        claims = Claims((f"i:{payment.id}{minor}",), b"h" * 32)
        refund, _ = await self.hub.payments.refund(
            self.book, payment.id, claims, amount_minor=minor, reason="tea", merchant_refund_id=None
        )
        await self.until("succeeded", lambda: self.refund(refund.id))
        return refund

    async def assert_books_hold(self) -> None:
        broken = {verdict.name: verdict.broken for verdict in await verify(self.hub.pool) if verdict.broken}
        assert not broken, broken


async def a_till(play: Play, objects: Hub, terms: Terms | None = None) -> Till:
    merchant = await objects.merchants.add("tea", currencies=[play.currency])
    await objects.channel_admin.add_by_hand(
        merchant.book, "main", play.rail.name, play.other.settings(), terms=terms, fee_bp=60
    )
    return Till(play, objects, merchant.book)


async def waiting(till: Till) -> list[cases.Case]:
    async with acquire(till.hub.pool) as connection:
        return await cases.store.cases(connection, book=till.book)
