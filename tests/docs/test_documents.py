"""That the documents are true where a machine can tell: what they name exists, and their lists are complete.

Each check is shown to bite by a page with a fault in it.
"""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.payments.capturing import Capturing
from gateway.payments.closing import Closing
from gateway.payments.refunding import Refunding
from tests.docs.pages import (
    ROOT,
    anchors,
    broken_links,
    dangling_references,
    difference,
    documents,
    first_cells,
    missing_paths,
    section_of,
    strange_routes,
    tracked,
    unknown_commands,
    unknown_targets,
    unknown_variables,
    unnamed,
)

README = ROOT / "README.md"
API = ROOT / "docs" / "api.md"
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def called(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", documents(), ids=called)


# ---- what pages name -------------------------------------------------------------------------------------------------


# The sandbox's pages name files that it makes; tests of their own hold them to what exists.
@pytest.mark.parametrize("page", [page for page in documents() if "sandbox" not in page.parts], ids=called)
def test_every_path_a_page_names_exists(page: Path) -> None:
    assert missing_paths(page, page.read_text("utf-8")) == []


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text("utf-8")) == []


@every_page
def test_every_command_a_page_tells_to_type_is_understood(page: Path) -> None:
    text = page.read_text("utf-8")
    assert unknown_commands(text) == []
    assert unknown_targets(text, MAKEFILE) == []
    assert unknown_variables(text) == []


def test_pages_are_found_at_all() -> None:
    names = {str(page.relative_to(ROOT)) for page in documents()}
    assert {"README.md", "ARCHITECTURE.md", "docs/api.md", "gateway/README.md"} <= names
    assert len([name for name in names if name.startswith("docs/decisions/")]) >= 11


@pytest.mark.parametrize("path", ["kernel/wrok.py", "kernal/work.py", "docs/decisions/", "wrok.py", "ops/*.sqlx/"])
def test_a_path_that_is_not_there_is_noticed(path: str) -> None:
    wrong = path.replace("decisions", "decision")
    assert missing_paths(README, f"see `kernel/work.py`, `ledger/schema.sql` and `{wrong}`") == [wrong]


def test_paths_may_be_told_from_the_page_s_own_folder() -> None:
    assert missing_paths(ROOT / "ledger" / "README.md", "`posting.py`, `invariants.py`") == []
    assert missing_paths(ROOT / "kernel" / "README.md", "`posting.py`") == ["posting.py"]


def test_links_that_lead_nowhere_are_noticed() -> None:
    text = "# A heading\n[a](LICENSE) [b](docs/none.md) [c](#a-heading) [d](#b-heading) [e](ARCHITECTURE.md#no-such)"
    assert broken_links(README, text) == ["docs/none.md", "#b-heading", "ARCHITECTURE.md#no-such"]


def test_headings_are_named_as_they_are_linked_to() -> None:
    assert anchors(
        "# What is here, and `not`\n## Data under SLUICE_HOME\n```\n# a comment\n```\n## 商户 A\n## 商户 A\n"
    ) == {
        "what-is-here-and-not",
        "data-under-sluice_home",
        "商户-a",
        "商户-a-1",
    }


@pytest.mark.parametrize(
    "wrong", ["sluice fly", "sluice merchant fly", "sluice up --fly", "sluice merchant add --workers 2", "sluice key"]
)
def test_a_command_that_is_none_is_noticed(wrong: str) -> None:
    right = 'sluice merchant add "Tea house" --json'
    assert unknown_commands(f"type `{right}` or `{wrong}`") == [wrong]
    assert unknown_commands(f"```bash\nMADE=$({right})\n{wrong}\n```\n") == [wrong]


def test_a_target_and_a_variable_that_are_none_are_noticed() -> None:
    assert unknown_targets("`make demo`, `make fly`\n```\nmake up\nmake tea\n```\n", MAKEFILE) == ["fly", "tea"]
    assert unknown_variables("SLUICE_HOME and SLUICE_GATEWAY_PROT") == ["SLUICE_GATEWAY_PROT"]


