"""Payments: what is sent, and what is done with it."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

import splitting
from gateway.accounts.names import no_such_channel
from gateway.api.methods import MethodIn
from gateway.api.problems import RAIL
from gateway.api.shares import SHARING, SPLIT, TREES, SplitIn, parts_of
from gateway.claims import Claims
from gateway.objects import METHODS, AttemptOut, PaymentOut, attempt_payload, payment_payload
from gateway.payments.create import NewPayment
from gateway.payments.payments import Payments
from gateway.states import PaymentStatus as Status
from gateway.store import PaymentFilter, attempts, find_payment, payments
from kernel.answers import ListOut
from kernel.db import Pool, acquire
from kernel.errors import NotFound
from kernel.routes import (
    CSV,
    LIMIT,
    Call,
    Reply,
    Route,
    an_id,
    as_csv,
    at,
    currency,
    listed,
    made,
    minor_units,
    not_from_a_list,
    one_of,
    starting_after,
    text,
)
from kernel.shapes import (
    ORDER_ID,
    Amount,
    Body,
    Currency,
    GivenAmount,
    Metadata,
    OrderId,
    Text,
    metadata_text,
)
from splitting.plans.forms import OrderLineIn, PaymentPlanIn


class PaymentIn(Body):
    """POST /v1/payments"""

    merchant_order_id: OrderId = Field(description="your order number; one payment of it may be open or paid at a time")
    amount: Amount
    currency: Currency
    method: MethodIn = Field(description="how the payer pays, and over which channel")
    description: Text = Field(description="what is bought; the payer sees as much of it as the rail takes")
    expires_in: Annotated[
        int, Field(ge=60, le=7200, strict=True, description="seconds until an unpaid order is closed")
    ] = 7200
    capture: Literal["automatic", "manual"] = Field(
        default="automatic",
        description="`manual`: the payer's money is reserved 预授权, and captured when you ask; only where the rail "
        "reserves by that way to pay",
    )
    split: SplitIn = Field(default=(), description=SPLIT)
    split_plan: PaymentPlanIn | None = Field(default=None, description="a tree in place of `split` 分账方案")
    lines: Annotated[tuple[OrderLineIn, ...], Field(max_length=50)] = Field(
        default=(), description="what the order is made of, where parts of it are shared out each in its own way"
    )
    store: OrderId | None = Field(
        default=None, description="your store, by your own name: for the split plan that is attached to it"
    )
    metadata: Metadata | None = Field(default=None, description="given back as it came")

    @model_validator(mode="after")
    def _one_plan(self) -> "PaymentIn":
        if self.split and self.split_plan is not None:
            raise ValueError("give split or split_plan, not both")
        whole = sum(line.amount for line in self.lines)
        if self.lines and whole != self.amount:
            raise ValueError(f"the amounts of lines add up to {whole}, and amount is {self.amount}")
        return self


class CaptureIn(Body):
    """POST /v1/payments/{id}/capture"""

    amount: GivenAmount = Field(default=None, description="minor units; left out: all that is reserved")


# No account takes it, or which shall is not said.
_CHOOSING = ("channel_needed", "no_channel", "no_such_channel", "payer_of_another_channel")

# What payments are found by, in a list as in an export.
FILTERS = (
    one_of("status", "only of this status", list(Status)),
    one_of("method", "only paid in this way", METHODS),
    text("channel", "only over this rail of the hub's", r"[0-9a-z_]{1,64}", "the name of a rail, such as wechat"),
    text("merchant_order_id", "only of this order number of yours", *ORDER_ID),
    currency("currency", "only in this currency"),
    minor_units("amount_from", "only of this amount or more: this amount included"),
    minor_units("amount_until", "only of this amount or less: this amount included"),
    at("created_from", "only those made at this moment or later: this moment included"),
    at("created_until", "only those made before this moment: this moment excluded"),
)
_EXPORTED = 500  # payments read at once
# Columns of an export, named as the members of a payment.
_COLUMNS = (
    "id", "merchant_order_id", "status", "amount", "currency", "amount_captured", "amount_refunded", "channel_fee",
    "method", "channel", "description", "business_date", "created_at", "succeeded_at", "failure_code",
    "amount_arriving", "merchant_coupon", "amount_refunding", "refund_status",
)  # fmt: skip


def _filters(call: Call[Any]) -> dict[str, Any]:
    return {one.name: call.query[one.name] for one in FILTERS if one.name in call.query}


def _row(payment: PaymentOut) -> list[Any]:
    known: Mapping[str, Any] = {**payment, "failure_code": (payment["failure"] or {"code": None})["code"]}
    return [known[name] for name in _COLUMNS]


class PaymentInFull(PaymentOut):
    """A payment with its attempts, and how it is shared out."""

    attempts: list[AttemptOut]
    split: splitting.SplitOut | None
    share_orders: Annotated[
        list[splitting.ShareOrderOut], Field(description="how its rail shares it out 渠道分账; empty where none does")
    ]


class PaymentRoutes:
    """The routes of payments."""

    def __init__(self, payments: Payments, pool: Pool, rails: Sequence[str]) -> None:
        """rails: the names of those this hub has."""
        self._payments = payments
        self._pool = pool
        self._rails = rails

    def routes(self) -> Sequence[Route[Any]]:
        read, write, place = "payments:read", "payments:write", "/v1/payments"
        one = an_id("pay", "the payment", "payment")
        return [
            Route(
                method="POST",
                path=place,
                scope=write,
                handler=self.create_payment,
                problems=(
                    *_CHOOSING,
                    *SHARING,
                    *TREES,
                    *RAIL,
                    "card_number_refused",
                    "channel_busy",
                    "duplicate_order",
                    "merchant_suspended",
                    "request_in_progress",
                ),
                answer=PaymentOut,
                says="Take a payment and send it to a channel",
                body=PaymentIn,
                needs_key=True,
                makes=True,
                gives_way=True,
            ),
            Route(
                method="GET",
                path=place,
                scope=read,
                handler=self.list_payments,
                answer=ListOut[PaymentOut],
                says="List payments, newest first",
                query=(LIMIT, starting_after("pay"), *FILTERS),
                problems=("no_such_channel",),
            ),
            Route(
                method="GET",
                path=f"{place}.csv",
                scope=read,
                handler=self.export_payments,
                answer=str,
                says="Export payments as CSV, newest first, by the filters of the list",
                query=FILTERS,
                media=CSV,
                file="payments.csv",
                problems=("no_such_channel",),
            ),
            Route(
                method="GET",
                path=f"{place}/{{id}}",
                scope=read,
                handler=self.get_payment,
                problems=("no_such_payment",),
                answer=PaymentInFull,
                says="Read a payment with its attempts and its split",
                ident=one,
            ),
            Route(
                method="POST",
                path=f"{place}/{{id}}/close",
                scope=write,
                handler=self.close_payment,
                problems=(
                    "no_such_payment",
                    "not_closed_yet",
                    "payment_ended",
                    "payment_authorized",
                    "request_in_progress",
                    *RAIL,
                ),
                answer=PaymentOut,
                says="Close an unpaid payment at its channel",
                ident=one,
            ),
            Route(
                method="POST",
                path=f"{place}/{{id}}/capture",
                scope=write,
                handler=self.capture_payment,
                problems=(
                    "no_such_payment",
                    "capture_exceeds_hold",
                    "capture_refused",
                    "capture_under_way",
                    "partial_capture_unsupported",
                    "payment_ended",
                    "payment_not_authorized",
                    "request_in_progress",
                    "split_exceeds_payment",
                    *RAIL,
                ),
                answer=PaymentOut,
                says="Capture reserved money, all or a part",
                ident=one,
                body=CaptureIn,
                needs_key=True,
            ),
            Route(
                method="POST",
                path=f"{place}/{{id}}/void",
                scope=write,
                handler=self.void_payment,
                problems=(
                    "no_such_payment",
                    "capture_under_way",
                    "not_closed_yet",
                    "payment_ended",
                    "payment_not_authorized",
                    "request_in_progress",
                    *RAIL,
                ),
                answer=PaymentOut,
                says="Release reserved money",
                ident=one,
            ),
        ]

    async def create_payment(self, call: Call[PaymentIn]) -> Reply:
        body = call.body
        new = NewPayment(
            body.merchant_order_id,
            body.amount,
            body.currency,
            body.method.type,
            body.description,
            metadata_text(body.metadata),
            parts_of(body.split, body.split_plan, body.lines),
            timedelta(seconds=body.expires_in),
            body.method.details(),
            body.capture == "manual",
            store=body.store,
        )
        claims = Claims((f"i:{call.key}", f"o:{body.merchant_order_id}"), hashlib.sha256(call.raw).digest())
        payment, replayed = await self._payments.create(
            call.book, new, claims, channel=body.method.channel, auth_code=body.method.scanned()
        )
        return made(payment_payload(payment), replayed=replayed)

    async def get_payment(self, call: Call[None]) -> Reply:
        async with acquire(self._pool) as connection:
            payment = await find_payment(connection, call.book, call.ident)
            if payment is None:
                raise NotFound("no_such_payment", f"there is no payment {call.ident}")
            tries = await attempts(connection, call.book, call.ident)
            split = await splitting.store.find_split(connection, call.book, call.ident)
            by_rail = split is not None and split.rail is not None
            orders = await splitting.rails_store.orders_of(connection, call.book, call.ident) if by_rail else []
        body: PaymentInFull = {
            **payment_payload(payment),
            "attempts": [attempt_payload(attempt) for attempt in tries],
            "split": splitting.split_payload(split) if split else None,
            "share_orders": [splitting.share_order_payload(order) for order in orders],
        }
        return Reply(body)

    def _wanted(self, call: Call[None]) -> PaymentFilter:
        """Return the filters. Raises Rejected (no_such_channel): a list of none would say that nobody paid there."""
        channel = call.query.get("channel")
        if channel is not None and channel not in self._rails:
            raise no_such_channel(channel, self._rails, "channel")
        return PaymentFilter(**_filters(call))

    async def list_payments(self, call: Call[None]) -> Reply:
        wanted = self._wanted(call)
        async with acquire(self._pool) as connection:
            if call.after is not None and await find_payment(connection, call.book, call.after) is None:
                raise not_from_a_list()
            found = await payments(
                connection,
                call.book,
                before=call.after,
                limit=call.limit + 1,
                wanted=wanted,
            )
        return listed([payment_payload(payment) for payment in found], call.limit)

    async def export_payments(self, call: Call[None]) -> Reply:
        wanted = self._wanted(call)

        async def lines() -> AsyncIterator[bytes]:
            """Yield a page at a time; no connection is kept while the caller reads."""
            heading: list[Sequence[Any]] = [_COLUMNS]
            before: str | None = None
            while True:
                async with acquire(self._pool) as connection:
                    found = await payments(connection, call.book, before=before, limit=_EXPORTED, wanted=wanted)
                yield as_csv([*heading, *(_row(payment_payload(payment)) for payment in found)])
                if len(found) < _EXPORTED:
                    return
                before, heading = found[-1].id, []

        return Reply(lines())

    async def close_payment(self, call: Call[None]) -> Reply:
        return Reply(payment_payload(await self._payments.close(call.book, call.ident)))

    async def capture_payment(self, call: Call[CaptureIn]) -> Reply:
        digest = hashlib.sha256(b"capture\n" + call.ident.encode() + b"\n" + call.raw).digest()
        payment, replayed = await self._payments.capture(
            call.book, call.ident, Claims([f"i:{call.key}"], digest), amount_minor=call.body.amount
        )
        return Reply(payment_payload(payment), replayed=replayed)

    async def void_payment(self, call: Call[None]) -> Reply:
        return Reply(payment_payload(await self._payments.void(call.book, call.ident)))
