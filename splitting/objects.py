"""Splits, payees and settlements as the API, the events and the command line show them."""

from collections.abc import Sequence
from typing import Annotated, Literal

import orjson
from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from kernel.answers import ChargebackId, Currency, Day, Minor, Object, PaymentId, RefundId, Time, id_schema, words
from kernel.clock import rfc3339
from splitting import states
from splitting.plans.arithmetic import Share
from splitting.plans.asked import Scope, from_json
from splitting.rails.compile import BY_RAIL, WHY_NOT
from splitting.rails.objects import EVENTS as RAIL_EVENTS
from splitting.settlement.calendar import Every
from splitting.settlement.limits import AccountClass
from splitting.shares.frozen import frozen_of
from splitting.tables import (
    Attachment,
    Instruction,
    OwnPayee,
    Payee,
    PayeeDebt,
    PayoutReserve,
    PayoutSchedule,
    PlanVersion,
    Settlement,
    Split,
    SplitPlan,
)
from streams.catalogue import EventType

PlanId = Annotated[str, WithJsonSchema(id_schema("spl"))]
PayeeId = Annotated[str, WithJsonSchema(id_schema("pye"))]
LastFour = Annotated[str, Field(description="the last four digits")]


class ShareOut(TypedDict):
    """What one payee gets of a payment."""

    payee: Annotated[str, Field(description="empty: the merchant's own")]
    line: Annotated[str, Field(description="of a tree: the name of the plan's line that gave it; else empty")]
    amount_minor: Minor
    taken_back_minor: Minor
    frozen_minor: Annotated[Minor, Field(description="what of it is not to be paid out yet 冻结")]
    travels: Annotated[
        str,
        words(("bank", "rail", "own")),
        Field(description="who pays it: the payee's bank, or the payment's rail; own: it is yours"),
    ]
    because: Annotated[
        Annotated[str, words(tuple(WHY_NOT))] | None,
        Field(description="why it goes by bank, where the plan has it travel by rail; null: it does not say so"),
    ]


class FrozenOut(TypedDict):
    """A part of a share that is not to be paid out yet 冻结."""

    payee: PayeeId
    line: Annotated[str, Field(description="the name of the plan's line that gave it")]
    amount_minor: Minor
    on_delivery: Annotated[bool, Field(description="confirming delivery releases it")]
    due_on: Annotated[Day | None, Field(description="from this date on it is released by itself; null: it is not")]


class SplitPartOut(TypedDict):
    """A part of a payment, and by what it is shared out."""

    amount_minor: Annotated[Minor | None, Field(description="as it was ordered; null: it is the whole payment")]
    product_line: str | None
    plan: Annotated[PlanId | None, Field(description="of a plan that you keep; null: what was sent with the payment")]
    version: Annotated[int | None, Field(description="of that plan: the payment keeps it")]
    attached_to: Annotated[
        Annotated[str, words(Scope)] | None,
        Field(description="to what the plan was attached; null: the payment said it itself"),
    ]


class SplitOut(TypedDict):
    """How a payment is shared out 分账."""

    object: Literal["split"]
    payment: PaymentId
    status: Annotated[str, words(("planned", "posted"))]
    currency: Currency
    gross_minor: Minor
    channel_fee_minor: Minor
    merchant_coupon_minor: Minor
    parts: list[SplitPartOut]
    shares: Annotated[list[ShareOut], Field(description="empty while it is planned")]
    frozen: Annotated[list[FrozenOut], Field(description="what of the shares is not to be paid out yet")]
    delivered_at: Annotated[Time | None, Field(description="when you confirmed delivery; null: not yet")]
    own_payee: Annotated[
        PayeeId | None, Field(description="who is paid what is your own of it; null: nobody, it stays in your account")
    ]


class OwnPayeeOut(TypedDict):
    """By which payee you are paid what is your own of payments in a currency."""

    object: Literal["own_payee"]
    currency: Currency
    payee: Annotated[PayeeId | None, Field(description="null: by none any more")]
    set_by: Annotated[str, Field(description="a person's name, or an API key's id")]
    set_at: Time


