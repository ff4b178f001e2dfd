"""Balances, as merchants read them."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from kernel.answers import Currency, ListOut, Minor, Time, words
from kernel.clock import rfc3339
from kernel.db import Pool, acquire
from kernel.errors import NotFound, Rejected
from kernel.routes import LIMIT_OR_ALL, Call, Reply, Route, at, listed, not_from_a_list, text
from ledger import store

_NAME = r"[!-~]{1,200}"  # of an account


class BalanceOut(TypedDict):
    """An account of the merchant's book, and what is in it."""

    object: Literal["balance"]
    account: str
    kind: str
    currency: Currency
    side: Annotated[str, words(("debit", "credit"))]
    balance: Annotated[Minor, Field(description="on its side")]
    available: Annotated[Minor, Field(description="less what is held")]


class BalanceAtOut(TypedDict):
    """What was in an account at a moment."""

    object: Literal["balance"]
    account: str
    at: Time
    balance: Minor


def _missing(name: str) -> NotFound:
    return NotFound("no_such_account", f"there is no account {name[:80]!r}", param="account")


class BalanceRoutes:
    """The routes of balances."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def routes(self) -> Sequence[Route[Any]]:
        return [
            Route(
                method="GET",
                path="/v1/balances",
                scope="balances:read",
                handler=self.list_balances,
                problems=("field_missing", "no_such_account"),
                says="Read the balances of your book, or one account's at a moment",
                query=(
                    LIMIT_OR_ALL,
                    text(
                        "starting_after",
                        "the account of the last one you have",
                        _NAME,
                        "the name of the last account that you have",
                        "invalid_cursor",
                    ),
                    at("at", "a moment: the balance of `account` then"),
                    text("account", "only this account", _NAME, "the name of an account, as the list has it"),
                ),
                answer=ListOut[BalanceOut] | BalanceAtOut,
            )
        ]

    async def list_balances(self, call: Call[None]) -> Reply:
        if "at" in call.query:
            return await self._balance_at(call)
        only, limit = call.query.get("account"), call.query.get("limit")
        async with acquire(self._pool) as connection:
            if only is not None:
                one = await store.find_account(connection, call.book, only)
                if one is None:
                    raise _missing(only)
                found = [one]
            else:
                if call.after is not None and await store.find_account(connection, call.book, call.after) is None:
                    raise not_from_a_list()
                more = None if limit is None else limit + 1
                found = await store.balances(connection, call.book, after=call.after, limit=more)
        data: list[BalanceOut] = [
            {
                "object": "balance",
                "account": account.name,
                "kind": account.name.partition(":")[0],
                "currency": account.currency,
                "side": account.side,
                "balance": account.balance,
                "available": account.available,
            }
            for account in found
        ]
        return listed(data, len(data) if limit is None else limit)

    async def _balance_at(self, call: Call[None]) -> Reply:
        name = call.query.get("account")
        if name is None:
            raise Rejected("field_missing", "a balance at a moment needs an account: name one", param="account")
        moment = call.query["at"]
        async with acquire(self._pool) as connection:
            balance = await store.balance_at(connection, call.book, name, moment)
        if balance is None:
            raise _missing(name)
        body: BalanceAtOut = {"object": "balance", "account": name, "at": rfc3339(moment), "balance": balance}
        return Reply(body)
