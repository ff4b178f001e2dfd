"""Every SQL statement that the hub's code holds, found in its source: where it stands, and its text.

So a statement is found that no test happens to run. Formatted parts are worked out where they are made of what the
module knows, both ways of a choice are kept, and what only the call knows is HOLE.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
HUB = ["kernel", "ledger", "streams", "cases", "people", "channels", "splitting", "gateway", "reconciliation", "ops"]
METHODS = {"fetch", "fetchrow", "fetchval", "fetchmany", "execute", "executemany", "cursor", "prepare"}
HOLE = "…"
LOOKS_LIKE_SQL = re.compile(
    r"\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\S+\s+(\w+\s+)?SET\s|DELETE\s+FROM\s|WITH\s+\w+\s+AS\s+\(|MERGE\s+INTO\s|LOCK\s+TABLE\s)",
    re.IGNORECASE,
)
# What is executed there is made by kernel.work.Table, whose statements are taken from the tables themselves; the others
# are no statements: a file of a bank's, and a streamed answer.
NOT_IN_THE_SOURCE = {
    ("kernel/work.py", "self._load_sql"),
    ("kernel/work.py", "sql"),
    ("splitting/banks/files.py", "info"),
    ("gateway/door/wrapper.py", "request"),
}
# These make statements of pieces: those of the tables, which are read from there, and the look-ups of sluice verify.
MAKES_PIECES = {"kernel/work.py", "ops/touched.py"}


class Statement(NamedTuple):
    """One statement in the source."""

    file: str
    function: str
    line: int
    sql: str

    @property
    def place(self) -> str:
        return f"{self.file} {self.function}"


class _Module:
    def __init__(self, path: Path) -> None:
        self.file = str(path.relative_to(ROOT))
        self.tree = ast.parse(path.read_text())
        self.known = vars(
            importlib.import_module(self.file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        )
        self.seen: set[int] = set()  # lines of the constants that have become a statement

    def statements(self) -> Iterator[Statement]:
        for function in ast.walk(self.tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            local = {
                target.id: node.value
                for node in ast.walk(function)
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for call in _own_calls(function):
                if isinstance(call.func, ast.Attribute) and call.func.attr in METHODS and call.args:
                    given = call.args[0]
                    if (self.file, ast.unparse(given)) not in NOT_IN_THE_SOURCE:
                        yield Statement(self.file, function.name, call.lineno, self._text(given, local))

    def _text(self, node: ast.expr, local: dict[str, ast.expr]) -> str:
        """Return the text that an expression is. Fails where that cannot be told."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self.seen.add(node.lineno)
            return node.value
        if isinstance(node, ast.JoinedStr):
            self.seen.add(node.lineno)
            return "".join(
                str(part.value) if isinstance(part, ast.Constant) else self._hole(part.value, local)
                for part in node.values
                if isinstance(part, ast.Constant | ast.FormattedValue)
            )
        if isinstance(node, ast.BinOp):
            return self._text(node.left, local) + self._text(node.right, local)
        if isinstance(node, ast.Name) and isinstance(self.known.get(node.id), str):
            return str(self.known[node.id])
        if isinstance(node, ast.Name) and node.id in local:
            return self._text(local[node.id], local)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "join"
            and isinstance(node.args[0], ast.GeneratorExp)
        ):
            return self._text(node.args[0].elt, local)
        raise AssertionError(
            f"{self.file}:{node.lineno}: what is asked of the database cannot be read: {ast.unparse(node)}"
        )

    def _hole(self, node: ast.expr, local: dict[str, ast.expr]) -> str:
        if isinstance(node, ast.IfExp):
            return f"{self._hole(node.body, local)} {self._hole(node.orelse, local)}"
        if isinstance(node, ast.Constant):
            return str(node.value)
        try:
            return str(eval(compile(ast.Expression(node), self.file, "eval"), self.known))
        except (NameError, SyntaxError):  # what only the call knows, or waits for
            return HOLE

    def left_over(self) -> list[str]:
        """Return what looks like a statement and is none that was found."""
        return [
            f"{self.file}:{node.lineno}"
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and LOOKS_LIKE_SQL.match(node.value)
            and node.lineno not in self.seen
            and not _is_assigned(self.tree, node)
            and self.file not in MAKES_PIECES
        ]


def _own_calls(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.Call]:
    """Yield the calls of a function, those of functions inside it left out."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Call):
            yield node
        waiting += ast.iter_child_nodes(node)


def _is_assigned(tree: ast.Module, constant: ast.Constant) -> bool:
    """Tell of a module's constant, which is read where it is executed."""
    return any(constant in ast.walk(node.value) for node in tree.body if isinstance(node, ast.Assign))


def modules() -> list[_Module]:
    paths = [path for name in HUB if (ROOT / name).exists() for path in sorted((ROOT / name).rglob("*.py"))]
    return [_Module(path) for path in paths if path.name != "__main__.py"]
