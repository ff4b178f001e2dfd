"""The rows of the gateway as the commit lane knows them; schema.sql has their meaning."""

import hashlib
from datetime import date, datetime
from typing import NamedTuple

from gateway import states
from kernel.ids import reference
from kernel.work import Table

CASHIER = "cashier"  # the method of a payment whose payer has yet to choose; its attempts have methods of their own


class Merchant(NamedTuple):
    """A merchant 商户 and its book."""

    book: int
    id: str
    name: str
    created_at: datetime
    suspended_at: datetime | None = None  # None: takes payments


class ChannelAccount(NamedTuple):
    """A merchant's account with a channel."""

    book: int
    id: str
    channel: str
    state: str  # enabled | draining | off
    settings: str  # JSON: identifiers, base URL and what else may be read by anyone
    sealed: (
        str | None
    )  # the envelope of its secrets, see gateway/accounts/credentials.py; None: settings name files (before 0002)
    terms: str  # JSON: gateway.accounts.terms
    position: int  # where the operator put it; lower first
    version: int  # counts every change
    credentials_version: int  # counts changes of settings and secrets
    created_at: datetime
    updated_at: datetime


class Claim(NamedTuple):
    """Something that can be used once, and what it was used for."""

    book: int
    key: str
    body_hash: bytes
    object_id: str
    created_at: datetime


class Payment(NamedTuple):
    """A payment 支付单. Amounts in minor units of `currency`."""

    book: int
    id: str
    merchant_order_id: str
    amount_minor: int
    currency: str
    method: str
    description: str
    metadata: str | None
    status: str
    attempt_count: int
    fee_minor: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    captured_minor: int = 0
    refunding_minor: int = 0
    refunded_minor: int = 0
    refund_count: int = 0
    next_action: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    succeeded_at: datetime | None = None
    business_date: date | None = None
    won_attempt: int = 0
    capture_manual: bool = False
    details: str | None = None  # JSON
    due_at: datetime | None = None
    coupon_minor: int = 0  # of captured_minor, what the merchant's own coupons paid; it does not arrive
    coupon_returned_minor: int = 0  # of that, what refunds have given back
    channel: str | None = None  # of the attempt that has its money, else of the last; None: the payer has not chosen
    charged_back_minor: int = 0  # 拒付: what chargebacks that are open, or lost, have taken of it
    share_later: bool = False  # 分账: its rail is to keep the money frozen until it is shared out there

    @property
    def refundable_minor(self) -> int:
        return self.captured_minor - self.live_minor

    @property
    def live_minor(self) -> int:
        """What of it is on its way back or has gone back, by refunds and chargebacks."""
        return self.refunded_minor + self.refunding_minor + self.charged_back_minor


class Attempt(NamedTuple):
    """One try of a payment on one channel account 支付尝试."""

    book: int
    payment_id: str
    number: int
    channel_account: str
    channel: str
    fee_minor: int
    method: str
    details: str | None  # JSON: what the same order needs to be sent again
    decision: str | None  # JSON: why this account
    status: str
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None
    channel_ref: str | None = None
    code: str | None = None
    message: str | None = None
    query_count: int = 0
    authorized_minor: int = 0
    capture_minor: int = 0
    captured_minor: int = 0
    business_date: date | None = None
    latency_ms: int | None = None
    next_action: str | None = None  # JSON
    fee_kept: bool = False  # the channel keeps its fee when this is refunded
    coupon_minor: int = 0  # of captured_minor, what the merchant's own coupons paid
    proceed_count: int = 0  # how often our second call may have left
    ending_at: datetime | None = None  # reserved money: when it was first asked to be captured or released
    # When its rail was last told to close, reverse or release it; of a confirmed one, while that may yet happen.
    undo_sent_at: datetime | None = None

    @property
    def is_fresh(self) -> bool:
        """Tell whether none but the process that recorded it can have sent a message of it, and that one only once."""
        return self.status == states.AttemptStatus.CREATED and self.query_count == 0

    @property
    def reference(self) -> str:
        """Our number at the channel: it follows from the payment and the attempt's number, and is never made anew."""
        return attempt_reference(self.book, self.payment_id, self.number)


