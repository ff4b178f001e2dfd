"""What stands on the stage: the objects that a play's names stand for, their states, and the book."""

from datetime import date
from typing import Any

import cases
from cases.catalogue import GONE
from gateway.store import find_refund
from kernel.db import acquire
from kernel.money import Money
from ledger.accounts import NATURE, Side, kind_of
from reconciliation import State, discrepancies
from splitting.recalls.store import find as find_recall
from splitting.tables import Withdrawal
from splitting.withdrawals.store import find as find_withdrawal
from tests.gateway.front import Answer, Front
from tests.scenarios.language import CHANNELS, PAYEES
from tests.scenarios.reader import HELD, RELEASED, Posted
from tests.splitting.town import Town


class Sights:
    """Looks at a hub in the words of a play, which has named its payments P1, refunds R1, and so on."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.front: Front = town.front
        self.payments: dict[str, str] = {}
        self.refunds: dict[str, str] = {}
        self.chargebacks: dict[str, str] = {}
        self.batches: dict[str, date] = {}
        self.withdrawals: dict[str, str] = {}

    # ---- the book ----------------------------------------------------------------------------------------------------

    async def standing(self, *, available: bool) -> dict[str, int]:
        """Return what every account has, debits positive."""
        found = {}
        for account, both in (await self.front.balances()).items():
            sign = 1 if NATURE[kind_of(account)].side is Side.DEBIT else -1
            found[shown(account)] = sign * both[1 if available else 0]
        return found

    async def last_posting(self) -> int:
        async with acquire(self.front.hub.pool) as connection:
            sql = "SELECT coalesce(max(seq), 0) FROM transfer WHERE book = $1"
            last: int = await connection.fetchval(sql, self.front.book)
        return last

    async def journal(self, after: int) -> list[Posted]:
        async with acquire(self.front.hub.pool) as connection:
            rows = await connection.fetch(
                "SELECT rule, step, debit, credit, amount_minor FROM transfer "
                "WHERE book = $1 AND seq > $2 ORDER BY seq",
                self.front.book,
                after,
            )
        steps = {"hold": HELD, "void_hold": RELEASED}
        return [Posted(r[0], steps.get(r[1], ""), shown(r[2]), shown(r[3]), r[4]) for r in rows]

    # ---- states ------------------------------------------------------------------------------------------------------

    async def state(self, object: str, name: str) -> str:
        """Return the state an object is in, in the words of the plays."""
        state: str = await getattr(self, f"_state_of_{object}")(name)
        return state

    async def _state_of_payment(self, name: str) -> str:
        state: str = (await self.front.payment(self.payment(name)))["status"]
        return state

    async def _state_of_attempt(self, name: str) -> str:
        return (await self.attempt(name)).status

    async def _state_of_split(self, name: str) -> str:
        state: str = (await self.front.payment(self.payment(name)))["split"]["status"]
        return state

    async def _state_of_share_order(self, name: str) -> str:
        payment, _, number = name.partition(".")
        orders = (await self.front.payment(self.payment(payment)))["share_orders"]
        state: str = orders[int(number) - 1]["status"]
        return state

    async def _state_of_share_return(self, name: str) -> str:
        payee, _, refund = name.partition(" of ")
        sql = (
            "SELECT r.status FROM share_return r JOIN share_order o ON o.book = r.book AND o.id = r.order_id "
            "WHERE r.book = $1 AND r.cause = $2 AND o.parts -> r.part ->> 1 = $3"
        )
        async with acquire(self.front.hub.pool) as connection:
            refund_id = await self.refund_id(refund)
            state: str = await connection.fetchval(sql, self.front.book, refund_id, PAYEES[payee])
        return state

    async def _state_of_refund(self, name: str) -> str:
        state: str = body(await self.front.get(f"/v1/refunds/{await self.refund_id(name)}"))["status"]
        return state

    async def _state_of_chargeback(self, name: str) -> str:
        state: str = body(await self.front.get(f"/v1/chargebacks/{self.chargeback(name)}"))["status"]
        return state

    async def _state_of_hold(self, name: str) -> str:
        async with acquire(self.front.hub.pool) as connection:
            refund = await find_refund(connection, self.front.book, await self.refund_id(name))
            assert refund is not None
            sql = "SELECT state FROM hold WHERE book = $1 AND id = $2"
            state: str = await connection.fetchval(sql, self.front.book, f"{refund.posting}:refund")
        return state

    async def _state_of_instruction(self, name: str) -> str:
        payee, _, batch = name.partition(" of ")
        return (await self.town.lines(self.batches[batch]))[PAYEES[payee]].status

    async def _state_of_withdrawal(self, name: str) -> str:
        return (await self.withdrawal(name)).status

    async def _state_of_recall(self, name: str) -> str:
        payee, _, batch = name.partition(" of ")
        about = self.withdrawals.get(name) or (await self.town.lines(self.batches[batch]))[PAYEES[payee]].id
        async with acquire(self.front.hub.pool) as connection:
            found = await find_recall(connection, self.front.book, about)
        return "not there" if found is None else found.status

    async def _state_of_batch(self, name: str) -> str:
        return (await self.town.batch(self.batches[name])).status

    async def _state_of_case(self, name: str) -> str:
        kind, _, of = name.partition(" of ")
        found = await self.case(kind, of)
        if found is None:
            return "not there"
        return GONE if found.decision == GONE else found.status

    async def _state_of_discrepancy(self, name: str) -> str:
        kind, _, attempt = name.partition(" of ")
        reference = (await self.attempt(attempt)).reference
        async with acquire(self.front.hub.pool) as connection:
            found = await discrepancies(
                connection, self.front.book, now=self.front.clock.now(), states=list(State), limit=1_000
            )
        states = [one.state for one in found if (one.kind, one.key.reference) == (kind, reference)]
        return states[0] if states else "not there"

    # ---- what a play's names stand for -------------------------------------------------------------------------------

    def payment(self, name: str) -> str:
        if name not in self.payments:
            raise ValueError(f"there is no payment {name} yet")
        return self.payments[name]

    async def withdrawal(self, name: str) -> Withdrawal:
        async with acquire(self.front.hub.pool) as connection:
            found = await find_withdrawal(connection, self.front.book, self.withdrawals.get(name, ""))
        if found is None:
            raise ValueError(f"there is no withdrawal {name} yet")
        return found

    def refund(self, name: str) -> str:
        if name not in self.refunds:
            raise ValueError(f"there is no refund {name} yet")
        return self.refunds[name]

    def chargeback(self, name: str) -> str:
        if name not in self.chargebacks:
            raise ValueError(f"there is no chargeback {name} yet")
        return self.chargebacks[name]

    async def refund_id(self, name: str) -> str:
        """Return a refund's id. name: R1; or P1.1, which is the hub's own refund of money that came late or twice."""
        if name.startswith("R"):
            return self.refund(name)
        payment, _, number = name.partition(".")
        found = (await self.front.get(f"/v1/refunds?payment={self.payment(payment)}")).body["data"]
        own: list[str] = [one["id"] for one in found if one["attempt"] == int(number)]
        if not own:
            raise ValueError(f"there is no refund of {name} yet")
        return own[-1]

    async def attempt(self, name: str) -> Any:
        payment, _, number = name.partition(".")
        return await self.front.attempt(self.payment(payment), int(number))

    async def try_of(self, name: str) -> tuple[str, Money]:
        """Return our number of a try of a refund at the channel, and the refund's amount."""
        refund, _, tried = name.partition(".")
        async with acquire(self.front.hub.pool) as connection:
            found = await find_refund(connection, self.front.book, self.refund(refund))
        assert found is not None
        return found.reference_of(int(tried) - 1), cny(found.amount_minor)

    async def case(self, kind: str, name: str) -> cases.Case | None:
        """Return the case of a kind, of the payment, refund or payout of that name, or the only one there is."""
        about = await self.about(name) if name else ""
        async with acquire(self.front.hub.pool) as connection:
            found = [
                case
                for decided in (False, True)
                for case in await cases.store.cases(connection, book=self.front.book, decided=decided)
                if case.kind == kind and case.about.startswith(about)
            ]
        if len({case.id for case in found}) > 1:
            raise ValueError(f"there are {len(found)} cases {kind}: say of what")
        return found[0] if found else None

    async def about(self, name: str) -> str:
        if name in PAYEES:
            return (await self.town.lines(max(self.batches.values())))[PAYEES[name]].id
        if name.startswith("R"):
            return self.refund(name)
        if name.startswith("C"):
            return self.chargeback(name)
        if name.startswith("W"):
            return self.withdrawals[name]
        payment, _, number = name.partition(".")
        return f"{self.payment(payment)}:{number}"


def shown(account: str) -> str:
    """Return an account's name as plays have it."""
    name = account.removesuffix(":CNY")
    kind, _, owner = name.partition(":")
    shown = {known: name for names in (CHANNELS, PAYEES) for name, known in names.items()}
    return f"{kind}:{shown.get(owner, owner)}" if owner else kind


def cny(amount: int) -> Money:
    return Money(amount, "CNY")


def body(answer: Answer) -> Any:
    """Return what the hub answered. Raises ValueError for a refusal, with what it says."""
    if answer.status >= 400:
        said = answer.body
        raise ValueError(f"the hub refuses, {said['code']}: {said.get('detail') or said.get('message')}")
    return answer.body