class SplitPlanVersionOut(TypedDict):
    """A version of a split plan 分账方案, as events tell of it."""

    object: Literal["split_plan_version"]
    plan: PlanId
    version: int
    hash: Annotated[str, Field(description="SHA-256 of the document, written out as canonical JSON, in hexadecimal")]
    status: Annotated[str, words(states.PlanVersion)]
    maker: Annotated[str, Field(description="who made it: a person's name, or an API key's id")]
    checker: Annotated[str | None, Field(description="who had it activated, or agreed to that; null: nobody yet")]
    made_at: Time
    status_at: Annotated[Time, Field(description="since when it has this status")]


class SplitPlanVersionInFull(SplitPlanVersionOut):
    """A version of a split plan, with its document."""

    document: Annotated[Object, Field(description="as it was sent: docs/split-plans.md")]
    written_out: Annotated[Object, Field(description="with what it inherits; the hash is of this")]


class SplitPlanOut(TypedDict):
    """A split plan 分账方案 that you keep."""

    object: Literal["split_plan"]
    id: PlanId
    name: str
    currency: Currency
    active_version: Annotated[int | None, Field(description="by which new payments are shared out; null: none yet")]
    last_version: int
    created_at: Time


class SplitPlanInFull(SplitPlanOut):
    """A split plan with its versions."""

    versions: Annotated[list[SplitPlanVersionInFull], Field(description="newest first, at most a hundred")]


class SplitAttachmentOut(TypedDict):
    """By which plan payments are shared out that name none."""

    object: Literal["split_attachment"]
    to: Annotated[str, words(Scope)]
    subject: Annotated[str, Field(description="the link's id, or your own name for it; empty where it is you")]
    currency: Currency
    plan: Annotated[PlanId | None, Field(description="null: none any more")]
    version: Annotated[int | None, Field(description="null: the one that is active when a payment is made")]
    attached_by: Annotated[str, Field(description="a person's name, or an API key's id")]
    attached_at: Time


class SubAccountOut(TypedDict):
    """A payee's account at the bank 子账户."""

    bank: str | None
    account: Annotated[str | None, Field(description="the last four digits; null: the bank has not given it one")]
    status: Annotated[
        str, words(states.SubAccount), Field(description="what the payee is owed is paid to one that is `open`")
    ]
    reason: Annotated[str | None, Field(description="why the bank opened none, or refuses to pay it: its code")]
    frozen_at: Annotated[
        Time | None, Field(description="since when nothing is paid to it or withdrawn from it; null: it is not frozen")
    ]
    frozen_by: Annotated[
        Literal["bank", "operator"] | None, Field(description="by whose word; the operator lifts both")
    ]


class PayeeOut(TypedDict):
    """Somebody who gets shares of payments 收款方."""

    object: Literal["payee"]
    id: PayeeId
    name: str
    kind: Annotated[str, words(("supplier", "merchant", "platform"))]
    currency: Currency
    sub_account: SubAccountOut | None
    suspended_at: Annotated[
        Time | None, Field(description="since when nothing is paid out to it; what it is owed is booked as ever")
    ]
    suspended_by: Annotated[
        Literal["merchant", "operator"] | None, Field(description="an operator's suspension is lifted by the operator")
    ]
    account_class: Annotated[
        Annotated[str, words(AccountClass)] | None,
        Field(description="of its account at the bank 二、三类户, which has limits; null: it has none"),
    ]
    created_at: Time


class DebtOut(TypedDict):
    """What a payee owes 欠款, because a refund or a chargeback took back more than it was owed."""

    object: Literal["debt"]
    id: Annotated[str, WithJsonSchema(id_schema("dbt"))]
    payee: PayeeId
    payment: PaymentId
    refund: Annotated[RefundId | None, Field(description="that took the share back")]
    chargeback: Annotated[ChargebackId | None, Field(description="or what did so instead")]
    currency: Currency
    amount_minor: Minor
    recovered_minor: Annotated[Minor, Field(description="what the payee's next shares have paid of it, oldest first")]
    left_minor: Minor
    status: Annotated[str, words(("open", "recovered"))]
    created_at: Time


