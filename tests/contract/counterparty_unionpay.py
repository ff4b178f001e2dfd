"""The simulated UnionPay. Its certificates come with its messages, so new ones are found under way."""

from collections.abc import Mapping

from tests.contract.counterparties import Counterparty


class UnionPaySandbox(Counterparty):
    """The simulated UnionPay. Its certificates come with its messages, so new ones are found under way."""

    RAIL = "unionpay"
    LEARNS_KEYS = True
    NO_WINDOW = "a notice carries the time of its transaction, and comes again for days under the same signature"
    UNNAMED: Mapping[str, str] = {"refunded": "UnionPay's answer about a refund names the refund and not its payment"}
