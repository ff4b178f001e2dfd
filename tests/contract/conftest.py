"""One sandbox for all contract tests of a test process, and which plays are made of the rules that plays have."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from counterparties import Counterparty, sandbox
from plays import Play, Played, Rule, a_play, facts, play_id

from channels import CHANNELS, Channel, HttpTransport
from kernel.addresses import LOOPBACK
from kernel.env import Env, system_env

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
