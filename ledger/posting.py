"""Posting 记账: transfers of one debit and one credit, in linked groups, decided in memory, written with the batch."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

from kernel.chain import linked
from kernel.errors import Broken, Rejected
from kernel.money import MAX_MINOR
from kernel.work import BOOKS, Head, Need, Sums, Table, Work, stamp
from ledger.accounts import NATURE, Side, kind_of
from ledger.rules import RULES


class Result(StrEnum):
    """What became of one transfer. Everything but POSTED and EXISTS left its whole group undone."""

    POSTED = "posted"
    EXISTS = "exists"  # the same transfer is already there: done before, nothing repeated
    EXISTS_DIFFERENTLY = "exists_differently"  # its id is taken by another amount, account or code, or in its own group
    WOULD_OVERDRAW = "would_overdraw"
    NO_SUCH_ACCOUNT = "no_such_account"
    CURRENCY_DIFFERS = "currency_differs"
    SAME_ACCOUNT = "same_account"
    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    AMOUNT_TOO_LARGE = "amount_too_large"
    NO_SUCH_RULE = "no_such_rule"
    RULE_DIFFERS = "rule_differs"  # the accounts are not of the kinds the rule names
    NO_SUCH_HOLD = "no_such_hold"  # or one is named by a step that resolves none
    HOLD_ALREADY_POSTED = "hold_already_posted"
    HOLD_ALREADY_VOIDED = "hold_already_voided"
    HOLD_EXPIRED = "hold_expired"
    EXCEEDS_HOLD = "exceeds_hold"
    LINKED_FAILED = "linked_failed"  # a neighbour in its group was refused


class Step(StrEnum):
    """What a transfer does."""

    POST = "post"  # moves money now
    HOLD = "hold"  # 冻结: reserves it
    POST_HOLD = "post_hold"  # moves what a hold reserved, or a part of it; the rest is released
    VOID_HOLD = "void_hold"  # 解冻: releases it all


class Transfer(NamedTuple):
    """One line of the journal 分录, as the caller writes it."""

    id: str  # chosen by the caller: writing it twice does it once
    rule: str  # the row of rules.RULES it follows
    debit: str  # account names, see accounts.name
    credit: str
    amount_minor: int  # > 0; POST_HOLD may take less than was held; VOID_HOLD: what was held
    currency: str
    step: Step = Step.POST
    hold_id: str | None = None  # the HOLD transfer that POST_HOLD and VOID_HOLD resolve
    expires_at: datetime | None = None  # HOLD: when the janitor voids it


class Entry(NamedTuple):
    """A transfer as the journal keeps it, one row; `hash` chains it to the one before (kernel.chain)."""

    book: int
    id: str
    seq: int
    posting: str  # 凭证: all transfers of one business event
    rule: str
    step: str
    debit: str
    credit: str
    amount_minor: int
    currency: str
    hold_id: str | None
    business_date: date
    recorded_at: datetime
    hash: bytes


class Account(NamedTuple):
    """An account and its four sums, in minor units; all only ever grow, but held ones fall when resolved."""

    book: int
    name: str
    currency: str
    side: str
    may_overdraw: bool
    debits: int
    credits: int
    debits_held: int
    credits_held: int
    moved_on: date | None = None  # the day, in Beijing, on which it last moved; None: never

    @property
    def balance(self) -> int:
        """What the account stands at, on its normal side."""
        return self.debits - self.credits if self.side == Side.DEBIT else self.credits - self.debits

    @property
    def available(self) -> int:
        """The balance less what holds have reserved of it 可用余额."""
        if self.side == Side.DEBIT:
            return self.debits - self.credits - self.credits_held
        return self.credits - self.debits - self.debits_held


class DayEnd(NamedTuple):
    """What an account stood at when a day was over on which it had moved; written when it moves on a later day."""

    book: int
    account: str
    day: date  # on which it was recorded, in Beijing
    debits: int
    credits: int


class DaySum(NamedTuple):
    """What one rule moved on an account for a business date, of what was recorded on one day: never what was held."""

    book: int
    account: str
    business_date: date
    recorded_on: date  # in Beijing; a later day than the business date's for what came late
    rule: str
    debits: int
    credits: int


class Hold(NamedTuple):
    """A hold's present state; the journal has its history."""

    book: int
    id: str
    debit: str
    credit: str
    amount_minor: int
    currency: str
    state: str  # held | posted | voided | expired
    posted_minor: int
    expires_at: datetime | None


