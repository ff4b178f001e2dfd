"""One sandbox for all contract tests of a test process, and which plays are made of the rules that plays have."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from channels import CHANNELS, Channel, HttpTransport
from kernel.addresses import LOOPBACK
from kernel.env import Env, system_env
from ops.wiring import Hub, hub
from tests.conftest import TestServer as PostgresServer
from tests.contract.counterparties import Control, Counterparty, sandbox
from tests.contract.plays import Play, Played, Rule, a_play, facts, play_id

PLAYED = pytest.StashKey[Played]()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def base_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with sandbox(tmp_path_factory.mktemp("sandbox")) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def env() -> AsyncIterator[Env]:
    async with HttpTransport(addresses=LOOPBACK) as transport:
        env = system_env(transport)
        yield env
        await env.tasks.aclose()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(scope="session")
def control(base_url: str, http: aiohttp.ClientSession) -> Control:
    """Return how a test has something happen on the other side: `await control("bank/deposits", amount_minor=1, …)`."""

    async def ask(path: str, **body: Any) -> dict[str, Any]:
        async with http.post(f"{base_url}/control/{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            told: dict[str, Any] = await answer.json()
            return told

    return ask


@pytest.fixture(scope="session")
def rail_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the hub of all plays keeps its secrets."""
    return tmp_path_factory.mktemp("home")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rail_hub(pg_server: PostgresServer, env: Env, rail_home: Path) -> AsyncIterator[Hub]:
    """One hub for all plays; each play has a merchant of its own in it."""
    await pg_server.admin.execute("CREATE DATABASE sluice_rails OWNER sluice TEMPLATE sluice_template")
    async with hub(
        database_url=pg_server.url("sluice_rails"),
        redis_url=None,
        home=rail_home,
        public_url="http://127.0.0.1:9",  # nothing listens there: whatever the hub learns, it asks for
        time_scale=0.01,
        env=env,
    ) as objects:
        yield objects
    await pg_server.admin.execute("DROP DATABASE sluice_rails WITH (FORCE)")


@pytest.fixture(scope="session")
def accounts() -> dict[str, tuple[Counterparty, Channel]]:
    """The accounts that plays share, one a rail: making keys, and reading them, takes longer than most plays."""
    return {}


@pytest_asyncio.fixture(loop_scope="session")
async def play(
    request: pytest.FixtureRequest,
    base_url: str,
    env: Env,
    http: aiohttp.ClientSession,
    accounts: dict[str, tuple[Counterparty, Channel]],
) -> AsyncIterator[Play]:
    name, alone = request.param
    async with a_play(name, base_url, env, http, accounts, alone=alone) as made:
        yield made


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    rule = getattr(metafunc.function, "rule", None)
    if not isinstance(rule, Rule):
        return
    cases = [((name, rule.alone), *values) for name in sorted(CHANNELS) for values in rule.cases(facts(name))]
    ids = [play_id(name, values) for (name, _), *values in cases]
    metafunc.config.stash.setdefault(PLAYED, {})[metafunc.function.__name__] = set(ids)
    metafunc.parametrize(("play", *rule.values), cases, ids=ids, indirect=["play"])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what pytest makes of a play that no rail has a part in (yet): a test that is skipped."""
    played = config.stash.get(PLAYED, {})
    nobodys = [item for item in items if played.get(item.name.split("[")[0]) == set()]
    if nobodys:
        config.hook.pytest_deselected(items=nobodys)
        items[:] = [item for item in items if item not in nobodys]


@pytest.fixture
def played(request: pytest.FixtureRequest) -> Played:
    """The plays that were made in this run: the ids of each, by the test's name."""
    return request.config.stash[PLAYED]
