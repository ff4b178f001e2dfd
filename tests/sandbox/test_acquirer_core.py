"""The core all simulated acquirers share, under a rail as small as can be: JSON, signed by naming the key."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from sandbox import bank
from sandbox.acquirer import Acquirer, CoreError, NoticeJob, Ordered, Sending, Signed, Trade, Wire
from sandbox.acquirer.books import fee_returned
from sandbox.acquirer.models import Event, Merchant, Refund
from sandbox.clock import Clock
from sandbox.context import SandboxContext, Tasks
from sandbox.control import Control, control_errors
from sandbox.faults import Faults
from sandbox.store import Store, Tx

DAY = timedelta(days=1)


class TinyWire(Wire):
    rail = "tiny"
    mark = "TY"
    payer_name = "Tiny Pay"
    schedule_s = (1, 1, 1)
    refund_takes_s = 1.0
    wishes = frozenset({"colour"})

    states = (("status",), ("state",))

    def merchant_id(self, seq: int) -> str:
        return f"m{seq:04}"

    async def sign_up(self, merchant: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
        return {"colour": wishes.get("colour", "grey")}

    def described(self, merchant: Merchant) -> dict[str, Any]:
        return {"key": f"key-of-{merchant.merchant}", "colour": merchant.extra["colour"]}

    def number(self, kind: str, merchant: str, seq: int, now_ms: int) -> str:
        return f"{kind}-{seq}"

    def content(
        self, event: Event, merchant: Merchant, trade: Trade, refund: Refund | None, now_ms: int
    ) -> dict[str, Any] | None:
        if event in ("created", "declined"):
            return None
        return {"event": event, "order": trade.order, "amount": refund.amount if refund else trade.paid or trade.amount}

    def wrong_amount(self, content: Mapping[str, Any]) -> dict[str, Any]:
        return {**content, "amount": content["amount"] + 1}

    async def sending(self, merchant: Merchant, notice: NoticeJob, signed: Signed) -> Sending:
        headers = {} if signed == "none" else {"Signature": signed}
        return Sending(headers, json.dumps({"id": notice.notice_id, **notice.content}).encode())


class HookedWire(TinyWire):
    rail = "hooked"
    mark = "HK"
    has_webhooks = True
    refund_takes_s = 0

    def webhook_extra(self, merchant: Merchant, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"secret": f"secret-of-{merchant.merchant}"}

    async def sending(self, merchant: Merchant, notice: NoticeJob, signed: Signed) -> Sending:
        assert notice.webhook is not None
        return Sending({"Signature": notice.webhook.extra["secret"]}, json.dumps(dict(notice.content)).encode())


@dataclass
class World:
    """The sandbox with the tiny rails on it, and a merchant's door."""

    ctx: SandboxContext
    http: aiohttp.ClientSession
    tiny: Acquirer
    hooked: Acquirer
    bank: bank.Bank
    door: str
    heard: "asyncio.Queue[tuple[str, dict[str, Any]]]" = field(default_factory=asyncio.Queue)
    refuse: int = 0

    async def control(self, method: str, path: str, body: Any = None, expect: int = 200) -> Any:
        async with self.http.request(method, f"{self.ctx.base_url}/control{path}", json=body) as answer:
            said = await answer.json()
            assert answer.status == expect, said
            return said

    async def merchant(self, **wishes: Any) -> Merchant:
        made = await self.control("POST", "/tiny/merchants", wishes, 201)
        return self.tiny.merchants.get(made["merchant"])

    async def order(self, merchant: Merchant, order: str, amount: int = 1000, **other: Any) -> Trade:
        wanted: dict[str, Any] = {
            "currency": "CNY",
            "product": "page",
            "params": f"{order} {amount}",
            "notify_url": self.door,
            **other,
        }
        made, _ = await self.tiny.write(
            lambda tx: self.tiny.trades.create(tx, merchant, order=order, amount=amount, **wanted)
        )
        return made

    async def in_tx(self, trade: Trade, act: Callable[[Tx, Trade], Any]) -> Any:
        return await self.tiny.write(lambda tx: act(tx, self.tiny.trades.by_id(tx, trade.trade_id)))

    async def paid(self, merchant: Merchant, order: str, amount: int = 1000) -> Trade:
        made = await self.order(merchant, order, amount)
        await self.control("POST", "/tiny/pay", {"merchant": merchant.merchant, "order": order})
        return self.tiny.trades.by_id(self.ctx.store, made.trade_id)

    async def refund(self, trade: Trade, order: str, amount: int) -> tuple[Refund, bool]:
        done: tuple[Refund, bool] = await self.in_tx(
            trade,
            lambda tx, now: self.tiny.refunds.create(
                tx, now, order=order, amount=amount, params=f"{order} {amount}", notify_url=self.door
            ),
        )
        return done

    async def truth(self, merchant: Merchant, order: str) -> Any:
        trades = (await self.control("GET", f"/tiny/trades?merchant={merchant.merchant}"))["trades"]
        return next(trade for trade in trades if trade["order"] == order)

    async def fault(self, name: str, times: int = 1, params: Any = None, **match: str) -> None:
        order = {"fault": name, "rail": "tiny", "match": match, "times": times, "params": params or {}}
        await self.control("POST", "/faults", order, 201)

    async def hear(self) -> tuple[str, dict[str, Any]]:
        return await asyncio.wait_for(self.heard.get(), 200)

    def today(self) -> date:
        return self.ctx.clock.beijing_date()


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store, box = Store(tmp_path / "sandbox.db"), {}
    app = web.Application(middlewares=[control_errors])
    listener = web.AppRunner(web.Application(), access_log=None)

    async def take(request: web.Request) -> web.Response:
        one: World = box["world"]
        one.heard.put_nowait((request.headers.get("Signature", ""), await request.json()))
        if one.refuse:
            one.refuse -= 1
            return web.Response(status=500)
        return web.Response(text="ok")

    listener.app.router.add_post("/door", take)
    await listener.setup()
    site = web.TCPSite(listener, "127.0.0.1", 0)
    await site.start()
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))  # first: the address must be known before anything is built on it
    base_url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    ctx = SandboxContext(tmp_path, base_url, store, Faults(store), Clock(), Tasks(), 0.01)
    Control(ctx).add_to(app)
    the_bank = bank.install(app, ctx)
    tiny, hooked = Acquirer(ctx, TinyWire(), the_bank), Acquirer(ctx, HookedWire(), the_bank)
    await tiny.install(app)
    await hooked.install(app)
    add_api(app, tiny)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, bound).start()
    async with aiohttp.ClientSession() as http:
        box["world"] = World(ctx, http, tiny, hooked, the_bank, f"http://127.0.0.1:{listener.addresses[0][1]}/door")
        yield box["world"]
    assert not ctx.tasks.failed.is_set()
    await runner.cleanup()
    await listener.cleanup()
    await ctx.tasks.stop()
    store.close()


