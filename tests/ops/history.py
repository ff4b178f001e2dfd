"""A long history, made of one real payment: its rows, entries and events again and again, chained as the hub does."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from kernel.chain import link
from kernel.db import Connection
from ledger.posting import Entry
from ledger.posting import chained as entry_chained
from streams.outbox import Event
from streams.outbox import chained as event_chained
from tests.ledger.day_sums import summed_up_anew

# what a payment has besides its entries and events, and which column names it
ROWS = {"payment": "id", "attempt": "payment_id", "split": "payment_id", "refund": "payment_id"}


async def grow(connection: Connection, book: int, payment_id: str, count: int, *, first: int = 0) -> None:
    """Give the book `count` more payments like this one, hundredths of a second apart; every invariant holds as before.

    connection: of one whom no privilege stops. first: how many there are of this kind.
    """
    head = await connection.fetchrow("SELECT * FROM book WHERE book = $1", book)
    assert head is not None
    rows = {
        table: await connection.fetch(f"SELECT * FROM {table} WHERE book = $1 AND {column} = $2", book, payment_id)
        for table, column in ROWS.items()
    }
    ids = [payment_id, *(row["id"] for row in rows["refund"])]
    entries = await connection.fetch(
        f"SELECT {', '.join(Entry._fields)} FROM transfer WHERE book = $1 AND split_part(id, ':', 1) = ANY($2) "
        "ORDER BY seq",
        book,
        ids,
    )
    events = await connection.fetch(
        f"SELECT {', '.join(Event._fields)} FROM event WHERE book = $1 AND subject = ANY($2) ORDER BY seq", book, ids
    )
    rows["hold"] = await connection.fetch(
        "SELECT * FROM hold WHERE book = $1 AND split_part(id, ':', 1) = ANY($2)", book, ids
    )
    made: dict[str, list[tuple[Any, ...]]] = {name: [] for name in (*rows, "transfer", "event")}
    seq, digest, told, told_digest, at = head[1], head[2], head[3], head[4], head[5]
    for number in range(first, first + count):
        names = {ident: f"{ident.partition('_')[0]}_{number:016x}{place:010x}" for place, ident in enumerate(ids)}
        for table, found in rows.items():
            made[table].extend(tuple(_renamed(value, names) for value in row) for row in found)
        for row in entries:
            seq, at = seq + 1, at + timedelta(milliseconds=10)
            entry = Entry(*(_renamed(value, names) for value in row))._replace(seq=seq, recorded_at=at)
            digest = link(digest, *entry_chained(entry))
            made["transfer"].append(entry._replace(hash=digest))
        for row in events:
            told, at = told + 1, at + timedelta(milliseconds=10)
            event = Event(*(_renamed(value, names) for value in row))._replace(seq=told, recorded_at=at)
            told_digest = link(told_digest, *event_chained(event))
            made["event"].append(event._replace(hash=told_digest))
    for table, written in made.items():
        columns = {"transfer": Entry._fields, "event": Event._fields}.get(table)
        await connection.copy_records_to_table(table, records=written, columns=columns)
    for entry in (Entry(*row) for row in entries):
        if entry.step in ("post", "post_hold"):
            for column, name in (("debits", entry.debit), ("credits", entry.credit)):
                await connection.execute(
                    f"UPDATE account SET {column} = {column} + $3 WHERE book = $1 AND name = $2",
                    *(book, name, entry.amount_minor * count),
                )
    await connection.execute(
        "UPDATE book SET transfer_seq = $2, transfer_hash = $3, event_seq = $4, event_hash = $5, recorded_at = $6 "
        "WHERE book = $1",
        *(book, seq, digest, told, told_digest, at),
    )
    await connection.execute("UPDATE position SET seq = $2 WHERE book = $1", book, told)
    await summed_up_anew(connection)
    await connection.execute("ANALYZE")
    for index in ("transfer_lately", "day_sum_lately"):  # as autovacuum does
        await connection.execute("SELECT brin_summarize_new_values($1::text::regclass)", index)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for old, new in names.items():
            value = value.replace(old, new)
    return value
