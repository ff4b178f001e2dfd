"""Which wallet a payment is for: every answer names its rail, and what one wallet understands never goes to another."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from channels.contract import Method, Pending, Refused, Unknown
from channels.registry import CHANNELS, NAMES, rail_of_payer
from gateway.accounts.names import no_such_channel
from gateway.accounts.ready import ChannelAccounts
from gateway.routing.seam import ONE_WALLET, wallet_for
from kernel.errors import Rejected
from tests.gateway.front import Front, a_front

OPENID, USER_ID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "2088102177846880"
ACCOUNTS = {"wx": "wechat", "wx2": "wechat", "ali": "alipay"}
APP = Pending({"type": "app", "order_string": "x"})
QR = Pending({"type": "qr", "code": "x"})


@asynccontextmanager
async def a_street(database_url: str, home: Path, **accounts: str) -> AsyncIterator[Front]:
    """Open a shop whose accounts are scripted and bear the rails' names."""
    async with a_front(database_url, home, accounts=accounts or ACCOUNTS) as front:
        await front.hub.channel_admin.change(front.book, "rail", state="off")
        front.clock.forward(2)
        yield front


def sent_to(front: Front) -> list[str]:
    return [account for account in front.others for op in front.asked_in_all(account) if op == "pay"]


async def pay(front: Front, method: Mapping[str, Any], number: str) -> Any:
    return await front.pay(number, method=dict(method))


@pytest.mark.parametrize("trouble", ["none", "drained", "down", "refuses", "off"])
async def test_a_wechat_openid_never_goes_to_alipay(database_url: str, tmp_path: Path, trouble: str) -> None:
    async with a_street(database_url, tmp_path) as front:
        for account in ("wx", "wx2"):
            rail = front.others[account]
            if trouble in ("drained", "off"):
                state = "draining" if trouble == "drained" else "off"
                await front.hub.channel_admin.change(front.book, account, state=state)
            elif trouble == "down":
                rail.says(pay=Unknown("no connection", not_sent=True))
            elif trouble == "refuses":
                rail.says(pay=Refused("LIMIT", retriable=True))
        front.clock.forward(2)
        for n, channel in enumerate(({}, {"channel": "auto"}, {"channel": "wechat"})):
            answer = await pay(front, {"type": "jsapi", "payer": OPENID, **channel}, f"order-{n}")
            if trouble in ("drained", "off"):
                assert (answer.status, answer.code) == (422, "no_channel")
            else:
                assert (answer.status, answer.body["channel"]) == (201, "wechat")
                tries = (await front.payment(answer.body["id"]))["attempts"]
                assert {one["channel"] for one in tries} == {"wechat"}
        crossed = await pay(front, {"type": "jsapi", "payer": OPENID, "channel": "alipay"}, "crossed")
        assert (crossed.status, crossed.code) == (422, "payer_of_another_channel")
        assert crossed.body["param"] == "method.payer"
        assert "ali" not in sent_to(front)


async def test_a_payers_id_that_says_its_wallet_needs_no_channel(database_url: str, tmp_path: Path) -> None:
    async with a_street(database_url, tmp_path) as front:
        ali = await pay(front, {"type": "jsapi", "payer": USER_ID}, "1")
        wx = await pay(front, {"type": "jsapi", "payer": OPENID}, "2")
        assert [ali.body["channel"], wx.body["channel"]] == ["alipay", "wechat"]
        unknown = await pay(front, {"type": "jsapi", "payer": "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5"}, "3")
        assert (unknown.status, unknown.code, unknown.body["param"]) == (422, "channel_needed", "method.channel")
        named = {"type": "jsapi", "payer": "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5", "channel": "alipay"}
        assert (await pay(front, named, "4")).body["channel"] == "alipay"
        crossed = await pay(front, {"type": "jsapi", "payer": USER_ID, "channel": "wechat"}, "5")
        assert crossed.code == "payer_of_another_channel"


async def test_an_app_payment_names_its_wallet_and_stays_with_it(database_url: str, tmp_path: Path) -> None:
    async with a_street(database_url, tmp_path) as front:
        for method in ({"type": "app"}, {"type": "app", "channel": "auto"}):
            refused = await pay(front, method, "1")
            assert (refused.status, refused.code) == (422, "channel_needed")
            assert set(ACCOUNTS.values()) <= set(refused.body["channels"])
        front.others["wx"].says(pay=Unknown("no connection", not_sent=True))
        front.others["wx2"].says(pay=APP)
        shown = (await pay(front, {"type": "app", "channel": "wechat"}, "2")).body
        assert shown["channel"] == "wechat"
        assert shown["next_action"] == {"type": "app", "order_string": "x", "channel": "wechat"}
        assert "ali" not in sent_to(front)


async def test_a_shop_says_which_wallet_is_to_scan_its_code(database_url: str, tmp_path: Path) -> None:
    async with a_street(database_url, tmp_path) as front:
        for account in front.others:
            front.others[account].says(pay=QR)
        for channel in ("alipay", "wechat"):
            shown = (await pay(front, {"type": "qr", "channel": channel}, channel)).body
            assert shown["channel"] == shown["next_action"]["channel"] == channel


