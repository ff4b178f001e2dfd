"""Days proved on a real database against a bank that writes statements: explained, corrected, tampered with, signed."""

import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import splitting
from cases import Named, case_id
from cases.store import cases
from kernel.db import acquire
from kernel.errors import Conflict, Rejected, Unavailable
from ops.cases import decide
from ops.reseal import reseal
from people import Use
from reconciliation import INVARIANTS
from reconciliation.proof import Certificate, verified
from reconciliation.timetable import Scope, Step
from splitting.banks import fates
from splitting.banks.worker import BankWorker
from splitting.tables import BankFile
from tests.channels.banks.bank_files import camt053, entry, pain002, report_line, statement
from tests.conftest import TestServer as PostgresServer
from tests.splitting.play_bank import PlayBank, a_town_with_a_bank, all_read, send_todays
from tests.splitting.test_bookings_told_apart import entry as told_entry
from tests.splitting.test_bookings_told_apart import notice
from tests.splitting.town import BANK, DAY, FARM, MILL, PLATFORM, Town


@dataclass
class Days:
    """A town whose bank says what a test wants, dated as the test wants."""

    town: Town
    bank: PlayBank
    bank_worker: BankWorker

    @property
    def subs(self) -> dict[str, str]:
        return {payee: "6200" + payee[-12:] for payee in (FARM, MILL, PLATFORM)}

    def says(self, kind: str, day: date, content: bytes) -> None:
        number = len(self.bank.files.get(kind, []))
        self.bank.says(kind, content)
        self.bank.listed[f"{kind}-{number}"] = {
            "file_id": f"{kind}-{number}", "type": kind, "name": f"{number}.xml", "business_date": day.isoformat(),
            "created_at": f"{day}T00:00:01.000Z", "sha256": hashlib.sha256(content).hexdigest(),
        }  # fmt: skip

    def states(self, day: date, **accounts: tuple[str, str, list[tuple[str, str, str | None]]]) -> None:
        """Have the bank state a day. Each account: opening, closing and entries (reference, amount, end-to-end id)."""
        names = {"pool": "poolCNY", "farm": self.subs[FARM], "mill": self.subs[MILL], "platform": self.subs[PLATFORM]}
        names["interest"] = "6299interest"
        sheets = []
        for name, (opening, closing, entries) in accounts.items():
            booked = [
                entry(
                    ref, amount.lstrip("-"), credit=not amount.startswith("-"), end_to_end_id=e2e, day=day.isoformat()
                )
                for ref, amount, e2e in entries
            ]
            sheets.append(statement(names[name], opening, closing, *booked, day=day.isoformat()))
        content = camt053(*sheets)
        self.says(
            "camt.053",
            day,
            content.replace(
                b"<MsgId>M1<",
                b"<MsgId>S"
                + str(len(self.bank.files)).encode()
                + hashlib.sha256(content).hexdigest()[:20].encode()
                + b"<",
            ),
        )

    async def paid(self, day: date, *payees: str) -> None:
        """Have the bank report that it has paid these payees' lines of the first batch."""
        lines = await self.town.lines(self.town.today)
        of = self.town.id(self.town.today).replace("_", "-")
        reports = [report_line(lines[payee].id, "ACSC") for payee in payees]
        content = pain002(None, *reports, of=of).replace(b"<MsgId>R1<", f"<MsgId>R{day:%Y%m%d}<".encode())
        self.says("pain.002", day, content)
        await all_read(self.town, self.bank, self.bank_worker)

    async def prove(self, day: date) -> Certificate:
        proving = self.town.front.hub.proving()
        assert await proving.fetch() == []
        return await proving.prove(day)

    def later(self, days: int = 1) -> None:
        self.town.front.clock.forward(days * 86_400)


def custody(one: Certificate) -> dict[str, Any]:
    (book,) = one.told["books"]
    (found,) = book["custody"]
    return dict(found)


