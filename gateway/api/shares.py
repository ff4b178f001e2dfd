"""A split plan as merchants send it, with a payment or a link."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from kernel.shapes import INT64, IS_AMOUNT, MAX_AMOUNT, Body, PayeeId
from splitting import Part, ShareKind, SplitLine
from splitting.plans.forms import OrderLineIn, PaymentPlanIn, parts_by

# What the shares asked for may be refused with.
SHARING = ("currency_differs", "no_such_payee", "split_exceeds_payment")
TREES = (
    "split_plan_wrong",
    "no_such_split_plan",
    "split_plan_not_active",
    "rail_cannot_share",
)  # and besides where it may be a tree


_Units = Annotated[int, Field(ge=0, le=MAX_AMOUNT, strict=True), IS_AMOUNT]
_Rate = Annotated[int, Field(ge=0, le=10_000, strict=True), IS_AMOUNT]


def _or_left_out(most: int, says: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", **INT64, "minimum": 0, "maximum": most, "description": says})


class ShareIn(Body):
    """One line of a split plan; exactly one of amount, basis_points, remainder."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 2, "maxProperties": 2})  # the payee, and one of them

    payee: PayeeId = Field(description="as `POST /v1/payees` answered it")
    amount: Annotated[_Units | None, _or_left_out(MAX_AMOUNT, "fixed, in minor units")] = None
    basis_points: Annotated[
        _Rate | None, _or_left_out(10_000, "of the payment; odd units go to the largest remainders")
    ] = None
    remainder: Annotated[
        _Units | None, _or_left_out(MAX_AMOUNT, "weight in what the others and the channel's fee leave")
    ] = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "ShareIn":
        if sum(v is not None for v in (self.amount, self.basis_points, self.remainder)) != 1:
            raise ValueError("give exactly one of amount, basis_points and remainder")
        return self

    def asked(self) -> SplitLine:
        """Return the line as splitting takes it."""
        if self.amount is not None:
            return SplitLine(self.payee, ShareKind.AMOUNT, self.amount)
        if self.basis_points is not None:
            return SplitLine(self.payee, ShareKind.BASIS_POINTS, self.basis_points)
        return SplitLine(self.payee, ShareKind.REMAINDER, self.remainder or 0)


SPLIT = "how it is shared out 分账: each payee once; what no `remainder` takes stays with you"


def _each_payee_once(split: tuple[ShareIn, ...]) -> tuple[ShareIn, ...]:
    if len({share.payee for share in split}) != len(split):
        raise ValueError("name each payee once")
    return split


SplitIn = Annotated[tuple[ShareIn, ...], Field(max_length=50), AfterValidator(_each_payee_once)]


def parts_of(split: Sequence[ShareIn], split_plan: PaymentPlanIn | None, lines: Sequence[OrderLineIn]) -> list[Part]:
    """Return by what a payment is shared out, as it was sent. Raises PlanWrong."""
    return parts_by(Part(split=[one.asked() for one in split]), split_plan, lines)
