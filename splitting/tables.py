"""The rows of splitting as the commit lane knows them; schema.sql has their meaning."""

from datetime import date, datetime, time
from typing import NamedTuple

from kernel.work import Table


class Payee(NamedTuple):
    """A payee 收款方 and its sub-account 子账户 at a bank."""

    book: int
    id: str
    name: str
    kind: str  # supplier | platform | merchant
    currency: str
    bank: str | None
    bank_account: str | None
    created_at: datetime
    suspended_at: datetime | None = None  # since when it is paid nothing; its shares are booked as ever
    suspended_by: str | None = None  # merchant | operator
    account_class: str | None = None  # II | III: of its account at the bank, which has limits; None: it has none
    fees_apart: bool = False  # of a platform's: its commission is owed in an account of its own in the ledger
    account_status: str | None = None  # states.SubAccount; None: it is at no bank
    account_reason: str | None = None  # why the bank opened none, or blocked it: its code
    frozen_at: datetime | None = None  # since when nothing is paid to its account or withdrawn from it
    frozen_by: str | None = None  # bank | operator

    @property
    def is_stopped(self) -> bool:
        """Whether people or its bank have had payments to it stop. Where its account is not open yet it is not."""
        return self.suspended_at is not None or self.frozen_at is not None


class AccountUse(NamedTuple):
    """What was sent to a payee's account that has limits: for the last day and its year, and what is on its way."""

    book: int
    payee_id: str
    day: date
    day_minor: int
    year_minor: int
    open_minor: int


class AccountOpening(NamedTuple):
    """The last opening of a payee's sub-account at its bank that was not answered at once 开户."""

    book: int
    payee_id: str
    number: int  # which of the payee's openings it is, from 1
    sealed: str | None  # the identity token, where the bank is not known to have it; see banks/opening.py
    asked_at: datetime
    ended_at: datetime | None = None  # None: the bank is asked until it says what became of it

    @property
    def id(self) -> str:
        """The payee's: it has one opening at a time."""
        return self.payee_id


class PayoutReserve(NamedTuple):
    """What is kept of what a payee is owed 保证金, or by default of every payee's at a bank."""

    book: int
    bank: str
    payee_id: str  # empty: the bank's default
    fixed_minor: int
    rolling_bp: int
    rolling_days: int
    set_at: datetime


class Split(NamedTuple):
    """A payment's split plan and, once posted, its shares. `asked` and `shares` are JSON lists of lists."""

    book: int
    payment_id: str
    status: str  # planned | posted
    currency: str
    asked: str
    gross_minor: int
    fee_minor: int
    shares: str
    posted_at: datetime | None
    coupon_minor: int = 0  # what the merchant's own coupons paid of gross_minor
    frozen: str = "[]"  # JSON: the parts of shares that were not to be paid out at once, see shares.release.Frozen
    frozen_minor: int = 0  # what of them is frozen now
    release_on: date | None = None  # the first date on which something of it is released; None: on none
    delivered_at: datetime | None = None  # when delivery was confirmed
    own_payee: str | None = None  # who is paid the merchant's own of it; None: it stays in the merchant's account
    rail: str | None = None  # the rail_payment whose money is frozen for it; None: none is


class OwnPayee(NamedTuple):
    """By which payee a merchant is paid what is its own of payments in a currency."""

    book: int
    currency: str
    payee_id: str | None  # None: by none any more
    set_by: str  # a person's name, or an API key's id
    set_at: datetime


class SplitPlan(NamedTuple):
    """A split plan 分账方案 that a merchant keeps, in versions."""

    book: int
    id: str
    name: str
    currency: str
    versions: int  # the number of the last
    active: int | None  # by which new payments are shared out; None: by none yet
    created_at: datetime


class PlanVersion(NamedTuple):
    """A version of a split plan. Its document never changes."""

    book: int
    plan_id: str
    version: int
    document: str  # JSON, as it was sent
    written_out: str  # JSON, with what it inherits
    hash: bytes  # SHA-256 of written_out as canonical JSON
    status: str  # draft | active | retired
    maker: str  # a person's name, or an API key's id
    checker: str | None  # who had it activated last, or agreed to that; None: nobody yet
    made_at: datetime
    status_at: datetime
    by_rail: bool = False  # some line of it travels by rail


class Attachment(NamedTuple):
    """By which plan payments are shared out that name none."""

    book: int
    scope: str  # payment_link | product_line | store | merchant
    subject: str  # the link's id, or the merchant's own name for it; empty where it is the merchant
    currency: str
    plan_id: str | None  # None: none any more
    version: int | None  # None: the one that is active when a payment is made
    attached_by: str  # a person's name, or an API key's id
    attached_at: datetime


