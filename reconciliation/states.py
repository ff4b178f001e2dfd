"""State table of a discrepancy 差错: from the run that finds it to the remedy that ends it."""

from enum import StrEnum


class State(StrEnum):
    OPEN = "open"  # found; nobody has said why
    EXPLAINED = "explained"  # 已查明: the cause is known, the difference still there
    SUSPENDED = "suspended"  # 挂账: its money is parked in the suspense account
    ADJUSTED = "adjusted"  # 调账: our book was corrected
    WRITTEN_OFF = "written_off"  # 核销: somebody bears it
    RESOLVED = "resolved"  # both sides agree after all


class Event(StrEnum):
    SEEN = "seen"  # a run found the same difference again
    CHANGED = "changed"  # a run found another difference under the same reference
    AGREED = "agreed"  # a run found both sides agreeing, or the line in another day's file
    EXPLAINED = "explained"
    SUSPENDED = "suspended"
    ADJUSTED = "adjusted"
    WRITTEN_OFF = "written_off"
    RELEASED = "released"  # what was suspended went where it belongs


DISCREPANCY: dict[tuple[State, Event], State] = {
    (State.OPEN, Event.SEEN): State.OPEN,
    (State.OPEN, Event.CHANGED): State.OPEN,
    (State.OPEN, Event.AGREED): State.RESOLVED,
    (State.OPEN, Event.EXPLAINED): State.EXPLAINED,
    (State.OPEN, Event.SUSPENDED): State.SUSPENDED,
    (State.OPEN, Event.ADJUSTED): State.ADJUSTED,
    (State.OPEN, Event.WRITTEN_OFF): State.WRITTEN_OFF,
    (State.EXPLAINED, Event.SEEN): State.EXPLAINED,
    (State.EXPLAINED, Event.CHANGED): State.OPEN,  # what was explained is not what is there now
    (State.EXPLAINED, Event.AGREED): State.RESOLVED,
    (State.EXPLAINED, Event.EXPLAINED): State.EXPLAINED,
    (State.EXPLAINED, Event.SUSPENDED): State.SUSPENDED,
    (State.EXPLAINED, Event.ADJUSTED): State.ADJUSTED,
    (State.EXPLAINED, Event.WRITTEN_OFF): State.WRITTEN_OFF,
    # Once money was posted, a later file alone takes nothing back: a person releases, adjusts or writes off.
    (State.SUSPENDED, Event.SEEN): State.SUSPENDED,
    (State.SUSPENDED, Event.CHANGED): State.SUSPENDED,
    (State.SUSPENDED, Event.AGREED): State.SUSPENDED,
    (State.SUSPENDED, Event.RELEASED): State.RESOLVED,
    (State.SUSPENDED, Event.ADJUSTED): State.ADJUSTED,
    (State.SUSPENDED, Event.WRITTEN_OFF): State.WRITTEN_OFF,
    (State.ADJUSTED, Event.SEEN): State.ADJUSTED,  # the files say what they said; the remedy stands
    (State.ADJUSTED, Event.AGREED): State.ADJUSTED,
    (State.ADJUSTED, Event.CHANGED): State.OPEN,
    (State.WRITTEN_OFF, Event.SEEN): State.WRITTEN_OFF,
    (State.WRITTEN_OFF, Event.AGREED): State.WRITTEN_OFF,
    (State.WRITTEN_OFF, Event.CHANGED): State.OPEN,
    (State.RESOLVED, Event.AGREED): State.RESOLVED,
    (State.RESOLVED, Event.SEEN): State.OPEN,  # a restated file took back what had resolved it
    (State.RESOLVED, Event.CHANGED): State.OPEN,
}

UNSETTLED = (State.OPEN, State.EXPLAINED, State.SUSPENDED)
