"""No secret of any rail or bank stands in the database, in the hub's home or in a log, whatever is done with it.

A hub takes an account with every rail of the registry at the sandbox, takes payments over each, gives one back, rotates
credentials and refuses bad ones; and it is linked to a bank, has it open an account, and rotates there too. Then every
table is dumped as text, every file of the home is read, all that was logged is gathered, and all of it is searched for
every secret: as it is, in hexadecimal and in Base64. A hub that does not seal is caught by that search.
"""

import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp.test_utils import TestServer, unused_port

import gateway.accounts.credentials
import splitting.banks.enrolment
from channels import CHANNELS, Method, Pending
from channels.banks import SECRETS as BANKS_SECRETS
from channels.registry import secrets_of
from gateway.accounts.terms import Terms
from gateway.api.app import make_app
from gateway.merchants.merchants import NewMerchant
from kernel.env import Env, system_env
from kernel.errors import Rejected
from ops.reseal import reseal
from ops.wiring import Hub, hub
from tests.contract.counterparties import COUNTERPARTIES, Counterparty, Payer
from tests.contract.plays import facts

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHORTEST = 12  # a line of a key that is shorter could stand anywhere by chance


# ---- what must not be found ------------------------------------------------------------------------------------------


def secrets_in(settings: Mapping[str, Any], names: Collection[str]) -> dict[str, str]:
    """Return the secrets of these names by name, and every private key in the files beside their own."""
    found: dict[str, str] = {}
    for name in names:
        value = settings.get(name)
        for n, text in enumerate(value if isinstance(value, list) else [value]):
            if text:
                found[f"{name}.{n}"] = text
        if settings.get(f"{name}_file"):
            found[f"{name} of its file"] = Path(settings[f"{name}_file"]).read_text()
    folders = {Path(value).parent for name, value in settings.items() if name.endswith("_file") and value}
    for folder in folders:
        for path in folder.iterdir():
            if path.is_file() and b"PRIVATE KEY" in path.read_bytes():
                found[str(path)] = path.read_text()
    return found


def forms(text: str) -> Iterator[bytes]:
    """Yield what a secret could be recognised by: it, and each longer line of it, in several spellings."""
    for line in {text.strip(), *text.split()}:
        if len(line) < SHORTEST or line.startswith("-----"):
            continue
        plain = line.encode()
        yield plain
        yield plain.hex().encode()
        for shift in range(3):  # whatever stood before it
            yield b64encode(b"\0" * shift + plain)[4 : len(plain)]


def leaks(secrets: Mapping[str, str], where: Mapping[str, bytes]) -> set[str]:
    """Return which secret was found where."""
    return {
        f"{name} in {place}"
        for name, text in secrets.items()
        for form in set(forms(text))
        for place, content in where.items()
        if len(form) >= SHORTEST and form in content
    }


# ---- a hub that does everything --------------------------------------------------------------------------------------


