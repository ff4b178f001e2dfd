"""A folder in which somebody else writes what he likes: nothing waits for it, and nothing is believed unsigned."""

import asyncio
import json
import os
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from channels.banks import Accepted, BadStatement, FileInfo, Instruction, Order
from channels.banks.iso20022 import BankSettings, DropClient
from channels.banks.iso20022.signing import sign
from channels.contract import Refused, Unknown
from kernel.env import Env, system_env
from kernel.errors import Unavailable
from kernel.money import Money
from tests.channels.banks.bank_files import camt054, entry
from tests.channels.banks.test_bank_client import BANK_KEY, OUR_KEY, STRANGERS_KEY, private_pem, public_pem

NOTICE = camt054("A1", entry("R1", "1.00", credit=True))
ORDER = Order(
    "B1", "61", "pool", date(2026, 11, 24), [Instruction("L1", "62", "payee", Money(100, "CNY"))],
    datetime(2026, 11, 24, 1, tzinfo=UTC),
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("in", "out/receipts"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def env() -> Env:
    return system_env(threads=1)  # so that whatever blocks one blocks all


@pytest.fixture
def client(folder: Path, env: Env) -> DropClient:
    return DropClient(
        BankSettings(
            "http://127.0.0.1:1", "the-token", "US-1", private_pem(OUR_KEY), {"BANK-1": public_pem(BANK_KEY)},
            "SBXBCNBJXXX", drop_dir=str(folder),
        ),
        env,
    )  # fmt: skip


def name(number: int, type: str = "camt.054", ident: str = "F") -> str:
    return f"{number:012d}_{type}_20261124_{ident}.xml"


def put(folder: Path, named: str, content: bytes = NOTICE, key: Any = BANK_KEY, at: int | None = None) -> Path:
    path = folder / "out" / named
    path.write_bytes(content)
    header = sign(content, key, key_id="BANK-1", created=at or int(time.time()))
    path.with_name(f"{path.name}.sig").write_text(header)
    return path


async def listed(client: DropClient, after: str | None = None, **how: Any) -> list[FileInfo]:
    async with asyncio.timeout(5):
        return list((await client.list_files("camt.054", after, **how)).files)


async def refused(client: DropClient, info: FileInfo) -> str:
    async with asyncio.timeout(5):
        with pytest.raises(BadStatement) as why:
            await client.fetch(info)
    return why.value.code


async def test_what_is_no_file_is_not_listed_or_cannot_be_had_and_nothing_waits_for_it(
    client: DropClient, folder: Path
) -> None:
    out = folder / "out"
    os.mkfifo(out / name(1))
    (out / name(2)).symlink_to("/etc/hostname")
    (out / name(3)).mkdir()
    for number in (4, 5, 6):
        put(folder, name(number)).with_name(f"{name(number)}.sig").unlink()
    os.mkfifo(out / f"{name(4)}.sig")
    (out / f"{name(5)}.sig").symlink_to("/dev/zero")
    (out / f"{name(6)}.sig").write_bytes(b"x" * 10_000)
    put(folder, name(7))
    found = await listed(client)
    assert [info.file_id for info in found] == [name(number) for number in (4, 5, 6, 7)]
    assert [await refused(client, info) for info in found[:3]] == ["no_file", "unreadable", "too_big"]
    assert await client.fetch(found[3]) == NOTICE


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read_keeps_no_other_from_being_read(client: DropClient, folder: Path) -> None:
    put(folder, name(1)).chmod(0)
    put(folder, name(2))
    first, second = await listed(client)
    assert await refused(client, first) == "unreadable"
    assert await client.fetch(second) == NOTICE


async def test_a_file_that_goes_while_it_is_listed_keeps_no_other_from_being_listed(
    client: DropClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        put(folder, name(number))
    look = DropClient._info

    def late(self: DropClient, named: str, match: Any) -> FileInfo | None:
        (folder / "out" / name(1)).unlink(missing_ok=True)
        return look(self, named, match)

    monkeypatch.setattr(DropClient, "_info", late)
    assert [info.file_id for info in await listed(client)] == [name(2)]


async def test_files_of_strange_names_take_no_place_of_those_that_are_read(client: DropClient, folder: Path) -> None:
    for number in range(120):
        (folder / "out" / f"! {number} \x1b[2J.xml").write_bytes(b"x")
    strange = (name(1).upper(), name(2).replace("_F", "_. F"), name(3).replace("1124", "1399"))
    for one in strange:
        (folder / "out" / one).write_bytes(b"x")
    put(folder, name(4))
    found = await listed(client, limit=100)
    assert [info.file_id for info in found if not info.odd] == [name(4)]
    odd = [info for info in found if info.odd]
    assert len({info.file_id for info in odd}) == 123
    assert all(info.name.isprintable() for info in odd)
    assert await refused(client, odd[0]) == "listed_oddly"
    assert not (await client.list_files("pain.002", None)).files, "they are listed once"


async def test_two_files_of_one_number_are_both_listed(client: DropClient, folder: Path) -> None:
    for ident in "ABC":
        put(folder, name(1, ident=ident))
    put(folder, name(2))
    page = await client.list_files("camt.054", None, limit=2)
    assert ([info.file_id[-5] for info in page.files], page.next) == (["A", "B", "C"], "1")


async def test_what_was_passed_is_not_read_again_to_be_listed(
    client: DropClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder may hold every file of a year."""
    for number in range(1, 5):
        put(folder, name(number))
        put(folder, name(number, "camt.053"))
    looked: list[str] = []
    look = DropClient._info

    def counted(self: DropClient, named: str, match: Any) -> FileInfo | None:
        looked.append(named)
        return look(self, named, match)

    monkeypatch.setattr(DropClient, "_info", counted)
    assert len(await listed(client, "3")) == 1
    assert looked == [name(4)]


async def test_a_file_that_was_listed_while_it_was_written_is_had_anew(client: DropClient, folder: Path) -> None:
    path = put(folder, name(1))
    path.write_bytes(NOTICE[:100])
    (half,) = await listed(client)
    assert await refused(client, half) == "signature_forged"
    path.write_bytes(NOTICE)
    assert await refused(client, half) == "other_file"
    assert await client.fetch_anew(half) == NOTICE
    put(folder, name(1), NOTICE, STRANGERS_KEY)
    with pytest.raises(BadStatement):
        await client.fetch_anew(half)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", f"../{name(1)}", "..", f"{name(1)}\n"])
async def test_no_name_leads_out_of_the_folder(client: DropClient, folder: Path, path: str) -> None:
    with pytest.raises(BadStatement) as why:
        await client.fetch(path)
    assert why.value.code == "listed_oddly"
    assert await client._receipt_of(path) == (None, 0)


def plant(path: Path, what: str) -> None:
    if what == "pipe":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()


def receipt(folder: Path, said: Any, *, key: Any = BANK_KEY, at: int | None = None) -> Path:
    return put(folder, "receipts/B1.json", json.dumps(said).encode(), key, at)


async def test_an_order_is_put_into_no_file_of_somebody_elses(client: DropClient, folder: Path) -> None:
    precious = folder / "precious"
    precious.write_text("mine")
    for named in (".B1.xml.part", ".B1.xml.sig.part", "B1.xml.sig"):
        (folder / "in" / named).symlink_to(precious)
    async with asyncio.timeout(5):
        assert isinstance(await client.submit(ORDER), Unknown)
    assert precious.read_text() == "mine"
    assert (folder / "in" / "B1.xml").read_bytes().startswith(b"<?xml")
    assert not (folder / "in" / "B1.xml.sig").is_symlink()


@pytest.mark.parametrize("what", ["pipe", "link", "folder"])
async def test_what_lies_where_an_order_would_be_put_is_not_waited_for(
    client: DropClient, folder: Path, what: str
) -> None:
    plant(folder / "in" / "B1.xml", what)
    async with asyncio.timeout(5):
        said = await client.submit(ORDER)
    assert said == Unknown("another file lies there under its name")


@pytest.mark.parametrize("what", ["pipe", "link", "folder", "not signed", "a stranger's", "no receipt"])
async def test_a_receipt_that_cannot_be_believed_says_neither_yes_nor_no(
    client: DropClient, folder: Path, what: str
) -> None:
    """An order of which the bank is said to have nothing would be given back."""
    if what == "not signed":
        receipt(folder, {"refused": "AC01"}).with_name("B1.json.sig").unlink()
    elif what == "a stranger's":
        receipt(folder, {"refused": "AC01"}, key=STRANGERS_KEY)
    elif what == "no receipt":
        receipt(folder, ["refused"])
    else:
        plant(folder / "out" / "receipts" / "B1.json", what)
    async with asyncio.timeout(5):
        assert isinstance(await client.submit(ORDER), Unknown)
        with pytest.raises(Unavailable):
            await client.uploads("B1")


async def test_only_the_banks_word_or_an_empty_folder_says_that_it_has_nothing(
    client: DropClient, folder: Path
) -> None:
    assert await client.uploads("B1") == ()
    (folder / "in" / "B1.xml").write_bytes(b"x")
    with pytest.raises(Unavailable):
        await client.uploads("B1")
    receipt(folder, {"refused": "AC01", "message": "no"})
    assert await client.uploads("B1") == ()
    (folder / "out" / "receipts").rename(folder / "elsewhere")  # the share is not mounted
    (folder / "in").rename(folder / "elsewhere too")
    with pytest.raises(Unavailable):
        await client.uploads("B1")


async def test_what_a_receipt_says_is_text(client: DropClient, folder: Path) -> None:
    receipt(folder, {"refused": "\x1b[2J\x00\ud800" + "x" * 999, "message": "y" * 9_999})
    said = await client.submit(ORDER)
    assert isinstance(said, Refused)
    assert (said.code[:7], len(said.code), len(said.message)) == ("\ufffd[2J\ufffd\ufffdx", 100, 300)
    receipt(folder, {"file_id": 17, "message_id": "B1", "sha256": "0" * 64, "received_at": 1})
    (has,) = await client.uploads("B1")
    assert has == Accepted("17", "B1", "0" * 64, "1")


async def test_a_refusal_of_before_an_order_was_sent_again_is_over(client: DropClient, folder: Path) -> None:
    now = int(time.time())
    receipt(folder, {"refused": "AC01"}, at=now - 60)
    assert isinstance(await client.submit(ORDER), Refused)
    again = replace(ORDER, again_since=datetime.now(UTC))
    assert isinstance(await client.submit(again), Unknown)
    assert (folder / "in" / "B1.xml").exists()
    receipt(folder, {"refused": "AC04"}, at=now + int(timedelta(minutes=1).total_seconds()))
    assert await client.submit(again) == Refused("AC04", "")
