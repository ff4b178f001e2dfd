"""Recalls as the API, the events and the command line show them."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from channels.banks import RECALL_REASONS
from kernel.answers import Currency, Day, Minor, Time, id_schema, words
from kernel.clock import rfc3339
from splitting import states
from splitting.objects import InstructionOut, SettlementOut
from splitting.recalls.rules import number_at_bank
from splitting.tables import Recall
from splitting.withdrawals.rules import PREFIX
from streams.catalogue import EventType


class RecallOut(TypedDict):
    """What asks a bank for a payment back 追回."""

    object: Literal["recall"]
    id: Annotated[str, Field(description="its number at the bank")]
    instruction: Annotated[str | None, Field(description="the line that is recalled; null: it is a withdrawal")]
    withdrawal: Annotated[
        Annotated[str, WithJsonSchema(id_schema("wdr"))] | None, Field(description="or the withdrawal that is")
    ]
    bank: str
    amount_minor: Minor
    currency: Currency
    reason: Annotated[str, words(tuple(RECALL_REASONS))]
    status: Annotated[str, words(states.Recall)]
    code: Annotated[str | None, Field(description="why the bank refuses it, or waits: its code and words")]
    answered_on: Annotated[Day | None, Field(description="the bank's day of its last answer")]
    asked_at: Time


class InstructionInFull(InstructionOut):
    """What a bank is told to pay one payee, and whether it is asked to take that back."""

    recall: Annotated[RecallOut | None, Field(description="null: nobody asked for it back")]


class SettlementInFull(SettlementOut):
    """A settlement with its instructions."""

    instructions: list[InstructionInFull]


EVENTS = {
    "recall.requested": EventType("a bank is to be asked for a payment back 追回", RecallOut),
    "recall.sent": EventType("the bank has the request", RecallOut),
    "recall.pending": EventType("the bank looks into a recall", RecallOut),
    "recall.accepted": EventType("the bank gives a payment back, or never makes it", RecallOut),
    "recall.refused": EventType("the bank does not give a payment back", RecallOut),
    "recall.overtaken": EventType(
        "a payment was paid, refused or came back before the bank answered its recall", RecallOut
    ),
}


def recall_payload(row: Recall) -> RecallOut:
    """Return a recall as the API and the events show it."""
    of_withdrawal = row.about.startswith(PREFIX)
    return {
        "object": "recall",
        "id": number_at_bank(row.book, row.about, row.number),
        "instruction": None if of_withdrawal else row.about,
        "withdrawal": row.about if of_withdrawal else None,
        "bank": row.bank,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "reason": row.reason,
        "status": row.status,
        "code": row.code,
        "answered_on": None if row.answered_on is None else row.answered_on.isoformat(),
        "asked_at": rfc3339(row.asked_at),
    }
