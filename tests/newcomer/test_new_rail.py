"""`sluice channel new`: what it writes, that it fails until it is written, and that a rail so made needs nothing more.

Both are done in one copy of the checkout: `unwritten` is left as the command wrote it, `acorn` is completed with the
files in the folder acorn/ beside this. The copy is then checked as any checkout is.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ops.new_rail import CannotBegin, begin

ROOT = Path(__file__).parents[2]
ACORN = Path(__file__).parent / "acorn"


def files(root: Path) -> dict[str, bytes]:
    """Return every file below a folder that a checkout has."""
    made = {".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis", ".sluice"}
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not made & set(path.relative_to(root).parts)
    }


@dataclass
class Checkout:
    """A copy of this checkout, with a clock on what is changed in it."""

    root: Path

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a program of this environment in the copy, importing the copy's packages."""
        environment = {**os.environ, "PYTHONPATH": str(self.root)}
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def outcomes(self, rails: str) -> Mapping[str, Mapping[str, str]]:
        """Play the contract suite and the registry's tests for these rails; return test → passed or failed, by rail."""
        report = self.root.parent / "report.xml"
        self.run(
            "pytest", "tests/contract", "tests/channels/test_registry.py", "-k", rails, "-p", "no:cacheprovider",
            f"--junitxml={report}",
        )  # fmt: skip
        found: dict[str, dict[str, str]] = {}
        for case in ElementTree.parse(report).iter("testcase"):
            name = case.get("name", "")
            for rail in rails.split(" or "):
                if f"[{rail}" in name:
                    bad = case.find("failure") is not None or case.find("error") is not None
                    found.setdefault(rail, {})[name] = "failed" if bad else "passed"
        return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    root = tmp_path_factory.mktemp("newcomer") / "checkout"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)  # documents are those that git lists
    known = ROOT / ".mypy_cache"  # where the types were checked before, only the new files need it
    if known.exists():
        shutil.copytree(known, root / known.name)
    return Checkout(root)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_rail_is_one_folder_one_line_its_golden_bytes_and_its_other_side(checkout: Checkout) -> None:
    before = files(checkout.root)
    done = checkout.run("ops.cli", "channel", "new", "unwritten")
    assert done.returncode == 0, done.stderr
    after = files(checkout.root)
    assert sorted(after.keys() - before.keys()) == [
        "channels/unwritten/README.md",
        "channels/unwritten/__init__.py",
        "channels/unwritten/adapter.py",
        "tests/contract/counterparty_unwritten.py",
        "tests/golden/unwritten/README.md",
    ]
    changed = [name for name, content in before.items() if after[name] != content]
    assert changed == ["channels/registry.py"]
    old, new = (one["channels/registry.py"].decode().splitlines() for one in (before, after))
    assert [line for line in new if line not in old] == ['    "unwritten",']
    assert len(new) == len(old) + 1

    assert checkout.run("ops.cli", "channel", "new", "acorn").returncode == 0
    begun = files(checkout.root)
    shutil.copytree(ACORN, checkout.root, dirs_exist_ok=True)
    completed = files(checkout.root)
    touched = {name for name, content in completed.items() if begun.get(name) != content}
    homes = (
        "channels/acorn/",
        "sandbox/acorn/",
        "tests/golden/acorn/",
        "tests/contract/counterparty_acorn.py",
    )
    assert touched
    assert [name for name in sorted(touched) if not name.startswith(homes)] == []

    for check in (
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy", "channels/acorn", "sandbox/acorn", "channels/unwritten"),
    ):
        done = checkout.run(*check)
        assert done.returncode == 0, done.stdout + done.stderr

    shown = checkout.run("tests.newcomer.faces", "acorn", "unwritten")
    assert shown.stdout.splitlines() == [
        "橡果支付 Acorn Pay oak→acorn .mark.acorn { background: #7a4a1e; }",
        "Unwritten Unwritten unwritten→unwritten .mark.unwritten { background: #51605b; }",
    ], shown.stderr
    # A browser opens the new rail's payment at the cashier; of the rail, the test knows its words alone.
    paid = checkout.run("pytest", "-q", "-p", "no:cacheprovider", "tests/newcomer/at_the_cashier.py")
    assert paid.returncode == 0, paid.stdout[-3000:]
    # All but the first payment, which is made in the checkout beside, and the decisions, which have no rails in them.
    documents = checkout.run(
        "pytest", "tests/docs", "-q", "-p", "no:cacheprovider", "-k", "not first_payment and not decisions"
    )
    assert documents.returncode == 0, documents.stdout[-3000:]

    played = checkout.outcomes("acorn or unwritten")
    assert [name for name, how in played["acorn"].items() if how != "passed"] == []
    passed = [name for name, how in played["unwritten"].items() if how == "passed"]
    plays = [name for name in played["unwritten"] if not name.startswith("test_every_rail_")]
    assert len(played["acorn"]) > len(plays) > 80, "both are tried in every way that they say they can be"
    # What asks nothing of the rail but its words holds from the beginning; every play fails.
    assert len(passed) <= 5 < len(plays), passed


@pytest.mark.parametrize(
    "name", ["a", "Acorn", "acorn-pay", "acorn2", "_acorn", "acorn_", "../acorn", "class", "x" * 40]
)
def test_what_cannot_be_a_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CannotBegin, match="no name for a rail"):
        begin(tmp_path, name)


@pytest.mark.parametrize("name", ["wechat", "contract", "settings"])
def test_what_is_there_already_is_left_as_it_is(name: str) -> None:
    before = files(ROOT / "channels")
    with pytest.raises(CannotBegin, match="already"):
        begin(ROOT, name)
    assert files(ROOT / "channels") == before


def test_only_a_checkout_is_written_into(tmp_path: Path) -> None:
    with pytest.raises(CannotBegin, match="no checkout"):
        begin(tmp_path, "acorn")
    assert list(tmp_path.iterdir()) == []
