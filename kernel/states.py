"""State tables 状态表: every move an object can make, in one place each, and their drawing."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from kernel.errors import Conflict

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


def advance(table: Mapping[tuple[S, E], S], state: S, event: E) -> S:
    """Return the state after `event`. Raises Conflict when the table has no such move."""
    try:
        return table[state, event]
    except KeyError:
        raise Conflict("move_not_allowed", f"what is {state} cannot become anything by {event}") from None


def draw(name: str, table: Mapping[tuple[S, E], S]) -> str:
    """Return the table as a Mermaid state diagram, one arrow a move."""
    lines = [f"## {name}", "", "```mermaid", "stateDiagram-v2"]
    lines += [f"    {source} --> {target}: {event}" for (source, event), target in table.items() if source != target]
    stays: dict[str, list[str]] = {}
    for (source, event), target in table.items():
        if source == target:
            stays.setdefault(source, []).append(event)
    lines += [f"    {source} --> {source}: {', '.join(events)}" for source, events in stays.items()]
    return "\n".join([*lines, "```", ""])
