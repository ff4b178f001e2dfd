"""State tables of a person and of an approval."""

from enum import StrEnum

from kernel.states import Move, StateTable


class Person(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class PersonEvent(StrEnum):
    SUSPEND = "suspend"
    RESUME = "resume"


PERSON = StateTable(
    {
        (Person.ACTIVE, PersonEvent.SUSPEND): Move(Person.SUSPENDED),
        (Person.ACTIVE, PersonEvent.RESUME): Move(Person.ACTIVE),
        (Person.SUSPENDED, PersonEvent.SUSPEND): Move(Person.SUSPENDED),
        (Person.SUSPENDED, PersonEvent.RESUME): Move(Person.ACTIVE),
    },
    begins={Person.ACTIVE: None},
    path=[(Person.ACTIVE, PersonEvent.SUSPEND), (Person.SUSPENDED, PersonEvent.RESUME)],
)


class Approval(StrEnum):
    ASKED = "asked"
    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"  # its time ran out before it was used
    USED = "used"


class ApprovalEvent(StrEnum):
    APPROVE = "approve"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    RUN_OUT = "run_out"
    USE = "use"


APPROVAL = StateTable(
    {
        (Approval.ASKED, ApprovalEvent.APPROVE): Move(Approval.APPROVED),
        (Approval.ASKED, ApprovalEvent.REFUSE): Move(Approval.REFUSED),
        (Approval.ASKED, ApprovalEvent.WITHDRAW): Move(Approval.WITHDRAWN),
        (Approval.ASKED, ApprovalEvent.RUN_OUT): Move(Approval.EXPIRED),
        (Approval.APPROVED, ApprovalEvent.USE): Move(Approval.USED),
        (Approval.APPROVED, ApprovalEvent.REFUSE): Move(Approval.REFUSED),  # whoever may check it takes it back
        (Approval.APPROVED, ApprovalEvent.WITHDRAW): Move(Approval.WITHDRAWN),
        (Approval.APPROVED, ApprovalEvent.RUN_OUT): Move(Approval.EXPIRED),
    },
    begins={Approval.ASKED: None},
    path=[(Approval.ASKED, ApprovalEvent.APPROVE), (Approval.APPROVED, ApprovalEvent.USE)],
)
