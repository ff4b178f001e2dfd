"""What the rails' pages show of `next_action`, and what each check finds wrong with it."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from channels import Method
from tests.docs.pages import ROOT, difference, first_cells, section_of

FACTS = ("Show it", "The payer sees", "It lives", "It ends", "Limits")
TOLD_FOR_ALL = {"type", "channel"}  # in docs/rails.md
NOTHING_TO_DO = "`next_action` is `null`"

_EXAMPLE = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def has_page(name: str) -> bool:
    """Tell whether a rail has a page; a rail that somebody brings has a README in its folder instead."""
    return (ROOT / "docs" / "rails" / f"{name}.md").exists()


def page_of(name: str) -> str:
    return (ROOT / "docs" / "rails" / f"{name}.md").read_text("utf-8")


def methods_of(page: str) -> list[str]:
    """Return the ways to pay that have a section."""
    return re.findall(r"^### `(\w+)`$", section_of(page, "What the payer does"), re.MULTILINE)


def example(page: str, method: str) -> dict[str, Any] | None:
    """Return the next_action that a page shows; None where it says that there is none. Raises AssertionError."""
    section = section_of(page, f"`{method}`")
    blocks = _EXAMPLE.findall(section)
    if not blocks:
        assert NOTHING_TO_DO in section, f"{method}: neither an example nor {NOTHING_TO_DO!r}"
        return None
    assert len(blocks) == 1, f"{method}: more than one example"
    found: dict[str, Any] = json.loads(blocks[0])
    return found


def shape(action: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what of an action is the same in every payment: its members, and those of what is in it."""
    return {
        name: sorted(value) if isinstance(value, dict) else value if name in TOLD_FOR_ALL else type(value).__name__
        for name, value in action.items()
    }


def complaints(name: str, page: str, methods: Iterable[Method]) -> list[str]:
    """Return what a rail's page leaves out, or says that is not so, about what payers do."""
    found = difference(methods_of(page), [method.value for method in methods])
    for method in methods_of(page):
        section = section_of(page, f"`{method}`")
        found += [f"{method} has no {fact!r}" for fact in FACTS if f"- **{fact}**: " not in section]
        shown = example(page, method)
        if shown is None:
            continue
        if shown.get("channel") != name:
            found.append(f"{method}: the example's channel is {shown.get('channel')!r}")
        told = first_cells(page, f"`{method}`")
        found += [f"{method}: {one}" for one in difference(told, shown.keys() - TOLD_FOR_ALL)]
    return found
