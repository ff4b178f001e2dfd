"""`sluice statement …` on a real database: what it prints of the file that it wrote."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import asyncpg
from typer.testing import Result

Sluice = Callable[..., Result]
PAYEE = "pye_" + "1" * 26


async def a_payee(database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        "INSERT INTO payee (book, id, name, kind, currency, created_at) "
        "VALUES (1, $1, 'farm', 'supplier', 'CNY', now())",
        PAYEE,
    )
    await owner.execute("INSERT INTO account VALUES (1, $1, 'CNY', 'credit', true, 0, 0, 0, 0)", f"payee:{PAYEE}:CNY")
    await owner.close()


def test_it_tells_of_each_account_what_stands_in_the_file(tea_house: Sluice, database_url: str, tmp_path: Path) -> None:
    asyncio.run(a_payee(database_url))
    for suffix in ("csv", "xlsx", "pdf"):
        output = str(tmp_path / f"farm.{suffix}")
        asked = ("statement", "payee", "--book", "1", PAYEE, "--date", "2026-11-24", "--output", output)
        assert "debit 借 0.00  credit 贷 0.00  0 lines" in tea_house(*asked).output
        (row,) = json.loads(tea_house(*asked, "--json").stdout)["accounts"]
        assert (row["lines"], row["closing"]) == (0, "0.00")
