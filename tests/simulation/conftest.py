"""A hub of the module's own, to be killed piece by piece."""

from collections.abc import Iterator

import pytest

from tests.ops.trials.replay.running import RunningHub, a_running_hub, an_empty_home


@pytest.fixture(scope="module")
def running_hub() -> Iterator[RunningHub]:
    # A storm lays cables to the sandbox, which both gateways are to call.
    with a_running_hub(SLUICE_ALLOW_ADDRESSES="loopback") as hub:
        yield hub


@pytest.fixture
def empty_home() -> Iterator[RunningHub]:
    with an_empty_home() as hub:
        yield hub