def add_api(app: web.Application, tiny: Acquirer) -> None:
    """Add the tiny rail's only call, wrapped as rails wrap theirs."""

    async def query(request: web.Request) -> web.Response:
        facts = {"merchant": request.query["merchant"], "op": "query", "order": request.query["order"]}

        async def execute() -> dict[str, Any]:
            trade = tiny.trades.get(tiny.ctx.store, facts["merchant"], facts["order"])
            await tiny.write(lambda tx: tiny.trades.note(tx, trade, asked=trade.extra.get("asked", 0) + 1))
            return {"state": trade.state}

        try:
            body = await tiny.guard.run(execute, **facts)
        except Ordered as fault:
            return web.json_response({"code": fault.code or fault.name}, status=fault.status or 500)
        except CoreError as refusal:
            return web.json_response({"code": refusal.code}, status=404)
        said = tiny.guard.said(body, **facts)
        return web.json_response(said, headers={"Signature": tiny.guard.signature(**facts)})

    # A POST, because this client repeats a GET whose connection is cut, and a fault is committed once.
    tiny.guard.route(app, "POST", "/tiny/query", query)


# ---- money -----------------------------------------------------------------------------------------------------------


async def test_an_order_is_made_once_and_paid_once(world: World) -> None:
    merchant = await world.merchant(fee_bp=60, fixed_fee_minor=30)
    first = await world.order(merchant, "a")
    assert (await world.order(merchant, "a")).trade_id == first.trade_id
    with pytest.raises(CoreError) as refused:
        await world.order(merchant, "a", 999)
    assert refused.value.code == "order_conflict"
    await world.control("POST", "/tiny/pay", {"merchant": merchant.merchant, "order": "a", "payer": "Li"})
    again = await world.control("POST", "/tiny/pay", {"merchant": merchant.merchant, "order": "a"}, 409)
    assert again["code"] == "order_paid"
    truth = await world.truth(merchant, "a")
    assert (truth["state"], truth["charged_count"], truth["fee"]) == ("paid", 1, 36)
    assert truth["channel_ref"] == f"charge-{first.trade_id}"


