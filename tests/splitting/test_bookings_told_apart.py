"""Two bookings are two, one told of twice is one, and what cannot be told apart is for a person: never dropped."""

from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from cases.store import cases
from kernel.db import acquire
from ops.cases import decide
from splitting import ApplyDeposit
from tests.gateway.payments.test_bank_credits import waiting
from tests.kernel.one_book import outside
from tests.splitting.play_bank import DAY, a_town_with_a_bank, all_read
from tests.splitting.town import BANK, Town

NEXT_DAY = "2026-11-25"
NS = "urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"


def entry(
    amount: str,
    ntry: str | None = "1",
    ref: str | None = "A",
    *,
    day: str = DAY,
    end_to_end: str = "WX20261124",
    out: bool = False,
    creditor_ref: str | None = None,
    currency: str = "CNY",
    more: str = "",
) -> str:
    refs = f"<EndToEndId>{end_to_end}</EndToEndId>"
    told = ""
    if creditor_ref is not None:
        told = f"<RmtInf><Strd><CdtrRefInf><Ref>{creditor_ref}</Ref></CdtrRefInf></Strd></RmtInf>"
        told += "<RltdDts><AccptncDtTm>2100-06-01T08:31:00Z</AccptncDtTm></RltdDts>"
    return (
        "<Ntry>"
        + (f"<NtryRef>{ntry}</NtryRef>" if ntry else "")
        + f'<Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>{"DBIT" if out else "CRDT"}</CdtDbtInd>'
        + f"<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{day}</Dt></BookgDt>"
        + (f"<AcctSvcrRef>{ref}</AcctSvcrRef>" if ref else "")
        + f"{more}<NtryDtls><TxDtls><Refs>{refs}</Refs>{told}</TxDtls></NtryDtls></Ntry>"
    )


def notice(*entries: str, message: str = "M1", ident: str = "N1", page: str = "", account: str = "poolCNY") -> bytes:
    paged = f"<MsgPgntn><PgNb>{page}</PgNb><LastPgInd>true</LastPgInd></MsgPgntn>" if page else ""
    return (
        f'<Document xmlns="{NS}"><BkToCstmrDbtCdtNtfctn><GrpHdr><MsgId>{message}</MsgId>'
        f"<CreDtTm>2026-11-24T10:00:00Z</CreDtTm>{paged}</GrpHdr><Ntfctn><Id>{ident}</Id>"
        f"<CreDtTm>2026-11-24T10:00:00Z</CreDtTm><Acct><Id><Othr><Id>{account}</Id></Othr></Id></Acct>"
        f"{''.join(entries)}</Ntfctn></BkToCstmrDbtCdtNtfctn></Document>"
    ).encode()


def twice(message: bytes) -> bytes:
    """Return a message with its notification in it a second time."""
    start, end = message.index(b"<Ntfctn>"), message.index(b"</BkToCstmrDbtCdtNtfctn>")
    return message[:end] + message[start:end] + message[end:]


async def booked(database_url: str) -> Counter[int]:
    """Return what the journal has of deposits, signed: amount → how often."""
    async with outside(database_url) as connection:
        rows = await connection.fetch(
            "SELECT CASE rule WHEN 'channel_deposit' THEN amount_minor ELSE -amount_minor END FROM transfer "
            "WHERE rule IN ('channel_deposit', 'channel_withdrawal')"
        )
    return Counter(row[0] for row in rows)


async def unclear(town: Town) -> list[int | None]:
    async with acquire(town.front.hub.pool) as connection:
        found = await cases(connection, book=town.front.book)
    assert {one.kind for one in found} <= {"booking_unclear"}
    return [one.amount_minor for one in found]


TWO_BOOKINGS = {
    "one reference of the bank, two entries": [notice(entry("70"), entry("70", "2"))],
    "and two amounts": [notice(entry("70"), entry("80", "2"))],
    "nothing but the place is another": [notice(entry("70"), entry("70"))],
    "without the bank's references": [notice(entry("70", ref=None), entry("70", "2", None))],
    "or with that alone": [notice(entry("70", None), entry("70", None))],
    "entry 1 of two days": [
        notice(entry("70", ref=None)),
        notice(entry("70", ref=None, day=NEXT_DAY), message="M2"),
    ],
    "entry 1 of two days, all else alike but the message": [
        notice(entry("70")),
        notice(entry("70", day=NEXT_DAY), message="M2"),
    ],
    "entry 1 of two payers on one day": [
        notice(entry("70", ref=None)),
        notice(entry("70", ref=None, end_to_end="WX20261125"), message="M2"),
    ],
    "in two notifications of one message that have one id": [twice(notice(entry("70", ref=None)))],
    "in and out again": [notice(entry("70"), entry("70", out=True))],
    "in, and out in another message": [notice(entry("70")), notice(entry("70", out=True), message="M2")],
    "two references": [notice(entry("70")), notice(entry("70", ref="B"), message="M2")],
    "one reference, and the entry's number is another": [notice(entry("70")), notice(entry("70", "2"), message="M2")],
    "with charges": [notice(entry("70", more="<Chrgs><TtlChrgsAndTaxAmt>1</TtlChrgsAndTaxAmt></Chrgs>"), entry("70"))],
    "references that end alike": [notice(entry("70", ref="A#1")), notice(entry("70", ref="A#2"), message="M2")],
}


