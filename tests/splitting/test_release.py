"""Shares that are not to be paid out at once are frozen: until a delivery, until a date, or by instalments."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from channels.contract import Refused
from kernel.errors import Unavailable
from ops.splits import frozen_in
from ops.verify import verify
from splitting.plans.document import PlanWrong, read, resolved
from splitting.plans.dry_run import released
from splitting.plans.tree import Release
from splitting.shares import release
from splitting.shares.frozen import divided
from tests.splitting.town import DAY, FARM, MILL, Town, a_town

NO = Refused("NOT_ENOUGH", "the account is empty")
FARM_LINE = {"name": "farm", "payee": FARM, "basis_points": 3_000}
MILL_LINE = {"name": "mill", "payee": MILL, "basis_points": 5_000}


def a_plan(release: Any, *lines: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "base": "paid", "release": release, "lines": list(lines) or [FARM_LINE]}


def releases(document: dict[str, Any]) -> dict[str, list[Release]]:
    return {line.name: list(line.releases) for line in read(document).all_lines()}


def test_a_plan_says_when_payees_can_be_paid_and_a_line_says_it_for_itself() -> None:
    own = {**MILL_LINE, "release": [{"basis_points": 4_000}, {"basis_points": 6_000, "when": "delivery", "days": 15}]}
    mine = {"name": "mine", "amount": 1}
    assert releases(a_plan([{"when": "date", "date": "2026-12-31"}], FARM_LINE, own, mine)) == {
        "farm": [Release(10_000, None, date(2026, 12, 31))],
        "mill": [Release(4_000), Release(6_000, 15, on_delivery=True)],
        "mine": [],
    }
    assert releases(a_plan([{}]))["farm"] == [Release(10_000)], "at once, where the plan says otherwise"
    assert releases(a_plan(None))["farm"] == []
    extended = a_plan([{"when": "delivery"}], FARM_LINE, MILL_LINE)
    change = {"extends": {"plan": "spl_" + "0" * 26, "version": 1}, "override": {"farm": {"release": [{"days": 3}]}}}
    written = resolved({"version": 1, **change}, lambda *_: extended)
    assert [released(found) for found in releases(written).values()] == ["3 days after the payment", "on delivery"]


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ([], "release"),
        ([{"basis_points": 9_999}], "the parts of a share are 10000 basis points together, and these are 9999"),
        ([{"when": "date"}], "a date goes with when: date"),
        ([{"date": "2026-12-31"}], "a date goes with when: date"),
        ([{"when": "date", "date": "2026-12-31", "days": 1}], "give days or a date, not both"),
        ([{"when": "date", "date": "2026-02-30"}], "day is out of range"),
        ([{"when": "never"}], "when"),
        ([{"days": -1}], "days"),
    ],
)
def test_what_is_no_release_is_refused(release: Any, said: str) -> None:
    with pytest.raises(PlanWrong, match=said) as refusal:
        read(a_plan(release))
    assert refusal.value.facts["param"].startswith("release")


def test_what_is_the_merchants_is_not_frozen() -> None:
    with pytest.raises(PlanWrong, match="what is yours is not frozen"):
        read(a_plan(None, {"name": "mine", "amount": 1, "release": [{"when": "delivery"}]}))


def test_a_share_is_divided_to_the_last_unit_and_what_is_due_already_is_not_frozen() -> None:
    paid_on = date(2026, 11, 24)
    parts = [Release(3_333), Release(3_333, 2), Release(3_334, None, on_delivery=True)]
    at_once, frozen = divided(4, 100, parts, paid_on, delivered=False)
    assert (at_once, [(part.step, part.given_minor, part.due_on) for part in frozen]) == (
        33,
        [(1, 33, "2026-11-26"), (2, 34, None)],
    )
    assert divided(4, 100, parts, paid_on, delivered=True)[0] == 67
    assert divided(4, 100, [Release(10_000, None, paid_on)], paid_on, delivered=False) == (100, [])
    assert divided(4, 1, [Release(1), Release(9_999, 1)], paid_on, delivered=False)[0] == 0
    assert divided(4, 100, [], paid_on, delivered=False) == (100, [])


async def split_of(town: Town, payment: str) -> dict[str, Any]:
    split: dict[str, Any] = (await town.front.payment(payment))["split"]
    return split


async def events(town: Town) -> list[str]:
    told = (await town.front.get("/v1/events?limit=100")).body["data"]
    return [one["type"] for one in told if one["type"].startswith("split.")]


async def test_what_is_frozen_is_in_no_batch_before_its_delivery_or_its_date(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        front, hub = town.front, town.front.hub
        on_delivery = {"document": a_plan([{"when": "delivery"}], FARM_LINE)}
        later = [{"basis_points": 4_000}, {"basis_points": 6_000, "days": 2}]
        by_parts = {"document": a_plan(None, {**MILL_LINE, "release": later})}
        first, second = await front.paid("a", split_plan=on_delivery), await front.paid("b", split_plan=by_parts)
        await front.share_out()
        assert await town.owed(town.today) == {MILL: 2_000}, "the first part of the mill's 50.00, and nothing else"
        split = await split_of(town, first)
        (part,) = split["frozen"]
        assert (part["payee"], part["amount_minor"], part["on_delivery"], part["due_on"]) == (FARM, 3_000, True, None)
        assert split["shares"][0]["frozen_minor"] == split["shares"][0]["amount_minor"] == 3_000
        assert {one["payment"] for one in await frozen_in(hub, front.book)} == {first, second}
        await town.settle(town.today)

        front.clock.forward(86_400)
        assert await hub.releases.once() == 0, "a day too early"
        for _ in range(2):  # repeated, it is said and booked once
            answer = await front.post(f"/v1/payments/{first}/confirm_delivery")
            assert (answer.status, answer.body["frozen"]) == (200, [])
            assert answer.body["delivered_at"] is not None
        assert await town.owed(town.today) == {}, "the day of the payment is not owed what was released later"
        assert await town.owed(town.today + DAY) == {FARM: 3_000}

        front.clock.forward(3 * 86_400)  # the worker was away on the day
        assert [await hub.releases.once() for _ in range(2)] == [1, 0]
        assert await town.owed(town.today + DAY) == {FARM: 3_000}, "a missed date is made up as it was"
        assert await town.owed(town.today + 2 * DAY) == {FARM: 3_000, MILL: 3_000}
        assert await frozen_in(hub, front.book) == []
        assert await events(town) == ["split.posted"] * 2 + ["split.delivered"] + ["split.released"] * 2

        early = await front.paid("c", split_plan=on_delivery)
        await front.post(f"/v1/payments/{early}/confirm_delivery")
        await front.share_out()
        split = await split_of(town, early)
        assert (split["frozen"], split["status"]) == ([], "posted"), "delivered before it was shared out"
        plain = await front.paid("d")
        refused = await front.post(f"/v1/payments/{plain}/confirm_delivery")
        assert (refused.status, refused.body["code"]) == (404, "no_such_split")
        assert [one for one in await verify(hub.pool) if one.broken] == []


async def test_a_refund_takes_what_is_frozen_first_and_a_failed_one_freezes_it_again(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town(database_url, tmp_path) as town:
        front = town.front
        parts = [
            {"basis_points": 2_000},
            {"basis_points": 3_000, "days": 1},
            {"basis_points": 5_000, "when": "delivery"},
        ]
        payment = await front.paid(
            "a", 10_000, split_plan={"document": a_plan(parts, {**FARM_LINE, "basis_points": 5_000})}
        )
        await front.share_out()

        async def farm() -> tuple[int, list[int], int]:
            split = await split_of(town, payment)
            frozen = [part["amount_minor"] * (-1 if part["on_delivery"] else 1) for part in split["frozen"]]
            return split["shares"][0]["taken_back_minor"], frozen, (await town.standing()).get("payee:farm", 0)

        assert await farm() == (0, [1_500, -2_500], 1_000), "the second on delivery"
        await front.refund(payment, 6_000)
        assert await farm() == (3_000, [1_000], 1_000), "the last to be released gives first"
        front.rail.says(refund=NO, refund_query=NO)
        assert (await front.refund(payment, 3_000)).body["status"] == "failed"
        assert await farm() == (3_000, [1_000], 1_000)
        front.rail.answers = {}
        front.clock.forward(int(timedelta(days=1).total_seconds()))
        await front.hub.releases.once()
        assert await farm() == (3_000, [], 2_000)
        await front.refund(payment)
        assert await farm() == (5_000, [], 0)
        assert await town.standing() == {}
        assert [one for one in await verify(front.hub.pool) if one.broken] == []


@pytest.mark.parametrize(
    "trouble", [Unavailable("book_busy", "something holds this book"), KeyError("a mistake of ours")]
)
async def test_what_cannot_be_released_holds_up_nothing_behind_it(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    monkeypatch.setattr(release, "AT_A_TIME", 2)
    async with a_town(database_url, tmp_path) as town:
        front, hub = town.front, town.front.hub
        plan = {"document": a_plan([{"days": 1}], FARM_LINE)}
        stuck = [await front.paid(f"stuck-{n}", split_plan=plan) for n in range(2)]
        await front.share_out()
        front.clock.forward(86_400)
        behind = await front.paid("behind", split_plan=plan)  # which is due a day later
        await front.share_out()
        front.clock.forward(86_400)
        put = hub.lanes.put

        async def refuse(command: Any, **more: Any) -> Any:
            if getattr(command, "payment_id", None) in stuck:
                raise trouble
            return await put(command, **more)

        monkeypatch.setattr(hub.lanes, "put", refuse)
        assert await hub.releases.once() == 1
        assert {one["payment"] for one in await frozen_in(hub, front.book)} == {*stuck}
        assert (await split_of(town, behind))["frozen"] == []
        monkeypatch.setattr(hub.lanes, "put", put)
        assert [await hub.releases.once() for _ in range(2)] == [2, 0]
