"""When a step is due: at its time, one date after the other, after growing waits, and a proof after its statements."""

from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kernel.clock import BEIJING
from reconciliation.timetable.plan import LONGEST_WAIT, STEPS, Row, Scope, Step, due, due_at, late_s, next_at, wait

DAY_0 = date(2026, 11, 24)
ONE = timedelta(days=1)


def at(day: date, clock: str) -> datetime:
    return datetime.fromisoformat(f"{day}T{clock}:00").replace(tzinfo=BEIJING)


def row(step: Step, done_until: date = DAY_0, tries: int = 0, retry_at: datetime | None = None, **more: Any) -> Row:
    subject = "citybank:CNY@16:00" if step is Step.SETTLEMENT_TODAY else "citybank"
    failed = ("x", "why") if tries else (None, None)
    return Row(1, step.value, subject, done_until, None, tries, retry_at, *failed)._replace(**more)


def test_each_step_is_due_at_its_time_of_the_day_after_and_t0_on_the_date_itself() -> None:
    times = {step: next_at(row(step)) for step in Step}
    assert times[Step.SETTLEMENT_TODAY] == at(DAY_0 + ONE, "16:00")
    assert times[Step.SETTLEMENT] == at(DAY_0 + 2 * ONE, "00:10")
    ordered = [step for step in Step if STEPS[step].at is not None]
    assert sorted(ordered, key=lambda step: times[step]) == ordered, "they are in the order of the day"
    assert due([row(Step.STATEMENTS)], at(DAY_0 + 2 * ONE, "05:59")) == []
    assert due([row(Step.STATEMENTS)], at(DAY_0 + 2 * ONE, "06:00")) == [row(Step.STATEMENTS)]
    assert late_s(row(Step.STATEMENTS), at(DAY_0 + 2 * ONE, "07:00")) == 3_600


@given(st.integers(1, 100))
def test_waits_grow_up_to_an_hour(tries: int) -> None:
    assert timedelta(minutes=1) <= wait(tries) <= wait(tries + 1) <= LONGEST_WAIT
    assert wait(1) == timedelta(minutes=1)
    assert wait(7) == LONGEST_WAIT


def test_after_an_outage_it_is_the_turn_of_the_oldest_date_and_what_failed_waits() -> None:
    now = at(DAY_0 + 9 * ONE, "12:00")
    retried = row(Step.RECONCILIATION, tries=2, retry_at=now + timedelta(minutes=2))
    found = due([row(Step.SETTLEMENT), retried, row(Step.STATEMENTS, DAY_0 + ONE)], now)
    assert [(one.step, one.next_date) for one in found] == [
        ("settlement", DAY_0 + ONE), ("statements", DAY_0 + 2 * ONE),
    ]  # fmt: skip
    assert retried in due([retried], now + timedelta(minutes=2))


def test_a_proof_waits_for_statements_to_be_fetched_and_not_for_a_bank_that_has_none() -> None:
    now, proof = at(DAY_0 + 9 * ONE, "12:00"), row(Step.PROOF, book=0, subject="")
    assert due([proof, row(Step.STATEMENTS)], now) == [row(Step.STATEMENTS)]
    assert proof in due([proof, row(Step.STATEMENTS, DAY_0 + ONE)], now), "of its date they are there"
    assert proof not in due([proof, row(Step.STATEMENTS, tries=1, retry_at=now)], now), "it is tried again now"
    assert proof in due([proof, row(Step.STATEMENTS, tries=1, retry_at=now + timedelta(minutes=1))], now)
    assert due_at(Scope(Step.PROOF, 0, ""), DAY_0) == at(DAY_0 + ONE, "11:00")
