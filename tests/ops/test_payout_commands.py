"""`sluice payout …` on a real database, in the words a clerk types."""

import asyncio
import json
from collections.abc import Callable

import asyncpg
from typer.testing import Result

Sluice = Callable[..., Result]
BOOK = ("--book", "1")
BATCH = "stl_1_20261124_citybank_CNY"
SQL = """
    INSERT INTO bank_link VALUES (1, 'citybank', '6200', '{}', '{}');
    INSERT INTO payee (book, id, name, kind, currency, bank, bank_account, created_at, account_status)
        VALUES (1, 'pye_' || repeat('1', 26), 'farm', 'supplier', 'CNY', 'citybank', '6201', now(), 'open');
    INSERT INTO settlement (book, id, bank, business_date, execution_date, currency, status, total_minor,
        instruction_count, open_count, paid_minor, created_at, updated_at)
        VALUES (1, 'stl_1_20261124_citybank_CNY', 'citybank', '2026-11-24', '2026-11-25', 'CNY', 'awaiting_release',
        5000000, 3, 3, 0, now(), now());
"""


PROMISED = """
    INSERT INTO account (book, name, currency, side, may_overdraw, debits, credits, debits_held, credits_held)
        VALUES (1, 'in_transit:citybank:CNY', 'CNY', 'credit', false, 0, 5000000, 0, 0);
"""


async def a_bank(database_url: str, more: str = "") -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute(SQL + more)
    await owner.close()


def test_who_is_paid_when_is_set_and_shown(tea_house: Sluice, database_url: str) -> None:
    asyncio.run(a_bank(database_url))
    assert "nobody is paid by schedule" in tea_house("payout", "list", *BOOK).output
    assert "T+1" in tea_house("payout", "set", *BOOK, "citybank", "--every", "T+1").output
    weekly = ("--every", "weekly", "--on", "5", "--minimum", "100.00", "--payee", "pye_" + "1" * 26)
    tea_house("payout", "set", *BOOK, "citybank", *weekly)
    shown = json.loads(tea_house("payout", "list", *BOOK, "--json").stdout)["schedules"]
    assert [(row["payee"], row["every"], row["on"], row["minimum_minor"]) for row in shown] == [
        (None, "T+1", None, 0),
        ("pye_" + "1" * 26, "weekly", 5, 10_000),
    ]
    listed = tea_house("payout", "list", *BOOK).output
    assert "everybody else: T+1" in listed
    assert "weekly on day 5, from 10000 minor units on" in listed
    for words, code in (
        (("citybank", "--every", "T+9"), "schedule_wrong"),
        (("nowhere", "--every", "T+1"), "no_such_bank"),
        (("citybank", "--every", "T+1", "--payee", "pye_0"), "no_such_payee"),
        (("citybank", "--every", "T+1", "--minimum", "x"), "not an amount"),
    ):
        assert code in tea_house("payout", "set", *BOOK, *words, code=1).output
    assert "nothing is due" in tea_house("payout", "run", *BOOK, "--bank", "citybank", "--currency", "USD").output


def test_a_batch_that_waits_is_told_of_until_it_is_with_the_bank(tea_house: Sluice, database_url: str) -> None:
    asyncio.run(a_bank(database_url))
    tea_house("payout", "set", *BOOK, "citybank", "--every", "T+1")
    run = ("payout", "run", *BOOK, "--bank", "citybank")
    for _ in range(2):
        assert f"sluice payout release {BATCH}" in tea_house(*run, code=1).output
    assert [one["id"] for one in json.loads(tea_house(*run, "--json", code=1).stdout)["settlements"]] == [BATCH]
    settle = ("settle", "--book", "1", "--bank", "citybank", "--business-date")
    assert json.loads(tea_house(*settle, "2026-11-23", "--json").stdout) == {"object": "settlement", "id": None}
    assert "2100-01-02 00:00 in Beijing" in tea_house(*settle, "2100-01-01", code=1).output
    assert "no_such_book" in tea_house("settle", "--book", "9", *settle[3:], "2026-11-23", code=1).output
    shown = ("settlement", "show", *BOOK, BATCH, "--status")
    assert "there are in_transit, paid" in tea_house(*shown, "returnd", code=2).output
    assert "no_such_bank" in tea_house("bank", "files", "list", *BOOK, "--bank", "citibank", code=1).output


def test_what_is_kept_of_payouts_is_set_and_shown(tea_house: Sluice, database_url: str) -> None:
    asyncio.run(a_bank(database_url))
    assert "nothing is kept back" in tea_house("payout", "reserves", *BOOK).output
    said = tea_house("payout", "reserve", *BOOK, "citybank", "--fixed", "10", "--rolling", "550", "--days", "7").output
    assert "everybody else: 1000 minor units and 5.5 % of each date for 7 days kept" in said
    said = tea_house("payout", "reserve", *BOOK, "citybank", "--payee", "pye_" + "1" * 26).output
    assert "nothing kept" in said
    rows = json.loads(tea_house("payout", "reserves", *BOOK, "--json").stdout)["reserves"]
    assert [(row["payee"], row["fixed_minor"], row["rolling_basis_points"]) for row in rows] == [
        (None, 1_000, 550),
        ("pye_" + "1" * 26, 0, 0),
    ]
    assert "reserve_wrong" in tea_house("payout", "reserve", *BOOK, "citybank", "--rolling", "5", code=1).output


