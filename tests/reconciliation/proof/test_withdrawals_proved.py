"""Days with withdrawals paid, under way and come back: proved, and compared with the bank's statements."""

from pathlib import Path

from ops.verify import verify
from splitting.withdrawals.rules import reference
from tests.channels.banks.bank_files import pain002, report_line
from tests.reconciliation.proof.test_proving import Days, custody, explained, first_day, unexplained
from tests.splitting.play_bank import a_round, all_read
from tests.splitting.test_bookings_told_apart import entry as told_entry
from tests.splitting.test_bookings_told_apart import notice
from tests.splitting.town import BANK, DAY, FARM, MILL, PLATFORM, bind

BACK = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf></TxDtls>"


async def test_a_day_holds_with_withdrawals_paid_in_flight_and_returned(database_url: str, tmp_path: Path) -> None:
    async with first_day(database_url, tmp_path) as days:
        town, day = days.town, days.town.today
        hub, book = town.front.hub, town.front.book
        await bind(town.front, FARM)
        days.later()
        assert (await days.prove(day)).holds

        async def ask(number: str, minor: int) -> str:
            row = await hub.withdrawals.ask(book, FARM, number=number, amount_minor=minor, currency="CNY", by="key_1")
            return reference(book, row.id)

        async def reports(number: str, status: str, on: int) -> None:
            content = pain002(status, report_line(number, status), of=number).replace(
                b">R1<", f">{number[:30]}<".encode()
            )
            days.says("pain.002", day + on * DAY, content)
            await all_read(town, days.bank, days.bank_worker)

        # The second day: one is paid, one has left the bank and its report is late, one the bank has not looked at.
        paid, late, waits = await ask("w-1", 1_000), await ask("w-2", 500), await ask("w-3", 200)
        await a_round(days.bank_worker)
        await reports(paid, "ACSC", 1)
        lines = await town.lines(day)
        await days.paid(day + DAY, MILL, PLATFORM)
        days.states(
            day + DAY,
            pool=("0.50", "0.00", [("P3", "-0.50", lines[PLATFORM].id)]),
            farm=("30.00", "15.00", [("W1", "-10.00", paid), ("W2", "-5.00", late)]),
            mill=("68.90", "68.90", []),
            platform=("0.00", "0.50", [("P3", "0.50", lines[PLATFORM].id)]),
        )
        days.later()
        second = await days.prove(day + DAY)
        assert (second.holds, unexplained(second)) == (True, [])
        assert explained(second) == [("in_transit", "1111111", -500)]
        assert custody(second)["hub"]["sub_accounts_minor"] == 2_000 + 6_890 + 50
        told = await compared(days, 1)
        assert told == [("payout_status_differs", late)], "what is under way is open until it is decided"

        # The third: the late report comes, the last is refused, and the first comes back.
        await reports(late, "ACSC", 1)
        await reports(waits, "RJCT", 2)
        said = told_entry("10.00", ref="B1", end_to_end=paid, day=(day + 2 * DAY).isoformat())
        content = notice(said.replace("</TxDtls>", BACK), message="back").replace(b"poolCNY", days.subs[FARM].encode())
        days.says("camt.054", day + 2 * DAY, content)
        await all_read(town, days.bank, days.bank_worker)
        days.states(
            day + 2 * DAY,
            pool=("0.00", "0.00", []),
            farm=("15.00", "25.00", [("B1", "10.00", paid)]),
            mill=("68.90", "68.90", []),
            platform=("0.50", "0.50", []),
        )
        days.later()
        third = await days.prove(day + 2 * DAY)
        assert (third.holds, unexplained(third), explained(third)) == (True, [], [])
        assert custody(third)["agrees"]
        assert custody(third)["hub"]["sub_accounts_minor"] == 2_500 + 6_890 + 50
        assert (await compared(days, 1), await compared(days, 2)) == ([], [])
        assert [one for one in await verify(hub.pool) if one.broken] == []


async def compared(days: Days, on: int) -> list[tuple[str, str]]:
    """Compare a bank's day with the books; return the discrepancies that are about a withdrawal."""
    proof, town = days.town.front.hub.daily_proof(), days.town
    await proof.fetch_bank_files(town.front.book, BANK)
    run = await proof.bank(town.front.book, BANK, town.today + on * DAY, currency="CNY", deposit_ids={"WX20261124"})
    return [(str(one.kind), one.key.reference) for one in run.discrepancies if "-w-" in one.key.reference]
