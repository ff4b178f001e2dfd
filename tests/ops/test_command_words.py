"""What every command makes of a word that people write wrong: a currency, a file of JSON, a name of nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from ops.cli.commands import app

Sluice = Callable[..., Result]


def commands(group: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command below a group, with the words that call it."""
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, *words, name)
        else:
            yield (*words, name), one


WITH_CURRENCY = [
    words for words, one in commands(typer.main.get_command(app)) if any("--currency" in p.opts for p in one.params)
]


@pytest.mark.parametrize("words", WITH_CURRENCY, ids=" ".join)
def test_a_currency_that_there_is_not_is_refused_before_anything_is_done(words: tuple[str, ...]) -> None:
    asked = {"--currency": "rmb"}
    (command,) = [one for path, one in commands(typer.main.get_command(app)) if path == words]
    for param in command.params:
        if param.required:
            asked[param.opts[0]] = "1"
    typed = [word for name, given in asked.items() for word in ([name, given] if name.startswith("-") else [given])]
    done = CliRunner().invoke(app, [*words, *typed])
    assert (done.exit_code, "'rmb' is not in ISO 4217" in done.output) == (2, True), done.output


def test_the_commands_with_a_currency_are_found() -> None:
    assert ("payout", "set") in WITH_CURRENCY
    assert ("settle",) in WITH_CURRENCY
    assert len(WITH_CURRENCY) > 12


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"version": 1, "lines": [{"basis_points": 60, "basis_points": 6000}]}', "'basis_points' appears twice"),
        ("店".encode("gb18030"), "not UTF-8"),
        (b'{"version": 1,', "cannot be used"),
        (b"[]", "does not hold a JSON object"),
    ],
)  # fmt: skip
def test_a_file_that_can_be_read_in_two_ways_or_none_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    done = CliRunner().invoke(app, ["split", "dry-run", "--book", "1", "--amount", "1", "--file", str(path)])
    assert (done.exit_code, why in done.output) == (2, True), done.output


def test_a_file_may_begin_with_a_byte_order_mark(tea_house: Sluice, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b'\xef\xbb\xbf{"version": 1, "lines": [{"name": "a", "basis_points": 60}]}')
    said = tea_house("split", "dry-run", "--book", "1", "--amount", "1", "--file", str(path)).output
    assert "a: keeps 0.01 of 0.01" in said


def test_what_is_out_of_range_is_not_understood(tea_house: Sluice, tmp_path: Path) -> None:
    """Python's first day has none before it, and the database no number of twenty digits: these were stack traces."""
    book, file = ("--book", "1"), ("--output", str(tmp_path / "a.csv"))
    for words in (
        ("proof", "--date", "0001-01-01"),
        ("settle", *book, "--bank", "citybank", "--business-date", "9999-12-31"),
        ("statement", "merchant", *book, "--date", "0001-01-01", *file),
        ("report", "float", "--from", "0001-01-01", "--to", "2026-11-24"),
    ):
        assert "from 2000 to 2199" in tea_house(*words, code=2).output, words
    for month in ("0001-01", "9999-12"):
        assert "sluice: " in tea_house("statement", "merchant", *book, "--month", month, *file, code=2).output
    for words in (("settlement", "list", "--book", "9" * 20), ("proof", "list", "--limit", "9" * 20)):
        assert "larger than any" in tea_house(*words, code=2).output, words
    assert "no share order is open" in tea_house("split", "rails", *book).output
    assert "no share is frozen" in tea_house("split", "frozen", *book).output
