"""By what a payment is to be shared out, as merchants send it: a tree, or a plan that they keep; whole or by parts."""

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from pydantic import ConfigDict, Field, model_validator

from kernel.shapes import Amount, Body, Form, FormOf
from splitting.plans.asked import Part, check_size
from splitting.plans.document import PLAN_ID, PlanWrong, ProductLine, SplitTreeIn, read

PlanIdIn = Annotated[str, Form(PLAN_ID, "the id of a split plan, as POST /v1/split_plans answers it")]
VersionIn = Annotated[int, Field(ge=1, le=2**31 - 2, strict=True)]
Document = Annotated[dict[str, Any], FormOf(SplitTreeIn)]


class PaymentPlanIn(Body):
    """The split plan of a payment, or of a part of it: one that you keep, or a document. Exactly one of them."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 2})

    id: PlanIdIn | None = Field(default=None, description="of a plan that you keep")
    version: VersionIn | None = Field(
        default=None, description="of that plan, active now or once; left out: the active one"
    )
    document: Document | None = Field(default=None, description="a tree of lines: docs/split-plans.md")

    @model_validator(mode="after")
    def _one(self) -> "PaymentPlanIn":
        if (self.id is None) == (self.document is None):
            raise ValueError("give exactly one of id and document")
        if self.version is not None and self.id is None:
            raise ValueError("a version is of a plan that you keep: give its id")
        return self


class OrderLineIn(Body):
    """A part of the order, which may have a split plan of its own."""

    amount: Amount
    product_line: ProductLine | None = Field(default=None, description="yours; a plan's conditions may ask for it")
    split_plan: PaymentPlanIn | None = Field(default=None, description="left out: that of the payment")


def parts_by(whole: Part, split_plan: PaymentPlanIn | None, lines: Sequence[OrderLineIn]) -> list[Part]:
    """Return by what a payment is shared out, as it was sent: one part, or one for each line. Raises PlanWrong.

    whole: what is used where there is no split_plan.
    """
    if split_plan is not None:
        whole = _part(split_plan, "split_plan")
    parts = [_line(line, whole, f"lines.{n}") for n, line in enumerate(lines)] or [whole]
    check_size([part for part in parts if part.plan_id is None])
    return parts


def _line(line: OrderLineIn, whole: Part, place: str) -> Part:
    found = whole if line.split_plan is None else _part(line.split_plan, f"{place}.split_plan")
    return found._replace(amount_minor=line.amount, product_line=line.product_line)


def _part(given: PaymentPlanIn, place: str) -> Part:
    """Return a plan as it is kept, checked."""
    if given.document is None:
        return Part(plan_id=given.id, version=given.version)
    try:
        read(given.document)
    except PlanWrong as wrong:
        raise wrong.under(f"{place}.document") from None
    return Part(document=orjson.dumps(given.document).decode())
