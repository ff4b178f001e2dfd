"""Plans that are attached: by which plan payments are shared out that name none.

The most specific goes first: what the part of the order says, what the payment says (or its link), then what is
attached to its payment link, to the part's product line, to the payment's store, to the merchant.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from kernel.cache import Cache
from kernel.db import Pool, acquire
from kernel.env import Env
from kernel.errors import Conflict, Rejected
from kernel.lane import Lanes
from kernel.shapes import ORDER_ID
from kernel.work import BOOKS, Need, Work
from people import Use, approved
from splitting import states, store
from splitting.objects import attachment_payload
from splitting.plans.asked import Part, Scope, rail_lines
from splitting.plans.kept import no_such_plan
from splitting.tables import ATTACHMENTS, PLAN_VERSIONS, SPLIT_PLANS, Attachment
from streams import publish

# what a plan can be attached to → the form of its name, as payments say it; a product line has any name
_SUBJECTS = {
    Scope.PAYMENT_LINK: (re.compile(r"lnk_[0-9a-f]{26}"), "the id of a payment link or standing code, lnk_…"),
    Scope.STORE: (re.compile(ORDER_ID[0]), f"your name for the store as payments give it: {ORDER_ID[1]}"),
}


def check_subject(scope: Scope, subject: str, *, named: bool = True) -> None:
    """Raise Rejected (invalid_request) for what no payment can be of, so that nothing looks attached and is not.

    subject: empty where it is the merchant. named: a plan is to be attached; False: whatever is attached is taken away.
    """
    if scope is Scope.MERCHANT and subject:
        why = "leave it out: a plan that is attached to the merchant is for all of its payments"
    elif scope is not Scope.MERCHANT and not subject:
        why = f"name the {scope.value.replace('_', ' ')} that the plan is attached to"
    elif named and scope in _SUBJECTS and not _SUBJECTS[scope][0].fullmatch(subject):
        why = f"send {_SUBJECTS[scope][1]}"
    else:
        return
    raise Rejected("invalid_request", f"subject: {why}", param="subject")


Links = Callable[[int, str], Awaitable[object]]  # book and id of a link; raises NotFound


class _Held(NamedTuple):
    """What a book's payments are shared out by that say nothing of it themselves."""

    plans: Mapping[tuple[str, str, str], Attachment]  # (scope, subject, currency) →
    own: Set[str]  # the currencies in which the merchant is paid its own, also of payments without a plan


@dataclass(frozen=True, slots=True)
class Attach:
    """Attach a plan, or have none attached; again, it changes nothing. Returns the attachment.

    row.plan_id: None for none. Raises NotFound (no_such_split_plan), Conflict (split_plan_not_active), Rejected
    (currency_differs).
    """

    row: Attachment

    @property
    def book(self) -> int:
        return self.row.book

    @property
    def _key(self) -> tuple[int, str, str, str]:
        return self.book, self.row.scope, self.row.subject, self.row.currency

    def needs(self, work: Work) -> Iterable[Need]:
        yield BOOKS, (self.book,)
        yield ATTACHMENTS, self._key
        if self.row.plan_id is not None:
            yield SPLIT_PLANS, (self.book, self.row.plan_id)
            if self.row.version is not None:
                yield PLAN_VERSIONS, (self.book, self.row.plan_id, self.row.version)

    def apply(self, work: Work) -> Attachment:
        work.head(self.book)
        row = self.row
        there = work.find(ATTACHMENTS, self._key)
        before = (None, None) if there is None else (there.plan_id, there.version)
        if before == (row.plan_id, row.version):
            return there or row
        if row.plan_id is not None:
            self._check(work, row.plan_id)
        row = row._replace(attached_at=work.now)
        work.put(ATTACHMENTS, row)
        publish(work, self.book, "split_plan.attached", row.plan_id or row.scope, attachment_payload(row))
        return row

    def _check(self, work: Work, plan_id: str) -> None:
        plan = work.find(SPLIT_PLANS, (self.book, plan_id))
        if plan is None:
            raise no_such_plan(plan_id)
        if plan.currency != self.row.currency:
            raise Rejected("currency_differs", f"{plan.id} is a plan of {plan.currency}", param="currency")
        if self.row.version is None:
            if plan.active is None:
                raise Conflict("split_plan_not_active", f"no version of {plan.id} has been activated", param="plan")
            return
        named = work.find(PLAN_VERSIONS, (self.book, plan_id, self.row.version))
        if named is None:
            raise no_such_plan(plan_id, self.row.version)
        if named.status == states.PlanVersion.DRAFT:
            raise Conflict(
                "split_plan_not_active", f"version {named.version} of {plan.id} was never activated", param="version"
            )


