"""Two merchants may call their accounts at a rail alike: one's slow rail is not the other's."""

import asyncio
from pathlib import Path

import splitting
from channels.client import ChannelClient
from kernel.errors import Unavailable
from splitting import Payee
from splitting.rails.receivers import SetReceiver
from splitting.rails.worker import RailWorker
from splitting.tables import RailReceiver
from tests.gateway.front import a_front

PAYEE = "pye_" + "1" * 26


class SlowForOne:
    """Opens no account: of one book it does not even answer."""

    def __init__(self, slow: int) -> None:
        self.slow, self.asked = slow, list[int]()

    async def client(self, book: int, account_id: str) -> ChannelClient:
        self.asked.append(book)
        if book == self.slow:
            await asyncio.Event().wait()
        raise Unavailable("away", "the account does not open")


async def test_a_slow_rail_keeps_only_its_own_merchant_waiting(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        hub, now = front.hub, front.clock.now()
        south = await hub.merchants.add("south", currencies=["CNY"])
        for book in (front.book, south.book):
            await hub.lanes.put(splitting.CreatePayee(Payee(book, PAYEE, "farm", "supplier", "CNY", None, None, now)))
            facts = ("main", "wechat", "merchant", "190001", "", "", "registering", None, None, 0)
            await hub.lanes.put(SetReceiver(RailReceiver(book, PAYEE, *facts, now, "ada", now, now)))
        clients = SlowForOne(front.book)
        worker = RailWorker(clients, hub.pool, hub.lanes, hub.env)
        front.clock.forward(1)
        assert await worker.begin() == 2
        await asyncio.sleep(0.05)
        assert sorted(clients.asked) == sorted([front.book, south.book])
        assert await worker.begin() == 1, "the other's is due again, and the slow one's turn goes on"
        for turn in worker._turns.tasks:
            turn.cancel()
