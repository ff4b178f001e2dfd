"""Each invariant of the books and of the events is silent on sound data, and speaks when its fault is planted."""

import random
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

import ledger
import streams
from kernel.db import Connection, connect
from kernel.work import BOOKS, new_head, perform
from ledger import ExpireHold, OpenAccounts, Post, Step, Transfer
from tests.conftest import TestServer
from tests.kernel.one_book import DAY, NOW, Pay, broken, outside, superuser
from tests.ops.daily import daily

CHANNEL, MERCHANT, PAYEE, FEE = "channel:rail:CNY", "merchant:CNY", "payee:p:CNY", "platform_fee:CNY"
TRANSIT, SUB = "in_transit:bank:CNY", "sub_account:p:CNY"
YEN_CHANNEL, YEN_MERCHANT = "channel:rail:JPY", "merchant:JPY"
BOOK, OTHER = 7, 8


def cny(ident: str, rule: str, debit: str, credit: str, amount: int, *more: Any) -> Transfer:
    return Transfer(ident, rule, debit, credit, amount, "CNY", *more)


async def a_day_of_postings(connection: Connection) -> None:
    """Fill two books with some of everything the journal can hold."""
    later = NOW + timedelta(hours=1)
    for book in (BOOK, OTHER):
        await BOOKS.insert(connection, [new_head(book, NOW)])
        names = [CHANNEL, MERCHANT, PAYEE, FEE, TRANSIT, SUB, YEN_CHANNEL, YEN_MERCHANT]
        groups = [
            [cny("p1", "payment_captured", CHANNEL, MERCHANT, 1_000), cny("f1", "channel_fee", MERCHANT, CHANNEL, 6)],
            [cny("s1", "share", MERCHANT, PAYEE, 500), cny("c1", "commission", MERCHANT, FEE, 20)],
            [cny("open", "refund", MERCHANT, CHANNEL, 30, Step.HOLD)],
            [cny("part", "refund", MERCHANT, CHANNEL, 40, Step.HOLD)],
            [cny("part:done", "refund", MERCHANT, CHANNEL, 25, Step.POST_HOLD, "part")],
            [cny("void", "refund", MERCHANT, CHANNEL, 50, Step.HOLD)],
            [cny("void:done", "refund", MERCHANT, CHANNEL, 50, Step.VOID_HOLD, "void")],
            [cny("late", "refund", MERCHANT, CHANNEL, 60, Step.HOLD, None, later)],
            [cny("t1", "settlement_sent", PAYEE, TRANSIT, 300), cny("b1", "settlement_paid", TRANSIT, SUB, 300)],
            [Transfer("y1", "payment_captured", YEN_CHANNEL, YEN_MERCHANT, 900, "JPY")],
        ]
        results = await perform(
            connection,
            [
                OpenAccounts(book, names),
                *(Post(book, f"posting {n}", group, DAY) for n, group in enumerate(groups)),
                *(Pay(book, f"told{n}", note="also told") for n in range(5)),
            ],
            NOW + timedelta(minutes=book),
        )
        results += await perform(connection, [ExpireHold(book, "late")], later + timedelta(minutes=book))
        next_day = [cny("next", "payment_captured", CHANNEL, MERCHANT, 70)]
        results += await perform(connection, [Post(book, "the next day", next_day, DAY)], NOW + timedelta(days=1))
        assert not [result for result in results if isinstance(result, Exception)]


@pytest.fixture
async def breaker(database_url: str, pg_server: TestServer) -> AsyncIterator[Connection]:
    """A superuser's connection to a database with a day of postings; no trigger fires and no CHECK stands."""
    async with superuser(pg_server, database_url) as connection:
        await a_day_of_postings(connection)
        # json would refuse some changes of a payload by itself
        await connection.execute("ALTER TABLE event ALTER payload TYPE text")
        checks = await connection.fetch(
            "SELECT conrelid::regclass::text AS of, conname FROM pg_constraint WHERE contype = 'c' AND conrelid = "
            "ANY(ARRAY['book', 'account', 'transfer', 'hold', 'event']::regclass[])"
        )
        for check in checks:
            await connection.execute(f"ALTER TABLE {check['of']} DROP CONSTRAINT {check['conname']}")
        assert await broken(connection) == {}
        yield connection


_RELINK = "UPDATE transfer SET {} WHERE book = 7 AND id = '{}'"

