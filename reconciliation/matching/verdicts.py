"""What two books say about one reference, and which difference that is. Pure.

Everything known about a reference is its own side and the sightings 所见: what each day's file of the other side showed
under it. A verdict depends on these alone, so it is the same in whatever order the files arrived and however often a
day was run.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from typing import Any, NamedTuple

from kernel.money import Money


class Area(StrEnum):
    """Which two books are held against each other."""

    CHANNEL = "channel"  # our movements × the channel's bill
    DEPOSIT = "deposit"  # what the channel owes for a day × what the bank received
    PAYOUT = "payout"  # our settlement instructions × the bank's reports and statements
    BALANCE = "balance"  # the ledger's mirror × the bank's closing balance


class DiscrepancyKind(StrEnum):
    MISSING_AT_CHANNEL = "missing_at_channel"  # 短款: we have it, they do not
    MISSING_AT_HUB = "missing_at_hub"  # 长款: they have it, we do not
    AMOUNT_DIFFERS = "amount_differs"
    STATUS_DIFFERS = "status_differs"
    COUPON_DIFFERS = (
        "coupon_differs"  # 优惠不符: the amounts agree, what the merchant's own coupons bear of it does not
    )
    FEE_DIFFERS = "fee_differs"
    DUPLICATE = "duplicate"  # their row twice, in one day's bill or in two
    LATE = "late"  # another day's bill carries it, and all else agrees
    DEPOSIT_MISSING = "deposit_missing"
    DEPOSIT_DIFFERS = "deposit_differs"
    DEPOSIT_DUPLICATE = "deposit_duplicate"
    PAYOUT_MISSING_AT_BANK = "payout_missing_at_bank"
    PAYOUT_AMOUNT_DIFFERS = "payout_amount_differs"
    PAYOUT_DUPLICATE = "payout_duplicate"
    PAYOUT_UNKNOWN_AT_HUB = "payout_unknown_at_hub"
    PAYOUT_STATUS_DIFFERS = "payout_status_differs"
    ENTRY_UNKNOWN_AT_HUB = (
        "entry_unknown_at_hub"  # money came in that neither a channel nor an instruction of ours sent
    )
    BALANCE_DIFFERS = "balance_differs"
    STATEMENT_MISSING = "statement_missing"
    STATEMENT_GAP = "statement_gap"  # opening and entries do not make the closing balance
    OPENING_DIFFERS = "opening_differs"  # a day does not open where the day before closed


class Key(NamedTuple):
    """Names what is compared; it comes out of a run exactly once."""

    area: Area
    # payment | refund | return | chargeback | chargeback_won | deposit | payout | entry | balance | gap | opening
    item: str
    reference: str


@dataclass(frozen=True, slots=True)
class Reported:
    """One book's word about one reference. For several rows the amounts are summed and `count` says how many."""

    minor: int
    currency: str
    fee_minor: int = 0
    status: str = ""
    ref: str = ""  # the other side's number, where known
    count: int = 1
    rows: tuple[str, ...] = ()  # where it stands in the file, for people
    booked: tuple[tuple[str, int], ...] = ()  # payouts: (account, signed minor) of each booking
    bill_minor: int | None = None  # deposits: what the channel's own bill comes to
    unlisted_minor: int = 0  # deposits: what of ours no bill of the channel's lists, recorded by people
    coupon_minor: int = 0  # what the merchant's own coupons bear; with the fee's sign
    explained_minor: int = 0  # balances: what this account's payout discrepancies come to

    def as_json(self) -> dict[str, Any]:
        """Return what differs from the defaults, ready for jsonb."""
        said = asdict(self)
        return {name: value for name, value in said.items() if name in ("minor", "currency") or value != _EMPTY[name]}

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> "Reported":
        """Read back what as_json wrote."""
        return cls(
            **{
                **said,
                "rows": tuple(said.get("rows", ())),
                "booked": tuple((account, minor) for account, minor in said.get("booked", ())),
            }
        )


_EMPTY = {name: field.default for name, field in Reported.__dataclass_fields__.items()}