ACCOUNTS: Table[Account] = Table(
    "account",
    Account,
    "int text text text bool bigint bigint bigint bigint date",
    keys=2,
    remembered=True,
)
DAY_ENDS: Table[DayEnd] = Table("day_end", DayEnd, "int text date bigint bigint", keys=3)
DAY_SUMS: Sums[DaySum] = Sums("day_sum", DaySum, "int text date date text bigint bigint", keys=5)
ENTRIES: Table[Entry] = Table(
    "transfer", Entry, "int text bigint text text text text text bigint text text date timestamptz bytea", keys=2
)
HOLDS: Table[Hold] = Table(
    "hold",
    Hold,
    "int text text text bigint text text bigint timestamptz",
    keys=2,
)


class Refusal(Rejected):
    """A linked group was not posted. `results` has one Result for each of its transfers."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = results
        super().__init__("posting_refused", ", ".join(results), results=[str(r) for r in results])

    @property
    def cause(self) -> Result:
        """The result that stopped the group."""
        return next(r for r in self.results if r not in (Result.LINKED_FAILED, Result.POSTED, Result.EXISTS))


def needs(book: int, transfers: Iterable[Transfer], *, fresh: bool = False) -> Iterable[Need]:
    """Name the rows that posting these transfers looks at.

    fresh: the caller knows by its own locked state that the ids were never used, so the journal is not searched.
    """
    for transfer in transfers:
        yield ACCOUNTS, (book, transfer.debit)
        yield ACCOUNTS, (book, transfer.credit)
        if not fresh:
            yield ENTRIES, (book, transfer.id)
        if transfer.hold_id is not None:
            yield HOLDS, (book, transfer.hold_id)


def open_account(work: Work, book: int, account: str) -> Account:
    """Open an account, or return it as it is. The name says its kind and currency (accounts.name)."""
    found = work.find(ACCOUNTS, (book, account))
    if found is None:
        nature = NATURE[kind_of(account)]
        found = Account(book, account, account.rsplit(":", 1)[1], nature.side, nature.may_overdraw, 0, 0, 0, 0)
        work.put(ACCOUNTS, found)
    return found


def post(
    work: Work, book: int, posting: str, transfers: Sequence[Transfer], *, business_date: date, fresh: bool = False
) -> list[Result]:
    """Post a linked group: all of it, or none and a Refusal that says which transfer stopped it.

    posting: the id of the business event (凭证). business_date: 账务日期, by the other side's clock.
    Repeating a group whose transfers all exist does nothing and says so. Raises Refusal.
    """
    if not fresh:
        stored = [work.find(ENTRIES, (book, t.id)) for t in transfers]
        if any(stored):
            return _repeated(transfers, stored)
    accounts: dict[str, Account] = {}
    holds: dict[str, Hold] = {}
    ids: set[str] = set()
    for index, transfer in enumerate(transfers):
        taken = transfer.id in ids
        ids.add(transfer.id)
        verdict = Result.EXISTS_DIFFERENTLY if taken else _apply(work, book, transfer, accounts, holds)
        if verdict is not Result.POSTED:
            raise Refusal([verdict if i == index else Result.LINKED_FAILED for i in range(len(transfers))])
    _keep(work, book, accounts, holds)
    _journal(work, book, [Group(posting, transfers, business_date)], fresh=fresh)
    return [Result.POSTED] * len(transfers)


def _keep(work: Work, book: int, accounts: Mapping[str, Account], holds: Mapping[str, Hold]) -> None:
    today = work.recorded(book).day
    for account in accounts.values():
        work.put(ACCOUNTS, account if account.moved_on == today else _moved(work, account, today))
    for hold in holds.values():
        work.put(HOLDS, hold)


def post_expected(
    work: Work, book: int, posting: str, transfers: Sequence[Transfer], *, business_date: date, fresh: bool = False
) -> list[Result]:
    """Post a group that the hub's own rules say must be possible; a refusal is Broken, for a person to look at."""
    try:
        return post(work, book, posting, transfers, business_date=business_date, fresh=fresh)
    except Refusal as refusal:
        raise Broken(
            "posting_refused", f"the books refused {posting}: {refusal}", posting=posting, results=list(refusal.results)
        ) from None


class Group(NamedTuple):
    """A linked group of transfers, of one business event."""

    posting: str  # 凭证
    transfers: Sequence[Transfer]
    business_date: date


