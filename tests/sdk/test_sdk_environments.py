"""The environments of third parties' libraries hold what is pinned, and say clearly when they cannot be had."""

import os
import re
import subprocess
import threading
from pathlib import Path

import pytest

from tests.sdk import environments
from tests.sdk.environments import HERE, NotBuilt, build, python_of

WANTED = sorted(HERE.glob("requirements-*.in"))


@pytest.mark.parametrize("wanted", WANTED, ids=[path.stem for path in WANTED])
def test_everything_is_pinned_by_version_and_hash_and_names_no_index(wanted: Path) -> None:
    lock = wanted.with_suffix(".lock").read_text()
    pins = re.findall(r"^(\S+)==(\S+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", lock, re.MULTILINE)
    requirements = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(pins) == len(requirements) > 0
    for line in wanted.read_text().split():
        assert any(requirement.startswith(line) for requirement in requirements), line
    assert "://" not in lock


def test_an_environment_is_built_once_by_however_many_ask(tmp_path: Path) -> None:
    """Empty pins: what is tried is the building."""
    lock, place = tmp_path / "requirements-nothing.lock", tmp_path / "nothing"
    lock.write_text("")
    found: list[Path] = []
    askers = [threading.Thread(target=lambda: found.append(build(lock, place, os.environ))) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert found == [place / "bin" / "python"] * 4
    built_at = (place / "pyvenv.cfg").stat().st_mtime_ns
    assert build(lock, place, os.environ) == found[0]
    assert (place / "pyvenv.cfg").stat().st_mtime_ns == built_at
    assert subprocess.run([found[0], "-c", "print(6 * 7)"], capture_output=True, check=True).stdout == b"42\n"


def test_half_an_environment_is_built_again(tmp_path: Path) -> None:
    lock, place = tmp_path / "requirements-nothing.lock", tmp_path / "nothing"
    lock.write_text("")
    place.mkdir()
    (place / "pyvenv.cfg").write_text("half")
    assert subprocess.run([build(lock, place, os.environ), "-c", ""], check=True).returncode == 0


NO_INDEX = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_NO_CACHE": "1", "UV_HTTP_RETRIES": "0"}


def test_an_index_that_cannot_be_reached_is_a_failure_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotBuilt, match=r"(?s)alipay-official\.lock could not be built.*SLUICE_SDK=off"):
        build(HERE / "requirements-alipay-official.lock", tmp_path / "official", {**os.environ, **NO_INDEX})


def test_a_package_with_another_hash_is_not_installed(tmp_path: Path) -> None:
    python_of("alipay-official")  # left out together with the others where there is no index
    lock = tmp_path / "requirements-forged.lock"
    right = (HERE / "requirements-alipay-official.lock").read_text()
    lock.write_text(re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", right))
    with pytest.raises(NotBuilt, match=r"(?i)hash"):
        build(lock, tmp_path / "forged", os.environ)


def test_only_the_switch_leaves_these_tests_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_SDK", "off")
    with pytest.raises(pytest.skip.Exception):
        python_of("alipay-official")
    monkeypatch.setenv("SLUICE_SDK", "no")
    monkeypatch.setattr(environments, "build", lambda lock, place, surroundings: place)
    assert python_of("alipay-official").parent == environments.ENVIRONMENTS
