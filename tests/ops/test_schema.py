"""The migrations are what the packages say: schema.sql files and ops/migrations never part ways."""

import asyncpg

from ops.assemble import schema
from tests.conftest import TestServer

_CATALOGUE = """
    SELECT 'column' AS what, table_name || '.' || column_name AS name,
           concat_ws(' ', data_type, is_nullable, column_default, collation_name) AS how
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'storage', relname, array_to_string(reloptions, ' ') FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reloptions IS NOT NULL
    UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid) FROM pg_trigger
        WHERE NOT tgisinternal
    UNION ALL SELECT 'function', proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND prokind = 'f'
    UNION ALL SELECT 'right', table_name || '.' || grantee, string_agg(privilege_type, ',' ORDER BY privilege_type)
        FROM information_schema.role_table_grants WHERE table_schema = 'public' AND grantee = 'sluice_app'
        GROUP BY table_name, grantee
    UNION ALL SELECT 'right to columns', table_name || '.' || column_name,
           string_agg(privilege_type, ',' ORDER BY privilege_type)
        FROM (SELECT privilege_type, table_name, column_name FROM information_schema.role_column_grants
        WHERE table_schema = 'public' AND grantee = 'sluice_app') rights GROUP BY table_name, column_name
    ORDER BY 1, 2, 3
"""


async def catalogue(url: str) -> list[tuple[str, ...]]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(_CATALOGUE)
    await connection.close()
    return [tuple(row) for row in rows if "schema_migrations" not in row["name"]]


async def test_the_migrations_give_what_the_schema_files_say(pg_server: TestServer, database_url: str) -> None:
    admin = await asyncpg.connect(pg_server.server.admin_url)
    await admin.execute("create database by_hand owner sluice")
    connection = await asyncpg.connect(pg_server.url("by_hand"))
    await connection.execute(schema())
    await connection.close()
    by_hand = await catalogue(pg_server.url("by_hand"))
    migrated = await catalogue(database_url)
    await admin.execute("drop database by_hand with (force)")
    await admin.close()
    assert len(by_hand) > 200
    assert by_hand == migrated


async def test_the_hubs_role_can_add_to_the_journals_and_never_change_them(database_url: str) -> None:
    rights = {name: how for what, name, how in await catalogue(database_url) if what == "right"}
    for journal in ("transfer", "event", "discrepancy_move"):
        assert rights[f"{journal}.sluice_app"] == "INSERT,SELECT"
    assert "UPDATE" in rights["payment.sluice_app"]
