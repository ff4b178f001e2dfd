"""A payout that comes back 退票 is owed again, once; what may be one and is not known to be is for people to say."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

import splitting
from cases import Named
from kernel.db import acquire
from kernel.errors import Rejected
from ops.cases import decide
from splitting.banks.worker import BankWorker
from splitting.tables import Instruction
from tests.channels.banks.bank_files import pain002, report_line
from tests.kernel.one_book import outside
from tests.splitting.play_bank import OUR_KEY, PlayBank, a_round, a_town_with_a_bank, all_read, private_pem, send_todays
from tests.splitting.test_bookings_told_apart import entry, notice
from tests.splitting.test_files_set_aside import decided, read_from_the_beginning, waiting
from tests.splitting.town import BANK, FARM, MILL, PLATFORM, Town

PAID = {"channel:rail": 9_940, "sub_account:farm": 3_000, "sub_account:mill": 6_890, "sub_account:platform": 50}
BACK = {"channel:rail": 9_940, "payee:farm": 3_000, "sub_account:mill": 6_890, "sub_account:platform": 50}
RTRN = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>"
NEXT = "2026-11-25"


async def paid(town: Town, bank: PlayBank, bank_worker: BankWorker) -> dict[str, Instruction]:
    """Have the day's batch paid; return its lines."""
    of = await send_todays(town)
    lines = await town.lines(town.today)
    bank.says("pain.002", pain002("ACSC", *(report_line(line.id, "ACSC") for line in lines.values()), of=of))
    await all_read(town, bank, bank_worker)
    assert await town.standing() == PAID
    return await town.lines(town.today)


async def told(town: Town, kind: str) -> list[dict[str, Any]]:
    """Return the book's events of a type."""
    found = (await town.front.get("/v1/events?limit=100")).body["data"]
    return [event for event in found if event["type"] == kind]


def back(line: Instruction, told: str = RTRN, *, amount: str = "30.00", ref: str = "R", more: str = "") -> str:
    """Return an entry by which a line comes back. told: what stands in its transaction, more: in the entry."""
    said = entry(amount, ref=ref, end_to_end=line.id, day=NEXT, more=more)
    return said.replace("</TxDtls>", f"{told}</TxDtls>")


