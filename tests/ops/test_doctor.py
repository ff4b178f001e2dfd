"""The doctor, before planted faults: each must be seen, named and, when it is grave, fail the command."""

import io
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr
from rich.console import Console

from ops import embedded
from ops.channel_keys import channel_keys
from ops.doctor import _LABELS, Finding, Level, _proofs, _timetable, examine, exit_code, render
from ops.migrate import migrate
from ops.settings import Settings
from tests.ops.trials.replay.running import free_ports


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    (tmp_path / "0001_create_till.sql").write_text("-- migrate:up\ncreate table till (coin int);\n\n-- migrate:down\n")
    return tmp_path


@pytest_asyncio.fixture
async def settings(home: Path, migrations: Path) -> AsyncIterator[Settings]:
    """Settings of a home whose servers run and whose database is migrated; ports that are free."""
    gateway, ops, sandbox = free_ports(3)
    found = Settings(home=home, gateway_port=gateway, ops_port=ops, sandbox_port=sandbox)
    async with embedded.postgres(home) as database, embedded.valkey(home):
        migrate(database.url, migrations)
        yield found


def of(findings: list[Finding], topic: str) -> Finding:
    """Return the worst finding of a topic."""
    found = [finding for finding in findings if finding.topic == topic]
    return max(found, key=lambda finding: list(Level).index(finding.level))


async def test_a_sound_hub_passes(settings: Settings, migrations: Path) -> None:
    findings = await examine(settings, migrations=migrations)
    assert [finding for finding in findings if finding.level is Level.FAIL] == []
    assert exit_code(findings) == 0
    assert {finding.topic for finding in findings} == set(_LABELS)


async def test_a_home_that_was_never_started_passes_and_is_not_made(home: Path) -> None:
    nowhere = home / "nowhere"
    findings = await examine(Settings(home=nowhere))
    for topic in ("home", "secrets", "database", "redis"):
        assert of(findings, topic).level is Level.OK
    assert not nowhere.exists()


async def test_fsync_off_fails(home: Path) -> None:
    lossy = {"fsync": "off", "synchronous_commit": "off"}
    async with embedded.postgres(home, options=lossy) as server:
        findings = await examine(Settings(home=home, database_url=SecretStr(server.url)))
    durability = of(findings, "durability")
    assert durability.level is Level.FAIL
    assert "fsync and synchronous_commit" in durability.todo
    assert exit_code(findings) == 1


async def test_commits_that_do_not_wait_for_one_database_only_fail(settings: Settings, migrations: Path) -> None:
    connection = await asyncpg.connect(embedded.postgres_url(settings.home))
    await connection.execute("alter role sluice in database sluice set synchronous_commit = off")
    await connection.close()
    assert of(await examine(settings, migrations=migrations), "durability").level is Level.FAIL


