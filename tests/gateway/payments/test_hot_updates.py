"""What a payment's second commit writes touches no index, as docs/performance.md says of the tables it names."""

import asyncio
from pathlib import Path

import pytest

from tests.gateway.front import a_front
from tests.kernel.one_book import outside

ROUNDS, AT_ONCE = 12, 30


@pytest.fixture
async def counted(database_url: str, tmp_path: Path) -> dict[str, tuple[int, int]]:
    """Take payments as a busy hub does, many in a commit; return (updates, those that touched no index) by table."""
    async with a_front(database_url, tmp_path) as front:
        for n in range(ROUNDS):
            await asyncio.gather(*[front.paid(f"order-{n}-{m}") for m in range(AT_ONCE)])
    # A server process tells what it counted when it ends, and ends a moment after its client has said goodbye.
    async with outside(database_url) as connection:
        while True:
            rows = await connection.fetch("SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables")
            found = {row[0]: (row[1], row[2]) for row in rows}
            if found["payment"][0] >= ROUNDS * AT_ONCE:
                return found
            await asyncio.sleep(0.05)


async def test_no_update_of_a_payment_its_accounts_and_its_book_touches_an_index(
    counted: dict[str, tuple[int, int]],
) -> None:
    for table in ("payment", "account", "book"):
        updates, without_index = counted[table]
        assert 0 < updates == without_index, table
