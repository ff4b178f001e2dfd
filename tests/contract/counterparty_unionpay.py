"""The simulated UnionPay. Its certificates come with its messages, so new ones are found under way."""

from counterparties import Counterparty


class UnionPaySandbox(Counterparty):
    """The simulated UnionPay. Its certificates come with its messages, so new ones are found under way."""

    RAIL = "unionpay"
    LEARNS_KEYS = True
