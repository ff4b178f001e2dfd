"""A daily `sluice verify` reads what has changed since it last found everything well, however long the books are."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from channels.contract import Pending
from kernel.db import Pool, connect
from ops.verify import Marks, Walked, verify_since
from splitting.settlement.deposits import ApplyDeposit
from tests.conftest import TestServer as PostgresServer
from tests.gateway.front import QR, Front, a_front
from tests.kernel.one_book import superuser
from tests.ops.history import grow
from tests.splitting.town import FARM, a_town

pytestmark = pytest.mark.asyncio(loop_scope="session")

DAY_S = 24 * 3600.0


class Books(NamedTuple):
    """A hub whose books a test makes long, and one session that reads them."""

    front: Front
    owner: "asyncpg.Connection[asyncpg.Record]"
    reader: Pool
    marks: Marks
    like: str  # a payment that was shared out and refunded in part

    async def verify(self, *, everything: bool = False, again: int = 0) -> tuple[dict[str, list[str]], list[Walked]]:
        """Return what is broken, and what was looked at."""
        verdicts, walked = await verify_since(self.reader, self.marks, everything=everything, again=again)
        return {one.name: one.broken for one in verdicts if one.broken}, walked

    async def counted(self, *, everything: bool = False, again: int = 0) -> "Counter[str]":
        """Let a run find everything well; return how many rows of each table of the hub's it read."""
        # What autovacuum does when it comes by (autosummarize); until then new pages are read whole.
        await self.owner.execute("SELECT brin_summarize_new_values('transfer_lately')")
        before = await self._rows()
        assert (await self.verify(everything=everything, again=again))[0] == {}
        return await self._rows() - before

    async def a_day(self, payments: int, *, day: str) -> list[str]:
        """Let a day pass with so many payments, each shared out and refunded in part; return them."""
        self.front.clock.forward(DAY_S)
        farm = await self.front.payee(f"farm-{day}")
        plan = [{"payee": farm, "basis_points": 3_000}]
        made = [await self.front.paid(f"{day}-{number}", split=plan) for number in range(payments)]
        await self.front.share_out()
        for payment in made:
            await self.front.refund(payment, 1_000)
        self.front.clock.forward(DAY_S)
        return made

    async def _rows(self) -> "Counter[str]":
        async with self.reader.acquire() as connection:  # its only one, so what it counted is told at once
            await connection.execute("SELECT pg_stat_force_next_flush()")
            rows = await connection.fetch(
                "SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables "
                "WHERE schemaname = 'public'"
            )
        return Counter({row[0]: row[1] for row in rows})


@asynccontextmanager
async def long_books(database_url: str, home: Path, server: PostgresServer, payments: int) -> AsyncIterator[Books]:
    """Open a hub with that many payments in its books, all of them verified once."""
    async with (
        a_front(database_url, home) as front,
        superuser(server, database_url) as owner,
        connect(database_url, size=1) as reader,
    ):
        farm = await front.payee("farm")
        like = await front.paid("like", split=[{"payee": farm, "basis_points": 3_000}])
        await front.share_out()
        await front.refund(like, 1_000)
        books = Books(front, owner, reader, Marks(home, front.hub.env), like)
        await grow(owner, front.book, like, payments)
        assert (await books.verify())[0] == {}
        yield books


