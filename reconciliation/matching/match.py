"""Two books in, every reference out exactly once: Matched 对平 or Discrepancy 差错. Pure.

Each `match_*` is a generator over one business date and one counterparty. `known` are the discrepancies that earlier
runs left under the same references, `done` the dates already run; with both empty a generator sees its one day alone.
They make the result independent of the order in which days are run: a row missing on one day and carried by the next
day's bill is one discrepancy, `late`, whichever bill was read first.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from types import MappingProxyType

from channels.banks import AccountStatement, Entry, StatusReport
from channels.contract import BillLine
from channels.contract import Kind as Item
from kernel.money import Money
from reconciliation.matching.verdicts import JUDGES, Area, Comparison, DiscrepancyKind, Key, Reported, is_billed
from reconciliation.states import State

# ---- what goes in ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Movement:
    """One payment, refund or chargeback of ours on one channel account.

    status: success | processing | failed | reversed | returned, as BillLine.status. A refund is `processing` once the
    channel has accepted it; one whose acceptance is not known is left out. fee_minor and coupon_minor have the signs of
    BillLine: negative on refunds. unbilled: the channel lists none of its kind, so that a bill without it says nothing.
    business_date: the channel's day; for a processing refund the day of its acceptance.
    """

    kind: Item
    reference: str  # what the channel knows it by
    payment_reference: str
    amount: Money  # positive
    fee_minor: int
    status: str
    business_date: date
    channel_ref: str | None = None
    coupon_minor: int = 0  # 商户优惠: the part the merchant's own coupons bear, which the channel does not pay out
    unbilled: bool = False


@dataclass(frozen=True, slots=True)
class Deposits:
    """What the bank shows of the channel's payment for one day, from notifications and statements alike."""

    end_to_end_id: str  # WX{mchid}{yyyymmdd}
    entries: Sequence[Entry]  # each booking once
    currency: str = "CNY"
    withheld_minor: int = 0  # 分账: what the channel shared out itself that day or keeps frozen, less what it let go


class PayoutStatus(StrEnum):
    """Our word for an instruction; the first three are splitting's."""

    IN_TRANSIT = "in_transit"
    PAID = "paid"
    REFUSED = "refused"
    RETURNED = "returned"  # 退票


@dataclass(frozen=True, slots=True)
class Payout:
    """One settlement instruction of ours."""

    end_to_end_id: str
    message_id: str
    debtor_account: str  # the pool account
    creditor_account: str
    amount: Money
    status: PayoutStatus
    business_date: date
    same_bank: bool = True  # the bank opened the payee's account, so that its statement shows the money arrive
    returned_on: date | None = None  # the bank's day on which it came back; None: on the day it was paid


