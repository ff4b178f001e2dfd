"""State tables: a plan's version; a batch, its lines, recalls, files; rails; withdrawals 提现; sub-accounts 子账户."""

from enum import StrEnum

from kernel.states import Move, StateTable


class Batch(StrEnum):
    DRAFT = "draft"  # its lines are being made and booked in transit, in portions
    AWAITING_RELEASE = "awaiting_release"  # 待放行: made and booked in transit; sent once a second person agrees
    CREATED = "created"  # made and booked in transit; not known to have reached the bank
    REFUSED = "refused"  # 银行拒收: the bank refused all of it and did nothing; two people decide what is next
    CANCELLED = "cancelled"  # 已撤销: two people have said so; its lines are being given back
    SENT = "sent"  # the bank has it
    FINISHED = "finished"  # every line is paid or refused


class BatchEvent(StrEnum):
    MADE = "made"
    MADE_LARGE = "made_large"  # over the bank's limit
    RELEASED = "released"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    SEND_AGAIN = "send_again"
    CANCEL = "cancel"
    LAST_LINE_DECIDED = "last_line_decided"


BATCH = StateTable(
    {
        (Batch.DRAFT, BatchEvent.MADE): Move(Batch.CREATED, "settlement.created"),
        (Batch.DRAFT, BatchEvent.MADE_LARGE): Move(Batch.AWAITING_RELEASE, "settlement.created"),
        (Batch.AWAITING_RELEASE, BatchEvent.RELEASED): Move(Batch.CREATED, "settlement.released"),
        (Batch.AWAITING_RELEASE, BatchEvent.CANCEL): Move(Batch.CANCELLED, "settlement.cancelled"),
        (Batch.CREATED, BatchEvent.RELEASED): Move(Batch.CREATED),
        (Batch.REFUSED, BatchEvent.RELEASED): Move(Batch.REFUSED),
        (Batch.CANCELLED, BatchEvent.RELEASED): Move(Batch.CANCELLED),
        (Batch.SENT, BatchEvent.RELEASED): Move(Batch.SENT),
        (Batch.FINISHED, BatchEvent.RELEASED): Move(Batch.FINISHED),
        (Batch.CREATED, BatchEvent.ACCEPTED): Move(Batch.SENT, "settlement.sent"),
        (Batch.CREATED, BatchEvent.REFUSED): Move(Batch.REFUSED, "settlement.refused"),
        (Batch.REFUSED, BatchEvent.SEND_AGAIN): Move(Batch.CREATED, "settlement.released"),
        (Batch.REFUSED, BatchEvent.CANCEL): Move(Batch.CANCELLED, "settlement.cancelled"),
        # The bank has it after all: then nothing of it is given back.
        (Batch.REFUSED, BatchEvent.ACCEPTED): Move(Batch.SENT, "settlement.sent"),
        (Batch.CANCELLED, BatchEvent.ACCEPTED): Move(Batch.SENT, "settlement.sent"),
        (Batch.REFUSED, BatchEvent.LAST_LINE_DECIDED): Move(Batch.FINISHED, "settlement.finished"),
        (Batch.CANCELLED, BatchEvent.LAST_LINE_DECIDED): Move(Batch.FINISHED, "settlement.finished"),
        # Its acceptance was lost, its work was not.
        (Batch.CREATED, BatchEvent.LAST_LINE_DECIDED): Move(Batch.FINISHED, "settlement.finished"),
        (Batch.SENT, BatchEvent.ACCEPTED): Move(Batch.SENT),  # the same file again: the bank keeps one
        (Batch.SENT, BatchEvent.LAST_LINE_DECIDED): Move(Batch.FINISHED, "settlement.finished"),
        (Batch.FINISHED, BatchEvent.ACCEPTED): Move(Batch.FINISHED),
    },
    begins={
        Batch.DRAFT: None,
        Batch.CREATED: "settlement.created",  # of few payees: in one commit
        Batch.AWAITING_RELEASE: "settlement.created",
    },
    path=[
        (Batch.DRAFT, BatchEvent.MADE),
        (Batch.CREATED, BatchEvent.ACCEPTED),
        (Batch.SENT, BatchEvent.LAST_LINE_DECIDED),
    ],
)


