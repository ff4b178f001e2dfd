"""One hub for all replays of a module."""

from collections.abc import Iterator

import pytest

from tests.ops.trials.replay.running import RunningHub, a_running_hub, an_empty_home


@pytest.fixture(scope="module")
def running_hub() -> Iterator[RunningHub]:
    with a_running_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def idle_home() -> Iterator[RunningHub]:
    """A home in which no hub runs when a test begins, and none may when it ends."""
    with an_empty_home() as hub:
        yield hub
