"""A batch that its bank refuses as a whole is sent no more, is a case, and ends as two people say."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from cases import Case
from cases.store import cases
from kernel.db import acquire
from kernel.errors import Conflict, Rejected
from ops.cases import decide
from ops.verify import verify
from splitting.banks.sending import Sending
from splitting.banks.worker import BankWorker
from splitting.settlement.refused import GiveBack
from splitting.tables import Settlement
from tests.channels.banks.bank_files import pain002, report_line
from tests.splitting.play_bank import HOLDER, OUR_KEY, PlayBank, a_round, a_town_with_a_bank, all_read, private_pem
from tests.splitting.town import BANK, FARM, MILL, PLATFORM, Town

IN_TRANSIT = {"channel:rail": 9_940, "in_transit:citybank": 9_940}
OWED_AGAIN = {"channel:rail": 9_940, "payee:farm": 3_000, "payee:mill": 6_890, "platform_fee": 50}
PAID = {"channel:rail": 9_940, "sub_account:farm": 3_000, "sub_account:mill": 6_890, "sub_account:platform": 50}


@dataclass
class Counter:
    """A day's batch, and the bank that is to have it."""

    town: Town
    bank: PlayBank
    worker: BankWorker

    @property
    def message_id(self) -> str:
        return self.town.id(self.town.today).replace("_", "-")

    async def batch(self) -> Settlement:
        return await self.town.batch(self.town.today)

    async def rounds(self, number: int = 1, *, seconds: int = 0) -> None:
        for _ in range(number):
            self.town.front.clock.forward(seconds)
            await a_round(self.worker)

    async def cases(self) -> list[Case]:
        async with acquire(self.town.front.hub.pool) as connection:
            return await cases(connection, book=self.town.front.book, decided=False)

    async def decide(self, decision: str) -> None:
        (case,) = await self.cases()
        assert case.kind == "settlement_refused"
        await decide(self.town.front.hub, case.id, decision, by="Wang", note="asked the bank")

    async def paid(self) -> None:
        """Have the bank report that it carried all of the batch out."""
        lines = [report_line(line.id, "ACSC") for line in (await self.town.lines(self.town.today)).values()]
        self.bank.says("pain.002", pain002("ACSC", *lines, of=self.message_id))
        await all_read(self.town, self.bank, self.worker)

    async def rotate(self, **settings: Any) -> None:
        await self.town.front.hub.banks.rotate(self.town.front.book, BANK, settings, folder=Path())

    def names(self) -> list[str]:
        """Return in whose name each upload was written."""
        return [re.findall("<Dbtr><Nm>(.*?)</Nm>", one.decode())[0] for one in self.bank.taken]


@asynccontextmanager
async def a_counter(database_url: str, home: Path) -> AsyncIterator[Counter]:
    async with a_town_with_a_bank(database_url, home) as (town, bank, worker):
        await town.sell()
        await town.settle(town.today)
        counter = Counter(town, bank, worker)
        yield counter
        assert [one for one in await verify(town.front.hub.pool) if one.broken] == []


async def test_a_refused_batch_is_sent_no_more_and_is_sent_again_when_two_people_say_so(
    database_url: str, tmp_path: Path
) -> None:
    async with a_counter(database_url, tmp_path) as desk:
        desk.bank.refuses = 400, "holder_differs"
        await desk.rounds(3, seconds=3_600)
        assert ((await desk.batch()).status, len(desk.bank.taken)) == ("refused", 1)
        assert await desk.town.standing() == IN_TRANSIT
        (case,) = await desk.cases()
        facts = orjson.loads(case.facts)
        assert (case.kind, case.amount_minor) == ("settlement_refused", 9_940)
        assert (facts["code"], facts["refused_by"], facts["lines_in_transit"]) == ("holder_differs", "bank", 3)

        await desk.decide("send_again")
        await desk.rounds(2, seconds=3_600)
        assert ((await desk.batch()).status, len(desk.bank.taken)) == ("refused", 2), "and it is asked about again"
        desk.bank.refuses = None
        await desk.rotate(account_holder="杭州新茶铺有限公司")
        await desk.decide("send_again")
        await desk.rounds()
        assert ((await desk.batch()).status, await desk.cases()) == ("sent", [])
        assert desk.names() == [HOLDER, HOLDER, "杭州新茶铺有限公司"]
        await desk.paid()
        assert await desk.town.standing() == PAID
        told = await desk.town.front.events("settlement.refused", "settlement.released", "settlement.sent")
        assert told == ["settlement.refused", "settlement.released"] * 2 + ["settlement.sent"]


