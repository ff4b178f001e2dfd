"""Every statement of the hub, and the schema, can be spread over several database nodes, each with books of its own.

Tables are spread by `book`, so a statement is one node's affair where it names its books by equality. What else stands
in the way on Citus 13 is refused too: locks on rows of several books, `ctid`, a subquery in an upsert, a key that does
not hold the book. What is excepted says why it stands in no payment's way; what needs no exception any more is told.
"""

import re
from collections.abc import Iterator
from functools import cache

import pytest

from kernel.work import Table
from ops.verify import INVARIANTS
from tests.kernel.one_book import outside
from tests.kernel.test_work import tables
from tests.ops.statements import ROOT, Statement, modules

GOES_OVER_BOOKS = "it goes over all books"
LOCKS_BOOKS = "it locks rows of several books"
CTID = "it goes by ctid"
UPSERT = "it has a subquery in an upsert"

# Reason → the statements that need it, by file and function.
EXCEPTED: dict[tuple[str, str], set[str]] = {
    (GOES_OVER_BOOKS, "the worker finds what is due on its node, by an index on time"): {
        "gateway/payments/store.py due_chargebacks",
        "gateway/store.py due_attempts",
        "gateway/store.py due_payments",
        "gateway/store.py due_refunds",
        "gateway/store.py forget_claims",
        "ledger/store.py expired_holds",
        "splitting/rails/store.py due_orders",
        "splitting/recalls/store.py unsent",
        "splitting/rails/store.py due_receivers",
        "splitting/rails/store.py due_returns",
        "splitting/rails/store.py due_to_ask",
        "splitting/shares/store.py due_for_release",
        "splitting/store.py unsent",
        "splitting/withdrawals/store.py unsent",
    },
    (GOES_OVER_BOOKS, "the worker looks at the heads of its node's books, a row each, for what is new"): {
        "streams/store.py behind",
        "streams/store.py heads",
    },
    (GOES_OVER_BOOKS, "the worker goes from bank to bank, of which there are few"): {
        "splitting/accounts/store.py openings_at_banks",
        "splitting/accounts/store.py openings_under_way",
        "splitting/store.py bank_links",
        "splitting/store.py files_to_apply",
        "splitting/store.py links_to_follow",
        "splitting/store.py unread",
    },
    (GOES_OVER_BOOKS, "figures for operators, over all books by nature"): {
        "cases/store.py waiting",
        "gateway/store.py overdue_s",
        "splitting/store.py least_read",
        "splitting/store.py oldest_unfinished",
        "splitting/accounts/store.py not_open",
        "splitting/store.py suspended_payees",
        "streams/store.py lag",
    },
    (GOES_OVER_BOOKS, "an operator's command, over all books by nature"): {
        "cases/store.py cases",
        "cases/store.py find_case",
        "cases/store.py number",
        "cases/store.py open_of",
        "reconciliation/reports/store.py lay",
        "reconciliation/timetable/store.py missed",
        "reconciliation/timetable/store.py rows",
        "gateway/routing/store.py book_of_payment",
        "gateway/store.py every_channel_account",
        "gateway/store.py merchants",
        "gateway/store.py new_book",
        "splitting/store.py bank_file",
    },
    (GOES_OVER_BOOKS, "a process that begins looks whether a secret is in use"): {
        "gateway/store.py made_with_secrets",
        "gateway/store.py some_sealed",
        "splitting/store.py some_link_sealed",
    },
    (GOES_OVER_BOOKS, "a directory: a key's book is not known before it is looked up"): {"gateway/store.py find_key"},
    (
        GOES_OVER_BOOKS,
        "the books are named, but not by equality: their key would be the wrong index (routing/store.py)",
    ): {
        "gateway/routing/store.py tried_since",
    },
    (GOES_OVER_BOOKS, "sluice verify reads everything in one snapshot"): {
        "gateway/payments/invariants.py open_payments",
        "ops/touched.py _families",
        "ops/touched.py _heads",
        "ops/touched.py _records",
        "ops/verify.py _payments",
        "ops/verify.py begin",
    },
    (GOES_OVER_BOOKS, "a bench counts what it has done"): {
        "ops/trials/bench/overload.py exactly_once",
        "ops/trials/bench/run.py audit",
        "ops/trials/settling.py run",
    },
    (LOCKS_BOOKS, "the lane of one node, whose books these are; decision 0022 says what takes its place elsewhere"): {
        "kernel/work.py lock_books",
    },
}
# The same of the schema: what is excepted → why.
KEYS_WITHOUT_BOOK = {"api_key.api_key_pkey": "the directory of keys is a local table of the coordinator"}
STATEMENT_TRIGGERS = {  # where the database is spread, privileges alone keep them (ops/roles.sql), or these are allowed
    "audit_record",
    "bank_link",
    "channel_account",
    "day_certificate",
    "day_end",
    "event",
    "routing_policy",
    "transfer",
}
ROW_TRIGGERS = {"approval", "person"}  # few rows, of no merchant's data: a table that is not spread

