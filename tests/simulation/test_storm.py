"""Storms over all rails: nobody is charged or refunded twice, nothing acknowledged is lost, every invariant holds.

One seed of 25 seconds here; `make nightly` runs ten of ten minutes (STORM_SEEDS, STORM_SECONDS).
"""

import os
from pathlib import Path

import pytest

from tests.ops.trials.replay.running import RunningHub
from tests.simulation.storm import storm

SEEDS = [int(seed) for seed in os.environ.get("STORM_SEEDS", "1").split(",")]
SECONDS = float(os.environ.get("STORM_SECONDS", "25"))


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 480)
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_storm_charges_and_refunds_nobody_twice_and_loses_nothing(
    running_hub: RunningHub, seed: int, tmp_path: Path
) -> None:
    traces = Path(os.environ.get("STORM_TRACES", tmp_path)) / f"seed-{seed}"
    traces.mkdir(parents=True, exist_ok=True)
    found = await storm(running_hub, seed, SECONDS, traces)
    print(found)  # shown where the test fails, and by pytest -s
    assert found.wrongs == [], f"the logs are in {traces}"
    # Without these the storm would say nothing.
    harms = " ".join(found.harms)
    for wanted in ("killed", "paused", "cut", "clock jumped", "repetition refused", "refund failed", "notice", "_"):
        assert wanted in harms, found.harms
    assert found.met["payment succeeded"] >= SECONDS / 10
    assert found.met["refund succeeded"] >= SECONDS / 20
    assert found.retries > 0