async def test_the_payer_is_found_by_what_the_payer_sees(world: World) -> None:
    merchant = await world.merchant()
    made = await world.order(merchant, "a")
    await world.control("POST", "/tiny/pay", {"code": f"tiny://pay?code={made.token}"})
    assert (await world.truth(merchant, "a"))["state"] == "paid"
    other = await world.order(merchant, "b")
    seen = await world.control("POST", "/tiny/scan", {"code": other.trade_ref})
    assert (seen["order"], seen["state"], seen["page"]) == ("b", "open", world.tiny.page_url(other))
    await world.control("POST", "/tiny/pay", {"code": other.trade_ref})
    assert (await world.truth(merchant, "b"))["state"] == "paid"
    await world.control("POST", "/tiny/pay", {"code": "tiny://pay?code=nobody"}, 404)


async def test_an_order_the_rail_knows_only_with_its_payer_is_made_when_the_payer_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = await world.merchant()

    async def comes(of: Acquirer, number: str | None, order: str | None, code: str | None) -> Trade | None:
        return await world.order(merchant, order or "by code") if "nobody" not in (order, code) else None

    monkeypatch.setattr(world.tiny.wire, "payer_comes", comes)
    await world.control("POST", "/tiny/pay", {"merchant": merchant.merchant, "order": "late"})
    await world.control("POST", "/tiny/pay", {"code": "tiny://new"})
    assert (await world.truth(merchant, "late"))["state"] == "paid"
    assert (await world.truth(merchant, "by code"))["state"] == "paid"
    await world.control("POST", "/tiny/pay", {"merchant": merchant.merchant, "order": "nobody"}, 404)


async def test_numbers_are_told_as_the_merchant_has_them_and_found_as_the_rail_spells_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = await world.merchant()
    monkeypatch.setattr(world.tiny.wire, "spelled", lambda number: number.replace("-", "_"))
    monkeypatch.setattr(world.tiny.wire, "told", lambda number: number.replace("_", "-"))
    world.tiny.ctx.faults.spell("tiny", ("order",), world.tiny.wire.spelled)
    await world.order(merchant, "1_a")
    await world.fault("notice_drop", order="1-a")
    await world.control("POST", "/tiny/pay", {"merchant": merchant.merchant, "order": "1-a"})
    assert (await world.truth(merchant, "1-a"))["state"] == "paid"
    listed = await world.control("GET", "/faults")
    assert listed["faults"][-1]["match"]["order"] == "1_a"


async def test_the_payers_page_shows_the_amount_and_takes_the_payers_word(world: World) -> None:
    merchant = await world.merchant()
    made = await world.order(merchant, "<a>", 123456)
    url = world.tiny.page_url(made)
    async with world.http.get(url) as answer:
        text, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    assert "1234.56 CNY" in text
    assert "&lt;a&gt;" in text
    assert policy.startswith("default-src 'none'")
    assert "http" not in text, "the page asks nobody else for anything"
    async with world.http.post(url, data={"choice": "decline"}) as answer:
        assert answer.status == 200
    assert (await world.truth(merchant, "<a>"))["state"] == "open"
    async with world.http.post(url, data={"choice": "pay"}) as answer:
        assert "已支付" in await answer.text()
    assert (await world.truth(merchant, "<a>"))["charged_count"] == 1


async def test_held_money_is_captured_in_part_and_once(world: World) -> None:
    merchant = await world.merchant(fee_bp=100)
    made = await world.order(merchant, "a", hold=True)
    await world.control("POST", "/tiny/pay", {"merchant": merchant.merchant, "order": "a"})
    held = await world.truth(merchant, "a")
    assert (held["state"], held["charged_count"], held["fee"]) == ("held", 0, 0)
    trades = world.tiny.trades
    for _ in range(2):
        captured = await world.in_tx(made, lambda tx, trade: trades.capture(tx, trade, 400))
        assert (captured.state, captured.paid, captured.fee) == ("paid", 400, 4)
    for amount in (401, 1000):
        with pytest.raises(CoreError, match="400"):
            await world.in_tx(made, lambda tx, trade, amount=amount: trades.capture(tx, trade, amount))
    assert (await world.truth(merchant, "a"))["charged_count"] == 1