class Instruction(StrEnum):
    IN_TRANSIT = "in_transit"  # 在途
    PAID = "paid"
    REFUSED = "refused"
    RETURNED = "returned"  # 退票: it was paid, and came back


class InstructionEvent(StrEnum):
    EXECUTED = "executed"
    REFUSED = "refused"
    RETURNED = "returned"
    PAID_AFTER_ALL = "paid_after_all"  # two people say so, of one that was recalled


INSTRUCTION = StateTable(
    {
        (Instruction.IN_TRANSIT, InstructionEvent.EXECUTED): Move(Instruction.PAID, "settlement.line_paid"),
        (Instruction.IN_TRANSIT, InstructionEvent.REFUSED): Move(Instruction.REFUSED, "settlement.line_refused"),
        (Instruction.PAID, InstructionEvent.EXECUTED): Move(Instruction.PAID),  # banks repeat their reports
        (Instruction.PAID, InstructionEvent.RETURNED): Move(Instruction.RETURNED, "settlement.line_returned"),
        (Instruction.REFUSED, InstructionEvent.REFUSED): Move(Instruction.REFUSED),
        (Instruction.REFUSED, InstructionEvent.PAID_AFTER_ALL): Move(Instruction.PAID, "settlement.line_paid"),
        (Instruction.RETURNED, InstructionEvent.EXECUTED): Move(Instruction.RETURNED),  # so it had been
        (Instruction.RETURNED, InstructionEvent.REFUSED): Move(Instruction.RETURNED),  # as some banks say it came back
    },
    begins={Instruction.IN_TRANSIT: None},
    path=[(Instruction.IN_TRANSIT, InstructionEvent.EXECUTED)],
)


class Withdrawal(StrEnum):
    REQUESTED = "requested"  # its amount is held; not known to have reached the bank
    STOPPED = "stopped"  # the bank took no order for it; it is sent no more until people decide
    SENT = "sent"  # the bank has it
    PAID = "paid"
    REFUSED = "refused"
    RETURNED = "returned"  # 退票: it was paid, and came back to the sub-account


class WithdrawalEvent(StrEnum):
    ACCEPTED = "accepted"
    STOPPED = "stopped"
    SEND_AGAIN = "send_again"
    EXECUTED = "executed"
    REFUSED = "refused"
    RETURNED = "returned"


