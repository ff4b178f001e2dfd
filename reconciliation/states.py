"""State table of a discrepancy 差错: from the run that finds it to the remedy that ends it. It publishes nothing."""

from enum import StrEnum

from kernel.states import Move, StateTable


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


DISCREPANCY = StateTable(
    {
        (State.OPEN, Event.SEEN): Move(State.OPEN),
        (State.OPEN, Event.CHANGED): Move(State.OPEN),
        (State.OPEN, Event.AGREED): Move(State.RESOLVED),
        (State.OPEN, Event.EXPLAINED): Move(State.EXPLAINED),
        (State.OPEN, Event.SUSPENDED): Move(State.SUSPENDED),
        (State.OPEN, Event.ADJUSTED): Move(State.ADJUSTED),
        (State.OPEN, Event.WRITTEN_OFF): Move(State.WRITTEN_OFF),
        (State.EXPLAINED, Event.SEEN): Move(State.EXPLAINED),
        (State.EXPLAINED, Event.CHANGED): Move(State.OPEN),  # what was explained is not what is there now
        (State.EXPLAINED, Event.AGREED): Move(State.RESOLVED),
        (State.EXPLAINED, Event.EXPLAINED): Move(State.EXPLAINED),
        (State.EXPLAINED, Event.SUSPENDED): Move(State.SUSPENDED),
        (State.EXPLAINED, Event.ADJUSTED): Move(State.ADJUSTED),
        (State.EXPLAINED, Event.WRITTEN_OFF): Move(State.WRITTEN_OFF),
        # Once money was posted, a later file alone takes nothing back: a person releases, adjusts or writes off.
        (State.SUSPENDED, Event.SEEN): Move(State.SUSPENDED),
        (State.SUSPENDED, Event.CHANGED): Move(State.SUSPENDED),
        (State.SUSPENDED, Event.AGREED): Move(State.SUSPENDED),
        (State.SUSPENDED, Event.RELEASED): Move(State.RESOLVED),
        (State.SUSPENDED, Event.ADJUSTED): Move(State.ADJUSTED),
        (State.SUSPENDED, Event.WRITTEN_OFF): Move(State.WRITTEN_OFF),
        (State.ADJUSTED, Event.SEEN): Move(State.ADJUSTED),  # the files say what they said; the remedy stands
        (State.ADJUSTED, Event.AGREED): Move(State.ADJUSTED),
        (State.ADJUSTED, Event.CHANGED): Move(State.OPEN),
        (State.WRITTEN_OFF, Event.SEEN): Move(State.WRITTEN_OFF),
        (State.WRITTEN_OFF, Event.AGREED): Move(State.WRITTEN_OFF),
        (State.WRITTEN_OFF, Event.CHANGED): Move(State.OPEN),
        (State.RESOLVED, Event.AGREED): Move(State.RESOLVED),
        (State.RESOLVED, Event.SEEN): Move(State.OPEN),  # a restated file took back what had resolved it
        (State.RESOLVED, Event.CHANGED): Move(State.OPEN),
    },
    begins={State.OPEN: None},
    path=[(State.OPEN, Event.EXPLAINED), (State.EXPLAINED, Event.AGREED)],
)

UNSETTLED = (State.OPEN, State.EXPLAINED, State.SUSPENDED)