async def test_a_transaction_that_keeps_rows_or_a_table_for_long_is_named(
    settings: Settings, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator's forgotten one. Whoever only reads, such as a backup, keeps nobody waiting."""
    monkeypatch.setattr("ops.doctor._HOLDS_FOR_S", 0.0)
    connection = await asyncpg.connect(
        embedded.postgres_url(settings.home), server_settings={"application_name": "by hand"}
    )
    await connection.execute("INSERT INTO till VALUES (1)")
    for held, level in {
        "SELECT FROM till": Level.OK,
        "SELECT FROM till FOR UPDATE": Level.WARN,
        "LOCK TABLE till": Level.WARN,
    }.items():
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(held)
        finding = of(await examine(settings, migrations=migrations), "locks")
        assert finding.level is level, held
        assert level is Level.OK or all(name in finding.seen for name in ("by hand", "till", "idle in transaction"))
        await transaction.rollback()
    await connection.close()


async def test_a_port_that_another_program_has_fails(settings: Settings) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", settings.gateway_port))
        other.listen()
        findings = await examine(settings)
    assert of(findings, "ports").level is Level.FAIL
    assert "SLUICE_GATEWAY_PORT" in of(findings, "ports").todo
    assert exit_code(findings) == 1


async def test_a_pending_migration_fails(settings: Settings, migrations: Path) -> None:
    (migrations / "0002_create_drawer.sql").write_text("-- migrate:up\ncreate table drawer ();\n\n-- migrate:down\n")
    schema = of(await examine(settings, migrations=migrations), "schema")
    assert schema.level is Level.FAIL
    assert "0002_create_drawer.sql" in schema.seen


async def test_a_table_changed_by_hand_fails(settings: Settings, migrations: Path) -> None:
    connection = await asyncpg.connect(embedded.postgres_url(settings.home))
    await connection.execute("alter table till alter coin type bigint")
    await connection.close()
    assert of(await examine(settings, migrations=migrations), "schema").level is Level.FAIL


async def test_a_password_that_others_can_read_fails(settings: Settings, migrations: Path) -> None:
    (settings.home / "secrets" / "valkey").chmod(0o644)
    findings = await examine(settings, migrations=migrations)
    assert of(findings, "secrets").level is Level.FAIL
    assert "0644" in of(findings, "secrets").seen
    assert exit_code(findings) == 1


async def test_master_keys_that_are_not_where_they_should_be_fail(home: Path, tmp_path: Path) -> None:
    named = Settings(home=home, channel_keys=tmp_path / "keys.json")
    missing = of(await examine(named), "secrets")
    assert missing.level is Level.FAIL
    assert "keys.json is not there" in missing.seen
    channel_keys(home, named.channel_keys, os.urandom).add()
    assert of(await examine(named), "secrets").level is Level.OK
    (tmp_path / "keys.json").chmod(0o644)
    assert of(await examine(named), "secrets").level is Level.FAIL


async def test_streams_that_do_not_survive_a_crash_are_warned_of(home: Path) -> None:
    async with embedded.valkey(home, options={"appendonly": "no", "maxmemory-policy": "allkeys-lru"}) as server:
        findings = await examine(Settings(home=home, redis_url=SecretStr(server.url)))
        assert of(findings, "persistence").level is Level.WARN
        assert "appendonly" in of(findings, "persistence").todo


async def test_servers_that_do_not_answer_fail_without_telling_the_password(home: Path) -> None:
    findings = await examine(
        Settings(
            home=home,
            database_url=SecretStr("postgresql://user:hush@127.0.0.1:1/base"),
            redis_url=SecretStr("redis://:hush@127.0.0.1:1/0"),
        )
    )
    assert of(findings, "database").level is Level.FAIL
    assert of(findings, "redis").level is Level.FAIL
    assert "hush" not in repr(findings)


async def test_a_wrong_password_fails(settings: Settings) -> None:
    url = embedded.postgres_url(settings.home) or ""
    head, _, tail = url.rpartition("@")
    wrong = Settings(home=settings.home, database_url=SecretStr(f"{head}x@{tail}"))
    assert of(await examine(wrong), "database").level is Level.FAIL


async def test_a_misspelt_variable_is_warned_of(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_GATEWAY_PROT", "8080")
    variables = of(await examine(settings), "variables")
    assert variables.level is Level.WARN
    assert "SLUICE_GATEWAY_PORT" in variables.todo


async def test_programs_that_are_not_there_fail(home: Path) -> None:
    findings = await examine(Settings(home=home, pg_bin=home, valkey_bin=home / "valkey"))
    assert of(findings, "programs").level is Level.FAIL
    assert "SLUICE_PG_BIN" in of(findings, "programs").todo
    assert "SLUICE_VALKEY_BIN" in of(findings, "programs").todo


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_shown_has_every_finding_and_gives_the_exit_code(as_json: bool) -> None:
    findings = [Finding("disk", Level.OK, "room enough"), Finding("ports", Level.FAIL, "[taken]", "free them")]
    out = io.StringIO()
    assert render(findings, as_json=as_json, console=Console(file=out, width=100)) == 1
    for text in ("room enough", "[taken]", "free them"):
        assert text in out.getvalue()
    if as_json:
        assert [row["topic"] for row in json.loads(out.getvalue())] == ["disk", "ports"]
    assert render(findings[:1], console=Console(file=out)) == 0


async def test_a_step_that_fails_is_warned_of_and_a_proof_that_does_not_hold_fails(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert [(await look(connection)).level for look in (_timetable, _proofs)] == [Level.OK, Level.OK]
    await connection.execute(
        "INSERT INTO timetable VALUES (1, 'statements', 'citybank', '2026-11-24', now(), 1, now(), 'x', 'why'), "
        "(1, 'statements', 'gone', '2026-11-24', now() - interval '2 days', 1, now(), 'x', 'why')"
    )
    await connection.execute("INSERT INTO certificate_key VALUES ('pfk_1', sha256('x'), '{}', now())")
    for number, holds in ((1, True), (2, False)):
        await connection.execute(
            "INSERT INTO day_certificate VALUES (now()::date - 1, $1, encode(sha256($2), 'hex'), 'x', 'pfk_1', $3)",
            number,
            bytes([number]),
            holds,
        )
    step, proof = await _timetable(connection), await _proofs(connection)
    assert (step.level, step.seen) == (Level.WARN, "not done, and tried again: statements of 2026-11-25 (citybank)")
    assert proof.level is Level.FAIL
    assert "sluice proof show" in proof.todo
    await connection.close()