def post_many(work: Work, book: int, groups: Sequence[Group]) -> None:
    """Post groups, one after the other, whose ids were never used before; refused is Broken, as post_expected has it.

    Where all of them move money now, and no account is debited by some and credited by others, the accounts are moved
    by sums: what has room for the sum has room for every part of it on the way. Else each group is posted by itself.
    """
    if len(groups) > 1 and (accounts := _by_sums(work, book, groups)) is not None:
        _keep(work, book, accounts, {})
        _journal(work, book, groups, fresh=True)
        return
    for group in groups:
        post_expected(work, book, *group[:2], business_date=group.business_date, fresh=True)


def _by_sums(work: Work, book: int, groups: Sequence[Group]) -> dict[str, Account] | None:
    """Return the accounts as they are after all these groups; None where it takes looking at each transfer."""
    sums: dict[tuple[str, str, str, str], int] = {}
    ids: set[str] = set()
    count = 0
    for group in groups:
        for t in group.transfers:
            if t.step is not Step.POST or t.hold_id is not None or not 0 < t.amount_minor <= MAX_MINOR:
                return None
            way = t.rule, t.debit, t.credit, t.currency
            sums[way] = sums.get(way, 0) + t.amount_minor
            ids.add(t.id)
        count += len(group.transfers)
    if len(ids) < count or {way[1] for way in sums} & {way[2] for way in sums}:
        return None
    accounts: dict[str, Account] = {}
    for (rule, debit, credit, currency), amount in sums.items():
        if _apply(work, book, Transfer("", rule, debit, credit, amount, currency), accounts, {}) is not Result.POSTED:
            return None
    return accounts


def _moved(work: Work, account: Account, today: date) -> Account:
    """Return an account as it moves for the first time on a day, and close the day on which it moved before."""
    before = work.find(ACCOUNTS, (account.book, account.name))
    if before is None or (before.debits, before.credits) == (account.debits, account.credits):
        return account  # only a hold
    if before.moved_on is not None:
        work.add(DAY_ENDS, DayEnd(before.book, before.name, before.moved_on, before.debits, before.credits))
    return account._replace(moved_on=today)


def _apply(work: Work, book: int, transfer: Transfer, accounts: dict[str, Account], holds: dict[str, Hold]) -> Result:
    """Decide one transfer against the rows as the group has left them so far, and change those copies."""
    rule = RULES.get(transfer.rule)
    amount = transfer.amount_minor
    if rule is None:
        return Result.NO_SUCH_RULE
    if amount <= 0:
        return Result.AMOUNT_NOT_POSITIVE
    if amount > MAX_MINOR:
        return Result.AMOUNT_TOO_LARGE
    if transfer.debit == transfer.credit:
        return Result.SAME_ACCOUNT
    debit = accounts.get(transfer.debit) or work.find(ACCOUNTS, (book, transfer.debit))
    credit = accounts.get(transfer.credit) or work.find(ACCOUNTS, (book, transfer.credit))
    if debit is None or credit is None:
        return Result.NO_SUCH_ACCOUNT
    if not transfer.debit.startswith(rule.debit + ":") or not transfer.credit.startswith(rule.credit + ":"):
        return Result.RULE_DIFFERS
    if debit.currency != transfer.currency or credit.currency != transfer.currency:
        return Result.CURRENCY_DIFFERS
    resolves = transfer.step in (Step.POST_HOLD, Step.VOID_HOLD)
    if resolves is (transfer.hold_id is None):
        return Result.NO_SUCH_HOLD
    held = 0  # what an older hold had reserved and now gives free
    if transfer.hold_id is not None:
        hold = holds.get(transfer.hold_id) or work.find(HOLDS, (book, transfer.hold_id))
        verdict = _resolvable(transfer, hold, work.now)
        if hold is None or verdict is not Result.POSTED:
            return verdict
        held = hold.amount_minor
        state = "posted" if transfer.step is Step.POST_HOLD else "voided"
        holds[hold.id] = hold._replace(state=state, posted_minor=amount if state == "posted" else 0)
    moved = amount if transfer.step in (Step.POST, Step.POST_HOLD) else 0
    reserved = (amount if transfer.step is Step.HOLD else 0) - held
    if not moved and reserved < 0:  # a void only gives free
        debit = debit._replace(debits_held=debit.debits_held + reserved)
        credit = credit._replace(credits_held=credit.credits_held + reserved)
    else:
        debit = Account(*debit[:5], debit[5] + moved, debit[6], debit[7] + reserved, debit[8], debit[9])
        credit = Account(*credit[:5], credit[5], credit[6] + moved, credit[7], credit[8] + reserved, credit[9])
        # A debit lowers what a credit-side account has, a credit what a debit-side account has.
        if debit.side == Side.CREDIT and not debit.may_overdraw and debit.available < 0:
            return Result.WOULD_OVERDRAW
        if credit.side == Side.DEBIT and not credit.may_overdraw and credit.available < 0:
            return Result.WOULD_OVERDRAW
    if transfer.step is Step.HOLD:
        holds[transfer.id] = Hold(
            book, transfer.id, debit.name, credit.name, amount, transfer.currency, "held", 0, transfer.expires_at
        )
    accounts[debit.name] = debit
    accounts[credit.name] = credit
    return Result.POSTED