async def test_held_money_is_released_and_then_cannot_be_captured(world: World) -> None:
    merchant = await world.merchant()
    made = await world.order(merchant, "a", hold=True)
    await world.control("POST", "/tiny/pay", {"merchant": merchant.merchant, "order": "a"})
    for _ in range(2):
        await world.in_tx(made, world.tiny.trades.void)
    with pytest.raises(CoreError) as refused:
        await world.in_tx(made, world.tiny.trades.capture)
    assert refused.value.code == "order_closed"
    with pytest.raises(CoreError):
        await world.in_tx(made, lambda tx, trade: world.tiny.trades.charge(tx, trade, None))


async def test_what_is_over_closes_by_itself_and_is_closed_even_before_that_is_written(world: World) -> None:
    merchant = await world.merchant()
    made = await world.order(merchant, "a", expires_ms=world.ctx.clock.now_ms() - 1)
    assert made.state == "closed"
    assert made.closed_by == "expired"
    assert (await world.hear())[1]["event"] == "closed"
    await world.control("POST", "/tiny/pay", {"merchant": merchant.merchant, "order": "a"}, 409)


async def test_a_refund_is_made_once_and_never_beyond_what_was_paid(world: World) -> None:
    merchant = await world.merchant(fee_bp=60)
    trade = await world.paid(merchant, "a", 1000)
    first, new = await world.refund(trade, "r1", 300)
    same, again = await world.refund(trade, "r1", 300)
    assert (new, again, first.refund_id == same.refund_id) == (True, False, True)
    with pytest.raises(CoreError) as other:
        await world.refund(trade, "r1", 301)
    with pytest.raises(CoreError) as too_much:
        await world.refund(trade, "r2", 701)
    assert (other.value.code, too_much.value.code) == ("refund_conflict", "refund_exceeds")
    await world.refund(trade, "r3", 700)
    refunds = (await world.truth(merchant, "a"))["refunds"]
    assert [(r["order"], r["amount"]) for r in refunds] == [("r1", 300), ("r3", 700)]
    flow = world.ctx.store.all("SELECT * FROM acquirer_flow WHERE merchant = ?", merchant.merchant)
    assert sum(row["amount"] for row in flow) == 0, "a full refund in parts returns exactly the fee"


async def test_a_refund_is_pending_then_done_and_told(world: World) -> None:
    merchant = await world.merchant()
    trade = await world.paid(merchant, "a")
    refund, _ = await world.refund(trade, "r1", 300)
    assert refund.status == "pending"
    told = [(await world.hear())[1] for _ in range(2)]
    assert [(one["event"], one["amount"]) for one in told] == [("paid", 1000), ("refunded", 300)]
    assert (await world.truth(merchant, "a"))["refunds"][0]["status"] == "success"


async def test_a_refund_that_fails_gives_the_merchant_its_money_back(world: World) -> None:
    merchant = await world.merchant()
    trade = await world.paid(merchant, "a")
    await world.fault("refund_failed", refund="r1")
    before = world.ctx.store.all("SELECT sum(amount) AS net FROM acquirer_flow")[0]["net"]
    await world.refund(trade, "r1", 300)
    assert [(await world.hear())[1]["event"] for _ in range(2)] == ["paid", "refund_failed"]
    assert world.ctx.store.all("SELECT sum(amount) AS net FROM acquirer_flow")[0]["net"] == before
    assert world.tiny.trades.by_id(world.ctx.store, trade.trade_id).refunded == 0


async def test_a_reversal_gives_back_what_was_paid_and_closes_what_was_not(world: World) -> None:
    merchant = await world.merchant()
    paid, waiting = await world.paid(merchant, "a"), await world.order(merchant, "b")
    for trade in (paid, waiting):
        for _ in range(2):
            await world.in_tx(trade, world.tiny.refunds.reverse)
    truth = await world.truth(merchant, "a")
    assert truth["state"] == "reversed"
    assert [(r["order"], r["amount"], r["status"]) for r in truth["refunds"]] == [(None, 1000, "success")]
    assert (await world.truth(merchant, "b"))["state"] == "closed"