_CODED = "<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>RRTN</SubFmlyCd></Fmly></Domn></BkTxCd>"
WAYS = {
    "a reason": ("AC04", lambda line: back(line)),
    "a word of its own": ("CLOSED", lambda line: back(line, "<RtrInf><Rsn><Prtry>CLOSED</Prtry></Rsn></RtrInf>")),
    "that it is a return": (None, lambda line: back(line, "<RtrInf/>")),
    "the code of a return": (None, lambda line: back(line, "", more=_CODED)),
    "that it is undone": (None, lambda line: back(line, "", more="<RvslInd>true</RvslInd>")),
    "the line in its text": (
        "AC04",
        lambda line: back(line, f"<RmtInf><Ustrd>RETURN {line.id}</Ustrd></RmtInf>{RTRN}").replace(
            f"<EndToEndId>{line.id}</EndToEndId>", "<EndToEndId>BANK-77</EndToEndId>"
        ),
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_payout_that_comes_back_is_owed_again_and_goes_with_the_next_batch(
    database_url: str, tmp_path: Path, way: str
) -> None:
    reason, written = WAYS[way]
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        lines = await paid(town, bank, bank_worker)
        bank.says("camt.054", notice(written(lines[FARM])))
        for _ in range(2):
            await read_from_the_beginning(database_url, town, bank, bank_worker)
            assert (await town.standing(), await waiting(town)) == (BACK, [])
        line = (await town.lines(town.today))[FARM]
        assert (line.status, line.return_reason, line.returned_on) == ("returned", reason, date(2026, 11, 25))
        assert (line.reason, line.bank_date) == (None, lines[FARM].bank_date), "when it was paid is still known"
        batch = await town.batch(town.today)
        assert (batch.status, batch.paid_minor, batch.returned_minor) == ("finished", 9_940, 3_000)
        (event,) = await told(town, "settlement.line_returned")
        assert (event["data"]["status"], event["data"]["reason"], event["data"]["returned_on"]) == (
            "returned", reason, NEXT,
        )  # fmt: skip
        shown = (await town.front.get(f"/v1/settlements/{batch.id}")).body
        assert shown["returned_minor"] == 3_000
        assert {one["payee"]: one["status"] for one in shown["instructions"]}[FARM] == "returned"
        async with acquire(town.front.hub.pool) as connection:
            totals = await splitting.store.payee_totals(connection, town.front.book, "CNY")
        assert {one.payee_id: one.paid_minor for one in totals} == {FARM: 0, MILL: 6_890, PLATFORM: 50}
        tomorrow = town.today + timedelta(days=1)
        assert await town.owed(tomorrow) == {FARM: 3_000}
        await town.settle(tomorrow)
        assert (await town.lines(tomorrow))[FARM].amount_minor == 3_000


async def test_the_platforms_own_line_comes_back_to_the_platform(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        lines = await paid(town, bank, bank_worker)
        bank.says("camt.054", notice(back(lines[PLATFORM], amount="0.50")))
        await all_read(town, bank, bank_worker)
        standing = await town.standing()
        assert (standing["platform_fee"], "sub_account:platform" in standing) == (50, False)


async def test_a_return_that_is_told_of_before_its_report_is_booked_as_both(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        of = await send_todays(town)
        lines = await town.lines(town.today)
        bank.says("camt.054", notice(back(lines[FARM])))
        await all_read(town, bank, bank_worker)
        assert (await town.lines(town.today))[FARM].status == "returned"
        said = pain002("ACSC", *(report_line(line.id, "ACSC") for line in lines.values()), of=of)
        bank.says("pain.002", said, said.replace(b"<TxSts>ACSC</TxSts>", b"<TxSts>RJCT</TxSts>", 1))
        await all_read(town, bank, bank_worker)
        assert await town.standing() == BACK


async def test_what_the_payees_own_account_says_of_a_return_is_the_same_return(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        lines = await paid(town, bank, bank_worker)
        out = back(lines[FARM]).replace("CRDT", "DBIT")
        bank.says("camt.054", notice(out, account=lines[FARM].account), notice(back(lines[FARM]), message="M2"))
        await all_read(town, bank, bank_worker)
        assert (await town.standing(), await waiting(town)) == (BACK, [])


@pytest.mark.parametrize("what", ["another amount", "no line", "a second time", "a refused line"])
async def test_a_return_that_is_no_paid_lines_books_nothing_and_is_for_a_person(
    database_url: str, tmp_path: Path, what: str
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        if what == "a refused line":
            await send_todays(town)
            lines = await town.lines(town.today)
            for payee in (FARM, MILL, PLATFORM):
                await town.decide(town.today, payee, paid=payee != FARM)
        else:
            lines = await paid(town, bank, bank_worker)
        first = back(lines[FARM])
        if what == "another amount":
            bank.says("camt.054", notice(back(lines[FARM], amount="29.50")))
        elif what == "no line":
            bank.says("camt.054", notice(first.replace(lines[FARM].id, "1-261124-" + "f" * 23)))
        elif what == "a second time":
            bank.says("camt.054", notice(first), notice(back(lines[FARM], ref="R2"), message="M2"))
        else:
            bank.says("camt.054", notice(first))
        for _ in range(2):
            await read_from_the_beginning(database_url, town, bank, bank_worker)
            assert await town.standing() == (PAID if what in ("another amount", "no line") else BACK)
            (case,) = await waiting(town)
            assert (case.kind, case.opened_count) == ("booking_unidentified", 1)
        assert orjson.loads(case.facts)["return_reason"] == "AC04"


async def test_people_say_which_line_came_back_where_the_bank_does_not(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        lines = await paid(town, bank, bank_worker)
        bank.says("camt.054", notice(back(lines[FARM], "")))
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        assert orjson.loads(case.facts)["instruction"] == lines[FARM].id, "the clerk reads which"
        hub = town.front.hub
        for line, code in (
            (None, "case_line_missing"),
            ("1-261124-0", "no_such_line"),
            (lines[MILL].id, "line_amount_differs"),
        ):
            named = None if line is None else Named("line", line)
            with pytest.raises(Rejected) as refused:
                await decide(hub, case.id, "returned", by="Wang", note="asked", named=named)
            assert refused.value.code == code
        await decide(hub, case.id, "returned", by="Wang", note="asked", named=Named("line", lines[FARM].id))
        await read_from_the_beginning(database_url, town, bank, bank_worker)
        assert (await town.standing(), await waiting(town)) == (BACK, [])
        bank.says("camt.054", notice(back(lines[FARM], "", ref="R2"), message="M2"))
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        with pytest.raises(Rejected) as refused:
            await decide(hub, case.id, "returned", by="Wang", note="asked", named=Named("line", lines[FARM].id))
        assert refused.value.code == "line_not_paid"


async def test_a_return_that_was_put_in_suspense_is_booked_as_one_once_people_know_its_line(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        lines = await paid(town, bank, bank_worker)
        bank.says("camt.054", notice(back(lines[FARM], "")))
        await all_read(town, bank, bank_worker)
        hub = town.front.hub
        (case,) = await waiting(town)
        await decide(hub, case.id, "suspend", by="Wang", note="nobody knows")
        (case,) = await waiting(town)
        assert case.kind == "money_in_suspense"
        await decide(hub, case.id, "returned", by="Wang", note="asked", named=Named("line", lines[FARM].id))
        await read_from_the_beginning(database_url, town, bank, bank_worker)
        assert (await town.standing(), await waiting(town)) == (BACK, [])
        assert (await town.lines(town.today))[FARM].status == "returned"


async def test_what_people_said_of_a_return_before_stands(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        lines = await paid(town, bank, bank_worker)
        silent = notice(back(lines[FARM], ""))
        bank.says("camt.054", silent)
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        await decide(town.front.hub, case.id, "no_deposit", by="Wang", note="put right by hand")
        bank.files["camt.054"] = [silent.replace(b"</TxDtls>", RTRN.encode() + b"</TxDtls>")]
        await read_from_the_beginning(database_url, town, bank, bank_worker)
        assert (await town.standing(), await waiting(town)) == (PAID, [])


async def test_money_of_nobodys_is_in_suspense_once_until_people_say_whose(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says(
            "camt.054", notice(entry("70", end_to_end="WHO")), notice(entry("80", ref="B", out=True), message="M2")
        )
        bank.files["camt.054"][1] = bank.files["camt.054"][1].replace(b"WX20261124", b"WHO")
        await all_read(town, bank, bank_worker)
        hub = town.front.hub
        for case in await waiting(town):
            await decide(hub, case.id, "suspend", by="Wang", note="nobody knows")
        for _ in range(2):
            await read_from_the_beginning(database_url, town, bank, bank_worker)
            assert await town.standing() == {f"bank:{BANK}": -1_000, "suspense": -1_000}
            came, went = sorted(await waiting(town), key=lambda one: -(one.amount_minor or 0))
            assert (came.kind, came.amount_minor, went.amount_minor) == ("money_in_suspense", 7_000, -8_000)
        with pytest.raises(Rejected, match="no line 1"):
            await decide(hub, came.id, "returned", by="Wang", note="?", named=Named("line", "1-261124-0"))
        await decide(hub, came.id, "gone_back", by="Wang", note="the bank sent it back")
        await decide(hub, went.id, "book", by="Wang", note="the rail's", named=Named("account", "rail"))
        assert await town.standing() == {f"bank:{BANK}": -8_000, "channel:rail": 8_000}
        assert sorted(map(str, await decided(town))) == ["book", "gone_back", "suspend", "suspend"]
        (event,) = await told(town, "channel.deposited")
        assert (event["data"]["channel_account"], event["data"]["amount_minor"]) == ("rail", -8_000)


async def test_what_was_booked_on_another_account_than_the_pool_is_not_put_in_suspense(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", notice(entry("70"), account="6299000000000000001"))
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        for decision in ("suspend", "returned"):
            named = Named("line", "1-261124-0") if decision == "returned" else None
            with pytest.raises(Rejected) as refused:
                await decide(town.front.hub, case.id, decision, by="Wang", note="?", named=named)
            assert refused.value.code == "not_the_pool_account"


async def test_the_debit_of_a_whole_batch_is_nobodys_case(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        of = await send_todays(town)

        def one(amount: str, ref: str, number: str = "3") -> str:
            said = entry(amount, ref=ref, out=True)
            batch = f"<Btch><PmtInfId>{of}</PmtInfId><NbOfTxs>{number}</NbOfTxs></Btch>"
            start, end = said.index("<NtryDtls>"), said.index("</Ntry>")
            return f"{said[:start]}<NtryDtls>{batch}</NtryDtls>{said[end:]}"

        bank.says("camt.054", notice(one("99.40", "A")), notice(one("69.40", "B", "2"), message="M2"))
        await all_read(town, bank, bank_worker)
        assert await waiting(town) == [], "a line may have been refused, and its report says so"
        bank.says("camt.054", notice(one("99.41", "C"), message="M3"))
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        assert (case.kind, case.amount_minor) == ("booking_unidentified", -9_941)
        (sent,) = bank.taken
        assert b"<PmtMtd>TRF</PmtMtd><BtchBookg>false</BtchBookg><NbOfTxs>3" in sent


async def test_a_batch_of_before_is_sent_again_as_it_was(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await town.sell()
        await town.settle(town.today)
        async with outside(database_url) as connection:
            await connection.execute("UPDATE settlement SET written_as = 0")
        await a_round(bank_worker)
        (sent,) = bank.taken
        assert b"BtchBookg" not in sent


async def test_how_a_batch_is_written_is_settled_when_it_is_first_sent(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        hub, book = town.front.hub, town.front.book
        link = await hub.banks.link(book, BANK)
        settings = orjson.loads(link.settings)

        async def writes(version: str) -> None:
            told = {**settings, "pain_001": version, "private_key": private_pem(OUR_KEY), "token": "the-token"}
            await hub.banks.rotate(book, BANK, told, folder=tmp_path)

        await writes("pain.001.001.03")
        await town.sell()
        batch = await town.settle(town.today)
        bank.drops.add(batch.id.replace("_", "-"))
        await a_round(bank_worker)
        await writes("pain.001.001.09")
        bank.drops.clear()
        town.front.clock.forward(60)
        await a_round(bank_worker)
        first, *again = bank.taken
        assert b"pain.001.001.03" in first
        assert set(again) == {first}, "the bank is given the very same bytes"
        with pytest.raises(Rejected, match="pain_001 is one of"):
            await writes("pain.001.001.05")
