"""Canaries 金丝雀: secrets and cards that are known, sent through a day on which everything goes wrong, found nowhere.

A hub runs as its users run it. It has an account at every rail and at a bank, takes payments while the sandbox commits
every fault it knows, is sent cards and keys in every place where somebody could put them, well-formed and not, and
loses its database once. Then everything that others can read is searched: what all processes logged, every row of every
table, what was answered, the metrics, the streams, command lines, and the files of the home.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import asyncpg
import pytest
import redis.asyncio

from channels import CHANNELS, ChannelClient, Method
from channels.contract import BadBill, BadNotice
from gateway.door.auth import SCOPES
from kernel.addresses import LOOPBACK
from kernel.env import NoAnswer, NotSent
from kernel.lane import MAX_SKEW
from ops import embedded
from ops.wiring import hub
from tests.contract.counterparties import Counterparty, Payer, RefusedByControl
from tests.contract.plays import facts
from tests.contract.test_secrets_at_rest import SHORTEST, Scene, forms, logged
from tests.ops.trials.replay.running import RunningHub, a_running_hub

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Where a canary of each kind may be found; anywhere else is a leak. Secrets are in the home's folders `secrets` and
# `sandbox` too (the other side's keys); those are not searched, nor are the database's own files: their rows are.
MAY_BE_IN: Mapping[str, frozenset[str]] = {
    "secret": frozenset(),  # of rails, banks, our servers, our own keys; API keys
    "card": frozenset(),  # a card's number where a card would be used, and payers' codes
    "text": frozenset({"tables", "answers", "streams"}),  # a card's number in free text: never refused, never logged
    "person": frozenset({"tables", "answers", "streams"}),  # who the payer is at a rail
    "page": frozenset({"tables", "answers", "streams"}),  # the token of a payer's page
}
CARDS = (
    *("4242424242424242", "5555555555554444", "378282246310005", "6011111111111117", "3530111333300000"),
    *("6200000000000005", "4000056655665556", "5105105105105100", "4000002500003155", "4111111111111111"),
    *("30569309025904", "6011000990139424"),
)


@dataclass
class Canaries:
    """What is looked for, by kind and name."""

    known: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, kind: str, name: str, text: str) -> str:
        self.known[name] = kind, text
        return text

    def add_all(self, kind: str, named: Mapping[str, str]) -> None:
        for name, text in named.items():
            self.add(kind, name, text)

    def leaks(self, where: Mapping[str, Mapping[str, bytes]]) -> set[str]:
        """Return which canary was found where it may not be. where: sort of place → name of place → content."""
        found = set()
        for name, (kind, text) in self.known.items():
            spelt = set(forms(text)) | {text.strip().encode()}
            for sort in where.keys() - MAY_BE_IN[kind]:
                for place, content in where[sort].items():
                    if any(form in content for form in spelt):
                        found.add(f"{name} in {sort}: {place}")
        return found


@dataclass
class Day:
    """A running hub, one merchant of it, and all that was answered."""

    running: RunningHub
    scene: Scene
    canaries: Canaries = field(default_factory=Canaries)
    answers: list[bytes] = field(default_factory=list)
    command_lines: set[str] = field(default_factory=set)
    clients: dict[str, Counterparty] = field(default_factory=dict)
    numbers: int = 0

    @property
    def key(self) -> str:
        return self.scene.merchant.api_key

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Send a request as the merchant, keep the answer, and return its status and JSON."""
        self.numbers += 1
        sent = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": f"day-{self.numbers}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        try:
            async with self.scene.http.request(method, self.scene.url + path, data=data, headers=sent) as answer:
                raw = await answer.read()
                self.keep(str(answer.headers).encode() + raw)
                return answer.status, json.loads(raw) if raw[:1] in (b"{", b"[") else None
        except aiohttp.ClientError as error:
            return 0, str(error)

    async def raw(self, *pieces: bytes) -> None:
        """Write bytes that need not be HTTP, hang up, and keep what came back."""
        place = urlsplit(self.scene.url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        with contextlib.suppress(ConnectionError, TimeoutError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            self.keep(await asyncio.wait_for(reader.read(65_536), 0.3))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def keep(self, answer: bytes) -> None:
        self.answers.append(answer)
        self.command_lines |= set(self.running.processes().values()) if len(self.answers) % 50 == 0 else set()

    def order(self, method: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        self.numbers += 1
        body = {"merchant_order_id": f"day-{self.numbers}", "amount": 1234, "currency": "CNY", "description": "tea"}
        return {**body, "method": method, **more}

    # ---- the day -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Have an account at every rail and at a bank, and know every secret there is."""
        base_url = self.running.run.sandbox_url
        for rail in sorted(CHANNELS):
            self.clients[rail] = await self.scene.open(base_url, rail)
        app_secret = self.canaries.add("secret", "wechat: app_secret", "canary-app-secret-of-wechat")
        more = {"app_secret": app_secret, "api_url": base_url, "open_url": base_url}
        await self.scene.hub.channel_admin.rotate(self.scene.merchant.book, "wechat", more, folder=Path())
        given = await self.scene.link_bank(base_url)
        self.canaries.add_all("secret", self.scene.secrets)
        self.canaries.add("secret", "an API key", self.key)
        await self.identify(given["customer_id"])
        for path in sorted((self.running.home / "secrets").rglob("*")):
            if path.is_file():
                text = path.read_bytes()
                self.canaries.add_all("secret", {f"{path.name}: {n}": t for n, t in enumerate_secrets(text)})

    async def trade(self, rail: str, *, faults: bool) -> None:
        """Take a payment over a rail in each way that needs no browser, and give a part of it back."""
        other = self.clients[rail]
        for method in sorted(facts(rail).capabilities.methods - {Method.H5, Method.APP}):
            how: dict[str, Any] = {"type": method, "channel": rail}
            try:
                if method is Method.BARCODE:
                    code = other.auth_code(Payer.PAYS)
                    how["auth_code"] = self.canaries.add("card", f"payer's code {code[-3:]} of {rail}", code)
                if method is Method.CARD:
                    how["token"] = other.token(Payer.PAYS)
                if method is Method.JSAPI:
                    how["payer"] = self.canaries.add("person", f"a payer of {rail}", other.payer())
            except NotImplementedError:
                continue
            takes = facts(rail).capabilities.currencies
            currency = "CNY" if "CNY" in takes else min(takes)
            status, payment = await self.ask("POST", "/v1/payments", self.order(how, currency=currency))
            assert faults or status in (201, 202), payment
            if status not in (201, 202):
                continue
            with contextlib.suppress(RefusedByControl, AssertionError, aiohttp.ClientError, KeyError, IndexError):
                seen = (await self.ask("GET", f"/v1/payments/{payment['id']}"))[1]
                await other.pay(seen["attempts"][0]["reference"])
            await asyncio.sleep(0.1)
            await self.ask("POST", f"/v1/payments/{payment['id']}/refunds", {"amount": 34})

    async def order_faults(self) -> int:
        """Have the sandbox commit every fault it knows, on every rail; return how many that are."""
        ordered = 0
        for rail in (*sorted(CHANNELS), "bank"):
            told = await self.fault(rail, "no-such-fault", {})
            for name in re.findall(r"[a-z_]+", told.partition("known there: ")[2].partition('"')[0]):
                params: dict[str, Any] = {}
                for _ in range(3):
                    told = await self.fault(rail, name, params)
                    needed = re.findall(r"'([a-z_]+)'", told.partition("needs the parameter ")[2])
                    if not needed:
                        break
                    params |= dict.fromkeys(needed, 7)
                ordered += "fault_id" in told
        return ordered

    async def identify(self, customer: str) -> None:
        """Register payees by identity tokens: one the bank opens by, one it looks at, some that it has to refuse."""
        for number, name in enumerate(("good", "lost", "unknown", "malformed")):
            asked = {"customer_id": customer, "name": name}
            url = f"{self.running.run.sandbox_url}/control/bank/identity-tokens"
            async with self.scene.http.post(url, json=asked) as answer:
                token = (await answer.json())["identity_token"]
            token = {"unknown": f"{token}-x", "malformed": f"{token} x"}.get(name, token)
            self.canaries.add("secret", f"an identity token, {name}", token)
            if name == "lost":
                await self.fault("bank", "opening_answer_lost", {})
            body = {"name": name, "currency": "CNY", "bank": "sbx", "reference": f"token-{number}"}
            status, payee = await self.ask("POST", "/v1/payees", {**body, "identity_token": token})
            assert (status, name) in ((201, "good"), (201, "lost"), (422, "unknown"), (400, "malformed")), payee

    async def fault(self, rail: str, name: str, params: Mapping[str, Any]) -> str:
        body = {"fault": name, "rail": rail, "match": {}, "times": 1, "params": params}
        url = f"{self.running.run.sandbox_url}/control/faults"
        async with self.scene.http.post(url, json=body) as answer:
            return await answer.text()

    async def spoiled(self) -> set[tuple[str, str]]:
        """Return which faults have been committed, and on which rail."""
        async with self.scene.http.get(f"{self.running.run.sandbox_url}/control/faults") as answer:
            return {(one["rail"], one["fault"]) for one in (await answer.json())["faults"] if one["fired"]}

    async def hostile(self) -> None:
        """Put cards and keys wherever somebody could, in requests that are HTTP and in such as are not."""
        cards = iter(CARDS)

        def card(where: str, kind: str = "card") -> str:
            return self.canaries.add(kind, f"a card in {where}", next(cards))

        for spelt in ("a token", "a payer", "an auth_code"):
            number, name = card(spelt), spelt.split()[1]
            way = {"token": "card", "payer": "jsapi", "auth_code": "barcode"}[name]
            await self.ask("POST", "/v1/payments", self.order({"type": way, name: number}))
        text = card("free text", "text")
        await self.ask(
            "POST", "/v1/payments", self.order({"type": "qr", "channel": "wechat"}, description=f"tea {text}")
        )
        noted = {"metadata": {"note": text, text: "x"}, "merchant_order_id": text}
        await self.ask("POST", "/v1/payments", self.order({"type": "qr", "channel": "alipay"}, **noted))
        body = json.dumps(self.order({"type": "qr", "channel": "wechat"}))
        # In places that no text of a merchant's is: none of these is kept or told.
        await self.ask("POST", "/v1/payments", body.encode(), Idempotency_Key=text)
        where = card("an idempotency key that is too long")
        await self.ask("POST", "/v1/payments", body.encode(), Idempotency_Key=where + "!" * 300)
        where = card("a path")
        for path in (
            f"/v1/payments/{where}",
            f"/{where}",
            f"/pay/{where}",
            f"/notify/wechat/1/{where}",
            f"/v1/{where}/x",
        ):
            await self.ask("GET", path)
            await self.ask("POST", path, b"{}")
        where = card("a query")
        await self.ask("GET", f"/v1/payments?card={where}")
        await self.ask("GET", f"/v1/events?after={where}&type={where}")
        where = card("a header")
        await self.ask("GET", "/v1/payments", X_Card=where, X_Request_ID=where, User_Agent=where, Referer=where)
        where = card("a body that is cut")
        head = b"POST /v1/payments HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
        mine = f"Authorization: Bearer {self.key}\r\nIdempotency-Key: cut\r\n".encode()
        await self.raw(head + mine + b"Content-Length: 5000\r\n\r\n" + f'{{"method": {{"token": "{where}'.encode())
        await self.ask("POST", "/v1/payments", f'{{"token": "{where}", '.encode())
        await self.ask("POST", "/v1/payments", f'["{where}"]'.encode())
        await self.ask("POST", "/v1/payments", self.order({"type": "card", "number": where}, card=where, **{where: 1}))
        where = card("a notice")
        for rail in sorted(CHANNELS):
            for notice in (f'{{"card": "{where}"', f'{{"resource": {{"number": "{where}"}}}}', f"card={where}&sign=x"):
                await self.ask("POST", f"/notify/{rail}/1/{rail}", notice.encode(), Wechatpay_Signature=where)
        await self.keys_in_odd_places(head)

    async def keys_in_odd_places(self, head: bytes) -> None:
        key = self.key.encode()
        bearer = b"Authorization: Bearer " + key
        for piece in (
            b"GET /v1/payments HTTP/1.1\r\n" + bearer + b"\x00\r\n\r\n",
            b"GET /v1/payments HTTP/1.1\r\n" + bearer + b"\r\nno colon here " + key + b"\r\n\r\n",
            b"GET /v1/payments HTTP/9.9\r\n" + bearer + b"\r\n\r\n",
            b"GET /" + key + b"\x00 HTTP/1.1\r\nHost: h\r\n\r\n",
            key + b" / HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET http://u:" + key + b"@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
            b"\x16\x03\x01" + key,
            head + bearer + b"\r\nContent-Length: x" + key + b"\r\n\r\n",
            head + bearer + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + key + b"\r\n",
            head + bearer + b"\r\nExpect: " + key + b"\r\nContent-Length: 2\r\n\r\n{}",
            head + bearer + b"\r\nContent-Encoding: " + key + b"\r\nContent-Length: 2\r\n\r\n{}",
            head + b"Authorization: Basic " + key + b"\r\nContent-Length: 2\r\n\r\n{}",
            head + b"Cookie: key=" + key + b"\r\n" + bearer + b"\r\nContent-Length: 90\r\n\r\n{",
        ):
            await self.raw(piece)
        said = quote(self.key)
        for path in (f"/v1/payments/{said}", f"/{said}", f"/v1/payments?api_key={said}", f"/pay/{said}"):
            await self.ask("GET", path)
        for headers in (
            {"Authorization": self.key}, {"Authorization": f"Bearer {self.key}x"}, {"X_Request_ID": self.key},
            {"Authorization": f"Token {self.key}"}, {"Accept_Language": self.key}, {"Idempotency_Key": self.key * 9},
            {"Idempotency_Key": self.key}, {"Idempotency_Key": f"order-1-{self.key}"},
        ):  # fmt: skip
            await self.ask("POST", "/v1/payments", self.order({"type": "qr", "channel": "wechat"}), **headers)
            await self.ask("POST", "/v1/payments", f'{{"api_key": "{self.key}"'.encode(), **headers)
        await self.ask("POST", "/v1/channel_accounts", {"id": "x", "channel": self.key, "credentials": {}, "terms": {}})
        for name, (kind, secret) in list(self.canaries.known.items()):
            if kind == "secret" and "wechat" in name and len(secret) < 3000:
                for at in ("base_url", "api_url", "mchid", "serial_no", "private_key"):
                    credentials = {at: f"https://x:{secret}@h/", "app_secret": secret}
                    body = {"id": "x", "channel": "wechat", "credentials": credentials, "terms": {}}
                    await self.ask("POST", "/v1/channel_accounts", body)

    async def cashier(self) -> None:
        """Visit a payer's page, and have WeChat say who the visitor is."""
        status, payment = await self.ask("POST", "/v1/payments", self.order({"type": "cashier"}))
        assert status == 201, payment
        url = payment["next_action"]["url"]
        path = urlsplit(url).path
        self.canaries.add("page", "the token of a page", path.rpartition("/")[2])
        for tail in ("", "?choose=1", "/payer?code=0123456789abcdef&state=x", "/nowhere", "/live", "/code.svg"):
            await self.ask("GET", path + tail)
        await self.ask("POST", path, b"method=qr&channel=wechat", Content_Type="application/x-www-form-urlencoded")
        for ready in await self.scene.hub.accounts.of_book(self.scene.merchant.book):
            await self.bills(ready.client)
            if ready.account.channel == "wechat":
                with contextlib.suppress(BadNotice, NotSent, NoAnswer):
                    await ready.client.payer("0123456789abcdef")

    async def bills(self, client: ChannelClient) -> None:
        with contextlib.suppress(BadBill):
            await client.bill(self.scene.hub.env.now().date())

    async def lose_the_database(self) -> None:
        """Kill PostgreSQL under running requests, and wait until the hub is ready again."""
        (pid,) = (server.pid for server in self.running.run.servers if server.name == "postgres")
        assert pid is not None
        asking = [
            asyncio.ensure_future(self.ask("POST", "/v1/payments", self.order({"type": "qr", "channel": "wechat"})))
            for _ in range(10)
        ]
        os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*asking)
        async with aiohttp.ClientSession() as http:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{self.running.run.ops_url}/ready") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)

    # ---- the search --------------------------------------------------------------------------------------------------

    async def everything(self, log: bytes) -> dict[str, dict[str, bytes]]:
        """Return all that others than the hub can read. log: what this process logged, which used the hub's code."""
        home = self.running.home
        files = {
            str(path.relative_to(home)): path.read_bytes()
            for path in home.rglob("*")
            if path.is_file() and path.relative_to(home).parts[0] not in ("secrets", "sandbox", "postgres")
        }
        logs = {name: files.pop(name) for name in list(files) if name.endswith(".log")}
        kept = {name: files.pop(name) for name in list(files) if name.startswith("valkey/data/")}
        async with self.scene.http.get(f"{self.running.run.ops_url}/metrics") as answer:
            metrics = await answer.read()
        lines = "\n".join([*self.command_lines, *self.running.processes().values()])
        return {
            "logs": logs | {"this process": log},
            "tables": await self.scene.dump(),
            "answers": {"all": b"\n".join(self.answers)},
            "metrics": {"gateway": metrics},
            "streams": await streams(embedded.valkey_url(home)) | kept,
            "command lines": {"all": lines.encode()},
            "files": files,
        }


def enumerate_secrets(raw: bytes) -> Iterable[tuple[str, str]]:
    """Yield every text in a file of secrets: the file itself, or each of its values where it is JSON."""
    try:
        told = json.loads(raw)
    except ValueError:
        text = raw.decode("latin-1") if raw.isascii() else raw.hex()
        yield from [("all of it", text)] if len(text.strip()) >= SHORTEST else []
        return
    stack = [("", told)]
    while stack:
        name, value = stack.pop()
        if isinstance(value, dict):
            stack += [(f"{name}.{inner}", part) for inner, part in value.items()]
        elif isinstance(value, list):
            stack += [(f"{name}.{n}", part) for n, part in enumerate(value)]
        elif isinstance(value, str) and len(value) >= 32:
            yield name, value


async def streams(url: str | None) -> dict[str, bytes]:
    """Return every value that Valkey has."""
    assert url is not None
    found: dict[str, bytes] = {}
    async with redis.asyncio.Redis.from_url(url) as client:
        async for name in client.scan_iter():
            kind = await client.type(name)
            said = await client.xrange(name) if kind == b"stream" else await client.dump(name)
            found[name.decode()] = repr(said).encode()
    return found


@asynccontextmanager
async def a_day() -> AsyncIterator[Day]:
    with a_running_hub(SLUICE_LOG_LEVEL="DEBUG") as running:
        url = embedded.postgres_url(running.home)
        assert url is not None
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
            hub(
                database_url=url,
                redis_url=None,
                home=running.home,
                public_url=running.run.gateway_url,
                addresses=LOOPBACK,
                max_skew=MAX_SKEW,
                name="the test",
            ) as objects,
        ):
            merchant = await objects.merchants.add("tea", currencies=["CNY"], scopes=SCOPES)
            yield Day(running, Scene(objects, merchant, http, running.run.gateway_url, url, running.home, []))


async def test_after_a_day_of_every_fault_no_canary_is_where_it_may_not_be(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with a_day() as day:
        await day.open()
        for rail in sorted(CHANNELS):
            await day.trade(rail, faults=False)
        await day.cashier()
        assert await day.order_faults() > 60
        await day.hostile()
        for _ in range(2):
            await asyncio.gather(*(day.trade(rail, faults=True) for rail in sorted(CHANNELS)))
        spoiled = await day.spoiled()
        assert {rail for rail, _ in spoiled} >= set(CHANNELS)
        assert len(spoiled) > 15, spoiled
        await day.lose_the_database()
        await day.trade("wechat", faults=True)
        everything = await day.everything(logged(caplog))
        assert everything["logs"]["up.log"].count(b'"called a channel"') > 100
        assert everything["tables"]["event"].count(b"payment.succeeded") >= len(CHANNELS)

        kinds = [kind for kind, _ in day.canaries.known.values()]
        assert len({text for _, text in day.canaries.known.values()}) >= 30
        assert set(kinds) == set(MAY_BE_IN)
        assert all(sum(map(len, places.values())) > 200 for places in everything.values()), everything.keys()
        found = day.canaries.leaks(everything)
        assert not found, "\n".join(sorted(found))

        # And the search bites: planted where each sort of place is read, a canary is found there.
        secret = day.canaries.known["wechat: app_secret"][1]
        connection = await asyncpg.connect(day.scene.database_url)
        unsealed = json.dumps({"app_secret": secret})
        await connection.execute("UPDATE channel_account SET settings = $1 WHERE id = 'wechat'", unsealed)
        await connection.close()
        (day.running.home / "left.txt").write_text(secret)
        with (day.running.home / "up.log").open("a") as log:
            log.write(f'{{"event": "called a channel", "path": "/sns?secret={secret}"}}\n')
        waits = (sys.executable, "-c", "import time; time.sleep(600)", secret)
        waiting = await asyncio.create_subprocess_exec(*waits, env={**day.running.environment})
        day.answers.append(f"HTTP/1.1 400\r\n\r\n{secret}".encode())
        planted = await day.everything(logged(caplog))
        waiting.kill()
        await waiting.wait()
        assert day.canaries.leaks(planted) == {
            "wechat: app_secret in tables: channel_account",
            "wechat: app_secret in files: left.txt",
            "wechat: app_secret in logs: up.log",
            "wechat: app_secret in answers: all",
            "wechat: app_secret in command lines: all",
        }
