"""Faults are planted one a record, where there is a record, and each so that it can be told from the others."""

import random
from collections import Counter
from typing import Any

import pytest

from ops.trials.replay.faults import ENTRY_FAULTS, ROW_FAULTS, Disturber, Planter, Row
from ops.trials.replay.rails import RailAccount
from ops.trials.replay.world import World
from tests.ops.trials.replay.days import MAIN, OTHER

PAYMENTS = [(f"1-{n:03}", 100 * n) for n in range(1, 61)]
REFUNDS = [(f"1-9{n:02}", n) for n in range(1, 11)]  # of 1 to 10 cents
LINES = [(f"1-pye{n}", f"62{n}") for n in range(9)]
TODAY = "2010-12-01"
NET = {("main", TODAY): 100_000}


class Sandbox(World):
    """Takes every fault and says that those it was told to have happened."""

    def __init__(self) -> None:
        self.ordered: list[dict[str, Any]] = []
        self.fired: dict[str, int] = {}
        self.count = 0

    async def control(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        if method == "DELETE":
            self.ordered = [fault for fault in self.ordered if not path.endswith(f"/{fault['fault_id']}")]
            return {}
        if method == "GET":
            return {"faults": [{**fault, "fired": self.fired.get(fault["fault_id"], 0)} for fault in self.ordered]}
        self.count += 1
        told = {**body, "fault_id": f"fault_{self.count - 1}"}
        if body["fault"] == "bill_row_extra":
            told["params"] = {**body["params"], "order": f"stranger {len(self.ordered)}"}
        self.ordered.append(told)
        return told


async def planted(
    count: int,
    *,
    seed: int = 1,
    payments: Any = PAYMENTS,
    refunds: Any = REFUNDS,
    net: Any = NET,
    lines: Any = LINES,
    today: str = TODAY,
) -> tuple[Planter, Sandbox]:
    sandbox = Sandbox()
    planter = Planter(sandbox, [MAIN, OTHER], count=count, seed=seed)
    rows = [Row(MAIN, "order", *one) for one in payments] + [Row(MAIN, "refund", *one) for one in refunds]
    await planter.on_bills(rows, net, today=today)
    await planter.on_statement(lines)
    return planter, sandbox


@pytest.mark.parametrize("count", [0, 1, 4, 5, 10, 20, 50])
async def test_as_many_are_planted_as_were_asked_for_each_on_a_record_of_its_own(count: int) -> None:
    planter, sandbox = await planted(count)
    assert len(planter.planted) == len(sandbox.ordered) == count
    assert len({fault.reference for fault in planter.planted}) == count


async def test_thirty_faults_are_of_every_kind() -> None:
    planter, _ = await planted(30)
    kinds = Counter(fault.fault for fault in planter.planted)
    assert set(kinds) == {*ROW_FAULTS, *ENTRY_FAULTS, "bill_row_extra", "deposit_short"}


async def test_faults_fall_on_every_rail_that_has_records() -> None:
    sandbox = Sandbox()
    planter = Planter(sandbox, [MAIN, OTHER], count=10, seed=1)
    rows = [Row(MAIN, "order", *one) for one in PAYMENTS] + [Row(OTHER, "order", f"2-{n}", 500) for n in range(5)]
    await planter.on_bills(rows, NET | {("other", TODAY): 2_500}, today=TODAY)
    of_rows = [fault.where for fault in planter.planted if fault.fault in ROW_FAULTS]
    assert set(of_rows) == {"main", "other"}
    assert {fault["rail"] for fault in sandbox.ordered if fault["fault"] in ROW_FAULTS} == {"wechat", "alipay"}


async def test_more_faults_than_records_leave_no_record_with_two() -> None:
    planter, _ = await planted(1000)
    rows = [fault.reference for fault in planter.planted if fault.fault in ROW_FAULTS]
    assert sorted(rows) == sorted(reference for reference, _ in [*PAYMENTS, *REFUNDS])


async def test_a_day_without_business_has_room_for_none() -> None:
    planter, sandbox = await planted(20, payments=[], refunds=[], net={}, lines=[])
    assert planter.planted == []
    assert sandbox.ordered == []


@pytest.mark.parametrize("net", [-500, 0, 170])
async def test_a_deposit_that_hardly_comes_is_not_cut_short(net: int) -> None:
    planter, _ = await planted(20, net={("main", "2010-12-01"): net})
    assert "deposit_short" not in {fault.fault for fault in planter.planted}


@pytest.mark.parametrize("seed", range(5))
async def test_only_a_deposit_that_is_still_to_come_is_cut_short(seed: int) -> None:
    """When a day is played over midnight, the rails have paid out for its first part before anything is planted."""
    both = {("main", "2010-11-30"): 100_000, ("other", "2010-11-30"): 100_000, ("other", TODAY): 100_000}
    planter, sandbox = await planted(20, seed=seed, net=both)
    (short,) = [fault for fault in sandbox.ordered if fault["fault"] == "deposit_short"]
    assert short["match"] == {"mchid": OTHER.merchant, "date": TODAY}
    late, _ = await planted(20, seed=seed, net=both, today="2010-12-02")
    assert "deposit_short" not in {fault.fault for fault in late.planted}
    assert len(late.planted) == len(planter.planted) == 20


@pytest.mark.parametrize("seed", range(5))
async def test_an_amount_is_altered_to_another_that_is_still_one(seed: int) -> None:
    _, sandbox = await planted(1000, seed=seed)
    amounts = dict([*PAYMENTS, *REFUNDS])
    altered = [fault for fault in sandbox.ordered if fault["fault"] == "bill_row_altered"]
    assert len(altered) > 10
    for fault in altered:
        reference = fault["match"].get("order") or fault["match"]["refund"]
        delta = fault["params"]["delta_minor"]
        assert delta != 0
        assert amounts[reference] + delta > 0


async def test_the_same_seed_plants_the_same_and_another_seed_does_not() -> None:
    first, again, other = [(await planted(20, seed=seed))[0].planted for seed in (1, 1, 2)]
    assert first == again
    assert first != other


async def test_only_disturbances_that_happened_are_counted() -> None:
    sandbox = Sandbox()
    disturber = Disturber(sandbox, [MAIN, OTHER], on=True)
    assert await disturber.done() == Counter()
    rng = random.Random(1)
    for _ in range(60):
        await disturber.before_refund("main", rng)
    assert len(sandbox.ordered) > 2
    assert await disturber.done() == Counter()
    sandbox.fired = {"fault_0": 1, "fault_1": 1}
    assert (await disturber.done()).total() == 2
    await sandbox.control("POST", "/control/faults", {"fault": "delay", "params": {}, "match": {}})
    sandbox.fired[sandbox.ordered[-1]["fault_id"]] = 1  # somebody else's
    assert (await disturber.done()).total() == 2


async def test_an_undisturbed_day_orders_nothing() -> None:
    sandbox = Sandbox()
    disturber = Disturber(sandbox, [MAIN, OTHER], on=False)
    for _ in range(60):
        await disturber.before_create("barcode", rng=random.Random(1))
    assert sandbox.ordered == []


async def test_an_order_in_doubt_for_long_meets_no_more_lost_messages_and_the_others_theirs() -> None:
    sandbox = Sandbox()
    disturber = Disturber(sandbox, [MAIN, OTHER], on=True)
    rng = random.Random(1)

    async def spoil() -> None:
        for _ in range(60):
            await disturber.before_create("qr", rng=rng)
            await disturber.before_refund("other", rng)
            await disturber.before_pay({"channel_account": "main", "reference": "1-1"}, rng)

    def waiting(account: RailAccount) -> set[str]:
        """Return the faults that wait to spoil a request there."""
        mine = [fault for fault in sandbox.ordered if account.merchant in fault["match"].values()]
        return {fault["fault_id"] for fault in mine if "op" in fault["match"] and fault["times"] == 1}

    await sandbox.order_fault(MAIN.channel, "delay", {"merchant": MAIN.merchant, "op": "create"}, times=100_000)
    await sandbox.order_fault(MAIN.channel, "answer_lost", {"merchant": MAIN.merchant, "op": "create"})  # another's
    await spoil()
    assert len(waiting(MAIN)) > 2
    others = waiting(OTHER)
    carried_out = min(waiting(MAIN))
    sandbox.fired = {carried_out: 1}
    async with disturber.sparing("main"), disturber.sparing("main"):
        assert disturber.spares(MAIN)
        assert waiting(MAIN) == {carried_out}
        assert others
        assert waiting(OTHER) == others
        assert {fault["fault"] for fault in sandbox.ordered} > {"delay", "notice_drop"}
        await spoil()
        assert waiting(MAIN) == {carried_out}
        assert waiting(OTHER) > others
    assert not disturber.spares(MAIN)
    await spoil()
    assert len(waiting(MAIN)) > 1
