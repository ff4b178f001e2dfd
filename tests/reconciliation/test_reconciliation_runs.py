"""Runs against a real PostgreSQL: stored once, repeated without effect, carried from day to day."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import asyncpg
import pytest

import reconciliation
from channels.banks import Entry
from channels.contract import BillLine
from kernel.clock import business_date
from kernel.db import Connection
from kernel.ids import is_id
from reconciliation import (
    Deposits,
    DiscrepancyKind,
    Mirror,
    Movement,
    Payout,
    Payouts,
    PayoutStatus,
    Run,
    State,
    Statements,
    discrepancies,
    reconcile,
    report,
    store,
)
from reconciliation.store import sum_discrepancies
from tests.reconciliation.books import (
    BANK,
    DAY,
    NEXT,
    NOW,
    POOL,
    SUB,
    WECHAT,
    World,
    bookings,
    cny,
    deposit_entry,
    deposits,
    line_of,
    paid,
    payout,
    refunded,
    statement,
    statuses,
    truth,
)

SCHEMA = Path(reconciliation.__file__).with_name("schema.sql").read_text(encoding="utf-8")
LATER = NOW + timedelta(days=2)
IDENT = "WX190000000120261124"


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    """A connection to an empty schema with this package's tables and no others."""
    connection = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    await connection.execute("CREATE SCHEMA alone; SET search_path = alone")
    await connection.execute(SCHEMA)
    yield connection
    await connection.close()


async def run_channel(
    conn: Connection,
    movements: list[Movement],
    bill: list[BillLine],
    *,
    day: date = DAY,
    book: int = 1,
    paid_in: Deposits | None = None,
) -> Run:
    return await reconcile(
        conn,
        book=book,
        counterparty=WECHAT,
        business_date=day,
        movements=movements,
        bill=bill,
        deposits=paid_in,
        now=NOW,
    )


async def run_bank(
    conn: Connection,
    instructions: list[Payout],
    entries: list[Entry],
    mirrors: dict[str, int],
    *,
    day: date = DAY,
    opening: dict[str, int] | None = None,
    closing: dict[str, int] | None = None,
    reports: tuple[object, ...] = (),
) -> Run:
    opened = opening or {POOL: 100_000, SUB: 0}
    sheets = [
        statement(account, entries, opening=opened[account], closing=(closing or {}).get(account), day=day)
        for account in (POOL, SUB)
    ]
    return await reconcile(
        conn,
        book=1,
        counterparty=BANK,
        business_date=day,
        payouts=Payouts(instructions, reports),  # type: ignore[arg-type]
        statements=Statements(sheets, [Mirror(account, cny(minor)) for account, minor in mirrors.items()]),
        now=NOW,
    )


