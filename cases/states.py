"""State table of a case 待人工处理."""

from enum import StrEnum


class Case(StrEnum):
    OPEN = "open"
    DECIDED = "decided"


class CaseEvent(StrEnum):
    FOUND = "found"
    DECIDED = "decided"
    GONE = "gone"  # what it was about is no longer so, and nobody had to decide


CASE = {
    (Case.OPEN, CaseEvent.FOUND): Case.OPEN,
    (Case.OPEN, CaseEvent.DECIDED): Case.DECIDED,
    (Case.OPEN, CaseEvent.GONE): Case.DECIDED,
    (Case.DECIDED, CaseEvent.FOUND): Case.OPEN,  # decided once, and it has happened again
    (Case.DECIDED, CaseEvent.DECIDED): Case.DECIDED,  # to wait before, and now more is known
    (Case.DECIDED, CaseEvent.GONE): Case.DECIDED,
}