class SettlementOut(TypedDict):
    """A batch of instructions for one bank, business date and currency 结算."""

    object: Literal["settlement"]
    id: str
    bank: str
    business_date: Day
    currency: Currency
    status: Annotated[str, words(states.Batch)]
    total_minor: Minor
    paid_minor: Minor
    returned_minor: Annotated[Minor, Field(description="of `paid_minor`, what came back 退票")]
    instruction_count: int
    open_count: int


class PayoutScheduleOut(TypedDict):
    """When a payee is paid 结算周期, or by default every payee at a bank."""

    object: Literal["payout_schedule"]
    bank: str
    payee: Annotated[PayeeId | None, Field(description="null: the bank's default")]
    every: Annotated[str, words(Every)]
    on: Annotated[int | None, Field(description="weekly: 1 (Monday) to 7; monthly: 1 to 31")]
    minimum_minor: Minor
    set_at: Time


class PayoutReserveOut(TypedDict):
    """What is kept of what a payee is owed 保证金, or by default of every payee's at a bank."""

    object: Literal["payout_reserve"]
    bank: str
    payee: Annotated[PayeeId | None, Field(description="null: the bank's default")]
    fixed_minor: Minor
    rolling_basis_points: Annotated[int, Field(description="of what a business date brought")]
    rolling_days: Annotated[int, Field(description="for which that is kept, the date itself among them")]
    set_at: Time


class InstructionOut(TypedDict):
    """What a bank is told to pay one payee 结算指令."""

    object: Literal["instruction"]
    id: str
    settlement: str
    payee: PayeeId
    account: LastFour
    amount_minor: Minor
    currency: Currency
    status: Annotated[str, words(states.Instruction)]
    reason: Annotated[str | None, Field(description="the bank's code of a refusal or a return")]
    returned_on: Annotated[Day | None, Field(description="the bank's day on which a payout came back 退票")]


class DepositOut(TypedDict):
    """A channel's net of a day, as the bank booked it."""

    object: Literal["deposit"]
    channel_account: str | None
    bank: str
    amount_minor: Annotated[int, Field(description="whole minor units; negative: was drawn")]
    currency: Currency
    entry_ref: str
    business_date: Day


EVENTS = {
    "split.posted": EventType("the payment's money was shared out among its payees", SplitOut),
    "split.delivered": EventType("delivery was confirmed: what waits for it is released", SplitOut),
    "split.released": EventType("something that was frozen of a payment's shares can be paid out", SplitOut),
    "split_plan.drafted": EventType("a version of a split plan was made; nothing uses it yet", SplitPlanVersionOut),
    "split_plan.activated": EventType("new payments are shared out by this version of the plan", SplitPlanVersionOut),
    "split_plan.attached": EventType("payments that name no plan are shared out by this one", SplitAttachmentOut),
    "own_payee.set": EventType("by which payee you are paid what is your own of payments was set", OwnPayeeOut),
    "payee.created": EventType("a payee was registered", PayeeOut),
    "payee.account_opened": EventType("the bank opened a payee's sub-account: what is owed is paid to it", PayeeOut),
    "payee.account_refused": EventType("the bank opens no sub-account for a payee; what is owed stays owed", PayeeOut),
    "payee.account_opening": EventType("another sub-account was asked for, and the bank has not said yet", PayeeOut),
    "payee.account_frozen": EventType("nothing is paid to a payee's account or withdrawn from it any more", PayeeOut),
    "payee.account_unfrozen": EventType("a payee's account is paid and withdrawn from again", PayeeOut),
    "payee.account_class_set": EventType(
        "of which class a payee's account is was set: its limits are others", PayeeOut
    ),
    "payee.suspended": EventType("nothing is paid out to a payee until it is resumed", PayeeOut),
    "payee.resumed": EventType("what a payee is owed is paid out again, from the next batch on", PayeeOut),
    "debt.opened": EventType(
        "a refund or a chargeback took back more from a payee than it was owed: it owes the rest", DebtOut
    ),
    "settlement.created": EventType("a batch of instructions for a bank was made", SettlementOut),
    "settlement.released": EventType(
        "a batch goes on that waited for people: a second one released it, or two have it sent again", SettlementOut
    ),
    "settlement.refused": EventType(
        "the bank refused the whole batch; people decide what becomes of it", SettlementOut
    ),
    "settlement.cancelled": EventType(
        "a batch that was refused or awaited its release is not sent; its shares are owed again", SettlementOut
    ),
    "payout_schedule.set": EventType("when a payee, or every payee at a bank, is paid was set", PayoutScheduleOut),
    "payout_reserve.set": EventType(
        "what is kept of what a payee is owed, or every payee at a bank, was set", PayoutReserveOut
    ),
    "settlement.sent": EventType("the bank has the batch", SettlementOut),
    "settlement.line_paid": EventType("the bank credited a payee's sub-account", InstructionOut),
    "settlement.line_refused": EventType("the bank refused a line; the share is owed again", InstructionOut),
    "settlement.line_returned": EventType("a payout came back 退票; the share is owed again", InstructionOut),
    "settlement.finished": EventType("every line of the batch is paid or refused", SettlementOut),
    "channel.deposited": EventType("the channel's net of a day arrived at the bank", DepositOut),
    **RAIL_EVENTS,
}


