"""Who is owed what of a payment 分账, and having banks pay it into sub-accounts 结算."""

from splitting import store
from splitting.accounts import store as accounts_store
from splitting.banks.enrolment import bank_link_payload
from splitting.guard import store as guard
from splitting.listeners import splitter
from splitting.objects import EVENTS as _EVENTS
from splitting.objects import (
    SplitOut,
    instruction_payload,
    payee_payload,
    settlement_payload,
    split_payload,
)
from splitting.payees import CreatePayee, LinkBank, check_payable
from splitting.plans.arithmetic import Share, SplitLine, compute
from splitting.plans.asked import Part
from splitting.plans.document import PlanWrong
from splitting.plans.tree import ShareKind
from splitting.rails import store as rails_store
from splitting.rails.compile import require_rail
from splitting.rails.limits import RAILS, AtRail, shares_out
from splitting.rails.objects import ShareOrderOut, share_order_payload
from splitting.rails.orders import freeze_needs, frozen_at_rail, refund_needs, refund_waits_until
from splitting.rails.own_release import ask_from
from splitting.recalls import objects as recall_objects
from splitting.recalls import store as recall_store
from splitting.settlement import store as settlement_store
from splitting.settlement.deposits import ApplyDeposit
from splitting.settlement.instructions import (
    DecideInstruction,
    MakeSettlement,
    MarkSent,
)
from splitting.shares.giving_back import give_back_after_failed_refund, take_back_for_refund
from splitting.shares.own import note_cost_borne, own_account, own_balance
from splitting.shares.sharing import (
    Paid,
    check,
    check_needs,
    needs,
    plan,
    plan_needs,
    share_out,
)
from splitting.shares.store import INVARIANTS as _OF_DEBTS
from splitting.tables import BankLink, Payee, RailPayment
from splitting.withdrawals import objects as withdrawal_objects
from splitting.withdrawals import store as withdrawal_store

EVENTS = {**_EVENTS, **withdrawal_objects.EVENTS, **recall_objects.EVENTS}

INVARIANTS = {
    **store.INVARIANTS,
    **accounts_store.INVARIANTS,
    **_OF_DEBTS,
    **guard.INVARIANTS,
    **settlement_store.INVARIANTS,
    **rails_store.INVARIANTS,
    **withdrawal_store.INVARIANTS,
    **recall_store.INVARIANTS,
}

__all__ = [
    "EVENTS",
    "INVARIANTS",
    "RAILS",
    "ApplyDeposit",
    "AtRail",
    "BankLink",
    "CreatePayee",
    "DecideInstruction",
    "LinkBank",
    "MakeSettlement",
    "MarkSent",
    "Paid",
    "Part",
    "Payee",
    "PlanWrong",
    "RailPayment",
    "Share",
    "ShareKind",
    "ShareOrderOut",
    "SplitLine",
    "SplitOut",
    "ask_from",
    "bank_link_payload",
    "check",
    "check_needs",
    "check_payable",
    "compute",
    "freeze_needs",
    "frozen_at_rail",
    "give_back_after_failed_refund",
    "instruction_payload",
    "needs",
    "note_cost_borne",
    "own_account",
    "own_balance",
    "payee_payload",
    "plan",
    "plan_needs",
    "rails_store",
    "refund_needs",
    "refund_waits_until",
    "require_rail",
    "settlement_payload",
    "share_order_payload",
    "share_out",
    "shares_out",
    "split_payload",
    "splitter",
    "store",
    "take_back_for_refund",
]
