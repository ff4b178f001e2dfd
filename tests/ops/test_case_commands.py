"""`sluice case …` on a real database, in the words an operator types."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from typer.testing import Result

import cases
from kernel.work import perform
from ops.doctor import Level, examine
from ops.settings import Settings
from tests.cases.test_cases import KIND, REFUND, Find
from tests.support import a_shop

Sluice = Callable[..., Result]


@pytest.fixture
def case(tea_house: Sluice) -> Sluice:
    """`sluice case` in a home where ada acts, an operator."""
    return partial(tea_house, "case")


async def found(database_url: str) -> str:
    """Have the hub find something that a person must decide, and return the case's id."""
    connection = await asyncpg.connect(database_url)
    async with connection.transaction():
        [opened] = await perform(connection, [Find()], datetime.now(UTC))
    await connection.close()
    assert isinstance(opened, cases.Case)
    return opened.id


def test_a_case_is_listed_shown_and_decided(case: Sluice, database_url: str, tmp_path: Path) -> None:
    assert "no case waits" in case("list").output
    ident = asyncio.run(found(database_url))
    assert ident in (listed := case("list", code=1).output)
    assert "  0.70 CNY" in listed, "a clerk would take 70 CNY for seventy yuan"
    assert ident in case("list", "--book", "1", code=1).output
    [row] = json.loads(case("list", "--json", code=1).stdout)["cases"]
    assert (row["id"], row["book"], row["kind"], row["about"], row["amount_minor"]) == (ident, 1, KIND, REFUND, 70)
    shown = case("show", ident).output
    assert "0.70 CNY" in shown
    assert all(name in shown for name in (*cases.KINDS[KIND].decisions, "NOT_ENOUGH", REFUND, "sluice case decide"))
    assert set(json.loads(case("show", ident, "--json").stdout)["decisions"]) == set(cases.KINDS[KIND].decisions)
    told = ("--note", "the payer agreed")
    assert "is decided by one of" in case("decide", ident, "--decision", "forget", *told, code=1).output
    assert "by ada" in case("decide", ident, "--decision", "wait", *told).output
    assert json.loads(case("decide", ident, "--decision", "wait", *told, "--json").stdout)["decision"] == "wait"
    case("list")
    assert "wait by ada" in case("list", "--decided").output
    assert "may still be decided otherwise" in case("show", ident).output
    assert "sent_on" in case("decide", ident, "--decision", "sent_on", *told).output
    assert "the payer agreed" in case("show", ident).output


def test_the_facts_of_a_case_are_shown_for_people(case: Sluice, database_url: str) -> None:
    facts = {
        "awaits_bill": True, "at_pool": False, "day": None, "accounts": ["main", "second"], "none": [], "empty": {},
        "shared": {"main": 6_000, "second": None}, "uploads": [{"id": "f1", "held": True}, {"id": "f2\x1b[2J"}],
    }  # fmt: skip

    async def opened() -> str:
        connection = await asyncpg.connect(database_url)
        async with connection.transaction():
            asked = cases.OpenCase(1, KIND, "re_2", 70, "CNY", facts)
            [row] = await perform(connection, [asked], datetime.now(UTC))
        await connection.close()
        assert isinstance(row, cases.Case)
        return row.id

    ident = asyncio.run(opened())
    lines = [" ".join(line.split()) for line in case("show", ident).output.splitlines()]
    assert {
        "awaits_bill yes", "at_pool no", "day –", "accounts main, second", "none –", "empty –", "shared.main 6000",
        "shared.second –", "uploads.1.id f1", "uploads.1.held yes", "uploads.2.id f2\\x1b[2J",
    } <= set(lines)  # fmt: skip
    assert not any(word in line.split() for line in lines for word in ("None", "True", "False"))
    assert json.loads(case("show", ident, "--json").stdout)["facts"] == facts


def test_a_case_or_book_that_is_none_is_named_and_a_decision_needs_a_reason(case: Sluice, database_url: str) -> None:
    assert "no_such_case" in case("show", "cas_0", code=1).output
    assert "no_such_book" in case("list", "--book", "9", code=1).output
    none = ("decide", "cas_0", "--decision", "wait")
    assert "--note" in case(*none, code=2).output
    assert "no_such_case" in case(*none, "--note", "why", code=1).output
    ident = asyncio.run(found(database_url))
    assert "case_note_missing" in case("decide", ident, "--decision", "wait", "--note", " ", code=1).output
    assert "No such option: --by" in case(*none, "--by", "Wang", "--note", "why", code=2).output


