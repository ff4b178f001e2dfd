"""State table of a case 待人工处理; see gateway/states.py."""

from enum import StrEnum

from kernel.states import Move, StateTable


class Case(StrEnum):
    OPEN = "open"
    DECIDED = "decided"


class CaseEvent(StrEnum):
    FOUND = "found"
    DECIDED = "decided"
    GONE = "gone"  # what it was about is no longer so, and nobody had to decide


CASE = StateTable(
    {
        (Case.OPEN, CaseEvent.FOUND): Move(Case.OPEN),
        (Case.OPEN, CaseEvent.DECIDED): Move(Case.DECIDED, "case.decided"),
        (Case.OPEN, CaseEvent.GONE): Move(Case.DECIDED, "case.decided"),
        (Case.DECIDED, CaseEvent.FOUND): Move(Case.OPEN, "case.opened"),  # decided once, and it has happened again
        (Case.DECIDED, CaseEvent.DECIDED): Move(Case.DECIDED, "case.decided"),  # to wait before, and now more is known
        (Case.DECIDED, CaseEvent.GONE): Move(Case.DECIDED, "case.decided"),
    },
    begins={Case.OPEN: "case.opened"},
    path=[(Case.OPEN, CaseEvent.DECIDED)],
)
