"""Split plans that merchants keep: made, changed by adding a version, and activated by another than who made it.

A version's document never changes. Which version a payment used is kept with the payment.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from kernel.clock import business_date
from kernel.db import Connection, Pool, acquire
from kernel.env import Env
from kernel.errors import Conflict, NotFound, Rejected
from kernel.lane import Lanes
from kernel.states import advance
from kernel.work import BOOKS, Need, Work
from people import Use, approved
from splitting import states, store
from splitting.objects import plan_version_payload
from splitting.plans.asked import plan_of
from splitting.plans.document import hash_of, read, resolved
from splitting.rails.compile import check_lines
from splitting.rails.limits import RAILS
from splitting.tables import PAYEES, PLAN_VERSIONS, SPLIT_PLANS, PlanVersion, SplitPlan
from streams import publish


@dataclass(frozen=True, slots=True)
class DraftVersion:
    """Make a plan with its first version, or add a version to one; the same again changes nothing. Returns both.

    row.version: one more than the plan's last. Raises NotFound (no_such_split_plan, no_such_payee), Rejected
    (currency_differs, rail_cannot_share), Conflict (split_plan_exists, version_mismatch).
    """

    row: PlanVersion
    new: SplitPlan | None = None  # of a first version

    @property
    def book(self) -> int:
        return self.row.book

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield SPLIT_PLANS, (self.book, self.row.plan_id)
        yield PLAN_VERSIONS, (self.book, self.row.plan_id, self.row.version)
        for payee_id in plan_of(self.row.written_out).payees():
            yield PAYEES, (self.book, payee_id)

    def apply(self, work: Work) -> tuple[SplitPlan, PlanVersion]:
        work.head(self.book)
        row = self.row
        plan = work.find(SPLIT_PLANS, (self.book, row.plan_id))
        there = work.find(PLAN_VERSIONS, (self.book, row.plan_id, row.version))
        if self.new is not None and plan is not None:
            same = (plan.name, plan.currency) == (self.new.name, self.new.currency)
            if not same or there is None or there.hash != row.hash:
                raise Conflict(
                    "split_plan_exists",
                    f"{plan.id} has this name, with another currency or document; add a version to it",
                    object_id=plan.id,
                )
        plan = plan or self.new
        if plan is None:
            raise no_such_plan(row.plan_id)
        if there is not None and there.hash == row.hash:
            return plan, there
        if row.version != (plan.versions + 1 if self.new is None else 1):
            raise Conflict(
                "version_mismatch", f"the last version of {plan.id} is {plan.versions}; read it again",
                version=plan.versions,
            )  # fmt: skip
        _check_rail(work, row)
        for payee_id in plan_of(row.written_out).payees():
            payee = work.find(PAYEES, (self.book, payee_id))
            if payee is None:
                raise NotFound("no_such_payee", f"there is no payee {payee_id}", param="document")
            if payee.currency != plan.currency:
                raise Rejected("currency_differs", f"payee {payee.id} is paid in {payee.currency}", param="document")
        plan = plan._replace(versions=row.version)
        row = row._replace(made_at=work.now, status_at=work.now)
        if self.new is not None:
            plan = plan._replace(created_at=work.now)
        work.put(SPLIT_PLANS, plan)
        work.put(PLAN_VERSIONS, row)
        publish(work, self.book, "split_plan.drafted", plan.id, plan_version_payload(row))
        return plan, row


@dataclass(frozen=True, slots=True)
class ActivateVersion:
    """Have new payments that name a plan shared out by one of its versions; return both. Again, it changes nothing.

    hash: of what was looked at and agreed to. checker: who agreed: not who made the version, unless alone says that
    there is nobody else. Raises NotFound (no_such_split_plan), Conflict (split_plan_differs, second_key_needed),
    Rejected (rail_cannot_share).
    """

    book: int
    plan_id: str
    version: int
    hash: bytes
    checker: str
    alone: bool = False

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        key = (self.book, self.plan_id)
        yield SPLIT_PLANS, key
        yield PLAN_VERSIONS, (*key, self.version)
        if work.knows(SPLIT_PLANS, key) and (plan := work.find(SPLIT_PLANS, key)) is not None and plan.active:
            yield PLAN_VERSIONS, (*key, plan.active)

    def apply(self, work: Work) -> tuple[SplitPlan, PlanVersion]:
        work.head(self.book)
        plan = work.find(SPLIT_PLANS, (self.book, self.plan_id))
        row = work.find(PLAN_VERSIONS, (self.book, self.plan_id, self.version))
        if plan is None or row is None:
            raise no_such_plan(self.plan_id, self.version)
        if row.hash != self.hash:
            raise Conflict(
                "split_plan_differs",
                f"version {self.version} of {plan.id} is another than the one whose hash was given; read it again",
            )
        if row.status == states.PlanVersion.ACTIVE:
            return plan, row
        if row.maker == self.checker and not self.alone:
            raise Conflict("second_key_needed", f"{row.maker} made this version; another is to activate it")
        _check_rail(work, row)
        before = work.find(PLAN_VERSIONS, (self.book, self.plan_id, plan.active)) if plan.active else None
        if before is not None:
            work.put(PLAN_VERSIONS, _moved(work, before, states.PlanVersionEvent.REPLACE))
        row = _moved(work, row, states.PlanVersionEvent.ACTIVATE)._replace(checker=self.checker)
        plan = plan._replace(active=row.version)
        work.put(PLAN_VERSIONS, row)
        work.put(SPLIT_PLANS, plan)
        publish(work, self.book, "split_plan.activated", plan.id, plan_version_payload(row))
        return plan, row


def _check_rail(work: Work, row: PlanVersion) -> None:
    """Refuse a version of which no rail could carry out what is to travel by rail. Raises Rejected."""
    if row.by_rail:
        check_lines(plan_of(row.written_out).rail_lines(), list(RAILS.values()), business_date(work.now))


def _moved(work: Work, row: PlanVersion, event: states.PlanVersionEvent) -> PlanVersion:
    status = advance(states.PLAN_VERSION, states.PlanVersion(row.status), event)
    return row._replace(status=status.value, status_at=work.now)


def no_such_plan(plan_id: str, version: int | None = None) -> NotFound:
    what = f"split plan {plan_id}" if version is None else f"version {version} of a split plan {plan_id}"
    return NotFound("no_such_split_plan", f"there is no {what}")


class SplitPlans:
    """Use cases of split plans that merchants keep."""

    def __init__(self, lanes: Lanes, pool: Pool, env: Env) -> None:
        self._lanes = lanes
        self._pool = pool
        self._env = env

    def now(self) -> datetime:
        return self._env.now()

    async def make(
        self, book: int, *, name: str, currency: str, document: Mapping[str, Any], maker: str
    ) -> tuple[SplitPlan, PlanVersion]:
        """Make a plan with its first version, a draft; the same again returns what it made.

        Raises PlanWrong, and what DraftVersion raises.
        """
        now, plan_id = self._env.now(), plan_id_of(book, name)
        plan = SplitPlan(book, plan_id, name, currency, 1, None, now)
        row = await self._written(book, plan_id, 1, document, maker)
        made: tuple[SplitPlan, PlanVersion] = await self._lanes.put(DraftVersion(row, plan))
        return made

    async def add(
        self, book: int, plan_id: str, *, version: int | None = None, document: Mapping[str, Any], maker: str
    ) -> tuple[SplitPlan, PlanVersion]:
        """Add a version to a plan, a draft; the same again returns what it made.

        version: the last, as it was read; None: whatever it is. Raises PlanWrong, and what DraftVersion raises.
        """
        if version is None:
            version = (await self.get(book, plan_id)).versions
        row = await self._written(book, plan_id, version + 1, document, maker)
        made: tuple[SplitPlan, PlanVersion] = await self._lanes.put(DraftVersion(row))
        return made

    async def activate(
        self,
        book: int,
        plan_id: str,
        version: int,
        *,
        hash: bytes,
        checker: str,
        alone: bool = False,
        use: Use | None = None,
    ) -> tuple[SplitPlan, PlanVersion]:
        """Activate a version. use: of the approval that it takes, if it does. Raises what ActivateVersion raises."""
        command = ActivateVersion(book, plan_id, version, hash, checker, alone)
        done: tuple[SplitPlan, PlanVersion] = await self._lanes.put(approved(command, use))
        return done

    async def get(self, book: int, plan_id: str) -> SplitPlan:
        """Return a plan. Raises NotFound (no_such_split_plan)."""
        async with acquire(self._pool) as connection:
            found = await SPLIT_PLANS.load(connection, [(book, plan_id)])
        if not found:
            raise no_such_plan(plan_id)
        return found[0]

    async def version(self, book: int, plan_id: str, version: int | None = None) -> PlanVersion:
        """Return a version; None: the active one, or where there is none the last. Raises NotFound."""
        plan = await self.get(book, plan_id)
        number = version or plan.active or plan.versions
        async with acquire(self._pool) as connection:
            found = await PLAN_VERSIONS.load(connection, [(book, plan_id, number)])
        if not found:
            raise no_such_plan(plan_id, number)
        return found[0]

    async def versions(self, book: int, plan_id: str) -> Sequence[PlanVersion]:
        """Return the versions of a plan, newest first; at most a hundred."""
        async with acquire(self._pool) as connection:
            return await store.plan_versions(connection, book, plan_id)

    async def listed(self, book: int, *, after: str = "", limit: int = 1_000) -> list[SplitPlan]:
        """Return a merchant's plans in order of id. Raises Rejected (invalid_cursor)."""
        async with acquire(self._pool) as connection:
            return await store.split_plans(connection, book, after, limit)

    async def _written(
        self, book: int, plan_id: str, version: int, document: Mapping[str, Any], maker: str
    ) -> PlanVersion:
        """Return a version to be made, with what it inherits written out. Raises PlanWrong."""
        extends = document.get("extends")
        inherited: Mapping[str, Any] | None = None
        if isinstance(extends, Mapping):
            async with acquire(self._pool) as connection:
                inherited = await _written_out(connection, book, extends.get("plan"), extends.get("version"))
        written = resolved(document, lambda *_: inherited)
        now = self._env.now()
        return PlanVersion(
            book, plan_id, version, orjson.dumps(document).decode(), orjson.dumps(written).decode(), hash_of(written),
            states.PlanVersion.DRAFT.value, maker, None, now, now, bool(read(written).rail_lines()),
        )  # fmt: skip


async def _written_out(connection: Connection, book: int, plan_id: object, version: object) -> Mapping[str, Any] | None:
    """Return a version's document, written out; None where there is none, or nothing that could name one."""
    if not isinstance(plan_id, str) or type(version) is not int or not 0 < version < 2**31:
        return None
    found = await PLAN_VERSIONS.load(connection, [(book, plan_id, version)])
    written: Mapping[str, Any] | None = orjson.loads(found[0].written_out) if found else None
    return written


def plan_id_of(book: int, name: str) -> str:
    """Return a plan's id: it follows from its name, so that making it twice cannot make two."""
    return "spl_" + hashlib.sha256(f"{book}/split plan/{name}".encode()).hexdigest()[:26]