@pytest.mark.parametrize(("fee", "parts", "paid"), [(7, (1, 1, 1), 3), (36, (1, 998, 1), 1000), (1, (500, 500), 1000)])
def test_parts_of_a_fee_add_up_to_the_fee(fee: int, parts: tuple[int, ...], paid: int) -> None:
    running = [fee_returned(fee, sum(parts[:n]), paid) for n in range(len(parts) + 1)]
    assert running == sorted(running)
    assert running[-1] == fee


# ---- days and bills --------------------------------------------------------------------------------------------------


async def test_a_closed_day_is_paid_out_once_and_later_money_belongs_to_the_next(world: World) -> None:
    customer = (await world.bank.enrol("tea")).customer
    account, _ = await world.bank.open_account(customer, reference="1", name="tea", currency="CNY", kind="pool")
    merchant = await world.merchant(fee_bp=60, settle_to=account.number)
    await world.paid(merchant, "a", 10000)
    body = {"merchant": merchant.merchant, "date": world.today().isoformat()}
    closed = [await world.control("POST", "/tiny/close-day", body) for _ in range(2)]
    assert closed[0] == closed[1]
    assert (closed[0]["net"], closed[0]["end_to_end_id"]) == (
        9940,
        f"TY{merchant.merchant}{world.today():%Y%m%d}",
    )
    await world.paid(merchant, "b", 500)
    days = [[row.order for row in world.tiny.bills.rows(merchant, world.today() + n * DAY)] for n in (0, 1)]
    assert days == [["a"], ["b"]]
    tomorrow = body | {"date": (world.today() + DAY).isoformat()}
    assert (await world.control("POST", "/tiny/close-day", tomorrow))["net"] == 497, "the pay-out itself is no income"
    late = body | {"date": (world.today() + 3 * DAY).isoformat()}
    assert (await world.control("POST", "/tiny/close-day", late, 409))["code"] == "not_closable"


async def test_the_rows_of_a_bill_are_the_fund_flow(world: World) -> None:
    merchant = await world.merchant(fee_bp=60)
    trade = await world.paid(merchant, "a", 1000)
    await world.refund(trade, "r1", 500)
    rows = world.tiny.bills.rows(merchant, world.today())
    assert [(row.kind, row.order, row.refund, row.amount, row.fee) for row in rows] == [
        ("payment", "a", None, 1000, 6),
        ("refund", "a", "r1", 500, -3),
    ]
    assert rows[1].payment_ref == rows[0].ref == trade.charge_ref


@pytest.mark.parametrize(
    ("fault", "match", "params", "expected"),
    [
        ("bill_row_missing", {"order": "a"}, {}, [("refund", 500)]),
        ("bill_row_missing", {"refund": "r1"}, {}, [("payment", 1000)]),
        ("bill_row_altered", {"order": "a"}, {"delta_minor": -1}, [("payment", 999), ("refund", 500)]),
        ("bill_row_doubled", {"refund": "r1"}, {}, [("payment", 1000), ("refund", 500), ("refund", 500)]),
        ("bill_row_extra", {}, {"total_minor": 77}, [("payment", 1000), ("refund", 500), ("payment", 77)]),
        ("bill_row_late", {"order": "a"}, {}, [("refund", 500)]),
    ],
)
async def test_a_bill_is_spoiled_on_order_and_the_same_each_time(
    world: World, fault: str, match: dict[str, str], params: dict[str, int], expected: list[tuple[str, int]]
) -> None:
    merchant = await world.merchant()
    await world.refund(await world.paid(merchant, "a", 1000), "r1", 500)
    await world.fault(fault, params=params, merchant=merchant.merchant, **match)
    for _ in range(2):
        rows = world.tiny.bills.rows(merchant, world.today())
        assert [(row.kind, row.amount) for row in rows] == expected
    if fault == "bill_row_late":
        assert [row.order for row in world.tiny.bills.rows(merchant, world.today() + DAY)] == ["a"]
    net = world.ctx.store.all("SELECT sum(amount) AS net FROM acquirer_flow")[0]["net"]
    assert net == 1000 - 6 - 500 + 3, "a fault changes what is said, never what is owed"