def shares_of(split: Split) -> list[Share]:
    """Return a stored split's shares; empty while it is only planned."""
    return [Share(*share) for share in orjson.loads(split.shares)]


def split_payload(split: Split, shares: Sequence[Share] | None = None) -> SplitOut:
    """Return a split as the API and the events show it. shares: as it has them; None: they are read from it."""
    parts = [part for part in frozen_of(split) if part.frozen_minor]
    if shares is None:
        shares = shares_of(split)
    frozen = [0] * len(shares)
    for part in parts:
        frozen[part.share] += part.frozen_minor
    return {
        "object": "split",
        "payment": split.payment_id,
        "status": split.status,
        "currency": split.currency,
        "gross_minor": split.gross_minor,
        "channel_fee_minor": split.fee_minor,
        "merchant_coupon_minor": split.coupon_minor,
        "parts": [
            {
                "amount_minor": part.amount_minor,
                "product_line": part.product_line,
                "plan": part.plan_id,
                "version": part.version,
                "attached_to": part.attached_to,
            }
            for part in from_json(split.asked)
        ],
        "shares": [
            {
                "payee": s.payee_id,
                "line": s.line,
                "amount_minor": s.amount_minor,
                "taken_back_minor": s.taken_back_minor,
                "frozen_minor": frozen[n],
                "travels": "own" if not (s.payee_id or split.own_payee) else "rail" if s.rail == BY_RAIL else "bank",
                "because": None if s.rail in ("", BY_RAIL) else s.rail,
            }
            for n, s in enumerate(shares)
        ],
        "frozen": [
            {
                "payee": shares[part.share].payee_id,
                "line": shares[part.share].line,
                "amount_minor": part.frozen_minor,
                "on_delivery": part.on_delivery,
                "due_on": part.due_on,
            }
            for part in parts
        ],
        "delivered_at": None if split.delivered_at is None else rfc3339(split.delivered_at),
        "own_payee": split.own_payee,
    }


def own_payee_payload(row: OwnPayee) -> OwnPayeeOut:
    """Return by which payee a merchant is paid what is its own, as the API shows it."""
    return {
        "object": "own_payee",
        "currency": row.currency,
        "payee": row.payee_id,
        "set_by": row.set_by,
        "set_at": rfc3339(row.set_at),
    }


def plan_version_payload(row: PlanVersion) -> SplitPlanVersionOut:
    """Return a version of a split plan as events tell of it."""
    return {
        "object": "split_plan_version",
        "plan": row.plan_id,
        "version": row.version,
        "hash": row.hash.hex(),
        "status": row.status,
        "maker": row.maker,
        "checker": row.checker,
        "made_at": rfc3339(row.made_at),
        "status_at": rfc3339(row.status_at),
    }


def plan_version_in_full(row: PlanVersion) -> SplitPlanVersionInFull:
    """Return a version of a split plan as the API shows it."""
    documents = {"document": orjson.loads(row.document), "written_out": orjson.loads(row.written_out)}
    return {**plan_version_payload(row), **documents}  # type: ignore[typeddict-item]


def plan_payload(plan: SplitPlan) -> SplitPlanOut:
    """Return a split plan as the API shows it."""
    return {
        "object": "split_plan",
        "id": plan.id,
        "name": plan.name,
        "currency": plan.currency,
        "active_version": plan.active,
        "last_version": plan.versions,
        "created_at": rfc3339(plan.created_at),
    }