def _resolvable(transfer: Transfer, hold: Hold | None, now: datetime) -> Result:
    """Say whether a hold can still be posted or voided by this transfer."""
    if hold is None:
        return Result.NO_SUCH_HOLD
    if hold.state == "posted":
        return Result.HOLD_ALREADY_POSTED
    if hold.state in ("voided", "expired"):
        return Result.HOLD_ALREADY_VOIDED
    if transfer.step is Step.POST_HOLD and hold.expires_at is not None and hold.expires_at <= now:
        return Result.HOLD_EXPIRED
    if (transfer.debit, transfer.credit) != (hold.debit, hold.credit) or transfer.amount_minor > hold.amount_minor:
        return Result.EXCEEDS_HOLD
    return Result.POSTED


def _repeated(transfers: Sequence[Transfer], stored: Sequence[Entry | None]) -> list[Result]:
    """Answer for a group of which something is already in the journal: the same, or an error for the caller."""
    results = [
        Result.EXISTS if entry is not None and _same(transfer, entry) else Result.EXISTS_DIFFERENTLY
        for transfer, entry in zip(transfers, stored, strict=True)
    ]
    if Result.EXISTS_DIFFERENTLY in results:
        raise Refusal(results)
    return results


def _same(transfer: Transfer, entry: Entry) -> bool:
    return (entry.rule, entry.step, entry.debit, entry.credit, entry.amount_minor, entry.currency, entry.hold_id) == (
        transfer.rule,
        transfer.step,
        transfer.debit,
        transfer.credit,
        transfer.amount_minor,
        transfer.currency,
        transfer.hold_id,
    )


def _journal(work: Work, book: int, groups: Sequence[Group], *, fresh: bool) -> None:
    """Append groups to the journal, the chain and the days' sums.

    Unless they are `fresh`, a later command of the batch may look for them.
    """
    head = work.head(book)
    seq, digest = head.transfer_seq, head.transfer_hash
    now, at, today = work.recorded(book)
    entries: list[Entry] = []
    sums: dict[tuple[date, str, str, str], int] = {}
    for posting, transfers, business_date in groups:
        day = business_date.isoformat()
        for id_, rule, debit, credit, amount, currency, step_, hold_id, _ in transfers:
            seq += 1
            step = str(step_)
            text = (
                f"{book}\x1f{id_}\x1f{seq}\x1f{posting}\x1f{rule}\x1f{step}\x1f{debit}\x1f{credit}\x1f{amount}\x1f"
                f"{currency}\x1f{hold_id or ''}\x1f{day}\x1f{at}"
            )  # as `chained` has the fields of an entry
            digest = linked(digest, text, 13)
            entry = Entry(
                book, id_, seq, posting, rule, step, debit, credit, amount, currency, hold_id, business_date, now,
                digest,
            )  # fmt: skip
            entries.append(entry)
            if step_ is Step.POST or step_ is Step.POST_HOLD:
                way = business_date, debit, credit, rule
                sums[way] = sums.get(way, 0) + amount
    if fresh:
        work.add_all(ENTRIES, entries)
    else:
        for entry in entries:
            work.put(ENTRIES, entry)
    for (business_date, debit, credit, rule), amount in sums.items():
        work.sum_up(DAY_SUMS, (book, debit, business_date, today, rule), amount, 0)
        work.sum_up(DAY_SUMS, (book, credit, business_date, today, rule), 0, amount)
    work.put(BOOKS, Head(book, seq, digest, head.event_seq, head.event_hash, now))


def chained(entry: Entry) -> tuple[str | int, ...]:
    """Return the fields of an entry that its hash covers: all but the hash itself."""
    return (
        entry.book, entry.id, entry.seq, entry.posting, entry.rule, entry.step, entry.debit, entry.credit,
        entry.amount_minor, entry.currency, entry.hold_id or "", entry.business_date.isoformat(),
        stamp(entry.recorded_at),
    )  # fmt: skip
