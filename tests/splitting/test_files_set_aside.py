"""What cannot be applied of a bank's files keeps nothing else from being applied, is a person's, and never lost."""

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

import cases
from cases import Case, Named
from channels.banks import read_notice
from kernel.db import acquire
from kernel.errors import Broken, NotFound, Rejected
from ops.cases import decide
from ops.verify import verify
from splitting.banks.files import TRIES
from splitting.banks.worker import AGAIN_AT_ONCE, QUERY_AGAIN_S, BankWorker
from tests.channels.banks.bank_files import pain002
from tests.kernel.one_book import outside
from tests.splitting.play_bank import PlayBank, a_round, a_town_with_a_bank, all_read, send_todays
from tests.splitting.test_bookings_told_apart import booked, entry, notice
from tests.splitting.town import BANK, FARM, Town

STRANGE = "somebody 1"
PAYEE = "6200" + FARM[-12:]


async def waiting(town: Town) -> list[Case]:
    async with acquire(town.front.hub.pool) as connection:
        return await cases.store.cases(connection, book=town.front.book)


async def decided(town: Town) -> list[str | None]:
    async with acquire(town.front.hub.pool) as connection:
        return [one.decision for one in await cases.store.cases(connection, book=town.front.book, decided=True)]


async def read_from_the_beginning(database_url: str, town: Town, bank: PlayBank, bank_worker: BankWorker) -> None:
    async with outside(database_url) as connection:
        await connection.execute("UPDATE bank_link SET cursor = '{}'")
    await all_read(town, bank, bank_worker)


async def a_while_later(town: Town, bank_worker: BankWorker) -> None:
    town.front.clock.forward(QUERY_AGAIN_S)
    await a_round(bank_worker)


NOBODYS = {
    "a payer nobody knows": notice(entry("70", end_to_end=STRANGE), entry("80", "2")),
    "no end-to-end id": notice(entry("70", end_to_end="NOTPROVIDED"), entry("80", "2")),
    "a reference of no payment": notice(entry("70", end_to_end=STRANGE, creditor_ref="order 7"), entry("80", "2")),
    "money out": notice(entry("70", end_to_end=STRANGE, out=True), entry("80", "2")),
}


