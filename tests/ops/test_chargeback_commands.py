"""`sluice chargeback …` on a real database, in the words a clerk types."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, date, datetime

import asyncpg
from typer.testing import Result

from kernel.work import perform
from ledger import OpenAccounts, Post, Transfer, accounts

Sluice = Callable[..., Result]
BOOK = ("--book", "1")
PAYMENT = "pay_" + "0" * 26
WHEN = datetime(2026, 11, 24, 8, tzinfo=UTC)
SQL = """
    INSERT INTO payment (book, id, merchant_order_id, amount_minor, currency, method, description, status,
        attempt_count, captured_minor, fee_minor, created_at, updated_at, expires_at, succeeded_at, business_date,
        won_attempt, channel)
        VALUES (1, $1, 'order-1', 10000, 'CNY', 'qr', 'tea', 'succeeded', 1, 10000, 60, $2, $2, $2, $2, '2026-11-24',
        1, 'wechat');
"""
ATTEMPT = """
    INSERT INTO attempt (book, payment_id, number, channel_account, channel, fee_minor, method, status, channel_ref,
        created_at, updated_at, captured_minor, business_date)
        VALUES (1, $1, 1, 'main', 'wechat', 60, 'qr', 'confirmed', 'wx-1', $2, $2, 10000, '2026-11-24');
"""


async def a_payment(database_url: str) -> None:
    channel, merchant = accounts.channel("main", "CNY"), accounts.merchant("CNY")
    captured = Transfer(f"{PAYMENT}:1:captured", "payment_captured", channel, merchant, 10_000, "CNY")
    fee = Transfer(f"{PAYMENT}:1:fee", "channel_fee", merchant, channel, 60, "CNY")
    owner = await asyncpg.connect(database_url)
    async with owner.transaction():
        posted = Post(1, f"{PAYMENT}:1", [captured, fee], date(2026, 11, 24))
        await perform(owner, [OpenAccounts(1, [channel, merchant]), posted], datetime.now(UTC))
        await owner.execute(SQL, PAYMENT, WHEN)
        await owner.execute(ATTEMPT, PAYMENT, WHEN)
    await owner.close()


def twice(tea_house: Sluice, *words: str, code: int = 0) -> str:
    """Have a command asked for, agreed to by another person, and carried out; return what it said."""
    assert "approval_asked" in tea_house(*words, code=1).output
    found = json.loads(tea_house("approval", "list", "--json").stdout)["approvals"]
    (asked,) = [one["id"] for one in found if one["status"] == "asked"]
    tea_house("--as", "di", "approval", "approve", asked)
    return tea_house(*words, code=code).output


def test_two_people_record_what_a_rail_tells_only_people(tea_house: Sluice, database_url: str) -> None:
    asyncio.run(a_payment(database_url))
    tea_house("person", "add", "di", "--role", "operator", "--keep")
    assert "no such chargebacks" in tea_house("chargeback", "list", *BOOK).output
    told = ("--evidence", "ticket 7", "--date", "2026-11-25")
    opened = ("chargeback", "open", *BOOK, PAYMENT, "--ref", "C-1", "--amount", "30.00", "--fee", "1.50", *told)
    said = twice(tea_house, *opened)
    assert "opened  wechat C-1  30.00 CNY" in said
    listed = json.loads(tea_house("chargeback", "list", *BOOK, "--status", "opened", "--json").stdout)["chargebacks"]
    ident = listed[0]["id"]
    assert [(one["amount"], one["chargeback_fee"], one["recorded_by_hand"]) for one in listed] == [(3_000, 150, True)]
    shown = tea_house("chargeback", "show", *BOOK, ident).output
    assert "ticket 7" in shown
    assert "ada" in shown
    lost = ("chargeback", "lost", *BOOK, ident, "--evidence", "ticket 8", "--date", "2026-11-26")
    assert "lost" in twice(tea_house, *lost)
    assert "lost" in tea_house(*lost).output, "again takes nobody"
    won = ("chargeback", "won", *BOOK, ident, "--evidence", "ticket 9", "--date", "2026-11-27", "--fee-back", "1.50")
    assert "won" in twice(tea_house, *won)
    [row] = json.loads(tea_house("chargeback", "list", *BOOK, "--json").stdout)["chargebacks"]
    assert (row["status"], row["chargeback_fee_returned"], row["ended_date"]) == ("won", 150, "2026-11-27")
    acts = {record["what"] for record in json.loads(tea_house("audit", "list", "--json").stdout)}
    assert {"chargeback open", "chargeback won", "chargeback lost"} <= acts


def test_what_cannot_be_recorded_says_why(tea_house: Sluice, database_url: str) -> None:
    asyncio.run(a_payment(database_url))
    tea_house("person", "add", "di", "--role", "operator", "--keep")
    told = ("--evidence", "ticket 7", "--date", "2026-11-25")
    opened = ("chargeback", "open", *BOOK, PAYMENT, "--ref", "C-1")
    for words, code in (
        (("chargeback", "open", *BOOK, "pay_0", "--ref", "C-1", "--amount", "1.00", *told), "no_such_payment"),
        ((*opened, "--amount", "x", *told), "invalid_request"),
        ((*opened, "--amount", "0", *told), "invalid_request"),
        (("chargeback", "won", *BOOK, "cbk_0", *told), "no_such_chargeback"),
        (("chargeback", "show", *BOOK, "cbk_0"), "no_such_chargeback"),
    ):
        assert code in tea_house(*words, code=1).output, words
    assert "is not a date" in tea_house(*opened, "--amount", "1.00", "--evidence", "t", "--date", "soon", code=2).output
    assert "opened" in twice(tea_house, *opened, "--amount", "1.00", *told)
    listed = json.loads(tea_house("chargeback", "list", *BOOK, "--json").stdout)["chargebacks"]
    early = ("chargeback", "lost", *BOOK, listed[0]["id"], "--evidence", "t", "--date", "2026-11-24")
    assert "invalid_request" in tea_house(*early, code=1).output
    for wrong in ("2.00", "100.01"):
        assert "chargeback_not_booked" in twice(tea_house, *opened, "--amount", wrong, *told, code=1)
