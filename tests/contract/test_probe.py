"""`sluice channel call`, against the sandbox: what is shown, and how it exits."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from channels import HttpTransport
from kernel.addresses import LOOPBACK
from kernel.clock import business_date
from kernel.env import Env, system_env
from ops.trials.channel_call import OPS, ProbeResult, Usage, call, settings_for
from tests.contract.counterparties import Payer
from tests.contract.counterparty_wechat import WeChatSandbox

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass
class Desk:
    """Someone at a terminal with credentials."""

    other: WeChatSandbox
    env: Env

    async def call(self, op: str, **sets: str) -> ProbeResult:
        done = await call("wechat", op, self.other.settings(), sets, self.env)
        json.dumps(done.result)  # it can be printed
        return done

    async def paid(self) -> str:
        made = await self.call("create", amount="1234")
        reference = str(made.result["reference"])
        await self.other.pay(reference)
        return reference


@pytest_asyncio.fixture(loop_scope="session")
async def desk(base_url: str) -> AsyncIterator[Desk]:
    async with aiohttp.ClientSession() as http, HttpTransport(addresses=LOOPBACK) as transport:
        other = WeChatSandbox(base_url, http)
        await other.open_account()
        yield Desk(other, system_env(transport))


async def test_a_created_order_shows_its_code_and_the_key_that_vouched_for_it(desk: Desk) -> None:
    made = await desk.call("create")
    assert made.exit_code == 0
    assert made.result["outcome"] == "pending"
    assert made.result["next_action"]["code"].startswith("weixin://")
    assert made.result["verified_by"] == desk.other.settings()["public_key_id"]
    assert made.result["http_status"] == 200


async def test_a_query_that_is_answered_exits_0_whatever_the_answer(desk: Desk) -> None:
    made = await desk.call("create", amount="1234")
    reference = str(made.result["reference"])
    unpaid = await desk.call("query", reference=reference)
    assert (unpaid.exit_code, unpaid.result["outcome"]) == (0, "pending")
    await desk.other.pay(reference)
    paid = await desk.call("query", out_trade_no=reference)
    assert (paid.exit_code, paid.result["outcome"], paid.result["amount"]) == (0, "confirmed", 1234)
    assert re.fullmatch("[0-9]{28,32}", paid.result["channel_ref"])


async def test_a_query_with_an_amount_compares_it(desk: Desk) -> None:
    reference = await desk.paid()
    assert (await desk.call("query", reference=reference, amount="1234")).exit_code == 0
    differs = await desk.call("query", reference=reference, amount="1235")
    assert (differs.exit_code, differs.result["outcome"]) == (3, "unknown")


async def test_an_order_nobody_made_is_not_known(desk: Desk) -> None:
    asked = await desk.call("query", reference="nobody-made-this")
    assert (asked.exit_code, asked.result["not_found"]) == (3, True)
    assert asked.result["verified_by"] is None


async def test_close_then_create_again(desk: Desk) -> None:
    made = await desk.call("create")
    reference = str(made.result["reference"])
    closed = await desk.call("close", reference=reference)
    assert (closed.exit_code, closed.result["closed"]) == (0, True)
    asked = await desk.call("query", reference=reference)
    assert (asked.exit_code, asked.result["outcome"]) == (0, "refused")
    again = await desk.call("create", reference=reference)
    assert (again.exit_code, again.result["code"]) == (1, "ORDER_CLOSED")


async def test_a_payers_code_is_charged_and_reversed(desk: Desk) -> None:
    code = desk.other.auth_code(Payer.PAYS)
    paid = await desk.call("create", auth_code=code, amount="5")
    assert (paid.exit_code, paid.result["outcome"]) == (0, "confirmed")
    undone = await desk.call("reverse", reference=str(paid.result["reference"]))
    assert undone.exit_code == 0
    broke = await desk.call("create", auth_code=desk.other.auth_code(Payer.BROKE))
    assert (broke.exit_code, broke.result["code"]) == (1, "NOT_ENOUGH")


async def test_a_refund_and_its_query(desk: Desk) -> None:
    reference = await desk.paid()
    refund = await desk.call("refund", reference=reference, amount="1234", refund_amount="234")
    assert refund.exit_code == 0
    number = str(refund.result["refund_reference"])
    asked = await desk.call("refund_query", reference=reference, refund_reference=number)
    assert asked.exit_code == 0
    assert asked.result["outcome"] in ("pending", "confirmed")


async def test_a_bill_is_counted_and_saved(desk: Desk, tmp_path: Path) -> None:
    await desk.paid()
    today = business_date(desk.env.now()).isoformat()
    early = await desk.call("bill", date=today)
    assert (early.exit_code, early.result["outcome"]) == (3, "unknown")
    await desk.other.close_day(business_date(desk.env.now()))
    file = tmp_path / "bill.csv"
    bill = await desk.call("bill", date=today, save=str(file))
    assert (bill.exit_code, bill.result["payments"], bill.result["payments_minor"]) == (0, 1, 1234)
    assert file.stat().st_size == bill.result["bytes"]
    funds = await desk.call("bill", date=today, kind="fund")
    assert (funds.exit_code, funds.result["net_minor"]) == (0, 1234 - int(bill.result["fees_minor"]))
    assert (await desk.call("bill", date="2020-01-01")).exit_code in (1, 3)


async def test_an_answer_that_cannot_be_verified_exits_3_and_says_why(desk: Desk) -> None:
    await desk.other.fault("bad_signature", "create", "1-forged-answer")
    made = await desk.call("create", reference="1-forged-answer")
    assert (made.exit_code, made.result["verified_by"]) == (3, None)
    assert "bad_signature" in made.result["verification"]


async def test_nobody_there_exits_3_and_says_that_nothing_was_sent(desk: Desk) -> None:
    settings = desk.other.settings() | {"base_url": "http://127.0.0.1:9"}
    done = await call("wechat", "query", settings, {"reference": "1-x-y-z"}, desk.env)
    assert (done.exit_code, done.result["not_sent"]) == (3, True)


@pytest.mark.parametrize(
    ("op", "sets"),
    [
        ("dance", {}),
        ("query", {}),
        ("query", {"reference": "1-abcdef", "colour": "red"}),
        ("create", {"amount": "1.5"}),
        ("create", {"amount": "０１"}),
        ("create", {"amount": "0"}),
        ("create", {"currency": "XXX"}),
        ("create", {"method": "barcode"}),
        ("create", {"method": "telepathy"}),
        ("refund", {"reference": "1-abcdef"}),
        ("refund_query", {"reference": "1-abcdef"}),
        ("refund_query", {"refund_reference": "1-abcdef"}),
        ("bill", {}),
        ("bill", {"date": "yesterday"}),
        ("bill", {"date": "2026-11-23", "kind": "electricity"}),
    ],
)
async def test_what_cannot_be_asked_exits_2_and_says_why(desk: Desk, op: str, sets: dict[str, str]) -> None:
    done = await desk.call(op, **sets)
    assert done.exit_code == 2
    assert done.result["error"]


async def test_settings_that_make_no_channel_and_channels_that_do_not_exist_exit_2(desk: Desk) -> None:
    for name, settings in (("wechat", {}), ("shells", desk.other.settings())):
        done = await call(name, OPS[0], settings, {}, desk.env)
        assert done.exit_code == 2


async def test_settings_come_from_the_file_named_or_the_home_and_the_address_can_be_overridden(
    desk: Desk, tmp_path: Path
) -> None:
    stored: dict[str, Any] = {
        "mchid": "1",
        "private_key_file": "key.pem",
        "platform_certificates": [{"file": "/c.pem"}],
    }
    (tmp_path / "channels").mkdir()
    (tmp_path / "channels" / "wechat.json").write_text(json.dumps(stored))
    settings = settings_for("wechat", home=tmp_path, sets={}, base_url="https://other.example")
    assert settings == {
        "mchid": "1",
        "private_key_file": str(tmp_path / "channels" / "key.pem"),
        "platform_certificates": [{"file": "/c.pem"}],
        "base_url": "https://other.example",
    }
    named = tmp_path / "mine.json"
    named.write_text(json.dumps(desk.other.settings()))
    assert settings_for("wechat", home=tmp_path, sets={"credentials": str(named)}, base_url=None) == (
        desk.other.settings()
    )
    for content in ("[]", "no JSON"):
        named.write_text(content)
        with pytest.raises(Usage):
            settings_for("wechat", home=tmp_path, sets={"credentials": str(named)}, base_url=None)
    with pytest.raises(Usage):
        settings_for("wechat", home=tmp_path / "nowhere", sets={}, base_url=None)
