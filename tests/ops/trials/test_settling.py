"""`sluice settle bench`, run small: it settles what it says, on books that hold."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.cli.commands import app
from ops.trials import settling
from tests.conftest import TestServer


@pytest.mark.asyncio(loop_scope="session")
async def test_it_measures_every_age_of_a_book_that_holds(pg_server: TestServer) -> None:
    said: list[str] = []
    figures = await settling.alone(
        pg_server.server.admin_url, name=f"settle_bench_{os.getpid()}", histories=[40, 200], payees=7, day=20,
        lines=600, say=said.append,
    )  # fmt: skip
    assert [age["history"] for age in figures["ages"]] == [40, 200]
    assert figures["ages"][-1]["payments"] == 200 + settling.DAYS * 20
    assert figures["unsound"] == 0
    # five entries a payment, one a payee and date that is sent, one that is paid; and the large batch's deposit
    dates = 2 + settling.DAYS + 3 + settling.DAYS
    of_the_large = 5 * 200 + 2 * 600 + 1
    assert figures["transfers"] == 5 * figures["ages"][-1]["payments"] + 2 * 7 * dates + of_the_large
    large = figures["large"]
    assert (large["lines"], large["undecided"]) == (600, 0)
    assert large["order_mb"] > 0
    assert all(large[name] > 0 for name in ("made_mb", "sent_mb", "answered_mb", "bank_mb", "longest_commit_ms"))
    for name, least in (("commits", 2 * 600 // 100), ("payments_commits", 1)):
        took = large[name]
        assert took["count"] >= least
        assert 0 < took["median_ms"] <= took["p99_ms"] <= took["longest_ms"]
    assert all(age[name] > 0 for age in figures["ages"] for name in figures["growth"])
    assert "a day settled" in settling.page(figures)


def test_a_promise_that_is_not_kept_is_named() -> None:
    age = {"settle_s": 0.5, "balance_ms": 9.0, "statement_ms": 20.0}
    growth = dict.fromkeys(age, 1.0)
    good = {"ages": [age], "growth": growth, "unsound": 0, "large": {"undecided": 0}}
    assert settling.complaints(good) == []
    assert settling.complaints({**good, "large": {"undecided": 2}}) == [
        "2 lines of the large batch have not been decided"
    ]
    assert settling.complaints({**good, "unsound": 1}) == ["the books are not sound: 1"]
    assert "balance_ms" in settling.complaints({**good, "ages": [age | {"balance_ms": 50.1}]})[0]
    assert "settle_s" in settling.complaints({**good, "growth": growth | {"settle_s": 1.51}})[0]


@pytest.mark.parametrize("histories", ["", "a", "5,3", "0", "3,3"])
def test_ages_that_are_none_are_refused_before_anything_is_started(histories: str, tmp_path: Path) -> None:
    done = CliRunner(env={"SLUICE_HOME": str(tmp_path)}).invoke(app, ["settle", "bench", "--histories", histories])
    assert done.exit_code == 2
    assert "--histories" in done.output
    assert json.dumps([*tmp_path.iterdir()]) == "[]"
