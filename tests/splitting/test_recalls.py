"""A line that two people recall 追回: what its bank answers, in whatever order with what else is said of it.

What comes back of it, or never went, is owed again and held until people decide; nothing is paid or booked twice.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from kernel.db import acquire
from kernel.errors import Conflict, Rejected
from ops.cases import decide
from ops.verify import verify
from splitting.payees import LinkBank
from splitting.recalls.commands import Asked, RecallLines
from splitting.recalls.store import find, recalls_agree_with_their_payments
from splitting.tables import Recall
from tests.channels.banks.bank_files import pain002, report_line
from tests.channels.banks.test_recall_messages import answer
from tests.kernel.one_book import outside
from tests.splitting.play_bank import a_round
from tests.splitting.test_bookings_told_apart import notice
from tests.splitting.test_files_set_aside import read_from_the_beginning
from tests.splitting.test_paid_by_booking import debit
from tests.splitting.test_payouts_in_doubt import IN_TRANSIT, Report, a_report
from tests.splitting.test_returns import back
from tests.splitting.town import BANK, FARM, MILL, PLATFORM

DAY = timedelta(days=1)
FARM_BACK = {**IN_TRANSIT, "in_transit:citybank": 6_940, "payee:farm": 3_000}
FARM_PAID = {**IN_TRANSIT, "in_transit:citybank": 6_940, "sub_account:farm": 3_000}


class Desk:
    """A day's batch at a bank whose answers the test writes, and the farm's line of 30.00, which is recalled."""

    def __init__(self, report: Report, line: str) -> None:
        self.report, self.town, self.line = report, report.town, line
        self.book = report.town.front.book

    async def recall(self, *lines: str, reason: str = "DUPL") -> Sequence[Recall]:
        asked = Asked(reason, "made twice", "ada")
        rows: Sequence[Recall] = await self.town.put(
            RecallLines(self.book, self.town.id(self.town.today), lines or [self.line], asked)
        )
        return rows

    async def now(self, line: str | None = None) -> Recall:
        async with acquire(self.town.front.hub.pool) as connection:
            row = await find(connection, self.book, line or self.line)
        assert row is not None
        return row

    async def given(self) -> None:
        await a_round(self.report.bank_worker)

    async def asked_and_given(self) -> None:
        await self.recall()
        await self.given()
        assert (await self.now()).status == "sent"

    async def answers(self, status: str, **how: Any) -> None:
        """Have the bank answer, and the hub read it."""
        self.report.bank.says("camt.029", self.told(status, **how))
        for _ in range(2):
            await a_round(self.report.bank_worker)

    def told(self, status: str, **how: Any) -> bytes:
        conf = {"ACCR": "CNCL"}.get(status, status)
        how = {"ident": f"r1-{self.line}", "of": self.report.of, "line": self.line, **how}
        return answer(status, conf, **how)

    async def line_is(self, status: str, *reasons: str) -> None:
        said = pain002("PART", report_line(self.line, status, *reasons), of=self.report.of)
        await self.report.says(said)

    async def comes_back(self, ref: str = "R") -> None:
        line = (await self.town.lines(self.town.today))[FARM]
        self.report.bank.says("camt.054", notice(back(line, ref=ref), message=ref))
        for _ in range(2):
            await a_round(self.report.bank_worker)

    async def held(self) -> int:
        """Return what of the farm's is held."""
        balance, available = (await self.town.front.balances()).get(f"payee:{FARM}:CNY", (0, 0))
        return balance - available

    async def status(self) -> str:
        return (await self.town.lines(self.town.today))[FARM].status

    async def cases(self) -> list[str]:
        return sorted(kind for kind, _ in await self.report.open_cases())

    async def decide(self, decision: str) -> None:
        for case in await self.report.cases():
            await decide(self.town.front.hub, case.id, decision, by="Wang", note="asked the bank")

    async def pays_tomorrow(self) -> dict[str, int]:
        """Return what the next batch pays, and to whom."""
        tomorrow = self.town.today + DAY
        if await self.town.asked(tomorrow) is None:
            return {}
        return {payee: line.amount_minor for payee, line in (await self.town.lines(tomorrow)).items()}

    async def sound(self) -> bool:
        return [one for one in await verify(self.town.front.hub.pool) if one.broken] == []

    async def events(self) -> list[str]:
        found = (await self.town.front.get("/v1/events?limit=100")).body["data"]
        return [one["type"] for one in found if one["type"].startswith("recall.")]


