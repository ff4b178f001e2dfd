"""What every channel 渠道 offers the hub: pure translation between our words and the rail's.

A channel keeps nothing and meets no network. It turns an order into a Request, and an answer, a notice or a bill into
our words. channels/client.py is the one function that meets the network. Adding a rail means implementing `Channel`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from kernel.env import Request, Response
from kernel.money import Money

__all__ = ["Request", "Response"]


class Method(StrEnum):
    """How the payer pays."""

    QR = "qr"  # 扫码: we show a code, the payer scans
    BARCODE = "barcode"  # 付款码: the payer shows a code, the merchant scans


# ---- what a channel says: four ordinary outcomes ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The money moved. `amount` is what the channel says moved; the hub compares it with what it asked for."""

    channel_ref: str  # the channel's number of the transaction or refund
    amount: Money
    happened_at: datetime  # the channel's clock, aware


@dataclass(frozen=True, slots=True)
class Pending:
    """Accepted, not decided: the payer has something to do, or the channel has."""

    next_action: Mapping[str, str] | None = None  # e.g. {"type": "qr", "code": "weixin://…"}; None: nothing new to show
    channel_ref: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The channel explicitly said no and will not change its mind about this number.

    Only codes on the adapter's explicit list of final refusals become this. `closed`: it says the order is closed.
    """

    code: str  # the rail's own code
    message: str = ""
    closed: bool = False
    retriable: bool = False  # nothing was done and another channel, or a later try, may well say yes


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer, or none that can be trusted. The money may have moved: query, never send under another number."""

    reason: str
    not_found: bool = False  # the channel answered a query: it knows no such number (yet)
    not_sent: bool = False  # our message provably never left
    stated_amount: Money | None = None  # the channel says that it moved this much, which is not what we asked for


Outcome = Confirmed | Pending | Refused | Unknown


# ---- what we ask of a channel ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """One try to have one payment paid on one channel (支付尝试)."""

    reference: str  # our number at the channel (out_trade_no), see kernel.ids.reference
    amount: Money
    method: Method
    description: str
    notify_url: str
    expires_at: datetime
    auth_code: str | None = None  # barcode: the payer's code
    store: str | None = None  # barcode: our name for the till


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """One refund 退款 of a paid order, in full or in part."""

    reference: str  # our number of the refund (out_refund_no)
    payment_reference: str  # Order.reference of the payment
    payment_amount: Money
    amount: Money
    reason: str
    notify_url: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A verified notice 异步通知: signature, merchant and decryption are already checked."""

    kind: "Kind"
    reference: str  # our number of the payment or refund it speaks of
    outcome: Outcome
    notice_id: str  # the channel's id of the notice, the same when it is repeated


class Kind(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"


class BadNotice(Exception):
    """The notice cannot be trusted or read; nothing may be done on its word. `code` is stable, the text for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


# ---- statements 对账单 -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line 明细 of a channel's bill."""

    kind: Kind
    reference: str  # our number of the payment or refund; of a reversal, which has none, the payment's
    payment_reference: str  # our number of the payment, also on a refund's line
    channel_ref: str
    amount: Money  # positive; of the payment or of the refund
    fee: Money  # kept by the channel: positive on payments, negative (given back) on refunds
    status: str  # success | processing | failed | reversed: the adapter's translation; unknown: a word it does not know
    happened_at: datetime
    row: int  # line number in the file, for people


@dataclass(frozen=True, slots=True)
class FundLine:
    """One line of a channel's fund-flow bill 资金账单."""

    channel_ref: str
    entry_ref: str
    business_type: str
    amount: Money  # signed: income positive
    balance: Money
    happened_at: datetime
    row: int


class BadBill(Exception):
    """The file is damaged, for another day or for another merchant. All of it is refused; none of it is imported."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class BillFile:
    """What a bill request led to."""

    ready: bool
    download: Request | None = None  # where the file is, when ready
    sha1: str | None = None  # of the uncompressed bytes
    nothing: bool = False  # the channel says, finally, that there was no business that day
    reason: str = ""  # why it is not ready, for people


# ---- the contract ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the rail can do; the router and the life cycle read this and nothing else."""

    methods: frozenset[Method]
    currencies: frozenset[str]
    minimum_minor: int = 1
    maximum_minor: int = 10**12
    partial_refunds: bool = True
    refund_within: timedelta = timedelta(days=365)
    # Seconds after sending at which to ask for an order nobody told us about; the last one repeats.
    query_schedule_s: Sequence[int] = field(default=(5, 30, 60, 180, 300, 600, 1800))
    barcode_poll_s: int = 5
    barcode_give_up_s: int = 45  # then reverse 撤销


class Channel(Protocol):
    """One rail with the credentials of one channel account. Every method is pure; `*_request` are unsigned."""

    name: str
    capabilities: Capabilities

    def sign(self, request: Request, *, now: datetime, nonce: str) -> Request:
        """Return the request with its signature; may take a millisecond of CPU, so it is called off the loop."""

    def verified_by(self, message: Response, *, now: datetime) -> str:
        """Return the id of the trusted key that signed an answer or notice.

        Raises BadNotice; code `unknown_key` means that the rail may have a newer key, see trusted_keys_request.
        """

    def pay_request(self, order: Order) -> Request: ...
    def pay_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome: ...
    def query_request(self, order: Order) -> Request: ...
    def query_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome: ...

    def close_request(self, order: Order) -> Request: ...
    def close_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) when the order is closed now, Unknown otherwise: then query."""

    def reverse_request(self, order: Order) -> Request:
        """Undo a barcode order whatever its state: closes it, or gives the money back (撤销)."""

    def reverse_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome: ...
    def refund_request(self, refund: RefundOrder) -> Request: ...
    def refund_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome: ...
    def refund_query_request(self, refund: RefundOrder) -> Request: ...
    def refund_query_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome: ...

    def notice(self, message: Response, *, now: datetime) -> Notice:
        """Verify and read a message that came in. Raises BadNotice."""

    def notice_accepted(self) -> Response:
        """Return the rail's own way of saying "received, do not send again"; given only after the commit."""

    def notice_refused(self, why: str, *, again: bool) -> Response:
        """Return the rail's own way of saying no. again: it was ours to blame, the same message may be sent again."""

    def bill_request(self, day: date) -> Request: ...
    def fund_bill_request(self, day: date) -> Request: ...
    def bill_file(self, answer: Response, *, now: datetime) -> BillFile: ...
    def bill_content(self, file: BillFile, answer: Response) -> bytes:
        """Return the uncompressed file after checking its hash. Raises BadBill."""

    def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterable[BillLine]:
        """Read a whole bill. Raises BadBill on any damage, on another day's or another merchant's rows.

        The whole file is checked before the first line is given out. only_late: the caller has seen that the bill of
        the day before lacks every one of these rows, so a file of nothing but its rows is not that bill sent again.
        """

    def fund_lines(self, content: bytes, day: date) -> Iterable[FundLine]:
        """Read a whole fund-flow bill, under the same rules."""

    def trusted_keys_request(self) -> Request | None:
        """Return the request that fetches the rail's current public keys, where it rotates them; else None."""

    def trust(self, answer: Response, *, now: datetime) -> Sequence[str]:
        """Take over the keys of that answer; return the ids now trusted. Raises BadNotice."""


class ChannelConfig(Protocol):
    """Builds a Channel from the stored settings of a channel account; see registry.py."""

    def __call__(self, settings: Mapping[str, Any]) -> Channel: ...