WITHDRAWAL = StateTable(
    {
        (Withdrawal.REQUESTED, WithdrawalEvent.ACCEPTED): Move(Withdrawal.SENT, "withdrawal.sent"),
        (Withdrawal.REQUESTED, WithdrawalEvent.STOPPED): Move(Withdrawal.STOPPED, "withdrawal.stopped"),
        (Withdrawal.STOPPED, WithdrawalEvent.SEND_AGAIN): Move(Withdrawal.REQUESTED, "withdrawal.resumed"),
        # Its acceptance was lost, its work was not.
        (Withdrawal.REQUESTED, WithdrawalEvent.EXECUTED): Move(Withdrawal.PAID, "withdrawal.paid"),
        (Withdrawal.REQUESTED, WithdrawalEvent.REFUSED): Move(Withdrawal.REFUSED, "withdrawal.refused"),
        (Withdrawal.STOPPED, WithdrawalEvent.ACCEPTED): Move(Withdrawal.SENT, "withdrawal.sent"),
        (Withdrawal.STOPPED, WithdrawalEvent.EXECUTED): Move(Withdrawal.PAID, "withdrawal.paid"),
        (Withdrawal.STOPPED, WithdrawalEvent.REFUSED): Move(Withdrawal.REFUSED, "withdrawal.refused"),
        (Withdrawal.SENT, WithdrawalEvent.ACCEPTED): Move(Withdrawal.SENT),  # the same file again: the bank keeps one
        (Withdrawal.SENT, WithdrawalEvent.EXECUTED): Move(Withdrawal.PAID, "withdrawal.paid"),
        (Withdrawal.SENT, WithdrawalEvent.REFUSED): Move(Withdrawal.REFUSED, "withdrawal.refused"),
        (Withdrawal.PAID, WithdrawalEvent.ACCEPTED): Move(Withdrawal.PAID),
        (Withdrawal.PAID, WithdrawalEvent.EXECUTED): Move(Withdrawal.PAID),  # banks repeat their reports
        (Withdrawal.PAID, WithdrawalEvent.RETURNED): Move(Withdrawal.RETURNED, "withdrawal.returned"),
        (Withdrawal.REFUSED, WithdrawalEvent.REFUSED): Move(Withdrawal.REFUSED),
        (Withdrawal.RETURNED, WithdrawalEvent.ACCEPTED): Move(Withdrawal.RETURNED),
        (Withdrawal.RETURNED, WithdrawalEvent.EXECUTED): Move(Withdrawal.RETURNED),  # so it had been
        (Withdrawal.RETURNED, WithdrawalEvent.REFUSED): Move(Withdrawal.RETURNED),  # as some banks say it came back
    },
    begins={Withdrawal.REQUESTED: "withdrawal.requested"},
    path=[
        (Withdrawal.REQUESTED, WithdrawalEvent.ACCEPTED),
        (Withdrawal.SENT, WithdrawalEvent.EXECUTED),
    ],
)


class SubAccount(StrEnum):
    """Of a payee's account at its bank 子账户."""

    OPENING = "opening"  # 开户中: the bank is asked until it says; what the payee is owed stays owed
    OPEN = "open"
    REFUSED = "refused"  # 开户被拒: the bank opened none; another can be asked for
    FROZEN = "frozen"  # 冻结: by two people, or by the bank's word; nothing is paid to it or withdrawn from it


class SubAccountEvent(StrEnum):
    OPENED = "opened"
    REFUSED = "refused"
    ASKED = "asked"  # for another account, and the bank has not said yet
    FROZEN = "frozen"
    UNFROZEN = "unfrozen"  # by two people


SUB_ACCOUNT = StateTable(
    {
        (SubAccount.OPENING, SubAccountEvent.OPENED): Move(SubAccount.OPEN, "payee.account_opened"),
        (SubAccount.OPENING, SubAccountEvent.REFUSED): Move(SubAccount.REFUSED, "payee.account_refused"),
        (SubAccount.REFUSED, SubAccountEvent.ASKED): Move(SubAccount.OPENING, "payee.account_opening"),
        (SubAccount.REFUSED, SubAccountEvent.OPENED): Move(SubAccount.OPEN, "payee.account_opened"),
        (SubAccount.REFUSED, SubAccountEvent.REFUSED): Move(SubAccount.REFUSED),
        (SubAccount.OPEN, SubAccountEvent.FROZEN): Move(SubAccount.FROZEN, "payee.account_frozen"),
        (SubAccount.FROZEN, SubAccountEvent.UNFROZEN): Move(SubAccount.OPEN, "payee.account_unfrozen"),
    },
    begins=dict.fromkeys(
        (SubAccount.OPENING, SubAccount.OPEN, SubAccount.REFUSED)
    ),  # payee.created tells of it, as of a payee that is at no bank
    path=[(SubAccount.OPENING, SubAccountEvent.OPENED)],
)


class Recall(StrEnum):
    """Of a recall 追回 of a line or a withdrawal."""

    REQUESTED = "requested"  # two people have said so; not known to have reached the bank
    SENT = "sent"  # the bank has it
    PENDING = "pending"  # the bank looks into it
    ACCEPTED = "accepted"  # the bank has said that the money comes back, or never goes
    REFUSED = "refused"  # the bank has said no, or took no such request
    OVERTAKEN = "overtaken"  # the payment was decided by another word before the bank answered; it may still answer


