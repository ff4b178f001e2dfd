"""A bank whose reports end before ACSC says by its signed booking of the debit that it paid: to the unit, or not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path

import orjson
import pytest

from cases import Case, Named
from channels.banks.iso20022 import read_settings
from kernel.db import acquire
from kernel.errors import SluiceError
from ops.cases import decide
from splitting.settlement.calendar import BankHours
from splitting.settlement.instructions import DecideInstruction
from tests.channels.banks.bank_files import pain002, report_line
from tests.splitting.play_bank import a_round, a_town_with_a_bank
from tests.splitting.test_bookings_told_apart import entry, notice
from tests.splitting.test_payouts_in_doubt import IN_TRANSIT, OWED_AGAIN, PAID, Report, a_report
from tests.splitting.test_returns import back
from tests.splitting.test_withdrawals_at_a_bank import BANK as YARD_BANK
from tests.splitting.test_withdrawals_at_a_bank import Yard, a_yard, differences
from tests.splitting.town import BANK, FARM, MILL, PLATFORM

BALANCE = (
    '<Bal><Tp><CdOrPrtry><Cd>{}</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">{}</Amt><CdtDbtInd>{}</CdtDbtInd>'
    "<Dt><Dt>2026-11-24</Dt></Dt></Bal>"
)


@asynccontextmanager
async def by_booking(database_url: str, home: Path) -> AsyncIterator[Report]:
    """Have a batch at a bank that reports ACSP, and says nothing more of it."""
    async with a_report(database_url, home) as report:
        hub = report.town.front.hub
        await hub.banks.rotate(report.town.front.book, BANK, {"paid_by": "booking"}, folder=home)
        await report.lines_are("ACSP", group="ACSP")
        assert await report.town.standing() == IN_TRANSIT
        yield report


def debit(line: str, amount: str, ref: str = "D", more: str = "") -> str:
    return entry(amount, ref=ref + line[-4:], end_to_end=line, out=True, more=more)


def of_batch(message_id: str, amount: str, ref: str = "B") -> str:
    """Return the debit of a whole batch, which names no line."""
    batch = f"<NtryDtls><Btch><PmtInfId>{message_id}</PmtInfId><NbOfTxs>3</NbOfTxs></Btch></NtryDtls>"
    told = entry(amount, ref=ref, out=True)
    return told[: told.index("<NtryDtls>")] + batch + "</Ntry>"


async def named(report: Report) -> dict[str, str]:
    return {payee: line.id for payee, line in (await report.town.lines(report.town.today)).items()}


async def hears(report: Report, *entries: str, message: str = "M1", account: str = "poolCNY") -> None:
    report.bank.says("camt.054", notice(*entries, message=message, account=account))
    for _ in range(3):
        await a_round(report.bank_worker)


async def test_the_debit_that_names_a_line_says_that_it_was_paid_and_acsc_says_nothing_new(
    database_url: str, tmp_path: Path
) -> None:
    async with by_booking(database_url, tmp_path) as report:
        of = await named(report)
        await hears(report, debit(of[FARM], "30.00"), debit(of[MILL], "68.90"))
        lines = await report.town.lines(report.town.today)
        assert {payee: line.status for payee, line in lines.items()} == {
            FARM: "paid", MILL: "paid", PLATFORM: "in_transit",
        }  # fmt: skip
        assert lines[FARM].bank_date == date(2026, 11, 24), "the bank's day of the booking"
        await hears(report, debit(of[PLATFORM], "0.50"), message="M2")
        assert await report.town.standing() == PAID
        assert (await report.town.batch(report.town.today)).status == "finished"
        await report.lines_are("ACSC", group="ACSC")
        assert (await report.town.standing(), await report.open_cases()) == (PAID, [])


async def test_at_a_bank_that_reports_to_the_end_a_booking_decides_nothing(database_url: str, tmp_path: Path) -> None:
    async with a_report(database_url, tmp_path) as report:
        of = await named(report)
        await hears(report, debit(of[FARM], "30.00"))
        assert (await report.town.standing(), await report.open_cases()) == (IN_TRANSIT, [])


def to_account(written: str, account: str) -> str:
    told = f"<RltdPties><CdtrAcct><Id><Othr><Id>{account}</Id></Othr></Id></CdtrAcct></RltdPties>"
    return written.replace("</Refs>", f"</Refs>{told}")


NOT_THE_DEBIT = {
    "a unit less": (lambda line: debit(line, "29.99"), "poolCNY"),
    "a unit more": (lambda line: debit(line, "30.01"), "poolCNY"),
    "a credit": (lambda line: entry("30.00", end_to_end=line), "poolCNY"),
    "another currency": (lambda line: entry("30.00", end_to_end=line, out=True, currency="HKD"), "poolCNY"),
    "another account": (lambda line: debit(line, "30.00"), "strange"),
    "undone": (lambda line: debit(line, "30.00", more="<RvslInd>true</RvslInd>"), "poolCNY"),
    "to another account": (lambda line: to_account(debit(line, "30.00"), "6200999999"), "poolCNY"),
    "pending": (lambda line: debit(line, "30.00").replace("<Cd>BOOK</Cd>", "<Cd>PDNG</Cd>"), "poolCNY"),
    "no line of ours": (lambda line: debit(line[:-1] + "!", "30.00"), "poolCNY"),
}


@pytest.mark.parametrize("what", NOT_THE_DEBIT)
async def test_nothing_but_the_debit_as_it_was_ordered_says_so(what: str, database_url: str, tmp_path: Path) -> None:
    written, account = NOT_THE_DEBIT[what]
    async with by_booking(database_url, tmp_path) as report:
        await hears(report, written((await named(report))[FARM]), account=account)
        assert await report.town.standing() == IN_TRANSIT


@pytest.mark.parametrize("written", ["{}", "9551 {}", "****{}", "XXXX{}", "CN00-{}"])
async def test_an_account_is_the_lines_however_the_bank_writes_it(
    written: str, database_url: str, tmp_path: Path
) -> None:
    async with by_booking(database_url, tmp_path) as report:
        line = (await report.town.lines(report.town.today))[FARM]
        account = line.account[-4:] if "*" in written or "X" in written else line.account
        await hears(report, to_account(debit(line.id, "30.00"), written.format(account)))
        assert (await report.town.lines(report.town.today))[FARM].status == "paid"


async def test_a_second_debit_of_a_line_is_a_case_and_what_comes_back_then_is_not_owed_again_by_itself(
    database_url: str, tmp_path: Path
) -> None:
    async with by_booking(database_url, tmp_path) as report:
        town, of = report.town, await named(report)
        first, second = debit(of[FARM], "30.00", "D"), debit(of[FARM], "30.00", "E")
        await hears(report, first)
        await hears(report, first, message="M2")  # the same one, told of again
        assert await report.open_cases() == []
        await hears(report, second, message="M3")
        (case,) = await report.cases()
        assert (case.kind, case.amount_minor) == ("booking_unidentified", -3_000)
        assert orjson.loads(case.facts)["debited_again"] == of[FARM]
        line = (await town.lines(town.today))[FARM]
        await hears(report, back(line, "", more="<RvslInd>true</RvslInd>"), message="M4")
        standing = await town.standing()
        assert (standing["sub_account:farm"], "payee:farm" in standing) == (3_000, False), "it was paid once"
        found = {one.amount_minor: one for one in await report.cases()}
        assert found.keys() == {-3_000, 3_000}
        await decide(town.front.hub, found[-3_000].id, "no_deposit", by="Wang", note="undone by the bank")
        await hears(report, back(line, ref="S"), message="M5")
        assert (await town.lines(town.today))[FARM].status == "paid", "this may be the same one, too"


@pytest.mark.parametrize("together", [True, False])
async def test_a_bank_that_reports_to_the_end_debits_twice_and_sets_one_back_and_nothing_is_owed_again(
    together: bool, database_url: str, tmp_path: Path
) -> None:
    async with a_report(database_url, tmp_path) as report:
        town, of = report.town, await named(report)
        line = (await town.lines(town.today))[FARM]
        undone = back(line, "", more="<RvslInd>true</RvslInd>")
        told = [debit(of[FARM], "30.00", "D"), debit(of[FARM], "30.00", "E"), undone]
        if together:
            await hears(report, undone, *told[:2])
        else:
            for number, one in enumerate(told):
                await hears(report, told[0], message=f"L{number}")  # the first one, told of again
                await hears(report, one, message=f"M{number}")
        await report.lines_are("ACSC")
        assert await town.standing() == PAID, "it was paid once"
        found = {one.amount_minor: one for one in await report.cases()}
        assert found.keys() == {-3_000, 3_000}
        assert orjson.loads(found[-3_000].facts)["debited_again"] == of[FARM]
        await decide(town.front.hub, found[-3_000].id, "no_deposit", by="Wang", note="undone by the bank")
        await decide(town.front.hub, found[3_000].id, "no_deposit", by="Wang", note="it undoes the second")
        await hears(report, back(line, ref="S"), message="M9")
        (late,) = await report.cases()
        named_so = Named("line", line.id)
        await decide(town.front.hub, late.id, "returned", by="Wang", note="of the first", named=named_so)
        assert (await town.standing())["payee:farm"] == 3_000


@pytest.mark.parametrize("pays", [True, False])
async def test_two_debits_without_a_number_in_one_notice_are_two_and_in_two_notices_may_be_one(
    pays: bool, database_url: str, tmp_path: Path
) -> None:
    async with a_report(database_url, tmp_path) as report:
        town, of = report.town, await named(report)
        if pays:
            await town.front.hub.banks.rotate(town.front.book, BANK, {"paid_by": "booking"}, folder=tmp_path)

        def unnumbered(line: str, amount: str, *ntry: str | None) -> list[str]:
            return [entry(amount, one, None, end_to_end=line, out=True) for one in ntry]

        for message in ("M1", "M2"):
            await hears(report, *unnumbered(of[MILL], "68.90", "1"), message=message)
        assert await report.open_cases() == []
        await hears(report, *unnumbered(of[FARM], "30.00", None, None), message="M3")
        (case,) = await report.cases()
        assert orjson.loads(case.facts)["debited_again"] == of[FARM]
        await report.lines_are("ACSC")
        for payee in (FARM, MILL):
            line = (await town.lines(town.today))[payee]
            amount = "30.00" if payee == FARM else "68.90"
            await hears(report, back(line, amount=amount, ref=payee[-4:]), message=payee[-4:])
        lines = await town.lines(town.today)
        assert (lines[FARM].status, lines[MILL].status) == ("paid", "returned")


async def test_a_second_debit_after_the_first_came_back_is_a_case(database_url: str, tmp_path: Path) -> None:
    async with by_booking(database_url, tmp_path) as report:
        town, of = report.town, await named(report)
        await hears(report, debit(of[FARM], "30.00", "D"))
        returned = back((await town.lines(town.today))[FARM])
        await hears(report, returned, message="M2")
        await hears(report, debit(of[FARM], "30.00", "E"), message="M3")
        assert [(one.kind, one.amount_minor) for one in await report.cases()] == [("booking_unidentified", -3_000)]
        await hears(report, returned, message="M2")
        assert len(await report.cases()) == 1, "the return was booked before"
        assert (await town.lines(town.today))[FARM].status == "returned"


async def test_a_refusal_after_it_is_a_contradiction_and_the_money_that_comes_back_a_return(
    database_url: str, tmp_path: Path
) -> None:
    async with by_booking(database_url, tmp_path) as report:
        of = await named(report)
        await hears(report, debit(of[FARM], "30.00"))
        await report.says(pain002("PART", report_line(of[FARM], "RJCT", "AC04"), of=report.of))
        assert await report.open_cases() == [("bank_contradicts_itself", of[FARM])]
        assert (await report.town.standing())["sub_account:farm"] == 3_000, "nothing was undone by a word alone"
        line = (await report.town.lines(report.town.today))[FARM]
        await hears(report, back(line), message="M2")
        assert (await report.town.lines(report.town.today))[FARM].status == "returned"
        assert await report.open_cases() == []
        assert (await report.town.standing())["payee:farm"] == 3_000


async def test_a_doubt_ends_by_the_debit_and_one_of_a_refused_line_is_a_case(database_url: str, tmp_path: Path) -> None:
    async with by_booking(database_url, tmp_path) as report:
        of = await named(report)
        doubt, refusal = report_line(of[FARM], "RJCT", "DU04"), report_line(of[MILL], "RJCT", "AC04")
        await report.says(pain002("PART", doubt, refusal, of=report.of))
        assert await report.open_cases() == [("payout_in_doubt", of[FARM])]
        await hears(report, debit(of[FARM], "30.00"), debit(of[MILL], "68.90"))
        standing = await report.town.standing()
        assert (standing["sub_account:farm"], standing["payee:mill"]) == (3_000, 6_890)
        assert [kind for kind, _ in await report.open_cases()] == ["booking_unidentified"]


async def test_a_batch_that_is_booked_as_one_is_paid_where_it_agrees_to_the_unit(
    database_url: str, tmp_path: Path
) -> None:
    async with by_booking(database_url, tmp_path) as report:
        await hears(report, of_batch(report.of, "99.39"), message="M0")
        await hears(report, of_batch(report.of, "99.41", "C"), message="M1")
        assert await report.town.standing() == IN_TRANSIT
        found = await report.cases()
        assert sorted((one.kind, one.amount_minor) for one in found) == [
            ("booking_unidentified", -9_941), ("booking_unidentified", -9_939),
        ]  # fmt: skip
        assert all(orjson.loads(one.facts)["batch"] == report.of.replace("-", "_") for one in found)
        for case in found:
            await decide(report.town.front.hub, case.id, "no_deposit", by="Wang", note="the bank took it back")
        await hears(report, of_batch(report.of, "99.40", "D"), message="M2")
        assert await report.town.standing() == PAID
        await hears(report, of_batch(report.of, "99.40", "D"), message="M3")
        assert (await report.town.standing(), await report.open_cases()) == (PAID, [])


SHOWN_BESIDES = {
    "one that names no line": "<TxDtls><Refs><EndToEndId>NOTPROVIDED</EndToEndId></Refs></TxDtls>",
    "one that has no references": "<TxDtls><RmtInf><Ustrd>salaries</Ustrd></RmtInf></TxDtls>",
    "a part of them": "<TxDtls><Refs><EndToEndId>{0}</EndToEndId></Refs></TxDtls>" * 2,
    "all, without amounts": "".join(
        f"<TxDtls><Refs><EndToEndId>{{{n}}}</EndToEndId></Refs></TxDtls>" for n in range(3)
    ),
}


@pytest.mark.parametrize("what", SHOWN_BESIDES)
async def test_a_batch_that_is_booked_as_one_may_show_transactions_that_do_not_say_how_much(
    what: str, database_url: str, tmp_path: Path
) -> None:
    async with by_booking(database_url, tmp_path) as report:
        shown = SHOWN_BESIDES[what].format(*(await named(report)).values())
        await hears(report, of_batch(report.of, "99.40").replace("</Btch>", f"</Btch>{shown}"))
        assert (await report.town.standing(), await report.open_cases()) == (PAID, [])


async def test_a_batch_booked_without_a_line_waits_until_that_one_is_refused(database_url: str, tmp_path: Path) -> None:
    async with by_booking(database_url, tmp_path) as report:
        of = await named(report)
        await hears(report, of_batch(report.of, "69.40"))
        assert await report.town.standing() == IN_TRANSIT
        assert [kind for kind, _ in await report.open_cases()] == ["booking_unidentified"]
        await report.says(pain002("PART", report_line(of[FARM], "RJCT", "AC04"), of=report.of))
        for _ in range(2):
            await a_round(report.bank_worker)
        standing = await report.town.standing()
        assert (standing["payee:farm"], standing["sub_account:mill"]) == (3_000, 6_890)
        assert await report.open_cases() == []


async def test_a_line_of_a_batch_that_never_left_is_paid_by_no_booking(database_url: str, tmp_path: Path) -> None:
    async with by_booking(database_url, tmp_path) as report:
        of = await named(report)
        async with acquire(report.town.front.hub.pool) as connection:
            await connection.execute("UPDATE settlement SET status = 'awaiting_release'")
        await hears(report, debit(of[FARM], "30.00"))
        await hears(report, of_batch(report.of, "99.40"), message="M2")
        assert await report.town.standing() == IN_TRANSIT
        assert [kind for kind, _ in await report.open_cases()] == ["booking_unidentified"] * 2


@pytest.mark.parametrize("paid_by", ["booking", "report"])
async def test_the_debit_of_a_batch_that_was_cancelled_before_it_left_pays_nothing_and_is_a_case(
    paid_by: str, database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        hub, book = town.front.hub, town.front.book
        await hub.banks.rotate(book, BANK, {"paid_by": paid_by}, folder=tmp_path)
        await hub.payouts.set_bank(book, BANK, BankHours(), release_above_minor=0, only_deposited=False)
        await town.sell()
        batch = await town.settle(town.today)
        lines = {payee: line.id for payee, line in (await town.lines(town.today)).items()}
        bank.unlisted.add("pain.001")  # the bank does not say whether it has it
        await hub.payouts.cancel(book, batch.id)
        report = Report(town, bank, bank_worker, batch.id.replace("_", "-"), sorted(lines.values()))
        assert ((await town.batch(town.today)).status, await town.standing()) == ("cancelled", IN_TRANSIT)
        await hears(report, debit(lines[FARM], "30.00"))
        await hears(report, of_batch(report.of, "99.40"), message="M2")
        assert await town.standing() == IN_TRANSIT
        assert [kind for kind, _ in await report.open_cases()] == ["booking_unidentified"] * 2
        bank.unlisted.clear()
        for _ in range(40):
            town.front.clock.forward(300)
            await a_round(bank_worker)
        assert await town.standing() == OWED_AGAIN
        await hears(report, of_batch(report.of, "99.40", "C"), message="M3")
        assert [kind for kind, _ in await report.open_cases()] == ["booking_unidentified"] * 3


async def refused(report: Report, case: Case, decision: str, code: str) -> None:
    """Have a decision refused with a code, before a second person is asked for and after."""
    rail = Named("account", "rail") if decision == "book" else None
    with pytest.raises(SluiceError) as no:
        await decide(report.town.front.hub, case.id, decision, by="Wang", note="?", named=rail)
    assert no.value.code == code


async def test_a_batch_that_is_booked_as_several_sums_is_paid_as_people_say(database_url: str, tmp_path: Path) -> None:
    async with by_booking(database_url, tmp_path) as report:
        hub, told = report.town.front.hub, {"by": "Wang", "note": "three sums, said the bank"}
        await hears(report, of_batch(report.of, "30.00", "A"), of_batch(report.of, "34.70", "B"))
        for case in await report.cases():
            await refused(report, case, "part", "parts_differ")
            for decision in ("suspend", "charge", "book"):
                await refused(report, case, decision, "is_a_batchs_debit")
        await hears(report, of_batch(report.of, "34.70", "C"), of_batch(report.of, "0.01", "D"), message="M2")
        by_minor = sorted(await report.cases(), key=lambda one: (one.amount_minor, one.about))
        *parts, odd = by_minor
        await refused(report, parts[0], "part", "parts_differ")
        await decide(hub, odd.id, "no_deposit", by="Wang", note="set back")
        for case in parts[:2]:
            await decide(hub, case.id, "part", **told)
        await a_round(report.bank_worker)
        assert await report.town.standing() == IN_TRANSIT, "one part is not decided"
        await decide(hub, parts[2].id, "part", **told)
        await hears(report, of_batch(report.of, "30.00", "A"), message="M1")
        assert (await report.town.standing(), await report.open_cases()) == (PAID, [])
        await hears(report, of_batch(report.of, "9.00", "E"), message="M3")
        (late,) = await report.cases()
        await refused(report, late, "part", "batch_decided")
        await decide(hub, late.id, "suspend", by="Wang", note="it sets it back tomorrow")


async def test_parts_that_pay_no_more_what_the_lines_come_to_are_asked_about_again(
    database_url: str, tmp_path: Path
) -> None:
    async with by_booking(database_url, tmp_path) as report:
        hub, of = report.town.front.hub, await named(report)
        await hears(report, of_batch(report.of, "30.00", "A"), of_batch(report.of, "69.40", "B"))
        for case in await report.cases():
            await decide(hub, case.id, "part", by="Wang", note="one of two")
        no = DecideInstruction(report.town.front.book, of[FARM], False, "AC04")
        await report.town.put(no)  # between the decision and the next round
        await a_round(report.bank_worker)
        found = await report.cases()
        assert [orjson.loads(one.facts)["hindered_by"] for one in found] == [
            "the parts do not come to what the lines come to"
        ] * 2
        standing = await report.town.standing()
        assert (standing["payee:farm"], standing["in_transit:citybank"]) == (3_000, 6_940)


async def test_what_is_left_of_a_batch_in_part_paid_line_by_line_may_be_booked_in_parts(
    database_url: str, tmp_path: Path
) -> None:
    async with by_booking(database_url, tmp_path) as report:
        of = await named(report)
        await hears(report, debit(of[FARM], "30.00"), of_batch(report.of, "69.40"))
        (case,) = await report.cases()
        await decide(report.town.front.hub, case.id, "part", by="Wang", note="all the rest")
        await a_round(report.bank_worker)
        assert (await report.town.standing(), await report.open_cases()) == (PAID, [])


async def test_a_booking_that_names_no_batch_is_no_part_of_one(database_url: str, tmp_path: Path) -> None:
    async with by_booking(database_url, tmp_path) as report:
        await hears(report, entry("99.40", end_to_end="strange", out=True))
        (case,) = await report.cases()
        await refused(report, case, "part", "no_batchs_debit")


async def test_a_batch_that_was_paid_line_by_line_in_part_is_not_guessed_at(database_url: str, tmp_path: Path) -> None:
    async with by_booking(database_url, tmp_path) as report:
        of = await named(report)
        await hears(report, debit(of[FARM], "30.00"), of_batch(report.of, "69.40"))
        standing = await report.town.standing()
        assert standing["in_transit:citybank"] == 6_940, "whose debit the second is, no total tells"
        assert [kind for kind, _ in await report.open_cases()] == ["booking_unidentified"]


@pytest.mark.parametrize(("closing", "pays"), [("70.00", True), ("70.01", False)])
async def test_a_statement_says_so_where_its_entries_lead_to_its_balance(
    closing: str, pays: bool, database_url: str, tmp_path: Path
) -> None:
    async with by_booking(database_url, tmp_path) as report:
        of = await named(report)
        stated = (
            '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><GrpHdr><MsgId>S1</MsgId>'
            "<CreDtTm>2026-11-24T10:00:00Z</CreDtTm></GrpHdr><Stmt><Id>1</Id><Acct><Id><Othr><Id>poolCNY</Id></Othr>"
            f"</Id></Acct>{BALANCE.format('OPBD', '100.00', 'CRDT')}{BALANCE.format('CLBD', closing, 'CRDT')}"
            f"{debit(of[FARM], '30.00')}</Stmt></BkToCstmrStmt></Document>"
        ).encode()
        report.bank.says("camt.053", stated)
        proof, book = report.town.front.hub.daily_proof(), report.town.front.book
        for _ in range(2):
            await proof.fetch_statements(book, BANK)
        lines = await report.town.lines(report.town.today)
        assert lines[FARM].status == ("paid" if pays else "in_transit")
        assert lines[MILL].status == "in_transit"
        if pays:
            assert lines[FARM].bank_date == date(2026, 11, 24)


@pytest.mark.parametrize("as_one", [False, True])
async def test_a_simulated_bank_that_never_says_acsc_pays_by_its_statement_and_the_day_agrees(
    as_one: bool, database_url: str, tmp_path: Path
) -> None:
    async with a_yard(database_url, tmp_path) as yard:
        town, hub = yard.town, yard.town.front.hub
        book, tomorrow = town.front.book, town.today + timedelta(days=1)
        await hub.banks.rotate(book, YARD_BANK, {"paid_by": "booking"}, folder=tmp_path)
        link = await hub.banks.link(book, YARD_BANK)
        await yard.control(
            "/bank/deposits", {"account": link.pool_account, "amount_minor": 4_970, "end_to_end_id": "WX20261125"}
        )
        row = await yard.ask(2_000, "w-1")
        await _ends_at(yard, 2)
        await yard.becomes(row, "sent")
        town.front.clock.forward(86_400)
        await town.front.paid("order-2", 5_000, split=[{"payee": yard.payee.id, "remainder": 1}])
        await town.front.share_out()
        batch = await hub.banks.settle(
            book, YARD_BANK, tomorrow, "CNY", execution_date=tomorrow + timedelta(days=1),
            not_before=town.front.clock.now(),
        )  # fmt: skip
        assert batch is not None
        truth = (await yard.control("/bank", None))["date"]
        if as_one:
            await yard.fault("statement_batched", {"account": link.pool_account})

        async def moved() -> bool:
            held = await yard.control(f"/bank/accounts/{link.pool_account}/entries", None)
            return bool(held["balance_minor"] == 0)

        await yard.until(moved)
        assert (await yard.now(row)).status == "sent"
        assert await yard.has("sub_account_minor", 9_940)
        await yard.control("/bank/close-day", {"date": truth})
        day = date.fromisoformat(truth)
        assert await differences(yard, day) == ["entry_unknown_at_hub WX20261125"], "which is compared with the rail"
        assert (await yard.now(row)).status == "paid"
        assert await yard.has("sub_account_minor", 9_940 - 2_000 + 4_970)


async def _ends_at(yard: Yard, times: int) -> None:
    await yard.control(
        "/faults", {"fault": "report_ends_at", "rail": "bank", "match": {}, "times": times, "params": {}}
    )


def test_a_bank_is_told_apart_by_one_of_two_words() -> None:
    with pytest.raises(ValueError, match="paid_by is one of report, booking"):
        read_settings(
            {
                "base_url": "x", "token": "t", "key_id": "k", "private_key": "p", "bank_key_id": "b",
                "bank_public_key": "q", "bic": "c", "paid_by": "guess",
            }
        )  # fmt: skip
