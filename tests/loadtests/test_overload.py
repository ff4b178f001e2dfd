"""`make overload`, run small against real processes: what it counts must hold on any machine, and its goals bite."""

import copy
from typing import Any

import pytest

from ops.trials.bench.overload import complaints, measured
from tests.conftest import TestServer as PostgresServer


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_a_small_flood_loses_nothing_and_refuses_cleanly(pg_server: PostgresServer) -> None:
    pid = pg_server.server.pid
    assert pid is not None
    said: list[str] = []
    figures = await measured(pg_server.server.admin_url, pid, [10], 2.0, said.append, rate=60.0)
    assert complaints(figures, timed=False) == [], said
    (flood,) = figures["factors"]
    statuses = flood["statuses"]
    assert statuses.get("429", 0) + statuses.get("503", 0) > 0, "ten times the peak was no flood"
    assert figures["books"]["accepted"] >= statuses["201"] > 0
    assert {probe for probe, told in flood["probes"].items() if told["done"]} == {"notices", "reads"}
    assert set(flood["cpu"]) == {"gateway", "postgres", "sandbox", "generator"}


PROBE = {"sent": 10, "statuses": {"200": 10}, "done": 10, "p99_ms": 5.0}
GOOD: dict[str, Any] = {
    "books": {"accepted": 10, "missing": 0, "twice": 0, "balance_mismatches": 0},
    "factors": [
        {
            "factor": 3,
            "share_of_peak": 0.95,
            "p99_ms": 800.0,
            "statuses": {"201": 10, "503": 20},
            "unclean": 0,
            "first_unclean": "",
            "probes": {"notices": PROBE, "reads": PROBE},
            "recovery_s": 1,
            "half": {"statuses": {"201": 5}},
        }
    ],
}


def test_a_run_that_keeps_every_promise_is_not_complained_of() -> None:
    assert complaints(GOOD, timed=True) == []


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("books", "missing"), 1, "1 payments missing"),
        (("books", "twice"), 1, "1 payments twice"),
        (("books", "balance_mismatches"), 1, "1 payments balance_mismatches"),
        (("factors", 0, "statuses"), {"503": 30}, "nothing was accepted"),
        (("factors", 0, "statuses"), {"201": 10, "500": 1}, "answers of ['500']"),
        (("factors", 0, "unclean"), 1, "refusals that are no problem"),
        (("factors", 0, "probes", "notices", "statuses"), {"200": 9, "503": 1}, "1 of 10 notices were not served"),
        (("factors", 0, "share_of_peak"), 0.89, "goodput 89.0% of the peak"),
        (("factors", 0, "p99_ms"), 1000.1, "p99 of the accepted"),
        (("factors", 0, "statuses"), {"201": 10, "gave up": 1}, "1 callers gave up"),
        (("factors", 0, "recovery_s"), 3, "recovered in 3 s"),
        (("factors", 0, "recovery_s"), None, "recovered in None s"),
        (("factors", 0, "half", "statuses"), {"201": 5, "503": 1}, "at half load afterwards"),
    ],
)
def test_every_promise_that_is_not_kept_is_named(where: tuple[Any, ...], value: Any, said: str) -> None:
    figures = copy.deepcopy(GOOD)
    place: Any = figures
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    assert [line for line in complaints(figures, timed=True) if said in line], complaints(figures, timed=True)
