"""The proof of one merchant's custody 备付金 at one bank at the end of a business date. Pure.

The bank's closing balance of each account less the hub's mirror of it must be what the bookings at one side only come
to. Whatever is left has no explanation.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from channels.banks import AccountStatement, Entry
from kernel.ids import base36
from reconciliation.proof.items import At, Item, one_sided
from splitting.banks.sending import message_id
from splitting.settlement.ids import INSTRUCTION_ID
from splitting.settlement.instructions import settlement_id
from splitting.withdrawals import rules

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Custody:
    """Whose money is where: a book's accounts at one bank in one currency."""

    book: int
    bank: str
    currency: str
    pool: str  # the pool account's number at the bank
    subs: Mapping[str, str]  # payee → number of its account there
    others: Mapping[str, str] = field(default_factory=dict)  # role → number of the account for it 功能账户
    opens_accounts: bool = True  # else those are the payees' own: what is in them is no custody, and no statement's

    @property
    def accounts(self) -> list[str]:
        return [self.pool, *((*self.subs.values(), *self.others.values()) if self.opens_accounts else ())]

    def line_of(self, text: str) -> str | None:
        """Return the line or the withdrawal of this book's that a reference is, None where it is none."""
        if rules.id_of(self.book, text) is not None:
            return text
        return text if INSTRUCTION_ID.fullmatch(text) and text.startswith(f"{base36(self.book)}-") else None

    def batch_of(self, line: str) -> str:
        """Return the batch of a line, as its bank knows it."""
        told = line.split("-")[1]
        day = date(2000 + int(told[:2]), int(told[2:4]), int(told[4:6]))
        return message_id(settlement_id(self.book, self.bank, day, self.currency, early=line.endswith("x")))


@dataclass(frozen=True, slots=True)
class Base:
    """What the proof before has left: until which date it looked at the bank's statements, and what was one-sided."""

    as_of: date
    journal_seq: int  # transfers of those dates up to this one were looked at
    items: Sequence[Item] = ()
    unexplained: Mapping[str, int] = field(default_factory=dict)  # by account


@dataclass(frozen=True, slots=True)
class Moved:
    """A posted transfer that moved custody or a sub-account, as it was booked."""

    id: str
    business_date: date
    bank_minor: int  # by what custody became more
    payee: str | None  # whose sub-account it moved
    sub_minor: int
    role: str | None = None  # of the account that it moved, which is for one role
    role_minor: int = 0


@dataclass(frozen=True, slots=True)
class Given:
    """What there is to prove a date by."""

    day: date
    custody: Custody
    base: Base | None
    statements: Sequence[AccountStatement]  # of the dates after the base, those that count
    moved: Sequence[Moved]  # transfers of these dates, and those of earlier ones that the base had not
    custody_minor: int  # the control account at the end of the day, with all that was paid to payees, without others
    subs_minor: Mapping[str, int]  # payee → the mirror of its sub-account at the end of the day
    others_minor: Mapping[str, int] = field(default_factory=dict)  # role → the control account of what is there
    bank_works: bool = True  # False: a bank without a statement of the day has none


@dataclass(frozen=True, slots=True)
class Unexplained:
    """What the proof does not hold for."""

    what: str  # statement_missing | statement_gap | opening_differs | balance_differs
    account: str
    minor: int  # what the bank's balance has more than the hub's and its one-sided bookings explain; 0: not known
    detail: str


@dataclass(frozen=True, slots=True)
class Proved:
    """How a custody stands at the end of a date."""

    custody: Custody
    as_of: date  # the last date with a statement; what is one-sided is as of then where no statement is missing
    statement_of: date | None  # the statement that the bank's balances are from; None: there is none
    ours: Mapping[str, int]  # by account at the bank
    theirs: Mapping[str, int]
    items: Sequence[Item]
    unexplained: Sequence[Unexplained]

    @property
    def holds(self) -> bool:
        return not self.unexplained

    @property
    def digest(self) -> str:
        """SHA-256 over each account with its balance by the bank and by the hub, so that none can be another's."""
        accounts = sorted({*self.ours, *self.theirs})
        lines = (f"{one} {self.theirs.get(one, 0)} {self.ours.get(one, 0)}\n" for one in accounts)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def prove(given: Given) -> Proved:
    """Compare a custody's balances at the end of a date with the bank's, and explain what differs, line by line."""
    custody, base = given.custody, given.base
    ours = _mirrors(given)
    of_day = {one.account: one for one in given.statements if one.business_date == given.day}
    if custody.pool not in of_day and (given.bank_works or of_day or base is None):
        return _without_statement(given, ours)
    items = one_sided(
        [*(base.items if base else ()), *_of_bank(custody, given.statements), *_of_hub(custody, given.moved)]
    )
    effects: Counter[str] = Counter()
    for item in items:
        effects[item.account] += item.effect
    if not of_day:  # the bank does not work: what it said last stands
        before = dict(base.unexplained) if base else {}
        theirs = {account: minor + effects[account] + before.get(account, 0) for account, minor in ours.items()}
        left = [
            Unexplained("balance_differs", account, minor, "as at the end of the last day on which the bank worked")
            for account, minor in sorted(before.items())
            if minor
        ]
        return Proved(custody, given.day, base.as_of if base else None, ours, theirs, items, left)
    theirs = {account: one.closing.minor for account, one in of_day.items()}
    return Proved(custody, given.day, given.day, ours, theirs, items, _left(given, ours, theirs, effects))


def _mirrors(given: Given) -> dict[str, int]:
    custody = given.custody
    ours = {number: given.subs_minor.get(payee, 0) for payee, number in custody.subs.items()}
    pool = {custody.pool: given.custody_minor - sum(ours.values())}
    others = {number: given.others_minor.get(role, 0) for role, number in custody.others.items()}
    return {**pool, **ours, **others} if custody.opens_accounts else pool


