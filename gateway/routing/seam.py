"""Which of a merchant's channel accounts a payment goes to, and to which next: the seam behind which routing stands."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from channels import Confirmed, Method, Outcome, Refused, Unknown
from channels.registry import rail_of_payer
from gateway.accounts.names import no_such_channel
from gateway.accounts.ready import ChannelAccounts, Ready
from gateway.accounts.terms import NOTHING_USED, Used
from gateway.routing import AUTO, No
from kernel.errors import Rejected
from kernel.money import Money

__all__ = [
    "AUTO",
    "CASHIER_METHODS",
    "Choice",
    "Routing",
    "RoutingRequest",
    "could_ever_take",
    "fee_of",
    "kind_of",
    "no_channel",
    "no_such_channel",
    "wallet_for",
]


class RoutingRequest(NamedTuple):
    """A payment that wants an account."""

    book: int
    channel: str  # a rail's name, or AUTO
    method: Method
    amount: Money
    auth_code_prefix: str | None  # barcode: how the payer's code begins, which tells whose it is; never the whole code
    metadata: Mapping[str, str] | None  # the merchant's own
    payer_region: str | None  # ISO 3166-1 alpha-2, where the merchant told
    now: datetime
    capture_manual: bool = False  # the money is to be reserved first 预授权
    exclude: frozenset[str] = frozenset()  # ids of accounts that this payment has tried
    payment_id: str = ""  # so that what is drawn by lot is drawn again alike
    share_later: bool = False  # 分账: the rail is to share the money out itself


class Choice(NamedTuple):
    """An account that takes the payment."""

    ready: Ready
    fee_minor: int  # what it is going to cost, in the payment's currency
    decision: str | None = None  # JSON: why this one; kept with the attempt


class Routing(Protocol):
    """Ranks accounts for payments, and hears what became of them."""

    async def choose(self, ask: RoutingRequest) -> Sequence[Choice]:
        """Return the accounts that take this payment, first choice first; never none. Raises Rejected (no_channel)."""

    def observe(
        self,
        account_id: str,
        book: int,
        method: Method,
        currency: str,
        amount_minor: int,
        outcome_kind: str,
        latency_s: float,
        op: str,
        reference: str | None = None,
    ) -> None:
        """Hear of one call to a rail: op as channels.client.TIMEOUTS_S names it, outcome_kind as `kind_of` does.

        reference: our number of the attempt at the rail, where the call was about one.
        """


def no_channel(ask: RoutingRequest, refused: Sequence[No] = (), *, how: str = "") -> Rejected:
    """Return the refusal of a payment that no account takes, and why each does not; how: in place of its method."""
    wanted = "any channel" if ask.channel == AUTO else ask.channel
    way = f"{how or ask.method}, reserved first," if ask.capture_manual else how or str(ask.method)
    why = [{"channel_account": no.account_id, "code": no.code, "detail": no.words} for no in refused]
    return Rejected(
        "no_channel",
        f"none of your channel accounts takes {ask.amount} by {way} over {wanted}",
        param="method",
        accounts=why,
    )


CASHIER_METHODS = (Method.JSAPI, Method.H5, Method.PAGE, Method.QR, Method.CARD, Method.APP, Method.TRANSFER)


def could_ever_take(accounts: Sequence[Ready], currency: str, least_minor: int, most_minor: int) -> bool:
    """Tell whether one of these accounts may take a cashier's payment of some such amount, now or another day.

    By what its rail can and its terms say for good; one that is switched off or closed today counts.
    """
    return any(_could_ever_take(one, currency, least_minor, most_minor) for one in accounts)


def _could_ever_take(ready: Ready, currency: str, least_minor: int, most_minor: int) -> bool:
    can, terms = ready.client.channel.capabilities, ready.terms
    methods = [one for one in CASHIER_METHODS if one in can.methods and one in (terms.methods or can.methods)]
    takes = currency in can.currencies and currency in (terms.currencies or can.currencies)
    least = max(least_minor, can.minimum_minor, terms.limits.minimum_minor or 1)
    most = min(most_minor, can.maximum_minor, terms.limits.maximum_minor or most_minor)
    return bool(methods) and takes and least <= most


# Ways to pay that open one wallet and no other: what the payer is given for the one is of no use in another.
ONE_WALLET = (Method.JSAPI, Method.APP)


def wallet_for(
    method: str, channel: str, payer: str | None, rails: Sequence[str], able: Callable[[Method], Sequence[str]]
) -> str:
    """Return the rail that a payment is for: as named, or as its payer's id says; AUTO where it may be any.

    channel: as the merchant named it. rails: those this hub has. able: those of them that have a method. Raises
    Rejected (no_such_channel, channel_needed, payer_of_another_channel).
    """
    if channel != AUTO and channel not in rails:
        raise no_such_channel(channel, rails)
    whose = None if payer is None else rail_of_payer(payer)
    if whose is not None and channel not in (AUTO, whose):
        raise Rejected(
            "payer_of_another_channel",
            f"method.payer is an id of {whose}, and the channel is {channel}; send the payer's id at that channel",
            param="method.payer",
            channel_of_payer=whose,
        )
    if channel != AUTO or method not in ONE_WALLET:
        return channel
    if whose is None:
        choices = list(able(Method(method)))
        raise Rejected(
            "channel_needed",
            f"{method} opens one particular wallet; name it in method.channel: {', '.join(choices)}",
            param="method.channel",
            channels=choices,
        )
    return whose


def fee_of(accounts: ChannelAccounts, ready: Ready, amount: Money, now: datetime) -> int:
    """Return what an account's channel keeps of this amount, in minor units, by its terms and this month's volume."""
    used = _used(accounts, ready, amount.currency, now)
    return ready.terms.fees.fee_minor(amount.minor, used.month_minor)


def _used(accounts: ChannelAccounts, ready: Ready, currency: str, now: datetime) -> Used:
    if not ready.terms.needs_usage:
        return NOTHING_USED
    return accounts.used(ready.account.book, ready.account.id, currency, now)


def kind_of(outcome: Outcome) -> str:
    """Return what a rail's answer says of the rail.

    confirmed · pending · refused (of this payer or order) · refused_retriable (the rail's own reasons) · not_sent (no
    connection) · not_found (it answered, and knows no such number) · unknown (silence, or nothing to trust).
    """
    if isinstance(outcome, Refused):
        return "refused_retriable" if outcome.retriable else "refused"
    if isinstance(outcome, Unknown):
        return "not_sent" if outcome.not_sent else "not_found" if outcome.not_found else "unknown"
    return "confirmed" if isinstance(outcome, Confirmed) else "pending"