def test_the_doctor_warns_of_what_waits_for_a_person(tea_house: Sluice, database_url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", database_url=SecretStr(database_url))

    def looked() -> tuple[Level, str]:
        [finding] = [one for one in asyncio.run(examine(settings)) if one.topic == "cases"]
        return finding.level, finding.seen

    assert looked()[0] is Level.OK
    asyncio.run(found(database_url))
    level, seen = looked()
    assert level is Level.WARN
    assert f"1 × {KIND}" in seen


async def test_what_waits_for_a_person_is_a_figure(database_url: str, tmp_path: Path) -> None:
    async with a_shop(database_url, tmp_path) as shop:

        async def figure(name: str) -> float | None:
            await shop.hub.checks().measure()
            return shop.hub.registry.get_sample_value(name, {"kind": KIND})

        assert await figure("sluice_cases_open") == 0
        await found(database_url)
        assert await figure("sluice_cases_open") == 1
        oldest = await figure("sluice_case_oldest_seconds")
        assert oldest is not None
        assert oldest > 0


class HourAhead(datetime):
    """The clock of a host that is an hour ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "HourAhead":
        return super().now(tz) + timedelta(hours=1)


def test_the_doctor_says_whose_bank_is_not_read(
    tea_house: Sluice, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path / "home", database_url=SecretStr(database_url))

    async def linked(bank: str, ago: str, ended: str) -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute(
            "INSERT INTO bank_link (book, bank, pool_account, settings, cursor, read_at, ended_at) "
            f"VALUES (1, $1, 'pool', '{{}}', '{{}}', now() - interval '{ago}', {ended})",
            bank,
        )
        await connection.close()

    def looked() -> tuple[Level, str]:
        [finding] = [one for one in asyncio.run(examine(settings)) if one.topic == "banks"]
        return finding.level, finding.seen

    asyncio.run(linked("fresh", "1 minute", "NULL"))
    asyncio.run(linked("ended", "1 day", "now()"))
    assert looked()[0] is Level.OK
    with monkeypatch.context() as hour_ahead:
        hour_ahead.setattr("ops.doctor.datetime", HourAhead)
        assert looked()[0] is Level.OK, "banks are judged by the database's clock, not by this host's"
    for bank, ago in (("first", "1 hour"), ("second", "2 hours"), ("third", "3 hours"), ("fourth", "4 hours")):
        asyncio.run(linked(bank, ago, "NULL"))
    level, seen = looked()
    assert level is Level.WARN
    assert [bank in seen for bank in ("fourth", "third", "second", "first", "fresh", "ended")] == [True] * 3 + [
        False
    ] * 3
    assert "book 1 at fourth since" in seen
    assert "and 1 more" in seen
    assert "last read 20" in tea_house("bank", "list", "--book", "1").output


async def crowd(database_url: str, number: int) -> None:
    """Have many files of a bank set aside, and one with a name that writes over the screen."""
    connection = await asyncpg.connect(database_url)
    facts = {"why": "\x1b[2J\u202e", "a_name_as_long_as": 1}
    odd = cases.OpenCase(1, "bank_file_set_aside", "citybank:\x1b[2J\n\u202ex", None, None, facts)
    async with connection.transaction():
        await perform(connection, [odd], datetime.now(UTC))
    await connection.execute(
        "INSERT INTO case_file (book, id, kind, about, facts, status, opened_at, opened_count) "
        "SELECT 1, 'cas_' || n, 'bank_file_set_aside', 'citybank:' || n, '{}', 'open', now() + n * interval '1 s', 1 "
        "FROM generate_series(1, $1::int) AS n",
        number,
    )
    await connection.close()


def test_a_list_that_is_longer_than_what_is_shown_says_so_and_may_be_narrowed(case: Sluice, database_url: str) -> None:
    case("list")
    ident = asyncio.run(found(database_url))
    asyncio.run(crowd(database_url, 1_500))
    assert "the first 1000 of 1502 waiting" in case("list", code=1).output
    assert json.loads(case("list", "--json", code=1).stdout)["number"] == 1_502
    assert "1501 waiting" in case("list", "--kind", "bank_file_set_aside", "--limit", "2000", code=1).output
    (row,) = json.loads(case("list", "--kind", KIND, "--json", code=1).stdout)["cases"]
    assert row["id"] == ident
    assert "is no kind of case" in case("list", "--kind", "lost", code=2).output


def test_what_others_wrote_does_not_write_over_the_screen(case: Sluice, database_url: str) -> None:
    case("list")
    asyncio.run(crowd(database_url, 0))
    (line, _) = case("list", code=1).output.splitlines()
    assert line.isprintable()
    assert "citybank:" in line
    shown = case("show", line.split()[0]).output
    assert all(line.isprintable() for line in shown.splitlines())
    assert "a_name_as_long_as" in shown
