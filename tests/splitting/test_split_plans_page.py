"""The page on split plans: its example of four levels is shared out as its table says, and all of its JSON is taken."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.api.payments import PaymentIn
from gateway.api.shares import parts_of
from splitting.plans.document import DEEPEST, MOST_LINES, SplitLineIn, SplitTreeIn, read
from splitting.plans.tree import Facts, Policy, TakingBack, share

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "split-plans.md").read_text("utf-8")
BLOCKS: list[dict[str, Any]] = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def test_the_example_is_shared_out_as_the_table_says() -> None:
    rows = re.findall(r"^\| ([a-z-]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    table = [(name, *map(int, figures)) for name, *figures in rows]
    found = share(read(BLOCKS[0]), 10_000, 60, 0, Facts(10_000), cut=False)
    assert [(o.line.name, o.of_minor, o.unbounded_minor, o.got_minor, o.own_minor) for o in found.lines] == table
    assert sum(one.own_minor for one in found.lines) == 9_940
    assert found.rest_minor == 0
    assert {one.line.name: one.why for one in found.lines if one.why} == {"clerk": "cap"}
    assert max(one.depth for one in found.lines) == 3, "four levels"


@pytest.mark.parametrize("wrong", ["| store | 9585 | 9297 | 9297 | 9198 |"])
def test_a_figure_that_is_wrong_would_be_noticed(wrong: str) -> None:
    assert wrong not in PAGE
    assert wrong.replace("9198", "9197") in PAGE


def test_the_example_of_an_order_is_taken_as_it_stands() -> None:
    order = {
        "merchant_order_id": "a",
        "currency": "CNY",
        "method": {"type": "qr", "channel": "auto"},
        "description": "b",
    }
    body = PaymentIn.model_validate(order | BLOCKS[1])
    parts = parts_of(body.split, body.split_plan, body.lines)
    assert [(part.amount_minor, part.product_line) for part in parts] == [(7_000, "tea"), (3_000, "delivery")]
    assert [[line.name for line in part.plan.lines] for part in parts] == [["platform"], ["courier"]]


def test_the_example_that_inherits_is_of_the_form() -> None:
    assert SplitTreeIn.model_validate(BLOCKS[2]).extends is not None


def test_the_examples_of_rails_releases_and_refunds_are_plans() -> None:
    by_rail, released, refunded = (read(block) for block in BLOCKS[3:])
    assert [line.by_rail for line in by_rail.lines] == [True, True, False]
    assert [len(line.releases) for line in released.lines] == [1, 2]
    assert refunded.taking_back == TakingBack(Policy.PAYER_FIRST, "store")


def test_the_page_names_every_field_of_a_line_and_the_bounds() -> None:
    for field in SplitLineIn.model_fields:
        assert f"`{field}`" in PAGE, field
    assert f"at most {MOST_LINES:,} lines and {DEEPEST} levels" in PAGE
