"""Payments: what is sent, and what is done with it."""

import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Any, Literal, get_args

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

import splitting
from gateway.api.problems import RAIL
from gateway.api.shares import SHARING, SplitIn, check_payees
from gateway.claims import Claims
from gateway.objects import AttemptOut, PaymentOut, attempt_payload, payment_payload
from gateway.payments.create import NewPayment
from gateway.payments.orders import KEPT
from gateway.payments.payments import Payments
from gateway.states import PaymentStatus as Status
from gateway.store import PaymentFilter, attempts, find_payment, payments
from kernel.answers import ListOut
from kernel.cards import holds_card_number
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
    listed,
    made,
    minor_units,
    one_of,
    starting_after,
    text,
)
from kernel.shapes import (
    Address,
    Amount,
    Body,
    CurrencyCode,
    Form,
    GivenAmount,
    Metadata,
    OrderId,
    Text,
    metadata_text,
)

# What a way to pay needs, and what else it may have; payer_region goes with all of them.
_NEEDS = {
    "barcode": {"auth_code"},
    "jsapi": {"payer"},
    "h5": {"client_ip"},
    "card": {"token"},
}
_MAY_HAVE = {
    "h5": {"return_url"},
    "page": {"return_url"},
    "card": {"return_url"},
    "cashier": {"return_url"},
}


def _ip_address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("that is no IPv4 or IPv6 address") from None


# Codes that wallets show their payers, and the number by which Alipay knows a payer, are digits too, and one in ten of
# them ends in a right check digit by chance. No payer is turned away for that:
#   10 to 15, 18 digits: WeChat Pay's code (pay.weixin.qq.com/wiki/doc/api/micropay.php, chapter 5_1)
#   25 to 30, 16 to 24 digits: Alipay's code (opendocs.alipay.com/open/194/106039, alipay.trade.pay). Some numbers of
#     Mastercard and Diners Club begin so as well, and nothing tells them apart; a code is neither stored nor logged
#     (docs/decisions/0011).
#   62, 19 digits: UnionPay's code. By what integrators write; UnionPay's own document could not be read.
#   2088, 16 digits: Alipay's user id (buyer_id). No issuer's numbers begin so.
_WALLETS_CODE = re.compile(r"1[0-5][0-9]{16}|(?:2[5-9]|30)[0-9]{14,22}|62[0-9]{17}", re.ASCII)
_WALLETS_PAYER = re.compile(r"2088[0-9]{12}", re.ASCII)


def _no_card_number(value: Any, known: re.Pattern[str] | None = None) -> Any:
    """Refuse what could be a card's number before anything else is looked at: this hub is no place for one."""
    text = str(value) if isinstance(value, str | int) else ""
    if holds_card_number(text) and not (known is not None and known.fullmatch(text)):
        raise PydanticCustomError("card_number", "this looks like a card number, which is never sent to this hub")
    return value


def _no_card_but_a_code(value: Any) -> Any:
    return _no_card_number(value, _WALLETS_CODE)


def _no_card_but_a_payer(value: Any) -> Any:
    return _no_card_number(value, _WALLETS_PAYER)


class MethodIn(Body):
    """How the payer pays, and over which channel."""

    type: Literal["qr", "barcode", "jsapi", "h5", "app", "page", "card", "transfer", "cashier"]
    channel: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "auto"
    auth_code: (
        Annotated[
            str,
            Form(r"[0-9]{16,24}", "the 16 to 24 digits that the till has scanned"),
            BeforeValidator(_no_card_but_a_code),
        ]
        | None
    ) = Field(default=None, description="barcode: what the till scanned from the payer's phone")
    payer: (
        Annotated[
            str,
            Form(r"[\x21-\x7e]{1,128}", "1 to 128 visible ASCII characters, as the rail gave them"),
            BeforeValidator(_no_card_but_a_payer),
        ]
        | None
    ) = Field(default=None, description="jsapi: who the payer is at the rail (openid, buyer_id)")
    token: (
        Annotated[
            str,
            Form(r"[0-9A-Za-z_\-]{1,255}", "the token as the rail's form gave it: 1 to 255 of 0-9 A-Z a-z _ -"),
            BeforeValidator(_no_card_number),
        ]
        | None
    ) = Field(default=None, description="card: what the rail's own form made of the card")
    client_ip: Annotated[str, StringConstraints(max_length=45), AfterValidator(_ip_address)] | None = Field(
        default=None, description="h5: the payer's address"
    )
    return_url: Address | None = Field(default=None, description="where the payer's browser goes afterwards")
    payer_region: (
        Annotated[str, Form(r"[A-Z]{2}", "a country of ISO 3166-1 in two capital letters, such as DE")] | None
    ) = Field(default=None, description="where the payer is, ISO 3166-1")

    @model_validator(mode="after")
    def _each_field_where_it_belongs(self) -> "MethodIn":
        needed, allowed = _NEEDS.get(self.type, set()), _MAY_HAVE.get(self.type, set())
        for name in ("auth_code", "payer", "token", "client_ip", "return_url"):
            given = getattr(self, name) is not None
            if given and name not in needed | allowed:
                raise ValueError(f"{name} does not go with {self.type}")
            if not given and name in needed:
                raise ValueError(f"{self.type} needs {name}")
        return self

    def details(self) -> str | None:
        """Return as JSON what an attempt keeps of this, so that its order can be sent again; None for nothing.

        A payer's code is not kept (docs/decisions/0011).
        """
        kept = {name: value for name in KEPT if (value := getattr(self, name)) is not None}
        return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode() if kept else None


