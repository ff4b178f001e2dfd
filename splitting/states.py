"""State tables of a split plan's version, and of settlement 结算: a batch for a bank, and each instruction in it."""

from enum import StrEnum

from kernel.states import Move, StateTable


class Batch(StrEnum):
    CREATED = "created"  # made and booked in transit; not known to have reached the bank
    SENT = "sent"  # the bank has it
    FINISHED = "finished"  # every line is paid or refused


class BatchEvent(StrEnum):
    ACCEPTED = "accepted"
    LAST_LINE_DECIDED = "last_line_decided"


BATCH = StateTable(
    {
        (Batch.CREATED, BatchEvent.ACCEPTED): Move(Batch.SENT, "settlement.sent"),
        # Its acceptance was lost, its work was not.
        (Batch.CREATED, BatchEvent.LAST_LINE_DECIDED): Move(Batch.FINISHED, "settlement.finished"),
        (Batch.SENT, BatchEvent.ACCEPTED): Move(Batch.SENT),  # the same file again: the bank keeps one
        (Batch.SENT, BatchEvent.LAST_LINE_DECIDED): Move(Batch.FINISHED, "settlement.finished"),
        (Batch.FINISHED, BatchEvent.ACCEPTED): Move(Batch.FINISHED),
    },
    begins={Batch.CREATED: "settlement.created"},
    path=[(Batch.CREATED, BatchEvent.ACCEPTED), (Batch.SENT, BatchEvent.LAST_LINE_DECIDED)],
)


class Instruction(StrEnum):
    IN_TRANSIT = "in_transit"  # 在途
    PAID = "paid"
    REFUSED = "refused"


class InstructionEvent(StrEnum):
    EXECUTED = "executed"
    REFUSED = "refused"


INSTRUCTION = StateTable(
    {
        (Instruction.IN_TRANSIT, InstructionEvent.EXECUTED): Move(Instruction.PAID, "settlement.line_paid"),
        (Instruction.IN_TRANSIT, InstructionEvent.REFUSED): Move(Instruction.REFUSED, "settlement.line_refused"),
        (Instruction.PAID, InstructionEvent.EXECUTED): Move(Instruction.PAID),  # banks repeat their reports
        (Instruction.REFUSED, InstructionEvent.REFUSED): Move(Instruction.REFUSED),
    },
    begins={Instruction.IN_TRANSIT: None},
    path=[(Instruction.IN_TRANSIT, InstructionEvent.EXECUTED)],
)


class PlanVersion(StrEnum):
    DRAFT = "draft"  # made, and used by no payment yet
    ACTIVE = "active"  # new payments that name the plan are shared out by it
    RETIRED = "retired"  # another version took its place; payments that it was used for keep it


class PlanVersionEvent(StrEnum):
    ACTIVATE = "activate"
    REPLACE = "replace"


PLAN_VERSION = StateTable(
    {
        (PlanVersion.DRAFT, PlanVersionEvent.ACTIVATE): Move(PlanVersion.ACTIVE, "split_plan.activated"),
        (PlanVersion.ACTIVE, PlanVersionEvent.REPLACE): Move(PlanVersion.RETIRED),
        (PlanVersion.RETIRED, PlanVersionEvent.ACTIVATE): Move(PlanVersion.ACTIVE, "split_plan.activated"),
    },
    begins={PlanVersion.DRAFT: "split_plan.drafted"},
    path=[
        (PlanVersion.DRAFT, PlanVersionEvent.ACTIVATE),
        (PlanVersion.ACTIVE, PlanVersionEvent.REPLACE),
    ],
)