def explained(one: Certificate) -> list[tuple[str, str, int]]:
    return [(item["kind"], item["account"][-7:], item["effect_minor"]) for item in custody(one)["explained"]]


def breaches(one: Certificate) -> list[tuple[str, int]]:
    (book,) = one.told["books"]
    return [(breach["rule"], breach["minor"]) for breach in book["second_clearing"]["breaches"]]


def unexplained(one: Certificate) -> list[tuple[str, int]]:
    (book,) = one.told["books"]
    return [
        (left["what"], left["minor"]) for part in [*book["custody"], *book["control"]] for left in part["unexplained"]
    ]


@asynccontextmanager
async def first_day(database_url: str, home: Path) -> AsyncIterator[Days]:
    """Play a day at whose end 99.40 is deposited, the farm paid, and the mill paid by the bank's books alone."""
    async with a_town_with_a_bank(database_url, home) as (town, bank, bank_worker):
        days, day = Days(town, bank, bank_worker), town.today
        await send_todays(town)
        lines = await town.lines(day)
        days.says("camt.054", day, notice(told_entry("99.40", ref="D1", day=day.isoformat())))
        await days.paid(day, FARM)
        days.states(
            day,
            pool=("0.00", "0.50", [("D1", "99.40", "WX20261124"), ("P1", "-30.00", lines[FARM].id),
                                   ("P2", "-68.90", lines[MILL].id)]),
            farm=("0.00", "30.00", [("P1", "30.00", lines[FARM].id)]),
            mill=("0.00", "68.90", [("P2", "68.90", lines[MILL].id)]),
            platform=("0.00", "0.00", []),
        )  # fmt: skip
        yield days


async def test_a_days_differences_are_explained_and_carried_until_they_meet(database_url: str, tmp_path: Path) -> None:
    async with first_day(database_url, tmp_path) as days:
        town, day = days.town, days.town.today
        with pytest.raises(Rejected, match="when it is over"):
            await days.prove(day)
        days.later()
        first = await days.prove(day)
        assert (first.holds, unexplained(first), first.told["before"]) == (True, [], None)
        assert sorted(explained(first)) == [("in_transit", "2222222", 6_890), ("in_transit", "poolCNY", -6_890)]
        assert custody(first)["hub"] == {"custody_minor": 9_940, "pool_minor": 6_940, "sub_accounts_minor": 3_000}
        assert custody(first)["bank_statement"] == {
            "total_minor": 9_940, "pool_minor": 50, "sub_accounts_minor": 9_890,
        }  # fmt: skip
        (control,) = first.told["books"][0]["control"]
        assert (control["in_transit"][0]["minor"], control["in_transit"][0]["lines"]) == (6_940, 2)
        assert await days.prove(day) == first, "the same again is the same certificate"

        # The next day: the bank reports what it has booked, and has a booking that nobody told of.
        second_day = day + DAY
        lines = await town.lines(day)
        await days.paid(second_day, MILL, PLATFORM)
        days.states(
            second_day,
            pool=("0.50", "1.00", [("P3", "-0.50", lines[PLATFORM].id), ("X1", "1.00", None)]),
            farm=("30.00", "30.00", []),
            mill=("68.90", "68.90", []),
            platform=("0.00", "0.50", [("P3", "0.50", lines[PLATFORM].id)]),
        )
        days.later()
        second = await days.prove(second_day)
        assert second.told["before"] == {"date": day.isoformat(), "number": 1, "sha256": first.sha256}
        # The mill's line was booked by the hub on the second day: the bank had it on the first.
        assert (second.holds, explained(second)) == (True, [("at_bank_only", "poolCNY", 100)])
        assert await days.prove(day) == first, "the report of the second day is no correction of the first"

        # It comes to light, and is booked for its own day: the day is certified anew.
        found = told_entry("1.00", ref="X1", end_to_end="WHO", day=second_day.isoformat())
        days.says("camt.054", second_day, notice(found, message="M9"))
        await all_read(town, days.bank, days.bank_worker)
        asked = await days.prove(second_day)
        (item,) = custody(asked)["explained"]
        assert (asked.number, asked.told["replaces"], item["case_status"]) == (2, second.sha256, "open")
        async with acquire(town.front.hub.pool) as connection:
            (case,) = [one for one in await cases(connection) if one.id == item["case"]]
        await decide(town.front.hub, case.id, "suspend", by="Wang", note="nobody knows yet")
        last = await days.prove(second_day)
        assert (last.number, last.told["replaces"], explained(last)) == (3, asked.sha256, [])
        assert custody(last)["agrees"]
        (control,) = last.told["books"][0]["control"]
        assert [part["minor"] for part in control["suspense"]] == [100]

        # Two days at once, of which the bank stated both; the third goes on from the certificate that counts.
        for number in (2, 3):
            on = day + number * DAY
            days.states(
                on, pool=("1.00", "1.00", []), farm=("30.00", "30.00", []), mill=("68.90", "68.90", []),
                platform=("0.50", "0.50", []),
            )  # fmt: skip
        days.later(2)
        fourth = await days.prove(day + 3 * DAY)
        assert (fourth.holds, fourth.told["before"]["sha256"]) == (True, last.sha256)

        # Who has the public key alone reads what was signed.
        public = await town.front.hub.certificate_keys.public(fourth.key_id)
        assert verified(fourth.content, public)["date"] == (day + 3 * DAY).isoformat()
        await town.front.assert_books_hold()