async def test_a_bill_may_be_cut_short_or_be_another_days(world: World) -> None:
    merchant = await world.merchant()
    await world.paid(merchant, "a")
    assert world.tiny.bills.cut(merchant, world.today(), b"x" * 9) == b"x" * 9
    await world.fault("bill_truncated", merchant=merchant.merchant)
    assert world.tiny.bills.cut(merchant, world.today(), b"x" * 9) == b"x" * 6
    await world.fault("bill_wrong_day", merchant=merchant.merchant)
    true = world.tiny.bills.true_rows(merchant, world.today())[0]
    assert world.tiny.bills.rows(merchant, world.today())[0].at_ms == true.at_ms - 86_400_000
    await world.fault("bill_row_status", merchant=merchant.merchant, params={"status": "odd"})
    assert world.tiny.bills._spoil(merchant, true, world.today())[0].status == "odd"


# ---- notices ---------------------------------------------------------------------------------------------------------


async def test_a_notice_is_repeated_until_it_is_acknowledged(world: World) -> None:
    world.refuse = 2
    merchant = await world.merchant()
    await world.paid(merchant, "a")
    heard = [await world.hear() for _ in range(3)]
    assert {one["id"] for _, one in heard} == {heard[0][1]["id"]}
    notice = await settled(world, merchant, "acknowledged")
    assert [attempt["http_status"] for attempt in notice["attempts"]] == [500, 500, 200]


async def settled(world: World, merchant: Merchant, state: str) -> Any:
    """Return the merchant's only notice once its state is written, which is after the door has answered."""
    for _ in range(5_000):
        notices = (await world.control("GET", f"/tiny/notices?merchant={merchant.merchant}"))["notices"]
        assert len(notices) == 1
        if notices[0]["state"] == state:
            return notices[0]
        await asyncio.sleep(0.02)
    raise AssertionError(f"{notices} is not {state}")


@pytest.mark.parametrize(
    ("fault", "params", "heard"),
    [
        ("notice_forged", {}, [("wrong", 1000), ("right", 1000)]),
        ("notice_wrong_amount", {}, [("right", 1001), ("right", 1000)]),
        ("notice_unsigned", {}, [("", 1000), ("right", 1000)]),
        ("notice_duplicate", {"copies": 3}, [("right", 1000)] * 3),
        ("notice_drop", {}, [("right", 1000)]),
        ("notice_delay", {"ms": 30}, [("right", 1000)]),
    ],
)
async def test_a_notice_goes_wrong_on_order(
    world: World, fault: str, params: dict[str, int], heard: list[tuple[str, int]]
) -> None:
    merchant = await world.merchant()
    await world.fault(fault, params=params, order="a")
    await world.paid(merchant, "a")
    got = [await world.hear() for _ in heard]
    assert [(signature, said["amount"]) for signature, said in got] == heard
    await settled(world, merchant, "acknowledged")
    assert world.heard.empty()
    assert (len({said["id"] for _, said in got}) == 2) is (fault == "notice_wrong_amount")


async def test_a_notice_can_be_overtaken(world: World) -> None:
    merchant = await world.merchant()
    await world.fault("notice_reordered", order="a")
    await world.paid(merchant, "a")
    await settled(world, merchant, "held")
    await world.paid(merchant, "b")
    assert [(await world.hear())[1]["order"] for _ in range(2)] == ["b", "a"]


async def test_nobody_who_stays_silent_is_told_for_ever(world: World) -> None:
    merchant = await world.merchant()
    await world.fault("notice_drop", times=4, order="a")
    await world.paid(merchant, "a")
    notice = await settled(world, merchant, "given_up")
    assert [attempt["what"] for attempt in notice["attempts"]] == ["dropped"] * 4


async def test_registered_addresses_are_told_what_the_orders_address_would_be(world: World) -> None:
    made = await world.control("POST", "/hooked/merchants", {}, 201)
    hook = {"merchant": made["merchant"], "url": world.door}
    assert (await world.control("POST", "/hooked/webhooks", hook, 201))["webhook_id"].startswith("webhook-")
    merchant = world.hooked.merchants.get(made["merchant"])
    trade, _ = await world.hooked.write(
        lambda tx: world.hooked.trades.create(tx, merchant, order="a", amount=5, currency="CNY", product="p", params="")
    )
    await world.hooked.pay(trade, None)
    signature, said = await world.hear()
    assert (signature, said["event"]) == (f"secret-of-{made['merchant']}", "paid")
    refund, _ = await world.hooked.write(
        lambda tx: world.hooked.refunds.create(
            tx, world.hooked.trades.by_id(tx, trade.trade_id), order="r", amount=5, params=""
        )
    )
    assert refund.status == "success", "this rail refunds at once"


