"""One browser, one sandbox and one hub for all tests of the cashier's pages: starting them is what takes the time."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.gateway.cashier.browsers import Street, a_street, chromium


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def street(pg_server: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Street]:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine; SLUICE_BROWSER=required makes that a failure")
    name = "sluice_cashier"
    await pg_server.admin.execute(f"create database {name} owner sluice template {pg_server.template}")
    try:
        async with a_street(pg_server.url(name), tmp_path_factory.mktemp("cashier"), executable) as opened:
            yield opened
    finally:
        await pg_server.admin.execute(f"drop database {name} with (force)")