async def test_what_has_no_explanation_is_named_and_certified_as_such(
    database_url: str, tmp_path: Path, pg_server: PostgresServer
) -> None:
    async with first_day(database_url, tmp_path) as days:
        day = days.town.today
        days.later(2)
        good = await days.prove(day)
        without = await days.prove(day + DAY)
        await days.town.sell()  # the journal goes on
        assert await days.prove(day + DAY) == without
        assert (without.holds, unexplained(without)) == (False, [("statement_missing", 0)])
        days.states(day + DAY, pool=("0.50", "0.50", []), farm=("30.00", "30.00", []), mill=("68.90", "68.90", []),
                    platform=("0.00", "0.00", []))  # fmt: skip
        there = await days.prove(day + DAY)
        assert (there.holds, there.number, there.told["replaces"]) == (True, 2, without.sha256)
        days.states(day + 2 * DAY, pool=("0.40", "0.40", []), farm=("30.00", "30.00", []))
        days.later()
        odd = await days.prove(day + 2 * DAY)
        assert [what for what, _ in unexplained(odd)] == ["statement_missing", "balance_differs"]
        assert dict(unexplained(odd))["balance_differs"] == -10

        url = pg_server.server.admin_url.rpartition("/")[0] + "/" + database_url.rpartition("/")[2]
        superuser = await asyncpg.connect(url)
        await superuser.execute("SET session_replication_role = replica")
        for fault, what in FAULTS.items():
            planting = superuser.transaction()
            await planting.start()
            await superuser.execute(fault)
            await planting.commit()
            found = await days.prove(day)
            assert {name for name, _ in unexplained(found)} == what, fault
            await superuser.execute(UNDONE[fault])
        # Principal is brought to the platform by a row that was written around the rules, and its account with it.
        await superuser.execute(FORGED, days.town.front.clock.now())
        for on in (day, day + 2 * DAY):  # the first of all, and one that looks at what is new
            assert breaches(await days.prove(on)) == [("commission", 6_890)], on
        await superuser.execute("DELETE FROM transfer WHERE id = 'forged'")
        again = await days.prove(day)
        assert (again.holds, breaches(again)) == (True, [])
        assert json.dumps(again.told["books"][0]["custody"]) == json.dumps(good.told["books"][0]["custody"])

        (check,) = INVARIANTS.values()
        assert await check(superuser) == []
        for plant in PLANTS:
            planting = superuser.transaction()
            await planting.start()
            await superuser.execute(plant)
            assert await check(superuser), plant
            await planting.rollback()
        await superuser.close()