class RailReceiver(NamedTuple):
    """As whom a rail knows a payee 分账接收方, at one of the merchant's channel accounts."""

    book: int
    payee_id: str
    channel_account: str
    channel: str  # its rail
    kind: str  # channels.sharing.ReceiverKind
    account: str
    name: str  # which the rail compares; empty: it is not given
    relation: str  # in the rail's own words
    status: str  # registering | registered | refused
    code: str | None  # why it is refused, or was not registered yet, in the rail's words
    message: str | None
    try_count: int
    due_at: datetime | None  # when the rail is told; None: nothing is to be done
    set_by: str  # a person's name, or an API key's id
    created_at: datetime
    updated_at: datetime


class RailPayment(NamedTuple):
    """Money of an attempt that its rail keeps frozen until it is shared out. Amounts in minor units."""

    book: int
    id: str  # payment:attempt
    payment_id: str
    channel_account: str
    channel: str
    reference: str  # our number of the attempt
    channel_ref: str  # the rail's number of it
    currency: str
    arrived_minor: int  # what was frozen: what was paid less the channel's fee and the merchant's own coupons
    frozen_on: date
    paid_at: datetime
    basis_points: int | None  # the ceiling that the account's terms agree; None: the rail's own
    order_count: int = 0
    is_last: bool = False  # the last of its orders releases the rest, so there are no more
    released_on: date | None = None  # since when nothing of it is frozen; None: something is
    returns_open: int = 0  # fetchings-back that have not ended
    return_sent_at: datetime | None = None  # the last message of one of them
    ask_at: datetime | None = None  # when the rail is asked whether it has released it by itself; None: never


class ShareOrder(NamedTuple):
    """One sharing-out 分账单 of a payment at its rail."""

    book: int
    id: str  # payment:rail:number
    payment_id: str
    number: int  # counted from 1
    rail_payment: str
    channel_account: str
    channel: str
    currency: str
    parts: str  # JSON: rails.orders.Part
    release_rest: bool
    status: str  # planned | sent | finished | refused
    code: str | None  # what the rail answered last, where that was a no
    message: str | None
    channel_ref: str | None
    sent_count: int  # how often it may have been sent
    query_count: int
    sent_at: datetime | None  # last
    due_at: datetime | None  # when it is sent or asked about next; None: it has ended
    created_at: datetime
    updated_at: datetime
    return_count: int = 0  # of what of it refunds have fetched back


class ShareReturn(NamedTuple):
    """One fetching-back 分账回退 of what a rail has paid of a share, for a refund."""

    book: int
    id: str  # order:part:fetched:refund
    payment_id: str
    order_id: str
    part: int  # its place in the order's parts
    cause: str  # the refund's id
    number: int  # of the order's returns, counted from 1
    amount_minor: int
    status: str  # waiting | sent | done | refused | dropped
    code: str | None
    message: str | None
    sent_count: int
    query_count: int
    due_at: datetime | None
    done_on: date | None
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None = None  # its last message


class BankLink(NamedTuple):
    """A merchant's custody at a bank."""

    book: int
    bank: str
    pool_account: str
    settings: str
    cursor: str
    sealed: str | None = None
    ended_at: datetime | None = None  # None: the bank is asked all the time
    read_at: datetime | None = None  # when last all that the bank had was read, give or take a minute


class Settlement(NamedTuple):
    """A batch of instructions 结算批次 for one bank, business date and currency."""

    book: int
    id: str
    bank: str
    business_date: date
    execution_date: date
    currency: str
    status: str
    total_minor: int
    instruction_count: int
    open_count: int
    paid_minor: int
    created_at: datetime
    updated_at: datetime
    returned_minor: int = 0  # of paid_minor, what came back
    written_as: int = 1  # in which of its bank's forms it is written, see channels.banks.Order
    drafted_to: str | None = None  # of a draft: the last payee that was looked at
    debtor_name: str | None = None  # the account holder in whose name it is written; None: of a link that named none
    again_at: datetime | None = None  # when two people last had it sent again


class Instruction(NamedTuple):
    """One instruction 结算指令: pay this payee's sub-account."""

    book: int
    id: str
    settlement_id: str
    payee_id: str
    payee_kind: str
    account: str
    name: str
    amount_minor: int
    currency: str
    status: str
    reason: str | None
    bank_date: date
    decided_at: datetime | None
    returned_at: datetime | None = None  # 退票
    returned_on: date | None = None  # the bank's day of it
    return_reason: str | None = None  # the bank's code
    debits: str = ""  # by which bookings the bank carried it out, see splitting.settlement.debits