Sightings = Mapping[date, Reported]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One difference. difference_minor is theirs − ours, None where two currencies met."""

    kind: DiscrepancyKind
    currency: str
    ours_minor: int | None
    theirs_minor: int | None
    difference_minor: int | None
    detail: str  # a sentence for people
    explained: bool = False  # the cause is certain from the files alone


# Our statuses for which the channel's bill must carry a line. A refund is billed when it is accepted, not when it is
# done, so one that is still processing at the channel counts too; so does one that came back, which its return undoes.
_BILLED = frozenset(
    {
        *(("payment", "success"), ("refund", "success"), ("refund", "processing")),
        *(("refund", "returned"), ("return", "success")),
        *(("chargeback", "success"), ("chargeback_won", "success")),
    }
)
# Ours and theirs that do not contradict each other.
_AGREE = frozenset(
    {
        ("refund", "returned", "success"),  # the bill is of before it came back
        ("refund", "returned", "processing"),
        ("refund", "failed", "returned"),  # to us it never left: it went out there and came back, by two lines
        ("return", "failed", "success"),
        ("refund", "success", "processing"),  # a bill is never updated after the acceptance
        ("payment", "failed", "reversed"),  # 撤销: paid for a moment, and nothing is left of it
    }
)


def is_billed(item: str, status: str) -> bool:
    """Tell whether a movement of this status moved money by the channel's reckoning."""
    return (item, status) in _BILLED


def judge_channel(key: Key, ours: Reported | None, home: date, seen: Sightings, *, expected: bool) -> Comparison | None:
    """Compare a payment, refund or chargeback with the bill lines under its reference.

    home: our business date. expected: the bill of that date has been read, so a missing line means something.
    """
    count = sum(side.count for side in seen.values())
    total = sum(side.minor for side in seen.values())
    where = " and ".join(f"{day}" for day in sorted(seen))
    if ours is None:
        if not seen:
            return None
        theirs = next(iter(seen.values()))
        worth = sum(side.minor for side in seen.values() if is_billed(key.item, side.status))
        times = f", {count} times" if count > 1 else ""
        return Comparison(
            DiscrepancyKind.MISSING_AT_HUB,
            theirs.currency,
            None,
            total,
            worth,
            f"the bill of {where} has this {key.item}{times}, we do not",
        )
    if not seen:
        if not (expected and is_billed(key.item, ours.status)):
            return None
        return Comparison(
            DiscrepancyKind.MISSING_AT_CHANNEL,
            ours.currency,
            ours.minor,
            None,
            -ours.minor,
            f"we have this {key.item} as {ours.status} on {home}, no bill has it",
        )
    day, theirs = min(seen.items())
    if any(side.currency != ours.currency for side in seen.values()):
        detail = f"we have it in {ours.currency}, the bill of {where} in {theirs.currency}"
        return Comparison(DiscrepancyKind.AMOUNT_DIFFERS, ours.currency, ours.minor, None, None, detail)
    if count > 1:
        detail = f"the bill of {where} has it {count} times"
        return Comparison(DiscrepancyKind.DUPLICATE, ours.currency, ours.minor, total, total - ours.minor, detail)
    if theirs.minor != ours.minor:
        detail = f"the bill of {day} has another amount"
        return Comparison(
            DiscrepancyKind.AMOUNT_DIFFERS, ours.currency, ours.minor, theirs.minor, theirs.minor - ours.minor, detail
        )
    if theirs.status != ours.status and (key.item, ours.status, theirs.status) not in _AGREE:
        ours_worth = ours.minor if is_billed(key.item, ours.status) else 0
        theirs_worth = theirs.minor if is_billed(key.item, theirs.status) else 0
        detail = f"we have it as {ours.status}, the bill of {day} as {theirs.status}"
        return Comparison(
            DiscrepancyKind.STATUS_DIFFERS, ours.currency, ours.minor, theirs.minor, theirs_worth - ours_worth, detail
        )
    if theirs.coupon_minor != ours.coupon_minor:
        difference = theirs.coupon_minor - ours.coupon_minor
        detail = f"the amount agrees, what a coupon of the merchant's paid of it by the bill of {day} does not"
        return Comparison(
            DiscrepancyKind.COUPON_DIFFERS, ours.currency, ours.coupon_minor, theirs.coupon_minor, difference, detail
        )
    if theirs.fee_minor != ours.fee_minor:
        difference = theirs.fee_minor - ours.fee_minor
        detail = f"the amount agrees, the fee in the bill of {day} does not"
        return Comparison(
            DiscrepancyKind.FEE_DIFFERS, ours.currency, ours.fee_minor, theirs.fee_minor, difference, detail
        )
    if day != home:
        detail = f"ours is dated {home}, the bill of {day} carries it"
        return Comparison(DiscrepancyKind.LATE, ours.currency, ours.minor, theirs.minor, 0, detail)
    return None


