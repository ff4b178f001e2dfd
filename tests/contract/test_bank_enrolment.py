"""What a bank gave us is sealed as channel accounts are: it opens in its own row alone, rotates, and works on."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

import people
from kernel.db import acquire
from kernel.env import Env, Request, Response, system_env
from kernel.errors import Conflict, NotFound, Rejected, Unavailable
from ops.cli.commands import app
from ops.people import own_credential
from ops.reseal import reseal
from ops.wiring import Hub, hub
from splitting import BankLink, bank_link_payload
from splitting.banks.worker import Banks

pytestmark = pytest.mark.asyncio(loop_scope="session")

BANK = "sbx"


async def customer(http: aiohttp.ClientSession, base_url: str) -> dict[str, Any]:
    """Become a new customer of the sandbox's bank."""
    async with http.post(f"{base_url}/control/bank/customers", json={"name": "tea"}) as answer:
        given: dict[str, Any] = await answer.json()
    return given


def copied(given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Copy the files that an enrolment names into a folder; return it with their names alone."""
    folder.mkdir()
    named = {name: Path(value) for name, value in given.items() if name.endswith("_file")}
    for path in named.values():
        shutil.copy(path, folder)
    return given | {name: path.name for name, path in named.items()}


@dataclass
class Custody:
    """A merchant with a bank, and what whoever has the database could do to its row."""

    hub: Hub
    book: int
    given: dict[str, Any]
    link: BankLink
    database_url: str

    async def sql(self, statement: str, *values: Any) -> Any:
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetch(statement, *values)
        finally:
            await connection.close()

    async def answers(self) -> str:
        """Have a process that remembers nothing open an account at the bank; return its number."""
        banks = Banks(self.hub.pool, self.hub.lanes, self.hub.env, self.hub.keys)
        return await banks.sub_account(self.book, BANK, "payee-1", "supplier", "CNY")

    async def as_before_0007(self) -> None:
        """Put the row back to what it was before enrolments were sealed."""
        await self.sql("UPDATE bank_link SET settings = $1, sealed = NULL", json.dumps(self.given))


@pytest_asyncio.fixture(loop_scope="session")
async def custody(
    database_url: str, base_url: str, tmp_path: Path, env: Env, http: aiohttp.ClientSession
) -> AsyncIterator[Custody]:
    async with hub(
        database_url=database_url,
        redis_url=None,
        home=tmp_path,
        public_url="http://127.0.0.1:1",
        env=system_env(env.transport),
    ) as objects:
        merchant, given = await objects.merchants.add("tea", currencies=["CNY"]), await customer(http, base_url)
        link = await objects.merchants.link_bank(merchant.book, BANK, given, name="pool", currency="CNY")
        yield Custody(objects, merchant.book, given, link, database_url)


async def test_no_file_is_needed_once_a_bank_is_linked(custody: Custody, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    given = copied(custody.given, folder)
    link = await custody.hub.merchants.link_bank(custody.book, BANK, given, name="pool", currency="CNY", folder=folder)
    shutil.rmtree(folder)
    assert await custody.answers()
    shown = bank_link_payload(link, custody.hub.banks.problem(link))
    assert str(folder) not in json.dumps(shown)
    assert sorted(shown["secrets"]) == ["private_key", "token"]
    assert (shown["usable"], shown["problem"]) == (True, None)
    assert shown["settings"]["bank_public_key"].startswith("-----BEGIN PUBLIC KEY")


@pytest.mark.parametrize("thief", ["another address", "another bank's name", "a changed envelope"])
async def test_an_enrolment_opens_in_its_own_row_alone_and_beside_its_own_address(custody: Custody, thief: str) -> None:
    await custody.answers()
    match thief:
        case "another address":
            await custody.sql(
                "UPDATE bank_link SET settings = replace(settings::text, $1, 'http://thief.example')::json",
                custody.given["base_url"],
            )
        case "another bank's name":
            await custody.sql("DELETE FROM bank_link")
            moved = custody.link._replace(bank="other")
            await custody.sql("INSERT INTO bank_link VALUES ($1, $2, $3, $4, $5, $6)", *moved[:6])
        case _:
            await custody.sql("UPDATE bank_link SET sealed = replace(sealed, 'sealed\":\"', 'sealed\":\"AAAA')")
    bank = "other" if "name" in thief else BANK
    with pytest.raises(Unavailable) as closed:
        await custody.hub.banks.sub_account(custody.book, bank, "payee-2", "supplier", "CNY")
    assert closed.value.code == "bank_link_closed"
    problem = custody.hub.banks.problem(await custody.hub.banks.link(custody.book, bank))
    assert problem is not None
    assert "its credentials do not open: it is not what was sealed here" in problem
    came_to = await reseal(custody.hub, new_key=True, retire=True)
    assert (len(came_to["failed"]), came_to["retired"]) == (1, [])
    assert "not what was sealed here" in came_to["failed"][0]


async def test_a_row_of_before_works_and_resealing_takes_its_files_out_of_use(custody: Custody) -> None:
    await custody.as_before_0007()
    account = await custody.answers()
    came_to = await reseal(custody.hub, new_key=False, retire=False)
    assert (came_to["resealed"], came_to["failed"]) == (1, [])
    ((settings, sealed),) = await custody.sql("SELECT settings::text, sealed FROM bank_link")
    assert sealed is not None
    assert "_file" not in settings
    assert await custody.answers() == account


async def test_a_row_of_before_whose_files_are_gone_is_told_of_and_mended_by_a_rotation(custody: Custody) -> None:
    custody.given["token_file"] += ".gone"
    await custody.as_before_0007()
    came_to = await reseal(custody.hub, new_key=True, retire=True)
    assert came_to["retired"] == []
    assert "token_file" in came_to["failed"][0]
    custody.given["token_file"] = custody.given["token_file"].removesuffix(".gone")
    await custody.hub.banks.rotate(custody.book, BANK, custody.given, folder=Path())
    assert await custody.answers()


async def test_a_new_master_key_takes_the_banks_enrolments_with_it(custody: Custody) -> None:
    (before,) = custody.hub.keys.ids()
    came_to = await reseal(custody.hub, new_key=True, retire=True)
    assert (came_to["resealed"], came_to["failed"], came_to["retired"]) == (1, [], [before])
    assert await custody.answers()
    assert (await reseal(custody.hub, new_key=False, retire=True))["already"] == 1


async def test_a_rotation_keeps_what_it_does_not_name_and_the_custody(custody: Custody) -> None:
    await custody.sql('UPDATE bank_link SET cursor = \'{"camt.054": "7"}\'')
    rotated = await custody.hub.banks.rotate(
        custody.book, BANK, {"token_file": custody.given["token_file"]}, folder=Path()
    )
    assert (rotated.pool_account, rotated.cursor) == (custody.link.pool_account, '{"camt.054": "7"}')
    assert rotated.settings == custody.link.settings
    assert rotated.sealed != custody.link.sealed
    assert await custody.answers()


async def test_a_rotation_mends_an_enrolment_whose_master_key_was_lost(custody: Custody, tmp_path: Path) -> None:
    (tmp_path / "secrets" / "channel-keys.json").unlink()
    with pytest.raises(Unavailable) as closed:
        await custody.answers()
    assert closed.value.code == "channel_keys_unusable"
    custody.hub.keys.add()  # as `sluice channel reseal --new-key` does where the file is lost for good
    with pytest.raises(Rejected, match="private_key"):  # what is not named cannot be known any more
        await custody.hub.banks.rotate(custody.book, BANK, {"token": "x"}, folder=Path())
    await custody.hub.banks.rotate(custody.book, BANK, custody.given, folder=Path())
    assert await custody.answers()


async def test_credentials_that_cannot_be_are_refused_and_change_nothing(
    custody: Custody, http: aiohttp.ClientSession, base_url: str
) -> None:
    banks, book = custody.hub.banks, custody.book
    for given, code in (
        ({"token": "nobody's"}, "bank_not_authenticated"),
        ({"private_key": "-----BEGIN PRIVATE KEY-----\nwhisper-whisper\n"}, "bank_settings_wrong"),
        ({"private_key_file": "/nowhere"}, "bank_settings_wrong"),
        ({"bic": None}, "bank_settings_wrong"),
        ({"tokn": "misspelt"}, "bank_settings_wrong"),
        (await customer(http, base_url), "another_account"),
    ):
        with pytest.raises(Rejected) as refused:
            await banks.rotate(book, BANK, given, folder=Path())
        assert refused.value.code == code, given
        assert "whisper" not in refused.value.message
    with pytest.raises(NotFound):
        await banks.rotate(book, "nowhere", {}, folder=Path())
    assert await custody.answers()
    ((sealed,),) = await custody.sql("SELECT sealed FROM bank_link")
    assert sealed == custody.link.sealed


async def test_a_merchants_custody_is_not_exchanged_for_another_pool_account(custody: Custody) -> None:
    link_bank, custody_of = custody.hub.merchants.link_bank, (custody.book, BANK, custody.given)
    with pytest.raises(Conflict, match="another bank's name"):
        await link_bank(*custody_of, name="pool", currency="USD")
    again = await link_bank(*custody_of, name="pool", currency="CNY")
    assert again.pool_account == custody.link.pool_account
    for book, bank, currency, code in (
        (99, BANK, "CNY", "no_such_book"),
        (custody.book, "Bank of Tea", "CNY", "bank_name_wrong"),
        (custody.book, BANK, "TEA", "currency_unknown"),
    ):
        with pytest.raises((Rejected, NotFound)) as refused:
            await custody.hub.merchants.link_bank(book, bank, custody.given, name="pool", currency=currency)
        assert refused.value.code == code


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/bank", "http://10.0.0.1", "https://u:p@bank.example", "ftp://b"]
)
async def test_a_bank_at_an_address_that_is_not_called_is_neither_linked_nor_rotated_to(
    custody: Custody, tmp_path: Path, url: str
) -> None:
    banks, given = custody.hub.banks, custody.given | {"base_url": url}
    with pytest.raises(Rejected) as refused:
        await banks.enrol(custody.book, "second", given, folder=tmp_path, name="pool", currency="CNY")
    assert refused.value.code == "address_refused"
    with pytest.raises(Rejected) as refused:
        await banks.rotate(custody.book, BANK, {"base_url": url}, folder=tmp_path)
    assert refused.value.code == "address_refused"
    assert await custody.answers()  # as before


async def test_commands_link_list_and_rotate_a_bank_and_show_no_secret(
    custody: Custody, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are named by their own names, beside the file that names them."""
    folder = tmp_path / "given"
    given = copied(custody.given, folder)
    (folder / "bank.json").write_text(json.dumps(given))
    token = (folder / given["token_file"]).read_text()
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path))
    monkeypatch.setenv("SLUICE_DATABASE_URL", custody.database_url)
    monkeypatch.setenv("SLUICE_REDIS_URL", redis_url)
    monkeypatch.setenv("SLUICE_ALLOW_ADDRESSES", "loopback")

    async def sluice(*words: str, code: int = 0) -> Result:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["bank", *words, "--book", str(custody.book)])
        assert done.exit_code == code, done.output
        assert "PRIVATE KEY" not in done.output
        assert token not in done.output
        return done

    async def by_two(*words: str) -> Result:
        """Have ada ask for it, bo agree, and ada do it."""
        assert "approval_asked" in (await sluice(*words, code=1)).output
        async with acquire(custody.hub.pool) as connection:
            (asked,) = await people.store.approvals(connection)
        assert token not in asked.what
        await custody.hub.approvals.check(asked.id, await custody.hub.people.get("bo"), agrees=True)
        return await sluice(*words)

    assert "first_person_missing" in (await sluice("list", code=1)).output
    await custody.hub.people.add_first("ada", own_credential(custody.hub, tmp_path))
    await custody.hub.people.add("bo", people.Role.OPERATOR)
    linked = json.loads((await by_two("link", "second", "--credentials", str(folder / "bank.json"))).stdout)
    assert linked["pool_account"] == custody.link.pool_account
    rotated = json.loads((await by_two("rotate", "second", "--credentials", str(folder / "bank.json"))).stdout)
    listed = json.loads((await sluice("list", "--json")).stdout)
    assert [one["bank"] for one in listed] == [BANK, "second"]
    assert listed[1] == rotated
    assert rotated["secrets"]["token"] in (await sluice("list")).stdout
    assert (
        "no_such_bank" in (await sluice("rotate", "third", "--credentials", str(folder / "bank.json"), code=1)).output
    )
    assert "cannot be used" in (await sluice("rotate", BANK, "--credentials", str(folder / "not.json"), code=2)).output
    (folder / "list.json").write_text("[]")
    assert "JSON object" in (await sluice("link", BANK, "--credentials", str(folder / "list.json"), code=2)).output
    first, again, other = [json.loads((await sluice("platform", bank)).stdout) for bank in (BANK, BANK, "second")]
    assert (first["kind"], first["sub_account"]["bank"], other["sub_account"]["bank"]) == ("platform", BANK, "second")
    assert first["id"] == again["id"] != other["id"], "the platform has an account at each bank"


async def test_a_bank_that_ended_is_asked_only_while_a_batch_is_under_way(custody: Custody) -> None:
    asked: list[str] = []
    out = custody.hub.env.transport

    class Counting:
        addresses = out.addresses

        async def send(self, request: Request, *, timeout_s: float) -> Response:
            asked.append(request.url)
            return await out.send(request, timeout_s=timeout_s)

    custody.hub.env.transport = Counting()
    bank_worker = custody.hub.bank_worker()

    async def round_asks() -> bool:
        asked.clear()
        await bank_worker.once()
        return bool(asked)

    assert await round_asks()
    await custody.hub.banks.end(custody.book, BANK)
    assert not await round_asks()
    await custody.sql(
        "INSERT INTO settlement VALUES "
        "($1, 'stl_1', $2, current_date, current_date, 'CNY', 'sent', 0, 0, 0, 0, now(), now())",
        custody.book,
        BANK,
    )
    assert await round_asks()
    await custody.sql("UPDATE settlement SET status = 'finished'")
    assert not await round_asks()
    link = await custody.hub.merchants.link_bank(custody.book, BANK, custody.given, name="pool", currency="CNY")
    assert link.ended_at is None
    assert await round_asks()