class PayeeDebt(NamedTuple):
    """What a payee owes 欠款 since a refund took back more than it was owed; its account says what was recovered."""

    book: int
    id: str
    payee_id: str
    account: str  # its, in the ledger
    transfer_id: str  # the taking back
    payment_id: str
    cause: str  # the id of the refund or chargeback
    amount_minor: int
    owed_minor: int  # all that the account was below nothing after it, this included
    currency: str
    seq: int  # the transfer's number in the journal
    created_at: datetime


class BankFile(NamedTuple):
    """A file of a bank's, and what became of it; its bytes are bank_file_content's, by their hash."""

    book: int
    id: str
    bank: str
    file_id: str  # the bank's own; of one given by hand it begins with "hand-"
    type: str  # see channels.banks.KINDS
    name: str
    business_date: date
    listed_sha256: str  # as the bank's list has it, in small letters; empty where it has none
    sha256: str | None  # of the bytes that are kept; None: none were had
    size: int  # of those, in bytes
    fate: str
    code: str | None  # why it is quarantined, or was
    why: str | None
    repeats: str | None  # the file whose bytes these are as well
    replaces: str | None  # given by hand: the file in whose place
    given_by: str | None  # given by hand: by whom
    received_at: datetime
    fate_at: datetime
    fate_by: str  # a person, or sluice


class BankAccount(NamedTuple):
    """An account at a merchant's bank that is for one role 功能账户, of the merchant's custody."""

    book: int
    bank: str
    currency: str
    role: str  # splitting/banks/roles.py
    account: str
    set_by: str  # a person's name
    set_at: datetime


class PayoutSchedule(NamedTuple):
    """When a payee is paid 结算周期, or by default (payee_id '') every payee at a bank."""

    book: int
    bank: str
    payee_id: str
    every: str  # settlement.calendar.Every
    on_day: int | None
    minimum_minor: int
    set_at: datetime


class PayoutBank(NamedTuple):
    """When a bank carries batches out, from what amount on one takes two people, and up to when all is settled."""

    book: int
    bank: str
    cut_off: time  # in Beijing
    every_day: bool
    release_above_minor: int | None
    only_deposited: bool  # no batch is sent for which the pool account lacks the money
    settled_until: date | None


class PayeeAccount(NamedTuple):
    """A payee's own account at another bank 绑定账户, to which it withdraws; the holder is the payee."""

    book: int
    payee_id: str
    account: str
    bank_bic: str
    bank_name: str
    set_by: str  # a person's name, or an API key's id
    set_at: datetime
    bound_at_bank: bool = False  # the payee's bank has it as the sub-account's own: its class limits nothing


class WithdrawalLimit(NamedTuple):
    """What a payee may withdraw 提现限额, or by default (payee_id '') every payee at a bank."""

    book: int
    bank: str
    payee_id: str
    minimum_minor: int
    most_minor: int | None  # at once; None: no limit
    day_minor: int | None  # a day, in Beijing; None: no limit
    set_at: datetime


class WithdrawalUse(NamedTuple):
    """What a payee asked to withdraw on the last day on which it did, and in its year, less what was refused."""

    book: int
    payee_id: str
    day: date
    day_minor: int
    year_minor: int


class Withdrawal(NamedTuple):
    """A payee's money on its way 提现 from its sub-account to its own account at another bank."""

    book: int
    id: str
    payee_id: str
    reference: str  # the merchant's own number
    bank: str
    sub_account: str
    name: str  # the payee's, in which both accounts are
    account: str
    bank_bic: str
    bank_name: str
    amount_minor: int
    currency: str
    status: str
    reason: str | None
    execution_date: date  # the day in Beijing on which it was asked for
    written_as: int  # in which of its bank's forms it is written, see channels.banks.Order
    asked_by: str
    created_at: datetime
    updated_at: datetime
    bank_date: date | None = None  # the bank's day on which it was paid or refused
    returned_on: date | None = None  # 退票: the bank's day of it
    debits: str = ""  # by which bookings the bank carried it out, see splitting.settlement.debits


class Recall(NamedTuple):
    """What asks a bank for a payment back 追回: a line of a batch, or a withdrawal."""

    book: int
    about: str  # the line's id, or the withdrawal's
    bank: str
    number: int  # of how often it was asked for; each has an id of its own at the bank
    amount_minor: int
    currency: str
    reason: str  # one of channels.banks.RECALL_REASONS
    note: str  # for the bank's people; may be empty
    status: str
    unsent: bool  # it is to be given to the bank
    code: str | None  # why the bank refuses it, or waits: its code and words
    answered_on: date | None  # the bank's day of its last answer
    asked_by: str  # a person's name
    asked_at: datetime
    updated_at: datetime

    @property
    def id(self) -> str:
        """The recall, of all that are given to banks."""
        return f"{self.about}:recall:{self.number}"


