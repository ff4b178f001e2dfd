"""State tables 状态表: every move an object can make, in one place each, and how docs/states.md shows them."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from kernel.errors import Conflict

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


class Move(NamedTuple, Generic[S]):
    """What an object becomes, and the type of the event that is published with it.

    tells: None where nothing is published. A move that stays where it is may leave its event out: it says nothing new.
    """

    to: S
    tells: str | None = None


class StateTable(dict[tuple[S, E], Move[S]]):
    """Every move of one kind of object, by state and event: one a line."""

    def __init__(
        self,
        moves: Mapping[tuple[S, E], Move[S]],
        *,
        begins: Mapping[S, str | None],
        path: Sequence[tuple[S, E]],
    ) -> None:
        """begins: the states in which an object is made, with the event that tells of it. path: what mostly happens."""
        super().__init__(moves)
        self.begins = dict(begins)
        self.path = tuple(path)


def advance(table: Mapping[tuple[S, E], Move[S]], state: S, event: E) -> S:
    """Return the state after `event`. Raises Conflict when the table has no such move."""
    try:
        return table[state, event].to
    except KeyError:
        raise Conflict("move_not_allowed", f"the state {state} has no move for the event {event}") from None


def draw(name: str, table: StateTable[S, E]) -> str:
    """Return a table as docs/states.md shows it: its main path as a Mermaid state diagram, and every move."""
    return "\n".join([f"## {name}", "", *_path(table), "", *_matrix(table), ""])


def _path(table: StateTable[S, E]) -> Iterable[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    first = table.path[0][0]
    yield f"    [*] --> {first}" + _told(table.begins[first])
    for state, event in table.path:
        move = table[state, event]
        yield f"    {state} --> {move.to}: {event}" + (f" / {move.tells}" if move.tells else "")
    yield "```"


def _told(event: str | None) -> str:
    return f": {event}" if event else ""


def _matrix(table: StateTable[S, E]) -> Iterable[str]:
    """Yield a row for each state and a column for each event, in the order of their classes."""
    states, events = type(next(iter(table))[0]), type(next(iter(table))[1])
    yield f"| state | {' | '.join(events)} |"
    yield "|---" * (1 + len(events)) + "|"
    for state in states:
        begins = " ∗" if state in table.begins else ""
        yield f"| **{state}**{begins} | {' | '.join(_cell(table, state, event) for event in events)} |"


def _cell(table: StateTable[S, E], state: S, event: E) -> str:
    move = table.get((state, event))
    if move is None:
        return "–"
    there = "stays" if move.to is state else f"→ {move.to}"
    return f"{there}<br>`{move.tells}`" if move.tells else there