_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?:ONLY\s+)?(?:public\.)?(\w+)\b(?!\()", re.IGNORECASE)
_BOUND = re.compile(r"\bbook = (?:\$\d+|ANY ?\(\$\d+)|\b\w+\.book = \w+\.book\b|\bUSING \(book\b")
_INSERTED = re.compile(r"\s*INSERT INTO \w+(?: AS \w+)? \([^)]*\bbook\b")
_ROW_LOCK = re.compile(r"\bFOR (?:NO KEY UPDATE|UPDATE|SHARE|KEY SHARE)\b|\bLOCK TABLE\b", re.IGNORECASE)
_UPSERT = re.compile(r"\bON CONFLICT\b.*\bDO UPDATE\b.*\bSELECT\b", re.IGNORECASE)


@cache
def spread() -> frozenset[str]:
    """Return the tables that have a book, which is what they are spread by."""
    schema = "\n".join(path.read_text() for path in ROOT.glob("*/schema.sql"))
    found = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)", schema, re.DOTALL)
    return frozenset(name for name, columns in found if re.search(r"^\s+book\s+int\b", columns, re.MULTILINE))


def faults(sql: str) -> set[str]:
    """Return what keeps a statement from being one node's affair."""
    sql = re.sub(r"\s+", " ", re.sub(r"--[^\n]*", "", sql))
    named = [table for table in _TABLE.findall(sql) if table.lower() in spread()]
    bound = len(_BOUND.findall(sql)) + bool(_INSERTED.match(sql))
    found = set()
    if len(named) > bound:
        found.add(GOES_OVER_BOOKS)
    if _ROW_LOCK.search(sql) and not re.search(r"\bbook = \$\d+", sql):
        found.add(LOCKS_BOOKS)
    if re.search(r"\bctid\b", sql, re.IGNORECASE):
        found.add(CTID)
    if _UPSERT.search(sql):
        found.add(UPSERT)
    return found


def of_tables() -> Iterator[Statement]:
    """Yield what kernel.work.Table makes: a load of each table, an update of each column, and of all of them."""
    for table in tables().values():
        yield Statement("kernel/work.py", f"{table.name} load", 0, table._load_sql)
        for changed in [*((n,) for n in range(table.keys, len(table.columns))), _all(table)]:
            if changed:
                yield Statement("kernel/work.py", f"{table.name} update", 0, table.update_sql(changed, 1))


def _all(table: Table[tuple[object, ...]]) -> tuple[int, ...]:
    return tuple(range(table.keys, len(table.columns)))


def in_the_source() -> list[Statement]:
    return [statement for module in modules() for statement in module.statements()]


def test_every_statement_is_one_nodes_affair_or_says_why_not() -> None:
    found = [*in_the_source(), *of_tables()]
    assert len(found) > 250
    assert {statement.file.partition("/")[0] for statement in found} >= {
        "kernel",
        "ledger",
        "gateway",
        "splitting",
        "ops",
    }
    excepted = {(fault, place) for (fault, _), places in EXCEPTED.items() for place in places}
    proofs = {check.__name__ for check in INVARIANTS.values()}  # sluice verify reads everything in one snapshot
    wrong = {
        (fault, statement.place): statement.line
        for statement in found
        for fault in faults(statement.sql)
        if not (fault == GOES_OVER_BOOKS and statement.function in proofs)
    }
    assert {where: line for where, line in wrong.items() if where not in excepted} == {}
    assert excepted - wrong.keys() == set(), "these need no exception"