async def test_a_statement_whose_entries_do_not_lead_to_its_balance_is_replaced_by_two(
    database_url: str, tmp_path: Path
) -> None:
    async with first_day(database_url, tmp_path) as days:
        hub, book, day = days.town.front.hub, days.town.front.book, days.town.today
        days.later(2)
        assert (await days.prove(day)).holds
        still: dict[str, Any] = {"farm": ("30.00", "30.00", []), "mill": ("68.90", "68.90", []),
                                 "platform": ("0.00", "0.00", [])}  # fmt: skip
        days.states(day + DAY, pool=("0.50", "0.30", []), **still)
        odd = await days.prove(day + DAY)
        assert unexplained(odd) == [("statement_gap", -20)]

        async def statement() -> BankFile:
            async with acquire(hub.pool) as connection:
                (found, *_) = await splitting.store.bank_files(connection, book, type="camt.053", limit=1)
            return found

        file = await statement()
        assert (file.fate, file.code) == ("quarantined", "totals_differ")
        assert await hub.daily_proof().fetch_statements(book, BANK) == 0
        assert (await statement()).fate == "quarantined", "it is asked for again, and is as it was"
        days.states(day + DAY, pool=("0.50", "0.50", []), **still)
        right, number = days.bank.files["camt.053"].pop(), re.compile(rb"<MsgId>[^<]*")
        (of_the_wrong,) = number.findall(await hub.banks.files.content(file))
        right = number.sub(of_the_wrong, right)  # the bank sends what it meant, under the number that it had
        given = await hub.banks.files.offer(file, right, "by-mail.xml", "Li")
        case = case_id(book, fates.SET_ASIDE, fates.about(file))
        await decide(hub, case, "replace", by="Wang", note="by mail", named=Named("file", given.id))
        assert (await days.prove(day + DAY)).holds
        async with acquire(hub.pool) as connection:
            fates_now = {one.id: one.fate for one in await splitting.store.bank_files(connection, book)}
        assert (fates_now[file.id], fates_now[given.id]) == ("discarded", "applied")


async def test_a_proof_that_the_timetable_tries_again_has_what_the_bank_replaced(
    database_url: str, tmp_path: Path
) -> None:
    async with first_day(database_url, tmp_path) as days:
        day = days.town.today
        days.later(2)
        assert (await days.prove(day)).holds
        prove, scope = days.town.front.hub.timetable()._steps[Step.PROOF], Scope(Step.PROOF, 0, "")
        still: dict[str, Any] = {"farm": ("30.00", "30.00", []), "mill": ("68.90", "68.90", []),
                                 "platform": ("0.00", "0.00", [])}  # fmt: skip
        days.states(day + DAY, pool=("0.50", "0.30", []), **still)
        assert not (await days.prove(day + DAY)).holds
        with pytest.raises(Rejected, match="proof_does_not_hold"):
            await prove(scope, day + DAY)
        days.states(day + DAY, pool=("0.50", "0.50", []), **still)
        await prove(scope, day + DAY)
        assert (await days.town.front.hub.proving().find(day + DAY)).holds