@dataclass(frozen=True, slots=True)
class Payouts:
    """A day's instructions, with the bank's reports on them.

    instructions: those of the business date, and every other one that a report or a statement of the day speaks of.
    deposit_ids: what is reconciled with a channel and not here: end-to-end ids of channels' deposits, and the bank's
        references of payers' own transfers.
    apart: accounts at the bank on whose bookings no instruction is: their balances are held against the book's alone.
    """

    instructions: Sequence[Payout]
    reports: Sequence[StatusReport] = ()
    deposit_ids: AbstractSet[str] = frozenset()
    apart: AbstractSet[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Mirror:
    """The ledger's balance of one bank account at the bank's end of day. Every account needs one, the pool too."""

    account: str
    balance: Money


@dataclass(frozen=True, slots=True)
class Statements:
    """A day's closing statements of one bank, read with allow_gap=True, and the ledger's mirrors of its accounts."""

    accounts: Sequence[AccountStatement]
    mirrors: Sequence[Mirror]


# ---- what comes out --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """A discrepancy as the runs so far have left it."""

    home: date  # our business date; theirs where we have nothing
    ours: Reported | None
    sightings: Mapping[date, Reported]
    state: State
    verdict: Comparison  # the last difference seen

    def touches(self, day: date) -> bool:
        """Tell whether running `day` can change it."""
        return self.home == day or day in self.sightings


@dataclass(frozen=True, slots=True)
class Matched:
    """Both books agree. The rest is filled in only where an earlier run had found a discrepancy."""

    key: Key
    home: date | None = None
    ours: Reported | None = None
    sightings: Mapping[date, Reported] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Both books differ."""

    key: Key
    home: date
    ours: Reported | None
    sightings: Mapping[date, Reported]
    verdict: Comparison
    payment_reference: str | None = None

    @property
    def kind(self) -> DiscrepancyKind:
        return self.verdict.kind


MatchResult = Matched | Discrepancy


def weigh(
    key: Key,
    day: date,
    *,
    home: date | None,
    ours: Reported | None,
    seen: Reported | None,
    known: Known | None,
    done: Collection[date],
    assumed: Mapping[date, Reported] = MappingProxyType({}),
    payment_reference: str | None = None,
) -> MatchResult:
    """Join what `day` shows of one reference with what other days have shown, and judge it.

    home: our business date, None where we have nothing. assumed: how the files of other days must have shown it if
    those days were run and left no discrepancy.
    """
    if ours is None and known is not None and known.home != day:
        home, ours = known.home, known.ours
    sightings = dict(known.sightings) if known else {}
    if known is None:
        sightings |= {on: side for on, side in assumed.items() if on != day and on in done}
    if seen is None:
        sightings.pop(day, None)
    else:
        sightings[day] = seen
    if ours is None or home is None:
        home = min(sightings, default=known.home if known else day)
    verdict = JUDGES[key.area](key, ours, home, sightings, expected=home == day or home in done)
    if verdict is None:
        return Matched(key, home, ours, sightings)
    return Discrepancy(key, home, ours, sightings, verdict, payment_reference)


def standing(outcome: MatchResult, before: Known | None, state: State) -> Known | None:
    """Return what a later run must know of this outcome; None when there never was a discrepancy."""
    if isinstance(outcome, Discrepancy):
        return Known(outcome.home, outcome.ours, outcome.sightings, state, outcome.verdict)
    if before is None:
        return None
    return Known(outcome.home or before.home, outcome.ours, outcome.sightings, state, before.verdict)


Register = Mapping[Key, Known]
_NOTHING: Register = {}


# ---- our movements × the channel's bill ------------------------------------------------------------------------------


def match_channel(
    day: date,
    movements: Iterable[Movement],
    bill: Iterable[BillLine],
    known: Register = _NOTHING,
    done: Collection[date] = frozenset(),
) -> Iterator[MatchResult]:
    """Match our payments and refunds with one day's bill of one channel account.

    movements: those of `day`, and every other one the bill carries, whatever its date and status; others are ignored.
    Raises ValueError when a movement is given twice: then the caller's list is wrong, not the channel.
    """
    lines: dict[Key, list[BillLine]] = {}
    for line in bill:
        lines.setdefault(Key(Area.CHANNEL, told_of(line), line.reference), []).append(line)
    handled: set[Key] = set()
    for movement in movements:
        key = Key(Area.CHANNEL, movement.kind, movement.reference)
        if key in handled:
            raise ValueError(f"{movement.kind} {movement.reference} was given twice")
        handled.add(key)
        found = lines.pop(key, None)
        if found is None and movement.unbilled:
            continue
        if found is None and movement.business_date != day:
            if key not in known or not known[key].touches(day):
                continue
        elif found is not None and key not in known and movement.business_date == day and _plainly(movement, found):
            yield Matched(key)
            continue
        yield weigh(
            key,
            day,
            home=movement.business_date,
            ours=_our_side(movement),
            seen=None if found is None else _their_side(found),
            known=known.get(key),
            done=done,
            assumed={movement.business_date: _our_side(movement)} if is_billed(movement.kind, movement.status) else {},
            payment_reference=movement.payment_reference,
        )
    for key, found in lines.items():
        yield weigh(
            key,
            day,
            home=None,
            ours=None,
            seen=_their_side(found),
            known=known.get(key),
            done=done,
            payment_reference=found[0].payment_reference,
        )
    yield from gone(Area.CHANNEL, day, known, done, handled | lines.keys())


def told_of(line: BillLine) -> Item:
    """Return what of ours a line tells of: a reversal 撤销, which has no number of its own, of the payment it undid."""
    is_reversal = line.status == "reversed" and line.reference == line.payment_reference
    return Item.PAYMENT if is_reversal else line.kind


def gone(
    area: Area, day: date, known: Register, done: Collection[date], handled: AbstractSet[Key]
) -> Iterator[MatchResult]:
    """Judge again what an earlier run of this day had found and neither book shows any more."""
    for key, row in known.items():
        if key.area is area and key not in handled and row.touches(day):
            yield weigh(key, day, home=None, ours=None, seen=None, known=row, done=done)


def _plainly(movement: Movement, lines: Sequence[BillLine]) -> bool:
    """Tell quickly whether nothing needs a second look; nearly every row ends here."""
    line = lines[0]
    return (
        len(lines) == 1
        and line.amount == movement.amount
        and line.fee.minor == movement.fee_minor
        and line.coupon_minor == movement.coupon_minor
        and line.status == movement.status
        and line.fee.currency == movement.amount.currency
    )


def _our_side(movement: Movement) -> Reported:
    return Reported(
        movement.amount.minor,
        movement.amount.currency,
        fee_minor=movement.fee_minor,
        status=movement.status,
        ref=movement.channel_ref or "",
        coupon_minor=movement.coupon_minor,
    )


def _their_side(lines: Sequence[BillLine]) -> Reported:
    """Sum the lines of one reference. A payment's line and the line of its reversal 撤销 tell one story, not two."""
    real = lines
    if len(lines) == 2 and {line.status for line in lines} == {"success", "reversed"}:
        real = [line for line in lines if line.status == "reversed"]
    return Reported(
        sum(line.amount.minor for line in real),
        real[0].amount.currency,
        fee_minor=sum(line.fee.minor for line in lines),
        status=real[0].status,
        ref=real[0].channel_ref,
        count=len(real),
        rows=tuple(str(line.row) for line in lines),
        coupon_minor=sum(line.coupon_minor for line in lines),
    )


def beyond(day: date, movements: Iterable[Movement], bill: Iterable[BillLine]) -> set[Key]:
    """Return the keys whose earlier discrepancies may lie on days this run does not touch: they must be looked up."""
    at_home: set[Key] = set()
    elsewhere: set[Key] = set()
    for movement in movements:
        key = Key(Area.CHANNEL, movement.kind, movement.reference)
        (at_home if movement.business_date == day else elsewhere).add(key)
    keys = (Key(Area.CHANNEL, told_of(line), line.reference) for line in bill)
    elsewhere.update(key for key in keys if key not in at_home)
    return elsewhere


# ---- what the channel owes × what the bank received ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Net:
    """What a day's business comes to: payments − refunds − fees − merchants' coupons, by our movements and the bill."""

    ours: Money
    bill: Money
    unlisted_minor: int = 0  # of ours: what people recorded at a rail whose bills list no chargebacks


_TAKES = frozenset({Item.REFUND, Item.CHARGEBACK})  # from the merchant


def net_of(
    day: date, movements: Iterable[Movement], bill: Iterable[BillLine], currency: str, withheld_minor: int = 0
) -> Net:
    """Return what the channel owes for a day in one currency; below zero when we owe it.

    withheld_minor: see Deposits. A bill does not tell of it, so both sides have it from our book.
    """
    lines = [line for line in bill if line.amount.currency == currency]
    listed = {(told_of(line), line.reference) for line in lines}
    ours = unlisted = 0
    for movement in movements:
        if movement.business_date != day or movement.amount.currency != currency:
            continue
        withheld = movement.fee_minor + movement.coupon_minor
        minor = _contribution(movement.kind, movement.status, movement.amount.minor, withheld)
        ours += minor
        if movement.unbilled and (movement.kind, movement.reference) not in listed:
            unlisted += minor
    theirs = sum(paid_by(line) for line in lines)
    return Net(Money(ours - withheld_minor, currency), Money(theirs - withheld_minor, currency), unlisted)


def paid_by(line: BillLine) -> int:
    """Return what a rail pays, or takes, by a line of its bill, in minor units of the line's currency."""
    return _contribution(line.kind, line.status, line.amount.minor, line.fee.minor + line.coupon_minor)


def _contribution(item: Item, status: str, minor: int, withheld_minor: int) -> int:
    gone_back = item is Item.REFUND and status == "reversed"  # the payment's own line is there too
    if not gone_back and not is_billed(item, status):
        return 0
    return (-minor if item in _TAKES else minor) - withheld_minor


def match_deposit(day: date, net: Net, deposits: Deposits, known: Register = _NOTHING) -> Iterator[MatchResult]:
    """Match what the channel owes for `day` with what the bank received; exactly one outcome.

    It may be run before the money has come, which finds deposit_missing, and again afterwards.
    """
    key = Key(Area.DEPOSIT, "deposit", deposits.end_to_end_id)
    bookings = [
        entry
        for entry in deposits.entries
        if entry.end_to_end_id == deposits.end_to_end_id and entry.amount.currency == deposits.currency
    ]
    seen = None
    if bookings:
        seen = Reported(
            sum(entry.amount.minor for entry in bookings),
            deposits.currency,
            count=len(bookings),
            rows=tuple(sorted(entry.entry_ref for entry in bookings)),
        )
    ours = Reported(net.ours.minor, deposits.currency, bill_minor=net.bill.minor, unlisted_minor=net.unlisted_minor)
    yield weigh(key, day, home=day, ours=ours, seen=seen, known=known.get(key), done={day})


# ---- the ledger's mirror × the bank's closing balances ---------------------------------------------------------------


def match_balances(
    day: date,
    statements: Statements,
    effects: "Effects",
    previous: Mapping[str, Money],
    known: Register = _NOTHING,
    done: Collection[date] = frozenset(),
) -> Iterator[MatchResult]:
    """Match each account's closing balance with its mirror, its opening with the day before, its entries with both.

    effects: what payout discrepancies do to each account. previous: closing balances of the calendar day before, where
    known. An account without mirror counts as a mirror of zero.
    """
    mirrors = {mirror.account: mirror.balance for mirror in statements.mirrors}
    handled: set[Key] = set()

    def compared(item: str, account: str, ours: Money | None, theirs: Money | None, explained: int = 0) -> MatchResult:
        key = Key(Area.BALANCE, item, f"{account}@{day.isoformat()}")
        handled.add(key)
        return weigh(
            key,
            day,
            home=day if ours is not None else None,
            ours=None if ours is None else Reported(ours.minor, ours.currency),
            seen=None if theirs is None else Reported(theirs.minor, theirs.currency, explained_minor=explained),
            known=known.get(key),
            done=done,
        )

    for statement in statements.accounts:
        if statement.business_date != day:
            raise ValueError(f"the statement of {statement.account} is of {statement.business_date}, not of {day}")
        account, closing = statement.account, statement.closing
        yield compared("balance", account, mirrors.pop(account, None), closing, effects.so_far.get(account, 0))
        yield compared("gap", account, closing - statement.gap, closing, -effects.today.get(account, 0))
        if account in previous:
            yield compared("opening", account, previous[account], statement.opening)
    for account, balance in mirrors.items():
        yield compared("balance", account, balance, None)
    yield from gone(Area.BALANCE, day, known, done, handled)


@dataclass(frozen=True, slots=True)
class Effects:
    """By account, in minor units: what its statement shows beyond what our book has, over payout discrepancies.

    so_far: over all days up to and with the day. today: in the day's own file.
    """

    so_far: Mapping[str, int]
    today: Mapping[str, int]


def effects_of(day: date, payouts: Iterable[MatchResult], known: Register) -> Effects:
    """Add up what the payout discrepancies as of `day` do to each account.

    payouts: outcomes of match_payouts for the day. known: discrepancies of other days, open or closed later than `day`.
    """
    so_far: Counter[str] = Counter()
    today: Counter[str] = Counter()
    rows: dict[Key, tuple[date, Reported | None, Mapping[date, Reported]]] = {
        key: (row.home, row.ours, row.sightings) for key, row in known.items() if key.area is Area.PAYOUT
    }
    for outcome in payouts:
        if outcome.home is not None:
            rows[outcome.key] = (outcome.home, outcome.ours, outcome.sightings)
    for home, ours, sightings in rows.values():
        for on, side in sightings.items():
            for account, minor in side.booked:
                so_far[account] += minor if on <= day else 0
                today[account] += minor if on == day else 0
        if ours is None:
            continue
        paid = ours.status == PayoutStatus.PAID
        booked_on = {on for on, side in sightings.items() if side.booked}
        for account, minor in ours.booked:
            so_far[account] -= minor if paid and home <= day else 0
            today[account] -= minor if day in booked_on or (paid and home == day and not booked_on) else 0
    return Effects(so_far, today)
