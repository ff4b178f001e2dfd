"""One sandbox process for each module, a hundred times faster than the world; a merchant of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.sandbox_client import Merchant, Sandbox


@pytest.fixture(scope="module")
def sandbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    running = Sandbox(tmp_path_factory.mktemp("home"), getattr(request.module, "TIME_SCALE", 0.01))
    yield running
    assert running.stop() == 0, (running.home / "sandbox.log").read_text()


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox that may be killed."""
    running = Sandbox(tmp_path, 0.01)
    yield running
    running.process.kill()
    running.process.wait()


@pytest.fixture
def merchant(sandbox: Sandbox) -> Merchant:
    return sandbox.merchant()
