"""State tables: a move is in the table or it is a Conflict, and the drawing shows the table and nothing else."""

from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Conflict
from kernel.states import advance, draw


class Lamp(StrEnum):
    DARK = "dark"
    LIT = "lit"
    BURST = "burst"


class Touch(StrEnum):
    PRESS = "press"
    DROP = "drop"


LAMP = {
    (Lamp.DARK, Touch.PRESS): Lamp.LIT,
    (Lamp.LIT, Touch.PRESS): Lamp.DARK,
    (Lamp.DARK, Touch.DROP): Lamp.BURST,
    (Lamp.LIT, Touch.DROP): Lamp.BURST,
    (Lamp.BURST, Touch.DROP): Lamp.BURST,
}


@given(st.sampled_from(Lamp), st.sampled_from(Touch))
def test_a_move_is_in_the_table_or_a_conflict(state: Lamp, event: Touch) -> None:
    if (state, event) in LAMP:
        assert advance(LAMP, state, event) is LAMP[state, event]
    else:
        with pytest.raises(Conflict) as refusal:
            advance(LAMP, state, event)
        assert refusal.value.code == "move_not_allowed"
        assert str(state) in refusal.value.message
        assert str(event) in refusal.value.message


def test_a_drawing_has_one_arrow_for_each_move() -> None:
    drawn = draw("lamp", LAMP)
    assert drawn.startswith("## lamp\n\n```mermaid\nstateDiagram-v2\n")
    assert drawn.endswith("```\n")
    arrows = [line.strip() for line in drawn.splitlines() if "-->" in line]
    assert sorted(arrows) == [
        "burst --> burst: drop",
        "dark --> burst: drop",
        "dark --> lit: press",
        "lit --> burst: drop",
        "lit --> dark: press",
    ]


def test_moves_that_lead_nowhere_share_one_arrow() -> None:
    drawn = draw("lamp", LAMP | {(Lamp.BURST, Touch.PRESS): Lamp.BURST})
    assert "burst --> burst: drop, press" in drawn
