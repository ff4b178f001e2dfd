"""Shares that the rail pays, on a real hub and the simulated WeChat Pay: the day, the faults, refunds, the proof."""

from datetime import timedelta
from pathlib import Path

import pytest

from channels import Confirmed
from channels.client import SharingClient
from channels.sharing import ShareOrder
from kernel.db import acquire
from ops.splits import at_rails
from tests.splitting.rails_market import LINES, a_market, proved, today


async def test_a_day_with_shares_by_rail_and_by_bank_ends_in_the_proof(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path) as market:
        first, second, plain = (
            await market.paid("1"),
            await market.paid("2", 20_000),
            await market.paid("3", 5_000, [LINES[3]]),
        )
        assert (await market.orders(plain)) == []
        await market.driven()
        for payment, times in ((first, 1), (second, 2)):
            shown = await market.call("GET", f"/v1/payments/{payment}")
            assert [(s["travels"], s["amount_minor"]) for s in shown["split"]["shares"]] == [
                ("rail", 60 * times), ("rail", 2_000 * times), ("rail", 300 * times), ("bank", 4_000 * times),
                ("own", 3_580 * times),
            ]  # fmt: skip
            (order,) = shown["share_orders"]
            assert (order["status"], order["releases_rest"]) == ("finished", True)
            assert [part["status"] for part in order["parts"]] == ["paid", "paid", "paid"]
        owed = await market.owed()
        assert owed["mill"] == 14_000, "the bank pays it"
        assert owed.keys() & {"farm", "clerk", "platform_fee", "rail_transit:main"} == set()

        refund = await market.call("POST", f"/v1/payments/{first}/refunds", {"amount": 5_000})
        await market.becomes(f"/v1/refunds/{refund['id']}", "succeeded")
        await market.driven()
        owed = await market.owed()
        assert owed["clerk"] == -150, "from a person nothing is fetched back: it owes"
        assert owed.get("farm", 0) == 0, "what the refund took of it, the rail fetched back"
        assert await market.received() == (30 + 1_000) + 4_120, "of the first payment half was fetched back"

        run = await proved(market)
        assert run.discrepancies == ()
        assert sum(run.matched.values()) == 5, "three payments, a refund, and what the bank received"


async def test_what_a_rail_closes_is_paid_by_bank(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path) as market:
        reasons = (
            "ACCOUNT_ABNORMAL",
            "NO_RELATION",
            "RECEIVER_HIGH_RISK",
            "RECEIVER_REAL_NAME_NOT_VERIFIED",
            "NO_AUTH",
        )
        for n, reason in enumerate(reasons):
            await market.fault("share_closed", params={"reason": reason}, account=market.rail.payer())
            payment = await market.paid(f"{n}")
            await market.driven()
            (order,) = await market.orders(payment)
            assert order["status"] == "finished"
            assert [(part["status"], part["reason"]) for part in order["parts"]] == [
                ("paid", None), ("paid", None), ("closed", reason)
            ]  # fmt: skip
            assert (await market.owed())["clerk"] == 300 * (n + 1)
        assert await market.received() == 2_060 * len(reasons)


@pytest.mark.parametrize(
    "fault", ["answer_lost", "request_lost", "system_error", "frequency_limited", "unsigned_answer"]
)
@pytest.mark.parametrize("op", ["share", "share_query"])
async def test_silence_and_haste_pay_nobody_twice(fault: str, op: str, database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path) as market:
        await market.fault(fault, times=3, op=op)
        payment = await market.paid("1")
        await market.driven()
        (order,) = await market.orders(payment)
        assert [part["status"] for part in order["parts"]] == ["paid", "paid", "paid"]
        assert await market.received() == 2_060
        assert "rail_transit:main" not in await market.owed()


@pytest.mark.parametrize("code", ["NOT_ENOUGH", "RULE_LIMIT", "PARAM_ERROR", "RESOURCE_NOT_EXISTS"])
async def test_a_no_to_the_whole_order_has_the_bank_pay_all_and_the_rest_released(
    code: str, database_url: str, tmp_path: Path
) -> None:
    async with a_market(database_url, tmp_path) as market:
        await market.fault("refuse", op="share", params={"code": code, "status": 403})
        payment = await market.paid("1")
        await market.driven()
        refused, release = await market.orders(payment)
        assert (refused["status"], refused["said"]) == ("refused", f"{code}: refused on order")
        assert {part["status"] for part in refused["parts"]} == {"closed"}
        assert (release["status"], release["parts"], release["releases_rest"]) == ("finished", [], True)
        owed = await market.owed()
        assert (owed["farm"], owed["clerk"], owed["platform_fee"], owed["mill"]) == (2_000, 300, 60, 4_000)
        assert await market.received() == 0


