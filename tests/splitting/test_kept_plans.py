"""Split plans that merchants keep: a version is activated by another key than made it, and payments keep theirs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.door.auth import SCOPES
from kernel.db import acquire
from splitting.payees import MERCHANT
from tests.gateway.front import Answer, Front, a_front
from tests.splitting.town import BANK, FARM, a_town

PLANS = "/v1/split_plans"


def tree(payee: str, basis_points: int = 1_000, **more: Any) -> dict[str, Any]:
    return {"version": 1, "lines": [{"name": "agent", "payee": payee, "basis_points": basis_points, **more}]}


@asynccontextmanager
async def a_shop_with_plans(database_url: str, home: Path) -> AsyncIterator[tuple[Front, str, str]]:
    """Open a shop; yield its door, a payee and a second key that may activate."""
    async with a_front(database_url, home) as front:
        _, key = await front.hub.merchants.add_key(front.book, SCOPES, None)
        yield front, await front.payee("agent"), f"Bearer {key}"


async def made(front: Front, document: Any, name: str = "tea", status: int = 201) -> Any:
    answer = await front.post(PLANS, {"name": name, "currency": "CNY", "document": document})
    assert answer.status == status, answer
    return answer.body


async def activated(front: Front, plan: Any, second: str, n: int = 0) -> Answer:
    """Have version number n from the end activated by the second key."""
    row = plan["versions"][n]
    body = {"version": row["version"], "hash": row["hash"]}
    return await front.post(f"{PLANS}/{plan['id']}/activate", body, Authorization=second)


async def shares(front: Front, payment_id: str) -> list[tuple[str, int]]:
    found = (await front.payment(payment_id))["split"]["shares"]
    return [(one["line"], one["amount_minor"]) for one in found]


async def test_payments_keep_the_version_they_were_made_with(database_url: str, tmp_path: Path) -> None:
    async with a_shop_with_plans(database_url, tmp_path) as (front, agent, second):
        plan = await made(front, tree(agent))
        assert (plan["active_version"], plan["last_version"], plan["versions"][0]["status"]) == (None, 1, "draft")
        by_plan = {"split_plan": {"id": plan["id"]}}
        refused = await front.pay(**by_plan)
        assert (refused.status, refused.code) == (409, "split_plan_not_active")
        assert (await activated(front, plan, second)).status == 200
        first = await front.paid("order-1", **by_plan)
        assert (await front.payment(first))["split"]["parts"] == [
            {"amount_minor": None, "product_line": None, "plan": plan["id"], "version": 1, "attached_to": None}
        ]
        waits = await front.paid("order-2", **by_plan)
        await front.share_out()
        assert await shares(front, first) == [("agent", 994), ("", 8_946)]

        answer = await front.post(f"{PLANS}/{plan['id']}/versions", {"version": 1, "document": tree(agent, 2_000)})
        assert (answer.status, answer.body["active_version"], answer.body["last_version"]) == (201, 1, 2)
        assert await shares(front, await sold(front, "order-3", **by_plan)) == [("agent", 994), ("", 8_946)]
        not_yet = await front.pay("order-4", split_plan={"id": plan["id"], "version": 2})
        assert (not_yet.status, not_yet.code) == (409, "split_plan_not_active")
        unshared = await front.paid("order-5", **by_plan)
        after = (await activated(front, answer.body, second)).body
        assert [one["status"] for one in after["versions"]] == ["active", "retired"]
        assert await shares(front, await sold(front, "order-6", **by_plan)) == [("agent", 1_988), ("", 7_952)]
        assert await shares(front, unshared) == [("agent", 994), ("", 8_946)], "made before, shared out after"
        named = await sold(front, "order-7", split_plan={"id": plan["id"], "version": 1})
        assert await shares(front, named) == [("agent", 994), ("", 8_946)], (
            "a version that was active once may be named"
        )
        for payment_id in (first, waits, unshared):
            await front.refund(payment_id)
        assert await front.events("split_plan.drafted", "split_plan.activated") == [
            "split_plan.drafted", "split_plan.activated", "split_plan.drafted", "split_plan.activated",
        ]  # fmt: skip
        await front.assert_events_are_as_their_models_say()


async def sold(front: Front, number: str, **more: Any) -> str:
    payment_id = await front.paid(number, **more)
    await front.share_out()
    return payment_id


async def test_whoever_made_a_version_does_not_activate_it_and_nobody_activates_another_document(
    database_url: str, tmp_path: Path
) -> None:
    async with a_shop_with_plans(database_url, tmp_path) as (front, agent, second):
        plan = await made(front, tree(agent))
        own = f"Bearer {front.shop.key}"
        _, till = await front.hub.merchants.add_key(front.book, ["payees:write", "payments:read"], None)
        assert (await activated(front, plan, f"Bearer {till}")).code == "scope_missing"
        body = {"version": 1, "hash": plan["versions"][0]["hash"]}
        refused = await front.post(f"{PLANS}/{plan['id']}/activate", body, Authorization=own)
        assert refused.code in ("second_key_needed", "scope_missing")
        row = await front.hub.split_plans.version(front.book, plan["id"], 1)
        with pytest.raises(Exception, match="second_key_needed"):
            await front.hub.split_plans.activate(front.book, plan["id"], 1, hash=row.hash, checker=row.maker)
        other = await front.post(f"{PLANS}/{plan['id']}/activate", {**body, "hash": "0" * 64}, Authorization=second)
        assert (other.status, other.code) == (409, "split_plan_differs")
        done = await activated(front, plan, second)
        assert done.body["versions"][0]["checker"] not in (None, row.maker)
        again = await activated(front, plan, second)
        assert again.body == done.body, "again it changes nothing"
        assert await front.events("split_plan.activated") == ["split_plan.activated"]


async def test_making_the_same_twice_makes_one_and_another_of_the_same_name_is_refused(
    database_url: str, tmp_path: Path
) -> None:
    async with a_shop_with_plans(database_url, tmp_path) as (front, agent, key):
        plan = await made(front, tree(agent))
        assert await made(front, tree(agent)) == plan
        other = await front.post(PLANS, {"name": "tea", "currency": "CNY", "document": tree(agent)}, Authorization=key)
        assert other.body == plan, "whoever asks"
        assert (await made(front, tree(agent, 5), status=409))["code"] == "split_plan_exists"
        place = f"{PLANS}/{plan['id']}/versions"
        second = await front.post(place, {"version": 1, "document": tree(agent, 5)})
        assert (await front.post(place, {"version": 1, "document": tree(agent, 5)})).body == second.body
        moved_on = await front.post(place, {"version": 1, "document": tree(agent, 6)})
        assert (moved_on.status, moved_on.code, moved_on.body["version"]) == (409, "version_mismatch", 2)
        assert (await front.get(f"{PLANS}/{plan['id']}")).body == second.body
        await made(front, tree(agent), "rice")
        listed = (await front.get(f"{PLANS}?limit=1")).body
        rest = (await front.get(f"{PLANS}?limit=1&starting_after={listed['data'][0]['id']}")).body
        assert sorted(one["name"] for one in listed["data"] + rest["data"]) == ["rice", "tea"]
        assert (listed["has_more"], rest["has_more"]) == (True, False)


async def test_a_plan_extends_a_version_of_another_and_stays_as_it_was_written_out(
    database_url: str, tmp_path: Path
) -> None:
    async with a_shop_with_plans(database_url, tmp_path) as (front, agent, second):
        base = await made(front, tree(agent))
        extends = {"plan": base["id"], "version": 1}
        changed = {"version": 1, "extends": extends, "override": {"agent": {"basis_points": 500}}}
        plan = await made(front, changed, "rice")
        assert plan["versions"][0]["document"] == changed
        assert plan["versions"][0]["written_out"]["lines"] == tree(agent, 500)["lines"]
        await activated(front, plan, second)
        payment_id = await sold(front, "order-1", split_plan={"id": plan["id"]})
        assert await shares(front, payment_id) == [("agent", 497), ("", 9_443)]


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"document": {}}, 422, "split_plan_wrong", "document.version"),
        ({"document": tree("pye_" + "0" * 26)}, 404, "no_such_payee", "document"),
        ({"document": tree("AGENT"), "currency": "GBP"}, 422, "currency_differs", "document"),
        ({"document": tree("AGENT", cap=-1)}, 422, "split_plan_wrong", "document.lines.0.cap"),
        ({"document": {"version": 1, "extends": {"plan": "spl_" + "0" * 26, "version": 1}}}, 422, "split_plan_wrong",
         "document.extends"),
    ],
)  # fmt: skip
async def test_a_plan_that_cannot_be_is_refused_when_it_is_made(
    database_url: str, tmp_path: Path, body: Any, status: int, code: str, param: str
) -> None:
    async with a_shop_with_plans(database_url, tmp_path) as (front, agent, _):
        for line in body["document"].get("lines", ()):
            line["payee"] = agent if line["payee"] == "AGENT" else line["payee"]
        answer = await front.post(PLANS, {"name": "tea", "currency": "CNY", **body})
        assert (answer.status, answer.code, answer.body["param"]) == (status, code, param)
        assert (await front.get(PLANS)).body["data"] == []


async def test_another_merchants_plan_is_not_there(database_url: str, tmp_path: Path) -> None:
    async with a_shop_with_plans(database_url, tmp_path) as (front, agent, second):
        plan = await made(front, tree(agent))
        await activated(front, plan, second)
        stranger = f"Bearer {(await front.hub.merchants.add('other', currencies=['CNY'])).api_key}"
        assert (await front.get(f"{PLANS}/{plan['id']}", Authorization=stranger)).code == "no_such_split_plan"
        body = {"split_plan": {"id": plan["id"]}, "amount": 100, "currency": "CNY"}
        assert (await front.post(f"{PLANS}/dry_run", body, Authorization=stranger)).code == "no_such_split_plan"
        assert (await front.pay(split_plan={"id": "spl_" + "0" * 26})).code == "no_such_split_plan"


async def test_the_hubs_role_cannot_change_a_document(database_url: str, tmp_path: Path) -> None:
    async with a_shop_with_plans(database_url, tmp_path) as (front, agent, _):
        await made(front, tree(agent))
        async with acquire(front.hub.pool) as connection:
            for column in ("document = '{}'", "written_out = '{}'", "hash = sha256('x')", "maker = 'x'"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(f"UPDATE split_plan_version SET {column}")


# ---- attaching -------------------------------------------------------------------------------------------------------


async def attach(front: Front, to: str, subject: str, plan: str | None, **more: Any) -> Answer:
    body = {"to": to, "subject": subject, "currency": "CNY", "plan": plan, **more}
    if not subject:
        del body["subject"]
    _, key = await front.hub.merchants.add_key(front.book, SCOPES, None)
    answer = await front.send("PUT", "/v1/split_attachments", body, Authorization=f"Bearer {key}")
    front.clock.forward(1)  # what is attached is believed for a second
    return answer


async def test_the_most_specific_attachment_goes_first_and_what_is_not_attached_is_inherited(
    database_url: str, tmp_path: Path
) -> None:
    async with a_shop_with_plans(database_url, tmp_path) as (front, agent, second):
        link = (await front.post(
            "/v1/payment_links", {"name": "n", "description": "d", "currency": "CNY", "amount": 10_000},
            key=front.new_key(),
        )).body  # fmt: skip
        plans = {}
        for n, name in enumerate(("merchant", "store", "line", "link"), 1):
            made_now = await made(front, tree(agent, n * 100), name)
            await activated(front, made_now, second)
            plans[name] = made_now["id"]

        numbers = iter(range(100))

        async def of(**more: Any) -> list[Any]:
            found = await front.payment(await front.paid(f"order-{next(numbers)}", **more))
            return [] if found["split"] is None else [one["attached_to"] for one in found["split"]["parts"]]

        by_line = {"lines": [{"amount": 4_000, "product_line": "tea"}, {"amount": 6_000}]}
        assert await of() == [], "nothing is attached yet"
        assert (await attach(front, "merchant", "", plans["merchant"])).status == 200
        assert await of() == ["merchant"]
        assert await of(store="north") == ["merchant"], "inherited"
        await attach(front, "store", "north", plans["store"])
        assert await of(store="north") == ["store"]
        assert await of(store="south") == ["merchant"]
        await attach(front, "product_line", "tea", plans["line"])
        assert await of(store="north", **by_line) == ["product_line", "store"]
        assert await of(**by_line) == ["product_line", "merchant"]
        gone = await attach(front, "payment_link", "lnk_" + "0" * 26, plans["link"])
        assert (gone.status, gone.body["code"]) == (404, "no_such_link"), "no payment would be of it"
        assert (await attach(front, "payment_link", "lnk_" + "0" * 26, None)).status == 200, "that is taken away always"
        assert await of(split=[{"payee": agent, "amount": 1}], **by_line) == [None, None], "the payment says it itself"
        own = {"split_plan": {"document": tree(agent, 1)}}
        assert await of(lines=[{"amount": 4_000, **own}, {"amount": 6_000}]) == [None, "merchant"]
        await attach(front, "payment_link", link["id"], plans["link"])
        row = await front.hub.links().get(front.book, link["id"])
        by_link = await front.hub.links().pay(row, 10_000, "0" * 32)
        told = (await front.payment(by_link.id))["split"]["parts"]
        assert [(one["plan"], one["version"], one["attached_to"]) for one in told] == [
            (plans["link"], 1, "payment_link")
        ]
        listed = (await front.get("/v1/split_attachments")).body["data"]
        assert [one["to"] for one in listed] == ["payment_link", "product_line", "store", "merchant"]
        for one in listed[1:]:
            assert (await attach(front, one["to"], one["subject"], None)).body["plan"] is None
        assert await of(store="north", **by_line) == []
        await front.assert_events_are_as_their_models_say()


async def test_only_what_was_activated_is_attached_and_only_payments_in_its_currency_follow(
    database_url: str, tmp_path: Path
) -> None:
    async with a_shop_with_plans(database_url, tmp_path) as (front, agent, second):
        plan = await made(front, tree(agent))
        assert (await attach(front, "merchant", "", plan["id"])).code == "split_plan_not_active"
        assert (await attach(front, "merchant", "", plan["id"], version=1)).code == "split_plan_not_active"
        await activated(front, plan, second)
        assert (await attach(front, "merchant", "", plan["id"], currency="USD")).code == "currency_differs"
        assert (await attach(front, "merchant", "", "spl_" + "0" * 26)).code == "no_such_split_plan"
        assert (await attach(front, "merchant", "", plan["id"], version=2)).code == "no_such_split_plan"
        assert (await attach(front, "store", "", plan["id"])).code == "invalid_request"
        assert (await attach(front, "merchant", "", plan["id"], version=1)).status == 200
        assert (await attach(front, "merchant", "", plan["id"], version=1)).status == 200, "again it changes nothing"
        assert await front.events("split_plan.attached") == ["split_plan.attached"]
        added = await front.post(f"{PLANS}/{plan['id']}/versions", {"version": 1, "document": tree(agent, 5)})
        await activated(front, added.body, second)
        payment_id = await front.paid("order-1")
        assert (await front.payment(payment_id))["split"]["parts"][0]["version"] == 1, "pinned"


# ---- trying out ------------------------------------------------------------------------------------------------------


async def test_a_dry_run_tells_each_share_its_rule_and_its_way_and_books_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town(database_url, tmp_path) as town:
        front, agent, clerk = town.front, await town.front.payee("agent"), await town.front.payee("clerk")
        await front.hub.payees.suspend(front.book, clerk, by=MERCHANT)
        document = {
            "version": 1,
            "lines": [
                {"name": "farm", "payee": FARM, "basis_points": 3_000, "cap": 2_000},
                {"name": "agent", "payee": agent, "remainder": 1, "lines": [
                    {"name": "clerk", "payee": clerk, "basis_points": 1, "minimum": 10},
                    {"name": "card", "amount": 5, "when": {"method": ["card"]}},
                ]},
            ],
        }  # fmt: skip
        before = await front.counts()
        answer = await front.post(
            f"{PLANS}/dry_run",
            {"amount": 10_000, "currency": "CNY", "channel_fee": 60, "method": "qr",
             "split_plan": {"document": document}},
        )  # fmt: skip
        assert answer.status == 200, answer
        told = answer.body
        assert await front.counts() == before
        assert (told["arriving_minor"], told["own_minor"]) == (9_940, 0)
        assert sum(one["keeps_minor"] for one in told["shares"]) + told["own_minor"] == 9_940
        farm, by_agent, by_clerk, card = told["shares"]
        assert (farm["rule"], farm["by_rule_minor"], farm["gets_minor"]) == (
            "3000 basis points of 99.40 CNY",
            2_982,
            2_000,
        )
        assert (farm["struck"], farm["because"]) == ("cap", "lowered to its cap of 20.00 CNY")
        assert (farm["travels"], farm["bank"]) == ("bank_transfer", BANK)
        assert (by_agent["gets_minor"], by_agent["keeps_minor"], by_agent["travels"]) == (7_940, 7_930, "kept")
        assert (by_clerk["level"], by_clerk["struck"], by_clerk["gets_minor"]) == (2, "minimum", 10)
        assert "suspended" in by_clerk["because"]
        assert (card["struck"], card["gets_minor"], card["payee"], card["travels"]) == ("method", 0, None, "own")
        assert "condition on method does not hold" in card["because"]
        # What it says is what a payment gets.
        payment_id = await front.paid("order-1", split_plan={"document": document})
        await front.share_out()
        kept = {one["line"]: one["keeps_minor"] for one in told["shares"] if one["payee"] and one["keeps_minor"]}
        assert dict(await shares(front, payment_id)) == kept


async def test_a_dry_run_is_of_a_draft_too_by_parts_and_refused_as_a_payment_is(
    database_url: str, tmp_path: Path
) -> None:
    async with a_shop_with_plans(database_url, tmp_path) as (front, agent, _):
        plan = await made(front, tree(agent, minimum=500))
        body = {"amount": 10_000, "currency": "CNY", "merchant_coupon": 1_000, "split_plan": {"id": plan["id"]}}
        parts = [{"amount": 4_000}, {"amount": 6_000, "split_plan": {"document": tree(agent, 10_000)}}]
        told = (await front.post(f"{PLANS}/dry_run", {**body, "lines": parts})).body
        assert [(one["part"], one["gets_minor"]) for one in told["shares"]] == [(0, 500), (1, 5_400)]
        assert (told["arriving_minor"], told["own_minor"]) == (9_000, 3_100)
        refused = await front.post(f"{PLANS}/dry_run", {**body, "amount": 499, "merchant_coupon": 0})
        assert (refused.status, refused.code) == (422, "split_exceeds_payment")
        wrong = await front.post(f"{PLANS}/dry_run", {**body, "channel_fee": 9_001})
        assert (wrong.status, wrong.code) == (400, "invalid_request")