_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def attempt_reference(book: int, payment_id: str, number: int) -> str:
    """Return our number at the channel of a payment's attempt."""
    return reference(book, f"{payment_id}_{_DIGITS[number]}")


# A payment's attempts have the digits, a refund's tries the letters, so that no two of our numbers at a rail are alike
# though a payment and the refund that follows from it share their first 26 digits.
MAX_ATTEMPTS = 9
MAX_RETRIES = 26


def attempt_number(attempt_id: str) -> tuple[str, int]:
    """Return (payment_id, number) of an attempt named as parse_reference names it.

    A name without a number, which may come from outside, gets 0, which no attempt has.
    """
    payment_id, _, digit = attempt_id.rpartition("_")
    return (payment_id, _DIGITS.index(digit)) if len(digit) == 1 else (attempt_id, 0)


def refund_number(refund_id: str) -> tuple[str, int]:
    """Return (refund_id, how often it had been asked for again) of a refund named as parse_reference names it.

    What cannot be one of our numbers gets -1, which no refund has.
    """
    ident, _, letter = refund_id.rpartition("_")
    if len(letter) != 1:
        return refund_id, 0
    return (ident, _DIGITS.index(letter) - 9) if letter.isalpha() else (ident, -1)


def overpaid_refund_id(payment_id: str, number: int) -> str:
    """Return the id of the refund by which an attempt's money goes back by itself; it follows from the two."""
    return f"re_{payment_id[4:]}" if number == 1 else f"re_{int(payment_id[4:], 16) ^ (number - 1):026x}"


class Refund(NamedTuple):
    """A refund 退款 of a payment, in full or in part."""

    book: int
    id: str
    payment_id: str
    attempt_number: int
    merchant_refund_id: str | None
    amount_minor: int
    currency: str
    fee_returned_minor: int
    taken_back: str  # JSON: what each share gave back, or that and how much of it was frozen
    reason: str
    status: str
    channel_ref: str | None
    failure_code: str | None
    failure_message: str | None
    query_count: int
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None
    business_date: date | None
    retry_count: int = 0
    retried_at: datetime | None = None
    coupon_minor: int = 0  # of amount_minor, what the merchant's own coupons bear; expected, until it has succeeded
    channel: str | None = None  # of the attempt whose money goes back
    sent_count: int = 0  # how many messages under its present number may have reached the channel
    paid_tries: int = 0  # bit n: the channel has confirmed try n, which is booked; 0 of old successes: the last

    @property
    def reference(self) -> str:
        """Our number of the refund at the channel; asked for again after it failed, it has a new one."""
        return self.reference_of(self.retry_count)

    def reference_of(self, tried: int) -> str:
        """Return our number of one of its tries, from 0."""
        return reference(self.book, f"{self.id}_{_DIGITS[9 + tried]}" if tried else self.id)

    def was_paid(self, tried: int) -> bool:
        """Tell whether the channel has confirmed one of its tries, and that is booked."""
        if not self.paid_tries:
            return self.status == states.RefundStatus.SUCCEEDED and tried == self.retry_count
        return bool(self.paid_tries >> tried & 1)

    @property
    def paid_as(self) -> int:
        """The first of its tries that was paid; of none, the last."""
        return next((tried for tried in range(self.retry_count) if self.was_paid(tried)), self.retry_count)

    @property
    def requested_at(self) -> datetime:
        """When it was asked for under its present number."""
        return self.retried_at or self.created_at

    @property
    def posting(self) -> str:
        """What its transfers' ids begin with; each try has its own."""
        return self.posting_of(self.retry_count)

    def posting_of(self, tried: int) -> str:
        """Return the same of one of its tries."""
        return f"{self.id}:{tried}" if tried else self.id


class RefundReturn(NamedTuple):
    """A number of a refund under which it succeeded and came back 退款退回. Never changed; the number is spent."""

    book: int
    refund_id: str
    retry_count: int  # which of the refund's numbers
    amount_minor: int
    fee_returned_minor: int  # of the channel's fee, with the refund; taken again with its return
    coupon_minor: int  # what the merchant's own coupons bore of it
    business_date: date  # of the refund
    returned_date: date  # of its return
    code: str
    channel_ref: str | None


