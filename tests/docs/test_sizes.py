"""No class has more than 300 lines and no module more than 600, so that each can be read at one go.

Tests are not held to it, nor is what is generated or a table of facts.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, tracked

CLASS, MODULE = 300, 600


def too_long(root: Path, paths: list[str]) -> Iterator[str]:
    """Yield every module and class over its limit."""
    for path in paths:
        source = (root / path).read_text("utf-8")
        if source.count("\n") > MODULE:
            yield path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                first = min((one.lineno for one in node.decorator_list), default=node.lineno)
                if (node.end_lineno or first) - first + 1 > CLASS:
                    yield f"{path} {node.name}"


def ours() -> list[str]:
    return sorted(name for name in tracked() if name.endswith(".py") and not name.startswith("tests/"))


def test_no_class_and_no_module_is_longer_than_can_be_read_at_one_go() -> None:
    assert len(ours()) > 300
    assert list(too_long(ROOT, ours())) == [], "cut it in parts"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = 1\n" * MODULE, []),
        ("x = 1\n" * (MODULE + 1), ["a.py"]),
        ("class A:\n" + "    x = 1\n" * (CLASS - 1), []),
        ("class A:\n" + "    x = 1\n" * CLASS, ["a.py A"]),
        ("@b\nclass A:\n" + "    x = 1\n" * (CLASS - 1), ["a.py A"]),
        ("if b:\n    class A:\n" + "        x = 1\n" * CLASS, ["a.py A"]),
    ],
)
def test_what_is_too_long_is_found(tmp_path: Path, source: str, found: list[str]) -> None:
    (tmp_path / "a.py").write_text(source, "utf-8")
    assert list(too_long(tmp_path, ["a.py"])) == found