def judge_deposit(key: Key, ours: Reported | None, home: date, seen: Sightings, *, expected: bool) -> Comparison | None:
    """Compare what the channel owes us for a day, by our own movements, with what the bank received under its name."""
    del key, expected
    theirs = seen.get(home)
    if ours is None or (theirs is None and ours.minor == 0):
        return None
    if theirs is None:
        detail = f"{Money(ours.minor, ours.currency)} of business on {home}; the bank shows nothing from the channel"
        return Comparison(DiscrepancyKind.DEPOSIT_MISSING, ours.currency, ours.minor, None, -ours.minor, detail)
    difference = theirs.minor - ours.minor
    if theirs.count > 1:
        detail = f"the bank shows {theirs.count} deposits for {home}: {', '.join(theirs.rows)}"
        return Comparison(
            DiscrepancyKind.DEPOSIT_DUPLICATE, ours.currency, ours.minor, theirs.minor, difference, detail
        )
    if difference == 0:
        return None
    if ours.bill_minor is not None and theirs.minor == ours.bill_minor + ours.unlisted_minor:
        detail = (
            f"the bank received what the channel's bill of {home} comes to; the bill's discrepancies are the difference"
        )
        return Comparison(
            DiscrepancyKind.DEPOSIT_DIFFERS, ours.currency, ours.minor, theirs.minor, difference, detail, explained=True
        )
    if theirs.minor == ours.bill_minor:
        taken = Money(-ours.unlisted_minor, ours.currency)
        detail = (
            f"the bank received what the channel's bill of {home} comes to: the channel has not taken {taken} of "
            "chargebacks that were recorded for that day by hand"
        )
        return Comparison(DiscrepancyKind.DEPOSIT_DIFFERS, ours.currency, ours.minor, theirs.minor, difference, detail)
    detail = f"the bank received neither what our movements of {home} nor what the channel's bill comes to"
    return Comparison(DiscrepancyKind.DEPOSIT_DIFFERS, ours.currency, ours.minor, theirs.minor, difference, detail)


def judge_payout(key: Key, ours: Reported | None, home: date, seen: Sightings, *, expected: bool) -> Comparison | None:
    """Compare an instruction with the bank's status reports and the bookings on both accounts.

    ours.booked: (pool account, −amount), and (payee's account, +amount) when that account is at the same bank.
    """
    bookings = [booking for day in sorted(seen) for booking in seen[day].booked]
    fates = {word for side in seen.values() for word in side.status.split("+")} - {"", "pending"}
    if ours is None:
        return _unknown_booking(seen, bookings, fates)
    amount, pool = ours.minor, ours.booked[0][0]
    outgoing = [-minor for account, minor in bookings if account == pool and minor < 0]
    returned = [minor for account, minor in bookings if account == pool and minor > 0]
    incoming = [minor for account, minor in bookings if account != pool and minor > 0]
    taken_back = [-minor for account, minor in bookings if account != pool and minor < 0]

    def verdict(kind: DiscrepancyKind, theirs: int | None, difference: int | None, detail: str) -> Comparison:
        return Comparison(kind, ours.currency, amount, theirs, difference, detail)

    if any(side.currency != ours.currency for side in seen.values()):
        return verdict(DiscrepancyKind.PAYOUT_AMOUNT_DIFFERS, None, None, "the bank has it in another currency")
    if len(outgoing) - len(returned) > 1 or len(incoming) - len(taken_back) > 1:
        moved = max(sum(outgoing) - sum(returned), sum(incoming) - sum(taken_back))
        detail = f"the bank booked it {max(len(outgoing), len(incoming))} times"
        return verdict(DiscrepancyKind.PAYOUT_DUPLICATE, moved, moved - amount, detail)
    for booked in (*outgoing, *incoming):
        if booked != amount:
            return verdict(
                DiscrepancyKind.PAYOUT_AMOUNT_DIFFERS, booked, booked - amount, "the bank booked another amount"
            )
    word = _bank_word(outgoing, returned, incoming, fates, both=len(ours.booked) > 1)
    ours_worth = amount if ours.status == "paid" else 0
    theirs_worth = amount if word == "paid" else 0
    if word == "half":
        missing = "the payee's account" if outgoing else "the pool account"
        return verdict(
            DiscrepancyKind.PAYOUT_MISSING_AT_BANK, None, -amount, f"the statement of {missing} does not have it"
        )
    if word in ("", "promised"):
        if not expected or (ours.status == "refused" and word == ""):
            return None
        said = "; its report says it was executed" if word == "promised" else ""
        detail = f"we have it as {ours.status} on {home}, no statement of the bank has it{said}"
        return verdict(DiscrepancyKind.PAYOUT_MISSING_AT_BANK, None, -amount, detail)
    if word != ours.status:
        detail = f"we have it as {ours.status}, the bank as {word}"
        return verdict(DiscrepancyKind.PAYOUT_STATUS_DIFFERS, theirs_worth, theirs_worth - ours_worth, detail)
    booked_days = [day for day in seen if seen[day].booked]
    if booked_days and home not in booked_days:
        detail = f"ours is dated {home}, the bank booked it on {min(booked_days)}"
        return Comparison(DiscrepancyKind.LATE, ours.currency, amount, amount, 0, detail)
    return None


