"""docs/bank-clerk.md, done as it is written: every command of the page, in its order, on a real database."""

import asyncio
import json
import re
import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from channels import CHANNELS
from kernel.clock import business_date
from kernel.env import SystemClock
from splitting.recalls.commands import Asked, RecallLines
from splitting.settlement.calendar import BankHours
from splitting.settlement.payouts import SetPayoutBank
from tests.channels.banks.bank_files import pain002, report_line
from tests.ops.test_bank_file_commands import GOOD
from tests.reconciliation.proof.test_proving import Days
from tests.splitting.play_bank import a_bank_read, a_round, all_read, send_todays
from tests.splitting.test_bank_files_kept import _totals
from tests.splitting.test_bookings_told_apart import entry, notice
from tests.splitting.test_returns import back
from tests.splitting.town import BANK, FARM, MILL, PLATFORM, a_town, bind
from tests.support import ScriptedChannel

Sluice = Callable[..., Result]
PAGE = Path(__file__).parents[2] / "docs" / "bank-clerk.md"
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Return the page's commands, as words."""
    lines = [line for block in BLOCK.findall(PAGE.read_text("utf-8")) for line in block.splitlines()]
    assert all(line.startswith("sluice ") for line in lines)
    return [shlex.split(line)[1:] for line in lines]


async def a_day(database_url: str, home: Path) -> dict[str, str]:
    """Have a bank pay a batch, send one line back with a word and one without, and spoil three of its files."""
    async with (
        a_town(database_url, home, accounts={"main": "scripted"}) as town,
        a_bank_read(town) as (bank, bank_worker),
    ):
        of = await send_todays(town)
        lines = await town.lines(town.today)
        await town.put(RecallLines(town.front.book, town.id(town.today), [lines[FARM].id], Asked("UPAY", "", "ada")))
        said = pain002("ACSC", *(report_line(line.id, "ACSC") for line in lines.values()), of=of)
        bank.says("pain.002", said, _totals(said, total="1.00"))
        bank.says("camt.054", GOOD[:-9], notice(entry("80", ref="B"), message="M2"))
        bank.forged.add("camt.054-1")
        strangers = (("1.00", "main's"), ("2.00", "nobody's"), ("3.00", "a charge"))
        for amount, who in strangers:
            bank.says("camt.054", notice(entry(amount, ref=amount, end_to_end=who), message=who))
        bank.says("camt.054", notice(entry("4.00", ref="4.00", end_to_end="INTEREST"), message="interest"))
        bank.says("camt.054", notice(entry("0.50", ref="0.50", end_to_end="CHARGE", out=True), message="a fee"))
        bank.says("camt.054", notice(back(lines[FARM]), message="farm"))
        bank.says("camt.054", notice(back(lines[MILL], "", amount="68.90", ref="R2"), message="mill"))
        await all_read(town, bank, bank_worker)
        # The bank states the day: it has a charge of 3.00, which no file told of in time.
        days = Days(town, bank, bank_worker)
        empty: tuple[str, str, list[Any]] = ("0.00", "0.00", [])
        days.states(
            town.today, pool=("6.00", "9.00", [("A3", "3.00", None)]), farm=empty, mill=empty,
            platform=("0.50", "0.50", []),
        )  # fmt: skip
        assert await town.front.hub.daily_proof().fetch_statements(town.front.book, BANK) == 1
        names = {
            "SETTLEMENT": town.id(town.today),
            "LINE": lines[MILL].id,
            "RECALLED": lines[PLATFORM].id,
            "DATE": town.today.isoformat(),
            "PAYEE": FARM,
        }
        await bind(town.front, PLATFORM)
        bank.refuses = 400, "account_blocked"
        asked = await town.front.hub.withdrawals.ask(
            town.front.book, PLATFORM, number="w-1", amount_minor=50, currency="CNY", by="key_1"
        )
        names["WITHDRAWAL"] = asked.id
        for _ in range(2):
            town.front.clock.forward(86_400)
            await town.sell()
            await town.settle(business_date(town.front.clock.now()))
        await a_round(bank_worker)
        await town.put(SetPayoutBank(town.front.book, BANK, BankHours(), 1, only_deposited=False))
        for name in ("LARGE", "HASTY"):
            town.front.clock.forward(86_400)
            await town.sell()
            names[name] = (await town.settle(business_date(town.front.clock.now()))).id
        return names


def never(operation: str, order: Any) -> Any:
    raise AssertionError(f"no rail is asked by a clerk: {operation} {order}")


def by_two(sluice: Sluice, words: list[str]) -> Result:
    """Have ada type a command, and cy agree to it in between."""
    assert "approval_asked" in sluice(*words, code=1).output, words
    approvals = json.loads(sluice("approval", "list", "--json").stdout)["approvals"]
    (asked,) = [one for one in approvals if one["status"] == "asked"]
    sluice("approval", "show", asked["id"])
    sluice("--as", "cy", "approval", "approve", asked["id"])
    return sluice(*words)


