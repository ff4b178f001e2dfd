"""State tables of settlement 结算: a batch for a bank, and each instruction in it."""

from enum import StrEnum


class Batch(StrEnum):
    CREATED = "created"  # made and booked in transit; not known to have reached the bank
    SENT = "sent"  # the bank has it
    FINISHED = "finished"  # every line is paid or refused


class BatchEvent(StrEnum):
    ACCEPTED = "accepted"
    LAST_LINE_DECIDED = "last_line_decided"


BATCH = {
    (Batch.CREATED, BatchEvent.ACCEPTED): Batch.SENT,
    (Batch.SENT, BatchEvent.ACCEPTED): Batch.SENT,  # the same file again: the bank keeps one
    (Batch.CREATED, BatchEvent.LAST_LINE_DECIDED): Batch.FINISHED,  # its acceptance was lost, its work was not
    (Batch.SENT, BatchEvent.LAST_LINE_DECIDED): Batch.FINISHED,
    (Batch.FINISHED, BatchEvent.ACCEPTED): Batch.FINISHED,
}


class Instruction(StrEnum):
    IN_TRANSIT = "in_transit"  # 在途
    PAID = "paid"
    REFUSED = "refused"


class InstructionEvent(StrEnum):
    EXECUTED = "executed"
    REFUSED = "refused"


INSTRUCTION = {
    (Instruction.IN_TRANSIT, InstructionEvent.EXECUTED): Instruction.PAID,
    (Instruction.IN_TRANSIT, InstructionEvent.REFUSED): Instruction.REFUSED,
    (Instruction.PAID, InstructionEvent.EXECUTED): Instruction.PAID,  # banks repeat their reports
    (Instruction.REFUSED, InstructionEvent.REFUSED): Instruction.REFUSED,
}
