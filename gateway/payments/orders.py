"""What channels are asked for, made from the rows; the same rows always make the same order."""

import orjson

from channels import Method, Order, RefundOrder
from gateway.tables import Attempt, Payment, Refund
from kernel.ids import base36
from kernel.money import Money

# Fields of MethodIn that an attempt keeps, so that its very order can be sent again. A payer's code is not among them.
KEPT = ("payer", "token", "client_ip", "return_url", "payer_region")


class Orders:
    """Makes orders. public_url: where channels reach this hub's notices."""

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url.rstrip("/")

    def notify_url(self, book: int, account: str, channel: str) -> str:
        """Return where a channel sends its notices about one account."""
        return f"{self._public_url}/notify/{channel}/{base36(book)}/{account}"

    def order(self, payment: Payment, attempt: Attempt, auth_code: str | None = None) -> Order:
        """Return an attempt as its channel is asked for it. auth_code: the payer's, which is in no row."""
        kept = {} if attempt.details is None else orjson.loads(attempt.details)
        return Order(
            attempt.reference,
            Money(payment.amount_minor, payment.currency),
            Method(attempt.method),
            payment.description,
            self.notify_url(payment.book, attempt.channel_account, attempt.channel),
            payment.expires_at,
            attempt.created_at,
            auth_code,
            None,
            kept.get("payer"),
            kept.get("token"),
            kept.get("client_ip"),
            kept.get("return_url"),
            payment.capture_manual,
            payment.share_later,
            channel_ref=attempt.channel_ref,
            ending_at=attempt.ending_at,
        )

    def refund(self, refund: Refund, payment: Payment, attempt: Attempt) -> RefundOrder:
        """Return a refund as its channel is asked for it. attempt: the one that took the money."""
        return RefundOrder(
            refund.reference,
            attempt.reference,
            Money(attempt.captured_minor, payment.currency),
            Money(refund.amount_minor, refund.currency),
            refund.reason,
            self.notify_url(refund.book, attempt.channel_account, attempt.channel),
            refund.requested_at,
            attempt.created_at,
            attempt.channel_ref,
            refund.channel_ref if refund.paid_as == refund.retry_count else None,  # of its present number
            payment.capture_manual,
            refund.retry_count,
        )
