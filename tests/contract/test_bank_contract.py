"""The bank's contract, over HTTP and by a folder; and each harm that a client could do makes a play fail."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

import channels.banks.client
import channels.banks.signing
import tests.contract.bank_plays as plays
from channels.banks import (
    Accepted,
    BadStatement,
    BankClient,
    FilePage,
    OpensAccounts,
    TellsUploads,
    a_bank,
    pain001,
    read_settings,
)
from channels.banks.drop import DropClient
from channels.contract import Refused, Unknown
from kernel.env import Env
from tests.contract.bank_plays import PLAYS, WAYS, Desk, a_desk

pytestmark = pytest.mark.asyncio(loop_scope="session")


def builder(env: Env) -> Callable[[dict[str, Any]], BankClient]:
    return lambda given: a_bank(read_settings(given), env)


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.__name__)
@pytest.mark.parametrize("way", WAYS)
async def test_every_bank_keeps_the_contract(
    way: str, play: Callable[[Desk], Any], base_url: str, env: Env, http: aiohttp.ClientSession
) -> None:
    desk = await a_desk(way, base_url, http, builder(env))
    assert isinstance(desk.client, DropClient) is (way == "folder")
    assert isinstance(desk.client, OpensAccounts)
    assert isinstance(desk.client, TellsUploads)
    await play(desk)


# ---- harm ------------------------------------------------------------------------------------------------------------


def _believes_every_signature(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(channels.banks.signing, "verify", lambda *_: 0)


def _takes_silence_for_yes(patch: pytest.MonkeyPatch) -> None:
    for kind in (BankClient, DropClient):
        upload = kind.upload

        async def yes(self: BankClient, xml: bytes, upload: Any = upload) -> Any:
            said = await upload(self, xml)
            return Accepted("f", "m", "s", "now") if isinstance(said, Unknown) else said

        patch.setattr(kind, "upload", yes)


def _takes_silence_for_no(patch: pytest.MonkeyPatch) -> None:
    for kind in (BankClient, DropClient):
        upload = kind.upload

        async def no(self: BankClient, xml: bytes, upload: Any = upload) -> Any:
            said = await upload(self, xml)
            return Refused("NO") if isinstance(said, Unknown) else said

        patch.setattr(kind, "upload", no)


def _lists_from_the_beginning(patch: pytest.MonkeyPatch) -> None:
    for kind in (BankClient, DropClient):
        listed = kind.list_files

        async def again(self: BankClient, type: str, after: str | None = None, listed: Any = listed, **how: Any) -> Any:
            return await listed(self, type, None, **how)

        patch.setattr(kind, "list_files", again)


def _passes_one_over(patch: pytest.MonkeyPatch) -> None:
    for kind in (BankClient, DropClient):
        listed = kind.list_files

        async def skips(self: BankClient, type: str, after: str | None = None, listed: Any = listed, **how: Any) -> Any:
            page = await listed(self, type, after, **how)
            second = await listed(self, type, page.next, **how) if page.files and after is not None else page
            return second if second.files else page

        patch.setattr(kind, "list_files", skips)


def _lists_every_type(patch: pytest.MonkeyPatch) -> None:
    for kind in (BankClient, DropClient):
        listed = kind.list_files

        async def all_of(
            self: BankClient, type: str, after: str | None = None, listed: Any = listed, **how: Any
        ) -> Any:
            page: FilePage = await listed(self, type, after, **how)
            return page if page.files else await listed(self, "camt.054", after, **how)

        patch.setattr(kind, "list_files", all_of)


def _forgets_the_hash(patch: pytest.MonkeyPatch) -> None:
    for kind in (BankClient, DropClient):
        fetch = kind.fetch

        async def by_name(self: BankClient, file: Any, fetch: Any = fetch) -> Any:
            return await fetch(self, file if isinstance(file, str) else file.file_id)

        patch.setattr(kind, "fetch", by_name)


def _writes_other_bytes_each_time(patch: pytest.MonkeyPatch) -> None:
    written = []

    def anew(batch: Any) -> bytes:
        written.append(batch)
        return re.sub(rb"<CreDtTm>[^<]*<", f"<CreDtTm>2026-11-24T00:00:{len(written):02d}<".encode(), pain001(batch))

    patch.setattr(plays, "pain001", anew)


def _takes_a_return_for_a_deposit(patch: pytest.MonkeyPatch) -> None:
    read = plays.read_camt054
    patch.setattr(
        plays,
        "read_camt054",
        lambda xml: [replace(one, return_reason=None, coded_return=False) for one in read(xml)],
    )


def _keeps_what_it_does_not_believe(patch: pytest.MonkeyPatch) -> None:
    init = channels.banks.client.BadStatement.__init__

    def without(self: Any, code: str, message: str, content: bytes | None = None) -> None:
        init(self, code, message)

    patch.setattr(channels.banks.client.BadStatement, "__init__", without)


HARMS = (
    _believes_every_signature,
    _takes_silence_for_yes,
    _takes_silence_for_no,
    _lists_from_the_beginning,
    _passes_one_over,
    _lists_every_type,
    _forgets_the_hash,
    _writes_other_bytes_each_time,
    _takes_a_return_for_a_deposit,
    _keeps_what_it_does_not_believe,
)


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__.strip("_"))
@pytest.mark.parametrize("way", WAYS)
async def test_a_planted_harm_makes_a_play_fail(
    way: str,
    harm: Callable[[pytest.MonkeyPatch], None],
    base_url: str,
    env: Env,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plays, "WAIT_S", 2.0)
    harm(monkeypatch)
    for play in PLAYS:
        desk = await a_desk(way, base_url, http, builder(env))
        try:
            await play(desk)
        except (AssertionError, TimeoutError, BadStatement):
            return
    pytest.fail("every play holds all the same")
