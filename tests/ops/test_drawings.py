"""docs/states.md shows every state table there is, and a stale page is noticed."""

import sys
from pathlib import Path

import pytest

import gateway.states
import reconciliation.states
import splitting.states
from kernel.states import draw
from ops.drawings import document, main


def test_every_state_table_of_the_hub_is_drawn() -> None:
    page = document()
    for module in (gateway.states, splitting.states, reconciliation.states):
        package = module.__name__.partition(".")[0]
        tables = {name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, dict)}
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
