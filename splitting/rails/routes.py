"""Receivers at rails, as merchants set and list them."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from channels.sharing import ReceiverKind
from kernel.answers import ListOut
from kernel.db import Pool, acquire
from kernel.errors import NotFound
from kernel.routes import Call, Reply, Route, listed, only_of
from kernel.shapes import Body, Form, PayeeId, Visible
from splitting.rails.objects import RailReceiverOut, rail_receiver_payload
from splitting.rails.receivers import Receivers
from splitting.tables import PAYEES

_Account = Annotated[str, Form(r"[0-9A-Za-z_@.+-]{1,64}", "1 to 64 of 0-9 A-Z a-z _ @ . + -")]
_Name = Annotated[str, StringConstraints(max_length=200), Visible()]


class RailReceiverIn(Body):
    """PUT /v1/rail_receivers"""

    payee: PayeeId = Field(description="who is paid there")
    channel_account: Annotated[str, Form(r"[0-9a-z_-]{1,64}", "the name of a channel account")] = Field(
        description="yours, at the rail"
    )
    kind: ReceiverKind = Field(
        description="by what the rail knows the payee: a `merchant`'s number, a `person`'s id, at Alipay a `login`"
    )
    account: _Account = Field(description="that number or id")
    name: _Name = Field(
        default="", description="full name, which the rail compares; WeChat Pay wants a merchant's, Alipay a login's"
    )
    relation: _Name = Field(default="", description="what it is to you, in the rail's own words; left out: the widest")


class RailReceiverRoutes:
    """The routes of receivers."""

    def __init__(self, receivers: Receivers, pool: Pool) -> None:
        self._receivers = receivers
        self._pool = pool

    def routes(self) -> Sequence[Route[Any]]:
        return [
            Route(
                method="PUT",
                path="/v1/rail_receivers",
                scope="channels",
                handler=self.set_rail_receiver,
                problems=("no_such_channel_account", "no_such_payee", "rail_cannot_share", "channel_account_closed"),
                answer=RailReceiverOut,
                says="Have a payee be a receiver at a rail: shares of lines that travel by rail reach it there",
                body=RailReceiverIn,
            ),
            Route(
                method="GET",
                path="/v1/rail_receivers",
                scope="payments:read",
                handler=self.list_rail_receivers,
                answer=ListOut[RailReceiverOut],
                says="List as whom rails know your payees",
                query=(only_of("payee", "pye"),),
            ),
        ]

    async def set_rail_receiver(self, call: Call[RailReceiverIn]) -> Reply:
        body = call.body
        row = await self._receivers.set(
            call.book, body.payee, body.channel_account, kind=body.kind, account=body.account, name=body.name,
            relation=body.relation, by=call.by,
        )  # fmt: skip
        return Reply(rail_receiver_payload(row))

    async def list_rail_receivers(self, call: Call[None]) -> Reply:
        payee = call.query.get("payee")
        if payee is not None:
            async with acquire(self._pool) as connection:
                if not await PAYEES.load(connection, [(call.book, payee)]):
                    raise NotFound("no_such_payee", f"there is no payee {payee}", param="payee")
        found = [rail_receiver_payload(row) for row in await self._receivers.listed(call.book, payee)]
        return listed(found, max(len(found), 1))
