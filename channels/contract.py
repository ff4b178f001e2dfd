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
    JSAPI = "jsapi"  # 公众号/小程序: inside the wallet's own browser or mini-program
    H5 = "h5"  # 手机网页: from a phone's browser into the wallet
    APP = "app"  # from the merchant's app into the wallet
    PAGE = "page"  # 网关: a page of the rail's, where the payer logs in or types a card
    CARD = "card"  # a token of a card which the rail's own form made; the number never passes us
    TRANSFER = "transfer"  # 银行转账: the payer transfers to an account that is this payment's alone


# ---- what a channel says: four ordinary outcomes ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The money moved. `amount` is what the channel says moved; the hub compares it with what it asked for.

    merchant_coupon 商户优惠: the part of `amount` that coupons and discounts of the merchant's own bear, so that the
    channel pays out `amount` less this, less its fee (of a payment), or takes that much less from the merchant (of a
    refund). Coupons that the channel or others pay for are no part of it: their money arrives. The adapter has checked
    that the stated parts add up; where they do not, that is no answer (Unknown). None: no coupon is named.
    """

    channel_ref: str  # the channel's number of the transaction or refund
    amount: Money
    happened_at: datetime  # the channel's clock, aware
    merchant_coupon: Money | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """Accepted, not decided: the payer has something to do, or the channel has, or we have.

    next_action: {"type": "qr", "code"} · {"type": "jsapi" | "app", …the rail's own parameters} · {"type": "redirect",
    "url"} · {"type": "form", "url", "fields": {name: value of what to post}} · {"type": "transfer", "account", …}.
    The hub adds `channel` and, of usable_until, `expires_at`; a rail's own members are called otherwise.
    usable_until: where that ends sooner than its order. From then on the hub shows it to nobody, and gets another by
    sending the same order, under the same number, once more: only a rail that answers so may set it.
    """

    next_action: Mapping[str, Any] | None = None  # None: nothing new to show
    channel_ref: str | None = None
    proceed: bool = False  # the rail waits for our second call, see powers.Proceeds; money moves only then
    authorized: Money | None = None  # 预授权: the payer's money is reserved; it moves when it is captured
    usable_until: datetime | None = None  # of next_action


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
    # The channel says that it was paid and that the payer has the money again: by a reversal 撤销, or by refunds?
    given_back: bool = False
    stated_amount: Money | None = None  # the channel says that it moved this much, which is not what we asked for
    follow_up: "Request | None" = (
        None  # one answer was not enough: the client sends this too and reads what comes likewise
    )
    # The rail said no, in words that it also has for a number that was used before. Where it has just been asked and
    # knew no such number, its no is this one.
    refusal: Refused | None = None
    # What the rail said no with to a repetition; it says nothing of the first message (gateway/payments/belief.py).
    repetition: Refused | None = None


Outcome = Confirmed | Pending | Refused | Unknown


def no_if_unknown(code: str, words: str) -> Outcome:
    """Return that a rail said no in words that it also has for a number that was used before; see Unknown.refusal."""
    return Unknown(f"{code}: {words}", refusal=Refused(code, words))


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
    created_at: datetime  # of the attempt; the same in every message about it (UnionPay's txnTime)
    auth_code: str | None = None  # barcode: the payer's code
    store: str | None = None  # barcode: our name for the till
    payer: str | None = None  # jsapi: who the payer is at the rail (openid, buyer_id)
    token: str | None = None  # card: what the rail's own form gave for the card
    client_ip: str | None = None  # h5: the payer's address
    return_url: str | None = None  # page, h5: where the payer's browser goes afterwards
    authorize_only: bool = False  # 预授权: reserve the money; it is captured or released later
    share_later: bool = False  # 分账: the rail keeps the money frozen until it is shared out there
    channel_ref: str | None = None  # the rail's own number, once it has told us
    ending_at: datetime | None = None  # reserved money: when it was first asked to be captured or released


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """One refund 退款 of a paid order, in full or in part."""

    reference: str  # our number of the refund (out_refund_no)
    payment_reference: str  # Order.reference of the payment
    payment_amount: Money
    amount: Money
    reason: str
    notify_url: str
    created_at: datetime  # of the refund
    payment_created_at: datetime  # Order.created_at
    payment_channel_ref: str | None = None  # the rail's number of the captured payment
    channel_ref: str | None = None  # the rail's number of the refund, once it has told us
    payment_authorized: bool | None = None  # whether it was captured from a reservation; None: nobody has said
    retry_count: int = 0  # how often it had failed before, each time under another reference


@dataclass(frozen=True, slots=True)
class Notice:
    """A verified notice 异步通知: signature, merchant and decryption are already checked."""

    kind: "Kind"
    reference: str  # our number of the payment or refund it speaks of; of a chargeback the rail's, which is asked about
    outcome: Outcome
    notice_id: str  # the channel's id of the notice, the same when it is repeated


class Kind(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"
    RETURN = "return"  # 退款退回, in bills only: a refund that had left and came back, under the refund's number
    CHARGEBACK = "chargeback"  # 拒付: what the rail took of a payment for its payer, under the rail's number of it
    CHARGEBACK_WON = "chargeback_won"  # 拒付撤回, in bills only: that it came back, under the same number


# ---- chargebacks 拒付 ------------------------------------------------------------------------------------------------


class DisputeStatus(StrEnum):
    """How a dispute stands that has taken money."""

    OPENED = "opened"
    WON = "won"  # the merchant has the money again
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Dispute:
    """What a rail says of a dispute 拒付 that has taken money of a payment; see powers.TellsDisputes.

    amount: what the rail took, of the payment's money; the hub compares it with the payment. fee: what it keeps for the
    dispute itself, at least nothing; fee_back: what of that it gave back with the money. One currency for all three.
    """

    ref: str  # the rail's number of the dispute
    reference: str | None  # our number of the payment; None: it was not made by us
    payment_channel_ref: str  # the rail's number of the payment, as Confirmed.channel_ref
    status: DisputeStatus
    amount: Money
    fee: Money
    reason: str  # the rail's own code
    opened_at: datetime  # when the money was taken, by the channel's clock
    evidence_due_at: datetime | None = None
    ended_at: datetime | None = None  # won: when the money came back; lost: when that was decided, where it is told
    fee_back: Money | None = None
    returned: Money | None = None  # won: what came back; None: all of it


@dataclass(frozen=True, slots=True)
class Unmoved:
    """The rail has the dispute and has taken no money for it: an inquiry, or one that is being looked at."""

    reason: str
    reference: str | None = None  # our number of the payment


class BadNotice(Exception):
    """The notice cannot be trusted or read; nothing may be done on its word. `code` is stable, the text for people.

    about: only of one that was verified: the number it speaks of, as Notice.reference; empty where it names none. What
    is about nobody's payment here is no concern of ours, however little of it we understand.
    """

    def __init__(self, code: str, message: str, *, about: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.about = about


# ---- statements 对账单 -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line 明细 of a channel's bill."""

    kind: Kind
    # Our number of the payment or refund; of a reversal, which has none, the payment's; the rail's of a dispute.
    reference: str
    payment_reference: str  # our number of the payment, also on the lines of a refund and its return
    channel_ref: str
    amount: Money  # positive; of the payment or of the refund
    fee: Money  # kept by the channel: positive on payments and chargebacks, negative (given back) on refunds
    # success | processing | failed | reversed | returned (of a refund that left and has a line of its own on which it
    # came back): the adapter's translation; unknown: a word it does not know
    status: str
    happened_at: datetime
    row: int  # line number in the file, for people
    # 商户优惠: what the merchant's own coupons bore of `amount`; as `fee`, negative on refunds, in the same currency.
    coupon_minor: int = 0


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
    content: bytes | None = None  # the answer held the file, or this page of it; pages are joined as they come
    more: Request | None = None  # fetch this for the next page, and read it with bill_file again


