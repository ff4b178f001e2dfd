"""Channel accounts as data: secrets sealed, opened for clients alone, and useless to whoever only has the database."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.accounts.admin import ResealChannelAccount
from gateway.accounts.ready import ChannelAccounts
from gateway.accounts.terms import Terms
from kernel.errors import NotFound, Rejected, Unavailable
from ops.channel_keys import ChannelKeys
from ops.reseal import reseal
from tests.gateway.vault import OTHER, SECRET, CountingKeys, Vault, a_vault


@pytest_asyncio.fixture
async def vault(database_url: str, tmp_path: Path) -> AsyncIterator[Vault]:
    async with a_vault(database_url, tmp_path) as found:
        yield found


async def test_a_secret_reaches_the_rail_and_nothing_else(vault: Vault, caplog: pytest.LogCaptureFixture) -> None:
    row = await vault.add("till")
    assert vault.built[-1]["api_secret"] == SECRET
    ready = await vault.elsewhere().get(vault.front.book, "till")
    assert vault.built[-1] == {"merchant": "m-till", "base_url": "https://rail.example", "api_secret": SECRET}
    for shown in (await vault.stored(), repr(row), repr(ready), repr(await vault.front.events()), logged(caplog)):
        assert SECRET not in shown
    assert json.loads(row.settings) == {"merchant": "m-till", "base_url": "https://rail.example"}


async def test_what_the_rail_complains_about_shows_no_secret(vault: Vault) -> None:
    with pytest.raises(Rejected) as refused:
        await vault.add("till", secret="a-secret-of-another-kind")
    assert refused.value.code == "channel_settings_wrong"
    assert "another-kind" not in str(refused.value)
    assert "api_secret '…' is no key of this rail" in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


# ---- what whoever can write to the database cannot do ----------------------------------------------------------------


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return all that was logged, with what stands beside the messages."""
    return str([record.__dict__ for record in caplog.records])


