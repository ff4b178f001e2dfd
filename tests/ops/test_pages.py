"""The pages that come out of the code say what the code says, and no page has lines that a screen cannot show."""

import re
import sys
from pathlib import Path

import pytest

from ops.pages import PAGES, WIDTH, commands_page, long_lines, main, settings_page
from ops.settings import PREFIX, Settings
from tests.docs.pages import ROOT, commands


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["pages", *arguments])
    return main()


def test_the_pages_in_the_repository_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert run(monkeypatch, "--check") == 0


def test_a_stale_page_and_a_long_line_are_noticed_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    assert run(monkeypatch) == 0
    assert run(monkeypatch, "--check") == 0
    page = tmp_path / "docs" / "commands.md"
    page.write_text(page.read_text("utf-8").replace("sluice up", "sluice down", 1), "utf-8")
    (tmp_path / "TEA.md").write_text("fine\n" + "x" * (WIDTH + 1) + "\n", "utf-8")
    assert run(monkeypatch, "--check") == 1
    told = capsys.readouterr().err
    assert "docs/commands.md does not say" in told
    assert "docs/settings.md" not in told
    assert "TEA.md:2 is longer" in told


def test_every_command_and_every_option_stands_on_the_commands_page() -> None:
    page = commands_page()
    for name, options in commands().items():
        section = page.partition(f"\n## sluice {name}\n")[2].partition("\n## ")[0]
        assert section, name
        assert [one for one in options if one.startswith("--") and one not in section and one != "--help"] == [], name


def test_what_is_hidden_from_help_is_hidden_from_the_page() -> None:
    assert "OLD" not in commands_page()


def test_every_setting_stands_on_the_settings_page_with_what_it_means() -> None:
    rows = {row.split("`")[1]: row for row in settings_page().split("\n") if row.startswith(f"| `{PREFIX}")}
    assert set(rows) == {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert all(row.split("|")[2].strip() for row in rows.values())


def test_tables_and_code_may_be_as_wide_as_they_are() -> None:
    wide = "x" * (WIDTH + 1)
    assert long_lines(f"| {wide} |\n```\n{wide}\n```\n{wide}\nshort") == [5]


def test_the_readme_has_at_most_a_thousand_words_besides_what_is_shown() -> None:
    prose = re.sub(r"```.*?```", "", (ROOT / "README.md").read_text("utf-8"), flags=re.DOTALL)
    assert len(prose.split()) <= 1000
    assert set(PAGES) == {"docs/commands.md", "docs/settings.md", "docs/openapi.json"}
