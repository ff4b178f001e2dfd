"""Readiness tries what it promises, once a second at most; what waits is measured."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from gateway.accounts.terms import Terms
from kernel.db import FULL
from ops import health
from ops.channel_keys import FILE, ChannelKeys
from ops.health import REMEMBER_S, SILENT_AFTER_S, Checks, Health
from tests.gateway.front import SILENCE, Front, a_front


@pytest_asyncio.fixture
async def front(database_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    async with a_front(database_url, tmp_path) as found:
        yield found


@pytest_asyncio.fixture
async def owner(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture(autouse=True)
def _the_next_test_has_room() -> Iterator[None]:
    """A process remembers for a while that there was no room."""
    yield
    FULL.back()
    FULL._last_at = None


async def later(front: Front, checks: Checks) -> Health:
    front.clock.forward(REMEMBER_S)
    return await checks.health()


async def beat_once(front: Front) -> None:
    beating = asyncio.create_task(front.hub.checks().beat())
    while "worker" in (await later(front, front.hub.checks())).degraded:  # noqa: ASYNC110
        await asyncio.sleep(0)
    beating.cancel()


async def test_a_gateway_without_a_worker_takes_payments_and_says_what_waits(
    front: Front, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    checks = front.hub.checks()
    found = await later(front, checks)
    assert (dict(found.wrong), list(found.degraded)) == ({}, ["worker"])
    assert "no worker has run yet" in found.degraded["worker"]
    await beat_once(front)
    assert await later(front, checks) == Health()
    await owner.execute(
        "UPDATE heartbeat SET beat_at = beat_at - $1 * interval '1 s' WHERE kind = 'worker'", SILENT_AFTER_S
    )
    found = await later(front, checks)
    assert not found.wrong
    assert "no sign of a worker" in found.degraded["worker"]


REFUSES = """
CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '{}';
END $$;
CREATE TRIGGER refuses BEFORE INSERT OR UPDATE ON {} EXECUTE FUNCTION refuses();
"""


@pytest.mark.parametrize(("state", "names"), [("53100", {"database", "disk"}), ("25006", {"database"})])
async def test_a_database_that_takes_no_write_is_not_ready(
    front: Front, owner: "asyncpg.Connection[asyncpg.Record]", state: str, names: set[str]
) -> None:
    checks = front.hub.checks()
    assert not (await later(front, checks)).wrong
    await owner.execute(REFUSES.format(state, "heartbeat"))
    found = await later(front, checks)
    assert set(found.wrong) == names
    await owner.execute("DROP FUNCTION refuses CASCADE")
    assert "database" not in (await later(front, checks)).wrong


async def test_a_payment_that_found_no_room_makes_the_gateway_not_ready(
    front: Front, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await owner.execute(REFUSES.format("53100", "payment"))
    assert (await front.pay()).status == 503
    found = await later(front, front.hub.checks())
    assert set(found.wrong) == {"disk"}  # a small write has room where a payment has none
    await owner.execute("DROP FUNCTION refuses CASCADE")


async def test_a_full_disk_is_not_said_to_have_had_room_while_the_database_takes_no_write(
    front: Front, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """One that lacks room for its log ends, and cannot begin again: for as long nobody meets the disk."""
    await owner.execute(REFUSES.format("53100", "payment"))
    assert (await front.pay()).status == 503
    await owner.execute("DROP FUNCTION refuses CASCADE")
    await owner.execute(REFUSES.format("25006", "heartbeat"))
    assert FULL._last_at is not None
    FULL._last_at -= SILENT_AFTER_S
    checks = front.hub.checks()
    assert set((await later(front, checks)).wrong) == {"database"}
    assert FULL.is_on
    await owner.execute("DROP FUNCTION refuses CASCADE")
    assert not (await later(front, checks)).wrong
    assert not FULL.is_on


async def test_a_disk_that_is_nearly_full_is_not_ready(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not (await later(front, front.hub.checks(tmp_path))).wrong
    monkeypatch.setattr(health, "LEAST_FREE_BYTES", 2**62)
    assert set((await later(front, front.hub.checks(tmp_path))).wrong) == {"disk"}
    assert not (await later(front, front.hub.checks(tmp_path / "not-there"))).wrong


async def test_missing_and_foreign_master_keys_are_not_ready(front: Front, tmp_path: Path) -> None:
    checks = front.hub.checks()
    file = tmp_path / "secrets" / FILE
    kept = file.read_bytes()
    assert not (await later(front, checks)).wrong
    file.unlink()
    assert "is missing" in (await later(front, checks)).wrong["master_keys"]
    assert not file.exists()
    other = ChannelKeys(tmp_path / "other.json", os.urandom)
    other.add()
    file.write_bytes((tmp_path / "other.json").read_bytes())
    assert "restore the right file" in (await later(front, checks)).wrong["master_keys"]
    file.write_bytes(b"{}")
    assert "damaged" in (await later(front, checks)).wrong["master_keys"]
    file.write_bytes(kept)
    assert not (await later(front, checks)).wrong


async def test_some_missing_master_keys_degrade(front: Front, tmp_path: Path) -> None:
    checks, file = front.hub.checks(), tmp_path / "secrets" / FILE
    kept = file.read_bytes()
    added = front.hub.keys.add()
    await front.hub.channel_admin.add(front.book, "second", "scripted", {}, terms=Terms())
    found = await later(front, checks)
    assert "master_keys" not in {**found.wrong, **found.degraded}
    file.write_bytes(kept)  # a copy from before: the added key is not in it
    found = await later(front, checks)
    assert not found.wrong
    assert "1 of the 2" in found.degraded["master_keys"], added.id


async def test_a_process_that_is_never_asked_for_figures_tells_them(front: Front) -> None:
    await front.paid()
    telling = asyncio.create_task(front.hub.checks().keep_telling())
    await asyncio.sleep(0)
    assert front.hub.registry.get_sample_value("sluice_lane_commands") >= 1
    telling.cancel()


async def test_whoever_asks_often_costs_one_look_a_second(
    front: Front, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await owner.execute(
        """
        CREATE TABLE looks (at timestamptz);
        GRANT INSERT ON looks TO sluice_app;
        CREATE FUNCTION counts() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO looks VALUES (now());
            RETURN NULL;
        END $$;
        CREATE TRIGGER counts AFTER INSERT OR UPDATE ON heartbeat FOR EACH ROW EXECUTE FUNCTION counts();
        """
    )
    checks = front.hub.checks()
    found = await asyncio.gather(*(checks.health() for _ in range(50)))
    assert len(set(map(id, found))) == 1
    assert await owner.fetchval("SELECT count(*) FROM looks") == 1
    await later(front, checks)
    assert await owner.fetchval("SELECT count(*) FROM looks") == 2


async def test_what_waits_is_measured(front: Front) -> None:
    def figure(name: str, **labels: str) -> float | None:
        return front.hub.registry.get_sample_value(name, labels)

    checks = front.hub.checks()
    await checks.measure()
    assert figure("sluice_worker_heartbeat_seconds") == -1
    await beat_once(front)
    await front.paid()
    await front.share_out()
    await checks.measure()
    assert figure("sluice_database_up") == 1
    assert figure("sluice_worker_heartbeat_seconds") >= 0
    assert figure("sluice_consumer_lag_events", consumer="splitting") == 0
    assert figure("sluice_overdue_seconds", what="attempt") == 0

    front.rail.says(pay=SILENCE)
    await front.pay("order-2")
    front.clock.forward(3600)
    await checks.measure()
    assert figure("sluice_consumer_lag_events", consumer="splitting") >= 1
    assert figure("sluice_overdue_seconds", what="attempt") > 3000
    front.rail.works("pay")
