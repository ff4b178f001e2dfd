"""docs/problems.md lists every code the source can emit, with its status, and none the source cannot."""

import ast
import importlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway.door.admission
import gateway.door.auth
import gateway.door.bodies
import gateway.payments.attempts
import gateway.payments.elsewhere
import gateway.payments.record_outcome
import gateway.payments.record_refund
import kernel.errors
import kernel.work
import ledger.posting
import splitting
from channels import CHANNELS
from channels.banks import IDENTITY_REFUSALS
from gateway import claims
from gateway.door import responses
from kernel.errors import Unavailable
from kernel.work import Table

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "problems.md").read_text(encoding="utf-8")
# Where a code can come from that the gateway answers with, or a worker beside it logs.
SOURCES = [
    *("kernel", "ledger", "streams", "cases", "people", "splitting", "gateway", "reconciliation", "ops"),
    *("channels/banks", *sorted(f"channels/{name}" for name in CHANNELS)),
]
FAMILIES = {
    **{name: getattr(kernel.errors, name) for name in ("SluiceError", "Rejected", "NotFound", "Conflict", "Broken")},
    "Unavailable": Unavailable,
    "Unauthorized": gateway.door.auth.Unauthorized,
    "Forbidden": gateway.door.auth.Forbidden,
    "CannotBeBorne": gateway.payments.record_refund.CannotBeBorne,
    "EndedMeanwhile": gateway.payments.record_outcome.EndedMeanwhile,
    "ReversedMeanwhile": gateway.payments.record_outcome.ReversedMeanwhile,
    "TurnedAway": gateway.door.admission.TurnedAway,
    "CallerLeft": gateway.door.bodies.CallerLeft,
    "ClockDiffers": kernel.work.ClockDiffers,
    "OfAnotherAccount": gateway.payments.elsewhere.OfAnotherAccount,
    "Undecided": gateway.payments.attempts.Undecided,
    "OfAnotherSystem": gateway.payments.elsewhere.OfAnotherSystem,
}
# Families whose code is not the argument but the class's own.
FIXED = {
    "Refusal": (ledger.posting.Refusal, "posting_refused"),
    "PlanWrong": (splitting.PlanWrong, "split_plan_wrong"),
}
LOG_ONLY = PAGE.partition("## In the operator's log only")[2]
NOTICES = PAGE.partition("## Notices of channels")[2].partition("## In the operator's log only")[0]
HTTP = PAGE.partition("## Notices of channels")[0]


def modules() -> Iterator[tuple[str, ast.Module]]:
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            if "trials" in path.parts:  # whose rails are of their own
                continue
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def said(node: ast.expr) -> Iterator[str]:
    """Yield the codes an expression can come to; raise where it cannot be seen."""
    match node:
        case ast.Constant(value=str(code)):
            yield code
        case ast.IfExp(body=one, orelse=other):
            yield from said(one)
            yield from said(other)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="_AMOUNT_CODES"), attr="get"), args=[_, default]):
            yield from responses._AMOUNT_CODES.values()
            yield from said(default)
        case ast.Name(id="code"):  # create.Claims: by which number was used before
            yield from (code for code, _ in claims._WORDS.values())
        case ast.Name(id="refusal"):  # of an opening by a token
            yield from IDENTITY_REFUSALS
        case ast.Attribute(value=ast.Name(id="error" | "refused"), attr="code"):
            return  # raised anew, with the code it had
        case ast.JoinedStr(values=[ast.Constant(value="bank_" | "bill_" as family), *_]):
            yield f"{family}…"
        case ast.JoinedStr(values=[ast.Constant(value="no_such_"), *_]):
            return  # Work.get: see tables_asked
        case _:
            raise AssertionError(f"the code in line {node.lineno} cannot be read from the source: {ast.unparse(node)}")


def tables_asked(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield the names of tables of which a command demands a row that may not be there."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Name(id=name), ast.Tuple()]) if name.isupper():
                table = getattr(importlib.import_module(module), name)
                assert isinstance(table, Table)
                yield table.name
            case ast.Call(func=ast.Attribute(attr="head")):
                yield "book"


def emitted() -> tuple[dict[str, set[tuple[int, bool]]], set[str]]:
    """Return each code with the (status, retriable) it can have, and the codes of notices that are not believed."""
    codes: dict[str, set[tuple[int, bool]]] = defaultdict(set)
    notices: set[str] = set()

    def add(family: type[kernel.errors.SluiceError], code: str) -> None:
        facts = {"allowed": ["GET"]} if code == "method_not_allowed" else {}
        error = family(code, "words", **facts)
        answer = responses.problem(error, "req_1")
        codes[code].add((answer.status, b'"retriable":true' in bytes(answer.body)))  # type: ignore[arg-type]

    for module, tree in modules():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in FAMILIES:
                    for code in said(first):
                        add(FAMILIES[name], code)
                case ast.Call(func=ast.Name(id="BadNotice"), args=[first, *_]):
                    notices.update(said(first))
        for table in tables_asked(module, tree):
            add(FAMILIES["NotFound"], f"no_such_{table}")
    for _, code in FIXED.values():
        add(FAMILIES["Rejected"], code)
    return dict(codes), notices


def documented(part: str) -> dict[str, list[str]]:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| `")
    ]
    assert len({row[0] for row in rows}) == len(rows), "a code is listed once"
    return {row[0].strip("`"): row[1:] for row in rows}


CODES, NOTICE_CODES = emitted()


def test_every_code_the_source_can_emit_is_on_the_page() -> None:
    listed = {**documented(HTTP), **documented(NOTICES), **documented(LOG_ONLY)}
    assert (set(CODES) | NOTICE_CODES) - set(listed) == set()


def test_every_code_on_the_page_can_be_emitted() -> None:
    assert set(documented(HTTP)) <= set(CODES)
    assert set(documented(LOG_ONLY)) <= set(CODES)
    assert set(documented(NOTICES)) <= NOTICE_CODES | set(CODES)


@pytest.mark.parametrize("code", documented(HTTP))
def test_a_code_has_the_status_the_page_says(code: str) -> None:
    status, again, happened, todo = documented(HTTP)[code]
    assert (int(status), again == "yes") in CODES[code]
    assert happened
    assert todo


def test_no_status_is_set_for_a_code_nobody_emits() -> None:
    assert set(responses.STATUS_OF_CODE) <= set(CODES)


def test_every_family_of_errors_is_looked_for() -> None:
    found = set()
    for _, tree in modules():
        bases = {"SluiceError", *FAMILIES, *FIXED}
        found |= {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & bases
        }
    assert found | {"SluiceError"} == set(FAMILIES) | set(FIXED)


def test_the_page_is_what_the_answers_point_to() -> None:
    assert responses.PROBLEM_BASE in PAGE
    assert re.search(r'"code": "(\w+)"', PAGE).group(1) in CODES  # type: ignore[union-attr]
