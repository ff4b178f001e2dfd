"""Whom a server runs as: PostgreSQL refuses to be root, and nothing else of ours should be."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from .errors import CannotStart


@dataclass(frozen=True, slots=True)
class UnixAccount:
    """An identity of the operating system."""

    name: str
    uid: int
    gid: int


def server_account(name: str, owner_of: Path) -> UnixAccount | None:
    """Return whom a server becomes when we are root, or None when we are not and it stays what we are.

    name: the unprivileged user for new data.
    owner_of: the data directory; once it exists its owner keeps it, so that root may run what a plain user began.
    Raises CannotStart when there is no such user.
    """
    if os.geteuid() != 0:
        return None
    if owner_of.exists() and (uid := owner_of.stat().st_uid) != 0:
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            raise CannotStart(f"{owner_of} belongs to uid {uid}, who has no entry in the password file") from None
    else:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise CannotStart(f"there is no user {name!r} to run servers as; name one in SLUICE_SERVER_USER") from None
    if entry.pw_uid == 0:
        raise CannotStart("SLUICE_SERVER_USER names root; servers run as an unprivileged user")
    return UnixAccount(entry.pw_name, entry.pw_uid, entry.pw_gid)


def may_enter(folder: Path, account: UnixAccount | None) -> bool:
    """Tell whether `account` can reach `folder` through all its parents. The kernel is asked, by trying."""
    return _succeeds(["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)], account)


def may_run(program: Path, account: UnixAccount | None) -> bool:
    """Tell whether `account` can run `program`, judged by its answer to --version."""
    return _succeeds([str(program), "--version"], account)


class Identity(TypedDict, total=False):
    """The arguments by which subprocess becomes somebody else."""

    user: int
    group: int
    extra_groups: list[int]


def as_account(account: UnixAccount | None) -> Identity:
    """Return what makes subprocess run a program as `account`, with no group left of ours."""
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


def _succeeds(argv: list[str], account: UnixAccount | None) -> bool:
    try:
        done = subprocess.run(
            argv,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=False,
            **as_account(account),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