async def test_every_answer_list_row_and_event_names_the_rail(database_url: str, tmp_path: Path) -> None:
    async with a_street(database_url, tmp_path) as front:
        made = (await pay(front, {"type": "qr", "channel": "alipay"}, "1")).body
        refund = (await front.refund(made["id"], 10)).body
        front.others["wx"].says(pay=Unknown("no connection", not_sent=True))
        front.others["wx2"].says(pay=Unknown("no connection", not_sent=True))
        moved = (await pay(front, {"type": "qr"}, "2")).body  # wherever it went in the end
        shown = [made, refund, moved, await front.payment(made["id"])]
        for path in ("/v1/payments", "/v1/refunds", f"/v1/refunds/{refund['id']}"):
            body = (await front.get(path)).body
            shown += body.get("data", [body])
        assert all(one["channel"] in ("wechat", "alipay") for one in shown), shown
        assert {one["channel"] for one in shown if made["id"] in (one["id"], one.get("payment"))} == {"alipay"}
        last = (await front.payment(moved["id"]))["attempts"][-1]
        assert moved["channel"] == last["channel"]
        events = (await front.get("/v1/events?limit=100")).body["data"]
        of_money = [one for one in events if one["type"].startswith(("payment.", "refund."))]
        assert len(of_money) >= 6
        assert all(one["data"]["channel"] in ("wechat", "alipay") for one in of_money), of_money


async def test_a_cashiers_payment_names_a_rail_once_its_payer_has_chosen(database_url: str, tmp_path: Path) -> None:
    async with a_street(database_url, tmp_path) as front:
        made = (await pay(front, {"type": "cashier"}, "1")).body
        assert made["channel"] is None
        assert "channel" not in made["next_action"]


async def test_a_payment_made_before_a_channel_was_needed_is_found_again(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_street(database_url, tmp_path) as front:
        method = {"type": "app"}
        with monkeypatch.context() as older:
            older.setattr("gateway.payments.creating.wallet_for", lambda *_: "alipay")
            made = await front.pay("old", method=method, key="k")
        assert made.status == 201
        again = await front.pay("old", method=method, key="k")
        assert (again.status, again.body["id"]) == (200, made.body["id"]), "or its merchant would believe it unpaid"
        assert (await front.pay("new", method=method)).code == "channel_needed"


async def test_a_channel_nobody_has_is_answered_with_those_there_are(database_url: str, tmp_path: Path) -> None:
    async with a_street(database_url, tmp_path) as front:
        for name in ("wxpay", "WeChat", "wechat-pay", "微信支付", "weixin"):
            for kind in ("qr", "cashier"):
                answer = await pay(front, {"type": kind, "channel": name}, "1")
                assert (answer.status, answer.code, answer.body["param"]) == (422, "no_such_channel", "method.channel")
                assert "Did you mean wechat?" in answer.body["detail"]
                assert {"wechat", "alipay"} <= set(answer.body["channels"])


async def test_a_named_channel_does_not_take_another_wallets_code(database_url: str, tmp_path: Path) -> None:
    async with a_street(database_url, tmp_path) as front:
        for account, prefixes in (("wx", {"13"}), ("wx2", {"13"}), ("ali", {"28"})):
            channel = front.shop.rails[account]
            channel.capabilities = channel.capabilities.__class__(
                methods=channel.capabilities.methods,
                currencies=channel.capabilities.currencies,
                barcode_prefixes=frozenset(prefixes),
            )
        for code, channel, taken in (
            ("130000000000000001", "wechat", True),
            ("130000000000000001", "alipay", False),
            ("280000000000000001", "wechat", False),
            ("280000000000000001", "alipay", True),
            ("6200000000000000001", "alipay", False),
        ):
            method = {"type": "barcode", "auth_code": code, "channel": channel}
            answer = await pay(front, method, f"{channel}-{code}")
            if taken:
                assert (answer.status, answer.body["channel"]) == (201, channel)
            else:
                assert answer.code == "no_channel"
                why = {one["channel_account"]: one["code"] for one in answer.body["accounts"]}
                assert "not_its_code" in why.values()


def test_whose_an_id_is_follows_from_its_form() -> None:
    assert rail_of_payer(OPENID) == "wechat"
    assert rail_of_payer(USER_ID) == "alipay"
    for nobodys in (
        "",
        "payer-1",
        "o",
        OPENID + "x",
        USER_ID + "1",
        "2088",
        "２０８８１０２１７７８４６８８０",
        "x" * 28,
    ):
        assert rail_of_payer(nobodys) is None


def test_only_ways_that_open_one_wallet_need_a_channel() -> None:
    for method in ("qr", "barcode", "h5", "page", "card", "transfer", "cashier"):
        assert wallet_for(method, "auto", None, NAMES, lambda _: NAMES) == "auto"
    for method in ONE_WALLET:
        with pytest.raises(Rejected) as refused:
            wallet_for(method, "auto", None, NAMES, lambda method: ["wechat", str(method)])
        assert refused.value.code == "channel_needed"
        assert refused.value.facts["channels"] == ["wechat", method], "and no rail that lacks the method"


def test_the_wallets_named_are_those_that_have_the_method() -> None:
    nothing: Any = None  # no account is read
    accounts = ChannelAccounts(CHANNELS, nothing, nothing, nothing)
    assert accounts.rails_by(Method.JSAPI) == ["alipay", "wechat"]
    assert accounts.rails_by(Method.APP) == ["alipay", "unionpay", "wechat"]


def test_a_guess_is_never_a_channel_this_hub_has_not() -> None:
    assert "Did you mean" not in no_such_channel("wxpay", ["stripe"]).message
    assert "Did you mean stripe?" in no_such_channel("strip", NAMES).message
