"""Reading events, and knowing where there are new ones."""

from collections.abc import Sequence

from kernel.chain import Walk, follows
from kernel.db import Connection
from streams.outbox import Event, chained

_LAST = (1 << 63) - 1  # of a bigint


async def events_after(
    connection: Connection,
    book: int,
    seq: int,
    limit: int,
    types: Sequence[str] | None = None,
    *,
    up_to: int | None = None,
) -> list[Event]:
    """Return up to `limit` events of the book after number `seq`, in order; only of `types`, and up to a number."""
    rows = await connection.fetch(
        "SELECT book, seq, type, subject, payload, recorded_at, hash FROM event "
        "WHERE book = $1 AND seq > $2 AND seq <= $5 AND ($4::text[] IS NULL OR type = ANY($4)) ORDER BY seq LIMIT $3",
        book,
        seq,
        limit,
        types,
        up_to or _LAST,
    )
    return [Event(*row) for row in rows]


async def last_event(connection: Connection, book: int) -> int:
    """Return the number of the book's last event; 0 where there is none."""
    found: int | None = await connection.fetchval("SELECT event_seq FROM book WHERE book = $1", book)
    return found or 0


async def behind(connection: Connection, consumer: str, limit: int, *, after: int = -1) -> list[tuple[int, int, int]]:
    """Return up to `limit` books above number `after` with events the consumer has not handled.

    Of each: its number, the consumer's position, and the number of its last event.

    A book's events are numbered under its lock, so whatever is above the position is complete and in order.
    """
    rows = await connection.fetch(
        "SELECT b.book, coalesce(p.seq, 0), b.event_seq FROM book b "
        "LEFT JOIN position p ON p.book = b.book AND p.consumer = $1 "
        "WHERE b.book > $3 AND b.event_seq > coalesce(p.seq, 0) ORDER BY b.book LIMIT $2",
        consumer,
        limit,
        after,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def pass_over(connection: Connection, book: int, consumer: str, position: int, up_to: int) -> bool:
    """Move a consumer past events that do not concern it; tell whether it still stood at `position`, where it must."""
    done = await connection.execute(
        "UPDATE position SET seq = $4 WHERE book = $1 AND consumer = $2 AND seq = $3", book, consumer, position, up_to
    )
    return not done.endswith(" 0")


async def lag(connection: Connection, consumer: str) -> int:
    """Return how many events a consumer has not handled yet, of all books."""
    count: int = await connection.fetchval(
        "SELECT coalesce(sum(b.event_seq - coalesce(p.seq, 0)), 0)::bigint FROM book b "
        "LEFT JOIN position p ON p.book = b.book AND p.consumer = $1",
        consumer,
    )
    return count


async def heads(connection: Connection) -> list[tuple[int, int]]:
    """Return (book, number of its last event) of every book that has events."""
    return [(r[0], r[1]) for r in await connection.fetch("SELECT book, event_seq FROM book WHERE event_seq > 0")]


async def event_chain_holds(connection: Connection, walk: Walk | None = None) -> list[str]:
    """Events are numbered without a gap, every hash follows from the one before, the head is the last."""
    broken, walk = [], walk or Walk()
    books = await connection.fetch(
        "SELECT book, b.event_seq, b.event_hash "
        "FROM book b FULL JOIN (SELECT DISTINCT book FROM event) e USING (book) ORDER BY book"
    )
    for head in books:
        number, previous = walk.start(head["book"])
        async for row in connection.cursor(
            "SELECT book, seq, type, subject, payload, recorded_at, hash FROM event WHERE book = $1 AND seq > $2 "
            "ORDER BY seq",
            head["book"],
            number,
            prefetch=1000,
        ):
            event, number, walk.rows = Event(*row), number + 1, walk.rows + 1
            if event.seq != number or not follows(event.hash, previous, *chained(event)):
                broken.append(f"book {head['book']}: event {number} does not follow from the one before")
                break
            previous = event.hash
        else:
            if (number, previous) != (head["event_seq"], head["event_hash"]):
                broken.append(f"book {head['book']}: events end at {number}, its head says {head['event_seq']}")
            walk.ends[head["book"]] = number, previous
    return broken


INVARIANTS = {"event_chain_holds": event_chain_holds}
