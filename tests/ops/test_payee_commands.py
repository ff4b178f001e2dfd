"""`sluice payee …` on a real database, in the words an operator types."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import asyncpg
from pydantic import SecretStr
from typer.testing import Result

from ops.doctor import Level, examine
from ops.settings import Settings

Sluice = Callable[..., Result]
PAYEE = "pye_" + "1" * 26
OF = ("--book", "1", PAYEE)


async def a_payee(database_url: str, kind: str = "supplier") -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        "INSERT INTO payee (book, id, name, kind, currency, created_at) "
        "VALUES (1, $1, E'farm\\x1b[2J', $2, 'CNY', now())",
        PAYEE,
        kind,
    )
    await owner.close()


async def at_a_bank(database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("UPDATE payee SET bank = 'citybank', bank_account = '6200', account_status = 'open'")
    await owner.close()


async def a_debt(database_url: str) -> None:
    """Have the payee owe 7.00 of a debt of 9.00, since a refund."""
    owner = await asyncpg.connect(database_url)
    account = f"payee:{PAYEE}:CNY"
    await owner.execute("INSERT INTO account VALUES (1, $1, 'CNY', 'credit', true, 900, 200, 0, 0)", account)
    await owner.execute(
        "INSERT INTO payee_debt VALUES (1, 'dbt_1', $1, $2, 're_1:back:0', 'pay_1', 're_1', 900, 900, 'CNY', 1, now())",
        PAYEE,
        account,
    )
    await owner.close()


def test_who_owes_is_listed_as_owing_and_an_empty_list_says_so(tea_house: Sluice, database_url: str) -> None:
    assert "no payee" in tea_house("payee", "list", "--book", "1").output
    assert "nothing is owed" in tea_house("payee", "debts", "--book", "1").output
    assert "no payee is set" in tea_house("payee", "owns", "--book", "1").output
    asyncio.run(a_payee(database_url))
    asyncio.run(a_debt(database_url))
    assert "owes 欠款 7.00 CNY" in tea_house("payee", "list", "--book", "1").output


def test_a_statement_says_how_many_lines_it_has(tea_house: Sluice, database_url: str, tmp_path: Path) -> None:
    asyncio.run(a_debt(database_url))
    asyncio.run(a_payee(database_url))
    words = ("statement", "payee", *OF, "--date", "2026-11-24", "--output", str(tmp_path / "farm.csv"))
    (account,) = json.loads(tea_house(*words, "--json").stdout)["accounts"]
    assert account["lines"] == 0
    assert "  0 lines\n" in tea_house(*words).output


def test_one_person_suspends_a_payee_and_two_resume_it(tea_house: Sluice, database_url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", database_url=SecretStr(database_url))

    def looked() -> tuple[Level, str]:
        [finding] = [one for one in asyncio.run(examine(settings)) if one.topic == "payees"]
        return finding.level, finding.seen

    asyncio.run(a_payee(database_url))
    assert looked()[0] is Level.OK
    for _ in range(2):
        assert "is suspended since" in tea_house("payee", "suspend", *OF).output
    listed = tea_house("payee", "list", "--book", "1").output
    assert "suspended by operator" in listed
    assert "owed 0.00 CNY" in listed
    assert all(line.isprintable() for line in listed.splitlines())
    (row,) = json.loads(tea_house("payee", "list", "--book", "1", "--json").stdout)["payees"]
    assert (row["id"], row["suspended_by"], row["owed"]) == (PAYEE, "operator", "0.00")
    level, seen = looked()
    assert level is Level.WARN
    assert "1 suspended" in seen
    assert "second_person_missing" in tea_house("payee", "resume", *OF, code=1).output
    tea_house("person", "add", "cy", "--role", "operator", "--keep")
    assert "approval_asked" in tea_house("payee", "resume", *OF, code=1).output
    (asked,) = json.loads(tea_house("approval", "list", "--json").stdout)["approvals"]
    tea_house("--as", "cy", "approval", "approve", asked["id"])
    assert "is paid" in tea_house("payee", "resume", *OF).output
    assert "is paid" in tea_house("payee", "resume", *OF).output, "again changes nothing, and takes nobody"
    assert looked()[0] is Level.OK
    assert "no_such_object" in tea_house("payee", "suspend", "--book", "1", "pye_0", code=1).output
    assert "no_such_object" in tea_house("payee", "resume", "--book", "1", "pye_0", code=1).output
    asyncio.run(a_debt(database_url))
    debts = ("payee", "debts", "--book", "1")
    assert "dbt_1  " + PAYEE + "  owes 7.00 of 9.00 CNY  re_1 of pay_1" in tea_house(*debts, "--payee", PAYEE).output
    (debt,) = json.loads(tea_house(*debts, "--recovered", "--json").stdout)["debts"]
    assert (debt["left"], debt["recovered_minor"], debt["status"]) == ("7.00", 200, "open")
    assert "no_such_object" in tea_house(*debts, "--payee", "pye_0", code=1).output


def test_two_people_freeze_a_payees_account_and_two_unfreeze_it(tea_house: Sluice, database_url: str) -> None:
    asyncio.run(a_payee(database_url))
    words = (*OF, "--note", "a court asks")
    tea_house("person", "add", "cy", "--role", "operator", "--keep")
    assert "payee_account_not_open" in tea_house("payee", "freeze", *words, code=1).output
    asyncio.run(at_a_bank(database_url))
    for word in ("freeze", "unfreeze"):
        assert "approval_asked" in tea_house("payee", word, *words, code=1).output
        (asked,) = [
            one for one in json.loads(tea_house("approval", "list", "--json").stdout)["approvals"]
            if one["status"] == "asked"
        ]  # fmt: skip
        assert "a court asks" in tea_house("approval", "show", asked["id"]).output
        tea_house("--as", "cy", "approval", "approve", asked["id"])
        for _ in range(2):  # again it changes nothing, and takes nobody
            tea_house("payee", word, *words)
        listed = tea_house("payee", "list", "--book", "1").output
        assert ("account frozen by operator" in listed) == (word == "freeze")
    for word in ("freeze", "unfreeze"):
        none = ("--book", "1", "pye_0", "--note", "why")
        assert "no_such_object" in tea_house("payee", word, *none, code=1).output


def test_two_people_set_by_which_payee_a_merchant_is_paid_its_own(tea_house: Sluice, database_url: str) -> None:
    asyncio.run(a_payee(database_url, kind="merchant"))
    book = ("--book", "1")
    assert "name the payee" in tea_house("payee", "own", *book, code=2).output
    tea_house("person", "add", "cy", "--role", "operator", "--keep")
    assert "approval_asked" in tea_house("payee", "own", *book, PAYEE, code=1).output
    assert "no payee is set" in tea_house("payee", "owns", *book).output
    (asked,) = json.loads(tea_house("approval", "list", "--json").stdout)["approvals"]
    tea_house("--as", "cy", "approval", "approve", asked["id"])
    assert f"paid to {PAYEE}" in tea_house("payee", "own", *book, PAYEE).output
    (row,) = json.loads(tea_house("payee", "owns", *book, "--json").stdout)["own_payees"]
    assert (row["payee"], row["currency"]) == (PAYEE, "CNY")
    assert "approval_asked" in tea_house("payee", "own", *book, "--none", code=1).output


def test_two_people_say_of_which_class_a_payees_account_is(tea_house: Sluice, database_url: str) -> None:
    asyncio.run(a_payee(database_url))
    tea_house("person", "add", "cy", "--role", "operator", "--keep")
    asked = ("payee", "class", *OF, "--class")
    assert "--class is one of II, III, none" in tea_house(*asked, "IV", code=2).output
    assert "approval_asked" in tea_house(*asked, "II", code=1).output
    (approval,) = json.loads(tea_house("approval", "list", "--json").stdout)["approvals"]
    tea_house("--as", "cy", "approval", "approve", approval["id"])
    assert "account_class_wrong" in tea_house(*asked, "II", code=1).output, "its shares are kept in the book"
