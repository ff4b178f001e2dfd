"""One browser, one sandbox and one hub for all tests of the cashier's pages: starting them is what takes the time."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.gateway.cashier.browsers import Street, a_street_of_its_own


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def street(pg_server: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Street]:
    async with a_street_of_its_own(pg_server, "sluice_cashier", tmp_path_factory.mktemp("cashier")) as opened:
        yield opened
