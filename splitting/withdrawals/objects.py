"""Withdrawals, accounts bound and what payees have as the API, the events and the command line show them."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from kernel.answers import Currency, Day, Minor, Time, id_schema, words
from kernel.clock import rfc3339
from kernel.shapes import INT64
from splitting import states
from splitting.objects import LastFour, PayeeId
from splitting.tables import PayeeAccount, Withdrawal, WithdrawalLimit
from streams.catalogue import EventType

WithdrawalId = Annotated[str, WithJsonSchema(id_schema("wdr"))]


class PayeeAccountOut(TypedDict):
    """A payee's own account at another bank 绑定账户, to which it withdraws."""

    object: Literal["payee_account"]
    payee: PayeeId
    account: LastFour
    bank_bic: str
    bank_name: str
    bound_at_bank: Annotated[
        bool,
        Field(description="the payee's bank has it so too: class II and III 二、三类户 limit nothing then"),
    ]
    set_by: Annotated[str, Field(description="a person's name, or an API key's id")]
    set_at: Time


class WithdrawalLimitOut(TypedDict):
    """What a payee may withdraw 提现限额, or by default every payee at a bank."""

    object: Literal["withdrawal_limit"]
    bank: str
    payee: Annotated[PayeeId | None, Field(description="null: the bank's default")]
    minimum_minor: Minor
    most_minor: Annotated[Minor | None, Field(description="at once; null: no limit")]
    day_minor: Annotated[Minor | None, Field(description="a day, in Beijing; null: no limit")]
    set_at: Time


class WithdrawalOut(TypedDict):
    """A payee's money on its way from its sub-account to its own account at another bank 提现."""

    object: Literal["withdrawal"]
    id: WithdrawalId
    payee: PayeeId
    reference: Annotated[str, Field(description="your own number of it")]
    bank: Annotated[str, Field(description="which pays it, out of the sub-account")]
    account: LastFour
    bank_bic: Annotated[str, Field(description="of the bank that has the payee's own account")]
    bank_name: str
    amount_minor: Minor
    currency: Currency
    status: Annotated[str, words(states.Withdrawal)]
    reason: Annotated[str | None, Field(description="the bank's code of a refusal or a return")]
    decided_on: Annotated[Day | None, Field(description="the bank's day on which it was paid or refused")]
    returned_on: Annotated[Day | None, Field(description="the bank's day on which it came back 退票")]
    created_at: Time


class PayeeBalanceOut(TypedDict):
    """What a payee has: owed, on its way, at the bank; and what of that it can withdraw."""

    object: Literal["payee_balance"]
    payee: PayeeId
    currency: Currency
    owed_minor: Annotated[
        int, Field(description="not paid out yet; below zero: it owes that 欠款", json_schema_extra=INT64)
    ]
    reserved_minor: Annotated[Minor, Field(description="of `owed_minor`, what the next batch keeps 保证金")]
    in_transit_minor: Annotated[Minor, Field(description="a bank was told to pay it into the sub-account 在途")]
    sub_account_minor: Annotated[Minor, Field(description="in the sub-account, as the book knows it")]
    withdrawing_minor: Annotated[Minor, Field(description="of `sub_account_minor`, what withdrawals hold 冻结")]
    withdrawable_minor: Annotated[
        Minor, Field(description="the most that can be asked for now 可提现: within limits, and 0 where nothing may be")
    ]


EVENTS = {
    "payee_account.set": EventType("to which account a payee withdraws was set", PayeeAccountOut),
    "withdrawal_limit.set": EventType(
        "what a payee, or every payee at a bank, may withdraw was set", WithdrawalLimitOut
    ),
    "withdrawal.requested": EventType("a payee's money is to be sent to its own account; it is held", WithdrawalOut),
    "withdrawal.stopped": EventType("the bank took no order for a withdrawal; people decide", WithdrawalOut),
    "withdrawal.resumed": EventType("a withdrawal that was stopped is sent again", WithdrawalOut),
    "withdrawal.sent": EventType("the bank has the order of a withdrawal", WithdrawalOut),
    "withdrawal.paid": EventType("the bank has paid a withdrawal", WithdrawalOut),
    "withdrawal.refused": EventType(
        "a withdrawal was not paid; the sub-account has its money as before", WithdrawalOut
    ),
    "withdrawal.returned": EventType("a withdrawal came back 退票; the sub-account has its money again", WithdrawalOut),
}


def payee_account_payload(row: PayeeAccount) -> PayeeAccountOut:
    """Return a payee's own account as the API and the events show it; its number shortened to its last four."""
    return {
        "object": "payee_account",
        "payee": row.payee_id,
        "account": f"…{row.account[-4:]}",
        "bank_bic": row.bank_bic,
        "bank_name": row.bank_name,
        "bound_at_bank": row.bound_at_bank,
        "set_by": row.set_by,
        "set_at": rfc3339(row.set_at),
    }


def withdrawal_limit_payload(row: WithdrawalLimit) -> WithdrawalLimitOut:
    """Return a limit as the events and commands show it."""
    return {
        "object": "withdrawal_limit",
        "bank": row.bank,
        "payee": row.payee_id or None,
        "minimum_minor": row.minimum_minor,
        "most_minor": row.most_minor,
        "day_minor": row.day_minor,
        "set_at": rfc3339(row.set_at),
    }


def withdrawal_payload(row: Withdrawal) -> WithdrawalOut:
    """Return a withdrawal as the API and the events show it; the account number shortened to its last four."""
    return {
        "object": "withdrawal",
        "id": row.id,
        "payee": row.payee_id,
        "reference": row.reference,
        "bank": row.bank,
        "account": f"…{row.account[-4:]}",
        "bank_bic": row.bank_bic,
        "bank_name": row.bank_name,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "status": row.status,
        "reason": row.reason,
        "decided_on": None if row.bank_date is None else row.bank_date.isoformat(),
        "returned_on": None if row.returned_on is None else row.returned_on.isoformat(),
        "created_at": rfc3339(row.created_at),
    }