@dataclass
class Scene:
    """One merchant with an account at every rail."""

    hub: Hub
    merchant: NewMerchant
    http: aiohttp.ClientSession
    url: str
    database_url: str
    home: Path
    access_log: list[Any]
    calls: int = 0
    secrets: dict[str, str] = field(default_factory=dict)

    async def open(self, base_url: str, rail: str) -> Counterparty:
        other = COUNTERPARTIES[rail](base_url, self.http)
        await other.open_account()
        book = self.merchant.book
        await self.hub.channel_admin.add(book, rail, rail, other.settings(), terms=Terms(), folder=Path())
        if not facts(rail).capabilities.per_order_notices:
            before = dict(other.account)
            await other.register_notices(self.hub.payments.notify_url(book, rail, rail))
            gained = {name: value for name, value in other.account.items() if before.get(name) != value}
            await self.hub.channel_admin.rotate(book, rail, gained, folder=Path())
        self.secrets |= {
            f"{rail}: {name}": text for name, text in secrets_in(other.settings(), secrets_of(rail)).items()
        }
        return other

    async def link_bank(self, base_url: str) -> dict[str, Any]:
        """Become a customer of the sandbox's bank, and link it as operators do; return what the bank gave."""
        for bank, kind in (("link", "cmb"), ("sbx", "bank")):
            async with self.http.post(f"{base_url}/control/{kind}/customers", json={"name": "tea"}) as answer:
                given: dict[str, Any] = await answer.json()
            await self.hub.merchants.link_bank(self.merchant.book, bank, given, name="pool", currency="CNY")
            found = secrets_in(given, BANKS_SECRETS).items()
            of = " of the link" if kind == "cmb" else ""
            self.secrets |= {f"bank: {name}{of}": text for name, text in found}
        return given

    async def pay(self, other: Counterparty, method: Method) -> dict[str, Any]:
        """Have one payment paid and told of by notice or by asking; return it."""
        how: dict[str, str] = {"type": method, "channel": other.RAIL}
        if method is Method.CARD:
            how["token"] = other.token(Payer.PAYS)
        if method is Method.JSAPI:
            how["payer"] = other.payer()
        if method in (Method.CARD, Method.PAGE):
            how["return_url"] = "https://shop.example/back"
        currencies = facts(other.RAIL).capabilities.currencies
        body = {
            "merchant_order_id": f"{other.RAIL}-{method}",
            "amount": 1234,
            "currency": "CNY" if "CNY" in currencies else min(currencies),
            "description": "tea",
            "method": how,
        }
        paid = await self.call("POST", "/v1/payments", body)
        action = paid["next_action"]
        attempt = (await self.call("GET", f"/v1/payments/{paid['id']}"))["attempts"][0]
        if action is not None:
            if method in facts(other.RAIL).known_after_payer:
                await other.come(_Shown(method), Pending(action))  # type: ignore[arg-type]
            await other.pay(attempt["reference"])
        for _ in range(200):
            paid = await self.call("GET", f"/v1/payments/{paid['id']}")
            if paid["status"] == "succeeded":
                return paid
            assert paid["status"] in ("requires_action", "processing"), paid
            await self.hub.env.sleep(0.05)
            await self.hub.janitor().once()
        raise AssertionError(f"never paid: {paid}")

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        self.calls += 1
        headers = {"Authorization": f"Bearer {self.merchant.api_key}", "Idempotency-Key": f"call-{self.calls}"}
        async with self.http.request(method, self.url + path, json=body, headers=headers) as answer:
            said = await answer.json()
            assert answer.status < 300, said
            return said

    async def everything(self, caplog: pytest.LogCaptureFixture) -> dict[str, bytes]:
        """Return what may be read by others than the hub: all tables, all files of its home, all that was logged."""
        files = {str(path): path.read_bytes() for path in self.home.rglob("*") if path.is_file()}
        return await self.dump() | files | {"the log": logged(caplog), "the access log": str(self.access_log).encode()}

    async def dump(self) -> dict[str, bytes]:
        """Return every table of the database as COPY writes it."""
        connection = await asyncpg.connect(self.database_url)
        try:
            tables = await connection.fetch(
                "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relkind IN ('r', 'm') AND n.nspname = 'public'"
            )
            found = {}
            for (table,) in tables:
                text = BytesIO()
                await connection.copy_from_query(f"SELECT * FROM {table}", output=text)
                found[table] = text.getvalue()
            return found
        finally:
            await connection.close()


@dataclass(frozen=True)
class _Shown:
    """As much of an order as a payer's device needs to know."""

    method: Method


@asynccontextmanager
async def a_scene(database_url: str, home: Path, env: Env, http: aiohttp.ClientSession) -> AsyncIterator[Scene]:
    """Open a hub that the sandbox can reach."""
    url = f"http://127.0.0.1:{(port := unused_port())}"
    lines: list[Any] = []
    async with (
        hub(
            database_url=database_url,
            redis_url=None,
            home=home,
            public_url=url,
            env=system_env(env.transport),
            time_scale=0.01,
        ) as objects,
        TestServer(make_app(objects.api(lines.append)), port=port),
    ):
        merchant = await objects.merchants.add("tea", currencies=["CNY"])
        yield Scene(objects, merchant, http, url, database_url, home, lines)


def logged(caplog: pytest.LogCaptureFixture) -> bytes:
    """Return everything that was logged, with exceptions and with what stands beside the messages."""
    formatter = logging.Formatter()
    lines = [f"{formatter.format(record)} {record.__dict__}" for record in caplog.records]
    return "\n".join(lines).encode()


# ---- the proof -------------------------------------------------------------------------------------------------------