async def everything(conn: Connection) -> list[object]:
    """Return all rows of all tables, but for how often and when a day was last run."""
    tables = {
        "discrepancy": "*",
        "discrepancy_move": "*",
        "closing": "*",
        "run": "book, id, counterparty, business_date, areas, matched, differing, net, digest, first_run_at",
    }
    return [
        [tuple(row) for row in await conn.fetch(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3, 4")]
        for table, columns in tables.items()
    ]


async def unsettled(conn: Connection, book: int = 1) -> dict[str, str]:
    found = await discrepancies(conn, book, now=NOW, limit=1000)
    return {case.key.reference: str(case.kind) for case in found}


async def test_a_run_counts_what_agrees_and_records_what_does_not(conn: Connection) -> None:
    ours = [paid("a"), paid("b"), refunded("r", "a")]
    run = await run_channel(conn, ours, [line_of(ours[0]), line_of(paid("stranger")), line_of(ours[2])])
    assert run.matched == {reconciliation.Area.CHANNEL: 2}
    assert [(one.key.reference, one.kind) for one in run.discrepancies] == [
        ("b", DiscrepancyKind.MISSING_AT_CHANNEL),
        ("stranger", DiscrepancyKind.MISSING_AT_HUB),
    ]
    shortage, surplus = await discrepancies(conn, 1, now=LATER)
    if shortage.kind is not DiscrepancyKind.MISSING_AT_CHANNEL:
        shortage, surplus = surplus, shortage
    assert (shortage.ours_minor, shortage.theirs_minor, shortage.difference_minor) == (10_000, None, -10_000)
    assert (surplus.ours_minor, surplus.theirs_minor, surplus.difference_minor) == (None, 10_000, 10_000)
    assert (shortage.state, shortage.business_date, shortage.age_days) == (State.OPEN, DAY, 3)
    assert shortage.payment_reference == "b"
    assert is_id(shortage.id, "dis")
    assert is_id(run.id, "run")


async def test_running_a_day_twice_changes_nothing_and_opens_nothing_twice(conn: Connection) -> None:
    ours = [paid("a"), paid("b"), refunded("r", "a")]
    bill = [line_of(ours[0], amount=cny(1)), line_of(paid("stranger")), line_of(ours[2])]
    first = await run_channel(conn, ours, bill, paid_in=deposits(deposit_entry(IDENT, 5)))
    before = await everything(conn)
    again = await run_channel(conn, ours[::-1], bill[::-1], paid_in=deposits(deposit_entry(IDENT, 5)))
    assert await everything(conn) == before
    assert first.moves
    assert again.moves == ()
    assert again.digest == first.digest
    assert again.discrepancies == first.discrepancies
    assert (first.times, again.times) == (1, 2)


async def test_the_digest_tells_one_days_differences_from_anothers(conn: Connection) -> None:
    first = await run_channel(conn, [paid("a")], [])
    other = await run_channel(conn, [paid("a", 10_001)], [])
    assert first.digest != other.digest


async def test_what_a_restated_bill_mends_is_resolved_and_what_it_breaks_is_opened(conn: Connection) -> None:
    ours = [paid("a"), paid("b")]
    await run_channel(conn, ours, [line_of(ours[0])])
    assert await unsettled(conn) == {"b": "missing_at_channel"}
    mended = await run_channel(conn, ours, [line_of(ours[1])])
    assert await unsettled(conn) == {"a": "missing_at_channel"}
    assert sorted((move.event, str(move.to_state)) for move in mended.moves) == [
        ("agreed", "resolved"),
        ("found", "open"),
    ]


async def moves(conn: Connection, discrepancy_id: str) -> list[tuple[object, ...]]:
    """Return number, event, from and to of what became of a discrepancy."""
    sql = "SELECT number, event, from_state, to_state FROM discrepancy_move WHERE discrepancy_id = $1 ORDER BY number"
    return [tuple(row) for row in await conn.fetch(sql, discrepancy_id)]


async def test_a_discrepancy_that_comes_back_is_the_same_one_opened_again(conn: Connection) -> None:
    ours = [paid("a")]
    await run_channel(conn, ours, [])
    (case,) = await discrepancies(conn, 1, now=NOW)
    await run_channel(conn, ours, [line_of(ours[0])])
    await run_channel(conn, ours, [])
    (again,) = await discrepancies(conn, 1, now=NOW)
    assert again.id == case.id
    assert await moves(conn, case.id) == [
        (1, "found", None, State.OPEN),
        (2, "agreed", State.OPEN, State.RESOLVED),
        (3, "seen", State.RESOLVED, State.OPEN),
    ]


async def test_a_row_missing_today_and_billed_tomorrow_is_one_late_discrepancy_that_tomorrow_resolves(
    conn: Connection,
) -> None:
    ours = paid("p")
    await run_channel(conn, [ours], [])
    assert await unsettled(conn) == {"p": "missing_at_channel"}
    run = await run_channel(conn, [ours], [line_of(ours)], day=NEXT)
    assert await unsettled(conn) == {}
    (late,) = await discrepancies(conn, 1, now=NOW, states=list(State))
    assert (late.kind, late.state, late.business_date, late.seen_on) == (
        DiscrepancyKind.LATE,
        State.RESOLVED,
        DAY,
        (NEXT,),
    )
    assert [(move.event, move.to_state) for move in run.moves] == [("agreed", State.RESOLVED)]
    before = await everything(conn)
    again = await run_channel(conn, [ours], [])
    assert [one.kind for one in again.discrepancies] == [DiscrepancyKind.LATE]  # the first day now knows, too
    await run_channel(conn, [ours], [line_of(ours)], day=NEXT)
    assert (await everything(conn))[:3] == before[:3]


async def test_the_next_days_bill_may_be_read_before_this_days(conn: Connection) -> None:
    ours = paid("p")
    await run_channel(conn, [ours], [line_of(ours)], day=NEXT)
    await run_channel(conn, [ours], [])
    assert await unsettled(conn) == {}
    (late,) = await discrepancies(conn, 1, now=NOW, states=list(State))
    assert (late.kind, late.state) == (DiscrepancyKind.LATE, State.RESOLVED)


async def test_a_row_carried_by_two_days_bills_is_a_duplicate_whichever_comes_first(conn: Connection) -> None:
    ours = paid("p")
    for book, days in ((1, (DAY, NEXT)), (2, (NEXT, DAY))):
        for day in days:
            await run_channel(conn, [ours], [line_of(ours)], day=day, book=book)
        assert await unsettled(conn, book) == {"p": "duplicate"}


async def test_a_late_row_that_a_restated_bill_takes_back_is_missing_again(conn: Connection) -> None:
    ours = paid("p")
    await run_channel(conn, [ours], [])
    await run_channel(conn, [ours], [line_of(ours)], day=NEXT)
    await run_channel(conn, [ours], [], day=NEXT)
    assert await unsettled(conn) == {"p": "missing_at_channel"}


async def test_a_surplus_we_learn_of_later_is_resolved_by_running_the_day_again(conn: Connection) -> None:
    line = line_of(paid("p"))
    await run_channel(conn, [], [line])
    assert await unsettled(conn) == {"p": "missing_at_hub"}
    await run_channel(conn, [paid("p")], [line])
    assert await unsettled(conn) == {}


async def test_a_movement_whose_date_moved_keeps_its_one_discrepancy(conn: Connection) -> None:
    await run_channel(conn, [paid("p")], [])
    await run_channel(conn, [], [])
    assert await unsettled(conn) == {}
    await run_channel(conn, [paid("p", day=NEXT)], [], day=NEXT)
    (case,) = await discrepancies(conn, 1, now=NOW)
    assert (case.kind, case.business_date) == (DiscrepancyKind.MISSING_AT_CHANNEL, NEXT)
    assert [number for number, *_ in await moves(conn, case.id)] == [1, 2, 3]


async def test_books_and_counterparties_do_not_see_each_other(conn: Connection) -> None:
    for book in (1, 2):
        for counterparty in (WECHAT, "wechat:2"):
            await reconcile(
                conn,
                book=book,
                counterparty=counterparty,
                business_date=DAY,
                movements=[paid("p")],
                bill=[],
                now=NOW,
            )
    assert len(await discrepancies(conn, 1, now=NOW)) == 2
    assert len(await discrepancies(conn, 1, now=NOW, counterparty=WECHAT)) == 1
    await run_channel(conn, [paid("p")], [line_of(paid("p"))], book=2)
    assert len(await discrepancies(conn, 1, now=NOW)) == 2
    assert len(await discrepancies(conn, 2, now=NOW)) == 1


async def test_a_deposit_is_missed_until_it_comes(conn: Connection) -> None:
    ours = [paid("a"), refunded("r", "a")]
    bill = [line_of(one) for one in ours]
    await run_channel(conn, ours, bill, paid_in=deposits())
    assert await unsettled(conn) == {IDENT: "deposit_missing"}
    net = 10_000 - 60 - 1_000 + 6
    run = await run_channel(conn, ours, bill, paid_in=deposits(deposit_entry(IDENT, net)))
    assert await unsettled(conn) == {}
    assert (run.net and run.net.ours, run.received_minor) == (cny(net), net)


async def test_a_deposit_that_follows_the_bill_is_explained_at_once(conn: Connection) -> None:
    ours = [paid("a"), paid("b")]
    await run_channel(conn, ours, [line_of(ours[0])], paid_in=deposits(deposit_entry(IDENT, 9_940)))
    states = {case.kind: case.state for case in await discrepancies(conn, 1, now=NOW)}
    assert states == {DiscrepancyKind.MISSING_AT_CHANNEL: State.OPEN, DiscrepancyKind.DEPOSIT_DIFFERS: State.EXPLAINED}


async def test_a_later_run_without_the_bank_leaves_the_deposit_as_it_was(conn: Connection) -> None:
    ours = [paid("a")]
    await run_channel(conn, ours, [line_of(ours[0])], paid_in=deposits())
    run = await run_channel(conn, ours, [line_of(ours[0])])
    assert await unsettled(conn) == {IDENT: "deposit_missing"}
    row = await store.find_run(conn, 1, WECHAT, DAY)
    assert row is not None
    assert run.areas == (reconciliation.Area.CHANNEL,)
    assert row.areas == ("channel", "deposit")
    assert row.differing["deposit"] == {"deposit_missing": 1}


async def test_a_bank_day_is_matched_with_its_balances(conn: Connection) -> None:
    run = await run_bank(
        conn, [payout("i")], list(bookings("i")), {POOL: 95_000, SUB: 5_000}, reports=(statuses(("i", "ACSC")),)
    )
    assert run.discrepancies == ()
    assert await store.closings_on(conn, 1, BANK, DAY) == {POOL: cny(95_000), SUB: cny(5_000)}


async def test_a_payout_never_booked_explains_the_balances_of_this_day_and_the_next(conn: Connection) -> None:
    await run_bank(conn, [payout("i")], [], {POOL: 95_000, SUB: 5_000})
    assert await unsettled(conn) == {"i": "payout_missing_at_bank"}
    await run_bank(conn, [], [], {POOL: 95_000, SUB: 5_000}, day=NEXT)
    assert await unsettled(conn) == {"i": "payout_missing_at_bank"}
    found = await conn.fetchval(
        "SELECT explained_minor FROM closing WHERE account = $1 AND business_date = $2", SUB, NEXT
    )
    assert found == -5_000


async def test_a_payout_booked_a_day_late_is_resolved_and_the_first_days_balance_stays_explained(
    conn: Connection,
) -> None:
    ours = payout("i")
    mirrors = {POOL: 95_000, SUB: 5_000}
    await run_bank(conn, [ours], [], mirrors)
    await run_bank(conn, [ours], list(bookings("i", day=NEXT)), mirrors, day=NEXT)
    assert await unsettled(conn) == {}
    await run_bank(conn, [ours], [], mirrors)
    assert await unsettled(conn) == {}


async def test_what_a_restated_statement_no_longer_shows_is_resolved(conn: Connection) -> None:
    await run_bank(conn, [], list(bookings("ghost")), {POOL: 95_000})
    assert await unsettled(conn) == {"ghost": "payout_unknown_at_hub"}  # and it explains the balances
    stranger = statement("6200-stranger", [], opening=7)
    for sheets in ([stranger], []):
        found = await reconcile(
            conn,
            book=1,
            counterparty=BANK,
            business_date=DAY,
            payouts=Payouts([]),
            statements=Statements(sheets, []),
            now=NOW,
        )
        assert await unsettled(conn) == ({f"6200-stranger@{DAY}": "balance_differs"} if sheets else {})
        assert found.moves


async def test_a_statement_that_does_not_open_where_the_last_one_closed_is_told(conn: Connection) -> None:
    await run_bank(conn, [], [], {POOL: 100_000, SUB: 0})
    await run_bank(conn, [], [], {POOL: 100_001, SUB: 0}, day=NEXT, opening={POOL: 100_001, SUB: 0})
    assert await unsettled(conn) == {f"{POOL}@{NEXT}": "opening_differs"}


async def test_a_report_that_catches_up_resolves_a_status_that_lagged(conn: Connection) -> None:
    entries, mirrors = list(bookings("i")), {POOL: 100_000, SUB: 0}
    await run_bank(conn, [payout("i", status=PayoutStatus.IN_TRANSIT)], entries, mirrors)
    assert await unsettled(conn) == {"i": "payout_status_differs"}  # and it explains both balances
    await run_bank(conn, [payout("i")], entries, {POOL: 95_000, SUB: 5_000})
    assert await unsettled(conn) == {}


async def test_a_remedy_is_not_undone_by_running_again_but_a_new_difference_opens_it(conn: Connection) -> None:
    await run_channel(conn, [paid("p")], [])
    await conn.execute("UPDATE discrepancy SET state = 'written_off'")
    await run_channel(conn, [paid("p")], [])
    assert await conn.fetchval("SELECT state FROM discrepancy") == "written_off"
    await run_channel(conn, [paid("p")], [line_of(paid("p"), amount=cny(3))])
    assert await conn.fetchval("SELECT state || ' ' || kind FROM discrepancy") == "open amount_differs"


async def test_a_run_that_fails_leaves_nothing(conn: Connection) -> None:
    with pytest.raises(ValueError, match="twice"):
        await run_channel(conn, [paid("p"), paid("p")], [])
    assert await everything(conn) == [[], [], [], []]


async def test_books_that_do_not_belong_together_are_not_compared(conn: Connection) -> None:
    with pytest.raises(ValueError, match="bill"):
        await reconcile(conn, book=1, counterparty=WECHAT, business_date=DAY, movements=[], now=NOW)
    with pytest.raises(ValueError, match="something"):
        await reconcile(conn, book=1, counterparty=WECHAT, business_date=DAY, now=NOW)


async def test_two_runs_at_once_leave_what_one_after_the_other_leaves(conn: Connection, database_url: str) -> None:
    other = await asyncpg.connect(database_url, server_settings={"timezone": "UTC", "search_path": "alone"})
    ours = [paid(f"p{n}") for n in range(50)]
    bill = [line_of(one) for one in ours[25:]]
    try:
        await asyncio.gather(run_channel(conn, ours, bill), run_channel(other, ours, bill))
    finally:
        await other.close()
    assert len(await unsettled(conn)) == 25
    assert await conn.fetchval("SELECT times FROM run") == 2
    assert await conn.fetchval("SELECT count(*) FROM discrepancy_move") == 25


@pytest.mark.parametrize("seed", range(12))
async def test_after_any_history_of_runs_the_open_discrepancies_are_the_true_ones(conn: Connection, seed: int) -> None:
    chance = random.Random(seed)
    days = [DAY + timedelta(n) for n in range(4)]
    ours = {f"p{n}": paid(f"p{n}", chance.choice([100, 200]), day=chance.choice(days)) for n in range(25)}
    bills: dict[date, list[BillLine]] = {}
    for _ in range(10):
        day = chance.choice(days)
        bill = [line_of(m) for m in ours.values() if m.business_date == day and chance.random() < 0.8]
        bill += [line_of(m) for m in chance.sample(list(ours.values()), 3)]
        bill += [line_of(paid(f"stranger{chance.randrange(3)}", 5))] if chance.random() < 0.3 else []
        bill = [replace(line, amount=cny(7)) if chance.random() < 0.05 else line for line in bill]
        bills[day] = bill
        carried = {line.reference for line in bill}
        await run_channel(
            conn, [m for m in ours.values() if m.business_date == day or m.reference in carried], bill, day=day
        )
        expected = truth(World(ours, bills))
        assert await unsettled(conn) == {ref: kind for ref, kind in expected.items() if kind != "late"}, f"seed {seed}"


async def test_the_report_of_a_run_is_plain_values(conn: Connection) -> None:
    ours = [paid("a"), paid("b")]
    run = await run_channel(conn, ours, [line_of(ours[0])], paid_in=deposits(deposit_entry(IDENT, 9_940)))
    said = report.of_run(run)
    assert said["areas"]["channel"] == {"matched": 1, "differing": {"missing_at_channel": 1}}
    assert said["net"] == {"currency": "CNY", "ours_minor": 19_880, "bill_minor": 9_940, "received_minor": 9_940}
    assert not said["agrees"]
    assert said["differences"][0]["difference_minor"] == -10_000
    some = await discrepancies(conn, 1, now=LATER, limit=1)
    cases = report.of_cases(some, await sum_discrepancies(conn, 1), business_date(LATER))
    assert len(cases["cases"]) == 1, "what is not listed is counted all the same"
    assert (cases["count"], cases["by_state"]) == (2, {"open": 1, "explained": 1})
    assert cases["by_kind"] == {"deposit_differs": 1, "missing_at_channel": 1}
    assert (cases["difference_minor"], cases["oldest_age_days"]) == ({"CNY": -19_940}, 3)


async def test_cases_are_paged_by_age(conn: Connection) -> None:
    for day in (NEXT, DAY):
        await run_channel(conn, [paid(f"{day}-{n}", day=day) for n in range(3)], [], day=day)
    first = await discrepancies(conn, 1, now=NOW, limit=4)
    rest = await discrepancies(conn, 1, now=NOW, after=(first[-1].business_date, first[-1].id))
    dates = [case.business_date for case in [*first, *rest]]
    assert dates == [DAY] * 3 + [NEXT] * 3
    assert len({case.id for case in [*first, *rest]}) == 6