async def test_a_day_reads_what_the_day_has_changed_however_long_the_books_are(
    database_url: str, tmp_path: Path, pg_server: PostgresServer
) -> None:
    async with long_books(database_url, tmp_path, pg_server, 200) as books:
        read = {}
        for name, more, payments in (("short", 0, 4), ("long", 1_800, 4), ("twice", 0, 8)):
            if more:
                await grow(books.owner, books.front.book, books.like, more, first=200)
                assert (await books.verify())[0] == {}
            await books.a_day(payments, day=name)
            read[name] = await books.counted()
        everything = await books.counted(everything=True)
    # Looked up by key: as many as the day has, and not one of what was before. Accounts are added up whole: there are
    # as many as payees, of whom those who are the platform are looked for. Of the journal whole page ranges are read,
    # those the day is on.
    for rows in (*read.values(), everything):
        del rows["book"], rows["account"], rows["payee"]
    journal = {name: rows.pop("transfer") for name, rows in read.items()}
    # Of what is kept by day, the days since the one of the mark: one row an account and rule, however many payments.
    by_day = {name: rows.pop("day_sum") + rows.pop("day_end", 0) for name, rows in read.items()}
    assert max(by_day.values()) < 100
    del everything["day_sum"], everything["day_end"]
    # Events are read by the hub's own sessions too, and a server tells a moment later what a session read.
    events = {name: rows.pop("event") for name, rows in read.items()}
    assert 18 <= min(events["short"], events["long"]) <= max(events["short"], events["long"]) <= 28, events
    assert 38 <= events["twice"] <= 50, events
    assert read["long"] == read["short"] == Counter(payment=4, attempt=4, split=4, refund=8, hold=12)
    assert read["twice"] == Counter(payment=8, attempt=8, split=8, refund=16, hold=24)
    # The first run's mark is of the day on which the short books were made, and so is what is looked at by day.
    assert max(journal["long"], journal["twice"]) < 2_500 < everything["transfer"] // 50
    assert all(everything[table] > 100 * rows for table, rows in read["twice"].items())


async def test_a_fault_of_today_is_found_today(database_url: str, tmp_path: Path, pg_server: PostgresServer) -> None:
    async with long_books(database_url, tmp_path, pg_server, 50) as books:
        made, *_ = await books.a_day(2, day="today")
        for invariant, fault, mended in (
            ("captures_match_the_journal", "attempt SET captured_minor = 1", "attempt SET captured_minor = 10000"),
            ("shares_sum_to_the_net", "split SET fee_minor = fee_minor + 1", "split SET fee_minor = fee_minor - 1"),
            ("refunds_match_the_journal", "refund SET status = 'failed'", "refund SET status = 'succeeded'"),
        ):
            await books.owner.execute(f"UPDATE {fault} WHERE payment_id = $1", made)
            broken, _ = await books.verify()
            assert invariant in broken
            await books.owner.execute(f"UPDATE {mended} WHERE payment_id = $1", made)
        broken, walked = await books.verify()
        assert (broken, walked[2].rows, walked[2].before) == ({}, 2, 51)


async def test_a_fault_in_what_was_verified_is_found_by_looking_at_everything_and_when_its_turn_comes(
    database_url: str, tmp_path: Path, pg_server: PostgresServer
) -> None:
    async with long_books(database_url, tmp_path, pg_server, 50) as books:
        old = await books.owner.fetchval("SELECT id FROM payment ORDER BY id OFFSET 34 LIMIT 1")
        await books.owner.execute("UPDATE payment SET fee_minor = fee_minor + 1 WHERE id = $1", old)
        await books.a_day(1, day="today")
        broken, walked = await books.verify()
        assert (broken, walked[2].rows, walked[2].before) == ({}, 1, 51)
        assert walked[2].since is not None, "it says since when"
        found = ["fees_match_the_journal", "shares_never_exceed_what_arrives"]
        assert list((await books.verify(everything=True))[0]) == found
        turns = [sorted((await books.verify(again=10))[0]) for _ in range(5)]
        assert turns == [[], [], [], found, found], "and the mark stays there until somebody has looked"
        await books.owner.execute("UPDATE payment SET fee_minor = fee_minor - 1 WHERE id = $1", old)
        looked = [(await books.verify(again=10))[1][2] for _ in range(5)]
        assert [one.again for one in looked] == [10, 10, 2, 10, 10], "the last ones, then the first again"


async def test_what_may_change_without_a_word_is_looked_at_again(
    database_url: str, tmp_path: Path, pg_server: PostgresServer
) -> None:
    async with long_books(database_url, tmp_path, pg_server, 5) as books:
        books.front.rail.says(pay=Pending(QR))
        waiting = (await books.front.pay("waiting")).body["id"]
        assert (await books.verify())[0] == {}
        await books.owner.execute(
            "UPDATE attempt SET status = 'confirmed', due_at = NULL WHERE payment_id = $1", waiting
        )
        assert "captures_match_the_journal" in (await books.verify())[0]
        await books.owner.execute(
            "UPDATE attempt SET status = 'pending', due_at = created_at WHERE payment_id = $1", waiting
        )
        assert (await books.verify())[0] == {}


