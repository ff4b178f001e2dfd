"""The simulated PayPal: the payer approves on its page, and our second call moves the money."""

from datetime import timedelta

from channels import Method
from tests.contract.counterparties import Counterparty


class PayPalSandbox(Counterparty):
    """The simulated PayPal: the payer approves on its page, and our second call moves the money."""

    RAIL = "paypal"
    REFUNDS_AT_ONCE = "PayPal's sandbox carries a refund out before it answers"
    WINDOW = timedelta(days=4)
    LEARNS_KEYS = True
    PAGE_SIZE = "page_size"
    NO_EXPIRY = "an order at PayPal moves no money before our second call, which is not made once it has ended"
    BILL_UNVOUCHED = "the report is answered unsigned, as all answers are: the connection alone vouches for it"
    TWO_CALLS = frozenset({Method.PAGE})
    TELLS_PAID = b"PAYMENT.CAPTURE.COMPLETED"

    async def notice_fault(self, fault: str, reference: str, **params: int) -> None:
        """The payer's approval has a notice of its own, which comes first."""
        match = {"merchant": self.merchant, "order": reference}
        if fault.startswith("notice_"):
            match["op"] = "paid"
        await self._set_fault(fault, match, params)
