"""`sluice channel call` on every rail: what was set by hand makes the same calls as the hub's."""

from dataclasses import replace
from typing import Any

import pytest

from channels import Confirmed, Method, Order, Pending
from channels.sharing import Sharing
from ops.trials.channel_call import SHARING_OPS, ProbeResult, call
from tests.contract.plays import Play, plays

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Hand:
    """Someone at a terminal who carries what one call told into the next."""

    def __init__(self, play: Play, order: Order) -> None:
        self.play, self.order = play, order
        self.sets = {"method": order.method.value, "currency": order.amount.currency}
        self.sets |= {"amount": str(order.amount.minor), "notify_url": order.notify_url}
        for name in ("auth_code", "store", "payer", "token", "client_ip", "return_url"):
            if value := getattr(order, name):
                self.sets[name] = value
        if order.authorize_only:
            self.sets["hold"] = "yes"
        if order.share_later:
            self.sets["share_later"] = "yes"

    async def call(self, op: str, **more: str) -> dict[str, Any]:
        """Make a call that must do what was asked."""
        done = await self.try_call(op, **more)
        assert done.exit_code == 0, done.result
        for name in ("reference", "channel_ref", "created_at", "refund_reference", "refund_created_at"):
            if told := done.result.get(name):
                refunds_own = op in ("refund", "refund_query") and name == "channel_ref"
                self.sets["refund_channel_ref" if refunds_own else name] = told
        return dict(done.result)

    async def try_call(self, op: str, **more: str) -> ProbeResult:
        return await call(self.play.rail.name, op, self.play.other.settings(), self.sets | more, self.play.env)

    async def pay(self) -> dict[str, Any]:
        """Create, have the payer agree, and go on until it is known what came of it."""
        told = await self.call("create")
        if told["outcome"] == "pending" and told.get("next_action"):
            shown = replace(self.order, reference=told["reference"])
            if self.order.method in self.play.rail.known_after_payer:
                await self.play.other.come(shown, Pending(told["next_action"]))
            await self.play.other.pay(told["reference"])
            told = await self.call("query")
        if told.get("proceed"):
            told = await self.call("proceed")
        return told


@plays(alone=True)
async def test_a_payment_is_made_asked_about_refunded_and_billed_by_hand(play: Play) -> None:
    hand = Hand(play, play.order())
    paid = await hand.pay()
    assert (paid["outcome"], paid["amount"], paid["currency"]) == ("confirmed", 1234, hand.sets["currency"])
    del hand.sets["amount"]
    asked = await hand.call("query")
    assert (asked["outcome"], asked["amount"]) == ("confirmed", 1234), "an amount not named is taken as stated"
    hand.sets["amount"] = "1234"
    await hand.call("refund", refund_amount="234")
    back = await hand.call("refund_query", refund_amount="234")
    assert back["outcome"] in ("pending", "confirmed")
    today = play.today().isoformat()
    await play.other.close_day(play.today())
    bill = await hand.call("bill", date=today)
    assert (bill["payments"], bill["payments_minor"], bill["refunds_minor"]) == (1, 1234, 234)


@plays(method=lambda rail: rail.holds)
async def test_money_is_held_captured_and_released_by_hand(play: Play, method: Method) -> None:
    hand = Hand(play, play.order(method, hold=True))
    held = await hand.pay()
    assert (held["outcome"], held["held"]) == ("pending", 1234)
    captured = await hand.call("capture")
    assert (captured["outcome"], captured["amount"]) == ("confirmed", 1234)
    other = Hand(play, play.order(method, hold=True))
    await other.pay()
    assert (await other.call("void"))["closed"]


@plays(when=lambda rail: not rail.other.SHARES)
async def test_what_a_rail_does_not_have_exits_2_and_says_so(play: Play) -> None:
    hand = Hand(play, play.order())
    assert not isinstance(play.client.channel, Sharing)
    for op in SHARING_OPS:
        done = await hand.try_call(op, channel_ref="1")
        assert done.exit_code == 2
        assert "does not share out" in done.result["error"]


