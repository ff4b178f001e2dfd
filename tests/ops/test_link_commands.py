"""`sluice link …` on a real database, in the words an operator types."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from typer.testing import Result

from gateway.cashier import emvco
from kernel.money import Money

Sluice = Callable[..., Result]


@pytest.fixture
def link(tea_house: Sluice) -> Sluice:
    return partial(tea_house, "link")


def test_a_link_and_a_standing_code_are_made_listed_and_drawn(link: Sluice, tmp_path: Path) -> None:
    given = ("--book", "1", "--description", "龙井", "--json")
    made = json.loads(link("add", "order 7", "--amount", "12.30", "--max-uses", "1", *given).stdout)
    assert (made["amount"], made["max_uses"], made["url"][:26]) == (1_230, 1, "https://pay.example.com/l/")
    code = json.loads(link("add", "counter", "--standing", "--maximum", "500", *given).stdout)
    assert (code["object"], code["amount"], code["maximum"]) == ("merchant_qr", None, 50_000)
    listed = json.loads(link("list", "--book", "1", "--json").stdout)["links"]
    assert [row["id"] for row in listed] == [code["id"], made["id"]]
    assert code["url"] in link("list", "--book", "1").stdout
    for name, begins in (("code.svg", b"<svg"), ("code.png", b"\x89PNG")):
        link("qr", "--book", "1", code["id"], str(tmp_path / name))
        assert (tmp_path / name).read_bytes().startswith(begins)
    link("qr", "--book", "1", code["id"], str(tmp_path / "emvco.png"), "--emvco", "TEA HOUSE:BEIJING:5411")
    assert (tmp_path / "emvco.png").read_bytes() != (tmp_path / "code.png").read_bytes()


def test_a_link_is_suspended_and_resumed(link: Sluice) -> None:
    given = ("--book", "1", "--description", "tea", "--json")
    made = json.loads(link("add", "counter", "--standing", *given).stdout)
    assert "is suspended" in link("suspend", "--book", "1", made["id"]).output
    assert "as before" in link("suspend", "--book", "1", made["id"]).output
    assert "suspended" in link("list", "--book", "1").output
    assert "is not suspended" in link("resume", "--book", "1", made["id"]).output
    assert "suspended" not in link("list", "--book", "1").output
    assert "no_such_link" in link("suspend", "--book", "1", "lnk_0", code=1).output


@pytest.mark.parametrize(
    "words",
    [
        ("--amount", "12.345"),
        ("--amount", "-1"),
        ("--standing", "--amount", "1"),
        ("--expires-at", "tomorrow"),
        ("--minimum", "10", "--maximum", "9"),
        ("--currency", "XXX"),
    ],
)
def test_what_makes_no_link_is_said_and_nothing_is_made(link: Sluice, words: tuple[str, ...]) -> None:
    link("add", "x", "--book", "1", "--description", "y", *words, code=2)
    assert json.loads(link("list", "--book", "1", "--json").stdout)["links"] == []


def test_a_book_or_link_that_is_none_is_named(link: Sluice, tmp_path: Path) -> None:
    assert "no_such_book" in link("add", "x", "--book", "9", "--description", "y", code=1).output
    nothing = "lnk_" + "0" * 26
    assert "no_such_link" in link("qr", "--book", "1", nothing, str(tmp_path / "a.svg"), code=1).output
    link("qr", "--book", "1", nothing, str(tmp_path / "a.gif"), code=2)


def test_an_emvco_code_says_whom_to_pay_how_much_and_where(
    link: Sluice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setitem(_forms(), ".svg", lambda text: drawn.append(text) or b"<svg")
    made = json.loads(
        link("add", "o", "--book", "1", "--description", "d", "--amount", "12.30", "--max-uses", "1", "--json").stdout
    )
    link("qr", "--book", "1", made["id"], str(tmp_path / "a.svg"), "--emvco", "TEA HOUSE:BEIJING:5411")
    code = emvco.parse(drawn[0])
    assert (code.name, code.amount, code.dynamic) == ("TEA HOUSE", Money(1_230, "CNY"), True)
    assert code.accounts == {"26": {"00": "pay.example.com", "01": made["url"].removeprefix("https://pay.example.com")}}
    link("qr", "--book", "1", made["id"], str(tmp_path / "a.svg"), "--emvco", "茶:BEIJING:5411", code=2)


def _forms() -> dict[str, Callable[[str], bytes]]:
    from ops import links

    return links._FORMS  # type: ignore[return-value]


async def test_a_database_that_the_code_has_left_behind_is_said_to_be_one(link: Sluice, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("ALTER TABLE cashier_link RENAME TO cashier_link_of_before")
    await connection.close()
    said = await asyncio.to_thread(link, "list", "--book", "1", code=1)
    assert "sluice migrate" in said.stderr
