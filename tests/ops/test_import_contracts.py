"""The import contracts hold whole packages: what is planted in a copy is found, in modules that nobody listed too."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
LAYERS = (  # from the top; what stands together is strange to one another
    *(("ops",), ("reconciliation",), ("gateway",), ("splitting",), ("cases", "people")),
    *(("ledger", "channels", "streams"), ("kernel",)),
)
ROOMS = (
    ("api",),
    ("cashier",),
    ("payments",),
    ("routing",),
    ("accounts",),
    ("merchants",),
    ("door",),
)  # of the gateway
HUB = tuple(name for layer in LAYERS for name in layer)
ALL = (*HUB, "sandbox", "loadtests")
LOAD_BY_NAME = {
    Path("channels/registry.py"),  # rails by their names
    Path("sandbox/app.py"),  # its own rails
    Path("ops/embedded/programs.py"),  # asks where wheels are
}


def folders(root: Path, package: str) -> Iterator[Path]:
    """Yield a package and every package in it, relative to root."""
    for init in sorted((root / package).rglob("__init__.py")):
        yield init.parent.relative_to(root)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code and its contracts, to plant in."""
    root = tmp_path_factory.mktemp("copy")
    for package in ALL:
        shutil.copytree(REPOSITORY / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    return root


def planted(root: Path) -> set[str]:
    """Write forbidden imports into the copy; return each as the contracts tell of it."""
    told = set()
    count = 0

    def plant(folder: Path, statement: str, target: str) -> None:
        nonlocal count
        count += 1
        (root / folder / f"unlisted_{count}.py").write_text(f"{statement}\n")
        told.add(f"{'.'.join(folder.parts)}.unlisted_{count} -> {target}")

    for package in (*HUB, "loadtests"):
        for folder in folders(root, package):
            plant(folder, "from sandbox import keys", "sandbox.keys")
    for folder in folders(root, "sandbox"):
        plant(folder, "from kernel.money import Money", "kernel.money")
        plant(folder, "import channels.client", "channels.client")
        plant(folder, "from channels.wechat import messages", "channels.wechat.messages")
        plant(folder, "from channels import HttpTransport", "channels")
    for number, layer in enumerate(LAYERS):
        above = {name for one in LAYERS[:number] for name in one}
        for package in layer:
            for other in sorted(above | set(layer) - {package}):
                plant(Path(package), f"import {other}", other)
    for number, floor in enumerate(ROOMS):
        above = {name for one in ROOMS[:number] for name in one}
        for room in floor:
            for other in sorted(above | set(floor) - {room}):
                plant(Path("gateway", room), f"import gateway.{other}", f"gateway.{other}")
    for package in HUB:
        plant(Path("loadtests"), f"import {package}", package)
    return told


def reported(root: Path) -> tuple[int, set[str]]:
    """Hold the copy against its contracts; return the exit code, and every import that is complained of."""
    lint = Path(sys.executable).parent / "lint-imports"
    found = subprocess.run([lint, "--no-cache"], cwd=root, capture_output=True, text=True)
    return found.returncode, set(re.findall(r"([\w.]+ -> [\w.]+)", found.stdout))


def test_what_is_planted_in_a_module_that_nobody_listed_is_found_in_every_package(copy: Path) -> None:
    assert reported(copy) == (0, set())
    wanted = planted(copy)
    (copy / "channels/client.py").open("a").write("\nfrom sandbox import keys\n")
    wanted.add("channels.client -> sandbox.keys")
    code, found = reported(copy)
    assert code == 1
    assert wanted - found == set()
    assert len(wanted) > 80


def test_no_room_of_the_gateway_is_left_out_of_the_contracts() -> None:
    rooms = {init.parent.name for init in (REPOSITORY / "gateway").glob("*/__init__.py")}
    assert rooms == {room for floor in ROOMS for room in floor}
    assert len(list((REPOSITORY / "gateway").glob("*.py"))) <= 8


def test_no_package_is_left_out_of_the_contracts() -> None:
    facts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = {init.parent.name for init in REPOSITORY.glob("*/__init__.py")} - {"tests"}
    assert set(facts["tool"]["importlinter"]["root_packages"]) == packages == set(ALL)
    assert set(facts["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == packages


def test_modules_are_loaded_by_a_name_that_no_contract_sees_in_three_known_places_and_tests_nowhere() -> None:
    loading, testing = set(), set()
    for package in ALL:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            names = {name for node in ast.walk(ast.parse(path.read_text())) for name in imported(node)}
            here = path.relative_to(REPOSITORY)
            loading |= {here for name in names if name.split(".")[0] in ("importlib", "runpy", "__import__")}
            testing |= {here for name in names if name.split(".")[0] == "tests"}
    assert loading == LOAD_BY_NAME
    assert testing == set()


def imported(node: ast.AST) -> Iterator[str]:
    """Yield what a node imports, and `__import__` itself where it stands."""
    if isinstance(node, ast.Import):
        yield from (one.name for one in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""
    elif isinstance(node, ast.Name):
        yield node.id if node.id == "__import__" else ""