class Chargeback(NamedTuple):
    """A chargeback 拒付: money of a payment that its channel took back for the payer. Amounts in minor units."""

    book: int
    id: str  # follows from the three below, see chargeback_id
    payment_id: str
    attempt_number: int  # whose money it is
    channel: str
    channel_account: str
    channel_ref: str  # the channel's number of it
    amount_minor: int  # what the channel took
    currency: str
    covered_minor: int  # of that, what its payment bears; the rest had gone back before, and is in suspense
    fee_minor: int  # what the channel keeps for it
    fee_back_minor: int  # what of that it gave back when it was won
    fee_returned_minor: int  # of the payment's fee, what comes back with what is covered, as with a refund
    coupon_minor: int  # of covered_minor, what the merchant's own coupons bear
    taken_back: str  # JSON: what each share gave back, see splitting.take_back_for_refund
    reason: str
    status: str
    evidence_due_at: datetime | None
    evidence: str | None  # of one that a person recorded: where it is kept
    recorded_by: str | None  # the person who recorded it; None: the channel tells of it
    business_date: date  # on which the channel took the money
    ended_date: date | None
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None  # when the channel is asked about it again; None: it has ended, or a person records it


def chargeback_id(book: int, account: str, channel_ref: str) -> str:
    """Return the id of a channel's dispute on a channel account: it is booked once, however often it is told."""
    return "cbk_" + hashlib.sha256(f"{book}\x1f{account}\x1f{channel_ref}".encode()).hexdigest()[:26]


class CashierLink(NamedTuple):
    """A payment link 付款链接, or a merchant's standing code 静态收款码. Amounts in minor units of `currency`."""

    book: int
    id: str
    kind: str  # link | static
    name: str
    description: str
    amount_minor: int | None  # None: the payer says
    minimum_minor: int
    maximum_minor: int
    currency: str
    state: str  # active | inactive
    expires_at: datetime | None
    max_uses: int | None
    uses: str  # JSON: ids of payments
    payment_count: int
    split: str | None  # JSON: [payee, kind, value] each
    metadata: str | None  # JSON
    return_url: str | None
    created_at: datetime
    updated_at: datetime
    suspended_at: datetime | None = None  # by the operator, whatever the merchant says in `state`


MERCHANTS: Table[Merchant] = Table("merchant", Merchant, "int text text timestamptz timestamptz", keys=1)
CHANNEL_ACCOUNTS: Table[ChannelAccount] = Table(
    "channel_account",
    ChannelAccount,
    "int text text text json text json int int int timestamptz timestamptz",
    keys=2,
)
CLAIMS: Table[Claim] = Table("claim", Claim, "int text bytea text timestamptz", keys=2)
PAYMENTS: Table[Payment] = Table(
    "payment",
    Payment,
    "int text text bigint text text text json text int bigint timestamptz timestamptz timestamptz "
    "bigint bigint bigint int json text text timestamptz date int bool json timestamptz bigint bigint text bigint bool",
    keys=2,
    remembered=True,
)
ATTEMPTS: Table[Attempt] = Table(
    "attempt",
    Attempt,
    "int text int text text bigint text json json text timestamptz timestamptz timestamptz text text text int "
    "bigint bigint bigint date int json bool bigint int timestamptz timestamptz",
    keys=3,
    remembered=True,
)
REFUNDS: Table[Refund] = Table(
    "refund",
    Refund,
    "int text text int text bigint text bigint json text text text text text int "
    "timestamptz timestamptz timestamptz date int timestamptz bigint text int int",
    keys=2,
)
REFUND_RETURNS: Table[RefundReturn] = Table(
    "refund_return", RefundReturn, "int text int bigint bigint bigint date date text text", keys=3
)
CHARGEBACKS: Table[Chargeback] = Table(
    "chargeback",
    Chargeback,
    "int text text int text text text bigint text bigint bigint bigint bigint bigint json text text timestamptz "
    "text text date date timestamptz timestamptz timestamptz",
    keys=2,
)
CASHIER_LINKS: Table[CashierLink] = Table(
    "cashier_link",
    CashierLink,
    "int text text text text bigint bigint bigint text text timestamptz int json int json json text timestamptz "
    "timestamptz timestamptz",
    keys=2,
)
