"""`sluice settle trial`, run small: one day of orders, two banks, everything that goes wrong, and nothing left."""

import json
from datetime import date
from pathlib import Path

import pytest

from ops.trials.replay import generate
from ops.trials.replay.orders import BadOrders
from ops.trials.settlements import spoils
from ops.trials.settlements.cast import by_largest
from ops.trials.settlements.command import days_of
from ops.trials.settlements.witness import Witness
from tests.ops.trials.replay.running import an_empty_home

DAY = date(2026, 12, 2)


@pytest.mark.long
def test_a_day_is_paid_by_two_banks_that_make_mistakes_and_every_promise_is_kept(tmp_path: Path) -> None:
    orders = tmp_path / "orders.csv"
    generate.write(orders, 5, orders=24)
    with an_empty_home() as home:
        process = home.start("settle", "trial", "--json", "--orders", str(orders), "--seed", "5")
        out, err = process.communicate()
    found = json.loads(out)
    assert (process.returncode, found["wrongs"]) == (0, []), err
    first, *_ = found["days"]
    assert first["refunded"] >= 0.2 * first["paid"] - 1 > 0
    assert [one["proof"] for one in found["days"]] == ["holds"] * 4
    assert [one["killed"] for one in found["days"]].count(True) == 1
    assert {one["way"] for one in found["spoiled"]} == {*spoils.WAYS, *spoils.CMB_WAYS}
    assert sum(lines.get("refused", 0) for one in found["days"] for lines in one["lines"].values()) > 0
    assert sum(one["returned"] for one in found["days"]) > 0
    assert set(first["lines"]) == {"harbour", "merchants"}


def test_files_named_by_dates_are_as_many_days_apart(tmp_path: Path) -> None:
    files = [tmp_path / f"2010-12-0{n}.csv" for n in (3, 1, 6)]
    for file in files:
        generate.write(file, 1, orders=3)
    assert [day.day for day in days_of(files)] == [2, 4, 7]
    others = [tmp_path / name for name in ("b.csv", "a.csv")]
    for file in others:
        generate.write(file, 1, orders=3)
    assert [day.day for day in days_of(others)] == [2, 3]
    with pytest.raises(BadOrders, match="a day of its own"):
        days_of([files[0], files[0]])


def test_each_way_is_drawn_and_no_file_is_spoiled_twice() -> None:
    dates = [date(2026, 12, n) for n in range(2, 6)]
    for seed in range(50):
        found = spoils.drawn(dates, dates[1:2], dates[1:2], seed)
        assert {one.way for one in found} == set(spoils.WAYS)
        assert len({(one.type, one.on) for one in found}) == len(found)


@pytest.mark.parametrize("policy", ["ratio", "platform_first", "last_in_first_out", "payer_first"])
def test_a_payment_given_back_whole_leaves_nobody_anything(policy: str) -> None:
    witness = Witness()
    witness.sold("p", "wechat", 10_007, 60, [("store-1", 7_000), ("store-8", 3_007)], policy, DAY)
    assert sum(share.minor for share in witness.sales["p"].shares) == 10_007 - 60
    for part in (1, 4_999, 5_007):
        witness.gave_back("p", "wechat", part, DAY, fee_kept=False)
    assert [share.left for share in witness.sales["p"].shares] == [0] * len(witness.sales["p"].shares)
    assert witness.due(["store-1", "agent-1", "platform"], DAY) == {}
    assert witness.into["wechat", DAY] == 0
    assert by_largest(5, [1, 1, 1]) == [2, 2, 1]
