"""The audit log 审计日志: every act is recorded before it is done, and how it ended after."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from kernel.chain import link
from kernel.db import Pool, transaction
from kernel.errors import SluiceError
from kernel.masking import masked
from people import store
from people.roles import Act
from people.tables import AuditRecord


@dataclass(slots=True)
class Ending:
    """What the record of an act's end is to hold besides: the approval it used, or what it came to. Never a secret."""

    detail: str = ""


class Audit:
    """Writes the audit log."""

    def __init__(self, pool: Pool, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._now = now

    @asynccontextmanager
    async def recorded(
        self, person: str | None, act: Act, what: str, about: str, *, book: int | None = None
    ) -> AsyncIterator[Ending]:
        """Record an act around what is done inside. What cannot be recorded is not begun.

        An act whose process died inside has no end in the log: whether it was done is to be looked up.
        what: the command; about: the object's id or name. Never a secret: both are kept for ever.
        """
        begun, ending = await self._append(person, act, what, about, book, "begun"), Ending()
        try:
            yield ending
        except SluiceError as error:
            await self._append(person, act, what, about, book, "refused", begun, error.code)
            raise
        except Exception as error:
            await self._append(person, act, what, about, book, "failed", begun, type(error).__name__)
            raise
        await self._append(person, act, what, about, book, "done", begun, _plain(ending.detail))

    async def refused(
        self, person: str | None, act: Act, what: str, about: str, *, book: int | None, code: str
    ) -> None:
        """Record an attempt of somebody who may not."""
        begun = await self._append(person, act, what, about, book, "begun")
        await self._append(person, act, what, about, book, "refused", begun, code)

    async def _append(
        self,
        person: str | None,
        act: Act,
        what: str,
        about: str,
        book: int | None,
        outcome: str,
        begun: int | None = None,
        detail: str = "",
    ) -> int:
        """Append one record; return its number."""
        async with transaction(self._pool) as connection:
            last, previous = await store.last_record(connection)
            seq = last + 1
            record = AuditRecord(
                seq,
                self._now(),
                person,
                act.value,
                _plain(what),
                _plain(about),
                book,
                outcome,
                begun or seq,
                detail,
                b"",
            )
            await store.add_record(connection, record._replace(hash=link(previous, *store.chained(record))))
        return seq


def _plain(text: str) -> str:
    """Return what somebody typed without control characters, which neither the chain nor a screen should have.

    Nor should secrets be there that were typed in the wrong place: the log keeps for ever what it is given.
    """
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in masked(text))[:200]
