"""A hub, a shop with an account at every rail, the simulated rails, and a real Chromium that looks at its pages."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, Request, async_playwright, expect

from channels import HttpTransport
from gateway.api.app import make_app
from kernel.addresses import LOOPBACK
from kernel.env import SystemClock, system_env
from kernel.ids import base36
from ops.wiring import Hub, hub
from tests.ops.trials.replay.running import free_ports
from tests.support import a_sandbox

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync")
RAILS = ("wechat", "alipay", "unionpay", "paypal", "stripe", "bank_transfer")
PATIENCE_MS = 100_000  # only ends what never comes; playwright's own five seconds are short on a busy machine
SHOP = "茶屋 <script>alert(1)</script>"

DESKTOP = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
PHONE = (
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Mobile "
    "Safari/537.36"
)
IN_WECHAT = f"{PHONE} MicroMessenger/8.0.60.2860(0x28003C5F) NetType/WIFI Language/zh_CN"
IN_ALIPAY = f"{PHONE} AliApp(AP/10.7.0.8000) AlipayClient/10.7.0.8000 Language/zh-Hans"

expect.set_options(timeout=PATIENCE_MS)


def chromium() -> str | None:
    """Return the Chromium of this machine. SLUICE_BROWSER: its path, or `required` to fail where there is none."""
    wanted = os.environ.get("SLUICE_BROWSER", "")
    if wanted not in ("", "required"):
        return wanted
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None and wanted == "required":
        raise RuntimeError("no Chromium was found, and SLUICE_BROWSER says that these tests are required")
    return found


class AheadClock(SystemClock):
    """The machine's clock, ahead by as much as the test wants."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self._ahead

    def forward(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)


@dataclass
class Look:
    """One page in the browser, and all it asked for."""

    page: Page
    asked: list[Request] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def strangers(self, *own: str) -> list[str]:
        """Return addresses asked for that are of none of these origins."""
        return [one.url for one in self.asked if not one.url.startswith((*own, "data:"))]

    async def width(self) -> tuple[int, int]:
        """Return (how wide the content is, how wide the window)."""
        found = await self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        return found[0], found[1]


