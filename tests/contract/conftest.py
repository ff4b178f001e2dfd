"""One sandbox for all contract tests of a test process."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from counterparties import sandbox


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def base_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with sandbox(tmp_path_factory.mktemp("sandbox")) as url:
        yield url
