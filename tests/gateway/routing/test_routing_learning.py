"""What is learned of an account: fading counts, borrowed knowledge, the present condition."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.routing.breaker import Thresholds
from gateway.routing.learning import BUCKETS, REMEMBER, Rail, bucket
from gateway.routing.verdicts import Verdict, verdict_of
from tests.gateway.routing.accounts import NOON, experience

OK, BAD, NEUTRAL = Verdict.WORKED, Verdict.FAILED, Verdict.NEUTRAL
T0 = NOON.timestamp()
NEVER_OPENS = Thresholds(consecutive=10**9, window_failures=10**9)


def test_an_account_nobody_has_tried_is_given_the_benefit_of_the_doubt() -> None:
    chances = Rail().chances("qr", "CNY", 100, T0)
    assert (chances.p, chances.now, chances.latency_ms) == (pytest.approx(REMEMBER.prior), 1.0, None)
    assert chances.deviation > 0.08


def test_many_observations_speak_for_themselves() -> None:
    chances = experience({"a": (1600, 400)}).rail("a").chances("qr", "CNY", 10_000, T0)
    assert chances.usual == pytest.approx(0.8, abs=0.02)
    assert chances.deviation < 0.02


def test_what_is_not_known_of_an_amount_is_borrowed_from_the_method_and_of_a_method_from_the_account() -> None:
    rail = experience({"a": (100, 100)}).rail("a")
    known = rail.chances("qr", "CNY", 10_000, T0)
    same_method = rail.chances("qr", "CNY", 10_000_000, T0)
    same_account = rail.chances("card", "CNY", 10_000, T0)
    assert known.usual < same_method.usual + 0.01 < REMEMBER.prior
    assert same_account.usual < REMEMBER.prior
    assert known.weight > same_method.weight > same_account.weight


def test_another_amount_s_own_record_outweighs_the_method_s() -> None:
    rail = experience({"a": (300, 0)}, minor=100).rail("a")
    for n in range(300):
        rail.see("qr", "CNY", 10_000_000, BAD if n % 2 else OK, T0 + n, None)
    assert rail.chances("qr", "CNY", 10_000_000, T0 + 300).usual < 0.65
    assert rail.chances("qr", "CNY", 100, T0 + 300).usual > 0.9


def test_what_is_old_fades_so_that_doubt_grows_again() -> None:
    rail = experience({"a": (200, 200)}).rail("a")
    fresh, later = rail.chances("qr", "CNY", 10_000, T0), rail.chances("qr", "CNY", 10_000, T0 + 7 * 86_400)
    assert later.weight < fresh.weight / 3
    assert later.usual > fresh.usual


def test_a_handful_of_failures_shows_in_the_present_condition_and_not_in_what_is_usual() -> None:
    rail = experience({"a": (1000, 50)}).rail("a")
    before = rail.chances("qr", "CNY", 10_000, T0)
    for n in range(6):
        rail.see("qr", "CNY", 10_000, BAD, T0 + n, None)
    after = rail.chances("qr", "CNY", 10_000, T0 + 6)
    assert before.now == 1.0
    assert after.now < 0.8
    assert after.usual > before.usual - 0.03
    assert after.p == pytest.approx(after.usual * after.now)


def test_one_failure_more_than_usual_is_chance_and_changes_nothing_now() -> None:
    rail = experience({"a": (900, 100)}).rail("a")
    rail.see("qr", "CNY", 10_000, BAD, T0, None)
    rail.see("qr", "CNY", 10_000, OK, T0 + 1, None)
    assert rail.chances("qr", "CNY", 10_000, T0 + 1).now > 0.9


def test_the_present_condition_is_forgotten_within_the_hour() -> None:
    rail = experience({"a": (1000, 0)}).rail("a")
    for n in range(40):
        rail.see("qr", "CNY", 10_000, BAD, T0 + n, None)
    assert rail.chances("qr", "CNY", 10_000, T0 + 40).now < 0.3
    assert rail.chances("qr", "CNY", 10_000, T0 + 3640).now > 0.85


def test_a_method_that_limps_does_not_speak_for_another_that_runs() -> None:
    rail = experience({"a": (300, 0)}).rail("a")
    for n in range(60):
        rail.see("qr", "CNY", 10_000, BAD if n % 2 else OK, T0 + n, None)
        rail.see("jsapi", "CNY", 10_000, OK, T0 + n, None)
    assert rail.chances("jsapi", "CNY", 10_000, T0 + 60).now - rail.chances("qr", "CNY", 10_000, T0 + 60).now > 0.1


def test_payers_who_are_refused_teach_nothing_about_the_rail() -> None:
    rail, other = experience({"a": (100, 10)}).rail("a"), experience({"a": (100, 10)}).rail("a")
    for n in range(100):
        rail.see("qr", "CNY", 10_000, NEUTRAL, T0 + n, 5.0)
    assert rail.chances("qr", "CNY", 10_000, T0 + 100) == other.chances("qr", "CNY", 10_000, T0 + 100)


def test_the_kinds_of_outcome_are_the_rails_affair_or_the_payers() -> None:
    assert {kind: verdict_of(kind).value for kind in ("confirmed", "pending", "refused", "not_found")} == {
        "confirmed": "worked",
        "pending": "worked",
        "refused": "neutral",
        "not_found": "neutral",
    }
    assert {verdict_of(kind) for kind in ("refused_retriable", "not_sent", "unknown", "a new word")} == {BAD}


def test_buckets_part_amounts_where_they_say() -> None:
    assert [bucket(minor) for at in BUCKETS for minor in (at - 1, at)] == [0, 1, 1, 2, 2, 3]


observations = st.lists(
    st.tuples(st.sampled_from(["qr", "card"]), st.integers(1, 10**7), st.sampled_from(Verdict), st.floats(0, 4000)),
    max_size=60,
)


@settings(max_examples=60)
@given(observations)
def test_chances_are_chances_whatever_was_seen_and_the_same_fold_gives_the_same(
    seen: list[tuple[str, int, Verdict, float]],
) -> None:
    rails = Rail(), Rail(thresholds=NEVER_OPENS)
    twin = Rail()
    at = T0
    for method, minor, verdict, gap in seen:
        at += gap
        for rail in (*rails, twin):
            rail.see(method, "CNY", minor, verdict, at, 100.0)
    for rail in rails:
        for method in ("qr", "card", "page"):
            chances = rail.chances(method, "CNY", 5_000, at)
            assert 0 <= chances.p <= chances.usual <= 1
            assert 0 < chances.now <= 1
            assert chances.weight > 0
    assert twin.chances("qr", "CNY", 5_000, at) == rails[0].chances("qr", "CNY", 5_000, at)