async def test_a_cancelled_batch_is_owed_again_and_paid_with_the_next(database_url: str, tmp_path: Path) -> None:
    async with a_counter(database_url, tmp_path) as desk:
        desk.bank.refuses = 422, "account_blocked"
        await desk.rounds()
        await desk.decide("cancel")
        desk.bank.refuses = None
        assert (await desk.batch()).status == "cancelled"
        await desk.rounds()
        batch = await desk.batch()
        assert (batch.status, batch.open_count, batch.paid_minor) == ("finished", 0, 0)
        assert {line.status for line in (await desk.town.lines(desk.town.today)).values()} == {"refused"}
        assert await desk.town.standing() == OWED_AGAIN
        tomorrow = desk.town.today + timedelta(days=1)
        desk.town.front.clock.forward(86_400)
        assert (await desk.town.settle(tomorrow)).total_minor == 9_940
        await desk.rounds()
        assert (await desk.town.batch(tomorrow)).status == "sent"
        assert len(desk.bank.taken) == 2


async def lost_and_then_refused(desk: Counter) -> None:
    """The bank has the batch, its answer was lost, and it refuses the repetition: that decides nothing."""
    desk.bank.drops.add(desk.message_id)
    desk.bank.keeps_dropped = True
    await desk.rounds()
    desk.bank.drops.clear()
    desk.bank.refuses = 400, "signature_expired"
    await desk.rounds(3, seconds=600)
    assert ((await desk.batch()).status, await desk.cases()) == ("created", [])
    await desk.paid()
    assert ((await desk.batch()).status, await desk.town.standing()) == ("finished", PAID)


async def cancelled_and_there_after_all(desk: Counter) -> None:
    """What was on its way when the bank refused comes in before the batch is given back: it is not given back."""
    desk.bank.refuses = 400, "busy"
    await desk.rounds()
    await desk.decide("cancel")
    desk.bank.has[desk.message_id] = {
        "file_id": "f1", "message_id": desk.message_id, "sha256": "0" * 64, "received_at": "2026-11-24T10:00:00.000Z",
    }  # fmt: skip
    await desk.rounds()
    assert ((await desk.batch()).status, await desk.town.standing()) == ("sent", IN_TRANSIT)
    await desk.paid()
    assert await desk.town.standing() == PAID


async def cancelled_at_a_bank_that_does_not_say_what_it_has(desk: Counter) -> None:
    """The bank is asked before anything is given back; while it does not say, the money stays where it is."""
    desk.bank.refuses = 400, "busy"
    await desk.rounds()
    await desk.decide("cancel")
    desk.bank.unlisted.add("pain.001")
    await desk.rounds(2, seconds=600)
    assert ((await desk.batch()).status, await desk.town.standing()) == ("cancelled", IN_TRANSIT)
    desk.bank.unlisted.clear()
    await desk.rounds(seconds=600)
    assert ((await desk.batch()).status, await desk.town.standing()) == ("finished", OWED_AGAIN)


async def reported_while_it_is_refused(desk: Counter) -> None:
    """The bank pays what it had refused: the case is over, and nobody can cancel it."""
    desk.bank.refuses = 400, "busy"
    await desk.rounds()
    (case,) = await desk.cases()
    line = (await desk.town.lines(desk.town.today))[FARM].id
    desk.bank.says("pain.002", pain002("PART", report_line(line, "ACSC"), of=desk.message_id))
    await all_read(desk.town, desk.bank, desk.worker)
    with pytest.raises(Conflict, match="has it after all"):
        await decide(desk.town.front.hub, case.id, "cancel", by="Wang", note="why")
    await desk.paid()
    assert ((await desk.batch()).status, await desk.cases()) == ("finished", [])


PLAYS = (
    lost_and_then_refused,
    cancelled_and_there_after_all,
    cancelled_at_a_bank_that_does_not_say_what_it_has,
    reported_while_it_is_refused,
)


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.__name__)
async def test_no_refusal_ends_what_the_bank_has(
    database_url: str, tmp_path: Path, play: Callable[[Counter], Any]
) -> None:
    async with a_counter(database_url, tmp_path) as desk:
        await play(desk)


