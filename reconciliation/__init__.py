"""Book against channel against bank 对账: files in, differences out, each with an owner to find and an age."""

from reconciliation import report
from reconciliation.matching.match import (
    Deposits,
    Discrepancy,
    Matched,
    MatchResult,
    Mirror,
    Movement,
    Net,
    Payout,
    Payouts,
    PayoutStatus,
    Statements,
    match_balances,
    match_channel,
    match_deposit,
    net_of,
)
from reconciliation.matching.payouts import match_payouts
from reconciliation.matching.verdicts import Area, Comparison, DiscrepancyKind, Key, Reported
from reconciliation.proof import INVARIANTS
from reconciliation.runs import Case, Run, discrepancies, reconcile
from reconciliation.sources.statements import (
    Kept,
    Restated,
    bill_of,
    entries_on,
    keep_bank_file,
    keep_bill,
    reports_on,
    restated,
    statements_of,
)
from reconciliation.states import DISCREPANCY, Event, State

__all__ = [
    "DISCREPANCY",
    "INVARIANTS",
    "Area",
    "Case",
    "Comparison",
    "Deposits",
    "Discrepancy",
    "DiscrepancyKind",
    "Event",
    "Kept",
    "Key",
    "MatchResult",
    "Matched",
    "Mirror",
    "Movement",
    "Net",
    "Payout",
    "PayoutStatus",
    "Payouts",
    "Reported",
    "Restated",
    "Run",
    "State",
    "Statements",
    "bill_of",
    "discrepancies",
    "entries_on",
    "keep_bank_file",
    "keep_bill",
    "match_balances",
    "match_channel",
    "match_deposit",
    "match_payouts",
    "net_of",
    "reconcile",
    "report",
    "reports_on",
    "restated",
    "statements_of",
]
