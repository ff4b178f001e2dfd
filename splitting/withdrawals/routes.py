"""Withdrawals, accounts bound and what payees have: what merchants send, and what is done with it."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

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
from kernel.shapes import Amount, Body, Currency, Form, OrderId, Text
from splitting import states
from splitting.tables import PAYEES
from splitting.withdrawals import store
from splitting.withdrawals.asking import Withdrawals
from splitting.withdrawals.objects import (
    PayeeAccountOut,
    PayeeBalanceOut,
    WithdrawalOut,
    payee_account_payload,
    withdrawal_payload,
)


class BoundAccountIn(Body):
    """PUT /v1/payees/{id}/account"""

    account: Annotated[str, Form(r"[0-9A-Za-z-]{1,34}", "1 to 34 letters, digits and hyphens")] = Field(
        description="the number of the payee's own account; its holder must be the payee, by the same name 同名"
    )
    bank_bic: Annotated[str, Form(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?", "a BIC of 8 or 11 characters")] = (
        Field(description="of the bank that has the account; not the one that pays the payee")
    )
    bank_name: Annotated[Text, Field(max_length=70)] = Field(description="that bank's name, for people")
    bound_at_bank: bool = Field(
        default=False,
        description="the bank that pays the payee has this account bound to the sub-account too 绑定账户: then what "
        "class II and III 二、三类户 may send does not count for it",
    )


class WithdrawalIn(Body):
    """POST /v1/payees/{id}/withdrawals"""

    amount: Amount
    currency: Currency = Field(description="the payee's")
    reference: OrderId = Field(description="your own number of the withdrawal; the same again returns the same one")


class WithdrawalRoutes:
    """The routes of withdrawals, and of what payees have."""

    def __init__(self, withdrawals: Withdrawals, pool: Pool) -> None:
        self._withdrawals = withdrawals
        self._pool = pool

    def routes(self) -> Sequence[Route[Any]]:
        payee = an_id("pye", "the payee", "payee")
        return [
            Route(
                method="PUT",
                path="/v1/payees/{id}/account",
                scope="channels",
                handler=self.bind_payee_account,
                problems=(
                    "no_such_payee", "withdrawals_not_offered", "bound_account_wrong", "payee_cannot_be_paid",
                    "payee_account_not_open",
                ),
                answer=PayeeAccountOut,
                says="Bind a payee's own account at another bank, for withdrawals asked for from now on",
                body=BoundAccountIn,
                ident=payee,
            ),
            Route(
                method="GET",
                path="/v1/payees/{id}/account",
                scope="payments:read",
                handler=self.get_payee_account,
                problems=("no_such_payee", "no_such_bound_account"),
                answer=PayeeAccountOut,
                says="Read to which account a payee withdraws",
                ident=payee,
            ),
            Route(
                method="GET",
                path="/v1/payees/{id}/balance",
                scope="payments:read",
                handler=self.get_payee_balance,
                problems=("no_such_payee",),
                answer=PayeeBalanceOut,
                says="Read what a payee is owed, has at the bank, and can withdraw",
                ident=payee,
            ),
            Route(
                method="POST",
                path="/v1/payees/{id}/withdrawals",
                scope="payees:write",
                handler=self.request_withdrawal,
                problems=(
                    "no_such_payee", "withdrawals_not_offered", "no_bound_account", "currency_differs",
                    "withdrawal_exists", "payee_account_not_open",
                    "payee_suspended", "withdrawal_amount_not_allowed", "withdrawal_daily_limit",
                    "account_class_limit", "withdrawable_exceeded",
                ),
                answer=WithdrawalOut,
                says="Have a payee's money sent from its sub-account to its own account",
                body=WithdrawalIn,
                ident=payee,
                makes=True,
            ),
            Route(
                method="GET",
                path="/v1/withdrawals",
                scope="payments:read",
                handler=self.list_withdrawals,
                answer=ListOut[WithdrawalOut],
                says="List withdrawals, newest first",
                query=(
                    LIMIT,
                    starting_after("wdr"),
                    only_of("payee", "pye"),
                    one_of("status", "only those that are so now", list(states.Withdrawal)),
                ),
            ),
            Route(
                method="GET",
                path="/v1/withdrawals/{id}",
                scope="payments:read",
                handler=self.get_withdrawal,
                answer=WithdrawalOut,
                says="Read a withdrawal",
                ident=an_id("wdr", "the withdrawal", "withdrawal"),
            ),
        ]  # fmt: skip

    async def bind_payee_account(self, call: Call[BoundAccountIn]) -> Reply:
        body = call.body
        row = await self._withdrawals.bind(
            call.book,
            call.ident,
            account=body.account,
            bank_bic=body.bank_bic,
            bank_name=body.bank_name,
            by=call.by,
            bound_at_bank=body.bound_at_bank,
        )
        return Reply(payee_account_payload(row))

    async def get_payee_account(self, call: Call[None]) -> Reply:
        return Reply(payee_account_payload(await self._withdrawals.bound(call.book, call.ident)))

    async def get_payee_balance(self, call: Call[None]) -> Reply:
        return Reply(await self._withdrawals.balance(call.book, call.ident))

    async def request_withdrawal(self, call: Call[WithdrawalIn]) -> Reply:
        body = call.body
        row = await self._withdrawals.ask(
            call.book, call.ident, number=body.reference, amount_minor=body.amount, currency=body.currency, by=call.by
        )
        return Reply(withdrawal_payload(row), 201)

    async def list_withdrawals(self, call: Call[None]) -> Reply:
        payee = call.query.get("payee")
        async with acquire(self._pool) as connection:
            if call.after is not None and await store.find(connection, call.book, call.after) is None:
                raise not_from_a_list()
            if payee is not None and not await PAYEES.load(connection, [(call.book, payee)]):
                raise NotFound("no_such_payee", f"there is no payee {payee}", param="payee")
            found = await store.withdrawals(
                connection, call.book, payee_id=payee, status=call.query.get("status"), before=call.after,
                limit=call.limit + 1,
            )  # fmt: skip
        return listed([withdrawal_payload(row) for row in found], call.limit)

    async def get_withdrawal(self, call: Call[None]) -> Reply:
        async with acquire(self._pool) as connection:
            found = await store.find(connection, call.book, call.ident)
        if found is None:
            raise NotFound("no_such_object", f"there is no withdrawal {call.ident}")
        return Reply(withdrawal_payload(found))
