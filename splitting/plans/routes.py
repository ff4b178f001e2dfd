"""Split plans that merchants keep, and trying plans out: what is sent, and what is done with it."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from channels.contract import Method
from kernel.answers import ListOut
from kernel.db import Pool
from kernel.errors import NotFound
from kernel.routes import LIMIT, Call, Reply, Route, an_id, listed, not_from_a_list, starting_after
from kernel.shapes import INT64, MAX_AMOUNT, Amount, Body, Currency, Form, MerchantsName, Visible
from splitting.objects import (
    SplitAttachmentOut,
    SplitPlanInFull,
    SplitPlanOut,
    attachment_payload,
    plan_payload,
    plan_version_in_full,
)
from splitting.plans.asked import Part, Scope
from splitting.plans.attached import Attachments
from splitting.plans.document import PlanWrong
from splitting.plans.dry_run import DryRunOut, Tried, dry_run
from splitting.plans.forms import Document, OrderLineIn, PaymentPlanIn, PlanIdIn, VersionIn, parts_by
from splitting.plans.kept import SplitPlans
from splitting.tables import SplitPlan

_Minor = Annotated[int, Field(ge=0, le=MAX_AMOUNT, strict=True, json_schema_extra=INT64)]


class SplitPlanIn(Body):
    """POST /v1/split_plans"""

    name: MerchantsName = Field(description="yours; the same again, with the same document, returns the same plan")
    currency: Currency = Field(description="in which its payees are paid")
    document: Document = Field(description="its first version, a draft: docs/split-plans.md")


class SplitPlanVersionIn(Body):
    """POST /v1/split_plans/{id}/versions"""

    version: VersionIn = Field(description="the last version as you read it; 409 `version_mismatch` if it has moved on")
    document: Document = Field(description="all of the new one, a draft: docs/split-plans.md")


class ActivateIn(Body):
    """POST /v1/split_plans/{id}/activate"""

    version: VersionIn = Field(description="of the plan, which becomes the active one")
    hash: Annotated[str, Form(r"[0-9a-f]{64}", "the version's hash, 64 hexadecimal digits")] = Field(
        description="of the version that was looked at"
    )


class DryRunIn(Body):
    """POST /v1/split_plans/dry_run"""

    amount: Amount
    currency: Currency
    channel_fee: _Minor = Field(default=0, description="what the channel would keep of it")
    merchant_coupon: _Minor = Field(default=0, description="what your own coupons would pay of it")
    method: Method | None = Field(default=None, description="how it would be paid; left out: no condition on it holds")
    split_plan: PaymentPlanIn | None = Field(default=None, description="as of a payment; a version may be a draft")
    lines: Annotated[tuple[OrderLineIn, ...], Field(max_length=50)] = Field(default=(), description="as of a payment")

    @model_validator(mode="after")
    def _sums(self) -> "DryRunIn":
        if self.channel_fee + self.merchant_coupon > self.amount:
            raise ValueError("channel_fee and merchant_coupon are more than amount")
        whole = sum(line.amount for line in self.lines)
        if self.lines and whole != self.amount:
            raise ValueError(f"the amounts of lines add up to {whole}, and amount is {self.amount}")
        return self


class AttachIn(Body):
    """PUT /v1/split_attachments"""

    to: Scope = Field(description="what it is attached to")
    subject: Annotated[str, StringConstraints(max_length=64), Visible()] = Field(
        default="", description="the link's id, or your own name for it; left out where it is you"
    )
    currency: Currency = Field(description="of the payments; a plan is of one currency")
    plan: PlanIdIn | None = Field(description="null: none any more")
    version: VersionIn | None = Field(
        default=None, description="left out: the one that is active when a payment is made"
    )

    @model_validator(mode="after")
    def _of_something(self) -> "AttachIn":
        if self.plan is None and self.version is not None:
            raise ValueError("a version is of a plan")
        return self


_KEPT = ("split_plan_wrong", "no_such_payee", "currency_differs", "rail_cannot_share")


class SplitPlanRoutes:
    """The routes of split plans."""

    def __init__(self, plans: SplitPlans, attachments: Attachments, pool: Pool) -> None:
        self._plans = plans
        self._attachments = attachments
        self._pool = pool

    def routes(self) -> Sequence[Route[Any]]:
        read, write, place = "payments:read", "payees:write", "/v1/split_plans"
        one = an_id("spl", "the split plan", "split_plan")
        return [
            Route(
                method="POST",
                path=place,
                scope=write,
                handler=self.make_split_plan,
                problems=(*_KEPT, "split_plan_exists", "version_mismatch"),
                answer=SplitPlanInFull,
                says="Make a split plan, with a first version that is a draft",
                body=SplitPlanIn,
                makes=True,
            ),
            Route(
                method="GET",
                path=place,
                scope=read,
                handler=self.list_split_plans,
                answer=ListOut[SplitPlanOut],
                says="List split plans, in order of their ids",
                query=(LIMIT, starting_after("spl")),
            ),
            Route(
                method="POST",
                path=f"{place}/dry_run",
                scope=read,
                handler=self.dry_run_split_plan,
                problems=(*_KEPT, "no_such_split_plan", "split_exceeds_payment"),
                answer=DryRunOut,
                says="Try a split plan out: each share, the rule that made it, and the way it would travel",
                body=DryRunIn,
            ),
            Route(
                method="GET",
                path=f"{place}/{{id}}",
                scope=read,
                handler=self.get_split_plan,
                problems=("no_such_split_plan",),
                answer=SplitPlanInFull,
                says="Read a split plan with its versions",
                ident=one,
            ),
            Route(
                method="POST",
                path=f"{place}/{{id}}/versions",
                scope=write,
                handler=self.add_split_plan_version,
                problems=(*_KEPT, "no_such_split_plan", "version_mismatch"),
                answer=SplitPlanInFull,
                says="Add a version to a split plan, a draft; payments go on with the active one",
                body=SplitPlanVersionIn,
                ident=one,
                makes=True,
            ),
            Route(
                method="POST",
                path=f"{place}/{{id}}/activate",
                scope="channels",
                handler=self.activate_split_plan,
                problems=("no_such_split_plan", "split_plan_differs", "second_key_needed", "rail_cannot_share"),
                answer=SplitPlanInFull,
                says="Activate a version that another key, or a person, has made: new payments are shared out by it",
                body=ActivateIn,
                ident=one,
            ),
            Route(
                method="GET",
                path="/v1/split_attachments",
                scope=read,
                handler=self.list_split_attachments,
                answer=ListOut[SplitAttachmentOut],
                says="List to what split plans are attached, the most specific first",
                query=(),
            ),
            Route(
                method="PUT",
                path="/v1/split_attachments",
                scope="channels",
                handler=self.set_split_attachment,
                problems=("no_such_split_plan", "no_such_link", "split_plan_not_active", "currency_differs"),
                answer=SplitAttachmentOut,
                says="Attach a split plan: payments that name none are shared out by it",
                body=AttachIn,
            ),
        ]

    async def list_split_attachments(self, call: Call[None]) -> Reply:
        found = [attachment_payload(row) for row in await self._attachments.listed(call.book)]
        return listed(found, len(found))

    async def set_split_attachment(self, call: Call[AttachIn]) -> Reply:
        body = call.body
        row = await self._attachments.attach(
            call.book, body.to, body.subject, body.currency, body.plan, version=body.version, by=call.by
        )
        return Reply(attachment_payload(row))

    async def make_split_plan(self, call: Call[SplitPlanIn]) -> Reply:
        body = call.body
        try:
            plan, _ = await self._plans.make(
                call.book, name=body.name, currency=body.currency, document=body.document, maker=call.by
            )
        except PlanWrong as wrong:
            raise wrong.under("document") from None
        return Reply(await self._in_full(plan), 201)

    async def add_split_plan_version(self, call: Call[SplitPlanVersionIn]) -> Reply:
        body = call.body
        try:
            plan, _ = await self._plans.add(
                call.book, call.ident, version=body.version, document=body.document, maker=call.by
            )
        except PlanWrong as wrong:
            raise wrong.under("document") from None
        return Reply(await self._in_full(plan), 201)

    async def activate_split_plan(self, call: Call[ActivateIn]) -> Reply:
        body = call.body
        plan, _ = await self._plans.activate(
            call.book, call.ident, body.version, hash=bytes.fromhex(body.hash), checker=call.by
        )
        return Reply(await self._in_full(plan))

    async def get_split_plan(self, call: Call[None]) -> Reply:
        return Reply(await self._in_full(await self._plans.get(call.book, call.ident)))

    async def list_split_plans(self, call: Call[None]) -> Reply:
        after = call.after or ""
        found = await self._plans.listed(call.book, after=after, limit=call.limit + 1)
        if after:
            await self._last(call.book, after)
        return listed([plan_payload(plan) for plan in found], call.limit)

    async def dry_run_split_plan(self, call: Call[DryRunIn]) -> Reply:
        body = call.body
        parts = parts_by(Part(), body.split_plan, body.lines) or [Part()]
        method = None if body.method is None else str(body.method)
        tried = Tried(parts, body.amount, body.currency, body.channel_fee, body.merchant_coupon, method)
        return Reply(await dry_run(self._plans, self._pool, call.book, tried))

    async def _last(self, book: int, after: str) -> None:
        """Raise Rejected (invalid_cursor) where there is no such plan."""
        try:
            await self._plans.get(book, after)
        except NotFound:
            raise not_from_a_list() from None

    async def _in_full(self, plan: SplitPlan) -> SplitPlanInFull:
        versions = await self._plans.versions(plan.book, plan.id)
        return {**plan_payload(plan), "versions": [plan_version_in_full(row) for row in versions]}
