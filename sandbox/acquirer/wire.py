"""What a rail adds to the shared core: its numbers, its merchants' credentials, its notices and its payers' ways."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sandbox.acquirer.models import Event, Merchant, Refund, Trade

if TYPE_CHECKING:
    from aiohttp import web

    from sandbox.acquirer.core import Acquirer
    from sandbox.acquirer.disputes import Dispute
    from sandbox.store import Tx

Signed = Literal["right", "wrong", "none", "probe"]  # probe: in the form of one that must not be believed
NumberKind = Literal["trade", "hold", "charge", "refund", "dispute", "notice", "webhook"]
DisputeTold = Literal["created", "taken", "won", "lost"]  # taken: an inquiry has become a dispute that takes the money


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address a merchant has registered for notices of all its orders."""

    webhook_id: str
    merchant: str
    url: str
    extra: Mapping[str, Any]
    created_ms: int


@dataclass(frozen=True, slots=True)
class NoticeJob:
    """A notice as it is about to be sent, once more or for the first time."""

    notice_id: str
    event: str
    url: str
    content: Mapping[str, Any]
    webhook: Webhook | None
    attempt: int  # 1, 2, …
    created_ms: int


@dataclass(frozen=True, slots=True)
class Sending:
    """One HTTP message to a merchant."""

    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"
    url: str | None = None  # elsewhere than the notice's own address


class Wire(ABC):
    """See the module. What is abstract has no sensible answer for all rails."""

    rail: str
    mark: str  # how the end-to-end ids of its pay-outs begin
    payer_name: str  # who pays out, as the bank statement names it
    remitted_as: str | None = None  # how the text of its pay-outs begins; None: with its name in capitals
    schedule_s: Sequence[float]  # waits between the attempts of a notice
    refund_takes_s: float = 3.0  # 0: a refund is done when it is accepted
    refund_returns_after_s: float | None = None  # a refund that is done may come back, so long after; None: none does
    refund_waits: str | None = None  # the fault by which a refund fails and its money waits to be sent on
    fee_bp: int = 60
    fixed_fee_minor: int = 0
    refund_fee: str = "returned"  # with each refund, in proportion; or "kept"
    settles_in: str = "CNY"  # what is paid out to the bank; other currencies stay with the rail
    wishes: frozenset[str] = frozenset()  # further fields of POST /control/R/merchants
    has_coupons: bool = False  # payers may use coupons, see ../coupons.py
    has_disputes: bool = False  # payers may dispute payments, and the rail tells of it
    dispute_reason: str = ""  # where the payer names none
    dispute_fee: int = 0  # what it keeps for one, minor units
    has_webhooks: bool = False  # notices go to registered addresses
    probes: bool = False  # sends signatures that must not be believed 签名探测, to see who looks
    bill: str | None = None  # what faults call the bill of payments, where the rail has bills beside it
    acknowledge_within_s: float = 5.0
    states: Sequence[Sequence[str]] = (("status",),)  # fields of answers that hold a state, see ../words.py
    also_matched: tuple[str, ...] = ()  # what faults on requests may match by beside merchant, op, order and refund
    words: Mapping[str, str] = {}  # the rail's own words that the control API takes too, with those of all rails

    # ---- merchants ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def merchant_id(self, seq: int) -> str:
        """Return the number of the rail's `seq`-th merchant, counted from 1; at most 25 characters."""

    @abstractmethod
    async def sign_up(self, merchant: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
        """Make a merchant's credentials (files too, if any); return what is to be kept as its `extra`.

        Raises ControlError for a wish that cannot be granted.
        """

    @abstractmethod
    def described(self, merchant: Merchant) -> dict[str, Any]:
        """Return everything the adapter needs as settings, beside what the core adds itself."""

    async def rotate_keys(self, merchant: Merchant | None) -> dict[str, Any]:
        """Bring new keys into use beside the old ones; return what tells them."""
        raise NotImplementedError(f"the keys of {self.rail} do not change")

    # ---- numbers -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def number(self, kind: NumberKind, merchant: str, seq: int, now_ms: int) -> str:
        """Return a number of the rail's own. seq: unique for all of one kind on this rail."""

    def token_in(self, code: str) -> str:
        """Return the token in what the payer sees: a code, a page's address, a prepay id."""
        return code.replace("?", "/").replace("=", "/").rsplit("/", 1)[-1]

    def spelled(self, number: str) -> str:
        """Return a number as this rail spells it; the control API is told it as the merchant has it."""
        return number

    def told(self, number: str) -> str:
        """Return a number of this rail's spelling as the merchant has it, which is how the control API tells it."""
        return number

    def told_trade(self, trade: Trade) -> dict[str, Any]:
        """Return what the control API tells of an order beside what it tells of every rail's."""
        return {}

    # ---- notices -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def content(
        self, event: Event, merchant: Merchant, trade: Trade, refund: Refund | None, now_ms: int
    ) -> dict[str, Any] | None:
        """Return what a notice of this event will say, as JSON; None: this rail does not tell."""

    def dispute_contents(
        self, told: DisputeTold, trade: Trade, dispute: "Dispute", now_ms: int
    ) -> Sequence[Mapping[str, Any]]:
        """Return what notices of a dispute will say, as `content` does: one for each that the rail sends."""
        return ()

    def wants(self, webhook: Webhook, content: Mapping[str, Any]) -> bool:
        """Tell whether a registered address asked to be told this."""
        return True

    @abstractmethod
    def wrong_amount(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the same content saying one minor unit more than is true."""

    @abstractmethod
    async def sending(self, merchant: Merchant, notice: NoticeJob, signed: Signed) -> Sending:
        """Return the message, signed now: properly, with a key that is not the rail's, or not at all."""

    def acknowledged(self, status: int, body: bytes) -> bool:
        """Tell whether the merchant's answer means that it has the notice."""
        return status == 200

    def webhook_extra(self, merchant: Merchant, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is to be kept about a webhook that is being registered (its secret)."""
        return {}

    def webhook_settings(self, webhook: Webhook) -> dict[str, Any]:
        """Return what the merchant's settings must gain."""
        return {"webhook_id": webhook.webhook_id}

    # ---- the payer ---------------------------------------------------------------------------------------------------

    async def payer_comes(
        self, acquirer: "Acquirer", merchant: str | None, order: str | None, code: str | None
    ) -> Trade | None:
        """Return an order that the rail comes to know only now that its payer comes; None: there is none of that name.

        merchant and order, or code: how the control API was asked for it.
        """
        return None

    def payer_pays(self, tx: "Tx", acquirer: "Acquirer", trade: Trade, payer: str | None) -> Trade:
        """Do what happens when the payer says yes: the money is taken or, where the order says so, reserved."""
        if trade.hold:
            return acquirer.trades.hold(tx, trade, payer)
        return acquirer.trades.charge(tx, trade, payer)

    def payer_declines(self, tx: "Tx", acquirer: "Acquirer", trade: Trade) -> Trade:
        """Do what happens when the payer says no: the order stays open."""
        return acquirer.trades.decline(tx, trade, final=False)

    def end_due(self, tx: "Tx", acquirer: "Acquirer") -> int | None:
        """End what else of the rail's own is due, and return the moment in ms when the next is; None: nothing is."""
        return None

    def refund_returns(self, trade: Trade) -> bool:
        """Tell whether refunds of this order come back after `refund_returns_after_s`."""
        return False

    def after_payer(self, trade: Trade) -> "web.StreamResponse | None":
        """Return where the payer's browser goes from our page; None: to a page that says how it went."""
        return None
