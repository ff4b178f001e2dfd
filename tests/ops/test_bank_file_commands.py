"""`sluice bank files …` on a real database, in the words a clerk types: two people let a file pass, or replace it."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tests.channels.banks.bank_files import pain002, report_line
from tests.splitting.play_bank import a_town_with_a_bank, all_read, send_todays
from tests.splitting.test_bank_files_kept import _totals
from tests.splitting.test_bookings_told_apart import entry, notice

Sluice = Callable[..., Result]
GOOD = notice(message="M9")  # of no entry: nothing is to be attributed


async def a_day_with_spoiled_files(database_url: str, home: Path) -> None:
    """Have a bank send a report of another total, a notice cut off, one that is not signed, and a good one."""
    async with a_town_with_a_bank(database_url, home) as (town, bank, bank_worker):
        of = await send_todays(town)
        lines = (await town.lines(town.today)).values()
        said = pain002("PART", *(report_line(line.id, "ACSC") for line in lines), of=of)
        bank.says("pain.002", _totals(said, total="1.00"))
        more = notice(entry("80", ref="B"), message="M2")
        bank.says("camt.054", GOOD[:-9], more, notice(entry("90", ref="C"), message="M3"))
        bank.forged.add("camt.054-1")
        await all_read(town, bank, bank_worker)


@pytest.fixture
def two(bare_home: Sluice, database_url: str, tmp_path: Path) -> Sluice:
    """A home after such a day, with ada and cy."""
    asyncio.run(a_day_with_spoiled_files(database_url, tmp_path / "home"))
    bare_home("person", "add", "ada", "--first")
    bare_home("person", "add", "cy", "--role", "operator", "--keep")
    return bare_home


def listed(sluice: Sluice, *more: str, code: int = 1) -> dict[str, dict[str, str]]:
    """Return the files by their ids at the bank."""
    found = json.loads(sluice("bank", "files", "list", "--book", "1", "--json", *more, code=code).stdout)["files"]
    return {one["file_id"]: one for one in found}


def by_two(sluice: Sluice, *words: str, code: int = 0) -> Result:
    """Have ada type a command that takes two people, and cy agree to it in between."""
    assert "approval_asked" in sluice("bank", "files", *words, code=1).output
    (asked,) = [
        one for one in json.loads(sluice("approval", "list", "--json").stdout)["approvals"] if one["status"] == "asked"
    ]
    sluice("--as", "cy", "approval", "approve", asked["id"])
    return sluice("bank", "files", *words, code=code)


def test_a_clerk_sees_every_file_and_decides_about_those_that_are_quarantined(two: Sluice, tmp_path: Path) -> None:
    files = listed(two)
    assert {name: (one["fate"], one["code"]) for name, one in files.items()} == {
        "pain.002-0": ("quarantined", "sum_differs"),
        "camt.054-0": ("quarantined", "not_xml"),
        "camt.054-1": ("quarantined", "signature_forged"),
        "camt.054-2": ("applied", None),
    }
    assert set(listed(two, "--fate", "applied", code=0)) == {"camt.054-2"}
    assert "no_such_bank" in two("bank", "files", "list", "--book", "1", "--bank", "elsewhere", code=1).output
    assert "no fate" in two("bank", "files", "list", "--book", "1", "--fate", "lost", code=2).output
    report, cut, forged = (files[name]["id"] for name in ("pain.002-0", "camt.054-0", "camt.054-1"))
    assert "sum_differs" in two("bank", "files", "list", "--book", "1", code=1).output
    shown = two("bank", "files", "show", report).output
    assert "99.40 CNY was sent" in shown
    assert json.loads(two("bank", "files", "show", report, "--json").stdout)["case"].startswith("cas_")
    assert "no_such_bank_file" in two("bank", "files", "show", "bkf_0", code=1).output

    note = ("--note", "asked the bank")
    assert f"{report}  citybank   pain.002" in by_two(two, "release", report, *note).output
    assert "applied by ada" in two("bank", "files", "release", report, *note).output, "again changes nothing"
    assert "bank_file_not_believed" in two("bank", "files", "release", forged, *note, code=1).output
    assert "discarded by ada" in by_two(two, "discard", forged, *note).output

    mail = tmp_path / "by-mail.xml"
    for rubbish in (b"", b"<rubbish", b"<rubbish/>"):
        mail.write_bytes(rubbish)
        assert "bank_file_unreadable" in two("bank", "files", "replace", cut, "--with", str(mail), *note, code=1).output
    assert "bank_file_unreadable" in two("bank", "files", "release", cut, *note, code=1).output
    asked = json.loads(two("approval", "list", "--json").stdout)["approvals"]
    assert [one["status"] for one in asked if one["status"] == "asked"] == [], "nobody is asked to agree to rubbish"
    mail.write_bytes(GOOD)
    assert "applied by ada" in by_two(two, "replace", cut, "--with", str(mail), *note).output
    files = listed(two, code=0)
    (hand,) = [one for name, one in files.items() if name.startswith("hand-")]
    assert (hand["given_by"], hand["replaces"], hand["fate"]) == ("ada", cut, "applied")
    assert {name: one["fate"] for name, one in files.items()} == {
        "pain.002-0": "applied",
        "camt.054-0": "discarded",
        "camt.054-1": "discarded",
        "camt.054-2": "applied",
        hand["file_id"]: "applied",
    }

    copy = tmp_path / "copy.xml"
    two("bank", "files", "get", hand["id"], "--output", str(copy))
    assert copy.read_bytes() == GOOD
    assert two("bank", "files", "get", hand["id"]).stdout_bytes == GOOD
    assert hashlib.sha256(GOOD).hexdigest() == hand["sha256"]
    acts = [one["what"] for one in json.loads(two("audit", "list", "--json").stdout)]
    assert {"bank files release", "bank files replace", "bank files discard"} <= set(acts)
    assert two("case", "list").output.startswith("no case waits")
    case = json.loads(two("case", "list", "--decided", "--json").stdout)["cases"][0]["id"]
    assert "approved_by         cy" in two("case", "show", case).output
    two("verify")