class PaymentIn(Body):
    """POST /v1/payments"""

    merchant_order_id: OrderId
    amount: Amount
    currency: CurrencyCode
    method: MethodIn
    description: Text
    expires_in: Annotated[int, Field(ge=60, le=7200, strict=True, description="seconds")] = 7200
    capture: Literal["automatic", "manual"] = Field(
        default="automatic", description="manual: the payer's money is reserved, and captured when you ask"
    )
    split: SplitIn = ()
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _payees_once(self) -> "PaymentIn":
        check_payees(self.split)
        return self


class CaptureIn(Body):
    """POST /v1/payments/{id}/capture"""

    amount: GivenAmount = Field(default=None, description="minor units; left out: all that is reserved")


# No account takes it, or which shall is not said.
_CHOOSING = ("channel_needed", "no_channel", "no_such_channel", "payer_of_another_channel")

# What payments are found by, in a list as in an export.
FILTERS = (
    one_of("status", "only of this status", list(Status)),
    one_of("method", "only paid in this way", list(get_args(MethodIn.model_fields["type"].annotation))),
    text("channel", "only over this channel"),
    text("merchant_order_id", "only of this order number of yours"),
    text("currency", "only in this currency"),
    minor_units("amount_from", "only of this amount or more"),
    minor_units("amount_until", "only of this amount or less"),
    at("created_from", "only those made at this moment or later"),
    at("created_until", "only those made before this moment"),
)
_EXPORTED = 500  # payments read at once
# Columns of an export, named as the members of a payment.
_COLUMNS = (
    "id", "merchant_order_id", "status", "amount", "currency", "amount_captured", "amount_refunded", "channel_fee",
    "method", "channel", "description", "business_date", "created_at", "succeeded_at", "failure_code",
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


class PaymentRoutes:
    """The routes of payments."""

    def __init__(self, payments: Payments, pool: Pool) -> None:
        self._payments = payments
        self._pool = pool

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
            [share.asked() for share in body.split],
            timedelta(seconds=body.expires_in),
            body.method.details(),
            body.capture == "manual",
        )
        claims = Claims((f"i:{call.key}", f"o:{body.merchant_order_id}"), hashlib.sha256(call.raw).digest())
        payment, replayed = await self._payments.create(
            call.book, new, claims, channel=body.method.channel, auth_code=body.method.auth_code
        )
        return made(payment_payload(payment), replayed=replayed)

    async def get_payment(self, call: Call[None]) -> Reply:
        async with acquire(self._pool) as connection:
            payment = await find_payment(connection, call.book, call.ident)
            if payment is None:
                raise NotFound("no_such_payment", f"there is no payment {call.ident}")
            tries = await attempts(connection, call.book, call.ident)
            split = await splitting.store.find_split(connection, call.book, call.ident)
        body: PaymentInFull = {
            **payment_payload(payment),
            "attempts": [attempt_payload(attempt) for attempt in tries],
            "split": splitting.split_payload(split) if split else None,
        }
        return Reply(body)

    async def list_payments(self, call: Call[None]) -> Reply:
        async with acquire(self._pool) as connection:
            found = await payments(
                connection,
                call.book,
                before=call.after,
                limit=call.limit + 1,
                wanted=PaymentFilter(**_filters(call)),
            )
        return listed([payment_payload(payment) for payment in found], call.limit)

    async def export_payments(self, call: Call[None]) -> Reply:
        wanted = PaymentFilter(**_filters(call))

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
