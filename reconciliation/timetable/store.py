"""The SQL of the timetable: how far each step has come, for whom."""

from collections.abc import Sequence
from datetime import date, datetime

from kernel.db import Connection
from reconciliation.timetable.plan import Missed, Row, Scope

_ROW = ", ".join(Row._fields)
_MISSED = ", ".join(Missed._fields)
LEADS = int.from_bytes(b"timetabl", "big", signed=True)  # the lock of the one worker that follows the timetable


async def lead(connection: Connection) -> bool:
    """Have this session follow the timetable until it ends, unless another does; return whether it does."""
    taken: bool = await connection.fetchval("SELECT pg_try_advisory_lock($1)", LEADS)
    return taken


async def lead_no_more(connection: Connection) -> None:
    await connection.execute("SELECT pg_advisory_unlock($1)", LEADS)


async def rows(connection: Connection) -> list[Row]:
    """Return how far every step has come for everybody."""
    found = await connection.fetch(f"SELECT {_ROW} FROM timetable ORDER BY step, book, subject")
    return [Row(*row) for row in found]


async def begin(connection: Connection, scopes: Sequence[Scope], done_until: date) -> None:
    """Have the timetable followed for these, from the date after that one on; those that are there stay as they are."""
    await connection.execute(
        "INSERT INTO timetable (book, step, subject, done_until, tries) SELECT s.book, s.step, s.subject, $4, 0 "
        "FROM unnest($1::int[], $2::text[], $3::text[]) AS s (book, step, subject) ON CONFLICT DO NOTHING",
        [one.book for one in scopes],
        [one.step.value for one in scopes],
        [one.subject for one in scopes],
        done_until,
    )


async def done(connection: Connection, scope: Scope, day: date, at: datetime) -> None:
    """Note that a step was done for a date. It goes on to the next one only from the date before."""
    await connection.execute(
        """
        UPDATE timetable SET ran_at = $5,
            done_until = CASE WHEN done_until + 1 = $4::date THEN $4 ELSE done_until END,
            tries = CASE WHEN done_until + 1 = $4::date THEN 0 ELSE tries END,
            retry_at = CASE WHEN done_until + 1 = $4::date THEN NULL ELSE retry_at END,
            failed_code = CASE WHEN done_until + 1 = $4::date THEN NULL ELSE failed_code END,
            failed_why = CASE WHEN done_until + 1 = $4::date THEN NULL ELSE failed_why END
        WHERE book = $1 AND step = $2 AND subject = $3
        """,
        scope.book,
        scope.step.value,
        scope.subject,
        day,
        at,
    )


async def failed(
    connection: Connection,
    scope: Scope,
    day: date,
    at: datetime,
    *,
    tries: int,
    retry_at: datetime,
    code: str,
    why: str,
) -> None:
    """Note that a step failed for a date, if that is the one whose turn it is."""
    await connection.execute(
        "UPDATE timetable SET ran_at = $5, tries = $6, retry_at = $7, failed_code = $8, failed_why = $9 "
        "WHERE book = $1 AND step = $2 AND subject = $3 AND done_until + 1 = $4::date",
        scope.book,
        scope.step.value,
        scope.subject,
        day,
        at,
        tries,
        retry_at,
        code,
        why,
    )


async def missed(connection: Connection) -> list[Missed]:
    """Return every date that a step has gone on without, oldest first."""
    found = await connection.fetch(f"SELECT {_MISSED} FROM timetable_missed ORDER BY day, step, book, subject")
    return [Missed(*row) for row in found]


async def miss(connection: Connection, one: Missed) -> None:
    """Have a step go on without a date; or note that the date was tried again in vain."""
    async with connection.transaction():
        await connection.execute(
            f"INSERT INTO timetable_missed ({_MISSED}) VALUES ($1, $2, $3, $4, $5, $6, $7) "
            "ON CONFLICT (book, step, subject, day) DO UPDATE "
            "SET tried_at = excluded.tried_at, code = excluded.code, why = excluded.why",
            *one,
        )
        await connection.execute(
            "UPDATE timetable SET done_until = $4, ran_at = $5, tries = 0, retry_at = NULL, failed_code = NULL, "
            "failed_why = NULL WHERE book = $1 AND step = $2 AND subject = $3 AND done_until + 1 = $4::date",
            one.book,
            one.step,
            one.subject,
            one.day,
            one.tried_at,
        )


async def miss_no_more(connection: Connection, scope: Scope, day: date) -> bool:
    """Note that a date which a step had gone on without was done, or never will be; return whether it was missed."""
    done = await connection.execute(
        "DELETE FROM timetable_missed WHERE book = $1 AND step = $2 AND subject = $3 AND day = $4",
        scope.book,
        scope.step.value,
        scope.subject,
        day,
    )
    return not done.endswith(" 0")