FORGED = (
    "INSERT INTO transfer SELECT book, 'forged', seq + 1000, posting, 'commission', step, debit, 'platform_fee:CNY', "
    "amount_minor, currency, hold_id, business_date, $1, hash FROM transfer "
    f"WHERE rule = 'share' AND credit = 'payee:{MILL}:CNY' ORDER BY seq LIMIT 1"
)
# What is written around the ledger → by what the day's proof tells.
FAULTS = {
    f"UPDATE account SET credits = credits + 7 WHERE name = 'sub_account:{FARM}:CNY'": {
        "balance_differs", "control_differs",
    },
    "UPDATE account SET debits = debits + 7 WHERE name = 'bank:citybank:CNY'": {"balance_differs", "control_differs"},
    "UPDATE account SET debits = debits + 7 WHERE name LIKE 'channel:%'": {"control_differs"},
    f"UPDATE instruction SET amount_minor = 1 WHERE payee_id = '{MILL}'": {"in_transit_differs"},
    "UPDATE transfer SET amount_minor = 9941 WHERE rule = 'channel_deposit'": {"balance_differs"},
}  # fmt: skip
UNDONE = {
    fault: fault.replace("+ 7", "- 7").replace("= 9941", "= 9940").replace("amount_minor = 1 ", "amount_minor = 6890 ")
    for fault in FAULTS
}
PLANTS = (
    "UPDATE day_certificate SET content = set_byte(content, 40, 65)",
    "UPDATE day_certificate SET holds = NOT holds",
    "UPDATE day_certificate SET number = number + 100",
    "UPDATE day_certificate SET business_date = business_date + 100",
    "DELETE FROM day_certificate WHERE number = 1",
    "DELETE FROM certificate_key",
    "UPDATE certificate_key SET public_key = sha256('x')",
    "UPDATE day_certificate SET sha256 = encode(sha256(sha256::bytea), 'hex')",
)


async def test_the_key_is_sealed_and_is_not_replaced_when_it_cannot_be_had(database_url: str, tmp_path: Path) -> None:
    async with first_day(database_url, tmp_path) as days:
        hub, day = days.town.front.hub, days.town.today
        days.later(2)
        first = await days.prove(day)
        came_to = await reseal(hub, new_key=True, retire=True)
        assert (came_to["failed"], len(came_to["retired"])) == ([], 1)
        assert (await days.prove(day + DAY)).key_id == first.key_id
        (file,) = (tmp_path / "secrets").glob("channel-keys.json")
        kept = file.read_bytes()
        told = json.loads(kept)
        told["keys"] = dict.fromkeys(told["keys"], told["fingerprints"])  # other bytes under the same name
        file.write_text(json.dumps(told))
        days.later()
        with pytest.raises(Unavailable, match="restore the master keys"):
            await hub.proving().prove(day + 2 * DAY)
        file.write_bytes(kept)


async def test_a_key_that_is_lost_for_good_or_stolen_is_replaced_and_what_it_signed_stays_good(
    database_url: str, tmp_path: Path
) -> None:
    async with first_day(database_url, tmp_path) as days:
        hub, day = days.town.front.hub, days.town.today
        days.later(2)
        first = await days.prove(day)
        (tmp_path / "secrets" / "channel-keys.json").unlink()
        came_to = await reseal(hub, new_key=True, retire=True)
        assert any(first.key_id in failed for failed in came_to["failed"])
        days.later()
        with pytest.raises(Unavailable, match="sluice proof rotate"):
            await hub.proving().prove(day + DAY)

        with pytest.raises(Conflict, match="it is for something else"):
            await hub.certificate_keys.rotate(use=Use("apr_0", b"", "ada", "use_0"))
        assert await hub.certificate_keys.newest() == first.key_id
        days.town.front.clock.forward(-7 * 86_400)  # the key made last is the one that signs, whatever the clock says
        made = await hub.certificate_keys.rotate()
        days.town.front.clock.forward(7 * 86_400)
        second = await hub.proving().prove(day + DAY)
        assert (second.key_id, second.told["before"]["sha256"]) == (made, first.sha256)
        assert made == await hub.certificate_keys.newest() != first.key_id
        assert (await hub.proving().find(day)).content == first.content, "what was proved is not signed anew"
        for one in (first, second):
            assert verified(one.content, await hub.certificate_keys.public(one.key_id)) == one.told
        with pytest.raises(Rejected, match=first.key_id):
            verified(first.content, await hub.certificate_keys.public())
        await days.town.front.assert_books_hold()
