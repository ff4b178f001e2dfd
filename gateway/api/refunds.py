"""Refunds: what is sent, and what is done with it."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from gateway.api.problems import RAIL
from gateway.claims import Claims
from gateway.objects import RefundOut, refund_payload
from gateway.payments.payments import Payments
from gateway.store import find_payment, find_refund, refunds
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
    made,
    not_from_a_list,
    only_of,
    starting_after,
    text,
)
from kernel.shapes import ORDER_ID, Body, GivenAmount, OrderId, Visible


class RefundIn(Body):
    """POST /v1/payments/{id}/refunds"""

    amount: GivenAmount = Field(default=None, description="minor units; left out: all that is left")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=80), Visible()] = Field(
        default="requested", description="why; the rail is told"
    )
    merchant_refund_id: OrderId | None = Field(
        default=None, description="your number of the refund; the same again is the same refund"
    )


class RetryIn(Body):
    """POST /v1/refunds/{id}/retry"""


# What is left of the payment does not bear it.
_LEFT = (
    "insufficient_balance",
    "payment_charged_back",
    "refund_exceeds_captured",
    "refund_exceeds_shares",
    "refund_limit",
    "refund_settled_outside",
)


class RefundRoutes:
    """The routes of refunds."""

    def __init__(self, payments: Payments, pool: Pool) -> None:
        self._payments = payments
        self._pool = pool

    def routes(self) -> Sequence[Route[Any]]:
        read, write, one = "payments:read", "refunds:write", an_id("re", "the refund", "refund")
        return [
            Route(
                method="POST",
                path="/v1/payments/{id}/refunds",
                scope=write,
                handler=self.create_refund,
                problems=(
                    "no_such_payment",
                    "duplicate_refund",
                    "partial_refund_not_offered",
                    "payment_not_captured",
                    "refund_too_late",
                    *_LEFT,
                    *RAIL,
                ),
                answer=RefundOut,
                says="Give back a payment, all or a part",
                ident=an_id("pay", "the payment", "payment"),
                body=RefundIn,
                needs_key=True,
                makes=True,
            ),
            Route(
                method="GET",
                path="/v1/refunds",
                scope=read,
                handler=self.list_refunds,
                answer=ListOut[RefundOut],
                says="List refunds, newest first",
                query=(
                    LIMIT,
                    starting_after("re"),
                    only_of("payment", "pay"),
                    text("merchant_refund_id", "only the one under this number of yours", *ORDER_ID),
                ),
            ),
            Route(
                method="GET",
                path="/v1/refunds/{id}",
                scope=read,
                handler=self.get_refund,
                problems=("no_such_refund",),
                answer=RefundOut,
                says="Read a refund",
                ident=one,
            ),
            Route(
                method="POST",
                path="/v1/refunds/{id}/retry",
                scope=write,
                handler=self.retry_refund,
                problems=(
                    "no_such_refund",
                    "refund_at_channel",
                    "refund_not_failed",
                    "refund_undecided",
                    *_LEFT,
                    *RAIL,
                ),
                answer=RefundOut,
                says="Start a failed refund again, under a new number at the channel",
                ident=one,
                body=RetryIn,
                needs_key=True,
            ),
        ]

    async def create_refund(self, call: Call[RefundIn]) -> Reply:
        body = call.body
        keys = [f"i:{call.key}"] + ([f"r:{body.merchant_refund_id}"] if body.merchant_refund_id else [])
        digest = hashlib.sha256(call.ident.encode() + b"\n" + call.raw).digest()
        refund, replayed = await self._payments.refund(
            call.book,
            call.ident,
            Claims(keys, digest),
            amount_minor=body.amount,
            reason=body.reason,
            merchant_refund_id=body.merchant_refund_id,
        )
        return made(refund_payload(refund), replayed=replayed)

    async def retry_refund(self, call: Call[RetryIn]) -> Reply:
        digest = hashlib.sha256(b"retry\n" + call.ident.encode() + b"\n" + call.raw).digest()
        refund, replayed = await self._payments.retry_refund(call.book, call.ident, Claims([f"i:{call.key}"], digest))
        return Reply(refund_payload(refund), replayed=replayed)

    async def get_refund(self, call: Call[None]) -> Reply:
        async with acquire(self._pool) as connection:
            refund = await find_refund(connection, call.book, call.ident)
        if refund is None:
            raise NotFound("no_such_refund", f"there is no refund {call.ident}")
        return Reply(refund_payload(refund))

    async def list_refunds(self, call: Call[None]) -> Reply:
        async with acquire(self._pool) as connection:
            if call.after is not None and await find_refund(connection, call.book, call.after) is None:
                raise not_from_a_list()
            found = await refunds(
                connection,
                call.book,
                payment_id=call.query.get("payment"),
                before=call.after,
                limit=call.limit + 1,
                merchant_refund_id=call.query.get("merchant_refund_id"),
            )
            payment = call.query.get("payment")
            if not found and payment is not None and await find_payment(connection, call.book, payment) is None:
                raise NotFound("no_such_payment", f"there is no payment {payment}")
        return listed([refund_payload(refund) for refund in found], call.limit)
