"""What was verified is not walked again, unless its mark is not this home's own, or --all is asked for."""

import hmac
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

import people
from kernel.chain import GENESIS, link
from ops.verified import FILE
from ops.verify import CHAINS, Checked, Marks, Walked, verify_since
from people.roles import Act
from streams.outbox import Event, chained
from tests.conftest import TestServer as PostgresServer
from tests.gateway.front import Front, a_front
from tests.kernel.one_book import superuser

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def run(front: Front, home: Path, *, everything: bool = False) -> tuple[list[Checked], dict[str, Walked]]:
    marks = Marks(home, front.hub.env)
    verdicts, walked = await verify_since(front.hub.pool, marks, everything=everything, again=0)
    return [one for one in verdicts if one.broken], {one.chain: one for one in walked}


async def lengths(front: Front) -> dict[str, int]:
    async with front.hub.pool.acquire() as connection:
        tables = {**CHAINS, "payments": "payment"}
        return {name: await connection.fetchval(f"SELECT count(*) FROM {table}") for name, table in tables.items()}


async def test_a_day_costs_a_day_however_long_the_books_are(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        before: dict[str, int] = dict.fromkeys((*CHAINS, "payments"), 0)
        for day in range(4):
            for number in range(5):
                await front.paid(f"{day}-{number}")
            now = await lengths(front)
            broken, walked = await run(front, tmp_path)
            assert broken == []
            for name, one in walked.items():
                assert (one.rows, one.before) == (now[name] - before[name], before[name])
                assert (one.since is None, bool(one.why_all)) == (day == 0, day == 0)
            before = now
        _, walked = await run(front, tmp_path, everything=True)
        assert {name: (one.rows, one.why_all) for name, one in walked.items()} == {
            n: (c, "") for n, c in before.items()
        }
        _, walked = await run(front, tmp_path)
        assert [one.rows for one in walked.values()] == [0, 0, 0]


def forge(home: Path, how: str) -> None:
    """Leave a mark that says that more was verified than was, or that is none."""
    path = home / FILE
    kept = orjson.loads(path.read_bytes())
    told = orjson.loads(kept["told"])
    if how == "gone":
        path.unlink()
        return
    if how == "no JSON":
        path.write_bytes(b"{")
        return
    if how == "without its MAC":
        del kept["mac"]
    elif how == "with another number":
        told["journal"]["1"][0] -= 1
        kept["told"] = orjson.dumps(told).decode()
    elif how == "of another key":
        (home / "secrets" / "verified-mark").write_bytes(b"k" * 32)
    path.write_bytes(orjson.dumps(kept))


@pytest.mark.parametrize("how", ["gone", "no JSON", "without its MAC", "with another number", "of another key"])
async def test_a_mark_that_nobody_of_this_home_made_is_not_believed(
    database_url: str, tmp_path: Path, how: str
) -> None:
    async with a_front(database_url, tmp_path) as front:
        await front.paid()
        await run(front, tmp_path)
        forge(tmp_path, how)
        broken, walked = await run(front, tmp_path)
        assert broken == []
        assert {name: one.rows for name, one in walked.items()} == await lengths(front)
        assert all(one.why_all and one.since is None for one in walked.values())


async def rehash(connection: Any) -> None:
    """Change an old event and hash the chain anew, as only the database's owner can."""
    await connection.execute(
        "UPDATE event SET payload = replace(payload::text, 'operator', 'nobody')::json WHERE seq = 1"
    )
    rows = await connection.fetch(
        "SELECT book, seq, type, subject, payload, recorded_at, hash FROM event ORDER BY book, seq"
    )
    previous = GENESIS
    for row in rows:
        event = Event(*row)
        previous = link(previous, *chained(event))
        await connection.execute(
            "UPDATE event SET hash = $3 WHERE book = $1 AND seq = $2", event.book, event.seq, previous
        )
    await connection.execute("UPDATE book SET event_hash = $1", previous)


@pytest.mark.parametrize("everything", [False, True])
async def test_a_chain_written_anew_below_the_mark_is_found(
    database_url: str, tmp_path: Path, pg_server: PostgresServer, everything: bool
) -> None:
    async with a_front(database_url, tmp_path) as front, superuser(pg_server, database_url) as owner:
        await front.paid()
        await run(front, tmp_path)
        planting = owner.transaction()
        await planting.start()
        await rehash(owner)
        await planting.commit()
        broken, walked = await run(front, tmp_path, everything=everything)
        assert [one.name for one in broken] == ["event_chain_holds"]
        assert "is not the one that was verified" in broken[0].broken[0]
        assert walked["events"].rows == (await lengths(front))["events"]
        (tmp_path / FILE).unlink()  # what the mark alone knew is gone with it; the books of this test are to be whole
        assert (await run(front, tmp_path))[0] == []


async def test_a_record_changed_below_the_mark_is_found_by_walking_everything(
    database_url: str, tmp_path: Path, pg_server: PostgresServer
) -> None:
    async with a_front(database_url, tmp_path) as front, superuser(pg_server, database_url) as owner:
        await front.paid("one")
        await front.paid("two")
        await run(front, tmp_path)
        was = await owner.fetchval("SELECT payload FROM event WHERE seq = 1")
        await owner.execute("UPDATE event SET payload = '{}' WHERE seq = 1")
        broken, walked = await run(front, tmp_path)
        assert (broken, walked["events"].rows) == ([], 0)
        assert walked["events"].since is not None, "it says that this was not walked"
        broken, _ = await run(front, tmp_path, everything=True)
        assert [one.name for one in broken] == ["event_chain_holds"]
        await owner.execute("UPDATE event SET payload = $1 WHERE seq = 1", was)


async def acted(front: Front, *names: str) -> None:
    for name in names:
        async with front.hub.audit.recorded("ada", Act.LINKS, "link add", name):
            pass


async def cut_off(connection: Any) -> None:
    await connection.execute("DELETE FROM audit_record WHERE seq > 2")


async def emptied(connection: Any) -> None:
    await connection.execute("DELETE FROM audit_record")


async def rehash_audit(connection: Any) -> None:
    """Give an old act to somebody else, and hash the audit log anew."""
    await connection.execute("UPDATE audit_record SET person = 'bo' WHERE seq = 1")
    previous = GENESIS
    for record in reversed(await people.store.records(connection)):
        previous = link(previous, *people.store.chained(record))
        await connection.execute("UPDATE audit_record SET hash = $2 WHERE seq = $1", record.seq, previous)


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("plant", [cut_off, emptied, rehash_audit])
async def test_an_audit_log_cut_off_or_written_anew_below_the_mark_is_found(
    database_url: str, tmp_path: Path, pg_server: PostgresServer, plant: Any, everything: bool
) -> None:
    async with a_front(database_url, tmp_path) as front, superuser(pg_server, database_url) as owner:
        await acted(front, "tea", "silk")
        assert (await run(front, tmp_path))[0] == []
        await acted(front, "rice")
        assert (await run(front, tmp_path))[0] == [], "that it grows is no finding"
        await plant(owner)
        broken, _ = await run(front, tmp_path, everything=everything)
        assert [one.name for one in broken] == ["audit_chain_holds"]
        assert "is not the one that was verified" in broken[0].broken[0]
        (tmp_path / FILE).unlink()
        assert (await run(front, tmp_path))[0] == [], "only the mark tells"


async def test_a_mark_from_before_it_had_the_audit_log_is_believed_and_has_it_from_then_on(
    database_url: str, tmp_path: Path, pg_server: PostgresServer
) -> None:
    async with a_front(database_url, tmp_path) as front, superuser(pg_server, database_url) as owner:
        await front.paid()
        await acted(front, "tea", "silk")
        await run(front, tmp_path)
        path, key = tmp_path / FILE, (tmp_path / "secrets" / "verified-mark").read_bytes()
        told = orjson.loads(orjson.loads(path.read_bytes())["told"])
        del told["audit"]
        old = orjson.dumps(told)
        mac = hmac.digest(key, b"sluice verified\n" + old, "sha256").hex()
        path.write_bytes(orjson.dumps({"told": old.decode(), "mac": mac}))
        broken, walked = await run(front, tmp_path)
        assert (broken, walked["journal"].rows, walked["journal"].why_all) == ([], 0, "")
        await cut_off(owner)
        assert [one.name for one in (await run(front, tmp_path))[0]] == ["audit_chain_holds"]


async def test_the_mark_does_not_move_while_something_is_broken(
    database_url: str, tmp_path: Path, pg_server: PostgresServer
) -> None:
    async with a_front(database_url, tmp_path) as front, superuser(pg_server, database_url) as owner:
        await front.paid("one")
        await run(front, tmp_path)
        mark = (tmp_path / FILE).read_bytes()
        await front.paid("two")
        await owner.execute("UPDATE payment SET captured_minor = captured_minor - 1")
        broken, _ = await run(front, tmp_path)
        assert broken
        assert (tmp_path / FILE).read_bytes() == mark
        await owner.execute("UPDATE payment SET captured_minor = captured_minor + 1")


async def test_what_holds_is_said_though_it_cannot_be_remembered(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On a full disk: a verification without a fault had ended like one that was not carried out."""
    async with a_front(database_url, tmp_path) as front:
        await front.paid()
        (tmp_path / FILE / "in the way").mkdir(parents=True)
        broken, walked = await run(front, tmp_path)
        assert (broken, walked["payments"].rows) == ([], 1)
        assert "how far this went cannot be kept" in caplog.text
        assert [name for name in os.listdir(tmp_path) if FILE in name] == [FILE], "and nothing half is left"
        (tmp_path / FILE / "in the way").rmdir()
        (tmp_path / FILE).rmdir()
        await run(front, tmp_path)
        assert (await run(front, tmp_path))[1]["payments"].rows == 0
        key = tmp_path / "secrets" / "verified-mark"
        key.unlink()
        key.mkdir()
        broken, walked = await run(front, tmp_path)
        assert (broken, walked["payments"].rows, walked["payments"].why_all) == (
            [], 1, "the key of its mark cannot be had: Is a directory",
        )  # fmt: skip


async def test_a_database_that_is_behind_the_mark_is_found(
    database_url: str, tmp_path: Path, pg_server: PostgresServer
) -> None:
    async with a_front(database_url, tmp_path) as front, superuser(pg_server, database_url) as owner:
        await front.paid()
        await run(front, tmp_path)
        planting = owner.transaction()
        await planting.start()
        last = await owner.fetchrow("SELECT book, seq, hash FROM event ORDER BY seq DESC LIMIT 1")
        kept = await owner.fetchrow("SELECT * FROM event ORDER BY seq DESC LIMIT 1")
        assert last is not None
        assert kept is not None
        await owner.execute("DELETE FROM event WHERE seq = $1", last["seq"])
        await planting.commit()
        broken, _ = await run(front, tmp_path)
        assert "event_chain_holds" in [one.name for one in broken]
        await owner.copy_records_to_table("event", records=[tuple(kept)])
