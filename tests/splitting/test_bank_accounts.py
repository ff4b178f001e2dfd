"""Accounts of other kinds at the bank 功能账户: named once, booked once, and counted in the proof each by itself."""

from pathlib import Path

import orjson
import pytest

from kernel.errors import Conflict, Rejected, SluiceError
from ops.banks import accounts_of
from ops.cases import decide
from ops.verify import verify
from splitting import BankLink, LinkBank
from tests.reconciliation.proof.test_proving import custody, explained, first_day, unexplained
from tests.splitting.play_bank import a_town_with_a_bank, all_read
from tests.splitting.test_bookings_told_apart import entry, notice
from tests.splitting.test_files_set_aside import waiting
from tests.splitting.town import BANK, DAY, FARM, MILL, Town

FEE, INTEREST = "6299fee", "6299interest"


async def named(town: Town, role: str, account: str, bank: str = BANK) -> None:
    await town.front.hub.bank_accounts.name(town.front.book, bank, "CNY", role, account, by="Li Na")


async def test_what_the_bank_pays_and_takes_on_its_accounts_is_booked_once_and_all_else_is_a_case(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await named(town, "fee", FEE)
        await named(town, "interest", INTEREST)
        hub = town.front.hub

        async def told(account: str, amount: str, ref: str, message: str, *, out: bool = False) -> bytes:
            content = notice(entry(amount, ref=ref, end_to_end="BANK", out=out), account=account, message=message)
            bank.says("camt.054", content)
            await all_read(town, bank, bank_worker)
            return content

        paid = await told(INTEREST, "7", "I1", "M1")
        taken = await told(FEE, "3", "C1", "M2", out=True)
        for again in (paid, taken):
            bank.says("camt.054", again)
        await all_read(town, bank, bank_worker)
        assert await waiting(town) == []
        assert await town.standing() == {
            "bank_account:citybank.interest": 700, "interest:citybank": 700,
            "bank_account:citybank.fee": -300, "bank_charge:citybank": 300,
        }  # fmt: skip

        await told(INTEREST, "7", "I1", "M3")  # told of in another notice: it may be one more, or the same
        (case,) = await waiting(town)
        assert orjson.loads(case.facts)["role"] == "interest"
        for decision, code in (("charge", "no_charge"), ("suspend", "not_the_pool_account")):
            with pytest.raises(Rejected) as refused:
                await decide(hub, case.id, decision, by="Wang", note="why")
            assert refused.value.code == code
        await decide(hub, case.id, "no_deposit", by="Wang", note="it is the same")
        moved = [await told(INTEREST, "2", "I2", "M4", out=True), await told(FEE, "5", "C2", "M5")]
        for case in await waiting(town):
            await decide(hub, case.id, "moved", by="Wang", note="as we have asked the bank to")
        bank.says("camt.054", *moved)  # read again
        await all_read(town, bank, bank_worker)
        assert await waiting(town) == []
        await told("6299stranger", "1", "S1", "M6")
        (case,) = await waiting(town)
        with pytest.raises(Rejected, match="no account that is for one role"):
            await decide(hub, case.id, "moved", by="Wang", note="why")
        assert await town.standing() == {
            "bank:citybank": -300, "bank_account:citybank.interest": 500, "interest:citybank": 700,
            "bank_account:citybank.fee": 200, "bank_charge:citybank": 300,
        }  # fmt: skip
        assert [one for one in await verify(hub.pool) if one.broken] == []


async def test_an_account_is_for_one_thing_and_what_was_booked_on_it_stays_its(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        direct = BankLink(town.front.book, "direct", "6200", '{"profile":"cmb"}', "{}")
        await town.put(LinkBank(direct))
        await named(town, "interest", "6299old")
        await named(town, "interest", INTEREST)  # nothing was booked yet
        await named(town, "interest", INTEREST)
        before = notice(entry("3", end_to_end="BANK", out=True), account="6299later", message="M2")
        bank.says("camt.054", notice(entry("7", end_to_end="BANK"), account=INTEREST), before)
        await all_read(town, bank, bank_worker)
        assert len(await waiting(town)) == 1
        await named(town, "fee", "6299later")
        bank.says("camt.054", before)  # told of again: now it says what it is
        await all_read(town, bank, bank_worker)
        assert await waiting(town) == [], "nobody can book it a second time"
        wrong = {
            ("interest", "6299new", BANK): Conflict,  # something was booked on the other
            ("reserve", INTEREST, BANK): Conflict,
            ("reserve", "poolCNY", BANK): Conflict,
            ("reserve", "6200" + FARM[-12:], BANK): Conflict,
            ("fee", FEE, "direct"): Rejected,  # it tells of the pool account alone
            ("fee", FEE, "nobank"): SluiceError,
        }
        for (role, account, where), refusal in wrong.items():
            with pytest.raises(refusal):
                await named(town, role, account, where)
        rows = await accounts_of(town.front.hub, town.front.book, BANK)
        assert [(one["role"], one["account"], one["in_book_minor"]) for one in rows] == [
            ("fee", "6299later", -300),
            ("interest", INTEREST, 700),
        ]


async def test_the_proof_counts_each_account_by_its_kind_and_names_what_only_the_bank_has(
    database_url: str, tmp_path: Path
) -> None:
    async with first_day(database_url, tmp_path) as days:
        town, day, second_day = days.town, days.town.today, days.town.today + DAY
        days.later()
        assert (await days.prove(day)).holds
        await named(town, "interest", INTEREST)
        credited = entry("1.00", ref="I1", end_to_end="BANK", day=second_day.isoformat())
        days.says("camt.054", second_day, notice(credited, account=INTEREST, message="I1"))
        await days.paid(second_day, MILL)
        days.states(
            second_day,
            pool=("0.50", "0.50", []), farm=("30.00", "30.00", []), mill=("68.90", "68.90", []),
            platform=("0.00", "0.00", []),
            interest=("0.00", "1.25", [("I1", "1.00", "BANK"), ("I2", "0.25", "BANK")]),
        )  # fmt: skip
        days.later()
        proved = await days.prove(second_day)
        assert (proved.holds, unexplained(proved)) == (True, [])
        assert explained(proved) == [("at_bank_only", INTEREST[-7:], 25)]
        assert custody(proved)["hub"] == {
            "custody_minor": 10_040, "pool_minor": 50, "sub_accounts_minor": 9_890, "others_minor": {"interest": 100},
        }  # fmt: skip
        assert custody(proved)["bank_statement"] == {
            "total_minor": 10_065, "pool_minor": 50, "sub_accounts_minor": 9_890, "others_minor": {"interest": 125},
        }  # fmt: skip
        (control,) = proved.told["books"][0]["control"]
        assert (control["custody_minor"], control["accounts"]["bank_account"]) == (10_040, 100)
        (row,) = await accounts_of(town.front.hub, town.front.book, BANK)
        assert (row["in_book_minor"], row["at_bank_minor"], row["stated_on"]) == (100, 125, second_day.isoformat())
        run = await town.front.hub.daily_proof().bank(town.front.book, BANK, second_day, currency="CNY")
        found = [(one.key.reference, one.verdict.difference_minor) for one in run.discrepancies]
        assert [one for one in found if one[0] == "BANK" or one[0].startswith(INTEREST)] == [
            (f"{INTEREST}@{second_day}", 25)
        ]