PAYEES: Table[Payee] = Table(
    "payee",
    Payee,
    "int text text text text text text timestamptz timestamptz text text bool text text timestamptz text",
    keys=2,
)
ACCOUNT_OPENINGS: Table[AccountOpening] = Table(
    "account_opening", AccountOpening, "int text int text timestamptz timestamptz", keys=2
)
ACCOUNT_USES: Table[AccountUse] = Table("account_use", AccountUse, "int text date bigint bigint bigint", keys=2)
PAYOUT_RESERVES: Table[PayoutReserve] = Table(
    "payout_reserve", PayoutReserve, "int text text bigint int int timestamptz", keys=3
)
SPLITS: Table[Split] = Table(
    "split",
    Split,
    "int text text text json bigint bigint json timestamptz bigint json bigint date timestamptz text text",
    keys=2,
)
OWN_PAYEES: Table[OwnPayee] = Table("own_payee", OwnPayee, "int text text text timestamptz", keys=2)
SPLIT_PLANS: Table[SplitPlan] = Table("split_plan", SplitPlan, "int text text text int int timestamptz", keys=2)
PLAN_VERSIONS: Table[PlanVersion] = Table(
    "split_plan_version",
    PlanVersion,
    "int text int json json bytea text text text timestamptz timestamptz bool",
    keys=3,
)
ATTACHMENTS: Table[Attachment] = Table(
    "split_attachment", Attachment, "int text text text text int text timestamptz", keys=4
)
RAIL_RECEIVERS: Table[RailReceiver] = Table(
    "rail_receiver",
    RailReceiver,
    "int text text text text text text text text text text int timestamptz text timestamptz timestamptz",
    keys=3,
)
RAIL_PAYMENTS: Table[RailPayment] = Table(
    "rail_payment",
    RailPayment,
    "int text text text text text text text bigint date timestamptz int int bool date int timestamptz timestamptz",
    keys=2,
)
SHARE_ORDERS: Table[ShareOrder] = Table(
    "share_order",
    ShareOrder,
    "int text text int text text text text json bool text text text text int int timestamptz timestamptz timestamptz "
    "timestamptz int",
    keys=2,
)
SHARE_RETURNS: Table[ShareReturn] = Table(
    "share_return",
    ShareReturn,
    "int text text text int text int bigint text text text int int timestamptz date timestamptz timestamptz "
    "timestamptz",
    keys=2,
)
BANK_LINKS: Table[BankLink] = Table(
    "bank_link", BankLink, "int text text json text text timestamptz timestamptz", keys=2
)
BANK_ACCOUNTS: Table[BankAccount] = Table(
    "bank_account", BankAccount, "int text text text text text timestamptz", keys=4
)
SETTLEMENTS: Table[Settlement] = Table(
    "settlement",
    Settlement,
    "int text text date date text text bigint int int bigint timestamptz timestamptz bigint int text text timestamptz",
    keys=2,
)
INSTRUCTIONS: Table[Instruction] = Table(
    "instruction",
    Instruction,
    "int text text text text text text bigint text text text date timestamptz timestamptz date text text",
    keys=2,
)
PAYEE_DEBTS: Table[PayeeDebt] = Table(
    "payee_debt", PayeeDebt, "int text text text text text text bigint bigint text bigint timestamptz", keys=2
)
BANK_FILES: Table[BankFile] = Table(
    "bank_file",
    BankFile,
    "int text text text text text date text text bigint text text text text text text timestamptz timestamptz text",
    keys=2,
)
PAYOUT_SCHEDULES: Table[PayoutSchedule] = Table(
    "payout_schedule", PayoutSchedule, "int text text text int bigint timestamptz", keys=3
)
PAYOUT_BANKS: Table[PayoutBank] = Table("payout_bank", PayoutBank, "int text time bool bigint bool date", keys=2)
PAYEE_ACCOUNTS: Table[PayeeAccount] = Table(
    "payee_account", PayeeAccount, "int text text text text text timestamptz bool", keys=2
)
WITHDRAWAL_LIMITS: Table[WithdrawalLimit] = Table(
    "withdrawal_limit", WithdrawalLimit, "int text text bigint bigint bigint timestamptz", keys=3
)
WITHDRAWAL_USES: Table[WithdrawalUse] = Table("withdrawal_use", WithdrawalUse, "int text date bigint bigint", keys=2)
WITHDRAWALS: Table[Withdrawal] = Table(
    "withdrawal",
    Withdrawal,
    "int text text text text text text text text text bigint text text text date int text timestamptz timestamptz date "
    "date text",
    keys=2,
)
RECALLS: Table[Recall] = Table(
    "recall",
    Recall,
    "int text text int bigint text text text text bool text date text timestamptz timestamptz",
    keys=2,
)
