"""Taking merchants and their accounts on: what is wrong is said before anything is stored."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from channels.contract import Pending
from gateway.merchants.standing import Standings
from gateway.store import channel_accounts, keys_of
from kernel.db import acquire
from kernel.errors import Conflict, NotFound, Rejected
from tests.gateway.front import a_front
from tests.support import a_shop


async def test_an_account_that_could_never_work_is_not_stored(database_url: str, tmp_path: Path) -> None:
    async with a_shop(database_url, tmp_path) as shop:
        with pytest.raises(Rejected, match="no channel") as refused:
            await shop.hub.channel_admin.add_by_hand(shop.book, "x", "nonsense", {}, fee_bp=60)
        assert refused.value.code == "no_such_channel"
        with pytest.raises(NotFound, match="no book"):
            await shop.hub.channel_admin.add_by_hand(999, "x", "scripted", {}, fee_bp=60)
        with pytest.raises(Conflict, match="already"):
            await shop.hub.channel_admin.add_by_hand(shop.book, "rail", "scripted", {}, fee_bp=60)

        def cannot(settings: object) -> object:
            raise KeyError("mchid")

        shop.hub.channels["broken"] = cannot  # type: ignore[index]
        with pytest.raises(Rejected, match="mchid") as refused:
            await shop.hub.channel_admin.add_by_hand(shop.book, "x", "broken", {}, fee_bp=60)
        assert refused.value.code == "channel_settings_wrong"
        async with acquire(shop.hub.pool) as connection:
            assert [row.id for row in await channel_accounts(connection, shop.book)] == ["rail"]


async def test_an_account_can_be_drained_and_only_one_that_exists(database_url: str, tmp_path: Path) -> None:
    async with a_shop(database_url, tmp_path) as shop:
        await shop.hub.channel_admin.set_state(shop.book, "rail", "draining")
        async with acquire(shop.hub.pool) as connection:
            assert [row.state for row in await channel_accounts(connection, shop.book)] == ["draining"]
        with pytest.raises(NotFound):
            await shop.hub.channel_admin.set_state(shop.book, "nowhere", "off")


async def test_keys_and_books_that_cannot_be_are_refused(database_url: str, tmp_path: Path) -> None:
    async with a_shop(database_url, tmp_path) as shop:
        with pytest.raises(NotFound, match="no book"):
            await shop.hub.merchants.add_key(999, ["payments:read"], None)
        with pytest.raises(Rejected, match="there is no scope"):
            await shop.hub.merchants.add_key(shop.book, ["everything"], None)
        with pytest.raises(Rejected, match="ISO 4217"):
            await shop.hub.merchants.add("x", currencies=["ABC"])


def test_keys_are_listed_without_the_key_and_merchants_suspended_and_resumed(tea_house: Callable[..., Result]) -> None:
    made = json.loads(
        tea_house("key", "new", "--book", "1", "--scope", "payments:read", "--days", "3", "--json").stdout
    )
    assert made["api_key"] not in tea_house("key", "list").stdout
    rows = json.loads(tea_house("key", "list", "--book", "1", "--json").stdout)
    assert [row["book"] for row in rows] == [1, 1]
    (row,) = (row for row in rows if row["id"] == made["key_id"])
    assert set(row) == {"id", "book", "merchant_id", "scopes", "created_at", "expires_at", "revoked_at", "suspended_at"}
    assert (row["scopes"], row["revoked_at"]) == (["payments:read"], None)
    tea_house("key", "revoke", "--book", "1", made["key_id"])
    assert "revoked" in tea_house("key", "list", "--book", "1").stdout
    assert "no_such_book" in tea_house("key", "list", "--book", "9", code=1).output
    assert "suspended" not in tea_house("merchant", "list").stdout
    tea_house("merchant", "suspend", "--book", "1")
    assert "suspended" in tea_house("merchant", "list").stdout
    assert "suspended, as before" in tea_house("merchant", "suspend", "--book", "1").stdout
    tea_house("merchant", "resume", "--book", "1")
    assert json.loads(tea_house("merchant", "list", "--json").stdout)[0]["suspended_at"] is None
    assert "no_such_book" in tea_house("merchant", "suspend", "--book", "9", code=1).output


def test_a_key_is_suspended_and_resumed_and_a_revoked_one_is_not(tea_house: Callable[..., Result]) -> None:
    (key,) = json.loads(tea_house("key", "list", "--json").stdout)
    assert "is suspended" in tea_house("key", "suspend", "--book", "1", key["id"]).stdout
    assert "suspended 2" in tea_house("key", "list").stdout
    assert "as before" in tea_house("key", "suspend", "--book", "1", key["id"]).stdout
    assert "is in force" in tea_house("key", "resume", "--book", "1", key["id"]).stdout
    assert json.loads(tea_house("key", "list", "--json").stdout)[0]["suspended_at"] is None
    tea_house("key", "revoke", "--book", "1", key["id"])
    for word in ("suspend", "resume"):
        assert "no_such_key" in tea_house("key", word, "--book", "1", key["id"], code=1).output
    assert "no_such_key" in tea_house("key", "suspend", "--book", "2", key["id"], code=1).output
    row = json.loads(tea_house("audit", "list", "--about", key["id"], "--json").stdout)[0]
    assert (row["what"], row["outcome"], row["detail"]) == ("key suspend", "refused", "no_such_key")


async def test_a_suspended_key_is_refused_within_a_second_and_what_it_began_ends(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front:
        front.rail.says(pay=Pending())
        payment = (await front.pay("order-1")).body["id"]
        async with acquire(front.hub.pool) as connection:
            (key,) = await keys_of(connection, front.book)
        assert await front.hub.merchants.set_key_suspended(front.book, key.id, suspended=True)
        front.clock.forward(1.01)
        refused = await front.get(f"/v1/payments/{payment}")
        assert (refused.status, refused.code) == (401, "key_suspended")
        with pytest.raises(Conflict, match="no API key that is in force"):
            await Standings(front.hub.pool, front.hub.env).require(front.book)
        assert (await front.notice(front.asked("pay")[0].reference, 10_000)).status == 204
        assert await front.hub.merchants.set_key_suspended(front.book, key.id, suspended=False)
        front.clock.forward(1.01)
        assert (await front.payment(payment))["status"] == "succeeded"
        await Standings(front.hub.pool, front.hub.env).require(front.book)