@dataclass
class Street:
    """The shop's street: hub, rails and payers."""

    hub: Hub
    book: int
    door: str  # the gateway's origin
    rails: str  # the sandbox's origin
    http: aiohttp.ClientSession
    browser: Browser
    headers: dict[str, str]
    merchants: dict[str, dict[str, Any]]  # by rail, what it calls the shop
    clock: AheadClock
    restart: Callable[[], Awaitable[None]]
    keys: int = 0

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        self.keys += 1
        headers = self.headers | {"Idempotency-Key": f"key-{self.keys}"}
        async with self.http.request(method, self.door + path, json=body, headers=headers) as answer:
            said = await answer.json()
            assert answer.status < 300, said
            return said

    async def control(self, path: str, **body: Any) -> Any:
        async with self.http.post(f"{self.rails}/control/{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def payment(self, amount: int = 8800, **more: Any) -> Any:
        """Have a payment wait at the cashier."""
        self.keys += 1
        method = {"type": "cashier", **more.pop("method", {})}
        body = {"merchant_order_id": f"order-{self.keys}", "amount": amount, "currency": "CNY", "method": method}
        return await self.call("POST", "/v1/payments", {**body, "description": "明前龙井 250 g", **more})

    async def current(self, payment: Any) -> Any:
        return await self.call("GET", f"/v1/payments/{payment['id']}")

    async def pays(self, rail: str, payment: Any, what: str = "pay") -> None:
        """Have the payer pay (or decline) the last attempt at its rail."""
        attempt = (await self.current(payment))["attempts"][-1]
        await self.control(f"{rail}/{what}", merchant=self.merchants[rail]["merchant"], order=attempt["reference"])

    async def refunded(self, payment: Any, amount: int) -> None:
        """Give a part back, and wait until the payer has it."""
        refund = await self.call("POST", f"/v1/payments/{payment['id']}/refunds", {"amount": amount})
        while refund["status"] == "processing":
            await asyncio.sleep(0.05)
            refund = await self.call("GET", f"/v1/refunds/{refund['id']}")
        assert refund["status"] == "succeeded", refund

    async def trades(self, rail: str) -> dict[str, Any]:
        """Return a rail's own truth of the shop's orders."""
        merchant = self.merchants[rail]["merchant"]
        async with self.http.get(f"{self.rails}/control/{rail}/trades?merchant={merchant}") as answer:
            return {trade["order"]: trade for trade in (await answer.json())["trades"]}

    async def closed(self, rail: str, order: str) -> None:
        """Wait until a rail has closed an order."""
        for _ in range(PATIENCE_MS // 50):
            if (await self.trades(rail))[order]["state"] == "closed":
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{rail} never closed {order}")

    @asynccontextmanager
    async def look(
        self, user_agent: str = DESKTOP, *, width: int = 1000, height: int = 800, locale: str = "zh-CN", **more: Any
    ) -> AsyncIterator[Look]:
        """Open a window of a browser of its own: no cookie is shared with another."""
        context = await self.browser.new_context(
            user_agent=user_agent, viewport={"width": width, "height": height}, locale=locale, **more
        )
        try:
            page = await context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            look = Look(page)
            page.on("request", lambda asked: look.asked.append(asked))
            page.on("pageerror", lambda error: look.errors.append(str(error)))
            page.on("console", lambda said: look.errors.append(said.text) if said.type == "error" else None)
            yield look
        finally:
            await context.close()

    async def wechat_bridge(self, look: Look, *, declines: bool = False) -> None:
        """Give a page what WeChat's own browser gives it: the call that asks the payer for the money."""

        async def ask(parameters: dict[str, str]) -> str:
            if declines:
                return "get_brand_wcpay_request:cancel"
            await self.control("wechat/pay", code=parameters["package"].removeprefix("prepay_id="))
            return "get_brand_wcpay_request:ok"

        await look.page.expose_function("sandboxWallet", ask)
        await look.page.add_init_script(
            "window.WeixinJSBridge = {invoke: (name, parameters, done) =>"
            " window.sandboxWallet(parameters).then((said) => done({err_msg: said}))}"
        )


@asynccontextmanager
async def a_street(
    database_url: str, home: Path, executable: str, *, enrolled: Sequence[str] = RAILS
) -> AsyncIterator[Street]:
    """Open the shop with an account at every rail that a cashier's payer can use, or at those named."""
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with (
        async_playwright() as playwright,
        a_sandbox(home) as rails,
        HttpTransport(addresses=LOOPBACK) as transport,
        aiohttp.ClientSession() as http,
    ):
        browser = await playwright.chromium.launch(executable_path=executable, args=flags)
        (port,) = free_ports(1)
        door = f"http://127.0.0.1:{port}"
        env, clock = system_env(transport), AheadClock()
        env.clock = clock
        async with hub(
            database_url=database_url, redis_url=None, home=home, public_url=door, env=env, max_skew=None
        ) as objects:
            merchant = await objects.merchants.add(SHOP, currencies=["CNY"])
            merchants = {}
            pool = await _pool_account(rails, http)
            for rail in enrolled:
                wish = {"settle_to": pool} if rail == "bank_transfer" else {"fee_bp": 60}
                async with http.post(f"{rails}/control/{rail}/merchants", json=wish) as answer:
                    merchants[rail] = await answer.json()
                settings = merchants[rail]
                if rail == "stripe":  # whose notices go to an address that is registered there
                    told = {
                        "merchant": settings["merchant"],
                        "url": f"{door}/notify/stripe/{base36(merchant.book)}/stripe",
                    }
                    async with http.post(f"{rails}/control/stripe/webhooks", json=told) as answer:
                        settings |= {"webhook_secrets": (await answer.json())["webhook_secrets"]}
                await objects.channel_admin.add_by_hand(merchant.book, rail, rail, settings, fee_bp=60)
            runners: list[web.AppRunner] = []

            async def restart() -> None:
                while runners:
                    await runners.pop().cleanup()
                runner = web.AppRunner(make_app(objects.api()), access_log=None, auto_decompress=False)
                await runner.setup()
                await web.TCPSite(runner, "127.0.0.1", port).start()
                runners.append(runner)

            await restart()
            janitor = objects.env.spawn("janitor", objects.janitor().run(idle_s=0.1))
            headers = {"Authorization": f"Bearer {merchant.api_key}"}
            try:
                yield Street(objects, merchant.book, door, rails, http, browser, headers, merchants, clock, restart)
            finally:
                janitor.cancel()
                for runner in runners:
                    await runner.cleanup()
                await browser.close()


@asynccontextmanager
async def a_street_of_its_own(
    pg_server: Any, name: str, home: Path, *, enrolled: Sequence[str] = RAILS
) -> AsyncIterator[Street]:
    """Open the shop in a database made for it; skip where this machine has no browser, unless one is required."""
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine; SLUICE_BROWSER=required makes that a failure")
    await pg_server.admin.execute(f"create database {name} owner sluice template {pg_server.template}")
    try:
        async with a_street(pg_server.url(name), home, executable, enrolled=enrolled) as opened:
            yield opened
    finally:
        await pg_server.admin.execute(f"drop database {name} with (force)")


async def _pool_account(rails: str, http: aiohttp.ClientSession) -> str:
    """Open the account at the simulated bank that transfers go to."""
    async with http.post(f"{rails}/control/bank/customers", json={"name": "tea"}) as answer:
        token = await asyncio.to_thread(Path((await answer.json())["token_file"]).read_text)
    pool = {"reference": "pool", "name": "tea", "currency": "CNY", "kind": "pool"}
    async with http.post(f"{rails}/bank/accounts", json=pool, headers={"Authorization": f"Bearer {token}"}) as answer:
        return str((await answer.json())["account"])


async def shot(look: Look, name: str) -> None:
    """Keep a picture of the page where SLUICE_SHOTS names a folder: to be looked at by people."""
    folder = os.environ.get("SLUICE_SHOTS")
    if folder is not None:
        await look.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)
