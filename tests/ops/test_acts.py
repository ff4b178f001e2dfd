"""Every command is an act, which is recorded, or a look, which takes a person, or says why it is neither.

A new command stands in one of the three tables, or the first test fails; and it is held to what they say.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ops.cli.commands import app
from tests.docs.pages import commands

Sluice = Callable[..., Result]
BOOK = ("--book", "1")

# Command → words that bring it to its act, which may then be refused: of nothing that is named here there is one.
ACTS: dict[str, tuple[str, ...]] = {
    "approval approve": ("apr_0",),
    "approval refuse": ("apr_0",),
    "approval withdraw": ("apr_0",),
    "bank account": (*BOOK, "citybank", "--role", "interest", "--number", "6299"),
    "bank end": (*BOOK, "citybank"),
    "bank files discard": ("bkf_0", "--note", "why"),
    "bank files release": ("bkf_0", "--note", "why"),
    "bank files replace": ("bkf_0", "--with", "JSON", "--note", "why"),
    "bank link": (*BOOK, "citybank", "--credentials", "JSON"),
    "bank platform": (*BOOK, "citybank"),
    "bank rotate": (*BOOK, "citybank", "--credentials", "JSON"),
    "case decide": ("cas_0", "--decision", "wait", "--note", "why"),
    "channel add": (*BOOK, "wechat", "--credentials", "JSON", "--fee-bp", "60"),
    "channel call": ("wechat", "query", *BOOK, "--account", "main"),
    "channel drain": (*BOOK, "main"),
    "channel reseal": (),
    "channel rotate": (*BOOK, "main", "--credentials", "JSON"),
    "channel state": (*BOOK, "main", "off"),
    "channel terms": (*BOOK, "main", "--fee-bp", "60"),
    "chargeback lost": (*BOOK, "cbk_0", "--evidence", "why", "--date", "2026-11-24"),
    "chargeback open": (
        *(*BOOK, "pay_0", "--ref", "C-1", "--amount", "1.00", "--evidence", "why", "--date", "2026-11-24"),
    ),
    "chargeback won": (*BOOK, "cbk_0", "--evidence", "why", "--date", "2026-11-24"),
    "key new": BOOK,
    "key resume": (*BOOK, "key_0"),
    "key revoke": (*BOOK, "key_0"),
    "key suspend": (*BOOK, "key_0"),
    "link resume": (*BOOK, "lnk_0"),
    "link suspend": (*BOOK, "lnk_0"),
    "link add": (*BOOK, "counter", "--description", "tea", "--amount", "1.00"),
    "merchant add": ("rice",),
    "merchant resume": BOOK,
    "merchant suspend": BOOK,
    "migrate": ("--accept",),
    "payee bind": (*BOOK, "pye_0", "--account", "62", "--bic", "ICBKCNBJ", "--bank-name", "ICBC"),
    "payee freeze": (*BOOK, "pye_0", "--note", "why"),
    "payee limit": (*BOOK, "citybank"),
    "payee class": (*BOOK, "pye_0", "--class", "III"),
    "payee own": (*BOOK, "pye_0"),
    "payee receiver": (*BOOK, "pye_0", "main", "--account", "1900000001"),
    "payee resume": (*BOOK, "pye_0"),
    "payee suspend": (*BOOK, "pye_0"),
    "payee unfreeze": (*BOOK, "pye_0", "--note", "why"),
    "payout cancel": (*BOOK, "stl_0"),
    "payout recall": (*BOOK, "stl_0", "--reason", "DUPL"),
    "payout release": (*BOOK, "stl_0"),
    "payout reserve": (*BOOK, "citybank"),
    "payout run": (*BOOK, "--bank", "citybank"),
    "payout set": (*BOOK, "citybank", "--every", "T+1"),
    "person add": ("bo",),
    "person resume": ("nobody",),
    "person suspend": ("nobody",),
    "proof": ("--date", "2026-11-24"),
    "proof rotate": (),
    "reconcile": (*BOOK, "--business-date", "2026-11-24"),
    "route policy set": (*BOOK, "JSON", "--note", "why"),
    "split attach": (*BOOK, "--to", "merchant", "spl_0"),
    "split plan activate": (*BOOK, "spl_0", "1"),
    "split plan add": (*BOOK, "JSON", "--name", "tea"),
    "split plan version": (*BOOK, "spl_0", "JSON"),
    "withdrawal recall": (*BOOK, "wdr_0", "--reason", "CUST"),
    "timetable forget": ("statements", "--date", "2026-11-24", "--note", "why"),
    "timetable run": ("statements", "--date", "2026-11-24"),
    "settle": (*BOOK, "--bank", "citybank", "--business-date", "2026-11-24"),
}
DAYS = ("--from", "2026-11-23", "--to", "2026-11-24")
LOOKS: dict[str, tuple[str, ...]] = {
    "approval list": (),
    "approval show": ("apr_0",),
    "audit list": (),
    "bank accounts": (*BOOK, "citybank"),
    "bank files get": ("bkf_0",),
    "bank files list": BOOK,
    "bank files show": ("bkf_0",),
    "bank list": BOOK,
    "case list": (),
    "case show": ("cas_0",),
    "channel list": BOOK,
    "chargeback list": BOOK,
    "chargeback show": (*BOOK, "cbk_0"),
    "channel show": (*BOOK, "main"),
    "discrepancies": BOOK,
    "key list": (),
    "link list": BOOK,
    "link qr": (*BOOK, "lnk_0", "here.svg"),
    "merchant list": (),
    "payee balance": (*BOOK, "pye_0"),
    "payee debts": BOOK,
    "payee limits": BOOK,
    "payee list": BOOK,
    "payee owns": BOOK,
    "payee receivers": BOOK,
    "payout bank": (*BOOK, "citybank"),
    "payout list": BOOK,
    "payout recalls": BOOK,
    "payout reserves": BOOK,
    "person list": (),
    "proof key": (),
    "proof list": (),
    "proof show": ("2026-11-24",),
    "settlement list": BOOK,
    "settlement show": (*BOOK, "stl_0"),
    "report concentration": DAYS,
    "report float": DAYS,
    "report locality": (*DAYS, "--region", "3707"),
    "route explain": ("pay_0",),
    "route policy check": (*BOOK, "JSON"),
    "route policy list": BOOK,
    "route policy show": BOOK,
    "split attachments": BOOK,
    "statement bank": (*BOOK, "citybank", "--date", "2026-11-24", "--output", "here.csv"),
    "statement merchant": (*BOOK, "--date", "2026-11-24", "--output", "here.csv"),
    "statement payee": (*BOOK, "pye_0", "--date", "2026-11-24", "--output", "here.csv"),
    "timetable": (),
    "withdrawal list": BOOK,
    "withdrawal show": (*BOOK, "wdr_0"),
    "split dry-run": (*BOOK, "--amount", "1.00", "--plan", "spl_0"),
    "split frozen": BOOK,
    "split plan list": BOOK,
    "split rails": BOOK,
    "split plan show": (*BOOK, "spl_0"),
    "route replay": (*BOOK, "--policy", "JSON", "--from", "2026-11-24", "--to", "2026-11-24"),
}
_PROCESS = "a process: its log tells when it began and ended; what it migrates is recorded"
_HUB = "it looks after the hub: a machine runs it every day, and it shows nobody's data"
_TRIAL = "a trial with books, servers or figures of its own"
NEITHER = {
    "bench": _TRIAL,
    "channel new": "it writes into a checkout",
    "doctor": _HUB,
    "gateway": _PROCESS,
    "proof verify": "it reads a file with a public key",
    "qr decode": "it reads a text",
    "qr encode": "it writes a text",
    "replay": _TRIAL,
    "route bench": _TRIAL,
    "sandbox info": "the other side's, which is simulated",
    "sandbox run": "the other side's, which is simulated",
    "settle bench": _TRIAL,
    "settle trial": _TRIAL,
    "split bench": _TRIAL,
    "up": _PROCESS,
    "verify": _HUB,
    "worker": _PROCESS,
}


def test_every_command_says_whether_it_is_an_act_or_a_look() -> None:
    assert sorted(commands()) == sorted([*ACTS, *LOOKS, *NEITHER])


def words_of(command: str, more: tuple[str, ...], tmp_path: Path) -> list[str]:
    """Return a command as it is typed; JSON stands for a file with an empty object."""
    file = tmp_path / "empty.json"
    file.write_text("{}")
    return [*command.split(), *(str(file) if word == "JSON" else word for word in more)]


def records(tea_house: Sluice) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(tea_house("audit", "list", "--json").stdout)
    return found


@pytest.mark.long
def test_every_act_leaves_a_record_of_who_and_what_and_how_it_ended(tea_house: Sluice, tmp_path: Path) -> None:
    known = len(records(tea_house))
    for command, more in ACTS.items():
        done = CliRunner().invoke(app, words_of(command, more, tmp_path))
        assert done.exit_code in (0, 1, 2), (command, done.output, done.exception)
        found = records(tea_house)
        end, begun = found[: len(found) - known]
        known = len(found)
        assert (begun["person"], begun["outcome"]) == ("ada", "begun"), command
        assert begun["what"].startswith("channel state" if command == "channel drain" else command)
        assert end["outcome"] == ("done" if done.exit_code == 0 else end["outcome"]), (command, done.output)
        assert end["outcome"] in ("done", "refused", "failed"), command
        assert (done.exit_code == 0) == (end["outcome"] == "done"), (command, done.output)


@pytest.mark.long
def test_every_look_takes_a_person_and_leaves_no_record(
    tea_house: Sluice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = records(tea_house)
    for command, more in LOOKS.items():
        done = CliRunner().invoke(app, words_of(command, more, tmp_path))
        assert "person_" not in done.output, (command, done.output)
    own = tmp_path / "home" / "secrets" / "person"
    own.rename(tmp_path / "elsewhere")
    for command, more in LOOKS.items():
        done = CliRunner().invoke(app, words_of(command, more, tmp_path))
        assert "person_unnamed" in done.output, (command, done.output)
        assert done.exit_code == 1
    (tmp_path / "elsewhere").rename(own)
    assert records(tea_house) == before
