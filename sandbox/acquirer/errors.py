"""What a rail may answer instead of doing what it was asked, in words that each rail translates into its own codes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.acquirer.models import Refund, Trade


class CoreError(Exception):
    """A refusal; nothing was done.

    code: order_unknown order_conflict order_closed order_paid order_held order_open order_reversed order_expired
    refund_unknown refund_conflict refund_exceeds capture_exceeds capture_conflict merchant_unknown.
    trade, refund: what it is about, where there is one; the rail may know something better to answer.
    """

    def __init__(
        self, code: str, message: str, *, trade: "Trade | None" = None, refund: "Refund | None" = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.trade, self.refund = code, message, trade, refund
