"""Third parties' client libraries, each in an environment of its own: two of them share an import name, others need
versions that the hub does not. The tools that read the API's document are here for the same reason.

A library NAME has two files here: requirements-NAME.in, what we want, and requirements-NAME.lock, that and all it needs
with hashes (`make lock`). Its environment is built once, in .sdk-envs/ beside the hub, and again when the lock changes.
SLUICE_SDK=off leaves these tests out; without it, an environment that cannot be built is a failure.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".sdk-envs"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BUILD_TIMEOUT_S = 300
RUN_TIMEOUT_S = 300


class NotBuilt(AssertionError):
    """An environment cannot be built; says which, why, and what to do."""


def python_of(name: str) -> Path:
    """Return the interpreter of the environment that holds library `name`; builds it when it is not there yet.

    Any number of processes may call at once: one builds, the others wait for it. Raises NotBuilt.
    """
    if os.environ.get("SLUICE_SDK") == "off":
        pytest.skip("SLUICE_SDK=off: third parties' libraries are left out")
    lock = HERE / f"requirements-{name}.lock"
    return build(lock, ENVIRONMENTS / f"{name}-{_fingerprint(lock)}", os.environ)


def run(name: str, script: Path, *arguments: str, told: Mapping[str, Any] | None = None) -> Any:
    """Run a script in the environment of library `name` and return what it printed, which must be JSON.

    told: given to the script as JSON on its standard input. The script sees nothing of the hub, nor any proxy.
    """
    done = subprocess.run(
        [python_of(name), "-I", script, *arguments],
        input=json.dumps(told or {}),
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        env={variable: value for variable, value in os.environ.items() if not variable.lower().endswith("_proxy")},
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{script.name} in the environment of {name} failed:\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout)


def build(lock: Path, place: Path, surroundings: Mapping[str, str]) -> Path:
    """Return the interpreter of an environment at `place` that holds exactly what `lock` names. Raises NotBuilt."""
    python, complete = place / "bin" / "python", place / "complete"
    if complete.exists():
        return python
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"{place.name}.building").open("w") as building:
        fcntl.flock(building, fcntl.LOCK_EX)
        if complete.exists():  # somebody else built it while we waited
            return python
        shutil.rmtree(place, ignore_errors=True)  # half of one, from a build that was cut short
        _uv(lock, surroundings, "venv", "--python", sys.executable, str(place))
        install = ("pip", "install", "--python", str(python), "--require-hashes", "--no-deps", "-r", str(lock))
        _uv(lock, surroundings, *install)
        complete.touch()
    return python


def _uv(lock: Path, surroundings: Mapping[str, str], *arguments: str) -> None:
    uv: str | Path = Path(sys.executable).with_name("uv")
    if not Path(uv).exists():
        uv = shutil.which("uv") or ""
    if not uv:
        raise NotBuilt(
            f"uv is needed to build the environment of {lock.name}: it comes with requirements-bootstrap.lock"
        )
    env = {**surroundings, "UV_LINK_MODE": "copy"}
    if CERTIFICATES.exists():  # as in the Makefile: trust whom the machine trusts
        env.setdefault("UV_SYSTEM_CERTS", "1")
    if not os.access(Path.home(), os.W_OK):
        env.setdefault("UV_CACHE_DIR", str(ENVIRONMENTS / "cache"))
    command: Sequence[str | Path] = (uv, "--quiet", *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, env=env, check=False)
    except subprocess.TimeoutExpired:
        raise NotBuilt(_complaint(lock, f"nothing came within {BUILD_TIMEOUT_S} s")) from None
    if done.returncode:
        raise NotBuilt(_complaint(lock, done.stderr.strip() or done.stdout.strip()))


def _complaint(lock: Path, why: str) -> str:
    return (
        f"the environment of {lock.name} could not be built:\n{why}\n"
        "If the package index cannot be reached from here, set SLUICE_SDK=off to leave these tests out."
    )


def _fingerprint(lock: Path) -> str:
    """Return what names a build: the pins, and the interpreter they were installed for."""
    return hashlib.sha256(lock.read_bytes() + sys.version.encode() + sys.executable.encode()).hexdigest()[:12]