def _without_statement(given: Given, ours: Mapping[str, int]) -> Proved:
    """Leave the day open: what the proof before has left is as it was, and the next goes on from there."""
    base, pool = given.base, given.custody.pool
    as_of = base.as_of if base else given.day - DAY
    missing = Unexplained("statement_missing", pool, 0, f"the bank's statement of {given.day} is not there")
    return Proved(given.custody, as_of, None, ours, {}, base.items if base else (), [missing])


def _left(
    given: Given, ours: Mapping[str, int], theirs: Mapping[str, int], effects: Mapping[str, int]
) -> list[Unexplained]:
    """Return each account whose balances differ otherwise than its one-sided bookings say, and why if that is known."""
    custody, found = given.custody, []
    known = {*custody.accounts}
    for account in sorted({*ours, *theirs, *effects}):
        rest = theirs.get(account, 0) - ours.get(account, 0) - effects.get(account, 0)
        if account not in theirs:
            if ours.get(account) or rest:
                detail = f"the bank's statement of {given.day} does not show this account"
                found.append(Unexplained("statement_missing", account, rest, detail))
        elif rest:
            what, detail = _why(given, account, account in known)
            found.append(Unexplained(what, account, rest, detail))
    return found


def _why(given: Given, account: str, known: bool) -> tuple[str, str]:
    """Return what is wrong with an account's statements, as far as they tell."""
    previous: AccountStatement | None = None
    for one in sorted((one for one in given.statements if one.account == account), key=lambda one: one.business_date):
        if one.gap.minor:
            return "statement_gap", f"the entries of {one.business_date} do not lead from its opening to its closing"
        if previous is not None and previous.closing != one.opening:
            on, before = one.business_date, previous.business_date
            return "opening_differs", f"the statement of {on} does not open with what that of {before} closed with"
        previous = one
    if not known:
        return "balance_differs", "an account that the hub does not know"
    return "balance_differs", "no booking of these days says why; what the proof before was made of may have changed"


# ---- bookings --------------------------------------------------------------------------------------------------------


def _of_bank(custody: Custody, statements: Iterable[AccountStatement]) -> Iterable[Item]:
    for statement in statements:
        for entry in statement.entries:
            yield _theirs(custody, entry)


def _theirs(custody: Custody, entry: Entry) -> Item:
    line = None
    # Whoever pays in may write anything: a line is named by what we ordered, and by what the bank sends back.
    if entry.account != custody.pool or entry.amount.minor < 0 or entry.is_return:
        line = custody.line_of(entry.end_to_end_id or "")
        if line is None and entry.is_return:
            named = [*INSTRUCTION_ID.findall(entry.remittance), *rules.REFERENCE.findall(entry.remittance)]
            line = next(filter(None, map(custody.line_of, named)), None)
    start = f"stl-{base36(custody.book)}-"
    batch = next((ref for ref in entry.batch_refs if ref.startswith(start)), None)
    return Item(At.BANK, entry.account, entry.amount.minor, entry.booked_on, entry.booking_ref, line, batch)


def _of_hub(custody: Custody, moved: Iterable[Moved]) -> Iterable[Item]:
    for one in moved:
        about, of_withdrawal = one.id.rpartition(":")[0], one.id.startswith(rules.PREFIX)
        line = custody.line_of(rules.reference(custody.book, about) if of_withdrawal else about)
        batch = None if line is None else line if of_withdrawal else custody.batch_of(line)
        sub = 0 if one.payee is None else one.sub_minor
        for account, minor in (
            (custody.pool, one.bank_minor - sub),
            (custody.subs.get(one.payee or "", ""), sub),
            (custody.others.get(one.role or "", ""), one.role_minor),
        ):
            if minor and (custody.opens_accounts or account == custody.pool):
                yield Item(At.HUB, account, minor, one.business_date, one.id, line, batch)


# ---- as it is certified ----------------------------------------------------------------------------------------------


def _others(custody: Custody, standing: Mapping[str, int]) -> dict[str, Any]:
    """Return what is on each account that is for one role; nothing where there is no such account."""
    if not custody.others:
        return {}
    return {"others_minor": {role: standing.get(number, 0) for role, number in sorted(custody.others.items())}}


def as_json(proved: Proved, explained: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a certificate says of a custody. explained: the one-sided bookings, each with its reason."""
    custody = proved.custody
    pool, ours, theirs = custody.pool, proved.ours, proved.theirs
    apart = {custody.pool, *custody.others.values()}
    return {
        "bank": custody.bank,
        "currency": custody.currency,
        "holds": proved.holds,
        "agrees": proved.holds and not explained,
        "as_of": proved.as_of.isoformat(),
        "statement_of": None if proved.statement_of is None else proved.statement_of.isoformat(),
        "hub": {
            "custody_minor": sum(ours.values()),
            "pool_minor": ours.get(pool, 0),
            "sub_accounts_minor": sum(minor for account, minor in ours.items() if account not in apart),
            **_others(custody, ours),
        },
        "bank_statement": None
        if proved.statement_of is None
        else {
            "total_minor": sum(theirs.values()),
            "pool_minor": theirs.get(pool, 0),
            "sub_accounts_minor": sum(minor for account, minor in theirs.items() if account not in apart),
            **_others(custody, theirs),
        },
        "account_count": len({*ours, *theirs}),
        "accounts_sha256": proved.digest,
        "explained": list(explained),
        "unexplained": [
            {"what": one.what, "account": one.account, "minor": one.minor, "detail": one.detail}
            for one in proved.unexplained
        ],
    }
