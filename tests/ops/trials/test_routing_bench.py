"""The bench: its world is fair, its figures follow from its seed, and ours reaches its goals there."""

import json
import re
from pathlib import Path

import pytest

from gateway.routing.verdicts import Verdict
from ops.trials.routing import command
from ops.trials.routing.bench import (
    BEST_STATIC,
    ORACLE,
    OURS,
    Choosing,
    Result,
    best_order,
    oracle,
    ours,
    play,
    priority,
    run,
    scene,
)
from ops.trials.routing.world import ACCOUNTS, METHODS, World


@pytest.fixture(scope="module")
def result() -> Result:
    """What the bench finds in a world nobody has chosen; long enough to look behind the first 20,000."""
    return run(24_000, seed=7, places=2, singles=False)


def test_ours_loses_at_most_half_of_what_the_best_fixed_order_loses(result: Result) -> None:
    assert result.missed() == []
    assert 0 < result.regret_bp(OURS) <= result.regret_bp(BEST_STATIC) / 2


def test_ours_succeeds_within_two_percent_of_the_oracle_after_twenty_thousand(result: Result) -> None:
    mine, its = result.scores[OURS].later_success_rate, result.scores[ORACLE].later_success_rate
    assert mine is not None
    assert its is not None
    assert mine >= 0.98 * its


def test_the_best_order_in_hindsight_is_at_least_as_good_as_the_one_stated(result: Result) -> None:
    assert result.regret_bp(BEST_STATIC) <= result.regret_bp("static_as_stated")


def test_planted_one_that_hears_nothing_of_what_became_of_its_choices_misses_the_goals() -> None:
    world = World(1, 6_000)
    stage = scene(world)
    deaf = play(stage, Choosing(ours(stage).pick))
    truth = play(stage, oracle(stage))
    order, best = best_order(stage, places=1)
    result = Result(6_000, 1, {ORACLE: truth, OURS: deaf, BEST_STATIC: best}, [str(a) for a in order])
    assert result.missed()


def test_the_same_seed_gives_the_same_figures_and_another_gives_others() -> None:
    first, again, other = (run(1_000, seed, places=1).as_json() for seed in (5, 5, 6))
    assert first == again
    assert first["policies"] != other["policies"]


def test_every_policy_meets_the_same_payments_and_the_oracle_beats_each_single_choice() -> None:
    world = World(2, 2_000)
    stage = scene(world)
    truth, not_taken = play(stage, oracle(stage)), 0
    for account in range(ACCOUNTS):
        alone = play(stage, priority([account]), only=account)
        assert alone.payments == truth.payments == 2_000
        assert alone.wanted_minor == truth.wanted_minor
        assert alone.value < truth.value
        not_taken += alone.not_taken
    assert not_taken > 0


def test_nothing_is_told_to_a_policy_but_what_became_of_its_own_choice() -> None:
    heard: list[tuple[int, Verdict]] = []
    chosen: list[int] = []
    world = World(2, 1_000)

    def pick(number: int, sale: object, able: object, used: object) -> int:
        chosen.append(scene_.open_to[number][0])
        return chosen[-1]

    scene_ = scene(world)
    play(scene_, Choosing(pick, lambda sale, account, verdict, latency: heard.append((account, verdict))))
    assert [account for account, _ in heard] == chosen
    assert {verdict for _, verdict in heard} == set(Verdict)


def test_the_world_has_what_it_says() -> None:
    world = World(4, 3_000)
    assert len(world.accounts) == ACCOUNTS
    for method in METHODS:
        assert sum(method in one.capabilities.methods for one in world.accounts) >= 5
    fees = [one.terms.fees for one in world.accounts]
    assert sum(bool(f.tiers) for f in fees) == 2
    assert sum(f.free_quota_minor > 0 for f in fees) == 2
    assert sum(f.minimum_minor > 0 for f in fees) == 1
    chances = [p for account in world.truth for step in account for p in step]
    assert all(0 <= p < 1 for p in chances)
    assert min(chances) < 0.5 < 0.9 < max(chances)  # rails fail, and rails are good


def test_the_figures_are_written_for_machines_and_as_a_page_that_asks_nobody(tmp_path: Path) -> None:
    json_file, html_file = tmp_path / "bench.json", tmp_path / "bench.html"
    code = command.bench(1_000, 5, None, json_file, html_file)
    told = json.loads(json_file.read_text("utf-8"))
    assert code == (1 if told["missed"] else 0)
    assert (told["payments"], told["seed"]) == (1_000, 5)
    names = ["oracle", "ours", "static_best", "static_as_stated", "weighted", "round_robin"]
    assert list(told["policies"])[:6] == names
    assert len(told["policies"]) == 6 + ACCOUNTS
    for figures in told["policies"].values():
        assert {"success_rate", "cost_per_10k", "regret"} <= set(figures)
    assert told["policies"]["oracle"]["regret"] == 0
    html = html_file.read_text("utf-8")
    assert html.count("<polyline") == 5
    assert not re.search(r"https?://|src=|@import|url\(", html)
