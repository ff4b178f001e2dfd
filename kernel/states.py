"""State tables 状态表: every move an object can make, in one place each, and their drawing."""

import importlib
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from kernel.errors import Conflict

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)

# Where the tables are; the drawing in docs/states.md follows this list.
PLACES = [
    ("gateway.states", ["PAYMENT", "ATTEMPT", "REFUND"]),
    ("splitting.states", ["INSTRUCTION", "BATCH"]),
    ("reconciliation.states", ["DISCREPANCY"]),
]


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


def document() -> str:
    """Return docs/states.md as the tables say it should be."""
    parts = [
        "# State tables 状态表",
        "",
        "Drawn from the tables in the code by `make fix`; `make check` fails when this page is stale.",
        "",
    ]
    for module, names in PLACES:
        tables = importlib.import_module(module)
        parts += [draw(f"{module.split('.')[0]}: {name.lower()}", getattr(tables, name)) for name in names]
    return "\n".join(parts)


def main() -> int:
    """Write docs/states.md, or with --check only say whether it is current."""
    check, path = "--check" in sys.argv, Path(sys.argv[-1])
    wanted = document()
    if not check:
        path.write_text(wanted, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != wanted:
        print(f"{path} does not show the state tables as they are: run `make fix` and commit it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
