"""The books told again in the plainest way: one transfer at a time on dictionaries. It shares no code with ledger.

Written from the words of ledger/posting.py, so that the two can disagree.
"""

import copy
from dataclasses import dataclass, field
from datetime import datetime

# rule: (kind debited, kind credited), for the rules the test uses
RULES = {
    "payment_captured": ("channel", "merchant"),
    "refund": ("merchant", "channel"),
    "share": ("merchant", "payee"),
    "share_taken_back": ("payee", "merchant"),
    "settlement_sent": ("payee", "in_transit"),
    "settlement_paid": ("in_transit", "sub_account"),
}
MAY_NOT_BE_BELOW_ZERO = {"merchant", "in_transit", "sub_account"}  # all of them stand on the credit side
LARGEST = 1_000_000_000_000_000


def kind(account: str) -> str:
    return account.split(":")[0]


@dataclass
class Sums:
    debits: int = 0
    credits: int = 0
    debits_held: int = 0
    credits_held: int = 0


@dataclass
class Held:
    debit: str
    credit: str
    amount: int
    expires_at: datetime | None
    state: str = "held"
    posted: int = 0


@dataclass
class Line:
    """One transfer as asked for."""

    id: str
    rule: str
    debit: str
    credit: str
    amount: int
    currency: str
    step: str = "post"
    hold: str | None = None
    expires_at: datetime | None = None

    @property
    def told(self) -> tuple[object, ...]:
        return (self.rule, self.debit, self.credit, self.amount, self.currency, self.step, self.hold)


@dataclass
class SerialBook:
    """One book. `post` and `expire` answer as the ledger should: a list of results, or ("refused", results)."""

    accounts: dict[str, Sums]
    holds: dict[str, Held] = field(default_factory=dict)
    journal: list[tuple[str, Line]] = field(default_factory=list)  # (id, what was asked)

    def post(self, lines: list[Line], now: datetime) -> list[str] | tuple[str, list[str]]:
        known = dict(self.journal)
        if any(line.id in known for line in lines):
            answers = [
                "exists" if line.id in known and known[line.id].told == line.told else "exists_differently"
                for line in lines
            ]
            return ("refused", answers) if "exists_differently" in answers else answers
        before = copy.deepcopy((self.accounts, self.holds, self.journal))
        for place, line in enumerate(lines):
            if (trouble := self._one(line, now)) is not None:
                self.accounts, self.holds, self.journal = before
                return ("refused", [trouble if n == place else "linked_failed" for n in range(len(lines))])
        return ["posted"] * len(lines)

    def _one(self, line: Line, now: datetime) -> str | None:
        if line.id in dict(self.journal):
            return "exists_differently"
        if line.rule not in RULES:
            return "no_such_rule"
        if line.amount <= 0:
            return "amount_not_positive"
        if line.amount > LARGEST:
            return "amount_too_large"
        if line.debit == line.credit:
            return "same_account"
        if line.debit not in self.accounts or line.credit not in self.accounts:
            return "no_such_account"
        if (kind(line.debit), kind(line.credit)) != RULES[line.rule]:
            return "rule_differs"
        if {line.debit.split(":")[-1], line.credit.split(":")[-1]} != {line.currency}:
            return "currency_differs"
        resolves = line.step in ("post_hold", "void_hold")
        if resolves != (line.hold is not None):
            return "no_such_hold"
        debit, credit = self.accounts[line.debit], self.accounts[line.credit]
        if resolves:
            assert line.hold is not None
            hold = self.holds.get(line.hold)
            if hold is None:
                return "no_such_hold"
            if hold.state != "held":
                return "hold_already_posted" if hold.state == "posted" else "hold_already_voided"
            if line.step == "post_hold" and hold.expires_at is not None and now >= hold.expires_at:
                return "hold_expired"
            if (hold.debit, hold.credit) != (line.debit, line.credit) or hold.amount < line.amount:
                return "exceeds_hold"
            debit.debits_held -= hold.amount
            credit.credits_held -= hold.amount
            hold.state = "posted" if line.step == "post_hold" else "voided"
            hold.posted = line.amount if line.step == "post_hold" else 0
        if line.step == "hold":
            debit.debits_held += line.amount
            credit.credits_held += line.amount
            self.holds[line.id] = Held(line.debit, line.credit, line.amount, line.expires_at)
        if line.step in ("post", "post_hold"):
            debit.debits += line.amount
            credit.credits += line.amount
        if kind(line.debit) in MAY_NOT_BE_BELOW_ZERO and debit.credits - debit.debits - debit.debits_held < 0:
            return "would_overdraw"
        self.journal.append((line.id, line))
        return None

    def expire(self, hold_id: str, now: datetime) -> bool | None:
        """Return whether the hold was voided now, None when there is none."""
        hold = self.holds.get(hold_id)
        if hold is None:
            return None
        if hold.state != "held" or hold.expires_at is None or now < hold.expires_at:
            return False
        self.accounts[hold.debit].debits_held -= hold.amount
        self.accounts[hold.credit].credits_held -= hold.amount
        hold.state = "expired"
        first = dict(self.journal)[hold_id]
        voids = f"{hold_id}:expired"
        self.journal.append(
            (voids, Line(voids, first.rule, hold.debit, hold.credit, hold.amount, first.currency, "void_hold", hold_id))
        )
        return True

    def balance(self, account: str) -> int:
        sums = self.accounts[account]
        return sums.debits - sums.credits if kind(account) in ("channel", "bank") else sums.credits - sums.debits
