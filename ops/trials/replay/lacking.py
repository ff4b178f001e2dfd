"""What a day still lacks, in words and figures: "" when nothing is missing. Everything here only looks."""

from datetime import date

import orjson

import ledger
import splitting
import streams
from channels.banks import Bank
from gateway.store import last_beat_s, still_waiting
from kernel.db import Pool, acquire
from kernel.money import Money
from ledger import accounts
from splitting.tables import BankLink

SHOWN = 5  # of many that wait, so many are told one by one


async def endings(pool: Pool, book: int) -> str:
    """Say which payments and refunds still wait for their channel, and which events have not been shared out."""
    async with acquire(pool) as connection:
        waiting = await still_waiting(connection, book)
        behind = await streams.store.behind(connection, "splitting", 10_000)
        position = next((position for number, position, _ in behind if number == book), None)
        last_event = dict(await streams.store.heads(connection)).get(book, 0)
        beat = await last_beat_s(connection, "worker")
    parts = []
    if waiting:
        shown = "; ".join(f"{one.what} on {one.account} is {one.status}, {one.said}" for one in waiting[:SHOWN])
        parts.append(f"{len(waiting)} wait for their channel: {shown}{_and_more(len(waiting))}")
    if position is not None:
        parts.append(f"book {book} is shared out up to event {position} of {last_event}; {_heard_of(beat)}")
    return "; ".join(parts)


async def deposits(pool: Pool, client: Bank, link: BankLink, currency: str) -> str:
    """Say what the bank holds for a merchant and what the book says, where the two differ."""
    at_bank = (await client.account(link.pool_account)).balance_minor
    account = accounts.bank(link.bank, currency)
    async with acquire(pool) as connection:
        custody = await ledger.store.find_account(connection, link.book, account)
        now = await splitting.store.find_bank_link(connection, link.book, link.bank)
        beat = await last_beat_s(connection, "worker")
    booked = custody.balance if custody else 0
    if booked == at_bank:
        return ""
    return (
        f"the bank holds {Money(at_bank, currency)} in its account {link.pool_account}, book {link.book} has "
        f"{Money(booked, currency)} in {account}; {_files_read(now)}; {_heard_of(beat)}"
    )


async def decisions(pool: Pool, book: int, batch_id: str, bank_day: date) -> str:
    """Say what of a settlement batch its bank has not decided."""
    async with acquire(pool) as connection:
        batch = await splitting.store.find_settlement(connection, book, batch_id)
        lines = await splitting.store.instructions(connection, book, batch_id)
        link = await splitting.store.find_bank_link(connection, book, batch.bank) if batch else None
        beat = await last_beat_s(connection, "worker")
    if batch is None:
        return f"book {book} has no batch {batch_id}"
    if batch.status == "finished":
        return ""
    undecided = [line for line in lines if line.status == "in_transit"]
    shown = ", ".join(f"{line.id} {Money(line.amount_minor, line.currency)}" for line in undecided[:SHOWN])
    return (
        f"the batch of book {book}, {Money(batch.total_minor, batch.currency)}, for the bank's day {bank_day} is "
        f"{batch.status} and {len(undecided)} of its {len(lines)} lines are in transit: "
        f"{shown}{_and_more(len(undecided))}; {_files_read(link)}; {_heard_of(beat)}"
    )


def _files_read(link: BankLink | None) -> str:
    cursors = orjson.loads(link.cursor or "{}") if link else {}
    if not cursors:
        return "no file of the bank's has been read"
    return "the bank's files were read up to " + ", ".join(f"{kind} {cursors[kind]}" for kind in sorted(cursors))


def _heard_of(beat_s: float | None) -> str:
    return "no worker was ever heard of" if beat_s is None else f"a worker was last heard of {beat_s:.0f} s ago"


def _and_more(count: int) -> str:
    return f" and {count - SHOWN} more" if count > SHOWN else ""