def attachment_payload(row: Attachment) -> SplitAttachmentOut:
    """Return an attachment as the API shows it."""
    return {
        "object": "split_attachment",
        "to": row.scope,
        "subject": row.subject,
        "currency": row.currency,
        "plan": row.plan_id,
        "version": row.version,
        "attached_by": row.attached_by,
        "attached_at": rfc3339(row.attached_at),
    }


def payee_payload(payee: Payee) -> PayeeOut:
    """Return a payee as the API shows it; the account number shortened to its last four."""
    return {
        "object": "payee",
        "id": payee.id,
        "name": payee.name,
        "kind": payee.kind,
        "currency": payee.currency,
        "sub_account": None
        if payee.account_status is None
        else {
            "bank": payee.bank,
            "account": None if payee.bank_account is None else f"…{payee.bank_account[-4:]}",
            "status": payee.account_status,
            "reason": payee.account_reason,
            "frozen_at": None if payee.frozen_at is None else rfc3339(payee.frozen_at),
            "frozen_by": payee.frozen_by,  # type: ignore[typeddict-item]  # the column holds no other
        },
        "suspended_at": None if payee.suspended_at is None else rfc3339(payee.suspended_at),
        "suspended_by": payee.suspended_by,  # type: ignore[typeddict-item]  # the column holds no other
        "account_class": payee.account_class,
        "created_at": rfc3339(payee.created_at),
    }


def debt_payload(debt: PayeeDebt, left_minor: int) -> DebtOut:
    """Return a debt as the API and the events show it. left_minor: what of it has not been recovered."""
    return {
        "object": "debt",
        "id": debt.id,
        "payee": debt.payee_id,
        "payment": debt.payment_id,
        "refund": None if (of_chargeback := debt.cause.startswith("cbk_")) else debt.cause,
        "chargeback": debt.cause if of_chargeback else None,
        "currency": debt.currency,
        "amount_minor": debt.amount_minor,
        "recovered_minor": debt.amount_minor - left_minor,
        "left_minor": left_minor,
        "status": "open" if left_minor else "recovered",
        "created_at": rfc3339(debt.created_at),
    }


def settlement_payload(settlement: Settlement) -> SettlementOut:
    """Return a batch as the API and the events show it."""
    return {
        "object": "settlement",
        "id": settlement.id,
        "bank": settlement.bank,
        "business_date": settlement.business_date.isoformat(),
        "currency": settlement.currency,
        "status": settlement.status,
        "total_minor": settlement.total_minor,
        "paid_minor": settlement.paid_minor,
        "returned_minor": settlement.returned_minor,
        "instruction_count": settlement.instruction_count,
        "open_count": settlement.open_count,
    }


def schedule_payload(row: PayoutSchedule) -> PayoutScheduleOut:
    """Return a schedule as the API and the events show it."""
    return {
        "object": "payout_schedule",
        "bank": row.bank,
        "payee": row.payee_id or None,
        "every": row.every,
        "on": row.on_day,
        "minimum_minor": row.minimum_minor,
        "set_at": rfc3339(row.set_at),
    }


def reserve_payload(row: PayoutReserve) -> PayoutReserveOut:
    """Return a reserve as the API and the events show it."""
    return {
        "object": "payout_reserve",
        "bank": row.bank,
        "payee": row.payee_id or None,
        "fixed_minor": row.fixed_minor,
        "rolling_basis_points": row.rolling_bp,
        "rolling_days": row.rolling_days,
        "set_at": rfc3339(row.set_at),
    }


def instruction_payload(line: Instruction) -> InstructionOut:
    """Return an instruction as the API and the events show it; the account number shortened to its last four."""
    return {
        "object": "instruction",
        "id": line.id,
        "settlement": line.settlement_id,
        "payee": line.payee_id,
        "account": f"…{line.account[-4:]}",
        "amount_minor": line.amount_minor,
        "currency": line.currency,
        "status": line.status,
        "reason": line.reason if line.returned_on is None else line.return_reason,
        "returned_on": None if line.returned_on is None else line.returned_on.isoformat(),
    }
