"""The commit lane on a real database."""

import asyncpg


async def test_the_template_is_migrated(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE tablename = 'transfer'") == 1
    await connection.close()
