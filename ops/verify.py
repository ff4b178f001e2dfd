"""`sluice verify`: every invariant of the books, each with what breaks it."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import cases
import gateway.payments.invariants
import ledger
import ledger.invariants
import people
import reconciliation
import splitting
import streams
from kernel.chain import Walk
from kernel.clock import business_date, rfc3339
from kernel.db import Connection, Pool, acquire
from kernel.env import Env
from ops import touched
from ops.secrets_file import secret_file
from ops.verified import Ends, Mark, load, save

log = logging.getLogger(__name__)
INVARIANTS: dict[str, Callable[[Connection], Awaitable[list[str]]]] = {
    **ledger.INVARIANTS,
    **streams.INVARIANTS,
    **cases.INVARIANTS,
    **people.INVARIANTS,
    **splitting.INVARIANTS,
    **reconciliation.INVARIANTS,
    **gateway.payments.invariants.INVARIANTS,
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What one invariant came to."""

    name: str
    says: str  # the first sentence of its description
    broken: list[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Walked:
    """How many of a kind were looked at this time, and how many had been before and were not again."""

    chain: str  # journal | events: their records; payments: with all that belongs to them
    rows: int
    before: int
    since: str | None  # when that was verified; of payments: when all of them were looked at last
    why_all: str  # why all of it was walked, where that was not asked for
    again: int = 0  # of `rows`: payments of old that it was the turn of


class Keeps(Protocol):
    """What remembers how far books were found to hold."""

    env: Env

    def load(self) -> tuple[Mark | None, str]: ...
    def save(self, mark: Mark) -> None: ...


class Marks:
    """Where a home keeps how far its books were found to hold."""

    def __init__(self, home: Path, env: Env) -> None:
        self._home, self.env = home, env

    def load(self) -> tuple[Mark | None, str]:
        try:
            return load(self._home, self._key())
        except OSError as error:
            return None, f"the key of its mark cannot be had: {error.strerror}"

    def save(self, mark: Mark) -> None:
        save(self._home, self._key(), mark)

    def _key(self) -> bytes:
        return secret_file(self._home, "verified-mark", self.env.secrets)


CHAINS = {"journal": "transfer", "events": "event"}
# What the copies of what was touched do not show is looked at whole, each time. It is of few rows, and here is why.
WHOLE = {
    "debits_equal_credits": "a sum over all accounts, of which there are as many as payees and channel accounts",
    "audit_chain_holds": "of what people did by command, two records each",
    "approvals_are_recorded": "likewise, of those acts that took two people",
    "split_plans_are_what_was_agreed_to": "of merchants' split plans, a few each, with a few versions",
    "certificates_are_what_was_signed": "one a day, and few more",
    "bank_files_are_kept": "of banks' files, some a day",
    "suspense_leaves_with_its_case": "of money in suspense: by two people, or deposits of several accounts",
    "debts_cover_what_payees_lack": "of all accounts, likewise, and of what payees could not give back",
    "withdrawals_are_counted": "one row a payee that withdraws, and what it asked for on its last day",
    "recalls_agree_with_their_payments": "of recalls, which two people ask for, and their lines",
    "no_account_overdrawn": "of all accounts, likewise; most of them are touched every day",
}


async def verify(pool: Pool) -> list[Checked]:
    """Check every invariant on one snapshot of the database, and walk the chains from their beginning."""
    return (await verify_since(pool, None))[0]


async def verify_since(
    pool: Pool, marks: Keeps | None, *, everything: bool = False, again: int | None = None
) -> tuple[list[Checked], list[Walked]]:
    """Check every invariant on one snapshot, of what changed since the home's mark; and move the mark.

    A mark that is missing, damaged or of another key is not believed: then everything is looked at. So it is with
    `everything`, and where the chains do not have any more what the mark ends at, which is a finding. The mark moves
    only where nothing is broken.
    again: how many payments of old to look at besides, in turn; None for as many as changed.
    """
    mark, why = (None, "") if marks is None else marks.load()
    async with acquire(pool) as connection, AsyncExitStack() as stack:
        if mark is not None and not everything:
            await stack.enter_async_context(touched.copies(connection))
        await stack.enter_async_context(connection.transaction(isolation="repeatable_read", readonly=True))
        await connection.execute("SET LOCAL statement_timeout = 0")
        await touched.look_at(connection, touched.REAL)
        rewritten = {} if mark is None else await _rewritten(connection, mark)
        if rewritten and not everything:
            why = "what the mark ends at is not there any more"
        at = rfc3339(marks.env.now()) if marks is not None else ""
        since = None if everything or rewritten else mark
        run = Run(connection, since, again=again, rewritten=rewritten)
        await run.begin()
        verdicts = await run.verdicts()
        if marks is not None and not any(verdict.broken for verdict in verdicts):
            mark = await run.mark(at)
            try:
                marks.save(mark)
            except OSError as error:  # a full disk; what was found is found all the same
                log.warning(
                    "how far this went cannot be kept, so next time all of it is looked at again",
                    extra={"why": str(error)},
                )
        return verdicts, await run.walked("" if everything else why)


class Run:
    """One run over the books: of everything, or of what changed since a mark; then it needs `touched.copies`."""

    def __init__(
        self,
        connection: Connection,
        since: Mark | None,
        *,
        again: int | None = None,
        rewritten: Mapping[str, list[str]] | None = None,
    ) -> None:
        self._connection, self._since, self._again = connection, since, again
        self._rewritten = rewritten or {}
        self._touched: touched.Touched | None = None
        self._journal = Walk(since.journal, last=dict(since.last_ids)) if since else Walk()
        self._events = Walk(since.events) if since else Walk()
        self._transfers: dict[int, int] = {}  # of every book: the last that was verified; empty: look at everything
        self._apart = {
            "audit_chain_holds": self._audit_chain,
            "journal_chain_holds": self._journal_chain,
            "event_chain_holds": self._event_chain,
            "balances_follow_from_the_journal": self._balances,
            "succeeded_payments_have_their_event": self._successes,
            "day_sums_follow_from_the_journal": self._day_sums,
            "day_ends_follow_from_the_journal": self._day_ends,
        }

    async def begin(self) -> None:
        """Copy what is to be looked at, where that is not everything."""
        if self._since is not None:
            self._touched = await touched.copy(self._connection, self._since, self._again)
            books = await self._connection.fetch("SELECT book FROM book")
            self._transfers = {book: self._since.journal.get(book, (0, b""))[0] for (book,) in books}

    async def check(self, name: str) -> list[str]:
        """Return what breaks one invariant."""
        in_copies = self._since is not None and name not in WHOLE
        await touched.look_at(self._connection, touched.COPIES if in_copies else touched.REAL)
        return await (self._apart[name]() if name in self._apart else INVARIANTS[name](self._connection))

    async def verdicts(self) -> list[Checked]:
        """Check every invariant."""
        verdicts = []
        for name, check in INVARIANTS.items():
            started = time.perf_counter()
            broken = await self.check(name)
            says = (check.__doc__ or name).strip().splitlines()[0]
            verdicts.append(Checked(name, says, broken, time.perf_counter() - started))
        return verdicts

    async def mark(self, at: str) -> Mark:
        """Return the mark to be left by this run, in which nothing was broken. at: when it began."""
        connection, since, seen = self._connection, self._since, self._touched
        await touched.look_at(connection, touched.REAL)
        return Mark(
            at,
            at if since is None else since.whole_at,
            self._journal.ends,
            self._events.ends,
            self._journal.last,
            await ledger.invariants.sealed_balances(connection),
            await gateway.payments.invariants.open_payments(connection),
            await self._payments(),
            (0, "") if seen is None else seen.again_up_to,
            await _audit_end(connection),
        )

    async def walked(self, why_all: str) -> list[Walked]:
        """Return what was looked at and what not."""
        since, seen = self._since, self._touched
        told = [
            Walked(
                name, walk.rows, known := sum(number for number, _ in walk.since.values()),
                since.at if since and known else None, why_all,
            )
            for name, walk in (("journal", self._journal), ("events", self._events))
        ]  # fmt: skip
        payments = await self._payments()
        if since is None or seen is None:
            return [*told, Walked("payments", payments, 0, None, why_all)]
        rest = payments - seen.payments
        return [*told, Walked("payments", seen.payments, rest, since.whole_at if rest else None, "", seen.again)]

    async def _payments(self) -> int:
        if self._since is None or self._touched is None:
            return int(await self._connection.fetchval("SELECT count(*) FROM payment"))
        return self._since.payment_count + self._touched.new

    async def _audit_chain(self) -> list[str]:
        return [*self._rewritten.get("audit", []), *await people.INVARIANTS["audit_chain_holds"](self._connection)]

    async def _journal_chain(self) -> list[str]:
        broken = await ledger.invariants.journal_chain_holds(self._connection, self._journal)
        return [*self._rewritten.get("journal", []), *broken]

    async def _event_chain(self) -> list[str]:
        broken = await streams.store.event_chain_holds(self._connection, self._events)
        return [*self._rewritten.get("events", []), *broken]

    async def _successes(self) -> list[str]:
        return await gateway.payments.invariants.succeeded_payments_have_their_event(self._connection, self._transfers)

    async def _day_sums(self) -> list[str]:
        await touched.look_at(self._connection, touched.REAL)
        return await ledger.invariants.day_sums_follow_from_the_journal(self._connection, self._since_day)

    async def _day_ends(self) -> list[str]:
        await touched.look_at(self._connection, touched.REAL)
        return await ledger.invariants.day_ends_follow_from_the_journal(self._connection, self._since_day)

    @property
    def _since_day(self) -> date:
        """The first day, in Beijing, of which what is kept by day may have changed since the mark."""
        return date.min if self._since is None else business_date(self._since.moment - touched.LATE)

    async def _balances(self) -> list[str]:
        """Compare the accounts, less what the journal has moved since the mark, with what they were then.

        Where they differ the whole journal is added up, to name the accounts.
        """
        connection = self._connection
        if self._since is None:
            return await ledger.invariants.balances_follow_from_the_journal(connection)
        were, kept = await ledger.invariants.sealed_balances(connection, self._transfers), self._since.balances
        differ = sorted(book for book in {*were, *kept} if were.get(book) != kept.get(book))
        if not differ:
            return []
        await touched.look_at(connection, touched.REAL)
        return await ledger.invariants.balances_follow_from_the_journal(connection) or [
            f"book {book}: its accounts less what the journal has moved since {self._since.at} are not what they were "
            "then, though all of the journal makes them what they are: entries of before were changed"
            for book in differ
        ]


async def _rewritten(connection: Connection, mark: Mark) -> dict[str, list[str]]:
    """Return, by chain, what is not any more what it was when the mark was made; of the books' chains, which books."""
    found: dict[str, list[str]] = {}
    for chain, table in CHAINS.items():
        ends: Ends = getattr(mark, chain)
        for book, (number, digest) in ends.items():
            if chain == "journal":
                there = await connection.fetchval(
                    "SELECT hash FROM transfer WHERE book = $1 AND id = $2 AND seq = $3",
                    book,
                    mark.last_ids.get(book, ""),
                    number,
                )
            else:
                there = await connection.fetchval("SELECT hash FROM event WHERE book = $1 AND seq = $2", book, number)
            if number and there != digest:
                found.setdefault(chain, []).append(
                    f"book {book}: {table} {number} is not the one that was verified: its chain was written anew, or a "
                    "backup put back"
                )
    number, digest = mark.audit
    if number and await connection.fetchval("SELECT hash FROM audit_record WHERE seq = $1", number) != digest:
        found["audit"] = [
            f"audit record {number} is not the one that was verified: the log was cut off or written anew, or a backup "
            "put back"
        ]
    return found


async def _audit_end(connection: Connection) -> tuple[int, bytes]:
    """Return number and hash of the audit log's last record; (0, b"") where there is none."""
    last = await people.store.records(connection, limit=1)
    return (last[0].seq, last[0].hash) if last else (0, b"")


def as_json(verdicts: list[Checked], walked: Sequence[Walked] = ()) -> dict[str, Any]:
    """Return the verdicts for machines, with what of the chains was walked."""
    return {
        "walked": {
            one.chain: {
                "rows": one.rows,
                "verified_before": one.before,
                "verified_at": one.since,
                "why_all": one.why_all,
                "again": one.again,
            }
            for one in walked
        },
        "checked": len(verdicts),
        "broken": sum(1 for v in verdicts if v.broken),
        "invariants": {v.name: {"broken": len(v.broken), "examples": v.broken[:10]} for v in verdicts},
    }
