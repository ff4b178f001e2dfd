"""The banks' contract, over HTTP, by a folder and by a direct link; and each harm of a client makes a play fail."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import aiohttp
import pytest

import channels.banks.cmb.sm
import channels.banks.iso20022.client
import channels.banks.iso20022.signing
import tests.contract.bank_plays as plays
from channels.banks import (
    Accepted,
    BadStatement,
    Bank,
    Fate,
    FilePage,
    Kind,
    OpensAccounts,
    RecallsPayments,
    RecallVerdict,
    StatusReport,
    TellsUploads,
    a_bank,
)
from channels.banks.cmb import CmbClient
from channels.banks.iso20022 import BankClient, DropClient
from channels.contract import Refused, Unknown
from kernel.env import Env
from kernel.errors import Unavailable
from tests.contract.bank_plays import PLAYS, WAYS, Desk, a_desk

pytestmark = pytest.mark.asyncio(loop_scope="session")
CLIENTS: tuple[Any, ...] = (BankClient, DropClient, CmbClient)
OF = {"http": BankClient, "folder": DropClient, "cmb": CmbClient}


def builder(env: Env) -> Callable[[dict[str, Any]], Bank]:
    return lambda given: a_bank(given, env)


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.__name__)
@pytest.mark.parametrize("way", WAYS)
async def test_every_bank_keeps_the_contract(
    way: str, play: Callable[[Desk], Any], base_url: str, env: Env, http: aiohttp.ClientSession
) -> None:
    desk = await a_desk(way, base_url, http, builder(env))
    assert type(desk.client) is OF[way]
    assert isinstance(desk.client, OpensAccounts) is (way != "cmb")
    assert isinstance(desk.client, TellsUploads)
    assert isinstance(desk.client, RecallsPayments) is (way != "cmb")
    assert set(desk.client.types) == set(Kind) - ({Kind.RESOLUTION} if way == "cmb" else set())
    await play(desk)


# ---- harm ------------------------------------------------------------------------------------------------------------


def _believes_every_signature(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(channels.banks.iso20022.signing, "verify", lambda *_: 0)
    patch.setattr(channels.banks.cmb.sm, "verify", lambda *_: True)


def _takes_silence_for(answer: Any) -> Callable[[pytest.MonkeyPatch], None]:
    def harm(patch: pytest.MonkeyPatch) -> None:
        for kind in CLIENTS:
            submit = kind.submit

            async def said(self: Any, order: Any, submit: Any = submit) -> Any:
                found = await submit(self, order)
                return answer if isinstance(found, Unknown) else found

            patch.setattr(kind, "submit", said)

    return harm


def _takes_silence_for_yes(patch: pytest.MonkeyPatch) -> None:
    _takes_silence_for(Accepted("f", "m", "s", "now"))(patch)


def _takes_silence_for_no(patch: pytest.MonkeyPatch) -> None:
    _takes_silence_for(Refused("NO"))(patch)


def _lists_from_the_beginning(patch: pytest.MonkeyPatch) -> None:
    for kind in CLIENTS:
        listed = kind.list_files

        async def again(self: Any, type: str, after: str | None = None, listed: Any = listed, **how: Any) -> Any:
            return await listed(self, type, None, **how)

        patch.setattr(kind, "list_files", again)


def _passes_one_over(patch: pytest.MonkeyPatch) -> None:
    for kind in (BankClient, DropClient):
        listed = kind.list_files

        async def skips(self: Any, type: str, after: str | None = None, listed: Any = listed, **how: Any) -> Any:
            page = await listed(self, type, after, **how)
            second = await listed(self, type, page.next, **how) if page.files and after is not None else page
            return second if second.files else page

        patch.setattr(kind, "list_files", skips)
    rows = channels.banks.cmb.messages.rows
    patch.setattr(
        channels.banks.cmb.messages,
        "rows",
        lambda response, name: rows(response, name)[name == "TRANSQUERYBYBREAKPOINT_Z2" :],
    )


def _lists_every_type(patch: pytest.MonkeyPatch) -> None:
    for kind in CLIENTS:
        listed = kind.list_files

        async def all_of(self: Any, type: str, after: str | None = None, listed: Any = listed, **how: Any) -> Any:
            page: FilePage = await listed(self, type, after, **how)
            return page if page.files else await listed(self, self.types[Kind.NOTICE], after, **how)

        patch.setattr(kind, "list_files", all_of)


def _forgets_the_hash(patch: pytest.MonkeyPatch) -> None:
    for kind in CLIENTS:
        fetch = kind.fetch

        async def by_name(self: Any, file: Any, fetch: Any = fetch) -> Any:
            return await fetch(self, file if isinstance(file, str) else file.file_id)

        patch.setattr(kind, "fetch", by_name)


def _gives_another_order_each_time(patch: pytest.MonkeyPatch) -> None:
    written = count(1)
    for kind in CLIENTS:
        submit = kind.submit

        async def anew(self: Any, order: Any, submit: Any = submit) -> Any:
            return await submit(self, replace(order, debtor_name=f"desk {next(written)}"))

        patch.setattr(kind, "submit", anew)
    asked = CmbClient._batches

    async def nothing(self: Any, message_id: str | None = None) -> Any:  # gives again what it does not ask for
        return {} if message_id is not None else await asked(self, message_id)

    patch.setattr(CmbClient, "_batches", nothing)


def _takes_a_return_for_a_deposit(patch: pytest.MonkeyPatch) -> None:
    read = plays.read_notice
    patch.setattr(
        plays,
        "read_notice",
        lambda *how: [replace(one, return_reason=None, coded_return=False) for one in read(*how)],
    )


def _believes_answers_to_other_questions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("channels.banks.cmb.wire._reqid", lambda *_: "20000101000000000x")


def _keeps_what_it_does_not_believe(patch: pytest.MonkeyPatch) -> None:
    init = BadStatement.__init__

    def without(self: Any, code: str, message: str, content: bytes | None = None) -> None:
        init(self, code, message)

    patch.setattr(BadStatement, "__init__", without)


def _takes_what_is_not_final_for_paid(patch: pytest.MonkeyPatch) -> None:
    known = StatusReport.fate_of

    def paid(self: StatusReport, end_to_end_id: str) -> Any:
        found = known(self, end_to_end_id)
        return replace(found, said=Fate.EXECUTED) if found is not None and found.fate is Fate.PENDING else found

    patch.setattr(StatusReport, "fate_of", paid)


def _takes_every_answer_to_a_recall_for_yes(patch: pytest.MonkeyPatch) -> None:
    read = plays.read_resolution
    patch.setattr(plays, "read_resolution", lambda *how: replace(read(*how), verdict=RecallVerdict.ACCEPTED))


def _recalls_anew_each_time(patch: pytest.MonkeyPatch) -> None:
    written, ask = count(1), BankClient.recall

    async def anew(self: Any, request: Any) -> Any:
        return await ask(self, replace(request, note=f"the {next(written)}th time"))

    patch.setattr(BankClient, "recall", anew)


OF_FILES = (
    _takes_every_answer_to_a_recall_for_yes,
    _recalls_anew_each_time,
    _keeps_what_it_does_not_believe,
    _takes_what_is_not_final_for_paid,
)  # what only banks with files can do, and only the direct link
OF_THE_LINK = (_believes_answers_to_other_questions,)
HARMS = (
    _believes_every_signature,
    _takes_silence_for_yes,
    _takes_silence_for_no,
    _lists_from_the_beginning,
    _passes_one_over,
    _lists_every_type,
    _forgets_the_hash,
    _gives_another_order_each_time,
    _takes_a_return_for_a_deposit,
)
PLANTED = [
    (way, harm)
    for way in WAYS
    for harm in (*HARMS, *(OF_THE_LINK if way == "cmb" else OF_FILES))
    if (way, harm) != ("cmb", _lists_every_type)
]


@pytest.mark.parametrize(("way", "harm"), PLANTED, ids=lambda one: getattr(one, "__name__", one).strip("_"))
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
        except (AssertionError, TimeoutError, BadStatement, Unavailable, pytest.fail.Exception):
            return
    pytest.fail("every play holds all the same")