def _bank_word(outgoing: list[int], returned: list[int], incoming: list[int], fates: set[str], *, both: bool) -> str:
    """Say what became of an instruction by the bank's own books: paid, refused, returned; half, promised, or ''."""
    if fates == {"executed", "refused"} or ("refused" in fates and (outgoing or incoming)):
        return "executed and refused"
    if outgoing and len(returned) == len(outgoing):
        return "returned"
    if outgoing and (incoming or not both):
        return "paid"
    if outgoing or incoming:
        return "half"
    if "refused" in fates:
        return "refused"
    return "promised" if "executed" in fates else ""


def _unknown_booking(seen: Sightings, bookings: list[tuple[str, int]], fates: set[str]) -> Comparison | None:
    if not seen:
        return None
    currency = next(iter(seen.values())).currency
    gone = -sum(minor for _, minor in bookings if minor < 0)
    come = sum(minor for _, minor in bookings if minor > 0)
    where = " and ".join(str(day) for day in sorted(seen))
    if gone == 0 and not fates:
        detail = f"the statement of {where} has money coming in that nobody of ours sent"
        return Comparison(DiscrepancyKind.ENTRY_UNKNOWN_AT_HUB, currency, None, come, come, detail)
    detail = f"the bank speaks on {where} of a payment we never instructed"
    return Comparison(DiscrepancyKind.PAYOUT_UNKNOWN_AT_HUB, currency, None, gone, gone, detail)


def judge_balance(key: Key, ours: Reported | None, home: date, seen: Sightings, *, expected: bool) -> Comparison | None:
    """Compare two balances that must be equal: mirror and closing, closing and opening, entries and closing."""
    del expected
    theirs = seen.get(home)
    if theirs is None:
        if ours is None or key.item != "balance":
            return None
        detail = f"the bank sent no statement of this account for {home}"
        return Comparison(DiscrepancyKind.STATEMENT_MISSING, ours.currency, ours.minor, None, None, detail)
    ours_minor = 0 if ours is None else ours.minor
    if ours is not None and ours.currency != theirs.currency:
        detail = f"our mirror is in {ours.currency}, the account in {theirs.currency}"
        return Comparison(DiscrepancyKind.BALANCE_DIFFERS, ours.currency, ours.minor, None, None, detail)
    difference = theirs.minor - ours_minor
    if difference == 0:
        return None
    match key.item:
        case "balance":
            if difference == theirs.explained_minor:
                return None  # exactly what this account's open payout discrepancies come to
            detail = (
                "the closing balance is not what our book has" if ours else "our book has no mirror of this account"
            )
            kind = DiscrepancyKind.BALANCE_DIFFERS
        case "gap":
            kind, detail = DiscrepancyKind.STATEMENT_GAP, "opening and entries do not make the closing balance"
        case _:
            kind, detail = DiscrepancyKind.OPENING_DIFFERS, "the day does not open where the day before closed"
    explained = key.item == "gap" and difference == theirs.explained_minor
    if explained:
        detail += "; the lines missing or altered are discrepancies of their own"
    return Comparison(
        kind, theirs.currency, None if ours is None else ours.minor, theirs.minor, difference, detail, explained
    )


JUDGES = {
    Area.CHANNEL: judge_channel,
    Area.DEPOSIT: judge_deposit,
    Area.PAYOUT: judge_payout,
    Area.BALANCE: judge_balance,
}
