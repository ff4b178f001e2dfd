"""Payments that are shared out by a tree, whole or in parts, over the API: to the unit, and back with refunds."""

from pathlib import Path
from typing import Any

import pytest

from splitting.payees import MERCHANT
from tests.gateway.front import Front, a_front

NAMES = ("platform", "agent", "store", "clerk")


async def payees(front: Front) -> dict[str, str]:
    return {name: await front.payee(name) for name in NAMES}


def tree(ids: dict[str, str], **clerk: Any) -> dict[str, Any]:
    """The platform takes 0.6 %, the agent keeps a tenth of the rest, the store pays its clerk."""
    last = {"name": "clerk", "payee": ids["clerk"], "basis_points": 150, "cap": 100, **clerk}
    store = {"name": "store", "payee": ids["store"], "basis_points": 9_000, "lines": [last]}
    return {
        "version": 1,
        "lines": [
            {"name": "platform", "payee": ids["platform"], "basis_points": 60},
            {"name": "agent", "payee": ids["agent"], "remainder": 1, "lines": [store]},
        ],
    }


async def owed(front: Front, ids: dict[str, str]) -> dict[str, int]:
    balances = await front.balances()
    return {name: balances.get(f"payee:{payee}:CNY", (0, 0))[0] for name, payee in ids.items()}


async def test_a_tree_is_shared_out_to_the_unit_and_a_full_refund_leaves_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        ids = await payees(front)
        payment_id = await front.paid(split_plan={"document": tree(ids)})
        assert (await front.payment(payment_id))["split"]["status"] == "planned"
        await front.share_out()
        # 9,940 arrive: 60 (59.64) for the platform, 9,880 for the agent, of which 8,892 for the store, 100 (133) of
        # that for the clerk.
        assert await owed(front, ids) == {"platform": 60, "agent": 988, "store": 8_792, "clerk": 100}
        shares = (await front.payment(payment_id))["split"]["shares"]
        assert [(one["line"], one["payee"], one["amount_minor"]) for one in shares] == [
            ("platform", ids["platform"], 60),
            ("agent", ids["agent"], 988),
            ("store", ids["store"], 8_792),
            ("clerk", ids["clerk"], 100),
        ]
        for part in (1, 999, 3_333):
            assert (await front.refund(payment_id, part)).status == 201
        await front.refund(payment_id)
        assert await front.balances() == {}
        await front.assert_books_hold()
        await front.assert_events_are_as_their_models_say()