async def test_no_secret_of_any_rail_or_bank_is_in_the_database_in_the_home_or_in_a_log(
    database_url: str, tmp_path: Path, env: Env, http: aiohttp.ClientSession, base_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    async with a_scene(database_url, tmp_path, env, http) as scene:
        book, admin = scene.merchant.book, scene.hub.channel_admin
        for rail in sorted(CHANNELS):
            other = await scene.open(base_url, rail)
            paid = await scene.pay(other, facts(rail).main)
            await scene.call("POST", f"/v1/payments/{paid['id']}/refunds", {"amount": 34})
            await admin.rotate(book, rail, other.settings(), folder=Path())
            with pytest.raises(Rejected) as refused:  # what a rail complains about must not hold what it was given
                await admin.rotate(book, rail, dict.fromkeys(secrets_of(rail)), folder=Path())
            logging.info("refused", exc_info=refused.value)
        bank = await scene.link_bank(base_url)
        await scene.hub.payees.add_platform(book, name="platform", currency="CNY", bank="sbx")
        await scene.hub.banks.rotate(book, "sbx", {"token_file": bank["token_file"]}, folder=Path())
        with pytest.raises(Rejected) as refused:
            await scene.hub.banks.rotate(
                book, "sbx", {"private_key": f"{scene.secrets['bank: token of its file']}."}, folder=Path()
            )
        logging.info("refused", exc_info=refused.value)
        await reseal(scene.hub, new_key=True, retire=True)
        await scene.hub.bank_worker().once()
        assert len(scene.secrets) >= len(CHANNELS) + len(BANKS_SECRETS)
        everything = await scene.everything(caplog)
    assert sum(map(len, everything.values())) > 20_000
    assert leaks(scene.secrets, everything) == set()


async def test_a_hub_that_does_not_seal_is_caught_with_every_secret_of_every_rail_and_of_the_bank(
    database_url: str, tmp_path: Path, env: Env, http: aiohttp.ClientSession, base_url: str,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def in_the_clear(plain: bytes, *_: Any, label: Mapping[str, Any]) -> str:
        return json.dumps({"v": 1, "key": "mk", "wrapped": "", "sealed": plain.decode(), "label": label})

    for sealing in (gateway.accounts.credentials, splitting.banks.enrolment):
        monkeypatch.setattr(sealing, "seal", in_the_clear)
        monkeypatch.setattr(sealing, "unseal", lambda text, *_: json.loads(text)["sealed"].encode())
    async with a_scene(database_url, tmp_path, env, http) as scene:
        for rail in sorted(CHANNELS):
            await scene.open(base_url, rail)
        await scene.link_bank(base_url)
        found = leaks(scene.secrets, await scene.everything(caplog))
    for rail in CHANNELS:
        for name in secrets_of(rail):
            assert any(f"{rail}: {name}" in one and "in channel_account" in one for one in found), (rail, name)
    for name in BANKS_SECRETS:
        assert any(f"bank: {name}" in one and "in bank_link" in one for one in found), name


@pytest.mark.parametrize("spelling", ["plain", "hex", "base64", "base64 of more", "one line of a key"])
async def test_a_secret_is_recognised_however_it_is_spelt(spelling: str) -> None:
    secret = "-----BEGIN PRIVATE KEY-----\nMIIEvAIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"
    line = secret.split("\n")[2]
    spelt = {
        "plain": f"{line}".encode(),
        "hex": line.encode().hex().encode(),
        "base64": b64encode(line.encode()),
        "base64 of more": b64encode(f'{{"key": "{line}"}}'.encode()),
        "one line of a key": b"..." + line.encode() + b"...",
    }
    assert leaks({"key": secret}, {"here": spelt[spelling]}) == {"key in here"}
    assert leaks({"key": secret}, {"here": b"-----BEGIN PRIVATE KEY-----"}) == set()


async def test_a_secret_beside_a_log_line_or_in_an_exception_is_found(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("x").error("nothing here", extra={"settings": {"key": "whisper-whisper-1"}})
    try:
        raise ValueError("whisper-whisper-2")
    except ValueError:
        logging.getLogger("x").exception("nothing here either")
    secrets = {"one": "whisper-whisper-1", "two": "whisper-whisper-2"}
    assert leaks(secrets, {"the log": logged(caplog)}) == {"one in the log", "two in the log"}
