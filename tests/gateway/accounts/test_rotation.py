"""Rotating a rail's credentials under running payments: what the rail said before is believed, for a while."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from channels import CHANNELS, wechat
from channels.contract import Request, Response
from channels.registry import secrets_of, settings_of
from channels.settings import PASSED_OVER
from gateway.accounts.building import _Noted
from gateway.payments.create import Claims, NewPayment
from kernel.addresses import PUBLIC
from kernel.env import system_env
from kernel.errors import Rejected
from ops.reseal import reseal
from ops.wiring import Hub, hub
from tests.channels.wechat.wechat_rail import NOW, Rail, sealed, settings, transaction
from tests.gateway.front import HandClock

NEW_KEY = "fedcba9876543210fedcba9876543210"


@dataclass
class WeChat:
    """The rail's answers, and a way out that keeps what was asked."""

    clock: HandClock
    rail: Rail = field(default_factory=Rail)
    asked: list[Request] = field(default_factory=list)
    addresses = PUBLIC

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        self.asked.append(request)
        return self.rail.signed(200, {"code_url": "weixin://wxpay/bizpayurl?pr=x"}, at=self.clock.now())

    def paid(self, reference: str, minor: int, *, key: str | None = None) -> Response:
        """Return the notice of a payment; key: the APIv3 key it is encrypted under, where not the account's first."""
        content = transaction(
            out_trade_no=reference,
            amount={"total": minor, "payer_total": minor, "currency": "CNY", "payer_currency": "CNY"},
        )
        plain = json.dumps(content).encode()
        resource = sealed(plain, "transaction")
        if key is not None:
            ciphertext = AESGCM(key.encode()).encrypt(b"fdasflkja484", plain, b"transaction")
            resource["ciphertext"] = b64encode(ciphertext).decode()
        envelope = {
            "id": "EV-1",
            "create_time": "2026-11-24T16:29:59+08:00",
            "resource_type": "encrypt-resource",
            "event_type": "TRANSACTION.SUCCESS",
            "summary": "支付成功",
            "resource": resource | {"original_type": "transaction"},
        }
        return self.rail.signed(200, envelope, at=self.clock.now())


@dataclass
class Shop:
    """A merchant with an account at WeChat Pay."""

    hub: Hub
    book: int
    wechat: WeChat

    async def order(self, number: str, minor: int = 1_234) -> tuple[str, str]:
        """Take a payment; return its id and the number the rail knows it by."""
        new = NewPayment(number, minor, "CNY", "qr", "tea", None, (), timedelta(hours=1))
        payment, _ = await self.hub.payments.create(
            self.book, new, Claims((f"o:{number}",), number.encode().ljust(32)), channel="wechat", auth_code=None
        )
        return payment.id, json.loads(self.wechat.asked[-1].body)["out_trade_no"]

    async def status(self, payment_id: str) -> str:
        async with self.hub.pool.acquire() as connection:
            return str(await connection.fetchval("SELECT status FROM payment WHERE id = $1", payment_id))

    async def rotate(self, keep: timedelta = timedelta(days=30), **given: Any) -> None:
        await self.hub.channel_admin.rotate(self.book, "main", given, keep=keep, folder=Path())

    async def notice(self, message: Response) -> Response:
        return await self.hub.notices.receive("wechat", self.book, "main", message)


@asynccontextmanager
async def a_hub(database_url: str, home: Path, world: WeChat) -> AsyncIterator[Hub]:
    env = system_env(world)
    env.executor, env.clock, env.sleep = None, world.clock, world.clock.sleep
    async with hub(
        database_url=database_url,
        redis_url=None,
        home=home,
        public_url="https://pay.example",
        env=env,
        channels={"wechat": wechat.build},
        max_skew=None,
    ) as objects:
        yield objects


@pytest_asyncio.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    world = WeChat(HandClock())
    world.clock._now = NOW
    async with a_hub(database_url, tmp_path, world) as objects:
        merchant = await objects.merchants.add("tea", currencies=["CNY"])
        await objects.channel_admin.add_by_hand(merchant.book, "main", "wechat", settings(), fee_bp=60)
        yield Shop(objects, merchant.book, world)


async def test_a_notice_made_under_the_former_key_is_believed_after_a_rotation_until_its_date(shop: Shop) -> None:
    first, second, third = [await shop.order(f"order-{number}") for number in range(3)]
    await shop.rotate(apiv3_key=NEW_KEY)
    assert (await shop.notice(shop.wechat.paid(first[1], 1_234))).status == 204
    assert await shop.status(first[0]) == "succeeded"
    assert (await shop.notice(shop.wechat.paid(second[1], 1_234, key=NEW_KEY))).status == 204
    assert await shop.status(second[0]) == "succeeded"
    shop.wechat.clock.forward(31 * 86_400)
    refused = await shop.notice(shop.wechat.paid(third[1], 1_234))
    assert refused.status >= 400
    assert b"cannot_decrypt" in refused.body
    assert await shop.status(third[0]) == "requires_action"
    assert (await shop.notice(shop.wechat.paid(third[1], 1_234, key=NEW_KEY))).status == 204
    assert await shop.status(third[0]) == "succeeded"


async def test_the_date_counts_in_a_process_that_has_had_both_open_all_along(shop: Shop) -> None:
    ready = await shop.hub.accounts.get(shop.book, "main")
    assert ready.previous == []
    await shop.rotate(keep=timedelta(hours=1), apiv3_key=NEW_KEY)
    payment, reference = await shop.order("order-1")
    shop.wechat.clock.forward(3_599)
    before = shop.wechat.paid(reference, 1_234)
    shop.wechat.clock.forward(2)
    assert (await shop.notice(before)).status >= 400
    assert await shop.status(payment) == "requires_action"


