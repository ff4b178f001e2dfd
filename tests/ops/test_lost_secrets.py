"""A secret that something was made with is never made anew: a start without it says so, and leaves no other."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from gateway.accounts.terms import Terms
from kernel.errors import Unavailable
from ops import embedded
from ops.channel_keys import FILE, channel_keys
from ops.doctor import Level, examine
from ops.embedded import CannotStart
from ops.secrets_file import CASHIER_TOKENS, PEPPER, secrets_in_use
from ops.settings import Settings
from tests.gateway.front import Front, a_front, another_process


@pytest_asyncio.fixture
async def front(database_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    async with a_front(database_url, tmp_path) as found:
        yield found


LINK = {"name": "tea", "amount": 1250, "currency": "CNY", "description": "tea"}


@pytest.mark.parametrize(("name", "what"), [(PEPPER, "API keys"), (CASHIER_TOKENS, "payment links")])
async def test_a_hub_does_not_start_without_what_its_database_was_made_with(
    front: Front, database_url: str, tmp_path: Path, name: str, what: str
) -> None:
    made = await front.send("POST", "/v1/payment_links", LINK, key="link-1")
    assert made.status == 201, made.body
    lost = tmp_path / "secrets" / name
    kept = lost.read_bytes()
    lost.unlink()
    with pytest.raises(CannotStart, match=f"{name} is not there, and the {what}.* put it back"):
        async with another_process(front, database_url, tmp_path):
            pass
    assert not lost.exists()
    lost.write_bytes(kept)
    async with another_process(front, database_url, tmp_path) as again:
        assert await again.paid("order-2")


async def test_a_home_that_was_not_restored_is_not_filled_with_others(
    front: Front, database_url: str, tmp_path: Path
) -> None:
    with pytest.raises(CannotStart, match="is not there"):
        async with another_process(front, database_url, tmp_path / "elsewhere"):
            pass
    assert not (tmp_path / "elsewhere").exists()


async def test_master_keys_are_not_made_anew_beside_what_is_sealed(
    front: Front, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "secrets" / FILE
    kept = file.read_bytes()
    file.unlink()
    async with another_process(front, database_url, tmp_path) as fresh:
        for one in (front, fresh):  # one that knew the keys, and one that never did
            with pytest.raises(Unavailable, match="is not there; put it back"):
                await one.hub.channel_admin.add(one.book, "second", "scripted", {}, terms=Terms())
        # That no account can be used is our fault: its merchant is told to come again, not to ask for something else.
        answer = await fresh.pay("order-2")
        assert (answer.status, answer.code, answer.body["retriable"]) == (503, "channel_account_closed", True)
        cashier = await fresh.pay("order-3", method={"type": "cashier"})
        assert (cashier.status, cashier.code) == (503, "channel_account_closed")
    assert not file.exists()
    file.write_bytes(kept)
    assert (await front.pay("order-2")).status == 201


async def test_an_account_that_is_switched_off_or_of_another_rail_is_not_waited_for(
    front: Front, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "secrets" / FILE).unlink()
    async with another_process(front, database_url, tmp_path) as fresh:
        assert (await fresh.pay("order-2", method={"type": "qr", "channel": "scripted"})).status == 503
        assert (await fresh.pay("order-2", method={"type": "qr", "channel": "second"})).status == 422
    await front.hub.channel_admin.change(front.book, "rail", state="off")
    async with another_process(front, database_url, tmp_path) as fresh:
        assert (await fresh.pay("order-3")).code == "no_channel"


def test_a_file_of_master_keys_that_was_read_once_is_not_made_again(tmp_path: Path) -> None:
    keys = channel_keys(tmp_path, None, os.urandom)
    keys.current()
    (tmp_path / "secrets" / FILE).unlink()
    with pytest.raises(Unavailable, match="put it back"):
        keys.current()
    assert not (tmp_path / "secrets" / FILE).exists()


async def test_the_doctor_names_what_is_not_there(front: Front, database_url: str, tmp_path: Path) -> None:
    owner = await asyncpg.connect(database_url)
    try:
        assert set(await secrets_in_use(owner)) == {PEPPER, FILE}
    finally:
        await owner.close()
    settings = Settings(home=tmp_path, database_url=SecretStr(database_url))

    async def found(topic: str) -> tuple[Level, str]:
        (finding,) = [one for one in await examine(settings) if one.topic == topic]
        return finding.level, finding.seen

    assert await found("keys") == (Level.OK, "2 that the database needs are there")
    (tmp_path / "secrets" / PEPPER).unlink()
    level, seen = await found("keys")
    assert (level, PEPPER in seen, FILE in seen) == (Level.FAIL, True, False)
    (tmp_path / "secrets" / FILE).unlink()
    level, seen = await found("keys")
    assert (level, PEPPER in seen, FILE in seen) == (Level.FAIL, True, True)
    assert await found("worker") == (Level.WARN, "none has run yet")


async def test_a_command_makes_no_password_for_a_server_that_has_one(home: Path) -> None:
    async with embedded.postgres(home):
        for name in ("postgres-sluice", "postgres-superuser"):
            (home / "secrets" / name).unlink()
        (home / "secrets").rmdir()
        with pytest.raises(CannotStart, match=r"postgres-sluice is not there.* put it back"):
            embedded.postgres_url(home)
        assert not (home / "secrets").exists()
