"""The breaker: opens on failures, rests, tries, starts slowly, and refuses nothing."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.breaker import DEFAULT, Breaker, Health
from gateway.routing.verdicts import Verdict

OK, BAD, NEUTRAL = Verdict.WORKED, Verdict.FAILED, Verdict.NEUTRAL


def told(*verdicts: Verdict, gap: float = 1.0) -> tuple[Breaker, float]:
    """Return a breaker that has seen these, and the time of the last."""
    breaker, at = Breaker(), 0.0
    for verdict in verdicts:
        at += gap
        breaker.see(verdict, at)
    return breaker, at


def opened() -> tuple[Breaker, float]:
    return told(*[BAD] * DEFAULT.consecutive)


def half_open() -> tuple[Breaker, float]:
    breaker, at = opened()
    at += DEFAULT.pause_s
    assert breaker.health(at) is Health.HALF_OPEN
    return breaker, at


def slow() -> tuple[Breaker, float]:
    breaker, at = half_open()
    for _ in range(DEFAULT.probes):
        breaker.see(OK, at)
    assert breaker.health(at) is Health.SLOW_START
    return breaker, at


def test_failures_in_a_row_open_it_and_one_less_does_not() -> None:
    breaker, at = told(*[BAD] * (DEFAULT.consecutive - 1))
    assert breaker.health(at) is Health.CLOSED
    breaker.see(BAD, at)
    assert breaker.health(at) is Health.OPEN


@pytest.mark.parametrize("between", [OK, NEUTRAL])
def test_any_answer_between_failures_breaks_the_row(between: Verdict) -> None:
    row = [BAD] * (DEFAULT.consecutive - 1)
    breaker, at = told(*row, between, *row)
    assert breaker.health(at) is Health.CLOSED


def test_a_high_rate_of_failures_opens_it_though_none_follow_one_another_for_long() -> None:
    breaker, at = told(*[BAD, BAD, BAD, OK] * 5, BAD)
    assert breaker.health(at) is Health.OPEN


def test_failures_long_past_do_not_count_towards_the_rate() -> None:
    breaker, at = told(*[BAD, BAD, BAD, OK] * 5, BAD, gap=DEFAULT.window_s / 10)
    assert breaker.health(at) is Health.CLOSED


def test_payers_who_are_refused_never_open_it() -> None:
    breaker, at = told(*[NEUTRAL] * 100)
    assert breaker.health(at) is Health.CLOSED


def test_it_rests_for_its_pause_and_is_then_half_open() -> None:
    breaker, at = opened()
    assert breaker.health(at + DEFAULT.pause_s - 0.001) is Health.OPEN
    assert breaker.health(at + DEFAULT.pause_s) is Health.HALF_OPEN


def test_half_open_one_small_payment_at_a_time_may_try_it() -> None:
    breaker, at = half_open()
    assert breaker.may_probe(at, small=True)
    assert not breaker.may_probe(at, small=False)
    breaker.probing(at)
    assert not breaker.may_probe(at + DEFAULT.probe_every_s - 0.001, small=True)
    assert breaker.may_probe(at + DEFAULT.probe_every_s, small=True)


def test_where_no_small_payment_comes_a_large_one_may_try_it_in_the_end() -> None:
    breaker, at = half_open()
    assert not breaker.may_probe(at + DEFAULT.patience_s - 1, small=False)
    assert breaker.may_probe(at + DEFAULT.patience_s, small=False)


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_bound() -> None:
    breaker, at = opened()
    pause = DEFAULT.pause_s
    for _ in range(10):
        at += pause
        assert breaker.health(at) is Health.HALF_OPEN
        breaker.see(BAD, at)
        pause = min(2 * pause, DEFAULT.longest_pause_s)
        assert breaker.health(at + pause - 0.001) is Health.OPEN
    assert pause == DEFAULT.longest_pause_s


def test_probes_that_work_begin_a_slow_start_whose_share_grows_to_the_whole() -> None:
    breaker, at = slow()
    shares = [breaker.share(at + DEFAULT.ramp_s * part) for part in (0, 0.25, 0.5, 1)]
    assert shares == [pytest.approx(s) for s in (0.1, 0.325, 0.55, 1.0)]
    assert breaker.health(at + DEFAULT.ramp_s - 0.001) is Health.SLOW_START
    assert breaker.health(at + DEFAULT.ramp_s) is Health.CLOSED


def test_failures_during_the_slow_start_open_it_sooner_than_usual() -> None:
    breaker, at = slow()
    for _ in range(DEFAULT.ramp_failures):
        breaker.see(BAD, at)
    assert breaker.health(at) is Health.OPEN
    assert breaker.health(at + DEFAULT.pause_s) is Health.OPEN  # for twice as long: it has not been well since


def test_once_closed_its_next_pause_is_the_first_one_again() -> None:
    breaker, at = half_open()
    breaker.see(BAD, at)  # twice as long now
    at += 2 * DEFAULT.pause_s
    for _ in range(DEFAULT.probes):
        breaker.see(OK, at)
    at += DEFAULT.ramp_s
    assert breaker.health(at) is Health.CLOSED
    for _ in range(DEFAULT.consecutive):
        breaker.see(BAD, at)
    assert breaker.health(at + DEFAULT.pause_s) is Health.HALF_OPEN


def test_answers_that_come_in_while_it_is_open_do_not_make_the_pause_longer() -> None:
    breaker, at = opened()
    for n in range(10):
        breaker.see(BAD, at + n)  # sent before it opened
    assert breaker.health(at + DEFAULT.pause_s) is Health.HALF_OPEN


@given(st.lists(st.tuples(st.sampled_from(Verdict), st.floats(0, 90)), max_size=120))
def test_whatever_it_sees_it_is_in_one_of_its_states_and_comes_back_when_all_goes_well(
    seen: Iterable[tuple[Verdict, float]],
) -> None:
    breaker, at = Breaker(), 0.0
    for verdict, gap in seen:
        at += gap
        breaker.see(verdict, at)
        assert 0 < breaker.share(at) <= 1
    at += DEFAULT.longest_pause_s
    for _ in range(DEFAULT.probes + 1):
        breaker.health(at)
        breaker.see(OK, at)
        at += 1
    assert breaker.health(at + DEFAULT.ramp_s) is Health.CLOSED
