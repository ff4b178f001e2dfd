"""Reading cases. Writing goes through the commit lane."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from cases.tables import Case
from kernel.db import Connection

_CASE = ", ".join(Case._fields)
_OF = "($1::int IS NULL OR book = $1) AND ($2::text IS NULL OR kind = $2)"
_WANTED = {False: f"status = 'open' AND {_OF}", True: f"status = 'decided' AND {_OF}"}


async def find_case(connection: Connection, case_id: str) -> Case | None:
    """Return a case of any book, or None."""
    row = await connection.fetchrow(f"SELECT {_CASE} FROM case_file WHERE id = $1", case_id)
    return Case(*row) if row else None


async def cases(
    connection: Connection,
    *,
    book: int | None = None,
    kind: str | None = None,
    decided: bool = False,
    limit: int = 1000,
) -> list[Case]:
    """Return open cases, the longest waiting first; with `decided`, the decided ones, last decision first.

    book, kind: of one merchant, of one kind alone.
    """
    order = "decided_at DESC, id" if decided else "opened_at, id"
    rows = await connection.fetch(
        f"SELECT {_CASE} FROM case_file WHERE {_WANTED[decided]} ORDER BY {order} LIMIT $3", book, kind, limit
    )
    return [Case(*row) for row in rows]


async def number(
    connection: Connection, *, book: int | None = None, kind: str | None = None, decided: bool = False
) -> int:
    """Return how many `cases` there are without a limit."""
    found: int = await connection.fetchval(f"SELECT count(*) FROM case_file WHERE {_WANTED[decided]}", book, kind)
    return found


async def open_of(connection: Connection, kind: str) -> list[tuple[int, str, str]]:
    """Return book, id and object of the open cases of a kind, of every book, the longest waiting first."""
    rows = await connection.fetch(
        "SELECT book, id, about FROM case_file WHERE status = 'open' AND kind = $1 ORDER BY opened_at, id", kind
    )
    return [(row[0], row[1], row[2]) for row in rows]


class Waiting(NamedTuple):
    """How many cases of a kind wait for a person, and since when the oldest does."""

    kind: str
    number: int
    since: datetime


async def waiting(connection: Connection) -> Sequence[Waiting]:
    """Return what waits for a person, by kind."""
    rows = await connection.fetch(
        "SELECT kind, count(*)::int, min(opened_at) FROM case_file WHERE status = 'open' GROUP BY kind ORDER BY kind"
    )
    return [Waiting(*row) for row in rows]


async def cases_match_their_events(connection: Connection) -> list[str]:
    """Every case was told of as often as it was opened, and what it was told last is how it stands."""
    rows = await connection.fetch(
        """
        SELECT c.book, c.id FROM case_file c
        LEFT JOIN event e ON e.book = c.book AND e.subject = c.id AND e.type IN ('case.opened', 'case.decided')
        GROUP BY c.book, c.id, c.opened_count, c.status
        HAVING count(*) FILTER (WHERE e.type = 'case.opened') <> c.opened_count
            OR (array_agg(e.type ORDER BY e.seq DESC))[1]
               IS DISTINCT FROM CASE c.status WHEN 'open' THEN 'case.opened' ELSE 'case.decided' END
        UNION ALL
        SELECT e.book, e.subject FROM event e WHERE e.type = 'case.opened'
            AND NOT EXISTS (SELECT FROM case_file c WHERE c.book = e.book AND c.id = e.subject)
        """
    )
    return [f"book {r[0]} {r[1]}: the case and what was told of it differ" for r in rows]


INVARIANTS = {"cases_match_their_events": cases_match_their_events}
