"""Shares that Alipay pays, on a real hub and the simulated Alipay: the day, the faults, refunds, the proof."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from channels.sharing import ReceiverKind
from kernel.db import acquire
from kernel.errors import Rejected
from tests.splitting.rails_market import LINES, METHODS, Market, a_market, proved


async def returns_of(market: Market) -> list[tuple[str, str | None]]:
    """Return what became of each fetching-back, and the code of its refusal."""
    async with acquire(market.hub.pool) as connection:
        rows = await connection.fetch("SELECT status, code FROM share_return ORDER BY created_at, id")
    return [(row["status"], row["code"]) for row in rows]


async def all_is_due(market: Market) -> int:
    """Have what is open be due at once, also what one that was ended had claimed; return of how many things."""
    async with acquire(market.hub.pool) as connection:
        done = [
            await connection.execute(f"UPDATE {table} SET due_at = now() WHERE due_at IS NOT NULL")
            for table in ("share_order", "share_return")
        ]
    return sum(int(one.removeprefix("UPDATE ")) for one in done)


async def driven_in_haste(market: Market) -> None:
    for _ in range(500):
        await market.worker.once()
        if not await all_is_due(market):
            return
        await market.hub.env.sleep(0.01)
    raise AssertionError("the rails never decided")


async def refunded(market: Market, payment: str, **body: Any) -> None:
    """Have a payment refunded while the worker is at work, and wait for what came of both."""
    refund = await market.call("POST", f"/v1/payments/{payment}/refunds", body)
    for _ in range(2_000):
        await market.worker.once()
        await market.hub.janitor().once()
        if (await market.call("GET", f"/v1/refunds/{refund['id']}"))["status"] == "succeeded":
            break
        await market.hub.env.sleep(0.01)
    else:
        raise AssertionError("the refund never ended")
    await market.driven()


async def test_a_day_at_alipay_ends_in_the_proof(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path, "alipay") as market:
        first, second = await market.paid("1"), await market.paid("2", 20_000)
        await market.fault("share_waits", times=2)
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
        await refunded(market, first, amount=5_000)
        owed = await market.owed()
        assert owed["clerk"] == -150, "a person gives nothing back: it owes"
        assert owed.get("farm", 0) == 0, "what the refund took of it, the rail fetched back"
        later = await market.paid("3", 5_000, [{**LINES[1], "release": [{"when": "delivery", "days": 20}]}])
        assert (await market.orders(later)) == [], "all of it is frozen at the end of the day"
        assert await market.received() == (30 + 1_000) + 4_120

        run = await proved(market)
        assert run.discrepancies == ()
        assert sum(run.matched.values()) == 5, "three payments, a refund, and what the bank received"


async def test_a_whole_refund_waits_until_the_shares_are_back(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path, "alipay") as market:
        payment = await market.paid("1")
        await market.driven()
        refund = await market.call("POST", f"/v1/payments/{payment}/refunds", {})
        for _ in range(5):
            await market.hub.janitor().once()
            await market.hub.env.sleep(0.03)
        assert (await market.call("GET", f"/v1/refunds/{refund['id']}"))["status"] == "processing"
        assert await returns_of(market) == [("waiting", None), ("waiting", None)], "and nothing has left"
        await market.driven()
        assert await returns_of(market) == [("done", None), ("done", None)]
        await market.becomes(f"/v1/refunds/{refund['id']}", "succeeded")
        owed = await market.owed()
        assert owed["clerk"] == -300
        assert "farm" not in owed
        assert await market.received() == 0


async def test_a_receiver_who_does_not_give_back_holds_no_refund_up(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path, "alipay") as market:
        payment = await market.paid("1")
        await market.driven()
        code = "ACQ.REFUNDALLOC_UNAUTH_LIMIT"
        await market.fault("refuse", times=2, op="give_back", params={"code": code})
        await refunded(market, payment)
        assert await returns_of(market) == [("refused", code), ("refused", code)]
        owed = await market.owed()
        assert (owed["farm"], owed["clerk"], owed["platform_fee"]) == (-2_000, -300, -60)
        assert await market.received() == 2_060


async def test_a_rail_that_says_nothing_of_shares_holds_a_refund_up_for_a_while_only(
    database_url: str, tmp_path: Path
) -> None:
    async with a_market(database_url, tmp_path, "alipay") as market:
        payment = await market.paid("1")
        await market.driven()
        await market.fault("request_lost", times=10_000, op="give_back")
        refund = await market.call("POST", f"/v1/payments/{payment}/refunds", {})
        for _ in range(6):
            await market.worker.once()
            await market.hub.janitor().once()
            await market.hub.env.sleep(0.01)
        assert (await market.call("GET", f"/v1/refunds/{refund['id']}"))["status"] == "processing"
        async with acquire(market.hub.pool) as connection:
            await connection.execute("UPDATE refund SET created_at = created_at - interval '11 minutes'")
        await market.becomes(f"/v1/refunds/{refund['id']}", "succeeded")
        # Now Alipay refuses, for the payment is closed; a minute and a half after the last message that is its word.
        for fault in (await market.rail.control("GET", "/control/faults"))["faults"]:
            async with market.http.delete(f"{market.rail.base_url}/control/faults/{fault['fault_id']}") as answer:
                assert answer.status == 204
        for _ in range(2_000):
            await market.worker.once()
            async with acquire(market.hub.pool) as connection:
                await connection.execute("UPDATE share_return SET sent_at = sent_at - interval '2 minutes'")
            if {status for status, _ in await returns_of(market)} == {"refused"}:
                break
            await market.hub.env.sleep(0.01)
        assert await returns_of(market) == [("refused", "ACQ.TRADE_HAS_CLOSE")] * 2
        assert (await market.owed())["farm"] == -2_000


@pytest.mark.parametrize("fault", ["answer_lost", "request_lost"])
async def test_silence_moves_nothing_twice(fault: str, database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path, "alipay") as market:
        for op in ("share", "share_query", "give_back", "refund_query"):
            await market.fault(fault, op=op)
        payment = await market.paid("1")
        await market.driven()
        (order,) = await market.orders(payment)
        assert [part["status"] for part in order["parts"]] == ["paid", "paid", "paid"]
        await refunded(market, payment, amount=5_000)
        assert [status for status, _ in await returns_of(market)] == ["done", "done"]
        assert await market.received() == 1_030
        assert "rail_transit:main" not in await market.owed()


async def test_a_share_that_fails_is_paid_by_bank(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path, "alipay") as market:
        reason = "TXN_RESULT_ACCOUNT_BALANCE_NOT_ENOUGH"
        await market.fault("share_closed", account=market.rail.payer())
        payment = await market.paid("1")
        await market.driven()
        (order,) = await market.orders(payment)
        assert [(part["status"], part["reason"]) for part in order["parts"]] == [
            ("paid", None), ("paid", None), ("closed", reason)
        ]  # fmt: skip
        assert (await market.owed())["clerk"] == 300
        assert await market.received() == 2_060


async def test_a_no_to_the_whole_order_has_the_bank_pay_all_and_the_rest_released(
    database_url: str, tmp_path: Path
) -> None:
    async with a_market(database_url, tmp_path, "alipay") as market:
        code = "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR"
        await market.fault("refuse", op="share", params={"code": code})
        payment = await market.paid("1")
        await market.driven()
        refused, release = await market.orders(payment)
        assert refused["status"] == "refused"
        assert {part["status"] for part in refused["parts"]} == {"closed"}
        assert (release["status"], release["parts"], release["releases_rest"]) == ("finished", [], True)
        owed = await market.owed()
        assert (owed["farm"], owed["clerk"], owed["platform_fee"], owed["mill"]) == (2_000, 300, 60, 4_000)
        assert await market.received() == 0


async def test_a_refund_before_anything_left_takes_it_out_of_the_order(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path, "alipay") as market:
        payment = await market.paid("1")
        refund = await market.call("POST", f"/v1/payments/{payment}/refunds", {"amount": 2_500})
        assert refund["status"] == "succeeded" or await market.becomes(f"/v1/refunds/{refund['id']}", "succeeded")
        await market.driven()
        (order,) = await market.orders(payment)
        assert [part["amount_minor"] for part in order["parts"]] == [45, 1_500, 225]
        whole = await market.paid("2")
        refund = await market.call("POST", f"/v1/payments/{whole}/refunds", {})
        await market.becomes(f"/v1/refunds/{refund['id']}", "succeeded")
        await market.driven()
        (order,) = await market.orders(whole)
        assert (order["status"], [part["amount_minor"] for part in order["parts"]]) == ("refused", [0, 0, 0])
        async with acquire(market.hub.pool) as connection:
            frozen = await connection.fetchval("SELECT count(*) FROM rail_payment WHERE released_on IS NULL")
        assert frozen == 0, "of a payment that is closed nothing is frozen"
        assert await market.received() == 1_545


async def test_a_worker_that_is_ended_anywhere_leaves_its_work_to_the_next(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path, "alipay") as market:
        payment = await market.paid("1")
        for n in range(12):
            await market.fault("delay", op=("share", "share_query", "give_back")[n % 3], params={"ms": 30})
        refund: Any = None
        for turn in range(40):
            worker = market.hub.rail_worker()
            task = asyncio.ensure_future(worker.once())
            await market.hub.env.sleep(0.004 * (turn % 7))
            task.cancel()
            await asyncio.gather(task, *worker._turns.tasks, return_exceptions=True)
            await all_is_due(market)
            if turn == 20:
                await driven_in_haste(market)
                refund = await market.call("POST", f"/v1/payments/{payment}/refunds", {"amount": 5_000})
        await driven_in_haste(market)
        await market.becomes(f"/v1/refunds/{refund['id']}", "succeeded")
        assert await market.received() == 1_030


async def test_what_alipay_cannot_do_is_refused_with_its_rule(database_url: str, tmp_path: Path) -> None:
    async with a_market(database_url, tmp_path, "alipay") as market:

        async def refused(lines: list[object], **more: object) -> str:
            said = await market.order("no", 10_000, lines, expect=422, **more)
            assert said["code"] == "rail_cannot_share", said
            return str(said["detail"])

        farm = LINES[1]
        assert "Alipay shares out at most 30% of a payment, 3000" in await refused([{**farm, "basis_points": 3_001}])
        assert "30 days at most" in await refused([{**farm, "release": [{"days": 30}]}])
        by_code = {"type": "qr", "channel": "alipay"}
        assert "takes shares back by itself with every refund" in await refused([farm], method=by_code)
        anywhere = await market.order("no", 10_000, [farm], expect=422, method={"type": "qr", "channel": "auto"})
        assert anywhere["code"] == "no_channel", anywhere
        assert (await market.order("yes", 10_000, [LINES[3]], method=by_code))["status"] == "requires_action"
        tried = {"amount": 10_000, "currency": "CNY", "split_plan": {"document": market.document()}}
        shares = (await market.call("POST", "/v1/split_plans/dry_run", tried))["shares"]
        assert "of payments by app, h5, page" in shares[0]["rails"][0]
        with pytest.raises(Rejected, match="together with its name only"):
            await market.hub.receivers.set(
                market.book, market.payees["mill"], "main", kind=ReceiverKind.LOGIN, account="mill@shop.example",
                by="ada",
            )  # fmt: skip
        await market.hub.receivers.set(
            market.book, market.payees["mill"], "main", kind=ReceiverKind.LOGIN, account="mill@shop.example",
            name="mill", by="ada",
        )  # fmt: skip
        await market.driven()
        paid = await market.paid("login", lines=[{**LINES[3], "basis_points": 500, "travels": "rail"}])
        await market.driven()
        (order,) = await market.orders(paid)
        assert [part["status"] for part in order["parts"]] == ["paid"]
        assert METHODS["alipay"]["type"] == "page"
