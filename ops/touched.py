"""What changed since the last time that everything held, with all that belongs to it, copied out of the books.

The copies are temporary tables with the names of the real ones, so that an invariant runs on them as it is written.
What changed is known from the journal and the events, both without a gap, and from what was open the last time. With a
touched payment come its attempts, refunds, chargebacks, shares and all of its entries in the journal; with an
instruction its batch. So whatever an invariant puts side by side is in the copies whole, but for old events: of those
only a case's are there.
Source: docs/decisions/0028-verified-prefix.md
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

from gateway.payments import chargebacks, unwanted
from kernel.db import Connection
from ops.verified import Mark
from splitting.settlement.instructions import REFUSED_WHOLE
from splitting.withdrawals.commands import IN_DOUBT

COPIED = (
    "transfer", "hold", "event", "payment", "attempt", "refund", "refund_return", "chargeback", "split", "payee_debt",
    "settlement", "instruction", "withdrawal", "case_file",
)  # fmt: skip
AT_LEAST_AGAIN = 100  # old payments a run, where less than that has changed

# Hosts' clocks differ, and a batch that was under way while the mark was made has a time before it. A book that has
# anything older still shows by its count, and is read as a whole.
LATE = timedelta(hours=1)
# By key alone, whatever the statistics say; the lane's pool does so for the same reason.
_BY_KEY = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")

REAL, COPIES = "public, pg_temp", "pg_temp, public"


class Touched(NamedTuple):
    """What was copied: how many payments, of which so many are new; and how far old ones were looked at again."""

    payments: int
    new: int
    again: int
    again_up_to: tuple[int, str]


@asynccontextmanager
async def copies(connection: Connection) -> AsyncIterator[None]:
    """Have empty copies of the tables while the block runs. Begin no transaction around it: reading ones make none.

    Where anything goes wrong the session ends, and the copies with it: nobody else is to take them for the books.
    """
    names = [*COPIED, "verified", "head", "family"]
    try:
        await connection.execute(
            "".join(f"CREATE TEMPORARY TABLE {name} (LIKE public.{name} INCLUDING INDEXES);" for name in COPIED)
            + """
            CREATE TEMPORARY TABLE verified (book int PRIMARY KEY, transfer_seq bigint, event_seq bigint);
            CREATE TEMPORARY TABLE head (book int, id text COLLATE "C", PRIMARY KEY (book, id));
            CREATE TEMPORARY TABLE family (book int, id text COLLATE "C", PRIMARY KEY (book, id));
            """
        )
        yield
        await connection.execute("".join(f"DROP TABLE pg_temp.{name};" for name in names))
    except BaseException:
        connection.terminate()
        raise


async def look_at(connection: Connection, path: str) -> None:
    """Have table names mean the real ones (REAL) or the copies (COPIES), until the transaction ends."""
    await connection.execute(f"SET LOCAL search_path = {path}")


async def copy(connection: Connection, mark: Mark, again: int | None) -> Touched:
    """Fill the copies with what was touched since the mark, and with `again` payments of old, in turn.

    again: None for as many as were touched. Needs a transaction and `copies`.
    """
    await connection.execute("".join(f"SET LOCAL {setting} = off;" for setting in _BY_KEY))
    await _records(connection, mark)
    await _heads(connection, mark)
    up_to, count = await _families(connection, mark, again)
    await _rows(connection)
    await connection.execute(
        "".join(f"SET LOCAL {setting} TO DEFAULT;" for setting in _BY_KEY)
        + "".join(f"ANALYZE pg_temp.{name};" for name in COPIED)
    )
    payments = await connection.fetchval("SELECT count(*) FROM pg_temp.payment")
    new = await connection.fetchval(
        "SELECT count(*) FROM pg_temp.event e JOIN pg_temp.payment p ON p.book = e.book AND p.id = e.subject "
        "WHERE e.type = 'payment.created'"
    )
    return Touched(payments, new, count, up_to)


async def _records(connection: Connection, mark: Mark) -> None:
    """Copy what the journal and the events have had added."""
    books = sorted({*mark.journal, *mark.events})
    await connection.execute(
        "INSERT INTO pg_temp.verified SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[])",
        books,
        [mark.journal.get(book, (0, b""))[0] for book in books],
        [mark.events.get(book, (0, b""))[0] for book in books],
    )
    await connection.execute(
        "INSERT INTO pg_temp.transfer SELECT t.* FROM public.transfer t "
        "LEFT JOIN pg_temp.verified v ON v.book = t.book "
        "WHERE t.recorded_at > $1 AND t.seq > coalesce(v.transfer_seq, 0)",
        mark.moment - LATE,
    )
    found = dict(await connection.fetch("SELECT book, count(*) FROM pg_temp.transfer GROUP BY book"))
    heads = await connection.fetch("SELECT book, transfer_seq FROM public.book")
    short = [book for book, seq in heads if seq - mark.journal.get(book, (0, b""))[0] != found.get(book, 0)]
    if short:
        await connection.execute(
            "INSERT INTO pg_temp.transfer SELECT t.* FROM public.transfer t "
            "LEFT JOIN pg_temp.verified v ON v.book = t.book "
            "WHERE t.book = ANY($1) AND t.seq > coalesce(v.transfer_seq, 0) ON CONFLICT DO NOTHING",
            short,
        )
    # by the books that have events, not by those that have a head: a head may be what is gone
    await connection.execute(
        """
        WITH RECURSIVE told AS (
            SELECT min(book) AS book FROM public.event
            UNION ALL
            SELECT (SELECT min(e.book) FROM public.event e WHERE e.book > told.book) FROM told WHERE book IS NOT NULL
        )
        INSERT INTO pg_temp.event SELECT e.* FROM told LEFT JOIN pg_temp.verified v ON v.book = told.book
        CROSS JOIN LATERAL (
            SELECT * FROM public.event WHERE book = told.book AND seq > coalesce(v.event_seq, 0) OFFSET 0
        ) e
        """
    )


async def _heads(connection: Connection, mark: Mark) -> None:
    """Name whatever was touched or is open: as the records do, without what the object is."""
    about = _each("case_file", "event", "id = o.subject")
    await connection.execute(
        f"""
        INSERT INTO pg_temp.head
        SELECT book, split_part(id, ':', 1) FROM pg_temp.transfer
        UNION SELECT book, split_part(hold_id, ':', 1) FROM pg_temp.transfer WHERE hold_id IS NOT NULL
        UNION SELECT book, subject FROM pg_temp.event
        UNION SELECT x.book, split_part(x.about, ':', 1) FROM {about}
        UNION SELECT book, payment_id FROM public.attempt WHERE due_at IS NOT NULL
        UNION SELECT book, payment_id FROM public.refund WHERE due_at IS NOT NULL
        UNION SELECT book, id FROM public.payment WHERE due_at IS NOT NULL
        UNION SELECT * FROM unnest($1::int[], $2::text[])
        """,
        [book for book, _ in mark.waiting],
        [ident for _, ident in mark.waiting],
    )


async def _families(connection: Connection, mark: Mark, again: int | None) -> tuple[tuple[int, str], int]:
    """Name the payments and batches of what was touched, and the next old payments; return up to where, and how many.

    Those that are not there are named too: what belongs to them may be.
    """
    await connection.execute(
        f"""
        INSERT INTO pg_temp.family SELECT book, id FROM pg_temp.head
        UNION SELECT x.book, x.payment_id FROM {_each("refund", "head", "id = o.id")}
        UNION SELECT x.book, x.payment_id FROM {_each("chargeback", "head", "id = o.id")}
        UNION SELECT x.book, x.settlement_id FROM {_each("instruction", "head", "id = o.id")}
        """
    )
    if again is None:
        again = max(AT_LEAST_AGAIN, await connection.fetchval("SELECT count(*) FROM pg_temp.head"))
    book, ident = mark.again
    old = await connection.fetch(
        "SELECT book, id FROM public.payment WHERE (book, id) > ($1, $2) ORDER BY book, id LIMIT $3", book, ident, again
    )
    await connection.execute(
        "INSERT INTO pg_temp.family SELECT * FROM unnest($1::int[], $2::text[]) ON CONFLICT DO NOTHING",
        [row[0] for row in old],
        [row[1] for row in old],
    )
    return ((old[-1][0], old[-1][1]) if old and len(old) == again else (0, "") if again else mark.again), len(old)


# What is copied of a table for each row of a copy: by its key. An entry's id is its object's, a colon, and what it is
# of that object; a semicolon is what follows a colon.
_BELONGS = (
    ("payment", "family", "id = o.id"),
    ("attempt", "family", "payment_id = o.id"),
    ("refund", "family", "payment_id = o.id"),
    ("refund_return", "refund", "refund_id = o.id"),
    ("chargeback", "family", "payment_id = o.id"),
    ("split", "family", "payment_id = o.id"),
    ("payee_debt", "family", "payment_id = o.id"),
    ("settlement", "family", "id = o.id"),
    ("instruction", "family", "settlement_id = o.id"),
    ("withdrawal", "family", "id = o.id"),
    ("case_file", "head", "id = o.id"),
    ("case_file", "attempt", f"kind = '{unwanted.NOT_GIVEN_BACK}' AND about = o.payment_id || ':' || o.number"),
    ("case_file", "chargeback", f"kind = '{chargebacks.BEYOND}' AND about = o.id"),
    ("case_file", "settlement", f"kind = '{REFUSED_WHOLE}' AND about = o.id"),
    ("case_file", "withdrawal", f"kind = '{IN_DOUBT}' AND about = o.id"),
    ("event", "case_file", "subject = o.id AND type IN ('case.opened', 'case.decided')"),
    ("transfer", "payment", "id >= o.id || ':' AND id < o.id || ';'"),
    ("transfer", "refund", "id >= o.id || ':' AND id < o.id || ';'"),
    ("transfer", "chargeback", "id >= o.id || ':' AND id < o.id || ';'"),
    ("transfer", "instruction", "id >= o.id || ':' AND id < o.id || ';'"),
    ("transfer", "withdrawal", "id >= o.id || ':' AND id < o.id || ';'"),
    ("hold", "withdrawal", "id >= o.id || ':' AND id < o.id || ';'"),
    ("hold", "refund", "id >= o.id || ':' AND id < o.id || ';'"),
    ("hold", "transfer", "id = coalesce(o.hold_id, o.id) AND o.step <> 'post'"),
    ("transfer", "hold", "id >= o.id AND id < o.id || ';'"),
)


async def _rows(connection: Connection) -> None:
    """Copy the rows of the families, and every entry the journal has of them."""
    for table, of, where in _BELONGS:
        await connection.execute(
            f"INSERT INTO pg_temp.{table} SELECT x.* FROM {_each(table, of, where)} ON CONFLICT DO NOTHING"
        )


def _each(table: str, of: str, where: str) -> str:
    """Return SQL for the rows x of a real table that belong to each row o of a copy, looked up one by one.

    OFFSET 0 keeps the look-up as it is written; else it is for the planner to begin at the other end.
    """
    row = f"SELECT * FROM public.{table} WHERE book = o.book AND {where} OFFSET 0"
    return f"pg_temp.{of} o CROSS JOIN LATERAL ({row}) x"
