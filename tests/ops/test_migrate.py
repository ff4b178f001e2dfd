"""Migrations, against a real PostgreSQL and the real dbmate."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from ops.migrate import MIGRATIONS, MigrationFailed, _fingerprint, accept_schema, examine, migrate, pending


def write(folder: Path, name: str, up: str) -> None:
    (folder / name).write_text(f"-- migrate:up\n{up}\n\n-- migrate:down\n")


@pytest_asyncio.fixture(loop_scope="session")
async def empty_url(pg_server: Any) -> Any:
    """The address of a database without any schema."""
    await pg_server.admin.execute("create database sluice_empty owner sluice")
    yield pg_server.url("sluice_empty")
    await pg_server.admin.execute("drop database sluice_empty with (force)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "0001_create_till.sql", "create table till (book int not null, coin bigint default 0);")
    write(tmp_path, "0002_create_drawer.sql", "create table drawer (id int primary key);")
    return tmp_path


async def run(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


def test_what_is_pending_is_applied_once_and_named(empty_url: str, folder: Path) -> None:
    assert pending(empty_url, folder) == ["0001_create_till.sql", "0002_create_drawer.sql"]
    assert migrate(empty_url, folder) == ["0001_create_till.sql", "0002_create_drawer.sql"]
    assert pending(empty_url, folder) == []
    assert migrate(empty_url, folder) == []
    write(folder, "0003_create_shelf.sql", "create table shelf (id int);")
    assert migrate(empty_url, folder) == ["0003_create_shelf.sql"]


async def test_a_migration_may_be_asked_for_inside_a_running_loop(empty_url: str, folder: Path) -> None:
    assert len(migrate(empty_url, folder)) == 2


def test_a_failing_migration_is_quoted_and_undone_and_earlier_ones_stay(empty_url: str, folder: Path) -> None:
    write(folder, "0003_break.sql", "create table half (id int); insert into nowhere values (1);")
    with pytest.raises(MigrationFailed, match="nowhere") as failure:
        migrate(empty_url, folder)
    password = empty_url.split(":")[2].split("@")[0]
    assert password not in str(failure.value)
    assert pending(empty_url, folder) == ["0003_break.sql"]
    write(folder, "0003_break.sql", "create table half (id int);")
    assert migrate(empty_url, folder) == ["0003_break.sql"]


def test_two_that_migrate_at_once_wait_for_each_other(empty_url: str, folder: Path) -> None:
    write(folder, "0003_slow.sql", "select pg_sleep(0.5);")
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: migrate(empty_url, folder), range(2)))
    assert sorted(map(len, results)) == [0, 3]


async def test_a_migration_that_meets_a_long_reader_lets_others_pass_and_is_applied_in_the_end(
    empty_url: str, folder: Path
) -> None:
    """Whoever asks for a table after a waiting ALTER waits behind it, however short its own wish."""
    migrate(empty_url, folder)
    write(folder, "0003_widen_till.sql", "alter table till add column note text;")
    reader, writer = await asyncpg.connect(empty_url), await asyncpg.connect(empty_url, timeout=5)
    await writer.execute("set lock_timeout = '5s'")
    reading = reader.transaction()
    await reading.start()
    await reader.fetch("select * from till")
    migrating = asyncio.create_task(asyncio.to_thread(migrate, empty_url, folder))
    waits = "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'"
    for waiting in (True, False, True):  # it waits, has given way, and waits again
        while bool(await writer.fetchval(waits)) is not waiting:
            assert not migrating.done() or migrating.result()
            await asyncio.sleep(0.02)
        await writer.execute("insert into till values (1)")
    assert not migrating.done()
    await reading.rollback()
    assert await migrating == ["0003_widen_till.sql"]
    await writer.execute("insert into till values (2, 3, 'after')")
    await reader.close()
    await writer.close()


async def test_a_migration_that_never_gets_its_lock_says_who_has_it(empty_url: str, folder: Path) -> None:
    migrate(empty_url, folder)
    write(folder, "0003_widen_till.sql", "alter table till add column note text;")
    reader = await asyncpg.connect(empty_url, server_settings={"application_name": "a long report"})
    async with reader.transaction():
        await reader.fetch("select * from till")
        with pytest.raises(MigrationFailed, match=r"held a table .* \(a long report, idle in transaction\)"):
            migrate(empty_url, folder, patience_s=0)
    await reader.close()
    assert pending(empty_url, folder) == ["0003_widen_till.sql"]
    assert migrate(empty_url, folder) == ["0003_widen_till.sql"]


async def test_a_change_by_hand_is_noticed_until_it_is_undone_or_accepted(empty_url: str, folder: Path) -> None:
    migrate(empty_url, folder)
    assert not (await examine(empty_url, folder)).changed_by_hand
    for change, undo in (
        ("alter table till drop column coin", "alter table till add column coin bigint default 0"),
        ("alter table till alter book drop not null", "alter table till alter book set not null"),
        ("alter table drawer drop constraint drawer_pkey", "alter table drawer add primary key (id)"),
        ("create index by_coin on till (coin)", "drop index by_coin"),
        ("create function f() returns int language sql as 'select 1'", "drop function f()"),
    ):
        await run(empty_url, change)
        assert (await examine(empty_url, folder)).changed_by_hand, change
        await run(empty_url, undo)
        assert not (await examine(empty_url, folder)).changed_by_hand, undo
    await run(empty_url, "create index by_coin on till (coin)")
    accept_schema(empty_url)
    assert not (await examine(empty_url, folder)).changed_by_hand


GUARD = """create function guard() returns trigger language plpgsql as 'begin return null; end';
create trigger guarded before delete on till for each statement execute function guard();
create table day (on_date date) partition by range (on_date);
create trigger guarded after delete on day for each row execute function guard();
create table day_1 partition of day for values from ('2026-01-01') to ('2026-01-02');"""


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        ("alter table till disable trigger guarded", "alter table till enable trigger guarded"),
        ("alter table till enable replica trigger guarded", "alter table till enable trigger guarded"),
        ("alter table day_1 disable trigger guarded", "alter table day_1 enable trigger guarded"),
        ("grant delete on till to public", "revoke delete on till from public"),
        ("grant update (coin) on till to public", "revoke update (coin) on till from public"),
        ("grant select on till to public with grant option", "revoke select on till from public"),
        ("alter table till owner to sluice_app", "alter table till owner to sluice"),
        ("alter function guard() security definer", "alter function guard() security invoker"),
        ("alter function guard() set search_path = pg_temp", "alter function guard() reset search_path"),
        ("alter function guard() owner to sluice_app", "alter function guard() owner to sluice"),
        ("revoke execute on function guard() from public", "grant execute on function guard() to public"),
        ("create rule gone as on insert to till do instead nothing", "drop rule gone on till"),
    ],
)
async def test_rights_owners_and_what_is_switched_off_are_part_of_what_was_left(
    pg_server: Any, empty_url: str, folder: Path, change: str, undo: str
) -> None:
    write(folder, "0003_guard_till.sql", GUARD)
    migrate(empty_url, folder)
    owner = pg_server.server.admin_url.rpartition("/")[0] + "/sluice_empty"
    if "to public with grant option" in change:  # nobody can be given that but a role
        change, undo = change.replace("public", "sluice_app"), undo.replace("public", "sluice_app")
    await run(owner, change)
    assert (await examine(empty_url, folder)).changed_by_hand
    await run(owner, undo)
    assert not (await examine(empty_url, folder)).changed_by_hand


async def as_left_before(url: str) -> None:
    """Give the database the record that a version left which knew nothing of rights."""
    connection = await asyncpg.connect(url)
    shape = await _fingerprint(connection, shape_only=True)
    await connection.execute(f"comment on table schema_migrations is 'sluice catalogue sha256:{shape}'")
    await connection.close()


async def test_a_record_from_before_rights_were_part_of_it_still_counts_and_is_made_anew(
    empty_url: str, folder: Path
) -> None:
    migrate(empty_url, folder)
    await as_left_before(empty_url)
    assert not (await examine(empty_url, folder)).changed_by_hand
    await run(empty_url, "alter table till drop column coin")
    assert (await examine(empty_url, folder)).changed_by_hand
    migrate(empty_url, folder)
    assert (await examine(empty_url, folder)).changed_by_hand, "not taken for what was left"
    await run(empty_url, "alter table till add column coin bigint default 0")
    await as_left_before(empty_url)
    assert migrate(empty_url, folder) == []
    await run(empty_url, "grant delete on till to public")
    assert (await examine(empty_url, folder)).changed_by_hand


async def test_a_new_partition_is_no_change_by_hand(empty_url: str, folder: Path) -> None:
    write(folder, "0003_create_day.sql", "create table day (on_date date) partition by range (on_date);")
    migrate(empty_url, folder)
    await run(empty_url, "create table day_1 partition of day for values from ('2026-01-01') to ('2026-01-02')")
    assert not (await examine(empty_url, folder)).changed_by_hand


async def test_a_migration_does_not_hide_an_earlier_change_by_hand(empty_url: str, folder: Path) -> None:
    migrate(empty_url, folder)
    await run(empty_url, "alter table till drop column coin")
    write(folder, "0003_create_shelf.sql", "create table shelf (id int);")
    migrate(empty_url, folder)
    assert (await examine(empty_url, folder)).changed_by_hand


async def test_a_database_newer_than_the_code_is_recognised(empty_url: str, folder: Path) -> None:
    migrate(empty_url, folder)
    (folder / "0002_create_drawer.sql").unlink()
    assert (await examine(empty_url, folder)).unknown == ["0002"]


async def test_every_test_database_has_all_migrations(database_url: str) -> None:
    schema = await examine(database_url)
    assert len(schema.applied) == len(list(MIGRATIONS.glob("*.sql")))
    assert schema.pending == []
    assert not schema.changed_by_hand
