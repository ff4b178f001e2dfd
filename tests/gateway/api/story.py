"""One merchant's story over every operation of the API, on a real hub with simulated rails and a simulated bank.

What is sent and answered in it are the examples of the OpenAPI document, kept in gateway/door/examples.json.
`make examples` writes them, and a test holds every replay to them. An operation's example is its first step here, so a
new operation needs a step. docs/decisions/0037-the-document-of-the-api.md has the reasons.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.test_utils import unused_port

from channels import HttpTransport
from gateway.api.app import make_app
from gateway.door.auth import SCOPES
from kernel.addresses import LOOPBACK
from kernel.clock import business_date
from kernel.env import system_env
from kernel.ids import base36
from ops.wiring import Hub, hub
from splitting.settlement.calendar import BankHours
from tests.contract.counterparty_stripe import StripeSandbox
from tests.contract.counterparty_wechat import WeChatSandbox
from tests.documented import answer_faults, openapi
from tests.gateway.front import DoorServer, shared_out
from tests.support import a_sandbox

Example = dict[str, Any]
BANK = "sbx"

_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n?", re.DOTALL)
_SECRET = re.compile(r"\b(sk_live|sk_test|sk|whsec)_[0-9A-Za-z_]{16,}")

# What differs from one replay to the next: ids by their number in order of appearance, the rest by a sign.
_ID = re.compile(
    r"\b(pay|re|cbk|lnk|pye|key|mer|spl|dbt|wdr)_[0-9a-f]{26}\b|\b()[0-9a-z]{1,6}-(?:\d{6}-)?[0-9a-f]{23,27}\b"
)
_SIGNS = (
    (re.compile(r"\b\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|\+00:00)"), "<time>"),
    (re.compile(r"(?<!\d)\d{4}(-?)\d{2}\1\d{2}(?!\d)"), "<day>"),
    (re.compile(r"(?<=/[ls]/)[0-9a-z<> -]+"), "<token>"),
    (re.compile(r"…\d{4}"), "<last digits>"),
)
_MADE_ANEW = frozenset({"channel_ref", "code", "hash", "seq"})
_OF_AN_ACCOUNT = frozenset({"settings", "secrets"})


@dataclass
class Story:
    """What has been sent and answered so far, and the world it was sent to."""

    hub: Hub
    book: int
    http: aiohttp.ClientSession
    door: str
    key: str
    wechat: WeChatSandbox
    stripe: StripeSandbox
    shown_as: Mapping[str, str]  # addresses of this replay, and what stands for them in an example
    told: dict[str, Example] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    async def ask(
        self, name: str, path: str, body: Any = None, *, key: str | None = None, example: str | None = None
    ) -> Any:
        """Send one operation's request and return what it was answered; the first of its name is its example.

        path: with its query. key: the Idempotency-Key. example: the name of a further example of the operation.
        """
        method = next(
            method.upper()
            for methods in openapi()["paths"].values()
            for method, operation in methods.items()
            if operation["operationId"] == name
        )
        headers = {"Authorization": f"Bearer {self.key}"} | ({"Idempotency-Key": key} if key else {})
        async with self.http.request(method, self.door + path, json=body, headers=headers) as answer:
            raw = await answer.read()
            assert answer.status < 300, (name, raw)
            self.faults += answer_faults(method, answer.url.raw_path, answer.status, answer.headers, raw)
        said = json.loads(raw) if answer.content_type == "application/json" else raw.decode()
        sent: Example = {"method": method, "path": path}
        sent |= ({"idempotency_key": key} if key else {}) | ({} if body is None else {"body": body})
        called = f"{name}.{example}" if example else name
        self.told.setdefault(called, self._shown({**sent, "status": answer.status, "answer": said}))
        return said

    def _shown(self, value: Any) -> Any:
        """Return what was sent or answered as an example shows it: without secrets and this machine's addresses."""
        if isinstance(value, dict):
            return {name: self._shown(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._shown(one) for one in value]
        if not isinstance(value, str):
            return value
        for real, instead in self.shown_as.items():
            value = value.replace(real, instead)
        return _SECRET.sub(r"\1_…", _PEM.sub(r"-----BEGIN \1-----\n…", value))

    async def becomes(self, path: str, status: str) -> Any:
        """Look at an object until it has this status, with the janitor asking the rails in between."""
        headers = {"Authorization": f"Bearer {self.key}"}

        async def look() -> Any:
            async with self.http.get(self.door + path, headers=headers) as answer:
                found = await answer.json()
            if found["status"] != status:
                await self.hub.janitor().once()
            return found if found["status"] == status else None

        return await _until(look)


async def _until(look: Callable[[], Awaitable[Any]]) -> Any:
    for _ in range(5_000):
        if found := await look():
            return found
        await asyncio.sleep(0.02)  # another process has no event to wait for
    raise AssertionError("it never came to that")


async def play(story: Story) -> None:
    """Tell the story."""
    ask = story.ask
    await _accounts(story)

    payee = await ask("create_payee", "/v1/payees", {
        "name": "North Kiln 北窑", "kind": "supplier", "currency": "CNY", "reference": "kiln-3",
    })  # fmt: skip
    await ask("get_payee", f"/v1/payees/{payee['id']}")
    payee = await ask("create_payee", "/v1/payees", {
        "name": "Green Farm 绿野农场", "kind": "supplier", "currency": "CNY", "bank": BANK, "reference": "farm-17",
    }, example="with_a_bank")  # fmt: skip
    await ask("list_payees", "/v1/payees?limit=10")
    await ask("suspend_payee", f"/v1/payees/{payee['id']}/suspend")
    await ask("resume_payee", f"/v1/payees/{payee['id']}/resume")

    await _split_plans(story, payee["id"])
    await ask("set_payout_schedule", "/v1/payout_schedules", {"bank": BANK, "every": "T+1"})
    await ask("set_payout_schedule", "/v1/payout_schedules", {
        "bank": BANK, "payee": payee["id"], "every": "weekly", "on": 5, "minimum_minor": 10_000,
    }, example="of_one_payee")  # fmt: skip
    await ask("list_payout_schedules", "/v1/payout_schedules")
    await ask("set_payout_reserve", "/v1/payout_reserves", {
        "bank": BANK, "rolling_basis_points": 500, "rolling_days": 7,
    })  # fmt: skip
    await ask("list_payout_reserves", "/v1/payout_reserves")
    paid = await _a_payment(story, payee["id"])
    await _money_back(story, paid)
    await _reserved_money(story)
    await _links(story)

    await shared_out(story.hub)
    await ask("list_balances", "/v1/balances")
    over = story.hub.env.now()  # the story's day ends here
    day = business_date(over)
    next_day = day + timedelta(days=1)
    pool = (await story.hub.banks.link(story.book, BANK)).pool_account
    money = {"account": pool, "amount_minor": 1_000_000, "end_to_end_id": "TOP-UP"}  # no channel's
    await story.hub.payouts.set_bank(story.book, BANK, BankHours(), release_above_minor=None, only_deposited=False)
    await story.wechat.control("POST", "/control/bank/deposits", money)
    await story.hub.banks.settle(story.book, BANK, day, "CNY", execution_date=next_day, not_before=over)
    await _owed_back(story, paid, payee["id"])
    settlement = (await ask("list_settlements", "/v1/settlements?limit=5"))["data"][0]
    await ask("get_settlement", f"/v1/settlements/{settlement['id']}")
    await _withdrawn(story, payee["id"])
    await ask("list_events", "/v1/events?after=0&limit=2&type=payment.created,payment.succeeded")
    await ask("drain_channel_account", "/v1/channel_accounts/cards/drain", {}, key="cards-drain-1")


async def _accounts(story: Story) -> None:
    ask = story.ask
    credentials = {"secret_key": story.stripe.account["secret_key"], "base_url": story.stripe.account["base_url"]}
    terms = {"fees": {"basis_points": 290}, "currencies": ["CNY"]}
    await ask("add_channel_account", "/v1/channel_accounts", {
        "id": "cards", "channel": "stripe", "credentials": credentials, "terms": terms, "position": 1,
    }, key="cards-1")  # fmt: skip
    await ask("list_channel_accounts", "/v1/channel_accounts")
    account = await ask("get_channel_account", "/v1/channel_accounts/cards")
    account = await ask("change_channel_account", "/v1/channel_accounts/cards", {
        "version": account["version"], "terms": terms | {"limits": {"maximum_minor": 500_000}},
    })  # fmt: skip
    address = f"{story.door}/notify/stripe/{base36(story.book)}/cards"
    await story.stripe.register_notices(address)
    credentials["webhook_secrets"] = story.stripe.account["webhook_secrets"]
    await ask("rotate_channel_account", "/v1/channel_accounts/cards/rotate", {
        "credentials": credentials, "keep_days": 7,
    }, key="cards-rotate-1")  # fmt: skip
    policy = await ask("get_routing_policy", "/v1/routing_policy")
    await ask("set_routing_policy", "/v1/routing_policy", {
        "version": policy["version"], "note": "cards to the cards account",
        "policy": {"rules": [{"when": {"method": ["card"]}, "then": {"pin": "cards"}}]},
    })  # fmt: skip
    await asyncio.sleep(1.1)  # what is read of accounts and policies is kept for a second


async def _split_plans(story: Story, payee: str) -> None:
    """Have a plan made, changed by a person at the operator's, activated with another's key, and tried out."""
    ask = story.ask
    document = {"version": 1, "lines": [{"name": "maker", "payee": payee, "basis_points": 6_500, "minimum": 500}]}
    made = await ask("make_split_plan", "/v1/split_plans", {
        "name": "tea by the maker", "currency": "CNY", "document": document,
    })  # fmt: skip
    place = f"/v1/split_plans/{made['id']}"
    courier = {"name": "carrier", "payee": payee, "amount": 300, "when": {"amount": {"below": 20_000}}}
    document = {"version": 1, "lines": [*document["lines"], courier]}
    await ask("add_split_plan_version", f"{place}/versions", {"version": 1, "document": document})
    _, row = await story.hub.split_plans.add(story.book, made["id"], document=document, maker="ada")
    await ask("activate_split_plan", f"{place}/activate", {"version": row.version, "hash": row.hash.hex()})
    await ask("get_split_plan", place)
    await ask("list_split_plans", "/v1/split_plans?limit=10")
    await ask("set_split_attachment", "/v1/split_attachments", {
        "to": "store", "subject": "north-gate", "currency": "CNY", "plan": made["id"],
    })  # fmt: skip
    await ask("list_split_attachments", "/v1/split_attachments")
    own = await ask("create_payee", "/v1/payees", {
        "name": "Harbour Tea 海港茶行", "kind": "merchant", "currency": "CNY", "bank": BANK, "reference": "ourselves",
    }, example="yourself")  # fmt: skip
    await ask("set_own_payee", "/v1/own_payees", {"currency": "CNY", "payee": own["id"]})
    await ask("list_own_payees", "/v1/own_payees")
    await ask("set_rail_receiver", "/v1/rail_receivers", {
        "payee": payee, "channel_account": "main", "kind": "merchant", "account": "1900000109", "name": "the tea maker",
    })  # fmt: skip
    await ask("list_rail_receivers", "/v1/rail_receivers")
    await ask("dry_run_split_plan", "/v1/split_plans/dry_run", {
        "amount": 12_800, "currency": "CNY", "channel_fee": 77, "method": "qr", "split_plan": {"id": made["id"]},
    })  # fmt: skip


async def _a_payment(story: Story, payee: str) -> Any:
    """Have a payment made by QR code, and paid; another closed."""
    ask = story.ask
    order = {
        "merchant_order_id": "2026-000123", "amount": 12_800, "currency": "CNY",
        "method": {"type": "qr", "channel": "wechat"}, "description": "龙井茶 Longjing tea, 250 g",
        "metadata": {"till": "7"},
    }  # fmt: skip
    other = await ask("create_payment", "/v1/payments", order, key="2026-000123")
    shared = order | {"merchant_order_id": "2026-000124", "split": [{"payee": payee, "basis_points": 7_000}]}
    made = await ask("create_payment", "/v1/payments", shared, key="2026-000124", example="with_a_split")
    tree = {"version": 1, "lines": [
        {"name": "maker", "payee": payee, "basis_points": 6_500, "minimum": 500},
        {"name": "carrier", "payee": payee, "amount": 300, "when": {"amount": {"below": 20_000}}},
    ]}  # fmt: skip
    tree["release"] = [{"when": "delivery", "days": 15}]
    by_a_tree = order | {"merchant_order_id": "2026-000128", "split_plan": {"document": tree}}
    later = await ask("create_payment", "/v1/payments", by_a_tree, key="2026-000128", example="with_a_tree")
    place = f"/v1/payments/{made['id']}"
    for path in (place, f"/v1/payments/{later['id']}"):
        waiting = (await story.becomes(path, "requires_action"))["attempts"][0]
        await story.wechat.pay(waiting["reference"])
        await story.becomes(path, "succeeded")
    await shared_out(story.hub)
    await ask("get_payment", place)
    await ask("confirm_delivery", f"/v1/payments/{later['id']}/confirm_delivery")

    await ask("close_payment", f"/v1/payments/{other['id']}/close")
    await ask("list_payments", "/v1/payments?status=succeeded&currency=CNY&limit=2")
    await ask("export_payments", "/v1/payments.csv?created_from=2026-01-01T00:00:00Z")
    return made


async def _money_back(story: Story, paid: Any) -> None:
    ask = story.ask
    refund = await ask("create_refund", f"/v1/payments/{paid['id']}/refunds", {
        "amount": 2_800, "reason": "one tin was dented", "merchant_refund_id": "2026-000124-1",
    }, key="2026-000124-1")  # fmt: skip
    await story.becomes(f"/v1/refunds/{refund['id']}", "succeeded")
    await ask("get_refund", f"/v1/refunds/{refund['id']}")
    await ask("list_refunds", f"/v1/refunds?payment={paid['id']}")

    card = await _a_card(story, "2026-000125", token="pm_card_refundFail")
    await story.becomes(f"/v1/payments/{card['id']}", "succeeded")
    failing = await ask("create_refund", f"/v1/payments/{card['id']}/refunds", {}, key="2026-000125-1")
    await story.becomes(f"/v1/refunds/{failing['id']}", "failed")
    await ask("retry_refund", f"/v1/refunds/{failing['id']}/retry", {}, key="2026-000125-1-again")
    await story.becomes(f"/v1/refunds/{failing['id']}", "failed")  # again: until then its money is on the way

    reference = (await story.becomes(f"/v1/payments/{card['id']}", "succeeded"))["attempts"][0]["reference"]
    dispute = await story.stripe.dispute(reference, minor=12_000)
    row = await story.hub.payments.disputing.look_at(story.book, "cards", dispute["dispute"])
    assert row is not None
    await ask("get_chargeback", f"/v1/chargebacks/{row.id}")
    await ask("list_chargebacks", f"/v1/chargebacks?payment={card['id']}&status=opened")


async def _a_card(story: Story, number: str, **more: Any) -> Any:
    method = {"type": "card", "channel": "stripe", "token": more.pop("token", "pm_card_visa")}
    return await story.ask("create_payment", "/v1/payments", {
        "merchant_order_id": number, "amount": 30_000, "currency": "CNY", "method": method,
        "description": "tea set, deposit", **more,
    }, key=number)  # fmt: skip


async def _owed_back(story: Story, paid: Any, payee: str) -> None:
    """Give back a part whose share has been sent to the bank: the payee owes it."""
    asked = {"amount": 1_000, "reason": "the other tin too", "merchant_refund_id": "2026-000124-2"}
    await story.ask("create_refund", f"/v1/payments/{paid['id']}/refunds", asked, key="2026-000124-2")
    await story.ask("list_debts", f"/v1/debts?payee={payee}&status=open")


async def _withdrawn(story: Story, payee: str) -> None:
    """Have the bank pay the batch, and the payee withdraw a part of what it has there."""
    ask, place = story.ask, f"/v1/payees/{payee}"
    await ask("bind_payee_account", f"{place}/account", {
        "account": "6222020200001234567", "bank_bic": "ICBKCNBJXXX", "bank_name": "工商银行 ICBC",
    })  # fmt: skip
    await ask("get_payee_account", f"{place}/account")

    async def paid_out() -> bool:
        await story.hub.bank_worker().once()
        return (await story.hub.withdrawals.balance(story.book, payee))["sub_account_minor"] > 0

    await _until(paid_out)
    await ask("get_payee_balance", f"{place}/balance")
    asked = await ask("request_withdrawal", f"{place}/withdrawals", {
        "amount": 5_000, "currency": "CNY", "reference": "farm-17-w-1",
    })  # fmt: skip
    await ask("get_withdrawal", f"/v1/withdrawals/{asked['id']}")
    await ask("list_withdrawals", f"/v1/withdrawals?payee={payee}&limit=5")


async def _reserved_money(story: Story) -> None:
    """Have money reserved twice; capture a part of the one, and release the other."""
    for number, name, body, key in (
        ("2026-000126", "capture_payment", {"amount": 18_000}, "2026-000126-capture"),
        ("2026-000127", "void_payment", None, None),
    ):
        payment = await _a_card(story, number, capture="manual")
        await story.becomes(f"/v1/payments/{payment['id']}", "requires_capture")
        await story.ask(name, f"/v1/payments/{payment['id']}/{name.partition('_')[0]}", body, key=key)


async def _links(story: Story) -> None:
    ask = story.ask
    link = await ask("add_payment_link", "/v1/payment_links", {
        "name": "spring tasting", "description": "Tea tasting, one seat", "amount": 9_900, "currency": "CNY",
        "max_uses": 12, "expires_at": "2030-04-05T10:00:00Z",
    }, key="tasting-1")  # fmt: skip
    await ask("list_payment_links", "/v1/payment_links?limit=2")
    await ask("get_payment_link", f"/v1/payment_links/{link['id']}")
    await ask("change_payment_link", f"/v1/payment_links/{link['id']}", {"active": False})
    code = await ask("add_merchant_qr", "/v1/merchant_qrs", {
        "name": "counter 2", "description": "Tea house, counter 2", "currency": "CNY", "maximum": 200_000,
    }, key="counter-2")  # fmt: skip
    await ask("list_merchant_qrs", "/v1/merchant_qrs?limit=2")
    await ask("get_merchant_qr", f"/v1/merchant_qrs/{code['id']}")
    await ask("change_merchant_qr", f"/v1/merchant_qrs/{code['id']}", {"description": "Tea house, counter 2 (left)"})


@asynccontextmanager
async def a_story(database_url: str, home: Path) -> AsyncIterator[Story]:
    """Open the shop, its accounts at the simulated WeChat Pay and Stripe, its bank, and the hub's own port."""
    port = unused_port()
    door = f"http://127.0.0.1:{port}"
    async with (
        a_sandbox(home) as rails,
        HttpTransport(addresses=LOOPBACK) as transport,
        aiohttp.ClientSession() as http,
    ):
        env, wechat, stripe = system_env(transport), WeChatSandbox(rails, http), StripeSandbox(rails, http)
        async with hub(
            database_url=database_url, redis_url=None, home=home, public_url=door, time_scale=0.01, env=env
        ) as objects:
            merchant = await objects.merchants.add("a tea house", currencies=["CNY"], scopes=SCOPES)
            for rail in (wechat, stripe):
                await rail.open_account()
            await objects.channel_admin.add_by_hand(merchant.book, "main", "wechat", wechat.settings(), fee_bp=60)
            custody = await wechat.control("POST", "/control/bank/customers", {"name": "a tea house"})
            await objects.merchants.link_bank(merchant.book, BANK, custody, name="pool", currency="CNY")
            async with DoorServer(make_app(objects.api()), port=port):
                shown_as = {door: "https://hub.example", rails: "https://rail.example"}
                yield Story(objects, merchant.book, http, door, merchant.api_key, wechat, stripe, shown_as)


# ---- what is the same from one replay to the next --------------------------------------------------------------------


def blurred(told: Mapping[str, Example]) -> dict[str, Example]:
    """Return the story with numbers for ids, by their first appearance, and signs for what differs every time."""
    seen: dict[str, str] = {}

    def numbered(found: re.Match[str]) -> str:
        return seen.setdefault(found[0], f"<{found[1] or 'number'} {len(seen)}>")

    def plain(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: f"<{key}>" if name in _OF_AN_ACCOUNT else plain(one, key) for key, one in value.items()}
        if isinstance(value, list):
            return [plain(one, name) for one in value]
        if name in _MADE_ANEW and value is not None:
            return f"<{name}>"
        if not isinstance(value, str):
            return value
        value = _ID.sub(numbered, value)
        for form, sign in _SIGNS:
            value = form.sub(sign, value)
        return value

    blurs: dict[str, Example] = plain(dict(told))
    return blurs