async def test_a_no_to_a_repetition_ends_nothing_that_was_carried_out(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path) as market:
        await market.fault("answer_lost", op="share")
        payment = await market.paid("1")
        await market.worked_until_sent(payment, 1)
        await market.fault("refuse", op="share_query", params={"code": "RESOURCE_NOT_EXISTS", "status": 404})
        await market.fault("refuse", op="share", params={"code": "NOT_ENOUGH", "status": 403})
        await market.worked_until_sent(payment, 2)
        await market.driven()
        (order,) = await market.orders(payment)
        assert [part["status"] for part in order["parts"]] == ["paid", "paid", "paid"]
        assert await market.received() == 2_060


async def test_a_no_ends_a_repeated_order_once_the_rail_certainly_has_nothing_of_it(
    database_url: str, tmp_path: Path
) -> None:
    async with a_market(database_url, tmp_path) as market:
        await market.fault("request_lost", op="share")
        payment = await market.paid("1")
        await market.worked_until_sent(payment, 1)
        await market.fault("refuse", op="share", params={"code": "NOT_ENOUGH", "status": 403})
        await market.worked_until_sent(payment, 2)
        for _ in range(30):
            await market.worker.once()
            await market.hub.env.sleep(0.01)
        (order,) = await market.orders(payment)
        assert (order["status"], order["said"]) != ("refused", None), "the first message may be on its way"
        await market.hurry()
        await market.driven()
        refused, release = await market.orders(payment)
        assert (refused["status"], release["status"]) == ("refused", "finished")
        assert (await market.owed())["farm"] == 2_000


async def test_without_permission_it_waits_and_says_so(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path) as market:
        await market.fault("refuse", times=2, op="share", params={"code": "NO_AUTH", "status": 403})
        payment = await market.paid("1")
        for _ in range(200):
            await market.worker.once()
            (order,) = (await at_rails(market.hub, market.book))["share_orders"]
            if order["said"]:
                break
            await market.hub.env.sleep(0.01)
        assert order["said"].startswith("NO_AUTH")
        await market.driven()
        (order,) = await market.orders(payment)
        assert (order["status"], order["said"]) == ("finished", None)


async def test_a_refund_before_anything_left_takes_it_out_of_the_order(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path) as market:
        payment = await market.paid("1")
        await market.call("POST", f"/v1/payments/{payment}/refunds", {"amount": 2_500})
        await market.driven()
        (order,) = await market.orders(payment)
        assert [part["amount_minor"] for part in order["parts"]] == [45, 1_500, 225]
        await market.call("POST", f"/v1/payments/{payment}/refunds", {})
        await market.driven()
        assert await market.received() == 0


async def test_a_whole_refund_before_anything_left_has_nothing_shared(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path) as market:
        payment = await market.paid("1")
        refund = await market.call("POST", f"/v1/payments/{payment}/refunds", {})
        await market.becomes(f"/v1/refunds/{refund['id']}", "succeeded")
        await market.driven()
        (order,) = await market.orders(payment)
        assert (order["status"], [part["amount_minor"] for part in order["parts"]]) == ("finished", [0, 0, 0])
        assert await market.received() == 0
        assert await market.owed() == {}


async def test_a_share_that_cannot_be_fetched_back_is_owed(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path) as market:
        payment = await market.paid("1")
        await market.driven()
        await market.fault("share_return_failed", times=2)
        refund = await market.call("POST", f"/v1/payments/{payment}/refunds", {})
        await market.becomes(f"/v1/refunds/{refund['id']}", "succeeded")
        await market.driven()
        owed = await market.owed()
        assert (owed["farm"], owed["clerk"], owed["platform_fee"]) == (-2_000, -300, -60)
        debts = (await market.call("GET", "/v1/debts"))["data"]
        assert sorted(debt["left_minor"] for debt in debts) == [60, 300, 2_000]
        # The next shares pay it, and only what they leave goes by the rail.
        again = await market.paid("2", 20_000)
        await market.driven()
        (order,) = await market.orders(again)
        assert [part["amount_minor"] for part in order["parts"]] == [60, 2_000, 300]
        assert await market.received() == 2 * 2_060


