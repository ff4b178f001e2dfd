"""The worker beside the gateway: two processes on one book, each remembering only what it wrote itself."""

from pathlib import Path

from channels.contract import Pending
from gateway.payments.schedule import FIRST_ANSWER_S
from tests.gateway.front import QR, a_front, another_process
from tests.support import confirmed


async def test_a_worker_that_knows_the_attempt_but_not_the_payment_settles_it(
    database_url: str, tmp_path: Path
) -> None:
    async with a_front(database_url, tmp_path) as front, another_process(front, database_url, tmp_path) as worker:
        front.rail.says(pay=Pending(QR))
        made = (await front.pay(key="k")).body
        front.rail.says(query=confirmed(front.asked("pay")[0].reference, 10_000, front.clock.now()))
        front.clock.forward(FIRST_ANSWER_S + 1)
        await worker.shop.hub.janitor().once()  # claims the attempt first, which is all it has written of the book
        assert (await front.payment(made["id"]))["status"] == "succeeded"
