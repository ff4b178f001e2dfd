"""Routing in the hub: payments leave an account that fails, come back when it is well, and it is kept why."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from channels.contract import Refused, Unknown
from gateway.routing import Knowledge
from gateway.routing.breaker import DEFAULT
from gateway.routing.router import STALE_S, Router
from gateway.routing.store import TRIED_SINCE, tried_since
from tests.gateway.front import Front, a_front, another_process

SILENT = Unknown("no answer")
BUSY = Refused("SYSTEM_BUSY", "the rail is overloaded", retriable=True)


# A second, dearer account beside the first.
BOTH: dict[str, Any] = {"accounts": {"backup": "other"}, "fees_bp": {"backup": 90}}


async def account_of(front: Front, payment_id: str) -> str:
    """Return the account that the payment was sent to first."""
    return (await front.attempt(payment_id)).channel_account


async def sold(front: Front, count: int, *, start: str = "order", gap_s: float = 2.0) -> list[str]:
    """Sell so often, some seconds apart; return the account of each first attempt."""
    accounts = []
    for n in range(count):
        front.clock.forward(gap_s)
        answer = await front.pay(f"{start}-{n}", key=f"{start}-{n}")
        assert answer.status == 201, answer
        accounts.append(await account_of(front, answer.body["id"]))
    return accounts


def router(front: Front) -> Router:
    return front.hub.router


async def set_policy(front: Front, version: int, policy: dict[str, Any]) -> None:
    """Set a policy, let every process hear of it."""
    row = await front.hub.routing_policies.set(front.book, policy, note="a test's", version=version - 1)
    assert row.version == version
    front.clock.forward(1.5)


NO_TRYING = {"explore": {"fraction_bp": 0}}


async def test_the_cheaper_account_takes_the_payments_and_each_attempt_keeps_why(database_url: str, home: Path) -> None:
    async with a_front(database_url, home, **BOTH) as front:
        payment_id = await front.paid()
        kept = orjson.loads((await front.attempt(payment_id)).decision or "{}")
    assert [one["a"] for one in kept["rank"]] == ["rail", "backup"]
    assert [one["fee"] for one in kept["rank"]] == [60, 90]
    assert kept["policy"] == 0
    assert kept["worth"] == 10_000 * 200


async def test_with_one_account_nothing_is_learned_and_little_is_kept(database_url: str, home: Path) -> None:
    async with a_front(database_url, home) as front:
        payment_id = await front.paid()
        kept = orjson.loads((await front.attempt(payment_id)).decision or "{}")
        assert router(front).knowledge(front.book) is None
    assert kept == {"v": 1, "policy": 0, "only": "rail", "fee": 60}


async def test_payments_leave_an_account_that_fails_and_come_back_when_it_is_well(
    database_url: str, home: Path
) -> None:
    async with a_front(database_url, home, **BOTH) as front:
        await set_policy(front, 1, NO_TRYING)
        assert set(await sold(front, 40, start="well", gap_s=10)) == {"rail"}
        front.rail.says(pay=SILENT, query=SILENT)
        failing = await sold(front, 12, start="failing")
        assert failing[0] == "rail"
        assert failing.count("rail") <= DEFAULT.consecutive
        assert set(failing[DEFAULT.consecutive :]) == {"backup"}
        front.rail.works("pay", "query")
        back = await sold(front, 60, start="back", gap_s=20)
        assert set(back[-20:]) == {"rail"}
        for _ in range(20):  # the silent ones are asked about, and turn out to have been paid
            await front.later(60)


async def test_a_rail_that_refuses_for_reasons_of_its_own_is_left_though_each_payment_fails_over(
    database_url: str, home: Path
) -> None:
    async with a_front(database_url, home, **BOTH) as front:
        await set_policy(front, 1, NO_TRYING)
        await sold(front, 10, start="well")
        front.rail.says(pay=BUSY)
        accounts = await sold(front, 12, start="busy")
        knowledge = router(front).knowledge(front.book)
        assert knowledge is not None
        assert knowledge.rail("rail").chances("qr", "CNY", 10_000, front.clock.now().timestamp()).p < 0.75
    assert accounts.count("rail") <= DEFAULT.consecutive
    assert accounts[-1] == "backup"


async def test_payers_without_money_do_not_turn_payments_away_from_a_rail(database_url: str, home: Path) -> None:
    async with a_front(database_url, home, **BOTH) as front:
        front.rail.says(pay=Refused("NOTENOUGH", "the payer has too little money"))
        assert set(await sold(front, 20)) == {"rail"}


async def test_planted_a_router_deaf_to_failures_keeps_sending(
    database_url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Router, "observe", lambda *told: None)
    monkeypatch.setattr(Router, "_fold", lambda *told: None)
    with pytest.raises(AssertionError):
        await test_a_rail_that_refuses_for_reasons_of_its_own_is_left_though_each_payment_fails_over(database_url, home)


async def test_a_new_process_knows_from_the_database_what_the_old_one_had_learned(
    database_url: str, home: Path
) -> None:
    async with a_front(database_url, home, **BOTH) as front:
        await set_policy(front, 1, NO_TRYING)
        await sold(front, 10, start="well")
        front.rail.says(pay=BUSY)
        await sold(front, 8, start="busy")
        async with another_process(front, database_url, home) as other:
            assert await sold(other, 1, start="after") == ["backup"]
            there = router(other).knowledge(front.book)
            assert there is not None
            assert there.rail("rail").chances("qr", "CNY", 10_000, front.clock.now().timestamp()).p < 0.75


async def test_processes_learn_from_one_another_while_payments_come(database_url: str, home: Path) -> None:
    async with (
        a_front(database_url, home, **BOTH) as front,
        another_process(front, database_url, home) as other,
    ):
        await set_policy(front, 1, NO_TRYING)
        await sold(front, 10, start="well")
        assert await sold(other, 1, start="there") == ["rail"]
        front.rail.says(pay=BUSY)
        await sold(front, DEFAULT.consecutive, start="busy")
        await router(other).catch_up()
        assert await sold(other, 2, start="after") == ["backup", "backup"]


async def test_what_was_reported_and_read_is_counted_once(database_url: str, home: Path) -> None:
    async with a_front(database_url, home, **BOTH) as front:
        await sold(front, 12)
        knowledge = router(front).knowledge(front.book)
        assert knowledge is not None
        before = knowledge.rail("rail").chances("qr", "CNY", 10_000, front.clock.now().timestamp())
        for _ in range(3):
            await router(front).catch_up()
        after = knowledge.rail("rail").chances("qr", "CNY", 10_000, front.clock.now().timestamp())
        assert after == before
        assert before.weight > Knowledge().rail("rail").chances("qr", "CNY", 10_000, 0).weight + 10


async def test_an_answer_that_comes_later_than_others_is_still_counted_elsewhere(database_url: str, home: Path) -> None:
    async with (
        a_front(database_url, home, **BOTH) as front,
        another_process(front, database_url, home) as other,
    ):
        await sold(other, 1, start="there")
        gate = front.gate()
        waiting = asyncio.ensure_future(front.pay("slow"))
        await gate.arrived.wait()
        for _ in range(3):
            front.clock.forward(6)
            await router(other).catch_up()
        knowledge = router(other).knowledge(front.book)
        assert knowledge is not None
        now = front.clock.now().timestamp
        before = knowledge.rail("rail").chances("qr", "CNY", 10_000, now()).weight
        gate.open.set()
        assert (await waiting).status == 201
        await router(other).catch_up()
        assert knowledge.rail("rail").chances("qr", "CNY", 10_000, now()).weight > before + 0.9


async def test_a_process_that_was_idle_first_hears_what_the_others_learned(database_url: str, home: Path) -> None:
    async with (
        a_front(database_url, home, **BOTH) as front,
        another_process(front, database_url, home) as other,
    ):
        await set_policy(front, 1, NO_TRYING)
        await sold(front, 10, start="well")
        await sold(other, 1, start="there")
        front.clock.forward(STALE_S)
        front.rail.says(pay=BUSY)
        await sold(front, 5, start="busy", gap_s=0.5)
        assert await sold(other, 1, start="after", gap_s=0.5) == ["backup"]


async def test_a_policy_is_read_and_set_over_the_api_and_every_version_is_kept(database_url: str, home: Path) -> None:
    async with a_front(database_url, home) as front:
        first = await front.get("/v1/routing_policy")
        assert (first.body["version"], first.body["policy"]["margin_bp"], first.body["set_by"]) == (0, 200, None)
        asked = {"version": 0, "policy": {"margin_bp": 300}, "note": "dearer sales"}
        made = await front.send("PUT", "/v1/routing_policy", asked)
        assert (made.status, made.body["version"], made.body["policy"]) == (200, 1, {"margin_bp": 300})
        again = await front.send("PUT", "/v1/routing_policy", asked)
        assert again.body == made.body
        late = await front.send("PUT", "/v1/routing_policy", {**asked, "note": "another"})
        assert (late.status, late.code, late.body["version"]) == (409, "version_mismatch", 1), "the one that holds"
        early = await front.send("PUT", "/v1/routing_policy", {**asked, "version": 7})
        assert (early.status, early.code, early.body["version"]) == (409, "version_mismatch", 1)
        await front.send("PUT", "/v1/routing_policy", {"version": 1, "policy": {}, "note": "back"})
        assert (await front.get("/v1/routing_policy")).body["version"] == 2
        assert [row.version for row in await front.hub.routing_policies.list(front.book)] == [2, 1]
        assert await front.events("routing_policy.set") == ["routing_policy.set"] * 2


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"version": 0, "policy": {"margin": 3}, "note": "x"}, "routing_policy_wrong", "policy.margin"),
        ({"version": 0, "policy": {"rules": [{}]}, "note": "x"}, "routing_policy_wrong", "policy.rules.0.then"),
        ({"version": 0, "policy": {}}, "field_missing", "note"),
    ],
)
async def test_a_policy_that_is_none_is_refused_with_its_place(
    database_url: str, home: Path, body: dict[str, Any], code: str, param: str
) -> None:
    async with a_front(database_url, home) as front:
        answer = await front.send("PUT", "/v1/routing_policy", body)
        assert (answer.code, answer.body["param"]) == (code, param)
        assert (await front.get("/v1/routing_policy")).body["version"] == 0


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ({"pin": "nope"}, "'nope' is none of your channel accounts; there are: rail"),
        ({"pin": "rial"}, "did you mean rail?"),
        ({"pin": "alipay"}, "did you mean 'channel:alipay'?"),
        ({"pin": "channel:alipy"}, "there is no channel 'alipy'; did you mean 'channel:alipay'?"),
        ({"only": ["rail", "nope"]}, "'nope' is none"),
        ({"exclude": ["channel:zfb"]}, "did you mean 'channel:alipay'?"),
        ({"prefer": {"rail": 1, "nope": 2}}, "'nope' is none"),
    ],
)
async def test_a_rule_that_names_nobody_is_refused_with_its_place(
    database_url: str, home: Path, then: dict[str, Any], said: str
) -> None:
    async with a_front(database_url, home) as front:
        body = {"version": 0, "policy": {"rules": [{"then": {"pin": "rail"}}, {"then": then}]}, "note": "x"}
        answer = await front.send("PUT", "/v1/routing_policy", body)
        assert (answer.status, answer.code) == (422, "routing_policy_wrong"), answer
        assert answer.body["param"] == f"policy.rules.1.then.{next(iter(then))}"
        assert said in answer.body["detail"]
        assert (await front.get("/v1/routing_policy")).body["version"] == 0


async def test_a_pin_to_a_rail_without_an_account_says_so_to_every_payment(database_url: str, home: Path) -> None:
    async with a_front(database_url, home) as front:
        await set_policy(front, 1, {"rules": [{"then": {"pin": "channel:wechat"}}]})
        answer = await front.pay()
        assert (answer.status, answer.code) == (422, "no_channel")
        said = [(one["channel_account"], one["code"], one["detail"]) for one in answer.body["accounts"]]
        assert said == [("rail", "rule", "rule 1 pins 'channel:wechat', which you do not have")]


async def test_nobody_can_change_a_version_that_was_set(database_url: str, home: Path) -> None:
    async with a_front(database_url, home) as front:
        await set_policy(front, 1, {})
        owner = await asyncpg.connect(database_url)
        for change in ("UPDATE routing_policy SET note = 'x'", "DELETE FROM routing_policy", "TRUNCATE routing_policy"):
            with pytest.raises(asyncpg.RestrictViolationError):
                await owner.execute(change)
        await owner.close()


async def test_a_rule_pins_payments_from_the_next_second_on(database_url: str, home: Path) -> None:
    async with a_front(database_url, home, **BOTH) as front:
        assert await sold(front, 1, start="before") == ["rail"]
        rule = {"name": "west", "when": {"metadata": {"shop": "west"}}, "then": {"pin": "backup"}}
        await set_policy(front, 1, {"rules": [rule]})
        west = await front.pay("west", metadata={"shop": "west"})
        east = await front.pay("east", metadata={"shop": "east"})
        assert await account_of(front, west.body["id"]) == "backup"
        assert await account_of(front, east.body["id"]) == "rail"
        kept = orjson.loads((await front.attempt(west.body["id"])).decision or "{}")
    assert (kept["policy"], kept["rules"], kept["no"]) == (1, ["west"], {"rail": "rule: west"})


async def test_a_pin_to_nobody_refuses_the_payment(database_url: str, home: Path) -> None:
    async with a_front(database_url, home, **BOTH) as front:
        await set_policy(front, 1, {"rules": [{"then": {"pin": "channel:wechat"}}]})
        answer = await front.pay()
        assert (answer.status, answer.code) == (422, "no_channel")
        why = [(one["channel_account"], one["code"]) for one in answer.body["accounts"]]
        assert why == [("rail", "rule"), ("backup", "rule")]
        other = await front.pay(method={"type": "qr", "channel": "unionpay"})
        assert [one["code"] for one in other.body["accounts"]] == ["other_channel", "other_channel"]


async def test_the_attempts_made_lately_are_found_by_their_index(database_url: str, home: Path) -> None:
    async with a_front(database_url, home, **BOTH) as front:
        owner = await asyncpg.connect(database_url)
        await owner.execute(
            "INSERT INTO payment (book, id, merchant_order_id, amount_minor, currency, method, description, status, "
            "attempt_count, fee_minor, created_at, updated_at, expires_at) "
            "SELECT $1, 'pay_' || lpad(to_hex(n), 26, '0'), 'o' || n, 100, 'CNY', 'qr', 'x', 'failed', 1, 0, t, t, t "
            "FROM generate_series(1, 30000) n, LATERAL (SELECT timestamptz '2026-01-01' + n * interval '1 s') x(t)",
            front.book,
        )
        await owner.execute(
            "INSERT INTO attempt (book, payment_id, number, channel_account, channel, fee_minor, method, status, "
            "created_at, updated_at) SELECT book, id, 1, 'rail', 'scripted', 0, 'qr', 'refused', created_at, "
            "created_at FROM payment ORDER BY id"
        )
        await owner.execute("ANALYZE attempt")
        await owner.execute("SELECT brin_summarize_new_values('attempt_lately')")  # as autovacuum does once a minute
        since = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=29_990)
        plan = await owner.fetch(f"EXPLAIN (ANALYZE) {TRIED_SINCE}", since, [front.book], 100)
        found = await tried_since(owner, [front.book], since, 100)
        await owner.close()
    text = "\n".join(row[0] for row in plan)
    assert "attempt_lately" in text, text
    assert "Seq Scan" not in text
    assert int(text.partition("Rows Removed by Index Recheck: ")[2].partition("\n")[0]) < 3_000
    assert [row.number for row in found] == [1] * 10