class RecallEvent(StrEnum):
    TAKEN = "taken"
    NOT_TAKEN = "not_taken"
    PENDING = "pending"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    OVERTAKEN = "overtaken"
    ASKED_AGAIN = "asked_again"


RECALL = StateTable(
    {
        (Recall.REQUESTED, RecallEvent.TAKEN): Move(Recall.SENT, "recall.sent"),
        (Recall.REQUESTED, RecallEvent.NOT_TAKEN): Move(Recall.REFUSED, "recall.refused"),
        # The word that the bank has it was lost.
        (Recall.REQUESTED, RecallEvent.PENDING): Move(Recall.PENDING, "recall.pending"),
        (Recall.REQUESTED, RecallEvent.ACCEPTED): Move(Recall.ACCEPTED, "recall.accepted"),
        (Recall.REQUESTED, RecallEvent.REFUSED): Move(Recall.REFUSED, "recall.refused"),
        (Recall.REQUESTED, RecallEvent.OVERTAKEN): Move(Recall.OVERTAKEN, "recall.overtaken"),
        (Recall.SENT, RecallEvent.TAKEN): Move(Recall.SENT),
        (Recall.SENT, RecallEvent.NOT_TAKEN): Move(Recall.SENT),
        (Recall.SENT, RecallEvent.PENDING): Move(Recall.PENDING, "recall.pending"),
        (Recall.SENT, RecallEvent.ACCEPTED): Move(Recall.ACCEPTED, "recall.accepted"),
        (Recall.SENT, RecallEvent.REFUSED): Move(Recall.REFUSED, "recall.refused"),
        (Recall.SENT, RecallEvent.OVERTAKEN): Move(Recall.OVERTAKEN, "recall.overtaken"),
        (Recall.PENDING, RecallEvent.TAKEN): Move(Recall.PENDING),
        (Recall.PENDING, RecallEvent.NOT_TAKEN): Move(Recall.PENDING),
        (Recall.PENDING, RecallEvent.PENDING): Move(Recall.PENDING),
        (Recall.PENDING, RecallEvent.ACCEPTED): Move(Recall.ACCEPTED, "recall.accepted"),
        (Recall.PENDING, RecallEvent.REFUSED): Move(Recall.REFUSED, "recall.refused"),
        (Recall.PENDING, RecallEvent.OVERTAKEN): Move(Recall.OVERTAKEN, "recall.overtaken"),
        # An accepted one that is refused later, and the other way round, is a contradiction: those moves are missing.
        (Recall.ACCEPTED, RecallEvent.TAKEN): Move(Recall.ACCEPTED),
        (Recall.ACCEPTED, RecallEvent.NOT_TAKEN): Move(Recall.ACCEPTED),
        (Recall.ACCEPTED, RecallEvent.PENDING): Move(Recall.ACCEPTED),
        (Recall.ACCEPTED, RecallEvent.ACCEPTED): Move(Recall.ACCEPTED),
        (Recall.ACCEPTED, RecallEvent.OVERTAKEN): Move(Recall.ACCEPTED),
        (Recall.REFUSED, RecallEvent.TAKEN): Move(Recall.REFUSED),
        (Recall.REFUSED, RecallEvent.NOT_TAKEN): Move(Recall.REFUSED),
        (Recall.REFUSED, RecallEvent.PENDING): Move(Recall.REFUSED),
        (Recall.REFUSED, RecallEvent.REFUSED): Move(Recall.REFUSED),
        (Recall.REFUSED, RecallEvent.OVERTAKEN): Move(Recall.REFUSED),
        (Recall.REFUSED, RecallEvent.ASKED_AGAIN): Move(Recall.REQUESTED, "recall.requested"),
        (Recall.OVERTAKEN, RecallEvent.TAKEN): Move(Recall.OVERTAKEN),
        (Recall.OVERTAKEN, RecallEvent.NOT_TAKEN): Move(Recall.REFUSED, "recall.refused"),
        (Recall.OVERTAKEN, RecallEvent.PENDING): Move(Recall.OVERTAKEN),
        (Recall.OVERTAKEN, RecallEvent.ACCEPTED): Move(Recall.ACCEPTED, "recall.accepted"),
        (Recall.OVERTAKEN, RecallEvent.REFUSED): Move(Recall.REFUSED, "recall.refused"),
        (Recall.OVERTAKEN, RecallEvent.OVERTAKEN): Move(Recall.OVERTAKEN),
    },
    begins={Recall.REQUESTED: "recall.requested"},
    path=[
        (Recall.REQUESTED, RecallEvent.TAKEN),
        (Recall.SENT, RecallEvent.ACCEPTED),
    ],
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


class FileFate(StrEnum):
    OFFERED = "offered"  # given by hand in place of another; nothing is done with it until two people have agreed
    RECEIVED = "received"  # kept, and about to be applied
    APPLIED = "applied"
    REPEATED = "repeated"  # the very bytes of a file that was applied before, listed once more
    QUARANTINED = "quarantined"  # not applied, or not all of it: it has a case
    DISCARDED = "discarded"  # two people have said so; what takes its place, if anything does, names it


class FileEvent(StrEnum):
    ALL_APPLIED = "all_applied"
    SAME_BYTES = "same_bytes"
    NOT_APPLIED = "not_applied"
    AGREED = "agreed"  # to what was offered
    RELEASED = "released"
    DISCARDED = "discarded"


FILE = StateTable(
    {
        (FileFate.OFFERED, FileEvent.AGREED): Move(FileFate.RECEIVED),
        (FileFate.RECEIVED, FileEvent.ALL_APPLIED): Move(FileFate.APPLIED),
        (FileFate.RECEIVED, FileEvent.SAME_BYTES): Move(FileFate.REPEATED),
        (FileFate.RECEIVED, FileEvent.NOT_APPLIED): Move(FileFate.QUARANTINED),
        (FileFate.QUARANTINED, FileEvent.ALL_APPLIED): Move(FileFate.APPLIED),
        (FileFate.QUARANTINED, FileEvent.SAME_BYTES): Move(FileFate.REPEATED),
        (FileFate.QUARANTINED, FileEvent.NOT_APPLIED): Move(FileFate.QUARANTINED),
        (FileFate.QUARANTINED, FileEvent.RELEASED): Move(FileFate.RECEIVED),
        (FileFate.QUARANTINED, FileEvent.DISCARDED): Move(FileFate.DISCARDED),
        (FileFate.APPLIED, FileEvent.ALL_APPLIED): Move(FileFate.APPLIED),  # read again from an earlier cursor
        (FileFate.APPLIED, FileEvent.SAME_BYTES): Move(FileFate.APPLIED),
        (FileFate.APPLIED, FileEvent.NOT_APPLIED): Move(FileFate.QUARANTINED),
        (FileFate.REPEATED, FileEvent.ALL_APPLIED): Move(FileFate.REPEATED),
        (FileFate.REPEATED, FileEvent.SAME_BYTES): Move(FileFate.REPEATED),
        (FileFate.REPEATED, FileEvent.NOT_APPLIED): Move(FileFate.QUARANTINED),
    },
    begins={FileFate.RECEIVED: None, FileFate.OFFERED: None},
    path=[(FileFate.RECEIVED, FileEvent.ALL_APPLIED)],
)


class Receiver(StrEnum):
    REGISTERING = "registering"  # the rail is told of it until it has answered
    REGISTERED = "registered"
    REFUSED = "refused"  # by the rail: change it, or have it told again


class ReceiverEvent(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    SET = "set"  # anew: other facts, or the same to be told again


RECEIVER = StateTable(
    {
        (Receiver.REGISTERING, ReceiverEvent.ACCEPTED): Move(Receiver.REGISTERED, "rail_receiver.registered"),
        (Receiver.REGISTERING, ReceiverEvent.REFUSED): Move(Receiver.REFUSED, "rail_receiver.refused"),
        (Receiver.REGISTERING, ReceiverEvent.SET): Move(Receiver.REGISTERING, "rail_receiver.set"),
        (Receiver.REGISTERED, ReceiverEvent.SET): Move(Receiver.REGISTERING, "rail_receiver.set"),
        (Receiver.REFUSED, ReceiverEvent.SET): Move(Receiver.REGISTERING, "rail_receiver.set"),
    },
    begins={Receiver.REGISTERING: "rail_receiver.set"},
    path=[(Receiver.REGISTERING, ReceiverEvent.ACCEPTED)],
)


class Sharing(StrEnum):
    """Of a share order 分账单."""

    PLANNED = "planned"  # nothing of it has left
    SENT = "sent"  # it may be at the rail, under one number for ever
    FINISHED = "finished"  # the rail has decided about each of its parts
    REFUSED = "refused"  # the rail has nothing of it: its parts are owed again, and paid by bank


class SharingEvent(StrEnum):
    CLAIMED = "claimed"  # about to be sent or asked about
    DECIDED = "decided"
    REFUSED = "refused"


SHARING = StateTable(
    {
        (Sharing.PLANNED, SharingEvent.CLAIMED): Move(Sharing.SENT),
        (Sharing.SENT, SharingEvent.CLAIMED): Move(Sharing.SENT),
        (Sharing.SENT, SharingEvent.DECIDED): Move(Sharing.FINISHED, "share_order.finished"),
        (Sharing.SENT, SharingEvent.REFUSED): Move(Sharing.REFUSED, "share_order.refused"),
    },
    begins={Sharing.PLANNED: None},
    path=[(Sharing.PLANNED, SharingEvent.CLAIMED), (Sharing.SENT, SharingEvent.DECIDED)],
)


class RailPart(StrEnum):
    """Of one share in a share order."""

    OPEN = "open"
    PAID = "paid"  # its receiver has it
    CLOSED = "closed"  # its receiver does not get it: it is owed again, and paid by bank


class RailPartEvent(StrEnum):
    PAID = "paid"
    CLOSED = "closed"


RAIL_PART = StateTable(
    {
        (RailPart.OPEN, RailPartEvent.PAID): Move(RailPart.PAID),
        (RailPart.OPEN, RailPartEvent.CLOSED): Move(RailPart.CLOSED),
        (RailPart.PAID, RailPartEvent.PAID): Move(RailPart.PAID),  # rails repeat their answers
        (RailPart.CLOSED, RailPartEvent.CLOSED): Move(RailPart.CLOSED),
    },
    begins={RailPart.OPEN: None},
    path=[(RailPart.OPEN, RailPartEvent.PAID)],
)


class Fetching(StrEnum):
    """Of a fetching-back 分账回退."""

    WAITING = "waiting"  # nothing of it has left; the order of its share is under way
    SENT = "sent"
    DONE = "done"  # the rail has it back
    REFUSED = "refused"  # it has not: the payee owes it
    DROPPED = "dropped"  # there was nothing to fetch: the rail had not paid that share


class FetchingEvent(StrEnum):
    CLAIMED = "claimed"
    DONE = "done"
    REFUSED = "refused"
    DROPPED = "dropped"


FETCHING = StateTable(
    {
        (Fetching.WAITING, FetchingEvent.CLAIMED): Move(Fetching.SENT),
        (Fetching.WAITING, FetchingEvent.DROPPED): Move(Fetching.DROPPED),
        (Fetching.SENT, FetchingEvent.CLAIMED): Move(Fetching.SENT),
        (Fetching.SENT, FetchingEvent.DONE): Move(Fetching.DONE, "share_return.done"),
        (Fetching.SENT, FetchingEvent.REFUSED): Move(Fetching.REFUSED, "share_return.refused"),
    },
    begins={Fetching.WAITING: None},
    path=[(Fetching.WAITING, FetchingEvent.CLAIMED), (Fetching.SENT, FetchingEvent.DONE)],
)
