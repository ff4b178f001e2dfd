"""A hub of the module's own, to be put under load."""

from collections.abc import Iterator

import pytest

from tests.ops.trials.replay.running import RunningHub, a_running_hub


@pytest.fixture(scope="module")
def running_hub() -> Iterator[RunningHub]:
    with a_running_hub() as hub:
        yield hub