# ---- what code says of pages -----------------------------------------------------------------------------------------

SOURCES = sorted(n for n in tracked() if n.endswith((".py", ".sql", ".toml")) and not n.startswith("tests/"))


def test_every_page_and_decision_the_code_refers_to_exists() -> None:
    dangling = {name: found for name in SOURCES if (found := dangling_references((ROOT / name).read_text("utf-8")))}
    assert dangling == {}


def test_the_code_does_refer_to_decisions() -> None:
    assert sum("docs/decisions/0" in (ROOT / name).read_text("utf-8") for name in SOURCES) >= 3


def test_a_reference_to_nothing_is_noticed() -> None:
    source = "# docs/decisions/0002-the-book-is-the-lock.md, docs/decisions/0099, docs/none.md, (decision 0098)"
    source += '\n"""see ARCHITECTURE.md, "Errors", and ARCHITECTURE.md, "Tea"."""'
    assert dangling_references(source) == ["docs/none.md", "decision 0099", "decision 0098", "ARCHITECTURE.md, Tea"]


def test_decisions_are_numbered_without_a_gap_and_say_what_a_decision_says() -> None:
    names = sorted(name.split("/")[-1] for name in tracked() if name.startswith("docs/decisions/"))
    assert [name[:4] for name in names] == [f"{n:04}" for n in range(1, len(names) + 1)]
    for name in names:
        text = (ROOT / "docs" / "decisions" / name).read_text("utf-8")
        assert text.startswith(f"# {name[:4]} ")
        for heading in ("Context", "Decision", "Consequences", "What would change our mind"):
            assert section_of(text, heading).strip(), f"{name}: {heading}"


# ---- lists that must be complete -------------------------------------------------------------------------------------


def test_the_api_page_names_no_route_that_is_not_there() -> None:
    assert strange_routes(API.read_text("utf-8")) == []
    wrong = "### `GET /v1/balance`\n`GET /v1/balances`, `DELETE /v1/payments/{id}`"
    assert strange_routes(wrong) == ["GET /v1/balance", "DELETE /v1/payments/{id}"]


def test_what_is_missing_from_a_list_and_what_is_too_much_is_noticed() -> None:
    assert difference(["a", "b", "b"], ["a", "c"]) == ["no such: b", "not written: c", "b"]
    table = "# T\n| x | y |\n|---|---|\n| `one` | `1` |\n| `two words` | |\n# U\n| `three` | |\n"
    assert first_cells(table, "T") == ["one", "two words"]


@pytest.mark.parametrize("work", [Closing.close, Capturing.capture, Capturing.void, Refunding.retry_refund])
def test_the_api_page_names_every_refusal_of_what_is_done_with_a_payment(work: Callable[..., Any]) -> None:
    name = work.__name__
    path = "/v1/refunds/{id}/retry" if name == "retry_refund" else f"/v1/payments/{{id}}/{name}"
    told = re.findall(r"(?:Conflict|Rejected)\s+\(([a-z_,\s]+)\)", inspect.getdoc(work) or "")
    codes = [code.strip() for one in told for code in one.split(",")]
    page = section_of(API.read_text("utf-8"), f"`POST {path}`")
    assert codes
    assert [code for code in codes if f"`{code}`" not in page] == []


def test_a_field_that_is_not_named_is_noticed() -> None:
    assert unnamed("`amount`, currency", ["amount", "currency"]) == ["currency"]


def test_the_example_of_a_problem_has_what_problems_have() -> None:
    example = re.search(r"```json\n(.*?)```", API.read_text("utf-8"), re.DOTALL)
    assert example is not None
    assert (
        unnamed(
            re.sub(r'"(\w+)":', r"`\1`", example[1]),
            ["type", "title", "status", "code", "detail", "retriable", "request_id"],
        )
        == []
    )
