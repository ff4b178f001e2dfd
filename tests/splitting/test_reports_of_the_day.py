"""A bank that tells of bookings by reports of the day so far (camt.052): each booking is booked once."""

from pathlib import Path

from kernel.db import acquire
from splitting.store import bank_files
from tests.splitting.play_bank import PlayBank, a_town_with_a_bank, all_read
from tests.splitting.test_bookings_told_apart import booked, entry, notice, unclear
from tests.splitting.town import BANK, Town


def report(*entries: str, message: str) -> bytes:
    """Return a report that says what a notification of these entries would."""
    told = notice(*entries, message=message, ident=f"R-{message}")
    for theirs, ours in (("camt.054", "camt.052"), ("BkToCstmrDbtCdtNtfctn", "BkToCstmrAcctRpt"), ("Ntfctn", "Rpt")):
        told = told.replace(theirs.encode(), ours.encode())
    return told


async def by_reports(town: Town, bank: PlayBank, home: Path) -> None:
    await town.sell()  # which opens the channel's account
    await town.front.hub.banks.rotate(town.front.book, BANK, {"notices": "camt.052"}, folder=home)
    assert bank.files == {}


async def test_what_every_report_of_a_day_tells_of_is_booked_once(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await by_reports(town, bank, tmp_path)
        first, second, third = entry("70"), entry("80", ref="B"), entry("70")
        reports = [
            report(first, message="M1"),
            report(first, second, message="M2"),
            report(first, second, third, message="M3"),  # alike but for the place
        ]
        bank.says("camt.052", *reports)
        bank.says("camt.054", notice(entry("90", ref="C")))  # which this bank is not asked for
        await all_read_of(town, bank, bank_worker)
        assert (await booked(database_url), await unclear(town)) == ({7_000: 2, 8_000: 1}, [])
        bank.says("camt.052", *reversed(reports))
        await all_read_of(town, bank, bank_worker)
        assert (await booked(database_url), await unclear(town)) == ({7_000: 2, 8_000: 1}, [])


async def test_what_was_told_of_by_a_notification_is_not_booked_again_by_a_report(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await town.sell()
        bank.says("camt.054", notice(entry("70")))
        await all_read(town, bank, bank_worker)
        await town.front.hub.banks.rotate(town.front.book, BANK, {"notices": "camt.052"}, folder=tmp_path)
        bank.says("camt.052", report(entry("70"), message="M1"), report(entry("70"), message="M2"))
        await all_read_of(town, bank, bank_worker)
        assert (await booked(database_url), await unclear(town)) == ({7_000: 1}, [7_000]), "a person decides"


async def test_a_correction_in_a_later_report_is_for_a_person(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await by_reports(town, bank, tmp_path)
        bank.says("camt.052", report(entry("70"), message="M1"), report(entry("75"), message="M2"))
        await all_read_of(town, bank, bank_worker)
        assert (await booked(database_url), await unclear(town)) == ({7_000: 1}, [7_500])


async def test_an_entry_without_the_banks_reference_sets_its_report_aside_and_no_other_entry(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await by_reports(town, bank, tmp_path)
        bank.says("camt.052", report(entry("70", ref=None), entry("80"), message="M1"))
        await all_read_of(town, bank, bank_worker)
        assert await booked(database_url) == {8_000: 1}
        async with acquire(town.front.hub.pool) as connection:
            (file,) = await bank_files(connection, town.front.book, bank=BANK, type="camt.052", limit=9)
        assert (file.fate, file.code) == ("quarantined", "no_reference")


async def all_read_of(town: Town, bank: PlayBank, bank_worker: object) -> None:
    """As all_read, for a bank that is not asked for notifications any more."""
    others = bank.files.pop("camt.054", None)
    await all_read(town, bank, bank_worker)  # type: ignore[arg-type]
    if others is not None:
        bank.files["camt.054"] = others
