"""What the sandbox asks its store costs the same after a million orders: statements reach their rows by an index."""

import ast
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

SANDBOX = Path(__file__).parents[2] / "sandbox"
STATEMENT = re.compile(r"\s*(SELECT|UPDATE|DELETE|WITH)\b.*\?", re.DOTALL)
# These have a row a merchant, a key or a fault, however many orders there are.
SMALL = re.compile(r"SCAN \w*(merchant|key|certificate|fault|token|bill_file|webhook|account|holiday|pool)|SCAN \(")


@pytest.fixture
def store() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    for schema in sorted(SANDBOX.rglob("schema.sql")):
        connection.executescript(schema.read_text())
    return connection


def statements() -> Iterator[tuple[str, str]]:
    for module in sorted(SANDBOX.rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value):
                yield f"{module.relative_to(SANDBOX)}:{node.lineno}", node.value


def scans(store: sqlite3.Connection, statement: str) -> list[str]:
    """Return the tables that a statement reads from end to end."""
    plan = store.execute(f"EXPLAIN QUERY PLAN {statement}", (1,) * statement.count("?"))
    return [step for *_, step in plan if step.startswith("SCAN") and "INDEX" not in step and not SMALL.match(step)]


def test_no_statement_reads_a_table_that_grows(store: sqlite3.Connection) -> None:
    found: dict[str, list[str]] = {}
    for where, statement in statements():
        try:
            found[where] = scans(store, statement)
        except sqlite3.Error:
            continue  # a part of one, put together elsewhere
    assert len(found) > 100, "statements are looked for where there are none any more"
    assert {where: steps for where, steps in found.items() if steps} == {}


def test_a_statement_that_reads_a_table_that_grows_is_found(store: sqlite3.Connection) -> None:
    for index in ("held", "of", "due"):
        store.execute(f"DROP INDEX acquirer_notice_{index}")
    told = next(statement for _, statement in statements() if "acquirer_notice WHERE rail = ?" in statement)
    assert scans(store, told) == ["SCAN acquirer_notice"]