# The journal never named it, so a daily run does not come to it: it is `--all` that does.
A_HOLD_OF_NOTHING = (
    "INSERT INTO hold SELECT book, 'forged', debit, credit, amount_minor, currency, state, 0, NULL FROM hold "
    "WHERE book = 7 AND id = 'open'"
)

# invariant → what a hand with every privilege may do to the data, each to be noticed by this invariant
FAULTS = {
    "debits_equal_credits": [
        "UPDATE account SET debits = debits + 1 WHERE book = 7 AND name = 'merchant:CNY'",
        "UPDATE account SET credits_held = credits_held - 1 WHERE book = 7 AND name = 'channel:rail:CNY'",
        "DELETE FROM account WHERE book = 7 AND name = 'payee:p:CNY'",
        "UPDATE account SET currency = 'JPY' WHERE book = 7 AND name = 'merchant:CNY'",
    ],
    "balances_follow_from_the_journal": [
        # both sides alike, so that the trial balance is none the wiser
        "UPDATE account SET debits = debits + 1, credits = credits + 1 WHERE book = 7 AND name = 'merchant:CNY'",
        "UPDATE account SET debits_held = debits_held + 1, credits_held = credits_held + 1 "
        "WHERE book = 7 AND name = 'payee:p:CNY'",
        "UPDATE account SET book = 8, name = 'channel:moved:CNY' WHERE book = 7 AND name = 'channel:rail:CNY'",
        "DELETE FROM account WHERE book = 7 AND currency = 'JPY'",
        "DELETE FROM transfer WHERE book = 7 AND id = 'y1'",
        _RELINK.format("amount_minor = amount_minor + 1", "s1"),
        _RELINK.format("step = 'hold'", "s1"),
        "UPDATE hold SET amount_minor = 41 WHERE book = 7 AND id = 'part'",
        "DELETE FROM hold WHERE book = 7 AND id = 'part'",
    ],
    "no_account_overdrawn": [
        "UPDATE account SET debits = credits + 1 WHERE book = 7 AND name = 'merchant:CNY'",
        "UPDATE account SET debits_held = credits - debits + 1 WHERE book = 7 AND name = 'sub_account:p:CNY'",
        "UPDATE account SET may_overdraw = false, credits = debits + 1 WHERE book = 7 AND name = 'channel:rail:CNY'",
    ],
    "transfers_follow_the_rules": [
        _RELINK.format("rule = 'magic'", "s1"),
        _RELINK.format("rule = 'refund'", "s1"),
        _RELINK.format("debit = 'payee:p:CNY', credit = 'merchant:CNY'", "s1"),
        _RELINK.format("credit = 'payee:stranger:CNY'", "s1"),
        _RELINK.format("currency = 'JPY'", "s1"),
        _RELINK.format("debit = 'channel:rail:JPY'", "p1"),
    ],
    "platform_takes_fees_only": [
        _RELINK.format("credit = 'platform_fee:CNY'", "p1"),
        _RELINK.format("debit = 'platform_fee:CNY'", "s1"),
    ],
    "journal_chain_holds": [
        _RELINK.format("posting = 'another'", "s1"),
        _RELINK.format("posting = posting || chr(31)", "s1"),  # what the chain parts fields with
        "DELETE FROM transfer WHERE book = 7 AND seq = 3",
        "DELETE FROM transfer WHERE book = 7 AND seq = (SELECT max(seq) FROM transfer WHERE book = 7)",
        "DELETE FROM transfer WHERE book = 7 AND seq = 1",
        "DELETE FROM transfer WHERE book = 7",
        "UPDATE transfer SET seq = 9 - seq WHERE book = 7 AND seq IN (4, 5)",
        "INSERT INTO transfer SELECT book, 'forged', seq + 1, posting, rule, step, debit, credit, amount_minor, "
        "currency, hold_id, business_date, recorded_at, hash FROM transfer WHERE book = 7 ORDER BY seq DESC LIMIT 1",
        "UPDATE book SET transfer_hash = (SELECT hash FROM transfer WHERE book = 7 AND seq = 1) WHERE book = 7",
        "UPDATE book SET transfer_seq = transfer_seq + 1 WHERE book = 7",
        "DELETE FROM book WHERE book = 7",
    ],
    "holds_match_the_journal": [
        "DELETE FROM hold WHERE book = 7 AND id = 'open'",
        "DELETE FROM hold WHERE book = 7 AND id = 'void'",
        "DELETE FROM transfer WHERE book = 7 AND id = 'void'",
        "DELETE FROM transfer WHERE book = 7 AND id = 'void:done'",
        "UPDATE hold SET state = 'held' WHERE book = 7 AND id = 'part'",
        "UPDATE hold SET state = 'voided' WHERE book = 7 AND id = 'part'",
        "UPDATE hold SET state = 'posted', posted_minor = 50 WHERE book = 7 AND id = 'void'",
        "UPDATE hold SET state = 'posted', posted_minor = 30 WHERE book = 7 AND id = 'open'",
        "UPDATE hold SET posted_minor = 26 WHERE book = 7 AND id = 'part'",
        "UPDATE hold SET amount_minor = 31 WHERE book = 7 AND id = 'open'",
        "UPDATE hold SET debit = 'payee:p:CNY' WHERE book = 7 AND id = 'open'",
        "UPDATE hold SET id = 'renamed' WHERE book = 7 AND id = 'open'",
        A_HOLD_OF_NOTHING,
    ],
    "day_sums_follow_from_the_journal": [
        "UPDATE day_sum SET debits = debits + 1, credits = credits + 1 WHERE book = 7 AND rule = 'share'",
        "UPDATE day_sum SET business_date = business_date + 1 WHERE book = 7 AND rule = 'commission'",
        "UPDATE day_sum SET recorded_on = recorded_on - 1 WHERE book = 7 AND rule = 'commission'",
        "UPDATE day_sum SET rule = 'another' WHERE book = 7 AND rule = 'refund'",
        "UPDATE day_sum SET account = 'merchant:JPY' WHERE book = 7 AND account = 'merchant:CNY' AND rule = 'share'",
        "DELETE FROM day_sum WHERE book = 7 AND account = 'sub_account:p:CNY'",
        "DELETE FROM day_sum WHERE book = 8",
        "INSERT INTO day_sum VALUES (7, 'merchant:CNY', '2026-11-01', '2026-11-24', 'share', 1, 0)",
        "DELETE FROM transfer WHERE book = 7 AND id = 'y1'",
        _RELINK.format("amount_minor = amount_minor + 1", "s1"),
        _RELINK.format("business_date = business_date - 1", "s1"),
        _RELINK.format("step = 'hold'", "s1"),
    ],
    "day_ends_follow_from_the_journal": [
        "UPDATE day_end SET debits = debits + 1 WHERE book = 7 AND account = 'merchant:CNY'",
        "UPDATE day_end SET credits = credits + 1 WHERE book = 7 AND account = 'merchant:CNY'",
        "UPDATE day_end SET day = day - 1 WHERE book = 7 AND account = 'channel:rail:CNY'",
        "DELETE FROM day_end WHERE book = 7 AND account = 'channel:rail:CNY'",
        "INSERT INTO day_end VALUES (7, 'payee:p:CNY', '2026-11-01', 0, 0)",
        "UPDATE account SET moved_on = moved_on - 1 WHERE book = 7 AND name = 'payee:p:CNY'",
        "UPDATE account SET moved_on = NULL WHERE book = 7 AND name = 'merchant:CNY'",
        "UPDATE account SET debits = debits + 1, credits = credits + 1 WHERE book = 7 AND name = 'merchant:CNY'",
        "DELETE FROM transfer WHERE book = 7 AND id = 'next'",
    ],
    "event_chain_holds": [
        "UPDATE event SET payload = '{\"amount\":101}' WHERE book = 7 AND seq = 2",
        "DELETE FROM event WHERE book = 7 AND seq = 2",
        "DELETE FROM event WHERE book = 7 AND seq = 5",
        "DELETE FROM event WHERE book = 7",
        "UPDATE event SET seq = 6 WHERE book = 7 AND seq = 5",
        "UPDATE book SET event_seq = 4 WHERE book = 7",
        "UPDATE book SET event_hash = transfer_hash WHERE book = 7",
        "UPDATE event SET subject = subject || chr(31) WHERE book = 7 AND seq = 2",  # what the chain parts fields with
        "DELETE FROM book WHERE book = 7",
    ],
}


