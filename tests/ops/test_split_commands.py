"""`sluice split …` on a real database, in the words an operator types."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from ops.cli.commands import app
from ops.trials import split_bench
from splitting.plans.bulk import Columns

Sluice = Callable[..., Result]
PAYEE = "pye_" + "1" * 26
BOOK = ("--book", "1")


async def a_payee(database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        "INSERT INTO payee (book, id, name, kind, currency, created_at) "
        "VALUES (1, $1, 'agent', 'supplier', 'CNY', now())",
        PAYEE,
    )
    await owner.close()


def a_plan(folder: Path, basis_points: int, **more: Any) -> str:
    line = {"name": "agent", "payee": PAYEE, "basis_points": basis_points, **more}
    path = folder / f"plan-{basis_points}.json"
    path.write_text(json.dumps({"version": 1, "lines": [line]}))
    return str(path)


def test_what_cannot_be_attached_is_refused_before_another_person_is_asked(two_operators: Sluice) -> None:
    attach = ("split", "attach", *BOOK, "spl_" + "1" * 26, "--to")
    for words, why in (
        (("store", "--name", "店1"), "your name for the store as payments give it"),
        (("store",), "name the store that the plan is attached to"),
        (("payment-link", "--name", "counter"), "the id of a payment link or standing code"),
        (("merchant", "--name", "tea"), "leave it out"),
    ):
        assert why in two_operators(*attach, *words, code=1).output
    assert json.loads(two_operators("approval", "list", "--json").stdout)["approvals"] == []
    taken_away = ("split", "attach", *BOOK, "--to", "store", "--name", "店1", "--none")
    assert "approval_asked" in two_operators(*taken_away, code=1).output, "what was attached before can go"


def test_a_way_to_pay_that_there_is_not_is_refused(tea_house: Sluice, tmp_path: Path) -> None:
    run = ("split", "dry-run", *BOOK, "--amount", "1", "--file", a_plan(tmp_path, 100), "--method", "wechat")
    assert "--method is one of qr" in tea_house(*run, code=2).output


def test_two_people_activate_exactly_the_document_that_was_agreed_to(
    tea_house: Sluice, database_url: str, tmp_path: Path
) -> None:
    asyncio.run(a_payee(database_url))
    first = a_plan(tmp_path, 1_000)
    told = json.loads(tea_house("split", "plan", "add", *BOOK, first, "--name", "tea", "--json").stdout)
    plan, digest = told["id"], told["version"]["hash"]
    assert (told["version"]["maker"], told["version"]["status"]) == ("ada", "draft")
    activate = ("split", "plan", "activate", *BOOK, plan, "1")
    assert "second_person_missing" in tea_house(*activate, code=1).output
    tea_house("person", "add", "cy", "--role", "operator", "--keep")
    assert "approval_asked" in tea_house(*activate, code=1).output
    (asked,) = json.loads(tea_house("approval", "list", "--json").stdout)["approvals"]
    assert asked["what"]["arguments"] == {"version": 1, "hash": digest, "made_by": "ada"}
    assert "approval_is_ones_own" in tea_house("approval", "approve", asked["id"], code=1).output
    tea_house("--as", "cy", "approval", "approve", asked["id"])
    second = ("split", "plan", "version", *BOOK, plan, a_plan(tmp_path, 2_000))
    assert "version 2 is draft" in tea_house(*second).output
    other = ("split", "plan", "activate", *BOOK, plan, "2")
    assert "approval_asked" in tea_house(*other, code=1).output, "it was agreed to the first"
    assert "version 1 is active" in tea_house(*activate).output
    shown = json.loads(tea_house("split", "plan", "show", *BOOK, plan, "--json").stdout)
    assert (shown["version"], shown["maker"], shown["checker"]) == (1, "ada", "cy")
    assert "version 1 active, 2 in all" in tea_house("split", "plan", "list", *BOOK).output
    assert json.loads(tea_house("split", "plan", "list", *BOOK, "--json").stdout)["split_plans"][0]["last_version"] == 2
    last = tea_house("split", "plan", "show", *BOOK, plan, "--version", "2").output
    assert '"basis_points": 2000' in last
    tea_house("verify")


async def a_frozen_share(database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        "INSERT INTO split (book, payment_id, status, currency, asked, gross_minor, fee_minor, shares, frozen, "
        "frozen_minor, release_on) VALUES (1, 'pay_1', 'posted', 'CNY', '[]', 500, 0, $1, $2, 500, '2026-12-31')",
        json.dumps([[PAYEE, 500, 0, "agent", 0]]),
        json.dumps([[0, 0, 500, 0, True, "2026-12-31", None, 0]]),
    )
    await owner.close()


def test_a_plan_is_tried_out_from_a_file_or_as_it_is_kept(tea_house: Sluice, database_url: str, tmp_path: Path) -> None:
    asyncio.run(a_payee(database_url))
    file = a_plan(tmp_path, 1_000, cap=500)
    run = ("split", "dry-run", *BOOK, "--amount", "100.00", "--fee", "0.60")
    said = tea_house(*run, "--file", file).output
    assert "99.40 CNY arrive of 100.00" in said
    assert (
        "agent: keeps 5.00 of 5.00, kept (1000 basis points of 99.40 CNY: 9.94; lowered to its cap of 5.00 CNY)" in said
    )
    assert "the merchant's own: 94.40 CNY" in said
    told = json.loads(tea_house("split", "plan", "add", *BOOK, file, "--name", "tea", "--json").stdout)
    kept = json.loads(tea_house(*run, "--plan", told["id"], "--json").stdout)
    assert kept == json.loads(tea_house(*run, "--file", file, "--json").stdout)
    assert (kept["own_minor"], kept["shares"][0]["keeps_minor"]) == (9_440, 500)

    asyncio.run(a_frozen_share(database_url))
    assert f"pay_1  {PAYEE}  5.00 CNY  on 2026-12-31 or on delivery" in tea_house("split", "frozen", *BOOK).output
    (split,) = json.loads(tea_house("split", "frozen", *BOOK, "--json").stdout)["splits"]
    assert split["frozen"][0]["amount_minor"] == split["shares"][0]["frozen_minor"] == 500


def test_what_cannot_be_tried_out_says_why(tea_house: Sluice, database_url: str, tmp_path: Path) -> None:
    asyncio.run(a_payee(database_url))
    file = a_plan(tmp_path, 1_000, minimum=1_000)
    run = ("split", "dry-run", *BOOK, "--amount")
    assert "split_exceeds_payment" in tea_house(*run, "9.99", "--file", file, code=1).output
    assert "give --file or --plan" in tea_house(*run, "1", code=2).output
    assert "--version is of a --plan" in tea_house(*run, "1", "--file", file, "--version", "1", code=2).output
    assert "is not an amount" in tea_house(*run, "1.999", "--file", file, code=2).output
    assert "not less than fee" in tea_house(*run, "1", "--fee", "2", "--file", file, code=2).output
    assert "no_such_split_plan" in tea_house(*run, "1", "--plan", "spl_0", code=1).output
    wrong = a_plan(tmp_path, 10_001)
    said = tea_house(*run, "1", "--file", wrong, code=1).output
    assert "line 'agent': " in said
    assert "split_plan_wrong" in tea_house("split", "plan", "add", *BOOK, wrong, "--name", "tea", code=1).output


def test_a_plan_is_attached_by_two_and_detached(tea_house: Sluice, database_url: str, tmp_path: Path) -> None:
    asyncio.run(a_payee(database_url))
    file = a_plan(tmp_path, 1_000)
    plan = json.loads(tea_house("split", "plan", "add", *BOOK, file, "--name", "tea", "--json").stdout)["id"]
    tea_house("person", "add", "cy", "--role", "operator", "--keep")

    def by_two(*words: str) -> str:
        assert "approval_asked" in tea_house(*words, code=1).output
        asked = json.loads(tea_house("approval", "list", "--json").stdout)["approvals"]
        tea_house("--as", "cy", "approval", "approve", asked[0]["id"])
        return str(tea_house(*words).output)

    by_two("split", "plan", "activate", *BOOK, plan, "1")
    to = ("split", "attach", *BOOK, "--to", "store", "--name", "north")
    assert f"store north CNY: {plan}, by ada" in by_two(*to, plan)
    (row,) = json.loads(tea_house("split", "attachments", *BOOK, "--json").stdout)["attachments"]
    assert (row["to"], row["subject"], row["plan"], row["version"]) == ("store", "north", plan, None)
    assert "store north" in tea_house("split", "attachments", *BOOK).output
    assert "store north CNY: none" in by_two(*to, "--none")
    assert tea_house("split", "attachments", *BOOK).output == ""
    assert "name a plan, or say --none" in tea_house(*to, code=2).output
    assert "--to is one of" in tea_house("split", "attach", *BOOK, "--to", "town", plan, code=2).output


def test_the_bench_compares_every_order_and_says_where_one_is_unequal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["split", "bench", "--orders", "10000", "--posted", "20", "--rounds", "1"]
    runner = CliRunner(env={"SLUICE_HOME": str(tmp_path)})
    found = runner.invoke(app, [*words, "--json"])
    told = json.loads(found.stdout)
    assert (found.exit_code, told["unequal"], told["one_by_one"], told["posting_unequal"]) == (0, 0, 0, 0)
    assert told["speedup"] > 1
    assert told["posting_speedup"] > 0
    usual = split_bench.share_many

    def astray(*given: Any) -> Columns:
        columns = usual(*given)
        columns.own[3][17] += 1
        return columns

    monkeypatch.setattr(split_bench, "share_many", astray)
    found = runner.invoke(app, words)
    assert found.exit_code == 1
    assert "unequal              1" in found.output