async def test_another_process_believes_the_former_key_too(shop: Shop, database_url: str, tmp_path: Path) -> None:
    payment, reference = await shop.order("order-1")
    await shop.rotate(apiv3_key=NEW_KEY)
    async with a_hub(database_url, tmp_path, shop.wechat) as other:
        answer = await other.notices.receive("wechat", shop.book, "main", shop.wechat.paid(reference, 1_234))
    assert answer.status == 204
    assert await shop.status(payment) == "succeeded"


async def test_keeping_nothing_believes_nothing(shop: Shop) -> None:
    _, reference = await shop.order("order-1")
    await shop.rotate(keep=timedelta(0), apiv3_key=NEW_KEY)
    assert (await shop.notice(shop.wechat.paid(reference, 1_234))).status >= 400


async def test_a_second_rotation_keeps_both_former_keys_each_to_its_own_date(shop: Shop) -> None:
    _, reference = await shop.order("order-1")
    await shop.rotate(keep=timedelta(days=10), apiv3_key=NEW_KEY)
    await shop.rotate(keep=timedelta(days=2), apiv3_key="x" * 32)
    oldest = shop.wechat.paid(reference, 1_234)
    assert (await shop.notice(oldest)).status == 204
    shop.wechat.clock.forward(3 * 86_400)
    assert (await shop.notice(shop.wechat.paid(reference, 1_234))).status == 204
    assert (await shop.notice(shop.wechat.paid(reference, 1_234, key=NEW_KEY))).status >= 400


async def test_requests_after_a_rotation_are_signed_with_the_new_key_alone(shop: Shop) -> None:
    await shop.order("order-1")
    await shop.rotate(serial_no="0" * 39 + "7")
    await shop.order("order-2")
    serials = [request.headers["Authorization"].partition('serial_no="')[2][:40] for request in shop.wechat.asked]
    assert serials[0] != serials[1] == "0" * 39 + "7"


async def test_a_forged_notice_is_refused_by_every_key_and_named_by_the_current_one(shop: Shop) -> None:
    _, reference = await shop.order("order-1")
    await shop.rotate(apiv3_key=NEW_KEY)
    true = shop.wechat.paid(reference, 1_234)
    forged = Response(true.status, true.headers, true.body.replace(b"EV-1", b"EV-2"))
    refused = await shop.notice(forged)
    assert refused.status >= 400
    assert b"bad_signature" in refused.body


async def test_credentials_of_another_account_at_the_rail_are_refused(shop: Shop) -> None:
    with pytest.raises(Rejected) as refused:
        await shop.rotate(mchid="1900000110")
    assert refused.value.code == "another_account"
    assert (await shop.hub.channel_admin.get(shop.book, "main")).version == 1


async def test_resealing_forgets_credentials_whose_time_is_over(shop: Shop) -> None:
    await shop.rotate(keep=timedelta(days=1), apiv3_key=NEW_KEY)
    assert (await reseal(shop.hub, new_key=False, retire=False))["already"] == 1
    shop.wechat.clock.forward(86_401)
    assert (await reseal(shop.hub, new_key=False, retire=False))["resealed"] == 1
    shop.hub.accounts.forget(shop.book)
    assert (await shop.hub.accounts.get(shop.book, "main")).previous == []


async def test_a_misspelt_setting_is_refused_rather_than_the_old_one_used_on(shop: Shop) -> None:
    """As when it is added. What a rail's sign-up says beside settings may come with them."""
    for wrong, said in (
        ({"api_v3_key": NEW_KEY}, "api_v3_key"),
        ({"api_v3_key": NEW_KEY, "serial_no": "0" * 40, "fee_bp": 60}, "api_v3_key"),
        ({"seral_no": "0" * 40, "note": "new"}, "note, seral_no"),
    ):
        with pytest.raises(Rejected, match=f"has no setting {said};.* nothing was changed") as refused:
            await shop.rotate(**wrong)
        assert refused.value.code == "channel_settings_wrong"
    row = await shop.hub.channel_admin.get(shop.book, "main")
    assert row.version == 1
    await shop.rotate(apiv3_key=NEW_KEY, fee_bp=60)


@pytest.mark.parametrize("rail", sorted(CHANNELS))
def test_every_rail_is_built_of_settings_that_only_answer_what_they_are_asked(rail: str) -> None:
    """Were a rail to copy its settings whole, a misspelt one could not be told from one it reads."""
    given = import_module(f"tests.channels.{rail}.{rail}_rail").settings()
    noted = _Noted({**given, "nobodys_setting": 1})
    CHANNELS[rail](noted)
    assert "nobodys_setting" not in noted.asked
    assert secrets_of(rail) & {name.removesuffix("_file") for name in noted.asked}


@pytest.mark.parametrize("rail", sorted(CHANNELS))
def test_a_rail_lists_every_setting_that_it_reads(rail: str) -> None:
    """What is not on the list is refused when an account is added."""
    given = import_module(f"tests.channels.{rail}.{rail}_rail").settings()
    noted = _Noted(given)
    CHANNELS[rail](noted)
    listed = settings_of(rail)
    assert {name.removesuffix("_file") for name in noted.asked} <= listed
    assert {name.removesuffix("_file") for name in given} <= listed | PASSED_OVER
    assert secrets_of(rail) <= listed