@plays(when=lambda rail: rail.name != "wechat")
async def test_a_rail_that_leaves_no_refund_half_done_is_not_asked_to_send_one_on(play: Play) -> None:
    done = await Hand(play, play.order()).try_call("abnormal_refund", reference="1-a", refund_reference="1-b")
    assert (done.exit_code, "half done" in done.result["error"]) == (2, True)


@plays(when=lambda rail: not rail.capabilities.authorizes)
async def test_a_rail_that_reserves_nothing_exits_2_and_nothing_is_sent(play: Play) -> None:
    hand = Hand(play, play.order())
    for op in ("capture", "void"):
        done = await hand.try_call(op, reference="1-abcdef")
        assert (done.exit_code, "cannot be asked" in done.result["error"]) == (2, True)


@plays(when=lambda rail: rail.other.SHARES)
async def test_a_payment_is_shared_out_and_a_share_fetched_back_by_hand(play: Play) -> None:
    neighbour = type(play.other)(play.other.base_url, play.other.http)
    await neighbour.open_account()
    hand = Hand(play, replace(play.order(play.other.SHARES_COME_BACK_OF), share_later=True))
    await hand.pay()
    receiver = {"receiver": f"merchant:{neighbour.merchant}", "receiver_name": "tea"}
    assert (await hand.try_call("bind", **receiver)).exit_code == 0
    made = await hand.try_call("share", **receiver, share_amount="500", release_rest="yes")
    assert made.exit_code == 0, made.result
    number = {"share_reference": made.result["share_reference"], "share_channel_ref": made.result["channel_ref"]}
    for _ in range(5_000):
        asked = await hand.try_call("share_query", **receiver, **number, share_amount="500")
        assert asked.exit_code == 0, asked.result
        if asked.result["outcome"] != "pending":
            break
        await play.env.sleep(0.01)
    assert [share["amount"] for share in asked.result["shares"]] == [500]
    back = await hand.try_call("give_back", **receiver, **number, return_amount="200")
    assert back.exit_code == 0, back.result
    found = await hand.try_call(
        "give_back_query", **receiver, **number, return_amount="200", return_reference=back.result["return_reference"]
    )
    assert found.exit_code == 0
    assert (await hand.try_call("unbind", **receiver)).exit_code == 0
    assert isinstance(await play.client.query(replace(hand.order, **_as_paid(hand))), Confirmed)


def _as_paid(hand: Hand) -> dict[str, Any]:
    return {"reference": hand.sets["reference"], "channel_ref": hand.sets["channel_ref"]}


@plays(when=lambda rail: rail.other.SHARES)
async def test_a_share_that_is_asked_for_wrongly_exits_2(play: Play) -> None:
    hand = Hand(play, play.order())
    me = {"receiver": "person:oAlice"}
    for op, sets in (
        ("bind", {}),
        ("bind", {"receiver": "oAlice"}),
        ("bind", {"receiver": "bank:7"}),
        ("share", me | {"channel_ref": "42"}),
        ("share", me | {"share_amount": "1"}),
        ("share", me | {"channel_ref": "42", "share_amount": "0"}),
        ("share_query", me | {"channel_ref": "42"}),
        ("give_back", me | {"channel_ref": "42", "share_reference": "s"}),
        ("give_back", me | {"channel_ref": "42", "share_reference": "s", "return_amount": "1"}),
        ("give_back_query", me | {"channel_ref": "42", "share_reference": "s", "return_amount": "1"}),
        ("create", {"hold": "perhaps"}),
        ("create", {"created_at": "2026-11-24T16:30:00"}),
    ):
        done = await hand.try_call(op, **sets)
        assert done.exit_code == 2, (op, sets, done.result)
        assert done.result["error"]