# ---- the contract ---------------------------------------------------------------------------------------------------


class RefundFee(StrEnum):
    """What becomes of a rail's fee when the payment is given back 退款手续费."""

    RETURNED = "returned"  # in proportion, so that a refund of everything returns all of it
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the rail can do; the router and the life cycle read this and nothing else."""

    methods: frozenset[Method]
    currencies: frozenset[str]
    minimum_minor: int = 1
    maximum_minor: int = 10**12
    partial_refunds: bool = True
    refund_within: timedelta = timedelta(days=365)
    most_refunds: int | None = None  # of one payment; None: as many as one likes
    # Seconds after sending at which to ask for an order nobody told us about; the last one repeats.
    query_schedule_s: Sequence[int] = field(default=(5, 30, 60, 180, 300, 600, 1800))
    barcode_poll_s: int = 5
    barcode_give_up_s: int = 45  # then reverse 撤销
    barcode_prefixes: frozenset[str] = frozenset()  # how the rail's payers' codes begin; empty: cannot be told
    authorizes: frozenset[Method] = frozenset()  # methods that can reserve money first 预授权
    partial_capture: bool = False  # whether less than was reserved can be captured; the rest is then released
    # Begun by the payer's browser or app with what we signed, without a call of ours: see
    # powers.PayerInitiates.
    payer_initiated: frozenset[Method] = frozenset()
    # Begun by a call of ours, and yet the rail knows no such order before its payer comes (with `payer_initiated` it is
    # always so). Until then query and close are answered not_found, which proves nothing.
    known_after_payer: frozenset[Method] = frozenset()
    # Methods whose next_action is signed once the rail has answered: see powers.SignsActions.
    signs_actions: frozenset[Method] = frozenset()
    # True: an unpaid order ends at its expires_at and no sooner: until a little after it, close is answered Unknown.
    expires_only: bool = False
    browsers: Sequence[str] = ()  # words in the User-Agent of the rail's own app
    in_browser: Sequence[Method] = ()  # how a page that is open in that app may be paid, best first
    signs_answers: bool = True  # False: the connection alone vouches for an answer; notices are signed all the same
    per_order_notices: bool = True  # False: notices go to an address registered at the rail beforehand
    # False: the rail closes nothing when asked. Its orders are paid by our own second call alone (proceed), so one is
    # dead once we have ended it: whoever hears proceed=True about an order that has ended must not make that call.
    closes: bool = True
    # True: coupons of the merchant's own may pay a part, which the channel does not pay out; Confirmed.merchant_coupon.
    merchant_coupons: bool = False
    refund_fee: RefundFee = RefundFee.RETURNED  # what usually becomes of its fee; an account's terms may say otherwise
    # True: a refund that succeeded may come back days after, when the payer's bank does not take it 退款退回. Where a
    # rail is not documented to do so, a no after a yes is a contradiction, for a person.
    refunds_come_back: bool = False
    # True: what the rail has not numbered yet is asked about by sending the same message once more, which executes it
    # if it never arrived, and never twice. Such a query does not answer not_found.
    query_by_resend: bool = False


class Channel(Protocol):
    """One rail with the credentials of one channel account. Every method is pure; `*_request` are unsigned.

    What only some rails have is a protocol in channels/powers.py: a rail that has it writes its methods, and the hub
    asks by type whether it does.
    """

    name: str
    capabilities: Capabilities

    def sign(self, request: Request, *, now: datetime, nonce: str) -> Request:
        """Return the request with its signature; may take a millisecond of CPU, so it is called off the loop."""

    def verified_by(self, message: Response, *, now: datetime) -> str:
        """Return the id of the trusted key that signed an answer or notice.

        Raises BadNotice; code `unknown_key` means that the rail may have a newer key, see powers.RotatesKeys.
        """

    def pay_request(self, order: Order) -> Request: ...
    def pay_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome: ...
    def query_request(self, order: Order) -> Request: ...
    def query_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome: ...

    def close_request(self, order: Order) -> Request: ...
    def close_outcome(self, order: Order, answer: Response, *, now: datetime) -> Outcome:
        """Return Refused(closed=True) when the order is closed now, Unknown otherwise: then query."""

    def refund_request(self, refund: RefundOrder) -> Request: ...
    def refund_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome: ...
    def refund_query_request(self, refund: RefundOrder) -> Request: ...
    def refund_query_outcome(self, refund: RefundOrder, answer: Response, *, now: datetime) -> Outcome: ...

    def notice(self, message: Response, *, now: datetime) -> Notice | None:
        """Verify and read a message that came in; None: verified, and of no concern to us. Raises BadNotice."""

    def notice_accepted(self) -> Response:
        """Return the rail's own way of saying "received, do not send again"; given only after the commit."""

    def notice_refused(self, why: str, *, again: bool) -> Response:
        """Return the rail's own way of saying no. again: it was ours to blame, the same message may be sent again."""

    def bill_request(self, day: date) -> Request: ...
    def bill_file(self, asked: Request, answer: Response, *, now: datetime) -> BillFile:
        """Return what came of a bill request. asked: that request, as some answers do not say whose day they are of."""

    def bill_content(self, file: BillFile, answer: Response) -> bytes:
        """Return the uncompressed file after checking its hash. Raises BadBill."""

    def bill_lines(self, content: bytes, day: date, *, only_late: bool = False) -> Iterable[BillLine]:
        """Read a whole bill. Raises BadBill on any damage, on another day's or another merchant's rows.

        The whole file is checked before the first line is given out. only_late: the caller has seen that the bill of
        the day before lacks every one of these rows, so a file of nothing but its rows is not that bill sent again.
        """


class ChannelConfig(Protocol):
    """Builds a Channel from the stored settings of a channel account; see registry.py."""

    def __call__(self, settings: Mapping[str, Any]) -> Channel: ...
