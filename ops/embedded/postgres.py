"""A real PostgreSQL of our own, its durability switched on where nobody can switch it off by accident."""

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

import asyncpg

from . import child
from .account import as_account
from .errors import CannotStart
from .place import address_of, remembered_port, secret, socket_folder, sockets_of
from .programs import Program, find_postgres
from .server import Server

_OWNER_SECRET, _SUPERUSER_SECRET = "postgres-sluice", "postgres-superuser"

# On the command line, where they outrank postgresql.conf and ALTER SYSTEM (reliability: P14, P17).
_FIXED = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "password_encryption": "scram-sha-256",
    "log_destination": "stderr",
    "logging_collector": "off",
}


class Postgres(Server):
    """PostgreSQL on 127.0.0.1, with the database and role `sluice`, both by password only."""

    name = "postgres"
    # SIGQUIT is PostgreSQL's immediate shutdown: it takes all its processes along and loses no committed row.
    death_signal = signal.SIGQUIT
    stop_steps = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0))

    def __init__(
        self,
        home: Path,
        *,
        bin_folder: Path | None = None,
        user: str = "nobody",
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare to run the PostgreSQL of `home`; bin_folder: where postgres and initdb are, None to look."""
        super().__init__(home, user=user, options=options)
        self._bin_folder = bin_folder
        self._program: Program | None = None
        self._sockets: Path | None = None

    @property
    def url(self) -> str:
        """Where the hub connects: database `sluice` as its owner, who is no superuser."""
        return _url("sluice", secret(self.home, _OWNER_SECRET), self.port, "sluice")

    @property
    def admin_url(self) -> str:
        """Where the superuser connects: database `postgres`."""
        return _url("postgres", secret(self.home, _SUPERUSER_SECRET, may_make=False), self.port, "postgres")

    @property
    def socket_url(self) -> str:
        """Where the hub's own processes connect: as `url`, by the Unix socket where it keeps its place."""
        return _url("sluice", secret(self.home, _OWNER_SECRET), self.port, "sluice", _lasting_sockets(self.place.root))

    @property
    def admin_socket_url(self) -> str:
        """The same for the superuser."""
        password = secret(self.home, _SUPERUSER_SECRET, may_make=False)
        return _url("postgres", password, self.port, "postgres", _lasting_sockets(self.place.root))

    @property
    def sockets(self) -> Path:
        """The folder of the Unix socket, which only the server's user and root can enter."""
        if self._sockets is None:
            raise RuntimeError("postgres was not started")
        return self._sockets

    @property
    def program(self) -> Program:
        if self._program is None:
            raise RuntimeError("postgres was not started")
        return self._program

    def _prepare(self) -> None:
        data = self.place.data
        written_by = (data / "PG_VERSION").read_text().strip() if data.exists() else None
        self._program = find_postgres(
            self._bin_folder, account=self.account, data_major=int(written_by) if written_by else None
        )
        if written_by is None:
            self._make_data()
        self._end_leftovers()
        # With no process left the pid in this file is nobody's or, after a reboot, a stranger's: then PostgreSQL
        # would refuse to start. Two owners are kept apart by our lock, and by PostgreSQL's shared memory besides.
        (data / "postmaster.pid").unlink(missing_ok=True)

    def _make_data(self) -> None:
        """Run initdb in a folder beside the final one, so that a kill half way leaves nothing that looks whole."""
        fresh = self.place.root / "data.new"
        password = self.place.root / "initdb.password"
        shutil.rmtree(fresh, ignore_errors=True)
        self.place.private_folder(fresh)
        try:
            password.unlink(missing_ok=True)
            handle = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(secret(self.home, _SUPERUSER_SECRET) + "\n")
            self.place.give(password)
            self._run(
                "initdb",
                f"--pgdata={fresh}",
                "--username=postgres",
                f"--pwfile={password}",
                "--auth-local=scram-sha-256",
                "--auth-host=scram-sha-256",
                "--encoding=UTF8",
                # Names are ordered by the application: collations differ between builds and machines.
                "--no-locale",
                "--data-checksums",
            )
        finally:
            password.unlink(missing_ok=True)
        lz4 = self._accepts(fresh, "wal_compression", "lz4")
        with (fresh / "postgresql.conf").open("a") as conf:
            conf.write(_tuning(lz4=lz4))
        fresh.rename(self.place.data)

    def _run(self, program: str, *arguments: str) -> None:
        """Run a helper to its end. Raises CannotStart with what it said when it fails."""
        done = subprocess.run(
            [self.program.path.parent / program, *arguments],
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            **as_account(self.account),
        )
        if done.returncode != 0:
            said = "".join(f"\n  {line}" for line in done.stdout.splitlines()[-12:])
            raise CannotStart(f"{program} failed with {child.describe_exit(done.returncode)}. It said:{said}")

    def _accepts(self, data: Path, name: str, value: str) -> bool:
        """Tell whether this build knows `value` for a setting; the build itself is asked."""
        try:
            self._run("postgres", "-D", str(data), "-c", f"{name}={value}", "-C", name)
        except CannotStart:
            return False
        return True

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        self._after_stop()
        self._sockets = socket_folder(self.place)
        settings = {
            **_FIXED,
            "port": str(self.port),
            "unix_socket_directories": str(self._sockets),
            **self.options,
        }
        return child.spawn(
            [
                self.program.path,
                "-D",
                self.place.data,
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            account=self.account,
            death_signal=self.death_signal,
            env=_environment(),
            stdout=log,
            stderr=log,
        )

    def _after_stop(self) -> None:
        if self._sockets is not None and self._sockets.parent != self.place.root:
            shutil.rmtree(self._sockets, ignore_errors=True)
        self._sockets = None

    async def _answers(self) -> bool:
        """Read PostgreSQL's own word on its state, the eighth line of postmaster.pid."""
        try:
            lines = (self.place.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[0].strip() == str(self.pid) and lines[7].strip() == "ready"

    async def _after_start(self) -> None:
        """See that role and database `sluice` exist and that the role has the password in our secrets."""
        try:
            admin = await asyncpg.connect(self.admin_url, timeout=30)
        except asyncpg.InvalidPasswordError:
            raise CannotStart(
                f"PostgreSQL refuses the password in {self.home / 'secrets' / _SUPERUSER_SECRET}: the file is not the "
                "one this data was made with; put that one back"
            ) from None
        try:
            password = secret(self.home, _OWNER_SECRET)
            # A password made by token_urlsafe has no quote in it; these statements take no parameters. Migrations make
            # the roles with fewer rights that the hub acts as, hence createrole.
            known = await admin.fetchval("select 1 from pg_roles where rolname = 'sluice'")
            await admin.execute(f"{'alter' if known else 'create'} role sluice login createrole password '{password}'")
            if not await admin.fetchval("select 1 from pg_database where datname = 'sluice'"):
                await admin.execute("create database sluice owner sluice")
        finally:
            await admin.close()

    @staticmethod
    def _is_ours(program: str) -> bool:
        return program == "postgres"


@asynccontextmanager
async def postgres(
    home: Path,
    *,
    bin_folder: Path | None = None,
    user: str = "nobody",
    options: Mapping[str, str] | None = None,
) -> AsyncIterator[Postgres]:
    """Run the PostgreSQL of `home` for as long as the context lasts.

    bin_folder, user, options: see Postgres.
    Raises AlreadyRunning, CannotStart.
    """
    server = Postgres(home, bin_folder=bin_folder, user=user, options=options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def postgres_url(home: Path) -> str | None:
    """Return where the PostgreSQL of `home` is or would be, None if it was never started.

    For commands that reach a server which another process runs.
    """
    port = remembered_port(address_of(home, Postgres.name))
    return None if port is None else _url("sluice", secret(home, _OWNER_SECRET, may_make=False), port, "sluice")


def postgres_socket_url(home: Path) -> str | None:
    """Return the same for the hub's own processes: by the Unix socket where it keeps its place and may be entered."""
    root = address_of(home, Postgres.name)
    port = remembered_port(root)
    if port is None:
        return None
    return _url("sluice", secret(home, _OWNER_SECRET, may_make=False), port, "sluice", _lasting_sockets(root))


def _lasting_sockets(root: Path) -> Path | None:
    """Return the folder of the socket, if it is the same after the server was started anew and we may enter it."""
    folder = sockets_of(root)
    return folder if folder is not None and os.access(folder, os.X_OK) else None


def _url(role: str, password: str, port: int, database: str, sockets: Path | None = None) -> str:
    """Return an address. A socket's folder stands where the host would (libpq, 32.1.1.2), so the rest is as ever."""
    host = "127.0.0.1" if sockets is None else quote(str(sockets), safe="")
    return f"postgresql://{role}:{password}@{host}:{port}/{database}"


def _environment() -> dict[str, str]:
    """Return a server's environment: nothing of ours may steer it (PGDATA, PGPORT, LC_ALL …)."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _tuning(*, lz4: bool) -> str:
    """Return the settings written once at initdb: a start for a small machine, the operator's to change later."""
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    shared_mb = min(max(memory_mb // 8, 128), 2_048)
    return f"""
# Written once by Sluice; yours to change, here or by ALTER SYSTEM. Durability, address and passwords are fixed by
# the command line instead.
max_connections = 200
shared_buffers = {shared_mb}MB
effective_cache_size = {max(memory_mb // 2, 256)}MB
work_mem = 8MB
maintenance_work_mem = 128MB
# Few checkpoints, yet recovery after a crash stays a matter of seconds.
min_wal_size = 256MB
max_wal_size = 2GB
checkpoint_timeout = 15min
wal_compression = {"lz4" if lz4 else "off"}
random_page_cost = 1.1
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_min_messages = warning
log_lock_waits = on
log_checkpoints = off
idle_in_transaction_session_timeout = 60s
"""
