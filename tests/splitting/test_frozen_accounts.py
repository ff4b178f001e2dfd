"""A frozen account is paid nothing and nothing is withdrawn from it, by people's word or the bank's, until unfrozen."""

from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pytest

from channels.sharing import ReceiverKind
from kernel.errors import Conflict, NotFound
from kernel.work import perform
from ops.payees import kept_back, listed
from splitting import RAILS, CreatePayee, DecideInstruction, MakeSettlement, Payee
from splitting.accounts.freezing import FreezeAccount
from splitting.accounts.opening import Said
from splitting.states import SubAccount
from splitting.store import Owed
from tests.channels.banks.bank_files import pain002, report_line
from tests.splitting.play_bank import a_round, a_town_with_a_bank, all_read, send_todays
from tests.splitting.test_suspended_payees import events, town, unbroken
from tests.splitting.test_withdrawals import a_desk
from tests.splitting.town import BANK, DAY, FARM, KILN, MILL, PLATFORM, Town

__all__ = ["town"]


async def account(town: Town, payee: str = FARM) -> Any:
    return (await town.front.get(f"/v1/payees/{payee}")).body["sub_account"]


async def test_its_shares_are_booked_and_the_next_batch_after_it_is_unfrozen_pays_them_all(town: Town) -> None:
    hub, book = town.front.hub, town.front.book
    await town.sell()
    for _ in range(2):
        await hub.payees.freeze(book, FARM)
    await town.sell()
    await town.settle(town.today)
    assert set(await town.lines(town.today)) == {MILL, PLATFORM}
    assert (await town.standing())["payee:farm"] == 6_000
    found = await account(town)
    assert (found["status"], found["frozen_by"], found["reason"]) == ("frozen", "operator", None)
    (line,) = await kept_back(hub, book, BANK, "CNY")
    assert "frozen: 60.00 CNY are not paid out" in line
    (row,) = [one for one in await listed(hub, book) if one["id"] == FARM]
    assert row["owed"] == "60.00"
    for _ in range(2):
        await hub.payees.unfreeze(book, FARM)
    await town.settle(town.today + DAY)
    assert (await town.lines(town.today + DAY))[FARM].amount_minor == 6_000
    assert await kept_back(hub, book, BANK, "CNY") == []
    assert await events(town) == ["payee.account_frozen", "payee.account_unfrozen"]
    await unbroken(town)


async def test_the_word_counts_in_the_very_commit_before_the_batch(town: Town) -> None:
    await town.sell()
    owed = await town.read(town.today)
    book, day, now = town.front.book, town.today, town.front.clock.now()
    kiln = Payee(book, KILN, "kiln", "supplier", "CNY", BANK, None, now)
    await town.put(CreatePayee(kiln, Said(SubAccount.OPENING)))
    batch = MakeSettlement(book, BANK, day, day + timedelta(days=1), "CNY", [*owed, Owed(KILN, 100, 0)], now)
    async with town.front.hub.pool.acquire() as connection, connection.transaction():
        await perform(connection, [FreezeAccount(book, FARM), batch], now)
    assert set(await town.lines(day)) == {MILL, PLATFORM}
    await unbroken(town)


async def test_what_is_not_open_is_not_frozen_and_only_what_is_there(town: Town) -> None:
    payees, book, now = town.front.hub.payees, town.front.book, town.front.clock.now()
    await town.put(CreatePayee(Payee(book, KILN, "kiln", "supplier", "CNY", None, None, now)))
    with pytest.raises(Conflict, match="payee_account_not_open"):
        await payees.freeze(book, KILN)
    for change in (payees.freeze, payees.unfreeze):
        with pytest.raises(NotFound):
            await change(book, "pye_0")


async def test_a_bank_that_calls_an_account_blocked_freezes_it_once_and_for_no_other_reason(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        of = await send_todays(town)
        lines = await town.lines(town.today)
        said = [
            pain002("PART", report_line(lines[payee].id, "RJCT", reason), of=of).replace(b"<MsgId>", b"<MsgId>" + name)
            for payee, reason, name in ((FARM, "AC06", b"F"), (MILL, "AC04", b"M"))
        ]
        bank.says("pain.002", *said)
        await all_read(town, bank, bank_worker)
        found = await account(town)
        assert (found["status"], found["frozen_by"], found["reason"]) == ("frozen", "bank", "AC06")
        assert (await account(town, MILL))["status"] == "open"
        await town.front.hub.payees.freeze(town.front.book, FARM)
        assert (await account(town))["frozen_by"] == "bank", "it is frozen already"
        await town.front.hub.payees.unfreeze(town.front.book, FARM)
        assert (await account(town))["reason"] is None
        bank.says("pain.002", said[0])  # told again, which says nothing new
        await all_read(town, bank, bank_worker)
        assert (await account(town))["status"] == "open"
        town.front.clock.forward(86_400)
        await town.settle(town.today + DAY)
        assert (await town.lines(town.today + DAY))[FARM].amount_minor == 3_000, "it is owed again, and tried again"
        again = (await town.lines(town.today + DAY))[FARM].id
        await town.put(DecideInstruction(town.front.book, again, False, "AC06"))
        assert (await account(town))["status"] == "open", "it is no bank that says so"
        await unbroken(town)


async def test_nothing_is_withdrawn_from_it_and_what_was_asked_for_waits(database_url: str, tmp_path: Path) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        payees, book = desk.town.front.hub.payees, desk.town.front.book
        row = await desk.ask(FARM, 1_000)
        await payees.freeze(book, FARM)
        with pytest.raises(Conflict, match="payee_account_not_open"):
            await desk.ask(FARM, 1_000, "w-2")
        assert (await desk.has(FARM))["withdrawable"] == 0
        await a_round(desk.bank_worker)
        assert (desk.bank.taken, (await desk.now(row)).status) == ([], "requested")
        await payees.unfreeze(book, FARM)
        await a_round(desk.bank_worker)
        assert (len(desk.bank.taken), (await desk.now(row)).status) == (1, "sent")
        assert (await desk.has(FARM))["withdrawable"] == 2_000


async def test_no_rail_pays_round_it(town: Town) -> None:
    front, rails = town.front, cast(dict[str, Any], RAILS)
    line = {"name": "farm", "payee": FARM, "basis_points": 50, "travels": "rail"}
    with patch.dict(rails, {front.shop.channel.name: RAILS["wechat"]}):
        await front.hub.receivers.set(
            front.book, FARM, "rail", kind=ReceiverKind.MERCHANT, account="1900000001", by="ada"
        )
        await front.hub.rail_worker().once()
        later = {"version": 1, "lines": [{**line, "release": [{"when": "delivery", "days": 9}]}]}
        waits = await front.paid("frozen-since", split_plan={"document": later})
        await front.share_out()
        await front.hub.payees.freeze(front.book, FARM)
        since = await front.paid("frozen-before", split_plan={"document": {"version": 1, "lines": [line]}})
        await front.share_out()
        await front.hub.releases.deliver(front.book, waits)
        await front.hub.rail_worker().once()
        assert (await town.standing())["payee:farm"] == 100, "of both it is owed its share here"
        assert (await front.payment(since))["split"]["shares"][0]["because"] == "account_frozen"
    await unbroken(town)
