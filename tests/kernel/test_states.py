"""State tables: a move is in the table or it is a Conflict, and the drawing shows the table and nothing else."""

from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Conflict
from kernel.states import Move, StateTable, advance, draw


class Lamp(StrEnum):
    DARK = "dark"
    LIT = "lit"
    BURST = "burst"


class Touch(StrEnum):
    PRESS = "press"
    DROP = "drop"


LAMP = StateTable(
    {
        (Lamp.DARK, Touch.PRESS): Move(Lamp.LIT, "lamp.lit"),
        (Lamp.LIT, Touch.PRESS): Move(Lamp.DARK),
        (Lamp.DARK, Touch.DROP): Move(Lamp.BURST, "lamp.burst"),
        (Lamp.LIT, Touch.DROP): Move(Lamp.BURST, "lamp.burst"),
        (Lamp.BURST, Touch.DROP): Move(Lamp.BURST),
    },
    begins={Lamp.DARK: "lamp.made"},
    path=[(Lamp.DARK, Touch.PRESS), (Lamp.LIT, Touch.PRESS)],
)


@given(st.sampled_from(Lamp), st.sampled_from(Touch))
def test_a_move_is_in_the_table_or_a_conflict(state: Lamp, event: Touch) -> None:
    if (state, event) in LAMP:
        assert advance(LAMP, state, event) is LAMP[state, event].to
    else:
        with pytest.raises(Conflict) as refusal:
            advance(LAMP, state, event)
        assert refusal.value.code == "move_not_allowed"
        assert str(state) in refusal.value.message
        assert str(event) in refusal.value.message


def test_a_drawing_shows_the_main_path_and_nothing_beside_it() -> None:
    drawn = draw("lamp", LAMP)
    assert drawn.startswith("## lamp\n\n```mermaid\nstateDiagram-v2\n")
    assert [line.strip() for line in drawn.splitlines() if "-->" in line] == [
        "[*] --> dark: lamp.made",
        "dark --> lit: press / lamp.lit",
        "lit --> dark: press",
    ]


def test_a_matrix_has_a_cell_for_every_state_and_event() -> None:
    drawn = draw("lamp", LAMP)
    assert [line for line in drawn.splitlines() if line.startswith("|")] == [
        "| state | press | drop |",
        "|---|---|---|",
        "| **dark** ∗ | → lit<br>`lamp.lit` | → burst<br>`lamp.burst` |",
        "| **lit** | → dark | → burst<br>`lamp.burst` |",
        "| **burst** | – | stays |",
    ]
