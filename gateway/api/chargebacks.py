"""Chargebacks 拒付: read only; channels open and end them, and operators where a channel tells of none."""

from collections.abc import Sequence
from typing import Any

from gateway import states
from gateway.objects import ChargebackOut, chargeback_payload
from gateway.payments.store import chargebacks, find_chargeback
from gateway.store import find_payment
from kernel.answers import ListOut
from kernel.db import Pool, acquire
from kernel.errors import NotFound
from kernel.routes import LIMIT, Call, Reply, Route, an_id, listed, not_from_a_list, one_of, only_of, starting_after


class ChargebackRoutes:
    """The routes of chargebacks."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def routes(self) -> Sequence[Route[Any]]:
        return [
            Route(
                method="GET",
                path="/v1/chargebacks",
                scope="payments:read",
                handler=self.list_chargebacks,
                answer=ListOut[ChargebackOut],
                says="List chargebacks, newest first",
                query=(
                    LIMIT,
                    starting_after("cbk"),
                    only_of("payment", "pay"),
                    one_of("status", "only those in this state", list(states.ChargebackStatus)),
                ),
            ),
            Route(
                method="GET",
                path="/v1/chargebacks/{id}",
                scope="payments:read",
                handler=self.get_chargeback,
                problems=("no_such_chargeback",),
                answer=ChargebackOut,
                says="Read a chargeback",
                ident=an_id("cbk", "the chargeback", "chargeback"),
            ),
        ]

    async def get_chargeback(self, call: Call[None]) -> Reply:
        async with acquire(self._pool) as connection:
            row = await find_chargeback(connection, call.book, call.ident)
        if row is None:
            raise NotFound("no_such_chargeback", f"there is no chargeback {call.ident}")
        return Reply(chargeback_payload(row))

    async def list_chargebacks(self, call: Call[None]) -> Reply:
        payment = call.query.get("payment")
        async with acquire(self._pool) as connection:
            if call.after is not None and await find_chargeback(connection, call.book, call.after) is None:
                raise not_from_a_list()
            found = await chargebacks(
                connection,
                call.book,
                payment_id=payment,
                status=call.query.get("status"),
                before=call.after,
                limit=call.limit + 1,
            )
            if not found and payment is not None and await find_payment(connection, call.book, payment) is None:
                raise NotFound("no_such_payment", f"there is no payment {payment}")
        return listed([chargeback_payload(row) for row in found], call.limit)
