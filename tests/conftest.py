"""Real servers for everybody's tests: one PostgreSQL and one Valkey a test process, one fresh database a test."""

import asyncio
import functools
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
import redis
from cryptography.hazmat.primitives import serialization
from hypothesis import settings

from ops import embedded
from ops.embedded.place import Lock, is_locked
from ops.migrate import migrate

# No example of a property has a deadline: how long one takes says more of the machine than of us.
settings.register_profile("untimed", deadline=None)
settings.register_profile("many", deadline=None, max_examples=3_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "untimed"))

# Reading an RSA key proves it, which takes longer than most tests do; it is the same few keys that they read.
serialization.load_pem_private_key = functools.cache(serialization.load_pem_private_key)
serialization.load_der_private_key = functools.cache(serialization.load_der_private_key)

BEIJING = timezone(timedelta(hours=8))
_LONGER_THAN_A_TEST = timedelta(seconds=45)


def pytest_configure(config: pytest.Config) -> None:
    """Have all sandboxes of a run share their keys: making each its own took a tenth of the run."""
    if "SANDBOX_KEYS" not in os.environ:  # the workers have their parent's
        folder = tempfile.mkdtemp(prefix=f"{_PREFIX}keys-")
        os.environ["SANDBOX_KEYS"] = folder
        config.add_cleanup(functools.partial(shutil.rmtree, folder, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests, all with one worker: they share the cores with short ones and not with each other."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_runtest_setup() -> None:
    """Begin no test just before midnight in Beijing: the days of all rails turn then, and "today" would be two days."""
    now = datetime.now(BEIJING)
    tomorrow = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), BEIJING)
    if tomorrow - now < _LONGER_THAN_A_TEST:
        time.sleep((tomorrow - now).total_seconds())


# Memory that is a file system: fsync stays on in tests and costs nothing. Docker gives 64 MB of it, too little.
_MEMORY = Path("/dev/shm")
_MEMORY_WANTED_BYTES = 2 * 2**30
_PREFIX = "sluice-test-"
_IN_USE = "in-use"


@dataclass(frozen=True, slots=True)
class TestServer:
    """A running PostgreSQL, and the connection that makes and drops databases on it."""

    __test__ = False

    server: embedded.Postgres
    admin: "asyncpg.Connection[asyncpg.Record]"
    template: str

    def url(self, database: str) -> str:
        return self.server.url.rpartition("/")[0] + f"/{database}"


@contextmanager
def _new_home() -> Iterator[Path]:
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_WANTED_BYTES
    base = _MEMORY if in_memory and os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    _sweep(base)
    home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    home.chmod(0o711)
    lock = Lock(home / _IN_USE)
    lock.take("the test")
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
        lock.release()


def _sweep(base: Path) -> None:
    """Remove what killed test processes left: homes of ours that nobody uses any more."""
    for home in base.glob(f"{_PREFIX}*"):
        lock = home / _IN_USE
        if lock.exists() and home.stat().st_uid == os.geteuid() and not is_locked(lock):
            shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def server_home() -> Iterator[Path]:
    """The SLUICE_HOME of the servers which the tests of this process share."""
    with _new_home() as home:
        yield home


@pytest.fixture
def home() -> Iterator[Path]:
    """A SLUICE_HOME for one test alone, where it may start, hurt and kill servers of its own."""
    with _new_home() as home:
        yield home


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pg_server(server_home: Path) -> AsyncIterator[TestServer]:
    """The PostgreSQL of this test process, with a migrated template; `.server`, `.admin`, `.url(database)`."""
    async with embedded.postgres(server_home, options={"shared_buffers": "128MB", "max_wal_size": "512MB"}) as server:
        admin = await asyncpg.connect(server.admin_url)
        running = TestServer(server, admin, "sluice_template")
        await admin.execute(f"create database {running.template} owner sluice")
        await asyncio.to_thread(migrate, running.url(running.template))
        yield running
        admin.terminate()


_numbers = count(1)


@pytest_asyncio.fixture(loop_scope="session")
async def database_url(pg_server: TestServer) -> AsyncIterator[str]:
    """The address of a fresh, migrated database of this test alone; the role owns it and is no superuser."""
    name = f"sluice_test_{next(_numbers)}"
    # STRATEGY file_copy: no page goes through the log, and in memory its two checkpoints cost next to nothing.
    await pg_server.admin.execute(
        f"create database {name} owner sluice template {pg_server.template} strategy file_copy"
    )
    yield pg_server.url(name)
    await pg_server.admin.execute(f"drop database {name} with (force)")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_server(server_home: Path) -> AsyncIterator[embedded.Valkey]:
    """The Valkey of this test process."""
    async with embedded.valkey(server_home) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: embedded.Valkey) -> str:
    """The address of an empty Valkey."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url
