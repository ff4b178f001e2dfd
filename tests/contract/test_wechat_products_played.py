"""What WeChat Pay alone has, between our adapter and its sandbox: combined payments and abnormal refunds."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import aiohttp
import pytest
import pytest_asyncio

from channels import ChannelClient, Confirmed, Method, Order, Outcome, Pending, RefundOrder, Refused, Unknown
from channels.wechat import Combined, WeChatPay, build
from channels.wechat.combined import CombinedOrder, CombinedOutcome, CombinedPart
from kernel.env import Env, Response
from kernel.money import Money
from ops.trials.channel_call import call
from tests.contract.counterparties import Inbox, inbox
from tests.contract.counterparty_wechat import WeChatSandbox

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass
class Mall:
    """A merchant that takes payments for itself and for a neighbour."""

    client: ChannelClient
    wechat: WeChatPay
    combined: Combined
    other: WeChatSandbox
    neighbour: WeChatSandbox
    env: Env
    box: Inbox

    def order(self, method: Method = Method.QR) -> CombinedOrder:
        def part(merchant: str, minor: int) -> CombinedPart:
            return CombinedPart(merchant, f"1-{self.env.ids.body()}0", Money(minor, "CNY"), "茶叶, `Tea`")

        return CombinedOrder(
            reference=f"1c{self.env.ids.body()}",
            method=method,
            parts=[part(self.other.merchant, 100), part(self.neighbour.merchant, 2000)],
            notify_url=self.box.url,
            expires_at=self.env.now() + timedelta(hours=1),
            payer="oAlice" if method is Method.JSAPI else None,
            client_ip="203.0.113.7" if method is Method.H5 else None,
        )

    async def pay(self, order: CombinedOrder) -> Outcome:
        return await self.client.exchange("pay", order, self.combined.pay_request, self.combined.pay_outcome)

    async def query(self, order: CombinedOrder) -> CombinedOutcome:
        found = CombinedOutcome(Unknown("not read"))

        def read(asked: CombinedOrder, answer: Response, /, **now: object) -> Outcome:
            nonlocal found
            found = self.combined.query_outcome(asked, answer, **now)  # type: ignore[arg-type]
            return found.whole

        whole = await self.client.exchange("query", order, self.combined.query_request, read)
        return replace(found, whole=whole)

    async def close(self, order: CombinedOrder) -> Outcome:
        return await self.client.exchange("close", order, self.combined.close_request, self.combined.close_outcome)


@pytest_asyncio.fixture(loop_scope="session")
async def mall(base_url: str, env: Env, http: aiohttp.ClientSession) -> AsyncIterator[Mall]:
    other, neighbour = WeChatSandbox(base_url, http), WeChatSandbox(base_url, http)
    await other.open_account()
    await neighbour.open_account()
    wechat = build(other.settings())
    async with inbox() as box:
        yield Mall(ChannelClient(wechat, env), wechat, Combined(wechat), other, neighbour, env, box)


@pytest.mark.parametrize("method", [Method.QR, Method.JSAPI, Method.H5, Method.APP])
async def test_a_combined_payment_is_shown_paid_told_and_asked_about(mall: Mall, method: Method) -> None:
    order = mall.order(method)
    unknown = (await mall.query(order)).whole
    assert isinstance(unknown, Unknown)
    assert unknown.not_found
    for _ in range(2):
        assert isinstance(await mall.pay(order), Pending)
    assert (await mall.query(order)).whole == Pending()
    await mall.other.pay(order.reference)
    found = await mall.query(order)
    assert isinstance(found.whole, Confirmed)
    assert found.whole.amount == Money(2100, "CNY")
    told = mall.combined.notice(await mall.box.next(), now=mall.env.now())
    assert told.reference == order.reference
    assert told.outcomes == dict(zip([part.reference for part in order.parts], found.parts, strict=True))
    for other, part in zip((mall.other, mall.neighbour), order.parts, strict=True):
        assert (await other.charged(part.reference)).times == 1


async def test_a_combined_payment_is_closed_as_a_whole(mall: Mall) -> None:
    order = mall.order()
    await mall.pay(order)
    for _ in range(2):
        assert await mall.close(order) == Refused("CLOSED", closed=True)
    found = await mall.query(order)
    assert [type(part) for part in found.parts] == [Refused, Refused]
    assert await mall.pay(order) == Refused("ORDER_CLOSED", "订单已关闭", closed=True)
    paid = mall.order()
    await mall.pay(paid)
    await mall.other.pay(paid.reference)
    assert isinstance(await mall.close(paid), Unknown)


@pytest.mark.parametrize("fault", ["answer_lost", "system_error_after", "bad_signature", "request_lost"])
async def test_a_combined_order_in_doubt_is_had_by_asking_again(mall: Mall, fault: str) -> None:
    order = mall.order()
    body = {"fault": fault, "rail": "wechat", "match": {"merchant": mall.other.merchant, "op": "create"}, "times": 1}
    await mall.other.control("POST", "/control/faults", body)
    assert isinstance(await mall.pay(order), Unknown)
    assert isinstance(await mall.pay(order), Pending)


@pytest.mark.parametrize("to_payer", [True, False])
async def test_an_abnormal_refund_is_sent_on_and_done(mall: Mall, to_payer: bool) -> None:
    now = mall.env.now()
    order = Order(
        reference=f"1-{mall.env.ids.body()}0",
        amount=Money(1234, "CNY"),
        method=Method.QR,
        description="Tea",
        notify_url=mall.box.url,
        expires_at=now + timedelta(hours=1),
        created_at=now,
    )
    await mall.client.pay(order)
    await mall.other.pay(order.reference)
    refund = RefundOrder(
        reference=f"1-{mall.env.ids.body()}",
        payment_reference=order.reference,
        payment_amount=order.amount,
        amount=Money(234, "CNY"),
        reason="不合适",
        notify_url=mall.box.url,
        created_at=now,
        payment_created_at=now,
    )
    await mall.other.notice_fault("refund_abnormal", order.reference)
    accepted = await mall.client.refund(refund)
    assert isinstance(accepted, Pending)
    refund = replace(refund, channel_ref=accepted.channel_ref)
    stuck = await settled(mall, refund, Pending({"type": "operator", "code": "ABNORMAL"}, accepted.channel_ref))
    assert isinstance(stuck, Pending)
    card = {"bank_type": "ICBC_DEBIT", "bank_account": "6222020000000000000", "real_name": "张三"} if to_payer else {}
    sets = {
        "reference": order.reference,
        "amount": "1234",
        "refund_reference": refund.reference,
        "refund_amount": "234",
    }
    named = sets | {"refund_channel_ref": str(refund.channel_ref)} | card
    settings = mall.other.settings()
    for wrong in (sets, named | {"bank_type": "ICBC_DEBIT", "real_name": ""}):
        assert (await call("wechat", "abnormal_refund", settings, wrong, mall.env)).exit_code == 2
    done = await call("wechat", "abnormal_refund", settings, named, mall.env)
    assert (done.exit_code, done.result["outcome"]) == (0, "pending"), done.result
    assert done.result["channel_ref"] == accepted.channel_ref
    for _ in range(5_000):
        asked = await mall.client.refund_query(refund)
        if isinstance(asked, Confirmed):
            break
        await mall.env.sleep(0.01)
    assert isinstance(asked, Confirmed)
    assert asked.amount == refund.amount
    assert (await mall.other.charged(order.reference)).refunds == {refund.reference: 234}


async def settled(mall: Mall, refund: RefundOrder, until: Outcome) -> Outcome:
    for _ in range(5_000):
        outcome = await mall.client.refund_query(refund)
        if outcome == until:
            return outcome
        await mall.env.sleep(0.01)
    raise AssertionError(f"the refund never became {until}, but {outcome}")