def test_two_people_set_a_banks_limit_and_release_what_is_over_it(tea_house: Sluice, database_url: str) -> None:
    asyncio.run(a_bank(database_url, PROMISED))
    assert "on working days what it has by 16:30" in tea_house("payout", "bank", *BOOK, "citybank").output
    tea_house("person", "add", "di", "--role", "operator", "--keep")
    asked = ("payout", "bank", *BOOK, "citybank", "--cut-off", "17:00", "--release-above", "10000", "--only-deposited")
    assert "approval_asked" in tea_house(*asked, code=1).output
    tea_house("--as", "di", "approval", "approve", approval(tea_house))
    said = tea_house(*asked).output
    assert "17:00" in said
    assert "over 10000.00 takes two people" in said
    assert "waits for the deposits" in said
    assert "cut_off_wrong" in tea_house("payout", "bank", *BOOK, "citybank", "--cut-off", "late", code=1).output
    below = tea_house("payout", "bank", *BOOK, "citybank", "--release-above", "-5", code=1).output
    assert "from nothing or more on" in below, "nobody is asked to agree to what cannot be"
    assert "no_such_settlement" in tea_house("payout", "release", *BOOK, "stl_0", code=1).output
    assert "approval_asked" in tea_house("payout", "release", *BOOK, BATCH, code=1).output
    tea_house("--as", "di", "approval", "approve", approval(tea_house))
    assert f"{BATCH} is created" in tea_house("payout", "release", *BOOK, BATCH).output
    said = tea_house("payout", "release", *BOOK, BATCH).output
    assert f"{BATCH} is created; it waits for deposits" in said, "again takes nobody"
    (listed,) = json.loads(tea_house("settlement", "list", *BOOK, "--json").stdout)["settlements"]
    shown = json.loads(tea_house("settlement", "show", *BOOK, BATCH, "--json").stdout)
    again = json.loads(tea_house("payout", "release", *BOOK, BATCH, "--json").stdout)
    assert listed["lacks_minor"] == shown["lacks_minor"] == again["lacks_minor"] == listed["total_minor"] > 0


def approval(tea_house: Sluice) -> str:
    """Return the approval that is asked for."""
    found = json.loads(tea_house("approval", "list", "--json").stdout)["approvals"]
    (asked,) = [one["id"] for one in found if one["status"] == "asked"]
    return str(asked)


def test_two_people_have_a_line_recalled_and_what_cannot_be_is_refused_before_anybody_is_asked(
    tea_house: Sluice, database_url: str
) -> None:
    asyncio.run(a_bank(database_url))
    tea_house("person", "add", "di", "--role", "operator", "--keep")

    async def do(sql: str) -> None:
        owner = await asyncpg.connect(database_url)
        await owner.execute(sql)
        await owner.close()

    line = "1-261124-" + "1" * 16
    asyncio.run(
        do(
            f"""
            INSERT INTO instruction (book, id, settlement_id, payee_id, payee_kind, account, name, amount_minor,
                currency, status, bank_date) SELECT 1, '{line[:-1]}' || n, '{BATCH}', 'pye_' || repeat('1', 26),
                'supplier', '6201', 'farm', 100, 'CNY', CASE n WHEN 3 THEN 'paid' ELSE 'in_transit' END, '2026-11-25'
                FROM generate_series(1, 3) n;
            """
        )
    )
    recall = ("payout", "recall", *BOOK, BATCH, "--reason", "DUPL")
    assert "none of AC03" in tea_house(*recall[:-1], "WHY", code=2).output
    assert "recall_not_possible" in tea_house(*recall, code=1).output, "the bank is not known to have it"
    asyncio.run(do("UPDATE settlement SET status = 'sent'; UPDATE bank_link SET settings = '{\"profile\": \"cmb\"}'"))
    said = tea_house(*recall, code=1).output
    assert "citybank takes no recalls" in said
    assert "recall_not_offered" in said
    asyncio.run(do("UPDATE bank_link SET settings = '{}'"))
    assert "no_such_line" in tea_house(*recall, "--line", "L1", code=1).output
    assert "no_such_settlement" in tea_house(*recall[:4], "stl_0", "--reason", "DUPL", code=1).output
    assert "recall_wrong" in tea_house(*recall, "--note", "x" * 106, code=1).output
    assert json.loads(tea_house("approval", "list", "--json").stdout)["approvals"] == []

    assert "approval_asked" in tea_house(*recall, "--note", "made twice", code=1).output
    assert "no recall" in tea_house("payout", "recalls", *BOOK).output
    tea_house("--as", "di", "approval", "approve", approval(tea_house))
    made = json.loads(tea_house(*recall, "--note", "made twice", "--json").stdout)["recalls"]
    assert [(one["instruction"][-1], one["status"], one["reason"]) for one in made] == [
        ("1", "requested", "DUPL"), ("2", "requested", "DUPL"),
    ]  # fmt: skip
    assert json.loads(tea_house(*recall, "--json").stdout)["recalls"] == made, "again asks nobody and nothing"
    paid = (*recall, "--line", f"{line[:-1]}3")
    assert "approval_asked" in tea_house(*paid, code=1).output
    tea_house("--as", "di", "approval", "approve", approval(tea_house))
    assert "requested; the bank is not known to have it" in tea_house(*paid).output
    listed = json.loads(tea_house("payout", "recalls", *BOOK, "--status", "requested", "--json").stdout)["recalls"]
    assert len(listed) == 3
    assert "--status is one of" in tea_house("payout", "recalls", *BOOK, "--status", "lost", code=2).output
    shown = tea_house("settlement", "show", *BOOK, BATCH).output
    assert shown.count("recall 追回 of") == 3
    assert "no_such_withdrawal" in tea_house("withdrawal", "recall", *BOOK, "wdr_0", "--reason", "CUST", code=1).output
