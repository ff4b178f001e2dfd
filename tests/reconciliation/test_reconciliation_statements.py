"""Files in: kept once with their bytes, refused whole, restated with only their differences."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import asyncpg
import pytest

import reconciliation
from channels.contract import BadBill, BillLine
from kernel.db import Connection
from reconciliation import (
    Kept,
    bill_of,
    entries_on,
    keep_bank_file,
    keep_bill,
    reports_on,
    restated,
    statements_of,
    store,
)
from tests.reconciliation.books import BANK, DAY, NEXT, NOW, WECHAT, cny, line_of, paid
from tests.splitting.test_bookings_told_apart import entry as told
from tests.splitting.test_bookings_told_apart import notice

SCHEMA = Path(reconciliation.__file__).with_name("schema.sql").read_text(encoding="utf-8")
NS = "urn:iso:std:iso:20022:tech:xsd:"


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    await connection.execute("CREATE SCHEMA alone; SET search_path = alone")
    await connection.execute(SCHEMA)
    yield connection
    await connection.close()


def read(raw: bytes) -> Iterator[BillLine]:
    """Read a bill of one `reference amount` a line, ending in a count; the smallest file that can be damaged."""
    *rows, count = raw.decode().split("\n")
    if count != str(len(rows)):
        raise BadBill("damaged", f"{count!r} rows announced, {len(rows)} there")
    for number, row in enumerate(rows, 1):
        reference, minor = row.split()
        yield line_of(paid(reference, int(minor)), row=number)


@dataclass(frozen=True)
class Listed:
    type: str
    name: str
    business_date: date


async def bill(conn: Connection, raw: bytes, *, day: date = DAY, counterparty: str = WECHAT) -> Kept:
    return await keep_bill(
        conn, book=1, counterparty=counterparty, business_date=day, name="bill.csv", raw=raw, read=read, now=NOW
    )


async def references(conn: Connection, day: date = DAY) -> list[str] | None:
    lines = await bill_of(conn, 1, WECHAT, day, read)
    return None if lines is None else [line.reference for line in lines]


async def raw_of(conn: Connection, kept: Kept) -> bytes:
    return bytes(await conn.fetchval("SELECT raw FROM statement_file WHERE book = 1 AND id = $1", kept.file_id))


async def test_a_file_is_kept_with_its_bytes_and_their_hash(conn: Connection) -> None:
    raw = b"a 1\nb 2\n2"
    kept = await bill(conn, raw)
    assert kept == Kept(kept.file_id, fresh=True)
    file = await store.find_file(conn, 1, kept.file_id)
    assert file is not None
    assert file.sha256 == hashlib.sha256(raw).hexdigest()
    assert await raw_of(conn, kept) == raw
    assert await references(conn) == ["a", "b"]
    assert await references(conn, NEXT) is None


async def test_the_same_file_twice_has_no_effect(conn: Connection) -> None:
    first = await bill(conn, b"a 1\n1")
    again = await bill(conn, b"a 1\n1")
    assert again == Kept(first.file_id, fresh=False)
    assert await conn.fetchval("SELECT count(*) FROM statement_file") == 1


async def test_a_damaged_file_is_kept_for_people_and_used_for_nothing(conn: Connection) -> None:
    kept = await bill(conn, b"a 1\nb 2\n3")
    assert kept.refused == ("damaged", "'3' rows announced, 2 there")
    assert await references(conn) is None
    assert await raw_of(conn, kept) == b"a 1\nb 2\n3"
    again = await bill(conn, b"a 1\nb 2\n3")
    assert (again.fresh, again.refused) == (False, kept.refused)


async def test_a_damaged_file_does_not_displace_a_good_one(conn: Connection) -> None:
    await bill(conn, b"a 1\n1")
    kept = await bill(conn, b"a 1\n7")
    assert kept.supersedes is None
    assert await references(conn) == ["a"]


async def test_a_restated_file_takes_the_place_of_the_one_before(conn: Connection) -> None:
    first = await bill(conn, b"a 1\nb 2\n2")
    second = await bill(conn, b"a 1\nc 3\n2")
    assert second.supersedes == first.file_id
    assert await references(conn) == ["a", "c"]
    old = await store.find_file(conn, 1, first.file_id)
    assert old is not None
    assert old.superseded_by == second.file_id


async def test_files_of_other_days_and_counterparties_are_left_alone(conn: Connection) -> None:
    await bill(conn, b"a 1\n1")
    assert (await bill(conn, b"b 1\n1", day=NEXT)).supersedes is None
    assert (await bill(conn, b"c 1\n1", counterparty="wechat:2")).supersedes is None
    assert await references(conn) == ["a"]


def test_two_versions_of_a_bill_differ_only_where_lines_do() -> None:
    a, b, c = (line_of(paid(reference)) for reference in "abc")
    dearer = replace(b, amount=cny(10_001))
    found = restated([a, b, a], [dearer, replace(a, row=99), c])
    assert (found.added, found.removed, found.changed) == ((c,), (a,), ((b, dearer),))
    assert restated([a, b], [b, replace(a, row=7)]) == restated([], [])


# ---- bank files ------------------------------------------------------------------------------------------------------


def entry(ref: str, amount: str, ident: str) -> str:
    return (
        f'<Ntry><Amt Ccy="CNY">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>'
        f"<BookgDt><Dt>{DAY}</Dt></BookgDt><AcctSvcrRef>{ref}</AcctSvcrRef>"
        f"<NtryDtls><TxDtls><Refs><EndToEndId>{ident}</EndToEndId></Refs></TxDtls></NtryDtls></Ntry>"
    )


def account(number: str) -> str:
    return f"<Acct><Id><Othr><Id>{number}</Id></Othr></Id><Ccy>CNY</Ccy></Acct>"


def camt053(
    number: str, closing: str, *entries: str, message: str = "M1", day: date = DAY, page: int = 1, last: bool = True
) -> bytes:
    def balance(code: str, amount: str) -> str:
        return (
            f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">{amount}</Amt>'
            f"<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>"
        )

    return (
        f'<Document xmlns="{NS}camt.053.001.08"><BkToCstmrStmt><GrpHdr><MsgId>{message}</MsgId><MsgPgntn>'
        f"<PgNb>{page}</PgNb><LastPgInd>{str(last).lower()}</LastPgInd></MsgPgntn></GrpHdr><Stmt><Id>S</Id>"
        f"{account(number)}{balance('OPBD', '0.00')}{balance('CLBD', closing)}{''.join(entries)}"
        f"</Stmt></BkToCstmrStmt></Document>"
    ).encode()


def camt054(number: str, *entries: str) -> bytes:
    return (
        f'<Document xmlns="{NS}camt.054.001.08"><BkToCstmrDbtCdtNtfctn><Ntfctn>{account(number)}{"".join(entries)}'
        f"</Ntfctn></BkToCstmrDbtCdtNtfctn></Document>"
    ).encode()


def pain002(message: str, status: str) -> bytes:
    return (
        f'<Document xmlns="{NS}pain.002.001.10"><CstmrPmtStsRpt><GrpHdr><MsgId>{message}</MsgId>'
        f"<CreDtTm>2026-11-24T10:00:00Z</CreDtTm></GrpHdr><OrgnlGrpInfAndSts><OrgnlMsgId>B1</OrgnlMsgId>"
        f"<OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId><GrpSts>{status}</GrpSts></OrgnlGrpInfAndSts>"
        f"</CstmrPmtStsRpt></Document>"
    ).encode()


async def bank(conn: Connection, kind: str, raw: bytes, *, day: date = DAY, name: str = "file.xml") -> Kept:
    return await keep_bank_file(conn, book=1, counterparty=BANK, listed=Listed(kind, name, day), raw=raw, now=NOW)


async def test_bank_files_come_back_as_what_they_say(conn: Connection) -> None:
    await bank(conn, "camt.053", camt053("A1", "5.00", entry("R1", "5.00", "E1")))
    await bank(conn, "camt.054", camt054("A1", entry("R1", "5.00", "E1"), entry("R2", "1.00", "E2")))
    await bank(conn, "pain.002", pain002("P1", "ACSC"))
    (statement,) = await statements_of(conn, 1, BANK, DAY)
    assert (statement.account, statement.closing) == ("A1", cny(500))
    assert [(e.entry_ref, e.amount) for e in await entries_on(conn, 1, BANK, [DAY])] == [
        ("R1", cny(500)),
        ("R2", cny(100)),
    ]
    assert [report.group_status for report in await reports_on(conn, 1, BANK, DAY)] == ["ACSC"]
    assert await statements_of(conn, 1, BANK, NEXT) == []


ONE, TWO = told("70"), told("70", "2")
PROVED = {
    "one told of twice": ([notice(ONE), notice(ONE) + b"\n"], [], 1),
    "two with one reference of the bank": ([notice(ONE, TWO)], [], 2),
    "two in notices of their own": ([notice(ONE), notice(TWO, message="M2")], [], 2),
    "the same, and their statement, which numbers entries anew": ([notice(ONE, TWO)], [told("70", "17"), ONE], 2),
    "two of which only the statement tells": ([], [told("70", "17"), told("70", "18")], 2),
    "another notice of one that the statement has once": ([notice(ONE), notice(ONE, message="M2")], [ONE], 1),
    "another notice, and no statement yet": ([notice(ONE), notice(ONE, message="M2")], [], 2),
    "one that the statement lacks": ([notice(ONE)], [told("70", ref="B")], 2),
    "one beside an entry that cannot be read": ([notice(told("1.234"), TWO)], [], 1),
}


@pytest.mark.parametrize("name", PROVED)
async def test_the_proof_tells_bookings_apart_as_the_book_does(conn: Connection, name: str) -> None:
    notices, stated, number = PROVED[name]
    for raw in notices:
        assert (await bank(conn, "camt.054", raw)).refused is None
    if stated:
        await bank(conn, "camt.053", camt053("poolCNY", "70.00", *stated))
    found = await entries_on(conn, 1, BANK, [DAY])
    assert [one.amount for one in found] == [cny(7_000)] * number


async def test_a_statement_with_a_gap_is_kept_for_the_run_to_report(conn: Connection) -> None:
    kept = await bank(conn, "camt.053", camt053("A1", "5.00", entry("R1", "4.00", "E1")))
    assert kept.refused is None
    (statement,) = await statements_of(conn, 1, BANK, DAY)
    assert statement.gap == cny(100)


async def test_the_pages_of_one_day_stand_side_by_side_and_a_restated_page_replaces_its_own(conn: Connection) -> None:
    await bank(conn, "camt.053", camt053("A1", "1.00", entry("R1", "1.00", "E"), message="M1", last=False))
    await bank(conn, "camt.053", camt053("A2", "2.00", entry("R2", "2.00", "E"), message="M2", page=2))
    again = await bank(conn, "camt.053", camt053("A2", "3.00", entry("R2", "3.00", "E"), message="M3", page=2))
    assert again.supersedes is not None
    closings = {one.account: one.closing for one in await statements_of(conn, 1, BANK, DAY)}
    assert closings == {"A1": cny(100), "A2": cny(300)}


async def test_a_file_for_each_account_replaces_no_other_accounts(conn: Connection) -> None:
    await bank(conn, "camt.053", camt053("A1", "1.00", entry("R1", "1.00", "E"), message="M1"))
    other = await bank(conn, "camt.053", camt053("A2", "2.00", entry("R2", "2.00", "E"), message="M2"))
    assert other.supersedes is None
    again = await bank(conn, "camt.053", camt053("A1", "3.00", entry("R1", "3.00", "E"), message="M3"))
    assert again.supersedes is not None
    closings = {one.account: one.closing for one in await statements_of(conn, 1, BANK, DAY)}
    assert closings == {"A1": cny(300), "A2": cny(200)}


async def test_of_two_files_that_both_have_an_account_the_later_one_counts(conn: Connection) -> None:
    both = camt053("A1", "1.00", entry("R1", "1.00", "E"))
    second = camt053("A2", "2.00", entry("R2", "2.00", "E"))
    both = both.replace(b"</Stmt>", b"</Stmt>" + second[second.index(b"<Stmt>") : second.index(b"</BkToCstmrStmt>")], 1)
    await bank(conn, "camt.053", both)
    later = camt053("A1", "5.00", entry("R1", "5.00", "E"), message="M2")
    kept = await keep_bank_file(
        conn,
        book=1,
        counterparty=BANK,
        listed=Listed("camt.053", "again", DAY),
        raw=later,
        now=NOW + timedelta(hours=1),
    )
    assert kept.supersedes is None
    closings = {one.account: one.closing for one in await statements_of(conn, 1, BANK, DAY)}
    assert closings == {"A1": cny(500), "A2": cny(200)}


async def test_a_file_of_several_days_is_each_days(conn: Connection) -> None:
    """Some banks write one file after a weekend, or send a week again."""
    first = camt053("A1", "1.00", entry("R1", "1.00", "E"))
    second = camt053("A1", "2.00", entry("R2", "2.00", "E"), day=NEXT)
    two = first.replace(b"</Stmt>", b"</Stmt>" + second[second.index(b"<Stmt>") : second.index(b"</BkToCstmrStmt>")], 1)
    assert (await bank(conn, "camt.053", two)).wrong is None
    for day, closing in ((DAY, cny(100)), (NEXT, cny(200))):
        assert [one.closing for one in await statements_of(conn, 1, BANK, day)] == [closing]
    assert (await bank(conn, "camt.053", two)).fresh is False
    assert (await bank(conn, "camt.053", camt053("A1", "3.00", day=NEXT, message="M2"), day=NEXT)).wrong is None
    assert [one.closing for one in await statements_of(conn, 1, BANK, NEXT)] == [cny(300)]
    assert [one.closing for one in await statements_of(conn, 1, BANK, DAY)] == [cny(100)]


async def test_the_pages_of_one_accounts_statement_come_together_although_they_have_one_message_id(
    conn: Connection,
) -> None:
    interim = b"<Cd>OPBD</Cd></CdOrPrtry><SubTp><Cd>INTM</Cd></SubTp>"
    first = camt053("A1", "1.00", entry("R1", "1.00", "E"), last=False)
    first = first.replace(b"<Cd>CLBD</Cd></CdOrPrtry>", interim.replace(b"OPBD", b"CLBD"))
    last = camt053("A1", "3.00", entry("R2", "2.00", "E"), page=2)
    last = last.replace(b"<Cd>OPBD</Cd></CdOrPrtry>", interim).replace(b">0.00<", b">1.00<")
    assert (await bank(conn, "camt.053", last)).wrong is None
    assert await statements_of(conn, 1, BANK, DAY) == [], "its first page is not there yet"
    assert (await bank(conn, "camt.053", first)).wrong is None
    (statement,) = await statements_of(conn, 1, BANK, DAY)
    assert (statement.opening, statement.closing, statement.gap) == (cny(0), cny(300), cny(0))
    assert [one.entry_ref for one in statement.entries] == ["R1", "R2"]


async def test_what_cannot_be_read_of_one_account_is_told_and_the_others_count(conn: Connection) -> None:
    good = camt053("A1", "1.00", entry("R1", "1.00", "E"))
    bad = camt053("A2", "1.00", entry("R2", "1.001", "E"))
    two = good.replace(b"</Stmt>", b"</Stmt>" + bad[bad.index(b"<Stmt>") : bad.index(b"</BkToCstmrStmt>")], 1)
    for _ in range(2):
        kept = await bank(conn, "camt.053", two)
        assert (kept.refused, kept.wrong) == (
            None,
            ("bad_amount", "entry 1 (AcctSvcrRef R2): '1.001' is not an amount in CNY"),
        )
    found = {one.account: one.gap for one in await statements_of(conn, 1, BANK, DAY)}
    assert found == {"A1": cny(0), "A2": cny(100)}


@pytest.mark.parametrize(
    ("code", "kind", "raw"),
    [
        ("other_day", "camt.053", camt053("A1", "0.00", day=DAY - timedelta(1))),
        ("not_xml", "camt.053", b"<Document"),
        ("dtd_forbidden", "camt.054", b"<!DOCTYPE x><Document/>"),
        ("wrong_namespace", "pain.002", camt054("A1")),
    ],
)
async def test_a_bank_file_that_is_not_what_was_listed_is_refused_and_kept(
    conn: Connection, code: str, kind: str, raw: bytes
) -> None:
    kept = await bank(conn, kind, raw)
    assert kept.refused is not None
    assert kept.refused[0] == code
    assert await raw_of(conn, kept) == raw
    assert await statements_of(conn, 1, BANK, DAY) == []


async def test_a_message_id_that_comes_again_over_other_bytes_is_refused(conn: Connection) -> None:
    await bank(conn, "pain.002", pain002("P1", "RJCT"), name="first.xml")
    same = await bank(conn, "pain.002", pain002("P1", "RJCT"))
    assert (same.fresh, same.refused) == (False, None)
    forged = await bank(conn, "pain.002", pain002("P1", "ACSC"))
    assert forged.refused == (
        "message_id_reused",
        "message id P1 came before, in first.xml, with other contents",
    )
    assert [report.group_status for report in await reports_on(conn, 1, BANK, DAY)] == ["RJCT"]


async def test_other_types_of_file_are_not_taken(conn: Connection) -> None:
    with pytest.raises(ValueError, match=r"pacs\.008"):
        await bank(conn, "pacs.008", b"<x/>")