@pytest.mark.parametrize("name", NOBODYS)
@pytest.mark.parametrize("decision", ["book", "no_deposit"])
async def test_a_booking_that_nobody_can_name_is_for_a_person_and_booked_at_most_once(
    database_url: str, tmp_path: Path, name: str, decision: str
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", NOBODYS[name], notice(entry("90", ref="B"), message="M2"))
        for _ in range(2):
            await read_from_the_beginning(database_url, town, bank, bank_worker)
            assert await booked(database_url) == {8_000: 1, 9_000: 1}
            (case,) = await waiting(town)
            assert case.kind == "booking_unidentified"
        minor = -7_000 if name == "money out" else 7_000
        assert (case.amount_minor, case.currency, case.opened_count) == (minor, "CNY", 1)
        account = Named("account", "rail") if decision == "book" else None
        await decide(town.front.hub, case.id, decision, by="Wang", note="asked the bank", named=account)
        await read_from_the_beginning(database_url, town, bank, bank_worker)
        wanted = {8_000: 1, 9_000: 1, **({minor: 1} if decision == "book" else {})}
        assert (await booked(database_url), await waiting(town)) == (wanted, [])
        assert len(await town.front.events("channel.deposited")) == len(wanted)


async def test_what_a_person_booked_is_not_booked_again_when_its_account_is_known_later(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        told = [notice(entry(str(70 + n), ref=str(n), end_to_end="ZZ1"), message=f"M{n}") for n in range(3)]
        bank.says("camt.054", *told)
        await all_read(town, bank, bank_worker)
        by_amount = {one.amount_minor: one.id for one in await waiting(town)}
        hub = town.front.hub
        await decide(hub, by_amount[7_000], "book", by="Wang", note="the rail says so", named=Named("account", "rail"))
        await decide(hub, by_amount[7_100], "no_deposit", by="Wang", note="paid in by mistake, sent back")

        async def deposits(_: int) -> Mapping[str, Sequence[str]]:
            return {"ZZ": ["rail"]}

        later = BankWorker(hub.banks, hub.pool, hub.env, deposits, lambda *_: pytest.fail("no payment is named"))
        await read_from_the_beginning(database_url, town, bank, later)
        assert await booked(database_url) == {7_000: 1, 7_200: 1}
        assert await waiting(town) == []
        assert sorted(map(str, await decided(town))) == ["book", "gone", "no_deposit"]


async def test_a_mark_that_begins_as_another_does_goes_to_its_own_account(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, _):
        hub = town.front.hub

        async def deposits(_: int) -> Mapping[str, Sequence[str]]:
            return {"WX19000000": ["short"], "WX1900000001": ["long"]}

        bank_worker = BankWorker(hub.banks, hub.pool, hub.env, deposits, lambda *_: pytest.fail("no payment is named"))
        bank.says("camt.054", notice(entry("70", end_to_end="WX190000000120261124")))
        await all_read(town, bank, bank_worker)
        assert await town.standing() == {f"bank:{BANK}": 7_000, "channel:long": -7_000}


async def test_a_deposit_of_several_accounts_that_are_one_at_the_rail_waits_until_a_person_says_where_no_bill_does(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, _):
        hub = town.front.hub

        async def deposits(_: int) -> Mapping[str, Sequence[str]]:
            return {"WX": ["rail", "other"]}

        bank_worker = BankWorker(hub.banks, hub.pool, hub.env, deposits, lambda *_: pytest.fail("no payment is named"))
        bank.says("camt.054", notice(entry("70")))
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        assert (case.kind, orjson.loads(case.facts)["accounts"]) == ("money_in_suspense", ["rail", "other"])
        assert await town.standing() == {f"bank:{BANK}": 7_000, "suspense": 7_000}
        await decide(hub, case.id, "book", by="Wang", note="the bill has it", named=Named("account", "rail"))
        assert await town.standing() == {f"bank:{BANK}": 7_000, "channel:rail": -7_000}


async def test_a_person_must_name_an_account_that_there_is_and_only_where_one_is_asked_for(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", notice(entry("70", end_to_end=STRANGE)))
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        hub = town.front.hub
        for decision, account, code in (
            ("book", None, "case_account_missing"),
            ("no_deposit", "rail", "case_name_needless"),
            ("book", "another", "no_such_channel_account"),
        ):
            named = None if account is None else Named("account", account)
            with pytest.raises((Rejected, NotFound)) as refused:
                await decide(hub, case.id, decision, by="Wang", note="why", named=named)
            assert refused.value.code == code
        assert (await waiting(town), await booked(database_url)) == ([case], {})


async def test_a_booking_on_another_account_than_the_pool_is_for_a_person_and_no_deposit(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", notice(entry("70"), account="6299000000000000001"), notice(entry("80"), message="M2"))
        await all_read(town, bank, bank_worker)
        assert await booked(database_url) == {8_000: 1}
        (case,) = await waiting(town)
        assert orjson.loads(case.facts)["account"] == "…0001"
        with pytest.raises(Rejected) as refused:
            await decide(town.front.hub, case.id, "book", by="Wang", note="why", named=Named("account", "rail"))
        assert refused.value.code == "not_the_pool_account"
        await decide(town.front.hub, case.id, "no_deposit", by="Wang", note="a withdrawal of the payee's")
        assert (await waiting(town), await booked(database_url)) == ([], {8_000: 1})


async def test_what_a_bank_pays_or_takes_for_itself_is_booked_once_and_never_the_wrong_way(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        files = [
            notice(entry("70", end_to_end=STRANGE)),
            notice(entry("3", end_to_end=STRANGE, out=True), message="M2"),
        ]
        bank.says("camt.054", *files)
        await all_read(town, bank, bank_worker)
        came, went = sorted(await waiting(town), key=lambda case: case.amount_minor, reverse=True)
        hub = town.front.hub
        for case, wrong, right in ((came, "charge", "interest"), (went, "interest", "charge")):
            with pytest.raises(Rejected) as refused:
                await decide(hub, case.id, wrong, by="Wang", note="why")
            assert refused.value.code == f"no_{wrong}"
            await decide(hub, case.id, right, by="Wang", note="why")
        bank.says("camt.054", *files)  # read again
        await all_read(town, bank, bank_worker)
        assert await waiting(town) == []
        assert await town.standing() == {
            "bank:citybank": 6_700,
            "interest:citybank": 7_000,
            "bank_charge:citybank": 300,
        }
        assert [one for one in await verify(hub.pool) if one.broken] == []


async def test_payouts_as_ordered_are_nobodys_case_and_one_that_comes_back_is(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await send_todays(town)
        line = (await town.lines(town.today))[FARM]
        amount = f"{line.amount_minor / 100:.2f}"
        bank.says(
            "camt.054",
            notice(entry(amount, end_to_end=line.id, out=True)),
            notice(entry(amount, end_to_end=line.id), message="M2", account=PAYEE),
        )
        await all_read(town, bank, bank_worker)
        assert await waiting(town) == []
        bank.says("camt.054", notice(entry(amount, end_to_end=line.id), message="M3"))
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        assert (case.kind, case.amount_minor) == ("booking_unidentified", line.amount_minor)
        assert orjson.loads(case.facts)["instruction"] == line.id
        assert await booked(database_url) == {}


def _forge(bank: PlayBank, name: str) -> None:
    bank.forged.add(name)


def _cut(bank: PlayBank, name: str) -> None:
    whole = bank.files["camt.054"][1]
    bank.files["camt.054"][1] = whole[: len(whole) // 2]


def _other_version(bank: PlayBank, name: str) -> None:
    bank.files["camt.054"][1] = bank.files["camt.054"][1].replace(b"camt.054.001.08", b"camt.054.001.01")


def _lose(bank: PlayBank, name: str) -> None:
    bank.gone.add(name)


def _odd(bank: PlayBank, name: str) -> None:
    strange = entry("1.234").encode()
    bank.files["camt.054"][1] = bank.files["camt.054"][1].replace(b"</Acct>", b"</Acct>" + strange)


HARM = {
    "signed by another": (_forge, "signature_forged", 0),
    "cut off": (_cut, "not_xml", 0),
    "a version we do not read": (_other_version, "wrong_namespace", 0),
    "listed and not there": (_lose, "bank_http_404", 0),
    "one entry is odd": (_odd, "bad_amount", 1),
}


@pytest.mark.parametrize("name", HARM)
async def test_a_file_that_cannot_be_applied_is_set_aside_and_asked_for_again(
    database_url: str, tmp_path: Path, name: str
) -> None:
    spoil, code, booked_of_it = HARM[name]
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", *(notice(entry(str(70 + n), ref=str(n)), message=f"M{n}") for n in range(3)))
        spoil(bank, "camt.054-1")
        await all_read(town, bank, bank_worker)
        assert await booked(database_url) == {7_000: 1, 7_200: 1, **({7_100: 1} if booked_of_it else {})}
        (case,) = await waiting(town)
        facts = orjson.loads(case.facts)
        assert (case.kind, case.about, facts["code"]) == ("bank_file_set_aside", f"{BANK}:camt.054-1", code)
        await a_while_later(town, bank_worker)
        assert [(one.opened_at, one.facts) for one in await waiting(town)] == [(case.opened_at, case.facts)]
        bank.forged.clear()
        bank.gone.clear()
        await a_round(bank_worker)
        assert len(await waiting(town)) == 1, "it is not asked for in every round"
        await a_while_later(town, bank_worker)
        mended = code in ("signature_forged", "bank_http_404")
        assert len(await waiting(town)) == (0 if mended else 1)
        if mended:
            assert await decided(town) == ["gone"]
            assert await booked(database_url) == {7_000: 1, 7_100: 1, 7_200: 1}


async def test_a_file_that_is_discarded_is_not_asked_for_again(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", notice(entry("70")), notice(entry("80", ref="B"), message="M2"))
        bank.forged.add("camt.054-0")
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        await decide(town.front.hub, case.id, "discard", by="Wang", note="the bank never wrote it")
        bank.forged.clear()
        bank.calls.clear()
        await a_while_later(town, bank_worker)
        await read_from_the_beginning(database_url, town, bank, bank_worker)
        assert "camt.054-0" not in bank.calls
        assert (await booked(database_url), await waiting(town)) == ({8_000: 1}, [])


@pytest.mark.parametrize("harm", ["broken", "barred"])
async def test_a_file_that_can_never_be_had_stops_the_others_for_some_rounds_only(
    database_url: str, tmp_path: Path, harm: str
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", notice(entry("70")), notice(entry("80", ref="B"), message="M2"))
        bank.says("pain.002", pain002("ACSC", of="stl-other"))
        getattr(bank, harm).add("camt.054-0")
        for n in range(TRIES):
            assert await booked(database_url) == {}, n
            town.front.clock.forward(60)
            await a_round(bank_worker)
        assert await booked(database_url) == {8_000: 1}
        assert {one.about for one in await waiting(town)} == {f"{BANK}:camt.054-0", f"{BANK}:pain.002-0"}
        getattr(bank, harm).clear()
        await a_while_later(town, bank_worker)
        assert await booked(database_url) == {7_000: 1, 8_000: 1}


LISTED = {
    "file_id": "camt.054-0",
    "type": "camt.054",
    "name": "0.xml",
    "business_date": "2026-11-24",
    "created_at": "2026-11-24T00:00:01.000Z",
    "sha256": "0" * 64,
}
LISTED_ODDLY: Mapping[str, Any] = {
    "no object": "0.xml",
    "no id": {**LISTED, "file_id": None},
    "a number": {**LISTED, "file_id": 7},
    "an id that no row can have": {**LISTED, "file_id": "a\0b"},
    "half a letter": {**LISTED, "file_id": "\ud800"},
    "an id that no index can have": {**LISTED, "file_id": "".join(map(str, range(2_000)))},
    "one that writes over the screen": {**LISTED, "file_id": "\x1b[2J"},
    "no hash": {**LISTED, "sha256": None},
    "half a hash": {**LISTED, "sha256": "00"},
    "a date of another kind": {**LISTED, "business_date": "24.11.2026"},
    "no date": {name: value for name, value in LISTED.items() if name != "business_date"},
}


@pytest.mark.parametrize("name", LISTED_ODDLY)
async def test_what_a_list_says_oddly_of_one_file_keeps_no_other_from_being_applied(
    database_url: str, tmp_path: Path, name: str
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.listed["camt.054-0"] = LISTED_ODDLY[name]
        bank.says("camt.054", notice(entry("70")), notice(entry("80", ref="B"), message="M2"))
        await all_read(town, bank, bank_worker)
        assert await booked(database_url) == {8_000: 1}
        (case,) = await waiting(town)
        facts = orjson.loads(case.facts)
        assert (case.kind, facts["code"]) == ("bank_file_set_aside", "listed_oddly")
        assert case.about.isprintable()
        await a_while_later(town, bank_worker)
        assert len(await waiting(town)) == 1
        await decide(town.front.hub, case.id, "discard", by="Wang", note="the bank has listed it anew")
        await read_from_the_beginning(database_url, town, bank, bank_worker)
        assert (await booked(database_url), await waiting(town)) == ({8_000: 1}, [])


@pytest.mark.parametrize(
    "change", [{"name": "a\0\ud800\x1b[2J"}, {"name": None}, {"created_at": 7}, {"type": "credits"}]
)
async def test_what_is_only_for_people_keeps_no_file_from_being_applied(
    database_url: str, tmp_path: Path, change: Mapping[str, Any]
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        good = notice(entry("70"))
        bank.listed["camt.054-0"] = {**LISTED, "sha256": hashlib.sha256(good).hexdigest(), **change}
        bank.says("camt.054", good)
        await all_read(town, bank, bank_worker)
        assert (await booked(database_url), await waiting(town)) == ({7_000: 1}, [])


async def test_another_file_under_the_id_of_one_that_was_discarded_is_applied(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", notice(entry("70"))[:-9])
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        await decide(town.front.hub, case.id, "discard", by="Wang", note="the bank writes it anew")
        bank.files["camt.054"] = [notice(entry("70"))]
        await read_from_the_beginning(database_url, town, bank, bank_worker)
        assert (await booked(database_url), await waiting(town)) == ({7_000: 1}, [])


async def test_a_bank_that_lists_everything_every_time_has_its_files_fetched_once(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.heedless.add("camt.054")
        bank.says("camt.054", notice(entry("70")), notice(), notice())
        await all_read(town, bank, bank_worker)
        bank.calls.clear()
        assert await bank_worker.once() == 0, "or it would be asked again at once, for ever"
        bank.says("camt.054", notice(entry("80", ref="B"), message="M2"))
        for _ in range(3):
            town.front.clock.forward(1)
            await a_round(bank_worker)
        assert await booked(database_url) == {7_000: 1, 8_000: 1}
        assert [call for call in bank.calls if call.startswith("camt.054-")] == ["camt.054-3"]


async def test_a_round_goes_on_in_a_page_where_the_one_before_stopped(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", notice(entry("70")), notice(entry("80", ref="B"), message="M2"))
        bank.broken.add("camt.054-1")
        for _ in range(3):
            town.front.clock.forward(60)
            await a_round(bank_worker)
        assert await booked(database_url) == {7_000: 1}
        assert Counter(call for call in bank.calls if "-" in call) == {"camt.054-0": 1, "camt.054-1": 3}


@pytest.mark.parametrize("listing", ["heedless", "endless"])
async def test_the_daily_proof_ends_where_a_list_does_not(database_url: str, tmp_path: Path, listing: str) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, _):
        for kind in ("camt.054", "pain.002", "camt.053"):
            getattr(bank, listing).add(kind)
        bank.says("camt.054", notice(entry("70")))
        bank.barred.add("camt.054-0")
        bank.says("pain.002", pain002("ACSC", of="stl-other"))
        async with asyncio.timeout(20):
            assert await town.front.hub.daily_proof().fetch_bank_files(town.front.book, BANK) == 1
        (case,) = await waiting(town)
        assert case.about == f"{BANK}:camt.054-0"


async def test_a_long_file_is_read_beside_the_loop_and_its_entries_share_commits(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_by = list[str]()

    def read(type: str, content: bytes, **how: Any) -> Any:
        read_by.append(threading.current_thread().name)
        return read_notice(type, content, **how)

    monkeypatch.setattr("splitting.banks.files.read_notice", read)
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        number = 1_000
        (lane,) = town.front.hub.lanes.all
        town.front.hub.env.executor = ThreadPoolExecutor(1, thread_name_prefix="offload")
        before = lane.figures.batches
        bank.says("camt.054", notice(*(entry("70", ref=str(n)) for n in range(number))), notice(entry("80", ref="B")))
        await all_read(town, bank, bank_worker)
        assert await booked(database_url) == {7_000: number, 8_000: 1}
        assert lane.figures.batches - before < number / 10
        assert [name.partition("_")[0] for name in read_by] == ["offload", "MainThread"]


async def test_files_that_are_set_aside_are_asked_for_again_some_at_a_time(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", *[notice(entry("70"))[:-9]] * (2 * AGAIN_AT_ONCE + 5))
        await all_read(town, bank, bank_worker)
        for asked in (AGAIN_AT_ONCE, 2 * AGAIN_AT_ONCE, 2 * AGAIN_AT_ONCE + 5):
            town.front.clock.forward(QUERY_AGAIN_S)
            await a_round(bank_worker)
            calls = Counter(call for call in bank.calls if call.startswith("camt.054-"))
            assert sum(number > 1 for number in calls.values()) == asked


async def test_a_list_that_cannot_be_had_keeps_the_other_kind_from_nothing(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.unlisted.add("camt.054")
        bank.says("pain.002", pain002("ACSC", of="stl-other"))
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        assert orjson.loads(case.facts)["code"] == "not_our_batch"


@pytest.mark.parametrize("error", [Broken("posting_refused", "the books refused it"), RuntimeError("a mistake")])
async def test_what_cannot_be_done_with_one_entry_keeps_no_other_from_being_booked(
    database_url: str, tmp_path: Path, error: Exception
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, _):
        hub, wrong = town.front.hub, [True]

        async def deposits(_: int) -> Mapping[str, Sequence[str]]:
            return {"WX": ["rail"]}

        async def collected(_: int, __: Any) -> str | None:
            if wrong:
                raise error
            return None

        bank_worker = BankWorker(hub.banks, hub.pool, hub.env, deposits, collected)
        bank.says("camt.054", notice(entry("70", creditor_ref="x"), entry("80", "2")))
        await all_read(town, bank, bank_worker)
        assert await booked(database_url) == {8_000: 1}
        (case,) = await waiting(town)
        assert orjson.loads(case.facts)["code"] == getattr(error, "code", "internal_error")
        wrong.clear()
        await a_while_later(town, bank_worker)
        assert (await booked(database_url), await waiting(town)) == ({7_000: 1, 8_000: 1}, [])


async def test_how_long_a_banks_files_are_unread_is_a_figure(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        hub = town.front.hub

        async def unread_s() -> float | None:
            await hub.checks().measure()
            return hub.registry.get_sample_value("sluice_bank_unread_seconds", {"bank": BANK})

        assert await unread_s() == 0
        bank.unlisted.add("pain.002")
        town.front.clock.forward(3_600)
        await a_round(bank_worker)
        assert await unread_s() == 3_600
        bank.unlisted.clear()
        town.front.clock.forward(timedelta(minutes=1).total_seconds())
        await a_round(bank_worker)
        assert await unread_s() == 0
        await hub.banks.end(town.front.book, BANK)
        town.front.clock.forward(3_600)
        assert await unread_s() == 0
