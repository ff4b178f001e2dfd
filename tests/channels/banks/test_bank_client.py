"""The bank client against a small bank with its own keys that can be told to misbehave."""

import hashlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from channels.banks import Accepted, BadStatement, Instruction, Order
from channels.banks.iso20022 import BankClient, BankSettings
from channels.banks.iso20022.pain001 import batch_of, pain001
from channels.banks.iso20022.signing import BadSignature, sign, verify
from channels.contract import Refused, Unknown
from channels.http import ANSWER_LIMIT, HttpTransport
from kernel.addresses import LOOPBACK
from kernel.env import Env, system_env
from kernel.errors import Rejected, Unavailable
from kernel.money import Money
from tests.channels.banks.bank_files import camt053, statement

BANK_KEY, OUR_KEY, STRANGERS_KEY = (rsa.generate_private_key(65537, 2048) for _ in range(3))
STATEMENT = camt053(statement("A1", "0.00", "0.00"))


def public_pem(key: rsa.RSAPrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def private_pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


class SmallBank:
    """Answers as the protocol says; `spoil` may change an answer on its way out."""

    def __init__(self) -> None:
        self.uploads: dict[str, int] = {}  # sha256 → how often it came
        self.accounts: dict[str, dict[str, Any]] = {}
        self.spoil: Callable[[web.Request, web.Response], web.StreamResponse | None] = lambda _request, answer: answer

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._front])
        app.router.add_post("/bank/accounts", self._open)
        app.router.add_get("/bank/accounts/{account}", self._account)
        app.router.add_post("/bank/files", self._upload)
        app.router.add_get("/bank/files", self._list)
        app.router.add_get("/bank/files/{file}", self._fetch)
        return app

    @web.middleware
    async def _front(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer the-token":
            return web.json_response({"code": "unauthorized", "message": "who are you?"}, status=401)
        answer = self.spoil(request, await handler(request))
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return answer

    def signed(self, body: bytes, status: int = 200, key: rsa.RSAPrivateKey = BANK_KEY) -> web.Response:
        header = sign(body, key, key_id="BANK-1", created=int(time.time()))
        return web.Response(body=body, status=status, headers={"Bank-Signature": header})

    async def _open(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if asked["currency"] != "CNY":
            return web.json_response({"code": "bad_currency", "message": "CNY only"}, status=422)
        known = asked["reference"] in self.accounts
        account = self.accounts.setdefault(
            asked["reference"], {**asked, "account": f"62{len(self.accounts)}", "status": "open", "balance_minor": 0}
        )
        return web.json_response(account, status=200 if known else 201)

    async def _account(self, request: web.Request) -> web.Response:
        for account in self.accounts.values():
            if account["account"] == request.match_info["account"]:
                return web.json_response(account)
        return web.json_response({"code": "account_not_found", "message": "no such account"}, status=404)

    async def _upload(self, request: web.Request) -> web.Response:
        body = b"".join([piece async for piece in request.content.iter_any()])
        try:
            verify(request.headers.get("Bank-Signature"), body, {"US-1": OUR_KEY.public_key()})
        except BadSignature as error:
            return web.json_response({"code": "bad_signature", "message": error.message}, status=401)
        if not body.startswith(b"<"):
            return web.json_response({"code": "not_xml", "message": "line 1: no XML"}, status=400)
        digest = hashlib.sha256(body).hexdigest()
        self.uploads[digest] = self.uploads.get(digest, 0) + 1
        receipt = {"file_id": "f1", "message_id": "B1", "sha256": digest, "received_at": "2026-11-24T10:00:00.000Z"}
        return self.signed(json.dumps(receipt).encode(), 202)

    async def _list(self, request: web.Request) -> web.Response:
        files = [
            {
                "file_id": f"f{number}",
                "type": request.query["type"],
                "name": f"{number}.xml",
                "business_date": "2026-11-24",
                "created_at": "2026-11-25T00:00:01.000Z",
                "sha256": hashlib.sha256(STATEMENT).hexdigest(),
            }
            for number in (1, 2, 3)
        ]
        after = int(request.query.get("after", 0))
        page = files[after : after + int(request.query["limit"])]
        return web.json_response({"files": page, "next": str(after + len(page))})

    async def _fetch(self, request: web.Request) -> web.Response:
        return self.signed(STATEMENT)


@pytest.fixture
def bank() -> SmallBank:
    return SmallBank()


@pytest.fixture
async def env() -> AsyncIterator[Env]:
    async with HttpTransport(addresses=LOOPBACK) as transport:
        yield system_env(transport)


@pytest.fixture
async def client(bank: SmallBank, env: Env) -> AsyncIterator[BankClient]:
    async with TestServer(bank.app()) as server:
        yield BankClient(
            BankSettings(
                base_url=str(server.make_url("/bank")),
                token="the-token",
                key_id="US-1",
                private_key=private_pem(OUR_KEY),
                bank_keys={"BANK-1": public_pem(BANK_KEY)},
                bic="SBXBCNBJXXX",
                timeout_s=5,
            ),
            env,
        )


async def test_an_account_is_opened_once_however_often_it_is_asked_for(bank: SmallBank, client: BankClient) -> None:
    first = await client.open_account("payee-1", "王小明", "CNY", "sub")
    again = await client.open_account("payee-1", "王小明", "CNY", "sub")
    assert first == again == await client.account(first.account)
    assert (first.name, first.kind, first.balance_minor) == ("王小明", "sub", 0)
    assert len(bank.accounts) == 1


async def test_a_no_of_the_bank_is_told_and_silence_is_not_a_no(bank: SmallBank, client: BankClient) -> None:
    with pytest.raises(Rejected) as no:
        await client.open_account("payee-1", "x", "USD", "sub")
    assert no.value.code == "bank_bad_currency"
    bank.spoil = lambda _request, _answer: None
    with pytest.raises(Unavailable):
        await client.open_account("payee-1", "x", "CNY", "sub")


async def test_an_upload_is_acknowledged_by_a_receipt_the_bank_signed(bank: SmallBank, client: BankClient) -> None:
    accepted = await client.upload(b"<Document/>")
    assert isinstance(accepted, Accepted)
    assert (accepted.file_id, accepted.message_id) == ("f1", "B1")
    assert accepted.sha256 == hashlib.sha256(b"<Document/>").hexdigest()


async def test_a_statement_may_be_longer_than_an_answer(bank: SmallBank, client: BankClient) -> None:
    long = STATEMENT + b" " * ANSWER_LIMIT
    bank.spoil = lambda _request, _answer: bank.signed(long)
    assert await client.fetch("f1") == long
    with pytest.raises(Unavailable, match=r"limit|at most"):
        await client.account("6200")


async def test_an_explicit_no_is_a_refusal(client: BankClient) -> None:
    assert await client.upload(b"not xml") == Refused("not_xml", "line 1: no XML")


async def test_what_a_bank_says_of_its_no_is_text_of_some_length(bank: SmallBank, client: BankClient) -> None:
    """It stands in rows and cases, and on screens."""
    told = {"code": "\x1b[2J\x00" + "x" * 500_000, "message": "\ud800\x07" + "y" * 999}
    bank.spoil = lambda _request, _answer: web.json_response(told, status=400)
    said = await client.upload(b"<x/>")
    assert isinstance(said, Refused)
    assert (said.code[:6], len(said.code), said.message[:3], len(said.message)) == (
        "\ufffd[2J\ufffdx", 100, "\ufffd\ufffdy", 300,
    )  # fmt: skip
    with pytest.raises(Rejected) as no:
        await client.account("1")
    assert str(no.value).isprintable()
    assert len(str(no.value)) < 500


async def test_a_stranger_is_refused(client: BankClient, env: Env) -> None:
    stranger = BankClient(replace(client.settings, private_key=private_pem(STRANGERS_KEY)), env)
    refused = await stranger.upload(b"<Document/>")
    assert isinstance(refused, Refused)
    assert refused.code == "bad_signature"


def _forged(bank: SmallBank) -> Callable[[web.Request, web.Response], web.StreamResponse]:
    return lambda _request, answer: bank.signed(_body(answer), answer.status, STRANGERS_KEY)


def _body(answer: web.Response) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body


def _unsigned(_request: web.Request, answer: web.Response) -> web.Response:
    return web.Response(body=_body(answer), status=answer.status)


def _altered(_request: web.Request, answer: web.Response) -> web.Response:
    return web.Response(
        body=_body(answer) + b" ", status=answer.status, headers={"Bank-Signature": answer.headers["Bank-Signature"]}
    )


@pytest.mark.parametrize("status", [200, 302, 404, 408, 429, 500, 503])
async def test_any_unclear_answer_to_an_upload_leaves_its_fate_open(
    bank: SmallBank, client: BankClient, status: int
) -> None:
    bank.spoil = lambda _request, _answer: web.Response(status=status)
    outcome = await client.upload(b"<Document/>")
    assert isinstance(outcome, Unknown)
    assert not outcome.not_sent
    assert bank.uploads  # it was in fact executed: calling it a failure would have paid twice


async def test_silence_leaves_an_uploads_fate_open_and_sending_the_same_bytes_settles_it(
    bank: SmallBank, client: BankClient
) -> None:
    bank.spoil = lambda _request, _answer: None
    silent = await client.upload(b"<Document/>")
    assert isinstance(silent, Unknown)
    assert not silent.not_sent
    bank.spoil = lambda _request, answer: answer
    assert isinstance(await client.upload(b"<Document/>"), Accepted)
    assert list(bank.uploads.values()) == [2]


async def test_a_bank_that_cannot_be_reached_provably_did_nothing(client: BankClient, env: Env) -> None:
    nowhere = BankClient(replace(client.settings, base_url="http://127.0.0.1:1/bank"), env)
    outcome = await nowhere.upload(b"<Document/>")
    assert isinstance(outcome, Unknown)
    assert outcome.not_sent


def names_in(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


async def test_a_long_order_goes_out_from_the_disk_and_leaves_nothing_there(
    client: BankClient, bank: SmallBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lines = [Instruction(f"l-{n}", "6201", "茶农", Money(n + 1, "CNY"), "tea " * 9) for n in range(9_000)]
    order = Order("B1", "6200", "tea", date(2026, 11, 24), lines, datetime(2026, 11, 24, 9, tzinfo=UTC))
    sent = pain001(batch_of(order, client.settings.bic))
    assert len(sent) > 2 << 20
    for _ in range(2):
        assert isinstance(await client.submit(order), Accepted)
    assert bank.uploads == {hashlib.sha256(sent).hexdigest(): 2}
    assert names_in(tmp_path) == []


async def test_an_order_that_finds_no_room_on_the_disk_was_not_sent(
    client: BankClient, bank: SmallBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    outcome = await client.upload(b"<Document/>")
    assert isinstance(outcome, Unknown)
    assert outcome.not_sent
    assert not bank.uploads


async def test_a_receipt_nobody_trusted_signed_is_no_receipt(bank: SmallBank, client: BankClient) -> None:
    for spoil in (_forged(bank), _unsigned, _altered):
        bank.spoil = spoil
        assert isinstance(await client.upload(b"<Document/>"), Unknown)


async def test_a_true_receipt_of_another_upload_is_no_receipt(bank: SmallBank, client: BankClient) -> None:
    kept: list[web.Response] = []
    bank.spoil = lambda _request, answer: (kept.append(answer), answer)[1]
    await client.upload(b"<Document>1</Document>")
    bank.spoil = lambda _request, _answer: web.Response(
        body=_body(kept[0]), status=202, headers={"Bank-Signature": kept[0].headers["Bank-Signature"]}
    )
    assert isinstance(await client.upload(b"<Document>2</Document>"), Unknown)


async def test_files_are_listed_page_by_page_and_fetched_as_the_bank_signed_them(client: BankClient) -> None:
    page = await client.list_files("camt.053", limit=2)
    rest = await client.list_files("camt.053", page.next, limit=2)
    nothing = await client.list_files("camt.053", rest.next, limit=2)
    assert [file.file_id for file in (*page.files, *rest.files)] == ["f1", "f2", "f3"]
    assert nothing.files == ()
    assert nothing.next == rest.next
    assert page.files[0].business_date == date(2026, 11, 24)
    assert await client.fetch(page.files[0]) == STATEMENT
    assert await client.fetch("f1") == STATEMENT


async def test_a_file_that_is_not_signed_by_the_bank_is_refused(bank: SmallBank, client: BankClient) -> None:
    codes = []
    for spoil in (_forged(bank), _unsigned, _altered):
        bank.spoil = spoil
        with pytest.raises(BadStatement) as caught:
            await client.fetch("f1")
        codes.append(caught.value.code)
    assert codes == ["signature_forged", "signature_unsigned", "signature_forged"]


async def test_another_signed_file_cannot_stand_in_for_the_listed_one(bank: SmallBank, client: BankClient) -> None:
    listed = (await client.list_files("camt.053")).files[0]
    bank.spoil = lambda _request, _answer: bank.signed(STATEMENT + b"\n")
    with pytest.raises(BadStatement) as caught:
        await client.fetch(listed)
    assert caught.value.code == "other_file"


async def test_a_list_that_cannot_be_read_is_asked_for_again(bank: SmallBank, client: BankClient) -> None:
    for body in (
        b"[]",
        b"{}",
        b'{"files": {}, "next": "1"}',
        b"<html>",
        b'{"files": 7, "next": "1"}',
        b'{"files": []}',
    ):
        bank.spoil = lambda _request, _answer, body=body: web.Response(body=body)  # type: ignore[misc]
        with pytest.raises(Unavailable):
            await client.list_files("camt.053")


async def test_a_list_may_be_longer_than_other_answers(bank: SmallBank, client: BankClient) -> None:
    one = json.dumps({"file_id": "f" * 200, "type": "camt.053", "business_date": "2026-11-24", "sha256": "0" * 64})
    body = f'{{"files": [{", ".join([one] * 10_000)}], "next": "1"}}'.encode()
    bank.spoil = lambda _request, _answer: web.Response(body=body)
    assert len((await client.list_files("camt.053")).files) == 10_000


# ---- the header itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("unsigned", lambda header: None),
        ("unsigned", lambda header: ""),
        ("malformed", lambda header: header.replace('keyid="US-1",', "")),
        ("malformed", lambda header: header + ',extra="1"'),
        ("malformed", lambda header: header + ',keyid="US-1"'),
        ("malformed", lambda header: header.replace('created="1', 'created="-1')),
        ("wrong_algorithm", lambda header: header.replace("rsa-v1_5-sha256", "none")),
        ("unknown_key", lambda header: header.replace("US-1", "US-2")),
        ("forged", lambda header: header.replace('created="17', 'created="18')),
        ("forged", lambda header: header.replace('sig="', 'sig="AAAA')),
        ("forged", lambda header: header.replace('sig="', 'sig="*')),
    ],
)
def test_only_a_whole_and_fitting_signature_counts(code: str, change: Callable[[str], str | None]) -> None:
    header = sign(b"body", OUR_KEY, key_id="US-1", created=1_764_000_000)
    keys = {"US-1": OUR_KEY.public_key()}
    assert verify(header, b"body", keys) == 1_764_000_000
    with pytest.raises(BadSignature) as caught:
        verify(change(header), b"body", keys)
    assert caught.value.code == code


def test_settings_do_not_show_their_secrets(client: BankClient) -> None:
    shown = repr(client.settings)
    assert "the-token" not in shown
    assert "PRIVATE KEY" not in shown
