"""Commands without a database say which, why and what to do, in one line, and end with a code of its own."""

import asyncio
import errno
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import typer
from typer.testing import CliRunner

from ops.cli.commands import app
from ops.cli.shared import finish
from ops.doctor import Level, examine
from ops.migrate import MigrationFailed, migrate
from ops.settings import Settings
from tests.conftest import TestServer as PostgresServer
from tests.ops.trials.replay.running import free_ports

COMMANDS = [
    ("verify",),
    ("verify", "--json"),
    ("merchant", "list"),
    ("merchant", "suspend", "--book", "1"),
    ("key", "list"),
    ("channel", "list", "--book", "1"),
    ("link", "list", "--book", "1"),
    ("discrepancies", "--book", "1"),
]


def run(monkeypatch: pytest.MonkeyPatch, home: Path, url: str, redis_url: str, *words: str) -> tuple[int, str, str]:
    for name, value in {"HOME": home, "DATABASE_URL": url, "REDIS_URL": redis_url}.items():
        monkeypatch.setenv(f"SLUICE_{name}", str(value))
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.stdout, done.stderr


def replaced(url: str, *, password: str | None = None, database: str | None = None, port: int | None = None) -> str:
    parts = urlsplit(url)
    netloc = f"{parts.username}:{password or parts.password}@127.0.0.1:{port or parts.port}"
    return parts._replace(netloc=netloc, path=f"/{database}" if database else parts.path).geturl()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_database_that_is_away_is_named(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    (port,) = free_ports(1)
    code, out, err = run(monkeypatch, tmp_path, replaced(database_url, port=port), redis_url, *words)
    assert (code, out) == (3, "")
    (line,) = err.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "does not answer" in line
    assert (urlsplit(database_url).password or "") not in line


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"password": "not-the-password"}, "refuses the user or the password"),
        ({"database": "no_such_database"}, "has no database of that name"),
    ],
)
def test_a_database_that_does_not_let_us_in_says_why(
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    says: str,
) -> None:
    code, _, err = run(monkeypatch, tmp_path, replaced(database_url, **change), redis_url, "verify")
    assert code == 3
    (line,) = err.splitlines()
    assert says in line
    assert "not-the-password" not in line


def test_a_file_that_is_not_there_is_still_a_file(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("channel", "rotate", "--book", "1", "main", "--credentials", str(tmp_path / "none.json"))
    code, _, err = run(monkeypatch, tmp_path, database_url, redis_url, *words)
    assert code == 2
    assert "none.json cannot be used" in err
    assert "database" not in err


@pytest.mark.asyncio(loop_scope="session")
async def test_a_user_who_may_make_no_roles_is_told_before_and_at_the_first_migration(
    pg_server: PostgresServer, tmp_path: Path
) -> None:
    admin = pg_server.admin
    await admin.execute("create role modest login password 'modest-password'")
    await admin.execute("create database modest_books owner modest")
    url = replaced(pg_server.url("modest_books"), password="modest-password").replace("//sluice:", "//modest:")
    # A server on which no hub has been: the role is not there, for as long as this test has renamed it.
    await admin.execute("alter role sluice_app rename to sluice_app_elsewhere")
    try:
        found = await examine(Settings(home=tmp_path, database_url=url))
        (database,) = (finding for finding in found if finding.topic == "database")
        assert (database.level, "CREATEROLE" in database.todo) == (Level.FAIL, True)
        with pytest.raises(MigrationFailed, match="ALTER ROLE the_user CREATEROLE"):
            await asyncio.to_thread(migrate, url)
    finally:
        await admin.execute("alter role sluice_app_elsewhere rename to sluice_app")
        await admin.execute("drop database modest_books with (force)")
        await admin.execute("drop role modest")


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (asyncpg.DiskFullError("could not extend file"), 1, "not carried out: DiskFullError: could not extend file"),
        (asyncpg.ReadOnlySQLTransactionError("read-only"), 1, "not carried out"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device"),
        (asyncpg.ConnectionDoesNotExistError("closed"), 3, "was lost on the way"),
        (ConnectionResetError("reset by peer"), 3, "was lost on the way"),
        (TimeoutError(), 3, "no answer in time"),
        (FileNotFoundError(errno.ENOENT, "No such file", "keys.json"), 2, "keys.json cannot be used"),
    ],
)
def test_what_goes_wrong_in_the_middle_of_a_command_is_one_line(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, says: str
) -> None:
    async def work() -> int:
        raise error

    with pytest.raises(typer.Exit) as ended:
        finish(work())
    (line,) = capsys.readouterr().err.splitlines()
    assert (ended.value.exit_code, says in line, "the file" in line) == (code, True, False), line
