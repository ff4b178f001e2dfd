"""Small books for reconciliation tests: movements, bill lines, instructions, statements, and an oracle of its own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from channels.banks import AccountStatement, Entry, Fate, LineStatus, StatusReport
from channels.contract import BillLine
from channels.contract import Kind as Item
from kernel.money import Money
from reconciliation import Deposits, Movement, Payout, PayoutStatus

DAY = date(2026, 11, 24)
NEXT = DAY + timedelta(days=1)
NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
WECHAT = "wechat:1900000001"
BANK = "bank:SBXBCNBJXXX"
POOL, SUB = "6200-pool", "6200-sub"


def cny(minor: int) -> Money:
    return Money(minor, "CNY")


def paid(reference: str, minor: int = 10_000, *, fee: int = 60, day: date = DAY, status: str = "success") -> Movement:
    return Movement(Item.PAYMENT, reference, reference, cny(minor), fee, status, day)


def refunded(
    reference: str, of: str, minor: int = 1_000, *, fee: int = -6, day: date = DAY, status: str = "success"
) -> Movement:
    return Movement(Item.REFUND, reference, of, cny(minor), fee, status, day)


def line_of(movement: Movement, **changes: object) -> BillLine:
    """Return the bill line that agrees with a movement, or one changed as asked."""
    said: dict[str, object] = {
        "kind": movement.kind,
        "reference": movement.reference,
        "payment_reference": movement.payment_reference,
        "channel_ref": f"42{movement.reference}",
        "amount": movement.amount,
        "fee": Money(movement.fee_minor, movement.amount.currency),
        "status": movement.status,
        "happened_at": datetime.combine(movement.business_date, datetime.min.time(), UTC),
        "row": 2,
    }
    return BillLine(**(said | changes))  # type: ignore[arg-type]


def deposit_entry(ident: str, minor: int, ref: str = "R-1", *, account: str = POOL, day: date = NEXT) -> Entry:
    return Entry(account, ref, ident, cny(minor), day)


def deposits(*entries: Entry) -> Deposits:
    return Deposits("WX190000000120261124", entries)


def payout(
    ident: str, minor: int = 5_000, status: PayoutStatus = PayoutStatus.PAID, *, day: date = DAY, sub: str = SUB
) -> Payout:
    return Payout(ident, "BAT-1", POOL, sub, cny(minor), status, day)


def bookings(
    ident: str | None, minor: int = 5_000, *, day: date = DAY, sub: str = SUB, tag: str = ""
) -> tuple[Entry, Entry]:
    """Return both ends of an executed instruction: out of the pool, into the payee's account."""
    return (
        Entry(POOL, f"D-{ident}{tag}", ident, cny(-minor), day),
        Entry(sub, f"C-{ident}{tag}", ident, cny(minor), day),
    )


def statement(
    account: str, entries: Iterable[Entry], *, opening: int = 0, closing: int | None = None, day: date = DAY
) -> AccountStatement:
    """Return an account's day with those of the entries that are on it; closing: as they add up unless said."""
    own = tuple(entry for entry in entries if entry.account == account)
    end = opening + sum(entry.amount.minor for entry in own) if closing is None else closing
    return AccountStatement("M1", f"S-{account}", account, day, cny(opening), cny(end), own)


MEANS = {"ACSC": Fate.EXECUTED, "ACCC": Fate.EXECUTED, "RJCT": Fate.REFUSED}


def statuses(*lines: tuple[str, str], group: str = "PART") -> StatusReport:
    said = tuple(LineStatus(ident, status, MEANS.get(status, Fate.PENDING)) for ident, status in lines)
    return StatusReport("R1", "2026-11-24T10:00:00Z", "BAT-1", group, None, said, said=MEANS.get(group, Fate.PENDING))


# ---- the oracle ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """What really is in every book: our movements, and for each day that was run the bill that counts for it."""

    movements: Mapping[str, Movement]
    bills: Mapping[date, Sequence[BillLine]]


def truth(world: World) -> dict[str, str]:
    """Return reference → kind of difference, by looking at everything at once; references that agree are left out."""
    found: dict[str, str] = {}
    references = set(world.movements) | {line.reference for bill in world.bills.values() for line in bill}
    for reference in references:
        ours = world.movements.get(reference)
        theirs = [(day, line) for day, bill in world.bills.items() for line in bill if line.reference == reference]
        if ours is None:
            found[reference] = "missing_at_hub"
        elif not theirs:
            if ours.business_date in world.bills:
                found[reference] = "missing_at_channel"
        elif len(theirs) > 1:
            found[reference] = "duplicate"
        elif theirs[0][1].amount != ours.amount:
            found[reference] = "amount_differs"
        elif theirs[0][0] != ours.business_date:
            found[reference] = "late"
    return found
