"""The posting half of `sluice split bench`, run small: two books alike, and whatever differs is counted."""

import os
from collections.abc import Sequence
from typing import Any

import pytest

from kernel.work import Work
from ops.trials import split_posting
from streams import Event
from tests.conftest import TestServer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def measured(pg_server: TestServer, orders: int) -> dict[str, Any]:
    name = f"split_bench_{os.getpid()}"
    return await split_posting.alone(pg_server.server.admin_url, name=name, orders=orders, rounds=2)


async def test_both_ways_post_the_same_shares(pg_server: TestServer) -> None:
    told = await measured(pg_server, 70)
    assert (told["posted_orders"], told["posting_unequal"], told["posting_unsound"]) == (70, 0, 0)
    assert told["bulk_posted_per_s"] > 0
    assert told["posting_speedup"] > 1


async def test_what_one_way_posts_otherwise_is_counted(pg_server: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = split_posting.handle

    def forgets(work: Work, events: Sequence[Event]) -> None:
        if events[0].subject.endswith("7"):
            return
        usual(work, events)

    monkeypatch.setattr(split_posting, "handle", forgets)
    assert (await measured(pg_server, 10))["posting_unequal"] > 0
