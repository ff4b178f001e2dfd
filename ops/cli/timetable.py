"""The timetable 日程: timetable, timetable run."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.shared import Json, acting, day, fail, finish, looking, on_screen, settings, show

if TYPE_CHECKING:
    from reconciliation.timetable import Missed, Row


def timetable(as_json: Json = False) -> None:
    """Show what runs by itself for each business date: until which date it was done, what is next, what failed and why.

    The worker does each step at its time, and after an outage one date after the other. A step that fails stops only
    its own bank, channel account or proof; it is tried again after one minute, then two, up to an hour. When the next
    date is due it goes on without this one, which is named as missed and tried again each hour. Exit code 1 if one has
    failed or was missed, and was not done since.
    """
    from reconciliation.timetable import STEPS

    found = settings()

    async def work() -> int:
        async with looking(found, may_lack_secrets=True) as hub:
            followed = hub.timetable()
            rows, missed, now = await followed.rows(), await followed.missed(), hub.env.now()
        if as_json:
            steps = {step.value: {"at": _at(step), "does": means.says} for step, means in STEPS.items()}
            show(
                {"steps": steps, "rows": [_told(row, now) for row in rows], "missed": [_missed(one) for one in missed]}
            )
        else:
            for row in rows:
                typer.echo(_line(row, now))
            for one in missed:
                who = _of(one.book, one.subject)
                typer.echo(on_screen(f"MISSED {one.step} of {one.day} {who}: {one.why} [{one.code}]"))
            typer.echo(f"{len(rows)} shown" if rows else "nothing is to be done: no bank is linked, no account is on")
        return int(bool(missed) or any(row.tries for row in rows))

    finish(work())


def timetable_run(
    step: Annotated[str, typer.Argument(help="The step, as `sluice timetable` names it.")],
    date: Annotated[str, typer.Option("--date", help="The business date, YYYY-MM-DD.")],
    book: Annotated[int | None, typer.Option(help="Only this merchant's book.")] = None,
    as_json: Json = False,
) -> None:
    """Do a step of a business date now, for every bank or account, or one merchant's; repeating it does no harm.

    If it is the date whose turn it is, the timetable goes on with the date after it. Exit code 1 if it failed for one.
    """
    from reconciliation.timetable import Step

    found = settings()
    on = day(date)
    if step not in list(Step):
        fail(f"{step} is no step; there are {', '.join(Step)}", 2)

    async def work() -> int:
        async with acting(found, "closing", "timetable run", f"{step} {on}", book=book) as hub:
            came = await hub.timetable().run_by_hand(Step(step), on, book=book)
        if as_json:
            told = [{"book": one.scope.book, "of": one.scope.subject, "code": one.code, "why": one.why} for one in came]
            show({"step": step, "date": on.isoformat(), "ran": told})
        else:
            for one in came:
                said = "done" if one.code is None else f"FAILED: {one.why} [{one.code}]"
                typer.echo(on_screen(f"{step} of {on} {_of(one.scope.book, one.scope.subject)}: {said}"))
        return int(any(one.code is not None for one in came))

    finish(work())


def timetable_forget(
    step: Annotated[str, typer.Argument(help="The step, as `sluice timetable` names it.")],
    date: Annotated[str, typer.Option("--date", help="The business date that was missed, YYYY-MM-DD.")],
    note: Annotated[str, typer.Option(help="Why it can never be done; kept in the audit log.")],
    book: Annotated[int | None, typer.Option(help="Only this merchant's book.")] = None,
    as_json: Json = False,
) -> None:
    """Have a business date that was missed tried no more, because it can never be done: nobody has the bill any more.

    What the step would have found stays unknown, and a proof that did not hold stays one that does not.
    """
    from reconciliation.timetable import Step

    found = settings()
    on = day(date)
    if step not in list(Step):
        fail(f"{step} is no step; there are {', '.join(Step)}", 2)

    async def work() -> int:
        async with acting(found, "closing", "timetable forget", f"{step} {on}: {note}", book=book) as hub:
            scopes = await hub.timetable().forget(Step(step), on, book=book)
        if as_json:
            show({"step": step, "date": on.isoformat(), "of": [_who(one.book, one.subject) for one in scopes]})
        else:
            for one in scopes:
                typer.echo(on_screen(f"{step} of {on} {_of(one.book, one.subject)}: it is tried no more"))
        return 0

    finish(work())


def _at(step: Any) -> str:
    from reconciliation.timetable import STEPS

    at = STEPS[step].at
    return "on the date, before the bank's cut-off" if at is None else f"{at:%H:%M} on the day after, in Beijing"


def _of(book: int, subject: str) -> str:
    return f"book {book} {subject}" if book else "the hub"


def _who(book: int, subject: str) -> dict[str, Any]:
    return {"book": book or None, "of": subject or None}


def _missed(one: "Missed") -> dict[str, Any]:
    from kernel.clock import rfc3339

    facts = {"step": one.step, "date": one.day.isoformat(), "tried_at": rfc3339(one.tried_at)}
    return {**facts, **_who(one.book, one.subject), "code": one.code, "why": one.why}


def _told(row: "Row", now: datetime) -> dict[str, Any]:
    from kernel.clock import rfc3339
    from reconciliation.timetable import late_s, next_at

    return {
        "step": row.step,
        "book": row.book or None,
        "of": row.subject or None,
        "done_until": row.done_until.isoformat(),
        "ran_at": None if row.ran_at is None else rfc3339(row.ran_at),
        "next_date": row.next_date.isoformat(),
        "next_at": rfc3339(next_at(row)),
        "late_seconds": round(late_s(row, now)),
        "failed": None if not row.tries else {"times": row.tries, "code": row.failed_code, "why": row.failed_why},
    }


def _line(row: "Row", now: datetime) -> str:
    from kernel.clock import BEIJING
    from reconciliation.timetable import next_at

    ran = "never ran" if row.ran_at is None else f"ran {row.ran_at.astimezone(BEIJING):%Y-%m-%d %H:%M}"
    at = next_at(row)
    when = "now" if at <= now else f"{at.astimezone(BEIJING):%Y-%m-%d %H:%M}"
    failed = f"; FAILED {row.tries} times: {row.failed_why} [{row.failed_code}]" if row.tries else ""
    who = _of(row.book, row.subject)
    return on_screen(f"{row.step:<20} {who}: done until {row.done_until}, {ran}; next {row.next_date} {when}{failed}")
