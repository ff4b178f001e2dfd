"""What a rail may have besides what every rail has, each a small protocol that is asked for by type.

A rail has a power by having all of its methods; it says so nowhere else. Where Capabilities speak of the same thing,
the two must agree: POWERS says how, and tests/channels/test_registry.py holds every rail to it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol, runtime_checkable

from channels.contract import (
    Capabilities,
    Channel,
    Dispute,
    FundLine,
    Method,
    Order,
    Outcome,
    Pending,
    RefundOrder,
    Request,
    Response,
    Unknown,
    Unmoved,
)
from channels.sharing import Sharing, TellsFrozen
from kernel.money import Money

# ---- how a payment is made -------------------------------------------------------------------------------------------


@runtime_checkable
class PayerInitiates(Protocol):
    """A rail whose payer's browser or app begins the payment, with what we signed, and not a call of ours."""

    def payer_initiated_action(self, order: Order, *, now: datetime, nonce: str) -> Pending:
        """Return what the payer is to be shown, signed; instead of pay_request, for methods that are payer-initiated.

        The rail learns of such an order only when the payer comes: until then a query answers not_found, which closes
        nothing and costs nothing to ask for again. Whatever is asked for the same order later pays the same order.
        Like `sign` it may take a millisecond of CPU.
        """


@runtime_checkable
class SignsActions(Protocol):
    """A rail whose app in the payer's hand wants our signature under what it is given."""

    def signed_action(self, order: Order, shown: Pending, *, now: datetime, nonce: str) -> Pending:
        """Return what pay_outcome said is to be shown, with our signature for the rail's app in the payer's hand.

        Asked for `capabilities.signs_actions` methods. Like `sign` it may take a millisecond of CPU.
        """


@runtime_checkable
class Proceeds(Protocol):
    """A rail that moves money only on a second call of ours."""

    def proceed_request(self, order: Order) -> Request:
        """Return the second call that a Pending(proceed=True) asked for; the hub has stored its channel_ref by then.

        It may be repeated: the rail executes it once.
        """

    def proceed_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome: ...


@runtime_checkable
class Authorizes(Protocol):
    """A rail that can reserve money first 预授权; what is reserved is captured or released."""

    def capture_request(self, order: Order, amount: Money) -> Request:
        """Move reserved money 预授权完成, all or a part; once. order.channel_ref names the hold. May be repeated."""

    def capture_outcome(self, order: Order, amount: Money, answer: Response, *, now: datetime) -> Outcome:
        """Return Confirmed with the captured amount, Pending, Refused, or Unknown: then query."""

    def void_request(self, order: Order) -> Request:
        """Release reserved money 预授权撤销."""

    def void_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) when the money is released, Unknown otherwise: then query."""


@runtime_checkable
class Reverses(Protocol):
    """A rail that takes payers' codes 付款码, and undoes an order so made."""

    def reverse_request(self, order: Order) -> Request:
        """Undo a barcode order whatever its state: closes it, or gives the money back (撤销)."""

    def reverse_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome: ...


@runtime_checkable
class IdentifiesPayers(Protocol):
    """A rail in whose own browser a page may learn who is visiting it (OAuth 网页授权): Order.payer of JSAPI."""

    def payer_url(self, back_url: str, state: str) -> str | None:
        """Return where a visitor's browser goes, to come back to back_url with `code` and this `state`; None: nowhere.

        state: [0-9A-Za-z], at most 128 characters.
        """

    def payer_request(self, code: str) -> Request:
        """Return the request that exchanges such a code; it is sent as it is."""

    def payer(self, answer: Response) -> str:
        """Return who the visitor is, as Order.payer. Raises BadNotice."""


# ---- how the rail is talked to ---------------------------------------------------------------------------------------


@runtime_checkable
class LogsIn(Protocol):
    """A rail whose calls need a session (OAuth): the client logs in before it sends, and once more when it is over."""

    def login_request(self, *, now: datetime) -> Request | None:
        """Return the request for a session; None while there is one. It is sent as it is."""

    def login(self, answer: Response, *, now: datetime) -> None:
        """Take over the session. Raises BadNotice; then what was to be sent is not sent."""

    def login_over(self, sent: Request, answer: Response) -> bool:
        """Tell whether an answer says that the session is over and nothing was executed; forget the session then.

        sent: what was answered, signed. A session newer than the one it was sent in is kept.
        """


