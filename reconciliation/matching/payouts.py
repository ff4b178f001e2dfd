"""Our instructions × the bank's reports and statements: every reference of either side comes out exactly once. Pure."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date

from channels.banks import AccountStatement, Entry, Fate, LineStatus
from kernel.money import Money
from reconciliation.matching.match import Matched, MatchResult, Payout, Payouts, PayoutStatus, Register, gone, weigh
from reconciliation.matching.verdicts import Area, Key, Reported

_NOTHING: Register = {}


def match_payouts(
    day: date,
    payouts: Payouts,
    statements: Sequence[AccountStatement],
    known: Register = _NOTHING,
    done: Collection[date] = frozenset(),
) -> Iterator[MatchResult]:
    """Match our settlement instructions with the bank's status reports and the bookings of one day.

    Bookings that are neither ours nor a channel's deposit come out as unknown at the hub, under the end-to-end id, or
    under the bank's own reference where they carry none. Raises ValueError when an instruction is given twice.
    """
    entries, fates = _bank_side(payouts, statements)
    handled: set[Key] = set()
    for payout in payouts.instructions:
        key = Key(Area.PAYOUT, "payout", payout.end_to_end_id)
        if key in handled:
            raise ValueError(f"instruction {payout.end_to_end_id} was given twice")
        handled.add(key)
        if payout.returned_on is not None and day < payout.returned_on:
            payout = replace(payout, status=PayoutStatus.PAID, returned_on=None)  # as it was that day
        seen = _payout_sighting(entries.pop(payout.end_to_end_id, []), fates.pop(payout.end_to_end_id, []), payout)
        if seen is None and payout.business_date != day and not (key in known and known[key].touches(day)):
            continue
        yield weigh(
            key,
            day,
            home=payout.business_date,
            ours=_payout_side(payout),
            seen=seen,
            known=known.get(key),
            done=done,
            assumed=dict(_as_booked(payout)),
        )
    for reference in [*entries, *(ident for ident in fates if ident not in entries)]:
        found = entries.get(reference, [])
        if reference in payouts.deposit_ids:
            handled.add(Key(Area.PAYOUT, "deposit", reference))
            yield Matched(Key(Area.PAYOUT, "deposit", reference))
            continue
        key = Key(Area.PAYOUT, "payout", reference)
        handled.add(key)
        seen = _payout_sighting(found, fates.get(reference, []), None)
        yield weigh(key, day, home=None, ours=None, seen=seen, known=known.get(key), done=done)
    yield from gone(Area.PAYOUT, day, known, done, handled)


def _bank_side(
    payouts: Payouts, statements: Sequence[AccountStatement]
) -> tuple[dict[str, list[Entry]], dict[str, list[LineStatus]]]:
    """Gather the day's bookings and the reports' lines by end-to-end id."""
    entries: dict[str, list[Entry]] = {}
    for statement in (one for one in statements if one.account not in payouts.apart):
        for entry in _line_by_line(statement.entries, payouts.instructions):
            # A payer chose the end-to-end id of a collection; it may be anything, even one of ours.
            theirs = entry.creditor_ref is not None or entry.end_to_end_id is None
            entries.setdefault(entry.entry_ref if theirs else entry.end_to_end_id or "", []).append(entry)
    fates: dict[str, list[LineStatus]] = {}
    by_message: dict[str, list[str]] = {}
    for payout in payouts.instructions:
        by_message.setdefault(payout.message_id, []).append(payout.end_to_end_id)
    for report in payouts.reports:
        named = [line.end_to_end_id for line in report.lines]
        for ident in dict.fromkeys([*named, *by_message.get(report.original_message_id, [])]):
            if (word := report.fate_of(ident)) is not None:
                fates.setdefault(ident, []).append(word)
    return entries, fates


def _line_by_line(entries: Iterable[Entry], instructions: Sequence[Payout]) -> Iterator[Entry]:
    """Yield a day's bookings; one that is the debit of a whole batch of ours, as its lines that were paid.

    Where they do not come to it, it stays whole and is unknown at the hub, and its lines are missing at the bank.
    """
    for entry in entries:
        paid = [
            one
            for one in instructions
            if one.message_id in entry.batch_refs
            and one.debtor_account == entry.account
            and one.amount.currency == entry.amount.currency
            and one.status in (PayoutStatus.PAID, PayoutStatus.RETURNED)
        ]
        if paid and sum(one.amount.minor for one in paid) == -entry.amount.minor:
            for one in paid:
                amount = Money(-one.amount.minor, one.amount.currency)
                yield replace(entry, amount=amount, end_to_end_id=one.end_to_end_id, batch_refs=())
        else:
            yield entry


def _payout_sighting(entries: Sequence[Entry], lines: Sequence[LineStatus], payout: Payout | None) -> Reported | None:
    if not entries and not lines:
        return None
    final = {line.fate for line in lines} - {Fate.PENDING, Fate.IN_DOUBT}
    word = "+".join(sorted(final)) if final else ("pending" if lines else "")
    currencies = {entry.amount.currency for entry in entries}
    if payout is not None:
        currencies.add(payout.amount.currency)
    other = currencies - ({payout.amount.currency} if payout else set())
    return Reported(
        max((abs(entry.amount.minor) for entry in entries), default=payout.amount.minor if payout else 0),
        min(other or currencies, default="XXX"),
        status=word,
        ref=next((line.bank_ref for line in lines if line.bank_ref), ""),
        count=len(entries),
        rows=tuple(sorted(entry.entry_ref for entry in entries)),
        booked=tuple(sorted((entry.account, entry.amount.minor) for entry in entries)),
    )


def _payout_side(payout: Payout) -> Reported:
    booked = [(payout.debtor_account, -payout.amount.minor)]
    if payout.same_bank:
        booked.append((payout.creditor_account, payout.amount.minor))
    return Reported(payout.amount.minor, payout.amount.currency, status=payout.status, booked=tuple(booked))


def _as_booked(payout: Payout) -> Iterator[tuple[date, Reported]]:
    """Yield how days without discrepancy showed this instruction."""
    if payout.status is PayoutStatus.IN_TRANSIT:
        return  # a day that closes with it in transit is never without discrepancy
    if payout.status is PayoutStatus.REFUSED:
        yield (
            payout.business_date,
            Reported(payout.amount.minor, payout.amount.currency, status=Fate.REFUSED, count=0),
        )
        return
    side = replace(_payout_side(payout), status=Fate.EXECUTED)
    if payout.status is PayoutStatus.RETURNED:
        back = tuple((account, -minor) for account, minor in side.booked)
        if payout.returned_on in (None, payout.business_date):
            side = replace(side, booked=(*side.booked, *back))
        elif payout.returned_on is not None:
            yield payout.returned_on, replace(side, status="", booked=back)
    yield payout.business_date, side
