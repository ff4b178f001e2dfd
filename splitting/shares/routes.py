"""Confirming deliveries, and what payees owe, as merchants ask for it."""

from collections.abc import Sequence
from typing import Any

from kernel.answers import ListOut
from kernel.db import Pool, acquire
from kernel.errors import NotFound
from kernel.routes import (
    LIMIT,
    Call,
    Reply,
    Route,
    an_id,
    listed,
    not_from_a_list,
    one_of,
    only_of,
    starting_after,
)
from splitting.objects import DebtOut, SplitOut, debt_payload, split_payload
from splitting.shares.release import Releases
from splitting.shares.store import debts, find_debt
from splitting.tables import PAYEES


class ShareRoutes:
    """The routes of shares that are frozen, and of payees' debts."""

    def __init__(self, releases: Releases, pool: Pool) -> None:
        self._releases = releases
        self._pool = pool

    def routes(self) -> Sequence[Route[Any]]:
        return [
            Route(
                method="POST",
                path="/v1/payments/{id}/confirm_delivery",
                scope="payments:write",
                handler=self.confirm_delivery,
                answer=SplitOut,
                says="Confirm delivery: shares that wait for it can be paid out",
                ident=an_id("pay", "the payment", "payment"),
                problems=("no_such_split",),
            ),
            Route(
                method="GET",
                path="/v1/debts",
                scope="payments:read",
                handler=self.list_debts,
                answer=ListOut[DebtOut],
                says="List what payees owe or owed since refunds, newest first",
                query=(
                    LIMIT,
                    starting_after("dbt"),
                    only_of("payee", "pye"),
                    one_of("status", "only those that are so now", ("open", "recovered")),
                ),
            ),
        ]  # fmt: skip

    async def confirm_delivery(self, call: Call[None]) -> Reply:
        return Reply(split_payload(await self._releases.deliver(call.book, call.ident)))

    async def list_debts(self, call: Call[None]) -> Reply:
        payee, status = call.query.get("payee"), call.query.get("status")
        async with acquire(self._pool) as connection:
            if call.after is not None and await find_debt(connection, call.book, call.after) is None:
                raise not_from_a_list()
            if payee is not None and not await PAYEES.load(connection, [(call.book, payee)]):
                raise NotFound("no_such_payee", f"there is no payee {payee}", param="payee")
            found = await debts(
                connection, call.book, payee_id=payee, is_open=None if status is None else status == "open",
                before=call.after, limit=call.limit + 1,
            )  # fmt: skip
        return listed([debt_payload(debt.row, debt.left_minor) for debt in found], call.limit)