async def test_parts_of_an_order_are_shared_out_each_by_its_plan(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        ids = await payees(front)
        courier = {"version": 1, "lines": [{"name": "courier", "payee": ids["clerk"], "remainder": 1}]}
        payment_id = await front.paid(
            split=[{"payee": ids["store"], "basis_points": 5_000}],
            lines=[
                {"amount": 7_000, "product_line": "tea"},
                {"amount": 3_000, "product_line": "delivery", "split_plan": {"document": courier}},
            ],
        )
        await front.share_out()
        # Of the fee of 60 the parts bear 42 and 18. Half of the first is the store's, the second is the courier's.
        assert await owed(front, ids) == {"platform": 0, "agent": 0, "store": 3_500, "clerk": 2_982}
        assert (await front.balances())["merchant:CNY"] == (3_458, 3_458)
        await front.refund(payment_id)
        assert await front.balances() == {}
        await front.assert_books_hold()


async def test_what_is_looked_at_is_how_it_was_paid_who_is_suspended_then_and_the_volume_so_far(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        ids = await payees(front)
        lines = [
            {"name": "by-code", "payee": ids["platform"], "basis_points": 100, "when": {"method": ["qr"]}},
            {"name": "by-card", "payee": ids["agent"], "basis_points": 500, "when": {"method": ["card"]}},
            {
                "name": "store",
                "payee": ids["store"],
                "basis_points": 1_000,
                "when": {"payee": "active", "product_line": ["tea"]},
                "otherwise": "others",
            },
            {
                "name": "clerk",
                "payee": ids["clerk"],
                "amount": 10,
                "volume_of": "payee",
                "tiers": [{"from": 20, "value": 7}],
            },
        ]
        plan = {"document": {"version": 1, "base": "paid", "lines": lines}}
        for n in range(4):
            await front.paid(f"order-{n}", split_plan=plan, lines=[{"amount": 10_000, "product_line": "tea"}])
            if n == 3:
                await front.hub.payees.suspend(front.book, ids["store"], by=MERCHANT)
            await front.share_out()
        assert await owed(front, ids) == {"platform": 400, "agent": 0, "store": 3_000, "clerk": 10 + 10 + 7 + 7}
        told = (await front.get("/v1/events?type=payment.succeeded")).body["data"]
        assert [one["data"]["paid_by"] for one in told] == ["qr"] * 4
        await front.assert_books_hold()


async def test_what_no_longer_fits_when_it_is_shared_out_is_cut_and_never_refused(
    database_url: str, tmp_path: Path
) -> None:
    """The lines were made for payees of whom one was suspended; then it is resumed, and both want all there is."""
    async with a_front(database_url, tmp_path) as front:
        ids = await payees(front)
        lines = [
            {"name": name, "payee": ids[name], "amount": 9_000, "otherwise": "others", "when": {"method": [method]}}
            for name, method in (("agent", "qr"), ("store", "qr"))
        ]
        payment_id = await front.paid(split_plan={"document": {"version": 1, "lines": lines}})
        await front.share_out()
        assert await owed(front, ids) == {"platform": 0, "agent": 4_970, "store": 4_970, "clerk": 0}
        await front.refund(payment_id)
        await front.assert_books_hold()


@pytest.mark.parametrize(
    ("more", "status", "code", "param", "line"),
    [
        (lambda ids: {"split_plan": {"document": tree(ids, cap=-1)}}, 422, "split_plan_wrong",
         "split_plan.document.lines.1.lines.0.lines.0.cap", "clerk"),
        (lambda ids: {"split_plan": {"document": tree(ids, name="store")}}, 422, "split_plan_wrong",
         "split_plan.document.lines.1.lines.0.lines.0.name", "store"),
        (lambda ids: {"lines": [{"amount": 10_000, "split_plan": {"document": {}}}]}, 422, "split_plan_wrong",
         "lines.0.split_plan.document.version", None),
        (lambda ids: {"split_plan": {"document": tree(ids, payee="pye_" + "0" * 26)}}, 404, "no_such_payee", "split",
         None),
        (lambda ids: {"split_plan": {"document": tree(ids, basis_points=0, minimum=9_000, cap=None)}}, 422,
         "split_exceeds_payment", "split", None),
        (lambda ids: {"lines": [{"amount": 9_999}]}, 400, "invalid_request", None, None),
        (lambda ids: {"split": [{"payee": ids["clerk"], "amount": 1}], "split_plan": {"document": tree(ids)}}, 400,
         "invalid_request", None, None),
    ],
)  # fmt: skip
async def test_a_plan_that_cannot_be_is_refused_with_its_line(
    database_url: str, tmp_path: Path, more: Any, status: int, code: str, param: str | None, line: str | None
) -> None:
    async with a_front(database_url, tmp_path) as front:
        ids = await payees(front)
        answer = await front.pay(**more(ids))
        assert (answer.status, answer.code, answer.body.get("line")) == (status, code, line), answer
        if param is not None:
            assert answer.body["param"] == param
        assert await front.balances() == {}


async def test_plans_of_one_payment_have_a_thousand_lines_together(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        payee = await front.payee("clerk")
        plan = {
            "document": {"version": 1, "lines": [{"name": str(n), "payee": payee, "remainder": 1} for n in range(501)]}
        }
        whole = await front.pay(split_plan=plan, lines=[{"amount": 10_000}])
        assert whole.status == 201
        answer = await front.pay("order-2", split_plan=plan, lines=[{"amount": 5_000}] * 2)
        assert (answer.status, answer.code, answer.body["param"]) == (422, "split_plan_wrong", "lines")