@pytest.mark.parametrize("name", TWO_BOOKINGS)
async def test_two_bookings_are_two_however_often_their_notices_are_read(
    database_url: str, tmp_path: Path, name: str
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await town.sell()  # which opens the channel's account
        notices = TWO_BOOKINGS[name]
        bank.says("camt.054", *notices)
        await all_read(town, bank, bank_worker)
        found = await booked(database_url)
        assert (found.total(), await unclear(town)) == (2, [])
        bank.says("camt.054", *notices, *reversed(notices))  # sent again under the same ids
        await all_read(town, bank, bank_worker)
        assert (await booked(database_url), await unclear(town)) == (found, [])


CANNOT_BE_TOLD = {
    "in another message": notice(entry("70"), message="M2"),
    "in another notification of the message": notice(entry("70"), ident="N2"),
    "on another page": notice(entry("70"), page="2"),
    "with another amount": notice(entry("80"), message="M2"),
    "the same place, another amount": notice(entry("80")),
}


@pytest.mark.parametrize("name", CANNOT_BE_TOLD)
@pytest.mark.parametrize("decision", ["another", "same"])
async def test_what_cannot_be_told_from_a_booking_is_for_a_person(
    database_url: str, tmp_path: Path, name: str, decision: str
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await town.sell()  # which opens the channel's account
        again = CANNOT_BE_TOLD[name]
        bank.says("camt.054", notice(entry("70")), again, again)
        await all_read(town, bank, bank_worker)
        assert await booked(database_url) == {7_000: 1}
        (amount,) = await unclear(town)
        async with acquire(town.front.hub.pool) as connection:
            (case,) = await cases(connection, book=town.front.book)
        await decide(town.front.hub, case.id, decision, by="Wang", note="the statement of the day has it so")
        bank.says("camt.054", again, notice(entry("70")))
        await all_read(town, bank, bank_worker)
        wanted = Counter([7_000, amount] if decision == "another" else [7_000])
        assert (await booked(database_url), await unclear(town)) == (wanted, [])
        told = await town.front.events("channel.deposited")
        assert len(told) == wanted.total()


async def test_of_three_alike_none_is_dropped(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await town.sell()  # which opens the channel's account
        bank.says("camt.054", *(notice(entry("70"), entry("70"), message=f"M{n}") for n in range(3)))
        await all_read(town, bank, bank_worker)
        assert await booked(database_url) == {7_000: 2}
        assert await unclear(town) == [7_000] * 4


async def test_what_was_booked_under_its_reference_alone_is_not_booked_again_after_an_upgrade(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await town.sell()  # which opens the channel's account
        await town.put(ApplyDeposit(town.front.book, BANK, "rail", "CNY", 7_000, "A", date.fromisoformat(DAY)))
        bank.says("camt.054", notice(entry("70")), notice(entry("70", day=NEXT_DAY), message="M2"))
        await all_read(town, bank, bank_worker)
        assert await booked(database_url) == {7_000: 2}
        assert await unclear(town) == [7_000]


async def test_an_entry_of_nothing_stops_no_file(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        await town.sell()  # which opens the channel's account
        bank.says("camt.054", notice(entry("0.00"), entry("70", "2")))
        await all_read(town, bank, bank_worker)
        assert (await booked(database_url), await unclear(town)) == ({7_000: 1}, [])


PAID_TWICE = {
    "two entries with one reference of the bank": lambda of: [
        notice(entry("100", creditor_ref=of), entry("100", "2", creditor_ref=of))
    ],
    "entry 1 of two days": lambda of: [
        notice(entry("100", ref=None, creditor_ref=of)),
        notice(entry("100", ref=None, creditor_ref=of, day=NEXT_DAY), message="M2"),
    ],
}


@pytest.mark.parametrize("name", PAID_TWICE)
async def test_a_payer_who_transfers_twice_is_seen_to_have_done_so(
    database_url: str, tmp_path: Path, name: str
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        payment_id, reference = await waiting(town.front)
        for _ in range(2):
            bank.says("camt.054", *PAID_TWICE[name](reference))
            await all_read(town, bank, bank_worker)
        assert (await town.front.payment(payment_id))["status"] == "succeeded"
        assert await booked(database_url) == {10_000: 2}
        async with acquire(town.front.hub.pool) as connection:
            assert [one.kind for one in await cases(connection)] == ["charged_twice"]


async def test_a_second_transfer_that_only_its_notice_tells_from_the_first_is_for_a_person(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        payment_id, reference = await waiting(town.front)
        bank.says(
            "camt.054",
            notice(entry("100", creditor_ref=reference)),
            notice(entry("100", "2", creditor_ref=reference), message="M2"),
        )
        await all_read(town, bank, bank_worker)
        assert (await town.front.payment(payment_id))["status"] == "succeeded"
        assert await booked(database_url) == {10_000: 1}
        assert await unclear(town) == [10_000]