# ---- requests --------------------------------------------------------------------------------------------------------


async def ask(world: World, merchant: Merchant, order: str = "a") -> tuple[int, Any, str]:
    query = {"merchant": merchant.merchant, "order": order}
    async with world.http.post(f"{world.ctx.base_url}/tiny/query", params=query) as answer:
        return answer.status, await answer.json(), answer.headers.get("Signature", "")


async def executed(world: World, merchant: Merchant) -> int:
    trade = world.tiny.trades.get(world.ctx.store, merchant.merchant, "a")
    return int(trade.extra.get("asked", 0))


@pytest.mark.parametrize(
    ("fault", "params", "answer", "times"),
    [
        ("system_error", {}, (500, {"code": "system_error"}, ""), 0),
        ("system_error_after", {}, (500, {"code": "system_error"}, ""), 1),
        ("frequency_limited", {}, (500, {"code": "frequency_limited"}, ""), 0),
        ("refuse", {"code": "NO", "status": 403}, (403, {"code": "NO"}, ""), 0),
        ("delay", {"ms": 20}, (200, {"state": "open"}, "right"), 1),
        ("unsigned_answer", {}, (200, {"state": "open"}, "none"), 1),
        ("bad_signature", {}, (200, {"state": "open"}, "wrong"), 1),
        ("answer_status", {"status": "new word"}, (200, {"state": "new word"}, "right"), 1),
    ],
)
async def test_a_request_goes_wrong_on_order(
    world: World, fault: str, params: dict[str, Any], answer: tuple[int, Any, str], times: int
) -> None:
    merchant = await world.merchant()
    await world.order(merchant, "a")
    await world.fault(fault, params=params, op="query", order="a")
    assert await ask(world, merchant) == answer
    assert await executed(world, merchant) == times
    assert await ask(world, merchant) == (200, {"state": "open"}, "right")


@pytest.mark.parametrize(("fault", "times"), [("request_lost", 0), ("answer_lost", 1), ("down", 0)])
async def test_a_connection_is_cut_on_order(world: World, fault: str, times: int) -> None:
    merchant = await world.merchant()
    await world.order(merchant, "a")
    await world.fault(fault, merchant=merchant.merchant)
    with pytest.raises(aiohttp.ClientError):
        await ask(world, merchant)
    assert await executed(world, merchant) == times


async def test_even_a_refusal_can_be_lost(world: World) -> None:
    merchant = await world.merchant()
    await world.fault("answer_lost", merchant=merchant.merchant)
    with pytest.raises(aiohttp.ClientError):
        await ask(world, merchant, "nobody's")
    assert (await ask(world, merchant, "nobody's"))[0] == 404


# ---- control ---------------------------------------------------------------------------------------------------------


async def test_a_merchant_is_signed_up_as_wished_and_found_again_after_a_restart(world: World) -> None:
    made = await world.control("POST", "/tiny/merchants", {"name": "Tea", "fee_bp": 38, "colour": "red"}, 201)
    assert (made["colour"], made["fee_bp"], made["key"]) == ("red", 38, f"key-of-{made['merchant']}")
    listed = (await world.control("GET", "/tiny/merchants"))["merchants"]
    assert made in listed
    await world.control("POST", "/tiny/merchants", {"shade": "red"}, 400)
    await world.control("PATCH", f"/tiny/merchants/{made['merchant']}", {"settle_to": "nowhere"}, 404)
    reread = Acquirer(world.ctx, TinyWire(), NoBank()).merchants.get(made["merchant"])
    assert (reread.name, reread.extra["colour"]) == ("Tea", "red")


async def test_a_rail_whose_keys_do_not_change_says_so(world: World) -> None:
    assert (await world.control("POST", "/tiny/rotate-keys", {}, 404))["code"] == "no_keys_to_rotate"


class NoBank:
    """A bank nobody asks."""

    business_date = date(2026, 1, 1)

    def find_account(self, number: str) -> object | None:
        return None

    def credit(self, *_: Any, **__: Any) -> None:
        raise AssertionError("nothing is paid out")
