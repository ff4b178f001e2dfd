"""What `sluice verify` costs on long books: of everything, and of a day. No test: it is run by name, with -s.

PAYMENTS (200000) are in the books, nine tenths of them paid and no more, one tenth shared out and refunded in part as
well; then DAY (1000) more come, likewise. Printed: seconds and rows read, of all tables.
"""

import os
import time
from pathlib import Path

import pytest

from tests.conftest import TestServer as PostgresServer
from tests.ops.history import grow
from tests.ops.test_daily_verify import DAY_S, Books, long_books

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHUNK = 20_000


async def test_measure(database_url: str, tmp_path: Path, pg_server: PostgresServer) -> None:
    payments, day = int(os.environ.get("PAYMENTS", "200000")), int(os.environ.get("DAY", "1000"))
    async with long_books(database_url, tmp_path, pg_server, 1) as books:
        plain = await books.front.paid("plain")
        await _grow(books, plain, payments, 0)
        await books.owner.execute("VACUUM ANALYZE")
        books.front.clock.forward(DAY_S)
        await _told(books, "everything", everything=True)
        books.front.clock.forward(DAY_S)
        # The day's records have its time. An hour older than the mark they would have the whole book be read.
        await books.owner.execute("UPDATE book SET recorded_at = $1", books.front.clock.now())
        await _grow(books, plain, day, payments)
        books.front.clock.forward(DAY_S)
        await _told(books, f"a day of {day}")
        await _told(books, "a day of nothing")
        await _told(books, f"a day of nothing, and {day} of old", again=day)
        await _told(books, "everything", everything=True)


async def _grow(books: Books, plain: str, count: int, first: int) -> None:
    for start in range(first, first + count, CHUNK):
        number = min(CHUNK, first + count - start)
        await grow(books.owner, books.front.book, plain, number - number // 10, first=10**9 + start)
        await grow(books.owner, books.front.book, books.like, number // 10, first=start + 1)


async def _told(books: Books, what: str, *, everything: bool = False, again: int = 0) -> None:
    began = time.perf_counter()
    rows = await books.counted(everything=everything, again=again)
    seconds = time.perf_counter() - began
    print(f"{what}: {seconds:.1f} s, {rows.total()} rows, of them {rows['transfer']} of the journal")