async def test_accounts_are_held_to_what_they_were_and_what_the_journal_has_moved_since(
    database_url: str, tmp_path: Path, pg_server: PostgresServer
) -> None:
    async with long_books(database_url, tmp_path, pg_server, 5) as books:
        account = await books.owner.fetchval("SELECT name FROM account WHERE name LIKE 'payee:%'")
        await books.a_day(1, day="today")  # with another payee: nothing moves this one's account
        change = "UPDATE account SET debits = debits + $2, credits = credits + $2 WHERE name = $1"
        await books.owner.execute(change, account, 1)
        broken, _ = await books.verify()
        assert list(broken) == ["balances_follow_from_the_journal"]
        assert account in broken["balances_follow_from_the_journal"][0]
        await books.owner.execute(change, account, -1)
        # an old entry and both its accounts, so that all of the journal adds up; its chain was not walked again
        entry = await books.owner.fetchrow("SELECT * FROM transfer WHERE id = $1", f"{books.like}:1:captured")
        assert entry is not None
        for sign in (1, -1):
            await books.owner.execute(
                "UPDATE transfer SET amount_minor = amount_minor + $2 WHERE id = $1", entry["id"], sign
            )
            for column, name in (("debits", entry["debit"]), ("credits", entry["credit"])):
                await books.owner.execute(f"UPDATE account SET {column} = {column} + $2 WHERE name = $1", name, sign)
            broken, _ = await books.verify()
            if sign == 1:  # it is of the mark's own day, so the days' sums show it too
                assert list(broken) == [
                    "balances_follow_from_the_journal",
                    "day_sums_follow_from_the_journal",
                    "day_ends_follow_from_the_journal",
                ]
                assert "entries of before were changed" in broken["balances_follow_from_the_journal"][0]
        assert broken == {}


async def test_a_batch_of_before_that_is_decided_today_is_looked_at_whole(database_url: str, tmp_path: Path) -> None:
    async with a_town(database_url, tmp_path) as town:
        await town.sell()
        await town.settle(town.today)
        await town.front.assert_books_hold()
        await town.decide(town.today, FARM, paid=True)
        await town.front.assert_books_hold()


async def test_entries_of_a_host_whose_clock_is_behind_are_looked_at(
    database_url: str, tmp_path: Path, pg_server: PostgresServer
) -> None:
    async with long_books(database_url, tmp_path, pg_server, 5) as books:
        books.front.clock.forward(10 * DAY_S)
        assert (await books.verify())[0] == {}
        books.front.clock.forward(-9 * DAY_S)
        # a deposit: its event does not lead to its entry, as a payment's does, so that its time alone does
        deposited = ApplyDeposit(books.front.book, "icbc", "rail", "CNY", 100, "entry-1", date(2100, 6, 2))
        assert await books.front.hub.lanes.put(deposited)
        broken, walked = await books.verify()
        assert (broken, walked[0].rows) == ({}, 1)


async def test_no_statement_over_whole_tables_is_given_up_on(database_url: str, tmp_path: Path) -> None:
    async with connect(database_url, size=1, statement_s=0.05) as hasty:
        with pytest.raises(asyncpg.QueryCanceledError):
            await hasty.execute("SELECT pg_sleep(5)")
    async with a_front(database_url, tmp_path) as front, front.hub.patient() as pool:
        assert pool._connect_kwargs["command_timeout"] is None


async def test_the_copies_are_gone_when_the_run_is_over(
    database_url: str, tmp_path: Path, pg_server: PostgresServer
) -> None:
    """A session is lent to others afterwards: what they call `payment` is to be the payments."""
    async with long_books(database_url, tmp_path, pg_server, 5) as books:
        assert (await books.verify())[0] == {}
        async with books.reader.acquire() as connection:
            assert await connection.fetchval("SELECT count(*) FROM payment") == 6
            assert await connection.fetchval("SHOW enable_seqscan") == "on"
            await connection.execute("CREATE TEMPORARY TABLE payment (id int)")  # in the way of the next run
        with pytest.raises(asyncpg.DuplicateTableError):
            await books.verify()
        assert (await books.verify())[0] == {}, "and the session in which it went wrong has ended"