@asynccontextmanager
async def a_desk(database_url: str, home: Path) -> AsyncIterator[Desk]:
    async with a_report(database_url, home) as report:
        line = (await report.town.lines(report.town.today))[FARM].id
        desk = Desk(report, line)
        yield desk
        assert await desk.sound()


async def test_what_a_bank_gives_up_is_owed_again_and_in_no_batch_until_people_release_it(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        await desk.asked_and_given()
        (given,) = [one for one in desk.report.bank.taken if b"camt.055" in one]
        assert re.findall(rb"<CxlId>(.*?)</CxlId>", given) == [f"r1-{desk.line}".encode()]
        assert b"<Cd>DUPL</Cd></Rsn><AddtlInf>made twice<" in given
        await desk.answers("PDCR", reason="PTNA")
        assert ((await desk.now()).status, (await desk.now()).code) == ("pending", "PTNA")
        assert await desk.town.standing() == IN_TRANSIT
        for _ in range(2):
            await desk.answers("ACCR")
            row = await desk.now()
            assert (row.status, row.code, str(row.answered_on)) == ("accepted", None, "2026-11-24")
            line = (await desk.town.lines(desk.town.today))[FARM]
            assert (line.status, line.reason) == ("refused", "recalled (DUPL)")
            assert (await desk.town.standing(), await desk.held()) == (FARM_BACK, 3_000)
            assert await desk.cases() == ["payout_recalled"]
        await read_from_the_beginning(database_url, desk.town, desk.report.bank, desk.report.bank_worker)
        assert (await desk.town.standing(), await desk.held()) == (FARM_BACK, 3_000)
        assert await desk.sound()
        shown = (await desk.town.front.get(f"/v1/settlements/{desk.town.id(desk.town.today)}")).body
        told = {one["payee"]: one["recall"] for one in shown["instructions"]}
        assert (told[FARM]["status"], told[FARM]["reason"], told[MILL]) == ("accepted", "DUPL", None)
        desk.town.front.clock.forward(2 * 86_400)
        await desk.town.sell()  # the farm earns 30.00 more on a later date
        assert await desk.pays_tomorrow() == {}, "what is held is not paid out of a later date's share"
        for days, released in ((2, False), (3, True)):
            if released:
                await desk.decide("release")
            assert await desk.town.asked(desk.town.today + days * DAY) is not None
            assert (await desk.town.lines(desk.town.today + days * DAY))[FARM].amount_minor == 3_000
            assert (await desk.held(), await desk.cases()) == ((0, []) if released else (3_000, ["payout_recalled"]))
        assert await desk.events() == ["recall.requested", "recall.sent", "recall.pending", "recall.accepted"]


async def test_a_refused_recall_changes_nothing_and_may_be_asked_for_anew(database_url: str, tmp_path: Path) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        await desk.asked_and_given()
        assert [one.number for one in await desk.recall(reason="FRAD")] == [1], "it is under way"
        await desk.answers("RJCR", reason="NOAS")
        assert ((await desk.now()).status, (await desk.now()).code) == ("refused", "NOAS")
        assert (await desk.town.standing(), await desk.cases()) == (IN_TRANSIT, [])
        await desk.answers("ACCR")
        assert (await desk.now()).status == "refused", "the second word contradicts the first"
        assert (await desk.town.standing(), await desk.cases()) == (IN_TRANSIT, ["bank_contradicts_itself"])
        await desk.decide("looked_into")
        await desk.recall(reason="FRAD")
        await desk.given()
        for status in ("RJCR", "PDCR", "ACCR"):  # of the first, again: it says nothing of the second
            assert await desk.cases() == []
            await desk.answers(status, reason="LEGL")
            row = await desk.now()
            assert (row.number, row.reason, row.status, row.code) == (2, "FRAD", "sent", None)
        assert (await desk.town.standing(), await desk.cases()) == (IN_TRANSIT, ["bank_contradicts_itself"])
        await read_from_the_beginning(database_url, desk.town, desk.report.bank, desk.report.bank_worker)
        assert (await desk.now()).status == "sent"
        await desk.decide("looked_into")
        await desk.answers("ACCR", ident=f"r2-{desk.line}")
        assert (await desk.town.standing(), await desk.cases()) == (FARM_BACK, ["payout_recalled"])
        await desk.answers("RJCR", ident=f"r2-{desk.line}", reason="LEGL")
        assert await desk.town.standing() == FARM_BACK
        assert await desk.cases() == ["bank_contradicts_itself", "payout_recalled"]


@pytest.mark.parametrize("how", ["a report", "a booking", "a person"])
async def test_a_line_that_was_paid_meanwhile_is_noticed_whoever_says_so_and_comes_back_as_a_return(
    database_url: str, tmp_path: Path, how: str
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        if how == "a booking":
            await desk.town.front.hub.banks.rotate(desk.book, BANK, {"paid_by": "booking"}, folder=tmp_path)
        await desk.asked_and_given()
        if how == "a report":
            await desk.line_is("ACSC")
        elif how == "a booking":
            desk.report.bank.says("camt.054", notice(debit(desk.line, "30.00"), message="D"))
            await a_round(desk.report.bank_worker)
        else:
            await desk.line_is("RJCT", "DU04")
            await desk.decide("paid")
        assert ((await desk.now()).status, await desk.town.standing()) == ("overtaken", FARM_PAID)
        await desk.answers("ACCR")
        assert ((await desk.now()).status, await desk.status()) == ("accepted", "paid"), "the money is not here yet"
        assert (await desk.town.standing(), await desk.cases()) == (FARM_PAID, [])
        for _ in range(2):
            await desk.comes_back()
            assert (await desk.town.standing(), await desk.held()) == (FARM_BACK, 3_000)
            assert (await desk.status(), await desk.cases()) == ("returned", ["payout_recalled"])
        assert await desk.pays_tomorrow() == {}
        await desk.line_is("RJCT", "AC04")
        assert (await desk.town.standing(), await desk.held()) == (FARM_BACK, 3_000), "as some banks say it came back"
        assert await desk.events() == ["recall.requested", "recall.sent", "recall.overtaken", "recall.accepted"]


async def test_money_that_comes_back_before_the_answer_is_booked_and_held_once(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        await desk.asked_and_given()
        await desk.comes_back()
        assert (await desk.status(), await desk.town.standing(), await desk.held()) == ("returned", FARM_BACK, 3_000)
        assert (await desk.now()).status == "overtaken"
        await desk.answers("ACCR")
        assert ((await desk.now()).status, await desk.status()) == ("accepted", "returned")
        assert (await desk.town.standing(), await desk.held()) == (FARM_BACK, 3_000)
        assert await desk.cases() == ["payout_recalled"]


async def test_the_reversal_of_a_debit_that_no_report_told_of_books_nothing_more(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        await desk.asked_and_given()
        await desk.answers("ACCR")
        await desk.comes_back()
        assert (await desk.town.standing(), await desk.cases()) == (FARM_BACK, ["payout_recalled"])
        await desk.decide("release")
        assert (await desk.pays_tomorrow())[FARM] == 3_000


async def test_a_line_that_its_bank_refuses_by_itself_is_held_too_and_is_asked_for_no_more(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        bank = desk.report.bank
        bank.drops.add(f"r1-{desk.line}")  # it has the recall, for all that is known
        await desk.recall()
        await desk.given()
        assert (await desk.now()).unsent
        given = len(bank.taken)
        await desk.line_is("RJCT", "AC04")
        assert (await desk.status(), await desk.held()) == ("refused", 3_000)
        row = await desk.now()
        assert (row.status, row.unsent) == ("overtaken", False)
        assert await desk.pays_tomorrow() == {}, "it goes with no batch by itself"
        desk.town.front.clock.forward(300)
        await desk.given()
        assert len(bank.taken) == given, "there is nothing left to ask for"
        await desk.answers("RJCR", reason="NOOR")
        assert ((await desk.now()).status, await desk.held()) == ("refused", 3_000)


async def test_a_line_in_doubt_stays_so_until_a_person_decides_and_is_held_then(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        await desk.line_is("RJCT", "DU04")
        await desk.asked_and_given()
        await desk.answers("ACCR")
        assert ((await desk.now()).status, await desk.town.standing()) == ("accepted", IN_TRANSIT)
        (case,) = await desk.report.cases()
        assert orjson.loads(case.facts)["refused_besides"] == "recalled (DUPL)"
        await desk.decide("not_paid")
        assert (await desk.town.standing(), await desk.held()) == (FARM_BACK, 3_000)
        assert await desk.cases() == ["payout_recalled"]


@pytest.mark.parametrize("decision", ["paid", "release"])
async def test_a_bank_that_paid_what_it_had_given_up_is_a_case_and_people_book_it_as_paid(
    database_url: str, tmp_path: Path, decision: str
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        await desk.asked_and_given()
        await desk.answers("ACCR")
        await desk.line_is("ACSC")
        assert (await desk.town.standing(), await desk.held()) == (FARM_BACK, 3_000)
        assert await desk.cases() == ["bank_contradicts_itself", "payout_recalled"]
        (case,) = [one for one in await desk.report.cases() if one.kind == "payout_recalled"]
        await decide(desk.town.front.hub, case.id, decision, by="Wang", note="it showed the debit")
        if decision == "release":
            assert (await desk.held(), await desk.cases()) == (0, ["bank_contradicts_itself"])
            return
        assert (await desk.town.standing(), await desk.held()) == (FARM_PAID, 0)
        assert (await desk.status(), await desk.cases()) == ("paid", [])
        batch = await desk.town.batch(desk.town.today)
        assert (batch.paid_minor, batch.open_count) == (3_000, 2)
        assert await desk.pays_tomorrow() == {}, "it is paid once"
        await desk.line_is("ACSC")
        assert await desk.cases() == []
        await desk.comes_back()
        assert (await desk.status(), await desk.held(), await desk.cases()) == ("returned", 3_000, ["payout_recalled"])
        with pytest.raises(Conflict, match="it was paid once, and came back"):
            await desk.decide("paid")
        await desk.decide("release")
        assert (await desk.held(), await desk.pays_tomorrow()) == (0, {FARM: 3_000})


async def test_the_platforms_line_is_recalled_likewise_and_its_money_stays_a_fee(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        line = (await desk.town.lines(desk.town.today))[PLATFORM].id
        desk.line = line
        await desk.asked_and_given()
        await desk.answers("ACCR", amount="0.50")
        assert (await desk.town.standing())["platform_fee"] == 50
        assert await desk.pays_tomorrow() == {}
        assert await desk.sound()
        desk.town.front.clock.forward(2 * 86_400)
        await desk.town.sell()  # of which the platform is given as much again
        await desk.decide("paid")
        assert (await desk.town.standing())["sub_account:platform"] == 50
        assert await desk.pays_tomorrow() == {}, "a later date's share is no earlier one's"


async def test_what_was_taken_back_since_is_not_booked_as_paid_and_is_released(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        await desk.asked_and_given()
        await desk.answers("ACCR")
        (payment,) = (await desk.town.front.get("/v1/payments")).body["data"]
        await desk.town.front.refund(payment["id"], 10_000)
        with pytest.raises(Conflict, match="a refund has taken back"):
            await desk.decide("paid")
        await desk.decide("release")
        assert await desk.cases() == []


NOT_OURS = {
    "another's": ({"ident": "r1-1-261124-ffffffffffffffff"}, "not_our_recall"),
    "no recall of ours": ({"ident": "CASE-7"}, "not_our_recall"),
    "another book's": ({"ident": "r1-2-261124-1111111111111111"}, "not_our_recall"),
    "one that was never asked for": ({"again": 2}, "not_our_recall"),
    "another amount": ({"amount": "29.99"}, "other_amount"),
    "another payment": ({"line": "1-261124-2222222222222222"}, "other_payment"),
    "another order": ({"of": "stl-1-20261123-citybank-CNY"}, "other_order"),
    "unclear": ({"reason": "", "status": "ACWC"}, "recall_unclear"),
}


async def test_an_answer_that_is_not_to_this_recall_is_set_aside_and_stops_no_other(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        await desk.asked_and_given()
        for how, _ in NOT_OURS.values():
            more = dict(how)
            again, status = more.pop("again", None), more.pop("status", "ACCR")
            if again:
                more["ident"] = f"r{again}-{desk.line}"
            desk.report.bank.says("camt.029", desk.told(status, **more))
        desk.report.bank.says("camt.029", desk.told("ACCR")[:-20])
        desk.report.bank.forged.add(f"camt.029-{len(NOT_OURS) + 1}")
        desk.report.bank.says("camt.029", desk.told("ACCR", reason="NOAS"))
        for _ in range(2):
            await a_round(desk.report.bank_worker)
        assert ((await desk.now()).status, await desk.town.standing()) == ("sent", IN_TRANSIT)
        codes = [orjson.loads(case.facts)["code"] for case in await desk.report.cases()]
        assert sorted(codes) == sorted([*(code for _, code in NOT_OURS.values()), "not_xml", "signature_forged"])
        await desk.answers("RJCR", reason="CUST")
        assert (await desk.now()).status == "refused"
        for case in await desk.report.cases():
            await decide(desk.town.front.hub, case.id, "discard", by="Wang", note="not ours")


async def test_a_recall_is_given_again_with_the_same_bytes_until_the_bank_says_that_it_has_it(
    database_url: str, tmp_path: Path
) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        bank, clock = desk.report.bank, desk.town.front.clock

        def given() -> list[bytes]:
            return [one for one in bank.taken if b"camt.055" in one]

        bank.drops.add(f"r1-{desk.line}")
        await desk.recall()
        for _ in range(3):
            await desk.given()
            clock.forward(60)
        assert len(given()) == 3
        assert len(set(given())) == 1
        assert (await desk.now()).status == "requested"
        bank.drops.clear()
        bank.refuses, bank.has = (400, "no_recalls"), {f"r1-{desk.line}": {}}
        bank.has[f"r1-{desk.line}"] = dict.fromkeys(("file_id", "message_id", "sha256", "received_at"), "x")
        await desk.given()
        assert (await desk.now()).status == "requested", "it has it all the same: a no may be said of a repetition"
        bank.has.clear()
        clock.forward(300)
        await desk.given()
        row = await desk.now()
        assert (row.status, row.unsent, row.code) == ("refused", False, "no_recalls: no_recalls: said the bank")
        bank.refuses = None
        await desk.given()
        assert len(given()) == 5, "it is given no more"


async def test_a_bank_without_the_power_is_refused_at_once_by_name(database_url: str, tmp_path: Path) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        link = await desk.town.front.hub.banks.link(desk.book, BANK)
        cmb = link._replace(settings=orjson.dumps({**orjson.loads(link.settings), "profile": "cmb"}).decode())
        await desk.town.put(LinkBank(cmb))
        with pytest.raises(Rejected, match=f"{BANK} takes no recalls") as refused:
            await desk.recall()
        assert refused.value.code == "recall_not_offered"
        await desk.town.put(LinkBank(link))
        for lines, error, code in (
            (["1-261124-ffffffffffffffff"], Rejected, "no_such_line"),
            ([desk.line], Conflict, "recall_not_possible"),
        ):
            if code == "recall_not_possible":
                await desk.line_is("RJCT", "AC04")
            with pytest.raises(error) as wrong:
                await desk.recall(*lines)
            assert wrong.value.code == code
        with pytest.raises(Rejected, match="no reason of a recall"):
            await desk.recall(reason="WHY?")


PLANTS = {
    "recalls_agree_with_their_payments": {
        "a hold that is gone": "DELETE FROM hold WHERE id LIKE '%:held'",
        "a hold that was released in silence": "UPDATE hold SET state = 'voided' WHERE id LIKE '%:held'",
        "another amount": "UPDATE hold SET amount_minor = 1 WHERE id LIKE '%:held'",
        "a case that is gone": "DELETE FROM case_file WHERE kind = 'payout_recalled'",
        "a recall that is gone": "DELETE FROM recall",
        "an accepted recall of a line on its way": "UPDATE instruction SET status = 'in_transit' WHERE reason LIKE "
        "'recalled%'",
    }
}


async def test_the_invariant_of_recalls_finds_each_fault_planted(database_url: str, tmp_path: Path) -> None:
    async with a_desk(database_url, tmp_path) as desk:
        await desk.asked_and_given()
        await desk.answers("ACCR")
        async with outside(database_url) as connection:
            assert await recalls_agree_with_their_payments(connection) == []
            for what, sql in PLANTS["recalls_agree_with_their_payments"].items():
                under_way = connection.transaction()
                await under_way.start()
                await connection.execute(sql)
                assert await recalls_agree_with_their_payments(connection), what
                await under_way.rollback()
