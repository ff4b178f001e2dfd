"""Look at everything this hub stands on and say, in one screen, what is well, what is not, and what to do.

It only looks: nothing is started, made or changed.
"""

import asyncio
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import asyncpg
import redis.asyncio
import redis.exceptions
from rich.console import Console
from rich.table import Table
from rich.text import Text

import cases
import splitting
from gateway.store import last_beat_s
from kernel.clock import business_date
from kernel.db import LOST
from kernel.outage import said
from ops.channel_keys import FILE as CHANNEL_KEYS
from ops.embedded import CannotStart, postgres_url, valkey_url
from ops.embedded.account import server_account
from ops.embedded.place import address_of, is_free, is_locked
from ops.embedded.programs import NEWEST_POSTGRES, OLDEST_POSTGRES, find_postgres, find_valkey, version_of
from ops.health import PROOFS_WATCHED, SILENT_AFTER_S
from ops.migrate import MigrationFailed, dbmate
from ops.migrate import examine as examine_schema
from ops.secrets_file import secrets_in_use
from ops.settings import Settings, unknown_variables, variable
from ops.supervisor import find_run, without_password
from reconciliation.proof.store import standing
from reconciliation.timetable.plan import DAY
from reconciliation.timetable.store import missed as timetable_missed
from reconciliation.timetable.store import rows as timetable_rows

_GB = 2**30
_TIMEOUT_S = 10.0
UNREAD_AFTER = timedelta(seconds=600)  # the alarm of ops/README.md
_HOLDS_FOR_S = 15.0  # a transaction of the hub that does nothing is ended by then
# Channels and merchants refuse what is signed five minutes off; we speak up long before.
_SKEW_WARN, _SKEW_FAIL = timedelta(seconds=1), timedelta(seconds=30)


class Level(StrEnum):
    """How bad it is: fail means that money or data are at risk, or that the hub cannot run."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `topic` is stable, for machines; `todo` is empty when all is well."""

    topic: str
    level: Level
    seen: str
    todo: str = ""


_LABELS = {
    "python": "Python 版本 python",
    "programs": "程序 programs",
    "account": "运行身份 account",
    "home": "数据目录 home",
    "variables": "环境变量 variables",
    "secrets": "口令文件 secrets",
    "disk": "磁盘 disk",
    "ports": "端口 ports",
    "clock": "时钟 clock",
    "database": "数据库 database",
    "durability": "落盘 durability",
    "schema": "库表结构 schema",
    "worker": "后台进程 worker",
    "locks": "锁 locks",
    "keys": "密钥文件 keys",
    "banks": "银行文件 banks",
    "timetable": "日程 timetable",
    "proofs": "日终证明 proofs",
    "cases": "待人工处理 cases",
    "payees": "收款方 payees",
    "redis": "缓存与流 redis",
    "persistence": "流持久化 persistence",
}


