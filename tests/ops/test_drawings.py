"""docs/states.md shows every state table there is, and a stale page is noticed."""

import re
import sys
from pathlib import Path

import pytest

import cases.states
import gateway.states
import people.states
import reconciliation.states
import splitting.states
from kernel.states import StateTable, draw
from ops.drawings import document, main


def test_every_state_table_of_the_hub_is_drawn() -> None:
    page = document()
    for module in (gateway.states, splitting.states, cases.states, people.states, reconciliation.states):
        package = module.__name__.partition(".")[0]
        tables = {name: value for name, value in vars(module).items() if isinstance(value, StateTable)}
        assert tables
        for name, table in tables.items():
            assert draw(f"{package}: {name.lower()}", table) in page


def test_a_stale_drawing_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "states.md"
    monkeypatch.setattr(sys, "argv", ["drawings", "--check", str(page)])
    assert main() == 1  # there is none
    monkeypatch.setattr(sys, "argv", ["drawings", str(page)])
    assert main() == 0
    monkeypatch.setattr(sys, "argv", ["drawings", "--check", str(page)])
    assert main() == 0
    page.write_text(page.read_text().replace("-->", "->", 1))
    assert main() == 1


def test_every_move_of_every_table_stands_on_a_line_of_its_own() -> None:
    """So that a search for a state or an event finds each move whole."""
    for module in (gateway.states, splitting.states, cases.states, people.states, reconciliation.states):
        source = Path(str(module.__file__)).read_text("utf-8")
        tables = [value for value in vars(module).values() if isinstance(value, StateTable)]
        lines = re.findall(r"^ +\(\w+\.[A-Z_]+, \w+\.[A-Z_]+\): Move\(.*\),(?:  # .*)?$", source, re.MULTILINE)
        assert len(lines) == sum(map(len, tables)), module.__name__
        assert " for " not in "".join(lines)