ATTACKS = {
    "another address to call": """UPDATE channel_account SET settings = '{"merchant":"m-a","base_url":"https://evil"}'
        WHERE id = 'a'""",
    "the envelope of another account": """UPDATE channel_account a SET sealed = b.sealed, settings = b.settings
        FROM channel_account b WHERE a.id = 'a' AND b.id = 'b'""",
    "the account renamed": "UPDATE channel_account SET id = 'renamed' WHERE id = 'a'",
    "another version": "UPDATE channel_account SET credentials_version = 7 WHERE id = 'a'",
    "other fingerprints": """UPDATE channel_account SET sealed = replace(sealed, '"api_secret":"', '"api_secret":"0')
        WHERE id = 'a'""",
    "no envelope at all": "UPDATE channel_account SET sealed = NULL WHERE id = 'a'",
    "rubbish": "UPDATE channel_account SET sealed = 'rubbish' WHERE id = 'a'",
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_row_that_was_tampered_with_makes_no_client_and_takes_no_other_account_with_it(
    vault: Vault, attack: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        await vault.add(name)
    await vault.sql(ATTACKS[attack])
    elsewhere = vault.elsewhere()
    assert {ready.account.id for ready in await elsewhere.of_book(vault.front.book)} == {"rail", "b"}
    with pytest.raises(Unavailable) as closed:
        await elsewhere.get(vault.front.book, "renamed" if "renamed" in attack else "a")
    assert closed.value.code == "channel_account_closed"
    assert "a channel account cannot be used" in logged(caplog)
    assert SECRET not in logged(caplog)


async def test_credentials_set_back_alone_do_not_open(vault: Vault) -> None:
    await vault.add("a")
    old = await vault.sql("SELECT sealed FROM channel_account WHERE id = 'a'")
    await vault.front.hub.channel_admin.rotate(vault.front.book, "a", {"api_secret": OTHER}, folder=Path())
    await vault.sql("UPDATE channel_account SET sealed = $1 WHERE id = 'a'", old[0][0])
    with pytest.raises(Unavailable):
        await vault.elsewhere().get(vault.front.book, "a")


async def test_a_row_set_back_whole_is_refused_by_whoever_has_seen_the_later_one(
    vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    await vault.add("a")
    old = await vault.sql("SELECT sealed, settings, version, credentials_version FROM channel_account WHERE id = 'a'")
    admin, accounts = vault.front.hub.channel_admin, vault.front.hub.accounts
    await admin.rotate(vault.front.book, "a", {"api_secret": OTHER}, folder=Path())
    seen = await accounts.get(vault.front.book, "a")
    await vault.sql(
        "UPDATE channel_account SET sealed = $1, settings = $2, version = $3, credentials_version = $4 WHERE id = 'a'",
        *old[0],
    )
    vault.front.clock.forward(2)
    assert (await accounts.get(vault.front.book, "a")).client is seen.client
    assert "version 1 follows version 2" in logged(caplog)


async def test_who_has_an_account_open_goes_on_while_its_row_cannot_be_read(vault: Vault) -> None:
    await vault.add("a")
    seen = await vault.front.hub.accounts.get(vault.front.book, "a")
    await vault.sql("UPDATE channel_account SET sealed = 'rubbish', state = 'draining' WHERE id = 'a'")
    vault.front.clock.forward(2)
    now = await vault.front.hub.accounts.get(vault.front.book, "a")
    assert now.client is seen.client
    assert now.account.state == "draining"


# ---- on the way of a payment -----------------------------------------------------------------------------------------


async def test_no_payment_opens_an_envelope_and_no_change_of_terms_builds_a_client(vault: Vault) -> None:
    await vault.add("a")
    hub, book = vault.front.hub, vault.front.book
    keys = CountingKeys(hub.keys)
    accounts = ChannelAccounts(hub.channels, keys, hub.pool, hub.env)
    first = await accounts.get(book, "a")
    opened, built = keys.asked, len(vault.built)
    assert opened == 2, "one envelope an account"
    for basis_points in range(50, 60):
        await hub.channel_admin.change(book, "a", terms=Terms.of({"fees": {"basis_points": basis_points}}))
        vault.front.clock.forward(1.1)
        ready = await accounts.get(book, "a")
        assert ready.client is first.client
        assert ready.terms.fees.basis_points == basis_points
    assert keys.asked == opened
    assert len(vault.built) == built + 10, "only the check of new terms against the rail builds"
    await hub.channel_admin.rotate(book, "a", {"api_secret": OTHER}, folder=Path())
    vault.front.clock.forward(1.1)
    assert (await accounts.get(book, "a")).client is not first.client
    assert keys.asked == opened + 1


async def test_payments_go_to_equal_accounts_in_the_operators_order_and_by_their_terms(vault: Vault) -> None:
    front = vault.front
    await front.hub.channel_admin.set_state(front.book, "rail", "off")
    await vault.add("small", terms=Terms.of({"limits": {"maximum_minor": 1_000}}), position=None)
    await vault.add("large", terms=Terms())
    front.hub.accounts.forget(front.book)
    await front.hub.channel_admin.change(front.book, "large", position=0)
    assert [row.id for row in await front.hub.channel_admin.list(front.book)] == ["rail", "large", "small"]
    assert (await front.attempt(await front.paid("either", 500))).channel_account == "large"
    await front.hub.channel_admin.change(front.book, "large", terms=Terms.of({"limits": {"minimum_minor": 1_001}}))
    for minor, account in ((1_000, "small"), (1_001, "large")):
        assert (await front.attempt(await front.paid(f"o-{minor}", minor))).channel_account == account


# ---- rows of before --------------------------------------------------------------------------------------------------


async def an_old_row(vault: Vault, folder: Path) -> Path:
    """Put a row there as migration 0002 left it: settings name a key file, nothing is sealed."""
    key = folder / "api.key"
    key.write_text(SECRET)
    settings = json.dumps({"merchant": "m", "base_url": "https://rail.example", "api_secret_file": str(key)})
    await vault.sql(
        "INSERT INTO channel_account (book, id, channel, state, settings, terms, position, version, "
        "credentials_version, created_at, updated_at) "
        "VALUES ($1, 'old', 'files', 'enabled', $2, '{}', 1, 1, 1, now(), now())",
        vault.front.book,
        settings,
    )

    def build(found: Any) -> Any:
        secret = found.get("api_secret") or Path(found["api_secret_file"]).read_text()
        return vault.build({**found, "api_secret": secret})

    vault.front.hub.channels["files"] = build  # type: ignore[index]
    return key


async def test_a_row_of_before_works_and_resealing_takes_its_files_out_of_use(vault: Vault, tmp_path: Path) -> None:
    key = await an_old_row(vault, tmp_path)
    assert (await vault.elsewhere().get(vault.front.book, "old")).account.sealed is None
    came_to = await reseal(vault.front.hub, new_key=False, retire=False)
    assert (came_to["resealed"], came_to["failed"]) == (1, [])
    key.unlink()
    assert (await vault.elsewhere().get(vault.front.book, "old")).account.credentials_version == 2
    assert str(tmp_path) not in await vault.stored()
    assert SECRET not in await vault.stored()


async def test_a_row_of_before_whose_files_are_gone_is_said_to_have_failed(vault: Vault, tmp_path: Path) -> None:
    (await an_old_row(vault, tmp_path)).unlink()
    came_to = await reseal(vault.front.hub, new_key=True, retire=True)
    assert [f"book {vault.front.book} old" in why for why in came_to["failed"]] == [True]
    assert came_to["retired"] == []
    assert len(came_to["master_keys"]) == 2


# ---- another master key ----------------------------------------------------------------------------------------------


class Stopped(Exception):
    """The process ended here."""


@pytest.mark.parametrize("after", range(5))
async def test_resealing_may_stop_anywhere_and_is_finished_by_doing_it_again(vault: Vault, after: int) -> None:
    for name in "abc":
        await vault.add(name)

    def stop(done: int, of: int) -> None:
        if done > after:
            raise Stopped

    hub, book = vault.front.hub, vault.front.book
    first = hub.keys.current().id
    try:
        await reseal(hub, new_key=True, retire=True, progress=stop)
    except Stopped:
        assert first in hub.keys.ids()
    assert len(await vault.elsewhere().of_book(book)) == 4
    done = await reseal(hub, new_key=False, retire=True)
    assert done["failed"] == []
    assert done["master_keys"] == [hub.keys.current().id] != [first]
    assert len(await vault.elsewhere().of_book(book)) == 4
    again = await reseal(hub, new_key=False, retire=True)
    assert (again["resealed"], again["already"], again["retired"]) == (0, 4, [])


async def test_an_account_changed_while_others_are_resealed_is_not_set_back(vault: Vault) -> None:
    hub, book = vault.front.hub, vault.front.book
    for name in "ab":
        await vault.add(name)
    rows = {row.id: row for row in await hub.channel_admin.list(book)}
    hub.keys.add()
    stale = hub.channel_admin._under_current(rows["a"])
    await hub.channel_admin.rotate(book, "a", {"api_secret": OTHER}, folder=Path())
    assert not await hub.lanes.put(ResealChannelAccount(book, rows["a"], stale))
    await vault.elsewhere().get(book, "a")
    assert vault.built[-3]["api_secret"] == OTHER, "then its former one, then the other account's"
    assert (await hub.channel_admin.get(book, "a")).credentials_version == 2


def lose(keys: ChannelKeys) -> None:
    keys._path.unlink()


async def test_without_the_master_keys_accounts_are_closed_and_a_rotation_mends_them(vault: Vault) -> None:
    await vault.add("a")
    hub, book = vault.front.hub, vault.front.book
    lose(hub.keys)
    elsewhere = vault.elsewhere()
    with pytest.raises(Unavailable) as closed:
        await elsewhere.get(book, "a")
    assert closed.value.code == "channel_account_closed"
    with pytest.raises(Unavailable, match="put it back"):  # none is made by the way beside what is sealed
        await hub.channel_admin.rotate(book, "a", {"api_secret": OTHER}, folder=Path())
    hub.keys.add()  # as `sluice channel reseal --new-key` does where the file is lost for good
    await hub.channel_admin.rotate(book, "a", {"api_secret": OTHER}, folder=Path())
    elsewhere.forget(book)
    await elsewhere.get(book, "a")
    assert vault.built[-1]["api_secret"] == OTHER
    assert vault.built[-1]["merchant"] == "m-a"


async def test_an_account_nobody_has_is_not_found(vault: Vault) -> None:
    for ask in (vault.front.hub.accounts.get, vault.front.hub.channel_admin.get):
        with pytest.raises(NotFound):
            await ask(vault.front.book, "nowhere")


async def test_accounts_that_are_one_at_the_rail_have_one_deposit_between_them(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.accounts.ready.deposit_prefix", lambda _: "WX1900000001")
    book = vault.front.book
    assert await vault.elsewhere().deposits(book) == {"WX1900000001": ["rail"]}
    await vault.add("a")
    assert await vault.elsewhere().deposits(book) == {"WX1900000001": ["rail", "a"]}


async def test_an_account_that_does_not_open_keeps_its_part_of_the_deposit(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the deposit of two accounts would be that of the one which opens, whole."""
    monkeypatch.setattr("gateway.accounts.ready.deposit_prefix", lambda _: "WX1900000001")
    hub, book = vault.front.hub, vault.front.book
    for name, merchant in (("a", "m-1"), ("b", "m-1"), ("c", "m-2")):
        await vault.add(name, merchant=merchant)
    await vault.sql("UPDATE channel_account SET sealed = 'x' WHERE id IN ('b', 'c')")
    elsewhere = ChannelAccounts(hub.channels, hub.keys, hub.pool, hub.env, lambda _: ("merchant",))
    assert await elsewhere.deposits(book) == {"WX1900000001": ["rail", "a", "b"]}