async def test_frozen_shares_go_by_the_rail_when_they_are_released(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path) as market:
        lines = [
            {**LINES[1], "release": [{"basis_points": 4_000}, {"basis_points": 6_000, "when": "delivery", "days": 20}]},
            LINES[2],
        ]
        payment = await market.paid("1", lines=lines)
        await market.driven()
        (first,) = await market.orders(payment)
        assert ([p["amount_minor"] for p in first["parts"]], first["releases_rest"]) == ([800, 300], False)
        await market.call("POST", f"/v1/payments/{payment}/confirm_delivery")
        await market.driven()
        first, second = await market.orders(payment)
        assert ([p["amount_minor"] for p in second["parts"]], second["releases_rest"]) == ([1_200], True)
        assert await market.received() == 2_000


async def test_what_the_rail_cannot_do_is_refused_with_its_rule(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path) as market:

        async def refused(lines: list[object], **more: object) -> str:
            said = await market.order("no", 10_000, lines, expect=422, **more)
            assert said["code"] == "rail_cannot_share", said
            return str(said["detail"])

        farm = LINES[1]
        assert "at most 30% of a payment, 3000" in await refused([{**farm, "basis_points": 3_001}])
        assert "registered" not in await refused([{**farm, "name": "mill", "basis_points": 1}])
        forever = [{"when": "delivery"}]
        assert "30 days at most" in await refused([{**farm, "release": forever}])
        assert "30 days at most" in await refused([{**farm, "release": [{"days": 30}]}])
        assert "unionpay shares no payment out" in await refused(
            [farm], method={"type": "page", "return_url": "https://shop.example/", "channel": "unionpay"}
        )
        kept = {"name": "p", "currency": "CNY", "document": market.document([{**farm, "release": forever}])}
        assert (await market.call("POST", "/v1/split_plans", kept, expect=422))["code"] == "rail_cannot_share"
        tried = {"amount": 10_000, "currency": "CNY", "split_plan": {"document": market.document()}}
        shares = (await market.call("POST", "/v1/split_plans/dry_run", tried))["shares"]
        assert [one["travels"] for one in shares] == ["rail", "rail", "rail", "bank_transfer"]
        assert "30% of a payment, 50 receivers a request" in shares[0]["rails"][0]


async def test_a_receiver_that_the_rail_refuses_shows_why_and_can_be_set_anew(
    database_url: str, tmp_path: Path
) -> None:
    async with a_market(database_url, tmp_path) as market:
        body = {
            "payee": market.payees["mill"], "channel_account": "main", "kind": "merchant",
            "account": market.farm.merchant, "name": "not the farm",
        }  # fmt: skip
        assert (await market.call("PUT", "/v1/rail_receivers", body))["status"] == "registering"
        await market.driven()
        (row,) = (await market.call("GET", f"/v1/rail_receivers?payee={market.payees['mill']}"))["data"]
        assert row["status"] == "refused"
        assert row["reason"].startswith("PARAM_ERROR")
        said = await market.order("1", 10_000, [{**LINES[3], "basis_points": 100, "travels": "rail"}], expect=422)
        assert "refused as a receiver at main: PARAM_ERROR" in said["detail"]
        await market.call("PUT", "/v1/rail_receivers", {**body, "name": "farm"})
        await market.driven()
        assert (await market.hub.receivers.listed(market.book, market.payees["mill"]))[0].status == "registered"


async def test_what_the_rail_released_by_itself_is_noticed_by_asking(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path) as market:
        payment = await market.paid("1")
        client = SharingClient(await market.hub.accounts.client(market.book, "main"))
        async with acquire(market.hub.pool) as connection:
            ref = await connection.fetchval("SELECT channel_ref FROM rail_payment")
            # A month has passed in which the hub was away, and the rail lets all of it go.
            await connection.execute(
                "UPDATE rail_payment SET ask_at = now(), frozen_on = frozen_on - 31, "
                "paid_at = paid_at - interval '31 days'"
            )
            await connection.execute("UPDATE share_order SET due_at = now() + interval '1 hour'")
        at = ShareOrder("1-month", "1-x", ref, (), market.hub.env.now())
        while not isinstance(await client.release(at), Confirmed):
            await market.hub.env.sleep(0.01)
        await market.worker.once()
        (order,) = await market.orders(payment)
        assert order["status"] == "refused"
        assert {part["reason"] for part in order["parts"]} == {"RELEASED_BY_RAIL"}
        owed = await market.owed()
        assert (owed["farm"], owed["clerk"], owed["platform_fee"], owed["mill"]) == (2_000, 300, 60, 4_000)
        async with acquire(market.hub.pool) as connection:
            released_on = await connection.fetchval("SELECT released_on FROM rail_payment")
        assert released_on == today(market) - timedelta(days=1), "thirty days after the payment"
        assert await market.received() == 0