class Attachments:
    """What is attached in the books of a process; each looked up once a second at most."""

    def __init__(self, lanes: Lanes, pool: Pool, env: Env, links: Links) -> None:
        """links: what raises for a payment link that the merchant does not have."""
        self._lanes = lanes
        self._links = links
        self._pool = pool
        self._env = env
        self._found = Cache(self._look_up, env)
        self._of_rails = Cache(self._look_up_rails, env)

    async def attach(
        self,
        book: int,
        scope: Scope,
        subject: str,
        currency: str,
        plan_id: str | None,
        *,
        version: int | None = None,
        by: str,
        use: Use | None = None,
    ) -> Attachment:
        """Attach a plan, or with None have none attached; every process follows within a second.

        subject: empty where it is the merchant. use: of the approval that it takes, if it does. Raises what check and
        Attach raise.
        """
        await self.check(book, scope, subject, named=plan_id is not None)
        row = Attachment(book, scope.value, subject, currency, plan_id, version, by, self._env.now())
        done: Attachment = await self._lanes.put(approved(Attach(row), use))
        return done

    async def check(self, book: int, scope: Scope, subject: str, *, named: bool) -> None:
        """Look whether a payment can be of what is named, see check_subject.

        Raises Rejected (invalid_request), NotFound (no_such_link).
        """
        check_subject(scope, subject, named=named)
        if named and scope is Scope.PAYMENT_LINK:
            await self._links(book, subject)

    async def listed(self, book: int) -> Sequence[Attachment]:
        """Return what is attached, the most specific first."""
        async with acquire(self._pool) as connection:
            rows = await store.attachments(connection, book)
        order = list(Scope)
        return sorted(rows, key=lambda row: (order.index(Scope(row.scope)), row.subject, row.currency))

    async def filled(
        self, book: int, currency: str, parts: Sequence[Part], *, shop: str | None, link_id: str | None
    ) -> list[Part]:
        """Return by what a payment is shared out; empty where nobody gets a share.

        parts: as they were sent; none: the payment says nothing. shop: the store that it names.
        """
        held = await self._found.get(book)
        found = [self._of(held, currency, part, shop, link_id) for part in parts or [Part()]]
        if any(part.split or part.document or part.plan_id for part in found):
            return found
        return [Part()] if currency in held.own else []

    async def wants_rail(self, book: int, parts: Sequence[Part]) -> bool:
        """Tell whether a payment that is shared out by these wants its rail to share it out.

        As the plans stood a second ago at most; what is recorded looks for itself.
        """
        if rail_lines(parts):
            return True
        named = [(part.plan_id, part.version) for part in parts if part.plan_id is not None]
        if not named:
            return False
        by_rail = await self._of_rails.get(book)
        return any(one in by_rail for one in named)

    @staticmethod
    def _of(held: _Held, currency: str, part: Part, shop: str | None, link_id: str | None) -> Part:
        if not held.plans or part.split or part.document or part.plan_id:
            return part
        subjects = {
            Scope.PAYMENT_LINK: link_id, Scope.PRODUCT_LINE: part.product_line, Scope.STORE: shop, Scope.MERCHANT: "",
        }  # fmt: skip
        for scope in Scope:
            subject = subjects[scope]
            row = None if subject is None else held.plans.get((scope.value, subject, currency))
            if row is not None:
                return part._replace(plan_id=row.plan_id, version=row.version, attached_to=scope.value)
        return part

    async def _look_up(self, book: int) -> _Held:
        async with acquire(self._pool) as connection:
            rows = await store.attachments(connection, book)
            own = await store.own_payees(connection, book)
        plans = {(row.scope, row.subject, row.currency): row for row in rows}
        return _Held(plans, {row.currency for row in own if row.payee_id is not None})

    async def _look_up_rails(self, book: int) -> frozenset[tuple[str, int | None]]:
        """Return the versions of kept plans that want a rail; of the active one also under None."""
        async with acquire(self._pool) as connection:
            rows = await store.versions_by_rail(connection, book)
        active = {(plan_id, None) for plan_id, _, is_active in rows if is_active}
        return frozenset({(plan_id, number) for plan_id, number, _ in rows} | active)