@pytest.mark.long
def test_a_clerk_does_all_that_the_page_says(
    bare_home: Sluice, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = asyncio.run(a_day(database_url, tmp_path / "home"))
    monkeypatch.setitem(CHANNELS, "scripted", lambda _: ScriptedChannel(never))  # type: ignore[index]
    monkeypatch.chdir(tmp_path)
    Path("by-mail.xml").write_bytes(GOOD)
    bare_home("person", "add", "ada", "--first")
    bare_home("person", "add", "cy", "--role", "operator", "--keep")

    def told(*words: str, code: int) -> Any:
        return json.loads(bare_home(*words, "--json", code=code).stdout)

    files = {one["file_id"]: one["id"] for one in told("bank", "files", "list", "--book", "1", code=1)["files"]}
    waiting = told("case", "list", "--kind", "booking_unidentified", code=1)["cases"]
    cases = {one["amount_minor"]: one["id"] for one in waiting}
    refused = [one["id"] for one in told("case", "list", "--kind", "settlement_refused", code=1)["cases"]]
    (stopped,) = [one["id"] for one in told("case", "list", "--kind", "withdrawal_in_doubt", code=1)["cases"]]
    (held,) = [one["id"] for one in told("case", "list", "--kind", "payout_recalled", code=1)["cases"]]
    about = {"release": "pain.002-1", "replace": "camt.054-0", "discard": "camt.054-1"}
    decided = {"book": 100, "suspend": 200, "no_deposit": 300, "returned": 6_890, "interest": 400, "charge": -50}
    nowhere = ("case", "decide", cases[decided["returned"]], "--decision", "returned", "--line", "L1", "--note", "?")
    assert "no_such_line" in bare_home(*nowhere, code=1).output, "nobody is asked to agree to it"
    page = commands()
    assert len(page) > 15
    for words in page:
        what = words[words.index("--decision") + 1] if "--decision" in words else words[min(2, len(words) - 1)]
        meant = {
            **names,
            "FILE": files[about.get(what, "pain.002-1")],
            "CASE": cases[decided.get(what, 100)],
            "STOPPED": stopped,
            "HELD": held,
            "REFUSED": refused[int(what == "cancel")],
        }
        typed = [meant.get(word, word) for word in words]
        if (
            what in about
            or what in decided
            or (what in ("send_again", "cancel", "not_paid") and words[0] == "case")
            or words[:2]
            in (
                ["payee", "bind"],
                ["payee", "freeze"],
                ["payee", "unfreeze"],
                ["payee", "limit"],
                ["payout", "release"],
                ["payout", "cancel"],
                ["payout", "recall"],
                ["payout", "bank"],
                ["bank", "account"],
            )
        ):
            by_two(bare_home, typed)
        elif words[:2] == ["timetable", "run"]:
            with monkeypatch.context() as at:
                at.setattr(SystemClock, "now", lambda _: datetime.fromisoformat(names["DATE"] + "T20:00:00+00:00"))
                assert "the hub: done" in bare_home(*typed).output
        elif words[:2] == ["proof", "--date"] or words[0] in ("statement", "report"):
            says = {"proof": "it holds 平", "statement": names["DATE"], "report": "CNY"}[words[0]]
            with monkeypatch.context() as at:  # the day of the play is far ahead, and must be over
                at.setattr(SystemClock, "now", lambda _: datetime.fromisoformat(names["DATE"] + "T20:00:00+00:00"))
                assert says in bare_home(*typed).output
        else:
            shows_what_waits = words[:2] == ["case", "list"] or words[:3] == ["bank", "files", "list"]
            output = bare_home(*typed, code=int(shows_what_waits)).output
            if "returned" in words:
                assert "returned 2026-11-25  AC04" in output
    signed = json.loads(Path("day.json").read_bytes())["certificate"]
    assert [item["minor"] for item in signed["books"][0]["custody"][0]["explained"] if item["at"] == "bank"] == [300]
    Path("day.json").write_bytes(Path("day.json").read_bytes().replace(b'"minor":300', b'"minor":301'))
    assert "changed" in bare_home("proof", "verify", "day.json", "--public-key", "day.pem", code=1).output
    assert Path("payee.xlsx").read_bytes()[:2] == b"PK"
    assert "settlement_sent" in Path("bank.csv").read_text("utf-8-sig")
    assert Path("copy.xml").read_bytes().startswith(b"<Document")

    fates = {one["file_id"]: one["fate"] for one in told("bank", "files", "list", "--book", "1", code=0)["files"]}
    assert [fates[about[word]] for word in ("release", "replace", "discard")] == ["applied", "discarded", "discarded"]
    (suspended,) = told("case", "list", code=1)["cases"]
    assert (suspended["kind"], suspended["amount_minor"]) == ("money_in_suspense", 200)
    by_two(bare_home, ["case", "decide", suspended["id"], "--decision", "gone_back", "--note", "the bank sent it back"])
    told("case", "list", code=0)
    batches = told("settlement", "list", "--book", "1", code=0)["settlements"]
    statuses = sorted(one["status"] for one in batches)
    assert statuses == ["cancelled", "cancelled", "created", "created", "finished"], "the worker does the rest"
    shown = told("settlement", "show", "--book", "1", names["SETTLEMENT"], code=0)
    assert sorted(one["status"] for one in shown["instructions"]) == ["paid", "returned", "returned"]
    assert shown["returned_minor"] == 3_000 + 6_890
    bare_home("verify")