async def examine(settings: Settings, *, migrations: Path | None = None) -> list[Finding]:
    """Look at everything and return what was found, in a fixed order of topics.

    migrations: the folder of SQL files that the database is held against; that of this code if None.
    A look that itself goes wrong is a failure of its topic, never an exception.
    """
    looks: list[tuple[str, Callable[[], Awaitable[list[Finding]]]]] = [
        ("python", _python),
        ("programs", lambda: asyncio.to_thread(_programs, settings)),
        ("account", lambda: asyncio.to_thread(_account, settings)),
        ("home", lambda: asyncio.to_thread(_home, settings)),
        ("variables", _variables),
        ("secrets", lambda: asyncio.to_thread(_secrets, settings)),
        ("disk", lambda: asyncio.to_thread(_disk, settings)),
        ("ports", lambda: asyncio.to_thread(_ports, settings)),
        ("clock", _clock),
        ("database", lambda: _database(settings, migrations)),
        ("redis", lambda: _redis(settings)),
    ]
    return [finding for found in await asyncio.gather(*(_guarded(*look) for look in looks)) for finding in found]


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 1 if anything failed, else 0."""
    return int(any(finding.level is Level.FAIL for finding in findings))


def render(findings: Sequence[Finding], *, as_json: bool = False, console: Console | None = None) -> int:
    """Show the findings, as a table or as a JSON array, and return the exit code."""
    console = console or Console()
    if as_json:
        text = json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2)
        console.file.write(text + "\n")
        return exit_code(findings)
    table = Table(box=None, pad_edge=False)
    for title in ("", "项目 item", "所见 seen", "处理 what to do"):
        table.add_column(title, overflow="fold")
    signs = {Level.OK: ("ok", "green"), Level.WARN: ("warn", "yellow"), Level.FAIL: ("FAIL", "bold red")}
    for finding in findings:
        table.add_row(Text(*signs[finding.level]), _LABELS[finding.topic], Text(finding.seen), Text(finding.todo))
    console.print(table)
    return exit_code(findings)


async def _guarded(topic: str, look: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    try:
        async with asyncio.timeout(_TIMEOUT_S * 2):
            return await look()
    except Exception as error:
        return [Finding(topic, Level.FAIL, f"could not be checked: {type(error).__name__}: {error}", "report this")]


async def _python() -> list[Finding]:
    seen = f"{platform.python_version()} ({platform.system()} {platform.machine()})"
    if not (3, 11) <= sys.version_info[:2] < (3, 15):
        return [Finding("python", Level.FAIL, seen, "use Python 3.11 to 3.14")]
    return [Finding("python", Level.OK, seen)]


def _programs(settings: Settings) -> list[Finding]:
    seen, todo = [], []
    if settings.database_url is None:
        try:
            program = find_postgres(settings.pg_bin, data_major=_data_major(settings))
            seen.append(f"postgres {program.version} ({program.origin})")
        except CannotStart as error:
            todo.append(str(error))
    if settings.redis_url is None:
        try:
            program = find_valkey(settings.valkey_bin)
            seen.append(f"valkey {program.version} ({program.origin})")
        except CannotStart as error:
            todo.append(str(error))
    try:
        seen.append(f"dbmate {version_of(Path(dbmate())) or 'that does not run'}")
    except MigrationFailed as error:
        todo.append(str(error))
    return [Finding("programs", Level.FAIL if todo else Level.OK, ", ".join(seen), "; ".join(todo))]


def _data_major(settings: Settings) -> int | None:
    try:
        return int((address_of(settings.home, "postgres") / "data" / "PG_VERSION").read_text())
    except (OSError, ValueError):
        return None


def _account(settings: Settings) -> list[Finding]:
    uid = os.geteuid()
    try:
        account = server_account(settings.server_user, address_of(settings.home, "postgres") / "data")
    except CannotStart as error:
        return [Finding("account", Level.FAIL, f"uid {uid}", str(error))]
    servers = "" if account is None else f"; own servers run as {account.name} (uid {account.uid})"
    return [Finding("account", Level.OK, f"uid {uid}{servers}")]


def _home(settings: Settings) -> list[Finding]:
    home = settings.home
    if not home.exists():
        return [Finding("home", Level.OK, f"{home} is not there yet; the first start creates it")]
    if not os.access(home, os.W_OK | os.X_OK):
        return [Finding("home", Level.FAIL, f"{home} cannot be written", "run as its owner, or set SLUICE_HOME")]
    elsewhere = [str(place) for name in ("postgres", "valkey") if (place := address_of(home, name)) != home / name]
    kept = f"; data kept in {', '.join(elsewhere)}" if elsewhere else ""
    run = find_run(home)
    return [Finding("home", Level.OK, f"{home}{kept}; {f'run by process {run.pid}' if run else 'no hub runs'}")]


async def _variables() -> list[Finding]:
    unknown = unknown_variables(os.environ)
    if not unknown:
        return [Finding("variables", Level.OK, "every SLUICE_ variable is known")]
    guesses = [f"{name} → {guess}?" for name, guess in unknown.items() if guess]
    todo = f"they have no effect: correct or unset them. {' '.join(guesses)}"
    return [Finding("variables", Level.WARN, f"unknown: {', '.join(unknown)}", todo)]


def _secrets(settings: Settings) -> list[Finding]:
    folders = [settings.home / "secrets"]
    if other := os.environ.get("SLUICE_SECRETS_DIR"):
        folders.append(Path(other))
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if path.is_file()]
    if settings.channel_keys is not None:
        if not settings.channel_keys.is_file():
            todo = "copy the file of master keys there: without it no channel account can be used"
            return [Finding("secrets", Level.FAIL, f"{settings.channel_keys} is not there", todo)]
        files.append(settings.channel_keys)
    if not files:
        return [Finding("secrets", Level.OK, "none yet")]
    open_to_others = [f"{path} ({path.stat().st_mode & 0o777:04o})" for path in files if path.stat().st_mode & 0o077]
    if open_to_others:
        todo = "chmod 600 them; if others use this machine, treat the passwords as known, and change them"
        return [Finding("secrets", Level.FAIL, f"readable by others: {', '.join(open_to_others)}", todo)]
    return [Finding("secrets", Level.OK, f"{len(files)} files, readable by their owner only")]


def _disk(settings: Settings) -> list[Finding]:
    place = address_of(settings.home, "postgres") if settings.home.exists() else settings.home
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    seen = f"{usage.free / _GB:.1f} GB free of {usage.total / _GB:.1f} GB at {place}"
    if usage.free < _GB:
        return [Finding("disk", Level.FAIL, seen, "make room: with a full disk the database stops taking payments")]
    if usage.free < max(5 * _GB, usage.total // 50):
        return [Finding("disk", Level.WARN, seen, "make room soon, or move SLUICE_HOME")]
    return [Finding("disk", Level.OK, seen)]


def _ports(settings: Settings) -> list[Finding]:
    ports = {name: getattr(settings, name) for name in ("gateway_port", "ops_port", "sandbox_port")}
    taken = [name for name, port in ports.items() if not is_free(port)]
    seen = ", ".join(f"{ports[name]} {'taken' if name in taken else 'free'}" for name in ports)
    if not taken:
        return [Finding("ports", Level.OK, seen)]
    if run := find_run(settings.home):
        return [Finding("ports", Level.OK, f"{seen}; by the running hub (process {run.pid})")]
    todo = "another program uses them: stop it, or choose other ports with " + ", ".join(map(variable, taken))
    return [Finding("ports", Level.FAIL, seen, todo)]


async def _clock() -> list[Finding]:
    monotonic, wall = time.monotonic(), time.time()
    await asyncio.sleep(0.1)
    passed, wall_passed = time.monotonic() - monotonic, time.time() - wall
    now = datetime.now(UTC)
    seen = now.strftime("%Y-%m-%d %H:%M:%S UTC")
    if passed < 0.05 or abs(wall_passed - passed) > 0.5:
        seen = f"{seen}; while {passed:.2f} s passed, the wall clock moved {wall_passed:.2f} s"
        return [Finding("clock", Level.FAIL, seen, "keep the clock with NTP, slewing, never stepping")]
    if now.year < 2026:
        return [Finding("clock", Level.FAIL, seen, "this is earlier than this program's release: set the clock")]
    return [Finding("clock", Level.OK, seen)]


async def _database(settings: Settings, migrations: Path | None) -> list[Finding]:
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
    elif not is_locked(address_of(settings.home, "postgres") / "lock"):
        return [Finding("database", Level.OK, "the hub's own, not running; `sluice up` starts it")]
    else:
        try:
            url = postgres_url(settings.home) or ""
        except CannotStart as error:
            return [Finding("database", Level.FAIL, "our own, running", str(error))]
    try:
        connection = await asyncpg.connect(url, timeout=_TIMEOUT_S, command_timeout=_TIMEOUT_S)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        seen = f"{without_password(url)} cannot be reached: {said(error)}"
        return [Finding("database", Level.FAIL, seen, "is it running, and are address, user and password right?")]
    try:
        before = datetime.now(UTC)
        facts = await connection.fetchrow(
            """
            select current_setting('server_version') as version, current_setting('server_version_num')::int as number,
                   clock_timestamp() as now, pg_is_in_recovery() as follower, current_setting('fsync') as fsync,
                   current_setting('full_page_writes') as full_page_writes,
                   current_setting('synchronous_commit') as synchronous_commit,
                   current_setting('data_checksums') as data_checksums,
                   to_regrole('sluice_app') is not null or (
                       select rolcreaterole or rolsuper from pg_roles where rolname = current_user
                   ) as has_or_makes_roles
            """
        )
        after = datetime.now(UTC)
        waiting = await _cases(connection)
        payees = await _payees(connection)
        banks = await _banks(connection)
        timetable = await _timetable(connection)
        proofs = await _proofs(connection)
        worker = await _worker(connection)
        keys = await _keys(connection, settings)
        locks = await _locks(connection)
    except LOST as error:
        seen = f"{without_password(url)} was reached and then lost: {said(error)}"
        return [Finding("database", Level.FAIL, seen, "is it overloaded, stopped, or cut off?")]
    finally:
        connection.terminate()
    assert facts is not None
    findings = [
        _reached(facts, without_password(url)),
        _skew(facts["now"], before, after),
        _durability(facts),
        await _schema(url, migrations),
        keys,
        worker,
        locks,
        banks,
        timetable,
        proofs,
        waiting,
        payees,
    ]
    return [finding for finding in findings if finding is not None]


async def _worker(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    """Say whether a worker lives. A database without the table has its schema complained of elsewhere."""
    if await connection.fetchval("select to_regclass('heartbeat')") is None:
        return Finding("worker", Level.OK, "this schema does not record workers")
    ago = await last_beat_s(connection, "worker")
    if ago is not None and ago <= SILENT_AFTER_S:
        return Finding("worker", Level.OK, f"last sign {max(0, ago):.0f} s ago")
    seen = "none has run yet" if ago is None else f"no sign of a worker for {ago:.0f} s"
    todo = (
        "shares, queries to channels, bank files and expiries wait for a worker: check that `sluice up` or "
        "`sluice worker` runs, and what its log says; stop one that is stuck"
    )
    return Finding("worker", Level.WARN, seen, todo)


async def _locks(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    """Name transactions that have kept rows or tables from others for longer than any of the hub's own does.

    Whoever only reads is in nobody's way but a migration's. Sessions of roles we may not look at are not seen.
    """
    rows = await connection.fetch(
        """
        select a.pid, a.usename, a.application_name, a.state, extract(epoch from now() - a.xact_start)::int as age,
               array_agg(distinct l.relation::regclass::text) as tables
        from pg_stat_activity a join pg_locks l on l.pid = a.pid
        where a.datname = current_database() and a.xact_start < now() - make_interval(secs => $1)
          and a.pid <> pg_backend_pid() and l.granted and l.mode <> 'AccessShareLock'
          and l.relation in (select oid from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace)
        group by 1, 2, 3, 4, 5 order by age desc
        """,
        _HOLDS_FOR_S,
    )
    if not rows:
        return Finding("locks", Level.OK, "no transaction has held a row or a table for long")
    seen = "; ".join(
        f"pid {row['pid']} ({row['usename']}, {row['application_name'] or 'no name'}, {row['state']}) has held "
        f"rows of, or all of, {_few(row['tables'])} for {row['age']} s"
        for row in rows[:3]
    )
    todo = "what needs them is refused (book_locked): end that transaction, or `SELECT pg_terminate_backend(pid)`"
    return Finding("locks", Level.WARN, seen, todo)


async def _keys(connection: "asyncpg.Connection[asyncpg.Record]", settings: Settings) -> Finding:
    """Hold the secrets of this home against what the database has that was made with them."""
    if await connection.fetchval("select to_regclass('person')") is None:
        return Finding("keys", Level.OK, "not checked: this schema is an older one")
    in_use = await secrets_in_use(connection)
    paths = {name: settings.home / "secrets" / name for name in in_use}
    if CHANNEL_KEYS in paths and settings.channel_keys is not None:
        paths[CHANNEL_KEYS] = settings.channel_keys
    missing = [name for name, path in paths.items() if not path.is_file()]
    if missing:
        seen = "; ".join(f"{paths[name]} is not there, with which {in_use[name]} were made" for name in missing)
        return Finding("keys", Level.FAIL, seen, "restore it from the backup, or set the right SLUICE_HOME")
    return Finding("keys", Level.OK, f"{len(paths)} that the database needs are there")


async def _banks(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    """Say whose bank's files have not been read for long. An older schema has itself complained of elsewhere."""
    noted = "select from pg_attribute where attrelid = to_regclass('bank_link') and attname = 'read_at'"
    if await connection.fetchrow(noted) is None:
        return Finding("banks", Level.OK, "this schema does not record when files were read")
    now: datetime = await connection.fetchval("SELECT now()")  # by the clock that all hosts share
    unread = await splitting.store.unread(connection, now - UNREAD_AFTER)
    if not unread:
        return Finding("banks", Level.OK, "every bank's files are being read")
    some = ", ".join(f"book {book} at {bank} since {at:%Y-%m-%d %H:%M} UTC" for book, bank, at in unread[:3])
    more = f" and {len(unread) - 3} more" if len(unread) > 3 else ""
    todo = (
        "deposits and answers about payouts wait in the bank's files: the worker's log says what this bank answers; "
        "`sluice bank list --book` shows whether its credentials open, `sluice bank rotate` takes new ones"
    )
    return Finding("banks", Level.WARN, f"files not read: {some}{more}", todo)


