"""A split plan as merchants send it, with a payment or a link."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from kernel.shapes import MAX_AMOUNT, Body, PayeeId
from splitting import ShareKind, SplitLine

# What the shares asked for may be refused with.
SHARING = ("currency_differs", "no_such_payee", "split_exceeds_payment")


class ShareIn(Body):
    """One line of a split plan; exactly one of amount, basis_points, remainder."""

    payee: PayeeId
    amount: Annotated[int, Field(ge=0, le=MAX_AMOUNT, strict=True)] | None = None
    basis_points: Annotated[int, Field(ge=0, le=10_000, strict=True)] | None = None
    remainder: Annotated[int, Field(ge=0, le=MAX_AMOUNT, strict=True, description="weight")] | None = None

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


SplitIn = Annotated[tuple[ShareIn, ...], Field(max_length=50)]


def check_payees(split: Sequence[ShareIn]) -> None:
    """Raise ValueError where a payee stands in a split twice."""
    if len({share.payee for share in split}) != len(split):
        raise ValueError("a payee may stand in a split once")