@runtime_checkable
class RotatesKeys(Protocol):
    """A rail whose keys change under way, and can be fetched."""

    def trusted_keys_request(self, message: Response | None = None) -> Request | None:
        """Return the request that fetches the rail's current public keys; None where this account has none to fetch.

        message: whose key was unknown, where the message itself says where its key is; only the rail's own hosts count.
        """

    def trust(self, request: Request, answer: Response, *, now: datetime) -> Sequence[str]:
        """Take over the keys that came in answer to `request`; return the ids now trusted. Raises BadNotice."""


@runtime_checkable
class WeighsNotices(Protocol):
    """A rail whose signed notices may be about what others made at the same account under our number."""

    def weighed(self, order: Order, told: Outcome) -> Outcome:
        """Return what a verified notice says of this order; Unknown where it decides nothing, and the rail is asked.

        Pure. order: as it stands when the notice is applied, with the rail's own number as far as it is known.
        """


@runtime_checkable
class Proves(Protocol):
    """A rail whose question about an order does not show that it knows us by our credentials: another one does.

    It is asked about an order that never was, with every secret that moves money, and changes nothing.
    """

    def proof_request(self, order: Order) -> Request:
        """Return the question."""

    def proof_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Unknown(not_found=True) where the rail knows us and no such order."""


# ---- what else may be asked of it ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RefundTarget:
    """Where an abnormal refund 异常退款 goes: to a bank card of the payer's, or to the merchant, who then pays by hand.

    bank_type: the rail's code of the bank. For the payer's card all three are needed; for the merchant's none.
    """

    to_payer: bool
    bank_type: str = ""
    bank_account: str = field(default="", repr=False)
    real_name: str = field(default="", repr=False)


@runtime_checkable
class SendsOn(Protocol):
    """A rail whose refunds may end half done: taken from us, and not received by the payer."""

    def abnormal_refund_request(self, refund: RefundOrder, target: RefundTarget) -> Request:
        """Say where such a refund's money is to go. refund.channel_ref: the rail's number of it."""

    def abnormal_refund_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome:
        """Return the refund's state after that; it is asked about as before."""


@runtime_checkable
class TellsDisputes(Protocol):
    """A rail that can be asked about a dispute 拒付; its notices name one, and what it answers then is believed."""

    def dispute_request(self, ref: str) -> Request:
        """Return the request for the dispute of this number of the rail's."""

    def dispute_outcome(self, ref: str, answer: Response, *, now: datetime) -> Dispute | Unmoved | Unknown:
        """Return how the dispute stands; Unknown(not_found=True) where the rail has none of that number."""


@runtime_checkable
class HasFundBill(Protocol):
    """A rail that also has a bill of its fund flow 资金账单."""

    def fund_bill_request(self, day: date) -> Request:
        """Return the request for the fund-flow bill."""

    def fund_lines(self, content: bytes, day: date) -> Iterable[FundLine]:
        """Read a whole fund-flow bill, under the rules of bill_lines."""


@runtime_checkable
class NamesDeposits(Protocol):
    """A rail that pays its net of a day into the bank, under a name by which it is known."""

    def deposit_prefix(self) -> str | None:
        """Return how the end-to-end id begins under which the rail pays this account's money into the bank."""


# ---- all of them -----------------------------------------------------------------------------------------------------


def _says_nothing(can: Capabilities) -> None:
    return None


# Protocol → whether a rail with these capabilities has it; None: they do not say.
POWERS: Mapping[type[Any], Callable[[Capabilities], bool | None]] = {
    PayerInitiates: lambda can: bool(can.payer_initiated),
    SignsActions: lambda can: bool(can.signs_actions),
    Proceeds: lambda can: None if can.closes else True,  # what is never closed is paid by our second call alone
    Authorizes: lambda can: bool(can.authorizes),
    Reverses: lambda can: Method.BARCODE in can.methods,
    IdentifiesPayers: _says_nothing,
    LogsIn: _says_nothing,
    RotatesKeys: _says_nothing,
    WeighsNotices: _says_nothing,
    Proves: _says_nothing,
    SendsOn: _says_nothing,
    TellsDisputes: _says_nothing,
    HasFundBill: _says_nothing,
    NamesDeposits: _says_nothing,
    Sharing: _says_nothing,
    TellsFrozen: _says_nothing,
}


def deposit_prefix(channel: Channel) -> str | None:
    """Return how the end-to-end id of a rail's deposits begins; None where there are none to be known by."""
    return channel.deposit_prefix() if isinstance(channel, NamesDeposits) else None
