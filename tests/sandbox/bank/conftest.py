"""One sandbox process for the tests that do not kill it; each test has a customer of its own in it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.sandbox.bank.bank_client import Play, Sandbox, new_play, running_sandbox


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    async with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest_asyncio.fixture(loop_scope="session")
async def play(sandbox: Sandbox) -> Play:
    return await new_play(sandbox)