def test_each_invariant_has_its_faults() -> None:
    assert FAULTS.keys() == (ledger.INVARIANTS | streams.INVARIANTS).keys()


@pytest.mark.parametrize("invariant", FAULTS)
async def test_an_invariant_speaks_when_its_fault_is_planted(breaker: Connection, invariant: str) -> None:
    silent = []
    for fault in FAULTS[invariant]:
        planting = breaker.transaction()
        await planting.start()
        changed = await breaker.execute(fault)
        assert not changed.endswith(" 0"), f"planted nothing: {fault}"
        found = await (ledger.INVARIANTS | streams.INVARIANTS)[invariant](breaker)
        found_daily = await daily(breaker, invariant)
        await planting.rollback()
        if not any("book 7" in line or "book 8" in line for line in found):
            silent.append(fault)
        if set(found_daily) - set(found) or (not found_daily and fault != A_HOLD_OF_NOTHING):
            silent.append(f"in a daily run: {fault}")
    assert silent == []
    assert await broken(breaker) == {}


# -- any change of any row ---------------------------------------------------------------------------------------------


def tampered(value: Any, rng: random.Random) -> Any:
    """Return the value changed by as little as its type allows."""
    match value:
        case str():
            place = rng.randrange(len(value) + 1)
            if place == len(value) or rng.random() < 0.2:
                return value[:place] + rng.choice("0aZ:_") + value[place:]
            if rng.random() < 0.2:
                return value[:place] + value[place + 1 :]
            other = rng.choice([c for c in "0123abcXYZ:-_" if c != value[place]])
            return value[:place] + other + value[place + 1 :]
        case bytes():
            place, bit = rng.randrange(len(value)), 1 << rng.randrange(8)
            return value[:place] + bytes([value[place] ^ bit]) + value[place + 1 :]
        case datetime():
            return value + timedelta(microseconds=rng.choice([-1, 1]))
        case date():
            return value + timedelta(days=rng.choice([-1, 1]))
        case int():
            return value ^ (1 << rng.randrange(31))
        case None:
            return rng.choice(["", "h"])
        case _:
            raise AssertionError(f"what is a {type(value)}?")


