"""The closing page: whole words and whole figures at any width, and wrongs that cannot be overlooked."""

import io
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from ops.trials.replay import page
from ops.trials.replay.day import Day
from ops.trials.replay.faults import Planted
from tests.ops.trials.replay.days import a_good_day, invoice


def shown(day: Day, width: int, *, terminal: bool = False) -> str:
    out = io.StringIO()
    page.show(day, Path("2010-12-01.csv"), Console(file=out, width=width, force_terminal=terminal))
    return out.getvalue()


def words(text: str) -> str:
    """Return the page's text without its frame and line breaks."""
    return " ".join(text.replace("│", " ").split())


def a_large_day() -> Day:
    """Return a day with long names, large figures and everything that has a note of its own."""
    day = a_good_day()
    day.ledger.refuse(invoice("9", 10**12), "idempotency_key_invalid")
    day.captured_minor = 123_456_789_012_345
    day.refused_lines = {"AM04": 1, "XX99": 2}
    day.planted.append(Planted("deposit_short", "WX1", "deposit_differs"))
    day.found.append(("WX1", "deposit_differs"))
    day.faults_asked = 200
    day.disturbances = {"answer_lost": 3}
    return day


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("day", [a_good_day(), a_large_day()], ids=["good", "large"])
def test_no_line_is_too_wide_and_nothing_is_cut_off(day: Day, width: int) -> None:
    text = shown(day, width)
    assert max(map(cell_len, text.splitlines())) <= min(width, page.WIDEST)
    assert "…" not in text
    assert "\x1b" not in text


def test_every_frame_line_is_equally_wide() -> None:
    assert len({cell_len(line) for line in shown(a_large_day(), 80).splitlines()}) == 1


def test_the_figures_can_be_added_up_by_hand() -> None:
    text = words(shown(a_good_day(), 80))
    for part in (
        "captured 收款 100.00",
        "− refunded 退款 20.00",
        "+ refused 拒绝 -5.00",
        "the file's net 订单净额 75.00",
        "supplier 8 77.12",
        "channel fee 0.48",
        "= captured − refunded 80.00",
        "the day adds up to the last cent",
    ):
        assert part in text


def test_a_currency_without_decimals_has_none() -> None:
    day = a_good_day()
    day.currency = "JPY"
    assert "captured 收款 10,000 " in words(shown(day, 80))


def test_refused_lines_and_what_becomes_of_them_are_said_in_words() -> None:
    text = words(shown(a_large_day(), 80))
    assert "The bank refused 1 line: AM04, not enough money in the pool." in text
    assert "The bank refused 2 lines: XX99, its own reason." in text
    assert "the channel's deposit came 0.17 CNY short" in text


def test_faults_that_found_no_room_are_said() -> None:
    assert "200 faults were asked for; the day has room for 2" in words(shown(a_large_day(), 80))
    assert "asked for" not in shown(a_good_day(), 80)


def test_wrongs_are_listed_in_place_of_praise() -> None:
    day = a_good_day()
    day.broken = [f"wrong number {n}" for n in range(20)]
    text = words(shown(day, 80))
    assert "the day does not add up" in text
    assert "wrong number 11" in text
    assert "wrong number 12" not in text
    assert "and 8 more" in text
    assert "adds up to the last cent" not in text
    assert "none left a trace" not in text


def test_names_from_the_file_are_shown_as_they_are() -> None:
    day = a_good_day()
    day.ledger.refuse(invoice("9", 5), "[red]odd[/]")
    assert "[red]odd[/]" in shown(day, 80)


def test_a_terminal_gets_colours() -> None:
    assert "\x1b[" in shown(a_good_day(), 80, terminal=True)
