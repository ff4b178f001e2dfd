"""Payees and settlements: what merchants send, and what is done with it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from channels.banks import IDENTITY_REFUSALS
from kernel.answers import ListOut
from kernel.db import Pool, acquire
from kernel.errors import NotFound
from kernel.routes import (
    LIMIT,
    Call,
    Reply,
    Route,
    a_name,
    an_id,
    listed,
    not_from_a_list,
    starting_after,
    text,
)
from kernel.sealing import Secret
from kernel.shapes import INT64, MAX_AMOUNT, Body, Currency, Form, OrderId, PayeeId, Text
from splitting import store
from splitting.objects import (
    OwnPayeeOut,
    PayeeOut,
    PayoutReserveOut,
    PayoutScheduleOut,
    SettlementOut,
    instruction_payload,
    own_payee_payload,
    payee_payload,
    reserve_payload,
    schedule_payload,
    settlement_payload,
)
from splitting.payees import MERCHANT, Payees
from splitting.recalls.objects import SettlementInFull, recall_payload
from splitting.recalls.store import of_lines
from splitting.settlement.calendar import Every
from splitting.settlement.limits import LONGEST, AccountClass
from splitting.settlement.payouts import Payouts
from splitting.tables import PAYEES

IdentityToken = Annotated[str, Form(r"[!-~]{8,512}", "8 to 512 visible characters of ASCII")]
_TOKEN = "what the bank issued to the payee to prove who it is 身份凭证; it goes to the bank, and is never shown again"


class PayeeIn(Body):
    """POST /v1/payees"""

    name: Text = Field(description="its name, which the bank is told")
    kind: Literal["supplier", "merchant"] = Field(default="supplier", description="`merchant`: it is yourself")
    currency: Currency
    bank: Annotated[str, Form(r"[a-z0-9]{2,10}", "the name of a bank link: 2 to 10 of a-z 0-9")] | None = Field(
        default=None,
        description="your bank link, where it gets a sub-account; left out: its shares stay in the book, unpaid",
    )
    account: Annotated[str, Form(r"[0-9A-Za-z-]{1,34}", "1 to 34 letters, digits and hyphens")] | None = Field(
        default=None,
        description="the payee's own account at that bank, where the bank opens no sub-accounts; left out elsewhere",
    )
    account_class: AccountClass | None = Field(
        default=None,
        description="of its account 二、三类户: no batch sends more than its limits allow; left out: it has none",
    )
    identity_token: IdentityToken | None = Field(default=None, repr=False, description=_TOKEN)
    reference: OrderId = Field(description="your own number of the payee; the same again returns the same payee")


class OwnPayeeIn(Body):
    """PUT /v1/own_payees"""

    currency: Currency
    payee: PayeeId | None = Field(description="a payee of yours of kind `merchant`; null: by none any more")


_SETTLEMENT = r"stl_[0-9A-Za-z_]{1,60}"


def _missing(settlement_id: str) -> NotFound:
    return NotFound("no_such_settlement", f"there is no settlement {settlement_id!r}")


IDENTITY_PROBLEMS = (*sorted(IDENTITY_REFUSALS), "identity_token_needless")


def _secret(token: str | None) -> Secret | None:
    return None if token is None else Secret(token)


class PayeeRoutes:
    """The routes of payees."""

    def __init__(self, payees: Payees, pool: Pool) -> None:
        self._payees = payees
        self._pool = pool

    def routes(self) -> Sequence[Route[Any]]:
        return [
            Route(
                method="POST",
                path="/v1/payees",
                scope="payees:write",
                handler=self.create_payee,
                problems=(
                    "account_class_wrong",
                    "address_refused",
                    "bank_link_closed",
                    "bank_…",
                    "channel_keys_unusable",
                    *IDENTITY_PROBLEMS,
                    "no_such_bank",
                    "payee_account_missing",
                    "payee_account_needless",
                    "payee_cannot_be_paid",
                    "payee_exists",
                ),
                answer=PayeeOut,
                says="Register a payee",
                body=PayeeIn,
                makes=True,
            ),
            Route(
                method="GET",
                path="/v1/payees",
                scope="payments:read",
                handler=self.list_payees,
                answer=ListOut[PayeeOut],
                says="List payees, in order of their ids",
                query=(LIMIT, starting_after("pye")),
            ),
            Route(
                method="GET",
                path="/v1/payees/{id}",
                scope="payments:read",
                handler=self.get_payee,
                answer=PayeeOut,
                says="Read a payee",
                ident=an_id("pye", "the payee"),
                problems=("no_such_payee",),
            ),
            Route(
                method="POST",
                path="/v1/payees/{id}/suspend",
                scope="payees:write",
                handler=self.suspend_payee,
                answer=PayeeOut,
                says="Suspend a payee: nothing is paid out to it",
                ident=an_id("pye", "the payee"),
            ),
            Route(
                method="POST",
                path="/v1/payees/{id}/resume",
                scope="payees:write",
                handler=self.resume_payee,
                problems=("payee_suspended_by_operator",),
                answer=PayeeOut,
                says="Resume a payee that you have suspended",
                ident=an_id("pye", "the payee"),
            ),
            Route(
                method="GET",
                path="/v1/own_payees",
                scope="payments:read",
                handler=self.list_own_payees,
                answer=ListOut[OwnPayeeOut],
                says="List by which payees you are paid what is your own of payments, by currency",
                query=(),
            ),
            Route(
                method="PUT",
                path="/v1/own_payees",
                scope="channels",
                handler=self.set_own_payee,
                problems=("no_such_payee", "payee_is_not_merchant", "currency_differs"),
                answer=OwnPayeeOut,
                says="Set by which payee you are paid what is your own of payments made from now on",
                body=OwnPayeeIn,
            ),
        ]

    async def list_own_payees(self, call: Call[None]) -> Reply:
        async with acquire(self._pool) as connection:
            found = await store.own_payees(connection, call.book)
        return listed([own_payee_payload(row) for row in found], len(found))

    async def set_own_payee(self, call: Call[OwnPayeeIn]) -> Reply:
        row = await self._payees.pay_own(call.book, call.body.currency, call.body.payee, by=call.by)
        return Reply(own_payee_payload(row))

    async def create_payee(self, call: Call[PayeeIn]) -> Reply:
        body = call.body
        payee = await self._payees.register(
            call.book, reference=body.reference, name=body.name, kind=body.kind, currency=body.currency, bank=body.bank,
            account=body.account, account_class=body.account_class, identity=_secret(body.identity_token),
        )  # fmt: skip
        return Reply(payee_payload(payee), 201)

    async def suspend_payee(self, call: Call[None]) -> Reply:
        return Reply(payee_payload(await self._payees.suspend(call.book, call.ident, by=MERCHANT)))

    async def resume_payee(self, call: Call[None]) -> Reply:
        return Reply(payee_payload(await self._payees.resume(call.book, call.ident, by=MERCHANT)))

    async def get_payee(self, call: Call[None]) -> Reply:
        async with acquire(self._pool) as connection:
            found = await PAYEES.load(connection, [(call.book, call.ident)])
        if not found:
            raise NotFound("no_such_payee", f"there is no payee {call.ident}")
        return Reply(payee_payload(found[0]))

    async def list_payees(self, call: Call[None]) -> Reply:
        async with acquire(self._pool) as connection:
            if call.after is not None and not await PAYEES.load(connection, [(call.book, call.after)]):
                raise not_from_a_list()
            found = await store.payees(connection, call.book, call.after or "", call.limit + 1)
        return listed([payee_payload(payee) for payee in found], call.limit)


class PayoutScheduleIn(Body):
    """POST /v1/payout_schedules"""

    bank: Annotated[str, Form(r"[a-z0-9]{2,10}", "the name of a bank link: 2 to 10 of a-z 0-9")] = Field(
        description="the bank that pays"
    )
    payee: PayeeId | None = Field(default=None, description="left out: every payee at the bank that has no own")
    every: Every = Field(description="`T+0` to `monthly`: when; `threshold`: when enough is owed; `manual`: by hand")
    on: Annotated[int, Field(ge=1, le=31, strict=True)] | None = Field(
        default=None, description="weekly: 1 (Monday) to 7; monthly: 1 to 31, the last day in a shorter month"
    )
    minimum_minor: Annotated[int, Field(ge=0, le=MAX_AMOUNT, strict=True, json_schema_extra=INT64)] = Field(
        default=0, description="what is less is carried over; `threshold` needs it"
    )


class PayoutReserveIn(Body):
    """POST /v1/payout_reserves"""

    bank: Annotated[str, Form(r"[a-z0-9]{2,10}", "the name of a bank link: 2 to 10 of a-z 0-9")] = Field(
        description="the bank that pays"
    )
    payee: PayeeId | None = Field(default=None, description="left out: every payee at the bank that has no own")
    fixed_minor: Annotated[int, Field(ge=0, le=MAX_AMOUNT, strict=True, json_schema_extra=INT64)] = Field(
        default=0, description="so much is always kept"
    )
    rolling_basis_points: Annotated[int, Field(ge=0, le=10_000, strict=True)] = Field(
        default=0, description="of what a business date brought, so much is kept for `rolling_days`"
    )
    rolling_days: Annotated[int, Field(ge=0, le=LONGEST, strict=True)] = Field(
        default=0, description="the date itself is the first of them"
    )


class PayoutRoutes:
    """The routes of payout schedules, and of what is kept of payouts."""

    def __init__(self, payouts: Payouts) -> None:
        self._payouts = payouts

    def routes(self) -> Sequence[Route[Any]]:
        return [
            Route(
                method="POST",
                path="/v1/payout_schedules",
                scope="payees:write",
                handler=self.set_payout_schedule,
                problems=("no_such_bank", "no_such_payee", "payee_at_another_bank", "schedule_wrong"),
                answer=PayoutScheduleOut,
                says="Set when a payee, or by default every payee at a bank, is paid",
                body=PayoutScheduleIn,
            ),
            Route(
                method="GET",
                path="/v1/payout_schedules",
                scope="payments:read",
                handler=self.list_payout_schedules,
                answer=ListOut[PayoutScheduleOut],
                says="List when payees are paid, each bank's default first",
            ),
            Route(
                method="POST",
                path="/v1/payout_reserves",
                scope="payees:write",
                handler=self.set_payout_reserve,
                problems=("no_such_bank", "no_such_payee", "payee_at_another_bank", "reserve_wrong"),
                answer=PayoutReserveOut,
                says="Set what is kept of what a payee, or by default every payee at a bank, is owed",
                body=PayoutReserveIn,
            ),
            Route(
                method="GET",
                path="/v1/payout_reserves",
                scope="payments:read",
                handler=self.list_payout_reserves,
                answer=ListOut[PayoutReserveOut],
                says="List what is kept of what payees are owed, each bank's default first",
            ),
        ]

    async def set_payout_reserve(self, call: Call[PayoutReserveIn]) -> Reply:
        body = call.body
        row = await self._payouts.set_reserve(
            call.book, body.bank, payee_id=body.payee, fixed_minor=body.fixed_minor,
            rolling_bp=body.rolling_basis_points, rolling_days=body.rolling_days,
        )  # fmt: skip
        return Reply(reserve_payload(row))

    async def list_payout_reserves(self, call: Call[None]) -> Reply:
        rows = await self._payouts.reserves(call.book)
        return Reply({"object": "list", "data": [reserve_payload(row) for row in rows], "has_more": False})

    async def set_payout_schedule(self, call: Call[PayoutScheduleIn]) -> Reply:
        body = call.body
        row = await self._payouts.set_schedule(
            call.book, body.bank, payee_id=body.payee, every=body.every, on=body.on, minimum_minor=body.minimum_minor
        )
        return Reply(schedule_payload(row))

    async def list_payout_schedules(self, call: Call[None]) -> Reply:
        rows = await self._payouts.schedules(call.book)
        return Reply({"object": "list", "data": [schedule_payload(row) for row in rows], "has_more": False})


class SettlementRoutes:
    """The routes of settlements."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def routes(self) -> Sequence[Route[Any]]:
        return [
            Route(
                method="GET",
                path="/v1/settlements",
                scope="balances:read",
                handler=self.list_settlements,
                answer=ListOut[SettlementOut],
                says="List settlements, newest business date first",
                query=(
                    LIMIT,
                    text(
                        "starting_after",
                        "the id of the last one you have",
                        _SETTLEMENT,
                        "the id of a settlement",
                        "invalid_cursor",
                    ),
                ),
            ),
            Route(
                method="GET",
                path="/v1/settlements/{id}",
                scope="balances:read",
                handler=self.get_settlement,
                answer=SettlementInFull,
                says="Read a settlement with its instructions, each with its recall 追回",
                ident=a_name(_SETTLEMENT, "the settlement", _missing, "settlement"),
            ),
        ]

    async def list_settlements(self, call: Call[None]) -> Reply:
        before = call.after
        async with acquire(self._pool) as connection:
            # They are in the order of their dates, which the id of one that is not there does not tell.
            if before is not None and await store.find_settlement(connection, call.book, before) is None:
                raise not_from_a_list()
            found = await store.settlements(connection, call.book, call.limit + 1, before=before)
        return listed([settlement_payload(settlement) for settlement in found], call.limit)

    async def get_settlement(self, call: Call[None]) -> Reply:
        async with acquire(self._pool) as connection:
            settlement = await store.find_settlement(connection, call.book, call.ident)
            if settlement is None:
                raise _missing(call.ident)
            lines = await store.instructions(connection, call.book, call.ident)
            recalled = await of_lines(connection, call.book, call.ident)
        body: SettlementInFull = {
            **settlement_payload(settlement),
            "instructions": [
                {
                    **instruction_payload(line),
                    "recall": recall_payload(recalled[line.id]) if line.id in recalled else None,
                }
                for line in lines
            ],
        }
        return Reply(body)
