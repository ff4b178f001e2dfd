"""What each rail assumes without proof is listed, in one form, for whoever has a recording to check it by.

A rail's adapter and its simulator are written by the same people. Where both rest on one guess no test of ours can see
it; the list says where that may be so.
"""

import re
from pathlib import Path

import pytest

from channels import CHANNELS
from tests.docs.pages import ROOT, section_of

HEADER = "| what we assume | where used | what would prove it |"
RAILS = sorted({*CHANNELS, "banks"})


def complaints(text: str) -> list[str]:
    """Return what is wrong with a README's list of what is unproven."""
    headings = re.findall(r"^#+ Unproven$", text, re.MULTILINE)
    if headings != ["## Unproven"]:
        return [f"one heading '## Unproven' is wanted, there are {headings}"]
    table = [line for line in section_of(text, "Unproven").split("\n") if line.startswith("|")]
    if table[:2] != [HEADER, "|---|---|---|"]:
        return [f"the table begins {table[:2]}"]
    if not table[2:]:
        return ["the table is empty"]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table[2:]]
    wrong = [f"not three full cells: {row}" for row in rows if len(row) != 3 or not all(row)]
    assumed = [row[0] for row in rows]
    return wrong + [f"twice: {one}" for one in sorted(set(assumed)) if assumed.count(one) > 1]


@pytest.mark.parametrize("name", RAILS)
def test_every_rail_lists_what_nothing_proves(name: str) -> None:
    assert complaints((ROOT / "channels" / name / "README.md").read_text("utf-8")) == []


def test_no_folder_of_a_rail_or_bank_is_left_out() -> None:
    folders = {path.parent.name for path in Path(ROOT, "channels").glob("*/README.md")}
    assert folders - {"sandbox", "routing"} == set(RAILS)


GOOD = f"# A rail\n\n## Unproven\nWords.\n\n{HEADER}\n|---|---|---|\n| it answers twice | query | a recording |\n"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (("## Unproven", "## Doubts"), "one heading"),
        (("## Unproven", "### Unproven"), "one heading"),
        (("Words.", "Words.\n\n## Unproven"), "one heading"),
        (("where used", "where"), "begins"),
        (("| it answers twice | query | a recording |\n", ""), "empty"),
        (("| query |", "|  |"), "not three full cells"),
        (("| query | a recording |", "| query |"), "not three full cells"),
        (("a recording |\n", "a recording |\n| it answers twice | pay | another |\n"), "twice"),
    ],
)
def test_a_list_that_is_out_of_form_is_seen(spoil: tuple[str, str], says: str) -> None:
    assert complaints(GOOD) == []
    found = complaints(GOOD.replace(*spoil))
    assert len(found) == 1
    assert says in found[0]
