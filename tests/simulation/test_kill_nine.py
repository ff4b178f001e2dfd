"""kill -9 of every process of the hub, again and again, while a day is played: the day ends as if nothing had been."""

from pathlib import Path

import pytest

from ops.trials.replay import generate
from tests.ops.trials.replay.running import RunningHub, ended
from tests.simulation.killer import Killer

TRADING = [
    (4, "gateway"),
    (10, "postgres"),
    (16, "valkey"),
    (20, "worker"),
    (26, "gateway"),
    (32, "postgres"),
    (38, "worker"),
    (40, "valkey"),
]
NO_TROUBLE = ("--cut", "none", "--slow", "none", "--lossy", "none")  # but what is killed
SETTLING = ["worker", "postgres", "gateway"]

# What must come out to the same whatever was killed on the way. Which rail took what may differ, and its fees with it.
SAME = (
    *("invoices", "paid", "refunded", "refused", "captured_minor", "refunded_minor", "refused_minor"),
    *("file_net_minor", "faults_planted", "discrepancies_found"),
)


@pytest.mark.long
@pytest.mark.timeout(400)  # two days at once, and one stands still for 20 s after each gateway that was killed
@pytest.mark.parametrize("seed", [5])
async def test_a_day_full_of_kills_ends_with_the_same_figures_as_a_quiet_one(
    running_hub: RunningHub, empty_home: RunningHub, tmp_path: Path, seed: int
) -> None:
    file = tmp_path / "orders.csv"
    generate.write(file, seed, orders=60)
    asked = ("replay", "--json", "-", "--orders", str(file), "--faults", "10", "--seed", str(seed), *NO_TROUBLE)
    untouched = empty_home.start(*asked)  # a hub of its own; both homes are new, so both days are book 1
    killer = Killer(running_hub, 1, TRADING, SETTLING)
    day = running_hub.start(*asked)
    await killer.follow(day)
    wild = ended(day).assert_good()  # among others: nobody charged twice, nothing acknowledged lost, invariants clean
    quiet = ended(untouched).assert_good()
    assert wild["book"] == quiet["book"] == killer.book
    assert {key: wild[key] for key in SAME} == {key: quiet[key] for key in SAME}
    assert kinds(wild) == kinds(quiet)
    assert told_of(wild) == told_of(quiet)

    # Without these the test would say nothing.
    assert [kill.name for kill in killer.kills] == [*(name for _, name in TRADING), *SETTLING]
    assert all(kill.sight.calling + kill.sight.waiting > 0 for kill in killer.kills[: len(TRADING)])
    assert all(kill.sight.at_bank > 0 for kill in killer.kills[len(TRADING) :])
    assert len({kill.pid for kill in killer.kills}) == len(killer.kills)
    assert wild["retries"] > quiet["retries"]


def told_of(summary: dict[str, int]) -> int:
    """Return of how many payments and refunds the merchant was told, a sale that was rung up again counted once.

    The time a payer has at the till may run out while a killed gateway's call is waited for.
    """
    return summary["acknowledged"] - summary["rung_up_again"]


def kinds(summary: dict[str, list[dict[str, str]]]) -> list[tuple[str, str]]:
    """Return which faults were found as what; the references differ from one book to the next."""
    return sorted((fault["fault"], fault["found_as"]) for fault in summary["faults"])
