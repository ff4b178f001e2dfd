"""Every state of every object says what it means to the journal, and a state put into a row by hand is found."""

from collections.abc import AsyncIterator
from datetime import timedelta
from enum import StrEnum

import asyncpg
import pytest
import pytest_asyncio

import cases.states
import gateway.states
import reconciliation.states
import splitting.states
from channels.contract import Pending, Refused
from kernel.money import Money
from ops.drawings import document
from ops.money_states import MEANING
from ops.verify import INVARIANTS
from tests.conftest import TestServer as PostgresServer
from tests.gateway.front import QR, a_front

pytestmark = pytest.mark.asyncio(loop_scope="session")
TABLES: dict[str, type[StrEnum]] = {
    "payment": gateway.states.PaymentStatus,
    "attempt": gateway.states.AttemptStatus,
    "refund": gateway.states.RefundStatus,
    "instruction": splitting.states.Instruction,
    "batch": splitting.states.Batch,
    "share_order": splitting.states.Sharing,
    "share_return": splitting.states.Fetching,
    "withdrawal": splitting.states.Withdrawal,
    "recall": splitting.states.Recall,
    "case": cases.states.Case,
    "discrepancy": reconciliation.states.State,
}


async def test_every_state_there_is_says_what_it_means_and_by_which_invariants() -> None:
    for name, states in TABLES.items():
        assert set(MEANING[name]) == {str(state) for state in states}, name
    named = {one for states in MEANING.values() for means in states.values() for one in means.invariants}
    assert named <= set(INVARIANTS)
    assert set(document().split("## ")) >= {part for part in document().split("## ") if "What each state" in part}


async def test_every_column_that_is_a_state_is_in_the_table(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' "
        "AND column_name IN ('status', 'state') ORDER BY 1"
    )
    await connection.close()
    named = {"settlement": "batch", "case_file": "case"}
    # Settings that are switched on and off, and what people say: no object that money moves through.
    switches = {
        "rail_receiver",
        "channel_account",
        "cashier_link",
        "merchant",
        "person",
        "approval",
        "split_plan_version",
    }
    assert {named.get(row[0], row[0]) for row in rows} - switches == set(MEANING)


# What a row of each object is, in a life in which every one of these states occurs; and the other states that are no
# other money: between these the channel, and not the journal, knows the difference.
SAME_MONEY = {
    "payment": [
        {"processing", "requires_action", "failed", "canceled", "expired"},
        {"processing", "requires_capture"},
    ],
    "attempt": [{"created", "pending", "unknown", "refused", "closed", "failed_over", "authorized"}],
    "refund": [],
    "split": [],
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(
    pg_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """An ordinary life in which every state that means money occurs, seen by one whom nothing stops."""
    await pg_server.admin.execute("CREATE DATABASE sluice_states OWNER sluice TEMPLATE sluice_template")
    url, home = pg_server.url("sluice_states"), tmp_path_factory.mktemp("home")
    async with a_front(url, home, accounts={"second": "other"}) as front:
        farm = await front.payee("farm")
        plan = [{"payee": farm, "basis_points": 3_000}]
        paid = await front.paid("paid", split=plan)
        await front.share_out()
        await front.refund(paid, 1_000)
        front.rail.says(refund=Refused("NO"))
        await front.refund(paid, 500)
        front.rail.says(refund=Pending(channel_ref="ch"))
        await front.refund(paid, 700)
        await front.paid("planned", split=plan)
        front.rail.says(pay=Pending(QR))
        await front.pay("open")
        late = (await front.pay("late")).body["id"]
        await front.post(f"/v1/payments/{late}/close")
        await front.notice(front.asked("pay")[-1].reference, 10_000)
        front.rail.says(pay=Refused("BUSY", retriable=True))
        await front.paid("surplus")
        await front.notice(front.asked("pay")[-1].reference, 10_000)
        front.rail.says(pay=Pending(authorized=Money(10_000, "CNY")))
        front.others["second"].says(pay=Pending(authorized=Money(10_000, "CNY")))
        await front.pay("held", method={"type": "page"}, capture="manual")
        front.clock.forward(timedelta(seconds=1).total_seconds())
        superuser = await asyncpg.connect(pg_server.server.admin_url.rpartition("/")[0] + "/sluice_states")
        await superuser.execute("SET session_replication_role = replica")
        yield superuser
        await superuser.close()
    await pg_server.admin.execute("DROP DATABASE sluice_states WITH (FORCE)")


@pytest.mark.parametrize("name", SAME_MONEY)
async def test_a_state_put_into_a_row_by_hand_is_found_wherever_it_is_other_money(
    scene: "asyncpg.Connection[asyncpg.Record]", name: str
) -> None:
    tried = 0
    rows = await scene.fetch(f"SELECT ctid, status FROM {name}")
    for row in rows:
        for state in MEANING[name]:
            if state == row["status"] or any({state, row["status"]} <= same for same in SAME_MONEY[name]):
                continue
            tried += 1
            planting = scene.transaction()
            await planting.start()
            await scene.execute(f"UPDATE {name} SET status = $1 WHERE ctid = $2", state, row["ctid"])
            found = {check: broken for check, by in INVARIANTS.items() if (broken := await by(scene))}
            await planting.rollback()
            assert found, f"a {name} that was {row['status']} is called {state}, and nothing notices"
    assert tried >= len(rows)
