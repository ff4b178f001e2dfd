"""Every file of a bank is kept as it came, with what became of it; what a report says of its batch must be so."""

import hashlib
from collections import Counter
from pathlib import Path

import orjson
import pytest

import splitting
from cases import Named
from kernel.db import acquire
from kernel.errors import Broken, Conflict, Rejected
from ops.cases import decide
from splitting.banks.archive import SHORT
from splitting.banks.fates import file_key, packed, unpacked
from splitting.tables import BankFile
from tests.channels.banks.bank_files import NS, pain002, report_line
from tests.kernel.one_book import outside
from tests.splitting.play_bank import a_round, a_town_with_a_bank, all_read, send_todays
from tests.splitting.test_bookings_told_apart import booked, entry, notice
from tests.splitting.test_files_set_aside import a_while_later, decided, read_from_the_beginning, waiting
from tests.splitting.town import BANK, FARM, Town


async def files(town: Town) -> dict[str, BankFile]:
    async with acquire(town.front.hub.pool) as connection:
        found = await splitting.store.bank_files(connection, town.front.book)
    return {file.file_id: file for file in found}


async def content(town: Town, file_id: str) -> bytes:
    return await town.front.hub.banks.files.content((await files(town))[file_id])


async def test_a_file_is_kept_with_its_bytes_hash_and_fate_whatever_becomes_of_it(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        good, long = notice(entry("70")), notice(entry("80", ref="B"), message="M2") + b" " * (SHORT + 1)
        bank.says("camt.054", good, good[:-9], long, good, notice(entry("60", ref="C"), message="M3"))
        bank.forged.add("camt.054-4")
        await all_read(town, bank, bank_worker)
        found = await files(town)
        assert {name: file.fate for name, file in found.items()} == {
            "camt.054-0": "applied",
            "camt.054-1": "quarantined",
            "camt.054-2": "applied",
            "camt.054-3": "repeated",
            "camt.054-4": "quarantined",
        }
        for name, said in (("camt.054-0", good), ("camt.054-1", good[:-9]), ("camt.054-2", long), ("camt.054-3", good)):
            assert await content(town, name) == said
            assert found[name].sha256 == found[name].listed_sha256 == hashlib.sha256(said).hexdigest()
        assert found["camt.054-3"].repeats == found["camt.054-0"].id
        assert found["camt.054-1"].code == "not_xml"
        assert found["camt.054-4"].code == "signature_forged"
        assert await content(town, "camt.054-4") == bank.files["camt.054"][4], "it can be looked at all the same"
        assert {file.fate_by for file in found.values()} == {"sluice"}
        assert await booked(database_url) == {7_000: 1, 8_000: 1}
        async with outside(database_url) as connection:
            assert await connection.fetchval("SELECT count(*) FROM bank_file_content") == 4, "equal bytes are kept once"
        before = await files(town)
        await read_from_the_beginning(database_url, town, bank, bank_worker)
        assert await files(town) == before, "what is read again is the same file, of the same fate"


async def test_a_file_is_kept_before_anything_of_it_is_done_and_a_crash_in_between_loses_nothing(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", notice(entry("70")))

        async def dies(*_: object, **__: object) -> None:
            raise KeyError("killed here")

        with monkeypatch.context() as patched:
            patched.setattr(town.front.hub.banks.files, "_wrong_with", dies)
            await a_round(bank_worker)
        (file,) = (await files(town)).values()
        assert (file.fate, await content(town, "camt.054-0")) == ("received", bank.files["camt.054"][0])
        assert await booked(database_url) == {}
        town.front.clock.forward(60)
        await all_read(town, bank, bank_worker)
        (file,) = (await files(town)).values()
        assert (file.fate, await booked(database_url)) == ("applied", {7_000: 1})


async def test_the_bytes_of_a_file_that_could_not_be_had_are_kept_once_they_can(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", notice(entry("70")))
        bank.gone.add("camt.054-0")
        await all_read(town, bank, bank_worker)
        (file,) = (await files(town)).values()
        assert (file.fate, file.sha256, file.size) == ("quarantined", None, 0)
        with pytest.raises(Rejected, match="not kept"):
            await content(town, "camt.054-0")
        (case,) = await waiting(town)
        with pytest.raises(Rejected) as refused:
            await decide(town.front.hub, case.id, "release", by="Wang", note="the bank stands by it")
        assert refused.value.code == "bank_file_not_kept"
        bank.gone.clear()
        await a_while_later(town, bank_worker)
        (file,) = (await files(town)).values()
        assert (file.fate, await content(town, "camt.054-0")) == ("applied", bank.files["camt.054"][0])


def test_kept_bytes_that_are_not_those_that_came_are_not_given_out() -> None:
    said = b"<Document/>" * 1_000
    row = BankFile(
        1, "bkf_0", BANK, "f", "camt.054", "f", None, "", hashlib.sha256(said).hexdigest(), len(said),  # type: ignore[arg-type]
        "applied", None, None, None, None, None, None, None, "sluice",  # type: ignore[arg-type]
    )  # fmt: skip
    assert unpacked(packed(said), row) == said
    for harm in (packed(said[:-1]), packed(said + b" "), packed(b"x" * (64 << 20)), packed(said)[:-9], b"", b"no zlib"):
        with pytest.raises(Broken, match="not those that came"):
            unpacked(harm, row)


# ---- what a report says of its batch ---------------------------------------------------------------------------------


def _totals(of: bytes, count: str = "", total: str = "") -> bytes:
    said = f"<OrgnlNbOfTxs>{count}</OrgnlNbOfTxs>" if count else ""
    said += f"<OrgnlCtrlSum>{total}</OrgnlCtrlSum>" if total else ""
    return of.replace(b"</OrgnlMsgNmId>", b"</OrgnlMsgNmId>" + said.encode())


def _of_line(of: bytes, line: str, told: str) -> bytes:
    at = of.index(line.encode())
    return of[:at] + of[at:].replace(b"</TxInfAndSts>", f"<OrgnlTxRef>{told}</OrgnlTxRef></TxInfAndSts>".encode(), 1)


def _amount(amount: str, currency: str = "CNY") -> str:
    return f'<Amt><InstdAmt Ccy="{currency}">{amount}</InstdAmt></Amt>'


def _account(tag: str, number: str) -> str:
    return f"<{tag}><Id><Othr><Id>{number}</Id></Othr></Id></{tag}>"


FARMS = "6200" + FARM[-12:]
SPOILED = {
    "a line too many": ("count_differs", lambda said, _: _totals(said, count="4")),
    "another sum": ("sum_differs", lambda said, _: _totals(said, total="1.00")),
    "a sum that is none": ("sum_differs", lambda said, _: _totals(said, total="99.401")),
    "more lines by status": (
        "count_differs",
        lambda said, _: said.replace(
            b"</OrgnlGrpInfAndSts>",
            b"<NbOfTxsPerSts><DtldNbOfTxs>9</DtldNbOfTxs><DtldSts>ACSC</DtldSts></NbOfTxsPerSts></OrgnlGrpInfAndSts>",
        ),
    ),
    "another amount": ("amount_differs", lambda said, line: _of_line(said, line, _amount("0.01"))),
    "another currency": ("amount_differs", lambda said, line: _of_line(said, line, _amount("30.00", "USD"))),
    "another creditor": ("account_differs", lambda said, line: _of_line(said, line, _account("CdtrAcct", "62"))),
    "another debtor": ("account_differs", lambda said, line: _of_line(said, line, _account("DbtrAcct", "62"))),
    "another payment information": (
        "other_payment",
        lambda said, _: said.replace(b"<OrgnlPmtInfId>", b"<OrgnlPmtInfId>X"),
    ),
    "a line of another batch": ("other_line", lambda said, line: said.replace(line.encode(), b"1-261124-00")),
}


@pytest.mark.parametrize("name", SPOILED)
async def test_a_report_that_says_what_is_not_so_of_its_batch_decides_nothing_and_may_be_released(
    database_url: str, tmp_path: Path, name: str
) -> None:
    code, spoil = SPOILED[name]
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        of = await send_todays(town)
        lines = sorted((await town.lines(town.today)).values(), key=lambda line: line.id)
        said = pain002("PART", *(report_line(line.id, "ACSC") for line in lines), of=of)
        at_stake = next(line.id for line in lines if line.payee_id == FARM)
        bank.says("pain.002", spoil(said, at_stake), pain002("ACSC", of="stl-other"))
        await all_read(town, bank, bank_worker)
        by_code = {file.code: file for file in (await files(town)).values()}
        assert by_code.keys() == {code, "not_our_batch"}
        assert {line.status for line in (await town.lines(town.today)).values()} == {"in_transit"}
        (case,) = [one for one in await waiting(town) if one.about == f"{BANK}:pain.002-0"]
        await decide(town.front.hub, case.id, "release", by="Wang", note="the bank stands by it")
        file = (await files(town))["pain.002-0"]
        assert (file.fate, file.fate_by) == ("received", "Wang")
        await a_round(bank_worker)
        file = (await files(town))["pain.002-0"]
        if code in ("amount_differs", "account_differs"):
            assert (file.fate, file.code) == ("quarantined", code), "nobody lets another payment pass for the line's"
            assert {line.status for line in (await town.lines(town.today)).values()} == {"in_transit"}
            return
        assert (file.fate, file.fate_by, file.code) == ("applied", "Wang", code)
        paid = Counter(line.status for line in (await town.lines(town.today)).values())["paid"]
        assert paid == (2 if name == "a line of another batch" else 3)
        await read_from_the_beginning(database_url, town, bank, bank_worker)
        assert (await files(town))["pain.002-0"] == file, "what two people let pass is not asked about again"
        assert sorted(map(str, await decided(town))) == ["release"]


@pytest.mark.parametrize("first", ["f1", "f2", None])
async def test_a_report_on_another_upload_than_the_one_the_bank_pays_by_decides_nothing(
    database_url: str, tmp_path: Path, first: str | None
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        of = await send_todays(town)
        said = pain002("RJCT", reason="AC01", of=of)
        bank.says("pain.002", said)
        bank.listed["pain.002-0"] = {
            "file_id": "pain.002-0", "type": "pain.002", "name": "0.xml", "business_date": "2026-11-24",
            "sha256": hashlib.sha256(said).hexdigest(), "original_message_id": of, "original_file_id": "f2",
        }  # fmt: skip
        bank.heedless.add("pain.001")
        if first is not None:
            bank.files["pain.001"] = [b"what it was"]
            bank.listed["pain.001-0"] = {
                "file_id": first, "message_id": of, "sha256": "0" * 64, "received_at": "now",
            }  # fmt: skip
        await a_round(bank_worker)
        lines = {line.status for line in (await town.lines(town.today)).values()}
        if first == "f1":
            (case,) = await waiting(town)
            assert (orjson.loads(case.facts)["code"], lines) == ("other_upload", {"in_transit"})
        else:
            assert (await waiting(town), lines) == ([], {"refused"})


async def test_a_report_whose_totals_amounts_and_accounts_are_right_is_applied(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        of = await send_todays(town)
        lines = (await town.lines(town.today)).values()
        said = _totals(pain002("PART", *(report_line(line.id, "ACSC") for line in lines), of=of), "03", "99.400")
        for line in lines:
            told = _amount(f"{line.amount_minor / 100:.2f}") + _account("DbtrAcct", "poolCNY")
            said = _of_line(said, line.id, told + _account("CdtrAcct", line.account))
        bank.says("pain.002", said)
        await all_read(town, bank, bank_worker)
        assert {line.status for line in (await town.lines(town.today)).values()} == {"paid"}
        assert await waiting(town) == []


def _summed(of: bytes, **said: str) -> bytes:
    told = "".join(f"<{name}>{value}</{name}>" for name, value in said.items())
    return of.replace(b"</Acct><Ntry>", f"</Acct><TxsSummry><TtlNtries>{told}</TtlNtries></TxsSummry><Ntry>".encode())


@pytest.mark.parametrize("said", [{"NbOfNtries": "3"}, {"Sum": "150.01"}, {"NbOfNtries": "2", "Sum": "1"}])
async def test_a_notice_whose_entries_are_not_what_it_announces_books_nothing_until_it_is_released(
    database_url: str, tmp_path: Path, said: dict[str, str]
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        two = notice(entry("70"), entry("80", ref="B", out=True))
        bank.says("camt.054", _summed(two, **said), _summed(notice(entry("60", ref="C"), message="M2"), NbOfNtries="1"))
        await all_read(town, bank, bank_worker)
        assert await booked(database_url) == {6_000: 1}
        (case,) = await waiting(town)
        assert orjson.loads(case.facts)["code"] == "totals_differ"
        await decide(town.front.hub, case.id, "release", by="Wang", note="two entries, the bank says")
        await a_round(bank_worker)
        assert await booked(database_url) == {6_000: 1, 7_000: 1, -8_000: 1}
        assert await waiting(town) == []


# ---- what people may say ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["forged", "other_file", "cut"])
async def test_nobody_has_a_file_applied_that_is_not_known_to_be_the_banks_or_cannot_be_read(
    database_url: str, tmp_path: Path, harm: str
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", notice(entry("70")))
        if harm == "forged":
            bank.forged.add("camt.054-0")
        elif harm == "other_file":
            bank.listed["camt.054-0"] = {
                "file_id": "camt.054-0", "type": "camt.054", "name": "0", "business_date": "2026-11-24",
                "sha256": "0" * 64,
            }  # fmt: skip
        else:
            bank.files["camt.054"][0] = bank.files["camt.054"][0][:-9]
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        release = decide(town.front.hub, case.id, "release", by="Wang", note="I believe it")
        if harm == "cut":
            await release
            await a_round(bank_worker)
            (again,) = await waiting(town)
            assert (again.opened_count, (await files(town))["camt.054-0"].fate) == (2, "quarantined")
        else:
            with pytest.raises(Rejected) as refused:
                await release
            assert refused.value.code == "bank_file_not_believed"
        assert await booked(database_url) == {}


async def test_a_file_given_by_hand_is_applied_in_place_of_another_once_people_have_agreed(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        good, hub = notice(entry("70")), town.front.hub
        bank.says("camt.054", good[:-9])
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        spoiled = (await files(town))["camt.054-0"]
        given = await hub.banks.files.offer(spoiled, good, "by-mail.xml", "Li")
        await a_round(bank_worker)
        assert (given.fate, await booked(database_url)) == ("offered", {}), "one person alone applies nothing"
        with pytest.raises(Rejected) as refused:
            await decide(hub, case.id, "replace", by="Wang", note="by mail", named=_file(spoiled.id))
        assert refused.value.code == "bank_file_not_offered"
        await decide(hub, case.id, "replace", by="Wang", note="by mail", named=_file(given.id))
        await a_round(bank_worker)
        found = await files(town)
        assert await booked(database_url) == {7_000: 1}
        assert (found["camt.054-0"].fate, found["camt.054-0"].fate_by) == ("discarded", "Wang")
        hand = next(file for file in found.values() if file.given_by is not None)
        assert (hand.fate, hand.given_by, hand.replaces) == ("applied", "Li", spoiled.id)
        assert hand.sha256 == hashlib.sha256(good).hexdigest()
        bank.says("camt.054", good)
        await read_from_the_beginning(database_url, town, bank, bank_worker)
        assert (await booked(database_url), await waiting(town)) == ({7_000: 1}, [])
        assert (await files(town))["camt.054-1"].repeats == hand.id
        assert await hub.daily_proof().fetch_bank_files(town.front.book, BANK) == 2
        assert await hub.daily_proof().fetch_bank_files(town.front.book, BANK) == 0


async def test_a_file_given_by_hand_that_cannot_be_applied_is_quarantined_like_any(
    database_url: str, tmp_path: Path
) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        hub = town.front.hub
        bank.says("camt.054", b"<Document/>")
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        given = await hub.banks.files.offer((await files(town))["camt.054-0"], b"<No/>", "by-mail.xml", "Li")
        await decide(hub, case.id, "replace", by="Wang", note="by mail", named=_file(given.id))
        for _ in range(2):
            await a_while_later(town, bank_worker)
            (case,) = await waiting(town)
            assert case.about == f"{BANK}:{given.file_id}"
        await decide(hub, case.id, "discard", by="Wang", note="neither is any good")
        assert {file.fate for file in (await files(town)).values()} == {"discarded"}


async def test_a_file_that_was_applied_meanwhile_is_not_decided_about(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, bank_worker):
        bank.says("camt.054", notice(entry("70")))
        bank.forged.add("camt.054-0")
        await all_read(town, bank, bank_worker)
        (case,) = await waiting(town)
        bank.forged.clear()
        await a_while_later(town, bank_worker)
        with pytest.raises(Conflict) as refused:
            await decide(town.front.hub, case.id, "discard", by="Wang", note="never mind")
        assert refused.value.code == "case_decided"


async def test_a_statement_that_is_refused_is_kept_and_replaced_by_hand(database_url: str, tmp_path: Path) -> None:
    async with a_town_with_a_bank(database_url, tmp_path) as (town, bank, _):
        hub, proof = town.front.hub, town.front.hub.daily_proof()
        bank.says("camt.053", b"<Document/>")
        assert await proof.fetch_bank_files(town.front.book, BANK) == 1
        spoiled = (await files(town))["camt.053-0"]
        assert (spoiled.fate, await content(town, "camt.053-0")) == ("quarantined", b"<Document/>")
        (case,) = await waiting(town)
        with pytest.raises(Rejected, match="compared whole"):
            await decide(hub, case.id, "release", by="Wang", note="it is right")
        good = _statement()
        given = await hub.banks.files.offer(spoiled, good, "by-mail.xml", "Li")
        await decide(hub, case.id, "replace", by="Wang", note="by mail", named=_file(given.id))
        assert await proof.fetch_bank_files(town.front.book, BANK) == 1
        found = await files(town)
        assert (found["camt.053-0"].fate, found[given.file_id].fate, await waiting(town)) == (
            "discarded",
            "applied",
            [],
        )


def test_a_files_id_follows_from_the_banks_and_its_hash() -> None:
    one = file_key(1, BANK, "f", "AB")
    assert one == file_key(1, BANK, "f", "ab")
    assert len({one, file_key(2, BANK, "f", "ab"), file_key(1, BANK, "g", "ab"), file_key(1, BANK, "f", "")}) == 4


def _file(ident: str) -> Named:
    return Named("file", ident)


def _statement() -> bytes:
    balance = (
        '<Bal><Tp><CdOrPrtry><Cd>{}</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">0.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
        "<Dt><Dt>2026-11-24</Dt></Dt></Bal>"
    )
    return (
        f'<Document xmlns="{NS}camt.053.001.08"><BkToCstmrStmt><GrpHdr><MsgId>S1</MsgId>'
        f"<CreDtTm>2026-11-24T10:00:00Z</CreDtTm></GrpHdr><Stmt><Id>1</Id><Acct><Id><Othr><Id>poolCNY</Id></Othr></Id>"
        f"</Acct>{balance.format('OPBD')}{balance.format('CLBD')}</Stmt></BkToCstmrStmt></Document>"
    ).encode()