def _asks_nobody(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any) -> bool:
        return False

    patch.setattr(Sending, "_is_there", nothing)


@pytest.mark.parametrize("play", PLAYS[:3], ids=lambda play: play.__name__)
async def test_a_hub_that_believes_a_refusal_unasked_fails_these_plays(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, play: Callable[[Counter], Any]
) -> None:
    _asks_nobody(monkeypatch)
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, worker):
        await town.sell()
        await town.settle(town.today)
        with pytest.raises(AssertionError):
            await play(Counter(town, bank, worker))


async def test_a_line_is_given_back_of_a_cancelled_batch_alone(database_url: str, tmp_path: Path) -> None:
    async with a_counter(database_url, tmp_path) as desk:
        await desk.rounds()
        line = (await desk.town.lines(desk.town.today))[MILL]
        assert (await desk.town.put(GiveBack(line.book, line.id))).status == "in_transit"
        assert await desk.town.standing() == IN_TRANSIT


@pytest.mark.parametrize("status", [None, 500, 409])
async def test_without_a_clear_answer_a_batch_is_sent_again_less_and_less_often(
    database_url: str, tmp_path: Path, status: int | None
) -> None:
    async with a_counter(database_url, tmp_path) as desk:
        if status is None:
            desk.bank.drops.add(desk.message_id)
        else:
            desk.bank.refuses = status, "later"
        at = []
        for second in range(200):
            before = len(desk.bank.taken)
            await desk.rounds()
            at += [second] * (len(desk.bank.taken) - before)
            desk.town.front.clock.forward(1)
        assert at == [0, 2, 6, 14, 30, 62, 126]
        assert len(set(desk.bank.taken)) == 1, "the same bytes each time"
        assert ((await desk.batch()).status, await desk.cases()) == ("created", [])
        assert await desk.town.standing() == IN_TRANSIT


async def test_a_batch_that_the_hub_cannot_write_is_a_case(database_url: str, tmp_path: Path) -> None:
    async with a_counter(database_url, tmp_path) as desk:
        await desk.rotate(bic="no bic")
        await desk.rounds(2, seconds=600)
        assert ((await desk.batch()).status, desk.bank.taken) == ("refused", [])
        (case,) = await desk.cases()
        assert orjson.loads(case.facts)["refused_by"] == "hub"
        await desk.rotate(bic="SBXBCNBJXXX")
        await desk.decide("send_again")
        await desk.rounds()
        assert (await desk.batch()).status == "sent"


async def test_a_batch_is_written_in_the_holders_name_and_again_in_the_very_same(
    database_url: str, tmp_path: Path
) -> None:
    async with a_counter(database_url, tmp_path) as desk:
        desk.bank.drops.add(desk.message_id)
        await desk.rounds()
        desk.bank.drops.clear()
        await desk.rotate(account_holder="A. Nother & Co")
        await desk.rounds(seconds=10)
        assert (desk.names(), len(set(desk.bank.taken))) == ([HOLDER, HOLDER], 1)
        tomorrow = desk.town.today + timedelta(days=1)
        desk.town.front.clock.forward(86_400)
        await desk.town.sell()
        await desk.town.settle(tomorrow)
        await desk.rounds()
        assert desk.names()[-1] == "A. Nother &amp; Co"
        assert PLATFORM in await desk.town.lines(tomorrow)


@pytest.mark.parametrize(("holder", "why"), [(None, "missing"), ("", "missing"), ("茶" * 141, "1 to 140"), (7, "text")])
async def test_a_bank_is_linked_in_somebodys_name(database_url: str, tmp_path: Path, holder: Any, why: str) -> None:
    async with a_counter(database_url, tmp_path) as desk:
        hub, book = desk.town.front.hub, desk.town.front.book
        link = await hub.banks.link(book, BANK)
        given = {
            **orjson.loads(link.settings),
            "token": "t",
            "private_key": private_pem(OUR_KEY),
            "account_holder": holder,
        }
        with pytest.raises(Rejected, match=why):
            await hub.merchants.link_bank(book, "other", given, name="pool", currency="CNY")