def test_no_statement_is_overlooked() -> None:
    everything = modules()
    for module in everything:
        list(module.statements())
    assert [place for module in everything for place in module.left_over()] == []


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT 1 FROM payment WHERE book = $1 AND id = $2", set()),
        ("SELECT 1 FROM payment WHERE book = ANY($1::int[])", set()),
        ("SELECT 1 FROM payment WHERE id = $1", {GOES_OVER_BOOKS}),
        ("SELECT 1 FROM payment WHERE book > $1", {GOES_OVER_BOOKS}),
        ("SELECT 1 FROM payment WHERE book <> ALL($1)", {GOES_OVER_BOOKS}),
        ("SELECT 1 FROM payment p JOIN attempt a ON a.payment_id = p.id WHERE p.book = $1", {GOES_OVER_BOOKS}),
        ("SELECT 1 FROM payment p JOIN attempt a ON a.book = p.book AND a.payment_id = p.id WHERE p.book = $1", set()),
        ("SELECT 1 FROM unnest($1::int[]) k(book) JOIN payment p ON p.book = k.book", set()),
        ("UPDATE payment SET status = $1 WHERE id = $2", {GOES_OVER_BOOKS}),
        ("DELETE FROM claim WHERE created_at < $1", {GOES_OVER_BOOKS}),
        ("DELETE FROM claim WHERE book = $1 AND ctid = ANY($2)", {CTID}),
        ("SELECT 1 FROM book WHERE book = ANY($1) FOR UPDATE", {LOCKS_BOOKS}),
        ("SELECT 1 FROM book WHERE book = ANY($1) FOR NO KEY UPDATE SKIP LOCKED", {LOCKS_BOOKS}),
        ("SELECT 1 FROM book WHERE book = $1 FOR UPDATE", set()),
        ("INSERT INTO run (book, id) VALUES ($1, $2) ON CONFLICT (book, id) DO UPDATE SET id = excluded.id", set()),
        (
            "INSERT INTO run AS r (book, id) VALUES ($1, $2) ON CONFLICT (book, id) DO UPDATE\n SET areas = "
            "ARRAY(SELECT a FROM unnest(r.areas) a)",
            {UPSERT},
        ),
        ("INSERT INTO run (id) VALUES ($1)", {GOES_OVER_BOOKS}),
    ],
)
def test_a_statement_of_a_refused_shape_is_told(sql: str, found: set[str]) -> None:
    assert faults(sql) == found


async def test_every_key_of_merchants_data_holds_the_book(database_url: str) -> None:
    async with outside(database_url) as connection:
        keys = await connection.fetch(
            """
            SELECT t.relname || '.' || i.relname AS name,
                   array_agg(a.attname::text ORDER BY a.attnum) AS columns
            FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
            JOIN pg_attribute a ON a.attrelid = i.oid
            WHERE x.indisunique AND t.relnamespace = 'public'::regnamespace AND t.relname = ANY($1)
            GROUP BY 1
            """,
            sorted(spread()),
        )
        assert len(keys) >= len(spread())
        assert {row["name"] for row in keys if "book" not in row["columns"]} == set(KEYS_WITHOUT_BOOK)


async def test_every_reference_between_merchants_tables_holds_the_book(database_url: str) -> None:
    async with outside(database_url) as connection:
        references = await connection.fetch(
            """
            SELECT conrelid::regclass::text AS table, pg_get_constraintdef(oid) AS says FROM pg_constraint
            WHERE contype = 'f' AND conrelid::regclass::text = ANY($1) AND confrelid::regclass::text = ANY($1)
            """,
            sorted(spread()),
        )
        assert references
        form = re.compile(r"FOREIGN KEY \(book\b.*\) REFERENCES \w+\(book\b")
        assert [tuple(row) for row in references if not form.match(row["says"])] == []


async def test_only_the_journals_have_triggers_and_only_on_statements(database_url: str) -> None:
    async with outside(database_url) as connection:
        triggers = await connection.fetch(
            "SELECT tgrelid::regclass::text, (tgtype & 1) = 1 FROM pg_trigger WHERE NOT tgisinternal"
        )
        assert {row[0] for row in triggers} == STATEMENT_TRIGGERS | ROW_TRIGGERS
        assert {row[0] for row in triggers if row[1]} == ROW_TRIGGERS
        assert spread().isdisjoint(ROW_TRIGGERS)


def test_plans_are_fixed_in_one_place_where_they_can_be_left_to_the_parameters() -> None:
    """A database that is spread chooses the node by a parameter, which a generic plan does not see."""
    sources = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] in ("kernel", "ops", "gateway")]
    assert [str(path.relative_to(ROOT)) for path in sources if "plan_cache_mode" in path.read_text()] == [
        "kernel/db.py"
    ]