async def _timetable(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    """Say which steps of business dates fail, of those that were tried today. An older schema is complained of too."""
    if await connection.fetchval("select to_regclass('timetable')") is None:
        return Finding("timetable", Level.OK, "this schema has no timetable")
    now: datetime = await connection.fetchval("SELECT now()")
    rows = [row for row in await timetable_rows(connection) if row.ran_at is not None and now - row.ran_at < DAY]
    failing = [f"{row.step} of {row.next_date} ({row.subject or 'the hub'})" for row in rows if row.tries]
    if await connection.fetchval("select to_regclass('timetable_missed')") is not None:
        tried = [one for one in await timetable_missed(connection) if now - one.tried_at < DAY]  # not of what was ended
        failing += [f"{one.step} of {one.day} ({one.subject or 'the hub'})" for one in tried]
    if failing:
        seen = f"not done, and tried again: {_few(failing)}"
        return Finding("timetable", Level.WARN, seen, "`sluice timetable` says why; see to the first of them")
    return Finding("timetable", Level.OK, f"{len(rows)} steps ran in the last day, and none fails")


async def _proofs(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    """Say of which of the last dates the proof does not hold. An older schema has itself complained of elsewhere."""
    if await connection.fetchval("select to_regclass('day_certificate')") is None:
        return Finding("proofs", Level.OK, "this schema has no certificates of business dates")
    now: datetime = await connection.fetchval("SELECT now()")
    found = await standing(connection, business_date(now) - PROOFS_WATCHED)
    if found.failing:
        seen = f"the proof does not hold of {_few([day.isoformat() for day in found.failing])}"
        return Finding("proofs", Level.FAIL, seen, f"`sluice proof show {found.failing[0]}` names what has no reason")
    if found.holding is None:
        return Finding("proofs", Level.OK, "no business date was proved yet: `sluice proof --date`")
    return Finding("proofs", Level.OK, f"the proof holds of {found.holding}, the last date that was proved")


async def _cases(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    """Say what waits for a person. A database without the table has its schema complained of elsewhere."""
    if await connection.fetchval("select to_regclass('case_file')") is None:
        return Finding("cases", Level.OK, "this schema has no cases")
    kinds = await cases.store.waiting(connection)
    if not kinds:
        return Finding("cases", Level.OK, "nothing waits for a person's decision")
    oldest = min(one.since for one in kinds)
    seen = f"{', '.join(f'{one.number} × {one.kind}' for one in kinds)}; the oldest since {oldest:%Y-%m-%d %H:%M} UTC"
    return Finding("cases", Level.WARN, seen, "money waits for a decision: `sluice case list`")


async def _payees(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    """Say whether somebody is kept from being paid. An older schema has itself complained of elsewhere."""
    noted = "select from pg_attribute where attrelid = to_regclass('payee') and attname = 'frozen_at'"
    if await connection.fetchrow(noted) is None:
        return Finding("payees", Level.OK, "this schema keeps none from being paid")
    seen = []
    number, since = await splitting.store.suspended_payees(connection)
    if since is not None:
        seen.append(f"{number} suspended, the first since {since:%Y-%m-%d %H:%M} UTC")
    found = await splitting.accounts.store.not_open(connection)
    if found.opening_since is not None:
        first = f"{found.opening_since:%Y-%m-%d %H:%M} UTC"
        seen.append(f"{found.opening} whose account a bank is opening, the first since {first}")
    if found.refused:
        seen.append(f"{found.refused} for whom a bank opens none")
    if found.frozen_since is not None:
        seen.append(f"{found.frozen} whose account is frozen, the first since {found.frozen_since:%Y-%m-%d %H:%M} UTC")
    if not seen:
        return Finding("payees", Level.OK, "all can be paid")
    todo = "`sluice payee list --book` has whom, and why; `sluice payee resume` and `unfreeze` end what people began"
    return Finding("payees", Level.WARN, f"{'; '.join(seen)}: what they are owed is not paid out", todo)


def _reached(facts: asyncpg.Record, url: str) -> Finding:
    seen = f"PostgreSQL {facts['version']} at {url}"
    if not OLDEST_POSTGRES <= facts["number"] // 10_000 <= NEWEST_POSTGRES:
        return Finding("database", Level.WARN, seen, "the hub is tested with PostgreSQL 15 to 18")
    if facts["follower"]:
        todo = "name the primary in SLUICE_DATABASE_URL (several hosts and target_session_attrs=read-write find it)"
        return Finding("database", Level.FAIL, f"{seen}, which is a read-only replica", todo)
    if not facts["has_or_makes_roles"]:
        todo = (
            "the first migration creates the role sluice_app: as a superuser, run ALTER ROLE … CREATEROLE for this user"
        )
        return Finding("database", Level.FAIL, f"{seen}, whose user may not create roles", todo)
    return Finding("database", Level.OK, seen)


def _skew(theirs: datetime, before: datetime, after: datetime) -> Finding | None:
    """Compare the database's clock with ours. It was read between two of our readings, so part of it is the way."""
    skew = max(before - theirs, theirs - after, timedelta(0))
    seen = f"{skew.total_seconds():.3f} s apart from the database's"
    if skew > _SKEW_WARN:
        level = Level.FAIL if skew > _SKEW_FAIL else Level.WARN
        return Finding("clock", level, seen, "keep both machines' clocks with NTP")
    return Finding("clock", Level.OK, seen)


def _durability(facts: asyncpg.Record) -> Finding:
    seen = ", ".join(f"{name} {facts[name]}" for name in ("fsync", "full_page_writes", "synchronous_commit"))
    lossy = [name for name in ("fsync", "full_page_writes") if facts[name] != "on"]
    if facts["synchronous_commit"] not in ("on", "remote_apply"):
        lossy.append("synchronous_commit")
    if lossy:
        todo = f"set {' and '.join(lossy)} to on: otherwise a payment that was answered can be lost in a crash"
        return Finding("durability", Level.FAIL, seen, todo)
    if facts["data_checksums"] != "on":
        return Finding(
            "durability", Level.WARN, f"{seen}, data_checksums off", "stop the server and run pg_checksums --enable"
        )
    return Finding("durability", Level.OK, f"{seen}, data_checksums on")


async def _schema(url: str, migrations: Path | None) -> Finding:
    schema = await examine_schema(url, migrations)
    if schema.pending:
        seen = f"{len(schema.pending)} to apply: {_few(schema.pending)}"
        return Finding("schema", Level.FAIL, seen, "run `sluice migrate`")
    if schema.unknown:
        seen = f"newer than this code: {_few(schema.unknown)}"
        return Finding("schema", Level.FAIL, seen, "run the version of Sluice that applied these")
    if schema.changed_by_hand:
        seen = "the tables differ from what the last migration left"
        todo = "find what was changed by hand, and undo it, or accept it with `sluice migrate --accept`"
        return Finding("schema", Level.FAIL, seen, todo)
    return Finding("schema", Level.OK, f"{len(schema.applied)} applied, none to apply, nothing changed by hand")


async def _redis(settings: Settings) -> list[Finding]:
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
    elif not is_locked(address_of(settings.home, "valkey") / "lock"):
        return [Finding("redis", Level.OK, "the hub's own, not running; `sluice up` starts it")]
    else:
        try:
            url = valkey_url(settings.home) or ""
        except CannotStart as error:
            return [Finding("redis", Level.FAIL, "our own, running", str(error))]
    try:
        async with redis.asyncio.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, decode_responses=True
        ) as client:
            facts = await client.info()
    except (OSError, TimeoutError, ValueError, redis.exceptions.RedisError) as error:
        seen = f"{without_password(url)} cannot be reached: {error}"
        return [Finding("redis", Level.FAIL, seen, "is it running, and are address and password right?")]
    name = "Valkey" if "valkey_version" in facts else "Redis"
    version = str(facts.get("valkey_version") or facts["redis_version"])
    seen = f"{name} {version} at {without_password(url)}"
    if facts.get("role") not in ("master", "primary"):
        reached = Finding(
            "redis", Level.FAIL, f"{seen}, which is a read-only replica", "name the primary in SLUICE_REDIS_URL"
        )
    elif int(re.match(r"\d+", version)[0]) < 7:  # type: ignore[index]
        reached = Finding("redis", Level.WARN, seen, "the hub is tested with Redis 7, Valkey 8 and newer")
    else:
        reached = Finding("redis", Level.OK, seen)
    return [reached, _persistence(facts)]


def _persistence(facts: dict[str, str | int]) -> Finding:
    """Judge what a crash of Redis would cost. The database is the only truth, so it is time, never money."""
    policy = str(facts.get("maxmemory_policy", "noeviction"))
    if str(facts.get("aof_enabled")) != "1":
        todo = (
            "set appendonly yes: without it a crash empties the streams, which are then filled again from the database"
        )
        return Finding("persistence", Level.WARN, "append-only file off", todo)
    if facts.get("aof_last_write_status") != "ok":
        return Finding("persistence", Level.FAIL, "the append-only file cannot be written", "look at its disk and log")
    if policy != "noeviction":
        todo = "set maxmemory-policy noeviction: streams must not be evicted when memory is short"
        return Finding("persistence", Level.WARN, f"append-only file on, {policy}", todo)
    return Finding("persistence", Level.OK, f"append-only file on, {policy}")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