@pytest.mark.parametrize(("table", "check"), [("transfer", "journal_chain_holds"), ("event", "event_chain_holds")])
async def test_any_change_of_any_field_of_any_row_breaks_the_chain(breaker: Connection, table: str, check: str) -> None:
    """The chain reads a missing hold_id as an empty one; that change is for the holds' own invariant to see."""
    checks = [(ledger.INVARIANTS | streams.INVARIANTS)[name] for name in (check, "holds_match_the_journal")]
    rng = random.Random(20261124)
    rows = await breaker.fetch(f"SELECT * FROM {table} ORDER BY book, seq")
    unnoticed, tried = [], set()
    for _ in range(300):
        row = rng.choice(rows)
        column = rng.choice(list(row.keys()))
        new = tampered(row[column], rng)
        planting = breaker.transaction()
        await planting.start()
        try:
            await breaker.execute(
                f"UPDATE {table} SET {column} = $1 WHERE book = $2 AND seq = $3", new, row["book"], row["seq"]
            )
        except asyncpg.UniqueViolationError:
            noticed = True  # the key itself refuses it
        else:
            noticed = bool([line for one in checks for line in await one(breaker)])
        await planting.rollback()
        tried.add(column)
        if not noticed:
            unnoticed.append((column, row[column], new))
    assert unnoticed == []
    assert tried == set(rows[0].keys())
    assert await broken(breaker) == {}


# -- append-only -------------------------------------------------------------------------------------------------------

CHANGES = ["UPDATE {} SET hash = hash", "UPDATE {} SET book = 0 WHERE false", "DELETE FROM {}", "TRUNCATE {}"]


@pytest.mark.parametrize("table", ["transfer", "event"])
async def test_the_hub_has_no_privilege_to_change_a_journal(database_url: str, table: str) -> None:
    async with connect(database_url, size=1) as pool:
        for change in [*CHANGES, "ALTER TABLE {} DISABLE TRIGGER ALL", "DROP TABLE {}"]:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await pool.execute(change.format(table))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute("SET session_replication_role = replica")


@pytest.mark.parametrize("table", ["transfer", "event"])
async def test_the_owner_of_a_journal_is_stopped_by_its_trigger(database_url: str, table: str) -> None:
    async with outside(database_url) as owner:
        await a_day_of_postings(owner)
        before = await owner.fetch(f"SELECT * FROM {table} ORDER BY book, seq")
        assert len(before) >= 10
        for change in CHANGES:
            with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
                await owner.execute(change.format(table))
        assert await owner.fetch(f"SELECT * FROM {table} ORDER BY book, seq") == before


async def test_the_database_itself_refuses_an_overdraft(database_url: str) -> None:
    async with outside(database_url) as owner:
        await a_day_of_postings(owner)
        for name in ("merchant:CNY", "sub_account:p:CNY"):
            with pytest.raises(asyncpg.CheckViolationError):
                await owner.execute("UPDATE account SET debits = credits + 1 WHERE book = 7 AND name = $1", name)
